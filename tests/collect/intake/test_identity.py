"""Who a router is: certificates, the revocation list, the TLS proxy."""

from __future__ import annotations

import base64
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509

from cpe_filter.collect.intake.identity import (
    ByCertificate,
    ByHeader,
    RefusedError,
    RevocationListError,
    Revoked,
    of_certificate,
)
from tests.collect.ca import Authority, Pair

HEADER = b"x-router-id"
LOOPBACK = (ip_network("127.0.0.1/32"), ip_network("::1/128"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def certificates(authority: Authority) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(authority.certificate.read_bytes())


def status(identify: ByCertificate | ByHeader, *more: object) -> int:
    with pytest.raises(RefusedError) as caught:
        identify(*more)  # type: ignore[arg-type]
    return caught.value.status


def test_the_name_of_the_certificate(authority: Authority) -> None:
    identify = ByCertificate("cn", None, HEADER)
    assert identify("192.0.2.1", [], authority.router("cpe-0001").der()) == ("cpe-0001", "192.0.2.1")


def test_names_elsewhere_in_it(authority: Authority) -> None:
    pair = authority.router("cpe-0002", uris=("urn:router:7",))
    assert of_certificate(pair.der(), "san-uri").router == "urn:router:7"
    with pytest.raises(RefusedError):
        of_certificate(pair.der(), "san-dns")


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a", "b"],
        ["../etc/passwd"],
        ["a b"],
        ["<script>alert(1)</script>"],
        ["x' OR '1'='1"],
        ["r1\n"],
        ["é"],
        [".hidden"],
    ],
)
def test_names_that_are_no_ids(authority: Authority, names: list[str]) -> None:
    pair = authority.named("odd", names)
    assert status(ByCertificate("cn", None, HEADER), None, [], pair.der()) == 403


def test_no_certificate_and_no_certificate_at_all() -> None:
    identify = ByCertificate("cn", None, HEADER)
    assert status(identify, None, [], None) == 401
    assert status(identify, None, [], b"") == 401
    assert status(identify, None, [], b"0\x82") == 403


def test_header_beside_a_certificate_is_refused(authority: Authority) -> None:
    identify = ByCertificate("cn", None, HEADER)
    der = authority.router("cpe-0003").der()
    assert status(identify, None, [(HEADER, b"cpe-0003")], der) == 403
    assert identify(None, [(b"x-other", b"cpe-9")], der)[0] == "cpe-0003"


def test_revoked(authority: Authority) -> None:
    pair, other = authority.router("bad"), authority.router("good")
    revoked = Revoked(str(authority.crl), certificates(authority))
    assert revoked.read()
    identify = ByCertificate("cn", revoked, HEADER)
    assert identify(None, [], pair.der())[0] == "bad"
    assert not revoked.read()
    authority.revoke("bad")
    assert revoked.read()
    assert status(identify, None, [], pair.der()) == 403
    assert identify(None, [], other.der())[0] == "good"
    assert len(revoked) == 1
    assert revoked.next_update is not None


def test_same_serial_of_another_authority_is_not_revoked(tmp_path: Path) -> None:
    one, two = Authority(tmp_path / "1", "One"), Authority(tmp_path / "2", "Two")
    first, second = one.router("r"), two.router("r")
    one.revoke("r")
    revoked = Revoked(str(one.crl), certificates(one) + certificates(two))
    revoked.read()
    identify = ByCertificate("cn", revoked, HEADER)
    assert status(identify, None, [], first.der()) == 403
    assert identify(None, [], second.der())[0] == "r"


def test_wrong_list_leaves_the_last_good_one(tmp_path: Path) -> None:
    ours, strangers = Authority(tmp_path / "1"), Authority(tmp_path / "2")  # of the same name
    pair = ours.router("bad")
    ours.revoke("bad")
    revoked = Revoked(str(ours.crl), certificates(ours))
    revoked.read()
    identify = ByCertificate("cn", revoked, HEADER)
    for wrong in (b"", b"rubbish", strangers.crl.read_bytes(), ours.crl.read_bytes()[:-60]):
        ours.crl.write_bytes(wrong)
        with pytest.raises(RevocationListError):
            revoked.read()
        assert not revoked.read()  # said once
        assert status(identify, None, [], pair.der()) == 403
    ours.crl.unlink()
    with pytest.raises(RevocationListError):
        revoked.read()
    ours.write_crl()
    assert revoked.read()


def by_id(trusted: bool = True) -> ByHeader:
    return ByHeader(LOOPBACK if trusted else (), HEADER, "id", "cn", None, b"x-real-ip")


def test_id_through_the_tls_proxy() -> None:
    headers = [(HEADER, b"cpe-7"), (b"x-real-ip", b"192.0.2.9")]
    for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1", None):
        assert by_id()(peer, headers, None) == ("cpe-7", "192.0.2.9")


@pytest.mark.parametrize("peer", ["192.0.2.1", "127.0.0.2", "::2", "", "localhost"])
def test_id_from_elsewhere(peer: str) -> None:
    assert status(by_id(), peer, [(HEADER, b"cpe-7")], None) == 403


@pytest.mark.parametrize("values", [[], [b""], [b" "], [b"a", b"b"], [b"a", b"a"], [b"a/b"], [b"a,b"], [b"\xff"]])
def test_tls_proxy_must_name_one_router(values: list[bytes]) -> None:
    assert status(by_id(), "127.0.0.1", [(HEADER, value) for value in values], None) in (401, 403)


@pytest.mark.parametrize(
    ("value", "address"), [(b"6.6.6.6, 192.0.2.1", "192.0.2.1"), (b"<script>", None), (b"", None), (b"\xff", None)]
)
def test_address_is_the_terminators_word_or_none(value: bytes, address: str | None) -> None:
    assert by_id()(None, [(HEADER, b"r"), (b"x-real-ip", value)], None) == ("r", address)


def header_forms(pair: Pair) -> list[bytes]:
    return [b":" + base64.b64encode(pair.der()) + b":", quote(pair.certificate.read_text()).encode()]


def test_certificate_through_the_tls_proxy(authority: Authority) -> None:
    pair, bad = authority.router("cpe-proxy"), authority.router("bad-proxy")
    authority.revoke("bad-proxy")
    revoked = Revoked(str(authority.crl), certificates(authority))
    revoked.read()
    identify = ByHeader(LOOPBACK, HEADER, "certificate", "cn", revoked)
    for form in header_forms(pair):
        assert identify("127.0.0.1", [(HEADER, form)], None) == ("cpe-proxy", None)
        assert status(identify, "192.0.2.1", [(HEADER, form)], None) == 403
    for form in header_forms(bad):
        assert status(identify, "127.0.0.1", [(HEADER, form)], None) == 403


@pytest.mark.parametrize("value", [b"cpe-7", b"::", b":!:", b":" + b"A" * 20000 + b":", b"-----BEGIN CERTIFICATE-----"])
def test_what_is_no_certificate_from_the_tls_proxy(value: bytes) -> None:
    assert status(ByHeader(LOOPBACK, HEADER, "certificate", "cn", None), None, [(HEADER, value)], None) == 403
