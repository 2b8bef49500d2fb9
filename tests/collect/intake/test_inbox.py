"""Reports that wait together are kept together, and one that is refused does not take others with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from cpe_filter.collect.intake import inbox
from cpe_filter.collect.intake.inbox import Inbox
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Row, Statement, StoreUnavailableError, UnstorableError
from cpe_filter.collect.wire import Report
from tests.collect.reports import incident, report


class Store:
    """Keeps lists; `gate` holds a commit up; what `fault` gives for a batch is raised."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Callable[[Sequence[Report]], Exception | None] = lambda reports: None

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def add(self, reports: Sequence[Report]) -> int:
        await self.gate.wait()
        fault = self.fault(reports)
        if fault is not None:
            raise fault
        self.batches.append([one.router for one in reports])
        return len(reports)

    async def read(self, sql: str, /, **parameters: Any) -> list[Row]:
        return []

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        return []


def one(name: str) -> Report:
    return report(incident(1), router=name)


def test_events_that_wait_are_bounded_too() -> None:
    """Reports of 256 events each would hold thousands of times the memory of ordinary ones."""

    async def work(store: Store, box: Inbox) -> None:
        store.gate.clear()
        tasks = [asyncio.create_task(box.put(report(*[incident(n) for n in range(100)], router="r")))]
        await asyncio.sleep(0.01)  # this one is being kept
        tasks += [asyncio.create_task(box.put(report(*[incident(n) for n in range(80)], router="r"))) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailableError, match="2 reports with 160 events are waiting"):
            await box.put(one("late"))
        store.gate.set()
        await asyncio.gather(*tasks)
        await box.put(one("later"))
        assert store.batches == [["r"], ["r", "r"], ["later"]]

    run(work, most=10)


def run(work: Callable[[Store, Inbox], Awaitable[None]], most: int = 100) -> None:
    async def inside() -> None:
        store = Store()
        await work(store, Inbox(store, Metrics(), most))

    asyncio.run(asyncio.wait_for(inside(), 20))


def test_those_who_wait_go_together() -> None:
    async def work(store: Store, box: Inbox) -> None:
        store.gate.clear()
        puts = [asyncio.create_task(box.put(one("a")))]
        await asyncio.sleep(0.01)
        puts += [asyncio.create_task(box.put(one(name))) for name in "bcd"]
        await asyncio.sleep(0.01)
        assert not any(put.done() for put in puts)  # nothing is kept yet
        store.gate.set()
        await asyncio.gather(*puts)
        assert store.batches == [["a"], ["b", "c", "d"]]

    run(work)


def test_batches_and_those_who_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_BATCH", 4)

    async def work(store: Store, box: Inbox) -> None:
        store.gate.clear()
        puts = [asyncio.create_task(box.put(one(f"r{n}"))) for n in range(30)]
        await asyncio.sleep(0.01)
        refused = [put for put in puts if put.done()]
        assert len(refused) == 20
        assert all(isinstance(put.exception(), StoreUnavailableError) for put in refused)
        store.gate.set()
        await box.close()
        assert max(len(batch) for batch in store.batches) == 4
        assert sum(len(batch) for batch in store.batches) == 10

    run(work, most=10)


def test_refused_report_leaves_its_neighbours_alone() -> None:
    async def work(store: Store, box: Inbox) -> None:
        store.fault = lambda reports: UnstorableError("no") if any(one.router == "bad" for one in reports) else None
        results = await asyncio.gather(*(box.put(one(name)) for name in ("a", "bad", "b")), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), UnstorableError, type(None)]
        assert store.batches == [["a"], ["b"]]

    run(work)


@pytest.mark.parametrize("fault", [StoreUnavailableError("gone"), ValueError("a bug")])
def test_fault_reaches_everybody_and_the_inbox_goes_on(fault: Exception) -> None:
    async def work(store: Store, box: Inbox) -> None:
        store.fault = lambda reports: fault
        results = await asyncio.gather(*(box.put(one(name)) for name in "ab"), return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailableError, StoreUnavailableError]
        store.fault = lambda reports: None
        await box.put(one("c"))
        assert store.batches == [["c"]]

    run(work)


def test_commit_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "COMMIT_S", 0.05)

    async def work(store: Store, box: Inbox) -> None:
        store.gate.clear()
        with pytest.raises(StoreUnavailableError, match="took over"):
            await box.put(one("a"))
        store.gate.set()
        await box.put(one("b"))

    run(work)


def test_sender_that_goes_away_is_kept_all_the_same() -> None:
    async def work(store: Store, box: Inbox) -> None:
        store.gate.clear()
        gone = asyncio.create_task(box.put(one("gone")))
        other = asyncio.create_task(box.put(one("other")))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0)
        store.gate.set()
        await other
        assert sorted(name for batch in store.batches for name in batch) == ["gone", "other"]

    run(work)
