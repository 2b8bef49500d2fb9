"""Cases: the same whatever the order of reports, and what people can do with them. On both engines."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from cpe_filter.collect.cases import actions, mail_servers, model, query
from cpe_filter.collect.cases.model import CaseError, CaseNotFoundError, Filter, InvalidStateError
from cpe_filter.collect.cases.plan import case_id
from cpe_filter.collect.export import export_rows
from cpe_filter.collect.export.export_rows import Selection
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import figures
from cpe_filter.collect.web.figures import View
from cpe_filter.collect.wire import Report
from tests.collect.desks import ADDRESS, HOUR, PC, TV, Map, WithStore, cases_of, event, late, line, ours
from tests.collect.reports import NOW

CASE = case_id("S1", "r1", TV)

STORY = [
    event("opened", 0, 1, ind={"helo-dynamic": 1}),
    event("raised", 10, 1, ind={"helo-dynamic": 2, "dnsbl-listed": 1}, conns=5, refused=1),
    event("closed", 100, 1, ind={"helo-dynamic": 3, "dnsbl-listed": 1}, conns=9, refused=4),
    event("opened", 200, 2, ind={"no-quit": 1}),
    event("raised", 210, 2, ind={"no-quit": 2}, conns=7, refused=2, act="reset"),
    event("opened", 50, 9, dev=PC),
]


async def only(store: Store) -> model.Case:
    found = await query.listed(store)
    assert (found.total, len(found.cases)) == (1, 1)
    return found.cases[0]


def test_a_case(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add(STORY)
        assert await ours()(store).catch_up(NOW + 300) == 2
        case = await only(store)
        assert case == model.Case(
            id=CASE, router="r1", dev=TV, subscriber="S1", region="north", line="fibre-100", model="cpe-9",
            contact="crm:S1", asn=64500, oui="b827eb", state="recurring", standing="compromised", act="reset",
            first_at=NOW + 40, last_at=NOW + 210, incidents=2, episodes=2, conns=16, nets=8, msgs=2, rcpts=6,
            refused=6, ind={"helo-dynamic": 3, "dnsbl-listed": 1, "no-quit": 2}, opened_at=NOW + 10, begun_at=NOW + 210,
            notified_at=None, acknowledged_at=None, clean_at=None, closed_at=None, why=None, acted=0,
            changed_at=NOW + 210,
        )  # fmt: skip
        told = await query.detail(store, CASE)
        assert told is not None
        assert [(one["begun_at"], one["clean_at"]) for one in told.episodes] == [
            (NOW + 10, NOW + 100), (NOW + 210, None),
        ]  # fmt: skip
        assert [one["id"][-1] for one in told.incidents] == ["2", "1"]
        assert told.incidents[0]["ind"] == {"no-quit": 2}
        assert told.incidents[0]["sp"][0]["port"] == 40000
        assert [one["kind"] for one in told.reports] == ["raised", "opened", "closed", "raised", "opened"]
        assert told.reports[0]["body"]["act"] == "reset"

    with_store(work)


@pytest.mark.parametrize("seed", range(6))
def test_order_and_repetition_do_not_matter(with_store: WithStore, seed: int) -> None:
    """Built after each report, out of order and twice, or at once, or anew: the same rows."""

    async def work(store: Store) -> None:
        chance = random.Random(seed)
        book = ours()(store)
        for one in chance.sample(STORY, len(STORY)) + chance.sample(STORY, 3):
            await store.add([late(one, chance.randrange(5) * 30)])
            if chance.random() < 0.7:
                await book.catch_up(NOW + 300)
        await book.catch_up(NOW + 300, full=True)
        stepwise = await cases_of(store)
        assert await ours()(store).catch_up(NOW + 300) == 0
        for table in ("desk_case", "desk_episode", "desk_incident"):
            await store.write([(f"DELETE FROM {table}", {})])  # noqa: S608
        assert await ours()(store).catch_up(NOW + 300) == 2
        assert await cases_of(store) == stepwise
        await ours()(store).rebuild(NOW + 400)
        assert await cases_of(store) == stepwise
        EXPECTED.setdefault(0, stepwise)
        assert stepwise == EXPECTED[0]

    with_store(work)


#: What the first order gave: the others must give it, too, on either engine.
EXPECTED: dict[int, Any] = {}


def test_report_that_a_queue_held_for_hours_is_found(with_store: WithStore) -> None:
    """It is stored with the time of its receipt, long before the last pass."""

    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW + HOUR)
        await store.add([event("raised", 60, 2, dev=PC)])
        assert await book.catch_up(NOW + HOUR + 10) == 0
        assert await book.catch_up(NOW + HOUR + 20, full=True) == 1
        assert len((await query.listed(store)).cases) == 2

    with_store(work)


def test_only_what_changed_is_built(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0, number, dev=f"{number:016x}") for number in range(1, 20)])
        assert await book.catch_up(NOW + 1) == 19
        assert await book.catch_up(NOW + 2) == 0
        await store.add([event("updated", 3, 7, dev=f"{7:016x}")])
        assert await book.catch_up(NOW + 4) == 1
        assert await book.catch_up(NOW + 5, full=True) == 0

    with_store(work)


def test_more_devices_than_one_page(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpe_filter.collect.cases.update.CHUNK", 7)
    monkeypatch.setattr("cpe_filter.collect.cases.update._BATCH", 3)

    async def work(store: Store) -> None:
        await store.add([event("raised", n, n, router=f"r{n % 3}", dev=f"{n:016x}") for n in range(40)])
        book = ours(Map())(store)
        assert await book.catch_up(NOW + 50) == 40
        assert (await query.listed(store)).total == 40
        assert await book.remap(NOW + 60) == 0
        assert await book.rebuild(NOW + 70) == 40

    with_store(work)


@pytest.mark.parametrize("standing", ["suspected", "unusual"])
def test_only_a_compromised_device_makes_a_case(with_store: WithStore, standing: str) -> None:
    """Routers of earlier versions reported suspected devices, too: they lead to nothing at the desk."""

    async def work(store: Store) -> None:
        await store.add([event("opened", 0, standing=standing)])
        await ours()(store).catch_up(NOW)
        assert (await query.listed(store)).total == 0
        assert len(await mail_servers.listed(store)) == (standing == "unusual")
        await store.add([event("raised", 60)])
        await ours()(store).catch_up(NOW)
        case = await only(store)
        assert (case.standing, case.opened_at) == ("compromised", NOW + 60)
        assert await mail_servers.listed(store) == []

    with_store(work)


def test_more_incidents_than_are_looked_at(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that makes incidents up without end costs a bounded amount, and nothing is built for ever."""
    monkeypatch.setattr(model, "MAX_INCIDENTS", 5)

    async def work(store: Store) -> None:
        for number in range(20):
            same = 100 if number < 4 else 100 + number
            await store.add([event("raised", same, number, seq=number)])
        book = ours()(store)
        await book.catch_up(NOW + 200)
        assert (await only(store)).incidents == 5
        assert await book.catch_up(NOW + 210, full=True) == 0
        detail = await query.detail(store, CASE)
        assert detail is not None
        assert [int(one["id"], 16) for one in detail.incidents] == [19, 18, 17, 16, 15]

    with_store(work)


def test_incident_that_says_it_is_of_another_device(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW)
        await store.add([event("updated", 10, dev=PC)])
        await book.catch_up(NOW + 10)
        assert (await only(store)).dev == PC
        assert await book.catch_up(NOW + 20, full=True) == 0

    with_store(work)


# ── whose it is ─────────────────────────────────────────────────────────────────────────────────


def test_router_that_moves_between_subscribers(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        half = "2026-11-24T12:01:00Z"  # NOW + 60
        whose = Map(line(until=half), line(subscriber="S2", since=half, region="south"))
        await store.add([event("raised", 0), event("closed", 30), event("raised", 90, 2)])
        await ours(whose)(store).catch_up(NOW + 100)
        found = {case.subscriber: case for case in (await query.listed(store)).cases}
        assert {name: (case.state, case.region, case.incidents) for name, case in found.items()} == {
            "S1": ("clean", "north", 1),
            "S2": ("open", "south", 1),
        }

    with_store(work)


def test_unknown_router_finds_its_subscriber_later(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        whose = Map()
        book = ours(whose)(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW)
        unknown = await only(store)
        assert (unknown.subscriber, unknown.region, unknown.asn) == ("", "", None)
        await actions.acknowledge(store, unknown.id, "amy", now=NOW + 5)
        await actions.note(store, unknown.id, "amy", "who is this?", now=NOW + 6)
        assert await book.remap(NOW + 9, unknown_only=True) == 0
        whose.rows = Map(line()).rows
        assert await book.catch_up(NOW + 10) == 0
        assert await book.remap(NOW + 11, unknown_only=True) == 1
        known = await only(store)
        assert (known.id, known.subscriber, known.state, known.acted) == (CASE, "S1", "acknowledged", 2)
        again = await query.find(store, unknown.id)
        assert again == known
        await actions.close(store, unknown.id, "bob", "done", now=NOW + 20)
        assert (await only(store)).state == "closed"
        # and back, as a broken map would have it
        whose.rows = []
        await book.remap(NOW + 30)
        back = await only(store)
        assert (back.id, back.state, back.acted) == (unknown.id, "closed", 3)
        assert await query.find(store, CASE) == back

    with_store(work)


def test_map_that_cannot_be_asked_changes_nothing(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        whose = Map(line())
        book = ours(whose)(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW)
        whose.away = True
        await store.add([event("updated", 10), event("raised", 20, 5, dev=PC)])
        await book.catch_up(NOW + 20)
        await book.remap(NOW + 21)
        found = {case.dev: case.subscriber for case in (await query.listed(store)).cases}
        assert found == {TV: "S1", PC: ""}
        whose.away = False
        assert await book.remap(NOW + 30, unknown_only=True) == 1
        assert {case.subscriber for case in (await query.listed(store)).cases} == {"S1"}

    with_store(work)


def test_map_that_is_put_right(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        whose = Map(line(contact="crm:wrong"))
        book = ours(whose)(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW)
        assert await book.remap(NOW) == 0
        whose.rows = Map(line(contact="crm:right", address=ADDRESS)).rows
        assert await book.remap(NOW) == 1
        assert (await only(store)).contact == "crm:right"

    with_store(work)


# ── what people do ──────────────────────────────────────────────────────────────────────────────


def test_actions_say_who_and_when(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW)
        assert (await only(store)).allowed == (
            "notified", "acknowledged", "closed", "confirmed", "false-alarm", "note", "assigned",
        )  # fmt: skip
        assert (await actions.notified(store, CASE, "letters", now=NOW + 1)).state == "notified"
        case = await actions.acknowledge(store, CASE, "amy", "called them", now=NOW + 2)
        assert (case.state, case.notified_at, case.acknowledged_at) == ("acknowledged", NOW + 1, NOW + 2)
        assert case.allowed == ("closed", "confirmed", "false-alarm", "note", "assigned")
        assert (await actions.close(store, CASE, "bob", now=NOW + 3)).why == "desk"
        assert (await actions.reopen(store, CASE, "bob", "a mistake", now=NOW + 4)).state == "acknowledged"
        assert (await actions.note(store, CASE, "amy", "waits", now=NOW + 5)).changed_at == NOW + 5
        detail = await query.detail(store, CASE)
        assert detail is not None
        assert [(one["at"] - NOW, one["who"], one["what"], one["text"]) for one in detail.actions] == [
            (1, "letters", "notified", ""), (2, "amy", "acknowledged", "called them"), (3, "bob", "closed", ""),
            (4, "bob", "reopened", "a mistake"), (5, "amy", "note", "waits"),
        ]  # fmt: skip
        stepwise = await cases_of(store)
        await book.rebuild(NOW + 10)
        assert await cases_of(store) == stepwise

    with_store(work)


def test_actions_that_cannot_be(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0), event("closed", 5, why="expired")])
        await ours()(store).catch_up(NOW)
        for what in (actions.acknowledge, actions.close, actions.notified, actions.reopen):
            with pytest.raises(InvalidStateError, match="is closed"):
                await what(store, CASE, "amy")
        for what in (actions.acknowledge, actions.close, actions.reopen, actions.notified):
            with pytest.raises(CaseNotFoundError):
                await what(store, "nothing", "amy")
        for who, text in (
            ("", "x"),
            ("a" * 101, "x"),
            ("amy", "x" * 2001),
            ("amy", "a\0b"),
            ("amy", "\ud800"),
            ("amy", " "),
        ):
            with pytest.raises(CaseError):
                await actions.note(store, CASE, who, text)
        assert await store.read("SELECT * FROM desk_case_action") == []

    with_store(work)


def test_texts_and_users_of_actions_are_bounded(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW)
        await actions.note(store, CASE, "u" * actions.MAX_USER, "t" * actions.MAX_TEXT, now=NOW + 1)
        for user, text in (("u" * (actions.MAX_USER + 1), "t"), ("", "t"), ("u", "t" * (actions.MAX_TEXT + 1))):
            with pytest.raises(model.CaseError, match="characters"):
                await actions.note(store, CASE, user, text, now=NOW + 2)

    with_store(work)


def test_actions_of_one_case_are_bounded(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_ACTIONS", 3)

    async def work(store: Store) -> None:
        await store.add([event("raised", 0)])
        await ours()(store).catch_up(NOW)
        for _ in range(3):
            await actions.note(store, CASE, "amy", "x")
        with pytest.raises(CaseError, match="3 actions"):
            await actions.note(store, CASE, "amy", "x")

    with_store(work)


def test_news_that_the_desk_did_not_know_reopen_a_closed_case(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0), event("closed", 10)])
        await book.catch_up(NOW + 20)
        await actions.close(store, CASE, "amy", now=NOW + 100)
        await store.add([late(event("raised", 50, 2), 200)])  # happened before the closing, heard after it
        await book.catch_up(NOW + 300)
        assert (await only(store)).state == "recurring"
        assert (await only(store)).begun_at == NOW + 100

    with_store(work)


def test_action_that_a_pass_overwrote_is_found_again(with_store: WithStore) -> None:
    """Two processes: one reads a case, the other acts on it, the first writes what it had read."""

    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0)])
        await book.catch_up(NOW)
        await actions.acknowledge(store, CASE, "amy", now=NOW + 5)
        await store.write([("UPDATE desk_case SET state = 'open', acknowledged_at = NULL, acted = 0", {})])
        assert await book.catch_up(NOW + 6) == 1
        assert (await only(store)).state == "acknowledged"

    with_store(work)


# ── codes of an earlier version ─────────────────────────────────────────────────────────────────


async def found_with(store: Store, code: str) -> list[str]:
    return [case.id for case in (await query.listed(store, Filter(indicator=code))).cases]


def test_routers_with_an_earlier_version_are_understood(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        await store.add([event("raised", 0, 1, ind={"listed": 2, "odd-case": 1, "of-a-newer-version": 3})])
        assert await store.read("SELECT ind FROM incident") == [
            {"ind": '{"dnsbl-listed":2,"of-a-newer-version":3,"verb-case":1}'}
        ]
        await ours()(store).catch_up(NOW + 1)
        assert (await only(store)).ind == {"dnsbl-listed": 2, "of-a-newer-version": 3, "verb-case": 1}

    with_store(work)


def test_rows_of_an_earlier_version_are_read_as_today_s(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        book = ours()(store)
        await store.add([event("raised", 0, 1, ind={"helo-dynamic": 1}), event("raised", 5, 2, ind={"no-quit": 1})])
        await book.catch_up(NOW + 10)
        old = {"x": '{"dnsbl-listed":1,"listed":2,"odd-case":1}'}
        await store.write([("UPDATE incident SET ind = :x", old), ("UPDATE desk_case SET ind = :x", old)])
        now = {"dnsbl-listed": 3, "verb-case": 1}
        case = await only(store)
        assert case.ind == now
        for code in now:
            assert await found_with(store, code) == [case.id]
        assert await found_with(store, "sender-is-recipient") == []
        told = await query.detail(store, case.id)
        assert told is not None
        assert [one["ind"] for one in told.incidents] == [now, now]
        assert [
            item.incident["ind"]
            async for item in export_rows.export_rows(store, Map(line("r1", "S1")), Selection(), NOW)
        ] == [now, now]
        assert [(one.name, one.number) for one in (await figures.compute(store, View(30), NOW + 10)).indicators] == [
            ("dnsbl-listed", 1), ("verb-case", 1),
        ]  # fmt: skip
        # The case is planned again, from one incident with old codes and one with new ones.
        await store.add([event("updated", 30, 1, ind={"dnsbl-listed": 1})])
        await book.catch_up(NOW + 40)
        assert (await only(store)).ind == {"dnsbl-listed": 4, "verb-case": 1}

    with_store(work)


# ── lists ───────────────────────────────────────────────────────────────────────────────────────

NASTY = ["'; DROP TABLE desk_case; --", "<script>alert(1)</script>", "100%", "a_b", "!x", ":name %(x)s", "\\", "ünï"]


def test_lists_filter_and_page(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        whose = Map(
            *(line(f"r{n}", f"S{n}", region="north" if n % 2 else "south", model=f"m{n % 3}" if n % 3 else "")
              for n in range(12))
        )  # fmt: skip
        for n in range(12):
            ind = {"dnsbl-listed": 1} if n < 4 else {"listed-twice": 1}
            await store.add([event("raised", n, 1, router=f"r{n}", ind=ind)])
        await ours(whose)(store).catch_up(NOW + 50)

        async def found(**want: Any) -> list[str]:
            return [case.router for case in (await query.listed(store, Filter(**want), most=100)).cases]

        assert await found() == [f"r{n}" for n in reversed(range(12))]
        assert await found(region="north", model="m1") == ["r7", "r1"]
        assert await found(model="tplink,archer-c7-v2") == ["r9", "r6", "r3", "r0"]
        assert await found(indicator="dnsbl-listed") == ["r3", "r2", "r1", "r0"]
        assert await found(text="crm:s1") == ["r11", "r10", "r1"]
        assert await found(text="s5") == ["r5"]
        await store.write([("UPDATE desk_case SET line = 'Glasfaser MÜNCHEN' WHERE router = 'r5'", {})])
        for said in ("MÜNCHEN", "münchen", "faser mü"):
            assert await found(text=said) == ["r5"], said
        assert await found(subscriber="S5") == await found(router="r5") == ["r5"]
        assert await found(states=["clean", "closed"]) == []
        assert len(await found(states=["open", "clean"])) == 12
        assert await found(since=NOW + 10) == ["r11", "r10"]
        assert await found(until=NOW + 1) == ["r0"]
        page = await query.listed(store, order="opened", first=10, most=5)
        assert (page.total, [case.router for case in page.cases]) == (12, ["r1", "r0"])
        for order in query.ORDERS:
            assert (await query.listed(store, order=order)).total == 12
        assert await query.choices(store) == {
            "regions": ["north", "south"], "models": ["m1", "m2", "tplink,archer-c7-v2"], "assignees": [],
        }  # fmt: skip
        assert (await query.states(store))["open"] == 12
        assert [*await query.by_ids(store, [CASE, "x", CASE])] == [CASE]
        assert await query.by_ids(store, []) == {}

    with_store(work)


def test_text_is_only_text(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        whose = Map()
        for n, text in enumerate(NASTY):
            one = event("raised", n, 1, router=f"r{n}")
            values = {name: getattr(one, name) for name in one.__slots__}
            events = ({**one.events[0], "act": text, "ind": {text: 1}, "dev": text},)
            await store.add([Report(**{**values, "router": text, "events": events})])
            whose.rows += Map(line(text, text, region=text, line=text, model=text, contact=text)).rows
        await ours(whose)(store).catch_up(NOW + 50)
        for text in NASTY:
            for want in (Filter(text=text), Filter(region=text), Filter(model=text), Filter(subscriber=text)):
                listed = await query.listed(store, want)
                assert [case.subscriber for case in listed.cases] == [text], want
        await query.listed(store, Filter(text="\0\ud800", indicator="\0", region="x"))
        number = (await query.listed(store, Filter(text=NASTY[0]))).cases[0].id
        for text in NASTY:
            await actions.note(store, number, text, text)
        detail = await query.detail(store, number)
        assert detail is not None
        assert sorted(one["text"] for one in detail.actions) == sorted(NASTY)
        assert await query.find(store, NASTY[0]) is None

    with_store(work)


def test_evidence_is_not_copied(with_store: WithStore) -> None:
    """Names, ports and addresses are nowhere but where retention deletes them."""

    async def work(store: Store) -> None:
        await store.add([event("raised", 0, name="annas-tv", sp=[{"up": 4990, "port": 45678, "family": 4}])])
        book = ours(notify=True)(store)
        await book.catch_up(NOW)
        await actions.acknowledge(store, CASE, "amy")
        for table in ("desk_case", "desk_episode", "desk_incident", "desk_case_action", "desk_event"):
            said = json.dumps(await store.read(f"SELECT * FROM {table}"))  # noqa: S608
            assert "annas-tv" not in said
            assert "45678" not in said
            assert "192.0.2.7" not in said

    with_store(work)


def test_ids_tell_everything_apart() -> None:
    names = ["a", "b", "ab", ""]
    assert len({case_id(*three) for three in itertools.product(names, repeat=3)}) == 64
