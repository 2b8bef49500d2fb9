"""The development set's mail servers: families', offices', clubs' and hobbyists'.

Knows who runs them and what they send. Each device draws its own rates from the ranges: facts/detection.md's list of
what must not be flagged, and the brief's (B); what has no mark is judgement. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver, together
from tests.evaluate.world.internet import Internet
from tests.evaluate.world.line import server_line
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import (
    DAY,
    HOUR,
    Contacts,
    a_server_home,
    correspondence,
    in_order,
    log_size,
    log_uniform,
    own_domain,
    poisson,
    stranger,
    times,
    times_of_day,
)
from tests.evaluate.world.programs import Client, exchange, exim, opensmtpd, postfix, some_mta


def host_name(rng: random.Random, domain: str) -> str:
    return f"{rng.choice(('mail', 'mx', 'server', 'smtp', 'home'))}.{domain}"


def self_hosted(rng: random.Random, days: int) -> Attempts:
    """A family's or freelancer's mail server, 2 to 40 letters a day.

    One in twelve gives the line's reverse name in EHLO, because servers compare the two.
    """
    home, domain = a_server_home(rng), own_domain(rng)
    name = home.line.name if rng.random() < 1 / 12 else host_name(rng, domain)
    return deliver(home, correspondence(home, days, log_uniform(rng, 2, 40), domain), some_mta(rng, name))


def fresh_server(rng: random.Random, days: int) -> Attempts:
    """Set up this week on whatever line there is: tests to the owner's addresses at large providers, then little mail.

    5 to 40 tests in the first days, to 2 to 6 mailboxes; SPF is missing half of the time.
    """
    home, domain = a_server_home(rng), own_domain(rng)
    mine = [(home.internet.consumer(rng), Mailbox(number)) for number in range(rng.randint(2, 6))]
    aligned = rng.random() < 0.5

    def tests() -> Iterator[Mail]:
        for time in sorted(rng.random() ** 2 * 5 * DAY for _ in range(rng.randint(5, 40))):
            to, box = rng.choice(mine)
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 400, 3000), 0.1, aligned))

    mails = in_order(tests(), _later(correspondence(home, days, log_uniform(rng, 0.5, 6), domain, contacts=(5, 60))))
    names = (host_name(rng, domain), "localhost.localdomain", "debian", "mailcow.lan", home.line.name)
    return deliver(home, mails, some_mta(rng, rng.choices(names, (0.6, 0.1, 0.1, 0.1, 0.1))[0]))


def _later(mails: Iterator[Mail], by: float = 3 * DAY) -> Iterator[Mail]:
    return (mail._replace(time=mail.time + by) for mail in mails)


def queue_flush(rng: random.Random, days: int) -> Attempts:
    """A server whose queue of 200 to 900 letters to 80 to 300 domains leaves within 10 to 40 minutes, 1 to 3 times."""
    home, domain = a_server_home(rng), own_domain(rng)

    def flushes() -> Iterator[Mail]:
        for start in sorted(rng.random() * days * DAY for _ in range(rng.randint(1, 3))):
            known = Contacts(home, rng.randint(80, 300), rng.uniform(0.2, 0.5), rng.uniform(0.01, 0.06))
            length = rng.uniform(600, 2400)
            for time in sorted(start + rng.random() * length for _ in range(rng.randint(200, 900))):
                to, box = known.one()
                yield Mail(time, to, Letter(domain, (box,), log_size(rng), 0.02))

    mails = in_order(flushes(), correspondence(home, days, log_uniform(rng, 2, 15), domain))
    return deliver(home, mails, some_mta(rng, host_name(rng, domain)))


def after_a_week_offline(rng: random.Random, days: int) -> Attempts:
    """A server whose line was down for 5 to 9 days, once or twice: what people wrote, and bounces, leave at once."""
    home, domain = a_server_home(rng), own_domain(rng)
    for start in sorted(rng.uniform(10, max(11, days - 12)) * DAY for _ in range(rng.randint(1, 2))):
        home.line.outages.append((start, start + rng.uniform(5, 9) * DAY))
    return deliver(
        home,
        correspondence(home, days, log_uniform(rng, 5, 60), domain),
        postfix(host_name(rng, domain), patience=10 * DAY),
    )


def wan_outages(rng: random.Random, days: int) -> Attempts:
    """A server whose line is down 4 to 30 times a year for 10 minutes to 30 hours: every connection fails."""
    home, domain = a_server_home(rng), own_domain(rng)
    for _ in range(rng.randint(4, 30)):
        start = rng.random() * days * DAY
        home.line.outages.append((start, start + log_uniform(rng, 600, 30 * HOUR)))
    return deliver(
        home, correspondence(home, days, log_uniform(rng, 3, 40), domain), some_mta(rng, host_name(rng, domain))
    )


def verifying(rng: random.Random, days: int) -> Attempts:
    """A family's Postfix with reject_unverified_sender (B): 10 to 120 callouts a day, 15-40 % of them in vain.

    MAIL FROM:<double-bounce@own> or <>, RCPT, QUIT; in the clear, not pipelined (Postfix verify(8)). Its own mail
    leaves beside it.
    """
    home, domain = a_server_home(rng), own_domain(rng)
    name = host_name(rng, domain)
    vain, spam_share = rng.uniform(0.15, 0.40), rng.uniform(0.3, 0.8)
    sender = domain if rng.random() < 0.7 else "<>"
    known = Contacts(home, rng.randint(100, 600), rng.uniform(0.3, 0.6), 0.0)

    def callouts() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 10, 120), night=0.8, week=False):
            if rng.random() < spam_share:
                to = home.internet.anyone(rng, 0.35)
                box = Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < vain / spam_share else "exists")
            else:
                to, box = known.one(0.05)
            yield Mail(time, to, Letter(sender, (box,), 0, probe=True))

    # A callout that is put off is asked again when the sender's server comes back.
    prober = Client(name, tls="may" if rng.random() < 0.15 else "none", retry=(300.0, HOUR, 6 * HOUR))
    return together(
        deliver(home, callouts(), prober),
        deliver(home, correspondence(home, days, log_uniform(rng, 2, 25), domain), postfix(name)),
    )


def two_servers(rng: random.Random, days: int) -> Attempts:
    """Two or three mail servers behind a NAT: names, domains and programs of their own (B)."""
    home = a_server_home(rng)
    streams = []
    for make in rng.sample((postfix, exim, opensmtpd, exchange), rng.randint(2, 3)):
        domain = own_domain(rng)
        name = rng.choice((host_name(rng, domain), host_name(rng, domain), "vm2.lan", "docker-mail"))
        mails = correspondence(home, days, log_uniform(rng, 1, 25), domain, dead=(0.005, 0.05), unwanted=(0.0, 0.06))
        streams.append(deliver(home, mails, make(name)))
    return together(*streams)


def office_exchange(rng: random.Random, days: int) -> Attempts:
    """A small office's Exchange as EXCH01.corp.local, 20 to 150 letters a day to customers and suppliers."""
    home = a_server_home(rng)
    domain = f"company{rng.randrange(9999)}.example"
    client = exchange(f"EXCH0{rng.randint(1, 3)}.{rng.choice(('corp', 'ad', 'office'))}.local")
    mails = correspondence(
        home, days, log_uniform(rng, 20, 150), domain, contacts=(80, 500), new=(0.02, 0.15), dead=(0.005, 0.04),
        consumers=(0.1, 0.4),
    )  # fmt: skip

    def answers() -> Iterator[Mail]:
        """Delivery reports and out-of-office notes to whoever wrote, spammers included."""
        for time in times(rng, days, log_uniform(rng, 0.2, 8), night=0.6):
            state = "unknown" if rng.random() < 0.3 else "exists"
            yield Mail(time, home.internet.anyone(rng, 0.3), Letter("<>", (Mailbox(rng.randrange(1 << 20), state),)))

    return deliver(home, in_order(mails, answers()), client)


def forwarder(rng: random.Random, days: int) -> Attempts:
    """Forwards what anybody writes to a few mailboxes, spam included: 3 to 60 a day, a new sender domain each time.

    SPF of the writers breaks; half of the forwarders rewrite senders (SRS). 5-35 % is spam.
    """
    home, domain = a_server_home(rng), own_domain(rng)
    targets = [(home.internet.anyone(rng, 0.8), Mailbox(number)) for number in range(rng.randint(2, 6))]
    spam, rewrites = rng.uniform(0.05, 0.35), rng.random() < 0.5

    def arrivals() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 60), night=0.5):
            to, box = rng.choice(targets)
            unwanted = rng.random() < spam
            sender = domain if rewrites else f"writer{int(rng.paretovariate(0.4)) % 90000}.example"
            letter = Letter(sender, (box,), log_size(rng), 0.7 if unwanted else 0.01, rewrites or rng.random() < 0.7)
            yield Mail(time, to, letter)
            if unwanted and rng.random() < 0.2:  # the refusal goes back to a forged sender
                state = "unknown" if rng.random() < 0.4 else "exists"
                bounce = Letter("<>", (Mailbox(rng.randrange(1 << 20), state),), log_size(rng, 2000, 9000))
                yield Mail(time + 2, home.internet.anyone(rng, 0.3), bounce)

    return deliver(home, arrivals(), some_mta(rng, host_name(rng, domain)))


def backscatter(rng: random.Random, days: int) -> Attempts:
    """A server that bounces to forged senders for days: strangers, 20-60 % unknown, 5-15 % of the domains gone."""
    home = a_server_home(rng, gone=(0.05, 0.15))
    domain, wrong = own_domain(rng), rng.uniform(0.2, 0.6)
    waves = [(rng.randrange(days), rng.randint(2, 20), log_uniform(rng, 20, 300)) for _ in range(rng.randint(1, 4))]

    def bounces() -> Iterator[Mail]:
        for day in range(days):
            count = sum(poisson(rng, rate) for start, length, rate in waves if start <= day < start + length)
            for time in times_of_day(rng, day, count, night=1.0):
                box = Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < wrong else "exists")
                yield Mail(time, home.internet.anyone(rng, 0.3), Letter("<>", (box,), log_size(rng, 1500, 9000), 0.05))

    mails = in_order(correspondence(home, days, log_uniform(rng, 2, 10), domain), bounces())
    return deliver(home, mails, some_mta(rng, host_name(rng, domain)))


def autoresponder(rng: random.Random, days: int) -> Attempts:
    """Answers that somebody is away, or a ticket system's "we have got it", to all who write, spam included."""
    home, domain = a_server_home(rng), own_domain(rng)
    vain, sender = rng.uniform(0.1, 0.5), "<>" if rng.random() < 0.6 else domain
    on = [(start, start + rng.uniform(3, 40)) for start in (rng.uniform(0, days) for _ in range(rng.randint(1, 5)))]

    def answers() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 60), night=0.5):
            if any(a <= time / DAY < b for a, b in on):
                box = Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < vain else "exists")
                yield Mail(time, home.internet.anyone(rng, 0.4), Letter(sender, (box,), log_size(rng, 800, 3000), 0.05))

    mails = in_order(correspondence(home, days, log_uniform(rng, 2, 20), domain), answers())
    return deliver(home, mails, some_mta(rng, host_name(rng, domain)))


def greylisted_everywhere(rng: random.Random, days: int) -> Attempts:
    """Every server that can greylists."""
    home, domain = a_server_home(rng, greylisting=(0.9, 1.0)), own_domain(rng)
    return deliver(
        home, correspondence(home, days, log_uniform(rng, 2, 20), domain), some_mta(rng, host_name(rng, domain))
    )


def refused_everywhere(rng: random.Random, days: int) -> Attempts:
    """A server on a PBL line without a name: nearly all refuse it, and it goes on, 1 to 12 a day."""
    line = server_line(rng, pbl=(1.0, 1.0))
    line.ptr = "none"
    home, domain = Home(rng, line, Internet(rng)), own_domain(rng)
    name = rng.choice((host_name(rng, domain), host_name(rng, domain), "raspberrypi", "server.lan"))
    return deliver(home, correspondence(home, days, log_uniform(rng, 1, 12), domain), some_mta(rng, name))


def fediverse(rng: random.Random, days: int) -> Attempts:
    """A Mastodon-like server: confirmations to whoever registers, digests to members (B).

    50 to 2,000 members, 0.5 to 25 registrations a day of which 5-40 % gave a dead address (bots that register), waves
    of registrations on some days; dead members are not taken off.
    """
    home, domain = a_server_home(rng), f"social{rng.randrange(999)}.example"
    dead = rng.uniform(0.05, 0.40)
    members = Contacts(home, rng.randint(20, 400), rng.uniform(0.5, 0.8), rng.uniform(0.01, 0.10))
    aligned = rng.random() < 0.9

    def mails() -> Iterator[Mail]:
        base, notes = log_uniform(rng, 0.5, 25), log_uniform(rng, 1, 40)
        for day in range(days):
            wave = rng.uniform(3, 15) if rng.random() < 0.03 else 1.0
            for time in times_of_day(rng, day, poisson(rng, base * wave) + poisson(rng, notes), night=0.5):
                if rng.random() < base * wave / (base * wave + notes):
                    box = Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < dead else "exists")
                    to = home.internet.anyone(rng, 0.65)
                else:
                    to, box = members.one()
                yield Mail(time, to, Letter(domain, (box,), log_size(rng, 3000, 20000), 0.03, aligned))

    client = rng.choice((postfix(host_name(rng, domain)), postfix(domain), exim(domain)))
    return deliver(home, mails(), client)


def mailing_list(rng: random.Random, days: int) -> Attempts:
    """Mailman for a club: 1 to 10 posts a week to 30 to 400 subscribers, 1-8 % dead, bounces processed after weeks.

    One sender domain (VERP), several recipients of a domain in one session; DMARC of the posters breaks.
    """
    home, domain = a_server_home(rng), f"club{rng.randrange(9999)}.example"
    subscribers = Contacts(home, rng.randint(30, 400), rng.uniform(0.4, 0.7), rng.uniform(0.01, 0.08))
    posts, keeps = rng.uniform(1, 10) / 7, rng.uniform(0.2, 0.95)

    def fan_out() -> Iterator[Mail]:
        for start in times(rng, days, posts):
            time = start
            by_domain: dict[int, list[Mailbox]] = {}
            for whom in list(subscribers):
                by_domain.setdefault(whom[0], []).append(whom[1])
                if whom[1].state != "exists" and rng.random() > keeps:
                    subscribers.drop(whom)
            for to, boxes in by_domain.items():
                for at in range(0, len(boxes), 40):
                    time += rng.expovariate(3.0)
                    letter = Letter(domain, tuple(boxes[at : at + 40]), log_size(rng, 2000, 30000), 0.03)
                    yield Mail(time, to, letter)

    mails = in_order(_sorted(fan_out()), correspondence(home, days, rng.uniform(0.5, 5), domain))
    return deliver(home, mails, some_mta(rng, host_name(rng, domain)))


def _sorted(mails: Iterator[Mail], within: float = DAY) -> Iterator[Mail]:
    """Posts may overlap."""
    batch: list[Mail] = []
    for mail in mails:
        if batch and mail.time - batch[0].time > within:
            yield from sorted(batch, key=lambda item: item.time)
            batch = []
        batch.append(mail)
    yield from sorted(batch, key=lambda item: item.time)


def forge(rng: random.Random, days: int) -> Attempts:
    """Gitea or GitLab: notifications to 3 to 60 users and to those who once contributed, bursts when a bot comments."""
    home, domain = a_server_home(rng), f"git{rng.randrange(999)}.example"
    users = Contacts(home, rng.randint(3, 60), rng.uniform(0.4, 0.8), rng.uniform(0.0, 0.12))

    def mails() -> Iterator[Mail]:
        for start in times(rng, days, log_uniform(rng, 1, 25)):
            time = start
            for _ in range(rng.choice((1, 1, 1, 2, 4, 10))):
                to, box = users.one(0.01)
                time += rng.expovariate(1.0)
                yield Mail(time, to, Letter(domain, (box,), log_size(rng, 2000, 30000), 0.01))

    return deliver(home, _sorted(mails()), some_mta(rng, rng.choice((host_name(rng, domain), domain, "gitea"))))


def dmarc_reporter(rng: random.Random, days: int) -> Attempts:
    """A server that sends DMARC reports: each night to 3 to 80 domains that wrote to it, strangers mostly.

    5-30 % of the report addresses do not work (RFC 7489 section 7.2.1; share: judgement).
    """
    home, domain = a_server_home(rng), own_domain(rng)
    broken = rng.uniform(0.05, 0.30)
    regular = [(home.internet.anyone(rng, 0.3), Mailbox(n)) for n in range(rng.randint(5, 40))]

    def reports() -> Iterator[Mail]:
        each = log_uniform(rng, 3, 80)
        for day in range(days):
            time = day * DAY + rng.uniform(0, 2) * HOUR
            for _ in range(poisson(rng, each)):
                time += rng.expovariate(0.5)
                if rng.random() < 0.6:
                    to, box = rng.choice(regular)
                else:
                    to, box = stranger(rng), Mailbox(0, "unknown" if rng.random() < broken else "exists")
                yield Mail(time, to, Letter(domain, (box,), log_size(rng, 2000, 8000), 0.01))

    mails = in_order(reports(), correspondence(home, days, log_uniform(rng, 1, 15), domain))
    return deliver(home, mails, some_mta(rng, host_name(rng, domain)))


def web_shop(rng: random.Random, days: int) -> Attempts:
    """A web application at home with registrations and orders: 1 to 40 a day, 2-25 % mistyped or made-up addresses."""
    home, domain = a_server_home(rng), f"shop{rng.randrange(9999)}.example"
    made_up = rng.uniform(0.02, 0.25)

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 1, 40), night=0.4, week=False):
            box = Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < made_up else "exists")
            yield Mail(time, home.internet.anyone(rng, 0.7), Letter(domain, (box,), log_size(rng, 2000, 20000), 0.04))

    return deliver(home, mails(), some_mta(rng, rng.choice((host_name(rng, domain), "webserver", domain))))
