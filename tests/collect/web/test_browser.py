"""The fleet page in a real browser, on a simulated fleet: log in, filter, open a case, acknowledge; how it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fleet.__main__ import Fleet
from tests.replay.test_browser import CONTRAST, OVERFLOW
from tests.texts.accessible import CLIPPED, problems
from tests.texts.browser import Browser

pytestmark = pytest.mark.usefixtures("chromium")

#: What would say that something is amiss.
_COMPLAINTS = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
#: Marks in charts, bars and edges of fields that stand out from what is behind them by less than 3:1 (WCAG 1.4.11).
_MARKS = r"""
(() => {
  const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const behind = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; }
    return [255, 255, 255]; };
  const poor = [];
  const look = (selector, property) => { for (const e of document.querySelectorAll(selector)) {
    const under = e.closest("svg") ? e.closest("div, figure") : e.parentElement;
    const found = ratio(parse(getComputedStyle(e)[property]), behind(under));
    if (found < 3) poor.push(selector + " " + e.getAttribute("class") + " " + found); } };
  look(".chart rect:not(.touch), .share .fill", "fill");
  look(".chart .line", "stroke");
  look("input:not([type=hidden]), select, textarea", "borderTopColor");
  return [...new Set(poor)];
})()
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), 120) as running:
        asyncio.run(running.history())
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as one:
        one.size(1200, 900)
        yield one


def press(browser: Browser, selector: str) -> None:
    """Clicks, and waits for the page that comes."""
    browser.events.clear()
    assert browser.ask(f"(e => {{ if (e) e.click(); return Boolean(e); }})(document.querySelector({selector!r}))")
    browser.loaded()


def put(browser: Browser, selector: str, value: str) -> None:
    browser.ask(f"document.querySelector({selector!r}).value = {value!r}; 0")


def log_in(browser: Browser, fleet: Fleet, name: str = "admin", path: str = "") -> None:
    browser.visit(fleet.url + path)
    put(browser, "#name", name)
    put(browser, "#password", fleet.users[name])
    press(browser, "button")


def clean(browser: Browser, fleet: Fleet) -> None:
    """Nothing was complained of, no script ran, and nothing was asked of anybody else."""
    assert not _COMPLAINTS & {method for method, _ in browser.events}, browser.events
    asked = {
        urlsplit(parameters["request"]["url"]).netloc
        for method, parameters in browser.events
        if "WillBeSent" in method
        and "request" in parameters
        # The browser draws a field's own parts so.
        and not parameters["request"]["url"].startswith("data:")
    }
    assert asked == {urlsplit(fleet.url).netloc}
    assert browser.ask("document.scripts.length") == 0


def words(browser: Browser, selector: str) -> str:
    return str(browser.ask(f"document.querySelector({selector!r}).innerText"))


def test_from_login_to_acknowledged(browser: Browser, fleet: Fleet) -> None:
    browser.visit(fleet.url)
    assert browser.ask("location.pathname") == "/login"
    clean(browser, fleet)
    put(browser, "#name", "admin")
    put(browser, "#password", "not the password")
    press(browser, "button")
    assert words(browser, "[role=alert]") == "Name or password is wrong."
    log_in(browser, fleet)
    assert browser.ask("location.pathname") == "/"
    clean(browser, fleet)
    assert "needs you now" in words(browser, "h1")
    press(browser, ".top nav a[href='/fleet']")
    clean(browser, fleet)
    assert "compromised" in words(browser, "h1")
    assert browser.ask("document.cookie") == ""  # HttpOnly
    # Charts are drawn, each with its words.
    assert browser.ask("document.querySelectorAll('svg.chart[role=img] > desc').length") == 3
    assert (
        browser.ask("document.querySelector('#level-title').parentElement.querySelector('.line').getTotalLength()")
        > 500
    )
    press(browser, ".top nav a[href='/cases']")
    clean(browser, fleet)
    put(browser, "#f-state", "notified")
    press(browser, ".filter button")
    assert browser.ask("new URLSearchParams(location.search).get('state')") == "notified"
    states = browser.ask("[...document.querySelectorAll('tbody .state')].map(e => e.innerText)")
    assert states
    assert set(states) == {"notified"}
    case = words(browser, "tbody a")
    press(browser, "tbody a")
    clean(browser, fleet)
    assert case in words(browser, "main")
    put(browser, "#text", "Called; <b>will</b> reset the box.")
    press(browser, "button[formaction$='/acknowledge']")
    clean(browser, fleet)
    assert words(browser, "[role=status]") == "The case is acknowledged."
    assert words(browser, ".state") == "acknowledged"
    assert "Acknowledged, by admin" in words(browser, ".timeline")
    assert "Called; <b>will</b> reset the box." in words(browser, ".timeline")
    assert browser.ask("document.querySelector(\"button[formaction$='/acknowledge']\")") is None
    browser.visit(f"{fleet.url}cases?state=acknowledged&text={case}")
    assert words(browser, "tbody a") == case
    press(browser, "form[action='/logout'] button")
    assert browser.ask("location.pathname") == "/login"
    browser.visit(fleet.url + "cases")
    assert browser.ask("location.pathname") == "/login"


def test_looks_and_reads_everywhere(browser: Browser, fleet: Fleet) -> None:
    """Light and dark, wide and narrow: nothing too wide, cut off, pale, asked elsewhere, complained of; WCAG."""
    log_in(browser, fleet)
    browser.visit(fleet.url + "cases?state=all")
    case = browser.ask("document.querySelector('tbody a').getAttribute('href').slice(1)")
    browser.visit(fleet.url + case)
    subscriber = browser.ask("document.querySelector('dd a').getAttribute('href').slice(1)")
    routers = ""
    while not routers:  # figures are kept for some seconds
        browser.visit(fleet.url + "rollout")
        routers = browser.ask("(document.querySelector('a[href*=taken-back]')?.getAttribute('href') || '').slice(1)")
    backs = {}
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        for width in (320, 390, 768, 1200, 1440):
            browser.size(width, 900)
            for path in (
                "",
                "fleet?days=180",
                "rollout",
                routers,
                "bulk",
                "cases?state=all",
                "cases?text=nothing-like-it",
                case,
                "subscribers",
                "undelivered",
                "mail-servers",
                subscriber,
                "subscribers?text=s",
                "undelivered",
                "audit",
                "zone",
                "login?out=1",
                "nowhere",
            ):
                browser.visit(fleet.url + path)
                backs[scheme] = browser.ask("getComputedStyle(document.body).backgroundColor")
                assert browser.ask(OVERFLOW) == 0, (scheme, width, path)
                assert browser.ask(CONTRAST) == [], (scheme, width, path)
                assert browser.ask(_MARKS) == [], (scheme, width, path)
                browser.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
                assert width == 320 or browser.ask(CLIPPED) == [], (scheme, width, path)
                if width in (390, 1440):
                    assert problems(browser) == [], (scheme, width, path)
                if path != "nowhere":  # the browser itself remarks on a 404
                    clean(browser, fleet)
    assert backs == {"light": "rgb(245, 246, 248)", "dark": "rgb(13, 17, 22)"}


def test_by_keyboard_alone(browser: Browser, fleet: Fleet) -> None:
    browser.visit(fleet.url)
    for key in ("name", "password"):
        for _ in range(10):
            browser.key("Tab", 9)
            if browser.ask("document.activeElement.id") == key:
                break
        assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        browser.call("Input.insertText", text="admin" if key == "name" else fleet.users["admin"])
    browser.events.clear()
    browser.key("Enter", 13, "\r")
    browser.loaded()
    assert browser.ask("location.pathname") == "/"
    browser.visit(fleet.url + "fleet")
    # The first stop is the way past the menu; it shows itself then.
    browser.key("Tab", 9)
    assert browser.ask("document.activeElement.className") == "skip"
    assert browser.ask("document.activeElement.getBoundingClientRect().left") >= 0
    browser.key("Enter", 13, "\r")
    assert browser.ask("location.hash") == "#main"
    reached: list[str] = []
    unseen: list[str] = []
    for _ in range(80):
        browser.key("Tab", 9)
        tag = browser.ask("document.activeElement.tagName")
        if tag == "BODY":
            break
        reached.append(tag)
        if browser.ask("getComputedStyle(document.activeElement).outlineStyle") != "solid":
            unseen.append(browser.ask("document.activeElement.outerHTML.slice(0, 80)"))
        if tag == "SUMMARY" and not browser.ask("document.activeElement.parentElement.open"):
            browser.key("Enter", 13, "\r")
            assert browser.ask("document.activeElement.parentElement.open") is True
    assert unseen == []
    assert reached[0] == "SELECT"  # past the menu
    assert reached.count("SUMMARY") == 3
    assert {"SELECT", "BUTTON", "A", "DIV"} <= set(reached)  # DIV: a table that scrolls
    clean(browser, fleet)


def test_a_viewer_has_nothing_to_press(browser: Browser, fleet: Fleet) -> None:
    log_in(browser, fleet, "guest", "cases?state=all")
    # Where one wanted to go.
    assert browser.ask("location.pathname + location.search") == "/cases?state=all"
    press(browser, "tbody a")
    assert browser.ask("[...document.querySelectorAll('button')].map(e => e.innerText)") == ["Log out"]
    clean(browser, fleet)


def test_another_site_can_do_nothing(browser: Browser, fleet: Fleet, tmp_path: Path) -> None:
    """A form of a foreign page, sent with the cookie of somebody who is logged in; and a frame around the page."""
    log_in(browser, fleet)
    browser.visit(fleet.url + "cases?state=all")
    path = browser.ask("document.querySelector('tbody a').getAttribute('href').slice(1)")
    foreign = tmp_path / "foreign.html"
    foreign.write_text(
        f'<form method="post" action="{fleet.url}{path}/note"><input name="text" value="mine">'
        '<input name="token" value=""><button>Win a prize</button></form>'
        f'<iframe src="{fleet.url}login"></iframe>'
    )
    browser.open(foreign)
    assert any(
        "frame-ancestors" in str(parameters) for method, parameters in browser.events if method == "Log.entryAdded"
    )
    press(browser, "button")
    # The browser leaves the cookie out: nobody is logged in, and nothing is done.
    assert browser.ask("location.pathname") == "/"
    browser.visit(fleet.url + path)
    assert words(browser, ".who span") == "admin, admin"
    assert "mine" not in words(browser, ".timeline")
