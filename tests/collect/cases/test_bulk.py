"""One action on many cases: each once, each in its history, and what was not done said. On both engines."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.collect.cases import actions, bulk, query
from cpe_filter.collect.cases.bulk import DONE, REFUSED, WAITING, BulkError, Order
from cpe_filter.collect.cases.model import CaseError
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Statement, Store, StoreUnavailableError
from tests.collect.desks import Map, WithStore, event, line, ours
from tests.collect.reports import NOW

ANNA, BOB = audit.By("anna", audit.PAGE, "192.0.2.9"), audit.By("bob", audit.API)


async def filled(store: Store, count: int = 4) -> list[str]:
    """The ids of so many cases, in the order of their routers."""
    rows = [line(f"r{number}", f"S{number}") for number in range(count)]
    await store.add([event("raised", number, 1, router=f"r{number}") for number in range(count)])
    await ours(Map(*rows))(store).catch_up(NOW + 10)
    return [case.id for case in sorted((await query.listed(store)).cases, key=lambda case: case.router)]


async def states(store: Store, ids: list[str]) -> list[str]:
    found = await query.by_ids(store, ids)
    return [found[number].state for number in ids]


def test_each_case_is_done_once_and_says_by_whom_and_why(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store)
        await actions.close(store, ids[1], "bob", now=NOW + 20)
        done = await bulk.apply(
            store, ANNA, [*ids, ids[0], "0123456789abcdef"], "confirm", "a wave", now=NOW + 30
        )  # fmt: skip
        assert [item.state for item in done.items] == [DONE, REFUSED, DONE, DONE, REFUSED]
        assert [item.case for item in done.items] == [*ids, "0123456789abcdef"]
        assert "closed" in done.items[1].why
        assert "no case 0123456789abcdef" in done.items[4].why
        assert done.done_at == NOW + 30
        assert done.order == Order("confirm", "a wave")
        assert not done.is_interrupted(NOW + 10_000)
        assert await states(store, ids) == ["closed"] * 4
        for number in (ids[0], ids[2]):
            found = await query.detail(store, number)
            assert found is not None
            assert [(row["who"], row["what"], row["text"]) for row in found.actions] == [
                ("anna", "confirmed", "a wave")
            ]
        assert await bulk.find(store, done.id) == done

    with_store(work)


def test_assigning(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store)
        await bulk.apply(store, ANNA, ids[:3], "assign", "north is yours", assignee="bob", now=NOW + 20)
        await bulk.apply(store, BOB, ids[2:3], "assign", now=NOW + 21)
        assert [(await query.by_ids(store, ids))[number].assignee for number in ids] == ["bob", "bob", "", ""]
        # It stays through the end of the case, its return, and a rebuild.
        await store.add([event("closed", 40, 1, router="r0", why="cleared"), event("raised", 50, 2, router="r0")])
        rows = [line(f"r{number}", f"S{number}") for number in range(4)]
        updater = ours(Map(*rows))(store)
        await updater.catch_up(NOW + 60)
        await updater.rebuild(NOW + 60)
        case = await query.find(store, ids[0])
        assert case is not None
        assert (case.state, case.assignee) == ("recurring", "bob")
        assert (await actions.assign(store, ids[0], "anna", "anna", now=NOW + 70)).assignee == "anna"
        # Moved to another id, because the map has changed: still hers.
        await ours(Map(line("r0", "S9")))(store).remap(NOW + 80)
        moved = await query.find(store, ids[0])
        assert moved is not None
        assert (moved.subscriber, moved.assignee) == ("S9", "anna")

    with_store(work)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Order("delete", "x"), "action is 'delete'; allowed: assign, mail, acknowledge"),
        (Order("note", " \n"), "note needs a reason"),
        (Order("false-alarm"), "false-alarm needs a reason"),
        (Order("close", "x" * 2001), "at most 2000"),
        (Order("close", "x", "bob"), "an assignee is for assign"),
        (Order("assign", "", "bob\n"), "name of a user"),
        (Order("assign", "", "<b>"), "name of a user"),
    ],
)
def test_orders_that_are_none(with_store: WithStore, order: Order, said: str) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store, 1)
        with pytest.raises(BulkError, match=said.replace("(", r"\(")):
            await bulk.apply(store, ANNA, ids, order.action, order.reason, assignee=order.assignee)
        number = await bulk.draft(store, "anna", ids, "", NOW)
        with pytest.raises(BulkError):
            await bulk.confirm(store, number, ANNA, order, NOW)
        assert await states(store, ids) == ["open"]

    with_store(work)


def test_how_many(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        for ids in ([], [f"{number:016x}" for number in range(bulk.MAX_CASES + 1)]):
            with pytest.raises(BulkError, match=f"{len(ids)} cases were chosen; allowed: 1 to 1000"):
                await bulk.apply(store, ANNA, ids, "note", "x")
        assert await store.read("SELECT * FROM desk_batch_case") == []
        # One user cannot fill the store with choices that are never confirmed; those of others stay.
        theirs = await bulk.draft(store, "bob", ["a"], "", NOW - 100)
        mine = [await bulk.draft(store, "anna", ["a", "b"], "", NOW + number) for number in range(30)]
        kept = {row["id"] for row in await store.read("SELECT id FROM desk_batch")}
        assert kept == {theirs, *mine[-bulk.MAX_DRAFTS :]}
        assert {row["batch"] for row in await store.read("SELECT batch FROM desk_batch_case")} == kept
        await store.write(bulk.forget(NOW))
        assert await bulk.find(store, theirs) is None
        assert await bulk.find(store, mine[-1]) is not None

    with_store(work)


def test_a_choice_is_confirmed_once_and_by_its_maker(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store, 2)
        number = await bulk.draft(store, "anna", ids, "state=open", NOW)
        order = Order("note", "seen")
        assert not await bulk.confirm(store, number, BOB, order, NOW)
        await bulk.run(store, number, ANNA)  # not confirmed: nothing is done
        assert await bulk.confirm(store, number, ANNA, order, NOW)
        assert not await bulk.confirm(store, number, ANNA, Order("close", "no"), NOW)
        await bulk.run(store, number, ANNA, now=NOW + 1)
        await bulk.run(store, number, ANNA, now=NOW + 2)  # done: nothing more
        found = await query.detail(store, ids[0])
        assert found is not None
        assert [row["what"] for row in found.actions] == ["note"]

    with_store(work)


def test_an_interrupted_batch_says_what_was_done(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store)
        number = await bulk.draft(store, "anna", ids, "", NOW)
        await bulk.confirm(store, number, ANNA, Order("acknowledge"), NOW)
        write, left = store.write, [2]

        async def fails(statements: Any) -> list[int]:
            if not left[0]:
                raise StoreUnavailableError("the disk is full")
            left[0] -= 1
            return await write(statements)

        monkeypatch.setattr(store, "write", fails)
        with pytest.raises(StoreUnavailableError):
            await bulk.run(store, number, ANNA, now=NOW + 5)
        monkeypatch.setattr(store, "write", write)
        batch = await bulk.find(store, number)
        assert batch is not None
        assert [item.state for item in batch.items] == [DONE, DONE, WAITING, WAITING]
        assert await states(store, ids) == ["acknowledged", "acknowledged", "open", "open"]
        assert batch.done_at is None
        assert not batch.is_interrupted(NOW + 5 + bulk.STALE_S)
        assert batch.is_interrupted(NOW + 6 + bulk.STALE_S)

    with_store(work)


def test_what_was_left_is_not_done_after_all(with_store: WithStore) -> None:
    """A batch that only seemed to be interrupted: its cases may be in another batch by now."""

    async def work(store: Store) -> None:
        ids = await filled(store, 2)
        number = await bulk.draft(store, "anna", ids, "", NOW)
        assert await bulk.confirm(store, number, ANNA, Order("mail"), NOW)
        asked = []

        async def mailer(case: str, user: str, now: int) -> list[Statement]:
            asked.append(case)
            await bulk.leave(store, number, "anna", now)  # meanwhile
            return []

        await bulk.run(store, number, ANNA, mailer, NOW + 1)
        assert asked == ids[:1]
        batch = await bulk.find(store, number)
        assert batch is not None
        assert (batch.items[1].state, batch.items[1].why) == (REFUSED, "interrupted")

    with_store(work)


def test_notices_by_mail(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store, 2)
        asked = []

        async def mailer(number: str, user: str, now: int) -> list[Statement]:
            asked.append((number, user, now))
            if number == ids[1]:
                raise CaseError("The subscriber map has no e-mail address")
            return []

        unset = await bulk.apply(store, ANNA, ids, "mail", now=NOW)
        assert [item.why for item in unset.items] == ["e-mail is not set up"] * 2
        done = await bulk.apply(store, ANNA, ids, "mail", "a reminder", mailer=mailer, now=NOW + 1)
        assert [(item.state, item.why) for item in done.items] == [
            (DONE, ""), (REFUSED, "The subscriber map has no e-mail address"),
        ]  # fmt: skip
        assert asked == [(ids[0], "anna", NOW + 1), (ids[1], "anna", NOW + 1)]
        found = [await query.detail(store, number) for number in ids]
        assert [[row["text"] for row in one.actions] for one in found if one] == [["a reminder"], []]

    with_store(work)
