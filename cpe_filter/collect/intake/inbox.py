"""Many reports, one commit: reports that arrive while a commit runs share the next one.

Knows a store and its errors. Must not know HTTP or what a report says. A report is stored when `put` returns, never
before. A report that the store refuses does not affect the others of its batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import probe
from cpe_filter.collect.store.base import Store, StoreError, StoreUnavailableError, UnstorableError
from cpe_filter.collect.wire import Report

#: Reports in one transaction.
MAX_BATCH = 256
#: Events that may wait, for each report that may: most reports have one event, the largest take 3 MB.
EVENTS_EACH = 16
#: Time limit of a commit: then its senders get 503. It may still succeed, which does no harm.
COMMIT_S = 15.0


class Sink(Protocol):
    """Where the application puts reports."""

    async def put(self, report: Report) -> None:
        """Stores a report durably. Raises `StoreUnavailableError` or `UnstorableError`."""

    async def ready(self) -> None:
        """Raises `StoreError` where `put` could not work now."""


class Inbox:
    """A `Sink` before a store, with at most `most` reports that wait, and 16 times as many events."""

    def __init__(self, store: Store, metrics: Metrics, most: int = 4096) -> None:
        self._store, self._metrics, self._most = store, metrics, most
        self._waiting: deque[tuple[Report, asyncio.Future[None]]] = deque()
        self._events = 0
        self._work: asyncio.Task[None] | None = None

    async def put(self, report: Report) -> None:
        if len(self._waiting) >= self._most or self._events >= self._most * EVENTS_EACH:
            raise StoreUnavailableError(f"{len(self._waiting)} reports with {self._events} events are waiting")
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((report, kept))
        self._events += len(report.events)
        self._metrics.waiting.set(len(self._waiting))
        if self._work is None:
            self._work = asyncio.create_task(self._run())
        await kept

    async def ready(self) -> None:
        await probe.write(self._store)

    async def close(self) -> None:
        """Waits until all reports are stored or refused."""
        while self._work is not None:
            await asyncio.wait([self._work])

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                self._events -= sum(len(report.events) for report, _ in batch)
                self._metrics.waiting.set(len(self._waiting))
                # A report whose sender has disconnected is stored, too: it saves the next attempt.
                await self._keep(batch)
        finally:
            self._work = None

    async def _keep(self, batch: list[tuple[Report, asyncio.Future[None]]]) -> None:
        error = await self._add([report for report, _ in batch])
        if isinstance(error, UnstorableError) and len(batch) > 1:
            for one in batch:
                await self._keep([one])
            return
        for _, kept in batch:
            if not kept.done():
                if error is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(error)

    async def _add(self, reports: list[Report]) -> StoreError | None:
        try:
            with self._metrics.commit_seconds.time():
                new = await asyncio.wait_for(self._store.add(reports), COMMIT_S)
        except (asyncio.TimeoutError, TimeoutError):
            return StoreUnavailableError(f"the store took over {COMMIT_S:g} s")
        except StoreError as error:
            return error
        except Exception as error:  # a bug here must not leave the senders waiting
            self._metrics.log.exception("inbox failed")
            return StoreUnavailableError(f"{type(error).__name__}")
        self._metrics.stored(reports, new)
        return None
