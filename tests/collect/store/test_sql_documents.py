"""What has become of documents: in any order of reports, of each engine; what a hostile router can fill."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpe_filter.collect.store import retention
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.retention import DAY, Terms
from cpe_filter.collect.wire import Report
from tests.collect.reports import BOOT, NOW, heartbeat

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
#: Digests of documents.
A, B, C = (letter * 16 for letter in "abc")


def document(seq: int, up: int, result: str = "applied", doc: str = A, number: int = 7, **more: Any) -> dict[str, Any]:
    named = {"doc": doc, "number": number} if doc else {}
    return {"seq": seq, "up": up, "kind": "document", "type": "policy", "result": result, **named, **more}


def unsigned(seq: int, up: int, **more: Any) -> dict[str, Any]:
    """A refusal of what has no good signature: nothing in it is believed."""
    return {"seq": seq, "up": up, "kind": "document", "result": "refused", **more}


def docs(seq: int, up: int, *found: tuple[str, str, int]) -> dict[str, Any]:
    listed = [{"type": kind, "doc": doc, "number": number} for kind, doc, number in found]
    return heartbeat(seq, up, **({"docs": listed} if listed else {}))


def sent(*events: dict[str, Any], router: str = "r1", up: int = 1000) -> Report:
    """As after the wire; NOW is the uptime 1000."""
    return Report(
        router, None, NOW, BOOT, up, NOW, synced=True, pol="", ver="1", model=None, dropped=0, events=tuple(events)
    )


async def outcomes(store: Store) -> list[tuple[Any, ...]]:
    rows = await store.read("SELECT * FROM router_document ORDER BY router, type, digest")
    names = ("router", "type", "digest", "sequence", "result", "why", "at")
    return [tuple(row[name] for name in names) for row in rows]


async def in_force(store: Store, router: str = "r1") -> dict[str, tuple[str, int, int]]:
    rows = await store.read("SELECT * FROM router_in_force WHERE router = :router", router=router)
    return {row["type"]: (row["digest"], row["sequence"], row["since"]) for row in rows if row["digest"]}


STORIES: dict[str, tuple[list[Report], list[tuple[Any, ...]], dict[str, tuple[str, int, int]]]] = {
    "applied, and confirmed by the heartbeat": (
        [sent(document(1, 100)), sent(docs(2, 500, ("policy", A, 7)))],
        [("r1", "policy", A, 7, "applied", None, NOW - 900)],
        {"policy": (A, 7, NOW - 900)},
    ),
    "taken back: the one before stays": (
        [sent(document(1, 100)), sent(document(2, 200, "taken-back", B, 8, why="relay"))],
        [
            ("r1", "policy", A, 7, "applied", None, NOW - 900),
            ("r1", "policy", B, 8, "taken-back", "relay", NOW - 800),
        ],
        {"policy": (A, 7, NOW - 900)},
    ),
    "rolled back by a person: nothing is known until the heartbeat": (
        [sent(document(1, 100)), sent(document(2, 200, "rolled-back"))],
        [("r1", "policy", A, 7, "rolled-back", None, NOW - 800)],
        {},
    ),
    "a later one takes its place, by a heartbeat alone": (
        [sent(document(1, 100)), sent(docs(3, 500, ("policy", B, 8), ("table", C, 3)))],
        [("r1", "policy", A, 7, "applied", None, NOW - 900)],
        {"policy": (B, 8, NOW - 500), "table": (C, 3, NOW - 500)},
    ),
    "none is in force any more": (
        [sent(document(1, 100)), sent(docs(2, 300, ("policy", A, 7))), sent(docs(3, 600))],
        [("r1", "policy", A, 7, "applied", None, NOW - 900)],
        {},
    ),
    "refused: its key came later": (
        [sent(unsigned(1, 100, doc=A, why="key")), sent(document(2, 200)), sent(unsigned(3, 150, doc=B, why="key"))],
        [
            ("r1", "", B, None, "refused", "key", NOW - 850),
            ("r1", "policy", A, 7, "applied", None, NOW - 800),
        ],
        {"policy": (A, 7, NOW - 800)},
    ),
    "refused: its key was revoked later": (
        [sent(document(1, 100)), sent(unsigned(2, 200, doc=A, why="revoked"))],
        [
            ("r1", "", A, None, "refused", "revoked", NOW - 800),
            ("r1", "policy", A, 7, "applied", None, NOW - 900),
        ],
        {"policy": (A, 7, NOW - 900)},
    ),
    "refused: no good signature": (
        [sent(unsigned(1, 100, why="full")), sent(unsigned(2, 200, doc=A, why="signature"))],
        [
            ("r1", "", "", None, "refused", "full", NOW - 900),
            ("r1", "", A, None, "refused", "signature", NOW - 800),
        ],
        {},
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_in_any_order_and_twice(with_store: WithStore, name: str) -> None:
    reports, expected, now = STORIES[name]

    async def work(store: Store) -> None:
        for order in itertools.permutations(reports):
            await store.write([("DELETE FROM router_document", {}), ("DELETE FROM router_in_force", {})])
            for one in order:
                await store.add([one])
            await store.add(list(reports))
            assert await outcomes(store) == expected
            found = await in_force(store)
            assert {kind: value[:2] for kind, value in found.items()} == {kind: v[:2] for kind, v in now.items()}
        await store.write([("DELETE FROM router_document", {}), ("DELETE FROM router_in_force", {})])
        await store.add(list(reports))
        assert await in_force(store) == now

    with_store(work)


def test_of_a_hostile_router_only_the_latest_are_kept(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        invented = [document(n, 100 + n, "refused", f"{n:016x}", n, why="key") for n in range(1, 200)]
        await store.add([sent(*invented), sent(document(1, 100), router="r2")])
        done = await retention.run(store, Terms(), NOW)
        assert done["documents"] == 199 - 32
        rows = await outcomes(store)
        assert len(rows) == 33
        assert rows[0][3] == 168
        await retention.run(store, Terms(), NOW + 401 * DAY)
        assert await outcomes(store) == []
        assert await in_force(store, "r2") == {}

    with_store(work)
