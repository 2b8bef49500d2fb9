"""The validation set's mail servers: families, clubs, an Exchange, forwarders, alias services, chat relays.

Knows who runs them and what passes them. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import (
    HOUR,
    Contacts,
    a_server_home,
    correspondence,
    in_order,
    log_size,
    log_uniform,
    own_domain,
    stranger,
    times,
    times_of_day,
)
from tests.evaluate.world.programs import GO, NO_LOOKUP, OWN_RESOLVER, Client, exchange, exim, opensmtpd, postfix
from tests.evaluate.world.validation.habits import Whom, business, domain_at, mailbox


def a_domain(rng: random.Random) -> str:
    """Somebody's: of one of the spellings that people choose."""
    word = rng.choice(("lindenhof", "kestrel", "brook", "obrien", "nakamura", "vandijk", "hilltop", "quarry"))
    return f"{word}{rng.choice(('', '-it', '-net', 'home'))}{rng.randrange(500)}.example"


def yunohost_family(rng: random.Random, days: int) -> Attempts:
    """YunoHost at home: a family's letters and its applications' notices (yunohost.org on port 25; volumes J)."""
    home, domain = a_server_home(rng), a_domain(rng)
    people = rng.randint(1, 7)
    letters = correspondence(
        home, days, people * log_uniform(rng, 0.4, 4), domain, contacts=(15, 120), dead=(0.0, 0.04)
    )
    inside = Contacts(home, people, 0.6, 0.0)

    def applications() -> Iterator[Mail]:
        for time in times(rng, days, rng.uniform(0.1, 3), night=0.7, week=False):
            to, box = inside.one()
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 1500, 20000), 0.05, rng.random() < 0.95))

    return deliver(home, in_order(letters, applications()), postfix(domain))


def mailcow_club(rng: random.Random, days: int) -> Attempts:
    """mailcow for an association: board, secretary and aliases that go on to members' own mailboxes (J).

    Sieve and aliases send on what arrives, spam among it, under the writer's domain (no SRS without a setting).
    """
    home, domain = a_server_home(rng), a_domain(rng)
    letters = correspondence(home, days, log_uniform(rng, 4, 50), domain, contacts=(60, 400), dead=(0.01, 0.06))
    members = Contacts(home, rng.randint(8, 60), 0.7, rng.uniform(0.0, 0.04))
    srs = rng.random() < 0.4
    junk = rng.uniform(0.03, 0.25)

    def forwards() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 2, 40), night=0.3):
            to, box = members.one()
            spam = rng.random() < junk
            sender = domain if srs else home.internet.host(home.internet.anyone(rng, 0.5)).domain
            letter = Letter(sender, (box,), log_size(rng), rng.uniform(0.3, 0.9) if spam else 0.01, srs or not spam)
            yield Mail(time, to, letter)

    return deliver(home, in_order(letters, forwards()), postfix(f"mail.{domain}"))


def forwarding_server(rng: random.Random, days: int) -> Attempts:
    """A family's domain all of whose mail goes on to two to eight Gmail and Outlook boxes, spam too.

    Google's "Best practices for forwarding to Gmail" is about them. Half rewrite the sender. Share of spam: judgement.
    """
    home, domain = a_server_home(rng), a_domain(rng)
    boxes: list[Whom] = [(home.internet.consumer(rng), mailbox(rng)) for _ in range(rng.randint(2, 8))]
    junk, srs = rng.uniform(0.05, 0.5), rng.random() < 0.5
    client = rng.choice((postfix, exim, opensmtpd))(rng.choice((domain, f"mx.{domain}")))

    def forwards() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 5, 150), night=0.5, week=False):
            to, box = rng.choice(boxes)
            spam = rng.random() < junk
            sender = domain if srs else f"news{rng.randrange(3000)}.example"
            yield Mail(
                time, to,
                Letter(sender, (box,), log_size(rng), rng.uniform(0.3, 0.95) if spam else 0.02,
                       srs or rng.random() < (0.3 if spam else 0.9)),
            )  # fmt: skip

    return deliver(home, forwards(), client)


def alias_server(rng: random.Random, days: int) -> Attempts:
    """SimpleLogin or addy.io, self-hosted: all aliases end in one to five boxes; replies go to strangers.

    Sender rewritten to its own domain (their documentation); volumes and spam are judgement.
    """
    home, domain = a_server_home(rng), f"alias{rng.randrange(999)}.example"
    boxes: list[Whom] = [(home.internet.anyone(rng, 0.7), mailbox(rng)) for _ in range(rng.randint(1, 5))]
    junk = rng.uniform(0.02, 0.2)

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 60), night=0.5, week=False):
            if rng.random() < 0.08:  # a reply by its reverse alias
                yield Mail(time, stranger(rng), Letter(domain, (mailbox(rng, 0.05),), log_size(rng)))
                continue
            to, box = rng.choice(boxes)
            unwanted = rng.uniform(0.2, 0.8) if rng.random() < junk else 0.02
            yield Mail(time, to, Letter(domain, (box,), log_size(rng), unwanted))

    return deliver(home, mails(), postfix(f"app.{domain}"))


def exchange_hybrid(rng: random.Random, days: int) -> Attempts:
    """An office of 5 to 60: Exchange that sends to its Microsoft 365 tenant by TLS only, and to customers (J)."""
    home, domain = business(rng), a_domain(rng)
    tenant, people = domain_at(home, "m365"), rng.randint(5, 60)
    staff = [mailbox(rng) for _ in range(people)]
    helo = f"mail.{domain}" if rng.random() < 0.85 else f"ex01.{domain.split('.')[0]}.local"
    client = exchange(helo)

    def inside() -> Iterator[Mail]:
        for time in times(rng, days, people * rng.uniform(0.5, 3), night=0.1):
            box = rng.choice(staff) if rng.random() > 0.01 else mailbox(rng, 1.0)  # somebody who has left
            yield Mail(time, tenant, Letter(domain, (box,), log_size(rng)), client._replace(tls="must"))

    outside = correspondence(
        home, days, people * rng.uniform(0.5, 4), domain,
        contacts=(100, 800), consumers=(0.1, 0.4), new=(0.02, 0.10), dead=(0.005, 0.03),
    )  # fmt: skip
    return deliver(home, in_order(inside(), outside), client)


def mox_server(rng: random.Random, days: int) -> Attempts:
    """mox: Go, its own queue, DMARC and TLS reports each hour with failures dropped after a while (its documentation).

    First retry after 7.5 minutes, doubling to 16 hours. Spread of reports over 45 minutes is its source's.
    """
    home, domain = a_server_home(rng), a_domain(rng)
    client = Client(
        f"mail.{domain}", pipelines=True, tls="may", ja4=GO, retry=(450.0, 16 * HOUR, 56 * HOUR), growth=1.0,
        second_mx=True, goes_on=True, mx=OWN_RESOLVER,
    )  # fmt: skip
    letters = correspondence(home, days, log_uniform(rng, 1, 15), domain)
    return deliver(home, in_order(letters, _reports(home, domain, days, (2, 30), (0.02, 0.10))), client)


def _reports(
    home: Home, domain: str, days: int, a_day: tuple[float, float], wrong: tuple[float, float]
) -> Iterator[Mail]:
    """DMARC reports: mostly to few processors of reports, else to the domains' own mailboxes."""
    rng = home.rng
    processors: list[Whom] = [(domain_at(home, "gmail", "own", "hoster"), mailbox(rng)) for _ in range(8)]
    usual = Contacts(home, rng.randint(10, 80), 0.3, rng.uniform(*wrong))
    mean, new = log_uniform(rng, *a_day), rng.uniform(0.02, 0.2)
    for day in range(days):
        count = max(1, round(rng.gauss(mean, mean**0.5)))
        for time in times_of_day(rng, day, count, night=1.0):
            to, box = rng.choice(processors) if rng.random() < 0.35 else usual.one(new)
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 2500, 9000), 0.01, rng.random() < 0.97))


def report_sender(rng: random.Random, days: int) -> Attempts:
    """rspamd or OpenDMARC at home: all of a day's DMARC reports in one burst at night.

    Addresses that published records name do not all work: 3-15 % (mox drops its own bounces as noise; the share is J).
    """
    home, domain = a_server_home(rng), a_domain(rng)
    mean, wrong = log_uniform(rng, 4, 80), rng.uniform(0.03, 0.15)
    usual = Contacts(home, rng.randint(20, 150), 0.05, wrong)

    def reports() -> Iterator[Mail]:
        for day in range(days):
            time = day * 24 * HOUR + rng.uniform(0.0, 0.5) * HOUR
            for _ in range(max(1, round(rng.gauss(mean, mean**0.5)))):
                time += rng.expovariate(1 / 4.0)
                to, box = usual.one(0.15)
                yield Mail(time, to, Letter(domain, (box,), log_size(rng, 2500, 9000), 0.01))

    letters = correspondence(home, days, log_uniform(rng, 0.5, 10), domain)
    return deliver(home, in_order(letters, reports()), rng.choice((postfix, exim))(f"mail.{domain}"))


def vacation_replies(rng: random.Random, days: int) -> Attempts:
    """A server whose users are away: replies and bounces with no sender, some of them to forged writers.

    RFC 3834 says when to be silent; 3-25 % of what is answered was spam that the filter let through (J).
    """
    home, domain = a_server_home(rng), a_domain(rng)
    forged = rng.uniform(0.03, 0.25)
    known = Contacts(home, rng.randint(30, 200), 0.5, 0.01)

    def replies() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.5, 12), night=0.4):
            if rng.random() < forged:
                to, box = home.internet.anyone(rng, 0.4), mailbox(rng, 0.6)
            else:
                to, box = known.one(0.1)
            yield Mail(time, to, Letter("<>", (box,), log_size(rng, 900, 5000), 0.05))

    letters = correspondence(home, days, log_uniform(rng, 2, 25), domain)
    return deliver(home, in_order(letters, replies()), rng.choice((postfix, exim))(f"mail.{domain}"))


def chatmail_relay(rng: random.Random, days: int) -> Attempts:
    """A chatmail relay at home: short messages to other relays, TLS only (chatmail.at's documentation; volumes J)."""
    home, domain = a_server_home(rng), f"chat{rng.randrange(99)}.example"
    relays = [domain_at(home, "own", "hoster") for _ in range(rng.randint(6, 50))]
    friends: list[Whom] = [
        (relays[int(len(relays) * rng.random() ** 2)], mailbox(rng, 0.01)) for _ in range(rng.randint(10, 150))
    ]

    def messages() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 20, 600), night=0.3, week=False):
            to, box = friends[int(len(friends) * rng.random() ** 2)]
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 1500, 12000)))

    return deliver(home, messages(), postfix(domain, "must"))


def fetch_and_deliver(rng: random.Random, days: int) -> Attempts:
    """fetchmail or getmail that hands an old box's mail to a new one's MX, under each writer's own domain.

    fetchmail(1), `smtphost`: that needs no queue of its own; what is refused stays or bounces. Volumes are judgement.
    """
    home = a_server_home(rng)
    target, box = domain_at(home, "hoster", "own", "gmail"), mailbox(rng)
    junk = rng.uniform(0.02, 0.3)
    client = Client(
        rng.choice(("localhost", "debian", "nas", "fetchmail.lan")), tls=rng.choice(("none", "may")), mx=NO_LOOKUP
    )

    def fetched() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 90), night=0.5, week=False):
            spam = rng.random() < junk
            sender = f"shop{rng.randrange(900)}.example" if rng.random() < 0.7 else "gmail.example"
            letter = Letter(sender, (box,), log_size(rng), 0.6 if spam else 0.02, rng.random() < 0.5)
            yield Mail(time, target, letter)

    return deliver(home, fetched(), client)


def sender_checks(rng: random.Random, days: int) -> Attempts:
    """Exim whose administrator has turned on `verify = sender/callout`: asks writers' servers, spammers' among them.

    Exim's specification, 44.11: MAIL FROM:<>, then RCPT; answers are kept for a day. 5-40 % of what asks is spam (J).
    """
    home, domain = a_server_home(rng), own_domain(rng)
    spam = rng.uniform(0.05, 0.4)
    client = exim(f"mx.{domain}", rng.choice(("none", "may")))._replace(retry=(0.0, 0.0, 0.0), second_mx=False)
    known = Contacts(home, rng.randint(30, 150), 0.5, 0.005)

    def callouts() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 2, 60), night=0.5, week=False):
            if rng.random() < spam:
                whom: Whom = home.internet.anyone(rng, 0.25), Mailbox(rng.randrange(1 << 20), _GONE[rng.random() < 0.5])
            else:
                whom = known.one(0.1)
            yield Mail(time, whom[0], Letter("<>", (whom[1],), 0, probe=True), client)

    letters = correspondence(home, days, log_uniform(rng, 1, 15), domain)
    return deliver(home, in_order(letters, callouts()), exim(f"mx.{domain}"))


_GONE = ("exists", "unknown")
