"""Tokens of the API: made on the command line, shown once, stored as hashes.

Knows the table api_token. Must not know HTTP.

A token is `cpe_ID_SECRET`: 8 hex digits that name it, 64 of 256 random bits, and 8 of a CRC-32 over all before. The
prefix and the checksum let scanners for leaked secrets find it without asking here, and a typing error cost no look-up.
What is stored is one SHA-256: a slow hash (scrypt) protects passwords, which people choose and others guess; 256 random
bits cannot be guessed however fast the hash is, and each request needs it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from typing import Literal, NamedTuple, get_args

from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store

Role = Literal["read", "desk", "admin"]
#: Each may do what those before it may.
ROLES: tuple[Role, ...] = get_args(Role)
PREFIX = "cpe_"
#: For scanners.
PATTERN = re.compile(r"cpe_([0-9a-f]{8})_[0-9a-f]{64}([0-9a-f]{8})")
#: The name of a token: the user in the history of cases.
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,39}")
#: Days.
MAX_DAYS = 400
#: Tokens, with those that have expired or were revoked within `KEPT_DAYS`.
MAX_TOKENS, KEPT_DAYS = 1000, 400
DAY = 86_400
#: The last use is written at most so often.
_USED_S = 60


class TokenError(ValueError):
    """What cannot be done with a token. One line that says why."""


class Token(NamedTuple):
    """A token that was recognised."""

    id: str
    name: str
    role: Role
    expires_at: int

    def may(self, role: Role) -> bool:
        """Whether it may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def user(self) -> str:
        """As the history of a case names it: no login has a colon in its name."""
        return f"token:{self.name}"


async def create(store: Store, name: str, role: str, days: int, now: int, by: audit.By) -> str:
    """Makes a token: its text, which is nowhere else. by: for the audit log. Raises `TokenError`, `StoreError`."""
    if not NAME.fullmatch(name):
        raise TokenError("a name has 1 to 40 letters, digits and . _ -, and begins with a letter or digit")
    if role not in ROLES:
        raise TokenError(f"a role is {', '.join(ROLES)}")
    if not 1 <= days <= MAX_DAYS:
        raise TokenError(f"a token expires in 1 to {MAX_DAYS} days")
    await forget(store, now)
    if (await store.read("SELECT COUNT(*) AS n FROM api_token"))[0]["n"] >= MAX_TOKENS:
        raise TokenError(
            f"there are {MAX_TOKENS} tokens already; old ones are deleted {KEPT_DAYS} days after their end"
        )
    number = secrets.token_hex(4)
    start = f"{PREFIX}{number}_{secrets.token_hex(32)}"
    text = f"{start}{_checksum(start)}"
    values = {"id": number, "name": name, "role": role, "hash": _hash(text), "now": now}
    if await store.read("SELECT id FROM api_token WHERE name = :name", name=name):
        raise TokenError(f"there is a token {name} already; names of old tokens are not used again")
    add = (_CREATE, {**values, "expires": now + days * DAY})
    await audit.record(store, by, "token", reason=f"{name} created, role {role}", now=now, also=[add])
    return text


async def forget(store: Store, now: int) -> int:
    """Deletes tokens that ended long ago: how many."""
    return (await store.write([(_PURGE, {"before": now - KEPT_DAYS * DAY})]))[0]


async def listed(store: Store) -> list[Row]:
    """All tokens, the newest first: columns as in api_token, without `hash`."""
    return await store.read(_LIST, most=MAX_TOKENS)


async def revoke(store: Store, name: str, now: int, by: audit.By) -> bool:
    """Ends a token at once. False if it had been revoked before. Raises `TokenError` if there is none."""
    rows = await store.read("SELECT revoked_at FROM api_token WHERE name = :name", name=name)
    if not rows:
        raise TokenError("there is no token of this name")
    if rows[0]["revoked_at"] is not None:
        return False
    end = (_REVOKE, {"name": name, "now": now})
    await audit.record(store, by, "token", reason=f"{name} revoked", now=now, also=[end])
    return True


def is_well_formed(text: str) -> bool:
    """Whether a text can be a token; needs no store."""
    found = PATTERN.fullmatch(text)
    return found is not None and hmac.compare_digest(found[2], _checksum(text[:-8]))


async def find(store: Store, text: str, now: int) -> Token | None:
    """The token of a text, if it is valid now. Raises `StoreError`."""
    if not is_well_formed(text):
        return None
    rows = await store.read("SELECT * FROM api_token WHERE id = :id", id=text[len(PREFIX) : len(PREFIX) + 8])
    row = rows[0] if rows else None
    # Compared in constant time, and in any case.
    same = hmac.compare_digest(_hash(text), row["hash"] if row else "0" * 64)
    if row is None or not same or row["revoked_at"] is not None or now >= row["expires_at"]:
        return None
    if row["used_at"] is None or now - row["used_at"] >= _USED_S:
        await store.write([(_USED, {"id": row["id"], "now": now, "before": now - _USED_S})])
    return Token(row["id"], row["name"], row["role"], row["expires_at"])


def state(row: Row, now: int) -> str:
    """`valid`, `expired` or `revoked`."""
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if now >= row["expires_at"] else "valid"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


_CREATE = """
INSERT INTO api_token (id, name, role, hash, created_at, expires_at, revoked_at, used_at)
VALUES (:id, :name, :role, :hash, :now, :expires, NULL, NULL)
"""
_PURGE = "DELETE FROM api_token WHERE expires_at < :before OR revoked_at < :before"
_LIST = """
SELECT id, name, role, created_at, expires_at, revoked_at, used_at FROM api_token
ORDER BY created_at DESC, id LIMIT :most
"""
_REVOKE = "UPDATE api_token SET revoked_at = :now WHERE name = :name AND revoked_at IS NULL"
_USED = "UPDATE api_token SET used_at = :now WHERE id = :id AND (used_at IS NULL OR used_at <= :before)"
