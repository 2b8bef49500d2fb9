"""How a bot works through a list: parameters -> attempts.

Knows lists, speeds and listings. Must not know the detector. Which bot has which parameters is in `bots`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.evaluate.mta import HOUR, Range, log_uniform
from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.programs import HOME_RESOLVER, NO_LOOKUP, OWN_RESOLVER, Client

FOREVER = float("inf")
#: Share of the engines that are neither Postfix' likes nor careful which talk after a greeting's first line: J, after
#: postscreen(8), whose pregreet test finds some of the bots and hardly any mail server.
NAIVE = 0.3


class Bot(NamedTuple):
    """per_hour: connections. client, sender: made for each connection. dead: share of the list that does not exist.

    consumers: share of the list at consumers' providers. recipients: RCPTs an envelope, all of one domain.
    listed_after: messages until XBL has the line. only: domains (numbers) that it keeps to. again: share of connections
    to domains that it had before. aligned: SPF proves its senders. null_first: so many bounces before its spam. login:
    share of connections that try AUTH.
    """

    per_hour: float
    client: Callable[[random.Random], Client]
    sender: Callable[[random.Random], str]
    dead: float
    consumers: float = 0.6
    recipients: tuple[int, int] = (1, 1)
    listed_after: float = 100.0
    only: tuple[int, ...] = ()
    again: float = 0.05
    aligned: float = 0.0
    unwanted: Range = (0.2, 0.8)
    null_first: int = 0
    probe: bool = False
    login: float = 0.0
    size: tuple[int, int] = (1200, 8000)


def run(home: Home, bot: Bot, start: float = 0.0) -> Attempts:
    """Without end. A program of its own asks the home's resolver or one outside; whoever relays asks nothing here."""
    resolver = HOME_RESOLVER if home.rng.random() < 0.5 else OWN_RESOLVER
    client = bot.client
    naive = home.rng.random() < NAIVE

    def with_resolver(rng: random.Random) -> Client:
        made = client(rng)
        return made._replace(
            mx=NO_LOOKUP if made.operator[1] else resolver, naive=naive and (made.blind or made.quits < 0.9)
        )

    bot = bot._replace(client=with_resolver)
    return deliver(home, _letters(home, bot, start), spam=True)


def _letters(home: Home, bot: Bot, start: float) -> Iterator[Mail]:
    rng, time, sent = home.rng, start, 0
    unwanted = rng.uniform(*bot.unwanted)
    used: list[int] = []
    while True:
        time += rng.expovariate(bot.per_hour / HOUR)
        sent += 1
        if sent == int(bot.listed_after):
            home.line.listed.append((time, FOREVER))
        if bot.only:
            to = rng.choice(bot.only)
        elif used and rng.random() < bot.again:
            to = rng.choice(used)
        else:
            to = home.internet.anyone(rng, bot.consumers)
            if len(used) < 5000:
                used.append(to)
        boxes = tuple(
            Mailbox(rng.randrange(1 << 30), "exists" if rng.random() >= bot.dead else rng.choice(_GONE))
            for _ in range(rng.randint(*bot.recipients))
        )
        letter = Letter(
            "<>" if sent <= bot.null_first else bot.sender(rng),
            boxes,
            int(log_uniform(rng, *bot.size)),
            unwanted,
            rng.random() < bot.aligned,
            probe=bot.probe,
            login=-1 if rng.random() < bot.login else 0,
        )
        yield Mail(time, to, letter, bot.client(rng))


_GONE = ("unknown", "unknown", "unknown", "disabled", "full")
