"""One subscriber's erasure: nothing of it is left in any table, and nothing of others is gone."""

from __future__ import annotations

from typing import Any

from cpe_filter.collect.cases import actions, erasure
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.wire import Report
from tests.collect.desks import PC, TV, Map, WithStore, event, line, ours
from tests.collect.reports import NOW, heartbeat, report

BY = audit.By("anna", audit.COMMAND)
#: Kept on purpose: each line is in the chain of the next one.
KEPT = {"desk_audit"}
#: A router of subscriber S1, then of S2; the others have one.
MAP = (
    line("r1", "S1", until="2026-11-25T00:00:00Z"),
    line("r1", "S2", since="2026-11-25T00:00:00Z"),
    line("r2", "S1"),
    line("r3", "S3"),
)
EARLY, LATE = -3 * 86400, 10 * 86400


def stories() -> list[Report]:
    return [
        event("raised", EARLY, 1, "r1", TV),
        event("closed", EARLY + 60, 1, "r1", TV, why="cleared"),
        event("raised", LATE, 2, "r1", PC),
        event("raised", EARLY, 3, "r2", TV),
        report(heartbeat(7, 5000), up=5000, router="r2", received=NOW + EARLY),
        event("raised", EARLY, 4, "r3", TV),
        report(heartbeat(7, 5000), up=5000, router="r3", received=NOW + EARLY),
    ]


async def dump(store: Store) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables."""
    if store.dialect == "sqlite":
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    else:
        names = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema()"
    tables = sorted(row["name"] for row in await store.read(names))
    return {name: await store.read(f"SELECT * FROM {name}") for name in tables}  # noqa: S608


def test_nothing_of_the_subscriber_is_left_and_all_of_the_others(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add(stories())
        updater = ours(Map(*MAP))(store)
        await updater.catch_up(NOW + LATE)
        cases = await store.read("SELECT id, subscriber FROM desk_case ORDER BY id")
        assert sorted(row["subscriber"] for row in cases) == ["S1", "S1", "S2", "S3"]
        for row in cases:
            await actions.act(store, row["id"], "note", "anna", f"remark of {row['subscriber']}", NOW)
        await updater.catch_up(NOW + LATE)
        before = await dump(store)
        counted = await erasure.found(store, "S1")
        assert await dump(store) == before
        erased = await erasure.erase(store, "S1", BY, NOW)
        assert erased == counted
        assert (erased.cases, erased.routers) == (2, 1)
        after = await dump(store)
        mine = {row["id"] for row in cases if row["subscriber"] == "S1"}
        incidents = {"r1": f"{1:016x}", "r2": f"{3:016x}"}
        for table, rows in after.items():
            if table in KEPT:
                continue
            for row in rows:
                assert not {"S1", "r2", *mine} & {value for value in row.values() if isinstance(value, str)}, table
                assert not any("S1" in value for value in row.values() if isinstance(value, str)), table
                assert row.get("router") != "r1" or incidents["r1"] not in row.values(), table
            others = [row for row in before[table] if row in rows]
            assert len(others) == len(rows), table
        for table in ("desk_case", "incident", "desk_incident", "desk_episode", "desk_case_action"):
            assert len(after[table]) == 2, table
        assert len([row for row in after["report"] if row["router"] == "r1"]) == 1
        assert len([row for row in after["report"] if row["router"] == "r3"]) == 2
        (line_of_it,) = [row for row in after["desk_audit"] if row["what"] == "erase"]
        assert "S1" not in str(line_of_it.values())
        # It does not come back by itself.
        await updater.catch_up(NOW + LATE + 1, full=True)
        assert await store.read("SELECT id FROM desk_case WHERE subscriber = 'S1'") == []

    with_store(work)


def test_one_that_is_not_there_changes_nothing(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add(stories())
        await ours(Map(*MAP))(store).catch_up(NOW + LATE)
        before = await dump(store)
        for name in ("S9", "", "S1' OR '1'='1", "%"):
            assert (await erasure.erase(store, name, BY, NOW)).cases == 0
        assert await dump(store) == before

    with_store(work)
