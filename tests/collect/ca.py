"""A certificate authority for tests and simulated fleets: `Authority(folder)`, then `server()`, `router(id)`, `revoke`.

Makes P-256 keys and certificates with the `cryptography` package, as PEM files in its folder. Not for real routers.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


class Pair(NamedTuple):
    """Paths of a certificate and its key, PEM."""

    certificate: Path
    key: Path

    def der(self) -> bytes:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)


class Authority:
    """Everything it makes is in `folder`: `ca.pem`, `crl.pem` (empty at first), and a pair of files for each name."""

    def __init__(self, folder: Path, name: str = "Test routers' CA") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._serial = 1000
        self._revoked: list[int] = []
        self._serials: dict[str, int] = {}
        builder = self._builder(self._name, -1, 365).public_key(self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(ca=True), critical=True)
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        self.crl = folder / "crl.pem"
        self.write_crl()

    def server(self, *names: str, starts: float = 0, ends: float = 30) -> Pair:
        """For a server at these host names and addresses (default: localhost). starts, ends: days from now."""
        alternatives = [_general(name) for name in names or ("localhost", "127.0.0.1", "::1")]
        return self._issue("server", [], alternatives, ExtendedKeyUsageOID.SERVER_AUTH, starts, ends)

    def router(self, router: str, starts: float = -1, ends: float = 30, uris: tuple[str, ...] = ()) -> Pair:
        """For the router of this id (CN). starts, ends: days from now."""
        alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        return self._issue(router, [router], alternatives, ExtendedKeyUsageOID.CLIENT_AUTH, starts, ends)

    def named(self, file: str, names: list[str]) -> Pair:
        """A client's certificate with these CNs, as they are: none, several, or wrong ones."""
        return self._issue(file, names, [], ExtendedKeyUsageOID.CLIENT_AUTH, -1, 30)

    def revoke(self, *routers: str) -> None:
        """Puts routers' certificates on the list, and writes it anew."""
        self._revoked += [self._serials[router] for router in routers]
        self.write_crl()

    def write_crl(self, ends: float = 7) -> None:
        """ends: days from now to the next update."""
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - 2 * _DAY).next_update(now + ends * _DAY)
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
        whole = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        new = self.crl.with_suffix(".new")
        new.write_bytes(whole)
        os.replace(new, self.crl)

    def client_context(self, pair: Pair | None) -> ssl.SSLContext:
        """For a client that trusts this authority's servers and shows `pair`."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def _issue(
        self,
        file: str,
        names: list[str],
        alternatives: list[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        starts: float,
        ends: float,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        builder = self._builder(subject, starts, ends).public_key(key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not names)
        self._serials[file] = self._serial
        pair = Pair(self.folder / f"{file}.pem", self.folder / f"{file}.key")
        pair.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        pair.key.touch(0o600)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _builder(self, subject: x509.Name, starts: float, ends: float) -> x509.CertificateBuilder:
        self._serial += 1
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).serial_number(self._serial)
        return builder.not_valid_before(now + (starts - 1) * _DAY).not_valid_after(now + ends * _DAY)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
