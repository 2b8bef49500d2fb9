"""The desk sends a notice by e-mail: in a real browser, with a real outbox, wide and on a phone."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from cpe_filter.collect.mail import message
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.mail.relay import Result
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.collect.web.access import ByPassword
from cpe_filter.collect.web.sessions import Sessions
from cpe_filter.collect.web.site import Terms, application
from tests.collect.mail.post import TERMS, Post, subscriber
from tests.collect.web.site import PASSWORD, USERS
from tests.lab.net import DEADLINE_S
from tests.replay.test_browser import OVERFLOW
from tests.texts.browser import Browser

pytestmark = pytest.mark.usefixtures("chromium")


@dataclasses.dataclass
class Running:
    """A page with one case, in a thread; `call` runs there."""

    url: str
    post: Post
    loop: asyncio.AbstractEventLoop

    def step(self) -> int:
        self.post.now += 120
        return asyncio.run_coroutine_threadsafe(self.post.step(), self.loop).result(DEADLINE_S)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Running]:
    listener = socket.create_server(("127.0.0.1", 0))
    ready = threading.Event()
    made: list[Running] = []
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        store = SQLite(str(tmp_path / "collector.db"))
        await store.open()
        post = Post(store, subscriber(), automatic=False)
        await post.report("raised", 60, name="tv-box")
        post.now += 61
        desk = Desk(store, post.map, TERMS.notice, TERMS)
        access = ByPassword(USERS, Sessions(3600, 600), b"x-remote-user")
        app = application(store, access, Terms(secure=False), Metrics(), lambda: post.now, desk)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        servers.append(server)
        made.append(Running(f"http://127.0.0.1:{listener.getsockname()[1]}/", post, asyncio.get_running_loop()))
        ready.set()
        await server.serve([listener])
        await store.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(DEADLINE_S)
    yield made[0]
    servers[0].should_exit = True
    thread.join(DEADLINE_S)


def press(browser: Browser, selector: str) -> None:
    browser.events.clear()
    assert browser.ask(f"(e => {{ if (e) e.click(); return Boolean(e); }})(document.querySelector({selector!r}))")
    browser.loaded()


def text(browser: Browser, selector: str = "main") -> str:
    return str(browser.ask(f"document.querySelector({selector!r}).innerText"))


def log_in(browser: Browser, url: str, name: str) -> None:
    browser.visit(url)
    for field, value in (("name", name), ("password", PASSWORD)):
        browser.ask(f"document.querySelector('#{field}').value = {value!r}; 0")
    press(browser, "button")
    browser.visit(f"{url}cases?state=all")
    press(browser, "tbody a")


@pytest.mark.parametrize("width", [390, 1440])
def test_the_desk_sends_a_notice(page: Running, width: int) -> None:
    with Browser() as browser:
        browser.size(width, 900)
        log_in(browser, page.url, "anna")
        case = browser.ask("location.pathname")
        assert "None sent yet." in text(browser)
        browser.ask("document.querySelector('details.data:has(.letter)').open = true; 0")
        assert browser.ask("[...document.querySelectorAll('.letter > div')].map(e => e.lang)") == ["tr", "de", "tr"]
        letter = text(browser, ".letter")
        assert browser.ask(OVERFLOW) == 0
        press(browser, f"a[href='{case}/mail']")
        assert text(browser, "h1") == "Send the notice by e-mail?"
        assert "s…@friends.example" in text(browser)
        assert "s1@friends.example" not in browser.ask("document.documentElement.outerHTML")
        assert text(browser, ".letter") == letter
        assert browser.ask(OVERFLOW) == 0
        assert page.step() == 0  # nothing is sent by looking
        press(browser, "form[action$='/mail'] button")
        assert browser.ask("location.pathname + location.search") == f"{case}?done=mail"
        assert "The notice is queued." in text(browser, ".message")
        assert "A notice is waiting to be sent." in text(browser)
        assert page.step() == 1
        browser.visit(page.url + case[1:])
        shown = text(browser)
        assert "accepted by the relay (Deutsch, Türkçe), by anna" in shown
        assert "Subscriber notified, by mail" in shown
        # What the desk read is what was sent.
        body = page.post.sent[0].content.partition(b"\r\n\r\n")[2]
        assert b"tv-box" in body
        assert "tv-box" in letter
        page.post.results = [Result("refused", "5.1.1", "the relay refused the recipient: reply 550")]
        press(browser, f"a[href='{case}/mail']")
        press(browser, "form[action$='/mail'] button")
        assert page.step() == 1
        browser.visit(page.url + case[1:])
        assert "failed: the relay refused the recipient: reply 550 (5.1.1), by anna" in text(browser)
        assert browser.ask(OVERFLOW) == 0
        assert len(page.post.sent) == 2


def test_a_viewer_reads_and_cannot_send(page: Running) -> None:
    with Browser() as browser:
        log_in(browser, page.url, "guest")
        assert "Notice by e-mail" in text(browser)
        assert browser.ask("document.querySelectorAll('a[href$=\"/mail\"]').length") == 0
        browser.visit(page.url + browser.ask("location.pathname")[1:] + "/mail")
        assert "Viewers can only read" in text(browser)


def test_what_is_shown_is_what_the_message_has() -> None:
    """The pieces on the page, put together, are the text of the message as a mail program shows it."""
    from tests.collect.mail.test_message import FACTS, TEXTS

    texts = message.notices(FACTS, ("de", "tr"), TEXTS)
    pieces = "".join(piece for _, piece in message.parts(texts)).rstrip("\n") + "\n"
    assert message.unflowed(pieces) == message.unflowed(message.body(texts))
    assert hashlib.sha256(pieces.encode()).digest() == hashlib.sha256(message.body(texts).encode()).digest()
