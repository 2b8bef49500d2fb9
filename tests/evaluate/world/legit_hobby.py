"""The development set's hobbyists: abuse reports, chat by mail, a friend's backup MX, IPv6, tickets, a dormitory.

Knows who runs them and what they send; all rates are judgement. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Mail, deliver, together
from tests.evaluate.world.legit_servers import host_name
from tests.evaluate.world.legit_things import Thing
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import (
    Contacts,
    a_home,
    a_server_home,
    correspondence,
    in_order,
    log_size,
    log_uniform,
    own_domain,
    stranger,
    times,
)
from tests.evaluate.world.programs import exim, go, msmtp, node, php, postfix, smtplib, some_mta


def abuse_reporter(rng: random.Random, days: int) -> Attempts:
    """fail2ban's action complain: to the abuse contact of each attacker's network, 1 to 80 a day, strangers.

    Some networks' contacts come again and again; 10-35 % of the addresses do not work.
    """
    home, domain = a_home(rng), own_domain(rng)
    helo = rng.choice(("server", "debian", host_name(rng, domain), "localhost"))
    client = rng.choice((postfix(helo), exim(helo), msmtp("localhost", "may")))
    broken = rng.uniform(0.10, 0.35)
    usual = Contacts(home, rng.randint(5, 60), 0.02, broken)

    def reports() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 1, 80), night=1.0, week=False):
            if rng.random() < 0.6:
                to, box = usual.one(0.02)
            else:
                to, box = stranger(rng), Mailbox(0, "unknown" if rng.random() < broken else "exists")
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 1500, 9000), 0.05, rng.random() < 0.4))

    return deliver(home, reports(), client)


def chat_by_mail(rng: random.Random, days: int) -> Attempts:
    """A Delta Chat server for friends: 20 to 400 short messages a day to few people, groups of 3 to 15."""
    home, domain = a_server_home(rng), f"chat{rng.randrange(999)}.example"
    friends = Contacts(home, rng.randint(5, 60), rng.uniform(0.2, 0.6), rng.uniform(0.0, 0.04))

    def messages() -> Iterator[Mail]:
        free = 0.0
        for start in times(rng, days, log_uniform(rng, 20, 200), night=0.3, week=False):
            time = max(start, free)
            for _ in range(rng.choice((1, 1, 1, 3, 8, 15))):
                to, box = friends.one(0.002)
                yield Mail(time, to, Letter(domain, (box,), log_size(rng, 1500, 6000), 0.01))
                time += rng.uniform(0.05, 0.5)
            free = time

    return deliver(home, messages(), postfix(host_name(rng, domain)))


def backup_mx(rng: random.Random, days: int) -> Attempts:
    """A second MX for 1 to 6 friends' domains: takes what comes (spam goes to backup MXes first) and passes it on.

    5 to 150 a day, 30-90 % spam of forged senders to made-up recipients; what the first MX refuses it bounces or drops.
    """
    home, domain = a_server_home(rng), own_domain(rng)
    friends = [stranger(rng) for _ in range(rng.randint(1, 6))]
    spam, bounces = rng.uniform(0.3, 0.9), rng.random() < 0.6

    def queue() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 5, 150), night=1.0, week=False):
            unwanted = rng.random() < spam
            box = Mailbox(rng.randrange(1 << 20), "unknown" if unwanted and rng.random() < 0.5 else "exists")
            sender = f"writer{rng.randrange(90000)}.example"
            letter = Letter(sender, (box,), log_size(rng), 0.6 if unwanted else 0.01, not unwanted)
            yield Mail(time, rng.choice(friends), letter)
            if unwanted and bounces and rng.random() < 0.5:
                back = Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < 0.4 else "exists")
                bounce = Letter("<>", (back,), log_size(rng, 2000, 9000), 0.1)
                yield Mail(time + 1, home.internet.anyone(rng, 0.3), bounce)

    mails = in_order(_by_time(queue()), correspondence(home, days, log_uniform(rng, 1, 10), domain))
    return deliver(home, mails, some_mta(rng, host_name(rng, domain)))


def _by_time(mails: Iterator[Mail]) -> Iterator[Mail]:
    return iter(sorted(mails, key=lambda mail: mail.time))


def ipv6_server(rng: random.Random, days: int) -> Attempts:
    """A server that prefers IPv6, whose address has no reverse name in two of three homes."""
    home, domain = a_server_home(rng), own_domain(rng)
    home.line.ipv6, home.line.pbl = True, False
    home.line.ptr = rng.choice(("none", "none", "own"))
    return deliver(
        home, correspondence(home, days, log_uniform(rng, 2, 30), domain), some_mta(rng, host_name(rng, domain))
    )


def ticket_system(rng: random.Random, days: int) -> Attempts:
    """osTicket or Zammad: answers "we have got it" to all who write, and replies; 3 to 60 a day, 5-40 % to spammers."""
    home, domain = a_server_home(rng), f"support{rng.randrange(999)}.example"
    vain = rng.uniform(0.05, 0.40)
    customers = Contacts(home, rng.randint(10, 300), rng.uniform(0.3, 0.8), rng.uniform(0.0, 0.05))

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 60), night=0.4):
            if rng.random() < vain:
                to, box = home.internet.anyone(rng, 0.4), Mailbox(rng.randrange(1 << 20))
                box = box._replace(state="unknown" if rng.random() < 0.6 else "exists")
            else:
                to, box = customers.one(0.15)
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 1500, 20000), 0.03))

    client = rng.choice((some_mta(rng, host_name(rng, domain)), php("localhost"), node("support"), go("localhost")))
    return deliver(home, mails(), client)


def dormitory(rng: random.Random, days: int) -> Attempts:
    """Behind one MAC: a shared flat or dormitory with 3 to 10 of everything: servers, scripts, things, developers."""
    from tests.evaluate.world import legit_programs

    home = a_home(rng)
    streams = []
    for _ in range(rng.randint(3, 10)):
        kind = rng.randrange(4)
        domain = own_domain(rng)
        if kind == 0:
            mails = correspondence(home, days, log_uniform(rng, 0.5, 8), domain, contacts=(5, 60), aligned=0.6)
            streams.append(deliver(home, mails, some_mta(rng, rng.choice((host_name(rng, domain), "vps", "nuc.lan")))))
        elif kind == 1:
            helo = rng.choice(("localhost", "[127.0.0.1]", "thinkpad", "arch", "mbp.local"))
            mails = correspondence(home, days, log_uniform(rng, 0.1, 3), domain, contacts=(1, 15), dead=(0.0, 0.15))
            streams.append(deliver(home, mails, rng.choice((smtplib(helo, "may"), smtplib(helo), msmtp("localhost")))))
        elif kind == 2:
            streams.append(Thing(home).regularly(days, log_uniform(rng, 0.1, 10)))
        else:
            streams.append(legit_programs.tries(home, min(days, rng.randint(1, 6)), days))
    return together(*streams)
