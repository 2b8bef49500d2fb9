"""The development set's programs and people: scripts, cron, monitoring, developers, surveys, guests of a cafe.

Knows who runs them. The cafe's ranges are the brief's (B), the clients' defaults those of their manuals; what has no
mark is judgement. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver, together
from tests.evaluate.world.internet import DOMAINS
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import (
    DAY,
    HOUR,
    Contacts,
    a_home,
    a_server_home,
    correspondence,
    log_size,
    log_uniform,
    own_domain,
    poisson,
    stranger,
    times,
    times_of_day,
)
from tests.evaluate.world.programs import (
    ANDROID,
    APPLE,
    NO_LOOKUP,
    SCHANNEL,
    SLEEPING,
    THUNDERBIRD,
    WIFI,
    Client,
    exim,
    go,
    msmtp,
    node,
    opensmtpd,
    php,
    postfix,
    smtplib,
    swaks,
    typed,
)


def php_on_a_pi(rng: random.Random, days: int) -> Attempts:
    """A contact form and registrations of a club's site on a Pi as localhost: 0.5 to 20 a day, 1-12 % made up.

    mail() hands to a local Exim or msmtp, or PHPMailer sends directly.
    """
    home = a_home(rng)
    helo = rng.choice(("localhost", "raspberrypi", "localhost.localdomain", "raspberrypi.fritz.box"))
    client = rng.choice((php(helo), php(helo, "none"), exim(helo), msmtp(helo)))
    owner = (home.internet.anyone(rng, 0.6), Mailbox(1))
    made_up, forms = rng.uniform(0.01, 0.12), rng.uniform(0.3, 0.9)
    sender, real = rng.choice((("raspberrypi", False), ("club.example", True), ("localhost.localdomain", False)))

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.5, 20), night=0.4, week=False):
            if rng.random() < forms:
                to, box = owner
            else:
                to = home.internet.anyone(rng, 0.7)
                box = Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < made_up else "exists")
            letter = Letter(sender, (box,), log_size(rng, 600, 5000), 0.05, rng.random() < 0.1, real)
            yield Mail(time, to, letter)

    return deliver(home, mails(), client)


def cron_mails(rng: random.Random, days: int) -> Attempts:
    """1 to 6 machines whose cron mails root, forwarded to somebody's mailbox: 1 to 30 a day, sender root@host."""
    home = a_home(rng)
    streams = []
    for _ in range(rng.randint(1, 6) if rng.random() < 0.5 else 1):
        helo = rng.choice(("debian", "ubuntu.lan", "proxmox.local", "pi.hole", "server1", "localhost.localdomain"))
        to, state = home.internet.anyone(rng, 0.6), rng.choices(("exists", "unknown"), (0.85, 0.15))[0]
        letter = Letter(helo, (Mailbox(1, state),), 2000, 0.02, aligned=False, real_sender=False)
        client = rng.choice((postfix, exim, opensmtpd))(helo)
        mails = (
            Mail(time, to, letter._replace(size=log_size(rng, 500, 9000)))
            for time in list(times(rng, days, log_uniform(rng, 1, 10), night=1.0, week=False))
        )
        streams.append(deliver(home, mails, client))
    return together(*streams)


def monitoring(rng: random.Random, days: int) -> Attempts:
    """Nagios, Zabbix or Uptime Kuma: alerts to 1 to 5 people in 0.2 to 6 events a day of 2 to 40 mails each."""
    home = a_home(rng)
    helo = rng.choice(("monitor", "nagios.local", "localhost", "[127.0.0.1]", "zabbix", "uptime-kuma"))
    client = rng.choice((postfix(helo), node(helo), smtplib(helo, "may"), go(helo)))
    people = [
        (home.internet.anyone(rng, 0.5), Mailbox(n, rng.choices(("exists", "unknown"), (0.9, 0.1))[0]))
        for n in range(rng.randint(1, 5))
    ]
    sender, real = rng.choice(((helo, False), ("company.example", True)))
    most = rng.randint(2, 40)

    def mails() -> Iterator[Mail]:
        free = 0.0
        for start in times(rng, days, log_uniform(rng, 0.2, 6), night=0.9, week=False):
            time = max(start, free)
            for _ in range(rng.randint(1, most)):
                for to, box in people:
                    letter = Letter(sender, (box,), log_size(rng, 500, 4000), 0.03, rng.random() < 0.2, real)
                    yield Mail(time, to, letter)
                    time += rng.expovariate(1.0)
            free = time

    return deliver(home, mails(), client)


def developer(rng: random.Random, days: int) -> Attempts:
    """Somebody who tries smtplib, swaks, msmtp, Nodemailer against real servers: days with 5 to 60 tries.

    HELOs and senders as typed, test@example.com as sender, 10-50 % of the recipients made up, some early QUITs.
    """
    return tries(a_home(rng), rng.randint(2, 25), days)


def tries(home: Home, on: int, days: int) -> Attempts:
    """A developer's tries on so many of the days."""
    rng = home.rng
    wrong = rng.uniform(0.1, 0.5)
    mine = [(home.internet.anyone(rng, 0.8), Mailbox(n)) for n in range(rng.randint(1, 5))]

    def mails() -> Iterator[Mail]:
        for day in sorted(rng.sample(range(days), min(days, on))):
            time = day * DAY + rng.uniform(9, 20) * HOUR
            for _ in range(rng.randint(5, 60)):
                time += rng.expovariate(1 / 90)
                if rng.random() < 0.8:
                    to, box = rng.choice(mine)
                else:
                    to, box = home.internet.anyone(rng, 0.4), Mailbox(rng.randrange(1 << 20))
                if rng.random() < wrong * 0.5:
                    box = Mailbox(rng.randrange(1 << 20), "unknown")
                yield Mail(time, to, _typed(rng, box), _tried(rng))

    return deliver(home, mails())


def _tried(rng: random.Random) -> Client:
    helo = rng.choice(("localhost", "[127.0.0.1]", "thinkpad", "test.example.com", "me.example", "foo"))
    return rng.choice((
        smtplib(helo, rng.choice(("none", "may")), 0.8), swaks(helo, rng.choice(("none", "may"))),
        msmtp("localhost", "may"), node(helo), go("localhost"), swaks(helo)._replace(ehlo=False),
        typed(helo),
    ))  # fmt: skip


def _typed(rng: random.Random, box: Mailbox) -> Letter:
    sender, real = rng.choice((("me.example", True), ("example.com", True), ("thinkpad", False)))
    return Letter(
        sender, (box,), log_size(rng, 300, 3000), 0.1, rng.random() < 0.3, real, probe=rng.random() < 0.2,
        login=rng.choice((0, 0, 0, 0, -1)),
    )  # fmt: skip


def tls_survey(rng: random.Random, days: int) -> Attempts:
    """A hobbyist's survey: EHLO and STARTTLS at 200 to 4,000 domains' MXes, 1 to 6 times, then QUIT; no MAIL (B)."""
    home = a_home(rng, gone=(0.01, 0.05))
    domains = [home.internet.anyone(rng, 0.02) for _ in range(int(log_uniform(rng, 200, 4000)))]
    helo = rng.choice(("scan.example.org", "research.example.edu", "localhost", "[192.168.1.9]", "survey"))
    client = rng.choice((smtplib(helo, "may"), go(helo), swaks(helo, "may")))
    rate = log_uniform(rng, 0.2, 10)

    def asks() -> Iterator[Mail]:
        for start in sorted(rng.uniform(0, days) * DAY for _ in range(rng.randint(1, 6))):
            time = start
            for to in domains:
                time += rng.expovariate(rate)
                yield Mail(time, to, Letter("<>", (), 0, probe=True))

    return deliver(home, iter(sorted(asks(), key=lambda mail: mail.time)), client)


def mx_check(rng: random.Random, days: int) -> Attempts:
    """A consultant's cron job: does each of 20 to 80 customers' servers take its postmaster? Every 4 to 24 hours."""
    home = a_home(rng)
    gone, pause = rng.uniform(0.01, 0.10), rng.uniform(4, 24) * HOUR
    customers = [
        (home.internet.anyone(rng, 0.05), Mailbox(0, "unknown" if rng.random() < gone else "exists"))
        for _ in range(rng.randint(20, 80))
    ]
    client = swaks(rng.choice(("wolfy", "nuc", "debian", "ops.consult.example")), rng.choice(("none", "may")))

    def asks() -> Iterator[Mail]:
        time = rng.random() * pause
        while time < days * DAY:
            for to, box in customers:
                yield Mail(time, to, Letter("consult.example", (box,), 0, probe=True))
                time += rng.uniform(0.5, 4)
            time += pause

    return deliver(home, asks(), client)


_GUESTS = (
    "LAPTOP-{:04d}",
    "[192.168.1.{}]",
    "iphone-{}.local",
    "DESKTOP-{:04d}",
    "MacBook-Air-{}.local",
    "[10.0.0.{}]",
)


#: Domains whose submission servers many people use: 60 % of guests (J).
_POPULAR = range(DOMAINS, DOMAINS + 40)


def _guest(home: Home, tls: float, right: float) -> tuple[Client, int, Letter]:
    """A person with a mail program set to port 25 of his provider."""
    rng = home.rng
    client = Client(
        rng.choice(_GUESTS).format(rng.randint(2, 250)),
        tls="may" if rng.random() < tls else "none",
        ja4=rng.choice((ANDROID, APPLE, THUNDERBIRD, SCHANNEL)),
        quits=1.0 if rng.random() < 0.7 else 0.0,
        mx=NO_LOOKUP,
        pace=(1.0, 0.0, 10.0),
        network=rng.choice((WIFI, SLEEPING)),
    )
    to = rng.choice(_POPULAR) if rng.random() < 0.6 else stranger(rng)
    while home.internet.host(to).manners.kind not in ("hoster", "own") or home.internet.host(to).fate != "up":
        to = rng.choice(_POPULAR) if rng.random() < 0.6 else stranger(rng)
    box = Mailbox(rng.randrange(1 << 20))
    login = 1 if rng.random() < right else -1
    return client, to, Letter(f"guest{rng.randrange(99999)}.example", (box,), 0, login=login, foreign=True)


def cafe(rng: random.Random, days: int) -> Attempts:
    """A cafe's access point that NATs (B): guests submit on 25 with AUTH, 0.3 to 4 a day, 80 % TLS, 70 % QUIT."""
    home = a_home(rng)
    regulars = [_guest(home, 0.8, 0.95) for _ in range(rng.randint(2, 15))]

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.3, 4), night=0.0, week=False):
            client, to, letter = rng.choice(regulars) if rng.random() < 0.5 else _guest(home, 0.8, 0.95)
            yield Mail(time, to, letter._replace(size=log_size(rng)), client)

    return deliver(home, mails())


def wrong_port(rng: random.Random, days: int) -> Attempts:
    """A phone or Thunderbird on port 25 of its own provider, with AUTH: the password changed, it tries each minute."""
    home = a_home(rng)
    client, to, letter = _guest(home, 0.7, 1.0)
    lost = sorted(rng.uniform(0, days) * DAY for _ in range(rng.randint(0, 3)))

    def mails() -> Iterator[Mail]:
        wrong = iter(lost)
        next_wrong = next(wrong, None)
        for time in times(rng, days, log_uniform(rng, 0.5, 12), night=0.1, week=False):
            if next_wrong is not None and time > next_wrong:
                at = time
                for _ in range(rng.randint(3, 120)):
                    yield Mail(at, to, letter._replace(login=-1), client)
                    at += rng.uniform(20, 300)
                next_wrong = next(wrong, None)
            else:
                yield Mail(time, to, letter._replace(size=log_size(rng)), client)

    return deliver(home, iter(sorted(mails(), key=lambda mail: mail.time)))


def vpn_exit(rng: random.Random, days: int) -> Attempts:
    """A traveller's mail program, by a VPN that ends in a program at home (a userspace exit node, a SOCKS server).

    0.3 to 8 sessions a day on port 25 with AUTH to 1 or 2 providers; each answer takes 15 to 250 ms.
    """
    home = a_home(rng)
    away = log_uniform(rng, 15, 250)
    users = [_guest(home, 0.8, 1.0) for _ in range(rng.randint(1, 2))]
    users = [(client._replace(operator=(away, 1.3 * away)), to, letter) for client, to, letter in users]

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.3, 8), night=0.2, week=False):
            client, to, letter = rng.choice(users)
            yield Mail(time, to, letter._replace(size=log_size(rng)), client)

    return deliver(home, mails())


def office_port_25(rng: random.Random, days: int) -> Attempts:
    """3 to 12 PCs behind a second router that submit on port 25 with AUTH to 1 to 3 providers, 3 to 60 a day."""
    home = a_home(rng)
    users = [_guest(home, 0.6, 1.0) for _ in range(rng.randint(3, 12))]
    places = [users[n][1] for n in range(rng.randint(1, 3))]
    users = [(client, rng.choice(places), letter) for client, _, letter in users]

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 60), night=0.0):
            client, to, letter = rng.choice(users)
            yield Mail(time, to, letter._replace(size=log_size(rng)), client)

    return deliver(home, mails())


def laptop_with_mta(rng: random.Random, days: int) -> Attempts:
    """A laptop whose own Postfix or msmtp sends its owner's mail: 0.2 to 8 a day, HELO laptop.lan, asleep at night."""
    home = a_home(rng)
    helo = rng.choice(("localhost", "[127.0.0.1]", "thinkpad", "laptop.fritz.box", "laptop.lan", home.line.name))
    client = rng.choice((postfix(helo), msmtp(helo, "may"), msmtp(helo), exim(helo), smtplib(helo, "may")))
    mails = correspondence(
        home, days, log_uniform(rng, 0.2, 8), "me.example", contacts=(2, 40), aligned=0.3, dead=(0.0, 0.05)
    )
    return deliver(home, mails, client)


def server_beside_things(rng: random.Random, days: int) -> Attempts:
    """Behind one MAC: a mail server, a developer, a cron job, a NAS."""
    from tests.evaluate.world.legit_things import Thing

    home, domain = a_server_home(rng), own_domain(rng)
    streams = [
        deliver(home, correspondence(home, days, log_uniform(rng, 2, 20), domain), postfix(f"mail.{domain}")),
        Thing(home).regularly(days, log_uniform(rng, 0.1, 10)),
        Thing(home).regularly(days, log_uniform(rng, 0.1, 5)),
        Thing(home, client=postfix("debian")).regularly(days, log_uniform(rng, 0.5, 8)),
    ]
    return together(*rng.sample(streams, rng.randint(2, 4)))


def nextcloud(rng: random.Random, days: int) -> Attempts:
    """Nextcloud or Vaultwarden on a NAS: shares, invitations to friends and their friends, 0.3 to 12 a day."""
    home = a_home(rng)
    helo = rng.choice(("nextcloud", "localhost", "cloud.family.example", "[172.18.0.4]"))
    client = rng.choice((php(helo), php(helo, "none"), msmtp("localhost", "may")))
    friends = Contacts(home, rng.randint(5, 60), rng.uniform(0.5, 0.8), rng.uniform(0.02, 0.15))
    aligned = rng.random() < 0.3

    def mails() -> Iterator[Mail]:
        for day in range(days):
            for time in times_of_day(rng, day, poisson(rng, 0.3 + 4 * rng.random() ** 4), night=0.2):
                for _ in range(rng.choice((1, 1, 1, 3, 8))):
                    to, box = friends.one(0.03)
                    time += rng.uniform(0.5, 3)
                    yield Mail(time, to, Letter("cloud.family.example", (box,), log_size(rng), 0.03, aligned))

    return deliver(home, iter(sorted(mails(), key=lambda mail: mail.time)), client)
