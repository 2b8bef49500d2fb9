"""The subscriber's page in a real browser, where there is one: each language, both colour schemes, narrow, printed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cpe_filter.notice.page import PageSettings, page
from cpe_filter.texts.notice import LANGUAGES
from tests.notice.picture import NOW, entries
from tests.replay.test_browser import CONTRAST, OVERFLOW
from tests.texts.accessible import CLIPPED, problems
from tests.texts.browser import PROGRAM, Browser

pytestmark = pytest.mark.skipif(not PROGRAM, reason="no chromium here to look at the page with")

HOSTILE = "<script>alert(1)</script><img src=//evil.example onerror=alert(1)>" + "x" * 90


def test_every_language_in_both_schemes_narrow_and_wide(tmp_path: Path) -> None:
    """Without network: no errors, nothing is fetched, nothing runs, text that can be read."""
    urgent, *others = entries()
    shown = [urgent, urgent._replace(name=HOSTILE), urgent._replace(standing="suspected", mode="limit"), *others]
    with Browser() as browser:
        off = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.call("Network.emulateNetworkConditions", **off)
        browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.hurt = true; }")
        for language in LANGUAGES:
            path = tmp_path / f"{language}.html"
            url = "https://help.isp.example/" + "x" * 170
            settings = PageSettings(language, "Example Net", url, "block", True, True)
            path.write_text(page(settings, shown, NOW))
            backs = {}
            for scheme in ("light", "dark"):
                for width in (320, 390, 1440):
                    browser.scheme(scheme)
                    browser.size(width, 900)
                    browser.open(path)
                    backs[scheme] = browser.ask("getComputedStyle(document.body).backgroundColor")
                    assert browser.ask(OVERFLOW) == 0
                    assert browser.ask(CONTRAST) == []
                    assert browser.ask(CLIPPED) == []
                    assert width == 320 or problems(browser) == []
                    events = {method for method, _ in browser.events}
                    assert not {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"} & events
                    asked = [
                        event["request"]["url"]
                        for name, event in browser.events
                        if "WillBeSent" in name and "request" in event
                    ]
                    assert asked == [path.as_uri()]
                    assert browser.ask("window.hurt") is None
                    assert browser.ask("document.documentElement.lang") == language
            assert backs == {"light": "rgb(244, 245, 247)", "dark": "rgb(14, 18, 23)"}
            headings = browser.ask("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
            assert headings[0] == 1
            assert headings.count(1) == 1
            assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
            browser.key("Tab", 9)
            assert browser.ask("document.activeElement.href") == settings.help_url
            browser.call("Emulation.setEmulatedMedia", media="print", features=[])
            assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert browser.ask(CONTRAST) == []
            browser.call("Emulation.setEmulatedMedia", media="", features=[])
