"""A network's device, while it is up and while it is down."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.uci.devices import Devices
from tests.uci.router import dump, interface, sections, up


def devices(
    *network: str, up_: dict[str, str] | None = None, seen: dict[str, str] | None = None, sys: str = "/x"
) -> Devices:
    known = {one.name: one for one in sections(*network)}
    return Devices(known, dump(*(up(name, device) for name, device in (up_ or {}).items())), seen or {}, sys)


@pytest.mark.parametrize(
    ("proto", "options", "device"),
    [
        ("dhcp", {"device": "eth1"}, "eth1"),
        ("dhcp", {"device": "br-wan.7"}, "br-wan.7"),
        ("dhcp", {"ifname": "eth0.2 eth0.3"}, "eth0.2"),
        ("pppoe", {"device": "eth0.7"}, "pppoe-net"),
        ("pppoe", {"device": "eth0.7", "pppname": "dsl0"}, "dsl0"),
        ("3g", {"device": "/dev/ttyUSB0"}, "3g-net"),
        ("l2tp", {}, "l2tp-net"),
        ("dslite", {}, "ds-net"),
        ("464xlat", {}, "464-net"),
        ("map", {}, "map-net"),
        ("6in4", {}, "6in4-net"),
        ("wireguard", {}, "net"),
        ("qmi", {"device": "/dev/cdc-wdm1"}, "wwan1"),
        ("ncm", {"device": "/dev/ttyUSB2"}, ""),
        ("none", {}, ""),
    ],
)
def test_the_name_that_a_network_will_get(proto: str, options: dict[str, str], device: str) -> None:
    assert devices(interface("net", proto, **options)).of("net") == device


def test_what_netifd_has_comes_first() -> None:
    assert devices(interface("wan", "pppoe", device="eth0"), up_={"wan": "ppp9"}).of("wan") == "ppp9"


def test_what_a_network_had_counts_while_nothing_else_says() -> None:
    modem = interface("lte", "ncm", device="/dev/ttyUSB2")
    assert devices(modem, seen={"lte": "usb0"}).of("lte") == "usb0"
    assert devices(seen={"wan6_4": "ds-wan6_4"}).of("wan6_4") == "ds-wan6_4"
    assert devices(interface("wan", device="eth2"), seen={"wan": "eth1"}).of("wan") == "eth2"
    found = devices(modem, up_={"lte": "usb1"}, seen={"lte": "usb0"})
    assert (found.of("lte"), found.seen) == ("usb1", {"lte": "usb1"})


def test_aliases_have_the_device_of_another() -> None:
    wan = interface("wan", "pppoe", device="eth0")
    assert devices(wan, interface("wan6", "dhcpv6", device="@wan")).of("wan6") == "pppoe-wan"
    assert devices(interface("a", device="@b"), interface("b", device="@a")).of("a") == ""


def test_a_name_that_the_kernel_could_not_have_is_none() -> None:
    assert devices(interface("a_long_network", "pppoe")).of("a_long_network") == ""


@pytest.mark.parametrize(
    ("device", "folder"),
    [
        ("/dev/cdc-wdm0", "class/usbmisc/cdc-wdm0/device/net/wwp1"),
        ("/dev/ttyUSB2", "class/tty/ttyUSB2/device/../net/wwp1"),
        ("/sys/devices/pci/usb1/1-1", "devices/pci/usb1/1-1/1-1:1.4/net/wwp1"),
    ],
)
def test_a_modem_that_is_plugged_in_shows_its_device(tmp_path: Path, device: str, folder: str) -> None:
    (tmp_path / folder.replace("device/../", "device/")).mkdir(parents=True)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    assert devices(interface("lte", "ncm", device=device), sys=str(tmp_path)).of("lte") == "wwp1"


def test_a_path_does_not_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "net" / "x").mkdir(parents=True)
    assert devices(interface("lte", "ncm", device="/sys/../"), sys=str(tmp_path / "sys")).of("lte") == ""
