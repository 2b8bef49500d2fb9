"""The hold-out set: other devices, other bots, other ranges. **Not to be used for tuning**; it is only reported.

Whoever changes a weight or a threshold because of what is printed for this set has to write a new one. Knows the same
building blocks as `legit` and `bots`. The callout verifier stood here, was convicted, and is in `legit` since the
detector was mended for it. All rates are judgement, laid outside those of the development set on purpose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.evaluate import bots
from tests.evaluate.bot import Bot, run
from tests.evaluate.bots import pool_name, proper_name
from tests.evaluate.facts import Session
from tests.evaluate.internet import BIG, Internet
from tests.evaluate.legit import Sessions, in_order, nat_lan, own_name
from tests.evaluate.mta import (
    DAY,
    HOUR,
    Habits,
    Mail,
    appliance,
    correspondence,
    deliver,
    log_uniform,
)
from tests.evaluate.talk import Client, session


def exim_with_pool_name(rng: random.Random, days: int) -> Sessions:
    """Exim that calls itself by its line's reverse DNS, which looks dynamic; its first pause is 15 minutes."""
    client = Client(f"host-{rng.randint(1, 254)}-{rng.randint(1, 254)}-8-9.business.isp.example")
    mails = correspondence(rng, days, log_uniform(rng, 3, 40), ["workshop.example"], wrong=(0.01, 0.04))
    return deliver(rng, mails, client, Internet(rng, refusing_home=(0.05, 0.2)), Habits(retry_s=(900.0, 6 * HOUR)))


def large_newsletter(rng: random.Random, days: int) -> Sessions:
    """To 1,000 to 2,000 domains in the clear, 5 to 10 a second, 3-8 % unknown, 2 to 4 times a year, nothing between."""
    client = Client(f"news.{own_name(rng)}")
    domains = [BIG + rng.randrange(90000) for _ in range(rng.randint(1000, 2000))]
    wrong = rng.uniform(0.03, 0.08)

    def runs() -> Iterator[Mail]:
        for start in sorted(rng.sample(range(days), rng.randint(2, 4))):
            time = (start + rng.random()) * DAY
            for to in domains:
                time += rng.expovariate(7.0)
                yield Mail(time, to, client.helo.partition(".")[2], 1, rng.random() < wrong, rng.random() < 0.01)

    return deliver(rng, runs(), client, Internet(rng, refusing_home=(0.0, 0.05)), Habits(tls=False, patience_s=DAY / 4))


def alarm_panel(rng: random.Random, days: int) -> Sessions:
    """Mails its owner's and its installer's MX under a number or word, without QUIT; the installer's refuses it."""
    client = Client(rng.choice(("0013A200", "10.0.0.5", "ALARM")), ehlo=False, spaced=True)
    streams = [
        appliance(rng, days, (0.2, 60), client, outcomes, sender="panel.example", quits=0.0, recipient="owner.example")
        for outcomes in ((("accepted", 0.9), ("home", 0.1)), (("listed", 0.5), ("unknown", 0.5)))
    ]
    return in_order(*streams)


def club_circular(rng: random.Random, days: int) -> Sessions:
    """A script with smtplib writes to 60 to 250 members by itself, monthly, as [127.0.0.1]: no TLS, no retry."""
    client = Client("[127.0.0.1]")
    members = [
        rng.randrange(BIG) if rng.random() < 0.6 else BIG + rng.randrange(40000) for _ in range(rng.randint(60, 250))
    ]

    def runs() -> Iterator[Mail]:
        for month in range(days // 30):
            time = (month * 30 + 3) * DAY + 19 * HOUR
            for to in members:
                time += rng.expovariate(2.0)
                yield Mail(time, to, "club.example", 1, rng.random() < 0.04, rng.random() < 0.02)

    return deliver(rng, runs(), client, Internet(rng, refusing_home=(0.05, 0.3)), Habits(tls=False, patience_s=0.0))


def uptime_probe(rng: random.Random, days: int) -> Sessions:
    """Looks after 10 to 30 mail servers: EHLO and QUIT every one to six hours, of which some do not answer at times."""
    servers = [Internet(rng).server(BIG + rng.randrange(40000)).addresses[0] for _ in range(rng.randint(10, 30))]
    pause = rng.uniform(1, 6) * HOUR
    client = Client("monitor.example")
    time = 0.0
    while time < days * DAY:
        for address in servers:
            time += 1.0
            whole = session(rng, time, address, client, "accepted", sender="x.example", recipient="y.example")
            events = tuple(event for event in whole.events if event.kind in ("greeting", "hello", "quit", "reply"))
            down = rng.random() < 0.01
            yield (
                session(rng, time, address, client, "lost", sender="", recipient="")
                if down
                else whole._replace(events=events)
            )
        time += pause


def router_alerts(rng: random.Random, days: int) -> Sessions:
    """A router that mails its owner's MX: its log once a day, as `OpenWrt`."""
    outcomes = (("accepted", 0.9), ("home", 0.05), ("lost", 0.05))
    return appliance(rng, days, (0.9, 3), Client("OpenWrt"), outcomes, sender="owner.example", quits=1.0)


def in_ipv6(sessions: Sessions) -> Sessions:
    """The same at IPv6 servers: every /24 becomes a /48."""
    for each in sessions:
        yield each._replace(server=b"\x3f\xff" + each.server[:3] + bytes(10) + each.server[3:])


def ipv6_server(rng: random.Random, days: int) -> Sessions:
    name = own_name(rng)
    mails = correspondence(rng, days, log_uniform(rng, 10, 60), [name.partition(".")[2]], new_per_day=2.0)
    return in_ipv6(deliver(rng, mails, Client(name), Internet(rng, refusing_home=(0.0, 0.3))))


OTHER_OUTCOMES = {
    "lost": 60, "closed": 30, "banner-listed": 20, "banner-no-banner": 110, "banner-busy": 60, "unknown": 120,
    "listed": 110, "rejected": 150, "deferred": 110, "data-rejected": 40, "cut": 10, "accepted": 180,
}  # fmt: skip
FRESH_LINE = {
    "lost": 15,
    "closed": 5,
    "banner-no-banner": 20,
    "unknown": 130,
    "rejected": 90,
    "deferred": 90,
    "accepted": 650,
}


def lethic_like(rng: random.Random) -> Bot:
    """EHLO with a random word, 20 to 100 recipients, lower case, QUIT."""
    word = "".join(rng.choice("bcdfghaeiou") for _ in range(8))
    client = Client(word, lower=True)
    return Bot(
        log_uniform(rng, 30, 3000), lambda _: client, lambda r: f"{word}{r.randrange(9)}.example", OTHER_OUTCOMES,
        quits=1.0, recipients=(20, 100), unknown_share=0.2, new_servers=0.9,
    )  # fmt: skip


def impersonator(rng: random.Random) -> Bot:
    """Says it is a large provider, in its name and as sender; other failures than the classic ones."""
    client = Client(f"mail-wr1-f{rng.randint(1, 99)}.provider0.example")
    return Bot(log_uniform(rng, 60, 9000), lambda _: client, lambda _: "provider0.example", OTHER_OUTCOMES, quits=0.8)


def fresh_line(rng: random.Random) -> Bot:
    """Careful, on a line that no blocklist ever gets to know, with a good list."""
    name = proper_name(rng)
    client = Client(name)
    return Bot(
        log_uniform(rng, 10, 300), lambda _: client, lambda _: name.partition(".")[2], FRESH_LINE, quits=1.0,
        new_servers=0.5, retries=0.7,
    )  # fmt: skip


def in_bursts(rng: random.Random) -> Sessions:
    """150 messages in 5 minutes, then nothing for a week."""
    bot = bots.careful(rng)._replace(per_hour=1800)
    for week in range(100):
        yield from run(rng, bot, week * 7 * DAY, week * 7 * DAY + 300)


def doorbell(rng: random.Random) -> Bot:
    """A proxy on a doorbell: 30 a day, five customers, some behind TLS."""
    names = [rng.choice((pool_name, proper_name))(rng) for _ in range(5)]
    return Bot(
        30 / 24, lambda r: Client(r.choice(names)), lambda r: f"offer{r.randrange(20)}.example", FRESH_LINE, quits=0.5,
        tls=0.4, new_servers=0.7,
    )  # fmt: skip


def behind_nat(rng: random.Random) -> Sessions:
    """A careful bot among the devices of a second router, after two weeks."""
    return in_order(nat_lan(rng, 200), run(rng, bots.careful(rng)._replace(per_hour=20), 14 * DAY))


def _alone(make: Callable[[random.Random], Bot]) -> Callable[[random.Random], Sessions]:
    return lambda rng: run(rng, make(rng))


LEGITIMATE: dict[str, Callable[[random.Random, int], Iterator[Session]]] = {
    "exim-pool-name": exim_with_pool_name,
    "large-newsletter": large_newsletter,
    "alarm-panel": alarm_panel,
    "club-circular": club_circular,
    "uptime-probe": uptime_probe,
    "router-alerts": router_alerts,
    "ipv6-server": ipv6_server,
}
BOTS: dict[str, Callable[[random.Random], Iterator[Session]]] = {
    "lethic-like": _alone(lethic_like),
    "impersonator": _alone(impersonator),
    "fresh-line": _alone(fresh_line),
    "fresh-line-tls": _alone(lambda rng: fresh_line(rng)._replace(tls=0.97)),
    "in-bursts": in_bursts,
    "doorbell": _alone(doorbell),
    "ipv6-sprayer": lambda rng: in_ipv6(run(rng, bots.classic_sprayer(rng))),
    "router-1-an-hour": _alone(lambda rng: bots.classic_sprayer(rng)._replace(per_hour=1, parallel=1)),
    "behind-nat": behind_nat,
}
