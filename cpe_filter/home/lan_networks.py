"""The home's own networks, read from /proc/net: without a program and without netlink.

Knows the format of these files. Must not know packets or devices.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from cpe_filter.policy.interfaces import matches

_MAX_BYTES = 1 << 18
_UP, _REJECT = 0x0001, 0x0200  # flags of a route: linux/route.h
_GLOBAL, _SITE = 0x00, 0x40  # scopes of an address: linux/ipv6.h


def on_link(interfaces: Iterable[str], folder: str = "/proc/net") -> list[IPv4Network | IPv6Network]:
    """The networks of these interfaces. Files that cannot be read add nothing."""
    names = tuple(interfaces)
    return [*_routes4(folder, names), *_addresses6(folder, names)]


def own_addresses(interfaces: Iterable[str], folder: str = "/proc/net") -> list[str]:
    """This router's IPv4 addresses in the networks of these interfaces, at most four."""
    networks = _routes4(folder, tuple(interfaces))
    found, address = {}, ""
    for fields in _lines(f"{folder}/fib_trie"):
        if fields[:1] == ["|--"] and len(fields) == 2:
            address = fields[1]
        elif fields[1:] == ["host", "LOCAL"] and address:
            try:
                number = IPv4Address(address)
            except ValueError:
                continue
            if any(number in network for network in networks):
                found[number] = address
    return list(found.values())[:4]


def _routes4(folder: str, names: tuple[str, ...]) -> list[IPv4Network]:
    """Routes without a gateway: they cover an interface's further addresses, too."""
    found = []
    for fields in _lines(f"{folder}/route"):
        try:
            name, destination, gateway, flags, mask = fields[0], fields[1], fields[2], int(fields[3], 16), fields[7]
            if not matches(name, names) or int(gateway, 16) or not flags & _UP or flags & _REJECT or not int(mask, 16):
                continue
            found.append(IPv4Network((_host_order(destination), bin(int(mask, 16)).count("1")), strict=False))
        except (IndexError, ValueError, OverflowError):
            continue  # the headline, among others
    return found


def _host_order(text: str) -> bytes:
    return int(text, 16).to_bytes(4, sys.byteorder)


def _addresses6(folder: str, names: tuple[str, ...]) -> list[IPv6Network]:
    """The /64 around each address. OpenWrt's LAN may have a /60: all but the first /64 is for routers behind it."""
    found = []
    for fields in _lines(f"{folder}/if_inet6"):
        try:
            address, length, scope, name = bytes.fromhex(fields[0]), int(fields[2], 16), int(fields[3], 16), fields[5]
            if matches(name, names) and scope in (_GLOBAL, _SITE):
                found.append(IPv6Network((address, max(64, length)), strict=False))
        except (IndexError, ValueError):
            continue
    return found


def _lines(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return [line.split() for line in file.read(_MAX_BYTES).split("\n")]
    except OSError:
        return []
