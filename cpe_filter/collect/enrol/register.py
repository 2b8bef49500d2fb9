"""The register of routers in the store: who may have a certificate, by which key, and what was issued and revoked.

Knows the tables of migrations 0014 and 0015. Must not know X.509 or HTTP. Times are POSIX seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Literal, NamedTuple

from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Statement, Store

#: What a router was known by.
How = Literal["factory", "certificate", "token", "renewal", "hand"]
ALLOWED, REVOKED = "allowed", "revoked"
#: Rows that are written in one transaction, and read for a list.
_BATCH, MAX_LISTED = 500, 100_000
#: Certificates of a revocation list: 32 MiB, which is what the collector reads.
MAX_REVOKED = 1_000_000
DAY = 86_400


class RegisterError(Exception):
    """What cannot be done. One line."""


class Known(NamedTuple):
    """key: SHA-256 of the factory key, "" for none."""

    key: str
    state: str


async def known(store: Store, router: str) -> Known | None:
    """Raises `StoreError`, as all here."""
    rows = await store.read("SELECT key, state FROM enrol_router WHERE router = :router", router=router)
    return Known(rows[0]["key"], rows[0]["state"]) if rows else None


async def load(store: Store, routers: Iterable[tuple[str, str]], now: int, by: audit.By) -> int:
    """Adds routers with the digests of their factory keys ("" for none), or changes their keys; the count.

    A revoked router stays revoked.
    """
    count = 0
    batch: list[Statement] = []
    for router, key in routers:
        batch.append((_LOAD, {"router": router, "key": key, "now": now}))
        count += 1
        if len(batch) >= _BATCH:
            await store.write(batch)
            batch = []
    await audit.record(store, by, "routers", reason=f"{count} routers imported", now=now, also=batch)
    return count


async def listed(store: Store, router: str) -> list[Row]:
    """Certificates, the newest first. router: "" for all."""
    where = "WHERE router = :router" if router else ""
    values = {"router": router} if router else {}
    return await store.read(
        f"SELECT serial, router, how, issued_at, ends_at, revoked_at FROM enrol_certificate {where}"
        " ORDER BY issued_at DESC, serial LIMIT :most",
        **values,
        most=MAX_LISTED,
    )


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────────


async def make_token(store: Store, router: str, hours: int, now: int, by: audit.By) -> str:
    """A one-time token for a router, in place of an earlier one; the router is allowed from now on. Raises
    `RegisterError` for a revoked router."""
    found = await known(store, router)
    if found is not None and found.state == REVOKED:
        raise RegisterError(f"router {router} is revoked; `collector routers allow {router}` allows it again")
    text = secrets.token_urlsafe(24)
    also: list[Statement] = [
        (_ALLOW, {"router": router, "now": now}),
        (_BIND, {"router": router, "hash": _hash(text), "ends": now + hours * 3600}),
    ]
    await audit.record(store, by, "routers", reason=f"{router}: one-time token", now=now, also=also)
    return text


async def token_is_good(store: Store, router: str, text: str, key: str, now: int) -> bool:
    """Whether a token is this router's and may be used for this key: it was not used, or for the same key, so that an
    answer that was lost can be asked for again."""
    rows = await store.read("SELECT hash, ends_at, used_key FROM enrol_token WHERE router = :router", router=router)
    row: Row = rows[0] if rows else {"hash": "0" * 64, "ends_at": 0, "used_key": ""}
    same = hmac.compare_digest(_hash(text), row["hash"])
    return same and now < row["ends_at"] and row["used_key"] in ("", key)


async def nonce_secret(store: Store) -> bytes:
    """What nonces are made with: the same in all processes, whichever key their listener has."""
    await store.write([(_MAKE_MARK, {"name": _MARK, "holder": secrets.token_hex(32)})])
    return bytes.fromhex((await store.read("SELECT holder FROM desk_mark WHERE name = :name", name=_MARK))[0]["holder"])


async def use_nonce(store: Store, nonce: str, now: int, ends_at: int) -> bool:
    """Whether a nonce was not used before, in any process. It is kept until it has expired."""
    statements: list[Statement] = [
        ("DELETE FROM enrol_nonce WHERE ends_at <= :now", {"now": now}),
        (_USE_NONCE, {"nonce": nonce, "ends": ends_at}),
    ]
    return (await store.write(statements))[1] == 1


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ── certificates ────────────────────────────────────────────────────────────────────────────────────


async def other_owner(store: Store, key: str, router: str) -> bool:
    """Whether this key has a certificate of another router, or is the factory key of any."""
    rows = await store.read(
        "SELECT router FROM enrol_certificate WHERE key = :key AND router <> :router"
        " UNION ALL SELECT router FROM enrol_router WHERE key = :key LIMIT 1",
        key=key,
        router=router,
    )
    return bool(rows)


async def is_revoked(store: Store, serial: str) -> bool:
    rows = await store.read(
        "SELECT serial FROM enrol_certificate WHERE serial = :serial AND revoked_at IS NOT NULL", serial=serial
    )
    return bool(rows)


class Certificate(NamedTuple):
    """serial: hexadecimal. key: SHA-256 of the public key."""

    serial: str
    router: str
    key: str
    how: How
    issued_at: int
    ends_at: int


async def note(store: Store, made: Certificate, token: str = "", by: audit.By | None = None) -> bool:
    """Registers a certificate that was signed, and uses the token that it was asked for by, in one transaction.

    False, and nothing has changed: the router is not allowed any more, or the token was used for another key, or
    replaced. Then the certificate must not be sent. by: whoever had it issued by hand.
    """
    values = made._asdict()
    statements: list[Statement] = [(_HOLD, {"router": made.router})]
    if token:
        values["hash"] = _hash(token)
        statements.append((_USE, {"router": made.router, "key": made.key, "hash": values["hash"]}))
    statements.append((_NOTE_BY_TOKEN if token else _NOTE, values))
    if by is None:
        return (await store.write(statements))[-1] == 1
    reason = f"{made.router}: certificate {made.serial}"
    return (await audit.record(store, by, "routers", reason=reason, also=statements))[-1] == 1


async def revoke(store: Store, router: str, reason: str, now: int, by: audit.By) -> int:
    """The router gets no certificate any more, and all that it has are revoked; how many these are."""
    found = await known(store, router)
    held = await store.read("SELECT serial FROM enrol_certificate WHERE router = :router LIMIT 1", router=router)
    if found is None and not held:
        raise RegisterError(f"router {router[:64]} is not known; it has no certificate of this authority")
    also: list[Statement] = [
        (_REVOKE, {"router": router, "now": now}),
        (_REVOKE_ALL, {"router": router, "now": now}),
        ("DELETE FROM enrol_token WHERE router = :router", {"router": router}),
    ]
    why = f"{router} revoked" + (f": {reason}" if reason else "")
    return (await audit.record(store, by, "routers", reason=why, now=now, also=also))[1]


async def allow(store: Store, router: str, now: int, by: audit.By) -> None:
    """The router may have certificates (again). Those that were revoked stay so."""
    also: list[Statement] = [(_ALLOW_AGAIN, {"router": router, "now": now})]
    await audit.record(store, by, "routers", reason=f"{router} allowed", now=now, also=also)


async def revoked(store: Store, now: int) -> list[tuple[str, int]]:
    """Serial numbers and times of what belongs on a revocation list: revoked, and not expired for more than a day."""
    rows = await store.read(
        "SELECT serial, revoked_at FROM enrol_certificate WHERE revoked_at IS NOT NULL AND ends_at > :now"
        " ORDER BY revoked_at, serial LIMIT :most",
        now=now - DAY,
        most=MAX_REVOKED,
    )
    return [(row["serial"], int(row["revoked_at"])) for row in rows]


async def standing(store: Store, now: int) -> dict[str, int]:
    """How many allowed routers have a last certificate that is valid, late or expired.

    late: less than a sixth of its life is left, and routers renew after two thirds to three quarters. expired: within
    30 days; who is away for longer was given up.
    """
    rows = await store.read(_STANDING, now=now, gone=now - 30 * DAY)
    return {"valid": 0, "late": 0, "expired": 0} | {row["state"]: int(row["n"]) for row in rows}


async def forget(store: Store, now: int, keep_s: int = 400 * DAY) -> int:
    """Deletes certificates and tokens that ended long ago, and nonces that have expired; how many."""
    return sum(
        await store.write(
            [
                ("DELETE FROM enrol_certificate WHERE ends_at < :before", {"before": now - keep_s}),
                ("DELETE FROM enrol_token WHERE ends_at < :before", {"before": now - DAY}),
                ("DELETE FROM enrol_nonce WHERE ends_at < :before", {"before": now}),
            ]
        )
    )


_LOAD = """
INSERT INTO enrol_router (router, key, state, changed_at) VALUES (:router, :key, 'allowed', :now)
ON CONFLICT (router) DO UPDATE SET key = excluded.key, changed_at = excluded.changed_at
"""
_ALLOW = """
INSERT INTO enrol_router (router, key, state, changed_at) VALUES (:router, '', 'allowed', :now)
ON CONFLICT (router) DO NOTHING
"""
_ALLOW_AGAIN = """
INSERT INTO enrol_router (router, key, state, changed_at) VALUES (:router, '', 'allowed', :now)
ON CONFLICT (router) DO UPDATE SET state = 'allowed', changed_at = excluded.changed_at
"""
_REVOKE = """
INSERT INTO enrol_router (router, key, state, changed_at) VALUES (:router, '', 'revoked', :now)
ON CONFLICT (router) DO UPDATE SET state = 'revoked', changed_at = excluded.changed_at
"""
_REVOKE_ALL = "UPDATE enrol_certificate SET revoked_at = :now WHERE router = :router AND revoked_at IS NULL"
_BIND = """
INSERT INTO enrol_token (router, hash, ends_at, used_key) VALUES (:router, :hash, :ends, '')
ON CONFLICT (router) DO UPDATE SET hash = excluded.hash, ends_at = excluded.ends_at, used_key = ''
"""
_USE = """
UPDATE enrol_token SET used_key = :key WHERE router = :router AND hash = :hash AND used_key IN ('', :key)
    AND EXISTS (SELECT 1 FROM enrol_router WHERE router = :router AND state = 'allowed')
"""
_STANDING = """
SELECT state, COUNT(*) AS n FROM (
    SELECT CASE WHEN ends <= :now THEN 'expired' WHEN (ends - :now) * 6 < ends - starts THEN 'late' ELSE 'valid' END
        AS state
    FROM (
        SELECT c.router, MAX(c.ends_at) AS ends, MAX(c.issued_at) AS starts
        FROM enrol_certificate c JOIN enrol_router r ON r.router = c.router
        WHERE r.state = 'allowed' AND c.revoked_at IS NULL AND c.ends_at > :gone
        GROUP BY c.router
    ) last
) counted GROUP BY state
"""
_MARK = "enrol nonces"
_MAKE_MARK = "INSERT INTO desk_mark (name, value, holder) VALUES (:name, 0, :holder) ON CONFLICT (name) DO NOTHING"
_USE_NONCE = "INSERT INTO enrol_nonce (nonce, ends_at) VALUES (:nonce, :ends) ON CONFLICT (nonce) DO NOTHING"
# Whoever revokes the router at the same time waits for this row, and then finds the certificate; or was first.
_HOLD = "UPDATE enrol_router SET changed_at = changed_at WHERE router = :router"
_NOTE = """
INSERT INTO enrol_certificate (serial, router, key, how, issued_at, ends_at, revoked_at)
SELECT :serial, :router, :key, :how, :issued_at, :ends_at, NULL
WHERE EXISTS (SELECT 1 FROM enrol_router WHERE router = :router AND state = 'allowed')
"""
_NOTE_BY_TOKEN = (
    f"{_NOTE} AND EXISTS (SELECT 1 FROM enrol_token WHERE router = :router AND hash = :hash AND used_key = :key)"
)
