"""Mail to be sent -> attempts, with queues and retries. Time goes on as the answers come.

Knows how programs come back (RFC 5321 section 4.5.4.1). Must not know the detector. A stream yields an `Attempt`; the
driver lets it `meet` the world before it asks for the next, so a retry depends on the answer, the filter's included.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, merge
from typing import NamedTuple

from cpe_filter.explain.questions import ConnectionTests
from tests.evaluate.facts import Session
from tests.evaluate.world.converse import BOUNCED, DONE, LATER, NOBODY, PASS, Memory, Talk, converse
from tests.evaluate.world.internet import Host, Internet
from tests.evaluate.world.line import Line
from tests.evaluate.world.manners import Letter
from tests.evaluate.world.programs import HOME_RESOLVER, OWN_RESOLVER, Client


class Home:
    """What the devices of a home share: the line, the Internet as it meets them, and what servers remember."""

    def __init__(self, rng: random.Random, line: Line, internet: Internet) -> None:
        self.rng = rng
        self.line = line
        self.internet = internet
        self.memory = Memory()
        # Where the devices' MX questions go: to the router; past it (a resolver of its own, as DNS lists need one, or a
        # public one); hidden by DNS over TLS or HTTPS. Shares are judgement.
        self.resolver = rng.choices(("home", "foreign", "hidden"), (0.5, 0.4, 0.1))[0]


class Mail(NamedTuple):
    """A letter for a domain (number), to be sent at a time. by: the program, where the stream has several."""

    time: float
    to: int
    letter: Letter
    by: Client | None = None


class Attempt:
    """A connection that is about to be made. outcome: what became of it, once it has met the world."""

    __slots__ = ("address", "client", "home", "host", "left", "letter", "outcome", "spam", "time")

    def __init__(
        self, time: float, home: Home, host: Host, address: bytes, client: Client, letter: Letter, spam: bool
    ) -> None:
        self.time = time
        self.home = home
        self.host = host
        self.address = address
        self.client = client
        self.letter = letter
        self.spam = spam
        self.outcome = BOUNCED
        self.left = letter.to

    def meet(self, answer: str = PASS, asked: ConnectionTests | None = None) -> Session:
        """Makes the connection; answer: what the home's filter does with it. asked: the responder's tests."""
        home = self.home
        talk: Talk = converse(
            home.rng, self.time, self.host, self.address, home.line, self.client, self.letter, home.memory, answer,
            self.spam, asked,
        )  # fmt: skip
        self.outcome, self.left = talk.outcome, talk.left
        return talk.session

    @property
    def mx_question(self) -> str:
        """Which MX question the filter sees before the connection: home, foreign, or "" for none."""
        mx = self.client.mx
        if mx == HOME_RESOLVER and self.home.resolver != "hidden":
            return self.home.resolver
        return "foreign" if mx == OWN_RESOLVER else ""

    def cut(self) -> None:
        """The filter ended it in the middle."""
        self.outcome, self.left = LATER, self.letter.to


Attempts = Iterator[Attempt]
#: What is told of each letter's end: delivered (True) or given up.
Told = Callable[[Mail, bool, float], None]


def together(*streams: Attempts) -> Attempts:
    """Several programs behind one address, by time."""
    return merge(*streams, key=lambda attempt: attempt.time)


def deliver(
    home: Home,
    mails: Iterable[Mail],
    client: Client | None = None,
    spam: bool = False,
    told: Told | None = None,
) -> Attempts:
    """Sends each mail, and again where it was put off, by its client's habits."""
    again: list[tuple[float, int, float, Mail]] = []
    count = 0
    for mail in mails:
        while again and again[0][0] <= mail.time:
            time, _, begun, old = heappop(again)
            count += 1
            yield from _send(home, time, begun, old, client, spam, again, count, told)
        count += 1
        yield from _send(home, mail.time, mail.time, mail, client, spam, again, count, told)
    while again:
        time, _, begun, old = heappop(again)
        count += 1
        yield from _send(home, time, begun, old, client, spam, again, count, told)


def _send(
    home: Home,
    time: float,
    begun: float,
    mail: Mail,
    client: Client | None,
    spam: bool,
    again: list[tuple[float, int, float, Mail]],
    count: int,
    told: Told | None,
) -> Attempts:
    by = mail.by or client
    assert by is not None
    host = home.internet.host(mail.to)
    letter = mail.letter
    attempt = Attempt(time, home, host, home.internet.address(home.rng, host, False, home.line.ipv6), by, letter, spam)
    yield attempt
    if by.second_mx and attempt.outcome in (LATER, NOBODY) and len(host.networks) > host.preferred and attempt.left:
        letter = letter._replace(to=attempt.left)
        pause = 30.0 if attempt.outcome == NOBODY else 1.0
        attempt = Attempt(
            time + pause, home, host, home.internet.address(home.rng, host, True, home.line.ipv6), by, letter, spam
        )
        yield attempt
    if attempt.outcome in (LATER, NOBODY) and attempt.left:
        first, longest, patience = by.retry
        waited = time - begun
        if waited < patience:
            pause = min(max(first, waited * by.growth), longest)
            heappush(
                again,
                (
                    time + pause * home.rng.uniform(0.95, 1.3),
                    count,
                    begun,
                    mail._replace(letter=letter._replace(to=attempt.left)),
                ),
            )
            return
    if told is not None:
        told(mail, attempt.outcome == DONE, time)
