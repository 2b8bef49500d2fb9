"""Instructions from the page of a case: who may, what a form must have, and what the page says of them."""

from __future__ import annotations

from typing import Any

from cpe_filter.collect.cases import instructions
from cpe_filter.collect.store.base import Store
from tests.collect.cases.test_instructions import KEY, answered, case_of
from tests.collect.desks import WithStore
from tests.collect.web.site import Page, read


def run(with_store: WithStore, work: Any, key: bool = True) -> None:
    async def inside(store: Store) -> None:
        case = await case_of(store)
        page = Page(store, instruct=instructions.Desk(store, KEY) if key else None)
        await work(store, page, f"/cases/{case.id}")

    with_store(inside)


def test_a_click_and_what_is_refused(with_store: WithStore) -> None:
    async def work(store: Store, page: Page, case: str) -> None:
        cookie = await page.log_in()
        shown = read((await page.ask(case, cookie=cookie)).text)
        assert "Release on the router" in shown.text
        ask = read((await page.ask(f"{case}/router-exempt", cookie=cookie)).text)
        good = {"token": ask.hidden["token"], "text": "her mail server", "days": "30"}
        for form, headers, status in (
            ({**good, "token": "x"}, {}, 403),
            (good, {"origin": "https://evil.example"}, 403),
            ({**good, "text": "  "}, {}, 400),
            ({**good, "text": "x" * 501}, {}, 400),
            ({**good, "days": "0"}, {}, 400),
            ({**good, "days": "366"}, {}, 400),
            ({**good, "days": "-1"}, {}, 400),
            ({**good, "days": "\u0661"}, {}, 400),
        ):
            assert (await page.post(f"{case}/router-exempt", form, cookie, **headers)).status == status
        guest = await page.log_in("guest")
        assert (await page.ask(f"{case}/router-exempt", cookie=guest)).status == 403
        assert (await page.post(f"{case}/router-exempt", good, guest)).status == 403
        assert "Exempt on the router" not in read((await page.ask(case, cookie=guest)).text).text
        assert (await page.post(f"{case}/router-block", good, cookie)).status == 404
        assert (await page.ask("/cases/none/router-exempt", cookie=cookie)).status == 404
        assert await store.read("SELECT id FROM desk_instruction") == []
        done = await page.post(f"{case}/router-exempt", good, cookie)
        assert (done.status, done.headers["location"]) == (303, f"{case}?done=router-exempt")
        assert (await page.post(f"{case}/router-exempt", good, cookie)).status == 409
        shown = read((await page.ask(f"{case}?done=router-exempt", cookie=cookie)).text)
        assert "The instruction is queued" in shown.text
        assert "waiting for the router" in shown.text

    run(with_store, work)


def test_what_the_page_says_of_the_router_s_answer(with_store: WithStore) -> None:
    async def work(store: Store, page: Page, case: str) -> None:
        cookie = await page.log_in()
        token = read((await page.ask(f"{case}/router-release", cookie=cookie)).text).hidden["token"]
        await page.post(f"{case}/router-release", {"token": token, "text": "<b>she</b> called"}, cookie)
        (row,) = await store.read("SELECT id FROM desk_instruction")
        await store.add([answered(row["id"], "refused", why="nothing")])
        answer = await page.ask(case, cookie=cookie)
        assert "refused: the device is not compromised any more" in read(answer.text).text
        assert "<b>she" not in answer.text
        await store.write([("UPDATE desk_instruction SET why = 'a-new-code'", {})])
        assert "refused: a-new-code" in read((await page.ask(case, cookie=cookie)).text).text

    run(with_store, work)


def test_a_quarantine_is_ended_where_there_is_one(with_store: WithStore) -> None:
    async def work(store: Store) -> None:
        case = await case_of(store, notice={"shown": 1, "quarantine": {"state": "quarantined"}})
        page, path = Page(store, instruct=instructions.Desk(store, KEY)), f"/cases/{case.id}"
        cookie = await page.log_in()
        assert "End the quarantine" in read((await page.ask(path, cookie=cookie)).text).text
        ask = read((await page.ask(f"{path}/router-end-quarantine", cookie=cookie)).text)
        assert "it stays compromised" in ask.text
        form = {"token": ask.hidden["token"], "text": "their only line"}
        done = await page.post(f"{path}/router-end-quarantine", form, cookie)
        assert (done.status, done.headers["location"]) == (303, f"{path}?done=router-end-quarantine")
        shown = read((await page.ask(path, cookie=cookie)).text).text
        assert "end of the quarantine, by anna : waiting for the router" in shown
        await store.write([("UPDATE incident SET notice = NULL", {})])
        assert "End the quarantine" not in read((await page.ask(path, cookie=cookie)).text).text
        ask = read((await page.ask(f"{path}/router-end-quarantine", cookie=cookie)).text)
        assert "The device is not in quarantine" in ask.text
        (row,) = await store.read("SELECT id FROM desk_instruction")
        await store.add([answered(row["id"], "refused", why="nothing")])
        shown = read((await page.ask(path, cookie=cookie)).text).text
        assert "refused: the device is not in quarantine any more" in shown

    with_store(work)


def test_without_a_key_there_are_no_buttons(with_store: WithStore) -> None:
    async def work(store: Store, page: Page, case: str) -> None:
        cookie = await page.log_in()
        assert "On the router" not in read((await page.ask(case, cookie=cookie)).text).text
        assert (await page.ask(f"{case}/router-release", cookie=cookie)).status == 404

    run(with_store, work, key=False)
