"""Mode block: the same connection in packets that are hard to read: fragments, extension headers, odd senders."""

from __future__ import annotations

import pytest

from tests.attacks.home import ControlError, Home, block, control, control_leaves, deliver, must_hold, nothing_leaves
from tests.attacks.variants import BLOCK, FAILS, FAMILIES, RESPONDER, variants
from tests.lab.net import Lab, mx6
from tests.lab.rawtcp import (
    DESTINATION,
    HOP_BY_HOP,
    ROUTER_MAC,
    Connection,
    atomic_fragment,
    authentication_header,
    padding_header,
    routing_header,
)

pytestmark = pytest.mark.live


def open_and_deliver(connection: Connection) -> None:
    for _ in range(2):
        if connection.open(0.5):
            deliver(connection)
            return


@variants(first=(8, 16, 24), what=("SYN and all", "data only"), **BLOCK)
def test_fragments(home: Home, unfiltered: Home, first: int, what: str, family: str, fail: str, responder: str) -> None:
    """In two pieces, the first with the ports alone, or with half or all of the header.

    By IPv6 always with all of it: hosts take no others (RFC 7112).
    """
    first = max(first, 24) if family == "IPv6" else first

    def attack(home: Home) -> None:
        connection = home.connection(family)
        connection.fragmented = first if what == "SYN and all" else 0
        if connection.open(0.5):
            connection.fragmented = first
            deliver(connection)

    must_hold(home, unfiltered, attack, fail, responder)


_OPTIONS = padding_header(DESTINATION)
HEADERS = {
    "atomic fragment": [atomic_fragment()],
    "hop by hop": [padding_header(HOP_BY_HOP)],
    "1 destination options": [_OPTIONS],
    "8 destination options": [_OPTIONS] * 8,
    "9 destination options": [_OPTIONS] * 9,
    "20 destination options": [_OPTIONS] * 20,
    "routing 0": [routing_header(0)],
    "routing 4": [routing_header(4, mx6(0))],
    "one of each": [padding_header(HOP_BY_HOP), _OPTIONS, routing_header(0), atomic_fragment(), _OPTIONS],
    "9 and a fragment header": [*[_OPTIONS] * 9, atomic_fragment()],
}


@variants(headers=HEADERS, fail=FAILS, responder=RESPONDER)
def test_extension_headers(home: Home, unfiltered: Home, headers: str, fail: str, responder: str) -> None:
    def attack(home: Home) -> None:
        connection = home.connection("IPv6")
        connection.headers = HEADERS[headers]
        open_and_deliver(connection)

    must_hold(home, unfiltered, attack, fail, responder)


ENDLESS = {
    "authentication": [authentication_header()],
    "routing 2": [routing_header(2)],
    "authentication behind nine": [*[_OPTIONS] * 9, authentication_header()],
}


@variants(headers=ENDLESS, fail=FAILS, responder=RESPONDER)
def test_extension_headers_that_the_servers_do_not_take(
    home: Home, unfiltered: Home, headers: str, fail: str, responder: str
) -> None:
    """Others might: the SYN must not leave.

    Behind an authentication header (RFC 4302) is no TCP for nft, and none for a server without a security association:
    with one it is a tunnel. There nothing is delivered.
    """

    def attack(home: Home) -> None:
        connection = home.connection("IPv6")
        connection.headers = ENDLESS[headers]
        for _ in range(2):
            connection.open(0.2)

    control_leaves(unfiltered, attack)
    home.run(block(fail), responder == "responder")
    attack(home)
    if "authentication" in headers:
        assert home.settle() == 0
    else:
        nothing_leaves(home)


SENDERS = {"IPv4": ("192.168.1.201", "192.168.1.254"), "IPv6": ("2001:db8:1::beef", "2001:db8:1:0:aaaa:bbbb:cccc:dddd")}
MACS = {
    "of its own": "",
    "made up": "06:00:00:00:77:01",
    "another device's": Lab.mac("device1"),
    "the router's": ROUTER_MAC,
}


@variants(address=(0, 1), own=MACS, **BLOCK)
def test_other_senders(
    home: Home, unfiltered: Home, address: int, own: str, family: str, fail: str, responder: str
) -> None:
    """Addresses that nobody has got by DHCP, and MACs that are made up or others'."""

    def attack(home: Home) -> None:
        source = SENDERS[family][address]
        home.card().answer_for(source, MACS[own] if own != "the router's" else "")
        open_and_deliver(home.connection(family, source=source, own=MACS[own]))

    try:
        control(unfiltered, attack)
    except ControlError:
        if own != "the router's":
            raise
        pytest.skip("the bridge takes no frames from its own MAC")
    home.run(block(fail), responder == "responder")
    attack(home)
    nothing_leaves(home)


@variants(vlan=(0, 1, 5), **BLOCK)
def test_tagged_frames(home: Home, unfiltered: Home, vlan: int, family: str, fail: str, responder: str) -> None:
    """With an 802.1Q tag: of priority alone (0), of the bridge's own VLAN, of another."""

    def attack(home: Home) -> None:
        connection = home.connection(family)
        connection.tagged = vlan
        open_and_deliver(connection)

    try:
        control(unfiltered, attack)
    except ControlError:
        pytest.skip("this kernel's bridge takes no such frames")
    home.run(block(fail), responder == "responder")
    attack(home)
    nothing_leaves(home)


@variants(fail=FAILS, responder=RESPONDER)
def test_link_local_sender(home: Home, fail: str, responder: str) -> None:
    """A router does not forward these (RFC 4291), so a redirect to the responder must not carry them on either."""
    home.run(block(fail), responder == "responder")
    source = "fe80::ff:fe00:102"
    home.card().answer_for(source)
    open_and_deliver(home.connection("IPv6", source=source))
    nothing_leaves(home)


@variants(family=FAMILIES)
def test_relays_are_reached_by_odd_packets_all_the_same(home: Home, family: str) -> None:
    """Refusing strangers must not cost the relay's mail: in fragments, and behind extension headers."""
    from tests.attacks.home import relay

    home.run(block("closed"))
    for headers, first in (([], 0), ([], 24), ([_OPTIONS] if family == "IPv6" else [], 0)):
        connection = home.card().connection(relay(family))
        connection.headers, connection.fragmented = headers, first
        assert connection.open(1.0)
        assert deliver(connection)
