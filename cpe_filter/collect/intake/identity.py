"""The identity of a router: its client certificate, and nothing else.

Knows X.509 (RFC 5280), the revocation list, and the two ways in which a certificate arrives: by TLS that ends in this
process, or in a header from a TLS proxy at a trusted address. Must not know reports.
The handshake has checked the chain, the dates and the purpose. Here the name is read, and the revocation list is
checked at each request: a revoked certificate is refused on a connection that is already open, too.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple, cast
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.x509.oid import NameOID

Network = IPv4Network | IPv6Network
Headers = Iterable[tuple[bytes, bytes]]

#: Such an id is harmless wherever it is shown or logged.
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@-]{0,63}")
#: Bytes of a revocation list: 32 MiB are a million revoked certificates.
_MAX_CRL = 32 * 1024 * 1024
_MAX_CERTIFICATE = 16 * 1024


class RefusedError(Exception):
    """Refused. status: of HTTP. reason: one word for counters. The text is safe to log and to send."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason = status, reason


class RevocationListError(ValueError):
    """A revocation list that cannot be used. The text says why."""


class Certificate(NamedTuple):
    """What is used of a client certificate."""

    router: str
    issuer: bytes
    serial: int


def router_id(text: str) -> str:
    """Checks the id of a router. Raises `RefusedError`."""
    if not _ID.fullmatch(text):
        raise RefusedError(403, "identity", "a router id has 1 to 64 letters, digits and . _ : @ -")
    return text


@lru_cache(4096)
def of_certificate(der: bytes, id_from: str) -> Certificate:
    """Reads a certificate that was verified elsewhere. id_from: `cn`, `san-dns` or `san-uri`. Raises `RefusedError`."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _names(certificate, id_from)
        issuer = certificate.issuer.public_bytes()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension):
        raise RefusedError(403, "certificate", "the client certificate cannot be read") from None
    if len(names) != 1:
        raise RefusedError(403, "identity", f"the client certificate has {len(names)} names ({id_from}); expected one")
    return Certificate(router_id(names[0]), issuer, certificate.serial_number)


def _names(certificate: x509.Certificate, id_from: str) -> list[str]:
    if id_from == "cn":
        return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    if id_from == "san-dns":
        return names.get_values_for_type(x509.DNSName)
    return names.get_values_for_type(x509.UniformResourceIdentifier)


class Revoked:
    """The revocation lists in a file (PEM, one or more, or one DER), read again when the file changes.

    A new list that cannot be used is ignored, and the last good one stays: `read` raises what is wrong with it.
    """

    def __init__(self, path: str, authorities: list[x509.Certificate]) -> None:
        self._path, self._authorities = path, authorities
        self._seen: tuple[int, int, int] | None = None
        self._serials: dict[bytes, frozenset[int]] = {}
        #: When the first of the lists expires, POSIX seconds; None if no list says so.
        self.next_update: float | None = None

    def read(self) -> bool:
        """Reads the file if it has changed: whether it had. Raises `RevocationListError`."""
        try:
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                mark = (status.st_ino, status.st_size, status.st_mtime_ns)
                if mark == self._seen:
                    return False
                data = file.read(_MAX_CRL + 1)
        except OSError as error:
            raise RevocationListError(f"{self._path}: {error.strerror}") from None
        self._seen = mark  # valid or not, once is enough
        if len(data) > _MAX_CRL:
            raise RevocationListError(f"{self._path}: over {_MAX_CRL} bytes")
        serials: dict[bytes, frozenset[int]] = {}
        ends = []
        for one in self._lists(data):
            issuer = one.issuer.public_bytes()
            serials[issuer] = serials.get(issuer, frozenset()) | {entry.serial_number for entry in one}
            end = _next_update(one)
            if end is not None:
                ends.append(end)
        self._serials, self.next_update = serials, min(ends, default=None)
        return True

    def _lists(self, data: bytes) -> list[x509.CertificateRevocationList]:
        ending = b"-----END X509 CRL-----"
        try:
            if ending in data:
                lists = [x509.load_pem_x509_crl(part + ending) for part in data.split(ending)[:-1]]
            else:
                lists = [x509.load_der_x509_crl(data)]
            for one in lists:
                if not self._signed(one):
                    raise RevocationListError(f"{self._path}: not signed by one of the client authorities")
        except (ValueError, UnsupportedAlgorithm) as error:
            if isinstance(error, RevocationListError):
                raise
            raise RevocationListError(f"{self._path}: not a revocation list (PEM or DER)") from None
        return lists

    def _signed(self, one: x509.CertificateRevocationList) -> bool:
        for authority in self._authorities:
            try:
                key = cast(CertificateIssuerPublicKeyTypes, authority.public_key())  # a key that cannot sign raises
                if authority.subject == one.issuer and one.is_signature_valid(key):
                    return True
            except (InvalidSignature, TypeError, UnsupportedAlgorithm):
                continue
        return False

    def check(self, certificate: Certificate) -> None:
        """Raises `RefusedError` for a revoked certificate."""
        if certificate.serial in self._serials.get(certificate.issuer, ()):
            raise RefusedError(403, "revoked", "the client certificate is revoked")

    def __len__(self) -> int:
        return sum(map(len, self._serials.values()))


def _next_update(one: x509.CertificateRevocationList) -> float | None:
    if hasattr(one, "next_update_utc"):
        end = one.next_update_utc
    else:  # cryptography before 42
        end = one.next_update and one.next_update.replace(tzinfo=datetime.timezone.utc)
    return end.timestamp() if end else None


class ByCertificate:
    """TLS ends here: the certificate is that of the connection. A header that claims an identity is refused."""

    def __init__(self, id_from: str, revoked: Revoked | None, header: bytes) -> None:
        self._id_from, self._revoked, self._header = id_from, revoked, header

    def __call__(self, peer: str | None, headers: Headers, certificate: bytes | None) -> tuple[str, str | None]:
        """Router id, and the address it came from. Raises `RefusedError`."""
        if any(name == self._header for name, _ in headers):
            raise RefusedError(403, "header", "an identity in a header is not accepted here")
        if not certificate:
            raise RefusedError(401, "no-certificate", "a client certificate is required")
        return _checked(certificate, self._id_from, self._revoked), peer


class ByHeader:
    """TLS ends elsewhere: `header` is trusted if the connection comes from one of `trusted` or over a Unix socket.

    holds: `id`, or `certificate` (RFC 9440, or URL-escaped PEM as nginx's $ssl_client_escaped_cert has it).
    address_header: in which the proxy names the address of the router; empty if it does not.
    """

    def __init__(
        self,
        trusted: tuple[Network, ...],
        header: bytes,
        holds: str,
        id_from: str,
        revoked: Revoked | None,
        address_header: bytes = b"",
    ) -> None:
        self._trusted, self._header, self._holds = trusted, header, holds
        self._id_from, self._revoked, self._address_header = id_from, revoked, address_header

    def __call__(self, peer: str | None, headers: Headers, _certificate: bytes | None) -> tuple[str, str | None]:
        """Router id, and the address it came from. Raises `RefusedError`."""
        if peer is not None and not _within(peer, self._trusted):
            raise RefusedError(403, "untrusted-proxy", "connections from this address may not name a router")
        values = [value for name, value in headers if name == self._header]
        if len(values) != 1 or not values[0].strip():
            raise RefusedError(401, "no-certificate", "the TLS proxy names no router")
        if self._holds == "certificate":
            router = _checked(_from_header(values[0].strip()), self._id_from, self._revoked)
        else:
            router = router_id(values[0].decode("latin-1").strip())
        return router, self._address(headers)

    def _address(self, headers: Headers) -> str | None:
        """The last entry: the one that the proxy wrote; clients may have written those before it."""
        values = [value for name, value in headers if self._address_header and name == self._address_header]
        try:
            return str(ip_address(values[-1].decode("ascii").split(",")[-1].strip())) if values else None
        except ValueError:
            return None


def _checked(der: bytes, id_from: str, revoked: Revoked | None) -> str:
    certificate = of_certificate(der, id_from)
    if revoked is not None:
        revoked.check(certificate)
    return certificate.router


def _from_header(value: bytes) -> bytes:
    """DER of a certificate in a header. Raises `RefusedError`."""
    wrong = RefusedError(403, "certificate", "the certificate from the TLS proxy cannot be read")
    if len(value) > _MAX_CERTIFICATE:
        raise wrong
    try:
        if value[:1] == b":" and value[-1:] == b":":
            return base64.b64decode(value[1:-1], validate=True)
        pem = unquote_to_bytes(value)
        begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
        if not pem.startswith(begin) or pem.count(begin) != 1 or not pem.rstrip().endswith(end):
            raise wrong
        return base64.b64decode(b"".join(pem.rstrip()[len(begin) : -len(end)].split()), validate=True)
    except binascii.Error:
        raise wrong from None


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)  # an IPv4 peer of a socket for both families
    return any((mapped or parsed) in network for network in networks)
