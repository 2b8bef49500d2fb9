"""The figures, on both engines, against the same computed from the incidents one by one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.cases import actions, query
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.subscribers.file import File
from cpe_filter.collect.web import draw, figures
from cpe_filter.collect.web.figures import DAY, Figures, Found, View
from cpe_filter.lean.clocks import PacketTime
from tests.collect.reports import NOW, heartbeat, incident, report
from tests.report.test_reporter import Rotation, Router

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
#: In the middle of a day.
MIDNIGHT = NOW // DAY * DAY


def ago(days: float) -> int:
    return NOW - int(days * DAY)


def spell(
    number: int, router: str, begun: int, ended: int | None = None, why: str = "cleared", **more: Any
) -> list[Any]:
    """Reports of one incident: raised, and closed."""
    model = {"model": more.pop("model")} if "model" in more else {}
    out = [
        report(
            incident(2 * number, up=1000, kind="raised", number=number, **more), router=router, received=begun, **model
        )
    ]
    if ended is not None:
        end = incident(2 * number + 1, up=1000, kind="closed", number=number, why=why, **more)
        out.append(report(end, router=router, received=ended, **model))
    return out


def a_map(path: Path, rows: list[tuple[str, str, str]]) -> File:
    lines = ["router,subscriber,region", *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return File(str(path))


async def book(store: Store, people: File) -> None:
    assert await people.refresh(NOW)
    assert people.wrong == ""
    await CaseUpdater(store, people).catch_up(NOW, full=True)


def test_two_devices_of_one_subscriber_are_one(with_store: WithStore, tmp_path: Path) -> None:
    """r1: two bots that overlap, then one of them again. r2: one that is open. r3: expired. r4: nobody's."""
    people = a_map(tmp_path / "m.csv", [("r1", "s1", "North"), ("r2", "s2", "South"), ("r3", "s3", "South")])

    async def work(store: Store) -> None:
        for reports in (
            spell(1, "r1", ago(20), ago(15)),
            spell(2, "r1", ago(17), ago(12)),
            spell(9, "r1", ago(5), ago(4)),  # device 1 again
            spell(3, "r2", ago(3)),
            spell(4, "r3", ago(10), ago(8), "expired"),
            spell(5, "r4", ago(2)),
        ):
            await store.add(reports)
        await book(store, people)
        found = await figures.compute(store, View(30), NOW)
        assert found.days[-1] == "2026-11-24"
        at = {30 - 1 - offset: value for offset, value in enumerate(found.compromised)}
        assert [at[day] for day in (25, 20, 16, 14, 12, 11, 10, 8, 5, 4, 3, 2, 0)] == [
            0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 2, 2,
        ]  # fmt: skip
        assert (sum(found.new), sum(found.recurring), sum(found.cleared), sum(found.over)) == (4, 1, 2, 3)
        assert found.recurring[29 - 5] == 1
        assert found.cleared[29 - 12] == 1
        assert [(one.name, one.number) for one in found.regions] == [("", 1), ("South", 1)]
        assert found.all_regions == ["North", "South"]
        assert found.unmapped == 1
        north = await figures.compute(store, View(30, "North"), NOW)
        assert (sum(north.new), sum(north.recurring), sum(north.cleared)) == (1, 1, 2)
        assert north.compromised[-1] == 0
        nothing = await figures.compute(store, View(30, "' OR 1=1 --"), NOW)
        assert sum(nothing.new) == 0

    with_store(work)


@pytest.mark.parametrize("seed", range(3))
def test_days_are_as_counted_one_by_one(with_store: WithStore, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    routers = [f"r{number}" for number in range(12)]
    people = a_map(tmp_path / "m.csv", [(router, f"s{at // 2}", "x") for at, router in enumerate(routers[:8])])
    whose = {router: f"s{at // 2}" if at < 8 else router for at, router in enumerate(routers)}
    spells: dict[str, list[tuple[int, int | None, bool]]] = {}
    reports = []
    for number in range(1, 60):
        router = rng.choice(routers)
        begun = ago(rng.uniform(0.1, 45))
        ended = min(NOW - 60, begun + int(rng.expovariate(1 / (4 * DAY)))) if rng.random() < 0.85 else None
        why = rng.choice(("cleared", "released", "expired"))
        # Its own device: the history of one device joins its incidents by rules of its own.
        reports += spell(number, router, begun, ended, why, dev=f"{number:016x}")
        spells.setdefault(whose[router], []).append((begun, ended, why != "expired"))

    def counted() -> dict[str, list[int]]:
        out = {name: [0] * 30 for name in ("new", "recurring", "cleared", "over", "compromised")}
        first = MIDNIGHT - 29 * DAY
        for own in spells.values():
            joined: list[list[Any]] = []
            for begun, ended, clean in sorted(own, key=lambda one: one[0]):
                if joined and (joined[-1][1] is None or joined[-1][1] >= begun):
                    last = joined[-1]
                    last[1] = None if ended is None or last[1] is None else max(last[1], ended)
                    last[2] = last[2] and clean
                else:
                    joined.append([begun, ended, clean])
            for place, (begun, ended, clean) in enumerate(joined):
                if begun >= first:
                    out["recurring" if place else "new"][(begun - first) // DAY] += 1
                if ended is not None and ended >= first:
                    out["over"][(ended - first) // DAY] += 1
                    out["cleared"][(ended - first) // DAY] += clean
                for day in range(30):
                    end = min(NOW + 1, first + (day + 1) * DAY)
                    out["compromised"][day] += begun < end and (ended is None or ended >= end)
        return out

    async def work(store: Store) -> None:
        await store.add(reports)
        await book(store, people)
        found = await figures.compute(store, View(30), NOW)
        assert {name: getattr(found, name) for name in counted()} == counted()

    with_store(work)


def test_funnel_of_the_store(with_store: WithStore, tmp_path: Path) -> None:
    """r0 to r5 are found 40 days ago: 0 to 4 are notified, 0 and 1 open the notice, 0 answers; 0, 2 and 5 end soon."""
    people = a_map(tmp_path / "m.csv", [(f"r{number}", f"s{number}", "x") for number in range(6)])

    async def work(store: Store) -> None:
        for number in range(6):
            await store.add(spell(number, f"r{number}", ago(40)))
        await store.add(spell(50, "r9", ago(99)))  # before the period
        await store.add(spell(51, "r8", ago(39)))  # a false alarm
        await book(store, people)
        listed = {case.router: case.id for case in (await query.listed(store)).cases}
        for number in range(5):
            user = "mail" if number < 4 else "amy"
            await actions.notified(store, listed[f"r{number}"], user, now=ago(40) + (number + 1) * 3600)
        await actions.act(store, listed["r8"], "false-alarm", "amy", "", now=ago(38))
        for number, kind, up, notice in (
            (0, "updated", ago(38), {"shown": 1}),
            (0, "updated", ago(37), {"shown": 1, "answer": "cleaned"}),
            (1, "updated", ago(30), {"shown": 2}),
        ):
            one = incident(up, up=1000, kind=kind, number=number, notice=notice)
            await store.add([report(one, router=f"r{number}", received=up)])
        for number in (0, 2, 5):
            end = incident(NOW, up=1000, kind="closed", number=number, last=1000 - DAY)
            await store.add([report(end, router=f"r{number}", received=ago(36))])
        for number in range(9):
            await store.add([report(router=f"r{number}", received=ago(1))])
        await CaseUpdater(store, people).catch_up(NOW, full=True)
        found = (await figures.compute(store, View(90), NOW)).funnel
        assert [tuple(one)[:5] for one in found.stages] == [
            ("found", 6, 6, 6, 6), ("notified", 5, 5, 6, 6), ("seen", 2, 2, 5, 5), ("answered", 1, 1, 2, 2),
            ("clean", 5, 5, 5, 5), ("relapsed", 0, 0, 5, 5),
        ]  # fmt: skip
        assert (found.channels, found.false_alarms, found.clean_days) == (
            {"router": 2, "mail": 4, "webhook": 0, "desk": 1}, 1, 14,
        )  # fmt: skip
        assert found.clean_without_notice == 1
        assert {one.group: (one.clean, one.devices) for one in found.compared if one.devices} == {
            "mail": (2, 2), "desk": (1, 1), "several": (2, 2), "none": (1, 1),
        }  # fmt: skip
        west = (await figures.compute(store, View(90, "west"), NOW)).funnel
        assert west.stage("found").devices == 0

    with_store(work)


@pytest.mark.parametrize("order", [1, -1])
def test_a_device_with_another_mac_is_compromised_once_and_then_not_at_all(
    with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    """From the leases of a router to "compromised now": its two incidents become one, and that one ends."""
    people = a_map(tmp_path / "m.csv", [("r1", "s1", "North")])
    router = Router(tmp_path / "router", monkeypatch)
    device = Rotation(router).play()
    merged = [event for event in router.tick() if event["kind"] != "heartbeat"]
    assert router.home.engine.release(device.key, PacketTime(router.now))
    ended = router.tick()[-1:]
    assert ended[0]["kind"] == "closed"
    up = max(event["up"] for event in merged)

    async def work(store: Store) -> None:
        async def cases_of(events: list[Any], later: int) -> tuple[list[str], int]:
            for event in events[::order]:
                await store.add([report(event, received=NOW - 60 + later, up=up + later)])
            await CaseUpdater(store, people).catch_up(NOW, full=True)
            figures_ = await figures.compute(store, View(30), NOW)
            return sorted(case.state for case in (await query.listed(store)).cases), figures_.compromised[-1]

        await book(store, people)
        assert await cases_of(merged, 0) == (["closed", "open"], 1)
        assert await cases_of(ended, 10) == (["clean", "closed"], 0)
        (why,) = {case.why for case in (await query.listed(store)).cases if case.state == "closed"}
        assert why == "merged"

    with_store(work)


def test_mix_of_indicators(with_store: WithStore, tmp_path: Path) -> None:
    people = a_map(tmp_path / "m.csv", [("r1", "s1", "x")])

    async def work(store: Store) -> None:
        await store.add(spell(1, "r1", ago(3), ind={"dnsbl-listed": 40, "no-quit": 1}))
        await store.add(spell(2, "r2", ago(3), ind={"dnsbl-listed": 1}))
        await store.add(spell(3, "r3", ago(50), ind={"refused": 1}))
        await book(store, people)
        found = await figures.compute(store, View(30), NOW)
        assert [(one.name, one.number) for one in found.indicators] == [("dnsbl-listed", 2), ("no-quit", 1)]
        assert found.cases == 2

    with_store(work)


def test_coverage(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        async def heard(router: str, days: float, dropped: int = 0, pol: str = "7", **more: Any) -> None:
            one = report(
                heartbeat(1, up=1000, **more), up=1000, router=router, received=ago(days), dropped=dropped, pol=pol
            )
            await store.add([one])

        await heard("r1", 0.5)
        await heard("r2", 1, exempt=2)  # within 26 hours
        await heard("r3", 2, dropped=7, pol="6")
        await heard("r4", 5, failures=3, ways=[{"if": "wg0", "families": [4], "conns": 7, "route": True}])
        await heard("r5", 20)
        await heard("r6", 40)  # no part of the fleet any more
        await store.add([report(router="r7", received=ago(1))])  # never a heartbeat
        found = await figures.compute(store, View(30), NOW)
        assert found.routers == 6
        assert [one.number for one in found.heartbeats] == [2, 1, 1, 2]
        assert [(one.name, one.number) for one in found.policies] == [("7", 5), ("6", 1)]
        assert (found.drops, found.dropping, found.exempt, found.exempting, found.failing) == (7, 1, 2, 1, 1)
        assert found.unwatched == 1
        assert [one.router for one in found.troubled] == ["r4", "r3"]

    with_store(work)


def test_rates_by_model(with_store: WithStore, tmp_path: Path) -> None:
    people = a_map(tmp_path / "m.csv", [("r1", "s1", "x")])

    async def work(store: Store) -> None:
        for number in range(10):
            model = "bad" if number < 4 else "good"
            await store.add([report(heartbeat(1), router=f"r{number}", received=ago(1), model=model)])
        await store.add(spell(1, "r1", ago(1), model="bad"))
        await book(store, people)
        found = await figures.compute(store, View(30), NOW)
        assert [tuple(one) for one in found.models] == [("bad", 1, 4), ("good", 0, 6)]
        good = await figures.compute(store, View(30, model="good"), NOW)
        assert sum(good.new) == 0
        bad = await figures.compute(store, View(30, model="bad"), NOW)
        assert sum(bad.new) == 1

    with_store(work)


def test_empty_store(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        found = await figures.compute(store, View(), NOW)
        assert found.compromised == [0] * 30
        assert [stage.devices for stage in found.funnel.stages] == [0] * 6

    with_store(work)


def test_same_question_within_a_minute_is_computed_once(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[View] = []

    async def compute(_store: Store, wanted: View, now: int) -> Found:
        asked.append(wanted)
        await asyncio.sleep(0)
        return Found(now)

    monkeypatch.setattr(figures, "compute", compute)

    async def work(store: Store) -> None:
        kept = Figures(store)
        await asyncio.gather(*(kept.of(View(), NOW) for _ in range(5)))
        assert len(asked) == 1
        await kept.of(View(90), NOW)
        await kept.of(View(), NOW + 59)
        assert len(asked) == 2
        await kept.of(View(), NOW + 60)
        assert len(asked) == 3
        for number in range(200):
            await kept.of(View(30, f"region {number}"), NOW)
        assert len(kept._cache) == 64

    with_store(work)


@pytest.mark.parametrize(
    ("highest", "lowest", "found"),
    [(0, 0, (1, 1, 0)), (1, 0, (1, 1, 0)), (5, 0, (1, 5, 0)), (6, 0, (2, 6, 0)), (30, 0, (10, 30, 0)),
     (12, 7, (5, 15, 10)), (999, 1, (200, 1000, 200)), (1234567, 0, (500_000, 1_500_000, 0))],
)  # fmt: skip
def test_scale(highest: int, lowest: int, found: tuple[int, int, int]) -> None:
    assert draw.scale(highest, lowest) == found


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "&ndash;"), (0, 5, "0 %"), (5, 5, "100 %"), (1, 3, "33 %"), (1, 12, "8.3 %"), (1, 100_000, "&lt; 0.1 %"),
     (99_999, 100_000, "&gt; 99.9 %"), (919, 1000, "91.9 %")],
)  # fmt: skip
def test_percent(part: int, whole: int, said: str) -> None:
    assert draw.percent(part, whole) == said
