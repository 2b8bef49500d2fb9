"""Sending a notice from the page: who may, what a form must have, and what it may not do twice."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.store.base import Store
from tests.collect.desks import WithStore
from tests.collect.mail.post import TERMS, Post, subscriber
from tests.collect.web.site import Page, read

Work = Callable[[Page, Post, str], Awaitable[Any]]


def run(with_store: WithStore, work: Work, set_up: bool = True, **row: str) -> None:
    async def inside(store: Store) -> None:
        post = Post(store, subscriber(**row), automatic=False)
        await post.report("raised", 60)
        post.now = time.time() + 600  # after the clock of the page
        desk = Desk(store, post.map, TERMS.notice, TERMS if set_up else None, 2)
        await work(Page(store, mail=desk), post, f"/cases/{(await post.case())['id']}")

    with_store(inside)


def test_a_click_and_what_is_refused(with_store: WithStore) -> None:
    async def work(page: Page, post: Post, case: str) -> None:
        cookie = await page.log_in()
        answer = await page.ask(f"{case}/mail", cookie=cookie)
        token = read(answer.text).hidden["token"]
        good = {"token": token, "place": "0"}
        for form, headers, status in (
            ({"place": "0"}, {}, 403),
            ({**good, "token": "x"}, {}, 403),
            (good, {"origin": "https://evil.example"}, 403),
            ({**good, "place": "x"}, {}, 400),
            ({**good, "place": "9" * 30}, {}, 400),
            ({**good, "place": "5"}, {}, 409),
        ):
            refused = await page.post(f"{case}/mail", form, cookie, **headers)
            assert refused.status == status
            read(refused.text)
        assert (await page.post(f"{case}/mail", good)).headers["location"].startswith("/login")
        guest = await page.log_in("guest")
        assert (await page.post(f"{case}/mail", {**good, "token": await page.token(guest)}, guest)).status == 403
        assert (await page.ask(f"{case}/mail", cookie=guest)).status == 403
        assert await post.rows() == []
        for _ in range(2):  # the second click of a double one
            done = await page.post(f"{case}/mail", good, cookie)
            assert (done.status, done.headers["location"]) == (303, f"{case}?done=mail")
        (row,) = await post.rows()
        assert (row["made_by"], row["state"]) == ("anna", "queued")
        assert "A notice is waiting to be sent" in read((await page.ask(f"{case}/mail", cookie=cookie)).text).text
        # Two are allowed.
        for place in ("1", "2"):
            await post.step(10)
            status = (await page.post(f"{case}/mail", {**good, "place": place}, cookie)).status
            assert status == (303 if place == "1" else 409)
        assert (await page.ask("/cases/none/mail", cookie=cookie)).status == 404

    run(with_store, work)


@pytest.mark.parametrize(
    ("row", "set_up", "why"),
    [
        ({"email": ""}, True, "The subscriber map has no e-mail address"),
        ({"email": "<script>@x"}, True, "The e-mail address in the subscriber map cannot be used"),
        ({}, False, "E-mail is not set up"),
    ],
)
def test_why_it_cannot_be_sent(with_store: WithStore, row: dict[str, str], set_up: bool, why: str) -> None:
    async def work(page: Page, post: Post, case: str) -> None:
        cookie = await page.log_in()
        for path in (case, f"{case}/mail"):
            found = read((await page.ask(path, cookie=cookie)).text)
            assert why in found.text
            assert "A device in your home" in found.text or "Ein Gerät bei Ihnen" in found.text
        token = await page.token(cookie)
        assert (await page.post(f"{case}/mail", {"token": token, "place": "0"}, cookie)).status == 409
        assert await post.rows() == []

    run(with_store, work, set_up, **row)
