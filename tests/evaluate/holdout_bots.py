"""The hold-out set's bots. **Not to be used for tuning**; they are only reported (see `holdout`).

Knows the same building blocks as `bots`. The bots from `snowshoe` on are the latest, written without a look at the
detector. Rates are judgement (J) where no source is named; [facts]: facts/detection.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from cpe_filter.inspect.facts import Event, Reply
from tests.evaluate import bots
from tests.evaluate.bot import Bot, run
from tests.evaluate.bots import pool_name, proper_name
from tests.evaluate.facts import Session
from tests.evaluate.internet import BIG, Internet
from tests.evaluate.legit import Sessions, in_order, nat_lan
from tests.evaluate.mta import DAY, HOUR, log_uniform
from tests.evaluate.talk import Client, session


def in_ipv6(sessions: Sessions) -> Sessions:
    """The same at IPv6 servers: every /24 becomes a /48."""
    for each in sessions:
        yield each._replace(server=b"\x3f\xff" + each.server[:3] + bytes(10) + each.server[3:])


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


#: What comes of a list of subscribers that was bought: few unknown, complaints, and home lines are home lines (J).
SNOWSHOE = {
    "lost": 10, "closed": 4, "banner-home": 15, "banner-busy": 8, "unknown": 30, "home": 50, "listed": 40,
    "banner-listed": 10, "rejected": 15, "deferred": 50, "data-rejected": 35, "accepted": 733,
}  # fmt: skip


def snowshoe(rng: random.Random) -> Bot:
    """Sends 100 to 400 a day for one to four domains of its own, signed, under TLS wherever there is.

    (Snowshoe: the load is spread over many addresses and domains, each of them quiet; Spamhaus has CSS for it.) CSS has
    the line after 50 to 2,000 messages (J). It retries like a mail server; half of it goes to servers it knows.
    """
    domains = [f"{rng.choice(('deal', 'daily', 'vital', 'home'))}{rng.randrange(9999)}.example" for _ in range(4)]
    own = domains[: rng.randint(1, 4)]
    client = Client(f"{rng.choice(('mta', 'out', 'smtp'))}{rng.randint(1, 40)}.{own[0]}")
    return Bot(
        log_uniform(rng, 100, 400) / 24, lambda _: client, lambda r: r.choice(own), SNOWSHOE, quits=1.0,
        tls=rng.uniform(0.8, 0.95), new_servers=rng.uniform(0.35, 0.65), retries=0.9,
        listed_after=int(log_uniform(rng, 50, 2000)),
    )  # fmt: skip


def sextortion(rng: random.Random) -> Sessions:
    """Phorpiex, 2019: up to 30,000 an hour (Check Point), addresses of old leaks, 35-60 % unknown (J), in the clear.

    Writes to each in his own name (spamauditor.org, 2015, of such a bot: EHLO, MAIL FROM equal to RCPT TO, hangs up
    on a refusal without QUIT). A random word as name, another each time (J); many connections at once.
    """
    outcomes = {
        "lost": 60, "closed": 20, "banner-listed": 90, "banner-home": 60, "banner-busy": 40, "home": 70, "listed": 120,
        "rejected": 60, "deferred": 30, "data-rejected": 50, "cut": 20, "accepted": 150,
        "unknown": rng.randint(400, 1100),
    }  # fmt: skip
    bot = Bot(
        log_uniform(rng, 1500, 30000),
        lambda r: Client("".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(5, 10)))),
        lambda _: "", outcomes, parallel=rng.randint(10, 100), new_servers=rng.uniform(0.4, 0.8),
    )  # fmt: skip
    for each in run(rng, bot):
        yield each._replace(events=tuple(_to_itself(each.events)))


def _to_itself(events: tuple[Event, ...]) -> Iterator[Event]:
    """The dialogue with MAIL FROM as in its only RCPT TO."""
    to = next((event.name for event in events if event.kind == "recipient"), "")
    for event in events:
        if event.kind == "recipient":
            yield Event("quirk", "sender-is-recipient")
        yield event._replace(name=to) if event.kind in ("sender", "message") else event


def list_washer(rng: random.Random) -> Sessions:
    """A proxy whose customer has addresses checked: RCPT for one that cannot exist, RCPT for the one in question, QUIT.

    (Reacher, check-if-email-exists: by SOCKS5 proxy, EHLO localhost and user@example.org unless told otherwise;
    the first RCPT finds servers that take all: 15 % here, J.) 60 to 1,500 an hour, 20-55 % of the list unknown (J).
    """
    name = proper_name(rng)
    helo, sender = rng.choice((("localhost", "example.org"), (name, name.partition(".")[2]), (name, "example.org")))
    client = Client(helo)
    outcomes = {
        "lost": 40, "closed": 12, "banner-home": 40, "banner-listed": 25, "banner-busy": 40, "home": 110, "listed": 40,
        "rejected": 20, "deferred": 60, "accepted": 400, "unknown": rng.randint(120, 550),
    }  # fmt: skip
    bot = Bot(
        log_uniform(rng, 60, 1500), lambda _: client, lambda _: sender, outcomes, quits=1.0, recipients=(2, 2),
        unknown_share=0.85, new_servers=rng.uniform(0.3, 0.8), tls=rng.choice((0.0, 0.9)),
    )  # fmt: skip
    for each in run(rng, bot):
        # Under TLS it sends as little as one who is refused.
        size = rng.randint(241, 512)
        yield each._replace(events=tuple(
            event._replace(number=size) if event.kind == "tls-bytes" else event
            for event in each.events
            if event.kind != "message"
        ))  # fmt: skip


_WRONG_PASSWORD = Event("reply", "AUTH", Reply(535, "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6"))
_ACCOUNT_OUTCOMES = {
    "accepted": 640, "auth": 150, "data-rejected": 100, "rejected": 25, "deferred": 25, "listed": 20, "lost": 30,
    "closed": 10,
}  # fmt: skip


def stolen_accounts(rng: random.Random) -> Sessions:
    """Emotet-like: logs in at the servers of 8 to 40 stolen accounts, on port 25, and answers their threads from there.

    Says the account's domain as its name, so names change as in its capture (16 in 27 sessions [facts]); half of the
    servers offer STARTTLS and get it. One to three recipients; some passwords are stale, some servers refuse the
    attachment; the operator replaces an account after some hundred messages. 30 to 600 an hour. All J.
    """
    internet, pause = Internet(rng), HOUR / log_uniform(rng, 30, 600)

    def account() -> tuple[bytes, str, bool]:
        server = internet.server(BIG + rng.randrange(1 << 16))
        return server.addresses[0], server.domain, rng.random() < 0.5

    accounts = [account() for _ in range(rng.randint(8, 40))]
    outcomes, weights = list(_ACCOUNT_OUTCOMES), list(_ACCOUNT_OUTCOMES.values())
    time = 0.0
    while True:
        time += rng.expovariate(1 / pause)
        if rng.random() < 0.04:
            accounts[rng.randrange(len(accounts))] = account()
        address, domain, tls = rng.choice(accounts)
        outcome = rng.choices(outcomes, weights)[0]
        refused = outcome == "auth"
        whole = session(
            rng, time, address, Client(domain, authenticates=True), "unknown" if refused else outcome, sender=domain,
            recipient=f"friend{rng.randrange(1 << 16)}.example", recipients=1 if refused else rng.randint(1, 3),
            tls=tls, quits=refused or rng.random() < 0.7, spam=True,
        )  # fmt: skip
        if refused and not tls:
            kept = (event for event in whole.events if event.kind not in ("sender", "recipient"))
            whole = whole._replace(events=tuple(_WRONG_PASSWORD if event.name == "AUTH" else event for event in kept))
        yield whole


def _alone(make: Callable[[random.Random], Bot]) -> Callable[[random.Random], Sessions]:
    return lambda rng: run(rng, make(rng))


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
    "snowshoe": _alone(snowshoe),
    "sextortion": sextortion,
    "list-washer": list_washer,
    "stolen-accounts": stolen_accounts,
}
