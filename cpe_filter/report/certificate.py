"""A certificate's subject and dates: as much of X.509 (RFC 5280) as a router needs for its own certificate.

Knows DER. Must not judge trust: TLS does that. Python's ssl shows only the other side's certificate.
"""

from __future__ import annotations

import binascii

from cpe_filter.lean.named_tuple import NamedTuple

_INTEGER, _SEQUENCE, _SET, _OID, _UTC, _GENERALIZED = 0x02, 0x30, 0x31, 0x06, 0x17, 0x18
_VERSION = 0xA0
_COMMON_NAME = bytes.fromhex("550403")  # 2.5.4.3
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
#: Bytes of a certificate file, and characters of a name (RFC 5280 appendix A: ub-common-name).
MOST_BYTES, _MOST_NAME = 64 << 10, 64


class CertificateError(ValueError):
    """The file has no certificate that can be read."""


class Certificate(NamedTuple):
    """name: the subject's common name, "" if it has none; begins, ends: POSIX seconds."""

    name: str
    begins: int
    ends: int


def parse(pem: bytes) -> Certificate:
    """The first certificate of a PEM file. Raises `CertificateError`."""
    _, found, rest = pem.partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    if not found or not end:
        raise CertificateError("no certificate in it (PEM)")
    try:
        certificate = element(binascii.a2b_base64(body), 0, _SEQUENCE)[0]
        fields = element(certificate, 0, _SEQUENCE)[0]
        at = 0
        if fields[:1] == bytes((_VERSION,)):
            _, at = element(fields, at, _VERSION)
        for kind in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, algorithm, issuer
            _, at = element(fields, at, kind)
        dates, at = element(fields, at, _SEQUENCE)
        subject, at = element(fields, at, _SEQUENCE)
        begins, after = _time(dates, 0)
        ends, _ = _time(dates, after)
        return Certificate(_name(subject), begins, ends)
    except (IndexError, ValueError):
        raise CertificateError("the certificate in it cannot be read") from None


def element(data: bytes, at: int, kind: int) -> tuple[bytes, int]:
    """The content of the element of DER at a place, and the place behind it. Raises ValueError, IndexError."""
    if data[at] != kind:
        raise ValueError
    length, at = data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= 3:
            raise ValueError
        length = int.from_bytes(data[at : at + size], "big")
        at += size
    if at + length > len(data):
        raise ValueError
    return data[at : at + length], at + length


def _time(data: bytes, at: int) -> tuple[int, int]:
    kind = data[at]
    if kind not in (_UTC, _GENERALIZED):
        raise ValueError
    text, after = element(data, at, kind)
    digits = text.decode("ascii").removesuffix("Z")
    if kind == _UTC:
        digits = ("19" if digits >= "50" else "20") + digits  # RFC 5280 section 4.1.2.5.1
    if len(digits) != 14 or not digits.isdecimal():
        raise ValueError
    year, (month, day, hour, minute, second) = int(digits[:4]), (int(digits[n : n + 2]) for n in range(4, 14, 2))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        raise ValueError
    return _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second, after


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01. calendar and time.strptime do the same, but load datetime and locale (1.3 MB)."""
    # Years begin in March, so that the leap day is their last day: then each five months have 153 days.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719468


def _name(subject: bytes) -> str:
    """The last common name, as ssl and most others read it."""
    name, at = "", 0
    while at < len(subject):
        names, at = element(subject, at, _SET)
        inner = 0
        while inner < len(names):
            pair, inner = element(names, inner, _SEQUENCE)
            oid, behind = element(pair, 0, _OID)
            if oid == _COMMON_NAME:
                name = element(pair, behind, pair[behind])[0].decode("utf-8", "replace")[:_MOST_NAME]
    return name
