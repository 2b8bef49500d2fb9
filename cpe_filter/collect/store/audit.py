"""The audit log: who did what when. Knows the table desk_audit. Must not know what an action does, HTTP or pages.

Whatever a person, a token or a command does goes through one function, in the transaction of what it does:

    await audit.record(store, audit.By("anna", audit.PAGE, "192.0.2.9"), "acknowledged", case, reason, also=statements)

`also` are the statements of the action itself: both are committed, or neither is. Without `also` only the line is
written. `what` is a word of `KINDS`; a module adds its own words there, with the text that the page shows.
`cases.actions.act` writes its own line: its callers pass `by`, and record nothing more.

What is kept of a person: the name, the address that the action came from, and the reason that was given. Never a
password, a token, a typed name that no user has, or an e-mail address of a subscriber.

The application only adds lines, and retention deletes the oldest ones; nothing changes a line. Each line has the
SHA-256 of itself and of the line before. `verify` finds a line that was changed, inserted or removed in between. Who
can write to the database can compute the chain again, so the log of the program has its head (`head`) once an hour: a
copy of that log on another machine shows whether the chain was replaced.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pwd
import time
import weakref
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, NamedTuple

from cpe_filter.collect.store.base import Row, Statement, Store, UnstorableError

Via = Literal["page", "api", "command", "service"]
PAGE: Via = "page"
API: Via = "api"
COMMAND: Via = "command"
#: The collector itself, without a person.
SERVICE: Via = "service"

#: What was done -> the text for people. Words of other modules belong here, too.
KINDS: dict[str, str] = {
    # cases; the first ones are history.ActionKind
    "notified": "Case: marked as notified",
    "acknowledged": "Case: acknowledged",
    "closed": "Case: closed without a finding",
    "confirmed": "Case: closed as confirmed",
    "false-alarm": "Case: closed as a false alarm",
    "reopened": "Case: reopened",
    "note": "Case: note",
    "assigned": "Case: assigned",
    "bulk": "Cases: bulk action",
    # notices by e-mail
    "mail": "Notice by e-mail: queued",
    "mail-retry": "Notice by e-mail: tried again",
    "mail-give-up": "Notice by e-mail: given up",
    # instructions to routers
    "release": "Instruction: device released",
    "exempt": "Instruction: exemption",
    "end-quarantine": "Instruction: quarantine ended",
    # people
    "login": "Login",
    "login-failed": "Login failed",
    "logout": "Logout",
    "search-address": "Search by address and time",
    # data and set-up
    "export": "Export",
    "token": "API token",
    "routers": "Certificates of routers",
    "webhook-retry": "Notifications requeued",
    "rebuild": "Cases rebuilt",
    "erase": "Subscriber erased",
    "started": "Collector started",
}

#: Characters; longer texts are cut.
MAX_NAME, MAX_REASON = 100, 500
#: The value before the first line.
START = "0" * 64
#: Tries to add a line while other processes add theirs.
_TRIES = 50
_VERIFIED = 5000
#: The mark with what the line before the oldest kept one had: value: its number, holder: its chain.
_PRUNED = "audit pruned"


class By(NamedTuple):
    """who: a name, "" if it is unknown. peer: the address of the browser or client, "" for none."""

    who: str
    via: Via = PAGE
    peer: str = ""


class Filter(NamedTuple):
    """All given conditions must hold; "" and None for any. until is not included."""

    who: str = ""
    case: str = ""
    what: str = ""
    via: str = ""
    since: int | None = None
    until: int | None = None


class Broken(NamedTuple):
    """Where the chain is broken: the number of the first line that does not follow."""

    n: int


_NAMES = ("n", "at", "who", "via", "what", "case_id", "reason", "peer")
_ADD = (
    f"INSERT INTO desk_audit ({', '.join(_NAMES)}, chain) VALUES ({', '.join(':' + name for name in _NAMES)}, :chain)"
)

#: One writer at a time in this process; other processes are met by the number, which can be taken only once.
_locks: weakref.WeakKeyDictionary[Store, asyncio.Lock] = weakref.WeakKeyDictionary()


async def record(
    store: Store,
    by: By,
    what: str,
    case: str = "",
    reason: str = "",
    now: int | None = None,
    also: Sequence[Statement] = (),
) -> list[int]:
    """Adds a line, in one transaction with the statements `also`: how many rows each of these changed.

    Raises `StoreError`; then nothing was written.
    """
    at = int(time.time()) if now is None else now
    line = {
        "at": at,
        "who": _text(by.who, MAX_NAME),
        "via": by.via,
        "what": what,
        "case_id": _text(case, MAX_NAME),
        "reason": _text(reason, MAX_REASON),
        "peer": _text(by.peer, MAX_NAME),
    }
    async with _locks.setdefault(store, asyncio.Lock()):
        for left in reversed(range(_TRIES)):
            number, chain = await head(store)
            values = {**line, "n": number + 1}
            statement = (_ADD, {**values, "chain": link(chain, values)})
            try:
                return (await store.write([*also, statement]))[: len(also)]
            except UnstorableError:
                if not left or (await head(store))[0] == number:
                    raise  # not another process that took the number
    raise AssertionError("unreachable")


def link(before: str, line: Row) -> str:
    """The chain's value for a line that follows one with the value `before`."""
    text = json.dumps([before, *(line[name] for name in _NAMES)], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


async def head(store: Store) -> tuple[int, str]:
    """The number and the chain of the last line, also of one that retention has deleted; 0 and `START` before any."""
    rows = await store.read("SELECT n, chain FROM desk_audit ORDER BY n DESC LIMIT 1")
    if rows:
        return int(rows[0]["n"]), rows[0]["chain"]
    return await _pruned(store)


async def _pruned(store: Store) -> tuple[int, str]:
    rows = await store.read("SELECT value, holder FROM desk_mark WHERE name = :name", name=_PRUNED)
    return (int(rows[0]["value"]), rows[0]["holder"]) if rows else (0, START)


async def listed(store: Store, want: Filter, first: int = 0, most: int = 100) -> tuple[list[Row], int]:
    """The lines, the latest first, and how many there are in all."""
    where, values = _where(want)
    count = await store.read(f"SELECT COUNT(*) AS n FROM desk_audit {where}", **values)
    rows = await store.read(
        f"SELECT * FROM desk_audit {where} ORDER BY n DESC LIMIT :most OFFSET :first", **values, most=most, first=first
    )
    return rows, int(count[0]["n"])


async def before(store: Store, want: Filter, start: int | None, most: int) -> list[Row]:
    """The lines with a number below `start` (None: all), the latest first."""
    where, values = _where(want)
    if start is not None:
        where, values = f"{where} AND n < :start" if where else "WHERE n < :start", {**values, "start": start}
    return await store.read(f"SELECT * FROM desk_audit {where} ORDER BY n DESC LIMIT :most", **values, most=most)


async def people(store: Store, most: int = 500) -> list[str]:
    """The names in it, sorted."""
    found = await store.read("SELECT DISTINCT who FROM desk_audit WHERE who <> '' ORDER BY who LIMIT :most", most=most)
    return [row["who"] for row in found]


def _where(want: Filter) -> tuple[str, dict[str, Any]]:
    parts = {"who": "who = :who", "case": "case_id = :case", "what": "what = :what", "via": "via = :via"}
    values = {name: _text(getattr(want, name), MAX_NAME) for name in parts if getattr(want, name)}
    conditions = [parts[name] for name in values]
    times = {name: value for name, value in (("since", want.since), ("until", want.until)) if value is not None}
    conditions += [f"at {'>=' if name == 'since' else '<'} :{name}" for name in times]
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), {**values, **times}


async def lines(store: Store, since: int = 0) -> AsyncIterator[Row]:
    """All lines from a time on, the oldest first."""
    after = 0
    while True:
        rows = await store.read(
            "SELECT * FROM desk_audit WHERE n > :after AND at >= :since ORDER BY n LIMIT :most",
            after=after, since=since, most=_VERIFIED,
        )  # fmt: skip
        for row in rows:
            yield row
        if len(rows) < _VERIFIED:
            return
        after = rows[-1]["n"]


async def verify(store: Store) -> Broken | int:
    """Follows the chain: how many lines there are, or where it is broken."""
    number, chain = await _pruned(store)
    count = 0
    async for row in lines(store):
        if row["n"] <= number:  # retention has not finished
            continue
        if row["n"] != number + 1 or row["chain"] != link(chain, row):
            return Broken(int(row["n"]))
        number, chain, count = int(row["n"]), row["chain"], count + 1
    return count


async def prune(store: Store, before: int, most: int = 5000) -> int:
    """Deletes lines that are older than `before`, the oldest ones first, and keeps where the chain goes on."""
    total = 0
    while True:
        rows = await store.read(
            "SELECT n, at, chain FROM desk_audit ORDER BY n LIMIT :most", most=most,
        )  # fmt: skip
        old = 0
        while old < len(rows) and rows[old]["at"] < before:
            old += 1
        if not old:
            return total
        last = rows[old - 1]
        mark = {"name": _PRUNED, "value": last["n"], "holder": last["chain"]}
        await store.write([
            ("INSERT INTO desk_mark (name, value, holder) VALUES (:name, :value, :holder)"
             " ON CONFLICT (name) DO UPDATE SET value = excluded.value, holder = excluded.holder"
             " WHERE desk_mark.value < excluded.value", mark),
            ("DELETE FROM desk_audit WHERE n <= :n", {"n": last["n"]}),
        ])  # fmt: skip
        total += old
        if old < len(rows):
            return total


def os_user() -> str:
    """Which user of the system runs this process."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _text(text: str, most: int) -> str:
    """One line without what cannot be printed or stored."""
    plain = " ".join(text.split())[:most]
    return "".join(c if c.isprintable() else "?" for c in plain)
