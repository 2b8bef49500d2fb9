"""Certificates in an answer of an EST server: PKCS #7 with certificates only (RFC 5652 section 5.1), and their parts.

Knows DER. Must not know files, HTTP or trust. The answer may be hostile, so it is read
in the child process that has fetched it, and by Python, not by a parser in C.
"""

from __future__ import annotations

import binascii

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.report.certificate import element

_INTEGER, _SEQUENCE, _SET, _OID, _EXPLICIT_0 = 0x02, 0x30, 0x31, 0x06, 0xA0
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
#: Certificates in one answer.
MOST = 16


class Pkcs7Error(ValueError):
    """An answer that is not PKCS #7 with certificates. One line."""


class Parts(NamedTuple):
    """Of a certificate, DER: issuer and subject without their headers, the public key with it."""

    issuer: bytes
    subject: bytes
    key: bytes


def certificates(answer: bytes) -> list[bytes]:
    """The certificates, DER, of an answer in Base64. Raises `Pkcs7Error`."""
    try:
        data = binascii.a2b_base64(answer)
        content, _ = element(data, 0, _SEQUENCE)
        kind, at = element(content, 0, _OID)
        if kind != _SIGNED_DATA:
            raise ValueError
        signed, _ = element(element(content, at, _EXPLICIT_0)[0], 0, _SEQUENCE)
        at = 0
        for one in (_INTEGER, _SET, _SEQUENCE):
            _, at = element(signed, at, one)
        inside, _ = element(signed, at, _EXPLICIT_0)
        found: list[bytes] = []
        at = 0
        while at < len(inside):
            before = at
            _, at = element(inside, before, _SEQUENCE)
            found.append(inside[before:at])
            if len(found) > MOST:
                raise ValueError
        if not found:
            raise ValueError
        return found
    except (ValueError, IndexError):
        raise Pkcs7Error("the answer has no certificates (PKCS #7 in Base64)") from None


def parts(der: bytes) -> Parts:
    """Raises `Pkcs7Error`."""
    try:
        fields, _ = element(element(der, 0, _SEQUENCE)[0], 0, _SEQUENCE)
        at = 0
        if fields[:1] == bytes((_EXPLICIT_0,)):
            _, at = element(fields, at, _EXPLICIT_0)
        for one in (_INTEGER, _SEQUENCE):  # serial number, algorithm
            _, at = element(fields, at, one)
        issuer, at = element(fields, at, _SEQUENCE)
        _, at = element(fields, at, _SEQUENCE)  # dates
        subject, before = element(fields, at, _SEQUENCE)
        _, at = element(fields, before, _SEQUENCE)
        return Parts(issuer, subject, fields[before:at])
    except (ValueError, IndexError):
        raise Pkcs7Error("a certificate in the answer cannot be read") from None


def chain(issued: list[bytes], authorities: list[bytes], key: bytes) -> list[bytes]:
    """The certificate of this key, and those of the authorities above it, without the root. Raises `Pkcs7Error`.

    Signatures are not verified: TLS did that for the server, and whoever the chain is shown to does it for the chain.
    """
    own = [one for one in issued if parts(one).key == key]
    if not own:
        raise Pkcs7Error("the answer has no certificate for the key that was sent")
    found = [own[0]]
    above = {parts(one).subject: one for one in authorities}
    while True:
        issuer = parts(found[-1]).issuer
        one = above.get(issuer)
        if one is None or parts(one).issuer == issuer:
            return found
        if one in found:
            raise Pkcs7Error("the authorities in the answer have issued each other")
        found.append(one)


def pem(der: bytes) -> bytes:
    text = binascii.b2a_base64(der, newline=False)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])
