"""The notice's server on loopback, next to a filter that answers as the test says: hostile requests, late answers."""

from __future__ import annotations

import json
import random
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.explain.responder import Responder
from cpe_filter.explain.web import ANSWER_S, TOTAL_S, Web
from cpe_filter.lean.clocks import Mono
from tests.policies import make_policy
from tests.ports import free_port


class Site:
    """The server, whose loop and clock the test has."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        policy = make_policy(notice_show_port=self.port, status_status_file=str(folder / "status.json"))
        self.poll = select.poll()
        self.web = Web(policy, self.poll, lambda line: None, lambda: False)
        self.web.bind()
        self.web.listen()
        self.now = time.monotonic()
        self.filter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.filter.connect(str(folder / "notice"))
        self.filter.setblocking(False)
        self.turn()

    @property
    def host(self) -> bytes:
        return b"127.0.0.1:%d" % self.port

    def turn(self) -> None:
        """What is to be done now."""
        while ready := self.poll.poll(20):
            for fd, event in ready:
                if fd in self.web:
                    self.web.serve(fd, event, Mono(self.now))

    def send(self, data: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), 5)
        client.sendall(data)
        self.turn()
        return client

    def get(self) -> socket.socket:
        return self.send(b"GET / HTTP/1.1\r\nHost: " + self.host + b"\r\n\r\n")

    def post(self, form: bytes, *more: bytes) -> socket.socket:
        head = b"\r\n".join((b"POST / HTTP/1.1", b"Host: " + self.host, b"Content-Length: %d" % len(form), *more))
        return self.send(head + b"\r\n\r\n" + form)

    def asked(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.filter.recv(4096))
        return found

    def says(self, answer: dict[str, Any]) -> None:
        self.filter.send(json.dumps(answer).encode())
        self.turn()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.web.close()
    site.filter.close()


def code(client: socket.socket) -> int:
    """0: reset."""
    try:
        return int(client.recv(65536).split(b" ")[1])
    except ConnectionResetError:
        return 0


@pytest.mark.parametrize("token", [b"\xff" * 32, "ü".encode() * 16, b"\0" * 32, b"%FF", b"=" * 32, b""])
def test_a_token_of_any_bytes_is_refused(site: Site, token: bytes) -> None:
    assert code(site.post(b"token=" + token + b"&answer=seen")) == 403


def test_a_late_answer_of_the_filter_finds_nobody(site: Site) -> None:
    client = site.get()
    number = site.asked()["id"]
    site.now += ANSWER_S + 1
    site.web.tick(Mono(site.now))
    assert code(client) == 503
    site.says({"id": number, "to": "none", "devices": []})
    assert not site.web._waiting
    later = site.get()
    site.says({"id": site.asked()["id"], "to": "none", "devices": []})
    assert code(later) == 200


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": "1"}, {"id": 99, "to": 7}])
def test_an_answer_to_nothing_changes_nothing(site: Site, answer: dict[str, Any]) -> None:
    client = site.get()
    number = site.asked()["id"]
    site.says(answer)
    site.says({"id": number, "to": "none", "devices": []})
    assert code(client) == 200


def test_whatever_a_client_sends_the_server_goes_on(site: Site) -> None:
    """Requests with bytes changed, cut off, repeated: each gets an answer or an end, and none ends the server."""
    chance = random.Random(16)
    whole = (
        b"POST / HTTP/1.1\r\nHost: " + site.host + b"\r\nOrigin: http://" + site.host + b"\r\nContent-Length: 55\r\n"
        b"Sec-Fetch-Site: same-origin\r\n\r\ntoken=0123456789abcdef0123456789abcdef&answer=seen&l=de"
    )
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = bytes(chance.choices((0, 10, 13, 32, 58, 61, 95, 128, 255), k=2))
        client = site.send(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
        client.close()
        site.turn()
        site.now += 2
        site.web.tick(Mono(site.now))
    site.now += TOTAL_S + 1
    site.web.tick(Mono(site.now))
    assert not site.web._connections
    assert not site.web._waiting
    client = site.get()
    while (asked := site.asked())["do"] != "page":
        pass
    site.says({"id": asked["id"], "to": "none", "devices": []})
    assert code(client) == 200


@pytest.mark.parametrize(
    ("path", "header", "language"),
    [
        (b"/", b"Accept-Language: de-CH, en;q=0.5\r\n", "de"),
        (b"/?l=nl", b"Accept-Language: de\r\n", "nl"),
        (b"/?l=xx", b"Accept-Language: tr\r\n", "tr"),
        (b"/", b"Accept-Language: fr\r\n", "en"),
        (b"/", b"", "en"),
    ],
)
def test_the_page_is_in_the_browser_s_language(site: Site, path: bytes, header: bytes, language: str) -> None:
    client = site.send(b"GET " + path + b" HTTP/1.1\r\nHost: " + site.host + b"\r\n" + header + b"\r\n")
    site.says({"id": site.asked()["id"], "to": "none", "devices": []})
    assert f'<html lang="{language}">'.encode() in client.recv(65536)


def test_a_server_that_cannot_listen_tells_the_filter(tmp_path: Path) -> None:
    """Else the filter would lead devices to a port at which nobody answers, and hold them there."""
    port = free_port()
    policy = make_policy(
        notice_show_port=port,
        explain_port=free_port(),
        status_status_file=str(tmp_path / "status.json"),
    )
    log: list[str] = []
    responder = Responder(policy, log.append)
    try:
        responder.bind()
        with socket.socket() as other:  # both may bind, and one may listen
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("0.0.0.0", port))
            other.listen()
            responder.listen()
        assert any("notice not served" in line for line in log)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as filter_, pytest.raises(ConnectionRefusedError):
            filter_.connect(str(tmp_path / "notice"))
    finally:
        responder.close()
