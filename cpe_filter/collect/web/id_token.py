"""ID tokens of OpenID Connect: whether one is for this login (OpenID Connect Core 1.0, section 3.1.3.7). Pure.

Knows claims and signatures. Must not know HTTP, sessions or roles. Signatures are checked by joserfc, with the keys of
the provider's document and algorithms with public keys only: never `none`, never HMAC, where the key would be a secret
that both ends know or, by confusion, the public key itself.
"""

from __future__ import annotations

import hmac
import warnings
from typing import Any, NamedTuple

from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError, SecurityWarning

#: Signature algorithms that are accepted, and the types of keys that they take.
ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
#: Bytes of a token, keys of a provider, seconds by which clocks may differ, seconds for which a token is fresh.
MAX_TOKEN, MAX_KEYS, SKEW_S, FRESH_S = 64 * 1024, 32, 60, 600
_MIN_RSA_BITS = 2048

# It warns of weak keys, which `keys` passes over, and of the old name EdDSA, which providers still use.
warnings.filterwarnings("ignore", category=SecurityWarning)

Key = jwk.RSAKey | jwk.ECKey | jwk.OKPKey
Claims = dict[str, Any]


class IdTokenError(Exception):
    """A token that proves nothing here. The text is one word, for the log."""


class UnknownKeyError(IdTokenError):
    """It is signed with a key that is not known: the provider may have a new one."""


class Expected(NamedTuple):
    """What a token must say. nonce: of this login."""

    issuer: str
    client: str
    nonce: str


def keys(document: Any) -> list[Key]:
    """The usable keys of a JWK Set; others are passed over. Raises `IdTokenError` if it is not one."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise IdTokenError("key-set")
    found: list[Key] = []
    for one in listed[:MAX_KEYS]:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") not in ALGORITHMS.values():
            continue
        try:
            key = jwk.import_key({name: value for name, value in one.items() if isinstance(value, str)})
            weak = isinstance(key, jwk.RSAKey) and key.public_key.key_size < _MIN_RSA_BITS
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, jwk.RSAKey | jwk.ECKey | jwk.OKPKey) and not weak:
            found.append(key)
    return found


def check(text: str, known: list[Key], expected: Expected, now: float) -> Claims:
    """The claims of a token. Raises `IdTokenError`."""
    claims = _verified(text, known)
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    party = claims.get("azp")
    nonce = claims.get("nonce")
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf") if name in claims}
    if claims.get("iss") != expected.issuer:
        raise IdTokenError("issuer")
    if expected.client not in audiences:
        raise IdTokenError("audience")
    if (party is not None or len(audiences) > 1) and party != expected.client:
        raise IdTokenError("authorized-party")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(errors="replace"), expected.nonce.encode()):
        raise IdTokenError("nonce")
    if not {"exp", "iat"} <= set(times) or not all(_is_time(value) for value in times.values()):
        raise IdTokenError("times")
    if now >= claims["exp"] + SKEW_S:
        raise IdTokenError("expired")
    if claims["iat"] > now + SKEW_S or claims.get("nbf", 0) > now + SKEW_S:
        raise IdTokenError("not-yet-valid")
    if claims["iat"] < now - FRESH_S - SKEW_S:
        raise IdTokenError("old")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise IdTokenError("subject")
    return claims


def _verified(text: str, known: list[Key]) -> Claims:
    if len(text) > MAX_TOKEN or not text.isascii():
        raise IdTokenError("form")
    try:
        header = jws.extract_compact(text.encode()).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise IdTokenError("form") from None
    algorithm, number = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise IdTokenError("algorithm")
    fitting = [
        key for key in known
        if key.key_type == ALGORITHMS[algorithm] and (key.alg or algorithm) == algorithm
        and (number is None or key.kid == number)
    ]  # fmt: skip
    if not fitting:
        raise UnknownKeyError("unknown-key")
    for key in fitting:
        try:
            claims = jwt.decode(text, key, algorithms=[algorithm]).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            continue
        if isinstance(claims, dict):
            return claims
    raise IdTokenError("signature")


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 40
