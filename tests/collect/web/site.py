"""The fleet page for tests: an ASGI client without sockets, and a reader that holds for every page.

Knows HTML by the standard library's parser, not by the code that writes the pages.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

from cpe_filter.collect.cases import instructions
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.users import User
from cpe_filter.collect.web.access import Access, AddressOf, ByPassword
from cpe_filter.collect.web.oidc import Oidc
from cpe_filter.collect.web.sessions import Sessions
from cpe_filter.collect.web.site import Terms, application

PASSWORD = "correct horse battery"
HOST = "fleet.example"
#: The cheapest that is taken: tests log in often.
_SALT = b"salt for a test."
_KEY = hashlib.scrypt(PASSWORD.encode(), salt=_SALT, n=1 << 14, r=8, p=1, maxmem=1 << 26, dklen=32)
HASH = f"scrypt$14$8$1${base64.b64encode(_SALT).decode()}${base64.b64encode(_KEY).decode()}"
USERS = (User("anna", "desk", HASH), User("guest", "viewer", HASH))

VOID = {"meta", "br", "input", "link"}
KNOWN = set(
    re.findall(
        r"\w+",
        "html head meta title link body a div header strong p h1 h2 h3 nav ul ol li span bdi main section dl dt dd "
        "table caption thead tbody tr th td figure figcaption details summary footer code br time "
        "svg desc rect line text path "
        "form label input select option textarea button fieldset legend strong",
    )
)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def cookie(self) -> str:
        """As it would be sent back."""
        return self.headers.get("set-cookie", "").partition(";")[0]


class Reader(HTMLParser):
    """Reads a page and asserts on the way what every page must be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.actions: list[str] = []
        self.named: list[str] = []
        self.labels: list[str] = []
        self.fields: list[str] = []
        self.headings: list[int] = []
        self.hidden: dict[str, str] = {}
        self.words: list[str] = []
        self.title = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, tag
        given = dict(attrs)
        assert len(given) == len(attrs), "an attribute twice"
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("style", "src", "srcset", "data", "xlink:href", "http-equiv"), name
            if name == "href":
                assert value
                assert re.match(r"#|/(?![/\\])", value), value
                self.links.append(value)
            if name in ("action", "formaction"):
                assert re.match(r"/(?![/\\])", value or "")
                self.actions.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name in ("aria-labelledby", "aria-describedby"):
                self.named += (value or "").split()
            if name == "for":
                self.labels.append(value or "")
        if tag in ("input", "select", "textarea"):
            if given.get("type") == "hidden":
                self.hidden[given["name"] or ""] = given["value"] or ""
            else:
                self.fields.append(given.get("id") or "")
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> outside of SVG"
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open == ["html", "head", "title"]:
            self.title += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")

    @property
    def text(self) -> str:
        """All words, with single spaces between."""
        return " ".join(" ".join(self.words).split())


def read(text: str) -> Reader:
    """Everything that holds for any page."""
    found = Reader(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(set(found.ids)) == len(found.ids)
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert set(found.named) <= set(found.ids)
    # Each field has its label, and each label its field.
    assert sorted(found.labels) == sorted(found.fields)
    assert set(found.labels) <= set(found.ids)
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(found.headings))
    assert found.title.endswith("cpe-filter fleet")
    return found


class Page:
    """The page on a store. `anna` is desk, `guest` a viewer; both have `PASSWORD`."""

    def __init__(
        self,
        store: Store,
        access: Access | None = None,
        secure: bool = True,
        url: str = "",
        asked: AddressOf | None = None,
        mail: Desk | None = None,
        zone: str = "UTC",
        people: tuple[str, ...] = (),
        oidc: Oidc | None = None,
        instruct: instructions.Desk | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.store, self.oidc = store, oidc
        self._ticks = itertools.count(int(time.time()))
        self.access = access or ByPassword(USERS, Sessions(3600, 600), b"x-remote-user")
        terms = Terms(secure, url, address_of=asked or AddressOf(), zone=zone, people=people)
        self.app: Callable[..., Any] = application(
            store, self.access, terms, self.metrics, self._now, mail, oidc, instruct
        )
        self.scheme = "https" if secure else "http"

    def _now(self) -> float:
        """A second later at each request: what is done in one second has no order."""
        return next(self._ticks)

    async def ask(
        self,
        path: str,
        method: str = "GET",
        cookie: str = "",
        body: bytes = b"",
        peer: str | None = "192.0.2.9",
        **headers: str,
    ) -> Answer:
        """One request. headers: names with _ for -."""
        plain, _, query = path.partition("?")
        named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if cookie:
            named["cookie"] = cookie
        scope = {
            "type": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "method": method, "path": unquote(plain),
            "raw_path": plain.encode(), "query_string": query.encode(), "root_path": "", "scheme": self.scheme,
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "client": (peer, 1) if peer else None, "server": (HOST, 443),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not waiting:  # an answer in pieces waits for the end of the connection meanwhile
                await asyncio.Event().wait()
            return waiting.pop()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start = sent[0]
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        return Answer(start["status"], found, text)

    async def post(self, path: str, form: dict[str, str], cookie: str = "", **headers: str) -> Answer:
        """As a browser sends a form of this site."""
        sent = {"content_type": "application/x-www-form-urlencoded", "origin": f"{self.scheme}://{HOST}", **headers}
        return await self.ask(path, "POST", cookie, urlencode(form).encode(), **sent)

    async def log_in(self, name: str = "anna", password: str = PASSWORD, **headers: str) -> str:
        """The session's cookie."""
        answer = await self.post("/login", {"name": name, "password": password}, **headers)
        assert answer.status == 303, answer.text
        return answer.cookie

    async def token(self, cookie: str) -> str:
        return read((await self.ask("/", cookie=cookie)).text).hidden["token"]
