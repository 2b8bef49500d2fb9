"""Busy, stopped, restarted, overflown: a filter that cannot keep up, or is not there, opens nothing."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.attacks.home import Attack, Home, block, control, deliver, nothing_leaves, policy, relay, server
from tests.attacks.variants import ALL, BLOCK, FAILS, FAMILIES, variants
from tests.lab.net import PATIENCE, mx4

pytestmark = pytest.mark.live

#: SYNs a second: more than the filter of any router takes.
RATE = 20_000
SECONDS = 4.0 if ALL else 2.5


def keeps_trying(family: str, seconds: float, host: str = "device2") -> Attack:
    """One connection after the other, to strangers that take mail, for so long."""

    def attack(home: Home) -> None:
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            connection = home.connection(family, number % 20 * 10, host)
            if connection.open(0.3):
                deliver(connection, 0.3)
            number += 1
            time.sleep(0.01)

    return attack


FLOODS = {
    "made-up MACs": ("macs",),
    "one MAC": (),
    "made-up MACs, answered": ("macs", "answered"),
}


@variants(flood=FLOODS, **BLOCK)
def test_flood(home: Home, unfiltered: Home, flood: str, family: str, fail: str, responder: str) -> None:
    """One device floods, another tries meanwhile."""
    control(unfiltered, keeps_trying(family, 0.3))
    home.run(block(fail), responder == "responder")
    with home.flooded(RATE, SECONDS, *FLOODS[flood]):
        keeps_trying(family, SECONDS - 0.5)(home)
    delivered = home.settle()
    assert delivered == 0, f"{delivered} messages delivered"


@variants(flood=("made-up MACs", "no flood"), **BLOCK)
def test_stopped(home: Home, unfiltered: Home, flood: str, family: str, fail: str, responder: str) -> None:
    """SIGSTOP: nobody reads the queue."""
    attack = keeps_trying(family, 2.0)
    control(unfiltered, keeps_trying(family, 0.3))
    home.run(block(fail), responder == "responder")
    home.signal(signal.SIGSTOP)
    try:
        if flood == "no flood":
            attack(home)
        else:
            with home.flooded(RATE, 2.0, "macs"):
                attack(home)
        assert home.mail(relay(family)) == "sent"
    finally:
        home.signal(signal.SIGCONT)
    delivered = home.settle(seconds=0.5)
    assert delivered == 0, f"{delivered} messages delivered"


def many_macs(home: Home) -> None:
    """3,000 SYNs, each with a MAC of its own: more than any set of MACs holds."""
    with home.flooded(3000, 1.0, "macs"):
        pass


def many_connections(home: Home) -> None:
    """6,000 connections that servers answer: more than the filter follows, or a set of connections holds."""
    with home.flooded(4000, 1.5, "answered"):
        pass


OVERFLOWS = {"MACs": many_macs, "connections": many_connections}


@variants(full=OVERFLOWS, mode=("block", "limit", "convicted"), fail=FAILS)
def test_full_tables(home: Home, unfiltered: Home, full: str, mode: str, fail: str) -> None:
    """Every bounded table is full; then a device tries. Limit: a device that has exceeded its limit stays refused."""
    attack = keeps_trying("IPv4", 0.5)
    control(unfiltered, attack)
    if mode == "block":
        home.run(block(fail))
    elif mode == "limit":
        home.run(policy("limit", fail, "[limits]\nconnections_per_hour = 6\nconnections_burst = 1\n"))
        keeps_trying("IPv4", 0.3)(home)
        home.count_from_now()
    else:
        from tests.lab.mail import bot

        home.run(policy("monitor", fail))
        bot(home.lab, "--count", "16")
        home.filter.wait_for("compromised")
        home.count_from_now()
    OVERFLOWS[full](home)
    home.count_from_now()
    attack(home)
    delivered = home.settle()
    assert delivered == 0, f"{delivered} messages delivered"


def reload_(home: Home) -> None:
    home.reload(block("closed", f"[[exempt]]\ndestination = '{mx4(250)}'\n"))
    home.filter.wait_for("is in effect")


def kill(home: Home) -> None:
    home.kill()
    time.sleep(0.5)


def kill_and_start(home: Home) -> None:
    home.kill()
    time.sleep(0.2)
    home.start_again()


def stop_and_start(home: Home) -> None:
    home.filter.stop()
    home.start_again()


def pulses(home: Home) -> None:
    for _ in range(4):
        home.signal(signal.SIGSTOP)
        time.sleep(0.2)
        home.signal(signal.SIGCONT)
        time.sleep(0.05)


def kill_responder(home: Home) -> None:
    home.kill_responder()
    time.sleep(0.4)


def restart_responder(home: Home) -> None:
    home.kill_responder()
    time.sleep(0.2)
    home.start_responder()


INTERRUPTIONS = {
    "reload": reload_,
    "kill": kill,
    "kill and start": kill_and_start,
    "stop and start": stop_and_start,
    "pulses": pulses,
    "responder killed": kill_responder,
    "responder restarted": restart_responder,
}


@variants(what=INTERRUPTIONS, **BLOCK)
def test_interrupted(home: Home, unfiltered: Home, what: str, family: str, fail: str, responder: str) -> None:
    """A device tries all the time, while the filter or the responder ends, comes back, or reads another policy."""
    if what == "stop and start" and fail == "open":
        fail = "closed"  # an orderly end takes an open filter's rules away, as it is to
    control(unfiltered, keeps_trying(family, 0.3))
    home.run(block(fail), responder == "responder")
    home.card()
    trying = threading.Thread(target=keeps_trying(family, 1.5 * PATIENCE), args=(home,))
    trying.start()
    try:
        time.sleep(0.2)
        INTERRUPTIONS[what](home)
    finally:
        trying.join()
    nothing_leaves(home)
    assert home.mail(relay(family)) == "sent"


@variants(how=("stopped", "killed", "stopped and flooded"), mode=("limit",), family=FAMILIES)
def test_limit_that_fails_closed(home: Home, unfiltered: Home, how: str, mode: str, family: str) -> None:
    """Mode limit admits explicitly: without a filter to admit, nobody gets out; relays are reached."""
    attack = keeps_trying(family, 1.0)
    control(unfiltered, keeps_trying(family, 0.3))
    home.run(policy(mode, "closed"))
    if how == "killed":
        home.kill()
    else:
        home.signal(signal.SIGSTOP)
    try:
        if how == "stopped and flooded":
            with home.flooded(RATE, 2.0, "macs"):
                attack(home)
        else:
            attack(home)
        delivered = home.settle()
        assert delivered == 0, f"{delivered} messages delivered"
        assert home.mail(relay(family)) == "sent"
    finally:
        if how != "killed":
            home.signal(signal.SIGCONT)


@variants(fail=FAILS, family=FAMILIES)
def test_flood_opens_nothing_in_limit(home: Home, fail: str, family: str) -> None:
    """A busy filter is not a dead one: a device over its limit gets no further while others flood."""
    home.run(policy("limit", fail, "[limits]\nconnections_per_hour = 6\nconnections_burst = 2\n"))
    # One that waits for the replies: what is sent before them is to be sent again.
    polite = [home.mail(server(family), "device2") for _ in range(3)]
    assert polite.count("sent") == 2, polite
    assert home.settle() == 2
    with home.flooded(RATE, SECONDS, "macs"):
        keeps_trying(family, SECONDS - 0.5)(home)
    assert home.settle() <= 2


@pytest.mark.skipif(not ALL, reason="make attacks has it")
@variants(fail=FAILS)
def test_long_flood_of_half_open_connections(home: Home, unfiltered: Home, fail: str) -> None:
    """10 s of answered SYNs under made-up MACs; the device tries between and after."""
    control(unfiltered, keeps_trying("IPv4", 0.3))
    home.run(block(fail), responder=True)
    with home.flooded(10_000, 10.0, "macs", "answered"):
        keeps_trying("IPv4", 9.5)(home)
    keeps_trying("IPv4", 1.0)(home)
    assert home.settle() == 0
