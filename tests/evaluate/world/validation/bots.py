"""The validation set's bots by name, after what analysts wrote about them; ranges are drawn for each device.

Knows classes of bots, as the goals have them. Must not know the detector. (J): judgement.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from tests.evaluate.world.bots import CAREFUL, CLASSIC, MIMIC_TLS, OTHER, PROXYWARE_TLS
from tests.evaluate.world.delivery import Attempts, deliver, together
from tests.evaluate.world.people import DAY, a_home, a_server_home, correspondence, log_uniform
from tests.evaluate.world.programs import (
    ANDROID,
    GO,
    HOUR,
    JAVA,
    OLD_OPENSSL,
    POSTFIX,
    SCHANNEL,
    SMTPLIB,
    WIFI,
    Client,
    exim,
    postfix,
)
from tests.evaluate.world.validation.bot_campaign import (
    FOREVER,
    Campaign,
    listed_domain,
    provider,
    random_name,
    recipients_own,
    run,
)
from tests.evaluate.world.validation.legit_servers import a_domain

_ALL_TLS = (GO, JAVA, SCHANNEL, OLD_OPENSSL, SMTPLIB)


def _same(client: Client) -> Callable[[random.Random], Client]:
    return lambda _: client


def _far(rng: random.Random, least: float = 25, most: float = 320) -> tuple[float, float]:
    """A way to an operator, in ms, and its spread."""
    way = log_uniform(rng, least, most)
    return way, way * rng.uniform(1.05, 1.6)


# ── engines of their own, in the clear ─────────────────────────────────────────────────────────────


def lethic(rng: random.Random) -> Attempts:
    """A relay for its operator's engine: nothing but SMTP through a tunnel, in the clear (M86/Trustwave SpiderLabs).

    Pharmacy and watches to old lists; EHLO or HELO with made-up names. Volumes are judgement.
    """
    home, way, ehlo = a_home(rng), _far(rng), rng.random() < 0.5

    def client(rng: random.Random) -> Client:
        return Client(f"{random_name(rng)}.example", ehlo=ehlo, quits=0.9, operator=way)

    return run(home, Campaign(
        log_uniform(rng, 200, 2000), client, listed_domain, rng.uniform(0.15, 0.40),
        listed_after=log_uniform(rng, 20, 400),
    ))  # fmt: skip


def grum(rng: random.Random) -> Attempts:
    """HELO with a computer's name, several recipients, hangs up when it is refused (M86: 18-20 recipients; J)."""
    home = a_home(rng)
    client = Client(random_name(rng), ehlo=False, quits=rng.uniform(0.0, 0.3), hangs_up=0.8)
    return run(home, Campaign(
        log_uniform(rng, 400, 3000), _same(client), provider, rng.uniform(0.20, 0.45), recipients=(1, 18),
        listed_after=log_uniform(rng, 20, 300), naive=0.3,
    ))  # fmt: skip


def necurs(rng: random.Random) -> Attempts:
    """Waves of hours with days between, firstname.number@ a listed domain (dhcp.net on its return; pace J)."""
    home = a_home(rng)
    client = Client(
        rng.choice((home.line.name, "[192.0.2.77]", random_name(rng))), quits=rng.choice((1.0, 0.5)),
        hangs_up=rng.choice((0.0, 0.5)),
    )  # fmt: skip
    return run(home, Campaign(
        log_uniform(rng, 200, 1500), _same(client), listed_domain, rng.uniform(0.10, 0.30),
        wave=(2, 10), pause=(12, 96), listed_after=log_uniform(rng, 30, 500), size=(4000, 120000), naive=0.2,
    ))  # fmt: skip


def kelihos(rng: random.Random) -> Attempts:
    """The one that comes back after greylisting: 5 to 10 minutes, then hours (Pagani et al., DSN 2016)."""
    home = a_home(rng)
    client = Client(random_name(rng), quits=0.95, retry=(300.0, 6000.0, 25 * HOUR), second_mx=rng.random() < 0.5)
    return run(home, Campaign(
        log_uniform(rng, 200, 1200), _same(client), listed_domain, rng.uniform(0.10, 0.35),
        listed_after=log_uniform(rng, 30, 400), naive=0.15,
    ))  # fmt: skip


def camel_case(rng: random.Random) -> Attempts:
    """EHLO, the recipient as sender, dictionary addresses, no QUIT where refused (spamauditor.org, June 2015)."""
    home = a_home(rng)
    client = Client(rng.choice((random_name(rng), home.line.name)), quits=0.6, hangs_up=1.0)
    return run(home, Campaign(
        log_uniform(rng, 300, 3000), _same(client), recipients_own, rng.uniform(0.35, 0.65), consumers=0.3,
        again=0.3, listed_after=log_uniform(rng, 20, 300), naive=0.2,
    ))  # fmt: skip


def gamut(rng: random.Random) -> Attempts:
    """EHLO with a made-up domain for each letter, jobs and dating (McAfee 2017: 37 % of bots' spam; pace J)."""
    home = a_home(rng)

    def client(rng: random.Random) -> Client:
        return Client(f"mail.{listed_domain(rng, '')}", quits=0.85)

    return run(home, Campaign(
        log_uniform(rng, 100, 1000), client, listed_domain, rng.uniform(0.10, 0.30),
        listed_after=log_uniform(rng, 30, 500),
    ))  # fmt: skip


def waledac(rng: random.Random) -> Attempts:
    """HELO with a host's name for each letter, pipelines nothing, blind to replies (Nunnery et al., LEET 2010; J)."""
    home = a_home(rng)

    def client(rng: random.Random) -> Client:
        return Client(f"{random_name(rng)}.{provider(rng, '')}", ehlo=False, blind=True, quits=0.5)

    return run(home, Campaign(
        log_uniform(rng, 500, 2500), client, provider, rng.uniform(0.25, 0.45), listed_after=log_uniform(rng, 20, 200),
        naive=0.4,
    ))  # fmt: skip


def festi(rng: random.Random) -> Attempts:
    """Reads replies for words of blocklists and goes slower then (ESET, "King of Spam", appendices B and C; pace J)."""
    home = a_home(rng)
    client = Client(home.line.name, ehlo=rng.random() < 0.7, quits=1.0)
    return run(home, Campaign(
        log_uniform(rng, 400, 3000), _same(client), listed_domain, rng.uniform(0.15, 0.40),
        listed_after=log_uniform(rng, 20, 200), slower=rng.uniform(0.02, 0.2), naive=0.2,
    ))  # fmt: skip


def kraken(rng: random.Random) -> Attempts:
    """Bobax's line: dictionary attacks on few domains, many RCPTs a connection, half unknown (Royal, 2008; J)."""
    home = a_home(rng)
    client = Client(home.line.name, ehlo=False, quits=0.8, blind=rng.random() < 0.5)
    return run(home, Campaign(
        log_uniform(rng, 200, 1500), _same(client), listed_domain, rng.uniform(0.45, 0.75), consumers=0.2,
        recipients=(3, 25), again=0.5, listed_after=log_uniform(rng, 10, 200), naive=0.3,
    ))  # fmt: skip


# ── careful, in the clear ──────────────────────────────────────────────────────────────────────────


def snowshoe_by_homes(rng: random.Random) -> Attempts:
    """Snowshoe through homes: own domains with SPF for all, fresh lists, few letters an hour, a relay (Spamhaus; J)."""
    home, way = a_home(rng), _far(rng, 30, 250)
    domains = [a_domain(rng) for _ in range(rng.randint(3, 30))]

    def client(rng: random.Random) -> Client:
        return Client(f"mail.{rng.choice(domains)}", pipelines=rng.random() < 0.3, operator=way)

    return run(home, Campaign(
        log_uniform(rng, 4, 40), client, lambda rng, _: rng.choice(domains), rng.uniform(0.05, 0.15), consumers=0.75,
        aligned=rng.uniform(0.5, 1.0), listed_after=log_uniform(rng, 200, 3000), unwanted=(0.1, 0.5),
    ))  # fmt: skip


def sextortion(rng: random.Random) -> Attempts:
    """Waves of "I have your password" from the recipient's own address, lists of leaks (Phorpiex' module; pace J).

    Leaks age: 10-30 % of addresses are gone.
    """
    home = a_home(rng)
    client = Client(rng.choice((home.line.name, random_name(rng))), quits=1.0)
    return run(home, Campaign(
        log_uniform(rng, 20, 200), _same(client), recipients_own, rng.uniform(0.10, 0.30), consumers=0.8,
        wave=(1, 4), pause=(12, 120), listed_after=log_uniform(rng, 50, 1000), size=(2500, 5000),
    ))  # fmt: skip


def thread_hijacker(rng: random.Random) -> Attempts:
    """Replies to stolen threads, by a program here: addresses that were alive, few an hour (Sophos on Qakbot; J)."""
    home = a_home(rng)
    client = Client(rng.choice((home.line.name, f"{random_name(rng)}.lan", f"mail.{a_domain(rng)}")), quits=1.0)
    return run(home, Campaign(
        log_uniform(rng, 5, 60), _same(client), listed_domain, rng.uniform(0.05, 0.12), consumers=0.35,
        listed_after=log_uniform(rng, 100, 2000), size=(8000, 80000), unwanted=(0.1, 0.5),
    ))  # fmt: skip


def proxy_m(rng: random.Random) -> Attempts:
    """Linux.ProxyM: a SOCKS proxy on a camera or set-top box, 400 letters a day (Doctor Web 2017); the rest J."""
    home, way = a_home(rng), _far(rng)
    client = Client(rng.choice((home.line.name, "localhost.localdomain", "[127.0.0.1]")), quits=1.0, operator=way)
    return run(home, Campaign(
        400 / 24 * rng.uniform(0.7, 1.5), _same(client), listed_domain, rng.uniform(0.08, 0.30),
        listed_after=log_uniform(rng, 50, 800),
    ))  # fmt: skip


# ── proxyware, by STARTTLS ─────────────────────────────────────────────────────────────────────────


def socks_911(rng: random.Random) -> Attempts:
    """A free VPN that sells its users' lines: an operator's mailer under Windows or Java, far away (911 S5; pace J)."""
    home, way, ja4 = a_home(rng), _far(rng, 60, 320), rng.choice(_ALL_TLS)

    def client(rng: random.Random) -> Client:
        return Client(random_name(rng), tls="may", ja4=ja4, operator=way)

    return run(home, Campaign(
        log_uniform(rng, 20, 300), client, listed_domain, rng.uniform(0.10, 0.35),
        listed_after=log_uniform(rng, 30, 600),
    ))  # fmt: skip


def rogue_doorbell(rng: random.Random) -> Attempts:
    """Android things with a proxy in an app: customers change, each with another program ("When doorbells go rogue").

    By Wi-Fi; pace and lists are judgement.
    """
    home = a_home(rng)
    customers = [(_far(rng), rng.choice(_ALL_TLS), a_domain(rng)) for _ in range(rng.randint(1, 6))]

    def client(rng: random.Random) -> Client:
        way, ja4, domain = rng.choice(customers)
        return Client(domain, tls="may", ja4=ja4, operator=way, network=WIFI, quits=0.9)

    return run(home, Campaign(
        log_uniform(rng, 10, 200), client, listed_domain, rng.uniform(0.08, 0.30),
        listed_after=log_uniform(rng, 30, 800),
    ))  # fmt: skip


def invoice_fraud(rng: random.Random) -> Attempts:
    """Forged invoices through a home of the victims' country: few, TLS only, an operator nearby (15-70 ms; J)."""
    home, way = a_home(rng), _far(rng, 15, 70)
    domain, ja4 = a_domain(rng), rng.choice((SCHANNEL, SMTPLIB, GO))
    client = Client(f"mail.{domain}", tls="must", ja4=ja4, operator=way)
    return run(home, Campaign(
        log_uniform(rng, 3, 25), _same(client), lambda _, __: domain, rng.uniform(0.04, 0.15), consumers=0.1,
        aligned=0.6, listed_after=log_uniform(rng, 200, 3000), unwanted=(0.02, 0.3), size=(20000, 200000),
    ))  # fmt: skip


def router_socks(rng: random.Random) -> Attempts:
    """A SOCKS proxy on the router itself, after a password that never changed (Faceless, TheMoon: Lumen 2024; J)."""
    home, way, ja4 = a_home(rng), _far(rng, 20, 250), rng.choice(_ALL_TLS)

    def client(rng: random.Random) -> Client:
        return Client(rng.choice((f"{random_name(rng)}.example", home.line.name)), tls="may", ja4=ja4, operator=way)

    return run(home, Campaign(
        log_uniform(rng, 10, 300), client, listed_domain, rng.uniform(0.08, 0.35),
        listed_after=log_uniform(rng, 30, 600),
    ))  # fmt: skip


# ── programs of this device, by STARTTLS ───────────────────────────────────────────────────────────


def postfix_of_thief(rng: random.Random) -> Attempts:
    """A broken-into Linux machine on which Postfix is set up for a campaign: retries, QUIT, TLS (J)."""
    home, domain = a_server_home(rng), a_domain(rng)
    return run(home, Campaign(
        log_uniform(rng, 20, 300), _same(postfix(f"mail.{domain}")), lambda _, __: domain, rng.uniform(0.03, 0.20),
        aligned=rng.uniform(0.0, 0.5), listed_after=log_uniform(rng, 100, 2000),
    ))  # fmt: skip


def go_mailer(rng: random.Random) -> Attempts:
    """A mailer in Go dropped by a loader: net/smtp, STARTTLS where offered, QUIT, names of the line (J)."""
    home = a_home(rng)
    client = Client(rng.choice(("localhost", home.line.name)), tls="may", ja4=GO)
    return run(home, Campaign(
        log_uniform(rng, 30, 400), _same(client), listed_domain, rng.uniform(0.08, 0.30),
        listed_after=log_uniform(rng, 50, 800),
    ))  # fmt: skip


def nas_by_exim(rng: random.Random) -> Attempts:
    """A NAS whose web application was broken: PHP hands letters to its Exim; lists of 5-25 % dead (J)."""
    home, domain = a_home(rng), a_domain(rng)
    return run(home, Campaign(
        log_uniform(rng, 20, 500), _same(exim(rng.choice(("nas.local", domain)))), listed_domain,
        rng.uniform(0.05, 0.25),
        aligned=0.1, wave=(3, 30), pause=(5, 60), listed_after=log_uniform(rng, 50, 1000),
    ))  # fmt: skip


def phone_app(rng: random.Random) -> Attempts:
    """An Android application with a mailer of its own, by Wi-Fi (AndroidBauts' kin; all J)."""
    home = a_home(rng)
    client = Client("[127.0.0.1]", tls="may", ja4=rng.choice((ANDROID, JAVA)), network=WIFI, quits=0.9)
    return run(home, Campaign(
        log_uniform(rng, 10, 120), _same(client), provider, rng.uniform(0.08, 0.30), consumers=0.8,
        wave=(2, 10), pause=(4, 20), listed_after=log_uniform(rng, 50, 800),
    ))  # fmt: skip


# ── other ──────────────────────────────────────────────────────────────────────────────────────────


def password_guesser(rng: random.Random) -> Attempts:
    """EHLO ylmf-pc and an AUTH on every server that it finds (the name is in fail2ban's and Exim's lists; pace J)."""
    home = a_home(rng)
    client = Client(rng.choice(("ylmf-pc", "User", random_name(rng))), quits=rng.choice((0.0, 0.5)), hangs_up=0.7)
    return run(home, Campaign(
        log_uniform(rng, 60, 2000), _same(client), provider, 0.2, consumers=0.05, again=0.5, login=1.0,
        listed_after=log_uniform(rng, 50, 500),
    ))  # fmt: skip


def stolen_accounts(rng: random.Random) -> Attempts:
    """Stolen logins tried and used on hosters' port 25, through a proxy (Onliner: 80 million logins; shares J)."""
    home, way = a_home(rng), _far(rng)
    client = Client(random_name(rng), tls=rng.choice(("may", "none")), ja4=rng.choice(_ALL_TLS), operator=way)
    return run(home, Campaign(
        log_uniform(rng, 10, 300), _same(client), listed_domain, rng.uniform(0.1, 0.3), consumers=0.05, login=1.0,
        right=rng.uniform(0.1, 0.6), listed_after=log_uniform(rng, 100, 2000),
    ))  # fmt: skip


def hello_and_gone(rng: random.Random) -> Attempts:
    """HELO www.(random).com, then gone, several times a second (spamauditor.org, September 2014; here 0.05-1/s)."""
    home = a_home(rng)

    def client(rng: random.Random) -> Client:
        return Client(f"www.{random_name(rng)}.com", ehlo=False, quits=0.3)

    return run(home, Campaign(
        log_uniform(rng, 180, 3600), client, provider, 0.0, consumers=0.1, bare=True, probe=True,
        listed_after=log_uniform(rng, 100, 1000),
    ))  # fmt: skip


def address_tester(rng: random.Random) -> Attempts:
    """Asks servers which addresses exist, without a letter, for who sells lists; by a proxy or a program here (J)."""
    home = a_home(rng)
    way = _far(rng) if rng.random() < 0.6 else (0.0, 0.0)
    client = Client(f"mail.{a_domain(rng)}", tls=rng.choice(("none", "may")), ja4=rng.choice(_ALL_TLS), operator=way)
    return run(home, Campaign(
        log_uniform(rng, 60, 1500), _same(client), listed_domain, rng.uniform(0.3, 0.7), recipients=(1, 4), probe=True,
        listed_after=log_uniform(rng, 100, 2000),
    ))  # fmt: skip


def beside_a_server(rng: random.Random) -> Attempts:
    """A home's mail server, and from some day on a bot in the same house behind one router (J)."""
    home, domain = a_server_home(rng), a_domain(rng)
    begin = rng.uniform(2, 60) * DAY
    letters = correspondence(home, 365, log_uniform(rng, 1, 15), domain)
    client = Client(random_name(rng), ehlo=rng.random() < 0.6, quits=rng.choice((0.3, 1.0)))
    spam = run(home, Campaign(
        log_uniform(rng, 50, 1500), _same(client), listed_domain, rng.uniform(0.10, 0.35),
        listed_after=log_uniform(rng, 30, 400), wave=(FOREVER, FOREVER),
    ), begin)  # fmt: skip
    return together(deliver(home, letters, postfix(f"mail.{domain}")._replace(ja4=POSTFIX)), spam)


BOTS: Mapping[str, tuple[str, Callable[[random.Random], Attempts]]] = {
    "lethic": (CLASSIC, lethic),
    "grum": (CLASSIC, grum),
    "necurs": (CLASSIC, necurs),
    "kelihos": (CLASSIC, kelihos),
    "camel-case": (CLASSIC, camel_case),
    "gamut": (CLASSIC, gamut),
    "waledac": (CLASSIC, waledac),
    "festi": (CLASSIC, festi),
    "kraken": (CLASSIC, kraken),
    "snowshoe-by-homes": (CAREFUL, snowshoe_by_homes),
    "sextortion": (CAREFUL, sextortion),
    "thread-hijacker": (CAREFUL, thread_hijacker),
    "proxy-m": (CAREFUL, proxy_m),
    "socks-911": (PROXYWARE_TLS, socks_911),
    "rogue-doorbell": (PROXYWARE_TLS, rogue_doorbell),
    "invoice-fraud": (PROXYWARE_TLS, invoice_fraud),
    "router-socks": (PROXYWARE_TLS, router_socks),
    "postfix-of-thief": (MIMIC_TLS, postfix_of_thief),
    "go-mailer": (MIMIC_TLS, go_mailer),
    "nas-by-exim": (MIMIC_TLS, nas_by_exim),
    "phone-app": (MIMIC_TLS, phone_app),
    "password-guesser": (OTHER, password_guesser),
    "stolen-accounts": (OTHER, stolen_accounts),
    "hello-and-gone": (OTHER, hello_and_gone),
    "address-tester": (OTHER, address_tester),
    "beside-a-server": (OTHER, beside_a_server),
}
