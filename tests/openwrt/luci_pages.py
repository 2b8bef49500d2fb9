"""The app's pages in a browser, for tests: how to wait, press and fill in, and what says that something is amiss."""

from __future__ import annotations

import json
import time
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cpe_filter.policy.keys import BY_TABLE
from tests.lab.net import DEADLINE_S
from tests.openwrt.luci_server import LuciServer
from tests.texts.browser import Browser

COMPLAINTS = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
#: The configuration as it is shipped, to UCI: sections without options.
SHIPPED: dict[str, dict[str, Any]] = {
    "main": {".type": "cpe-filter", "enabled": "1"},
    **{table: {".type": table} for table in (*BY_TABLE, "enrol", "provision")},
}
#: Who may be pressed or filled in, and has no name that a screen reader could say.
_NAMELESS = """
[...document.querySelectorAll('#view, #modal_overlay')]
  .flatMap(e => [...e.querySelectorAll('a, button, input, select, summary')])
  .filter(e => e.getClientRects().length && !e.getAttribute('aria-label') && !e.innerText.trim())
  .filter(e => !(e.labels && e.labels.length)).map(e => e.outerHTML.slice(0, 120))
"""

#: What can be read in an element, one line end between lines, and plain spaces in times.
_WORDS = r"(e => e ? e.innerText.replace(/\n+/g, '\n').replace(/\u202f/g, ' ') : '')(document.querySelector(%s))"


def shipped() -> dict[str, dict[str, Any]]:
    return {name: dict(options) for name, options in SHIPPED.items()}


_Pages = TypeVar("_Pages", bound="Pages")


class Pages:
    """One tab that looks at the pages of one server."""

    def __init__(self, browser: Browser, server: LuciServer) -> None:
        self.browser = browser
        self.server = server
        browser.call("Emulation.setTimezoneOverride", timezoneId="Europe/Amsterdam")
        browser.call("Page.addScriptToEvaluateOnNewDocument", source="window.alert = () => { window.hurt = true; }")

    def __enter__(self: _Pages) -> _Pages:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the page, which would go on asking a server that has gone."""
        self.browser.visit("about:blank")

    def open(self, view: str, role: str = "root", lang: str = "en", more: str = "", there: str = "h2") -> None:
        """Loads a page, until `there` stands in it."""
        self.browser.visit(self.server.url(view, role, lang, more))
        self.until(f"document.querySelector('#view {there}')")

    def ask(self, expression: str) -> Any:
        return self.browser.ask(expression)

    def until(self, expression: str, timeout_s: float = DEADLINE_S) -> None:
        """Waits for an expression to be true."""
        deadline = time.monotonic() + timeout_s
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"{expression}: {self.words('body')}"
            time.sleep(0.05)

    def words(self, selector: str = "#view") -> str:
        return str(self.ask(_WORDS % json.dumps(selector)))

    def says(self, text: str, selector: str = "body") -> None:
        """Waits until the page says so."""
        self.until(f"{_WORDS % json.dumps(selector)}.includes({json.dumps(text)})")

    def press(self, text: str, within: str = "body") -> None:
        """A click on what is called so: the last such thing that can be seen."""
        found = (
            f"[...document.querySelector({json.dumps(within)}).querySelectorAll('a, button')].filter(e => "
            f"e.innerText.trim() == {json.dumps(text)} && e.getClientRects().length && !e.disabled)"
        )
        self.until(f"{found}.length")
        self.ask(f"{found}.pop().click()")

    def put(self, selector: str, value: str) -> None:
        """Fills a field in, as one who types does."""
        self.ask(
            f"(e => {{ e.value = {json.dumps(value)}; for (const name of ['input', 'keyup', 'change', 'blur']) "
            "e.dispatchEvent(new Event(name, {bubbles: true})); })"
            f"(document.querySelector({json.dumps(selector)})); 0"
        )

    def clean(self) -> None:
        """Nothing was complained of, nothing ran, and nothing was asked of anybody else."""
        assert not COMPLAINTS & {method for method, _ in self.browser.events}, self.browser.events
        asked = {
            urlsplit(parameters["request"]["url"]).netloc
            for method, parameters in self.browser.events
            if "WillBeSent" in method and "request" in parameters and "url" in parameters["request"]
        } - {""}
        assert asked == {urlsplit(self.server.root).netloc}
        assert self.ask("window.hurt") is None
        assert self.ask(_NAMELESS) == []
