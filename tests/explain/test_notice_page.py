"""The notice that is served: what it says to the device itself, what to others of the home, and how it looks."""

from __future__ import annotations

import base64
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.explain import notice_page
from cpe_filter.policy.model import NoticeTable
from cpe_filter.texts.html import escape
from cpe_filter.texts.notice import LANGUAGES, Words
from tests.notice.test_page import Reader
from tests.replay.test_browser import CONTRAST, OVERFLOW
from tests.texts.accessible import CLIPPED, problems
from tests.texts.browser import Browser

HOSTILE = "<script>alert(1)</script><img src=//evil.example onerror=alert(1)>" + "x" * 90
NOTICE = NoticeTable(
    provider="Example Net",
    help_url="https://help.isp.example/mail",
    help_phone="0800 <1234>",
    page="/tmp/cpe-filter/notice/index.html",
)
TOKEN = "0123456789abcdef" * 2
#: As live.notify.desk says it.
DEVICE: dict[str, Any] = {
    "name": "living-room-tv", "place": "", "tail": "C4:D5", "since": 1_795_716_000, "last": 1_795_723_000,
    "found": ["unknown-user", "dnsbl-listed", "path-spaced", "verb-case", "helo-unqualified", "no-quit", "newer"],
    "counts": [1234, 17], "mode": "monitor", "in_force": "block",
}  # fmt: skip
OWN = {"to": "own", "devices": [DEVICE], "releases": 1, "exempt": False, "answer": "", "reports": True}
OTHER = {"to": "other", "devices": [{"name": "living-room-tv", "place": "", "tail": ""}], "reports": True}


def read(about: dict[str, Any], language: str = "en") -> Reader:
    return Reader(notice_page.page(NOTICE, language, about, TOKEN, "192.0.2.1").replace("<input ", "<meta "))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_device_itself_learns_what_was_found(language: str) -> None:
    words = Words(language, "Example Net")
    found = read(OWN, language)
    told = words.noticed(DEVICE["found"])
    assert [text for text in told if text in found.words] == told[:4]
    thousand = "1,234" if language == "en" else "1.234"
    assert words("connections", count=thousand, refused=17) in found.words
    for key in ("first", "last", "h_blocked", "blocked_block", "h_works", "works", "step_1", "step_2", "then_free"):
        assert words(key) in found.words
    assert words("step_3_here", answer=words("answer_cleaned")) in found.words
    assert words("tail", tail="C4:D5") in found.words
    assert "0800 <1234>" in found.words


@pytest.mark.parametrize("language", LANGUAGES)
def test_others_of_the_home_learn_only_which_device_it_is(language: str) -> None:
    words = Words(language, "Example Net")
    found = read(OTHER, language)
    assert "living-room-tv" in found.words
    for key in ("h_noticed", "first", "last", "h_connections", "h_blocked", "step_1"):
        assert words(key) not in found.words
    answers = [attributes["value"] for tag, attributes in found.tags if tag == "button"]
    assert answers == ["seen"]
    # Even if the filter said more.
    more = read({**OTHER, "devices": [{**DEVICE, "since": None}]}, language)
    assert not [text for text in words.noticed(DEVICE["found"]) if text in more.words]
    assert words("h_connections") not in more.words


@pytest.mark.parametrize(
    ("mode", "now", "key"),
    [
        ("block", "block", "then_block"),
        ("limit", "block", "then_free"),
        ("monitor", "block", "then_free"),
        ("limit", "limit", "then_watch"),
        ("monitor", "monitor", "then_watch"),
    ],
)
def test_what_follows_from_cleaning_it_is_true(mode: str, now: str, key: str) -> None:
    found = read({**OWN, "devices": [{**DEVICE, "mode": mode, "in_force": now}]}).words
    words = Words("en", "Example Net")
    report = words("step_3_here", answer=words("answer_cleaned"))
    assert f"{report} {words(key)}" in found


def test_the_router_itself_has_one_step() -> None:
    found = read({**OWN, "devices": [{**DEVICE, "place": "router", "name": ""}]}).words
    assert "it has to be updated or replaced" in found
    assert "three steps" not in found


@pytest.mark.parametrize("change", [{}, {"found": None, "counts": None, "last": None, "since": None, "mode": None}])
def test_a_filter_of_another_version_says_less(change: dict[str, None]) -> None:
    device = {**DEVICE, **change} if change else {"name": "tv"}
    assert "tv" in read({**OWN, "devices": [device]}).words


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("answer", ["seen", "mistake"])
@pytest.mark.parametrize("reports", [True, False])
def test_nobody_in_quarantine_is_told_that_websites_open(language: str, answer: str, reports: bool) -> None:
    words = Words(language, NOTICE.provider)
    free, held = (notice_page.done(NOTICE, language, answer, "192.0.2.1", reports, held) for held in (False, True))
    assert escape(words(f"done_{answer}")) in free
    assert escape(words(f"done_{answer}")) not in held
    assert escape(words("done_held")) in held
    informed = answer == "mistake" and reports
    assert (escape(words("hint_mistake")) in held) is informed
    assert (escape(words("hint_tell")) in held) is (answer == "mistake" and not reports)


def test_the_style_sheet_is_the_one_that_the_policy_allows() -> None:
    digest = base64.b64encode(hashlib.sha256(notice_page.FORM_STYLE.encode()).digest()).decode()
    assert f"sha256-{digest}" == notice_page.FORM_HASH
    assert f"'{notice_page.FORM_HASH}'" in notice_page.POLICY


@pytest.mark.usefixtures("chromium")
@pytest.mark.parametrize("language", LANGUAGES)
def test_it_looks_right_and_is_used_by_keyboard(tmp_path: Path, language: str) -> None:
    hostile = {**DEVICE, "name": HOSTILE}
    many = {**OTHER, "devices": [{"name": "", "place": "", "tail": "0A:0B"}, DEVICE]}
    pages = {
        "own": notice_page.page(NOTICE, language, OWN, TOKEN, "192.0.2.1"),
        "hostile": notice_page.page(NOTICE, language, {**OWN, "devices": [hostile]}, TOKEN, "192.0.2.1"),
        "other": notice_page.page(NOTICE, language, many, TOKEN, "192.0.2.1"),
        "none": notice_page.page(NOTICE, language, {"to": "none"}, TOKEN, "192.0.2.1"),
        "thanks": notice_page.done(NOTICE, language, "mistake", "192.0.2.1", False),
        "refused": notice_page.done(NOTICE, language, "refused", "192.0.2.1", True),
    }
    with Browser() as browser:
        off = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.call("Network.emulateNetworkConditions", **off)
        browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.hurt = true; }")
        for (name, text), scheme, width in itertools.product(pages.items(), ("light", "dark"), (390, 1440)):
            path = tmp_path / f"{name}.html"
            path.write_text(text)
            browser.scheme(scheme)
            browser.size(width, 900)
            browser.open(path)
            place = (name, scheme, width)
            assert browser.ask(OVERFLOW) == 0, place
            assert browser.ask(CONTRAST) == [], place
            assert browser.ask(CLIPPED) == [], place
            assert problems(browser) == [], place
            assert browser.ask("window.hurt || document.scripts.length") in (None, 0), place
            assert not {"Log.entryAdded", "Runtime.exceptionThrown"} & {method for method, _ in browser.events}, place
        # The languages first, then the answers in their order, each to be seen.
        browser.open(tmp_path / "own.html")
        reached = []
        for _ in range(len(LANGUAGES) - 1 + 4):
            browser.key("Tab", 9)
            reached.append(browser.ask("document.activeElement.value || document.activeElement.lang"))
            assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        others = [code for code in LANGUAGES if code != language]
        assert reached == [*others, "seen", "cleaned", "server", "mistake"]
