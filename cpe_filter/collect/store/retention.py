"""Deletes what is too old, and fills the table of months. Running it twice changes nothing more.

Knows the tables of reports and the times for which each is kept. Must not know cases. Evidence (single events; names
and ports of closed incidents) is deleted after days, closed incidents and silent routers after a year or so.
`compromised_month` is kept: it has no evidence. An open incident without news for a long time is closed as `silent`, so
that a scrapped router does not count without end; news reopens it.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cpe_filter.collect.store.base import Statement, Store

DAY = 86_400
#: Rows deleted in one transaction, so that others can write in between.
CHUNK = 5000
#: Months that are counted again: an event can be late.
_MONTHS = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """Days. config.keys.KEYS explains each."""

    evidence_days: int = 7
    incident_days: int = 400
    silent_days: int = 30


ROLL_UP = """
INSERT INTO compromised_month (month, router, dev, model, first_at, last_at, closed_at)
SELECT :month, i.router, i.dev, MAX(r.model), MIN(i.raised_at),
    MAX(CASE WHEN i.updated_at < :upto THEN i.updated_at ELSE :upto - 1 END),
    CASE WHEN COUNT(i.closed_at) = COUNT(*) AND MAX(i.closed_at) < :upto THEN MAX(i.closed_at) ELSE NULL END
FROM incident i LEFT JOIN router_state r ON r.router = i.router
WHERE i.raised_at < :upto AND (i.closed_at IS NULL OR i.closed_at >= :since)
GROUP BY i.router, i.dev
ON CONFLICT (month, router, dev) DO UPDATE SET
    model = COALESCE(excluded.model, compromised_month.model),
    first_at = excluded.first_at, last_at = excluded.last_at, closed_at = excluded.closed_at
"""

SILENT = """
UPDATE incident SET closed_at = :now, why = 'silent', changed_at = :now
WHERE closed_at IS NULL AND updated_at < :before
"""

FORGET = """
UPDATE incident SET name = NULL, sp = NULL, address = NULL
WHERE closed_at < :before AND (name IS NOT NULL OR sp IS NOT NULL OR address IS NOT NULL)
"""

EVENTS = """
DELETE FROM report WHERE (router, boot, seq) IN
    (SELECT router, boot, seq FROM report WHERE received < :before ORDER BY received LIMIT :chunk)
"""
INCIDENTS = """
DELETE FROM incident WHERE (router, id) IN
    (SELECT router, id FROM incident WHERE closed_at < :before ORDER BY closed_at LIMIT :chunk)
"""
ROUTERS = """
DELETE FROM router_state WHERE router IN
    (SELECT router FROM router_state WHERE heard_at < :before ORDER BY heard_at LIMIT :chunk)
"""
# Documents that a router reports are its own words: it could invent any number. The latest of each type are kept.
OUTCOMES = """
DELETE FROM router_document WHERE (router, type, digest) IN (SELECT router, type, digest FROM (
    SELECT router, type, digest, at,
        ROW_NUMBER() OVER (PARTITION BY router, type ORDER BY at DESC, digest) AS place FROM router_document
) numbered WHERE at < :before OR place > 32 LIMIT :chunk)
"""
IN_FORCE = """
DELETE FROM router_in_force WHERE (router, type) IN
    (SELECT router, type FROM router_in_force WHERE at < :before LIMIT :chunk)
"""


async def run(store: Store, terms: Terms, now: int) -> dict[str, int]:
    """Runs all parts: how many rows each one changed. Raises `StoreError`."""
    done = {"silent": await _one(store, SILENT, now=now, before=now - terms.silent_days * DAY)}
    # Before anything is deleted.
    done["months"] = sum(await store.write([roll_up(*month) for month in months(now)]))
    evidence = now - terms.evidence_days * DAY
    done["forgotten"] = await _one(store, FORGET, before=evidence)
    done["events"] = await _delete(store, EVENTS, evidence)
    old = now - terms.incident_days * DAY
    done["incidents"] = await _delete(store, INCIDENTS, old)
    done["routers"] = await _delete(store, ROUTERS, old)
    done["documents"] = await _delete(store, OUTCOMES, old) + await _delete(store, IN_FORCE, old)
    return done


def months(now: int) -> list[tuple[str, int, int]]:
    """The last months (UTC): `YYYY-MM`, its first second, and the first after it."""
    out = []
    first = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).date().replace(day=1)
    for _ in range(_MONTHS):
        following = (first + datetime.timedelta(days=31)).replace(day=1)
        out.append((first.strftime("%Y-%m"), _second(first), _second(following)))
        first = (first - datetime.timedelta(days=1)).replace(day=1)
    return out


def roll_up(month: str, since: int, upto: int) -> Statement:
    return ROLL_UP, {"month": month, "since": since, "upto": upto}


def _second(day: datetime.date) -> int:
    midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.timezone.utc)
    return int(midnight.timestamp())


async def _one(store: Store, sql: str, **parameters: int) -> int:
    return (await store.write([(sql, parameters)]))[0]


async def _delete(store: Store, sql: str, before: int) -> int:
    total = 0
    while True:
        count = await _one(store, sql, before=before, chunk=CHUNK)
        total += count
        if count < CHUNK:
            return total
