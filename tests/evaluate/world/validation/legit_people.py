"""The validation set's people: old mail programs on port 25, phones, tunnels, shared routers, holiday flats.

Knows households. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver, together
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import (
    DAY,
    HOUR,
    Contacts,
    a_home,
    correspondence,
    in_order,
    log_size,
    log_uniform,
    times,
)
from tests.evaluate.world.programs import (
    ANDROID,
    APPLE,
    HOME_RESOLVER,
    NO_LOOKUP,
    SCHANNEL,
    SLEEPING,
    THUNDERBIRD,
    WIFI,
    Client,
    exim,
    msmtp,
    postfix,
    smtplib,
    swaks,
    typed,
)
from tests.evaluate.world.validation.habits import Whom, business, domain_at, mailbox, starts
from tests.evaluate.world.validation.legit_devices import firmware, log_notices
from tests.evaluate.world.validation.legit_servers import a_domain


def _mail_program(rng: random.Random) -> Client:
    """Outlook, Thunderbird, Apple Mail, a phone: EHLO with the own address or name."""
    ja4, helo = rng.choice((
        (SCHANNEL, f"DESKTOP{rng.randrange(9999)}"), (THUNDERBIRD, "[192.168.1.23]"), (APPLE, "smtpclient.apple"),
        (ANDROID, "[127.0.0.1]"),
    ))  # fmt: skip
    return Client(
        helo, tls=rng.choice(("may", "may", "none")), ja4=ja4, quits=rng.choice((1.0, 1.0, 0.7)), mx=NO_LOOKUP,
        network=SLEEPING if ja4 == ANDROID else rng.choice(("", WIFI)), goes_on=rng.random() < 0.5,
    )  # fmt: skip


def _submission(
    home: Home, days: int, per_day: float, server: int, domain: str, begin: float = 0.0, end: float = float("inf")
) -> Iterator[Mail]:
    """Letters by a login at the hoster's server on port 25; after a change of password it is wrong for some tries."""
    rng = home.rng
    mistyped, wrong_until = rng.uniform(0.0, 0.02), -1.0
    for time in times(rng, days, per_day):
        if not begin <= time < end:
            continue
        if rng.random() < 1 / (250 * max(per_day, 0.1)):
            wrong_until = time + rng.uniform(0.1, 20) * HOUR
        boxes = tuple(mailbox(rng, mistyped) for _ in range(1 if rng.random() < 0.85 else rng.randint(2, 6)))
        login = -1 if time < wrong_until else 1
        yield Mail(time, server, Letter(domain, boxes, log_size(rng, 900, 200000), 0.01, login=login, foreign=True))


def outlook_on_25(rng: random.Random, days: int) -> Attempts:
    """Two to four programs of a household, as hosters' instructions before 2010 had it: port 25 with a login (J)."""
    home = a_home(rng)
    server, domain = domain_at(home, "hoster", "own"), a_domain(rng)
    return together(*(
        deliver(home, _submission(home, days, log_uniform(rng, 0.5, 15), server, domain), _mail_program(rng))
        for _ in range(rng.randint(1, 4))
    ))  # fmt: skip


def phones_and_apps(rng: random.Random, days: int) -> Attempts:
    """An Android phone that sleeps: SMS forwarders and K-9, on 25, each with its own account and server (J)."""
    home = a_home(rng)
    streams = []
    for _ in range(rng.randint(1, 4)):
        client = _mail_program(rng)._replace(ja4=ANDROID, network=SLEEPING, retry=(600.0, 3600.0, 0.5 * DAY))
        mails = _submission(home, days, log_uniform(rng, 0.3, 10), domain_at(home, "hoster", "own"), a_domain(rng))
        streams.append(deliver(home, mails, client))
    return together(*streams)


def tunnel_for_travellers(rng: random.Random, days: int) -> Attempts:
    """Somebody abroad whose mail program goes through `ssh -D` or a SOCKS proxy at home, weeks of the year.

    His own hoster's port 25, with a login: the way is 15 to 250 ms, and the home's TCP acknowledges at once (J).
    """
    home = a_home(rng)
    server, domain = domain_at(home, "hoster", "own"), a_domain(rng)
    at_home: list[int] = []
    abroad: list[int] = []
    for day in range(0, days, 30):
        (abroad if rng.random() < 0.4 else at_home).append(day)
    if not abroad:
        abroad.append(0)
    client = _mail_program(rng)
    way = log_uniform(rng, 15, 220)
    streams = []
    for day in sorted((*at_home, *abroad)):
        mails = _submission(home, days, 4.0, server, domain, day * DAY, (day + 30) * DAY)
        by = client._replace(operator=(way, way * 1.3), mx=NO_LOOKUP) if day in abroad else client
        streams.append(deliver(home, mails, by))
    return together(*streams)


def families_vpn(rng: random.Random, days: int) -> Attempts:
    """A WireGuard exit at home for three to eight relatives' laptops, all one device, each with its hoster (J)."""
    home = a_home(rng)
    streams = []
    for _ in range(rng.randint(3, 8)):
        mails = _submission(home, days, log_uniform(rng, 0.2, 6), domain_at(home, "hoster", "own"), a_domain(rng))
        streams.append(deliver(home, mails, _mail_program(rng)))
    return together(*streams)


def landlords_router(rng: random.Random, days: int) -> Attempts:
    """Three to eight parties behind a second router: programs on 25, a camera, now and then a mail server (J)."""
    home = a_home(rng)
    streams = []
    for party in range(rng.randint(3, 8)):
        kind = rng.random()
        domain = a_domain(rng)
        if kind < 0.5:
            mails = _submission(home, days, log_uniform(rng, 0.2, 6), domain_at(home, "hoster", "own"), domain)
            streams.append(deliver(home, mails, _mail_program(rng)))
        elif kind < 0.75:
            whom: list[Whom] = [(home.internet.anyone(rng, 0.6), mailbox(rng, 0.04))]
            streams.append(deliver(home, log_notices(home, days, domain, whom), firmware(rng, f"cam{party}")))
        elif kind < 0.9:
            letters = correspondence(home, days, log_uniform(rng, 0.5, 10), domain)
            streams.append(deliver(home, letters, rng.choice((postfix, exim))(f"mail.{domain}")))
        else:
            owner: list[Whom] = [(home.internet.consumer(rng), mailbox(rng))]
            streams.append(deliver(home, log_notices(home, days, domain, owner), msmtp("localhost", "may")))
    return together(*streams)


def office_nat(rng: random.Random, days: int) -> Attempts:
    """A small office behind its own firewall: server, scanner, till and the accountant's Outlook as one device (J)."""
    home, domain = business(rng, (0.1, 0.5), 0.4), a_domain(rng)
    tenant = domain_at(home, "m365", "hoster")
    staff: list[Whom] = [(tenant, mailbox(rng, 0.03)) for _ in range(rng.randint(3, 15))]
    customers = Contacts(home, rng.randint(30, 200), 0.7, rng.uniform(0.02, 0.08))

    def receipts() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 1, 20), night=0.0):
            to, box = customers.one(0.4)
            if rng.random() < 0.08:
                box = mailbox(rng, 1.0)
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 3000, 50000), 0.02))

    letters = correspondence(home, days, log_uniform(rng, 3, 40), domain, consumers=(0.1, 0.5))
    server = postfix(f"mail.{domain}")
    scanner = deliver(home, log_notices(home, days, domain, staff, (2.0, 20.0)), firmware(rng, "scanner"))
    outlook = deliver(home, _submission(home, days, 5.0, domain_at(home, "hoster"), a_domain(rng)), _mail_program(rng))
    return together(deliver(home, in_order(letters, receipts()), server), scanner, outlook)


def holiday_flat(rng: random.Random, days: int) -> Attempts:
    """A holiday flat's guests behind an access point: each week others, one in three with a program on port 25 (J)."""
    home = a_home(rng)
    streams = []
    for week in range(0, days, 7):
        if rng.random() < 0.35:
            begin = week * DAY
            mails = _submission(
                home, min(days, week + 7), log_uniform(rng, 1, 8), domain_at(home, "hoster", "own"), a_domain(rng),
                begin, begin + 7 * DAY,
            )  # fmt: skip
            streams.append(deliver(home, mails, _mail_program(rng)))
    if not streams:
        mails = _submission(home, days, 0.5, domain_at(home, "hoster"), a_domain(rng))
        streams.append(deliver(home, mails, _mail_program(rng)))
    return together(*streams)


def student_of_mail(rng: random.Random, days: int) -> Attempts:
    """Somebody who learns SMTP: telnet, smtplib, swaks to the own boxes, mistakes, then a Postfix that stays (J)."""
    home = a_home(rng)
    domain = rng.choice((a_domain(rng), "test.com", "example.com"))
    boxes: list[Whom] = [(home.internet.anyone(rng, 0.6), mailbox(rng)) for _ in range(rng.randint(2, 6))]

    def tries() -> Iterator[Mail]:
        free = 0.0
        for start in starts(rng, min(days, 90), rng.uniform(1, 6)):
            time = max(free, start + 8 * HOUR)
            by = rng.choice((
                typed(rng.choice(("me", "localhost", "test"))), smtplib("laptop", rng.choice(("none", "may"))),
                swaks("laptop"), msmtp("localhost", "may"), postfix(f"mail.{domain}", "may", DAY),
            ))._replace(mx=HOME_RESOLVER)  # fmt: skip
            for _ in range(rng.randint(1, 20)):
                to, box = rng.choice(boxes)
                if rng.random() < 0.12:
                    box = Mailbox(rng.randrange(1 << 20), "unknown")
                letter = Letter(domain, (box,), 700, 0.2, rng.random() < 0.2, real_sender=rng.random() < 0.7)
                yield Mail(time, to, letter, by)
                time += rng.uniform(10, 400)
            free = time

    later = (
        mail
        for mail in correspondence(home, days, log_uniform(rng, 0.2, 3), a_domain(rng), contacts=(4, 25), aligned=0.8)
        if mail.time > 90 * DAY
    )
    return deliver(home, in_order(tries(), later), postfix(f"mail.{a_domain(rng)}"))
