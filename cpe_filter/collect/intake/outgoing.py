"""Instructions that wait for a router, for the answers to its reports.

Knows the table desk_instruction. Must not know HTTP, or what an instruction says. They are read now and then for all
routers together, so an answer needs no query. An instruction is sent with each answer until the router has answered it,
or it expires: what has become of it comes as an event of a later report (store.sql). With NATS another process answers
(intake.posted).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cpe_filter.collect.store.base import Statement, Store, StoreError
from cpe_filter.collect.wire import Report
from cpe_filter.send.protocol import MAX_INSTRUCTION, MAX_INSTRUCTIONS

#: Seconds between two reads; instructions that are read, the oldest.
EVERY_S, MOST = 2.0, 20_000
#: Seconds after which an instruction is at each process that answers routers.
_SPREAD_S = 5

_log = logging.getLogger("cpe_filter.collect.intake.outgoing")


class Waiting(NamedTuple):
    """An instruction that its router has not answered. made_at, expires_at: POSIX seconds."""

    id: str
    document: str
    made_at: int
    expires_at: int


def due(waiting: Iterable[Waiting], report: Report) -> list[Waiting]:
    """Those for the answer to a report, the oldest first, without those that it answers itself."""
    answered = {event["doc"] for event in report.events if event["kind"] == "instruction"}
    return [one for one in waiting if one.id not in answered][:MAX_INSTRUCTIONS]


class Outgoing:
    """`refresh` now and then; `of` for each answer, or `stored` where another process answers. waiting: by router."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.waiting: dict[str, list[Waiting]] = {}
        self._sent: set[str] = set()

    def of(self, report: Report) -> list[str]:
        """The documents for the router of a report, the oldest first, without those that it answers in the report. They
        count as sent."""
        found = due(self.waiting.get(report.router, ()), report)
        self._sent.update(one.id for one in found)
        return [one.document for one in found]

    def stored(self, reports: Sequence[Report]) -> None:
        """These reports were answered elsewhere: what was there by then counts as sent."""
        for report in reports:
            found = due(self.waiting.get(report.router, ()), report)
            self._sent.update(one.id for one in found if one.made_at + _SPREAD_S <= report.received)

    async def refresh(self, now: int) -> None:
        """Notes what was sent and what has expired, and reads what waits. Raises `StoreError`."""
        sent, self._sent = self._sent, set()
        statements: list[Statement] = [(_EXPIRE, {"now": now})]
        statements += [(_SENT, {"id": number, "now": now}) for number in sorted(sent)]
        await self._store.write(statements)
        waiting: dict[str, list[Waiting]] = {}
        for row in await self._store.read(_READ, now=now, most=MOST):
            if len(row["document"]) <= MAX_INSTRUCTION:
                one = Waiting(row["id"], row["document"], row["made_at"], row["expires_at"])
                waiting.setdefault(row["router"], []).append(one)
        self.waiting = waiting

    async def run(self) -> None:
        """Until it is cancelled. Never raises."""
        failed = False
        while True:
            try:
                await self.refresh(int(time.time()))
                failed = False
            except StoreError as error:
                if not failed:
                    _log.error("instructions not read", extra={"fields": {"why": str(error)}})
                failed = True
            await asyncio.sleep(EVERY_S)


_OPEN = "state IN ('queued', 'sent')"
_EXPIRE = f"""
UPDATE desk_instruction SET state = 'expired', done_at = :now, document = '' WHERE {_OPEN} AND expires_at <= :now
"""
_SENT = "UPDATE desk_instruction SET state = 'sent', sent_at = :now WHERE id = :id AND state = 'queued'"
_READ = f"""
SELECT id, router, document, made_at, expires_at FROM desk_instruction WHERE {_OPEN} AND expires_at > :now
ORDER BY made_at, sequence, id LIMIT :most
"""
