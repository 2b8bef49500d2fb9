"""Router Advertisements made by hand, with prefixes of NAT64 (RFC 4861, RFC 8781), and how a host of the lab sends one.

Knows packet sockets. Must not know the filter. No library corrects a message: a test may ask for any length, hop limit,
source and checksum.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Network

from tests.lab.net import Lab
from tests.lab.netns import inside
from tests.lab.rawtcp import checksum, packed

#: The place of a prefix length in this list is its code.
LENGTHS = (96, 64, 56, 48, 40, 32)
ALL_NODES, UPSTREAM = "ff02::1", "fe80::1"
SOURCE_ADDRESS = b"\1\1\2\0\0\0\2\1"  # an option that says nothing of NAT64
_ICMPV6 = 58


def pref64(prefix: str, lifetime_s: int = 1800, code: int | None = None, length: int = 2) -> bytes:
    """The option. lifetime_s: a multiple of 8, at most 65528. length: in units of 8 bytes, as the option has it."""
    network = IPv6Network(prefix)
    code = LENGTHS.index(network.prefixlen) if code is None else code
    return struct.pack("!BBH", 38, length, lifetime_s | code) + network.network_address.packed[:12]


def message(*options: bytes, kind: int = 134, code: int = 0) -> bytes:
    """From the ICMPv6 header on, with a checksum of 0."""
    return struct.pack("!BBHBBHII", kind, code, 0, 64, 0, 1800, 0, 0) + b"".join(options)


def advertisement(
    *options: bytes, source: str = UPSTREAM, to: str = ALL_NODES, hop_limit: int = 255, wrong_checksum: bool = False
) -> bytes:
    """An IPv6 packet."""
    body = message(*options)
    number = checksum(packed(source) + packed(to) + struct.pack("!II", len(body), _ICMPV6) + body) ^ wrong_checksum
    head = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, hop_limit) + packed(source) + packed(to)
    return head + body[:2] + struct.pack("!H", number) + body[4:]


def advertise(lab: Lab, packet: bytes, host: str = "internet", interface: str = "isp") -> None:
    """Has a host send it to all nodes of the link."""
    with inside(lab.namespace(host)), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sending:
        sending.sendto(packet, (interface, 0x86DD, 0, 0, bytes.fromhex("333300000001")))
