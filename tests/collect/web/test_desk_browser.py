"""The desk's day in a real browser: from what waits to many cases done; how it looks on a phone and on a desk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from cpe_filter.collect.cases import actions
from cpe_filter.collect.mail import outbox
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect.web.test_browser import clean, log_in, press, put, words
from tests.fleet.__main__ import Fleet
from tests.lab.net import DEADLINE_S
from tests.replay.test_browser import CONTRAST, OVERFLOW
from tests.texts.accessible import CLIPPED, problems
from tests.texts.browser import Browser

pytestmark = pytest.mark.usefixtures("chromium")

#: What a phone shows of each column of the list, and that it shows it.
_BLOCKS = """
[...document.querySelectorAll('.cases tbody tr')].slice(0, 5).flatMap(row => [...row.children]
  .filter(cell => getComputedStyle(cell).display !== 'none')
  .filter(cell => cell.getBoundingClientRect().right > innerWidth || cell.getBoundingClientRect().left < 0)
  .map(cell => cell.innerText))
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), 120) as running:
        asyncio.run(running.history())
        asyncio.run(_prepare(running))
        yield running


async def _prepare(fleet: Fleet) -> None:
    """Something waits of each kind."""
    store = SQLite(str(fleet.folder / "collector.db"))
    await store.open()
    try:
        now = int(time.time())
        sql = "SELECT id, subscriber FROM desk_case WHERE state IN ('open', 'notified') ORDER BY id"
        rows = await store.read(sql)
        assert len(rows) >= 3
        await actions.assign(store, rows[0]["id"], "admin", "admin", now=now)
        await outbox.add(store, rows[1]["id"], rows[1]["subscriber"], 0, "", now)
        # As a router reports it, a second after its last report at the earliest; the collector follows.
        objects = (
            "UPDATE incident SET answer = 'mistake', answered_at = :now, objected_at = :now, changed_at = :now + 1"
            " WHERE closed_at IS NULL AND (router, id) IN"
            " (SELECT router, incident FROM desk_incident WHERE case_id = :id)"
        )
        await store.write([(objects, {"id": rows[2]["id"], "now": now})])
        deadline = time.monotonic() + DEADLINE_S
        while not (await store.read("SELECT objection FROM desk_case WHERE id = :id", id=rows[2]["id"]))[0][
            "objection"
        ]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        await store.write([("UPDATE desk_mail SET state = 'bounced'", {})])
    finally:
        await store.close()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as one:
        one.size(1440, 900)
        yield one


def test_from_what_waits_to_done(browser: Browser, fleet: Fleet) -> None:
    log_in(browser, fleet)
    clean(browser, fleet)
    for kind in ("objection", "bounced", "untold", "mine"):
        assert browser.ask(f"document.querySelectorAll('.need.{kind} .oldest li').length") > 0, kind
    press(browser, ".need.untold h2 a")
    clean(browser, fleet)
    assert browser.ask("new URLSearchParams(location.search).get('need')") == "untold"
    number = browser.ask("document.querySelectorAll('tbody tr').length")
    assert number > 0
    # Save it, by its name and for all.
    put(browser, "#s-name", "Not told <yet>")
    browser.ask("document.querySelector('#s-shared').click()")
    press(browser, "form[action='/filters'] button")
    assert words(browser, "[role=status]") == "The filter is saved."
    assert "Not told <yet> shared" in words(browser, ".saved")
    # Two cases, a reason, done; without script.
    browser.ask("[...document.querySelectorAll('.box')].slice(0, 2).forEach(box => box.click())")
    chosen = browser.ask("[...document.querySelectorAll('.box:checked')].map(box => box.value)")
    press(browser, ".which button")
    clean(browser, fleet)
    assert f"Act on {len(chosen)} case" in words(browser, "h1")
    put(browser, "#f-action", "acknowledge")
    put(browser, "#reason", "Called; <i>waits</i>.")
    press(browser, ".acts button")
    clean(browser, fleet)
    assert words(browser, "h1").startswith(f"{len(chosen)} of {len(chosen)} case")
    browser.visit(f"{fleet.url}cases/{chosen[0]}")
    assert "Acknowledged, by admin" in words(browser, ".timeline")
    assert "Called; <i>waits</i>." in words(browser, ".timeline")
    # The saved filter leads to fewer now, from the first page.
    browser.visit(fleet.url)
    link = "[...document.querySelectorAll('.saved a')].find(link => link.innerText === 'Not told <yet>')"
    browser.visit(str(browser.ask(f"{link}.href")))
    assert browser.ask("document.querySelectorAll('.cases tbody tr').length") == number - len(chosen)


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_how_it_looks(browser: Browser, fleet: Fleet, width: int, scheme: str) -> None:
    log_in(browser, fleet)
    browser.scheme(scheme)
    browser.size(width, 900)
    browser.visit(fleet.url + "cases?state=all")
    browser.ask("document.querySelector('#w-page').checked = true; 0")
    press(browser, ".which button")
    draft = str(browser.ask("location.pathname"))[1:]
    pages = ["", "cases", "cases?state=all", "cases?need=objection", draft, "bulk", "fleet"]
    browser.visit(fleet.url + "cases?state=clean")
    if browser.ask("Boolean(document.querySelector('.box'))"):
        browser.ask("document.querySelector('.box').click()")
        press(browser, ".which button")
        put(browser, "#f-action", "assign")
        press(browser, ".acts button")
        pages.append(str(browser.ask("location.pathname"))[1:])
    for path in pages:
        for other in (1024, 1280):  # a table between two widths
            if width == 1440 and scheme == "light":
                browser.size(other, 900)
                browser.visit(fleet.url + path)
                assert browser.ask(CLIPPED) == [], (path, other)
        browser.size(width, 900)
        browser.visit(fleet.url + path)
        assert browser.ask(OVERFLOW) == 0, path
        assert browser.ask(CLIPPED) == [], path
        assert browser.ask(CONTRAST) == [], path
        assert browser.ask(_BLOCKS) == [], path
        assert problems(browser) == [], path
        clean(browser, fleet)
