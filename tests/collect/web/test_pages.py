"""The pages on a real store, asked without a browser: what they show, who may do what, and hostile strings."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cpe_filter.collect.cases import actions, query
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.store.base import Row, Store, StoreUnavailableError
from cpe_filter.collect.subscribers.file import File
from cpe_filter.collect.web import caselist
from tests.collect.reports import NOW, heartbeat, incident, report
from tests.collect.web.site import HOST, Page, read
from tests.texts.reader import HOSTILE

WithStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
DAY = 86_400


async def filled(store: Store, folder: Path, count: int = 3) -> list[str]:
    """`count` cases, r0's the latest: their ids."""
    path = folder / "map.csv"
    rows = [f"r{number},s{number},Region {number % 2},Line {number},crm/{number}" for number in range(count)]
    path.write_text("\n".join(["router,subscriber,region,line,contact", *rows]) + "\n")
    people = File(str(path))
    await people.refresh(NOW)
    for number in range(count):
        one = incident(1, up=1000, kind="raised", number=number, dev=f"{number:016x}", name=f"tv-{number}")
        received = NOW - DAY - number * 60
        await store.add([report(one, heartbeat(2, up=1000), router=f"r{number}", received=received)])
    await CaseUpdater(store, people).catch_up(NOW, full=True)
    return [case.id for case in (await query.listed(store)).cases]


def run(with_store: WithStore, tmp_path: Path, work: Callable[[Page, list[str], Store], Any], count: int = 3) -> None:
    async def inside(store: Store) -> None:
        ids = await filled(store, tmp_path, count)
        await work(Page(store), ids, store)

    with_store(inside)


def test_every_page_is_sound(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], _store: Store) -> None:
        cookie = await page.log_in()
        for path in (
            "/",
            "/fleet?days=90&region=Region+1",
            "/cases",
            "/cases?need=untold&assigned=nobody&order=oldest",
            "/bulk",
            "/cases?state=all&page=2",
            f"/cases/{ids[0]}",
            "/mail-servers",
        ):
            answer = await page.ask(path, cookie=cookie)
            assert answer.status == 200
            found = read(answer.text)
            assert found.hidden["token"]
            assert "anna, desk" in found.text
            assert not re.search(r"[a-z]Error\b", found.text), "the name of a class is not a text"
        texts = [read((await page.ask(path, cookie=cookie)).text).text for path in (f"/cases/{ids[0]}", "/cases")]
        for heading in ("Connections Networks Messages Refused Name", "Incidents Refused Indicators"):
            assert heading in " ".join(" ".join(texts).split())
        # As a picture, in words, and as a table.
        over = read((await page.ask("/fleet", cookie=cookie)).text)
        assert {"level-title", "level-text", "moves-title", "moves-text"} <= set(over.ids)
        assert "Compromised subscribers per day: as a table" in over.text
        assert "3 subscribers compromised" in over.text

    run(with_store, tmp_path, work)


def test_a_case_shows_submission_and_mail_from_outside(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()

        async def text() -> str:
            return read((await page.ask(f"/cases/{ids[0]}", cookie=cookie)).text).text

        assert not {"Submission", "Mail from outside"} & set((await text()).split("\n"))
        sub = {"servers": 64, "conns": 130, "fails": 120}
        one = incident(3, up=1001, number=0, dev="0" * 16, sub=sub, serves=True, **{**CLASS, "class": "android"})
        await store.add([report(one, router="r0", received=NOW)])
        assert "64 servers in a day; 120 of 130 connections failed" in await text()
        assert "Android phone, tablet or TV box (by DHCP)" in await text()
        assert "it answers connections to ports 25, 465 or 587" in await text()
        # The latest heartbeat is newer; those of other devices are not this one's.
        beat = heartbeat(4, up=1002, sub=[{"dev": "1" * 16, **sub}, {"dev": "0" * 16, **sub, "servers": 99}])
        await store.add([report(beat, router="r0", received=NOW)])
        assert "99 servers in a day" in await text()
        await store.add([report(heartbeat(5, up=1003), router="r0", received=NOW)])
        assert "64 servers in a day" in await text()

    run(with_store, tmp_path, work)


def test_a_case_shows_the_notice_and_its_answer(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()

        async def text(number: int, **notice: Any) -> str:
            one = incident(number, up=1000 + number, number=0, dev="0" * 16, notice=notice)
            await store.add([report(one, router="r0", received=NOW)])
            return read((await page.ask(f"/cases/{ids[0]}", cookie=cookie)).text).text

        assert "opened 1 times at the device; not answered yet" in await text(3, shown=1)
        assert "opened 2 times at the device; it is a mistake (objection)" in await text(4, shown=2, answer="mistake")

    run(with_store, tmp_path, work)


def test_devices_that_look_like_mail_servers(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, _ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        assert "None." in read((await page.ask("/mail-servers", cookie=cookie)).text).text
        for number, standing in enumerate(("unusual", "suspected"), 20):
            one = incident(
                1,
                kind="opened",
                number=number,
                dev=f"{number:016x}",
                standing=standing,
                name=HOSTILE_NAME,
                serves=True,
                **CLASS,
            )
            await store.add([report(one, router=f"r{number}", received=NOW)])
        answer = await page.ask("/mail-servers", cookie=cookie)
        found = read(answer.text).text
        assert "1 device that may be a mail server" in found
        assert "answers mail from outside" in found
        assert "toaster (by DHCP)" in found  # a router of another version
        assert f"{20:016x}" in found
        assert HOSTILE_NAME not in answer.text
        assert "cpe-filter exempt add --device MAC" in found
        for path in (
            "/",
            "/fleet",
            "/cases?state=all",
            "/mail-servers",
        ):  # of a suspected device there is nothing anywhere
            text = (await page.ask(path, cookie=cookie)).text
            assert f"{21:016x}" not in text
            assert "r21" not in re.sub(r"<style.*?</style>", "", text)

    run(with_store, tmp_path, work)


#: A class that this collector does not know.
CLASS: dict[str, Any] = {"class": "toaster"}
HOSTILE_NAME = "<img src=x onerror=alert(1)>"


def test_headers_of_every_answer(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], _store: Store) -> None:
        cookie = await page.log_in()
        style = next(link for link in read((await page.ask("/", cookie=cookie)).text).links if link.endswith(".css"))
        for path, method, status in (
            ("/", "GET", 200), ("/cases", "GET", 200), ("/login", "GET", 303), ("/nowhere", "GET", 404),
            ("/cases", "DELETE", 405), (style, "GET", 200), ("/static/x", "GET", 404),
            (f"/cases/{ids[0]}", "HEAD", 200), ("/?" + "x" * 3000, "GET", 414),
        ):  # fmt: skip
            answer = await page.ask(path, method, cookie)
            assert answer.status == status, path
            headers = answer.headers
            assert headers["content-security-policy"] == (
                "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
                "frame-ancestors 'none'"
            )
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["strict-transport-security"] == "max-age=31536000"
            kept = path == style
            assert headers["cache-control"] == ("public, max-age=31536000, immutable" if kept else "no-store")
            if status >= 400:
                read(answer.text)

    run(with_store, tmp_path, work)


@pytest.mark.parametrize(
    "path",
    ["/cases/", "/cases/../", "/cases/%2e%2e/x", "/cases/a'--", "/cases/<b>", "//", "/static/../site.py", "/static/",
     "/cases/0000000000000000", "/cases/" + "a" * 65, "/Cases", "/cases/x/y/z", "/favicon.ico", "/.git/config"],
)  # fmt: skip
def test_paths_that_are_none(with_store: WithStore, tmp_path: Path, path: str) -> None:
    async def work(page: Page, _ids: list[str], _store: Store) -> None:
        cookie = await page.log_in()
        answer = await page.ask(path, cookie=cookie)
        assert answer.status in (404, 405)
        read(answer.text)

    run(with_store, tmp_path, work, 1)


def test_filter_order_and_pages(with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caselist, "PAGE", 4)

    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()

        async def listed(query: str) -> list[str]:
            found = read((await page.ask(f"/cases?{query}", cookie=cookie)).text)
            return [link.rpartition("/")[2] for link in found.links if re.fullmatch("/cases/[0-9a-f]{16}", link)]

        assert await listed("") == ids[:4]
        assert await listed("page=2") == ids[4:8]
        assert await listed("page=3") == ids[8:]
        for wrong in ("page=0", "page=-1", "page=x", "page=1e3", "page=" + "9" * 30, "order=id", "state=no"):
            assert await listed(wrong) == ids[:4]
        assert await listed("page=99999999") == []
        assert await listed("region=Region+1&order=last") == ids[1:9:2]
        assert await listed("text=s7") == [ids[7]]
        assert await listed("text=CRM/3") == [ids[3]]
        assert await listed("text=%25") == []
        assert await listed("text=_") == []
        assert await listed("indicator=helo-dynamic") == ids[:4]
        assert await listed("indicator=refused") == []
        assert await listed("indicator=made-up") == ids[:4]  # no indicator: not said
        assert await listed("model=tplink,archer-c7-v2&page=2") == ids[4:8]
        await actions.close(store, ids[5], "boris", now=NOW)
        assert await listed("state=closed") == [ids[5]]
        assert ids[5] not in await listed("page=2")
        # Links to the other pages keep what was asked for.
        middle = read((await page.ask("/cases?page=2&region=&text=s&order=opened", cookie=cookie)).text)
        turned = [link for link in middle.links if "page=" in link or "order=opened" in link]
        assert turned == [
            "/cases?state=active&text=s&order=opened&page=1",
            "/cases?state=active&text=s&order=opened&page=3",
        ]

    run(with_store, tmp_path, work, 10)


def test_acts_of_the_desk(with_store: WithStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        shown = read((await page.ask(f"/cases/{ids[0]}", cookie=cookie)).text)
        acts = [action.rpartition("/")[2] for action in shown.actions if action.startswith("/cases")]
        assert acts == ["note", "acknowledge", "notified", "confirm", "false-alarm", "close", "note", "assign"]
        for act, state in (("notified", "notified"), ("acknowledge", "acknowledged"), ("note", "acknowledged"),
                           ("close", "closed"), ("reopen", "acknowledged")):  # fmt: skip
            form = {"token": token, "text": f" why {act}\r\n<b>second</b> line "}
            done = await page.post(f"/cases/{ids[0]}/{act}", form, cookie)
            assert (done.status, done.headers["location"]) == (303, f"/cases/{ids[0]}?done={act}")
            case = await query.find(store, ids[0])
            assert case is not None
            assert case.state == state
        detail = await query.detail(store, ids[0])
        assert detail is not None
        assert [row["who"] for row in detail.actions] == ["anna"] * 5
        assert detail.actions[0]["text"] == "why notified\n<b>second</b> line"
        told = await page.ask(f"/cases/{ids[0]}?done=reopen", cookie=cookie)
        assert "The case is open again." in read(told.text).text
        assert "&lt;b&gt;second&lt;/b&gt; line" in told.text
        assert "done" not in read((await page.ask(f"/cases/{ids[0]}?done=<script>", cookie=cookie)).text).text

    with caplog.at_level("INFO"):
        run(with_store, tmp_path, work)
    said = [record.fields for record in caplog.records if record.getMessage() == "case"]  # type: ignore[attr-defined]
    assert [one["act"] for one in said] == ["notified", "acknowledge", "note", "close", "reopen"]
    assert {one["user"] for one in said} == {"anna"}
    assert "why" not in str(said)


def test_acts_that_are_refused(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie, viewers = await page.log_in(), await page.log_in("guest")
        token, theirs = await page.token(cookie), await page.token(viewers)
        path = f"/cases/{ids[0]}/acknowledge"
        good = {"token": token}
        for status, answer in (
            (303, page.post(path, good)),  # nobody: to the login
            (403, page.post(path, {}, cookie)),
            (403, page.post(path, {"token": ""}, cookie)),
            (403, page.post(path, {"token": "\u00e9"}, cookie)),
            (403, page.post(path, {"token": theirs}, cookie)),
            (403, page.post(path, {"token": theirs}, viewers)),  # may look only
            (403, page.post(path, good, cookie, origin="https://evil.example")),
            (403, page.post(path, good, cookie, sec_fetch_site="cross-site")),
            (415, page.post(path, good, cookie, content_type="application/json")),
            (415, page.post(path, good, cookie, content_type="multipart/form-data; boundary=x")),
            (413, page.post(path, {**good, "text": "x" * 17_000}, cookie)),
            (400, page.post(path, {**good, "text": "x" * 2001}, cookie)),
            (400, page.post(path, {**good, "text": "a\0b"}, cookie)),
            (400, page.post(path, {**good, **{str(number): "" for number in range(30)}}, cookie)),
            (400, page.post(f"/cases/{ids[0]}/note", {**good, "text": " \n"}, cookie)),
            (404, page.post("/cases/0123456789abcdef/acknowledge", good, cookie)),
            (404, page.post(f"/cases/{ids[0]}/delete", good, cookie)),
            (405, page.ask(path, cookie=cookie)),
            (409, page.post(f"/cases/{ids[0]}/reopen", good, cookie)),
        ):
            given = await answer
            assert given.status == status, given.text
            if status != 303:
                read(given.text)
        assert (await store.read("SELECT COUNT(*) AS n FROM desk_case_action"))[0]["n"] == 0
        body = b"token=%ff%fe"
        broken = await page.ask(path, "POST", cookie, body, content_type="application/x-www-form-urlencoded")
        assert broken.status == 400
        # A viewer sees no form that acts.
        seen = read((await page.ask(f"/cases/{ids[0]}", cookie=viewers)).text)
        assert seen.actions == ["/logout"]
        assert "Actions" not in seen.text

    run(with_store, tmp_path, work)


def test_two_who_acknowledge_at_once(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], _store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        path = f"/cases/{ids[0]}/acknowledge"
        first = await page.post(path, {"token": token}, cookie)
        second = await page.post(path, {"token": token}, cookie)
        assert (first.status, second.status) == (303, 409)
        assert "state of the case has changed" in read(second.text).text

    run(with_store, tmp_path, work)


def test_slow_form_is_given_up(with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cpe_filter.collect.web import http

    monkeypatch.setattr(http, "FORM_S", 0.05)

    async def work(page: Page, _ids: list[str], _store: Store) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(30)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": "/login", "raw_path": b"/login",
            "query_string": b"", "root_path": "", "scheme": "https", "server": (HOST, 443), "client": ("192.0.2.9", 1),
            "headers": [(b"host", HOST.encode()), (b"content-type", b"application/x-www-form-urlencoded")],
        }  # fmt: skip
        await page.app(scope, receive, send)
        assert sent[0]["status"] == 408

    run(with_store, tmp_path, work, 1)


def test_store_that_is_away_is_one_sentence(
    with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()

        async def away(sql: str, /, **_: Any) -> list[Row]:
            raise StoreUnavailableError("/secret/path.db: disk I/O error")

        monkeypatch.setattr(store, "read", away)
        for path in ("/", "/fleet", "/cases", "/bulk", f"/cases/{ids[0]}"):
            answer = await page.ask(path, cookie=cookie)
            assert answer.status == 503
            assert answer.headers["retry-after"] == "30"
            assert "secret" not in answer.text
            assert "store is unavailable" in read(answer.text).text

    run(with_store, tmp_path, work, 1)


_SQL = "'; DROP TABLE desk_case; --"


@pytest.mark.parametrize("name", [*HOSTILE, "sql", "format"])
def test_hostile_strings_are_inert(with_store: WithStore, tmp_path: Path, name: str) -> None:
    """In every field of text that a page could show, and in the address."""
    hostile = {**HOSTILE, "sql": _SQL, "format": "{0.__class__} %s %(x)s ${x} :name"}[name]
    # What no store takes does not get so far: a NUL, half a character.
    stored = hostile.replace("\0", "").encode(errors="ignore").decode()

    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        text = {"token": token, "text": stored[:2000]}
        assert (await page.post(f"/cases/{ids[0]}/note", text, cookie)).status == 303
        await store.write(
            [
                (
                    "UPDATE desk_case SET subscriber = :x, region = :x, line = :x, model = :x, contact = :x",
                    {"x": stored},
                ),
                (
                    "UPDATE desk_case SET standing = :x, act = :x, oui = :x, router = :x, dev = :x, why = :x,"
                    " assignee = :x",
                    {"x": stored},
                ),
                ("UPDATE desk_case SET ind = :x", {"x": json.dumps({stored: 3, "dnsbl-listed": 1})}),
                ("UPDATE router_state SET model = :x, pol = :x, ver = :x, drops = 3", {"x": stored}),
                ("UPDATE incident SET name = :x, why = :x, oui = :x, address = :x", {"x": stored}),
                ("UPDATE desk_case_action SET who = :x, assignee = :x", {"x": stored}),
                (
                    "INSERT INTO desk_event (id, case_id, slot, n, kind, at, made_at, body, state, tries, next_at, why)"
                    " VALUES ('e', :id, 's', 1, :x, 1, 1, '', 'dead', 1, 1, :x)",
                    {"id": ids[0], "x": stored},
                ),
                (
                    "INSERT INTO desk_month (month, region, model, subscribers, new, recurring, cleared, expired,"
                    " notified, acknowledged, cleans, clean_s) VALUES ('2026-10', :x, :x, 5, 3, 1, 2, 0, 1, 1, 1, 9)",
                    {"x": stored},
                ),
            ]
        )
        said = quote(hostile.encode(errors="replace")[:1500])
        for path in (
            "/",
            "/fleet",
            f"/fleet?region={said}",
            f"/fleet?model={said}&days={said}",
            f"/cases?need={said}&assigned={said}",
            "/cases?state=all",
            f"/cases?state=all&text={said}",
            f"/cases?region={said}&indicator={said}&order={said}&page={said}",
            f"/cases/{ids[0]}",
            f"/cases/{ids[0]}?done={said}",
            f"/login?next={said}",
        ):
            if len(path) > 2048:
                continue
            answer = await page.ask(path, cookie=cookie)
            assert answer.status in (200, 303), path
            if answer.status == 200:
                read(answer.text)  # every tag, attribute and link is one of ours
                assert "<script" not in answer.text
        assert (await store.read("SELECT COUNT(*) AS n FROM desk_case"))[0]["n"] == 2

    run(with_store, tmp_path, work, 2)


def test_routers_strings_as_they_come_by_the_wire(with_store: WithStore, tmp_path: Path) -> None:
    """What the schema lets through of a model and a device's name: all printable ASCII."""
    nasty = "<img src=x onerror=alert(1)>'\"; --"

    async def inside(store: Store) -> None:
        one = incident(1, up=1000, kind="raised", name=nasty)
        await store.add([report(one, heartbeat(2), model=nasty, received=NOW - 60)])
        path = tmp_path / "map.csv"
        path.write_text(f'router,subscriber,region,line,contact\nr1,"{nasty.replace(chr(34), chr(34) * 2)}",a,b,c\n')
        people = File(str(path))
        assert await people.refresh(NOW)
        await CaseUpdater(store, people).catch_up(NOW, full=True)
        page = Page(store)
        cookie = await page.log_in()
        (case,) = (await query.listed(store)).cases
        for path_ in ("/fleet", "/cases", f"/cases/{case.id}"):
            answer = await page.ask(path_, cookie=cookie)
            assert nasty in read(answer.text).text
            assert "<img" not in answer.text

    with_store(inside)
