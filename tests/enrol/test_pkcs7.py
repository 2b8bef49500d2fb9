"""Certificates of EST answers: RFC 7030's own example, what openssl writes, and any bytes."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.enrol import pkcs7
from cpe_filter.enrol.pkcs7 import Pkcs7Error
from tests.collect.ca import Authority
from tests.lab.net import DEADLINE_S

#: RFC 7030 appendix A.1: the answer to /cacerts, with a root, the next one, and each signed by the other.
EXAMPLE = (Path(__file__).parent / "rfc7030-cacerts.txt").read_bytes()
OWO, NWO, OWN, NWN = range(4)


def name(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).subject.rfc4514_string().removeprefix("CN=estExampleCA ")


def key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_the_example_of_the_rfc() -> None:
    found = pkcs7.certificates(EXAMPLE)
    assert [name(one) for one in found] == ["OwO", "NwO", "OwN", "NwN"]
    for der in found:
        parts, read = pkcs7.parts(der), x509.load_der_x509_certificate(der)
        assert parts.key == key(read)
        for part, of in ((parts.issuer, read.issuer), (parts.subject, read.subject)):
            assert of.public_bytes().endswith(part)
            assert len(of.public_bytes()) - len(part) <= 4
    # White space is no part of it (RFC 8951), and pem is what others read.
    assert pkcs7.certificates(EXAMPLE.replace(b"\n", b"\r\n \t")) == found
    assert pkcs7.certificates(EXAMPLE.replace(b"\n", b"")) == found
    assert [x509.load_pem_x509_certificate(pkcs7.pem(der)).public_bytes(Encoding.DER) for der in found] == found


def test_chains_while_an_authority_is_replaced() -> None:
    """RFC 4210 section 4.4: a chain may go from the new authority to the old root."""
    found = pkcs7.certificates(EXAMPLE)
    keys = [pkcs7.parts(der).key for der in found]
    assert keys[OWO] == keys[OWN] != keys[NWO] == keys[NWN]
    # The first certificate of a key is meant; a root is not part of a chain.
    assert pkcs7.chain([found[NWO]], found, keys[NWO]) == [found[NWO]]
    assert pkcs7.chain([found[OWN]], found, keys[OWN]) == [found[OWN]]
    assert pkcs7.chain([found[NWN], found[NWO]], found, keys[NWO]) == [found[NWN]]
    with pytest.raises(Pkcs7Error, match="no certificate for the key that was sent"):
        pkcs7.chain([found[OWO]], found, keys[NWO])


@pytest.mark.parametrize("kind", ["DER", "PEM"])
def test_what_openssl_writes(tmp_path: Path, kind: str) -> None:
    authority = Authority(tmp_path)
    pair = authority.router("cpe-0001")
    files = [str(pair.certificate), "-certfile", str(authority.certificate)]
    words = ["openssl", "crl2pkcs7", "-nocrl", "-outform", kind, "-certfile", *files]
    done = subprocess.run(words, capture_output=True, timeout=DEADLINE_S, check=True)
    lines = done.stdout.splitlines()[1:-1] if kind == "PEM" else [base64.b64encode(done.stdout)]
    found = pkcs7.certificates(b"\n".join(lines))
    assert [x509.load_der_x509_certificate(one).subject.rfc4514_string() for one in found] == [
        "CN=cpe-0001", "CN=Test routers' CA",
    ]  # fmt: skip
    own = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    assert pkcs7.chain(found, found, key(own)) == [own.public_bytes(Encoding.DER)]


@given(st.binary(max_size=500))
@settings(max_examples=500, deadline=None)
def test_any_bytes(data: bytes) -> None:
    for text in (data, base64.b64encode(data)):
        with pytest.raises(Pkcs7Error):
            pkcs7.certificates(text)
    with pytest.raises(Pkcs7Error):
        pkcs7.parts(data)


_DER = base64.b64decode(EXAMPLE)


@given(st.integers(0, len(_DER) - 1), st.integers(0, 255), st.integers(0, len(_DER)))
@settings(max_examples=1000, deadline=None)
def test_the_example_changed_and_cut(at: int, to: int, cut: int) -> None:
    """Read or refused; nothing else, and in a bounded time."""
    changed = _DER[:at] + bytes((to,)) + _DER[at + 1 :]
    for data in (changed, _DER[:cut]):
        try:
            found = pkcs7.certificates(base64.b64encode(data))
            for one in found:
                pkcs7.chain([one], found, pkcs7.parts(one).key)
        except Pkcs7Error:
            pass
