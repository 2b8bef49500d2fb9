"""The page in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.replay.page import Page
from tests.lab.net import PROJECT
from tests.texts.browser import Browser
from tests.texts.reader import HOSTILE, judged

#: Texts whose contrast with what is behind them is below WCAG's AA, and how low.
CONTRAST = r"""
(() => {
  const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; }
    return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest("svg") || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) poor.push(e.tagName + " " + e.className + " " + e.textContent.slice(0, 30) + " " + ratio);
  }
  return poor;
})()
"""
#: Texts of a chart that cover one another by more than a corner.
COVERED = r"""
(() => {
  const covered = [];
  for (const chart of document.querySelectorAll("svg.chart")) {
    const boxes = [...chart.querySelectorAll("text")].filter(t => getComputedStyle(t).display !== "none")
      .map(t => [t.textContent, t.getBoundingClientRect()]);
    for (const [i, [one, a]] of boxes.entries()) for (const [other, b] of boxes.slice(i + 1)) {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 5 && high > 5) covered.push(one + " and " + other);
    }
  }
  return covered;
})()
"""
#: What makes the page wider than the screen.
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.usefixtures("chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    """Without network: no errors, nothing is fetched, both colour schemes, narrow and wide, by keyboard alone."""
    page = Page()
    for name in ("home-bot-beside-laptop", "legit-laptop", "bot-sprayer", "bot-sprayer-ipv6", "bot-starttls"):
        result, timeline = judged(PROJECT / "pcaps" / f"{name}.pcap")
        for item, hostile in zip(result["sessions"], HOSTILE.values(), strict=False):
            item["helo"] = item["last_reply"] = hostile
        page.add(result, timeline, [HOSTILE["script"]])
    path = tmp_path / "page.html"
    path.write_text(page.text())
    with Browser() as browser:
        off = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.call("Network.emulateNetworkConditions", **off)
        browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.hurt = true; }")
        backs = {}
        for scheme in ("light", "dark"):
            for width in (320, 390, 700, 1200):
                browser.scheme(scheme)
                browser.size(width, 900)
                browser.open(path)
                backs[scheme] = browser.ask("getComputedStyle(document.body).backgroundColor")
                assert browser.ask(OVERFLOW) == 0
                assert browser.ask(CONTRAST) == []
                assert browser.ask(COVERED) == []
                # Text in the charts is as large on a phone.
                sizes = browser.ask("[...document.querySelectorAll('svg text')].map(t => getComputedStyle(t).fontSize)")
                assert set(sizes) == {"12px"}
                events = dict.fromkeys(method for method, _ in browser.events)
                assert not {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"} & set(events)
                asked = [
                    event["request"]["url"]
                    for name, event in browser.events
                    if "WillBeSent" in name and "request" in event
                ]
                assert asked == [path.as_uri()]
                assert browser.ask("window.hurt") is None
                assert browser.ask("document.scripts.length") == 0
        assert backs == {"light": "rgb(245, 246, 248)", "dark": "rgb(13, 17, 22)"}
        reached = []
        for _ in range(40):
            browser.key("Tab", 9)
            reached.append(browser.ask("document.activeElement.tagName"))
            if reached[-1] == "SUMMARY":
                break
        assert reached[0] == "A"
        assert reached[-1] == "SUMMARY"
        assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert browser.ask("document.activeElement.parentElement.open") is False
        browser.key("Enter", 13, "\r")
        assert browser.ask("document.activeElement.parentElement.open") is True
