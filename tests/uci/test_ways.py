"""LAN and WAN of lines and routers that people have: from zones, netifd's networks, and what UCI names."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.uci.ways import Chosen
from tests.uci.router import FIREWALL, LAN, WAN, WAN6, forwarding, interface, made, router, section, up, zone

NOTHING = Chosen()
#: Name: networks of UCI, netifd's dump, the devices of WAN.
LINES: dict[str, tuple[tuple[str, ...], tuple[dict[str, Any], ...], tuple[str, ...]]] = {
    "as shipped": ((WAN, WAN6), (up("wan", "eth1"), up("wan6", "eth1")), ("eth1",)),
    "down": ((WAN, WAN6), ({"interface": "wan", "up": False, "device": "eth1"},), ("eth1",)),
    "PPPoE": ((interface("wan", "pppoe", device="eth0.7"),), (), ("pppoe-wan",)),
    "PPPoE with IPv6": (
        (interface("wan", "pppoe", device="eth0.7"),),
        (up("wan", "pppoe-wan", device="eth0.7"), made("wan_6", "pppoe-wan", "dhcpv6")),
        ("pppoe-wan",),
    ),
    "PPPoE with DS-Lite": (
        (interface("wan", "pppoe", device="eth0.7"),),
        (up("wan", "pppoe-wan"), made("wan_6", "pppoe-wan", "dhcpv6"), made("wan_6_4", "ds-wan_6_4", "dslite")),
        ("pppoe-wan", "ds-wan_6_4"),
    ),
    "VLAN of a bridge": ((interface("wan", device="br-wan.7"),), (up("wan", "br-wan.7"),), ("br-wan.7",)),
    "DS-Lite": ((WAN6,), (up("wan6", "eth1"), made("wan6_4", "ds-wan6_4", "dslite")), ("eth1", "ds-wan6_4")),
    "DS-Lite without a zone in the dump": (
        (WAN6,),
        (up("wan6", "eth1"), made("wan6_4", "ds-wan6_4", "dslite", zone="")),
        ("eth1", "ds-wan6_4"),
    ),
    "DS-Lite under a name of its own": (
        (WAN6,),
        (up("wan6", "eth1"), made("softwire", "ds-softwire", "dslite")),
        ("eth1", "ds-softwire"),
    ),
    "464XLAT": ((WAN6,), (up("wan6", "wwan0"), made("wan6_4", "464-wan6_4", "464xlat")), ("wwan0", "464-wan6_4")),
    "MAP": ((WAN6,), (up("wan6", "eth1"), made("wan6_4", "map-wan6_4", "map")), ("eth1", "map-wan6_4")),
    "static MAP in no zone's list": (
        (WAN6, interface("mape", "map")),
        (up("wan6", "eth1"), up("mape", "map-mape", proto="map", zone="wan"), made("mape_", "eth1", "static", zone="")),
        ("eth1", "map-mape"),
    ),
    "LTE": (
        (interface("wan", "qmi", device="/dev/cdc-wdm0"),),
        (up("wan", "wwan0", proto="qmi"), made("wan_4", "wwan0", "dhcp"), made("wan_6", "wwan0", "dhcpv6")),
        ("wwan0",),
    ),
    "LTE, IPv6 alone": (
        (interface("wan", "qmi", device="/dev/cdc-wdm0"),),
        (up("wan", "wwan0"), made("wan_6", "wwan0", "dhcpv6"), made("wan_6_4", "464-wan_6_4", "464xlat")),
        ("wwan0", "464-wan_6_4"),
    ),
    "ModemManager": (
        (interface("wan", "modemmanager", device="/sys/devices/x"),),
        (up("wan", "qmapmux0.0", proto="modemmanager"),),
        ("qmapmux0.0",),
    ),
    "an alias": ((WAN, interface("wan6", "dhcpv6", device="@wan")), (), ("eth1",)),
}


@pytest.mark.parametrize("line", LINES)
def test_lines(line: str) -> None:
    network, netifd, wan = LINES[line]
    found = router(LAN, *network, netifd=(up("lan", "br-lan"), *netifd))
    assert set(found.wan(NOTHING).devices) == set(wan)
    assert found.lan(NOTHING).devices == ("br-lan",)
    assert found.notes == []


def test_a_made_network_stays_known_when_it_has_gone() -> None:
    found = router(LAN, WAN6, netifd=(up("wan6", "eth1"),), seen={"wan6_4": "ds-wan6_4", "vpn_4": "tun9"})
    assert found.wan(NOTHING).devices == ("eth1", "ds-wan6_4")


def test_several_uplinks() -> None:
    """mwan3: in one zone, or each in a zone of its own."""
    wanb, lte = interface("wanb", "pppoe"), interface("lte", "qmi", device="/dev/cdc-wdm0")
    one = (zone("lan", "lan"), zone("wan", "wan", "wanb lte", masq="1"), forwarding("lan", "wan"))
    assert router(LAN, WAN, wanb, lte, firewall=one).wan(NOTHING).devices == ("eth1", "pppoe-wanb", "wwan0")
    apart = (*FIREWALL, zone("backup", "wanb", "lte", masq="1"), forwarding("lan", "backup"))
    assert router(LAN, WAN, wanb, lte, firewall=apart).wan(NOTHING).devices == ("eth1", "pppoe-wanb", "wwan0")


GUEST = (interface("guest", "static", device="br-lan.20"), interface("iot", "static", device="br-lan.30"))


def test_zones_of_the_home() -> None:
    """Those that may send mail out; by a forwarding, or by a rule that lets mail through."""
    zones = (*FIREWALL, zone("guest", "guest", input="REJECT"), zone("iot", "iot"), forwarding("guest", "wan"))
    found = router(interface("lan", "static", device="br-lan.10"), WAN, *GUEST, firewall=zones)
    assert found.lan(NOTHING).devices == ("br-lan.10", "br-lan.20")
    for rule, there in (
        (section("rule", src="iot", dest="wan", target="ACCEPT"), True),
        (section("rule", src="iot", dest="wan", target="ACCEPT", proto="tcp", dest_port="20-30"), True),
        (section("rule", src="iot", dest="*", target="ACCEPT", proto="all"), True),
        (section("rule", src="iot", dest="wan", target="ACCEPT", proto="udp", dest_port="123"), False),
        (section("rule", src="iot", dest="wan", target="ACCEPT", dest_port="80 443"), False),
        (section("rule", src="iot", dest="wan", target="REJECT"), False),
        (section("rule", src="iot", target="ACCEPT"), False),
        (section("rule", src="iot", dest="wan", target="ACCEPT", enabled="0"), False),
    ):
        found = router(LAN, WAN, *GUEST, firewall=(*zones, rule))
        assert ("br-lan.30" in found.lan(NOTHING).devices) is there, rule


def test_zones_by_device() -> None:
    zones = (
        zone("lan", "lan", device=["docker0", "veth+"]),
        zone("wan", "wan", device=["tun0", "ppp+", "+", "!eth7"]),
        forwarding("lan", "wan"),
    )
    found = router(LAN, WAN, firewall=zones)
    assert found.lan(NOTHING).devices == ("docker0", "veth*", "br-lan")
    assert found.wan(NOTHING).devices == ("tun0", "ppp*", "eth1")
    assert found.notes == [unnamed("wan", "!eth7", "wan", "Internet")]


def unnamed(zone: str, options: str, key: str, side: str) -> str:
    return (
        f"zone {zone} does not say which devices it has ({options}), so mail there may not be watched; set "
        f"network.{key} to all devices of the {side}"
    )


def test_zones_that_name_no_device() -> None:
    """By addresses alone, or by the devices that they do not have: a line for each, which says what to set."""
    guest = zone("guest", subnet=["10.9.0.0/24", "fd00:9::/64"])
    zones = (*FIREWALL, guest, forwarding("guest", "wan"))
    found = router(LAN, WAN, firewall=zones)
    assert found.lan(NOTHING).devices == ("br-lan",)
    assert found.wan(NOTHING).devices == ("eth1",)
    assert found.notes == [unnamed("guest", "10.9.0.0/24, fd00:9::/64", "lan", "home")]
    for options, said in (
        ({"subnet": ["198.51.100.0/24"]}, "198.51.100.0/24"),
        ({"device": ["!eth0", "!eth2"]}, "!eth0, !eth2"),
        ({"device": ["!eth0"], "subnet": ["198.51.100.0/24"]}, "!eth0, 198.51.100.0/24"),
    ):
        out = zone("isp", masq="1", **options)
        found = router(LAN, WAN, firewall=(zone("lan", "lan"), out, forwarding("lan", "isp")))
        found.lan(NOTHING)
        found.wan(NOTHING)
        assert found.notes == [unnamed("isp", said, "wan", "Internet")]


def test_addresses_beside_devices_need_no_note() -> None:
    lan = zone("lan", "lan", subnet=["192.168.1.0/24"])
    found = router(
        LAN, WAN, firewall=(lan, zone("wan", device=["eth1"], subnet=["0.0.0.0/0"]), forwarding("lan", "wan"))
    )
    assert found.lan(NOTHING).devices == ("br-lan",)
    assert found.wan(NOTHING).devices == ("eth1",)
    assert found.notes == []


def test_what_uci_names_needs_no_note() -> None:
    found = router(LAN, WAN, firewall=(*FIREWALL, zone("guest", subnet=["10.9.0.0/24"]), forwarding("guest", "wan")))
    found.lan(Chosen(devices=("br-lan", "br-guest")))
    found.wan(NOTHING)
    assert found.notes == []


@pytest.mark.parametrize(
    "zones",
    [
        (zone("home", "lan"), zone("WAN", "uplink", masq="1"), forwarding("home", "WAN")),
        (zone("home", "lan"), zone("internet", "uplink", masq="1"), forwarding("home", "internet")),
        (zone("home", "lan"), zone("internet", "uplink"), forwarding("home", "internet")),
        (zone("home", "lan"), zone("internet", "uplink", masq6="1"), forwarding("*", "internet")),
        (zone("lan", "lan"), zone("wan", "uplink"), section("defaults", forward="ACCEPT")),
    ],
)
def test_zones_of_other_names(zones: tuple[str, ...]) -> None:
    found = router(LAN, interface("uplink", "pppoe"), firewall=zones)
    assert found.wan(NOTHING).devices == ("pppoe-uplink",)
    assert found.lan(NOTHING).devices == ("br-lan",)


def test_without_zones() -> None:
    for firewall in ((), (zone("wan", "nosuch"),)):
        found = router(LAN, WAN, WAN6, firewall=firewall)
        assert (found.lan(NOTHING).devices, found.wan(NOTHING).devices) == (("br-lan",), ("eth1",))
    assert router(firewall=()).wan(NOTHING) == ((), ("wan",))


VPN = interface("wg0", "wireguard")


def test_a_vpn_is_not_watched_and_that_is_noted() -> None:
    zones = (*FIREWALL, zone("vpn", "wg0", masq="1"), forwarding("lan", "vpn"))
    found = router(LAN, WAN, VPN, firewall=zones, netifd=(up("wg0", "wg0"),))
    assert found.wan(NOTHING).devices == ("eth1",)
    (note,) = found.notes
    assert note == (
        "mail that leaves by wg0 (zone vpn, a VPN) is not watched; to watch it, set network.wan_network to wan wg0"
    )
    watched = router(LAN, WAN, VPN, firewall=zones)
    assert watched.wan(Chosen(networks=("wan", "wg0"))).devices == ("eth1", "wg0")
    assert watched.notes == []


def test_a_kill_switch() -> None:
    """All mail leaves by the VPN, and none by the line: both are known for what they are."""
    zones = (zone("lan", "lan"), zone("wan", "wan", masq="1"), zone("vpn", device=["tun0"], masq="1"))
    found = router(LAN, WAN, firewall=(*zones, forwarding("lan", "vpn")))
    assert (found.lan(NOTHING).devices, found.wan(NOTHING).devices) == (("br-lan",), ("eth1",))
    assert "tun0 (zone vpn, a VPN)" in found.notes[0]


def test_a_vpn_in_the_zone_of_the_line_is_a_way_out_like_others() -> None:
    zones = (zone("lan", "lan"), zone("wan", "wan", "wg0", masq="1"), forwarding("lan", "wan"))
    found = router(LAN, WAN, VPN, firewall=zones)
    assert found.wan(NOTHING).devices == ("eth1", "wg0")
    assert found.notes == []


def test_people_who_come_by_vpn_are_of_the_home() -> None:
    zones = (
        *FIREWALL,
        zone("vpn", "wg0"),
        forwarding("vpn", "wan"),
        forwarding("lan", "vpn"),
        forwarding("vpn", "lan"),
    )
    found = router(LAN, WAN, VPN, firewall=zones)
    assert found.lan(NOTHING).devices == ("br-lan", "wg0")
    assert found.wan(NOTHING).devices == ("eth1",)
    assert found.notes == []


def test_what_uci_names_counts_alone() -> None:
    lte = interface("lte", "qmi", device="/dev/cdc-wdm0")
    zones = (zone("lan", "lan"), zone("wan", "wan", "lte", masq="1"), forwarding("lan", "wan"))
    netifd = (up("lte", "wwan0"), made("lte_4", "wwan1", "dhcp"), made("wan_6", "eth2", "dhcpv6"))
    found = router(LAN, WAN, lte, firewall=zones, netifd=netifd)
    assert found.wan(Chosen(networks=("wan",))).devices == ("eth1", "eth2")
    assert found.wan(Chosen(devices=("eth9",))).devices == ("eth9",)
    assert found.wan(Chosen(("eth9",), ("lte",))).devices == ("eth9", "wwan0", "wwan1")
    assert found.wan(Chosen(networks=("nosuch",))) == ((), ("nosuch",))
    assert found.lan(Chosen(networks=("lan", "nosuch"))) == (("br-lan",), ("nosuch",))


def test_a_device_of_an_odd_name_keeps_no_other_from_being_watched() -> None:
    zones = (zone("lan", "lan"), zone("wan", "wan", "odd", device=['q"x', "eth5:1", "tun+"]), forwarding("lan", "wan"))
    found = router(LAN, WAN, interface("odd", device="averyveryverylongdevice"), firewall=zones)
    assert found.wan(NOTHING).devices == ("tun*", "eth1")
    assert [note.partition(" is ")[0] for note in found.notes] == ['"q"x"', '"eth5:1"', '"averyveryverylongdevice"']
    assert found.notes[1].startswith('"eth5:1" is not watched as wan; allowed: interface names of 1 to 15')
    assert found.wan(Chosen(devices=("eth5:1",))).devices == ("eth5:1",)  # UCI's own value is refused with its option


def test_more_devices_than_are_watched_are_noted() -> None:
    many = zone("wan", device=[f"eth{number}" for number in range(70)])
    found = router(LAN, firewall=(zone("lan", "lan"), many, forwarding("lan", "wan")))
    assert len(found.wan(NOTHING).devices) == 64
    assert found.notes == ["wan has 70 devices, of which the first 64 are watched"]


def test_a_disabled_network_is_no_way_out() -> None:
    old = interface("old", device="br-lan", disabled="1")
    zones = (zone("lan", "lan"), zone("wan", "wan", "old", "idle"), forwarding("lan", "wan"))
    found = router(LAN, WAN, old, interface("idle", device="eth2", auto="0"), firewall=zones)
    assert found.wan(NOTHING) == (("eth1", "eth2"), ())


def test_an_uplink_of_another_name_that_may_forward_into_the_home() -> None:
    zones = (zone("lan", "lan"), zone("up", "inet", masq="1"), forwarding("lan", "up"), forwarding("up", "lan"))
    found = router(LAN, interface("inet", device="eth7"), firewall=zones)
    assert (found.lan(NOTHING).devices, found.wan(NOTHING).devices) == (("br-lan",), ("eth7",))
