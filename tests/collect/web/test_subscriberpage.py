"""One subscriber over several routers and lines, and the search: by id, router, and address and time."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import pytest

from cpe_filter.collect.cases import instructions, notice, query
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import subscriberpage
from tests.collect.desks import PC, TV
from tests.collect.mail.post import TERMS, Post, subscriber
from tests.collect.reports import NOW, heartbeat, report
from tests.collect.web.site import PASSWORD, Page, read
from tests.signed.making import key
from tests.texts.reader import HOSTILE

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
HOUR, DAY = 3600, 86_400


def stamp(at: int) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


#: S1 had r1 until NOW, and has r2 since; r1 is S2's now. r3 is a second line of S1, which shares its address.
MOVED = stamp(NOW)
ROWS = (
    subscriber("r1", "S1", until=MOVED, address="8.8.1.1"),
    subscriber("r1", "S2", since=MOVED, address="8.8.1.1"),
    subscriber("r2", "S1", since=MOVED, address="8.8.2.2"),
    subscriber("r3", "S1", line="second", address="8.8.3.3", ports="1024-2047"),
    subscriber("r4", "S/4 ?&#", address="8.8.3.3 2a00:8:4::/56", ports="2048-4095"),
)


async def begun(store: Store) -> tuple[Page, str]:
    post = Post(store, *ROWS)
    await post.step()
    await post.report("raised", -5 * DAY, router="r1", dev=TV)
    await post.report("raised", 60, router="r2", number=2, dev=PC)
    await post.report("raised", 61, router="r3", number=3, dev=TV)
    await post.report("raised", 62, router="r4", number=4, dev=TV)
    await store.add([report(heartbeat(90, up=1000, exempt=2), router="r2", received=NOW + 100)])
    post.now += 200
    await post.step()
    page = Page(store, mail=Desk(store, post.map, notice.Terms("en"), TERMS))
    page._ticks = itertools.count(int(post.now) + 10)
    return page, await page.log_in()


async def text(page: Page, path: str, cookie: str) -> str:
    answer = await page.ask(path, cookie=cookie)
    assert answer.status == 200, path
    return read(answer.text).text


def test_all_routers_and_cases_of_one_subscriber(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        found = await text(page, "/subscribers/S1", cookie)
        assert "3 cases, 3 routers" in found
        for one in ("r1", "r2", "r3", "another subscriber's", "this subscriber's", "fibre-100", "second", "de tr"):
            assert one in found, one
        assert "not reported" in found
        assert "heartbeat of" in found
        # The address is not shown as a whole, and what was sent is.
        assert "s1@friends.example" not in found
        assert "friends.example" in found
        assert "E-mail sent" in found
        links = read((await page.ask("/subscribers/S1", cookie=cookie)).text).links
        assert sum(link.startswith("/cases/") for link in links) >= 3
        # From the case and from the list.
        case = next(link for link in links if link.startswith("/cases/"))
        assert "/subscribers/S1" in read((await page.ask(case, cookie=cookie)).text).links
        assert "/subscribers/S1" in read((await page.ask("/cases", cookie=cookie)).text).links

    with_store(work)


def test_a_notice_that_others_of_the_home_opened(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        seen = {"notice": json.dumps({"shown": 0, "others": 2}), "at": NOW + 90}
        await store.write([("UPDATE incident SET notice = :notice, seen_home_at = :at WHERE router = 'r2'", seen)])
        found = await text(page, "/subscribers/S1", cookie)
        assert "Notice on the router opened at other devices, 2 times" in found

    with_store(work)


def test_what_the_desk_had_routers_do(with_store: WithStore) -> None:
    """Of all routers of the subscriber, and of no other."""

    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        assert "Instructions to routers" not in await text(page, "/subscribers/S1", cookie)
        desk, by = instructions.Desk(store, key("desk")), audit.By("boris", audit.PAGE)
        for case in (await query.listed(store, order="opened")).cases:
            if case.router in ("r2", "r3", "r4"):
                reason = f"for {case.router} <b>"
                assert await desk.issue(case, instructions.EXEMPT, 3, reason, by, NOW + 300) is None
        await store.write([("UPDATE desk_instruction SET state = 'applied', done_at = :at WHERE router = 'r2'",
                            {"at": NOW + 400})])  # fmt: skip
        found = await text(page, "/subscribers/S1", cookie)
        assert found.count("by boris :") == 2
        assert "exempt until" in found
        assert "applied" in found
        assert "waiting for the router's next report" in found
        assert "for r3 <b>" in found  # as text
        assert "for r4" not in found

    with_store(work)


def test_an_id_of_any_characters(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        links = read((await page.ask("/cases", cookie=cookie)).text).links
        path = f"/subscribers/{quote('S/4 ?&#', safe='')}"
        assert path in links
        answer = await page.ask(path, cookie=cookie)
        assert "1 case, 1 router" in read(answer.text).text
        # A link from elsewhere leads there after the login, too.
        login = (await page.ask(path)).headers["location"]
        form = {"name": "anna", "password": PASSWORD, "next": read((await page.ask(login)).text).hidden["next"]}
        assert (await page.post("/login", form)).headers["location"] == path

    with_store(work)


def test_search_by_text(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        assert "/subscribers/S1" in read((await page.ask("/subscribers?text=s1", cookie=cookie)).text).links
        assert "1 subscriber" in await text(page, "/subscribers?text=r3", cookie)
        for nobody in ("S9", "%25", "_", "'", "x" * 400):
            assert "No subscriber with a case." in await text(page, f"/subscribers?text={nobody}", cookie), nobody
        assert "No subscriber" not in await text(page, "/subscribers", cookie)
        assert (await page.ask("/subscribers/S9", cookie=cookie)).status == 404
        assert (await page.ask("/subscribers/", cookie=cookie)).status == 404

    with_store(work)


@pytest.mark.parametrize(
    ("address", "port", "at", "expected"),
    [
        ("8.8.1.1", "", -HOUR, {"S1"}),  # whose it was then
        ("8.8.1.1", "", HOUR, {"S2"}),
        ("8.8.2.2", "40000", HOUR, {"S1"}),
        ("8.8.2.2", "", -HOUR, set()),
        ("8.8.3.3", "1500", HOUR, {"S1"}),
        ("8.8.3.3", "3000", HOUR, {"S/4 ?&#"}),
        ("8.8.3.3", "5000", HOUR, set()),
        ("8.8.3.3", "", HOUR, {"S1", "S/4 ?&#"}),
        ("2a00:8:4::99", "2100", HOUR, {"S/4 ?&#"}),
        ("2a00:8:5::99", "", HOUR, set()),
        ("8.8.1.1", "", -40 * DAY, set()),  # no case near that time
    ],
)
def test_search_by_address_and_time(
    with_store: WithStore, address: str, port: str, at: int, expected: set[str]
) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        given = {"token": await page.token(cookie), "address": address, "port": port, "time": stamp(NOW + at)}
        answer = await page.post("/subscribers", given, cookie)
        assert answer.status == 200
        links = {link for link in read(answer.text).links if link.startswith("/subscribers/")}
        assert links == {f"/subscribers/{quote(one, safe='')}" for one in expected}
        assert ("The address is shared" in answer.text) == (len(expected) > 1)
        (row,), _ = await audit.listed(store, audit.Filter(what="search-address"))
        assert row["who"] == "anna"
        assert row["reason"].startswith(address)

    with_store(work)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"address": "8.8.1"}, "The address is not an IPv4 or IPv6 address."),
        ({"address": "<script>"}, "The address is not"),
        ({"port": "0"}, "The port is not a number from 1 to 65535."),
        ({"port": "65536"}, "The port is not"),
        ({"time": "yesterday"}, "The time is not like 2026-10-25 14:30"),
        ({"time": "2026-03-29 02:30"}, "or it did not exist"),
        ({"time": "2026-10-25 02:30"}, "The clock showed this time twice."),
    ],
)
def test_what_cannot_be_searched_for(with_store: WithStore, change: dict[str, str], said: str) -> None:
    async def work(store: Store) -> None:
        page = Page(store, zone="Europe/Amsterdam")
        cookie = await page.log_in()
        good = {"address": "8.8.1.1", "port": "", "time": "2026-11-24 12:00"}
        answer = await page.post("/subscribers", {"token": await page.token(cookie), **good, **change}, cookie)
        assert said in read(answer.text).text
        assert (await audit.listed(store, audit.Filter(what="search-address")))[1] == 0

    with_store(work)


def test_only_the_desk_searches_by_address(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page, _ = await begun(store)
        cookie = await page.log_in("guest")
        assert "Source port" not in await text(page, "/subscribers", cookie)
        given = {"token": await page.token(cookie), "address": "8.8.1.1", "time": stamp(NOW - HOUR)}
        assert (await page.post("/subscribers", given, cookie)).status == 403
        anna = await page.log_in()
        assert (await page.post("/subscribers", {**given, "token": "x"}, anna)).status == 403

    with_store(work)


def test_a_map_that_is_away(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        away = Post(store, *ROWS).map
        away.away = True
        other = Page(store, page.access, mail=Desk(store, away, notice.Terms("en"), TERMS))
        assert "unknown: no subscriber map" in await text(other, "/subscribers/S1", cookie)
        given = {"token": await page.token(cookie), "address": "8.8.1.1", "time": stamp(NOW - HOUR)}
        assert "The subscriber map is unavailable" in (await other.post("/subscribers", given, cookie)).text

    with_store(work)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_strings(with_store: WithStore, hostile: str) -> None:
    async def work(store: Store) -> None:
        page, cookie = await begun(store)
        plain = hostile.replace("\0", "").encode(errors="replace").decode()[:200] or "x"
        change = "UPDATE desk_case SET subscriber = :text, line = :text, contact = :text, model = :text, region = :text"
        await store.write(
            [(change, {"text": plain}), ("UPDATE desk_mail SET why = :text, state = 'failed'", {"text": plain})]
        )
        for path in (f"/subscribers/{plain}", f"/subscribers?text={quote(plain)}", "/cases"):
            answer = await page.ask(path, cookie=cookie)
            assert answer.status in (200, 404, 414)
            read(answer.text)
        given = {"token": await page.token(cookie), "address": hostile, "port": hostile, "time": hostile}
        read((await page.post("/subscribers", given, cookie)).text)

    with_store(work)


def test_words_for_the_audit_log() -> None:
    query = subscriberpage.parse_address({"address": "8.8.1.1", "port": "25", "time": "2026-11-24T12:00Z"})
    assert not isinstance(query, str)
    assert query.words == f"8.8.1.1 port 25 at {query.at}"
