"""Mode block: packets that belong to no connection, or to one that was there before. No data leaves, SYN or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attacks.home import (
    LETTER,
    QUEUED,
    ControlError,
    Home,
    block,
    control_leaves,
    deliver,
    nothing_leaves,
    policy,
)
from tests.attacks.variants import ALL, BLOCK, variants
from tests.lab.rawtcp import ACK, FIN, PSH, RST, SYN, URG, Connection

pytestmark = pytest.mark.live


def established(home: Home, family: str) -> Connection:
    """A connection to a stranger that has said hello."""
    connection = home.connection(family)
    if not connection.open() or b"220" not in connection.wait(2.0, b"\r\n"):
        raise ControlError("no connection before the filter")
    return connection


CHANGES = ("as it was", "conntrack emptied", "reset that nobody took", "nobody but this client acknowledged")


def goes_on(home: Home, connection: Connection, change: str) -> bool:
    """The client goes on, after something that makes conntrack think otherwise of the connection than its ends do."""
    if change == "conntrack emptied":
        home.forget_connections()
    elif change == "reset that nobody took":
        connection.send(RST, seq=connection.seq + 20)  # within the window: the server only challenges it
        connection.wait(0.1)
        connection.over = False
    elif change == "nobody but this client acknowledged":
        connection.send(RST | ACK, wrong_checksum=True)
    return deliver(connection)


@variants(
    also=[("as it was", "monitor", "IPv6", "open", "no responder")],
    change=CHANGES,
    before=("no filter", "monitor"),
    **BLOCK,
)
def test_connection_from_before(
    home: Home, unfiltered: Home, change: str, before: str, family: str, fail: str, responder: str
) -> None:
    """It ran before the filter started, or before its policy became mode block."""
    unfiltered.clean()
    if not goes_on(unfiltered, established(unfiltered, family), change):
        raise ControlError("the connection does not go on without a filter")

    home.clean()
    if before == "monitor":
        home.run(policy("monitor", fail), responder == "responder")
        connection = established(home, family)
        home.reload(block(fail))
        home.filter.wait_for("is in effect")
    else:
        connection = established(home, family)
        home.run(block(fail), responder == "responder", clean=False)
    home.count_from_now()
    goes_on(home, connection, change)
    nothing_leaves(home)


ODD = {
    "data alone": (PSH | ACK, LETTER, False),
    "data without ACK": (PSH, LETTER, False),
    "data with SYN and FIN": (SYN | FIN, LETTER, False),
    "data with all flags": (FIN | SYN | RST | PSH | ACK | URG, LETTER, False),
    "no flags": (0, LETTER, False),
    "data with FIN": (FIN | PSH | ACK, LETTER, False),
    "data with RST": (RST | ACK, LETTER, False),
    "SYN and ACK": (SYN | ACK, b"", False),
    "SYN and FIN": (SYN | FIN, b"", False),
    "SYN with a wrong checksum": (SYN, b"", True),
    "data with a wrong checksum": (PSH | ACK, LETTER, True),
}


TRIED = ODD if ALL else ("data alone", "data without ACK", "data with SYN and FIN", "data with RST", "SYN and ACK")


@variants(odd=TRIED, **BLOCK)
def test_odd_packet_alone(home: Home, unfiltered: Home, odd: str, family: str, fail: str, responder: str) -> None:
    """No server has the connection; but no such packet goes out to one, either (conntrack: loose, or invalid)."""
    flags, payload, wrong = ODD[odd]

    def attack(home: Home) -> None:
        connection = home.connection(family)
        connection.seq, connection.ack = 1000, 2000
        for _ in range(3):
            connection.send(flags, payload, wrong_checksum=wrong)
            connection.wait(0.1)

    control_leaves(unfiltered, attack)
    home.run(block(fail), responder == "responder")
    attack(home)
    nothing_leaves(home)


def far_ahead(connection: Connection) -> None:
    connection.seq += 1 << 30


def acknowledging_nothing(connection: Connection) -> None:
    connection.ack += 1 << 30


AFTER: dict[str, Callable[[Connection], None]] = {
    "data after a reset": lambda connection: connection.send(RST | ACK),
    "data out of the window": far_ahead,
    "data acknowledging nothing": acknowledging_nothing,
    "data after FIN": lambda connection: connection.send(FIN | ACK),
    "another SYN in between": lambda connection: connection.send(SYN, seq=connection.seq + 500_000),
}


@variants(after=AFTER, **BLOCK)
def test_data_of_a_refused_connection(
    home: Home, unfiltered: Home, after: str, family: str, fail: str, responder: str
) -> None:
    """The SYN was refused or redirected. If the client sends more, it has the same fate."""

    def attack(home: Home) -> None:
        connection = home.connection(family)
        connection.open(0.5)
        AFTER[after](connection)
        for _ in range(3):
            connection.send(PSH | ACK, LETTER)
            connection.wait(0.15, QUEUED)

    control_leaves(unfiltered, attack)
    home.run(block(fail), responder == "responder")
    attack(home)
    nothing_leaves(home)
