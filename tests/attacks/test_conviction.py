"""A conviction ends running connections of the device, in every state. None may deliver another message."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

import pytest

from tests.attacks.home import LETTER, QUEUED, ControlError, Home, policy, relay, server
from tests.attacks.variants import FAMILIES, variants
from tests.lab.mail import bot
from tests.lab.net import PATIENCE

pytestmark = pytest.mark.live

CONNECTIONS = 20
#: Seconds from the standing to the end of what runs; the goal, and what a busy machine is allowed.
GOAL_S, ALLOWED_S = 0.1, 0.4
HELLO = b"EHLO mail.home.example\r\n"
ENVELOPE = b"MAIL FROM:<ann@home.example>\r\nRCPT TO:<ben@friends.example>\r\n"
REST = b"Subject: hello\r\n\r\nA line.\r\n.\r\n"


class Held:
    """A connection that is kept in one state, and the octets that would deliver a message from there."""

    def __init__(self, home: Home, to: str) -> None:
        self.socket: socket.socket = home.socket("device2", to)
        self.next = ENVELOPE + b"DATA\r\n" + REST
        self.heard(b"220")

    def say(self, text: bytes, answer: bytes) -> None:
        self.socket.sendall(text)
        self.heard(answer)

    def heard(self, text: bytes) -> None:
        got = b""
        while text not in got:
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError(f"closed; heard {got!r}")
            got += more

    def delivers(self) -> bool:
        try:
            self.socket.settimeout(0.5 * PATIENCE)
            self.say(self.next, QUEUED)
            return True
        except OSError:
            return False


def opened(held: Held) -> None:
    held.next = HELLO + held.next


def idle(held: Held) -> None:
    held.say(HELLO, b"250 ")


def has_delivered(held: Held) -> None:
    held.say(HELLO, b"250 ")
    held.say(ENVELOPE + b"DATA\r\n" + REST, QUEUED)


def in_envelope(held: Held) -> None:
    held.say(HELLO, b"250 ")
    held.say(ENVELOPE, b"250 2.1.5")
    held.next = b"DATA\r\n" + REST


def in_data(held: Held) -> None:
    held.say(HELLO, b"250 ")
    held.say(ENVELOPE + b"DATA\r\n", b"354")
    held.socket.sendall(b"X-First: half of it\r\n")
    held.next = REST


def in_tls(held: Held) -> None:
    held.say(HELLO, b"250 ")
    held.say(b"STARTTLS\r\n", b"220")
    context = ssl._create_unverified_context()  # noqa: S323 - the lab's own certificate
    held.socket = context.wrap_socket(held.socket)
    held.say(HELLO, b"250 ")


def half_line(held: Held) -> None:
    """A command is under way: the rest of its line is data that looks like nothing."""
    held.say(HELLO, b"250 ")
    held.socket.sendall(b"MAIL FR")
    held.next = held.next[7:]


STATES: dict[str, Callable[[Held], None]] = {
    "opened": opened,
    "idle": idle,
    "has delivered": has_delivered,
    "in the envelope": in_envelope,
    "in DATA": in_data,
    "in TLS": in_tls,
    "half a line": half_line,
}


def hold(home: Home, state: str, to: str, count: int = CONNECTIONS) -> list[Held]:
    """So many connections of device2 in that state. Raises ControlError where one does not get there."""
    held = []
    try:
        for _ in range(count):
            held.append(Held(home, to))
            STATES[state](held[-1])
    except OSError as error:
        raise ControlError(f"connection {len(held)} is not {state}: {error}") from None
    return held


@variants(
    also=[("idle", "settled server", "known not read", "IPv4")],
    state=STATES,
    known=("settled server", "new server"),
    read=("all read", "known not read"),
    family=FAMILIES,
)
def test_conviction_ends_what_runs(
    home: Home, unfiltered: Home, state: str, known: str, read: str, family: str
) -> None:
    unfiltered.clean()
    control = hold(unfiltered, state, server(family), 2)
    if not all(each.delivers() for each in control):
        raise ControlError(f"{state}: not delivered without a filter")

    home.run(policy("monitor", text=f"[detect]\nread_known = {str(read == 'all read').lower()}\n"))
    if known == "settled server":
        assert home.mail(server(family), "device2") == "sent"
    held = hold(home, state, server(family))
    to_relay = hold(home, "idle", relay(family), 1)
    bot(home.lab, "--count", "30", "--first", "20")
    home.filter.wait_for("compromised")
    time.sleep(ALLOWED_S)
    home.count_from_now()
    delivered = sum(each.delivers() for each in held)
    assert (delivered, home.settle()) == (0, 0), f"{delivered} of {CONNECTIONS} delivered after the conviction"
    # Relays are reached, by connections that run, too.
    assert to_relay[0].delivers()
    assert home.mail(relay(family), "device2") == "sent"


def test_others_connections_go_on_when_a_device_is_convicted(home: Home) -> None:
    home.run(policy("monitor"))
    mine = home.socket("device1", server("IPv4"))
    mine.recv(99)
    bot(home.lab, "--count", "16")
    home.filter.wait_for("compromised")
    mine.sendall(LETTER)
    got = b""
    while QUEUED not in got:
        got += mine.recv(4096)
