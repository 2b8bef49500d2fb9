"""Who asks for a certificate: nonces, and the signature of a factory key over one.

Knows signatures. Must not know HTTP's transport or the store. A nonce has its time and a MAC, so nothing is kept of one
that is only asked for. The register keeps which were used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from cpe_filter.collect.enrol.authority import digest_of, key_problem

#: Seconds for which a nonce is good. The clocks of machines that share the work may differ by the second number.
NONCE_S, SKEW_S = 300, 30
_NONCE = re.compile(r"([0-9a-f]{8})([0-9a-f]{32})([0-9a-f]{32})")
_FIELD = re.compile(r'([a-z]+)="([0-9A-Za-z._:@+/=-]{0,1200})"')
_FIELDS = frozenset(("router", "nonce", "key", "signature"))


class ProofError(Exception):
    """A proof that is refused. One line, also for the client."""


class Nonces:
    """secret: the same in all processes that share the work."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.sha256(b"cpe-filter nonces\n" + secret).digest()

    def make(self, now: float | None = None) -> str:
        start = f"{int(time.time() if now is None else now):08x}{secrets.token_hex(16)}"
        return start + self._mac(start)

    def problem(self, nonce: str, now: float | None = None) -> str | None:
        """Why it is refused, whether it was used or not; None if it is good."""
        found = _NONCE.fullmatch(nonce)
        if found is None or not hmac.compare_digest(found[3], self._mac(found[1] + found[2])):
            return "the nonce is not of this server"
        age = (time.time() if now is None else now) - int(found[1], 16)
        return None if -SKEW_S <= age < NONCE_S else "the nonce has expired"

    def _mac(self, start: str) -> str:
        return hmac.new(self._secret, start.encode(), hashlib.sha256).hexdigest()[:32]


def fields(text: str) -> dict[str, str]:
    """The fields of the header behind the scheme. Raises `ProofError`."""
    pairs = _FIELD.findall(text) if len(text) <= 4096 else []
    found = dict(pairs)
    if len(pairs) != len(_FIELDS) or found.keys() != _FIELDS or _FIELD.sub("", text).strip(" \t,"):
        raise ProofError(f"expected {', '.join(sorted(_FIELDS))}, each once")
    return found


def verify(key: str, signature: str, text: bytes) -> str:
    """Checks a signature, both in Base64; the key's digest. EC with SHA-256, Ed25519, or RSA (PKCS #1) with SHA-256.
    Raises `ProofError`."""
    try:
        der, signed = base64.b64decode(key, validate=True), base64.b64decode(signature, validate=True)
        public = serialization.load_der_public_key(der)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise ProofError("the factory key cannot be read; expected SubjectPublicKeyInfo in Base64") from None
    if problem := key_problem(public):
        raise ProofError(f"factory key: {problem}")
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signed, text, ec.ECDSA(hashes.SHA256()))
        elif isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signed, text)
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(signed, text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise ProofError("the signature is not the factory key's") from None
    return digest_of(public)
