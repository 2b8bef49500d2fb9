"""The page of rollouts, its lists of routers, and what other pages have of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.rollout.figures import compute
from cpe_filter.collect.rollout.spread import DAY, Terms
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import rolloutpage
from cpe_filter.collect.web.layout import frame
from tests.collect.reports import NOW, heartbeat
from tests.collect.rollout.story import story
from tests.collect.store.test_sql_documents import document, sent
from tests.collect.web.site import Page, read
from tests.collect.web.test_subscriberpage import begun
from tests.texts.reader import HOSTILE

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


async def page_of(store: Store, terms: Terms) -> str:
    text = rolloutpage.page(await compute(store, terms, NOW))
    read(frame("Rollout", text, None, False))
    return text


def test_what_to_halt(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        isp, terms = await story(store, tmp_path)
        text = await page_of(store, terms)
        assert "<h1>Halt <bdi>policy</bdi> 2, channel <bdi>routers</bdi></h1>" in text
        assert (
            "6 of 17 routers that answered took it back or refused it (35 %; 95 %: 17.3 to 58.7 %): more than" in text
        )
        assert f"<code>cpe-filter policy halt --published {isp.web} --channel routers --key KEY</code>" in text
        assert "275 of 1000 of its 40 routers; 500 planned" in text
        assert "about 1<" in text
        assert "2 for their version, audience or clock do not count" in text
        card = rolloutpage.card(await compute(store, terms, NOW))
        assert "Halt</span> <bdi>policy</bdi> 2" in card
        assert '<a href="/rollout">' in card
        # Then it is halted: the page says how far that has come, and halts no halt.
        isp.do("halt")
        text = await page_of(store, terms)
        assert "It halts <bdi>policy</bdi> 2. 11 routers still have that." in text
        assert "<code>" not in text

    with_store(work)


def test_the_next_step(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        _, terms = await story(store, tmp_path)
        await store.write([("UPDATE router_document SET result = 'applied', why = NULL", {})])
        text = await page_of(store, terms._replace(halt_at=50))
        assert "Go on</span> 0 of 19 routers" in text
        assert "cpe-filter policy publish --permille 1000 --published" in text

    with_store(work)


def test_the_routers_of_a_number(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        isp, _ = await story(store, tmp_path)
        page = Page(store)
        cookie = await page.log_in("guest")
        shown = read((await page.ask("/rollout", cookie=cookie)).text)
        lists = [link for link in shown.links if link.startswith("/rollout/routers?")]
        digest = isp.channel["documents"][-1]["digest"]
        assert f"/rollout/routers?type=policy&doc={digest}&result=taken-back&why=relay" in lists
        for link in lists:
            answer = await page.ask(link, cookie=cookie)
            assert answer.status == 200
            assert "No router." not in read(answer.text).text
        found = read((await page.ask(lists[0].partition("&why")[0], cookie=cookie)).text)
        assert any(link.startswith("/subscribers?text=cpe-") for link in found.links)
        # What is not a list: a page that says so.
        for query in ("?type=policy", "?type=instruction&doc=a&result=applied", "?type=policy&doc=a&result=x"):
            assert (await page.ask(f"/rollout/routers{query}", cookie=cookie)).status == 404
        for after in ("%00", "%ff%fe", "'", "%", "x" * 600):
            query = f"type=policy&doc={after}&result=applied&after={after}&why={after}"
            answer = await page.ask(f"/rollout/routers?{query}", cookie=cookie)
            assert answer.status == 200
            assert "No router." in read(answer.text).text

    with_store(work)


def test_more_routers_than_a_page_has(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        for n in range(rolloutpage.MAX_ROWS + 7):
            await store.add([sent(document(1, 100, "refused", why="key"), router=f"r{n:03} &")])
        page = Page(store)
        cookie = await page.log_in()
        path = f"/rollout/routers?type=policy&doc={'a' * 16}&result=refused&why=key"
        first = read((await page.ask(path, cookie=cookie)).text)
        (more,) = [link for link in first.links if "after=" in link]
        second = read((await page.ask(more, cookie=cookie)).text)
        assert [link for link in second.links if "after=" in link] == []
        rows = [[link for link in one.links if link.startswith("/subscribers?text=")] for one in (first, second)]
        assert list(map(len, rows)) == [rolloutpage.MAX_ROWS, 7]

    with_store(work)


def test_the_page_without_anything(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page = Page(store)
        cookie = await page.log_in()
        assert "No router has reported a document." in read((await page.ask("/rollout", cookie=cookie)).text).text
        assert "Signed documents None." in read((await page.ask("/fleet", cookie=cookie)).text).text

    with_store(work)


def test_the_documents_of_a_subscriber(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        path, router = "/subscribers/S1", "r1"
        assert "Signed documents" not in read((await page.ask(path, cookie=cookie)).text).text
        events = [document(901, 100), document(902, 200, "taken-back", "b" * 16, 8, why="dns")]
        await store.add([sent(*events, router=router)])
        text = read((await page.ask(path, cookie=cookie)).text).text
        assert "In force: policy 7." in text
        assert "policy 8: taken back: dns" in text

    with_store(work)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_strings(with_store: WithStore, hostile: str) -> None:
    async def work(store: Store) -> None:
        plain = hostile.replace("\0", "").encode(errors="replace").decode()
        await store.add([sent(document(1, 100, "taken-back", why="x"), heartbeat(2))])
        values = {"text": plain, "at": NOW - 3 * DAY}
        await store.write([
            ("UPDATE router_document SET why = :text, digest = :text", values),
            ("UPDATE router_state SET model = :text, ver = :text", values),
        ])  # fmt: skip
        page = Page(store)
        cookie = await page.log_in()
        answer = await page.ask("/rollout", cookie=cookie)
        assert answer.status == 200
        for link in read(answer.text).links:
            if link.startswith("/rollout/"):
                listed = await page.ask(link, cookie=cookie)
                assert listed.status == 200
                read(listed.text)
        read((await page.ask("/fleet", cookie=cookie)).text)

    with_store(work)
