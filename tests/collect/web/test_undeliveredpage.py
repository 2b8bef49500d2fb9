"""Notices that were not delivered: which are listed, trying one or all again, giving up, who may, what is recorded."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpe_filter.collect.cases import notice
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.mail.relay import Result
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from tests.collect.mail.post import TERMS, Post, subscriber
from tests.collect.reports import NOW
from tests.collect.web.site import Page, read
from tests.texts.reader import HOSTILE

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
REFUSED = Result("refused", "5.1.1", "the relay refused the recipient: reply 550")
DEFERRED = Result("deferred", "4.2.0", "the relay deferred the recipient: reply 450")
ACCEPTED = Result("accepted", "2.0.0", "")
HOUR = 3600


async def begun(store: Store, *results: Result, **bounds: Any) -> tuple[Post, Page]:
    """A case for each result, whose notice had it."""
    rows = [subscriber(f"r{number}", f"S{number}") for number in range(len(results))]
    post = Post(store, *rows, **bounds)
    await post.step()
    for number, result in enumerate(results):
        await post.report("raised", 60 + number, router=f"r{number}")
        post.results = [result]
        await post.step(61 if number == 0 else 1)  # one after the other: the order of rows of one time is open
    page = Page(store, mail=Desk(store, post.map, notice.Terms("en"), TERMS))
    page._ticks = itertools.count(int(post.now))
    return post, page


async def listed(page: Page, cookie: str) -> str:
    return read((await page.ask("/undelivered", cookie=cookie)).text).text


def test_one_is_tried_again(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post, page = await begun(store, REFUSED, DEFERRED, ACCEPTED)
        assert await post.states() == ["failed", "queued", "sent"]
        cookie = await page.log_in()
        found = await listed(page, cookie)
        assert "2 notices not delivered" in found
        assert "the relay refused the recipient: reply 550" in found
        assert "friends.example" not in found
        row = (await post.rows())[0]
        form = {"token": await page.token(cookie), "mail": row["id"], "reason": "address\nput right"}
        assert (await page.post("/undelivered/retry", form, cookie)).status == 303
        post.now += 1000
        post.results = [ACCEPTED]
        assert await post.step() >= 1
        assert (await post.states())[0] == "sent"
        rows, _ = await audit.listed(store, audit.Filter(what="mail-retry"))
        assert [(one["who"], one["case_id"], one["reason"]) for one in rows] == [
            ("anna", row["case_id"], "address put right")
        ]
        # What was sent cannot be tried again.
        assert (await page.post("/undelivered/retry", form, cookie)).status == 409

    with_store(work)


def test_all_are_tried_again_and_not_given_up_at_once_for_their_age(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post, page = await begun(store, REFUSED, REFUSED, per_subscriber=5, give_up_s=10 * HOUR)
        page._ticks = itertools.count(NOW + 30 * HOUR)
        cookie = await page.log_in()
        form = {"token": await page.token(cookie), "mail": "all", "reason": "relay mended"}
        assert (await page.post("/undelivered/retry", form, cookie)).status == 303
        post.now, post.results = NOW + 30 * HOUR + 60.0, [DEFERRED]
        assert await post.step() == 2
        assert await post.states() == ["queued", "queued"]
        post.now += 11 * HOUR
        await post.step()
        assert await post.states() == ["failed", "failed"]
        (row,), _ = await audit.listed(store, audit.Filter(what="mail-retry"))
        assert row["reason"] == "up to 2 messages: relay mended"

    with_store(work)


def test_given_up(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post, page = await begun(store, REFUSED, DEFERRED)
        cookie = await page.log_in()
        token = await page.token(cookie)
        failed, waits = [row["id"] for row in await post.rows()]
        for number in (failed, waits):
            form = {"token": token, "mail": number, "reason": "told by phone"}
            assert (await page.post("/undelivered/give-up", form, cookie)).status == 303
        assert "0 notices not delivered" in await listed(page, cookie)
        assert await post.states() == ["failed", "failed"]
        post.now += 24 * HOUR
        post.results = [ACCEPTED]
        assert await post.step() == 0
        text = read((await page.ask(f"/cases/{(await post.rows())[1]['case_id']}", cookie=cookie)).text).text
        assert "Notice by e-mail failed" in text

    with_store(work)


def test_one_that_came_back_is_listed_and_not_repeated(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post, page = await begun(store, ACCEPTED)
        await store.write([("UPDATE desk_mail SET state = 'bounced', why = 'mailbox unknown', status = '5.1.1'", {})])
        cookie = await page.log_in()
        assert "mailbox unknown" in await listed(page, cookie)
        form = {"token": await page.token(cookie), "mail": (await post.rows())[0]["id"], "reason": "x"}
        assert (await page.post("/undelivered/retry", form, cookie)).status == 409
        assert (await page.post("/undelivered/give-up", form, cookie)).status == 303
        assert "None." in await listed(page, cookie)

    with_store(work)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"reason": ""}, 400),
        ({"reason": " \n "}, 400),
        ({"reason": "x" * 301}, 400),
        ({"mail": ""}, 400),
        ({"mail": "' OR 1=1 --"}, 400),
        ({"mail": "0" * 20}, 409),
        ({"token": "x"}, 403),
    ],
)
def test_refused(with_store: WithStore, change: dict[str, str], status: int) -> None:
    async def work(store: Store) -> None:
        post, page = await begun(store, REFUSED)
        cookie = await page.log_in()
        form = {"token": await page.token(cookie), "mail": "all", "reason": "x", **change}
        assert (await page.post("/undelivered/retry", form, cookie)).status == status
        assert await post.states() == ["failed"]
        assert (await audit.listed(store, audit.Filter(what="mail-retry")))[1] == 0

    with_store(work)


def test_viewers_only_look(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        post, page = await begun(store, REFUSED)
        cookie = await page.log_in("guest")
        found = read((await page.ask("/undelivered", cookie=cookie)).text)
        assert "1 notice not delivered" in found.text
        assert found.fields == []
        form = {"token": await page.token(cookie), "mail": "all", "reason": "x"}
        assert (await page.post("/undelivered/retry", form, cookie)).status == 403
        assert (await page.post("/undelivered/erase", form, cookie)).status in (403, 404)
        assert await post.states() == ["failed"]

    with_store(work)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_strings(with_store: WithStore, hostile: str) -> None:
    async def work(store: Store) -> None:
        _, page = await begun(store, REFUSED)
        plain = hostile.replace("\0", "").encode(errors="replace").decode()
        values = {"text": plain}
        await store.write([("UPDATE desk_mail SET subscriber = :text, why = :text, status = :text", values)])
        cookie = await page.log_in()
        answer = await page.ask("/undelivered", cookie=cookie)
        assert answer.status == 200
        read(answer.text)

    with_store(work)
