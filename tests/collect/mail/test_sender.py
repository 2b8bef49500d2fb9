"""Who is sent a notice, when, how often, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cpe_filter.collect.cases import actions
from cpe_filter.collect.cases.age_tables import figures
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.mail.relay import Result
from cpe_filter.collect.mail.sender import is_quiet
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore, line
from tests.collect.mail.post import ACCEPTED, Post, subscriber
from tests.collect.reports import NOW

DEFERRED = Result("deferred", "4.2.0", "the relay deferred the recipient: reply 450")
REFUSED = Result("refused", "5.1.1", "the relay refused the recipient: reply 550")
AWAY = Result("unavailable", None, "ConnectionRefusedError")
HOUR, DAY = 3600, 86_400


async def begun(store: Store, *rows: dict[str, str], **bounds: Any) -> Post:
    """A post that was set up before the case began."""
    post = Post(store, *rows, **bounds)
    await post.step()
    await post.report("raised", 60)
    post.now += 61
    return post


def test_a_new_case_is_sent_once(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store)
        assert await post.step() == 1
        assert [one.recipient for one in post.sent] == ["s1@friends.example"]
        case = await post.case()
        assert (case["state"], case["notified_at"]) == ("notified", int(post.now))
        for _ in range(5):
            assert await post.step(DAY) == 0
        # Late news of an earlier beginning makes no second one.
        await post.report("raised", 30, number=2)
        assert await post.step() == 0
        (row,) = await post.rows()
        assert (row["state"], row["tries"], row["languages"], row["status"]) == ("sent", 1, "de tr", "2.0.0")
        assert (await figures(store))["mail_messages"][("sent",)] == 1

    with_store(work)


def test_again_when_it_is_compromised_again(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store, per_case=2)
        await post.step()
        for number in range(2, 5):
            await post.report("closed", DAY * number - 60, number=number - 1)
            await post.report("raised", DAY * number, number=number)
            post.now = NOW + DAY * number + 1
            await post.step()
        assert len(post.sent) == 2  # per_case

    with_store(work)


def test_nothing_is_automatic_by_default_and_old_cases_are_the_desks(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store, automatic=False)
        assert await post.step() == 0
        post = Post(store)
        post.now = NOW + DAY
        assert await post.step() == 0
        assert await post.asked()
        assert not await post.asked()  # a second click
        assert await post.step() == 1
        assert (await post.case())["state"] == "notified"

    with_store(work)


def test_the_address_is_nowhere_but_in_the_map(with_store: WithStore, caplog: pytest.LogCaptureFixture) -> None:
    async def work(store: Store) -> None:
        post = await begun(store)
        post.results = [DEFERRED, REFUSED]
        await post.step()
        await post.step(DAY)
        tables = [
            await store.read("SELECT * FROM " + name)  # noqa: S608
            for name in ("desk_mail", "desk_case", "desk_case_action", "desk_event", "desk_incident")
        ]
        assert "friends.example" not in json.dumps(tables)
        assert await post.states() == ["failed"]

    with caplog.at_level("DEBUG"):
        with_store(work)
    logged = [str(record.__dict__) for record in caplog.records if record.name.startswith("cpe_filter")]
    assert logged
    assert not [text for text in logged if "friends.example" in text]


def test_deferred_is_tried_again_and_given_up(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store, give_up_s=DAY)
        post.results = [DEFERRED]
        waits = []
        for _ in range(200):
            await post.step()
            (row,) = await post.rows()
            if row["state"] != "queued":
                break
            waits.append(row["next_at"] - int(post.now))
            assert await post.step() == 0
            post.now = row["next_at"]
        assert waits[:4] == [60, 120, 240, 480]
        assert max(waits) == HOUR
        assert (row["state"], row["status"]) == ("failed", "4.2.0")
        assert row["why"].startswith("given up: ")
        assert len({one.content.split(b"Message-ID")[1][:60] for one in post.sent}) == 1
        assert (await post.case())["state"] == "open"
        # The desk may still try.
        post.results = [ACCEPTED]
        await post.asked(place=1)
        assert await post.step() == 1
        assert (await post.case())["state"] == "notified"

    with_store(work)


def test_while_the_relay_is_away_no_message_is_blamed(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store, subscriber(), subscriber("r2", "S2"))
        await post.report("raised", 60, router="r2")
        post.results = [AWAY, AWAY, ACCEPTED]
        assert await post.step() == 1  # not the second one, too
        assert await post.step(10) == 0
        assert await post.step(60) == 1
        assert await post.step(600) == 2
        assert await post.states() == ["sent", "sent"]
        assert [row["tries"] for row in await post.rows()] == [1, 1]

    with_store(work)


def test_bounds(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        rows = [subscriber(f"r{number}", f"S{number // 4}") for number in range(8)]
        post = Post(store, *rows, per_day=3, per_subscriber=2)
        await post.step()
        for number in range(8):
            await post.report("raised", 60, router=f"r{number}")
        post.now += 61
        for _ in range(6):
            await post.step(1)
        assert len(post.sent) == 3
        assert all([one.recipient for one in post.sent].count(f"s{number}@friends.example") <= 2 for number in range(2))
        for _ in range(9):
            await post.step(6 * HOUR)
        assert len(post.sent) == 8

    with_store(work)


def test_quiet_hours_hold_for_what_is_automatic(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store, quiet=(11 * 60, 13 * 60))  # NOW is 12:00 UTC
        assert await post.step() == 0
        assert await post.asked()
        assert await post.step() == 1
        assert await post.step(HOUR) == 0

    with_store(work)


def test_hours_may_span_midnight() -> None:
    night = (21 * 60, 7 * 60)
    hours = [hour for hour in range(24) if is_quiet(night, "UTC", NOW - 12 * HOUR + hour * HOUR)]
    assert hours == [0, 1, 2, 3, 4, 5, 6, 21, 22, 23]
    assert is_quiet(night, "Europe/Berlin", NOW + 8 * HOUR)
    assert not any(is_quiet((0, 0), "UTC", NOW + hour * HOUR) for hour in range(24))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"email": ""}, "the subscriber map has no e-mail address"),
        ({"email": "not an address"}, "the e-mail address in the subscriber map cannot be used"),
    ],
)
def test_without_an_address_it_waits_for_one(with_store: WithStore, change: dict[str, str], why: str) -> None:
    async def work(store: Store) -> None:
        post = await begun(store, subscriber(**change))
        assert await post.step() == 0
        (row,) = await post.rows()
        assert row["why"].startswith(why)
        post.map.rows = Post(store).map.rows
        assert await post.step(HOUR) == 1

    with_store(work)


def test_another_subscriber_is_not_sent_it(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store)
        post.map.away = True
        assert await post.step() == 0
        post.map.away = False
        moved = NOW + 100
        until = "2026-11-24T12:01:40Z"
        assert moved == NOW + 100
        post.map.rows = [*Post(store, subscriber(until=until)).map.rows,
                         *Post(store, subscriber(whose="S2", since=until)).map.rows]  # fmt: skip
        assert await post.step(400) == 0
        assert await post.states() == ["failed"]
        assert post.sent == []

    with_store(work)


def test_a_case_that_has_ended_is_not_sent(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store, automatic=True)
        post.results = [DEFERRED]
        await post.step()
        await actions.close(store, (await post.case())["id"], "anna", now=int(post.now))
        await post.step(HOUR)
        assert await post.states() == ["skipped"]
        assert len(post.sent) == 1

    with_store(work)


def test_what_is_given_up_meanwhile_is_not_sent(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk gives one up while those before it are sent."""

    async def work(store: Store) -> None:
        post = await begun(store, subscriber("r1", "S1"), subscriber("r2", "S2"))
        await post.report("raised", 60, router="r2", number=2)
        find = post.map.find

        async def slow(router: str, at: int) -> Any:
            last = (await store.read("SELECT MAX(id) AS id FROM desk_mail"))[0]
            await store.write([("UPDATE desk_mail SET state = 'failed', dismissed_at = 1 WHERE id = :id", last)])
            return await find(router, at)

        monkeypatch.setattr(post.map, "find", slow)
        await post.step(120)
        assert len(post.sent) == 1
        assert sorted(await post.states()) == ["failed", "sent"]

    with_store(work)


def test_one_process_at_a_time(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store)
        other = post.another("other:1:x")
        assert await post.step() == 1
        assert await other.step() == 0

    with_store(work)


def test_sent_and_killed_before_the_case_says_so(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post = await begun(store)
        await post.asked()
        row = (await post.rows())[0]
        await store.write(
            [
                (
                    "UPDATE desk_mail SET state = 'sent', sent_at = :now WHERE id = :id",
                    {"now": int(post.now), "id": row["id"]},
                )
            ]
        )
        assert await post.step() == 0
        assert (await post.case())["state"] == "notified"

    with_store(work)


def test_mails_go_with_their_case(with_store: WithStore) -> None:
    """A subscriber who becomes known gets the case of the unknown one; a case that is deleted takes its mails along."""

    async def work(store: Store) -> None:
        post = await begun(store)
        await post.step()
        post.map.rows = Post(store, line("r1", "S9")).map.rows
        await CaseUpdater(store, post.map).remap(int(post.now))
        case = await post.case()
        assert case["subscriber"] == "S9"
        assert [row["case_id"] for row in await post.rows()] == [case["id"]]

    with_store(work)
