"""Legitimate senders: mail to be sent -> sessions, with retries, outages and other people's mistakes.

Knows how mail servers, scripts and appliances send (RFC 5321 section 4.5.4.1: retry), in simulated time. Must not know
the detector. Which device behaves how is in `legit`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from tests.evaluate.facts import Session
from tests.evaluate.internet import BIG, Internet, Server
from tests.evaluate.talk import Client, session

DAY, HOUR = 86400.0, 3600.0
Range = tuple[float, float]


class Mail(NamedTuple):
    """One message for one domain (number `to`). `wrong`: no such recipient; `unwanted`: to be refused."""

    time: float
    to: int
    sender: str
    recipients: int = 1
    wrong: bool = False
    unwanted: bool = False


class Habits(NamedTuple):
    """How a sending program behaves. Postfix's defaults where nothing is said.

    retry_s: first and longest pause; patience_s: how long it retries (0: never). quits: share of sessions.
    tls: uses it. outages: (from, to) when no server answers. listed: (from, to) when blocklists have the line.
    """

    tls: bool = True
    quits: float = 1.0
    retry_s: Range = (300.0, 4000.0)
    patience_s: float = 5 * DAY
    outages: tuple[Range, ...] = ()
    listed: tuple[Range, ...] = ()


def poisson(rng: random.Random, mean: float) -> int:
    """Knuth's method for small means, the normal approximation for large."""
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def times_of_day(rng: random.Random, day: int, count: int, night: float = 0.15) -> list[float]:
    """So many moments of a day, in order; a share `night` at any hour, the rest about the middle of the day."""
    base = day * DAY
    return sorted(
        base + (rng.random() * DAY if rng.random() < night else min(max(rng.gauss(13, 3.5), 0.0), 23.9) * HOUR)
        for _ in range(count)
    )


def correspondence(
    rng: random.Random,
    days: int,
    per_day: float,
    senders: list[str],
    *,
    contacts: tuple[int, int] = (30, 200),
    new_per_day: float = 0.2,
    big: Range = (0.3, 0.6),
    wrong: Range = (0.005, 0.03),
    unwanted: Range = (0.002, 0.02),
) -> Iterator[Mail]:
    """The mail of people: mostly to those they wrote to before, of whom few are written to often."""
    known = [BIG + rng.randrange(40000) for _ in range(rng.randint(*contacts))]
    to_big, mistyped, refused = rng.uniform(*big), rng.uniform(*wrong), rng.uniform(*unwanted)
    for day in range(days):
        for _ in range(poisson(rng, new_per_day)):
            known.append(BIG + rng.randrange(40000))
        for time in times_of_day(rng, day, poisson(rng, per_day if day % 7 < 5 else per_day * 0.5)):
            if rng.random() < to_big:
                to = rng.randrange(BIG)
            else:
                to = known[int(len(known) * rng.random() ** 2)]
            yield Mail(time, to, rng.choice(senders), 1, rng.random() < mistyped, rng.random() < refused)


def deliver(
    rng: random.Random,
    mails: Iterable[Mail],
    client: Client,
    internet: Internet,
    habits: Habits = Habits(),  # noqa: B008
    spam: bool = False,
) -> Iterator[Session]:
    """Sends each mail, and again where it was put off; sessions come in the order of time.

    Of four lines one is listed for 2 to 14 days in its first year, for what the address's last user did (judgement).
    """
    if not habits.listed and rng.random() < 0.25:
        start = rng.random() * 365 * DAY
        habits = habits._replace(listed=((start, start + rng.uniform(2, 14) * DAY),))
    again: list[tuple[float, int, float, Mail]] = []
    count = 0
    for mail in mails:
        while again and again[0][0] <= mail.time:
            time, _, begun, old = heappop(again)
            yield from _attempt(rng, time, begun, old, client, internet, habits, again, count := count + 1, spam)
        yield from _attempt(rng, mail.time, mail.time, mail, client, internet, habits, again, count := count + 1, spam)
    while again:
        time, _, begun, old = heappop(again)
        yield from _attempt(rng, time, begun, old, client, internet, habits, again, count := count + 1, spam)


def _attempt(
    rng: random.Random,
    time: float,
    begun: float,
    mail: Mail,
    client: Client,
    internet: Internet,
    habits: Habits,
    again: list[tuple[float, int, float, Mail]],
    count: int,
    spam: bool,
) -> Iterator[Session]:
    server = internet.server(mail.to)
    tls = habits.tls and server.tls
    outcome = _outcome(rng, time, begun, mail, server, habits)
    if habits.patience_s and outcome in ("lost", "closed", "deferred", "banner-busy", "cut"):
        waited = time - begun
        if waited < habits.patience_s:
            pause = min(max(habits.retry_s[0], waited), habits.retry_s[1])
            heappush(again, (time + pause * rng.uniform(0.9, 1.3), count, begun, mail))
    address = server.addresses[0] if len(server.addresses) == 1 else rng.choice(server.addresses)
    yield session(
        rng,
        time,
        address,
        client,
        outcome,
        sender=mail.sender,
        recipient=server.domain,
        recipients=mail.recipients,
        tls=tls,
        offers=server.tls,
        quits=habits.quits >= 1 or rng.random() < habits.quits,
        spam=spam,
    )


def _outcome(rng: random.Random, time: float, begun: float, mail: Mail, server: Server, habits: Habits) -> str:
    if any(start <= time < end for start, end in habits.outages):
        return "lost"
    if server.fate != "up":
        return server.fate
    if server.refuses_home:
        return "banner-home" if server.at_banner else "home"
    if server.greylists and time - begun < 250:
        return "deferred"
    if mail.wrong:
        return "unknown"
    if mail.unwanted:
        return "data-rejected"
    if habits.listed and habits.listed[0][0] <= time < habits.listed[0][1] and mail.to % 10 < 4:
        return "banner-listed" if server.at_banner else "listed"  # four servers in ten ask a list that has it
    mishap = rng.random()
    return "accepted" if mishap > 0.003 else "banner-busy" if mishap > 0.001 else "cut"


def appliance(
    rng: random.Random,
    days: int,
    per_day: Range,
    client: Client,
    outcomes: tuple[tuple[str, float], ...],
    *,
    sender: str,
    recipient: str = "isp-mail.example",
    quits: float = 0.5,
    frenzy_days: int = 0,
    frenzy: int = 12340,
) -> Iterator[Session]:
    """A device that mails one MX, whatever it answers; on `frenzy_days` of them `frenzy` times (Axis: 12,340 a day)."""
    address = (0xF0000019 + (rng.randrange(1 << 19) << 8)).to_bytes(4, "big")
    names, weights = zip(*outcomes, strict=True)
    mean = log_uniform(rng, *per_day)
    mad = set(rng.sample(range(days), min(days, frenzy_days)))
    for day in range(days):
        count = frenzy if day in mad else poisson(rng, mean)
        for time in times_of_day(rng, day, count, night=0.9):
            outcome = rng.choices(names, weights)[0]
            yield session(
                rng, time, address, client, outcome,
                sender=sender, recipient=recipient, quits=rng.random() < quits,
            )  # fmt: skip
