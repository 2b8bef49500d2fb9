"""How the validation set's bots work through a list: waves, senders, listings -> attempts.

Knows campaigns. Must not know the detector; which bot does what is in `bots`. Of invalid addresses: 53 % of the errors
in Cutwail's own records, in which 30 % of messages were delivered (Stone-Gross et al., LEET 2011): 37 % of a list.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import HOUR, Range, log_uniform
from tests.evaluate.world.programs import HOME_RESOLVER, NO_LOOKUP, OWN_RESOLVER, Client

FOREVER = float("inf")
_STATES = ("unknown", "unknown", "unknown", "unknown", "disabled", "full")


class Campaign(NamedTuple):
    """per_hour: connections while a wave lasts. wave, pause: hours, both ranges (no waves: one that never ends).

    client: for each connection; sender: from the recipient's domain. dead, consumers: shares of the list. recipients:
    an envelope's. listed_after: connections until XBL has the line. slower: factor on the pace from then on. again:
    share of connections to domains had before. login: share that tries a password that is wrong, `right` of these not.
    """

    per_hour: float
    client: Callable[[random.Random], Client]
    sender: Callable[[random.Random, str], str]
    dead: float
    consumers: float = 0.6
    recipients: tuple[int, int] = (1, 1)
    listed_after: float = 100.0
    slower: float = 1.0
    wave: Range = (FOREVER, FOREVER)
    pause: Range = (0.0, 0.0)
    again: float = 0.05
    aligned: float = 0.0
    unwanted: Range = (0.2, 0.8)
    size: tuple[int, int] = (900, 9000)
    probe: bool = False
    bare: bool = False
    login: float = 0.0
    right: float = 0.0
    naive: float = 0.0


def run(home: Home, campaign: Campaign, start: float = 0.0) -> Attempts:
    """Without end. Who relays asks nothing here; programs of their own ask one of two resolvers.

    naive: chance that its engine talks after a greeting's first line, as postscreen(8) finds with its pregreet test.
    """
    rng = home.rng
    resolver = rng.choice((HOME_RESOLVER, OWN_RESOLVER))
    naive = rng.random() < campaign.naive
    return deliver(home, _letters(home, campaign, start, resolver, naive), spam=True)


def _letters(home: Home, campaign: Campaign, start: float, resolver: str, naive: bool) -> Iterator[Mail]:
    rng, time, sent, pace = home.rng, start, 0, campaign.per_hour
    unwanted = rng.uniform(*campaign.unwanted)
    until = time + _hours(rng, campaign.wave)
    had: list[int] = []
    while True:
        time += rng.expovariate(pace / HOUR)
        if time > until:
            time += _hours(rng, campaign.pause)
            until = time + _hours(rng, campaign.wave)
        sent += 1
        if sent == int(campaign.listed_after):
            home.line.listed.append((time, FOREVER))
            pace *= campaign.slower
        if had and rng.random() < campaign.again:
            to = rng.choice(had)
        else:
            to = home.internet.anyone(rng, campaign.consumers)
            if len(had) < 4000:
                had.append(to)
        boxes = (
            () if campaign.bare else tuple(_box(rng, campaign.dead) for _ in range(rng.randint(*campaign.recipients)))
        )
        login = 0
        if rng.random() < campaign.login:
            login = 1 if rng.random() < campaign.right else -1
        letter = Letter(
            campaign.sender(rng, home.internet.host(to).domain), boxes, int(log_uniform(rng, *campaign.size)), unwanted,
            rng.random() < campaign.aligned, probe=campaign.probe, login=login, foreign=bool(campaign.login),
        )  # fmt: skip
        made = campaign.client(rng)
        yield Mail(time, to, letter, made._replace(mx=NO_LOOKUP if made.operator[1] else resolver, naive=naive))


def _hours(rng: random.Random, least_most: Range) -> float:
    return FOREVER if least_most[0] == FOREVER else rng.uniform(*least_most) * HOUR


def _box(rng: random.Random, dead: float) -> Mailbox:
    return Mailbox(rng.randrange(1 << 30), rng.choice(_STATES) if rng.random() < dead else "exists")


def listed_domain(rng: random.Random, _: str) -> str:
    """A sender from a list of victims: a large provider, or one of many thousand domains."""
    if rng.random() < 0.4:
        return rng.choice(("gmail.example", "yahoo.example", "outlook.example", "gmx.example"))
    return f"{rng.choice(('corp', 'trade', 'clinic', 'hotel', 'media'))}{rng.randrange(40000)}.example"


def recipients_own(_: random.Random, domain: str) -> str:
    """The recipient's domain: the letter pretends to come from himself."""
    return domain


def provider(rng: random.Random, _: str) -> str:
    return rng.choice(("gmail.example", "yahoo.example", "outlook.example", "aol.example", "icloud.example"))


def random_name(rng: random.Random) -> str:
    """A computer's, of the kind that Windows makes up, or syllables."""
    if rng.random() < 0.5:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(4, 11)))
    return f"{rng.choice(('USER', 'PC', 'HOME', 'ADMIN'))}-{rng.randrange(16**6):06X}"
