"""The development set's bots, each of a class: classic, careful, proxyware-TLS, mimic-TLS, other.

Knows how bots send: B, the brief's descriptions; F, facts/detection.md (Phorpiex 30,000 an hour, ProxyM 400 a day,
Cutwail 53.3 % of failures bad addresses, Rustock one recipient and Cutwail and Lethic many, CBL's HELOs); what has no
mark is judgement with a range. Lines are homes': 70 to 85 % in PBL. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from tests.evaluate.mta import DAY, log_uniform
from tests.evaluate.world.bot import Bot, run
from tests.evaluate.world.delivery import Attempts, deliver, together
from tests.evaluate.world.people import a_home, a_server_home, correspondence, own_domain
from tests.evaluate.world.programs import GO, JAVA, OLD_OPENSSL, POSTFIX, SCHANNEL, SMTPLIB, WIFI, Client, postfix

CLASSIC, CAREFUL, PROXYWARE_TLS, MIMIC_TLS, OTHER = "classic", "careful", "proxyware-TLS", "mimic-TLS", "other"
#: To an operator far away, ms: least and most (facts/detection.md).
_FAR = (30.0, 400.0)


Maker = Callable[[random.Random], Attempts]
Kind = TypeVar("Kind")


def _always(value: Kind) -> Callable[[random.Random], Kind]:
    return lambda _: value


def _operator(rng: random.Random) -> tuple[float, float]:
    round_trip = log_uniform(rng, *_FAR)
    return round_trip, round_trip * 1.3


def _box(rng: random.Random) -> str:
    """The network of a TV box: Wi-Fi for most."""
    return rng.choices(("", WIFI), (0.4, 0.6))[0]


def _list_domain(rng: random.Random) -> str:
    return f"{rng.choice(('gmail', 'yahoo', 'hotmail', 'aol', 'mail'))}{rng.randrange(3000)}.example"


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("bcdfghklmnprstvwaeiou") for _ in range(rng.randint(4, 9)))


def _pool_name(rng: random.Random) -> str:
    a, b, c, d = (rng.randint(1, 254) for _ in range(4))
    return rng.choice(
        (f"{a}-{b}-{c}-{d}.dynamic.example.net", f"host{d}.{c}.adsl.isp.example", f"dsl-{a}-{d}.isp.example")
    )


def _brand(rng: random.Random) -> str:
    return f"{_word(rng)}{rng.randrange(999)}.example"


# ── classic ─────────────────────────────────────────────────────────────────────────────────────────


def tofsee(rng: random.Random) -> Attempts:
    """2,000/h, HELO = the line's reverse name, senders of list domains, 15-30 % unknown, QUIT 90 %, blind (B)."""
    home = a_home(rng)
    client = Client(home.line.name, ehlo=rng.random() < 0.5, quits=0.9, blind=True)
    return run(home, Bot(
        rng.uniform(1000, 3000), _always(client), _list_domain, rng.uniform(0.15, 0.30),
        consumers=rng.uniform(0.4, 0.8), listed_after=log_uniform(rng, 20, 500),
    ))  # fmt: skip


def cutwail(rng: random.Random) -> Attempts:
    """5 to 40 recipients an envelope (F), HELO a word or pool name, no QUIT, 25-45 % unknown."""
    home = a_home(rng)
    client = Client(rng.choice((_pool_name(rng), _word(rng), "localhost")), ehlo=rng.random() < 0.4,
                    spaced=rng.random() < 0.5, quits=rng.choice((0.0, 0.2)), blind=True, hangs_up=0.5)  # fmt: skip
    brand = _brand(rng)
    return run(home, Bot(
        log_uniform(rng, 200, 4000), _always(client), _always(brand), rng.uniform(0.25, 0.45),
        recipients=(5, 40), listed_after=log_uniform(rng, 10, 300),
    ))  # fmt: skip


def rustock(rng: random.Random) -> Attempts:
    """One recipient an envelope (F), EHLO with a pool name, forged senders, QUIT half, 20-40 % unknown."""
    home = a_home(rng)
    client = Client(_pool_name(rng), quits=0.5, blind=rng.random() < 0.5)
    return run(home, Bot(
        log_uniform(rng, 300, 6000), _always(client), _list_domain, rng.uniform(0.20, 0.40),
        listed_after=log_uniform(rng, 10, 300),
    ))  # fmt: skip


def phorpiex(rng: random.Random) -> Attempts:
    """Sextortion, up to 30,000/h (F), HELO an address or a number, sender random, 10-50 % unknown, no QUIT."""
    home = a_home(rng)
    helo = rng.choice(("192.168.1.{}", "[10.0.0.{}]", "{}", "pc-{}")).format(rng.randint(2, 250))
    client = Client(
        helo, ehlo=rng.random() < 0.4, lower=rng.random() < 0.3, quits=0.0, hangs_up=0.3, blind=rng.random() < 0.5
    )
    return run(home, Bot(
        log_uniform(rng, 3000, 30000), _always(client), _list_domain, rng.uniform(0.10, 0.50),
        consumers=rng.uniform(0.5, 0.9),
        listed_after=log_uniform(rng, 10, 1000),
    ))  # fmt: skip


def emotet(rng: random.Random) -> Attempts:
    """Replies in stolen threads: a new HELO name every other connection (F: 16 names in 27), 5-20 % dead."""
    home = a_home(rng)
    names = [_word(rng) + rng.choice(("", ".local", ".example")) for _ in range(40)]
    return run(home, Bot(
        log_uniform(rng, 30, 600), lambda r: Client(r.choice(names), quits=0.6, ehlo=True), _brand,
        rng.uniform(0.05, 0.20), consumers=rng.uniform(0.1, 0.4), listed_after=log_uniform(rng, 20, 500),
    ))  # fmt: skip


def localhost_sprayer(rng: random.Random) -> Attempts:
    """HELO localhost.localdomain or a bare word (CBL: nearly all infected), early talk now and then, stubborn."""
    home = a_home(rng)
    client = Client(rng.choice(("localhost.localdomain", "user-pc", "ylmf-pc", "win7", "127.0.0.1")), ehlo=False,
                    spaced=rng.random() < 0.7, early=rng.random() < 0.15, quits=0.1, blind=True)  # fmt: skip
    return run(home, Bot(
        log_uniform(rng, 200, 10000), _always(client), lambda r: _brand(r) if r.random() < 0.2 else "rolex.example",
        rng.uniform(0.15, 0.40), listed_after=log_uniform(rng, 5, 200),
    ))  # fmt: skip


def _slow(per_hour: float) -> Maker:
    def make(rng: random.Random) -> Attempts:
        """A classic engine at this speed, HELO a name of a line or a word, 15-40 % unknown, blind to answers."""
        home = a_home(rng)
        client = Client(rng.choice((home.line.name, _pool_name(rng), _word(rng))), ehlo=rng.random() < 0.5,
                        spaced=rng.random() < 0.4, quits=rng.choice((0.0, 0.5, 0.9)), blind=True)  # fmt: skip
        return run(home, Bot(
            per_hour, _always(client), _list_domain, rng.uniform(0.15, 0.40), listed_after=log_uniform(rng, 20, 500)
        ))  # fmt: skip

    return make


def rotating_accepted(rng: random.Random) -> Attempts:
    """A new HELO and a new sender domain each time, to servers that take everything (a real capture; B)."""
    home = a_home(rng)
    home.line.pbl, home.line.ptr = False, "generic"
    takers: list[int] = []
    while len(takers) < 60:
        number = home.internet.anyone(rng, 0.0)
        host = home.internet.host(number)
        if host.manners.catch_all and not host.manners.asks_ptr and not host.manners.greylists and host.fate == "up":
            takers.append(number)
    return run(home, Bot(
        log_uniform(rng, 100, 4000), lambda r: Client(_word(r) + ".example", ehlo=r.random() < 0.7, quits=0.5), _brand,
        0.3, only=tuple(takers), listed_after=FAR_OFF, unwanted=(0.0, 0.05),
    ))  # fmt: skip


FAR_OFF = 1e9

# ── careful, in the clear ───────────────────────────────────────────────────────────────────────────


def badbox_clear(rng: random.Random) -> Attempts:
    """A TV box that relays for a customer: 400 a day, EHLO = the reverse name, 6 sender domains, 3-8 % dead (B)."""
    return _badbox(rng, "none")


def _badbox(rng: random.Random, tls: str) -> Attempts:
    home = a_home(rng)
    far = _operator(rng)
    retry = (1800.0, 3600.0, 4 * 3600.0) if rng.random() < 0.5 else (0.0, 0.0, 0.0)
    client = Client(
        home.line.name,
        tls=tls,
        ja4=rng.choice((GO, JAVA, SMTPLIB, OLD_OPENSSL)),
        quits=0.95,
        operator=far,
        retry=retry,
        network=_box(rng),
    )
    domains = [_brand(rng) for _ in range(6)]
    return run(home, Bot(
        400 / 24 * rng.uniform(0.7, 1.4), _always(client), lambda r: r.choice(domains), rng.uniform(0.03, 0.08),
        listed_after=log_uniform(rng, 50, 3000), aligned=rng.uniform(0.3, 1.0), unwanted=(0.05, 0.5),
    ))  # fmt: skip


def _mimic(dead: float, tls: str) -> Maker:
    def make(rng: random.Random) -> Attempts:
        """Postfix' dialect, QUIT, retries 90 %, own domain in EHLO and MAIL, 60/h (B)."""
        home, domain = a_home(rng), _brand(rng)
        if rng.random() < 0.85:
            home.line.pbl = True
        retry = (rng.uniform(600, 1800), 3600.0, rng.uniform(1, 6) * 3600) if rng.random() < 0.9 else (0.0, 0.0, 0.0)
        client = postfix(f"mail.{domain}", tls)._replace(
            retry=retry,
            ja4=rng.choice((POSTFIX, GO, SCHANNEL, OLD_OPENSSL)),
            pipelines=rng.random() < 0.5,
            banner_for_now=False,
            second_mx=rng.random() < 0.3,
        )
        return run(home, Bot(
            rng.uniform(30, 90), _always(client), _always(domain), dead * rng.uniform(0.8, 1.2),
            listed_after=log_uniform(rng, 50, 3000), aligned=rng.uniform(0.5, 1.0), unwanted=(0.05, 0.5),
        ))  # fmt: skip

    return make


def large_three(rng: random.Random) -> Attempts:
    """Careful; writes only to the three large providers, 5-30 % dead (B)."""
    home, domain = a_home(rng), _brand(rng)
    client = Client(rng.choice((f"mail.{domain}", home.line.name)), quits=1.0)
    return run(home, Bot(
        log_uniform(rng, 20, 1000), _always(client), _always(domain), rng.uniform(0.05, 0.30), only=(0, 1, 2),
        listed_after=log_uniform(rng, 50, 3000),
    ))  # fmt: skip


def bounces_first(rng: random.Random) -> Attempts:
    """Sends 5 to 60 bounces to strangers, then spam with 10-30 % dead (B)."""
    home, domain = a_home(rng), _brand(rng)
    client = Client(f"mail.{domain}", quits=1.0, retry=(900.0, 3600.0, 8 * 3600.0))
    return run(home, Bot(
        log_uniform(rng, 20, 600), _always(client), _always(domain), rng.uniform(0.10, 0.30),
        null_first=rng.randint(5, 60), listed_after=log_uniform(rng, 50, 2000),
    ))  # fmt: skip


def bought_list(rng: random.Random) -> Attempts:
    """A bought list with 10-30 % dead, sender of one domain, QUIT, 20 to 2,000/h."""
    home, domain = a_home(rng), _brand(rng)
    client = Client(
        rng.choice((f"mail.{domain}", domain)), quits=1.0, retry=rng.choice(((0.0, 0.0, 0.0), (1800.0, 7200.0, DAY)))
    )
    return run(home, Bot(
        log_uniform(rng, 20, 2000), _always(client), _always(domain), rng.uniform(0.10, 0.30),
        listed_after=log_uniform(rng, 30, 1000),
    ))  # fmt: skip


def careful_one_an_hour(rng: random.Random) -> Attempts:
    """Careful, one connection every half hour to two hours, 8-30 % dead, retries."""
    home, domain = a_home(rng), _brand(rng)
    client = Client(f"mail.{domain}", quits=1.0, retry=(1800.0, 7200.0, DAY))
    return run(home, Bot(
        rng.uniform(0.5, 2), _always(client), _always(domain), rng.uniform(0.08, 0.30),
        listed_after=log_uniform(rng, 50, 2000),
    ))  # fmt: skip


# ── under STARTTLS ──────────────────────────────────────────────────────────────────────────────────


def badbox_tls(rng: random.Random) -> Attempts:
    """The TV box' relay, STARTTLS wherever it is offered (B)."""
    return _badbox(rng, "may")


def socks_exit(rng: random.Random) -> Attempts:
    """A SOCKS exit that 3 to 12 customers use, each with his program, list and sender; most with TLS."""
    home = a_home(rng)
    network = _box(rng)
    customers = [_customer(rng, network) for _ in range(rng.randint(3, 12))]
    streams = []
    for client, domain in customers:
        streams.append(run(home, Bot(
            log_uniform(rng, 0.5, 40), _always(client), _always(domain), rng.uniform(0.03, 0.25),
            consumers=rng.uniform(0.2, 0.9), listed_after=FAR_OFF, aligned=rng.random(),
        ), rng.uniform(0, 2) * DAY))  # fmt: skip
    home.line.listed.append((log_uniform(rng, 0.1, 10) * DAY, float("inf")))
    return together(*streams)


_ANY_TLS = (GO, JAVA, SMTPLIB, OLD_OPENSSL, SCHANNEL, POSTFIX)


def _customer(rng: random.Random, network: str) -> tuple[Client, str]:
    domain = _brand(rng)
    helo = rng.choice((f"mail.{domain}", _word(rng), "localhost", "[127.0.0.1]", f"WIN-{_word(rng).upper()}"))
    client = Client(
        helo, tls="may" if rng.random() < 0.8 else "none", ja4=rng.choice(_ANY_TLS),
        quits=rng.choice((1.0, 0.7, 0.2)), operator=_operator(rng), network=network,
    )  # fmt: skip
    return client, domain


def proxym(rng: random.Random) -> Attempts:
    """ProxyM: 400 a day (F) for one operator, STARTTLS, a new sender domain every few mails, 5-25 % dead."""
    home = a_home(rng)
    far = _operator(rng)
    helo = rng.choice((home.line.name, "localhost", _word(rng)))
    client = Client(
        helo,
        tls="may",
        ja4=rng.choice((GO, JAVA, SMTPLIB)),
        quits=rng.choice((1.0, 0.5)),
        operator=far,
        network=_box(rng),
    )
    return run(home, Bot(
        400 / 24 * rng.uniform(0.6, 1.6), _always(client), lambda r: f"campaign{r.randrange(60)}.example",
        rng.uniform(0.05, 0.25), listed_after=log_uniform(rng, 50, 2000), aligned=rng.random(),
    ))  # fmt: skip


# ── others ──────────────────────────────────────────────────────────────────────────────────────────


def login_guesser(rng: random.Random) -> Attempts:
    """Tries logins on port 25 of many servers, never a message: 20 to 2,000/h; half behind STARTTLS."""
    home = a_home(rng)
    client = Client(
        rng.choice((_word(rng), "ylmf-pc", "[192.168.0.2]")), tls=rng.choice(("none", "may")), ja4=GO, quits=0.3
    )
    return run(
        home,
        Bot(log_uniform(rng, 20, 2000), _always(client), _brand, 0.0, consumers=0.05, login=1.0, listed_after=FAR_OFF),
    )


def list_washer(rng: random.Random) -> Attempts:
    """Asks whether addresses exist, RCPT and QUIT, never a message: 60 to 2,000/h, 30-70 % unknown."""
    home, domain = a_home(rng), _brand(rng)
    client = Client(rng.choice((f"mail.{domain}", home.line.name, _word(rng))), quits=rng.choice((1.0, 0.3)))
    return run(home, Bot(
        log_uniform(rng, 60, 2000), _always(client), _always(domain), rng.uniform(0.3, 0.7), probe=True,
        listed_after=log_uniform(rng, 200, 5000),
    ))  # fmt: skip


def beside_server(rng: random.Random) -> Attempts:
    """On a mail server's device: the bot starts in its second month, 20 to 400 a day."""
    home, domain = a_server_home(rng), own_domain(rng)
    client = Client(rng.choice((home.line.name, _word(rng))), quits=rng.choice((0.0, 0.9)), blind=rng.random() < 0.7)
    bot = Bot(
        log_uniform(rng, 20, 400) / 24,
        _always(client),
        _list_domain,
        rng.uniform(0.10, 0.35),
        listed_after=log_uniform(rng, 20, 500),
    )
    mails = correspondence(home, 120, log_uniform(rng, 2, 20), domain)
    return together(deliver(home, mails, postfix(f"mail.{domain}")), run(home, bot, rng.uniform(30, 60) * DAY))


def after_90_days(rng: random.Random) -> Attempts:
    """The same after 90 clean days, at full speed."""
    home, domain = a_server_home(rng), own_domain(rng)
    client = Client(rng.choice((home.line.name, _word(rng))), ehlo=False, quits=0.2, blind=True)
    bot = Bot(
        log_uniform(rng, 100, 3000),
        _always(client),
        _list_domain,
        rng.uniform(0.15, 0.40),
        listed_after=log_uniform(rng, 20, 500),
    )
    mails = correspondence(home, 95, log_uniform(rng, 2, 20), domain)
    return together(deliver(home, mails, postfix(f"mail.{domain}")), run(home, bot, 90 * DAY))


def classic_tls(rng: random.Random) -> Attempts:
    """A sprayer that takes STARTTLS wherever it is offered, 15-40 % unknown, a program of its own on the device."""
    home = a_home(rng)
    client = Client(
        rng.choice((home.line.name, _pool_name(rng), _word(rng))),
        tls="may",
        ja4=rng.choice((OLD_OPENSSL, SCHANNEL, GO)),
        quits=0.5,
    )
    return run(home, Bot(
        log_uniform(rng, 100, 3000), _always(client), _list_domain, rng.uniform(0.15, 0.40),
        listed_after=log_uniform(rng, 20, 500),
    ))  # fmt: skip


def router_exit(rng: random.Random) -> Attempts:
    """An infected router that relays for an operator (F: BCMUPnP_Hunter, SocksEscort), half behind STARTTLS."""
    return _badbox(rng, rng.choice(("none", "may")))


def phish_one_company(rng: random.Random) -> Attempts:
    """All to the staff of 1 to 4 companies, 10-40 % guessed wrong, EHLO of a look-alike domain, 10 to 200/h."""
    home, domain = a_home(rng), _brand(rng)
    companies = tuple(home.internet.anyone(rng, 0.0) for _ in range(rng.randint(1, 4)))
    client = Client(f"mail.{domain}", tls=rng.choice(("none", "may")), ja4=GO, quits=1.0)
    return run(home, Bot(
        log_uniform(rng, 10, 200), _always(client), _always(domain), rng.uniform(0.10, 0.40), only=companies,
        listed_after=FAR_OFF, aligned=1.0, unwanted=(0.1, 0.6),
    ))  # fmt: skip


def validated_list(rng: random.Random) -> Attempts:
    """Careful, in the clear, to a list of which 0-3 % is dead: filters, lists and home-line checks are what is left."""
    home, domain = a_home(rng), _brand(rng)
    client = Client(f"mail.{domain}", quits=1.0, retry=(1800.0, 7200.0, DAY))
    return run(home, Bot(
        log_uniform(rng, 10, 500), _always(client), _always(domain), rng.uniform(0.0, 0.03),
        listed_after=log_uniform(rng, 50, 2000), aligned=rng.random(),
    ))  # fmt: skip


def mail_bomber(rng: random.Random) -> Attempts:
    """Hundreds of letters to one mailbox, each with another forged sender, 100 to 3,000/h."""
    home = a_home(rng)
    client = Client(rng.choice((home.line.name, _word(rng), "localhost")), quits=rng.choice((0.0, 1.0)))
    return run(home, Bot(
        log_uniform(rng, 100, 3000), _always(client), _list_domain, 0.0, only=(home.internet.anyone(rng, 0.6),),
        listed_after=FAR_OFF,
    ))  # fmt: skip


def botnet_ipv6(rng: random.Random) -> Attempts:
    """A sprayer that prefers IPv6, on a line without a reverse name there, 15-40 % unknown."""
    home = a_home(rng)
    home.line.ipv6, home.line.pbl, home.line.ptr = True, False, "none"
    client = Client(rng.choice((_pool_name(rng), _word(rng))), ehlo=rng.random() < 0.5, quits=0.3, blind=True)
    return run(home, Bot(
        log_uniform(rng, 100, 3000), _always(client), _list_domain, rng.uniform(0.15, 0.40),
        listed_after=log_uniform(rng, 20, 500),
    ))  # fmt: skip


#: name -> (class, attempts). Connections are counted in the bot's own.
BOTS = {
    "tofsee": (CLASSIC, tofsee),
    "cutwail": (CLASSIC, cutwail),
    "rustock": (CLASSIC, rustock),
    "phorpiex": (CLASSIC, phorpiex),
    "emotet": (CLASSIC, emotet),
    "localhost-sprayer": (CLASSIC, localhost_sprayer),
    "classic-400-a-day": (CLASSIC, _slow(400 / 24)),
    "classic-1-an-hour": (CLASSIC, _slow(1.0)),
    "rotating-accepted": (CLASSIC, rotating_accepted),
    "badbox-clear": (CAREFUL, badbox_clear),
    "mimic-clear-5%": (CAREFUL, _mimic(0.05, "none")),
    "mimic-clear-15%": (CAREFUL, _mimic(0.15, "none")),
    "mimic-clear-30%": (CAREFUL, _mimic(0.30, "none")),
    "large-three": (CAREFUL, large_three),
    "bounces-first": (CAREFUL, bounces_first),
    "bought-list": (CAREFUL, bought_list),
    "careful-1-an-hour": (CAREFUL, careful_one_an_hour),
    "badbox-tls": (PROXYWARE_TLS, badbox_tls),
    "socks-exit": (PROXYWARE_TLS, socks_exit),
    "proxym": (PROXYWARE_TLS, proxym),
    "mimic-tls-5%": (MIMIC_TLS, _mimic(0.05, "may")),
    "mimic-tls-15%": (MIMIC_TLS, _mimic(0.15, "may")),
    "mimic-tls-30%": (MIMIC_TLS, _mimic(0.30, "may")),
    "validated-list": (OTHER, validated_list),
    "router-exit": (OTHER, router_exit),
    "phish-one-company": (OTHER, phish_one_company),
    "mail-bomber": (OTHER, mail_bomber),
    "ipv6-sprayer": (CLASSIC, botnet_ipv6),
    "classic-tls": (OTHER, classic_tls),
    "login-guesser": (OTHER, login_guesser),
    "list-washer": (OTHER, list_washer),
    "beside-server": (OTHER, beside_server),
    "after-90-days": (OTHER, after_90_days),
}
