"""Who passes for a mail server: a family's Postfix within days, a NAS or a camera never."""

from __future__ import annotations

import random

import pytest

from cpe_filter.detect.device import HOME, ROUTER, Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.detect.unusual import (
    ACTIVE_DAYS,
    FEWEST,
    LONGEST,
    NAMES,
    OPERATORS,
    WINDOW_DAYS,
    contacted,
    has_stopped,
    is_mail_server,
    is_record,
    operator,
    takes_mail,
)

DAY = 86400.0
START = 20_000 * DAY
PROVIDERS = ("google.com", "outlook.com", "yahoo.com", "gmx.net", "web.de", "t-online.de", "small.example")
#: A family's mail by provider.
SHARES = (45, 20, 8, 10, 8, 5, 4)


def made(key: bytes = b"\2\0\0\0\0\1") -> Device:
    device = Device(key, START)
    device.helos = [1]
    return device


def contact(device: Device, domain: str, time: float) -> bool:
    device.operators = contacted(device.operators, domain, time)
    return is_mail_server(device, time)


@pytest.mark.parametrize("seed", range(20))
def test_a_familys_postfix_within_days(seed: int) -> None:
    chance, device = random.Random(seed), made()
    for message in range(1000):
        time = START + message * DAY / 6
        if contact(device, chance.choices(PROVIDERS, SHARES)[0], time):
            assert (ACTIVE_DAYS - 1) * DAY <= time - START <= 7 * DAY
            return
    pytest.fail("it never did")


@pytest.mark.parametrize("servers", [1, 2])
def test_a_nas_or_camera_never(servers: int) -> None:
    """It writes 50 messages a day for a year, through any number of its providers' addresses."""
    device = made()
    assert not any(
        contact(device, PROVIDERS[number % servers], START + number * DAY / 50) for number in range(365 * 50)
    )


def test_one_run_of_a_newsletter_is_none() -> None:
    device = made()
    assert not any(contact(device, f"list{number}.example", START + number) for number in range(500))


def test_a_device_that_takes_mail_from_outside_within_a_day() -> None:
    device = made()
    for number in range(FEWEST):
        assert not contact(device, PROVIDERS[number], START)
    device.served_at = START - DAY
    assert is_mail_server(device, START)
    assert not has_stopped(device, START + DAY)
    assert not is_mail_server(device, START + (WINDOW_DAYS + 1) * DAY)
    assert takes_mail(device, START + (WINDOW_DAYS - 1) * DAY - 1.0)
    assert not takes_mail(device, START + (WINDOW_DAYS - 1) * DAY)
    device.score.standing = SUSPECTED
    assert not is_mail_server(device, START)
    nas = made()
    nas.served_at = START
    assert not any(contact(nas, PROVIDERS[number % 2], START + number) for number in range(500))


def mail_server() -> Device:
    device = made()
    for day in range(ACTIVE_DAYS):
        for number in range(OPERATORS):
            contact(device, PROVIDERS[number], START + day * DAY)
    assert is_mail_server(device, START + 2 * DAY)
    return device


def test_evidence_and_changing_names_come_first() -> None:
    device = mail_server()
    for standing, passes in ((CLEAR, True), (UNUSUAL, True), (SUSPECTED, False), (COMPROMISED, False)):
        device.score.standing = standing
        assert is_mail_server(device, START + 2 * DAY) == passes
    device.score.standing = CLEAR
    device.helos = list(range(NAMES))
    assert is_mail_server(device, START + 2 * DAY)
    device.helos = list(range(NAMES + 1))
    assert not is_mail_server(device, START + 2 * DAY)


@pytest.mark.parametrize("key", [ROUTER, HOME])
def test_neither_the_router_nor_the_unknown_device_can_be_exempt(key: bytes) -> None:
    device = mail_server()
    device.key = key
    assert not is_mail_server(device, START + 2 * DAY)


def test_it_stops_after_thirty_days() -> None:
    device = mail_server()
    last = START + (ACTIVE_DAYS - 1) * DAY
    assert not has_stopped(device, last + (WINDOW_DAYS - 1) * DAY)
    assert has_stopped(device, last + WINDOW_DAYS * DAY)
    # It goes on with fewer operators than it takes to begin.
    for number in range(FEWEST):
        contact(device, PROVIDERS[number], last + WINDOW_DAYS * DAY)
    assert not has_stopped(device, last + WINDOW_DAYS * DAY)
    assert not is_mail_server(device, last + WINDOW_DAYS * DAY)


def test_the_record_is_bounded_and_of_any_clock() -> None:
    device = made()
    for time in (START, START - 40 * DAY, 1e12, -1.0, START, *(START + number * DAY for number in range(3000))):
        contact(device, f"{time}.example", time)
        assert len(device.operators) <= LONGEST
        assert is_record(device.operators)
        assert is_mail_server(device, time) in (True, False)
    assert is_record(b"")
    for size in (1, 5, 6, 8, LONGEST + 4):
        assert not is_record(bytes(size))


def test_a_clock_that_was_set_back_makes_no_days() -> None:
    device = made()
    assert not any(
        contact(device, PROVIDERS[number], START - day * DAY) for day in range(20) for number in range(OPERATORS)
    )


def test_a_record_from_the_future_moves_to_its_next_contact() -> None:
    """The clock was ten years ahead, and was set right: nothing sticks, and nothing is lost."""
    device = made()
    for day in range(ACTIVE_DAYS):
        for number in range(OPERATORS):
            contact(device, PROVIDERS[number], START + (3650 + day) * DAY)
    assert has_stopped(device, START)  # it never writes again
    assert contact(device, PROVIDERS[0], START)
    assert not has_stopped(device, START + (WINDOW_DAYS - 4) * DAY)
    assert has_stopped(device, START + WINDOW_DAYS * DAY)


def test_that_there_were_too_many_names_survives_a_restart() -> None:
    device = mail_server()
    device.operators = contacted(device.operators, PROVIDERS[0], START + 2 * DAY, NAMES + 1)
    assert is_record(device.operators)
    device.helos = []  # a restart
    assert not is_mail_server(device, START + 2 * DAY)
    assert not contact(device, PROVIDERS[0], START + 3 * DAY)


@pytest.mark.parametrize(
    ("greeting", "expected"),
    [
        ("mx.google.com ESMTP d2e1a72fcca58-7 - gsmtp", "google.com"),
        ("DB5PEPF00014B8D.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready", "outlook.com"),
        ("gmx.net (mxgmx015) Nemesis ESMTP Service ready", "gmx.net"),
        ("mail.firm.co.uk. hello", "firm.co.uk"),
        ("MX.Example.ORG", "example.org"),
        ("ESMTP", ""),
        ("[192.0.2.1] ready", ""),
        ("192.0.2.1 ready", ""),
        ("***************", ""),
        ("", ""),
        ("   ", ""),
    ],
)
def test_the_operator_is_in_the_greeting(greeting: str, expected: str) -> None:
    assert operator(greeting) == expected
