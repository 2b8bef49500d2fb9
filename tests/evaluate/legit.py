"""The development set's legitimate devices: the list "must not be flagged" of facts/detection.md, entire.

Knows who sends what from a home or small office. Each rate names its source, or is judgement (J). Must not know the
detector, nor be looked at together with `holdout`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from heapq import merge

from tests.evaluate.facts import Session
from tests.evaluate.internet import BIG, Internet, Server
from tests.evaluate.mta import (
    DAY,
    HOUR,
    Habits,
    Mail,
    appliance,
    correspondence,
    deliver,
    log_uniform,
    poisson,
    times_of_day,
)
from tests.evaluate.talk import Client, session

Sessions = Iterator[Session]


def in_order(*streams: Sessions) -> Sessions:
    """Several programs behind one address, by time."""
    return merge(*streams, key=lambda session: session.time)


def own_name(rng: random.Random) -> str:
    return f"{rng.choice(('mail', 'mx', 'server', 'home'))}.family{rng.randrange(9999)}.example"


def self_hosted(rng: random.Random, days: int) -> Sessions:
    """A mail server at home, fresh: 2 to 25 messages a day (J), own domain, TLS, Postfix's retries."""
    name = own_name(rng)
    mails = correspondence(rng, days, log_uniform(rng, 2, 25), [name.partition(".")[2]])
    return deliver(rng, mails, Client(name), Internet(rng, refusing_home=(0.0, 0.15)))


def after_queue_flush(rng: random.Random, days: int) -> Sessions:
    """The same, whose queue of 200 to 900 messages to 80 to 300 domains leaves in 20 minutes, 1 to 3 times (J)."""
    name = own_name(rng)
    domain = name.partition(".")[2]
    flushes = []
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(days) * DAY + 9 * HOUR
        domains = [BIG + rng.randrange(40000) for _ in range(rng.randint(80, 300))]
        flushes += [
            Mail(start + rng.random() * 1200, rng.choice(domains), domain, 1, rng.random() < 0.04, rng.random() < 0.02)
            for _ in range(rng.randint(200, 900))
        ]
    mails = merge(correspondence(rng, days, log_uniform(rng, 2, 15), [domain]), sorted(flushes))
    return deliver(rng, mails, Client(name), Internet(rng, refusing_home=(0.0, 0.10)))


def newsletter(rng: random.Random, days: int) -> Sessions:
    """To 500 domains on the first run, then monthly: 1 to 5 a second, 1-5 % unknown users, TLS mostly (J)."""
    name = own_name(rng)
    domains = [BIG + rng.randrange(40000) for _ in range(500)]
    wrong, tls = rng.uniform(0.01, 0.05), rng.random() < 0.8

    def runs() -> Iterator[Mail]:
        for month in range(max(1, days // 30)):
            time = (month * 30 + rng.random()) * DAY
            for to in domains:
                time += rng.expovariate(rng.uniform(1, 5))
                # Who is unknown is taken off the list (RFC 2369 practice; J).
                yield Mail(time, to, name.partition(".")[2], 1, rng.random() < wrong * (0.3 if month else 1), False)

    return deliver(rng, runs(), Client(name), Internet(rng, refusing_home=(0.0, 0.10)), Habits(tls=tls))


#: Names that appliances and scripts give: cameras and printers their host name, stacks without one an address.
BAD_HELLOS = (
    "axis-00408c123456",
    "NPI7A3F21",
    "localhost.localdomain",
    "192.168.1.64",
    "[192.168.1.20]",
    "DiskStation",
)


def appliance_refused(rng: random.Random, days: int) -> Sessions:
    """NAS, printer or camera that mails one MX with a bad HELO, refused always; 1 in 10 has days of 12,340 (Axis)."""
    client = Client(rng.choice(BAD_HELLOS), ehlo=rng.random() < 0.6, lower=rng.random() < 0.2)
    kind = rng.choice(("unknown", "rejected", "home", "data-rejected", "listed"))
    outcomes = ((kind, 1.0),)
    frenzied = rng.randint(1, 3) if rng.random() < 0.1 else 0
    quits, sender = rng.choice((0.0, 0.5, 1.0)), rng.choice(("axis.example", "isp-mail.example"))
    return appliance(rng, days, (0.5, 40), client, outcomes, sender=sender, quits=quits, frenzy_days=frenzied)


def appliance_working(rng: random.Random, days: int) -> Sessions:
    """The same where the MX takes it, mostly."""
    client = Client(rng.choice(BAD_HELLOS), ehlo=rng.random() < 0.6, spaced=rng.random() < 0.2)
    outcomes = (("accepted", 0.95), ("lost", 0.02), ("deferred", 0.02), ("unknown", 0.01))
    quits = rng.choice((0.0, 0.5, 1.0))
    return appliance(rng, days, (0.5, 20), client, outcomes, sender="isp-mail.example", quits=quits)


def php_on_raspberry(rng: random.Random, days: int) -> Sessions:
    """PHP's mail() as `localhost`: a contact form and its registrations, 1 to 15 a day, 1-5 % mistyped (J)."""
    client = Client(rng.choice(("localhost", "raspberrypi", "localhost.localdomain")))
    habits = Habits(tls=rng.random() < 0.5, quits=1.0, patience_s=rng.choice((0.0, DAY)))
    sender = rng.choice(("raspberrypi", "club.example"))
    mails = correspondence(
        rng, days, log_uniform(rng, 1, 15), [sender], contacts=(3, 30), new_per_day=0.3, wrong=(0.01, 0.05),
        unwanted=(0.0, 0.05),
    )  # fmt: skip
    return deliver(rng, mails, client, Internet(rng, refusing_home=(0.05, 0.25)), habits)


def office_exchange(rng: random.Random, days: int) -> Sessions:
    """A small office's Exchange that calls itself EXCH01.corp.local, 20 to 80 a day (J)."""
    client = Client(f"EXCH0{rng.randint(1, 3)}.{rng.choice(('corp', 'ad', 'office'))}.local")
    domain = f"company{rng.randrange(9999)}.example"
    mails = correspondence(
        rng, days, log_uniform(rng, 20, 80), [domain] * 9 + ["<>"], contacts=(80, 300), new_per_day=1.0,
        wrong=(0.01, 0.03),
    )  # fmt: skip
    return deliver(rng, mails, client, Internet(rng), Habits(retry_s=(600.0, 600.0), patience_s=2 * DAY))


def forwarder(rng: random.Random, days: int) -> Sessions:
    """Forwards what anybody writes to a few mailboxes: a new sender domain each time, 5-15 % refused as spam (J)."""
    name = own_name(rng)
    targets = [rng.randrange(BIG) if rng.random() < 0.7 else BIG + rng.randrange(40000) for _ in range(4)]
    refused, per_day, tls = rng.uniform(0.05, 0.15), log_uniform(rng, 3, 30), rng.random() < 0.8

    def arrivals() -> Iterator[Mail]:
        for day in range(days):
            for time in times_of_day(rng, day, poisson(rng, per_day)):
                sender = f"writer{int(rng.paretovariate(0.5)) % 5000}.example"
                yield Mail(time, rng.choice(targets), sender, 1, rng.random() < 0.01, rng.random() < refused)

    return deliver(rng, arrivals(), Client(name), Internet(rng), Habits(tls=tls))


def backscatter(rng: random.Random, days: int) -> Sessions:
    """A server that bounces to forged senders for days on end: strangers, 20-50 % unknown, 10-20 % gone (J)."""
    name = own_name(rng)
    wrong = rng.uniform(0.2, 0.5)
    waves = [(rng.randrange(days), rng.randint(2, 10), log_uniform(rng, 20, 200)) for _ in range(rng.randint(1, 3))]

    def bounces() -> Iterator[Mail]:
        for day in range(days):
            count = sum(poisson(rng, rate) for start, length, rate in waves if start <= day < start + length)
            for time in times_of_day(rng, day, count, night=1.0):
                to = rng.randrange(BIG) if rng.random() < 0.3 else BIG + rng.randrange(40000)
                yield Mail(time, to, "<>", 1, rng.random() < wrong, False)

    mails = merge(correspondence(rng, days, log_uniform(rng, 2, 10), [name.partition(".")[2]]), bounces())
    internet = Internet(rng, gone=(0.1, 0.2), refusing_home=(0.0, 0.10))
    return deliver(rng, mails, Client(name), internet, Habits(patience_s=DAY))


def two_mtas(rng: random.Random, days: int) -> Sessions:
    """Two mail servers on one host, each with its name and domain (J)."""
    return in_order(self_hosted(rng, days), deliver(
        rng, correspondence(rng, days, log_uniform(rng, 1, 10), ["shop.example", "club.example"]),
        Client("vm2.lan"), Internet(rng), Habits(retry_s=(900.0, 6 * HOUR), patience_s=4 * DAY),
    ))  # fmt: skip


def person_with_script(rng: random.Random, days: int) -> Sessions:
    """msmtp, smtplib or swaks straight to an MX, with its defaults: 0.2 to 5 messages a day, few servers (J)."""
    helo = rng.choice(("localhost", "[127.0.0.1]", "[192.168.1.7]", "thinkpad", "laptop.fritz.box", "laptop.lan"))
    habits = Habits(tls=rng.random() < 0.5, patience_s=0.0, quits=rng.choice((1.0, 1.0, 0.7)))
    mails = correspondence(
        rng, days, log_uniform(rng, 0.2, 5), ["me.example"], contacts=(1, 12), new_per_day=0.03, wrong=(0.01, 0.05),
        unwanted=(0.0, 0.1),
    )  # fmt: skip
    return deliver(rng, mails, Client(helo), Internet(rng, refusing_home=(0.1, 0.4)), habits)


def nat_lan(rng: random.Random, days: int) -> Sessions:
    """A second router: a server, a script, a NAS and a printer behind one MAC."""
    streams = [
        self_hosted(rng, days),
        person_with_script(rng, days),
        appliance_working(rng, days),
        appliance_refused(rng, days),
    ]
    return in_order(*rng.sample(streams, rng.randint(2, 4)))


def wan_outage(rng: random.Random, days: int) -> Sessions:
    """A mail server whose line is down 3 to 12 times a year for 10 minutes to 30 hours: every connect fails (J)."""
    name = own_name(rng)
    outages = []
    for _ in range(rng.randint(3, 12)):
        start = rng.random() * days * DAY
        outages.append((start, start + log_uniform(rng, 600, 30 * HOUR)))
    mails = correspondence(rng, days, log_uniform(rng, 3, 30), [name.partition(".")[2]])
    return deliver(rng, mails, Client(name), Internet(rng), Habits(outages=tuple(outages)))


def greylisted_everywhere(rng: random.Random, days: int) -> Sessions:
    """Every server greylists, some behind TLS."""
    name = own_name(rng)
    mails = correspondence(rng, days, log_uniform(rng, 2, 20), [name.partition(".")[2]])
    return deliver(rng, mails, Client(name), Internet(rng, tls=(0.0, 0.9), greylisting=(1.0, 1.0)))


def home_line_refused(rng: random.Random, days: int) -> Sessions:
    """A server on a line whose addresses PBL lists: all refuse it, half behind TLS; it goes on (J: 1 to 8 a day)."""
    name = own_name(rng) if rng.random() < 0.6 else "raspberrypi"
    mails = correspondence(rng, days, log_uniform(rng, 1, 8), [name.partition(".")[2] or name], contacts=(10, 80))
    return deliver(rng, mails, Client(name), Internet(rng, tls=(0.3, 0.9), refusing_home=(1.0, 1.0)))


def mailing_list(rng: random.Random, days: int) -> Sessions:
    """1 to 4 posts a week to 40 to 150 domains, up to 30 subscribers each (J), VERP senders of one domain."""
    name = own_name(rng)
    domains = [rng.randrange(BIG)] + [BIG + rng.randrange(40000) for _ in range(rng.randint(40, 150))]
    posts, wrong = rng.uniform(1, 4) / 7, rng.uniform(0.003, 0.02)

    def fan_out() -> Iterator[Mail]:
        for day in range(days):
            for start in times_of_day(rng, day, poisson(rng, posts)):
                time = start
                for to in domains:
                    time += rng.expovariate(4.0)
                    recipients = min(30, int(rng.paretovariate(1.2)))
                    yield Mail(time, to, name.partition(".")[2], recipients, rng.random() < wrong, rng.random() < 0.01)

    return deliver(rng, _sorted_by_day(fan_out()), Client(name), Internet(rng), Habits(tls=rng.random() < 0.8))


def _sorted_by_day(mails: Iterator[Mail]) -> Iterator[Mail]:
    """Posts of one day may overlap."""
    batch: list[Mail] = []
    for mail in mails:
        if batch and mail.time - batch[0].time > DAY:
            yield from sorted(batch)
            batch = []
        batch.append(mail)
    yield from sorted(batch)


def callout_verifier(rng: random.Random, days: int) -> Sessions:
    """A mail server that checks senders by asking their MX (RCPT and no message), 12 a day, a third unknown (J)."""
    name = own_name(rng)
    internet = Internet(rng)

    def callouts() -> Sessions:
        for day in range(days):
            for time in times_of_day(rng, day, poisson(rng, 12), night=1.0):
                server = internet.server(rng.randrange(BIG) if rng.random() < 0.4 else BIG + rng.randrange(40000))
                outcome = "unknown" if rng.random() < 0.33 else "accepted"
                whole = session(
                    rng, time, server.addresses[0], Client(name), outcome, sender="<>", recipient=server.domain
                )
                yield whole._replace(events=tuple(event for event in whole.events if event.kind != "message"))

    mails = correspondence(rng, days, log_uniform(rng, 2, 15), [name.partition(".")[2]])
    return in_order(callouts(), deliver(rng, mails, Client(name), internet))


def mx_check(rng: random.Random, days: int) -> Sessions:
    """A consultant's cron job: swaks asks 20 to 60 customers' servers whether they take their postmaster, no message.

    `--quit-after RCPT`, every 4 to 24 hours, half of the jobs with --tls (J). It gives the host's name, with a domain
    or without (swaks(1); seen: `EHLO wolfy`, MAIL FROM root@wolfy). 1-6 % of the mailboxes are gone and stay
    in the job (J); who greylists does so once.
    """
    client = Client(rng.choice(("wolfy", "nuc", "debian", "ops.consult.example", "mon01.consult.example")))
    internet = Internet(rng, refusing_home=(0.0, 0.1))
    gone, tls, pause = rng.uniform(0.01, 0.06), rng.random() < 0.5, rng.uniform(4, 24) * HOUR
    customers = [
        (internet.server(rng.randrange(BIG) if rng.random() < 0.3 else BIG + rng.randrange(40000)), rng.random() < gone)
        for _ in range(rng.randint(20, 60))
    ]
    met: set[str] = set()
    time = rng.random() * pause
    while time < days * DAY:
        for server, unknown in customers:
            outcome = _asked(rng, server, unknown, server.domain in met)
            met.add(server.domain)
            sealed = tls and server.tls
            whole = session(
                rng, time, rng.choice(server.addresses), client,
                "unknown" if sealed and outcome == "accepted" else outcome,  # as short, under TLS: no message follows
                sender=client.helo, recipient=server.domain, tls=sealed,
            )  # fmt: skip
            yield whole._replace(events=tuple(event for event in whole.events if event.kind != "message"))
            time += rng.uniform(0.5, 4) if outcome != "lost" else 30.0
        time += pause


def _asked(rng: random.Random, server: Server, unknown: bool, met: bool) -> str:
    if server.fate != "up":
        return server.fate
    if server.refuses_home:
        return "banner-home" if server.at_banner else "home"
    if server.greylists and not met:
        return "deferred"
    if rng.random() < 0.004:
        return rng.choice(("lost", "banner-busy"))
    return "unknown" if unknown else "accepted"


LEGITIMATE = {
    "self-hosted": self_hosted,
    "queue-flush": after_queue_flush,
    "newsletter": newsletter,
    "appliance-refused": appliance_refused,
    "appliance-working": appliance_working,
    "php-localhost": php_on_raspberry,
    "office-exchange": office_exchange,
    "forwarder": forwarder,
    "backscatter": backscatter,
    "two-mtas": two_mtas,
    "nat-lan": nat_lan,
    "wan-outage": wan_outage,
    "greylisted": greylisted_everywhere,
    "home-line-refused": home_line_refused,
    "mailing-list": mailing_list,
    "script": person_with_script,
    "callout-verifier": callout_verifier,
    "mx-check": mx_check,
}
