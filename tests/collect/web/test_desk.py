"""The desk's daily work without a browser: the first page, many cases at once, assigning, saved filters, export."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cpe_filter.collect.cases import actions, bulk, query, saved
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store, StoreUnavailableError
from cpe_filter.collect.web import caselist
from tests.collect.web.site import HOST, Answer, Page, Reader, read
from tests.collect.web.test_pages import DAY, WithStore, run

_FORM = "application/x-www-form-urlencoded"


async def choose(page: Page, cookie: str, **fields: Any) -> Answer:
    """Sends the form of the list. Values may be lists."""
    form = {"token": await page.token(cookie), **fields}
    body = urlencode(form, doseq=True).encode()
    return await page.ask("/bulk", "POST", cookie, body, content_type=_FORM, origin=f"https://{HOST}")


async def states(store: Store, ids: list[str]) -> str:
    found = await query.by_ids(store, ids)
    return " ".join(found[number].state for number in ids)


def test_the_first_page_says_what_waits(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        first = read((await page.ask("/", cookie=cookie)).text)
        assert "What needs you now 3 active cases, 0 of them acknowledged." in first.text
        assert "Open, not notified 3 cases; the oldest waits for" in first.text
        assert (
            "None in: Objections , Relapsed , Mail came back , Notified, and no answer , Assigned to me ." in first.text
        )
        # The oldest first, and the link leads to the list with the same cases.
        named = [link for link in first.links if re.fullmatch("/cases/[0-9a-f]{16}", link)]
        assert named == [f"/cases/{number}" for number in reversed(ids)]
        listed = read((await page.ask("/cases?need=untold", cookie=cookie)).text)
        assert [link for link in listed.links if re.fullmatch("/cases/[0-9a-f]{16}", link)] == named
        assert "No notice has reached the subscriber" in listed.text
        now = page._now()
        told = "UPDATE desk_case SET state = 'notified', told_at = :at WHERE id = :id"
        await store.write([(told, {"id": ids[place], "at": int(now) - (8 - 2 * place) * DAY}) for place in (0, 1)])
        await actions.assign(store, ids[2], "boris", "anna", now=int(now))
        first = read((await page.ask("/", cookie=cookie)).text)
        assert "Notified, and no answer 1 case; the oldest waits for 8.0 days" in first.text
        assert "Notified at least 7 days ago" in first.text
        assert "Assigned to me 1 case" in first.text
        assert "Assigned to me 1 case" not in read((await page.ask("/", cookie=await page.log_in("guest"))).text).text
        for number in ids:
            await actions.close(store, number, "anna", now=int(now))
        assert "Nothing needs you now" in read((await page.ask("/", cookie=cookie)).text).text

    run(with_store, tmp_path, work)


def test_chosen_cases_are_confirmed_and_done(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        shown = read((await page.ask("/cases", cookie=cookie)).text)
        assert {f"c-{number}" for number in ids} <= set(shown.ids)
        assert {"w-chosen", "w-page"} <= set(shown.ids)
        assert "w-all" not in shown.ids  # all are on this page
        answer = await choose(page, cookie, which="chosen", case=[ids[0], ids[2], ids[0]])
        path = answer.headers["location"]
        assert answer.status == 303
        assert re.fullmatch("/bulk/[0-9a-f]{20}", path)
        asked = read((await page.ask(path, cookie=cookie)).text)
        assert "Act on 2 cases" in asked.text
        assert "2 open" in asked.text
        assert "Send the notice" not in asked.text  # e-mail is not set up
        order = {"token": token, "action": "false-alarm", "reason": " our own <b>test</b>\r\n"}
        done = await page.post(path, order, cookie)
        assert (done.status, done.headers["location"]) == (303, path)
        assert await states(store, ids) == "closed open closed"
        result = read((await page.ask(path, cookie=cookie)).text)
        assert "2 of 2 cases done" in result.text
        assert "our own <b>test</b>" in result.text
        # A second click, or going back, does nothing more.
        assert (await page.post(path, {**order, "action": "reopen"}, cookie)).status == 303
        found = await query.detail(store, ids[0])
        assert found is not None
        assert [(row["who"], row["what"], row["text"]) for row in found.actions] == [
            ("anna", "false-alarm", "our own <b>test</b>")
        ]
        rows, _ = await audit.listed(store, audit.Filter())
        assert [(row["what"], row["case_id"]) for row in rows][:3] == [
            ("false-alarm", ids[2]), ("false-alarm", ids[0]), ("bulk", ""),
        ]  # fmt: skip
        assert rows[2]["reason"].startswith("false-alarm, 2 cases,")
        assert {row["peer"] for row in rows[:3]} == {"192.0.2.9"}
        latest = read((await page.ask("/bulk", cookie=await page.log_in("guest"))).text)
        assert path in latest.links
        assert "Close as false alarm anna 2 2 0 0" in latest.text

    run(with_store, tmp_path, work)


def test_what_could_not_be_done_is_said(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        path = (await choose(page, cookie, which="page", shown=" ".join(ids))).headers["location"]
        await actions.close(store, ids[1], "boris", now=int(page._now()))
        await page.post(path, {"token": token, "action": "acknowledge"}, cookie)
        assert await states(store, ids) == "acknowledged closed acknowledged"
        result = read((await page.ask(path, cookie=cookie)).text)
        assert "2 of 3 cases done" in result.text
        assert f"Not done {ids[1]} case {ids[1]} is closed" in result.text

    run(with_store, tmp_path, work)


def test_all_that_match_are_counted_again(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        path = (await choose(page, cookie, which="all", query="state=open&region=Region+0")).headers["location"]
        theirs = [ids[0], ids[2]]
        assert "Act on 2 cases" in read((await page.ask(path, cookie=cookie)).text).text
        order = {"token": token, "action": "close", "reason": "done"}
        # One has left the filter, and another has come.
        await actions.acknowledge(store, ids[0], "boris", now=int(page._now()))
        await store.write([("UPDATE desk_case SET region = 'Region 0' WHERE id = :id", {"id": ids[1]})])
        refused = await page.post(path, order, cookie)
        assert refused.status == 409
        told = read(refused.text)
        assert "Nothing was done: other cases match now" in told.text
        assert f"These match now, too {ids[1]}" in told.text
        assert f"These match no longer {ids[0]}" in told.text
        assert await states(store, ids) == "acknowledged open open"
        again = (await choose(page, cookie, which="all", query=told.hidden["query"])).headers["location"]
        assert (await page.post(again, order, cookie)).headers["location"] == again
        assert await states(store, ids) == "acknowledged closed closed"
        assert theirs[1] == ids[2]

    run(with_store, tmp_path, work)


def test_a_long_filter_is_not_cut(with_store: WithStore, tmp_path: Path) -> None:
    """What is left of it would match other cases."""

    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        query = f"text=&pad={'x' * 2500}&region=Region+0"
        path = (await choose(page, cookie, which="all", query=query)).headers["location"]
        assert "Act on 2 cases" in read((await page.ask(path, cookie=cookie)).text).text
        form = {"token": await page.token(cookie), "query": query}
        assert (await page.post("/cases.csv", form, cookie)).text.count("\r\n") == 1 + 2

    run(with_store, tmp_path, work)


@pytest.mark.parametrize("field", ["reason", "action", "token\0"])
def test_text_that_no_store_can_hold(with_store: WithStore, tmp_path: Path, field: str) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        path = (await choose(page, cookie, which="chosen", case=ids)).headers["location"]
        form = {"token": await page.token(cookie), "action": "note", "reason": "x", field: "a\0b"}
        assert (await page.post(path, form, cookie)).status == 400
        assert await states(store, ids) == "open open open"

    run(with_store, tmp_path, work)


def test_more_than_are_allowed(with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MAX_CASES", 4)
    monkeypatch.setattr(caselist, "PAGE", 2)

    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        shown = read((await page.ask("/cases", cookie=cookie)).text)
        assert "w-all" not in shown.ids
        assert "More than 4 match" in shown.text
        assert (
            "all 3 that match this filter" in read((await page.ask("/cases?region=Region+0", cookie=cookie)).text).text
        )
        assert (await choose(page, cookie, which="all", query="")).status == 409
        assert (await choose(page, cookie, which="page", shown=" ".join(ids))).status == 409
        assert await store.read("SELECT * FROM desk_batch") == []

    run(with_store, tmp_path, work, 5)


def test_many_cases_are_refused(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie, viewers = await page.log_in(), await page.log_in("guest")
        token, theirs = await page.token(cookie), await page.token(viewers)
        path = (await choose(page, cookie, which="chosen", case=ids)).headers["location"]
        good = {"token": token, "action": "note", "reason": "x"}
        for status, answer in (
            (303, page.post(path, good)),
            (403, page.post(path, {**good, "token": ""}, cookie)),
            (403, page.post(path, {**good, "token": theirs}, viewers)),
            (403, page.post(path, good, cookie, origin="https://evil.example")),
            (403, page.post("/bulk", {"token": theirs, "which": "all"}, viewers)),
            (403, page.post("/cases.csv", {"token": theirs}, viewers)),
            (403, page.post("/filters", {"token": theirs, "name": "x"}, viewers)),
            (403, page.post(f"/cases/{ids[0]}/assign", {"token": theirs}, viewers)),
            (403, page.post("/cases.csv", {"token": ""}, cookie)),
            (400, page.post(path, {**good, "action": "delete"}, cookie)),
            (400, page.post(path, {**good, "action": ""}, cookie)),
            (400, page.post(path, {**good, "reason": " \r\n"}, cookie)),
            (400, page.post(path, {**good, "reason": "x" * 2001}, cookie)),
            (400, page.post(path, {**good, "action": "assign", "assignee": "<b>"}, cookie)),
            (400, page.post("/bulk", {"token": token, "which": "chosen"}, cookie)),
            (400, page.post("/bulk", {"token": token, "which": "chosen", "case": "'; --"}, cookie)),
            (409, page.post("/bulk", {"token": token, "which": "page", "shown": "<b> ' %"}, cookie)),
            (409, page.post("/bulk", {"token": token, "which": "all", "query": "text=nothing-like-it"}, cookie)),
            (409, page.post(f"{path}/rest", {"token": token, "do": "again"}, cookie)),
            (404, page.ask("/bulk/0123456789abcdef0123", cookie=cookie)),
            (404, page.ask("/bulk/..", cookie=cookie)),
            (404, page.ask(path, cookie=viewers)),  # a draft is its maker's alone
            (404, page.post("/filters/0123456789abcdef/delete", {"token": token}, cookie)),
            (404, page.post("/cases/0123456789abcdef/assign", {"token": token}, cookie)),
            (405, page.ask("/filters", cookie=cookie)),
        ):
            given = await answer
            assert given.status == status, given.text
            if status != 303:
                read(given.text)
        assert (await store.read("SELECT COUNT(*) AS n FROM desk_case_action"))[0]["n"] == 0
        many = await choose(page, cookie, which="chosen", case=[ids[0]] * 300)
        assert many.status == 400
        # A viewer has nothing to press.
        seen = read((await page.ask("/cases", cookie=viewers)).text)
        assert {action for action in seen.actions if action != "/logout"} == {"/cases"}
        assert not any(name.startswith("c-") for name in seen.ids)

    run(with_store, tmp_path, work)


def test_an_interrupted_action_is_shown_and_can_go_on(
    with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        path = (await choose(page, cookie, which="chosen", case=ids)).headers["location"]
        record, left = audit.record, [2]

        async def fails(*args: Any, **more: Any) -> list[int]:
            if not left[0]:
                raise StoreUnavailableError("/secret.db: the disk is full")
            left[0] -= 1
            return await record(*args, **more)

        monkeypatch.setattr(audit, "record", fails)
        order = {"token": token, "action": "acknowledge"}
        assert (await page.post(path, order, cookie)).status == 303
        monkeypatch.setattr(audit, "record", record)
        assert await states(store, ids) == "acknowledged open open"
        result = read((await page.ask(path, cookie=cookie)).text)
        assert "1 of 3 cases done" in result.text
        assert "Under way: 2 cases left" in result.text
        late = {"before": int(page._now()) - bulk.STALE_S - 60}
        await store.write([("UPDATE desk_batch SET begun_at = :before", late),
                           ("UPDATE desk_batch_case SET at = :before", late)])  # fmt: skip
        assert "2 cases not done" in read((await page.ask("/", cookie=cookie)).text).text
        result = read((await page.ask(path, cookie=cookie)).text)
        assert "Interrupted: 2 cases not done" in result.text
        assert f"Waiting {ids[1]} {ids[2]}" in result.text
        more = await page.post(f"{path}/rest", {"token": token, "do": "again"}, cookie)
        assert more.headers["location"] != path
        assert (await page.post(more.headers["location"], order, cookie)).status == 303
        assert await states(store, ids) == "acknowledged acknowledged acknowledged"
        assert f"Not done {ids[1]} interrupted" in read((await page.ask(path, cookie=cookie)).text).text
        assert "interrupted" not in read((await page.ask("/", cookie=cookie)).text).text

    run(with_store, tmp_path, work)


def test_assigning(with_store: WithStore, tmp_path: Path) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        done = await page.post(
            f"/cases/{ids[0]}/assign", {"token": token, "assignee": "boris", "text": "yours"}, cookie
        )
        assert done.headers["location"] == f"/cases/{ids[0]}?done=assign"
        shown = read((await page.ask(f"/cases/{ids[0]}?done=assign", cookie=cookie)).text)
        assert "The case is assigned." in shown.text
        assert "Assigned to boris , by anna yours" in shown.text
        path = (await choose(page, cookie, which="chosen", case=ids[1:])).headers["location"]
        await page.post(path, {"token": token, "action": "assign", "assignee": "anna"}, cookie)

        async def listed(query_: str) -> list[str]:
            found = read((await page.ask(f"/cases?{query_}", cookie=cookie)).text)
            return [link.rpartition("/")[2] for link in found.links if re.fullmatch("/cases/[0-9a-f]{16}", link)]

        assert await listed("assigned=me") == ids[1:]
        assert await listed("assigned=boris") == ids[:1]
        assert await listed("assigned=nobody") == []
        assert await listed("need=mine") == list(reversed(ids[1:]))
        await page.post(f"/cases/{ids[0]}/assign", {"token": token, "assignee": "-"}, cookie)
        assert await listed("assigned=nobody") == ids[:1]
        rows, _ = await audit.listed(store, audit.Filter(what="assigned"))
        assert len(rows) == 4

    run(with_store, tmp_path, work)


def test_only_known_users_get_cases(with_store: WithStore, tmp_path: Path) -> None:
    async def work(_page: Page, ids: list[str], store: Store) -> None:
        page = Page(store, people=("anna", "carla"))
        cookie = await page.log_in()
        token = await page.token(cookie)
        assert "carla" in read((await page.ask(f"/cases/{ids[0]}", cookie=cookie)).text).text
        for name, status in (("boris", 400), ("guest", 400), ("carla", 303), ("", 303), ("-", 303)):
            form = {"token": token, "assignee": name}
            assert (await page.post(f"/cases/{ids[0]}/assign", form, cookie)).status == status, name

    run(with_store, tmp_path, work, 1)


def test_saved_filters(with_store: WithStore, tmp_path: Path) -> None:
    nasty = "<img src=x onerror=alert(1)>'\";--&"

    async def work(page: Page, _ids: list[str], store: Store) -> None:
        cookie, viewers = await page.log_in(), await page.log_in("guest")
        token = await page.token(cookie)
        form = {"token": token, "query": 'state=open&region="><b>&page=7&order=x&evil=1', "name": nasty}
        answer = await page.post("/filters", form, cookie)
        assert answer.status == 303
        back = read((await page.ask(answer.headers["location"], cookie=cookie)).text)
        assert "The filter is saved." in back.text
        # What no filter has is not kept.
        (one,) = await saved.listed(store, "anna")
        assert one.query == "state=open&region=%22%3E%3Cb%3E&order=last"
        await page.post(
            "/filters", {"token": token, "query": "need=relapsed", "name": "Back again", "shared": "yes"}, cookie
        )
        for path in ("/", "/cases"):
            for reader, names in ((cookie, [nasty, "Back again"]), (viewers, ["Back again"])):
                text = (await page.ask(path, cookie=reader)).text
                found: Reader = read(text)
                assert "<img" not in text
                assert [name for name in (nasty, "Back again") if name in found.text] == names
                assert any("need=relapsed" in link for link in found.links)
        shown = read((await page.ask("/cases", cookie=cookie)).text)
        drops = [action for action in shown.actions if action.startswith("/filters/")]
        assert len(drops) == 2
        for action in drops:
            assert (await page.post(action, {"token": token}, cookie)).headers["location"] == "/cases?done=dropped"
        assert await saved.listed(store, "anna") == []
        assert (await page.post("/filters", {"token": token, "name": " "}, cookie)).status == 409

    run(with_store, tmp_path, work, 1)


def test_export(with_store: WithStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(page: Page, ids: list[str], store: Store) -> None:
        cookie = await page.log_in()
        token = await page.token(cookie)
        formula = '=HYPERLINK("http://evil.example")'
        await store.write([("UPDATE desk_case SET contact = :x, model = '+1', region = 'a\r\nb' WHERE id = :id",
                            {"x": formula, "id": ids[1]})])  # fmt: skip
        answer = await page.post("/cases.csv", {"token": token, "query": "order=oldest"}, cookie)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="cases.csv"'
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert [row["case"] for row in rows] == list(reversed(ids))
        assert rows[1]["contact"] == "'" + formula
        assert rows[1]["model"] == "'+1"
        assert rows[0]["state"] == "open"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[0]["found"])
        assert "tv-" not in answer.text  # names of devices
        lines, _ = await audit.listed(store, audit.Filter(what="export"))
        assert [(row["who"], row["reason"]) for row in lines] == [("anna", "3 cases as CSV: state=active&order=oldest")]
        only = await page.post("/cases.csv", {"token": token, "query": "text=s2"}, cookie)
        assert [row["case"] for row in csv.DictReader(io.StringIO(only.text))] == [ids[2]]
        monkeypatch.setattr(caselist, "MAX_EXPORT", 2)
        assert (await page.post("/cases.csv", {"token": token, "query": ""}, cookie)).status == 409

    run(with_store, tmp_path, work)
