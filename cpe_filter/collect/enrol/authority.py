"""The authority: a request for a certificate (PKCS #10, RFC 2986) is checked, and a short certificate is made of it.

Knows X.509 by the `cryptography` package, and the program that signs where the key is elsewhere. Must not know who
asks, HTTP or the store. Only the key of a request counts, and the name, which has to be the router's: whatever else it
asks for (other names, purposes, lifetimes) is not in the certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import os
import signal
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from cpe_filter.collect import file_modes

#: A router's clock may be slow.
_EARLIER = datetime.timedelta(hours=1)
#: How long a revocation list is good for, if no later one comes.
CRL_DAYS = 7
#: The program that signs: seconds, with those for which it waits for others; bytes of its output; how many run at once.
SIGN_S, MAX_SIGNED, AT_ONCE = 20.0, 64 << 10, 8
_CURVES = ("secp256r1", "secp384r1")
_RSA_BITS = (2048, 4096)
#: What `cryptography` raises for hostile X.509; the second line is not of ValueError.
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.UnsupportedGeneralNameType,
              x509.InvalidVersion, x509.DuplicateExtension)  # fmt: skip
_KEYS = "EC P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits"


class AuthorityError(Exception):
    """Files of the authority that cannot be used, or a signer that fails. One line, not for clients."""


class BadRequestError(ValueError):
    """A request that gets no certificate. One line, also for the client."""


class Issued(NamedTuple):
    """chain: PEM, the router's first. serial: hexadecimal. key: as `digest_of` the public key. POSIX seconds."""

    certificate: x509.Certificate
    chain: bytes
    serial: str
    key: str
    issued_at: int
    ends_at: int


def digest_of(key: PublicKeyTypes) -> str:
    """SHA-256, hexadecimal, of a public key (SubjectPublicKeyInfo, DER): the key's name in the register."""
    return hashlib.sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def key_problem(key: object) -> str | None:
    """Why a key is too weak or of another kind; None if it is good."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, rsa.RSAPublicKey) and _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]:
        return None if key.public_numbers().e >= 65537 else f"the exponent of its key is too small; expected {_KEYS}"
    return f"its key is of another kind or size; expected {_KEYS}"


def request_of(der: bytes, router: str) -> x509.CertificateSigningRequest:
    """A checked request for this router. Raises `BadRequestError`."""
    try:
        request = x509.load_der_x509_csr(der)
        if problem := key_problem(request.public_key()):  # first: a signature of a huge key costs time
            raise BadRequestError(problem)
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        signed = request.is_signature_valid
        digest = request.signature_hash_algorithm
    except BadRequestError:
        raise
    except UNREADABLE:
        raise BadRequestError("the request cannot be read; expected PKCS #10, DER in Base64") from None
    if isinstance(digest, (hashes.MD5, hashes.SHA1)) or not signed:
        raise BadRequestError("the request is not signed by its own key, with SHA-256 or better")
    if names and [name.value for name in names] != [router]:
        raise BadRequestError("the common name (CN) of the request is not the router's id")
    return request


class Authority:
    """The issuing certificate with its chain, and what signs: a key, or a program (`sign`)."""

    def __init__(self, ca: str, key: str, command: tuple[str, ...], days: int) -> None:
        """ca: a file, PEM, the issuing certificate first. Raises `AuthorityError`."""
        self.chain = _chain(ca)
        self.certificate = self.chain[0]
        self._command, self._days = command, days
        self._key = _key(key, self.certificate) if key else None
        self._places = asyncio.Semaphore(AT_ONCE)
        if self._key is None and not command:
            raise AuthorityError("[enrol] needs ca_key or sign_command")

    @property
    def can_list(self) -> bool:
        """Whether it can sign revocation lists."""
        return self._key is not None

    def is_own(self, certificate: x509.Certificate) -> bool:
        """Whether this authority has issued it."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except UNREADABLE:
            return False
        return True

    def pkcs7(self, certificates: list[x509.Certificate]) -> bytes:
        """DER, certificates only (RFC 5652, RFC 7030 section 4.1.3)."""
        return pkcs7.serialize_certificates(certificates, serialization.Encoding.DER)

    async def issue(self, request: x509.CertificateSigningRequest, router: str) -> Issued:
        """Raises `AuthorityError`."""
        certificate = self._signed(request, router) if self._key else await self._by_program(request, router)
        pem = serialization.Encoding.PEM
        # The root is with whoever verifies.
        chain = [certificate, *(one for one in self.chain if one.subject != one.issuer)]
        return Issued(
            certificate,
            b"".join(one.public_bytes(pem) for one in chain),
            f"{certificate.serial_number:x}",
            digest_of(certificate.public_key()),
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
        )

    def _signed(self, request: x509.CertificateSigningRequest, router: str) -> x509.Certificate:
        assert self._key is not None  # noqa: S101
        now = datetime.datetime.now(datetime.timezone.utc)
        ends = min(now + datetime.timedelta(days=self._days), self.certificate.not_valid_after_utc)
        if ends <= now:
            raise AuthorityError("the certificate of the authority has expired")
        builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, router)]))
        builder = builder.issuer_name(self.certificate.subject).public_key(request.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(max(now - _EARLIER, self.certificate.not_valid_before_utc))
        builder = builder.not_valid_after(ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(request.public_key()), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        public = self.certificate.public_key()
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(public)  # type: ignore[arg-type]
        builder = builder.add_extension(issuer, critical=False)
        return builder.sign(self._key, _digest(self._key))

    def crl(self, revoked: list[tuple[str, int]], now: int) -> bytes:
        """A revocation list, PEM. revoked: serial numbers (hexadecimal), and since when."""
        assert self._key is not None  # noqa: S101
        at = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(at - _EARLIER).next_update(at + datetime.timedelta(days=CRL_DAYS))
        builder = builder.add_extension(x509.CRLNumber(now), critical=False)
        for serial, since in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
            entry = entry.revocation_date(datetime.datetime.fromtimestamp(since, datetime.timezone.utc))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, _digest(self._key)).public_bytes(serialization.Encoding.PEM)

    # ── a key elsewhere ─────────────────────────────────────────────────────────────────────────

    async def _by_program(self, request: x509.CertificateSigningRequest, router: str) -> x509.Certificate:
        """PEM to its stdin, PEM from its stdout. Its arguments are a list: no shell sees them."""
        words = [word.replace("{router}", router).replace("{days}", str(self._days)) for word in self._command]
        name = f"[enrol] sign_command: {words[0]}"
        try:
            output = await asyncio.wait_for(self._run(words, request.public_bytes(serialization.Encoding.PEM)), SIGN_S)
        except (asyncio.TimeoutError, TimeoutError):
            raise AuthorityError(f"{name}: took more than {SIGN_S:.0f} s") from None
        except _ProgramError as error:
            raise AuthorityError(f"{name}: {error}") from None
        except OSError as error:
            raise AuthorityError(f"{name}: {error.strerror}") from None
        try:
            made = x509.load_pem_x509_certificates(output)[0]
        except UNREADABLE:
            raise AuthorityError(f"{name}: printed no certificate (PEM)") from None
        try:
            problem = self._problem(made, request, router)
        except UNREADABLE:
            raise AuthorityError(f"{name}: printed a certificate that cannot be read") from None
        if problem:
            raise AuthorityError(f"[enrol] sign_command: the certificate has {problem}")
        return made

    async def _run(self, words: list[str], text: bytes) -> bytes:
        """What a program prints. It ends with all that it has started. Raises `_ProgramError`, OSError."""
        async with self._places:
            pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
            program = await asyncio.create_subprocess_exec(
                *words, stdin=pipe, stdout=pipe, stderr=nothing, start_new_session=True
            )
            try:
                assert program.stdin is not None and program.stdout is not None  # noqa: S101, PT018
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    program.stdin.write(text)  # less than a pipe holds
                    program.stdin.close()
                output = bytearray()
                while piece := await program.stdout.read(1 << 16):
                    output += piece
                    if len(output) > MAX_SIGNED:
                        raise _ProgramError(f"printed more than {MAX_SIGNED} bytes")
                if await program.wait():
                    raise _ProgramError(f"ended with {program.returncode}")
                return bytes(output)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
                await _ended(program)

    def _problem(self, made: x509.Certificate, request: x509.CertificateSigningRequest, router: str) -> str | None:
        """What the program has signed is not what was asked for. Raises `UNREADABLE`."""
        if digest_of(made.public_key()) != digest_of(request.public_key()):
            return "another key"
        if [name.value for name in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] != [router]:
            return "another name"
        if not self.is_own(made):
            return "another issuer than the first certificate of [enrol] ca"
        now = datetime.datetime.now(datetime.timezone.utc)
        if not made.not_valid_before_utc - _EARLIER <= now < made.not_valid_after_utc:
            return "a time that is not now"
        if made.not_valid_after_utc - made.not_valid_before_utc > datetime.timedelta(days=self._days + 1):
            return f"more than {self._days} days"
        extensions = {one.oid: one.value for one in made.extensions}
        constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
        if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
            return "the right to issue others (CA:TRUE)"
        purposes = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
        if isinstance(purposes, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            return "no purpose of a TLS client"
        return None


async def _ended(program: asyncio.subprocess.Process) -> None:
    """Waits for a killed program and the end of its output, so that nothing of it is left in this process."""

    async def rest() -> None:
        while program.stdout is not None and await program.stdout.read(1 << 16):
            pass
        await program.wait()

    with contextlib.suppress(asyncio.TimeoutError, TimeoutError):  # a process of another session holds the pipe
        await asyncio.wait_for(rest(), 1.0)


class _ProgramError(Exception):
    """What a program did instead of signing. A few words."""


def _usage(key: object) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=False, crl_sign=False, content_commitment=False,
        key_encipherment=isinstance(key, rsa.RSAPublicKey), data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _chain(path: str) -> list[x509.Certificate]:
    try:
        with open(path, "rb") as file:
            found = x509.load_pem_x509_certificates(file.read(1 << 20))
    except OSError as error:
        raise AuthorityError(f"[enrol] ca: {path}: {error.strerror}") from None
    except ValueError:
        raise AuthorityError(f"[enrol] ca: {path}: no certificates in PEM") from None
    try:
        may = found[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        may = False
    if not may:
        raise AuthorityError(f"[enrol] ca: {path}: the first certificate is not one of an authority")
    return found


def _key(path: str, certificate: x509.Certificate) -> CertificateIssuerPrivateKeyTypes:
    try:
        with open(path, "rb") as file:
            key = serialization.load_pem_private_key(file.read(1 << 16), None)
    except OSError as error:
        raise AuthorityError(f"[enrol] ca_key: {path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuthorityError(f"[enrol] ca_key: {path}: not a private key in PEM without a passphrase") from None
    if fault := file_modes.fault(path):
        raise AuthorityError(fault)
    if digest_of(key.public_key()) != digest_of(certificate.public_key()):
        raise AuthorityError(f"[enrol] ca_key: {path}: does not belong to the first certificate of [enrol] ca")
    if not isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey)):
        raise AuthorityError(f"[enrol] ca_key: {path}: expected {_KEYS}")
    return key


def _digest(key: object) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
