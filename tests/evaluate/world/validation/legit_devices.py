"""The validation set's appliances: printers, inverters, alarm panels, doorbells, gateways.

Knows firmware and its owner's settings. Must not know the detector.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.world.delivery import Attempts, Home, Mail, deliver, together
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import a_home, log_size, log_uniform, times
from tests.evaluate.world.programs import (
    DAY,
    HOUR,
    MBEDTLS,
    NO_LOOKUP,
    OLD_OPENSSL,
    SCHANNEL,
    SLEEPING,
    WIFI,
    WOLFSSL,
    Client,
)
from tests.evaluate.world.validation.habits import Whom, business, domain_at, mailbox, notices
from tests.evaluate.world.validation.legit_servers import a_domain


def firmware(rng: random.Random, *names: str) -> Client:
    """Of this author: what manuals let one set, and how slow small processors are (J)."""
    names = (*names, "192.168.1.64", "localhost", "[192.168.178.40]", "device")
    slow = rng.choice(((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 12.0), (0.8, 10.0, 80.0), (0.5, 30.0, 250.0)))
    patience = rng.choice((0.0, 0.0, 0.0, 180.0, 0.5 * HOUR, DAY))
    return Client(
        rng.choice(names), ehlo=rng.random() < 0.6, spaced=rng.random() < 0.3, lower=rng.random() < 0.1,
        tls=rng.choices(("none", "may"), (0.8, 0.2))[0], ja4=rng.choice((MBEDTLS, WOLFSSL, OLD_OPENSSL)),
        quits=rng.choice((0.0, 1.0, 1.0)), hangs_up=rng.choice((0.0, 0.0, 1.0)), pace=slow,
        network=rng.choice(("", "", WIFI, SLEEPING)), retry=(60.0, 900.0, patience) if patience else (0.0, 0.0, 0.0),
        mx=NO_LOOKUP, blind=rng.random() < 0.03, goes_on=rng.random() < 0.5,
    )  # fmt: skip


def office_scanner(rng: random.Random, days: int) -> Attempts:
    """A multifunction printer by Microsoft's "direct send": port 25 of the tenant's MX, own domain only.

    Microsoft Learn, "How to set up a multifunction device"; 1-8 % of its address book has left (J).
    """
    home, domain = business(rng, (0.05, 0.5), 0.3), a_domain(rng)
    tenant, left = domain_at(home, "m365"), rng.uniform(0.01, 0.08)
    aligned = rng.random() < 0.5
    staff = [mailbox(rng, left) for _ in range(rng.randint(3, 40))]
    client = firmware(rng, "printer", f"MFP{rng.randrange(99999)}")._replace(
        tls=rng.choice(("none", "may")), ja4=rng.choice((OLD_OPENSSL, SCHANNEL)), network=""
    )

    letters = (
        Mail(time, tenant, Letter(domain, (rng.choice(staff),), log_size(rng, 80000, 900000), 0.03, aligned))
        for time in times(rng, days, log_uniform(rng, 2, 50), night=0.0)
    )
    return deliver(home, letters, client)


def solar_logger(rng: random.Random, days: int) -> Attempts:
    """An inverter's logger: the day's yield, and a fault each 10 to 30 minutes while the sun shines (J)."""
    home, domain = a_home(rng), a_domain(rng)
    whom: list[Whom] = [
        (domain_at(home, "hoster", "own", "gmail"), mailbox(rng, 0.05)) for _ in range(rng.randint(1, 3))
    ]
    client, aligned = firmware(rng, "solarlog", "webbox"), rng.random() < 0.4

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.1, aligned)

    mails = notices(
        home, days, rng.choice((1.0, 1.0, 3.0)), whom, letter, lambda r: log_size(r, 700, 6000),
        night=0.0, storms=(rng.uniform(0, 20), 25, rng.uniform(600, 1800)),
    )  # fmt: skip
    return deliver(home, mails, client)


def alarm_panel(rng: random.Random, days: int) -> Attempts:
    """An alarm panel with mail: armed, disarmed, battery, and pictures at once to up to four people's servers (J)."""
    home, domain = a_home(rng), a_domain(rng)
    whom: list[Whom] = [(home.internet.anyone(rng, 0.6), mailbox(rng, 0.06)) for _ in range(rng.randint(1, 4))]
    client, aligned = firmware(rng, "alarm", "panel")._replace(retry=(60.0, 60.0, 180.0)), rng.random() < 0.3

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.1, aligned)

    mails = notices(
        home, days, log_uniform(rng, 0.3, 10), whom, letter, lambda r: log_size(r, 600, 150000),
        storms=(rng.uniform(0, 8), 40, 15.0),
    )  # fmt: skip
    return deliver(home, mails, client)


def doorbell_and_cameras(rng: random.Random, days: int) -> Attempts:
    """A recorder with two to six cameras: pictures of each movement to one mailbox, hundreds on windy days.

    Manuals (OpenEye, Santec, Trivision): server, sender, interval of pictures. Rates are judgement.
    """
    home, domain = a_home(rng), a_domain(rng)
    whom: list[Whom] = [(home.internet.anyone(rng, 0.5), mailbox(rng, 0.04))]
    client = firmware(rng, "nvr", "ipcam", "HIKVISION")

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.2, aligned)

    aligned = rng.random() < 0.3
    mails = notices(
        home, days, log_uniform(rng, 0.5, 25), whom, letter, lambda r: log_size(r, 20000, 300000), night=0.5,
        storms=(rng.uniform(0, 15), 250, rng.choice((2.0, 15.0, 60.0))),
    )  # fmt: skip
    return deliver(home, mails, client)


def house_of_things(rng: random.Random, days: int) -> Attempts:
    """Four to eight things of a smart house behind one bridge (one MAC), each with its own settings (J)."""
    home = a_home(rng)
    family: list[Whom] = [(home.internet.anyone(rng, 0.75), mailbox(rng)) for _ in range(rng.randint(1, 3))]
    streams = []
    for number in range(rng.randint(4, 8)):
        domain = rng.choice((f"thing{number}.local", a_domain(rng), "gmail.example", f"cloud{number}.example"))
        wrong = rng.random() < 0.06  # an address that somebody mistyped, or that is no more
        whom = [(family[0][0], Mailbox(number, "unknown"))] if wrong else [rng.choice(family)]
        streams.append(deliver(home, log_notices(home, days, domain, whom), firmware(rng, f"thing{number}")))
    return together(*streams)


def log_notices(
    home: Home, days: int, domain: str, whom: list[Whom], per_day: tuple[float, float] = (0.1, 8.0)
) -> Iterator[Mail]:
    """A thing's letters to one of these people at a time."""
    rng = home.rng
    aligned, real = rng.random() < 0.3, not domain.endswith("local")

    def letter(boxes: tuple[Mailbox, ...], size: int) -> Letter:
        return Letter(domain, boxes, size, 0.1, aligned, real_sender=real)

    mean = log_uniform(rng, *per_day)
    return notices(home, days, mean, whom, letter, lambda r: log_size(r, 700, 90000), night=0.5, each=False)
