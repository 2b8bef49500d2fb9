"""The development set's senders to lists: shops, clubs, schools.

Knows addresses that age: some are dead at first, and of the hard bounces some are taken off. The shop's ranges are the
brief's (B); what has no mark is judgement. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver
from tests.evaluate.world.internet import Internet
from tests.evaluate.world.line import home_line
from tests.evaluate.world.manners import Letter
from tests.evaluate.world.people import (
    DAY,
    HOUR,
    Contacts,
    Range,
    a_home,
    a_server_home,
    correspondence,
    in_order,
    log_size,
    log_uniform,
)
from tests.evaluate.world.programs import Client, php, smtplib, some_mta, windows_mailer


class Readers:
    """The addresses of a newsletter. It sends one letter to each; `learn` takes off some of what bounced.

    Programs that look at bounces seldom ask why: a refusal of the line takes a reader off, too. Where more than seven
    in ten of a run fail, every other time it is the last run (J).
    """

    def __init__(self, home: Home, count: int, consumers: Range, dead: Range, keeps: float) -> None:
        self._home = home
        self.contacts = Contacts(home, count, home.rng.uniform(*consumers), home.rng.uniform(*dead))
        self._keeps = keeps  # share of bounces that stay on the list each time
        self._tried = self._failed = 0

    def run(self, start: float, per_minute: float, letter: Letter, ages: float = 0.003) -> Iterator[Mail]:
        rng, time = self._home.rng, start
        if self._tried > 30 and self._failed > 0.7 * self._tried and rng.random() < 0.5:
            self.contacts = Contacts(self._home, 0, 0.0, 0.0)
        self._tried = self._failed = 0
        readers = list(self.contacts)
        rng.shuffle(readers)
        for whom in readers:
            time += rng.expovariate(per_minute / 60)
            yield Mail(time, whom[0], letter._replace(to=(whom[1],), size=log_size(rng, 5000, 60000)))
            if whom[1].state == "exists" and rng.random() < ages:
                self.contacts.drop(whom)
                self.contacts.add_dead(whom[0])

    def runs(self, starts: Iterable[float], per_minute: Range, letter: Letter) -> Iterator[Mail]:
        """One run after the other, each at a speed of its own; made as time goes on, so that it knows what bounced."""
        free = 0.0
        for start in starts:
            for mail in self.run(max(start, free), self._home.rng.uniform(*per_minute), letter):
                free = mail.time
                yield mail

    def learn(self, mail: Mail, delivered: bool, time: float) -> None:
        """What became of a letter."""
        self._tried += 1
        self._failed += not delivered
        if not delivered and mail.letter.to and self._home.rng.random() > self._keeps:
            self.contacts.drop((mail.to, mail.letter.to[0]))


def shop_newsletter(rng: random.Random, days: int) -> Attempts:
    """A small shop's newsletter by a Windows program that sends directly (B).

    Monthly to 200-1,500 addresses, 2-25 % dead at first, 25-60 a minute, no TLS, HELO SHOP-PC or the domain; half of
    the hard bounces are taken off.
    """
    home, domain = a_home(rng), f"shop{rng.randrange(9999)}.example"
    readers = Readers(home, rng.randint(200, 1500), (0.5, 0.8), (0.02, 0.25), 0.5)
    letter = Letter(domain, (), 0, rng.uniform(0.02, 0.2), rng.random() < 0.5)
    starts = ((month * 30 + rng.uniform(0, 3)) * DAY + 10 * HOUR for month in range(max(1, days // 30)))
    client = windows_mailer(rng.choice(("SHOP-PC", "KASSE", "DESKTOP-7F3K2LQ", domain, domain)))
    return deliver(home, readers.runs(starts, (25, 60), letter), client, told=readers.learn)


def club_list(rng: random.Random, days: int) -> Attempts:
    """A club's round mail by a script or mail merge on a laptop, 4 to 30 times a year to 40 to 400 members.

    3-30 % dead at first: such lists are years old; a fifth of the bounces is looked at.
    """
    home, domain = a_home(rng), f"club{rng.randrange(9999)}.example"
    readers = Readers(home, rng.randint(40, 400), (0.5, 0.85), (0.03, 0.30), 0.8)
    helo = rng.choice(("laptop", "[192.168.1.7]", "localhost", "MacBook-Pro.local", "DESKTOP-9A1", domain))
    client = rng.choice((smtplib(helo, rng.choice(("none", "may"))), windows_mailer(helo), some_mta(rng, helo)))
    letter = Letter(domain, (), 0, rng.uniform(0.0, 0.1), rng.random() < 0.3)
    starts = sorted(rng.uniform(0, days) * DAY for _ in range(rng.randint(4, 30)))
    return deliver(home, readers.runs(starts, (10, 120), letter), client, told=readers.learn)


def association_php(rng: random.Random, days: int) -> Attempts:
    """phpList or a PHP script on a Pi at an association: monthly or weekly to 100 to 1,200, 1-15 % dead, TLS half."""
    home, domain = a_home(rng), f"association{rng.randrange(9999)}.example"
    readers = Readers(home, rng.randint(100, 1200), (0.45, 0.8), (0.01, 0.15), rng.uniform(0.1, 0.8))
    every = rng.choice((7, 14, 30, 30, 60))
    helo = rng.choice(("localhost", "raspberrypi", domain, "localhost.localdomain"))
    client = php(helo, rng.choice(("none", "may")))._replace(retry=(900.0, HOUR, rng.choice((0.0, 6 * HOUR))))
    letter = Letter(domain, (), 0, rng.uniform(0.0, 0.15), rng.random() < 0.5)
    starts = ((start + rng.random()) * DAY for start in range(0, days, every))
    return deliver(home, readers.runs(starts, (20, 300), letter), client, told=readers.learn)


def server_newsletter(rng: random.Random, days: int) -> Attempts:
    """A newsletter by a proper mail server: monthly to 200 to 2,000, 0.5-8 % dead, bounces processed, TLS."""
    home, domain = a_server_home(rng), f"news{rng.randrange(9999)}.example"
    readers = Readers(home, rng.randint(200, 2000), (0.45, 0.75), (0.005, 0.08), rng.uniform(0.05, 0.4))
    letter = Letter(domain, (), 0, rng.uniform(0.0, 0.1), rng.random() < 0.9)
    starts = ((month * 30 + rng.random()) * DAY for month in range(max(1, days // 30)))
    mails = correspondence(home, days, log_uniform(rng, 1, 15), domain)
    return deliver(
        home, in_order(readers.runs(starts, (30, 300), letter), mails), some_mta(rng, f"mail.{domain}"),
        told=readers.learn,
    )  # fmt: skip


def survey_invitations(rng: random.Random, days: int) -> Attempts:
    """LimeSurvey or a poll of an association: 1 to 4 times 150 to 2,000 invitations and two reminders each.

    2-20 % dead; invitations leave in batches of 20 to 100 by cron; nothing is taken off between reminders.
    """
    home, domain = a_home(rng), f"survey{rng.randrange(9999)}.example"
    readers = Readers(home, rng.randint(150, 2000), (0.3, 0.8), (0.02, 0.20), 1.0)
    helo = rng.choice(("localhost", "survey", domain, f"mail.{domain}"))
    client = rng.choice((php(helo), php(helo, "none"), some_mta(rng, helo)))
    letter = Letter(domain, (), 0, rng.uniform(0.0, 0.1), rng.random() < 0.5)
    first = sorted(rng.uniform(0, max(1, days - 30)) * DAY for _ in range(rng.randint(1, 4)))
    starts = sorted(start + week * 7 * DAY for start in first for week in range(3))
    return deliver(home, readers.runs(starts, (20, 200), letter), client)


def first_mailing(rng: random.Random, days: int) -> Attempts:
    """A newsletter's only run, to 500 or so domains: an invitation, a notice of death, a change of address.

    300 to 700 addresses gathered over years, 5-25 % dead, from a line of whichever kind.
    """
    home, domain = Home(rng, home_line(rng), Internet(rng)), f"family{rng.randrange(9999)}.example"
    readers = Readers(home, rng.randint(300, 700), (0.3, 0.7), (0.05, 0.25), 1.0)
    helo = rng.choice(("localhost", "laptop.lan", domain, f"mail.{domain}"))
    client: Client = rng.choice((smtplib(helo, "may"), some_mta(rng, helo), php(helo)))
    letter = Letter(domain, (), 0, 0.03, rng.random() < 0.5)
    return deliver(home, readers.run(rng.random() * 5 * DAY, rng.uniform(10, 120), letter), client)
