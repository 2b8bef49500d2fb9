"""The table of devices, its bounds, and what is kept of each."""

from __future__ import annotations

import pytest

from cpe_filter.detect.device import ADDRESSES, BEHIND, DEVICES, HOME, ROUTER, Device, Devices, device_name
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

MAC = b"\2\0\0\0\0\x10"


def test_names() -> None:
    assert device_name(MAC) == "02:00:00:00:00:10"
    assert device_name(bytes([192, 168, 1, 7])) == "192.168.1.7"
    assert device_name(bytes.fromhex("20010db8000000000000000000000007")) == "2001:db8::7"
    assert device_name(ROUTER) == "router"
    assert device_name(HOME) == "an unknown device of this home"
    assert device_name(MAC + bytes([192, 168, 7, 5])) == "02:00:00:00:00:10 192.168.7.5"
    assert device_name(MAC + bytes.fromhex("20010db800010002")) == "02:00:00:00:00:10 2001:db8:1:2::/64"


def test_no_device_can_take_the_routers_name() -> None:
    """Whatever MAC and address a device makes up, its key is no shorter or longer than the router's."""
    assert len(ROUTER) not in (4, 6, 16, *BEHIND)
    assert len(HOME) not in (4, 6, 16, *BEHIND)
    assert device_name(b"router") == "72:6f:75:74:65:72"


@pytest.mark.parametrize(
    ("key", "mac"),
    [
        (MAC, MAC),
        (MAC + bytes(4), MAC),
        (MAC + bytes(8), MAC),
        (bytes(4), None),
        (bytes(16), None),
        (ROUTER, None),
        (HOME, None),
    ],
)
def test_mac(key: bytes, mac: bytes | None) -> None:
    assert Device(key, 0.0).mac == mac


def test_addresses_are_kept_once_and_the_last_ones() -> None:
    device = Device(MAC, 0.0)
    for n in range(5000):
        device.seen(float(n), n.to_bytes(4, "big"))
        device.seen(float(n), n.to_bytes(4, "big"))
    assert device.last_seen == 4999.0
    assert device.addresses == [n.to_bytes(4, "big") for n in range(5000 - ADDRESSES, 5000)]


def test_a_new_device_knows_nothing() -> None:
    device = Device(MAC, 5.0)
    assert (device.first_seen, device.last_seen, device.connections, device.networks) == (5.0, 5.0, 0, 0)
    assert (device.score.standing, device.score.value, len(device.server_networks)) == (CLEAR, 0.0, 0)
    # No two share a table.
    device.server_networks.meet(1)
    assert len(Device(MAC, 5.0).server_networks) == 0


def test_devices_are_found_by_key() -> None:
    devices = Devices()
    assert devices.limit == DEVICES
    assert devices.find(MAC) is None
    device = devices.get(MAC, 1.0)
    assert devices.get(MAC, 2.0) is device
    assert devices.find(MAC) is device
    assert device.first_seen == 1.0
    assert list(devices) == [device]
    assert len(devices) == 1


def test_hosts_behind_a_mac() -> None:
    devices = Devices()
    for key in (MAC, MAC + bytes(4), MAC + bytes(8), b"\2\0\0\0\0\x11" + bytes(4), bytes(4), bytes(16)):
        devices.get(key, 0.0)
    assert devices.behind(MAC) == 2


def test_rekey() -> None:
    devices = Devices()
    device = devices.get(MAC, 0.0)
    assert devices.rekey(MAC, b"\2\0\0\0\0\x11") is device
    assert (devices.find(MAC), devices.find(b"\2\0\0\0\0\x11"), device.key) == (None, device, b"\2\0\0\0\0\x11")
    with pytest.raises(KeyError):
        devices.rekey(MAC, b"\2\0\0\0\0\x12")


@pytest.mark.parametrize(("standing", "other"), [(COMPROMISED, CLEAR), (COMPROMISED, SUSPECTED), (SUSPECTED, CLEAR)])
def test_of_two_under_one_key_the_one_of_worse_standing_goes_on(standing: Standing, other: Standing) -> None:
    for first, second in ((standing, other), (other, standing)):
        devices = Devices()
        devices.get(MAC, 0.0).score.standing = first
        devices.get(b"new mac", 0.0).score.standing = second
        assert devices.rekey(MAC, b"new mac").score.standing == standing
        assert len(devices) == 1


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
        device.score.value = score
    devices.get(b"\2\0\0\0\0\x63", 10.0)
    assert [device.key[5] for device in devices] == [1, 2, 0x63]


def test_where_all_are_convicted_none_of_them_makes_room() -> None:
    devices = Devices(limit=2)
    for n in range(2):
        devices.get(bytes([2, 0, 0, 0, 0, n]), 0.0).score.standing = COMPROMISED
    assert devices.get(MAC, 1.0).key == MAC
    assert [device.key[5] for device in devices] == [0, 1]


def test_the_home_shows_once_it_was_suspected_and_takes_no_place() -> None:
    devices = Devices(limit=1)
    device = devices.get(MAC, 0.0)
    assert devices.find(HOME) is devices.home
    assert list(devices) == [device]
    assert list(devices.known()) == [device]
    devices.home.connections = 1
    assert list(devices.known()) == [device, devices.home]
    devices.home.score.standing = SUSPECTED
    assert list(devices) == [device, devices.home]
    devices.home.score.standing = CLEAR  # who watches sees it end
    assert list(devices) == [device, devices.home]
    assert len(devices) == 1
