"""The stages of the notice: what reports, actions and time make of them, whatever the order. On both engines."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.cases import actions, age_tables, funnel, query
from cpe_filter.collect.cases.history import COLLECTOR, MAIL, QUIET, RELAPSED, WEBHOOK, Action, Spell, fold
from cpe_filter.collect.cases.model import STAGES, Case, Filter, InvalidStateError
from cpe_filter.collect.cases.plan import case_id
from cpe_filter.collect.store import schema
from cpe_filter.collect.store.base import Store
from tests.collect.desks import TV, Map, WithStore, cases_of, event, late, line, ours
from tests.collect.reports import NOW, heartbeat, report

DAY = funnel.DAY
CASE = case_id("S1", "r1", TV)


def spell(name: str, begun: int, ended: int | None = None, why: Any = None, **more: Any) -> Spell:
    return Spell(name, begun, begun, ended, why, **{"last": begun, **more})


def act(kind: Any, at: int, user: str = "amy", text: str = "") -> Action:
    return Action(f"{kind}{at}", at, user, kind, text, frozenset("ab"))


def quiet(until: int, days: int = 14) -> Action:
    return act(QUIET, until, COLLECTOR, str(days))


def case_of(spells: list[Spell], done: list[Action], until: int = 1) -> dict[str, Any]:
    folded = fold(spells, done)
    return {"state": folded.state, **funnel.case_columns(folded, funnel.clean(folded, done, funnel.Watch(until)))}


TOLD: list[tuple[str, list[Spell], list[Action], dict[str, Any]]] = [
    ("nobody told", [spell("a", 10)], [], {"told_at": None, "told_by": "", "seen_at": None, "objection": 0}),
    ("opened", [spell("a", 10, seen=20)], [],
     {"state": "notified", "told_at": 20, "told_by": "router", "seen_at": 20, "seen_by": "device"}),
    ("opened at another", [spell("a", 10, seen_home=20)], [],
     {"state": "notified", "told_by": "router", "seen_at": 20, "seen_by": "home"}),
    ("opened at both", [spell("a", 10, seen=25, seen_home=20)], [],
     {"told_at": 20, "seen_at": 20, "seen_by": "device home"}),
    ("answered", [spell("a", 10, seen=20, answered=30, answer="seen")], [],
     {"state": "acknowledged", "seen_at": 20, "answered_at": 30, "answer": "seen", "objection": 0}),
    ("only the answer is known", [spell("a", 10, answered=30, answer="cleaned")], [],
     {"state": "acknowledged", "told_at": 30, "seen_at": 30, "answered_at": 30}),
    ("objection", [spell("a", 10, seen=20, answered=30, objected=30, answer="mistake")], [],
     {"state": "notified", "answer": "mistake", "objection": 1}),
    ("objection after an answer", [spell("a", 10, seen=20, answered=30, objected=40, answer="server")], [],
     {"state": "notified", "answered_at": 30, "objection": 1}),
    ("objection that the desk has read", [spell("a", 10, seen=20, answered=30, objected=30, answer="mistake")],
     [act("acknowledged", 40)], {"state": "acknowledged", "objection": 0}),
    ("objection that was acknowledged before", [spell("a", 10, seen=20, answered=30, objected=30, answer="mistake")],
     [act("acknowledged", 15)], {"state": "acknowledged", "objection": 1}),
    ("objection that is closed", [spell("a", 10, seen=20, answered=30, objected=30, answer="mistake")],
     [act("false-alarm", 40)], {"state": "closed", "objection": 0}),
    ("objection of one who is exempt now",
     [spell("a", 10, 31, "exempt", seen=20, answered=30, objected=30, answer="server")], [],
     {"state": "closed", "objection": 0}),
    ("by mail", [spell("a", 10)], [act("notified", 11, MAIL)], {"told_by": "mail", "told_at": 11, "seen_at": None}),
    ("by all", [spell("a", 10, seen=14)],
     [act("notified", 11, MAIL), act("notified", 12, WEBHOOK), act("notified", 13)],
     {"state": "notified", "told_at": 11, "told_by": "mail webhook desk router"}),
    ("bounced", [spell("a", 10)], [act("notified", 11, MAIL), act("bounced", 15, MAIL)],
     {"state": "open", "told_at": None, "told_by": ""}),
    ("bounced, but opened", [spell("a", 10, seen=13)], [act("notified", 11, MAIL), act("bounced", 15, MAIL)],
     {"state": "notified", "told_at": 13, "told_by": "router"}),
    ("opened in the episode before", [spell("a", 10, 20, "released", seen=15), spell("b", 30)], [],
     {"state": "recurring", "told_at": None, "told_by": "", "seen_at": None}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spells", "done", "expected"), TOLD, ids=[one[0] for one in TOLD])
def test_stages(name: str, spells: list[Spell], done: list[Action], expected: dict[str, Any]) -> None:
    for seed in range(4):
        chance = random.Random(seed)
        found = case_of(chance.sample(spells, len(spells)), chance.sample(done, len(done)))
        assert {key: found[key] for key in expected} == expected


N = 14 * DAY
CLEAN: list[tuple[str, list[Spell], list[Action], int, list[tuple[int | None, int | None]]]] = [
    ("not long enough", [spell("a", 10)], [], 10 + N - 1, [(None, None)]),
    ("long enough", [spell("a", 10)], [], 10 + N, [(10, None)]),
    ("evidence counts, not the begin", [spell("a", 10, last=500)], [], 10 + N, [(None, None)]),
    ("released and quiet", [spell("a", 10, 700, "released", last=500)], [], 500 + N, [(500, None)]),
    ("exempt says nothing", [spell("a", 10, 700, "exempt")], [], 10 + 9 * N, [(None, None)]),
    ("exempt, then closed by the desk", [spell("a", 10, 700, "exempt")], [act("closed", 20)], 9 * N, [(None, None)]),
    ("merged says nothing", [spell("a", 10, 700, "merged")], [], 10 + 9 * N, [(None, None)]),
    ("again too soon", [spell("a", 10, 20, "released"), spell("b", N)], [], 2 * N - 1, [(None, None), (None, None)]),
    ("again later", [spell("a", 10, 20, "released"), spell("b", 10 + N)], [], 10 + N, [(10, 10 + N), (None, None)]),
    ("the same goes on", [spell("a", 10, last=20 + N)], [quiet(10 + N)], 20 + N, [(10, 20 + N)]),
    ("it had gone on before", [spell("a", 10, last=90 + N)], [quiet(10 + N), act(RELAPSED, 20 + N, COLLECTOR)],
     90 + N, [(10, 20 + N)]),
    ("late news", [spell("a", 10, last=30)], [quiet(10 + N)], 10 + N, [(None, None)]),
    ("late news of another", [spell("a", 10, 20, "released"), spell("b", 30, 40, "released")], [quiet(10 + N)],
     10 + N, [(None, None), (None, None)]),
    ("what was observed by other rules stays", [spell("a", 10)], [quiet(10 + 3 * DAY, 3)], 10 + 3 * DAY, [(10, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spells", "done", "until", "expected"), CLEAN, ids=[one[0] for one in CLEAN])
def test_clean_and_relapsed(
    name: str, spells: list[Spell], done: list[Action], until: int, expected: list[tuple[int | None, int | None]]
) -> None:
    assert [tuple(one) for one in funnel.clean(fold(spells, done), done, funnel.Watch(until))] == expected


async def the_case(store: Store) -> Case:
    (case,) = (await query.listed(store)).cases
    return case


def heard(days: float) -> Any:
    up = 100 + int(days * DAY)
    return report(heartbeat(1 + int(days * DAY), up=up), up=up, received=NOW + int(days * DAY))


STORY = [
    event("raised", 0),
    event("updated", 100, notice={"shown": 1}),
    event("updated", 200, notice={"shown": 2, "answer": "mistake"}),
    event("updated", 300, notice={"shown": 3, "answer": "seen"}),
    event("updated", 400, notice={"shown": 3, "answer": "seen"}),
    event("closed", 500, why="released", notice={"shown": 3, "answer": "seen"}),
]


@pytest.mark.parametrize("seed", range(4))
def test_reports_late_twice_and_disordered(with_store: WithStore, seed: int) -> None:
    async def work(store: Store) -> None:
        chance = random.Random(seed)
        book = ours()(store)
        for one in chance.sample(STORY, len(STORY)) + chance.sample(STORY, 3):
            await store.add([late(one, chance.randrange(4) * 40)])
            if chance.random() < 0.6:
                await book.catch_up(NOW + 900)
        await book.catch_up(NOW + 900, full=True)
        case = await the_case(store)
        assert (case.state, case.told_at, case.told_by) == ("clean", NOW + 100, "router")
        assert (case.seen_at, case.answered_at, case.answer) == (NOW + 100, NOW + 200, "seen")
        assert (case.objection, case.clean_since, case.relapsed_at) == (0, None, None)
        before = await cases_of(store)
        await book.rebuild(NOW + 900)
        assert await cases_of(store) == before

    with_store(work)


def test_time_makes_it_clean_and_a_finding_makes_it_relapse(with_store: WithStore) -> None:
    """Only while the router reports; and rebuilding, or building again, changes nothing."""

    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0, last=5000)])
        for day, clean in ((1, None), (20, None)):
            await book.catch_up(NOW + day * DAY, full=True)
            assert (await the_case(store)).clean_since == clean  # it was not heard of since
        await store.add([heard(13.9)])
        await book.catch_up(NOW + 20 * DAY, full=True)
        assert (await the_case(store)).clean_since is None
        await store.add([heard(15)])
        await book.catch_up(NOW + 20 * DAY, full=True)
        assert (await the_case(store)).clean_since == NOW
        noted = await query.detail(store, CASE)
        assert noted is not None
        assert [(one["what"], one["who"], one["at"]) for one in noted.actions] == [("quiet", COLLECTOR, NOW + N)]
        await actions.note(store, CASE, "amy", "What now?", NOW + 20 * DAY)
        assert (await the_case(store)).clean_since == NOW
        for day in (21, 22):
            await store.add([event("updated", day * DAY, conns=day * 100)])
            await book.catch_up(NOW + day * DAY + 10)
            case = await the_case(store)
            assert (case.clean_since, case.relapsed_at) == (NOW, NOW + 21 * DAY)
        before = await cases_of(store)
        await book.rebuild(NOW + 23 * DAY)
        assert await cases_of(store) == before

    with_store(work)


def test_other_days(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0), heard(3.5)])
        await ours(clean_days=4)(store).catch_up(NOW + 9 * DAY)
        assert (await the_case(store)).clean_since is None
        await ours(clean_days=3)(store).catch_up(NOW + 9 * DAY)
        assert (await the_case(store)).clean_since == NOW

    with_store(work)


def test_each_channel_counts_once(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0)])
        book = ours()(store)
        await book.catch_up(NOW + 10)
        for at, user in ((20, MAIL), (30, WEBHOOK), (40, "amy")):
            await actions.notified(store, CASE, user, now=NOW + at)
            with pytest.raises(InvalidStateError):
                await actions.notified(store, CASE, user, now=NOW + at + 1)
        await store.add([event("updated", 50, notice={"shown": 0, "others": 1})])
        await book.catch_up(NOW + 60)
        case = await the_case(store)
        assert (case.told_by, case.told_at, case.seen_by) == ("mail webhook desk router", NOW + 20, "home")
        await actions.act(store, CASE, "bounced", MAIL, "5.1.1", NOW + 70)
        case = await the_case(store)
        assert (case.state, case.told_by, case.told_at) == ("notified", "webhook desk router", NOW + 30)
        row = (await store.read("SELECT * FROM desk_episode"))[0]
        assert [row[f"told_{name}_at"] for name in ("router", "mail", "webhook", "desk")] == [
            NOW + 50, None, NOW + 30, NOW + 40,
        ]  # fmt: skip

    with_store(work)


def test_two_routers_and_a_case_that_moves(with_store: WithStore) -> None:
    """The stages follow the case when its subscriber becomes known; another router's case keeps its own."""

    async def work(store: Store) -> None:
        people = Map(line("r2", "S1"))
        book = ours(people)(store)
        await store.add([event("raised", 0, notice={"shown": 1}), event("raised", 5, 2, router="r2")])
        await book.catch_up(NOW + 10)
        await actions.notified(store, case_id("", "r1", TV), MAIL, now=NOW + 20)
        people.rows.append(Map(line("r1", "S1")).rows[0])
        await book.remap(NOW + 30)
        found = {case.router: case for case in (await query.listed(store)).cases}
        assert (found["r1"].subscriber, found["r1"].told_by) == ("S1", "router mail")
        assert (found["r2"].subscriber, found["r2"].told_by) == ("S1", "")

    with_store(work)


def test_lists_by_stage(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        for number, notice in enumerate(({}, {"shown": 1}, {"shown": 1, "answer": "seen"},
                                         {"shown": 1, "answer": "mistake"}), 1):  # fmt: skip
            more: Any = {"notice": notice} if notice else {}
            await store.add([event("raised", number, number, dev=f"{number:016x}", **more)])
        await store.add(
            [event("raised", -20 * DAY, 8, dev=f"{8:016x}"), event("raised", -40 * DAY, 9, dev=f"{9:016x}")]
        )
        await store.add([event("closed", -39 * DAY, 9, dev=f"{9:016x}"), event("raised", -2, 10, dev=f"{9:016x}")])
        await store.add([event("raised", 5, 11, dev=f"{11:016x}"), heard(0)])
        book = ours()(store)
        await book.catch_up(NOW + 10, full=True)
        await actions.notified(store, case_id("S1", "r1", f"{11:016x}"), MAIL, now=NOW + 20)

        async def devs(stage: str) -> list[int]:
            found = await query.listed(store, Filter(stage=stage))
            return sorted(int(case.dev, 16) for case in found.cases)

        assert {stage: await devs(stage) for stage in STAGES} == {
            "unnotified": [1, 9], "notified": [11], "seen": [2], "answered": [3, 4], "objection": [4], "clean": [8],
            "relapsed": [9],
        }  # fmt: skip
        figures = await age_tables.figures(store)
        assert figures["stages"] == {(stage,): len(await devs(stage)) for stage in STAGES}
        assert figures["notified"] == {("router",): 3, ("mail",): 1, ("webhook",): 0, ("desk",): 0}

    with_store(work)


def test_what_an_older_version_kept(tmp_path: Path) -> None:
    """From version 7's tables: single events say when; without them the latest event does."""
    import sqlite3

    db = sqlite3.connect(tmp_path / "old.db")
    steps = {one.version: one for one in schema.migrations()}
    for version in range(1, 8):
        for statement in steps[version].statements:
            db.execute(statement)

    def add(number: str, updated: int, notice: str | None, *reports: tuple[int, str]) -> None:
        db.execute(
            "INSERT INTO incident (router, id, dev, kind, standing, act, first_at, last_at, conns, nets, msgs, rcpts,"
            " refused, ind, boot, seq, opened_at, updated_at, changed_at, notice)"
            " VALUES ('r', ?, 'd', 'raised', 'compromised', 'reset', 1, 1, 1, 1, 1, 1, 1, '{}', 'b', 1, 1, ?, 1, ?)",
            (number, updated, notice),
        )
        for at, body in reports:
            db.execute(
                "INSERT INTO report VALUES ('r', ?, ?, 1, ?, 'updated', ?, NULL, ?)", (number, at, at, number, body)
            )

    add("none", 50, None)
    add(
        "opened", 50, '{"shown":2}', (10, '{"act":"x"}'), (20, '{"notice":{"shown":1}}'), (30, '{"notice":{"shown":2}}')
    )
    add("answered", 50, '{"answer":"cleaned","shown":2}',
        (20, '{"notice":{"shown":1}}'), (30, '{"notice":{"answer":"cleaned","shown":2}}'))  # fmt: skip
    add("old", 50, '{"answer":"mistake","shown":0}')
    for statement in steps[8].statements:
        db.execute(statement)
    rows = db.execute("SELECT id, seen_at, answered_at, objected_at, answer FROM incident ORDER BY id").fetchall()
    assert rows == [
        ("answered", 20, 30, None, "cleaned"),
        ("none", None, None, None, None),
        ("old", None, 50, 50, "mistake"),
        ("opened", 20, None, None, None),
    ]
    db.close()
