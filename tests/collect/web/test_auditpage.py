"""The audit log on the page: what is recorded of what people do here, who may read it, and its filter."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.users import User
from cpe_filter.collect.web import auditpage, site
from cpe_filter.collect.web.access import ByPassword, ByProxy
from cpe_filter.collect.web.sessions import Sessions
from tests.collect.reports import NOW
from tests.collect.web.site import HASH, USERS, Page, read
from tests.collect.web.test_pages import filled
from tests.texts.reader import HOSTILE

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def page(store: Store) -> Page:
    """With `root`, who has role admin."""
    return Page(store, ByPassword([*USERS, User("root", "admin", HASH)], Sessions(3600, 600), b"x-remote-user"))


async def lines(store: Store) -> list[Row]:
    """The oldest first."""
    return [row async for row in audit.lines(store)]


def test_what_people_do_is_recorded(with_store: WithStore, tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        ids = await filled(store, tmp_path)
        it = page(store)
        await it.post("/login", {"name": "anna", "password": "not this one"})
        await it.post("/login", {"name": "correct horse battery", "password": "anna"})
        cookie = await it.log_in()
        form = {"token": await it.token(cookie)}
        await it.post(f"/cases/{ids[0]}/acknowledge", {**form, "text": "called\nhim"}, cookie)
        assert (await it.post(f"/cases/{ids[0]}/acknowledge", form, cookie)).status == 409
        await it.post(f"/cases/{ids[1]}/close", form, cookie)
        await it.post("/logout", form, cookie)
        found = [(row["who"], row["via"], row["what"], row["case_id"], row["reason"]) for row in await lines(store)]
        assert found == [
            ("anna", "page", "login-failed", "", ""),
            ("", "page", "login-failed", "", ""),
            ("anna", "page", "login", "", ""),
            ("anna", "page", "acknowledged", ids[0], "called him"),
            ("anna", "page", "closed", ids[1], ""),
            ("anna", "page", "logout", "", ""),
        ]
        assert {row["peer"] for row in await lines(store)} == {"192.0.2.9"}
        text = json.dumps([dict(row) for row in await lines(store)])
        assert not any(secret in text for secret in ("horse", "not this one", form["token"]))
        assert await audit.verify(store) == 6

    with_store(work)


def test_guesses_do_not_fill_the_log(with_store: WithStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "_FAILED_BURST", 3)
    monkeypatch.setattr(site, "_FAILED_PER_HOUR", 1)

    async def work(store: Store) -> None:
        it = page(store)
        for number in range(9):
            await it.post("/login", {"name": f"n{number}", "password": "x"}, peer=f"192.0.2.{number}")
        assert len(await lines(store)) == 3
        moment = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: moment + 3600)
        await it.post("/login", {"name": "anna", "password": "x"}, peer="192.0.2.99")
        assert [row["reason"] for row in await lines(store)][3:] == ["6 more before this one are not listed"]

    with_store(work)


def test_only_admins_read_it(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        it = page(store)
        for name, status in (("guest", 403), ("anna", 403), ("root", 200)):
            cookie = await it.log_in(name)
            answer = await it.ask("/audit", cookie=cookie)
            assert answer.status == status
            over = read((await it.ask("/", cookie=cookie)).text)
            assert ("/audit" in over.links) == (status == 200)
        assert (await it.ask("/audit")).status == 303
        # An admin acts like the desk.
        assert "root, admin" in read(answer.text).text

    with_store(work)


def test_a_group_of_the_proxy_makes_an_admin() -> None:
    nets = (ip_network("127.0.0.1"),)
    access = ByProxy(nets, b"x-user", b"x-groups", "abuse-desk", "", "auditors")

    def role(groups: bytes) -> str:
        person = access.person("127.0.0.1", [(b"x-user", b"anna"), (b"x-groups", groups)], "", 0)
        assert person is not None
        return person.role

    assert [role(groups) for groups in (b"abuse-desk", b"abuse-desk,auditors", b"auditors", b"other", b"")] == [
        "desk", "admin", "admin", "viewer", "viewer",
    ]  # fmt: skip
    closed = ByProxy(nets, b"x-user", b"x-groups", "abuse-desk", "staff", "auditors")
    person = closed.person("127.0.0.1", [(b"x-user", b"anna"), (b"x-groups", b"auditors")], "", 0)
    assert person is not None
    assert person.role == "admin"


def test_filter_and_pages(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        it = page(store)
        cookie = await it.log_in("root")
        for number in range(130):
            by = audit.By("anna" if number % 2 else "crm", audit.PAGE if number % 2 else audit.API)
            await audit.record(store, by, "note", f"case-{number}", f"reason {number}", NOW + number * 3600)

        async def text(query: str) -> str:
            found = read((await it.ask(f"/audit?{query}", cookie=cookie)).text)
            return found.text

        assert "1 to 100 of 131" in await text("")
        assert "101 to 131 of 131" in await text("page=2")
        assert "This page is empty." in await text("page=99")
        assert "1 to 65 of 65" in await text("who=anna")
        assert "1 to 65 of 65" in await text("via=api")
        assert "1 to 1 of 1" in await text("case=case-7")
        assert "1 to 1 of 1" in await text("what=login")
        assert "No matching line." in await text("who=nobody")
        assert "1 to 24 of 24" in await text("since=2026-11-25&until=2026-11-25")
        # What is not valid counts as missing.
        for query in ("page=-1", "page=x", "what=other", "since=yesterday", "until=9999-12-31", "via=x"):
            assert "1 to 100 of 131" in await text(query), query

    with_store(work)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_strings(with_store: WithStore, hostile: str) -> None:
    async def work(store: Store) -> None:
        it = page(store)
        cookie = await it.log_in("root")
        await audit.record(store, audit.By(hostile, audit.API, hostile), hostile[:20], hostile, hostile)
        for query in ("", f"?who={quote(hostile)}&case={quote(hostile)}"):
            answer = await it.ask("/audit" + query, cookie=cookie)
            assert answer.status in (200, 414)
            read(answer.text)

    with_store(work)


def test_parse_bounds_the_page() -> None:
    assert auditpage.parse({"page": "99999999"}).page == 10_000
    assert auditpage.parse({"page": "0"}).page == 1
