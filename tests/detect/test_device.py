"""Identities and their bounds."""

from __future__ import annotations

from cpe_filter.detect.device import ADDRESSES, DESTINATIONS, ROUTER, Device, Devices, device_name
from cpe_filter.detect.score import COMPROMISED, SUSPECTED

MAC = b"\2\0\0\0\0\x10"


def test_names() -> None:
    assert device_name(MAC) == "02:00:00:00:00:10"
    assert device_name(bytes([192, 168, 1, 7])) == "192.168.1.7"
    assert device_name(bytes.fromhex("20010db8000000000000000000000007")) == "2001:db8::7"
    assert device_name(ROUTER) == "router"


def test_neighbourhoods() -> None:
    device = Device(MAC, 0.0)
    assert device.meets(bytes([198, 51, 100, 1]))
    assert not device.meets(bytes([198, 51, 100, 200]))
    assert device.meets(bytes([198, 51, 101, 1]))
    six = bytes.fromhex("20010db80001") + bytes(10)
    assert device.meets(six)
    assert not device.meets(six[:-1] + b"\x09")
    assert device.meets(bytes.fromhex("20010db80002") + bytes(10))
    assert len(device.destinations) == 6


def test_no_device_can_take_the_routers_name() -> None:
    """A MAC has 6 bytes and an address 4 or 16: none of them is the router's key."""
    assert len(ROUTER) not in (4, 6, 16)
    assert device_name(b"router") == "72:6f:75:74:65:72"


def test_the_neighbourhood_met_first_is_forgotten_first() -> None:
    device = Device(MAC, 0.0)
    for n in range(DESTINATIONS + 1):
        device.meets((n << 8).to_bytes(4, "big"))
    assert [device.meets((n << 8).to_bytes(4, "big")) for n in (DESTINATIONS, 2, 0)] == [False, False, True]


def test_memory_of_a_device_is_bounded() -> None:
    device = Device(MAC, 0.0)
    for n in range(5000):
        device.seen(float(n), n.to_bytes(4, "big"))
        device.meets((n << 8).to_bytes(4, "big"))
    assert len(device.addresses) == ADDRESSES
    assert len(device.destinations) <= DESTINATIONS
    assert len(device.prefixes) <= DESTINATIONS


def test_spoofed_sources_never_evict_a_convicted_or_suspected_one() -> None:
    devices = Devices(limit=8)
    convicted, suspected = devices.get(b"\2bad\0\1", 0.0), devices.get(b"\2bad\0\2", 0.0)
    convicted.score.standing = COMPROMISED
    suspected.score.standing = SUSPECTED
    for n in range(1000):
        devices.get(b"\2\0" + n.to_bytes(4, "big"), float(n))
        assert len(devices) <= 8
    assert devices.find(convicted.key) is convicted
    assert devices.find(suspected.key) is suspected


def test_of_clear_ones_the_least_useful_makes_room() -> None:
    devices = Devices(limit=3)
    for n, (seen, score) in enumerate([(5.0, 0.0), (9.0, 0.0), (1.0, 4.0)]):
        device = devices.get(bytes([2, 0, 0, 0, 0, n]), seen)
        device.score.talk = score
    devices.get(b"\2\0\0\0\0\x63", 10.0)
    assert [device.key[5] for device in devices] == [1, 2, 0x63]


def test_where_all_are_convicted_none_of_them_makes_room() -> None:
    devices = Devices(limit=2)
    for n in range(2):
        devices.get(bytes([2, 0, 0, 0, 0, n]), 0.0).score.standing = COMPROMISED
    assert devices.get(MAC, 1.0).key == MAC
    assert [device.key[5] for device in devices] == [0, 1]
