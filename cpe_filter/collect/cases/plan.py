"""One device: what the store has about it -> the statements that update its cases.

Knows the tables `incident` and desk_*. Must not know when or how often. A device has one case for each subscriber that
had it; a case is computed from all its incidents and actions (history.fold). If the subscriber map changes, actions
follow the latest incident to its new case, and the old id leads there.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any, NamedTuple

from cpe_filter.collect import indicators
from cpe_filter.collect.cases import actions, funnel, history, model, notifications
from cpe_filter.collect.cases.history import Action, History
from cpe_filter.collect.store.base import Row, Statement, Store
from cpe_filter.collect.subscribers.map import Line, MapUnavailableError, Subscribers

#: The state of an incident that a case depends on. A changed :flag makes all incidents due.
SEEN = (
    "(:flag || ' ' || i.boot || ' ' || CAST(i.seq AS TEXT) || ' ' || CAST(i.opened_at AS TEXT)"
    " || ' ' || COALESCE(CAST(i.raised_at AS TEXT), '-') || ' ' || COALESCE(CAST(i.closed_at AS TEXT), '-')"
    " || ' ' || CAST(i.changed_at AS TEXT))"
)


class Terms(NamedTuple):
    """notify: events are queued for notification systems; incidents without news since `notify_since` (POSIX seconds)
    count as announced. texts: what events carry. clean_days: see funnel."""

    notify: bool = False
    notify_since: int = 0
    texts: notifications.Texts | None = None
    clean_days: int = funnel.CLEAN_DAYS


class Planner:
    """See `plan`."""

    def __init__(self, store: Store, subscribers: Subscribers, terms: Terms) -> None:
        self._store, self._subscribers, self._terms = store, subscribers, terms
        self.flag = f"d{terms.clean_days}"

    async def plan(self, router: str, dev: str, now: int) -> list[Statement]:
        """The statements that update the cases of a device."""
        of = {"router": router, "dev": dev}
        incidents = await self._store.read(
            "SELECT * FROM incident WHERE router = :router AND dev = :dev ORDER BY opened_at DESC, id LIMIT :most",
            **of, most=model.MAX_INCIDENTS,
        )  # fmt: skip
        had = {
            row["incident"]: row
            for row in await self._store.read("SELECT * FROM desk_incident WHERE router = :router AND dev = :dev", **of)
        }
        old = {
            row["id"]: row
            for row in await self._store.read("SELECT * FROM desk_case WHERE router = :router AND dev = :dev", **of)
        }
        lines: dict[str, Line | None] = {}
        members: dict[str, list[Row]] = {}
        for row in incidents:
            if row["raised_at"] is not None:
                line = lines[row["id"]] = await self._line(row, had, old)
                members.setdefault(case_id(line.subscriber if line else "", router, dev), []).append(row)
        plan = self._places(incidents, members, lines, had)
        follow = _follow(old, members, had)
        for gone, into in follow.items():
            plan += _move(gone, into)
        watch = await actions.read_watch(self._store, router, now, self._terms.clean_days)
        for number, rows in members.items():
            done = await actions.read_actions(self._store, number)
            for gone, into in follow.items():
                if into == number:
                    done += await actions.read_actions(self._store, gone)
            folded = history.fold([actions.spell(row, row["raised_at"]) for row in rows], done)
            new = funnel.observed(number, folded, done, watch)
            plan += actions.keep(number, new)
            done += new
            found = funnel.clean(folded, done, watch)
            values = _columns(number, rows, lines[rows[0]["id"]], folded, found, done)
            plan.append((_CASE, values))
            plan += actions.replace_episodes(number, folded, found)
            if self._terms.notify:
                before = [number, *(gone for gone, into in follow.items() if into == number)]
                plan += await self._news(values, folded, before, now)
        return plan

    async def _line(self, row: Row, had: dict[str, Row], old: dict[str, Row]) -> Line | None:
        """The line when the incident began. While the map is unavailable, what was known stays."""
        try:
            return await self._subscribers.find(row["router"], row["opened_at"])
        except MapUnavailableError:
            before = old.get((had.get(row["id"]) or {}).get("case_id") or "")
            if before is None or not before["subscriber"]:
                return None
            names = ("subscriber", "region", "line", "model", "contact", "asn")
            return Line(**{name: before[name] for name in names}, places=())

    def _places(
        self, incidents: list[Row], members: dict[str, list[Row]], lines: dict[str, Line | None], had: dict[str, Row]
    ) -> list[Statement]:
        """Statements that record which incident is in which case."""
        whose = {row["id"]: number for number, rows in members.items() for row in rows}
        plan: list[Statement] = []
        for row in incidents:
            line = lines.get(row["id"])
            values = {
                "router": row["router"],
                "incident": row["id"],
                "dev": row["dev"],
                "case_id": whose.get(row["id"]),
                "begun_at": row["raised_at"] or row["opened_at"],
                "seen": self._seen(row),
                "mapped": line.key if line else "",
            }
            plan.append((_INCIDENT, values))
        if len(incidents) == model.MAX_INCIDENTS:
            last = {name: incidents[-1][name] for name in ("router", "dev", "id", "opened_at")}
            plan.append((_BEYOND, {"flag": self.flag, **last}))
        here = {row["id"] for row in incidents}
        for gone in had:
            if gone not in here:
                plan.append((_FORGET, {"router": had[gone]["router"], "incident": gone, "dev": had[gone]["dev"]}))
        return plan

    def _seen(self, row: Row) -> str:
        raised, closed = ("-" if row[name] is None else row[name] for name in ("raised_at", "closed_at"))
        return (
            f"{self.flag} {row['boot']} {row['seq']} {row['opened_at']} {raised} {closed} {row['changed_at']}"
        )  # fmt: skip

    async def _news(self, values: dict[str, Any], folded: History, numbers: list[str], now: int) -> list[Statement]:
        slots: dict[str, None] = {}
        for number in numbers:
            rows = await self._store.read("SELECT slot FROM desk_event WHERE case_id = :id ORDER BY n", id=number)
            slots |= {row["slot"]: None for row in rows}
        old = values["heard_at"] < self._terms.notify_since
        news = notifications.news(folded, slots, values["heard_at"])
        return notifications.statements(values, news, len(slots), now, old, self._terms.texts)


def case_id(subscriber: str, router: str, dev: str) -> str:
    """16 hex digits, always the same for the same device of the same subscriber."""
    return hashlib.sha256(json.dumps([subscriber, router, dev]).encode()).hexdigest()[:16]


def _of_line(line: Line | None) -> dict[str, Any]:
    """What the map knows of the subscriber."""
    names = ("subscriber", "region", "line", "model", "contact")
    return {**{name: getattr(line, name) if line else "" for name in names}, "asn": line.asn if line else None}


def _columns(
    number: str, rows: list[Row], line: Line | None, folded: History, found: list[funnel.Clean], done: list[Action]
) -> dict[str, Any]:
    """rows: the case's incidents, newest first."""
    newest = max(rows, key=lambda row: (row["updated_at"], row["id"]))
    active = {row["standing"] for row in rows if row["id"] in folded.active}
    seen: Counter[str] = Counter()
    for row in rows:
        seen.update(indicators.read(row["ind"]))
    heard_at = max(row["changed_at"] for row in rows)
    return {
        "id": number,
        "router": newest["router"],
        "dev": newest["dev"],
        **_of_line(line),
        "oui": next((row["oui"] for row in rows if row["oui"]), None),
        "standing": "clear" if not active else "compromised" if "compromised" in active else "suspected",
        "act": newest["act"],
        "first_at": min(row["first_at"] for row in rows),
        "last_at": max(row["last_at"] for row in rows),
        "incidents": len(rows),
        **{name: sum(row[name] for row in rows) for name in ("conns", "nets", "msgs", "rcpts", "refused")},
        "ind": json.dumps(dict(sorted(seen.items())), separators=(",", ":")),
        "opened_at": folded.episodes[0].begun_at,
        **actions.state_columns(folded, found),
        "assignee": history.assignee(done),
        "acted": len(done),
        "heard_at": heard_at,
        "changed_at": max([heard_at, *(action.at for action in done)]),
    }


def _follow(old: dict[str, Row], members: dict[str, list[Row]], had: dict[str, Row]) -> dict[str, str]:
    """Cases that no longer exist, and the one that replaces each: the case of its latest incident."""
    now = {row["id"]: (number, row["opened_at"]) for number, rows in members.items() for row in rows}
    out = {}
    for gone in old:
        if gone in members:
            continue
        heirs = [now[incident] for incident, row in had.items() if row["case_id"] == gone and incident in now]
        out[gone] = max(heirs, key=lambda heir: (heir[1], heir[0]))[0] if heirs else ""
    return out


def _move(gone: str, into: str) -> list[Statement]:
    """Moves actions, events, mails and aliases to the case that replaces this one; "" deletes them."""
    both = {"gone": gone, "into": into}
    plan: list[Statement] = [
        ("DELETE FROM desk_case WHERE id = :gone", {"gone": gone}),
        ("DELETE FROM desk_episode WHERE case_id = :gone", {"gone": gone}),
    ]
    if into:
        plan += [
            ("UPDATE desk_case_action SET case_id = :into WHERE case_id = :gone", both),
            ("UPDATE desk_event SET case_id = :into WHERE case_id = :gone", both),
            ("UPDATE desk_mail SET case_id = :into WHERE case_id = :gone", both),
            ("UPDATE desk_instruction SET case_id = :into WHERE case_id = :gone", both),
            ("DELETE FROM desk_case_alias WHERE old = :into", {"into": into}),
            ("UPDATE desk_case_alias SET id = :into WHERE id = :gone", both),
            (
                "INSERT INTO desk_case_alias (old, id) VALUES (:gone, :into)"
                " ON CONFLICT (old) DO UPDATE SET id = excluded.id",
                both,
            ),
        ]
    else:
        plan += delete_related(gone)
    return plan


def delete_related(number: str) -> list[Statement]:
    """Deletes the actions, events, mails, instructions and aliases of a case."""
    tables = (
        ("desk_case_action", "case_id"),
        ("desk_event", "case_id"),
        ("desk_mail", "case_id"),
        ("desk_instruction", "case_id"),
        ("desk_case_alias", "id"),
    )
    return [(f"DELETE FROM {table} WHERE {column} = :gone", {"gone": number}) for table, column in tables]


_NAMES = (
    "id", "router", "dev", "subscriber", "region", "line", "model", "contact", "asn", "oui", "standing", "act",
    "first_at", "last_at", "incidents", "conns", "nets", "msgs", "rcpts", "refused", "ind", "opened_at",
    *actions.STATE_COLUMNS, "acted", "changed_at", "assignee",
)  # fmt: skip
_CASE = (
    f"INSERT INTO desk_case ({', '.join(_NAMES)}) VALUES ({', '.join(':' + name for name in _NAMES)})"
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _NAMES[1:])}"
)
_PLACE = ("router", "incident", "dev", "case_id", "begun_at", "seen", "mapped")
_INCIDENT = (
    f"INSERT INTO desk_incident ({', '.join(_PLACE)}) VALUES ({', '.join(':' + name for name in _PLACE)})"
    f" ON CONFLICT (router, incident) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _PLACE[2:])}"
)
#: Incidents beyond the limit: older than all that were read, and in no case.
_BEYOND = f"""
INSERT INTO desk_incident (router, incident, dev, case_id, begun_at, seen, mapped)
SELECT i.router, i.id, i.dev, NULL, i.opened_at, {SEEN}, '' FROM incident i
WHERE i.router = :router AND i.dev = :dev
    AND (i.opened_at < :opened_at OR (i.opened_at = :opened_at AND i.id > :id))
ON CONFLICT (router, incident) DO UPDATE SET dev = excluded.dev, case_id = NULL, seen = excluded.seen
"""
_FORGET = """
DELETE FROM desk_incident WHERE router = :router AND incident = :incident AND dev = :dev
    AND NOT EXISTS (SELECT 1 FROM incident i WHERE i.router = :router AND i.id = :incident AND i.dev = :dev)
"""
