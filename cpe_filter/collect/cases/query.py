"""Reads the abuse desk's cases: list, filter, one case with everything about it, counts.

Knows the tables of migrations/0002_cases.sql. Must not know HTTP or how cases are made. Names, ports and addresses of
the latest incidents are read from where retention deletes them; a case itself has none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cpe_filter.collect import indicators
from cpe_filter.collect.cases.history import ACTIVE, STATES
from cpe_filter.collect.cases.model import STAGES, Case, Detail, Filter, Listed
from cpe_filter.collect.cases.needs import NEEDS
from cpe_filter.collect.store.base import Row, Store

MAX_PAGE = 1000

#: What a list may be sorted by. oldest: what waits longest comes first; the others: newest or most first.
ORDERS = {
    "oldest": "c.begun_at, c.id",
    "last": "c.last_at DESC, c.id",
    "opened": "c.opened_at DESC, c.id",
    "changed": "c.changed_at DESC, c.id",
    "incidents": "c.incidents DESC, c.last_at DESC, c.id",
    "refused": "c.refused DESC, c.last_at DESC, c.id",
}

_COLUMNS = ", ".join(f"c.{name}" for name in Case.__slots__ if name != "model")
MODEL_OF = "CASE WHEN c.model <> '' THEN c.model ELSE COALESCE(r.model, '') END"
_FROM_CASES = "FROM desk_case c LEFT JOIN router_state r ON r.router = c.router"
_SELECT = f"SELECT {_COLUMNS}, {MODEL_OF} AS model {_FROM_CASES}"


async def listed(
    store: Store, filter_: Filter | None = None, order: str = "last", first: int = 0, most: int = 50
) -> Listed:
    """Cases that pass the filter. order: of `ORDERS`. first: how many are passed over. Raises `StoreError`."""
    filter_ = filter_ or Filter()
    where, values = _where(filter_)
    count = await store.read(f"SELECT COUNT(*) AS n {_FROM_CASES} {where}", **values)
    rows = await store.read(
        f"{_SELECT} {where} ORDER BY {_order(filter_, order)} LIMIT :most OFFSET :first",
        **values, most=max(0, min(most, MAX_PAGE)), first=max(0, min(first, 1 << 40)),
    )  # fmt: skip
    return Listed([_case(row) for row in rows], int(count[0]["n"]))


async def after(
    store: Store, filter_: Filter, column: str, latest: bool, start: tuple[int, str] | None, most: int
) -> list[Case]:
    """Cases that pass the filter, from behind a place in an order on: rows that come or go do not move the others.

    column: of desk_case, one of the program's own names. latest: whether the largest come first. start: the value of
    that column and the id of the last case that was read; None for the beginning. Raises `StoreError`.
    """
    where, values = _where(filter_)
    if start is not None:
        sign = "<" if latest else ">"
        behind = f"(c.{column} {sign} :place OR (c.{column} = :place AND c.id > :after))"
        where = f"{where} AND {behind}" if where else f"WHERE {behind}"
        values |= {"place": start[0], "after": start[1]}
    rows = await store.read(
        f"{_SELECT} {where} ORDER BY c.{column}{' DESC' if latest else ''}, c.id LIMIT :most", **values, most=most
    )
    return [_case(row) for row in rows]


async def ids(store: Store, filter_: Filter, order: str, most: int) -> list[str]:
    """The ids of cases that pass the filter, at most `most`. Raises `StoreError`."""
    where, values = _where(filter_)
    sql = f"SELECT c.id {_FROM_CASES} {where} ORDER BY {_order(filter_, order)} LIMIT :most"
    return [row["id"] for row in await store.read(sql, **values, most=most)]


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
    parameters = {f"id{place}": number for place, number in enumerate(dict.fromkeys(numbers))}
    if not parameters:
        return {}
    rows = await store.read(f"{_SELECT} WHERE c.id IN ({', '.join(':' + name for name in parameters)})", **parameters)
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
    router = await store.read("SELECT submission FROM router_state WHERE router = :router", router=case.router)
    beat = json.loads(router[0]["submission"] or "[]") if router else []
    counts = [one for one in beat if one["dev"] == case.dev]
    counts += [json.loads(row["sub"]) for row in incidents if row["sub"]]
    return Detail(
        case,
        await store.read("SELECT * FROM desk_episode WHERE case_id = :id ORDER BY number", **of),
        [
            {
                **row,
                "ind": indicators.read(row["ind"]),
                "sp": json.loads(row["sp"] or "[]"),
                "notice": json.loads(row["notice"] or "null"),
            }
            for row in incidents
        ],
        [{**row, "body": _event(row["body"])} for row in reports],
        await store.read(
            "SELECT id, at, who, what, text, assignee FROM desk_case_action WHERE case_id = :id ORDER BY at, id", **of
        ),
        await store.read(
            "SELECT id, kind, at, made_at, state, tries, next_at, done_at, status, why FROM desk_event"
            " WHERE case_id = :id ORDER BY n", **of,
        ),
        counts[0] if counts else None,
    )  # fmt: skip


async def choices(store: Store) -> dict[str, list[str]]:
    """What there is to filter by: `regions`, `models`, `assignees`, sorted; at most 1000 of each."""
    regions = await store.read("SELECT DISTINCT region FROM desk_case WHERE region <> '' ORDER BY region LIMIT 1000")
    models = await store.read(f"SELECT DISTINCT {MODEL_OF} AS model {_FROM_CASES} ORDER BY 1 LIMIT 1000")
    assignees = await store.read(
        "SELECT DISTINCT assignee FROM desk_case WHERE assignee <> '' ORDER BY assignee LIMIT 1000"
    )
    return {
        "regions": [row["region"] for row in regions],
        "models": [row["model"] for row in models if row["model"]],
        "assignees": [row["assignee"] for row in assignees],
    }


async def states(store: Store) -> dict[str, int]:
    """How many cases are in each state."""
    rows = await store.read("SELECT state, COUNT(*) AS n FROM desk_case GROUP BY state")
    found = {row["state"]: int(row["n"]) for row in rows}
    return {state: found.get(state, 0) for state in STATES}


_ACTIVE = f"c.state IN ({', '.join(repr(state) for state in ACTIVE)})"
#: What a case has to be if a field of `Filter` is set, by its name.
_CONDITIONS = {
    "region": "c.region = :region",
    "subscriber": "c.subscriber = :subscriber",
    "router": "c.router = :router",
    "model": f"{MODEL_OF} = :model",
    "since": "c.last_at >= :since",
    "until": "c.last_at < :until",
    "changed_since": "c.changed_at >= :changed_since",
    "assigned": "c.assignee = :assigned",
}


def _order(filter_: Filter, order: str) -> str:
    need = NEEDS.get(filter_.need)
    return f"c.{need.since}, c.id" if need and order == "oldest" else ORDERS[order]


def in_stage(name: str) -> str:
    """The condition in SQL of a case `c` that is in one of `STAGES`."""
    return STAGES[name][0].format(active=_ACTIVE)


def _where(filter_: Filter) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {}
    if filter_.states:
        names = [f"state{place}" for place in range(len(filter_.states))]
        parts.append(f"c.state IN ({', '.join(':' + name for name in names)})")
        values.update(zip(names, filter_.states, strict=True))
    if filter_.stage is not None:
        parts.append(f"({in_stage(filter_.stage)})")
    for name, condition in _CONDITIONS.items():
        value = getattr(filter_, name)
        if value is not None:
            parts.append(condition)
            values[name] = value
    if need := NEEDS.get(filter_.need):
        parts.append(f"({need.condition})")
        given: dict[str, Any] = {"me": filter_.me, "answered_before": filter_.answered_before}
        values.update({name: value for name, value in given.items() if f":{name}" in need.condition})
    if filter_.indicator:
        codes = {f"indicator{place}": code for place, code in enumerate(indicators.known_as(filter_.indicator))}
        parts.append("(" + " OR ".join(f"c.ind LIKE :{name} ESCAPE '!'" for name in codes) + ")")
        values.update({name: f'%"{_plain(code)}":%' for name, code in codes.items()})
    if filter_.text:
        names = ["id", "subscriber", "router", "dev", "contact", "line"]
        parts.append("(" + " OR ".join(f"LOWER(c.{name}) LIKE :text ESCAPE '!'" for name in names) + ")")
        values["text"] = f"%{_plain(filter_.text.lower()[:200])}%"
    return ("WHERE " + " AND ".join(parts) if parts else ""), values


def _event(body: str) -> Row:
    """An event as it came, but for the names of its indicators."""
    event: Row = json.loads(body)
    return {**event, "ind": indicators.counts(event["ind"])} if "ind" in event else event


def _plain(text: str) -> str:
    """Text without a meaning of its own in LIKE, and without what PostgreSQL cannot hold."""
    text = text.replace("\0", "").encode(errors="replace").decode()
    for letter in "!%_":
        text = text.replace(letter, "!" + letter)
    return text


def _case(row: Row) -> Case:
    return Case(**{**row, "ind": indicators.read(row["ind"])})
