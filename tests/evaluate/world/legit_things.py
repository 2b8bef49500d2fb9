"""The development set's things: cameras, NAS, printers, hubs, alone or several behind one MAC.

Knows what appliances send: each to its owner's mailbox, directly to its MX or to a provider's server on port 25. Rates
from the brief (B: behind one MAC: 3 to 8 things, 0.1 to 40 mails a day, a third with a dead recipient, 70 % never
retry) and facts/detection.md (Axis: 12,340 in a day); what has no mark is judgement. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver, together
from tests.evaluate.world.internet import Host
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import DAY, HOUR, a_home, log_size, log_uniform, poisson, times, times_of_day
from tests.evaluate.world.programs import Client, appliance, go, php, smtplib


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.randrange(16**digits):0{digits}X}"


def thing_name(rng: random.Random) -> str:
    return rng.choice((
        f"axis-accc8e{_hex(rng, 6).lower()}", f"NPI{_hex(rng, 6)}", f"BRW{_hex(rng, 12)}", "DiskStation", "MyBookLive",
        "nas", "QNAP", f"[192.168.{rng.randint(0, 2)}.{rng.randint(2, 254)}]", "localhost", "localhost.localdomain",
        f"192.168.1.{rng.randint(2, 254)}", "IPCamera", f"EPSON{_hex(rng, 6)}", "fritz.box", "(none)", "ups-1.lan",
    ))  # fmt: skip


def _refuses(host: Host) -> bool:
    """Whether it says so where a recipient is gone."""
    return host.fate == "up" and not (host.manners.catch_all or host.manners.late)


class Thing:
    """One appliance: where its mail goes, and how. dead: whether its recipient is gone or was never right."""

    def __init__(self, home: Home, name: str = "", dead: float = 1 / 3, client: Client | None = None) -> None:
        rng = home.rng
        self.home = home
        self.client = client or appliance(rng, name or thing_name(rng))
        self.to = home.internet.anyone(rng, 0.6)
        state = rng.choice(("unknown", "unknown", "disabled", "full")) if rng.random() < dead else "exists"
        while dead >= 1 and not _refuses(home.internet.host(self.to)):
            self.to = home.internet.anyone(rng, 0.6)
        # One in six gives a relay's name where the recipient's server should be: without a login it is refused.
        foreign = rng.random() < 1 / 6
        sender, real = rng.choice((
            (home.internet.host(self.to).domain, True), ("isp-mail.example", True), ("nas.local", False),
            (f"family{rng.randrange(9999)}.example", True), (self.client.helo.strip("[]()") or "device", False),
        ))  # fmt: skip
        self.letter = Letter(
            sender, (Mailbox(1, state),), 1000, 0.05, aligned=rng.random() < 0.1, real_sender=real, foreign=foreign
        )

    def mail(self, time: float, size: int) -> Mail:
        return Mail(time, self.to, self.letter._replace(size=size))

    def regularly(self, days: int, per_day: float, picture: bool = False) -> Attempts:
        rng = self.home.rng
        size = 60000 if picture else 1500

        def mails() -> Iterator[Mail]:
            for time in times(rng, days, per_day, night=0.9, week=False):
                yield self.mail(time, log_size(rng, size // 2, size * 2))

        return deliver(self.home, mails(), self.client)


def behind_one_mac(rng: random.Random, days: int) -> Attempts:
    """3 to 8 things behind a repeater, which shows one MAC (B)."""
    home = a_home(rng)
    return together(
        *(Thing(home).regularly(days, log_uniform(rng, 0.1, 40), rng.random() < 0.3) for _ in range(rng.randint(3, 8)))
    )


def refused_thing(rng: random.Random, days: int) -> Attempts:
    """A NAS, printer or camera whose every letter is refused; one in eight has days with 500 to 12,340."""
    home = a_home(rng)
    thing = Thing(home, dead=1.0)
    per_day = log_uniform(rng, 0.3, 60)
    frenzy = {rng.randrange(days) for _ in range(rng.randint(1, 3))} if rng.random() < 0.125 else set()
    most = int(log_uniform(rng, 500, 12340))

    def mails() -> Iterator[Mail]:
        for day in range(days):
            count = most if day in frenzy else poisson(rng, per_day)
            for time in times_of_day(rng, day, count, night=0.9):
                yield thing.mail(time, log_size(rng, 700, 60000))

    return deliver(home, mails(), thing.client)


def working_thing(rng: random.Random, days: int) -> Attempts:
    """The same where the recipient exists."""
    return Thing(a_home(rng), dead=0.0).regularly(days, log_uniform(rng, 0.2, 30), rng.random() < 0.4)


def camera_motion(rng: random.Random, days: int) -> Attempts:
    """A camera that sends a picture for each motion: 2 to 60 bursts a day of 1 to 20, to one or two mailboxes."""
    home = a_home(rng)
    things = [Thing(home, rng.choice(("IPCamera", f"axis-00408c{_hex(rng, 6).lower()}", "localhost")), dead=0.15)]
    if rng.random() < 0.4:
        things.append(Thing(home, client=things[0].client, dead=0.2))
    bursts, most = log_uniform(rng, 2, 60), rng.randint(1, 20)

    def mails(thing: Thing) -> Iterator[Mail]:
        free = 0.0
        for start in times(rng, days, bursts, night=0.3, week=False):
            time = max(start, free)
            for _ in range(rng.randint(1, most)):
                yield thing.mail(time, log_size(rng, 20000, 400000))
                time += rng.uniform(1, 10)
            free = time

    return together(*(deliver(home, mails(thing), thing.client) for thing in things))


def nas_reports(rng: random.Random, days: int) -> Attempts:
    """A NAS that mails each job's end to 1 to 4 people's own mailboxes, through a provider on port 25 or directly."""
    home = a_home(rng)
    client = appliance(rng, rng.choice(("DiskStation", "nas", "truenas.local", "QNAP", "unraid")))
    things = [Thing(home, client=client, dead=0.2) for _ in range(rng.randint(1, 4))]

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.3, 8), night=0.9, week=False):
            for number, thing in enumerate(things):
                yield thing.mail(time + number * 2, log_size(rng, 800, 8000))

    return deliver(home, mails(), client)


def home_assistant(rng: random.Random, days: int) -> Attempts:
    """Home Assistant, Node-RED or openHAB: alerts by smtplib or Nodemailer to the family's mailboxes.

    0.5 to 30 alerts a day, each to 1 to 3 mailboxes; a sensor that flaps sends 50 to 400 in a day.
    """
    home = a_home(rng)
    helo = rng.choice(("homeassistant", "[127.0.0.1]", "[172.30.33.0]", "ha.local", "a0d7b954-node-red", "openhabian"))
    client = smtplib(helo, rng.choice(("none", "may")), rng.choice((1.0, 0.5)))
    things = [Thing(home, client=client, dead=0.1) for _ in range(rng.randint(1, 3))]
    per_day = log_uniform(rng, 0.5, 30)
    flaps = {rng.randrange(days): rng.randint(50, 400) for _ in range(rng.randint(0, 4))}

    def mails() -> Iterator[Mail]:
        for day in range(days):
            for time in times_of_day(rng, day, flaps.get(day) or poisson(rng, per_day), night=0.7):
                for thing in things:
                    yield thing.mail(time, log_size(rng, 500, 3000))

    return deliver(home, mails(), client)


def ups(rng: random.Random, days: int) -> Attempts:
    """A UPS' network card or apcupsd: 2 to 8 mails in each power cut, weekly self-test, to 1 to 3 mailboxes."""
    home = a_home(rng)
    client = appliance(rng, rng.choice(("apc", "ups", "localhost", "ups-1.lan", "[192.168.1.31]")))
    things = [Thing(home, client=client, dead=0.3) for _ in range(rng.randint(1, 3))]
    cuts = sorted(rng.random() * days * DAY for _ in range(rng.randint(1, 25)))
    tests = [day * DAY + 12 * HOUR for day in range(0, days, 7)]

    def mails() -> Iterator[Mail]:
        for start in sorted([*cuts, *tests]):
            time = start
            for _ in range(1 if start in tests else rng.randint(2, 8)):
                for thing in things:
                    yield thing.mail(time, log_size(rng, 500, 1500))
                time += rng.uniform(5, 120)

    return deliver(home, _sorted(mails()), client)


def _sorted(mails: Iterator[Mail]) -> Iterator[Mail]:
    return iter(sorted(mails, key=lambda mail: mail.time))


def fax_to_mail(rng: random.Random, days: int) -> Attempts:
    """A router or fax box that mails faxes and voice messages: 0.1 to 10 a day, to 1 to 3 mailboxes."""
    home = a_home(rng)
    client = appliance(rng, rng.choice(("fritz.box", "fax", "gigaset", "[192.168.178.1]", "hylafax.local")))
    things = [Thing(home, client=client, dead=0.1) for _ in range(rng.randint(1, 3))]

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 0.1, 10), night=0.1):
            yield rng.choice(things).mail(time, log_size(rng, 20000, 300000))

    return deliver(home, mails(), client)


def scan_to_mail(rng: random.Random, days: int) -> Attempts:
    """An office's multifunction printer: scans to colleagues and to whatever address is typed, 1 to 30 a day."""
    home = a_home(rng)
    client = appliance(rng, rng.choice((f"NPI{_hex(rng, 6)}", f"KM{_hex(rng, 6)}", f"RNP{_hex(rng, 6)}", "scanner")))
    book = [Thing(home, client=client, dead=0.05) for _ in range(rng.randint(3, 25))]
    typed, wrong = rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.15)

    def mails() -> Iterator[Mail]:
        for time in times(rng, days, log_uniform(rng, 1, 30), night=0.05):
            if rng.random() < typed:
                thing = Thing(home, client=client, dead=wrong)
                thing.letter = thing.letter._replace(sender=book[0].letter.sender)
            else:
                thing = rng.choice(book)
            yield thing.mail(time, log_size(rng, 50000, 2000000))

    return deliver(home, mails(), client)


def iot_hub(rng: random.Random, days: int) -> Attempts:
    """Containers on one hub: several tools in Go, Python and PHP mail their owner, each in its own name."""
    home = a_home(rng)
    streams = []
    for _ in range(rng.randint(3, 7)):
        helo = rng.choice(("localhost", _hex(rng, 12).lower(), "[172.17.0.5]", "grafana", "vaultwarden", "nextcloud"))
        client = rng.choice((go(helo), smtplib(helo, "may"), php(helo)))
        streams.append(Thing(home, client=client, dead=0.2).regularly(days, log_uniform(rng, 0.1, 10)))
    return together(*streams)
