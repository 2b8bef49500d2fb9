"""Updates cases when incidents, actions or the subscriber map have changed.

Knows the tables `incident` and desk_*, and the subscriber map. Must not know HTTP or people. A case is computed from
all its incidents and actions whenever one of them changes (history.fold). Late and disordered reports give the same
case as ordered ones, and building it twice changes nothing.

Which incidents have changed: `desk_incident.seen` is the state in which each was used. A pass compares those that
changed since the last pass, less `OVERLAP_S` (commits are not in the order of receipt). A regular full pass compares
all, for reports that spent hours in a queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from cpe_filter.collect.cases.funnel import DAY
from cpe_filter.collect.cases.plan import SEEN, Planner, Terms
from cpe_filter.collect.store.base import Row, Statement, Store, UnstorableError
from cpe_filter.collect.subscribers.map import MapUnavailableError, Subscribers

OVERLAP_S = 120
#: Devices in one query, and in one transaction.
CHUNK = 512
_BATCH = 64

_DUE = f"""
SELECT i.router, i.dev, d.dev AS was, i.id FROM incident i
LEFT JOIN desk_incident d ON d.router = i.router AND d.incident = i.id
WHERE i.changed_at >= :since AND (i.router > :router OR (i.router = :router AND i.id > :id))
    AND (d.incident IS NULL OR d.dev <> i.dev OR d.seen <> {SEEN})
ORDER BY i.router, i.id LIMIT :most
"""
_GONE = """
SELECT DISTINCT d.router, d.dev FROM desk_incident d LEFT JOIN incident i ON i.router = d.router AND i.id = d.incident
WHERE i.id IS NULL LIMIT :most
"""
#: Cases that do not include all their actions: two processes wrote at once.
_ACTED = """
SELECT c.router, c.dev FROM desk_case c
WHERE c.acted <> (SELECT COUNT(*) FROM desk_case_action a WHERE a.case_id = c.id) LIMIT :most
"""
_ACTED_SINCE = """
SELECT c.router, c.dev FROM desk_case c
WHERE c.id IN (SELECT case_id FROM desk_case_action WHERE at >= :since)
    AND c.acted <> (SELECT COUNT(*) FROM desk_case_action a WHERE a.case_id = c.id) LIMIT :most
"""
#: Cases without a finding for so long that they may be clean now, as funnel says.
_QUIET = """
SELECT c.router, c.dev FROM desk_case c JOIN router_state r ON r.router = c.router
WHERE c.clean_since IS NULL AND c.last_at <= :now - :quiet AND r.heard_at >= c.last_at + :quiet
    AND (c.why IS NULL OR c.why NOT IN ('exempt', 'merged')) LIMIT :most
"""
_MAPPED = """
SELECT d.router, d.dev, d.incident, d.mapped, i.opened_at FROM desk_incident d
JOIN incident i ON i.router = d.router AND i.id = d.incident
WHERE d.case_id IS NOT NULL AND (d.mapped = '' OR :all = 1)
    AND (d.router > :router OR (d.router = :router AND d.incident > :incident))
ORDER BY d.router, d.incident LIMIT :most
"""
Device = tuple[str, str]


class CaseUpdater:
    """One process at a time should run it (see `worker`); two do no harm but the same work."""

    def __init__(self, store: Store, subscribers: Subscribers, terms: Terms | None = None) -> None:
        self._store, self._subscribers = store, subscribers
        terms = terms or Terms()
        self._planner = Planner(store, subscribers, terms)
        self._quiet_s = terms.clean_days * DAY
        self._since = 0
        self._log = logging.getLogger("cpe_filter.collect.cases.update")

    async def catch_up(self, now: int, full: bool = False) -> int:
        """Builds what has changed: how many devices. The first call is a full pass. Raises `StoreError`."""
        since = 0 if full else self._since
        built = await self._changed(since, now)
        if since == 0:
            built += await self._repeat(_GONE, now)
            built += await self._repeat(_ACTED, now)
            await self._repeat(_QUIET, now, now=now, quiet=self._quiet_s)
        else:
            built += await self._repeat(_ACTED_SINCE, now, since=since)
        self._since = max(1, now - OVERLAP_S)
        return built

    async def rebuild(self, now: int) -> int:
        """Rebuilds everything, with the same result if nothing was wrong."""
        await self._store.write([("UPDATE desk_incident SET seen = ''", {})])
        built = await self.catch_up(now, full=True)
        lost = (
            "DELETE FROM desk_case WHERE NOT EXISTS (SELECT 1 FROM desk_incident d WHERE d.case_id = desk_case.id)",
            "DELETE FROM desk_episode WHERE NOT EXISTS (SELECT 1 FROM desk_case c WHERE c.id = desk_episode.case_id)",
        )
        await self._store.write([(sql, {}) for sql in lost])
        return built

    async def remap(self, now: int, unknown_only: bool = False) -> int:
        """Builds the cases for which the subscriber map has changed: how many devices."""
        built, place = 0, ("", "")
        while rows := await self._store.read(
            _MAPPED, all=0 if unknown_only else 1, router=place[0], incident=place[1], most=CHUNK
        ):  # fmt: skip
            place = rows[-1]["router"], rows[-1]["incident"]
            moved = await asyncio.gather(*(self._moved(row) for row in rows))
            devices = {(row["router"], row["dev"]): None for row, is_moved in zip(rows, moved, strict=True) if is_moved}
            built += await self._build_all(devices, now)
        return built

    async def _moved(self, row: Row) -> bool:
        try:
            line = await self._subscribers.find(row["router"], row["opened_at"])
        except MapUnavailableError:
            return False
        before: str = row["mapped"]
        return (line.key if line else "") != before

    # ── which devices ───────────────────────────────────────────────────────────────────────────

    async def _changed(self, since: int, now: int) -> int:
        built, place = 0, ("", "")
        while True:
            rows = await self._store.read(
                _DUE, since=since, flag=self._planner.flag, router=place[0], id=place[1], most=CHUNK
            )  # fmt: skip
            devices = {(row["router"], row["dev"]): None for row in rows}
            devices |= {(row["router"], row["was"]): None for row in rows if row["was"] is not None}
            built += await self._build_all(devices, now)
            if len(rows) < CHUNK:
                return built
            place = rows[-1]["router"], rows[-1]["id"]

    async def _repeat(self, sql: str, now: int, /, **parameters: Any) -> int:
        """Repeats a query and builds what it finds, until it finds nothing new."""
        built, before = 0, set[Device]()
        while True:
            rows = await self._store.read(sql, **parameters, most=CHUNK)
            devices = dict.fromkeys((row["router"], row["dev"]) for row in rows)
            new = [device for device in devices if device not in before]
            if not new:
                return built
            before.update(new)
            built += await self._build_all(new, now)

    async def _build_all(self, devices: Iterable[Device], now: int) -> int:
        waiting = list(devices)
        for start in range(0, len(waiting), _BATCH):
            batch = waiting[start : start + _BATCH]
            plans = await asyncio.gather(*(self._planner.plan(router, dev, now) for router, dev in batch))
            try:
                await self._store.write([statement for plan in plans for statement in plan])
            except UnstorableError:
                await self._one_by_one(batch, plans)
        return len(waiting)

    async def _one_by_one(self, batch: Sequence[Device], plans: Sequence[list[Statement]]) -> None:
        for (router, dev), plan in zip(batch, plans, strict=True):
            try:
                await self._store.write(plan)
            except UnstorableError as error:
                self._log.error("case", extra={"fields": {"router": router, "dev": dev, "why": str(error)}})
