"""Dialogues with a known truth, made at random, through every way of cutting them into packets.

The reference is the script: it decides what a server answers, and thereby what was sent and taken. It knows nothing of
how the dialogue machine reads. A client pipelines where the server offers it. `SEEDS=20000` in the environment: more.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.inspect.transcript import WAYS, Item, Transcript, play

SEEDS = int(os.environ.get("SEEDS", "250"))
EXTENSIONS = (
    "PIPELINING",
    "CHUNKING",
    "SIZE 10000000",
    "X-ANONYMOUSTLS",
    "X-EXPS NTLM",
    "XEXCH50",
    "AUTH LOGIN",
    "XCLIENT",
)


class Script:
    """One dialogue, and the truth about it. `turn`: what the client has sent, and the server has yet to answer."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.items: list[Item] = []
        self.offered: tuple[str, ...] = ()
        self.replies: list[bytes] = []
        self.pipelines = False
        self.helo: str | None = None
        self.done: list[str] = []
        self.mail: str | None = None
        self.to: list[str] = []
        self.accepted = self.size = self.recipients = self.messages = 0
        self.refused = False
        self.authenticated = False

    def say(self, line: bytes, reply: str, wait: bool = False) -> None:
        """The client's bytes and the reply, whose lines are parted by "|". wait: the client goes on after the reply."""
        self.items.append(Item("C", line))
        code, *rest = reply.split(" ", 1)
        lines = (rest[0] if rest else "ok").split("|")
        last = len(lines) - 1
        self.replies += [f"{code}{' ' if n == last else '-'}{text}\r\n".encode() for n, text in enumerate(lines)]
        if wait or not self.pipelines or self.rng.random() < 0.3:
            self.turn()

    def turn(self) -> None:
        self.items += [Item("S", reply) for reply in self.replies]
        self.replies.clear()

    def one_of(self, *choices: str) -> str:
        return self.rng.choice(choices)

    def end(self, outcome: str = "") -> None:
        """The transaction ends: by a reply to its message, or without one."""
        if self.mail is not None:
            if not outcome:
                rejected = self.refused or (self.to and not self.accepted)
                outcome = "rejected" if rejected else "aborted"
            self.done.append(f"{self.mail} > {', '.join(self.to) or '-'}: {outcome}, {self.size} bytes")
        self.messages += outcome == "accepted"
        self.mail, self.to, self.accepted, self.size, self.refused = None, [], 0, 0, False

    # ── what a client does ──────────────────────────────────────────────────────────────────────

    def hello(self) -> None:
        name = f"host{self.rng.randrange(100)}.example.org"
        if self.rng.random() < 0.1:
            self.say(b"LHLO " + name.encode() + b"\r\n", self.one_of("500 what?", "502 no"))
        self.offered = tuple(word for word in EXTENSIONS if self.rng.random() < 0.6)
        if self.rng.random() < 0.2:
            self.offered = ()
            self.say(b"HELO " + name.encode() + b"\r\n", "250 mx", wait=True)
        else:
            self.say(b"EHLO " + name.encode() + b"\r\n", "|".join(("250 mx", *self.offered)), wait=True)
        self.pipelines = "PIPELINING" in self.offered
        self.end()
        self.helo = name

    def noise(self) -> None:
        line, reply = self.rng.choice(
            (
                ("NOOP", "250 ok|ok"),
                ("HELP", "214 a|b|c"),
                ("VRFY x", "252 perhaps"),
                ("EXPN list", "550 no"),
                ("FROBNICATE", "500 what?"),
                ("ETRN x.example", "458 no"),
                ("TURN", "502 no"),
                ("BDAT", "501 how many?"),
                ("BDAT 1 2 3", "501 how many?"),
                ("BDAT 99999999999999999999 LAST", "501 how many?"),
                ("XFORWARD NAME=x", "250 ok"),
                ("STARTTLS", "454 not now"),
                ("AUTH PLAIN AAAA", "535 no"),
                ("X-LINK2STATE LAST CHUNK={1}", "500 what?"),
                ("BURL imap://x/y", "500 what?"),
            )
        )
        self.say(line.encode() + b"\r\n", reply, wait=line.startswith(("STARTTLS", "AUTH", "TURN", "X-")))

    def log_in(self) -> None:
        """AUTH in several lines, or Exchange's word for it; taken, refused or cancelled."""
        word = b"X-EXPS NTLM" if any(each.startswith("X-EXPS") for each in self.offered) else b"AUTH LOGIN"
        self.say(word + b"\r\n", "334 VXNlcm5hbWU6", wait=True)
        for _ in range(self.rng.randrange(3)):
            self.say(b"DATA\r\n", "334 go on", wait=True)
        if self.rng.random() < 0.3:
            self.say(b"*\r\n", "501 cancelled", wait=True)
        elif self.rng.random() < 0.5:
            self.say(b"MAIL FROM:<secret@example.org>\r\n", "535 no", wait=True)
        else:
            self.say(b"QUIT\r\n", "235 ok", wait=True)
            self.authenticated = True

    def envelope(self) -> None:
        if self.mail is not None:  # a MAIL that is refused within a transaction would change nothing
            self.say(b"RSET\r\n", "250 ok")
            self.end()
        verb = "MAIL" if self.rng.random() < 0.9 else self.one_of("SEND", "SOML", "SAML")
        sender = self.one_of("a@example.org", "b@example.com")
        self.mail = sender
        path = self.one_of("FROM:<{}>", "FROM: <{}>", "from:<{}> SIZE=100", "FROM:{}").format(sender)
        if self.rng.random() < 0.2:
            self.refused = True
            self.say(f"{verb} {path}\r\n".encode(), self.one_of("550 no", "451 later", "502 no"))
            self.end()
            # What was refused ends with the next MAIL, RSET or HELO, so one of these comes.
            self.say(b"RSET\r\n", "250 ok")
            return
        self.say(f"{verb} {path}\r\n".encode(), "250 ok")
        for _ in range(self.rng.choice((0, 1, 1, 2, 5))):
            recipient = f"r{self.rng.randrange(100)}@example.net"
            taken = self.rng.random() < 0.7
            self.to.append(recipient)
            self.recipients += 1
            self.accepted += taken
            self.say(f"RCPT TO:<{recipient}>\r\n".encode(), "250 ok" if taken else self.one_of("550 who?", "451 later"))

    def message(self) -> None:
        if self.mail is None:
            return
        if self.accepted and "XEXCH50" in self.offered and self.rng.random() < 0.3:
            self.say(b"XEXCH50 20 2\r\n", self.one_of("354 send", "504 no"), wait=True)
            if self.items[-1].data.startswith(b"354"):
                self.say(b"RCPT TO:<\r\nx\r\nDATA\r\n", "250 ok", wait=True)
        if "CHUNKING" in self.offered and self.rng.random() < 0.6:
            self.chunks()
        elif self.rng.random() < 0.2:
            # A chunk, which this server does not have: the client sees the reply before it goes on.
            if "CHUNKING" not in self.offered:
                self.say(b"BDAT 5000 LAST\r\n", self.one_of("500 what?", "502 no"), wait=True)
            self.say(b"RSET\r\n", "250 ok")
            self.end()
        elif not self.accepted:
            self.say(b"DATA\r\n", self.one_of("503 no", "554 no valid recipients"), wait=True)
            self.refused = True
            self.say(b"RSET\r\n", "250 ok")
            self.end()
        else:
            self.say(b"DATA\r\n", "354 go", wait=True)
            body = self.body()
            self.size = len(body)
            taken = self.rng.random() < 0.7
            self.say(body + b".\r\n", "250 queued|as 1" if taken else self.one_of("554 spam", "451 later"))
            self.end("accepted" if taken else "rejected")

    def body(self) -> bytes:
        lines = [
            b"Subject: x",
            b"",
            b"..",
            b"MAIL FROM:<x@y>",
            b"RCPT TO:<x@y>",
            b"text \xff",
            b"x" * 300,
            b"a\rb",
            b"QUIT now",
        ]
        return b"".join(self.rng.choice(lines) + b"\r\n" for _ in range(self.rng.randrange(40)))

    def chunks(self) -> None:
        for last in (*(b"" for _ in range(self.rng.randrange(3))), b" LAST"):
            body = self.body() + self.rng.choice((b"", b"no end", b"DATA\r\n"))
            head = b"BDAT %d%s\r\n" % (len(body), last)
            if self.rng.random() < 0.2 or not self.accepted:
                early = self.rng.random() < 0.5
                if early and body:  # the client sees the refusal, and sends no octets
                    self.say(head, self.one_of("552 too big", "451 later", "503 no"), wait=True)
                else:
                    self.say(head + body, self.one_of("554 no", "452 full"), wait=True)
                    self.size += len(body)
                self.refused = True
                if last:
                    self.end("rejected")
                self.say(b"RSET\r\n", "250 ok")
                self.end()
                return
            self.size += len(body)
            if not last:
                self.say(head + body, "250 octets")
                continue
            taken = self.rng.random() < 0.7
            self.say(head + body, "250 queued" if taken else "554 spam")
            self.end("accepted" if taken else "rejected")


def script(seed: int) -> Script:
    rng = random.Random(seed)
    made = Script(rng)
    if rng.random() < 0.2:
        made.items.append(Item("S", b"Welcome\r\n"))
    made.items += [Item("S", line) for line in rng.choice(((b"220 mx\r\n",), (b"220-mx\r\n", b"220 ESMTP\r\n")))]
    if rng.random() < 0.2:
        made.say(b"BDAT 99999999\r\n", made.one_of("500 what?", "502 no", "504 no"), wait=True)
    made.hello()
    steps: tuple[Callable[[], None], ...] = (
        made.noise,
        made.envelope,
        made.message,
        made.message,
        made.hello,
        made.log_in,
    )
    for _ in range(rng.randrange(12)):
        step = rng.choice(steps)
        if step == made.log_in:
            made.turn()
        if step in (made.hello, made.log_in) and made.mail is not None:
            made.say(b"RSET\r\n", "250 ok", wait=True)
            made.end()
        step()
    made.say(b"QUIT\r\n", "221 bye", wait=True)
    made.turn()
    made.end()
    made.items += [Item("C", fin=True), Item("S", fin=True)]
    return made


def told(made: Script) -> dict[str, object]:
    truth: dict[str, object] = {"transaction": made.done}
    if made.helo is not None:
        truth["helo"] = made.helo
    for name in ("recipients", "messages", "authenticated"):
        value = getattr(made, name)
        if value:
            truth[name] = value
    return truth


@pytest.mark.parametrize("part", range(10))
def test_the_script_is_what_is_read(part: int) -> None:
    for seed in range(part * SEEDS // 10, (part + 1) * SEEDS // 10):
        made = script(seed)
        dialogue = Transcript("", str(seed), frozenset(), {}, made.items, {}, [])
        way = random.Random(seed).choice(sorted(WAYS))
        facts = play(dialogue, WAYS[way], seed).facts
        read = {name: value for name, value in facts.items() if name not in ("violations", "quirks", "last_reply")}
        assert (seed, way, read) == (seed, way, told(made))
