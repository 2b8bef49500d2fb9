"""The authority: hostile requests, what a certificate has, programs that sign badly, and revocation lists."""

from __future__ import annotations

import asyncio
import base64
import datetime
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.collect.enrol import authority as module
from cpe_filter.collect.enrol.authority import Authority, AuthorityError, BadRequestError, Issued, request_of
from tests.collect import ca
from tests.collect.enrol.isp import DER, PEM, ROUTER, Key, key_file, named, new_key, private, program, request_for
from tests.lab.net import DEADLINE_S

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ca.Authority:
    return ca.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def own(made: ca.Authority) -> Authority:
    return Authority(str(made.certificate), str(key_file(made)), (), 90)


def issued(own: Authority, request: bytes | None = None, router: str = ROUTER) -> Issued:
    return asyncio.run(own.issue(request_of(request or request_for(new_key(), router), router), router))


# ── requests ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa2048", "no name"])
def test_requests_that_are_good(own: Authority, kind: str) -> None:
    makers: dict[str, Callable[[], Key]] = {
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    }
    key = makers.get(kind, new_key)()
    one = issued(own, request_for(key, "" if kind == "no name" else ROUTER))
    assert one.certificate.public_key() == key.public_key()
    assert one.certificate.subject == named(ROUTER)


def dsa_request() -> bytes:
    key = dsa.generate_private_key(2048)
    return (
        x509.CertificateSigningRequestBuilder().subject_name(named(ROUTER)).sign(key, hashes.SHA256()).public_bytes(DER)
    )


def ed448_request() -> bytes:
    key = ed448.Ed448PrivateKey.generate()
    return x509.CertificateSigningRequestBuilder().subject_name(named(ROUTER)).sign(key, None).public_bytes(DER)


def changed(der: bytes) -> bytes:
    """The same request with another signature: the last byte of a signature by EC is one of a number."""
    return der[:-1] + bytes((der[-1] ^ 1,))


#: Of ROUTER, signed with SHA-1 (openssl req -sha1): the library makes none.
SHA1 = (
    "MIHNMHUCAQAwEzERMA8GA1UEAwwIY3BlLTAwMDEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAREZN+eQ3m6h8zL/2ktMoBMrMRr"
    "hzyQOq7sET60mw5ltFXLK7aAenS+qeQVfye3dsRMESdMfUdJpkGDrA/oV1K7oAAwCQYHKoZIzj0EAQNJADBGAiEAogOCXMjuQ1GR"
    "HTXxB96S0i6+FsQqQeSD9e+2FZZ5N+8CIQCAlgbShIK2f0xN2YJmCO1icKyOfyxO2UE4QuJaBqb9qw=="
)


def element(tag: int, *content: bytes) -> bytes:
    data = b"".join(content)
    size = len(data).to_bytes((len(data).bit_length() + 7) // 8 or 1, "big")
    return bytes((tag,)) + (size if len(data) < 128 else bytes((0x80 | len(size),)) + size) + data


def rsa_request(bits: int) -> bytes:
    """With a signature of nothing: the library would take minutes to make such a key."""
    numbers = rsa.RSAPublicNumbers(65537, (1 << bits) - 1)
    spki = numbers.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    fields = element(0x30, b"\x02\x01\0", named(ROUTER).public_bytes(), spki, b"\xa0\0")
    sha256_with_rsa = bytes.fromhex("300d06092a864886f70d01010b0500")
    return element(0x30, fields, sha256_with_rsa, element(0x03, b"\0" + b"\1" * (bits // 8)))


def twice() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ROUTER)] * 2)
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(new_key(), hashes.SHA256()).public_bytes(DER)


KIND = "its key is of another kind or size; expected EC P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits"
NAME = "the common name (CN) of the request is not the router's id"
UNREADABLE = "the request cannot be read; expected PKCS #10, DER in Base64"
SIGNATURE = "the request is not signed by its own key, with SHA-256 or better"
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "p521": (lambda: request_for(ec.generate_private_key(ec.SECP521R1())), KIND),
    "p224": (lambda: request_for(ec.generate_private_key(ec.SECP224R1())), KIND),
    "secp256k1": (lambda: request_for(ec.generate_private_key(ec.SECP256K1())), KIND),
    "dsa": (dsa_request, KIND),
    "ed448": (ed448_request, KIND),
    "rsa1024": (lambda: request_for(rsa.generate_private_key(65537, 1024)), KIND),  # noqa: S505
    "rsa8192": (lambda: rsa_request(8192), KIND),
    "rsa16384": (lambda: rsa_request(16384), KIND),
    "small exponent": (lambda: request_for(rsa.generate_private_key(3, 2048)), "the exponent of its key is too small"),
    "another router": (lambda: request_for(new_key(), "cpe-0002"), NAME),
    "the name twice": (twice, NAME),
    "its name in capitals": (lambda: request_for(new_key(), ROUTER.upper()), NAME),
    "a wrong signature": (lambda: changed(request_for(new_key())), SIGNATURE),
    "nothing": (lambda: b"", UNREADABLE),
    "rubbish": (lambda: os.urandom(300), UNREADABLE),
    "cut": (lambda: request_for(new_key())[:-20], UNREADABLE),
    "more behind it": (lambda: request_for(new_key()) + b"\0", UNREADABLE),
    "deep": (lambda: b"\x30\x80" * 4000, UNREADABLE),
    "a certificate": (lambda: b"", UNREADABLE),
    "PEM": (lambda: b"-----BEGIN CERTIFICATE REQUEST-----\n", UNREADABLE),
}


@pytest.mark.parametrize("what", BAD)
def test_requests_that_are_refused(own: Authority, what: str) -> None:
    make, why = BAD[what]
    der = own.certificate.public_bytes(DER) if what == "a certificate" else make()
    with pytest.raises(BadRequestError) as error:
        request_of(der, ROUTER)
    assert str(error.value).startswith(why)
    assert len(str(error.value).splitlines()) == 1


def test_sha1_is_refused() -> None:
    with pytest.raises(BadRequestError, match="SHA-256 or better"):
        request_of(base64.b64decode(SHA1), ROUTER)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError):
        request_of(data, ROUTER)


_GOOD = request_for(ec.derive_private_key(7, ec.SECP256R1()))


@given(st.integers(0, len(_GOOD) - 1), st.integers(1, 255))
@settings(max_examples=600, deadline=None)
def test_a_request_with_one_byte_changed_is_refused_or_the_same(at: int, by: int) -> None:
    """The number of unused bits behind a signature may be another one: what is signed is the same."""
    data = bytearray(_GOOD)
    data[at] ^= by
    try:
        found = request_of(bytes(data), ROUTER)
    except BadRequestError:
        return
    assert found.tbs_certrequest_bytes == request_of(_GOOD, ROUTER).tbs_certrequest_bytes
    assert _GOOD[at] == 0
    assert data[at] < 8


def test_only_the_key_and_the_name_of_a_request_count(own: Authority) -> None:
    asked = request_for(
        new_key(),
        ROUTER,
        x509.BasicConstraints(ca=True, path_length=3),
        x509.SubjectAlternativeName([x509.DNSName("collector.isp.example"), x509.DNSName("*.example")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]),
        x509.KeyUsage(True, True, True, True, True, True, True, True, True),
        x509.SubjectKeyIdentifier(b"another"),
    )
    got = issued(own, asked).certificate
    extensions = got.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert {one.oid for one in extensions} == {
        ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }  # fmt: skip
    assert got.subject == named(ROUTER)
    assert got.not_valid_after_utc - got.not_valid_before_utc <= 90 * DAY + datetime.timedelta(hours=1)


def test_a_certificate_ends_with_its_authority(made: ca.Authority) -> None:
    got = issued(Authority(str(made.certificate), str(key_file(made)), (), 825)).certificate
    assert got.not_valid_after_utc == x509.load_pem_x509_certificate(made.certificate.read_bytes()).not_valid_after_utc


def test_a_new_certificate_of_the_authority_with_its_key(made: ca.Authority, own: Authority, tmp_path: Path) -> None:
    """How an authority is renewed: routers' certificates stay good, for TLS and for a renewal."""
    before = issued(own).certificate
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().serial_number(2).subject_name(made._name).issuer_name(made._name)
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + 3650 * DAY)
    builder = builder.public_key(made._key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    renewed = builder.sign(made._key, hashes.SHA256())
    assert Authority(written(tmp_path / "ca.pem", renewed.public_bytes(PEM)), str(key_file(made)), (), 90).is_own(
        before
    )
    path = tmp_path / "router.pem"
    path.write_bytes(before.public_bytes(PEM))
    words = ["openssl", "verify", "-purpose", "sslclient", "-CAfile", str(tmp_path / "ca.pem"), str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr


def test_serial_numbers_are_not_guessed(own: Authority) -> None:
    serials = {int(issued(own).serial, 16) for _ in range(20)}
    assert len(serials) == 20
    assert min(serials) > 1 << 64


# ── files ───────────────────────────────────────────────────────────────────────────────────────────


def written(path: Path, data: bytes, mode: int = 0o600) -> str:
    path.touch(mode)
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def test_files_that_cannot_be_used(made: ca.Authority, tmp_path: Path) -> None:
    ca_file, key = str(made.certificate), str(key_file(made))
    other = written(tmp_path / "other.key", private(new_key()))
    for chain, secret, why in (
        (str(tmp_path / "nothing"), key, "[enrol] ca: {chain}: No such file or directory"),
        (str(tmp_path), key, "[enrol] ca: {chain}: Is a directory"),
        (key, key, "[enrol] ca: {chain}: no certificates in PEM"),
        (str(made.server().certificate), key, "[enrol] ca: {chain}: the first certificate is not one of an authority"),
        (ca_file, str(tmp_path / "nothing"), "[enrol] ca_key: {key}: No such file or directory"),
        (ca_file, ca_file, "[enrol] ca_key: {key}: not a private key in PEM without a passphrase"),
        (ca_file, other, "[enrol] ca_key: {key}: does not belong to the first certificate of [enrol] ca"),
        (ca_file, "", "[enrol] needs ca_key or sign_command"),
    ):
        with pytest.raises(AuthorityError) as error:
            Authority(chain, secret, (), 90)
        assert str(error.value) == why.format(chain=chain, key=secret)
    readable = written(tmp_path / "ca.key", key_file(made).read_bytes(), 0o644)
    with pytest.raises(AuthorityError, match=r"ca\.key"):
        Authority(ca_file, readable, (), 90)


def test_an_authority_that_has_expired(made: ca.Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Later:
            return cls.fromtimestamp(time.time() + 366 * 86400, tz)

    own = Authority(str(made.certificate), str(key_file(made)), (), 90)
    request = request_of(request_for(new_key()), ROUTER)
    monkeypatch.setattr(datetime, "datetime", Later)
    with pytest.raises(AuthorityError, match="the certificate of the authority has expired"):
        asyncio.run(own.issue(request, ROUTER))


# ── a program that signs ────────────────────────────────────────────────────────────────────────────


def by(made: ca.Authority, folder: Path, text: str) -> Authority:
    return Authority(str(made.certificate), "", program(folder, text), 90)


def openssl(made: ca.Authority, folder: Path, more: str = '-days "$2"', request: str = "-in $csr") -> str:
    """The text of a program that signs as asked, by openssl. more, request: instead of what is right."""
    return (
        f"csr={folder}/csr.$$; cat >$csr; openssl x509 -req {request} -CA {made.certificate}"
        f" -CAkey {key_file(made)} -set_serial 0x$$ {more} 2>/dev/null"
    )


def test_a_program_that_signs(made: ca.Authority, tmp_path: Path) -> None:
    own = by(made, tmp_path, openssl(made, tmp_path))
    one = issued(own)
    assert one.certificate.subject == named(ROUTER)
    assert one.certificate.not_valid_after_utc - one.certificate.not_valid_before_utc == 90 * DAY
    assert not own.can_list


def test_its_words_are_not_for_a_shell(made: ca.Authority, tmp_path: Path) -> None:
    words = program(tmp_path, f'printf "%s\\n" "$@" >{tmp_path}/words; ' + openssl(made, tmp_path))
    own = Authority(str(made.certificate), "", (words[0], "{router}", "{days}", "$(id); a b", "x={router}"), 90)
    issued(own, request_for(new_key(), "a.b-c_d"), "a.b-c_d")
    assert (tmp_path / "words").read_text() == "a.b-c_d\n90\n$(id); a b\nx=a.b-c_d\n"


BAD_PROGRAMS = {
    "fails": ("exit 7", "ended with 7"),
    "is killed": ("kill -9 $$", "ended with -9"),
    "prints nothing": ("true", "printed no certificate (PEM)"),
    "prints rubbish": ("head -c 1000 /dev/urandom", "printed no certificate (PEM)"),
    "prints half of one": ("printf '%s\\n' '-----BEGIN CERTIFICATE-----' MIIB", "printed no certificate (PEM)"),
    "prints an empty one": (
        "printf '%s\\n' '-----BEGIN CERTIFICATE-----' MIIB '-----END CERTIFICATE-----'",
        "printed no certificate (PEM)",
    ),
    "prints the request": ("cat", "printed no certificate (PEM)"),
    "prints without end": ("yes", "printed more than 65536 bytes"),
    "closes its input": ("exec <&-; exit 1", "ended with 1"),
}


@pytest.mark.parametrize("what", BAD_PROGRAMS)
def test_a_program_that(made: ca.Authority, tmp_path: Path, what: str) -> None:
    text, why = BAD_PROGRAMS[what]
    with pytest.raises(AuthorityError) as error:
        issued(by(made, tmp_path, text))
    assert str(error.value) == f"[enrol] sign_command: {tmp_path}/sign: {why}"


def test_a_program_that_is_missing(made: ca.Authority, tmp_path: Path) -> None:
    own = Authority(str(made.certificate), "", (f"{tmp_path}/none",), 90)
    with pytest.raises(AuthorityError, match=r"none: No such file or directory$"):
        issued(own)


def test_a_program_that_hangs_ends_with_what_it_started(
    made: ca.Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIGN_S", 1.0)
    own = by(made, tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; wait")
    with pytest.raises(AuthorityError, match=r"took more than 1 s$"):
        issued(own)
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return  # ended; its parent is gone, and this container's init has not looked yet
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("a child of the program still runs")


def test_few_programs_run_at_once(made: ca.Authority, tmp_path: Path) -> None:
    """Whatever many routers ask: the others wait."""
    count = f"n=$(ls {tmp_path}/run | wc -l); echo $n >>{tmp_path}/counts"
    (tmp_path / "run").mkdir()
    text = f"touch {tmp_path}/run/$$; {count}; sleep 0.2; rm {tmp_path}/run/$$; " + openssl(made, tmp_path)
    own = by(made, tmp_path, text)

    async def work() -> None:
        request = request_of(request_for(new_key()), ROUTER)
        await asyncio.gather(*(own.issue(request, ROUTER) for _ in range(3 * module.AT_ONCE)))

    asyncio.run(work())
    counts = [int(line) for line in (tmp_path / "counts").read_text().split()]
    assert len(counts) == 3 * module.AT_ONCE
    assert max(counts) <= module.AT_ONCE


FOREIGN = {
    "another key": "another key",
    "another name": "another name",
    "another issuer": "another issuer than the first certificate of [enrol] ca",
    "too long": "more than 90 days",
    "an authority": "the right to issue others (CA:TRUE)",
    "for servers": "no purpose of a TLS client",
    "expired": "a time that is not now",
    "not yet": "a time that is not now",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_program_that_signs_something_else(made: ca.Authority, tmp_path: Path, what: str) -> None:
    key = new_key()
    signer = new_key() if what == "another issuer" else made._key
    now = datetime.datetime.now(datetime.timezone.utc)
    starts = now - 60 * DAY if what == "expired" else now + 2 * DAY if what == "not yet" else now
    lasts = {"too long": 400, "expired": 30}.get(what, 80)
    builder = x509.CertificateBuilder().serial_number(77).issuer_name(made._name)
    builder = builder.subject_name(named("cpe-0002" if what == "another name" else ROUTER))
    builder = builder.public_key((new_key() if what == "another key" else key).public_key())
    builder = builder.not_valid_before(starts).not_valid_after(starts + lasts * DAY)
    if what == "an authority":
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if what == "for servers":
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    path = tmp_path / "made.pem"
    path.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(PEM))
    with pytest.raises(AuthorityError) as error:
        issued(by(made, tmp_path, f"cat {path}"), request_for(key))
    assert str(error.value) == f"[enrol] sign_command: the certificate has {FOREIGN[what]}"


def test_a_certificate_of_a_key_that_is_not_known(made: ca.Authority, tmp_path: Path) -> None:
    """One that the library reads, with a key that it does not know: no traceback."""
    der = bytearray(issued(Authority(str(made.certificate), str(key_file(made)), (), 90)).certificate.public_bytes(DER))
    at = bytes(der).index(bytes.fromhex("2a8648ce3d0201"))  # ecPublicKey
    der[at + 6] = 0x7F
    text = base64.encodebytes(bytes(der)).decode()
    path = tmp_path / "made.pem"
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
    with pytest.raises(
        AuthorityError, match=r"^\[enrol\] sign_command: .*: printed a certificate that cannot be read$"
    ):
        issued(by(made, tmp_path, f"cat {path}"))


# ── revocation lists ────────────────────────────────────────────────────────────────────────────────


def test_a_list_ends_connections_of_revoked_certificates(own: Authority, made: ca.Authority, tmp_path: Path) -> None:
    """As OpenSSL reads it."""
    now = int(time.time())
    revoked = issued(own)
    text = own.crl([(revoked.serial, now - 10), ("ff", now)], now)
    found = x509.load_pem_x509_crl(text)
    assert found.is_signature_valid(own.certificate.public_key())  # type: ignore[arg-type]
    assert {one.serial_number for one in found} == {int(revoked.serial, 16), 0xFF}
    assert found.next_update_utc is not None
    assert abs(found.next_update_utc.timestamp() - now - module.CRL_DAYS * 86400) < 2
    assert found.last_update_utc.timestamp() < now
    numbers = [
        x509.load_pem_x509_crl(own.crl([], at)).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for at in (now, now + 1)
    ]
    assert numbers[0] < numbers[1]
    path = tmp_path / "crl.pem"
    path.write_bytes(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(path)
    assert context.cert_store_stats()["crl"] == 1
