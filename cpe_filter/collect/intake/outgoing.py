"""Instructions that wait for a router, for the answers to its reports.

Knows the table desk_instruction. Must not know HTTP, or what an instruction says. They are read now and then for all
routers together, so an answer needs no query. An instruction is sent with each answer until the router has answered it,
or it expires: what has become of it comes as an event of a later report (store.sql).
"""

from __future__ import annotations

import asyncio
import logging
import time

from cpe_filter.collect.store.base import Statement, Store, StoreError
from cpe_filter.collect.wire import Report
from cpe_filter.send.protocol import MAX_INSTRUCTION, MAX_INSTRUCTIONS

#: Seconds between two reads; instructions that are read, the oldest.
EVERY_S, MOST = 2.0, 20_000

_log = logging.getLogger("cpe_filter.collect.intake.outgoing")


class Outgoing:
    """`refresh` now and then; `of` for each answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[tuple[str, str]]] = {}
        self._sent: set[str] = set()

    def of(self, report: Report) -> list[str]:
        """The documents for the router of a report, the oldest first, without those that it answers in the report. They
        count as sent."""
        waiting = self._waiting.get(report.router)
        if waiting is None:
            return []
        answered = {event["doc"] for event in report.events if event["kind"] == "instruction"}
        found = [one for one in waiting if one[0] not in answered][:MAX_INSTRUCTIONS]
        self._sent.update(number for number, _ in found)
        return [text for _, text in found]

    async def refresh(self, now: int) -> None:
        """Notes what was sent and what has expired, and reads what waits. Raises `StoreError`."""
        sent, self._sent = self._sent, set()
        statements: list[Statement] = [(_EXPIRE, {"now": now})]
        statements += [(_SENT, {"id": number, "now": now}) for number in sorted(sent)]
        await self._store.write(statements)
        waiting: dict[str, list[tuple[str, str]]] = {}
        for row in await self._store.read(_READ, now=now, most=MOST):
            if len(row["document"]) <= MAX_INSTRUCTION:
                waiting.setdefault(row["router"], []).append((row["id"], row["document"]))
        self._waiting = waiting

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
SELECT id, router, document FROM desk_instruction WHERE {_OPEN} AND expires_at > :now
ORDER BY made_at, sequence, id LIMIT :most
"""
