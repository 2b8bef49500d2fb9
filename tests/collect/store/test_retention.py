"""What goes when, and the table of months."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpe_filter.collect.store import retention
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.retention import DAY, Terms
from tests.collect.reports import heartbeat, incident, report

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def moment(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp())


NOV = moment("2026-11-10")


async def kept(store: Store, table: str) -> int:
    return int((await store.read(f"SELECT COUNT(*) AS n FROM {table}"))[0]["n"])  # noqa: S608


def test_evidence_goes_and_incidents_stay(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([report(incident(1, kind="opened", name="tv"), heartbeat(2), received=NOV)])
        await store.add([report(incident(3, up=1100, kind="closed", name="tv"), up=1100, received=NOV + 100)])
        await store.add([report(incident(4, up=1200, number=2, name="pc"), up=1200, received=NOV + 100)])
        almost = await retention.run(store, Terms(), NOV + 7 * DAY)
        assert (almost["events"], almost["forgotten"]) == (0, 0)
        done = await retention.run(store, Terms(), NOV + 7 * DAY + 101)
        assert (done["events"], done["forgotten"]) == (4, 1)
        rows = await store.read("SELECT name, sp, address, conns FROM incident ORDER BY id")
        assert (rows[0]["name"], rows[0]["sp"], rows[0]["address"], rows[0]["conns"]) == (None, None, None, 7)
        assert rows[1]["name"] == "pc"  # open still
        again = await retention.run(store, Terms(), NOV + 7 * DAY + 101)
        assert {name: count for name, count in again.items() if count and name != "months"} == {}

    with_store(work)


def test_many_rows_go_in_chunks(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 7)

    async def work(store: Store) -> None:
        await store.add([report(*[heartbeat(n) for n in range(50)], received=NOV)])
        await store.add([report(heartbeat(99), received=NOV + 9 * DAY)])
        assert (await retention.run(store, Terms(), NOV + 9 * DAY))["events"] == 50
        assert await kept(store, "report") == 1

    with_store(work)


def test_silent_incident_is_closed_and_news_reopen_it(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([report(incident(1, up=1000, kind="raised"), received=NOV)])
        now = NOV + 30 * DAY
        assert (await retention.run(store, Terms(), now))["silent"] == 0
        assert (await retention.run(store, Terms(), now + 1))["silent"] == 1
        row = (await store.read("SELECT why, closed_at FROM incident"))[0]
        assert (row["why"], row["closed_at"]) == ("silent", now + 1)
        await store.add([report(incident(1, up=1000, kind="raised"), received=now + 2)])  # known already
        assert (await store.read("SELECT why FROM incident"))[0]["why"] == "silent"
        await store.add([report(incident(2, up=2000), up=2000, received=now + 3)])
        assert (await store.read("SELECT why, closed_at FROM incident"))[0] == {"why": None, "closed_at": None}

    with_store(work)


def test_old_incidents_and_routers_go_and_months_stay(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([report(incident(1, kind="raised"), received=NOV)])
        await store.add([report(incident(2, kind="closed"), up=1100, received=NOV + 100)])
        await retention.run(store, Terms(), NOV + DAY)
        done = await retention.run(store, Terms(), NOV + 400 * DAY + 200)
        assert (done["incidents"], done["routers"]) == (1, 1)
        assert [await kept(store, table) for table in ("report", "incident", "router_state")] == [0, 0, 0]
        months = await store.read("SELECT month, router, dev, model FROM compromised_month")
        assert [(row["month"], row["router"], row["model"]) for row in months] == [
            ("2026-11", "r1", "tplink,archer-c7-v2")
        ]

    with_store(work)


def test_months(with_store: WithStore) -> None:
    """Devices 1: September to November; 2: October, twice; 3: suspected only; 4: since November, open."""

    async def work(store: Store) -> None:
        def event(number: int, seq: int, kind: str, day: str, dev: int) -> Any:
            at = moment(day)
            one = incident(seq, up=1000, kind=kind, number=number, dev=f"{dev:016x}")
            return report(one, up=1000, received=at)

        await store.add(
            [
                event(1, 1, "raised", "2026-09-20", 1),
                event(1, 2, "closed", "2026-11-05", 1),
                event(2, 3, "raised", "2026-10-02", 2),
                event(2, 4, "closed", "2026-10-04", 2),
                event(3, 5, "raised", "2026-10-20", 2),
                event(3, 6, "closed", "2026-10-25", 2),
                event(4, 7, "opened", "2026-10-20", 3),
                event(5, 8, "raised", "2026-11-02", 4),
            ]
        )
        for _ in range(2):
            await retention.run(store, Terms(), moment("2026-11-20"))
            rows = await store.read("SELECT * FROM compromised_month ORDER BY month, dev")
            found = [(row["month"], int(row["dev"], 16), row["closed_at"]) for row in rows]
            assert found == [
                ("2026-09", 1, None),
                ("2026-10", 1, None),
                ("2026-10", 2, moment("2026-10-25")),
                ("2026-11", 1, moment("2026-11-05")),
                ("2026-11", 4, None),
            ]
        october = rows[2]
        assert (october["first_at"], october["last_at"]) == (moment("2026-10-02"), moment("2026-10-25"))

    with_store(work)


def test_a_year_turns() -> None:
    assert [month for month, _, _ in retention.months(moment("2027-01-31T23:59:59"))] == [
        "2027-01",
        "2026-12",
        "2026-11",
    ]
    _, since, upto = retention.months(moment("2027-01-31"))[0]
    assert (since, upto) == (moment("2027-01-01"), moment("2027-02-01"))
