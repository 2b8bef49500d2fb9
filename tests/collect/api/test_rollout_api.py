"""How far documents have come, over the API: what it says is what the page says; lists in parts; the ETag."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.api.operations import PREFIX
from cpe_filter.collect.store.base import Store
from tests.collect.api.client import Client
from tests.collect.rollout.story import story
from tests.collect.store.test_sql_documents import document, sent

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def test_the_figures(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        isp, terms = await story(store, tmp_path)
        client = await Client(store, published=terms.published).with_tokens()
        answer = await client.get("/rollout")
        assert (answer.status, answer.body["routers"], answer.body["published"]) == (200, 40, True)
        now, before = answer.body["documents"]
        assert now["doc"] == isp.channel["documents"][-1]["digest"]
        assert {name: now[name] for name in ("number", "channel", "state", "permille", "for", "verdict")} == {
            "number": 2, "channel": "routers", "state": "staged", "permille": 500, "for": ["*"], "verdict": "halt",
        }  # fmt: skip
        numbers = ("in_force", "applied", "taken_back", "refused", "excused", "failed", "answered", "expected",
                   "not_heard", "reached_permille")  # fmt: skip
        assert [now[name] for name in numbers] == [11, 10, 5, 3, 2, 6, 17, 20, 1, 275]
        assert now["reasons"][0] == {"result": "taken-back", "why": "relay", "routers": 5}
        assert (before["number"], before["verdict"], before["in_force"]) == (1, None, 29)
        assert answer.headers["etag"] == (await client.get("/rollout")).headers["etag"]
        other = Client(store)
        other.tokens = client.tokens
        without = await other.get("/rollout")
        assert without.headers["etag"] != answer.headers["etag"]
        assert [one["channel"] for one in without.body["documents"]] == [None, None]

    with_store(work)


def test_the_routers_of_a_number(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        isp, _ = await story(store, tmp_path)
        client = await Client(store).with_tokens()
        doc = isp.channel["documents"][-1]["digest"]
        found: list[str] = []
        more: str | None = None
        for _ in range(3):
            path = f"/rollout/routers?type=policy&doc={doc}&result=taken-back&limit=2"
            answer = (await client.get(path + (f"&cursor={more}" if more else ""))).body
            found += [row["router"] for row in answer["routers"]]
            more = answer["next"]
        assert more is None
        assert found == [f"cpe-{n}" for n in range(10, 15)]
        (row,) = (await client.get(f"/rollout/routers?type=policy&doc={doc}&result=refused&why=content")).body[
            "routers"
        ]
        assert (row["router"], row["result"], row["why"], row["number"], row["version"]) == (
            "cpe-18", "refused", "content", 2, "1",
        )  # fmt: skip
        assert len((await client.get(f"/rollout/routers?type=policy&doc={doc}&result=in-force")).body["routers"]) == 11
        # What could not be read has no digest.
        await store.add([sent(document(9, 999, "refused", doc="", why="format"), router="cpe-00")])
        (row,) = (await client.get("/rollout/routers?type=policy&result=refused")).body["routers"]
        assert (row["number"], row["why"]) == (None, "format")

    with_store(work)


@pytest.mark.parametrize("query", ["", "?type=policy", "?result=applied", "?type=x&result=applied",
                                   "?type=policy&result=x", "?type=policy&result=applied&cursor=x"])  # fmt: skip
def test_what_is_not_a_list(with_store: WithStore, query: str) -> None:
    async def work(store: Store) -> None:
        client = await Client(store).with_tokens()
        assert (await client.get(f"/rollout/routers{query}")).problem == "bad-request"

    with_store(work)


def test_who_may_read_it(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([sent(document(1, 100))])
        client = await Client(store).with_tokens()
        for path in ("/rollout", "/rollout/routers?type=policy&result=applied"):
            assert (await client.get(path, role="")).status == 401
            assert (await client.get(path, role="read")).status == 200
            assert (await client.ask(PREFIX + path, "POST", "admin", b"{}")).status == 405

    with_store(work)
