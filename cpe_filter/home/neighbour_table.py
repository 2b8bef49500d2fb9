"""The kernel's table of neighbours: which MAC on an interface has answered for an address, over rtnetlink.

Knows rtnetlink's messages (linux/rtnetlink.h, linux/neighbour.h). Must not know devices, nor judge. A neighbour is
confirmed once it has answered ARP (RFC 826) or neighbour discovery (RFC 4861), or has asked for the router's address. A
question can be forged, too, but takes a packet for each MAC, and the kernel's table is bounded. Only reads, and needs
no rights.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from errno import ENOENT
from time import monotonic

from cpe_filter.lean import netlink
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.netlink import attribute, attributes
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


def confirmed(interfaces: Iterable[str]) -> dict[bytes, bytes]:
    """The packed addresses of confirmed neighbours on these interfaces, IPv4 and IPv6, with their MACs (6 bytes).

    Interfaces that do not exist have none. At most `MOST` neighbours are read. Raises OSError, also after two seconds
    without an answer (TimeoutError).
    """
    names = tuple(interfaces)
    numbers = {number for number, name in socket.if_nameindex() if matches(name, names)}
    found: dict[bytes, bytes] = {}
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
                address, mac = _ends(data) if state & _CONFIRMED else (b"", b"")
                if address and mac:
                    found[address] = mac
    return found


def _ends(data: bytes) -> tuple[bytes, bytes]:
    """Address and MAC of a neighbour's attributes; b"" for one that it does not have."""
    found = dict(attributes(data))
    mac = found.get(_MAC, b"")
    return found.get(_ADDRESS, b""), mac if len(mac) == 6 and any(mac) else b""


def _dump(kernel: socket.socket, family: int, sequence: int, end: float) -> Iterator[tuple[int, int, bytes]]:
    """Interface, state and attributes of each neighbour of a family. end: of time.monotonic(). Raises OSError."""
    body = _NEIGHBOUR.pack(family, 0, 0, 0, 0)
    request = netlink.message(_GETNEIGH, netlink.REQUEST | netlink.DUMP, sequence, body)
    for content in netlink.dump(kernel, request, _NEWNEIGH, _NEIGHBOUR.size, end):
        _, interface, state, _, _ = _NEIGHBOUR.unpack_from(content)
        yield interface, state, content[_NEIGHBOUR.size :]


def macs_of(address: bytes, interfaces: Iterable[str]) -> set[bytes]:
    """The MACs that have answered for this address (packed) on these interfaces: one, if no address is used twice.

    Asks for each interface alone, so no crowd of other neighbours hides this one. Raises OSError as `confirmed` does.
    """
    names = tuple(interfaces)
    family = int(socket.AF_INET if len(address) == 4 else socket.AF_INET6)
    found = set()
    with netlink.connect(netlink.NETLINK_ROUTE, _TIMEOUT_S) as kernel:
        end = monotonic() + _TIMEOUT_S
        numbers = [number for number, name in socket.if_nameindex() if matches(name, names)]
        for sequence, interface in enumerate(numbers, 1):
            body = _NEIGHBOUR.pack(family, interface, 0, 0, 0) + attribute(_ADDRESS, address)
            request = netlink.message(_GETNEIGH, netlink.REQUEST | netlink.ACKNOWLEDGE, sequence, body)
            try:
                for content in netlink.dump(kernel, request, _NEWNEIGH, _NEIGHBOUR.size, end):
                    _, _, state, _, _ = _NEIGHBOUR.unpack_from(content)
                    found.add(_ends(content[_NEIGHBOUR.size :])[1] if state & _CONFIRMED else b"")
            except OSError as error:
                if error.errno != ENOENT:
                    raise
    return found - {b""}


def mac_of(address: bytes, interfaces: Iterable[str]) -> bytes:
    """The MAC that has this address (packed) on one of these interfaces; b"" if the kernel knows none, or several.

    Raises OSError as `confirmed` does.
    """
    found = macs_of(address, interfaces)
    return found.pop() if len(found) == 1 else b""
