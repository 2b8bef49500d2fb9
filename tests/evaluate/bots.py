"""The development set's bots, after the literature: parameters -> sessions.

Knows how bots send. Each number names its source or is judgement (J). [pcap]: measured on spambot.pcap of 2010 (1,109
connections to 840 servers in 344 s), as `inspect` reads it; [facts]: facts/detection.md. Must not know the
detector, nor be looked at together with `holdout`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.evaluate.bot import Bot, run
from tests.evaluate.facts import Session
from tests.evaluate.legit import Sessions, in_order, self_hosted
from tests.evaluate.mta import DAY, log_uniform
from tests.evaluate.talk import Client, session

#: How a connection of a classic bot comes out, per 1,000 [pcap].
CLASSIC_OUTCOMES = {
    "lost": 37,
    "closed": 14,
    "banner-listed": 104,
    "banner-no-banner": 64,
    "banner-busy": 39,
    "unknown": 219,
    "listed": 192,
    "rejected": 95,
    "deferred": 48,
    "data-rejected": 14,
    "cut": 30,
    "accepted": 144,
}
#: Cutwail (Stone-Gross et al. 2011): 30 % delivered; of the failures 53.3 % bad addresses [facts], 17 % lists, 12 %
#: other SMTP errors, 11 % timeouts (from memory). Where in the dialogue each happens is judgement.
CAREFUL_OUTCOMES = {
    "lost": 60,
    "closed": 20,
    "banner-listed": 40,
    "banner-no-banner": 25,
    "banner-busy": 15,
    "unknown": 375,
    "listed": 80,
    "rejected": 45,
    "deferred": 25,
    "data-rejected": 10,
    "cut": 5,
    "accepted": 300,
}
#: A bought, cleaned list (J).
CLEANED_OUTCOMES = {
    "lost": 20,
    "closed": 8,
    "banner-listed": 30,
    "banner-no-banner": 30,
    "banner-busy": 20,
    "unknown": 190,
    "listed": 60,
    "rejected": 60,
    "deferred": 60,
    "data-rejected": 20,
    "cut": 2,
    "accepted": 500,
}


def pool_name(rng: random.Random) -> str:
    a, b, c, d = (rng.randint(1, 254) for _ in range(4))
    return rng.choice(
        (f"{a}-{b}-{c}-{d}.dynamic.pool.example.net", f"host{d}.{c}.adsl.isp.example", f"dsl-{a}-{d}.isp.example")
    )


def classic_client(rng: random.Random) -> Client:
    """HELO with a pool's name and `MAIL FROM: <` [pcap]; others say a word, an address or localhost (CBL)."""
    helo = rng.choice(
        (pool_name(rng), pool_name(rng), "localhost.localdomain", f"{rng.randint(1, 223)}.8.9.7", "user-pc")
    )
    return Client(helo, ehlo=rng.random() < 0.3, spaced=rng.random() < 0.7, early=rng.random() < 0.05, stubborn=True)


def proper_name(rng: random.Random) -> str:
    return f"mail.{rng.choice(('blue', 'fast', 'north', 'prime'))}{rng.randrange(9999)}.example"


def classic_sprayer(rng: random.Random) -> Bot:
    """A sprayer of 2010: one HELO, one sender, one recipient, never QUIT [pcap]; up to 30,000/h (Phorpiex [facts])."""
    client = classic_client(rng)
    sender = rng.choice(("rolex.example", "watches.example"))
    return Bot(
        log_uniform(rng, 200, 30000), lambda _: client, lambda _: sender, CLASSIC_OUTCOMES, parallel=rng.randint(1, 10)
    )


def rotating_sprayer(rng: random.Random) -> Bot:
    """The same with a new HELO and sender each time (Emotet capture: 16 names in 27 sessions)."""
    return classic_sprayer(rng)._replace(
        client=lambda r: Client(pool_name(r), ehlo=r.random() < 0.5, spaced=True),
        sender=lambda r: f"brand{r.randrange(500)}.example",
        quits=rng.choice((0.0, 0.5)),
    )


def careful(rng: random.Random) -> Bot:
    """Valid EHLO, stable sender of the same domain, QUIT; a list like Cutwail's; listed after 1 to 30 messages (J)."""
    name = proper_name(rng)
    client, sender = Client(name), name.partition(".")[2]
    return Bot(
        log_uniform(rng, 20, 2000), lambda _: client, lambda _: sender, CAREFUL_OUTCOMES, quits=1.0,
        new_servers=rng.uniform(0.6, 0.95), listed_after=int(log_uniform(rng, 1, 30)), retries=rng.choice((0.0, 0.5)),
    )  # fmt: skip


def starttls_only(rng: random.Random) -> Bot:
    """Careful, and all it can behind STARTTLS: the server has it in 80 to 95 % (as `internet`)."""
    return careful(rng)._replace(tls=rng.uniform(0.80, 0.95))


def many_recipients(rng: random.Random) -> Bot:
    """Cutwail and Lethic: 5 to 50 RCPTs an envelope [facts], a third unknown (J)."""
    return classic_sprayer(rng)._replace(recipients=(5, 50), unknown_share=0.33, per_hour=log_uniform(rng, 100, 3000))


def one_recipient(rng: random.Random) -> Bot:
    """Rustock: about 1 an envelope [facts], EHLO, QUIT half of the time (J)."""
    client = Client(pool_name(rng))
    return classic_sprayer(rng)._replace(client=lambda _: client, quits=0.5)


def syn_only(rng: random.Random) -> Bot:
    """Under mode block without responder: SYNs are all that is seen."""
    return classic_sprayer(rng)._replace(syn_only=True)


def proxy_on_tv(rng: random.Random) -> Bot:
    """A proxy SDK on a TV: each customer of it has his own HELO, dialect and sender; 400 a day (ProxyM [facts])."""
    customers = [
        (
            Client(rng.choice((pool_name(rng), proper_name(rng), "localhost")), rng.random() < 0.7, rng.random() < 0.3),
            rng.random(),
        )
        for _ in range(rng.randint(3, 12))
    ]
    return careful(rng)._replace(
        per_hour=400 / 24, client=lambda r: r.choice(customers)[0],
        sender=lambda r: f"campaign{r.randrange(40)}.example",
        quits=0.6, tls=rng.uniform(0, 0.3),
    )  # fmt: skip


def cleaned_list(rng: random.Random) -> Bot:
    """Careful, half of its recipients good, on a line that blocklists have after 1 to 300 messages (J)."""
    return careful(rng)._replace(outcomes=CLEANED_OUTCOMES, listed_after=int(log_uniform(rng, 1, 300)))


def webmail_only(rng: random.Random) -> Bot:
    """Careful, all to the five large providers, half of the bots behind STARTTLS (J)."""
    return careful(rng)._replace(only_big=True, tls=rng.choice((0.0, 1.0)))


def patient(rng: random.Random) -> Bot:
    """Adaptive: 1 to 3 an hour, 85 % good recipients, TLS where it can, retries, few servers (J)."""
    outcomes = {"accepted": 850, "unknown": 60, "deferred": 50, "lost": 10, "rejected": 30}
    return careful(rng)._replace(
        per_hour=rng.uniform(1, 3), outcomes=outcomes, retries=1.0, tls=0.9, servers=rng.randint(20, 200)
    )


def verified_list(rng: random.Random) -> Bot:
    """Adaptive: every recipient exists, in the clear; only refusals for content and lists are left (J)."""
    outcomes = {"accepted": 800, "deferred": 50, "listed": 80, "rejected": 50, "lost": 20}
    return careful(rng)._replace(outcomes=outcomes, per_hour=log_uniform(rng, 5, 100))


Maker = Callable[[random.Random], Sessions]


def _alone(make: Callable[[random.Random], Bot]) -> Maker:
    return lambda rng: run(rng, make(rng))


def _at(make: Callable[[random.Random], Bot], per_hour: float) -> Maker:
    """At another speed; what else there is of it is the same for the same seed."""
    return lambda rng: run(rng, make(rng)._replace(per_hour=per_hour, parallel=1))


def beside_server(rng: random.Random) -> Sessions:
    """On an exempt mail server: the bot starts in its third month, 20 to 400 a day, careful or classic."""
    start = rng.uniform(60, 90) * DAY
    bot = rng.choice((careful, classic_sprayer))(rng)._replace(per_hour=log_uniform(rng, 20, 400) / 24, parallel=1)
    return in_order(self_hosted(rng, 365), run(rng, bot, start))


def after_clean_days(rng: random.Random) -> Sessions:
    """A device that mails legitimately, and a bot on it after 90 clean days, at its full speed."""
    bot = rng.choice((careful, classic_sprayer))(rng)
    return in_order(self_hosted(rng, 120), run(rng, bot, 90 * DAY))


def rotation_of_families(rng: random.Random) -> Iterator[Session]:
    """Adaptive: spam among 3 times as many harmless sessions with one server that always accepts (J)."""
    bot = careful(rng)
    name = proper_name(rng)
    client, sender = Client(name), name.partition(".")[2]
    for spam in run(rng, bot):
        for _ in range(3):
            yield session(
                rng, spam.time, b"\xf0\xff\xff\x19", client, "accepted", sender=sender,
                recipient="friend.example",
            )  # fmt: skip
        yield spam


#: name -> (sessions, is it the router's own). Detection is counted in the bot's own connections.
BOTS: dict[str, Maker] = {
    "classic-sprayer": _alone(classic_sprayer),
    "classic-rotating": _alone(rotating_sprayer),
    "many-recipients": _alone(many_recipients),
    "one-recipient": _alone(one_recipient),
    "careful": _alone(careful),
    "starttls-only": _alone(starttls_only),
    "syn-only": _alone(syn_only),
    "classic-400-a-day": _at(classic_sprayer, 400 / 24),
    "classic-1-an-hour": _at(classic_sprayer, 1),
    "classic-1-a-day": _at(classic_sprayer, 1 / 24),
    "careful-400-a-day": _at(careful, 400 / 24),
    "careful-1-an-hour": _at(careful, 1),
    "careful-1-a-day": _at(careful, 1 / 24),
    "proxy-on-tv": _alone(proxy_on_tv),
    "router-originated": _alone(careful),
    "beside-mail-server": beside_server,
    "after-90-clean-days": after_clean_days,
    "webmail-only": _alone(webmail_only),
    "cleaned-list": _alone(cleaned_list),
    "patient": _alone(patient),
    "verified-list": _alone(verified_list),
    "hidden-among-good": rotation_of_families,
}
