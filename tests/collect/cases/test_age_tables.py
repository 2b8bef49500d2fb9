"""What of the desk's tables goes when, and the months' figures."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from cpe_filter.collect.cases import actions, age_tables, query
from cpe_filter.collect.cases.age_tables import Terms
from cpe_filter.collect.cases.plan import case_id
from cpe_filter.collect.store import retention
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.retention import DAY
from tests.collect.desks import PC, TV, Map, WithStore, event, line, ours
from tests.collect.reports import NOW, heartbeat, report

CASE = case_id("S1", "r1", TV)
TABLES = ("desk_case", "desk_episode", "desk_incident", "desk_case_action", "desk_case_alias", "desk_event",
          "desk_export", "incident", "report")  # fmt: skip


async def sizes(store: Store, *tables: str) -> list[int]:
    return [
        int((await store.read(f"SELECT COUNT(*) AS n FROM {table}"))[0]["n"])  # noqa: S608
        for table in tables or TABLES
    ]


def test_case_goes_with_all_that_is_left_of_it(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        whose = Map()
        book = ours(whose, notify=True)(store)
        await store.add([event("raised", 0), event("closed", 100), event("raised", 50, 2, dev=PC)])
        await book.catch_up(NOW + 100)
        whose.rows = Map(line()).rows
        await book.remap(NOW + 100)
        await actions.note(store, CASE, "amy", "x", now=NOW + 200)
        mark = {"mark": "csv/x", "router": "r1", "incident": f"{1:016x}", "batch": 1, "at": NOW}
        await store.write(
            [("INSERT INTO desk_export (mark, router, incident, batch, done, at)"
              " VALUES (:mark, :router, :incident, :batch, 1, :at)", mark)]
        )  # fmt: skip
        assert await sizes(store) == [2, 2, 2, 1, 2, 3, 1, 2, 3]
        before = await age_tables.run(store, Terms(), NOW + 100 + 365 * DAY)
        assert (before["cases"], await sizes(store, "desk_case")) == (0, [2])
        done = await age_tables.run(store, Terms(), NOW + 101 + 365 * DAY)
        assert done["cases"] == 1
        # the other one is active still
        assert await sizes(store) == [1, 1, 1, 0, 1, 1, 0, 1, 1]
        assert (await query.listed(store)).cases[0].dev == PC
        assert await book.catch_up(NOW, full=True) == 0
        assert (await age_tables.run(store, Terms(), NOW + 101 + 365 * DAY))["cases"] == 0

    with_store(work)


def test_closed_case_of_an_active_device_stays(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0)])
        await ours()(store).catch_up(NOW)
        await actions.close(store, CASE, "amy", now=NOW)
        assert (await age_tables.run(store, Terms(), NOW + 1000 * DAY))["cases"] == 0

    with_store(work)


def test_closing_late_keeps_longer(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0), event("closed", 10)])
        await ours()(store).catch_up(NOW)
        await actions.close(store, CASE, "amy", now=NOW + 100 * DAY)
        assert (await age_tables.run(store, Terms(), NOW + 400 * DAY))["cases"] == 0
        assert (await age_tables.run(store, Terms(), NOW + 465 * DAY + 1))["cases"] == 1

    with_store(work)


def test_evidence_goes_with_evidence(with_store: WithStore) -> None:
    """After the collector's own retention a case shows no name, port or single event any more; its counts stay."""

    async def work(store: Store) -> None:
        await store.add([event("raised", 0, name="tv"), event("closed", 10, name="tv")])
        book = ours(notify=True)(store)
        await book.catch_up(NOW)
        await store.write([("UPDATE desk_event SET state = 'delivered', done_at = :at", {"at": NOW})])
        await retention.run(store, retention.Terms(), NOW + 8 * DAY)
        done = await age_tables.run(store, Terms(), NOW + 8 * DAY)
        assert done["event_bodies"] == 2
        detail = await query.detail(store, CASE)
        assert detail is not None
        assert (detail.reports, detail.incidents[0]["name"], detail.incidents[0]["sp"]) == ([], None, [])
        assert detail.case.ind == {"helo-dynamic": 4, "new-destination": 4}
        assert await book.catch_up(NOW + 8 * DAY, full=True) == 0

    with_store(work)


def test_waiting_events_keep_their_bodies(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0)])
        await ours(notify=True)(store).catch_up(NOW)
        await age_tables.run(store, Terms(), NOW + 100 * DAY)
        assert (await store.read("SELECT body FROM desk_event"))[0]["body"]

    with_store(work)


def test_many_go_in_chunks(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(age_tables, "_CHUNK", 3)

    async def work(store: Store) -> None:
        for n in range(8):
            await store.add([event("raised", n, n, f"r{n}"), event("closed", n + 50, n, f"r{n}")])
        await ours()(store).catch_up(NOW)
        assert (await age_tables.run(store, Terms(), NOW + 400 * DAY))["cases"] == 8

    with_store(work)


# ── months ──────────────────────────────────────────────────────────────────────────────────────


def day(text: str) -> int:
    """Seconds after NOW."""
    return int(datetime.datetime.fromisoformat(text + "T00:00:00+00:00").timestamp()) - NOW


def test_months(with_store: WithStore) -> None:
    """S1: September, clean in October, again in November. S2: two devices in October, one clean, one expired later.
    S3: October and clean at once; in the south. S4: closed by the desk. r9: of nobody known."""

    async def work(store: Store) -> None:
        whose = Map(
            *(line(f"r{n}", f"S{n}", region="south" if n == 3 else "north", model=f"m{n % 2}") for n in range(1, 5))
        )
        await store.add(
            [
                event("raised", day("2026-09-10"), 1, "r1"), event("closed", day("2026-10-05"), 1, "r1"),
                event("raised", day("2026-11-03"), 2, "r1"),
                event("raised", day("2026-10-01"), 1, "r2"), event("closed", day("2026-10-09"), 1, "r2"),
                event("raised", day("2026-10-02"), 2, "r2", PC),
                event("closed", day("2026-11-05"), 2, "r2", PC, why="expired"),
                event("raised", day("2026-10-20"), 1, "r3"), event("closed", day("2026-10-21"), 1, "r3"),
                event("raised", day("2026-10-30"), 1, "r4"),
                event("raised", day("2026-11-10"), 1, "r9"),
                event("opened", day("2026-11-11"), 3, "r4", PC),
            ]
        )  # fmt: skip
        await ours(whose)(store).catch_up(NOW)
        await actions.notified(store, case_id("S4", "r4", TV), "letters", now=NOW + day("2026-10-31"))
        await actions.acknowledge(store, case_id("S4", "r4", TV), "amy", now=NOW + day("2026-11-01"))
        await actions.close(store, case_id("S4", "r4", TV), "amy", now=NOW + day("2026-11-02"))
        for _ in range(2):
            assert await age_tables.roll_up(store, NOW + day("2026-11-20")) == 7
        rows = await store.read("SELECT * FROM desk_month ORDER BY month, region, model")
        counts = ("subscribers", "new", "recurring", "cleared", "expired", "notified", "acknowledged", "cleans")
        found = {(row["month"], row["region"], row["model"]): tuple(row[name] for name in counts) for row in rows}
        assert found == {
            ("2026-09", "north", "m1"): (1, 1, 0, 0, 0, 0, 0, 0),
            ("2026-10", "north", "m0"): (2, 2, 0, 0, 0, 1, 0, 1),
            ("2026-10", "north", "m1"): (1, 0, 0, 1, 0, 0, 0, 1),
            ("2026-10", "south", "m1"): (1, 1, 0, 1, 0, 0, 0, 1),
            ("2026-11", "", "tplink,archer-c7-v2"): (1, 1, 0, 0, 0, 0, 0, 0),
            ("2026-11", "north", "m0"): (2, 0, 0, 0, 2, 0, 1, 0),
            ("2026-11", "north", "m1"): (1, 0, 1, 0, 0, 0, 0, 0),
        }
        assert {row["clean_s"] for row in rows if row["region"] == "south"} == {DAY}

    with_store(work)


def test_months_stay_when_cases_go(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0), event("closed", 100)])
        await ours()(store).catch_up(NOW)
        await age_tables.run(store, Terms(), NOW + DAY)
        kept: list[Any] = await store.read("SELECT * FROM desk_month")
        assert [row["month"] for row in kept] == ["2026-11"]
        await age_tables.run(store, Terms(), NOW + 400 * DAY)
        assert await sizes(store, "desk_case") == [0]
        assert await store.read("SELECT * FROM desk_month") == kept

    with_store(work)


def test_figures(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0), event("raised", 0, 2, "r9")])
        await ours(notify=True)(store).catch_up(NOW)
        way = {"if": "wg0", "families": [4, 6], "conns": 7, "route": False}
        network = {"if": "br-guest", "families": [4], "conns": 7}
        counts = {"servers": 64, "conns": 130, "fails": 120}
        await store.add(
            [report(heartbeat(3, ways=[way], sub=[{"dev": "0" * 16, **counts}] * 2)), report(heartbeat(1), router="r9")]
        )
        one = {"dev": "0" * 16, **counts}
        await store.add([report(heartbeat(4, unlisted=[network], sub=[one]), router="r8")])
        found = await age_tables.figures(store)
        assert found["submitters"] == {(): 3}
        assert found["ways"] == {(): 2}
        assert found["cases"][("open",)] == 2
        assert found["cases"][("closed",)] == 0
        assert found["unmapped"] == {(): 1}
        assert found["webhook_events"][("queued",)] == 2

    with_store(work)
