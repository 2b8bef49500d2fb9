"""Mode limit, within a connection that was admitted: no more messages get out than there are tokens for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attacks.home import Home, control, policy
from tests.attacks.variants import FAILS, FAMILIES, variants
from tests.lab.rawtcp import ACK, PSH, Connection

pytestmark = pytest.mark.live

#: Tokens for messages, and how many are tried.
LIMIT, TRIED = 2, 20
FEW = f"[limits]\nmessages_per_hour = 1\nmessages_burst = {LIMIT}\n"
HELLO = b"HELO me.example\r\n"
MESSAGE = b"MAIL FROM:<a@me.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\nSubject: s\r\n\r\nx\r\n.\r\n"
#: A TLS record with the beginning of a ClientHello, as a line.
FAKE_HELLO = b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03" + b"r" * 32 + b"\x00\x00\x02\x13\x01\x01\x00\x00\x00\r\n"


def one_after_the_other(connection: Connection) -> None:
    """The plain client, which the limit is for."""
    connection.say(HELLO)
    for number in range(1, TRIED + 1):
        connection.say(MESSAGE)
        connection.wait(0.5, *([b"queued"] if connection.heard.count(b"queued") < number else []))


def all_at_once(connection: Connection) -> None:
    connection.say(HELLO + MESSAGE * TRIED)
    connection.wait(2.0)


def behind_long_content(connection: Connection) -> None:
    """Eight packets of content, and all the rest behind them."""
    connection.say(HELLO + MESSAGE[: MESSAGE.index(b"Subject")])
    connection.wait(0.5, b"354")
    for _ in range(8):
        connection.say(b"y" * 70 + b"\r\n")
    connection.say(b".\r\n" + MESSAGE * TRIED)
    connection.wait(2.0)


def behind_a_pretended_hello(connection: Connection) -> None:
    connection.say(FAKE_HELLO)
    connection.wait(0.5, b"\r\n500", b"\r\n5")
    one_after_the_other(connection)


def with_decoys_of_the_future(connection: Connection) -> None:
    """Before each message one of its length that no server takes: it acknowledges what was never sent."""
    connection.say(HELLO)
    for _ in range(TRIED):
        decoy = b"NOOP " + b"x" * (len(MESSAGE) - 7) + b"\r\n"
        connection.send(PSH | ACK, decoy, ack=(connection.ack + 1000) & 0xFFFFFFFF)
        connection.say(MESSAGE)
        connection.wait(0.2)


ATTACKS: dict[str, Callable[[Connection], None]] = {
    "one after the other": one_after_the_other,
    "all at once": all_at_once,
    "behind long content": behind_long_content,
    "behind a pretended hello": behind_a_pretended_hello,
    "with decoys of the future": with_decoys_of_the_future,
}


@variants(how=ATTACKS, fail=FAILS, family=FAMILIES)
def test_a_connection_carries_no_more_than_the_limit(
    home: Home, unfiltered: Home, how: str, fail: str, family: str
) -> None:
    def attack(home: Home) -> None:
        connection = home.connection(family)
        if connection.open(1.0):
            connection.wait(0.5, b"220")
            ATTACKS[how](connection)

    control(unfiltered, attack, LIMIT + 3)
    home.run(policy("limit", fail, "escalate = false\n" + FEW))
    attack(home)
    assert home.settle() <= LIMIT
