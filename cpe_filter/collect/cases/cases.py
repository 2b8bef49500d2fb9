"""The abuse desk's cases: list, filter, look at, acknowledge, close, reopen, note. One for each device of a subscriber.

Knows the tables of migrations/0002_cases.sql. Must not know HTTP or how cases are built from incidents (casebook).
Each action is kept with who did it and when. Names, ports and addresses of the last incidents are read from where
retention deletes them; a case itself has none.

Text of routers and subscribers is in what this returns: it is for whoever shows it to make it inert.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cpe_filter.collect.cases import history
from cpe_filter.collect.cases.history import ACKNOWLEDGED, ACTIVE, CLOSED, NOTE, NOTIFIED, REOPENED, STATES
from cpe_filter.collect.store.base import Row, Statement, Store

MAX_TEXT = 2000
MAX_WHO = 100
MAX_PAGE = 1000
#: Incidents of one case that are looked at, the newest: a hostile router can make any number up.
MOST_INCIDENTS = 500
#: Actions of one case.
MOST_ACTIONS = 1000

#: What a list may be sorted by, newest or most first.
ORDERS = {
    "last": "c.last_at DESC, c.id",
    "opened": "c.opened_at DESC, c.id",
    "changed": "c.changed_at DESC, c.id",
    "incidents": "c.incidents DESC, c.last_at DESC, c.id",
    "refused": "c.refused DESC, c.last_at DESC, c.id",
}


class CaseError(Exception):
    """An action that cannot be done; the text says why."""


class NoCase(CaseError):
    """There is none with this id."""


class NotNow(CaseError):
    """Not in the state that the case is in."""


@dataclass(frozen=True, slots=True)
class Case:
    """Columns as in desk_case, `ind` parsed. model: of the map of subscribers, or else what the router says."""

    id: str
    router: str
    dev: str
    subscriber: str
    region: str
    line: str
    model: str
    contact: str
    asn: int | None
    oui: str | None
    state: str
    standing: str
    act: str
    first_at: int
    last_at: int
    incidents: int
    episodes: int
    conns: int
    nets: int
    msgs: int
    rcpts: int
    refused: int
    ind: dict[str, int]
    opened_at: int
    begun_at: int
    notified_at: int | None
    acknowledged_at: int | None
    clean_at: int | None
    closed_at: int | None
    why: str | None
    acted: int
    changed_at: int

    @property
    def may(self) -> tuple[str, ...]:
        """Which actions do something now."""
        return (*(what for what, states in _FROM.items() if self.state in states), NOTE)


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold. text: a part of id, subscriber, router, device, contact or line. since: last_at."""

    states: Sequence[str] = ()
    region: str | None = None
    model: str | None = None
    subscriber: str | None = None
    router: str | None = None
    indicator: str | None = None
    text: str = ""
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """cases: one page; total: how many there are in all."""

    cases: list[Case]
    total: int


@dataclass(frozen=True, slots=True)
class Detail:
    """incidents: rows of `incident`, newest first (`ind` and `sp` parsed). reports: what is left of the single events,
    newest first (`body` parsed). episodes, actions, events: rows of their tables, oldest first (events without body).
    """

    case: Case
    episodes: list[Row] = field(default_factory=list)
    incidents: list[Row] = field(default_factory=list)
    reports: list[Row] = field(default_factory=list)
    actions: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)


#: From which states each action leads.
_FROM: dict[str, tuple[str, ...]] = {
    NOTIFIED: (history.OPEN, history.RECURRING),
    ACKNOWLEDGED: (history.OPEN, history.RECURRING, NOTIFIED),
    CLOSED: (*ACTIVE, history.CLEAN),
    REOPENED: (CLOSED,),
}

_COLUMNS = ", ".join(f"c.{name}" for name in Case.__slots__ if name != "model")
MODEL_OF = "CASE WHEN c.model <> '' THEN c.model ELSE COALESCE(r.model, '') END"
_FROM_CASES = "FROM desk_case c LEFT JOIN router_state r ON r.router = c.router"
_SELECT = f"SELECT {_COLUMNS}, {MODEL_OF} AS model {_FROM_CASES}"


async def listed(
    store: Store, want: Filter | None = None, order: str = "last", first: int = 0, most: int = 50
) -> Listed:
    """Cases that pass the filter. order: of `ORDERS`. first: how many are passed over. Raises `StoreError`."""
    where, values = _where(want or Filter())
    count = await store.read(f"SELECT COUNT(*) AS n {_FROM_CASES} {where}", **values)
    rows = await store.read(
        f"{_SELECT} {where} ORDER BY {ORDERS[order]} LIMIT :most OFFSET :first",
        **values, most=max(0, min(most, MAX_PAGE)), first=max(0, min(first, 1 << 40)),
    )  # fmt: skip
    return Listed([_case(row) for row in rows], int(count[0]["n"]))


async def find(store: Store, number: str) -> Case | None:
    """A case by its id, or by one that it had before."""
    for _ in range(8):  # aliases are kept flat; a chain would be a fault
        rows = await store.read(f"{_SELECT} WHERE c.id = :id", id=number)
        if rows:
            return _case(rows[0])
        alias = await store.read("SELECT id FROM desk_case_alias WHERE old = :id", id=number)
        if not alias:
            return None
        number = alias[0]["id"]
    return None


async def by_ids(store: Store, numbers: Sequence[str]) -> dict[str, Case]:
    """Those that there are, at most `MAX_PAGE`; only by the ids that they have now."""
    wanted = {f"id{place}": number for place, number in enumerate(dict.fromkeys(numbers))}
    if not wanted:
        return {}
    rows = await store.read(f"{_SELECT} WHERE c.id IN ({', '.join(':' + name for name in wanted)})", **wanted)
    return {row["id"]: _case(row) for row in rows}


async def detail(store: Store, number: str, most: int = 100) -> Detail | None:
    """All there is of a case. most: incidents, and events."""
    case = await find(store, number)
    if case is None:
        return None
    of = {"id": case.id}
    incidents = await store.read(
        "SELECT i.* FROM desk_incident d JOIN incident i ON i.router = d.router AND i.id = d.incident"
        " WHERE d.case_id = :id ORDER BY i.opened_at DESC, i.id LIMIT :most", **of, most=most,
    )  # fmt: skip
    reports = await store.read(
        "SELECT p.incident, p.boot, p.seq, p.kind, p.at, p.received, p.body FROM desk_incident d"
        " JOIN report p ON p.router = d.router AND p.incident = d.incident"
        " WHERE d.case_id = :id ORDER BY p.at DESC, p.boot, p.seq DESC LIMIT :most", **of, most=most,
    )  # fmt: skip
    return Detail(
        case,
        await store.read("SELECT * FROM desk_episode WHERE case_id = :id ORDER BY number", **of),
        [{**row, "ind": json.loads(row["ind"]), "sp": json.loads(row["sp"] or "[]")} for row in incidents],
        [{**row, "body": json.loads(row["body"])} for row in reports],
        await store.read(
            "SELECT id, at, who, what, text FROM desk_case_action WHERE case_id = :id ORDER BY at, id", **of
        ),
        await store.read(
            "SELECT id, kind, at, made_at, state, tries, next_at, done_at, status, why FROM desk_event"
            " WHERE case_id = :id ORDER BY n", **of,
        ),
    )  # fmt: skip


async def choices(store: Store) -> dict[str, list[str]]:
    """What there is to filter by: `regions`, `models`, sorted; at most 1000 of each."""
    regions = await store.read("SELECT DISTINCT region FROM desk_case WHERE region <> '' ORDER BY region LIMIT 1000")
    models = await store.read(f"SELECT DISTINCT {MODEL_OF} AS model {_FROM_CASES} ORDER BY 1 LIMIT 1000")
    return {
        "regions": [row["region"] for row in regions],
        "models": [row["model"] for row in models if row["model"]],
    }


async def states(store: Store) -> dict[str, int]:
    """How many cases are in each state."""
    rows = await store.read("SELECT state, COUNT(*) AS n FROM desk_case GROUP BY state")
    found = {row["state"]: int(row["n"]) for row in rows}
    return {state: found.get(state, 0) for state in STATES}


# ── what people do ──────────────────────────────────────────────────────────────────────────────


async def acknowledge(store: Store, number: str, who: str, text: str = "", now: int | None = None) -> Case:
    """Somebody has taken it up. All here raise `NoCase`, `NotNow`, `CaseError` (text too long) and `StoreError`."""
    return await act(store, number, ACKNOWLEDGED, who, text, now)


async def close(store: Store, number: str, who: str, text: str = "", now: int | None = None) -> Case:
    """It is done with, until the device is found compromised anew."""
    return await act(store, number, CLOSED, who, text, now)


async def reopen(store: Store, number: str, who: str, text: str = "", now: int | None = None) -> Case:
    """It was closed by mistake. What the filter itself closed cannot be reopened."""
    return await act(store, number, REOPENED, who, text, now)


async def note(store: Store, number: str, who: str, text: str, now: int | None = None) -> Case:
    """A remark."""
    if not text.strip():
        raise CaseError("a note needs text")
    return await act(store, number, NOTE, who, text, now)


async def notified(store: Store, number: str, who: str, text: str = "", now: int | None = None) -> Case:
    """The subscriber has been told. who: by which system or person."""
    return await act(store, number, NOTIFIED, who, text, now)


async def act(store: Store, number: str, what: str, who: str, text: str, now: int | None = None) -> Case:
    """Does one of history.ACTIONS: the case after it."""
    if not who or len(who) > MAX_WHO or len(text) > MAX_TEXT or not _storable(who + text):
        raise CaseError(f"who needs 1 to {MAX_WHO} characters, text at most {MAX_TEXT}, Unicode without NUL")
    case = await find(store, number)
    if case is None:
        raise NoCase(f"no case {number[:40]}")
    refolded = await read_case(store, case.id)
    told = history.tell(refolded.spells, refolded.actions)
    if what != NOTE and (told.state not in _FROM[what] or (what == REOPENED and told.episodes[-1].why != history.DESK)):
        raise NotNow(f"case {case.id} is {told.state}" + (f" ({told.episodes[-1].why})" if what == REOPENED else ""))
    if len(refolded.actions) >= MOST_ACTIONS:
        raise CaseError(f"case {case.id} has {MOST_ACTIONS} actions")
    at = int(time.time()) if now is None else now
    known = sorted(spell.incident for spell in refolded.spells)
    action = history.Action(secrets.token_hex(8), at, who, what, text, frozenset(known))
    insert = {**action._asdict(), "known": json.dumps(known), "case_id": case.id}
    await store.write([(_ACTION, insert), *_state(case.id, refolded, action)])
    after = await find(store, case.id)
    if after is None:
        raise NoCase(f"case {case.id} has gone")
    return after


@dataclass(frozen=True, slots=True)
class Refold:
    """What a case's history is told from. changed_at: of its incidents."""

    spells: list[history.Spell]
    actions: list[history.Action]
    changed_at: int


async def read_case(store: Store, number: str) -> Refold:
    """The incidents of a case as they are now, and its actions."""
    rows = await store.read(
        "SELECT i.id, i.opened_at, i.raised_at, i.closed_at, i.why, i.changed_at, d.begun_at FROM desk_incident d"
        " JOIN incident i ON i.router = d.router AND i.id = d.incident"
        " WHERE d.case_id = :id ORDER BY i.opened_at DESC, i.id LIMIT :most", id=number, most=MOST_INCIDENTS,
    )  # fmt: skip
    if not rows:
        raise NoCase(f"case {number} has no incident any more")
    spells = [history.Spell(row["id"], row["begun_at"], row["raised_at"], row["closed_at"], row["why"]) for row in rows]
    return Refold(spells, await actions(store, number), max(row["changed_at"] for row in rows))


async def actions(store: Store, number: str) -> list[history.Action]:
    rows = await store.read("SELECT * FROM desk_case_action WHERE case_id = :id ORDER BY at, id", id=number)
    return [
        history.Action(
            row["id"], row["at"], row["who"], row["what"], row["text"], frozenset(json.loads(row["known"]))
        )
        for row in rows
    ]  # fmt: skip


_ACTION = """
INSERT INTO desk_case_action (id, case_id, at, who, what, text, known)
VALUES (:id, :case_id, :at, :who, :what, :text, :known)
"""
_STATE = """
UPDATE desk_case SET state = :state, notified_at = :notified_at, acknowledged_at = :acknowledged_at,
    clean_at = :clean_at, closed_at = :closed_at, why = :why, begun_at = :begun_at, episodes = :episodes,
    acted = :acted, changed_at = :changed_at
WHERE id = :id
"""
EPISODE = """
INSERT INTO desk_episode
    (case_id, number, incident, begun_at, notified_at, acknowledged_at, clean_at, closed_at, why)
VALUES (:case_id, :number, :incident, :begun_at, :notified_at, :acknowledged_at, :clean_at, :closed_at, :why)
"""
_EPISODE_COLUMNS = ("number", "incident", "begun_at", "notified_at", "acknowledged_at", "clean_at", "closed_at", "why")


def _state(number: str, refold: Refold, action: history.Action) -> list[Statement]:
    done = [*refold.actions, action]
    told = history.tell(refold.spells, done)
    changed_at = max(refold.changed_at, *(one.at for one in done))
    values = {**latest(told), "acted": len(done), "changed_at": changed_at, "id": number}
    return [(_STATE, values), *episodes(number, told)]


def latest(told: history.History) -> dict[str, Any]:
    """Columns of desk_case that come from the history."""
    last = told.episodes[-1]
    names = ("begun_at", "notified_at", "acknowledged_at", "clean_at", "closed_at", "why")
    return {"state": told.state, "episodes": len(told.episodes), **{name: getattr(last, name) for name in names}}


def episodes(number: str, told: history.History) -> list[Statement]:
    """Statements that put a case's episodes in place of those it had."""
    out: list[Statement] = [("DELETE FROM desk_episode WHERE case_id = :case_id", {"case_id": number})]
    for episode in told.episodes:
        out.append((EPISODE, {"case_id": number, **{name: getattr(episode, name) for name in _EPISODE_COLUMNS}}))
    return out


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


def _where(want: Filter) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {}
    if want.states:
        names = [f"state{place}" for place in range(len(want.states))]
        parts.append(f"c.state IN ({', '.join(':' + name for name in names)})")
        values.update(zip(names, want.states, strict=True))
    for name in ("region", "subscriber", "router"):
        value = getattr(want, name)
        if value is not None:
            parts.append(f"c.{name} = :{name}")
            values[name] = value
    if want.model is not None:
        parts.append(f"{MODEL_OF} = :model")
        values["model"] = want.model
    if want.since is not None:
        parts.append("c.last_at >= :since")
        values["since"] = want.since
    if want.until is not None:
        parts.append("c.last_at < :until")
        values["until"] = want.until
    if want.indicator:
        parts.append("c.ind LIKE :indicator ESCAPE '!'")
        values["indicator"] = f'%"{_plain(want.indicator)}":%'
    if want.text:
        names = ["id", "subscriber", "router", "dev", "contact", "line"]
        parts.append("(" + " OR ".join(f"LOWER(c.{name}) LIKE :text ESCAPE '!'" for name in names) + ")")
        values["text"] = f"%{_plain(want.text.lower()[:200])}%"
    return ("WHERE " + " AND ".join(parts) if parts else ""), values


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _plain(text: str) -> str:
    """Text without a meaning of its own in LIKE, and without what PostgreSQL cannot hold."""
    text = text.replace("\0", "").encode(errors="replace").decode()
    for letter in "!%_":
        text = text.replace(letter, "!" + letter)
    return text


def _case(row: Row) -> Case:
    return Case(**{**row, "ind": json.loads(row["ind"])})
