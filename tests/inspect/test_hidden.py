"""Every recipient is counted, even if content is left out, whatever a client pipelines behind it.

A client that hides what it can, a server that follows the rules, a kernel that shows only what is requested, and bytes
that travel in any segments. The count may be too high, never too low.
"""

from __future__ import annotations

import random

import pytest

from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import ACK, PSH, SYN, Segment
from cpe_filter.inspect.session import Session
from cpe_filter.inspect.states import OPAQUE
from tests.inspect.transcript import wanted

_CLIENT_TO_SERVER = (b"\xc0\x00\x02\x0a", b"\xc6\x33\x64\x19", 40025, 25)
_SERVER_TO_CLIENT = (b"\xc6\x33\x64\x19", b"\xc0\x00\x02\x0a", 25, 40025)


class Server:
    """A mail server: bytes in, replies out. `recipients`: RCPT commands that it answered.

    chunks: whether it offers BDAT, has it without offering it (Postfix after HELO), or does not have it, so that a
    chunk is commands for it (OpenSMTPD).
    """

    def __init__(self, rng: random.Random, chunks: str) -> None:
        self.rng = rng
        self.chunks = chunks
        self.recipients = 0
        self._buffer = b""
        self._state = "ready"
        self._chunk = 0

    @property
    def wants_content(self) -> bool:
        return self._state == "content"

    def take(self, data: bytes) -> list[bytes]:
        self._buffer += data
        out: list[bytes] = []
        while True:
            if self._chunk:
                if len(self._buffer) < self._chunk:
                    return out
                self._buffer, self._chunk = self._buffer[self._chunk :], 0
                out.append(self._taken())
            elif self._state == "content":
                _, dot, rest = (b"\r\n" + self._buffer).partition(b"\r\n.\r\n")
                if not dot:
                    return out
                self._buffer = rest
                out.append(self._taken())
            else:
                line, end, rest = self._buffer.partition(b"\r\n")
                if not end:
                    return out
                self._buffer = rest
                reply = self._command(line)
                if reply:
                    out.append(reply)

    def _taken(self) -> bytes:
        self._state = "ready"
        return self.rng.choice((b"250 taken\r\n", b"250 taken\r\n", b"554 spam\r\n"))

    def _command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        state = self._state
        if verb == b"MAIL":
            if state != "ready" or self.rng.random() < 0.1:
                return b"503 no\r\n"
            self._state = "mail"
        elif verb == b"RCPT":
            self.recipients += 1
            if state not in ("mail", "rcpt") or self.rng.random() < 0.2:
                return b"550 no\r\n"
            self._state = "rcpt"
        elif verb == b"DATA":
            if state != "rcpt":
                return b"503 no\r\n"
            self._state = "content"
            return b"354 go\r\n"
        elif verb == b"BDAT" and self.chunks == "missing":
            return self.rng.choice((b"500 what?\r\n", b"502 no\r\n", b"503 not advertised\r\n"))
        elif verb == b"BDAT":
            self._chunk = int(line.split()[1])
            if not self._chunk:
                return self._taken()
            return b""
        elif verb in (b"RSET", b"EHLO"):
            self._state = "ready"
            if verb == b"EHLO" and self.chunks == "offered":
                return b"250-mx\r\n250 CHUNKING\r\n"
        elif verb != b"NOOP":
            return b"500 what?\r\n"
        return b"250 ok\r\n"


def burst(rng: random.Random, content: bool) -> bytes:
    """What the client sends in a go: the content that the server waits for, then commands of any kind."""
    out = b"text\r\n" * rng.choice((0, 3, 900)) + b".\r\n" if content else b""
    for _ in range(rng.randint(0, 9)):
        kind = rng.choice((b"MAIL", b"RCPT", b"RCPT", b"RCPT", b"BDAT", b"RSET", b"NOOP", b"what"))
        if kind == b"MAIL":
            out += b"MAIL FROM:<a@example.org>\r\n"
        elif kind == b"RCPT":
            out += b"RCPT TO:<b@example.net>\r\n" * rng.choice((1, 1, 5))
        elif kind == b"BDAT":
            size = rng.choice((0, 10, 30000))
            if rng.random() < 0.3:  # pretended: commands follow, or too few octets
                out += b"BDAT %d LAST\r\n" % size + b"x\r\n" * rng.randint(0, 3)
            else:
                out += b"BDAT %d LAST\r\n" % size + b"x" * size
        else:
            out += kind + b"\r\n"
    envelope = b"RSET\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n"
    return out + rng.choice((b"", b"", envelope, b"RCPT TO:<b@example.net>\r\n")) + b"DATA\r\n"


@pytest.mark.parametrize("chunks", ["offered", "not offered", "missing"])
@pytest.mark.parametrize("seed", range(150))
def test_no_recipient_is_hidden(seed: int, chunks: str) -> None:
    rng = random.Random(seed)
    server = Server(rng, chunks)
    seqs = {True: 1000, False: 5000}
    syn = Segment(*_CLIENT_TO_SERVER, 1000, 0, SYN, b"", 0)
    session = Session(syn, 0.0, Limits(), from_client=True)
    left_out = 0

    def give(from_client: bool, flags: int, payload: bytes = b"") -> None:
        nonlocal left_out
        ends = _CLIENT_TO_SERVER if from_client else _SERVER_TO_CLIENT
        segment = Segment(*ends, seqs[from_client], seqs[not from_client], flags, payload, 0)
        seqs[from_client] += len(payload) + bool(flags & SYN)
        if wanted(session, segment, from_client):
            session.segment(segment, 0.0, from_client)
        else:
            left_out += 1

    give(True, SYN)
    give(False, SYN | ACK)
    give(False, ACK | PSH, b"220 mx\r\n")
    replies: list[bytes] = []
    for number in range(rng.randint(2, 8)):
        data = burst(rng, server.wants_content) if number else b"EHLO a.example\r\n"
        size = rng.choice((1400, 20))
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            give(True, ACK | PSH, piece)
            replies += server.take(piece)
            while replies and rng.random() < 0.3:
                take = rng.randint(1, len(replies))
                give(False, ACK | PSH, b"".join(replies[:take]))
                del replies[:take]
        if replies:
            give(False, ACK | PSH, b"".join(replies))
            replies.clear()
    session.end_of_input()
    assert session.dialogue.envelope.recipients >= server.recipients
    assert session.dialogue.mode != OPAQUE
