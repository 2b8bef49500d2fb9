"""Notifications: what is told when, signed, once in order, until it is taken or dead."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpe_filter.collect.cases import actions, history, query, queue, webhook
from cpe_filter.collect.cases.history import Action, Spell
from cpe_filter.collect.cases.notifications import News, news
from cpe_filter.collect.cases.plan import case_id
from cpe_filter.collect.cases.webhook import SecretError, Sender, Terms, secret, signature
from cpe_filter.collect.store.base import Store
from tests.collect.desks import PC, TV, Map, WithStore, event, late, line, ours
from tests.collect.http_end import Asked, End, Reply
from tests.collect.reports import NOW
from tests.lab.net import DEADLINE_S

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
CASE = case_id("S1", "r1", TV)


# ── what is told ────────────────────────────────────────────────────────────────────────────────


def told(spells: list[Spell], slots: list[str], actions: tuple[Action, ...] = ()) -> list[str]:
    found = news(history.fold(spells, actions), slots, 99)
    slots += [one.slot for one in found]
    return [f"{one.kind}@{one.at}" + (" late" if one.late else "") for one in found]


def spell(name: str, begun: int, ended: int | None = None, why: history.EndReason = "cleared") -> Spell:
    return Spell(name, begun, begun, ended, why if ended is not None else None)


def test_a_life_is_told_in_order() -> None:
    slots: list[str] = []
    assert told([spell("a", 10)], slots) == ["opened@10"]
    assert told([spell("a", 10)], slots) == []
    assert told([spell("a", 10, 20)], slots) == ["clean@20"]
    assert told([spell("a", 10, 20), spell("b", 30)], slots) == ["recurring@30"]
    assert told([spell("a", 10, 20), spell("b", 30, 40, "expired")], slots) == ["closed@40"]
    assert told([spell("a", 10, 20), spell("b", 30, 40, "expired")], slots) == []


def test_all_at_once_is_told_in_the_same_order() -> None:
    spells = [spell("a", 10, 20), spell("b", 30, 40, "expired"), spell("c", 50)]
    assert told(spells, []) == ["opened@10", "clean@20", "recurring@30", "closed@40", "recurring@50"]


def test_suspicion_is_raised() -> None:
    slots: list[str] = []
    assert told([Spell("a", 10, None, None, None)], slots) == ["opened@10"]
    assert told([Spell("a", 10, 15, None, None)], slots) == ["raised@15"]
    assert told([Spell("a", 10, 15, 20, "released")], slots) == ["clean@20"]


def test_earlier_incident_that_is_heard_late() -> None:
    slots: list[str] = []
    assert told([spell("b", 30)], slots) == ["opened@30"]
    # one that joins the episode is no news; one before it is not sent any more
    assert told([spell("a", 25), spell("b", 30)], slots) == []
    assert told([spell("z", 5, 8), spell("a", 25), spell("b", 30)], slots) == ["opened@5 late", "clean@8 late"]
    assert told([spell("z", 5, 8), spell("a", 25, 40), spell("b", 30, 35)], slots) == ["clean@40"]


def test_end_that_was_none() -> None:
    """A silent router is heard again: its incident goes on after all."""
    slots: list[str] = []
    assert told([spell("a", 10)], slots) == ["opened@10"]
    assert told([spell("a", 10, 20, "silent")], slots) == ["closed@20"]
    assert told([spell("a", 10)], slots) == ["recurring@99"]
    assert told([spell("a", 10)], slots) == []
    assert told([spell("a", 10, 30)], slots) == ["clean@30"]
    assert told([spell("a", 10, 30)], slots) == []


def test_the_desks_closing_is_not_told() -> None:
    slots: list[str] = []
    close = Action("1", 15, "amy", "closed", "", frozenset("a"))
    assert told([spell("a", 10)], slots) == ["opened@10"]
    assert told([spell("a", 10)], slots, (close,)) == []
    assert told([spell("a", 10, 20)], slots, (close,)) == ["clean@20"]


def test_any_order_of_hearing_ends_with_the_same_last_word() -> None:
    whole = [spell("a", 10, 20), spell("b", 30, 40), spell("c", 50)]
    for order in itertools.permutations(whole):
        slots: list[str] = []
        said: list[News] = []
        for upto in range(1, 4):
            for found in (news(history.fold(order[:upto], ()), slots, 99),):
                said += [one for one in found if not one.late]
                slots += [one.slot for one in found]
        assert said[-1].kind in ("recurring", "opened")
        assert len(set(slots)) == len(slots)


# ── the queue ───────────────────────────────────────────────────────────────────────────────────


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def verified(asked: Asked) -> dict[str, Any]:
    """As the Standard Webhooks specification has it."""
    number, at = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
    digest = hmac.new(KEY, f"{number}.{at}.".encode() + asked.body, hashlib.sha256).digest()
    version, _, given = asked.headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert hmac.compare_digest(base64.b64decode(given), digest)
    assert asked.headers["content-type"] == "application/json"
    body: dict[str, Any] = json.loads(asked.body)
    assert body["id"] == number
    return body


def sending(
    with_store: WithStore,
    work: Callable[[Store, Sender, End, Clock], Awaitable[None]],
    answer: Callable[[Asked], Reply] = lambda asked: Reply(204),
    jitter: float = 1.0,
    **terms: Any,
) -> None:
    clock = Clock()

    async def inside(store: Store) -> None:
        with End(answer) as end:
            told = {"timeout_s": 5.0, **terms}
            sender = Sender(store, Terms(end.url + "/hook", **told), KEY, clock=clock, jitter=lambda: jitter)
            try:
                await work(store, sender, end, clock)
            finally:
                await sender.close()

    with_store(inside)


async def built(store: Store, *reports: Any, now: int = NOW) -> None:
    await store.add(reports)
    await ours(Map(line(), line("r2", "S2")), notify=True)(store).catch_up(now)


async def states(store: Store) -> list[str]:
    return [row["state"] for row in await store.read("SELECT state FROM desk_event ORDER BY n, id")]


def test_event_is_posted_and_means_notified(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0, ind={"dnsbl-listed": 2}))
        assert await sender.step() == 1
        assert verified(end.asked[0]) == {
            "v": 1, "id": end.asked[0].headers["webhook-id"], "event": "opened", "at": NOW,
            "case": {
                "id": CASE, "state": "open", "standing": "compromised", "subscriber": "S1", "contact": "crm:S1",
                "region": "north", "line": "fibre-100", "router": "r1", "device": TV, "vendor_oui": "b827eb",
                "opened_at": NOW, "first_seen": NOW - 60, "last_seen": NOW, "incidents": 1, "episodes": 1,
                "indicators": {"dnsbl-listed": 2}, "action": "explain", "why": None,
            },
        }  # fmt: skip
        assert (end.asked[0].method, end.asked[0].path) == ("POST", "/hook")
        assert await sender.step() == 0
        case = await query.find(store, CASE)
        assert case is not None
        assert (case.state, case.notified_at) == ("notified", NOW)
        detail = await query.detail(store, CASE)
        assert detail is not None
        assert detail.actions[0]["who"] == "webhook"
        assert [(one["kind"], one["state"], one["tries"], one["status"]) for one in detail.events] == [
            ("opened", "delivered", 1, 204)
        ]
        await built(store, event("closed", 60))
        assert await sender.step() == 1
        assert verified(end.asked[1])["event"] == "clean"

    sending(with_store, work)


def test_taken_need_not_mean_notified(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0))
        assert await sender.step() == 1
        assert (await query.listed(store)).cases[0].state == "open"

    sending(with_store, work, notified=False)


def test_building_again_tells_nothing_again(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0), event("closed", 10))
        book = ours(Map(line()), notify=True)(store)
        await book.rebuild(NOW)
        for table in ("desk_case", "desk_episode", "desk_incident"):
            await store.write([(f"DELETE FROM {table}", {})])  # noqa: S608
        await ours(Map(line()), notify=True)(store).catch_up(NOW)
        # nor where the case gets another id
        await ours(Map(line(subscriber="S9")), notify=True)(store).rebuild(NOW)
        assert await sender.step() == 2
        assert [verified(one)["event"] for one in end.asked] == ["opened", "clean"]

    sending(with_store, work)


def test_what_is_older_than_the_webhook_is_not_told(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await store.add([event("raised", 0), event("raised", 5, 2, dev=PC)])
        await ours()(store).catch_up(NOW)
        book = ours(notify=True, notify_since=NOW + 100)(store)
        await book.rebuild(NOW + 100)
        assert await sender.step() == 0
        assert await states(store) == ["skipped", "skipped"]
        await store.add([late(event("closed", 101), 5)])
        await book.catch_up(NOW + 110)
        clock.now = NOW + 110
        assert await sender.step() == 1
        assert verified(end.asked[0])["event"] == "clean"

    sending(with_store, work)


def test_events_of_one_case_keep_their_order(with_store: WithStore) -> None:
    fail = True

    def answer(asked: Asked) -> Reply:
        return Reply(503 if fail else 200)

    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        nonlocal fail
        await built(store, event("raised", 0))
        await sender.step()
        await built(store, event("closed", 10), event("raised", 20, 2), now=NOW + 20)
        fail = False
        clock.now = NOW + 7200
        while await sender.step():
            pass
        assert [verified(one)["event"] for one in end.asked] == ["opened", "opened", "clean", "recurring"]
        assert end.asked[0].headers["webhook-id"] == end.asked[1].headers["webhook-id"]

    sending(with_store, work, answer)


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", webhook.FINAL)
def test_no_for_good_is_dead_at_once(with_store: WithStore, status: int) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0), event("raised", 0, router="r2"))
        await sender.step()
        assert await states(store) == ["dead", "dead"]
        dead = await queue.read_given_up(store)
        assert {(one["status"], one["why"]) for one in dead} == {(status, f"status {status}")}
        assert (await query.states(store))["notified"] == 0
        assert await sender.step() == 0
        assert await queue.requeue(store, NOW) == 2
        assert await sender.step() == 2

    sending(with_store, work, lambda asked: Reply(status))


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_everything_else_comes_again(with_store: WithStore, status: int) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0))
        for tries, wait in enumerate((5, 10, 20, 40), 1):
            assert await sender.step() == 1
            row = (await store.read("SELECT state, tries, next_at, status FROM desk_event"))[0]
            assert (row["state"], row["tries"], row["status"]) == ("queued", tries, status)
            assert row["next_at"] == clock.now + wait
            clock.now += wait - 1
            assert await sender.step() == 0
            clock.now += 1
        assert len(end.asked) == 4
        assert {one.path for one in end.asked} == {"/hook"}  # no redirect was followed

    sending(with_store, work, lambda asked: Reply(status, headers={"location": "/elsewhere"}))


def test_jitter_is_full_and_waiting_is_bounded(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        assert sender._backoff(0) == 0.25 * webhook.BASE_S
        assert sender._backoff(1000) == 0.25 * webhook.CAP_S

    sending(with_store, work, jitter=0.25)


def test_retry_after_is_honoured(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0), event("raised", 1, router="r2"))
        assert await sender.step() <= webhook.AT_ONCE
        asked = len(end.asked)
        clock.now += 119
        assert await sender.step() == 0
        clock.now += 1
        assert await sender.step() == 1  # the other end was ill: one at a time
        assert len(end.asked) == asked + 1

    sending(with_store, work, lambda asked: Reply(429, headers={"retry-after": "120"}))


def test_too_old_is_given_up(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0))
        await sender.step()
        clock.now += 3600
        await sender.step()
        assert await states(store) == ["dead"]
        await built(store, event("raised", 5, router="r2"))  # never tried
        clock.now += 3601
        assert await sender.step() == 0
        assert await states(store) == ["dead", "dead"]
        assert {one["why"] for one in await queue.read_given_up(store)} == {"status 500", "never tried; too old"}

    sending(with_store, work, lambda asked: Reply(500), give_up_s=3600)


def test_queue_is_bounded(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        for number in range(5):
            await store.add([event("raised", number, number, router=f"r{number}")])
            await ours(notify=True)(store).catch_up(NOW + number)
        clock.now = NOW + 10
        assert await sender.step() == 3
        assert await states(store) == ["dead", "dead", "delivered", "delivered", "delivered"]

    sending(with_store, work, queue=3)


def test_nobody_there_and_no_answer(with_store: WithStore) -> None:
    given_up = threading.Event()

    def slow(asked: Asked) -> Reply:
        given_up.wait(DEADLINE_S)
        return Reply(200)

    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0))
        assert await sender.step() == 1
        given_up.set()
        row = (await store.read("SELECT state, status, why FROM desk_event"))[0]
        assert (row["state"], row["status"]) == ("queued", None)
        assert row["why"]
        other = Sender(store, Terms("http://127.0.0.1:1/"), KEY, clock=clock)
        clock.now += 100
        assert await other.step() == 1
        assert "onnect" in (await store.read("SELECT why FROM desk_event"))[0]["why"]
        await other.close()

    sending(with_store, work, slow, timeout_s=0.2)


def test_answer_without_end_is_not_read(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0))
        await sender.step()
        assert await states(store) == ["delivered"]

    sending(with_store, work, lambda asked: Reply(200, b"x" * 10, {"content-length": str(1 << 40)}))


def test_queue_survives_and_two_senders_do_not_send_twice(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, *(event("raised", n, n, router=f"r{n}") for n in range(20)))
        others = [Sender(store, sender._terms, KEY, clock=clock, me=f"other{n}") for n in range(2)]
        tried = await asyncio.gather(sender.step(), *(other.step() for other in others))
        assert sorted(tried) == [0, 0, 20]
        assert len({one.headers["webhook-id"] for one in end.asked}) == len(end.asked) == 20
        for other in others:
            await other.close()

    sending(with_store, work)


def test_acknowledged_meanwhile_stays_so(with_store: WithStore) -> None:
    async def work(store: Store, sender: Sender, end: End, clock: Clock) -> None:
        await built(store, event("raised", 0))
        await actions.acknowledge(store, CASE, "amy", now=NOW)
        await sender.step()
        assert await states(store) == ["delivered"]
        assert (await query.listed(store)).cases[0].state == "acknowledged"

    sending(with_store, work)


# ── the secret ──────────────────────────────────────────────────────────────────────────────────


def test_secret_and_signature() -> None:
    assert secret(SECRET + "\n") == KEY
    # the example of the Standard Webhooks specification's reference libraries
    key = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "secret", SECRET.removeprefix("whsec_"), "whsec_!!!!", "whsec_" + "A" * 30, "whsec_" + "A" * 400],
)
def test_wrong_secrets(text: str) -> None:
    with pytest.raises(SecretError) as caught:
        secret(text)
    assert "AAAA" not in str(caught.value)
