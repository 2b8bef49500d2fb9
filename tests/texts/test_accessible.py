"""The checks of pages find what is wrong on a page that is wrong, and nothing on one that is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.texts.accessible import CLIPPED, problems
from tests.texts.browser import Browser

_HEAD = (
    '<!DOCTYPE html><html lang="en"><head><title>T</title><meta name="viewport" content="width=device-width"></head>'
)
_GOOD = f"{_HEAD}<body><main><h1>T</h1><p>Text</p></main></body></html>"
_BAD = (
    f'{_HEAD}<body><main><h1>T</h1><p style="color: #999; background: #fff">pale</p><input name="a">'
    '<div class="scroll" tabindex="0" style="width: 90px; overflow: auto"><table><tr><td style="min-width: 300px">wide'
    "</td></tr></table></div></main></body></html>"
)


@pytest.mark.usefixtures("chromium")
def test_good_and_bad(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with Browser() as browser:
        browser.size(390, 800)
        path.write_text(_GOOD)
        browser.open(path)
        assert problems(browser) == []
        assert browser.ask(CLIPPED) == []
        path.write_text(_BAD)
        browser.open(path)
        assert {line.partition(":")[0] for line in problems(browser)} == {"color-contrast", "label"}
        assert problems(browser, "color-contrast", "label") == []
        assert [line.partition(":")[0] for line in browser.ask(CLIPPED)] == ["scroll"]
