"""The validation set's mailings: schools, parishes, clubs, campaigns, monthly invoices.

Knows lists and how old they are. Must not know the detector.
"""

from __future__ import annotations

import random

from tests.evaluate.world.delivery import Attempts, deliver
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import (
    Contacts,
    a_home,
    a_server_home,
    correspondence,
    in_order,
    log_size,
    log_uniform,
    times,
)
from tests.evaluate.world.programs import HOUR, MINUTE, OWN_RESOLVER, SCHANNEL, Client, exim, opensmtpd, postfix
from tests.evaluate.world.validation.habits import business, forgets, starts, to_all
from tests.evaluate.world.validation.legit_servers import a_domain


def _windows(rng: random.Random) -> Client:
    """A program for Windows that asks for recipients' servers: SendBlaster's and eNewsletter Pro's "direct send"."""
    helo = rng.choice((f"DESKTOP-{rng.randrange(36**5):05X}", "office-pc", "localhost", f"{a_domain(rng)}"))
    retry = rng.choice(((0.0, 0.0, 0.0), (5 * MINUTE, 30 * MINUTE, 1 * HOUR), (15 * MINUTE, HOUR, 24 * HOUR)))
    return Client(
        helo, ehlo=rng.random() < 0.7, spaced=rng.random() < 0.2, ja4=SCHANNEL, quits=rng.choice((1.0, 1.0, 0.8)),
        tls="may" if rng.random() < 0.2 else "none", retry=retry, mx=rng.choice(("home", OWN_RESOLVER)),
    )  # fmt: skip


def parish_newsletter(rng: random.Random, days: int) -> Attempts:
    """A parish's letter by a direct-send program to 60 to 500 people; 3-15 % of addresses gone, and kept.

    SendBlaster's manual says that desktops' direct mail is refused by many. List and age are judgement.
    """
    home, domain = a_home(rng), a_domain(rng)
    members = Contacts(home, rng.randint(60, 500), rng.uniform(0.7, 0.95), rng.uniform(0.03, 0.15))
    aligned = rng.random() < 0.2

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.1, aligned)

    begin = starts(rng, days, rng.choice((7.0, 14.0, 30.0)), rng.uniform(0, 20))
    mails = to_all(home, members, begin, letter, log_uniform(rng, 0.5, 20), lambda r: log_size(r, 30000, 900000))
    return deliver(home, mails, _windows(rng))


def school_letters(rng: random.Random, days: int) -> Attempts:
    """A small school's secretary to all parents, each two to four weeks; 2-10 % of addresses wrong (J)."""
    home, domain = business(rng, (0.2, 0.7), 0.3), a_domain(rng)
    parents = Contacts(home, rng.randint(80, 450), rng.uniform(0.75, 0.95), rng.uniform(0.02, 0.10))
    client = _windows(rng) if rng.random() < 0.5 else postfix(f"mail.{domain}")

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.05, aligned)

    aligned = rng.random() < 0.8
    together = rng.choice((1, 1, 20, 50))
    begin = starts(rng, days, rng.uniform(14, 28), rng.uniform(0, 14))
    mails = to_all(
        home, parents, begin, letter, log_uniform(rng, 0.5, 10), lambda r: log_size(r, 8000, 400000), together
    )
    return deliver(home, mails, client)


def invoices_by_windows(rng: random.Random, days: int) -> Attempts:
    """An accounting program's invoices at the month's end, 15 to 250 customers, by its own direct send.

    2-8 % of addresses are no more and are tried each month again (J).
    """
    home, domain = business(rng, (0.3, 0.8), 0.2), a_domain(rng)
    customers = Contacts(home, rng.randint(15, 250), rng.uniform(0.2, 0.6), rng.uniform(0.02, 0.08))

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.03, aligned)

    aligned = rng.random() < 0.3
    mails = to_all(
        home, customers, starts(rng, days, 30, 28), letter, rng.uniform(1, 8), lambda r: log_size(r, 40000, 300000)
    )
    return deliver(home, mails, _windows(rng))


def listmonk(rng: random.Random, days: int) -> Attempts:
    """listmonk and a local Postfix, throttled: weekly to monthly, 100 to 1,500 subscribers, bounces block addresses.

    listmonk's settings: rate, concurrency, bounce actions. Dead: 1-6 % before the first campaign (J).
    """
    home, domain = a_server_home(rng), a_domain(rng)
    members = Contacts(home, rng.randint(100, 1500), rng.uniform(0.5, 0.9), rng.uniform(0.01, 0.06))

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, unwanted)

    unwanted = rng.uniform(0.02, 0.15)
    begin = starts(rng, days, rng.choice((7.0, 14.0, 30.0)), rng.uniform(0, 20))
    mails = to_all(home, members, begin, letter, log_uniform(rng, 1, 30), lambda r: log_size(r, 10000, 90000))
    return deliver(home, mails, postfix(f"lists.{domain}"), told=forgets(members, rng.randint(1, 2)))


def parents_mailman(rng: random.Random, days: int) -> Attempts:
    """Mailman for school classes: one to five posts a day to 20 to 200 members, up to ten of a domain in a letter.

    Mailman's SMTP_MAX_RCPTS and bounce score; 1-5 % of addresses gone at first (J).
    """
    home, domain = a_server_home(rng), f"lists.{a_domain(rng)}"
    members = Contacts(home, rng.randint(20, 200), rng.uniform(0.6, 0.95), rng.uniform(0.01, 0.05))

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.03, aligned)

    aligned = rng.random() < 0.9
    posts = times(rng, days, rng.uniform(0.3, 4), night=0.1)
    mails = to_all(home, members, posts, letter, 0.7, lambda r: log_size(r, 2000, 60000), rng.choice((1, 10)))
    return deliver(home, mails, rng.choice((postfix, exim))(domain), told=forgets(members, 5))


def radio_club(rng: random.Random, days: int) -> Attempts:
    """A radio club's reflector and its gateway of packet mail: OpenSMTPD, 20 to 120 members, letters all day (J).

    As LinBPQ's mail server does, the gateway sends members' messages under the club's name to anybody.
    """
    home, domain = a_server_home(rng), a_domain(rng)
    members = Contacts(home, rng.randint(20, 120), 0.6, rng.uniform(0.02, 0.08))

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.05, aligned)

    aligned = rng.random() < 0.6
    posts = times(rng, days, rng.uniform(0.1, 2.0), night=0.3)
    reflector = to_all(home, members, posts, letter, 1.5, lambda r: log_size(r, 900, 9000))
    gateway = correspondence(
        home, days, log_uniform(rng, 0.2, 6), domain, contacts=(10, 60), mistyped=(0.02, 0.08), aligned=0.7
    )
    client = rng.choice((opensmtpd(domain), Client(domain, retry=(900.0, 900.0, 172800.0))))
    return deliver(home, in_order(reflector, gateway), client)
