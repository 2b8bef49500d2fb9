"""Reads pages as tests do: what must hold for every page, hostile strings, and pages of recordings.

Knows HTML by the standard library's parser, not by the code that writes the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cpe_filter.replay.page import Page
from cpe_filter.replay.replay import Options, replay
from cpe_filter.replay.timeline import Timeline

#: Strings as a capture may hold them.
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": '"onload=alert(1) x="',
    "apostrophe": "' onmouseover='alert(1)",
    "closing": "</title></style></svg></td></table>--><img src=x onerror=alert(1)>",
    "entity": "&lt;b&gt;&#x3c;script>&amp;",
    "comment": "<!-- <![CDATA[ ]]> <?php",
    "control": "a\x00b\x07c\x1b[31md\x7fe\x9bf",
    "right-to-left": "moc.elpmaxe\u202egpj.exe\u2066\u200f",
    "hidden": "a\u200bb\ufeffc\u00add\u2028e\U000e0041f",
    "surrogate": "a\udcffb\ud800c",
    "address": "http://evil.example/ javascript:alert(1)",
    "long": "x" * 5000,
}
VOID = {"meta", "br", "hr", "img", "link", "input", "base", "rect", "line", "circle", "path"}
KNOWN = re.findall(
    r"\w+",
    "html head meta title style body a div header p h1 h2 h3 h4 nav ul li span bdi main section article dl dt dd table "
    "caption thead tbody tr th td figure figcaption details summary footer code abbr br svg desc rect line text path "
    "circle",
)


class Reader(HTMLParser):
    """Reads a page and asserts on the way what every page must be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.named: list[str] = []
        self.headings: list[int] = []
        self.policy = self.style = self.title = ""
        self.words: list[str] = []
        self.rows = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, tag
        given = dict(attrs)
        assert len(given) == len(attrs), "an attribute twice"
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("style", "src", "srcset", "action", "data", "xlink:href"), name
            if name == "href":
                assert value
                assert value.startswith("#")
                self.links.append(value[1:])
            if name == "id":
                assert value
                self.ids.append(value)
            if name in ("aria-labelledby", "aria-describedby"):
                self.named += (value or "").split()
        if tag == "meta" and given.get("http-equiv"):
            assert given["http-equiv"] == "Content-Security-Policy"
            assert "style" not in self.open, "the policy comes before what it is for"
            self.policy = given["content"] or ""
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        self.rows += tag == "tr"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> outside of SVG"
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)
        if self.open == ["html", "head", "title"]:
            self.title += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")


def read(text: str) -> Reader:
    """Everything that holds for any page."""
    found = Reader(text)
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    assert text.isprintable() or all(c.isprintable() or c == "\n" for c in text)
    text.encode()
    assert len(set(found.ids)) == len(found.ids)
    assert set(found.links) <= set(found.ids)
    assert set(found.named) <= set(found.ids)
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(found.headings))
    # No address of anything elsewhere, neither in the style sheet.
    assert "url(" not in found.style
    assert "@import" not in found.style
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert found.policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    for drawing in re.findall(r'<svg class="chart".*?</svg>.*?</svg>', text, re.DOTALL):
        ElementTree.fromstring(drawing)  # noqa: S314 - our own text
    return found


def judged(path: Path, **options: Any) -> tuple[dict[str, Any], Timeline]:
    timeline = Timeline()
    return replay(str(path), Options(sessions=True, **options), lambda _: None, timeline), timeline


def page_of(*results: tuple[dict[str, Any], Timeline]) -> str:
    page = Page()
    for result, timeline in results:
        page.add(result, timeline)
    return page.text()
