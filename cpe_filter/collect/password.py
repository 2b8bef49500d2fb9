"""Password hashes: scrypt (RFC 7914), each with its own salt, as `scrypt$15$8$3$SALT$HASH` in Base64.

Must not know names, files or sessions. One check takes 32 MiB and a few tenths of a second, so callers run it in a
thread, one at a time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re

#: log2 of N, r, p: what OWASP advises for 32 MiB.
_COST = (15, 8, 3)
_SALT, _LENGTH = 16, 32
#: Costs that a hash may have: less is guessed too soon, more would stop the page.
_MIN_COST = (14, 8, 1)
_MAX_COST = (18, 16, 8)
_RULE = re.compile(r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d)\$([0-9A-Za-z+/]{16,64}={0,2})\$([0-9A-Za-z+/]{32,128}={0,2})")

#: Characters of a password. A longer one is refused before anything is computed.
MAX_LENGTH, MIN_LENGTH = 256, 10


class PasswordError(ValueError):
    """A password that is not allowed. The text says why; it does not contain the password."""


def hashed(password: str) -> str:
    """A new hash of a password. Raises `PasswordError` if it is too short or too long."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise PasswordError(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    salt = os.urandom(_SALT)
    words = [base64.b64encode(part).decode() for part in (salt, _derive(password, salt, *_COST, _LENGTH))]
    return "$".join(["scrypt", *map(str, _COST), *words])


def is_hash(text: str) -> bool:
    """Whether it is a hash of this form, with costs that are allowed here."""
    return _parts(text) is not None


def matches(password: str, text: str) -> bool:
    """Whether a password belongs to a hash. A malformed hash matches nothing."""
    parts = _parts(text)
    if parts is None or len(password) > MAX_LENGTH:
        return False
    cost, salt, expected = parts
    return hmac.compare_digest(_derive(password, salt, *cost, len(expected)), expected)


#: Matches no password, and takes as long as a real hash: the time does not show which names exist.
DUMMY = f"scrypt${_COST[0]}${_COST[1]}${_COST[2]}${'A' * 22}==${'A' * 43}="


def _parts(text: str) -> tuple[tuple[int, int, int], bytes, bytes] | None:
    found = _RULE.fullmatch(text)
    if found is None:
        return None
    cost = (int(found[1]), int(found[2]), int(found[3]))
    if not all(low <= part <= high for low, part, high in zip(_MIN_COST, cost, _MAX_COST, strict=True)):
        return None
    try:
        return cost, base64.b64decode(found[4], validate=True), base64.b64decode(found[5], validate=True)
    except binascii.Error:
        return None


def _derive(password: str, salt: bytes, power: int, block: int, lanes: int, length: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    memory = 128 * block * ((1 << power) + lanes + 2) + (1 << 20)
    return hashlib.scrypt(data, salt=salt, n=1 << power, r=block, p=lanes, maxmem=memory, dklen=length)
