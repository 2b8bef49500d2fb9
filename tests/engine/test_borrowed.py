"""A MAC in a packet's frame, and another one that answers for its client's address."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from cpe_filter.detect.device import HOME
from cpe_filter.detect.mac_rotation import Lease
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.engine import FORWARD, Engine
from cpe_filter.engine.borrowed import MACS
from cpe_filter.engine.verdicts import ACCEPT, BYPASS, INSPECT_ALL, SKIP_CONTENT, SKIP_TO_FIN
from cpe_filter.lean.clocks import PacketTime, Posix
from tests.build import START, packed, session
from tests.engine.test_strangers import ROUTER_MAC, server, text
from tests.policies import make_policy

VICTIM, BOT, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\2\0\0\0\0\3"
PASSES = {ACCEPT, INSPECT_ALL, SKIP_CONTENT, SKIP_TO_FIN, BYPASS}
ADDRESSES = {"IPv4": "192.168.1.66", "IPv6": "2001:db8:1::66"}


class Line:
    def __init__(self, mode: str = "monitor") -> None:
        self.table = {packed("192.168.1.7"): VICTIM}
        self.engine = Engine(make_policy(mode=mode, refusal="explain"), borrowed=self.borrowed)
        self.engine.on_link([ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64")])
        leases = [Lease(mac, (bytes((192, 168, 1, 7 + n)),), "", b"", 0.0) for n, mac in enumerate((VICTIM, BOT))]
        self.engine.leases(leases, PacketTime(START), Posix(START))
        self.questions = 0

    def borrowed(self, address: bytes, mac: bytes, sure: bool) -> bool:
        self.questions += sure
        return self.table.get(address, mac) != mac

    def play(self, mac: bytes, client: str, n: int, said: str = "") -> bool:
        """A connection; whether all of it passed."""
        passed = True
        packets = session(said or text(n, True), client, server(n, ":" in client), sport=30000 + n, time=START + n)
        for packet in packets:
            hwaddr = mac if packet.from_client else ROUTER_MAC
            passed &= self.engine.packet(PacketTime(packet.time), FORWARD, hwaddr, packet.data) in PASSES
        return passed

    def standing(self, key: bytes) -> str:
        device = self.engine.devices.find(key)
        return device.score.standing if device is not None else "unknown"


@pytest.mark.parametrize("client", ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize("mode", ["monitor", "limit"])
def test_neither_mac_is_accused(mode: str, client: str) -> None:
    line = Line(mode)
    line.table[packed(client)] = BOT
    passed = sum(line.play(VICTIM, client, n) for n in range(48))
    assert line.standing(VICTIM) == CLEAR
    assert line.standing(BOT) == "unknown"  # no packet has named it
    assert line.standing(packed(client)) == COMPROMISED
    assert passed < 24
    assert all(flow.borrowed == VICTIM and not flow.explained for flow in line.engine.flows)
    # The kernel cannot tell them apart: each of its connections is refused, and none of the neighbour's.
    assert line.play(VICTIM, "192.168.1.7", 60, text(1, False))
    assert not line.play(VICTIM, client, 61)


def test_the_same_without_a_borrowed_mac_convicts_the_mac() -> None:
    line = Line()
    line.table[packed("192.168.1.66")] = VICTIM
    for n in range(48):
        line.play(VICTIM, "192.168.1.66", n)
    assert line.standing(VICTIM) == COMPROMISED
    assert line.questions >= 48


def test_an_address_claimed_for_a_neighbour_accuses_nobody() -> None:
    """Its own MAC in the frames, and an announcement that the address is the neighbour's."""
    line = Line()
    line.table[packed("192.168.1.66")] = VICTIM
    for n in range(48):
        line.play(BOT, "192.168.1.66", n)
    assert line.standing(VICTIM) == "unknown"
    assert line.standing(BOT) == CLEAR
    assert line.standing(packed("192.168.1.66")) == COMPROMISED


def test_an_address_for_each_connection_convicts_the_home() -> None:
    line = Line()
    for n in range(100):
        line.table[packed(f"192.168.1.{100 + n}")] = BOT
        line.play(VICTIM, f"192.168.1.{100 + n}", n)
    assert line.standing(VICTIM) == CLEAR
    assert line.standing(HOME) == COMPROMISED


def test_an_address_that_nobody_has_answered_for_is_the_macs() -> None:
    line = Line()
    assert line.play(VICTIM, "192.168.1.67", 0)
    assert [device.key for device in line.engine.devices] == [VICTIM]


def test_syns_alone_are_the_macs_until_the_address_has_completed_a_handshake() -> None:
    line = Line("limit")
    line.table[packed("192.168.1.66")] = BOT
    packets = session(text(0, False), "192.168.1.66", server(0, False), sport=30000, time=START)
    line.engine.packet(PacketTime(START), FORWARD, VICTIM, packets[0].data)
    assert line.questions == 0
    assert line.engine.flow is not None
    assert line.engine.flow.device.key == VICTIM
    victim = line.engine.devices.find(VICTIM)
    assert victim is not None
    taken = victim.buckets["connections"][0]
    for packet in packets[1:]:
        hwaddr = VICTIM if packet.from_client else ROUTER_MAC
        line.engine.packet(PacketTime(packet.time), FORWARD, hwaddr, packet.data)
    assert line.engine.flow.device.key == packed("192.168.1.66")
    assert victim.buckets["connections"][0] == taken + 1  # its token was given back
    line.play(VICTIM, "192.168.1.66", 1)
    assert victim.connections == 1


def test_few_macs_are_remembered() -> None:
    line = Line()
    line.table[packed("192.168.1.66")] = BOT
    for n in range(20):
        line.play(bytes((2, 0, 0, 0, 1, n)), "192.168.1.66", n, text(1, False))
    device = line.engine.devices.find(packed("192.168.1.66"))
    assert device is not None
    assert len(device.borrowed) == MACS


def test_the_address_is_another_devices_later() -> None:
    """A lease has ended; the next device with this address is not taken for the former one."""
    line = Line()
    line.table[packed("192.168.1.66")] = BOT
    for n in range(48):
        line.play(VICTIM, "192.168.1.66", n)
    line.table[packed("192.168.1.66")] = OTHER
    assert line.play(OTHER, "192.168.1.66", 60, text(1, False))
    assert line.standing(OTHER) == CLEAR


def test_a_full_table_does_not_grow() -> None:
    """As many devices with a past as there is room for: the addresses beyond share one device."""
    line = Line()
    line.engine.devices.limit = len(line.engine.devices)
    for n in range(20):
        line.table[packed(f"192.168.1.{100 + n}")] = BOT
        line.play(VICTIM, f"192.168.1.{100 + n}", n, text(1, False))
    borrowed = {id(flow.device) for flow in line.engine.flows if flow.borrowed}
    assert len(borrowed) == 1
