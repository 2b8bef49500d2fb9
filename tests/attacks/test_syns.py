"""Mode block: connections opened in every way but the usual one. No SYN leaves, whatever it looks like."""

from __future__ import annotations

import time

import pytest

from tests.attacks.home import LETTER, QUEUED, Home, deliver, must_hold
from tests.attacks.variants import ALL, BLOCK, variants
from tests.lab.rawtcp import CWR, ECE, MSS, PSH, SYN, URG, option, options

pytestmark = pytest.mark.live


@variants(
    also=[(2, "same", 0.5, "IPv4", "closed", "no responder")],
    again=(2, 3, 4, 5, 6) if ALL else (2, 6),
    number=("same", "other"),
    pause=(0.0, 0.5),
    **BLOCK,
)
def test_syn_again_after_its_reset(
    home: Home, unfiltered: Home, again: int, number: str, pause: float, family: str, fail: str, responder: str
) -> None:
    """As Windows does: SYN, RST, the SYN again, on the same ports."""

    def attack(home: Home) -> None:
        connection = home.connection(family)
        for _ in range(again):
            if connection.open(0.5):
                deliver(connection, 0.5)
                return
            connection.isn += 77777 if number == "other" else 0
            time.sleep(pause)

    must_hold(home, unfiltered, attack, fail, responder)


@variants(times=(2, 3, 4, 5, 6) if ALL else (2, 6), **BLOCK)
def test_syns_together(home: Home, unfiltered: Home, times: int, family: str, fail: str, responder: str) -> None:
    """Several before the first is answered, as if the answer were late."""

    def attack(home: Home) -> None:
        connection = home.connection(family)
        if connection.open(0.5, times=times):
            deliver(connection)

    must_hold(home, unfiltered, attack, fail, responder)


FLAGS = {
    "push": (SYN | PSH, 0),
    "urgent": (SYN | URG, 0),
    "ECN": (SYN | ECE | CWR, 0),
    "all": (SYN | PSH | URG | ECE | CWR, 0),
    "AccECN": (SYN | ECE | CWR, 1),
    "reserved": (SYN, 0b1110),
}


@variants(flags=FLAGS, **BLOCK)
def test_syn_with_other_flags(home: Home, unfiltered: Home, flags: str, family: str, fail: str, responder: str) -> None:
    set_, reserved = FLAGS[flags]

    def attack(home: Home) -> None:
        connection = home.connection(family)
        for _ in range(2):
            if connection.open(0.5, flags=set_, reserved=reserved):
                deliver(connection)
                return

    must_hold(home, unfiltered, attack, fail, responder)


OPTIONS = {
    "none": b"",
    "usual": options(MSS, option(4), option(8, bytes(8)), option(3, b"\7")),
    "NOPs": b"\1" * 40,
    "unknown": options(MSS, option(253, b"\xca\xfe")),
    "MPTCP": options(MSS, option(30, b"\1\1" + bytes(8))),
    "cookie wanted": options(MSS, option(34)),
}


@variants(kind=OPTIONS, **BLOCK)
def test_syn_with_other_options(
    home: Home, unfiltered: Home, kind: str, family: str, fail: str, responder: str
) -> None:
    def attack(home: Home) -> None:
        connection = home.connection(family)
        for _ in range(2):
            if connection.open(0.5, tcp_options=OPTIONS[kind]):
                deliver(connection)
                return

    must_hold(home, unfiltered, attack, fail, responder)


@variants(flags=("plain", "push"), **BLOCK)
def test_syn_that_brings_the_message(
    home: Home, unfiltered: Home, flags: str, family: str, fail: str, responder: str
) -> None:
    """TCP Fast Open with a server that asks for no cookie: one packet is the whole message."""

    def attack(home: Home) -> None:
        connection = home.connection(family)
        connection.open(
            0.5,
            flags=SYN | (PSH if flags == "push" else 0),
            payload=LETTER,
            tcp_options=options(MSS, option(34)),
        )
        connection.wait(0.5, QUEUED)

    must_hold(home, unfiltered, attack, fail, responder)


@variants(also=[("emptied", "IPv4", "closed", "responder")], forgotten=("emptied", "timed out"), **BLOCK)
def test_same_numbers_again_once_conntrack_has_forgotten(
    home: Home, unfiltered: Home, forgotten: str, family: str, fail: str, responder: str
) -> None:
    def attack(home: Home) -> None:
        with home.setting(tcp_timeout_close=1, tcp_timeout_syn_sent=1):
            connections = [home.connection(family, number) for number in (0, 4, 10)]
            for connection in connections:
                connection.open(0.5)
                connection.wait(0.1, b"\r\n")
                connection.reset()
            if forgotten == "emptied":
                home.forget_connections()
            else:
                time.sleep(2.2)
            for connection in connections:
                if connection.open(0.5):
                    deliver(connection)

    must_hold(home, unfiltered, attack, fail, responder, least=3)


@variants(end=("reset", "finished"), **BLOCK)
def test_syn_on_the_ports_of_a_connection_that_ended(
    home: Home, unfiltered: Home, end: str, family: str, fail: str, responder: str
) -> None:
    """The client ends the connection that it got, if any, and opens it again at once."""

    def attack(home: Home) -> None:
        connection = home.connection(family)
        for _ in range(4):
            if connection.open(0.5):
                connection.wait(0.1, b"\r\n")
                if deliver(connection, 0.3):
                    return
                if end == "finished":
                    connection.send(0x11)
                    connection.wait(0.1)
            connection.isn += 100_000

    must_hold(home, unfiltered, attack, fail, responder)


@variants(sport=(25, 1, 65535), **BLOCK)
def test_syn_from_an_odd_port(home: Home, unfiltered: Home, sport: int, family: str, fail: str, responder: str) -> None:
    """From port 25, too: a packet of the client's must not be taken for a server's."""

    def attack(home: Home) -> None:
        connection = home.connection(family, sport=sport)
        for _ in range(2):
            if connection.open(0.5):
                deliver(connection)
                return

    must_hold(home, unfiltered, attack, fail, responder)
