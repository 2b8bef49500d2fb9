"""The queue of events: what is given up and what is queued again, to the second and to the event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cpe_filter.collect.cases import queue
from cpe_filter.collect.cases.notifications import EVENT_STATES
from cpe_filter.collect.store.base import Store

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
NOW = 1_800_000_000

_INSERT = """
INSERT INTO desk_event (id, case_id, slot, n, kind, at, made_at, body, state, tries, next_at, done_at, status, why)
VALUES (:id, :case_id, :id, :n, 'opened', :at, :at, :body, :state, 0, :at, NULL, NULL, NULL)
"""


async def add(store: Store, number: int, at: int, case: str = "", state: str = "queued", body: str = "{}") -> None:
    values = {"id": f"e{number}", "case_id": case or f"c{number}", "n": number, "at": at, "state": state, "body": body}
    await store.write([(_INSERT, values)])


async def states(store: Store) -> dict[str, str]:
    rows = await store.read("SELECT id, state FROM desk_event")
    return {row["id"]: row["state"] for row in rows}


def test_what_is_older_than_allowed_is_given_up(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await add(store, 1, NOW - 101)
        await add(store, 2, NOW - 100)
        await add(store, 3, NOW - 101, state="delivered")
        assert await queue.give_up_old(store, NOW, 100, 10) == 1
        assert await states(store) == {"e1": "dead", "e2": "queued", "e3": "delivered"}
        (row,) = await queue.read_given_up(store)
        assert (row["id"], row["done_at"], row["why"]) == ("e1", NOW, "never tried; too old")

    with_store(work)


def test_the_oldest_beyond_the_limit_are_given_up(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        for number in range(4):
            await add(store, number, NOW)
        assert await queue.give_up_old(store, NOW, 100, 4) == 0
        assert await queue.give_up_old(store, NOW, 100, 3) == 1
        assert await states(store) == {"e0": "dead", "e1": "queued", "e2": "queued", "e3": "queued"}

    with_store(work)


def test_only_the_first_event_of_a_case_is_due(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await add(store, 1, NOW, case="a")
        await add(store, 2, NOW - 5, case="a")
        await add(store, 3, NOW, case="b", state="dead")
        await add(store, 4, NOW, case="b")
        await add(store, 5, NOW + 1, case="c")
        assert [row["id"] for row in await queue.due(store, NOW, 10)] == ["e1", "e4"]
        assert [row["id"] for row in await queue.due(store, NOW, 1)] == ["e1"]
        await store.write([queue.delivered("e1", NOW, 204)])
        assert [row["id"] for row in await queue.due(store, NOW, 10)] == ["e2", "e4"]

    with_store(work)


def test_what_was_given_up_is_queued_again_if_it_has_a_body(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await add(store, 1, NOW, state="dead")
        await add(store, 2, NOW, state="dead", body="")
        await add(store, 3, NOW, state="skipped")
        assert await queue.requeue(store, NOW + 9) == 1
        assert await states(store) == {"e1": "queued", "e2": "dead", "e3": "skipped"}
        (row,) = await queue.due(store, NOW + 9, 10)
        assert (row["id"], row["made_at"], row["tries"]) == ("e1", NOW + 9, 0)

    with_store(work)


def test_an_attempt_is_recorded(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        for number in range(3):
            await add(store, number, NOW)
        await store.write([
            queue.delivered("e0", NOW, 204), queue.given_up("e1", NOW, 410, "status 410"),
            queue.postponed("e2", NOW + 60, None, "no answer in 10 s"),
        ])  # fmt: skip
        sql = "SELECT state, tries, next_at, done_at, status, why FROM desk_event ORDER BY n"
        assert [tuple(row.values()) for row in await store.read(sql)] == [
            ("delivered", 1, NOW, NOW, 204, None),
            ("dead", 1, NOW, NOW, 410, "status 410"),
            ("queued", 1, NOW + 60, None, None, "no answer in 10 s"),
        ]
        assert {row["state"] for row in await store.read("SELECT state FROM desk_event")} <= set(EVENT_STATES)

    with_store(work)
