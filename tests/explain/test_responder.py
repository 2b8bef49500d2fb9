"""The explaining responder: what it says, that it never takes mail, and that nobody can make it hold much.

Dialogues are played to a real socket on loopback.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cpe_filter.explain import command, responder, shares
from cpe_filter.explain.dialogue import MAX_BYTES, MAX_COMMANDS, MAX_LINE_BYTES, MAX_MISTAKES
from cpe_filter.explain.ports import ExplainError
from cpe_filter.explain.responder import Responder
from cpe_filter.policy.model import Policy
from cpe_filter.privileges import User
from tests.lab.net import DEADLINE_S
from tests.policies import changed_policy, make_policy
from tests.ports import free_port

TEXT, URL = "Example Net stopped this: this line may not send mail itself.", "https://help.example/port25"
POLICY = make_policy(explain_text=TEXT, explain_url=URL, explain_max_connections=16, tests=False)
EXPLANATION = f"554 5.7.1 {TEXT} {URL}"
#: More than any client's and the kernel's buffers: 72 KB of replies.
WORDY = changed_policy(POLICY, explain_text="x" * 400, explain_url="https://h/" + "y" * 190)


class Client:
    """A client that shows what it is told."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str | None = None, receive_bytes: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(5)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((host, port))
        self._held = b""

    def reply(self) -> str:
        """The next reply, its lines joined by newlines; "" when the server has hung up."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            while b"\r\n" not in self._held:
                try:
                    data = self.socket.recv(4096)
                except ConnectionResetError:
                    data = b""
                if not data:
                    assert not self._held, "hung up within a line"
                    return ""
                self._held += data
            line, _, self._held = self._held.partition(b"\r\n")
            assert len(line) + 2 <= MAX_LINE_BYTES
            lines.append(line.decode("ascii"))
        return "\n".join(lines)

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, line: str) -> str:
        self.say(line.encode() + b"\r\n")
        return self.reply()

    def close(self) -> None:
        self.socket.close()


class Running:
    """A responder in a thread. `lines`: its log."""

    def __init__(self, policy: Policy, idle_s: float, total_s: float, *waits: float) -> None:
        self.lines: list[str] = []
        while True:
            self.port = free_port()
            self.responder = Responder(
                changed_policy(policy, explain_port=self.port), self.lines.append, idle_s, total_s, *waits
            )
            try:
                self.responder.bind()
                self.responder.listen()
                break
            except ExplainError:  # somebody took the port
                self.responder.close()
        self.thread = threading.Thread(target=self.responder.loop)
        self.thread.start()
        self._clients: list[Client] = []

    def client(self, host: str = "127.0.0.1", source: str | None = None, receive_bytes: int = 0) -> Client:
        client = Client(self.port, host, source, receive_bytes)
        self._clients.append(client)
        return client

    def open_connections(self) -> int:
        return len(self.responder._connections)

    def close(self) -> None:
        self.responder.stop()
        self.thread.join(5)
        alive = self.thread.is_alive()
        for client in self._clients:
            client.close()
        self.responder.close()
        assert not alive
        assert not self.responder._shares._held


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Running] = []

    def begin(policy: Policy = POLICY, idle_s: float = 30, total_s: float = 120, *waits: float) -> Running:
        running.append(Running(policy, idle_s, total_s, *waits))
        return running[-1]

    yield begin
    for one in running:
        one.close()


# ── the dialogue ────────────────────────────────────────────────────────────────────────────────────

#: C: what the client says, S: the answer, up to where it matters; "(gone)": the connection ends.
DIALOGUES = {
    "a message": f"""
        C: EHLO laptop.home.example
        S: 250-gateway.invalid|250-8BITMIME|250-SMTPUTF8|250 ENHANCEDSTATUSCODES
        C: MAIL FROM:<ann@home.example> BODY=8BITMIME SMTPUTF8
        S: 250 2.1.0
        C: RCPT TO:<ben@friends.example>
        S: {EXPLANATION}
        C: RCPT TO:<cid@friends.example>
        S: {EXPLANATION}
        C: DATA
        S: 554 5.5.1
        C: RSET
        S: 250 2.0.0
        C: QUIT
        S: 221 2.0.0
        S: (gone)""",
    "old and plain": f"""
        C: helo x
        S: 250 gateway.invalid
        C: mail from: <>
        S: 250 2.1.0
        C: rcpt to: <a@b>
        S: {EXPLANATION}
        C: quit
        S: 221""",
    "recipients in any order and form": f"""
        C: RCPT TO:<a@b>
        S: {EXPLANATION}
        C: RCPT
        S: {EXPLANATION}
        C: rcpt\tto:<a@b>
        S: {EXPLANATION}
        C: HELO
        S: 250 gateway
        C: RCPT TO:<ü@b>
        S: {EXPLANATION}""",
    "out of order": """
        C: DATA
        S: 503 5.5.1
        C: MAIL FROM:<a@b>
        S: 250 2.1.0
        C: MAIL FROM:<a@b>
        S: 503 5.5.1
        C: EHLO again
        S: 250-gateway
        C: DATA
        S: 503 5.5.1
        C: MAIL TO:<a@b>
        S: 501 5.5.4
        C: MAIL
        S: 501 5.5.4""",
    "what there is not": f"""
        C: VRFY ann
        S: 502 5.5.1
        C: EXPN all
        S: 502 5.5.1
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 502 5.5.1
        C: STARTTLS
        S: 502 5.5.1
        C: XCLIENT NAME=x
        S: 500 5.5.2
        C:
        S: 500 5.5.2
        C: HELP
        S: 214 2.0.0 {TEXT} {URL}
        C: NOOP and more
        S: 250 2.0.0""",
    "a chunk": """
        C: MAIL FROM:<a@b>
        S: 250 2.1.0
        C: BDAT 11 LAST|RCPT TO:<x>NOOP
        S: 503 5.5.1
        S: 250 2.0.0
        C: BDAT
        S: 501 5.5.4
        C: BDAT -5
        S: 501 5.5.4
        C: BDAT 5x
        S: 501 5.5.4
        C: BDAT 0 LAST
        S: 503 5.5.1
        C: NOOP
        S: 250 2.0.0""",
    "a chunk too large": f"""
        C: BDAT 99999999999999999999
        S: 503 5.5.1
        C: {"x" * MAX_BYTES}
        S: 421 4.7.0
        S: (gone)""",
    "line lengths": f"""
        C: NOOP {"x" * (MAX_LINE_BYTES - 5)}
        S: 250 2.0.0
        C: NOOP {"x" * (MAX_LINE_BYTES - 4)}
        S: 500 5.5.2 line too long
        C: RCPT TO:<{"x" * 5000}>
        S: 500 5.5.2 line too long
        C: NOOP
        S: 250 2.0.0""",
    "content sent blindly": f"""
        C: MAIL FROM:<a@b>|RCPT TO:<c@d>|DATA|Subject: x||{"hello|" * 9}.
        S: 250 2.1.0
        S: {EXPLANATION}
        S: 554 5.5.1
        {"S: 500 5.5.2|" * MAX_MISTAKES}S: 421 4.7.0
        S: (gone)""",
    "endless politeness": f"""
        C: {"NOOP|" * MAX_COMMANDS}NOOP
        {"S: 250 2.0.0|" * MAX_COMMANDS}S: 421 4.7.0
        S: (gone)""",
    "a browser": """
        C: GET / HTTP/1.1|Host: x
        S: (gone)""",
    "a proxy's client": """
        C: CONNECT mail.example:25 HTTP/1.0
        S: (gone)""",
    "TLS at once": """
        C: \x16\x03\x01\x02\x00\x01
        S: (gone)""",
}


@pytest.mark.parametrize("pace", ["lines", "bytes"])
@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogues(name: str, pace: str, start: Start) -> None:
    client = start().client()
    assert client.reply() == "220 gateway.invalid ESMTP"
    steps = re.sub(r"\|(?=S: )", "\n", DIALOGUES[name]).strip().split("\n")
    for step in steps:
        who, _, text = step.strip(" ").partition(":")
        if who == "C":
            data = text[1:].replace("|", "\r\n").encode() + b"\r\n"
            try:
                for piece in [data] if pace == "lines" else [data[n : n + 1] for n in range(len(data))]:
                    client.say(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            continue
        wanted = text[1:].replace("|", "\n")
        said = client.reply()
        if wanted == "(gone)":
            assert said == ""
        elif said or not wanted.startswith("421"):  # a reset for bytes it did not read may overtake the 421
            assert said.startswith(wanted), step
    client.close()


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_line_ends(end: bytes, start: Start) -> None:
    client = start().client()
    client.say(end.join([b"HELO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"QUIT", b""]))
    assert [client.reply()[:3] for _ in range(6)] == ["220", "250", "250", "554", "221", ""]


def test_ipv6(start: Start) -> None:
    try:
        client = start().client("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    client.reply()
    assert client.ask("RCPT TO:<a@b>") == EXPLANATION


def test_garbage_at_a_real_socket(start: Start) -> None:
    running = start()
    for number in range(60):
        client = running.client()
        garbage = os.urandom(40) if number % 2 else bytes([number]) * 20000
        try:
            client.say(garbage + b"\r\n")
            client.socket.shutdown(socket.SHUT_WR)
        except OSError:  # it has been cut off
            pass
        while client.reply():
            pass
        client.close()
    assert running.client().reply().startswith("220 ")


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────

ASKING = changed_policy(POLICY, tests=True)
#: Seconds: idle, total, a pause, and before a second attempt counts.
WAITS = (30, 120, 0.5, 0.3)


def test_all_questions_end_in_the_explanation(start: Start) -> None:
    running = start(ASKING, *WAITS)
    client = running.client()
    assert client.reply() == "220-gateway.invalid ESMTP\n220 gateway.invalid ESMTP"
    extensions = client.ask("EHLO laptop.home.example").split("\n")
    assert extensions[1:3] == ["250-STARTTLS", "250-limits RCPTMAX=100 MAILMAX=550"]
    assert client.ask("STARTTLS") == f"454 4.7.0 {TEXT} {URL}"
    assert client.ask("MAIL FROM:<ann@home.example>").startswith("250-2.1.0 ")
    assert client.ask("RCPT TO:<ben@friends.example>") == f"450 4.7.1 {TEXT} {URL}"
    time.sleep(0.5)
    client = running.client()  # while the first is open, so without pauses
    client.reply()
    client.ask("EHLO laptop.home.example")
    client.ask("MAIL FROM:<ann@home.example>")
    assert client.ask("RCPT TO:<ben@friends.example>") == f"554 5.7.0 {TEXT} {URL}"
    assert client.ask("RCPT TO:<ben@friends.example>") == EXPLANATION


def test_a_program_that_gives_up_where_starttls_is_refused_gets_on_without(start: Start) -> None:
    running = start(changed_policy(ASKING, test_patience=False), *WAITS)
    for refused in (True, False):
        client = running.client()
        client.reply()
        client.say(b"NOOP\r\nEHLO laptop.home.example\r\n")
        client.reply()
        assert ("STARTTLS" in client.reply()) is refused
        assert client.ask("STARTTLS")[:3] == ("454" if refused else "502")
        client.close()
        deadline = time.monotonic() + DEADLINE_S
        while running.open_connections() and time.monotonic() < deadline:
            time.sleep(0.01)


def test_the_pause_is_real_and_ends_when_the_client_speaks(start: Start) -> None:
    running = start(ASKING, 30, 120, 60.0, 0.3)
    client = running.client()
    client.socket.settimeout(1.5)
    assert client.socket.recv(100) == b"220-gateway.invalid ESMTP\r\n"
    with pytest.raises(TimeoutError):
        client.socket.recv(100)
    client.socket.settimeout(5)
    client.say(b"HELO x\r\n")
    assert client.reply() == "220 gateway.invalid ESMTP"
    assert client.reply() == "250 gateway.invalid"
    assert client.ask("QUIT")[:3] == "221"


def test_only_one_connection_of_a_client_waits(start: Start) -> None:
    running = start(ASKING, 30, 120, 60.0, 0.3)
    waiting = running.client()
    assert waiting.socket.recv(4) == b"220-"
    second = running.client()
    assert second.reply() == "220 gateway.invalid ESMTP"
    assert second.ask("EHLO x").count("\n") == 5
    other = running.client(source="127.0.0.2")
    assert other.socket.recv(4) == b"220-"


def test_who_waits_holds_no_more_than_others(start: Start) -> None:
    """Half of the connections may wait, so that a burst is still explained; and each ends in its time."""
    running = start(ASKING, 1.0, 2.0, 60.0, 0.3)
    clients = [running.client(source=f"127.0.0.{n + 2}") for n in range(16)]
    begins = [client.socket.recv(4) for client in clients]
    assert begins == [b"220-"] * 8 + [b"220 "] * 8
    deadline = time.monotonic() + DEADLINE_S
    while running.open_connections() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running.open_connections() == 0


def test_stopping_within_a_pause(start: Start) -> None:
    running = start(ASKING, 30, 120, 60.0, 0.3)
    client = running.client()
    assert client.socket.recv(4) == b"220-"
    running.responder.stop()
    assert b"421 4.3.2" in client.socket.recv(200) + client.socket.recv(200)


# ── bounds of the sockets ───────────────────────────────────────────────────────────────────────────


def test_one_client_cannot_take_all(start: Start) -> None:
    running = start()
    mine = [running.client() for _ in range(2)]  # an eighth of 16
    assert [client.reply()[:3] for client in mine] == ["220", "220"]
    more = running.client()
    assert more.reply() == "421 4.7.0 gateway.invalid has too many connections"
    assert more.reply() == ""
    assert running.client(source="127.0.0.2").reply().startswith("220 "), "another client is served"
    assert mine[0].ask("QUIT")[:3] == "221"
    mine[0].reply()
    assert running.client().reply().startswith("220 "), "a place was given back"


def test_connections_are_bounded(start: Start) -> None:
    running = start()
    clients = [running.client(source=f"127.0.0.{2 + n // 2}") for n in range(40)]
    assert [client.reply()[:3] for client in clients] == ["220"] * 16 + ["421"] * 24
    assert running.open_connections() == 16
    for client in clients:
        client.close()
    deadline = time.monotonic() + DEADLINE_S
    while running.open_connections() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running.client().reply().startswith("220 ")


def test_a_host_counts_as_its_address_and_its_network() -> None:
    address, link_local = (socket.inet_pton(socket.AF_INET6, text) for text in ("2001:db8:1::7", "fe80::1"))
    assert shares.groups_of(socket.AF_INET6, "2001:db8:1::7") == (address, address[:8])
    assert shares.groups_of(socket.AF_INET6, "fe80::1%br-lan") == (link_local, link_local[:8])
    assert shares.groups_of(socket.AF_INET, "192.168.1.7") == (bytes([192, 168, 1, 7]),)


def test_silence_ends(start: Start) -> None:
    client = start(idle_s=0.3).client()
    assert client.reply()[:3] == "220"
    assert client.reply() == "421 4.4.2 gateway.invalid waited too long"
    assert client.reply() == ""


def test_slowness_ends(start: Start) -> None:
    running = start(idle_s=1, total_s=1.5)
    client = running.client()
    client.reply()
    began = time.monotonic()
    client.socket.settimeout(0.05)
    said = b""
    while time.monotonic() - began < DEADLINE_S and not said:
        client.say(b"x")
        try:
            said = client.socket.recv(100)
        except TimeoutError:
            pass
    assert said.startswith(b"421 4.4.2")
    assert time.monotonic() - began >= 1.5


def test_who_does_not_read_holds_one_reply_and_not_for_long(start: Start) -> None:
    running = start(WORDY, idle_s=1.5)
    client = running.client(receive_bytes=2048)
    client.say(b"HELP\r\n" * MAX_COMMANDS)
    time.sleep(0.5)
    (connection,) = running.responder._connections.values()
    assert 0 < len(connection.out) <= 700
    assert len(connection.dialogue._buffer) <= 1024 + MAX_LINE_BYTES
    other = running.client()
    other.reply()
    assert other.ask("NOOP") == "250 2.0.0 ok", "others are answered meanwhile"
    deadline = time.monotonic() + DEADLINE_S
    while running.open_connections() > 1 and time.monotonic() < deadline:
        assert other.ask("RSET")
        time.sleep(0.2)
    assert running.open_connections() == 1


def test_a_slow_reader_gets_every_reply(start: Start) -> None:
    client = start(WORDY).client(receive_bytes=2048)
    client.say(b"HELP\r\n" * 60 + b"QUIT\r\n")
    replies = [client.reply() for _ in range(62)]
    assert [reply[:3] for reply in replies] == ["220"] + ["214"] * 60 + ["221"]


def test_stopping_says_so(start: Start) -> None:
    running = start()
    clients = [running.client(source=f"127.0.0.{n}") for n in (2, 3, 4)]
    for client in clients:
        client.reply()
    clients[0].say(b"MAIL FR")
    running.responder.stop()
    assert {client.reply() for client in clients} == {"421 4.3.2 gateway.invalid shuts down"}
    assert {client.reply() for client in clients} == {""}


def test_the_log_has_counts_only(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "LOG_EVERY_S", 1.2)
    running = start()
    for _ in range(3):
        client = running.client()
        client.reply()
        client.ask("HELO secret.home.example")
        client.ask("MAIL FROM:<secret@home.example>")
        client.ask("RCPT TO:<secret@friends.example>")
        client.ask("QUIT")
        client.reply()
    deadline = time.monotonic() + DEADLINE_S
    while not running.lines and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running.lines == [
        "explain: 3 connections, 3 recipients refused, 0 over the limit of connections, 0 timed out",
    ]


def test_an_error_inside_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(self: Responder) -> None:
        raise ZeroDivisionError("an error\nof two lines")

    monkeypatch.setattr(Responder, "loop", fail)
    monkeypatch.setattr(command, "act_as", lambda user, key: User(0, 0))
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert command.run(changed_policy(POLICY, explain_port=free_port())) == 70
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)
    assert "internal error, stopping: ZeroDivisionError" in capfd.readouterr().err
