"""Which device a packet is of: nothing is split or merged that must not be, and made-up addresses gain nothing."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from cpe_filter.detect.device import ROUTER, Device, Devices, device_name
from cpe_filter.detect.identity import ALTERNATE_S, HOSTS, Identity
from cpe_filter.detect.score import COMPROMISED, SUSPECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
LAN = [ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64"), ip_network("fd00:1::/64")]
A, B, C = "192.168.7.5", "192.168.7.6", "192.168.7.7"


def packed(address: str) -> bytes:
    return ip_address(address).packed


class Home:
    """An identity, its table, and connections that begin."""

    def __init__(self, lan: bool = False, limit: int = 256) -> None:
        self.devices = Devices(limit)
        self.identity = Identity(self.devices)
        if lan:
            self.identity.on_link(LAN)

    def device(self, address: str, time: float = 0.0, mac: bytes | None = MAC) -> Device:
        client = packed(address)
        device = self.devices.get(self.identity.seen(mac, client, time), time)
        device.seen(time, client)
        return device

    def name(self, address: str, time: float = 0.0, mac: bytes | None = MAC) -> str:
        return self.device(address, time, mac).name


# ── on-link ─────────────────────────────────────────────────────────────────────────────────────


def test_all_on_link_addresses_of_a_mac_are_one_device() -> None:
    home = Home(lan=True)
    names = {home.name(address) for address in ("192.168.1.7", "192.168.1.8", "fe80::7", "fd00:1::7", "169.254.3.4")}
    names |= {home.name(f"2001:db8:1::{n:x}:{n * 77:x}") for n in range(1, 13)}
    assert names == {"02:00:00:00:00:01"}
    assert len(home.devices) == 1
    assert home.name("192.168.1.7", mac=OTHER) == "02:00:00:00:00:02"


def test_addresses_used_in_turn_are_one_device_where_they_are_on_link() -> None:
    """Two mail programs on one host, each with an address of its own."""
    home = Home(lan=True)
    assert {home.name(f"192.168.1.{7 + n % 2}", n) for n in range(20)} == {"02:00:00:00:00:01"}


def test_a_former_prefix_stays_on_link_for_a_while() -> None:
    home = Home(lan=True)
    home.identity.on_link([ip_network("2001:db8:2::/64")])
    assert home.name("2001:db8:1::7") == home.name("2001:db8:2::7") == "02:00:00:00:00:01"
    home.identity.on_link([ip_network(f"2001:db8:{n:x}::/64") for n in range(0x100, 0x200)])
    assert home.name("2001:db8:1::7") == "02:00:00:00:00:01 2001:db8:1::/64"


# ── behind a second router ──────────────────────────────────────────────────────────────────────


def test_hosts_routed_behind_a_mac_are_told_apart_by_address() -> None:
    home = Home(lan=True)
    assert home.name(A) == "02:00:00:00:00:01 192.168.7.5"
    assert home.name(B) == "02:00:00:00:00:01 192.168.7.6"
    assert home.name(A, mac=OTHER) == "02:00:00:00:00:02 192.168.7.5"
    assert home.name("192.168.1.2") == "02:00:00:00:00:01"
    assert {device.mac for device in home.devices} == {MAC, OTHER}


def test_twelve_addresses_in_one_routed_64_are_one_device() -> None:
    home = Home(lan=True)
    assert {home.name(f"2001:db8:7::{n:x}") for n in range(1, 13)} == {"02:00:00:00:00:01 2001:db8:7::/64"}
    assert home.name("2001:db8:8::1") == "02:00:00:00:00:01 2001:db8:8::/64"


def test_one_family_known_says_nothing_about_the_other() -> None:
    home = Home()
    home.identity.on_link(LAN[:1])
    assert home.name("2001:db8:7::1") == "02:00:00:00:00:01"
    home = Home()
    home.identity.on_link(LAN[1:])
    assert home.name(A) == "02:00:00:00:00:01"


def test_asking_for_a_key_changes_nothing() -> None:
    home = Home(lan=True)
    assert home.identity.key(MAC, packed(A)) == MAC + packed(A)
    assert len(home.devices) == 0
    without = Home()
    for n in range(20):
        assert without.identity.key(MAC, packed(A if n % 2 else B)) == MAC


@pytest.mark.parametrize("address", ["10.{}.{}.1", "2001:db8:{:x}:{:x}::1"])
def test_made_up_addresses_behind_a_mac_leave_the_others_their_places(address: str) -> None:
    home = Home(lan=True)
    others = [home.device("192.168.1.9", float(n), b"\2\0\0\0\1" + bytes([n])) for n in range(200)]
    for n in range(10_000):
        home.device(address.format(n >> 8, n & 255), 1000.0 + n)
    assert len(home.devices) == 200 + HOSTS + 1
    assert all(home.devices.find(other.key) is other for other in others)
    # The rest shares the MAC's own device, and so does not get away.
    assert home.name("10.250.0.1") == "02:00:00:00:00:01"


def test_made_up_macs_and_addresses_never_evict_a_conviction() -> None:
    home = Home(lan=True)
    convicted = [home.device(A), home.device("192.168.1.7", mac=OTHER), home.device("2001:db8:7::1", mac=OTHER)]
    for device in convicted:
        device.score.standing = COMPROMISED
    for n in range(3000):
        mac = b"\2\1" + (n // 3).to_bytes(4, "big")
        home.device(("192.168.1.9", f"10.0.{n >> 8}.{n & 255}", f"2001:db8:{n:x}::1")[n % 3], float(n), mac)
    assert len(home.devices) == 256
    assert all(home.devices.find(device.key) is device for device in convicted)


# ── without known networks ──────────────────────────────────────────────────────────────────────


def test_a_new_lease_stays_the_same_device() -> None:
    home = Home()
    names = {home.name(A, n) for n in range(5)} | {home.name(B, 5 + n) for n in range(5)}
    # Even back again, once a lease may have come back.
    names |= {home.name(A, 10 + ALTERNATE_S + n) for n in range(5)}
    names |= {home.name(B, 20 + 2 * ALTERNATE_S + n) for n in range(5)}
    assert names == {"02:00:00:00:00:01"}


def test_two_addresses_in_turn_are_two_hosts() -> None:
    home = Home()
    assert [home.name(address, n) for n, address in enumerate((A, B, A, B, A, B))] == [
        "02:00:00:00:00:01",
        "02:00:00:00:00:01",
        "02:00:00:00:00:01",
        "02:00:00:00:00:01 192.168.7.6",
        "02:00:00:00:00:01",
        "02:00:00:00:00:01 192.168.7.6",
    ]
    assert home.device(A).addresses == [packed(A)]


def test_three_hosts_in_turn_are_three() -> None:
    home = Home()
    for n in range(6):
        last = [home.name(address, 3 * n) for address in (A, B, C)]
    assert last == [f"02:00:00:00:00:01{more}" for more in ("", " 192.168.7.6", " 192.168.7.7")]


def test_ipv6_addresses_in_turn_are_one_device() -> None:
    home = Home()
    names = {home.name(f"2001:db8:{n % 3}::{n % 12:x}", n) for n in range(60)}
    assert names == {"02:00:00:00:00:01"}


def test_a_standing_earned_before_the_split_stays_with_who_earned_it() -> None:
    """A convicted; then B comes, and A goes on: B starts clear, A keeps what it has."""
    home = Home()
    home.device(A, 0.0).score.standing = COMPROMISED
    home.device(B, 1.0)
    assert home.device(A, 2.0).score.standing == COMPROMISED
    assert home.device(B, 3.0).score.standing == "clear"
    assert home.device(A, 4.0).score.standing == COMPROMISED


@pytest.mark.parametrize("standing", [SUSPECTED, COMPROMISED])
def test_a_standing_earned_between_two_uses_stays_with_who_was_in_between(standing: Standing) -> None:
    home = Home()
    home.device(A, 0.0)
    home.device(B, 1.0).score.standing = standing
    home.device(B, 1.5)
    assert home.device(A, 2.0).score.standing == "clear"
    assert home.name(A, 3.0) == "02:00:00:00:00:01 192.168.7.5"
    assert home.device(B, 4.0).score.standing == standing


def test_of_several_in_between_the_last_that_came_to_a_clear_device_keeps_the_standing() -> None:
    home = Home()
    home.device(A, 0.0)
    home.device(B, 1.0).score.standing = COMPROMISED
    home.device(C, 2.0)
    standings = [home.device(address, 3.0 + n).score.standing for n, address in enumerate((A, B, C))]
    assert standings == ["clear", COMPROMISED, "clear"]


def test_addresses_in_turn_are_told_apart_up_to_the_bound() -> None:
    home = Home()
    for n in range(4000):
        home.device(f"10.0.{n // 4 >> 8}.{n // 4 & 255}" if n % 2 else A, float(n))
    assert len(home.devices) <= HOSTS + 1
    for n in range(2000):  # and what is remembered of MACs has an end, too
        home.device(A, float(n), n.to_bytes(6, "big"))
    assert len(home.identity._uses) <= 256


# ── without a MAC ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mac", [None, b"", bytes(6)])
@pytest.mark.parametrize("lan", [False, True])
def test_without_a_mac_the_address_is_the_device(mac: bytes | None, lan: bool) -> None:
    home = Home(lan)
    for address in (A, "192.168.1.7", "2001:db8:1::7", "2001:db8:1::8", "2001:db8:7::1"):
        assert home.name(address, mac=mac) == address
        assert home.device(address, mac=mac).mac is None


# ── keys ────────────────────────────────────────────────────────────────────────────────────────


def test_names_of_keys() -> None:
    assert device_name(MAC + packed("192.168.7.5")) == "02:00:00:00:00:01 192.168.7.5"
    assert device_name(MAC + packed("2001:db8:7::")[:8]) == "02:00:00:00:00:01 2001:db8:7::/64"


def test_nobody_can_come_to_the_routers_key() -> None:
    """MAC and address of an earlier key of the router's, made up by a device."""
    home = Home(lan=True)
    earlier = b"the router"
    device = home.device(str(ip_address(earlier[6:])), mac=earlier[:6])
    assert device.key == earlier != ROUTER
    assert device.name == "74:68:65:20:72:6f 117.116.101.114"
    assert len(ROUTER) not in (4, 6, 10, 14, 16)
