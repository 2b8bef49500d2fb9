"""WCAG 2.1 A and AA in the browser, by axe-core; and what a screen shows only in part.

Knows axe's rules and JavaScript. Must not know any page.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.util import find_spec

import pytest

from tests.conftest import LIVE_REQUIRED
from tests.texts.browser import Browser

_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
#: Boxes that scroll sideways, and texts that reach out of their box or are cut by it.
CLIPPED = r"""
(() => {
  const seen = e => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length
    && !(e.closest("thead, caption") && getComputedStyle(e.closest("thead, caption")).position === "absolute");
  const found = [];
  for (const e of document.querySelectorAll(".scroll, .table-wrap, main table, .cbi-map table, .table"))
    if (seen(e) && e.scrollWidth > e.clientWidth + 1) found.push(
      (e.getAttribute("aria-label") || e.className || e.tagName) + ": " + e.scrollWidth + " of " + e.clientWidth);
  for (const e of document.querySelectorAll("td, th, dd, dt, li, p, h1, h2, h3, label, button, a, .code")) {
    if (!seen(e) || !e.textContent.trim()) continue;
    const box = e.getBoundingClientRect();
    if (box.right > document.documentElement.clientWidth + 1 && box.left >= 0 && !e.closest("pre"))
      found.push(e.tagName + " " + e.className + " " + e.textContent.trim().slice(0, 40));
  }
  return [...new Set(found)];
})()
"""


@cache
def _axe() -> str:
    if (
        find_spec("axe_core_python") is None and not LIVE_REQUIRED
    ):  # the tests on other Pythons have no browser packages
        pytest.skip("axe-core-python is not installed")
    return (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


def problems(browser: Browser, *left_out: str) -> list[str]:
    """What of the page breaks a rule: the rule, where, and why. left_out: rules by axe's names."""
    if not browser.ask("typeof axe === 'object'"):
        browser.ask(f"{_axe()}; 0")
    rules = {name: {"enabled": False} for name in left_out}
    found: list[str] = browser.ask(
        f"axe.run(document, {{runOnly: {{type: 'tag', values: {_TAGS}}}, rules: {rules}}})"
        ".then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ': ' + n.target.join(' ') + ': ' + n.any"
        ".concat(n.all, n.none).map(c => c.message).join('; '))))".replace("False", "false")
    )
    return found
