"""The kernel's table of neighbours: which MACs on an interface have answered for an address, over rtnetlink.

Knows rtnetlink's messages (linux/rtnetlink.h, linux/neighbour.h). Must not know devices, nor judge. A neighbour is
confirmed once it has answered ARP (RFC 826) or neighbour discovery (RFC 4861), or has asked for the router's address
itself. The latter can be made up, too, but takes a packet of its own for each MAC, and the kernel's table is bounded.
Reads alone, and needs no rights.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable
from time import monotonic

from cpe_filter.enforce.nfnetlink import attributes, messages
from cpe_filter.lean import plain_socket as socket

#: Neighbours that are looked at, of both families together; a home has a few dozen.
MOST = 1024

_NETLINK_ROUTE, _GETNEIGH, _NEWNEIGH = 0, 30, 28
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_MAC = 2  # NDA_LLADDR
#: nlmsghdr (length, type, flags, sequence, port) and ndmsg (family, interface, state, flags, type).
_HEADER, _NEIGHBOUR = struct.Struct("=IHHII"), struct.Struct("=BxxxiHBB")
# Bits of the state.
_REACHABLE, _STALE, _DELAY, _PROBE, _PERMANENT = 0x02, 0x04, 0x08, 0x10, 0x80
_CONFIRMED = _REACHABLE | _STALE | _DELAY | _PROBE | _PERMANENT
_TIMEOUT_S = 2.0
_DATAGRAM = 1 << 14


def confirmed(interfaces: Iterable[str]) -> set[bytes]:
    """The MACs (6 bytes) of confirmed neighbours on these interfaces, by IPv4 or IPv6.

    Interfaces that are not there have none. Of more than `MOST` neighbours the rest is not looked at. Raises OSError,
    after two seconds without an answer, too (TimeoutError).
    """
    wanted = {number for number, name in socket.if_nameindex() if name in set(interfaces)}
    found: set[bytes] = set()
    if not wanted:
        return found
    left = MOST
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        end = monotonic() + _TIMEOUT_S
        for sequence, family in enumerate((socket.AF_INET, socket.AF_INET6), 1):
            left = _dump(netlink, int(family), sequence, wanted, found, left, end)
    return found


def _dump(
    netlink: socket.socket, family: int, sequence: int, wanted: set[int], found: set[bytes], left: int, end: float
) -> int:
    """Adds the confirmed MACs of a family; returns how many more neighbours may be looked at."""
    body = _NEIGHBOUR.pack(family, 0, 0, 0, 0)
    netlink.send(_HEADER.pack(_HEADER.size + len(body), _GETNEIGH, _REQUEST | _DUMP, sequence, 0) + body)
    while left > 0:
        remaining = end - monotonic()
        if remaining <= 0:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        netlink.settimeout(remaining)
        for kind, _, number, content in messages(netlink.recv(_DATAGRAM)):
            if number != sequence:
                continue
            if kind in (_ERROR, _DONE):
                code = -struct.unpack_from("=i", content)[0] if len(content) >= 4 else 0
                if code:
                    raise OSError(code, os.strerror(code))
                return left
            if kind != _NEWNEIGH or len(content) < _NEIGHBOUR.size or left <= 0:
                continue
            _, interface, state, _, _ = _NEIGHBOUR.unpack_from(content)
            if interface not in wanted:
                continue
            left -= 1
            if state & _CONFIRMED:
                mac = dict(attributes(content[_NEIGHBOUR.size :])).get(_MAC, b"")
                if len(mac) == 6 and any(mac):
                    found.add(mac)
    return left
