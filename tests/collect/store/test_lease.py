"""Who does the work: one at a time, not for ever, and nobody waits for the dead of this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess

from cpe_filter.collect.store import lease
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore
from tests.collect.reports import NOW


def test_one_at_a_time(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        taken = await asyncio.gather(*(lease.take(store, "job", NOW, 60, f"other:{n}:x") for n in range(10)))
        assert sum(taken) == 1
        first = f"other:{taken.index(True)}:x"
        assert await lease.take(store, "job", NOW + 59, 60, first)  # renewed
        assert not await lease.take(store, "job", NOW + 118, 60, "second:1:x")
        assert await lease.take(store, "another job", NOW, 60, "second:1:x")
        assert await lease.take(store, "job", NOW + 119, 60, "second:1:x")
        assert not await lease.take(store, "job", NOW + 120, 60, first)
        await lease.give(store, "job", first)  # not its own
        assert not await lease.take(store, "job", NOW + 121, 60, first)
        await lease.give(store, "job", "second:1:x")
        assert await lease.take(store, "job", NOW + 121, 60, first)

    with_store(work)


def test_dead_of_this_machine_hold_nothing(with_store: WithStore) -> None:
    node = os.uname().nodename
    gone = subprocess.Popen(["true"])
    gone.wait()

    async def work(store: Store) -> None:
        for number, (holder, free) in enumerate(
            [
                (f"{node}:{gone.pid}:x", True), (f"{node}:{os.getpid()}:before", True),
                (f"{node}:{os.getppid()}:x", False),
                (f"elsewhere:{gone.pid}:x", False), (f"{node}:{'9' * 30}:x", False), (node, False), ("", False),
            ]
        ):  # fmt: skip
            assert await lease.take(store, f"job {number}", NOW, 60, holder)
            assert await lease.take(store, f"job {number}", NOW, 60) == free, holder
        assert await lease.take(store, "mine", NOW, 60)
        assert not await lease.take(store, "mine", NOW, 60, "other:1:x")

    with_store(work)
