"""The kernel's table of neighbours: MACs on an interface that have answered for an address, over rtnetlink.

Knows rtnetlink's messages (linux/rtnetlink.h, linux/neighbour.h). Must not know devices, nor judge. A neighbour is
confirmed once it has answered ARP (RFC 826) or neighbour discovery (RFC 4861), or has asked for the router's address. A
question can be forged, too, but takes a packet for each MAC, and the kernel's table is bounded. Only reads, and needs
no rights.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from time import monotonic

from cpe_filter.lean import netlink
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.netlink import attributes
from cpe_filter.policy.interfaces import matches

#: The most neighbours that are read, of both families together; a home has a few dozen.
MOST = 1024

_GETNEIGH, _NEWNEIGH = 30, 28
_ADDRESS, _MAC = 1, 2  # NDA_DST, NDA_LLADDR
#: ndmsg (family, interface, state, flags, type).
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
# Bits of the state.
_REACHABLE, _STALE, _DELAY, _PROBE, _PERMANENT = 0x02, 0x04, 0x08, 0x10, 0x80
_CONFIRMED = _REACHABLE | _STALE | _DELAY | _PROBE | _PERMANENT
_TIMEOUT_S = 2.0


def confirmed(interfaces: Iterable[str]) -> set[bytes]:
    """The MACs (6 bytes) of confirmed neighbours on these interfaces, by IPv4 or IPv6.

    Interfaces that do not exist have none. At most `MOST` neighbours are read. Raises OSError, also after two seconds
    without an answer (TimeoutError).
    """
    names = tuple(interfaces)
    numbers = {number for number, name in socket.if_nameindex() if matches(name, names)}
    found: set[bytes] = set()
    if not numbers:
        return found
    left = MOST
    with netlink.connect(netlink.NETLINK_ROUTE, _TIMEOUT_S) as kernel:
        end = monotonic() + _TIMEOUT_S
        for sequence, family in enumerate((socket.AF_INET, socket.AF_INET6), 1):
            for interface, state, data in _dump(kernel, int(family), sequence, end):
                if interface not in numbers:
                    continue
                left -= 1
                if left < 0:
                    return found
                mac = dict(attributes(data)).get(_MAC, b"") if state & _CONFIRMED else b""
                if len(mac) == 6 and any(mac):
                    found.add(mac)
    return found


def _dump(kernel: socket.socket, family: int, sequence: int, end: float) -> Iterator[tuple[int, int, bytes]]:
    """Interface, state and attributes of each neighbour of a family. end: of time.monotonic(). Raises OSError."""
    body = _NEIGHBOUR.pack(family, 0, 0, 0, 0)
    request = netlink.message(_GETNEIGH, netlink.REQUEST | netlink.DUMP, sequence, body)
    for content in netlink.dump(kernel, request, _NEWNEIGH, _NEIGHBOUR.size, end):
        _, interface, state, _, _ = _NEIGHBOUR.unpack_from(content)
        yield interface, state, content[_NEIGHBOUR.size :]


def mac_of(address: bytes, interfaces: Iterable[str]) -> bytes:
    """The MAC that has this address (packed) on one of these interfaces; b"" if the kernel knows none.

    Raises OSError as `confirmed` does.
    """
    names = tuple(interfaces)
    numbers = {number for number, name in socket.if_nameindex() if matches(name, names)}
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    with netlink.connect(netlink.NETLINK_ROUTE, _TIMEOUT_S) as kernel:
        for count, (interface, state, data) in enumerate(_dump(kernel, int(family), 1, monotonic() + _TIMEOUT_S)):
            if count >= MOST:
                break
            if interface in numbers and state & _CONFIRMED:
                found = dict(attributes(data))
                mac = found.get(_MAC, b"")
                if found.get(_ADDRESS) == address and len(mac) == 6 and any(mac):
                    return mac
    return b""
