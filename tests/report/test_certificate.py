"""What a router reads in its own certificate, compared with the cryptography package."""

from __future__ import annotations

import datetime
import random
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from cpe_filter.report.certificate import CertificateError, _days, parse
from tests.collect.ca import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def test_name_and_dates(authority: Authority) -> None:
    pem = authority.router("cpe-0001", starts=-3, ends=9).certificate.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    found = parse(b"Certificate:\n  text before it\n" + pem + pem)
    assert found.name == "cpe-0001"
    # The package names times without a zone; they are UTC.
    assert found.begins == int(certificate.not_valid_before_utc.timestamp())
    assert found.ends == int(certificate.not_valid_after_utc.timestamp())


def test_days_are_those_of_the_calendar() -> None:
    draw = random.Random(6)
    for _ in range(2000):
        date = datetime.date.fromordinal(draw.randrange(1, datetime.date.max.toordinal()))
        assert _days(date.year, date.month, date.day) == (date - datetime.date(1970, 1, 1)).days


def test_no_name_and_several(authority: Authority) -> None:
    assert parse(authority.named("none", []).certificate.read_bytes()).name == ""
    assert parse(authority.named("two", ["one", "two"]).certificate.read_bytes()).name == "two"


@pytest.mark.parametrize(
    ("subject", "name"),
    [("/C=DE/O=An ISP/CN=cpe-77/OU=x", "cpe-77"), ("/CN=a+OU=b", "a"), ("/O=nobody", ""), ("/CN=für", "für")],
)
@pytest.mark.parametrize("days", [30, 20000])  # after 2050 the other form of time
def test_certificates_of_openssl(tmp_path: Path, subject: str, name: str, days: int) -> None:
    path = tmp_path / "c.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8"]
    words += ["-multivalue-rdn"] if "+" in subject else []
    subprocess.run(
        [*words, "-keyout", str(tmp_path / "k"), "-out", str(path), "-days", str(days), "-subj", subject],
        check=True,
        capture_output=True,
    )
    found = parse(path.read_bytes())
    assert found.name == name
    assert found.ends == int(x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp())


@pytest.mark.parametrize("pem", [b"", b"x" * 9999, b"-----BEGIN CERTIFICATE-----", b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_certificate(pem: bytes) -> None:
    with pytest.raises(CertificateError, match="no certificate in it"):
        parse(pem)


def test_damaged_ones_end_in_an_error_or_a_certificate(authority: Authority) -> None:
    pem = authority.router("cpe-0002").certificate.read_bytes()
    draw, refused = random.Random(6), 0
    for _ in range(3000):
        damaged = bytearray(pem)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(28, len(pem) - 26)] = draw.randrange(256)
        try:
            parse(bytes(damaged))
        except CertificateError:
            refused += 1
    assert refused > 500
