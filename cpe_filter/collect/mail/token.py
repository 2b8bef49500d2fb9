"""Signed tokens in the envelope sender (VERP), so that a bounce says which message it is about, and cannot be
forged.

Knows the key and the form of a token. Must not know mail or cases.

`bounces+TOKEN@isp.example`: TOKEN is Base32 in lower case, because a mail system may fold the case of a local-part: 80
bits of the message's id and 80 bits of an HMAC-SHA256 of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

#: Octets of an id and of its signature.
_ID, _MAC = 10, 10
#: Characters of a token.
LENGTH = 32


def make(key: bytes, number: str) -> str:
    """number: 20 hex digits."""
    raw = bytes.fromhex(number)
    return base64.b32encode(raw + _mac(key, raw)).decode().lower()


def read(key: bytes, token: str) -> str | None:
    """The id in a token; None if this key has not signed it."""
    if not re.fullmatch(r"[a-z2-7]{32}", token.lower()):
        return None
    try:
        raw = base64.b32decode(token.upper())
    except (binascii.Error, ValueError):
        return None
    return raw[:_ID].hex() if hmac.compare_digest(raw[_ID:], _mac(key, raw[:_ID])) else None


def _mac(key: bytes, raw: bytes) -> bytes:
    return hmac.digest(key, b"bounce " + raw, hashlib.sha256)[:_MAC]


def address(bounce_address: str, key: bytes, number: str) -> str:
    """The envelope sender of a message."""
    local, _, domain = bounce_address.rpartition("@")
    return f"{local}+{make(key, number)}@{domain}"


def find(bounce_address: str, key: bytes, text: str) -> str | None:
    """The id of the first address of ours with a good token in a text, such as the value of To."""
    local, _, domain = bounce_address.rpartition("@")
    pattern = rf"(?<![^\s<,;:\"]){re.escape(local)}\+([a-z2-7]{{{LENGTH}}})@{re.escape(domain)}(?![0-9a-z.-])"
    for found in re.finditer(pattern, text, re.IGNORECASE):
        if (number := read(key, found[1])) is not None:
            return number
    return None
