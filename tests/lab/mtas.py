"""Mail programs of Debian in boxes: what `postfix`, `exim` and `opensmtpd` have in common, and how bytes are compared.

A server's rules, the same for all: sender `spammer@` is refused at MAIL, recipient `nobody@` with 550 and `later@`
with 450 at RCPT, a message of `bulk@` at its end; everything else is taken and delivered into a Maildir.

`sessions` is what a server logged, in the shape of replay's sessions: server, helo, tls and transactions.

How bytes are compared. The size that a server logs has its own trace headers in it, so what it delivered is counted
instead: the file of the Maildir that holds the message's queue id, without all that the server put on top - the lines
up to and with the first Received header, folded lines included; a client's own follow after it. What is left was sent.
On the wire each line ended in CRLF (+1 for each) and, after DATA, a line that began with a dot had one more (+1). After
BDAT it had not; whether it was BDAT is the server's word, too. See `wire_bytes`.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from typing import Any, Protocol

from tests.lab.boxes import Box
from tests.lab.net import Lab

Sessions = list[dict[str, Any]]
_LINE = b"\n"


class Certificate(Protocol):
    """A certificate and its key, PEM."""

    cert: str
    key: str


def wire_bytes(content: bytes, chunked: bool) -> int:
    """How many bytes a delivered content (lines end in LF) was on the wire, the final `.` not counted."""
    lines = content.split(_LINE)
    if lines[-1] == b"":
        lines.pop()
    return sum(len(line) + 2 + (not chunked and line.startswith(b".")) for line in lines)


def without_trace(delivered: bytes) -> bytes:
    """A delivered message without what the last server put on top of it, its Received header last."""
    lines = delivered.split(_LINE)
    at = next(n for n, line in enumerate(lines) if line.startswith(b"Received:")) + 1
    while lines[at][:1] in (b" ", b"\t"):
        at += 1
    return _LINE.join(lines[at:])


def transaction(mail_from: str) -> dict[str, Any]:
    """A transaction that nothing has happened to yet.

    `bytes` is None until the message was delivered, `rcpt_to` where the sender was refused: what a client pipelines
    after that is no recipient to the server, nor does it log it.
    """
    return {
        "mail_from": mail_from or "<>",
        "rcpt_to": [],
        "recipients_accepted": 0,
        "outcome": "aborted",
        "bytes": None,
    }


class Mta(ABC):
    """A mail program in a box, a server or a sender. `ip`: the one address it serves."""

    name = ""

    def __init__(self, lab: Lab, host: str) -> None:
        self.box = Box(lab, host, self.name)
        self.ip = ""

    @abstractmethod
    def serve(self, ip: str, certificate: Certificate | None) -> None:
        """Starts as a server on this address, with STARTTLS if there is a certificate."""

    @abstractmethod
    def sessions(self) -> tuple[Sessions, int]:
        """What was logged: the ended sessions, and how many are still open."""

    @abstractmethod
    def send_through(self, to: str, tls: bool, together: bool) -> None:
        """Gets ready to send all its mail to this server; `together`: in one connection, if it must be told."""

    @abstractmethod
    def submit(self, sender: str, recipients: list[str], text: str) -> None:
        """Queues a message as a local user does."""

    @abstractmethod
    def idle(self) -> bool:
        """Nothing is on its way: the queue is empty, or what it holds waits for a later attempt."""

    def close(self) -> None:
        self.box.close()

    def _certificate(self, certificate: Certificate, owner: str = "root") -> None:
        self.box.write("etc/ssl/box.crt", certificate.cert)
        self.box.write("etc/ssl/box.key", certificate.key, 0o600, owner)

    def _wait(self, path: str, text: str, timeout: float = 15) -> None:
        end = time.monotonic() + timeout
        while text not in self.box.read(path):
            if time.monotonic() > end:
                said = self.box.read(path) + self.box.read("var/log/stderr")
                raise RuntimeError(f"{self.name} never said {text!r}; it said:\n{said}")
            time.sleep(0.05)

    def _delivered(self, queue_id: str, chunked: bool) -> int:
        """Bytes on the wire of the message that was delivered under this queue id; all its copies must agree."""
        word = re.compile(rb"\bid " + queue_id.encode() + rb"\b")
        end = time.monotonic() + 10
        sizes: set[int] = set()
        while not sizes and time.monotonic() < end:
            for file in (self.box.files / "var/mail/in").glob("new/*"):
                content = without_trace(delivered := file.read_bytes())
                if word.search(delivered[: len(delivered) - len(content)]):
                    sizes.add(wire_bytes(content, chunked))
            time.sleep(0 if sizes else 0.1)
        if len(sizes) != 1:
            raise RuntimeError(f"{self.name}: message {queue_id} was delivered with the sizes {sorted(sizes)}")
        return sizes.pop()
