"""A bot's parameters -> its sessions over simulated time.

Knows how a bot works through a list: its next server, when, and the outcome. Must not know the detector. The parameters
of each bot are in `bots` and `holdout`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import NamedTuple

from tests.evaluate.facts import Session
from tests.evaluate.internet import BIG
from tests.evaluate.legit import Sessions
from tests.evaluate.mta import HOUR
from tests.evaluate.talk import Client, session


class Bot(NamedTuple):
    """One bot's ways. per_hour: connections. outcomes: weights. listed_after: messages until blocklists have the line.

    new_servers: share of connections that go to a server it did not use before (840 of 1,109 [pcap]). tls: share of
    sessions that use STARTTLS. recipients: RCPTs a message, of which `unknown_share` do not exist. retries: share of
    deferred ones. client and sender make a new one for each connection.
    """

    per_hour: float
    client: Callable[[random.Random], Client]
    sender: Callable[[random.Random], str]
    outcomes: dict[str, int]
    quits: float = 0.0
    tls: float = 0.0
    recipients: tuple[int, int] = (1, 1)
    unknown_share: float = 0.0
    new_servers: float = 0.76
    servers: int = 0  # 0: as many as it takes
    only_big: bool = False
    retries: float = 0.0
    listed_after: int = 0
    syn_only: bool = False
    parallel: int = 1


def run(rng: random.Random, bot: Bot, start: float = 0.0, end: float = float("inf")) -> Sessions:
    """A bot's sessions, without end where none is given."""
    names = list(bot.outcomes)
    weights = list(itertools.accumulate(bot.outcomes.values()))
    used: list[tuple[bytes, str]] = []
    base = rng.randrange(1 << 18)
    time, sent = start, 0
    postponed: list[tuple[float, tuple[bytes, str]]] = []
    while True:
        if bot.parallel == 1 or sent % bot.parallel == 0:
            time += rng.expovariate(bot.per_hour / bot.parallel / HOUR)
        else:
            time += 0.01
        if time > end:
            return
        sent += 1
        if postponed and postponed[0][0] <= time:
            _, target = postponed.pop(0)
            outcome = "accepted"
        else:
            target = _target(rng, bot, used, base)
            outcome = rng.choices(names, cum_weights=weights)[0]
        if "listed" in outcome and sent < bot.listed_after:
            outcome = "accepted"
        if bot.syn_only:
            yield Session(time, target[0], "trying", (), False, True)
            continue
        count = rng.randint(*bot.recipients)
        if outcome == "deferred" and rng.random() < bot.retries:
            postponed.append((time + rng.uniform(0.5, 2) * HOUR, target))
        yield session(
            rng,
            time,
            target[0],
            bot.client(rng),
            outcome,
            sender=bot.sender(rng),
            recipient=target[1],
            recipients=count,
            tls=bot.tls > 0 and rng.random() < bot.tls,
            quits=rng.random() < bot.quits,
            spam=True,
            unknown=sum(rng.random() < bot.unknown_share for _ in range(count - 1)) if bot.unknown_share else 0,
        )


def _target(rng: random.Random, bot: Bot, used: list[tuple[bytes, str]], base: int) -> tuple[bytes, str]:
    if bot.only_big:
        number = rng.randrange(BIG)
        return _server(base + number * 6 + rng.randrange(6), 26 + rng.randrange(2)), f"provider{number}.example"
    if used and ((bot.servers and len(used) >= bot.servers) or rng.random() > bot.new_servers):
        return rng.choice(used)
    number = rng.randrange(1 << 20)
    target = (_server(base + number, 25), f"stranger{number}.example")
    used.append(target)
    return target


def _server(number: int, host: int) -> bytes:
    return (0xF0000000 + (number << 8 & 0x0FFFFF00) + host).to_bytes(4, "big")
