"""The home's networks from /proc/net: files as Linux writes them, odd ones, and the real kernel's."""

from __future__ import annotations

import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from cpe_filter.home.lan_networks import on_link, own_addresses
from tests.lab.net import PYTHON, Lab

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def word(address: str) -> str:
    """An IPv4 address as /proc/net/route has it: a number in the machine's byte order."""
    return f"{int.from_bytes(ip_address(address).packed, sys.byteorder):08X}"


def route(name: str, network: str, gateway: str = "0.0.0.0", flags: int = 1) -> str:
    net = ip_network(network)
    return (
        f"{name}\t{word(str(net.network_address))}\t{word(gateway)}\t{flags:04X}\t0\t0\t0\t{word(str(net.netmask))}"
        "\t0\t0\t0                                                                               \n"
    )


def address6(address: str, length: int, scope: int, name: str) -> str:
    return f"{ip_address(address).packed.hex()} 05 {length:02x} {scope:02x} 80 {name:>8}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "route").write_text(
        HEAD
        + route("wan", "0.0.0.0/0", "192.0.2.254", 3)
        + route("br-lan", "192.168.1.0/24")
        + route("br-lan", "10.1.0.0/22")
        + route("br-lan", "192.168.7.0/24", "192.168.1.2", 3)
        + route("br-lan", "0.0.0.0/0")
        + route("br-lan", "10.9.0.0/16", flags=0x201)
        + route("wg0", "10.0.0.0/8")
        + "br-lan\tzz\nbr-lan\n\n"
    )
    (tmp_path / "if_inet6").write_text(
        address6("2001:db8:1::1", 60, 0, "br-lan")
        + address6("fd00:1::1", 64, 0, "br-lan")
        + address6("2001:db8:9::1", 128, 0, "br-lan")
        + address6("fe80::1", 64, 0x20, "br-lan")
        + address6("2001:db8:3::1", 64, 0, "wg0")
        + "nonsense\nxx 05 40 00 80 br-lan\n"
    )
    return tmp_path


def test_networks_of_the_interfaces_asked_for(folder: Path) -> None:
    assert [str(network) for network in on_link(["br-lan"], str(folder))] == [
        "192.168.1.0/24",
        "10.1.0.0/22",
        "2001:db8:1::/64",  # of the /60 the rest is for routers in the home
        "fd00:1::/64",
        "2001:db8:9::1/128",
    ]
    assert [str(network) for network in on_link(["wan", "wg0"], str(folder))] == ["10.0.0.0/8", "2001:db8:3::/64"]


def test_missing_and_odd_files(tmp_path: Path) -> None:
    assert on_link(["br-lan"], str(tmp_path)) == []
    for content in (b"\0\xff" * 1000, b"br-lan " * 20 + b"\n", b"br-lan 1 0 1 0 0 0 FFFFFFFFFF 0\n"):
        (tmp_path / "route").write_bytes(content)
        (tmp_path / "if_inet6").write_bytes(content)
        assert on_link(["br-lan"], str(tmp_path)) == []


@pytest.mark.live
def test_as_the_kernel_writes_them(live: None) -> None:
    with Lab(devices=1) as lab:
        lab.run("router", ["ip", "addr", "add", "10.1.0.1/22", "dev", "br-lan"])
        lab.run("router", ["ip", "route", "add", "192.168.7.0/24", "via", "192.168.1.101"])
        lab.run("router", ["ip", "-6", "addr", "add", "fd00:1::1/60", "dev", "br-lan", "nodad"])
        program = "from cpe_filter.home.lan_networks import on_link, own_addresses;print(*on_link(['br-lan', 'wan']))"
        assert sorted(lab.run("router", [PYTHON, "-c", program]).stdout.split()) == sorted(
            ["192.168.1.0/24", "10.1.0.0/22", "2001:db8:1::/64", "fd00:1::/64", "192.0.2.0/24", "2001:db8:2::/64"]
        )


def test_the_router_s_own_addresses(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(
        HEAD + route("wan", "192.0.2.0/24") + route("br-lan", "192.168.1.0/24") + route("br-guest", "192.168.9.0/24")
    )
    hosts = ("127.0.0.1", "192.0.2.7", "192.168.1.1", "192.168.9.1", "x.y")
    trie = "".join(f"     |-- {host}\n        /32 host LOCAL\n" for host in hosts)
    (tmp_path / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.168.1.0\n        /24 link UNICAST\n" + trie + "Local:\n" + trie
    )
    folder = str(tmp_path)
    assert own_addresses(["br-*"], folder) == ["192.168.1.1", "192.168.9.1"]
    assert own_addresses(["br-guest"], folder) == ["192.168.9.1"]
    assert own_addresses(["eth7"], folder) == []
    assert own_addresses(["br-lan"], str(tmp_path / "none")) == []


@pytest.mark.live
def test_the_router_s_own_addresses_by_the_kernel(lab: Lab) -> None:
    program = f"from cpe_filter.home.lan_networks import own_addresses; print(own_addresses({lab.lan!r}))"
    assert lab.run("router", [PYTHON, "-c", program]).stdout == "['192.168.1.1']\n"
