"""Lists of routers by outcome, in parts, on each engine; what one router has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cpe_filter.collect.rollout.routers import MAX_OUTCOMES, Ask, listed, of_routers
from cpe_filter.collect.rollout.spread import DAY
from cpe_filter.collect.store.base import Store
from tests.collect.reports import NOW
from tests.collect.rollout.story import story
from tests.collect.store.test_sql_documents import document, sent

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def test_each_list(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        isp, _ = await story(store, tmp_path)
        digest = isp.channel["documents"][-1]["digest"]

        async def names(result: str, why: str = "") -> list[int]:
            rows = await listed(store, Ask("policy", digest, result, why), NOW)
            assert {row["result"] for row in rows} <= {result}
            return [int(row["router"].removeprefix("cpe-")) for row in rows]

        assert await names("applied") == list(range(10))
        assert await names("in-force") == [*range(10), 17]
        assert await names("taken-back") == await names("taken-back", "relay") == [10, 11, 12, 13, 14]
        assert await names("taken-back", "dns") == []
        assert await names("refused") == [15, 16, 18]
        assert await names("refused", "content") == [18]
        assert await names("rolled-back") == await names("silent") == []
        await store.write([("UPDATE router_state SET heard_at = :at WHERE router = 'cpe-17'", {"at": NOW - 3 * DAY})])
        assert await names("silent") == [17]
        assert await listed(store, Ask("table", digest, "applied"), NOW) == []
        (row,) = await listed(store, Ask("policy", digest, "taken-back", after="cpe-13"), NOW)
        assert {**row, "heard_at": 0, "at": 0} == {
            "router": "cpe-14", "model": None, "ver": "1", "heard_at": 0, "sequence": 2, "result": "taken-back",
            "why": "relay", "at": 0,
        }  # fmt: skip

    with_store(work)


def test_parts_are_the_whole(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        for n in range(23):
            await store.add([sent(document(1, 100, "refused", why="key"), router=f"r{n}")])
        found: list[str] = []
        while True:
            ask = Ask("policy", "a" * 16, "refused", after=found[-1] if found else "", most=5)
            rows = await listed(store, ask, NOW)
            found += [row["router"] for row in rows]
            if len(rows) < 5:
                break
        assert sorted(found) == sorted(f"r{n}" for n in range(23))
        assert len(set(found)) == 23

    with_store(work)


def test_one_router(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await story(store, tmp_path)
        found = await of_routers(store, ["cpe-10", "nobody"])
        in_force, outcomes = found["cpe-10"]
        assert [(row["type"], row["sequence"]) for row in in_force] == [("policy", 1)]
        assert [(row["sequence"], row["result"]) for row in outcomes] == [(2, "taken-back"), (1, "applied")]
        assert found["nobody"] == ([], [])
        events = [document(n, 600 + n, doc=f"{n:016x}", number=n) for n in range(10, 60)]
        await store.add([sent(*events, router="cpe-10")])
        _, outcomes = (await of_routers(store, ["cpe-10"]))["cpe-10"]
        assert [row["sequence"] for row in outcomes] == [*range(59, 59 - MAX_OUTCOMES, -1)]

    with_store(work)
