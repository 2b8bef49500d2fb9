"""Passwords: scrypt (RFC 7914) with a salt of its own for each, as `scrypt$15$8$3$SALT$HASH`, base64.

Knows hashes. Must not know names, files or sessions. One check takes 32 MiB and a few tenths of a second, so callers
run it in a thread, one at a time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re

#: log2 of N, r, p: OWASP's advice where 32 MiB are to be enough.
_COST = (15, 8, 3)
_SALT, _LENGTH = 16, 32
#: What a hash may ask for: less would be guessed too soon, more would stop the page.
_LEAST = (14, 8, 1)
_MOST = (18, 16, 8)
_RULE = re.compile(r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d)\$([0-9A-Za-z+/]{16,64}={0,2})\$([0-9A-Za-z+/]{32,128}={0,2})")

#: Characters of a password; longer ones are refused before anything is computed.
MOST, LEAST = 256, 10


class WrongPassword(ValueError):
    """A password that will not do. The text says why; the password is not in it."""


def hashed(password: str) -> str:
    """A new hash of a password. Raises `WrongPassword` for one that is too short or too long."""
    if not LEAST <= len(password) <= MOST:
        raise WrongPassword(f"a password has {LEAST} to {MOST} characters")
    salt = os.urandom(_SALT)
    words = [base64.b64encode(part).decode() for part in (salt, _derive(password, salt, *_COST, _LENGTH))]
    return "$".join(["scrypt", *map(str, _COST), *words])


def usable(text: str) -> bool:
    """Whether it is such a hash, and one that can be checked here."""
    return _parts(text) is not None


def fits(password: str, text: str) -> bool:
    """Whether a password is the one of this hash. A hash that cannot be read fits none."""
    parts = _parts(text)
    if parts is None or len(password) > MOST:
        return False
    cost, salt, wanted = parts
    return hmac.compare_digest(_derive(password, salt, *cost, len(wanted)), wanted)


#: Fits no password, and takes as long as one that does: so nobody learns from the time which names there are.
NOBODY = f"scrypt${_COST[0]}${_COST[1]}${_COST[2]}${'A' * 22}==${'A' * 43}="


def _parts(text: str) -> tuple[tuple[int, int, int], bytes, bytes] | None:
    found = _RULE.fullmatch(text)
    if found is None:
        return None
    cost = (int(found[1]), int(found[2]), int(found[3]))
    if not all(least <= part <= most for least, part, most in zip(_LEAST, cost, _MOST, strict=True)):
        return None
    try:
        return cost, base64.b64decode(found[4], validate=True), base64.b64decode(found[5], validate=True)
    except binascii.Error:
        return None


def _derive(password: str, salt: bytes, power: int, block: int, lanes: int, length: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    room = 128 * block * ((1 << power) + lanes + 2) + (1 << 20)
    return hashlib.scrypt(data, salt=salt, n=1 << power, r=block, p=lanes, maxmem=room, dklen=length)
