"""Deletes old cases, and counts the months of cases, which are kept.

Knows the tables of migrations/0002_cases.sql. Must not know what people see of a case. A case is deleted with its
incidents, actions and events some time after it was clean or closed, unless its device is active again. Bodies of
events are deleted with the evidence. Running it twice changes nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from cpe_filter.collect.cases import bulk, history, query
from cpe_filter.collect.cases.model import STAGES
from cpe_filter.collect.cases.notifications import EVENT_STATES, MAIL_STATES, QUEUED
from cpe_filter.collect.cases.plan import delete_related
from cpe_filter.collect.cases.query import MODEL_OF
from cpe_filter.collect.store.base import Row, Statement, Store
from cpe_filter.collect.store.retention import DAY, months

#: Cases in one transaction.
_CHUNK = 200

_OLD = f"""
SELECT c.id FROM desk_case c WHERE c.state IN ('{history.CLEAN}', '{history.CLOSED}') AND c.standing = 'clear'
    AND COALESCE(c.clean_at, 0) < :before AND COALESCE(c.closed_at, 0) < :before LIMIT :most
"""
_BODIES = f"UPDATE desk_event SET body = '' WHERE state <> '{QUEUED}' AND done_at < :before AND body <> ''"
_EXPORTS = """
DELETE FROM desk_export WHERE at < :before AND NOT EXISTS
    (SELECT 1 FROM incident i WHERE i.router = desk_export.router AND i.id = desk_export.incident)
"""
#: The end of an episode.
_END = "COALESCE(e.clean_at, e.closed_at)"
_WHOSE = "CASE WHEN c.subscriber <> '' THEN 's' || c.subscriber ELSE 'r' || c.router END"
_EPISODES = f"""
SELECT {_WHOSE} AS who, c.region, {MODEL_OF} AS model, c.last_at, c.id, e.begun_at, e.notified_at, e.acknowledged_at,
    e.clean_at, {_END} AS over_at
FROM desk_episode e JOIN desk_case c ON c.id = e.case_id LEFT JOIN router_state r ON r.router = c.router
WHERE e.begun_at < :upto AND ({_END} IS NULL OR {_END} >= :since)
"""
_BEFORE = f"""
SELECT {_WHOSE} AS who, MIN(e.begun_at) AS first, MIN({_END}) AS over FROM desk_episode e
JOIN desk_case c ON c.id = e.case_id GROUP BY {_WHOSE}
"""
_COUNTS = (
    "subscribers", "new", "recurring", "cleared", "expired", "notified", "acknowledged", "cleans", "clean_s",
)  # fmt: skip
_MONTH = (
    f"INSERT INTO desk_month (month, region, model, {', '.join(_COUNTS)})"
    f" VALUES (:month, :region, :model, {', '.join(':' + name for name in _COUNTS)})"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """Days. config.keys.KEYS explains each."""

    evidence_days: int = 7
    case_days: int = 365


async def run(store: Store, terms: Terms, now: int) -> dict[str, int]:
    """Runs all parts: how many rows each one changed. Raises `StoreError`."""
    done = {"case_months": await roll_up(store, now)}  # before anything is deleted
    evidence = now - terms.evidence_days * DAY
    done["event_bodies"] = (await store.write([(_BODIES, {"before": evidence})]))[0]
    done["cases"] = await _cases(store, now - terms.case_days * DAY)
    done["batches"] = (await store.write(bulk.forget(now - terms.case_days * DAY)))[1]
    done["exports"] = (await store.write([(_EXPORTS, {"before": evidence})]))[0]
    return done


async def _cases(store: Store, before: int) -> int:
    total = 0
    while rows := await store.read(_OLD, before=before, most=_CHUNK):
        statements: list[Statement] = []
        for row in rows:
            statements += _forget(row["id"])
        await store.write(statements)
        total += len(rows)
    return total


def _forget(number: str) -> list[Statement]:
    gone = {"gone": number}
    incidents = "SELECT d.router, d.incident FROM desk_incident d WHERE d.case_id = :gone"
    return [
        (f"DELETE FROM report WHERE (router, incident) IN ({incidents})", gone),
        (f"DELETE FROM incident WHERE (router, id) IN ({incidents})", gone),
        (f"DELETE FROM desk_export WHERE (router, incident) IN ({incidents})", gone),
        ("DELETE FROM desk_incident WHERE case_id = :gone", gone),
        ("DELETE FROM desk_episode WHERE case_id = :gone", gone),
        ("DELETE FROM desk_case WHERE id = :gone", gone),
        *delete_related(number),
    ]


# ── months ──────────────────────────────────────────────────────────────────────────────────────


async def roll_up(store: Store, now: int) -> int:
    """Counts the last months again, because an event can be late: how many rows they have."""
    before = {row["who"]: row for row in await store.read(_BEFORE)}
    statements: list[Statement] = []
    for month, since, upto in months(now):
        whose: dict[str, list[Row]] = defaultdict(list)
        for row in await store.read(_EPISODES, since=since, upto=upto):
            whose[row["who"]].append(row)
        statements.append(("DELETE FROM desk_month WHERE month = :month", {"month": month}))
        figures: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTS, 0))
        for who, rows in whose.items():
            # They count for the region and model of the latest case.
            latest = max(rows, key=lambda row: (row["last_at"], row["id"]))
            into = figures[latest["region"], latest["model"]]
            for name, count in _count(rows, before.get(who), since, upto).items():
                into[name] += count
        for (region, model), counts in sorted(figures.items()):
            statements.append((_MONTH, {"month": month, "region": region, "model": model, **counts}))
    await store.write(statements)
    return sum(text is _MONTH for text, _ in statements)


def _count(rows: list[Row], before: Row | None, since: int, upto: int) -> dict[str, int]:
    """What one subscriber adds to a month. rows: episodes that overlap it. before: when the first of all began, and
    when the first of all ended."""

    def within(at: int | None) -> bool:
        return at is not None and since <= at < upto

    first, over = (before["first"], before["over"]) if before else (None, None)
    ended = all(row["over_at"] is not None and row["over_at"] < upto for row in rows)
    clean = ended and max(rows, key=lambda row: row["over_at"])["clean_at"] is not None
    cleans = [row["clean_at"] - row["begun_at"] for row in rows if within(row["clean_at"])]
    return {
        "subscribers": 1,
        "new": int(within(first)),
        "recurring": int(any(within(row["begun_at"]) and over is not None and row["begun_at"] >= over for row in rows)),
        "cleared": int(clean),
        "expired": int(ended and not clean),
        **{name: int(any(within(row[f"{name}_at"]) for row in rows)) for name in ("notified", "acknowledged")},
        "cleans": len(cleans),
        "clean_s": sum(cleans),
    }


_STAGES = (
    f"SELECT {', '.join(f'SUM(CASE WHEN {query.in_stage(name)} THEN 1 ELSE 0 END) AS {name}' for name in STAGES)}"
    " FROM desk_case c"
)
_CHANNELS = f"SELECT {', '.join(f'COUNT(told_{name}_at) AS {name}' for name in history.CHANNELS)} FROM desk_episode"


async def figures(store: Store) -> dict[str, dict[tuple[str, ...], int]]:
    """For /metrics: metric -> labels' values -> value."""
    states = await store.read("SELECT state, COUNT(*) AS n FROM desk_case GROUP BY state")
    queue = await store.read("SELECT state, COUNT(*) AS n FROM desk_event GROUP BY state")
    mails = await store.read("SELECT state, COUNT(*) AS n FROM desk_mail GROUP BY state")
    unknown = await store.read("SELECT COUNT(DISTINCT router) AS n FROM desk_case WHERE subscriber = ''")
    ways = await store.read("SELECT COUNT(*) AS n FROM router_state WHERE ways > 0")
    submitters = await store.read("SELECT COALESCE(SUM(submitters), 0) AS n FROM router_state")
    exported = await store.read("SELECT mark, COUNT(*) AS n FROM desk_export WHERE done = 1 GROUP BY mark")
    held = await store.read("SELECT name, value FROM desk_mark WHERE name LIKE :held", held="held %")
    kinds: dict[tuple[str, ...], int] = defaultdict(int)
    for row in exported:
        kinds[(row["mark"].partition("/")[0],)] += row["n"]
    found = {row["state"]: row["n"] for row in states}
    waiting = {row["state"]: row["n"] for row in queue}
    mailed = {row["state"]: row["n"] for row in mails}
    stages = (await store.read(_STAGES))[0]
    channels = (await store.read(_CHANNELS))[0]
    return {
        "cases": {(state,): found.get(state, 0) for state in history.STATES},
        "stages": {(name,): int(number or 0) for name, number in stages.items()},
        "notified": {(name,): int(number) for name, number in channels.items()},
        "unmapped": {(): unknown[0]["n"]},
        "ways": {(): ways[0]["n"]},
        "submitters": {(): int(submitters[0]["n"])},
        "exported": dict(kinds),
        "held": {tuple(row["name"].split()[1:]): row["value"] for row in held},
        "webhook_events": {(state,): waiting.get(state, 0) for state in EVENT_STATES},
        "mail_messages": {(state,): mailed.get(state, 0) for state in MAIL_STATES},
    }
