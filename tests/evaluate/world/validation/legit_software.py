"""The validation set's programs with mail of their own: forums, shops, tickets, monitoring, backups, sign-ups.

Knows what they send and to whom. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Mail, deliver
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import (
    Contacts,
    a_home,
    a_server_home,
    in_order,
    log_size,
    log_uniform,
    times,
)
from tests.evaluate.world.programs import CURL, HOUR, NO_LOOKUP, Client, exim, go, php, postfix, sendmail, smtplib
from tests.evaluate.world.validation.habits import (
    Whom,
    business,
    domain_at,
    forgets,
    mailbox,
    notices,
    starts,
    to_all,
)
from tests.evaluate.world.validation.legit_servers import a_domain


def discourse_forum(rng: random.Random, days: int) -> Attempts:
    """Discourse: replies all day, a digest each week to all; bounces cost an address its mail (bounce score, its docs).

    50 to 500 members of an older forum, 1-8 % of whose addresses are gone (J).
    """
    home, domain = a_server_home(rng), f"forum{rng.randrange(99)}.example"
    members = Contacts(home, rng.randint(50, 500), 0.75, rng.uniform(0.01, 0.08))

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.03)

    def replies() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 80), night=0.3, week=False):
            to, box = members.one(0.01)
            yield Mail(time, to, letter((box,), log_size(rng, 4000, 30000)))

    def size(rng: random.Random) -> int:
        return log_size(rng, 20000, 80000)

    digests = to_all(home, members, starts(rng, days, 7, rng.uniform(0, 7)), letter, rng.uniform(0.5, 8), size)
    return deliver(home, in_order(replies(), digests), postfix(f"mail.{domain}"), told=forgets(members, 2))


def fediverse_signups(rng: random.Random, days: int) -> Attempts:
    """Mastodon with open doors: each sign-up gets a letter, robots' too, whose addresses are made up (10-50 % J).

    Notices of mentions to few members besides.
    """
    home, domain = a_server_home(rng), f"social{rng.randrange(99)}.example"
    robots = rng.uniform(0.1, 0.5)
    members = Contacts(home, rng.randint(10, 150), 0.7, rng.uniform(0.0, 0.05))

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 2, 40), night=0.5, week=False):
            if rng.random() < 0.35:
                dead = 0.7 if rng.random() < robots else 0.03
                to, box = home.internet.anyone(rng, 0.75), mailbox(rng, dead)
            else:
                to, box = members.one()
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 5000, 25000), 0.05))

    return deliver(home, mails(), postfix(f"{domain}"))


def site_forms(rng: random.Random, days: int) -> Attempts:
    """A website at home: its form writes to the owner, and thanks whoever filled it in, spam robots too.

    8.4 % of addresses in web forms are invalid (TowerData 2018); among robots' half are (J).
    """
    home, domain = a_server_home(rng), a_domain(rng)
    owner: Whom = home.internet.consumer(rng), mailbox(rng)
    robots = rng.uniform(0.0, 0.5)
    client = rng.choice((postfix(domain), exim("localhost"), php(domain), sendmail(domain)))

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.5, 25), night=0.4, week=False):
            robot = rng.random() < robots
            unwanted = 0.6 if robot else 0.03
            yield Mail(time, owner[0], Letter(domain, (owner[1],), log_size(rng, 900, 5000), unwanted))
            if rng.random() < 0.8:
                box = mailbox(rng, 0.5 if robot else 0.084)
                yield Mail(time + 0.5, home.internet.anyone(rng, 0.7), Letter(domain, (box,), log_size(rng, 900, 4000)))

    return deliver(home, mails(), client)


def shop_with_odoo(rng: random.Random, days: int) -> Attempts:
    """Odoo or ERPNext of a small firm: orders and invoices to customers, many of them new; Python, local Postfix.

    5 % of addresses from a website are wrong (FreshAddress on Shoe Carnival); 1-6 % here (J).
    """
    home, domain = business(rng, (0.2, 0.7), 0.4), a_domain(rng)
    customers = Contacts(home, rng.randint(40, 500), rng.uniform(0.3, 0.85), rng.uniform(0.01, 0.06))
    new = rng.uniform(0.1, 0.6)

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 3, 60), night=0.1):
            to, box = customers.one(new)
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 8000, 250000), 0.02))

    return deliver(home, mails(), postfix(f"erp.{domain}"))


def till_receipts(rng: random.Random, days: int) -> Attempts:
    """A shop's till that mails receipts: addresses typed at the counter, 8-20 % wrong, each once.

    Bounces of addresses taken at a till: 20 % (Experian 2012), 13 % (FreshAddress). Own program or local Postfix (J).
    """
    home, domain = business(rng, (0.2, 0.7), 0.3), a_domain(rng)
    wrong, regulars = rng.uniform(0.08, 0.20), rng.uniform(0.2, 0.6)
    known = Contacts(home, rng.randint(50, 400), 0.85, 0.0)
    client = rng.choice((postfix(domain), postfix(f"till.{domain}"), smtplib("till-1", "may"), go("localhost")))

    def receipts() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 4, 50), night=0.0):
            if rng.random() < regulars:
                to, box = known.one()
            else:
                to, box = home.internet.anyone(rng, 0.85), mailbox(rng, wrong)
            yield Mail(time, to, Letter(domain, (box,), log_size(rng, 3000, 40000), 0.01))

    return deliver(home, receipts(), client)


def gitlab(rng: random.Random, days: int) -> Attempts:
    """GitLab or Forgejo for 2 to 25 people: notices of pushes and jobs in bursts (J)."""
    home, domain = a_server_home(rng), a_domain(rng)
    team = Contacts(home, rng.randint(2, 25), 0.4, rng.uniform(0.0, 0.05))
    client = postfix(f"git.{domain}") if rng.random() < 0.7 else go("localhost")

    def mails() -> Iterator[Mail]:
        free = 0.0
        for start in times(rng, days, log_uniform(rng, 0.5, 15), night=0.2):
            time = max(free, start)
            for to, box in list(team)[: rng.randint(1, len(team))]:
                yield Mail(time, to, Letter(f"git.{domain}", (box,), log_size(rng, 3000, 30000), 0.02))
                time += rng.uniform(0.1, 3.0)
            free = time

    return deliver(home, mails(), client)


def zabbix(rng: random.Random, days: int) -> Attempts:
    """Zabbix or Nagios: mail media without a relay, to one to three people; storms when a switch fails.

    Zabbix' manual: SMTP server, HELO and port are given; libcurl sends. It tries three times. Rates are judgement.
    """
    home, domain = a_home(rng), a_domain(rng)
    whom: list[Whom] = [(domain_at(home, "hoster", "own", "gmail", "m365"), mailbox(rng, 0.03)) for _ in range(3)]
    client = Client(
        rng.choice(("localhost", "zabbix", "monitor.lan", domain)), tls=rng.choice(("none", "may")), ja4=CURL,
        retry=(60.0, 60.0, 180.0), mx=NO_LOOKUP,
    )  # fmt: skip

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.05, aligned)

    aligned = rng.random() < 0.3
    mails = notices(
        home, days, log_uniform(rng, 0.2, 12), whom[: rng.randint(1, 3)], letter, lambda r: log_size(r, 700, 2500),
        storms=(rng.uniform(2, 30), 120, 40.0),
    )  # fmt: skip
    return deliver(home, mails, client)


def proxmox_node(rng: random.Random, days: int) -> Attempts:
    """Proxmox as installed: its Postfix takes root's reports straight to the owner's mailbox, as root@pve.local.

    TAPPaaS issue 125 names backup, ZFS and cron reports. Mostly refused, and tried for five days. Rates are judgement.
    """
    home = a_home(rng)
    name = rng.choice(("pve", "pve1", "proxmox", "homelab"))
    domain = f"{name}.{rng.choice(('local', 'lan', 'home.arpa', 'localdomain'))}"
    whom: list[Whom] = [(home.internet.anyone(rng, 0.7), mailbox(rng))]

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.1, False, real_sender=False)

    mails = notices(home, days, log_uniform(rng, 0.3, 6), whom, letter, lambda r: log_size(r, 1500, 40000))
    return deliver(home, mails, postfix(domain))


def cron_mail(rng: random.Random, days: int) -> Attempts:
    """A Raspberry Pi, Exim as an "internet site": cron's output from pi@raspberrypi to its owner's mailbox.

    Debian's exim4-config asks for that; names without a domain are its default. Rates are judgement.
    """
    home = a_home(rng)
    name = rng.choice(("raspberrypi", "pihole", "octopi", "debian"))
    whom: list[Whom] = [(home.internet.anyone(rng, 0.8), mailbox(rng, 0.02))]

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(name, boxes, size, 0.15, False, real_sender=False)

    per_day = rng.choice((0.3, 1.0, 1.0, 4.0, 24.0))
    mails = notices(home, days, per_day, whom, letter, lambda r: log_size(r, 600, 4000), storms=(2.0, 60, 300.0))
    return deliver(home, mails, exim(name))


def truenas(rng: random.Random, days: int) -> Attempts:
    """TrueNAS with its owner's MX as "outgoing mail server", no login: alerts and daily reports; smtplib.

    Forum threads have it so where people cannot use their provider's login. Rates are judgement.
    """
    home, domain = a_home(rng), a_domain(rng)
    whom: list[Whom] = [(domain_at(home, "gmail", "hoster", "own"), mailbox(rng))]
    aligned = rng.random() < 0.3
    client = smtplib(rng.choice(("truenas.local", "truenas", "nas.lan")), rng.choice(("none", "may")))

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.05, aligned)

    mails = notices(
        home, days, log_uniform(rng, 0.1, 3), whom, letter, lambda r: log_size(r, 900, 9000), storms=(3, 40, 90.0)
    )
    return deliver(home, mails, client._replace(mx=NO_LOOKUP))


def voicemail(rng: random.Random, days: int) -> Attempts:
    """FreePBX: a recording for each missed call, from asterisk@ a name that nobody has, to 2 to 30 people's boxes.

    FreePBX installs Postfix without a relay; `serveremail` is asterisk@localdomain by default. Rates are judgement.
    """
    home = business(rng, (0.3, 0.8), 0.3)
    named = rng.random() < 0.5
    domain = a_domain(rng) if named else "freepbx.localdomain"
    boxes = Contacts(home, rng.randint(2, 30), rng.uniform(0.0, 0.7), rng.uniform(0.0, 0.08))

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.5, 25), night=0.1):
            to, box = boxes.one()
            letter = Letter(domain, (box,), log_size(rng, 40000, 900000), 0.05, named, real_sender=named)
            yield Mail(time, to, letter)

    return deliver(home, mails(), rng.choice((postfix, sendmail))(f"pbx.{domain}"))


def smtp_monitor(rng: random.Random, days: int) -> Attempts:
    """A technician's Uptime Kuma or check_smtp: looks at 2 to 25 customers' servers every 2 to 30 minutes, says QUIT.

    The Monitoring Plugins' check_smtp: banner, EHLO or HELO, maybe MAIL, QUIT. One in four uses STARTTLS (J).
    """
    home = a_home(rng)
    servers = [domain_at(home, "own", "hoster", "m365") for _ in range(rng.randint(2, 25))]
    client = Client(
        rng.choice(("monitor", "nagios.lan", "localhost")), ehlo=rng.random() < 0.5,
        tls="may" if rng.random() < 0.25 else "none", quits=rng.choice((1.0, 1.0, 0.0)),
    )  # fmt: skip
    every = log_uniform(rng, 120, 1800)

    def probes() -> Iterator[Mail]:
        time = 0.0
        while time < days * 86400:
            for to in servers:
                yield Mail(time, to, Letter("", (), 0, probe=True))
                time += every / len(servers) * rng.uniform(0.9, 1.1)

    return deliver(home, probes(), client)


def starttls_census(rng: random.Random, days: int) -> Attempts:
    """A student's survey of STARTTLS or MTA-STS: 100 to 2,000 domains a round, a round each one to six weeks, slowly.

    After Durumeric et al., IMC 2015, and Lee et al., USENIX Security 2020, who measured servers so. Rates: judgement.
    """
    home, domain = a_home(rng), a_domain(rng)
    domains = [home.internet.anyone(rng, 0.0) for _ in range(rng.randint(100, 2000))]
    client = rng.choice((
        go(f"survey.{domain}"), smtplib(f"survey.{domain}", "may"), Client("localhost", tls="may", quits=0.5),
    ))  # fmt: skip
    gap = log_uniform(rng, 1, 60)

    def rounds() -> Iterator[Mail]:
        time = 0.0
        for start in starts(rng, days, rng.uniform(7, 42)):
            time = max(time, start)
            for to in domains:
                yield Mail(time, to, Letter("", (), 0, probe=True))
                time += rng.expovariate(1 / gap)

    return deliver(home, rounds(), client)


def signup_checks(rng: random.Random, days: int) -> Attempts:
    """A website at home whose form asks the visitor's server whether the address exists, before it takes it.

    npm's email-existence and others work so (its pull request 43 is about port 25). 8.4 % invalid (TowerData).
    """
    home, domain = a_server_home(rng), a_domain(rng)
    client = Client(rng.choice((domain, "localhost", "hi")), ehlo=rng.random() < 0.6, quits=rng.choice((1.0, 0.3)))
    wrong = rng.uniform(0.05, 0.13)

    def checks() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.3, 15), night=0.4, week=False):
            letter = Letter(domain, (mailbox(rng, wrong),), 0, probe=True)
            yield Mail(time, home.internet.anyone(rng, 0.75), letter)

    return deliver(home, checks(), client)


def greylist_tester(rng: random.Random, days: int) -> Attempts:
    """An administrator who tries his employer's servers from home with swaks: users, no users, spam samples (GTUBE).

    Tries in evenings of some weeks (J). swaks(1).
    """
    home, domain = a_home(rng), a_domain(rng)
    work = [domain_at(home, "own", "m365", "hoster") for _ in range(rng.randint(1, 3))]
    client = Client(rng.choice(("laptop", domain, "debian.lan")), tls=rng.choice(("none", "may")), mx=NO_LOOKUP)

    def tries() -> Iterator[Mail]:
        free = 0.0
        for start in starts(rng, days, rng.uniform(3, 30)):
            time = max(free, start + 6 * HOUR)
            for _ in range(rng.randint(2, 25)):
                state = rng.choice(("exists", "exists", "unknown"))
                letter = Letter(
                    domain, (Mailbox(rng.randrange(6), state),), 900, rng.choice((0.0, 0.0, 1.0)), rng.random() < 0.4,
                    probe=rng.random() < 0.3,
                )  # fmt: skip
                yield Mail(time, rng.choice(work), letter)
                time += rng.uniform(20, 600)
            free = time

    return deliver(home, tries(), client)
