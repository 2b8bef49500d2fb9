"""The router's default routes: by which interfaces traffic of the home may leave, over rtnetlink.

Knows rtnetlink's messages (linux/rtnetlink.h, linux/fib_rules.h, linux/if_link.h). Must not know which interfaces are
watched. Only reads, and needs no rights. Counts as default: routes to all, to either half, and to 2000::/3, in every
table that a rule for forwarded packets names. All reading is bounded. The kernel lists IPv4's default routes first, so
only the beginning of a table is read; IPv6's come last, so a table of more than some 8,000 routes hides them.
"""

from __future__ import annotations

import select
import struct
import sys
from collections.abc import Iterable, Iterator
from time import monotonic

from cpe_filter.lean import netlink
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.netlink import attributes, name
from cpe_filter.policy.interfaces import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Family = Literal[4, 6]

#: The most interfaces, rules and tables that are read of a router, and datagrams of one table.
MOST_LINKS, MOST_RULES, MOST_TABLES, _MOST_DATAGRAMS = 1024, 512, 64, {4: 3, 6: 64}
_DATAGRAM = 1 << 14
_TIMEOUT_S = 1.0
#: Bytes of notifications that the kernel keeps for `Changes`; beyond them it only says that there were more.
_KEPT = 1 << 14

_NEWLINK, _GETLINK, _NEWROUTE, _GETROUTE, _NEWRULE, _GETRULE = 16, 18, 24, 26, 32, 34
_STRICT = 12  # NETLINK_GET_STRICT_CHK: the kernel lists only the table that is asked for
#: Groups of notifications (RTNLGRP_...): links, routes and rules of both families.
_GROUPS = 1 << 0 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18
#: ifinfomsg (family, type, number, flags, change); rtmsg (family, lengths of destination and source, tos, table,
#: protocol, scope, type, flags); fib_rule_hdr (the same lengths, tos, table, two unused, action, flags).
_LINK = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=8BI")
#: rtnexthop (length, flags, hops, interface).
_NEXT_HOP = struct.Struct("=HBBi")
_NAME = 3  # IFLA_IFNAME
_UP = 1
_UNICAST, _DEAD = 1, 0x1
# Attributes of a route (RTA_...) and of a rule (FRA_...).
_DESTINATION, _SOURCE, _INTERFACE, _PRIORITY, _MULTIPATH, _TABLE = 1, 2, 4, 6, 9, 15
_RULE_INPUT, _SUPPRESS_LENGTH, _RULE_OUTPUT, _PROTOCOL, _SOURCE_PORTS, _PORTS = 3, 14, 17, 22, 23, 24
_TO_TABLE, _INVERTED = 1, 0x2
_LOCAL_TABLE, _USUAL_TABLES = 255, (254, 253)
#: Destinations, as address and prefix length, that lead to the Internet: all, either half, the global addresses.
_EVERYWHERE: dict[int, tuple[tuple[bytes, int], ...]] = {
    4: ((b"", 0), (b"", 1), (b"\x80", 1)),
    6: ((b"", 0), (b"", 1), (b"\x80", 1), (b"\x20", 3)),
}
_LONGEST = 3
_FAMILIES: dict[int, int] = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}


class Way(NamedTuple):
    """A default route's interface. standby: in its table another default route goes first.

    blind: whether a packet takes it cannot be known from its addresses and its mark: a rule asks for more, or the route
    has several interfaces.
    """

    interface: str
    family: Family
    table: int
    standby: bool
    blind: bool


class _Rules(NamedTuple):
    """Tables that forwarded packets may reach, and those among them that a blind rule names."""

    tables: tuple[int, ...]
    blind: frozenset[int]


def default_routes(lan: Iterable[str]) -> list[Way]:
    """All default routes of both families by interfaces that are up.

    lan: names of the home's interfaces, or patterns; a rule for packets that come in by another interface does not
    concern the home. Raises OSError.
    """
    patterns = tuple(lan)
    found: dict[Way, None] = {}
    with _connect() as kernel:
        links = _links(kernel)
        rules = {family: _rules(kernel, family, patterns) for family in _FAMILIES}
    for family, (tables, blind) in rules.items():
        for table in tables:
            for way in _of_table(family, table, links, table in blind):
                found[way] = None
    return list(found)


def _links(kernel: socket.socket) -> dict[int, str]:
    """Number and name of each interface that is up."""
    found: dict[int, str] = {}
    for content in _dump(kernel, _GETLINK, _NEWLINK, _LINK.pack(0, 0, 0, 0, 0), _LINK.size):
        _, _, number, flags, _ = _LINK.unpack_from(content)
        if flags & _UP:
            found[number] = name(dict(attributes(content[_LINK.size :])).get(_NAME, b"")).decode("utf-8", "replace")
        if len(found) >= MOST_LINKS:
            break
    return found


def _rules(kernel: socket.socket, family: int, lan: tuple[str, ...]) -> _Rules:
    tables: dict[int, None] = {}
    blind = set()
    body = _ROUTE.pack(_FAMILIES[family], 0, 0, 0, 0, 0, 0, 0, 0)
    for number, content in enumerate(_dump(kernel, _GETRULE, _NEWRULE, body, _ROUTE.size)):
        if number >= MOST_RULES or len(tables) >= MOST_TABLES:
            break
        table, some_only = _rule(content, lan)
        if table is not None:
            tables[table] = None
            if some_only:
                blind.add(table)
    return _Rules(tuple(tables) or _USUAL_TABLES, frozenset(blind))


def _rule(content: bytes, lan: tuple[str, ...]) -> tuple[int | None, bool]:
    """The table to which a rule leads packets of the home, and whether only some of them; None if it leads to none."""
    action, flags = content[7], _number(content[8:12])
    given = dict(attributes(content[_ROUTE.size :]))
    table = _number(given[_TABLE]) if len(given.get(_TABLE, b"")) == 4 else content[4]
    incoming = name(given.get(_RULE_INPUT, b"")).decode("utf-8", "replace")
    suppressed = given.get(_SUPPRESS_LENGTH, b"\xff\xff\xff\xff") != b"\xff\xff\xff\xff"
    of_others = incoming != "" and not matches(incoming, lan) and not flags & _INVERTED
    if action != _TO_TABLE or table == _LOCAL_TABLE or suppressed or of_others or _RULE_OUTPUT in given:
        return None, False
    return table, bool(incoming or content[3] or given.keys() & {_PROTOCOL, _SOURCE_PORTS, _PORTS})


def _of_table(family: int, table: int, links: dict[int, str], blind: bool) -> list[Way]:
    """The ways of a table. Raises OSError."""
    routes: list[tuple[bytes, int, list[str]]] = []  # destination and source, metric, interfaces
    request = _ROUTE.pack(_FAMILIES[family], 0, 0, 0, table if table < 256 else 0, 0, 0, 0, 0)
    request += netlink.attribute(_TABLE, table.to_bytes(4, sys.byteorder))
    with _connect() as kernel:
        try:
            for content in _dump(kernel, _GETROUTE, _NEWROUTE, request, _ROUTE.size, _MOST_DATAGRAMS[family]):
                route = _default(family, table, content, links)
                if route is not None:
                    routes.append(route)
        except FileNotFoundError:  # the table has no route
            return []
    best = {to: min(metric for other, metric, _ in routes if other == to) for to, _, _ in routes}
    return [
        Way(interface, 4 if family == 4 else 6, table, metric > best[to], blind or len(set(interfaces)) > 1)
        for to, metric, interfaces in routes
        for interface in interfaces
    ]


def _default(family: int, table: int, content: bytes, links: dict[int, str]) -> tuple[bytes, int, list[str]] | None:
    """Destination and source, metric and interfaces of a default route; None for any other message."""
    length, kind, flags = content[1], content[7], _number(content[8:12])
    if length > _LONGEST or kind != _UNICAST or flags & _DEAD:
        return None
    given = dict(attributes(content[_ROUTE.size :]))
    its_table = _number(given.get(_TABLE, content[4:5]))
    to = given.get(_DESTINATION, b"").rstrip(b"\0")
    if its_table != table or (to, length) not in _EVERYWHERE[family]:
        return None
    numbers = [_number(given[_INTERFACE])] if len(given.get(_INTERFACE, b"")) == 4 else []
    numbers += _next_hops(given.get(_MULTIPATH, b""))
    metric = _number(given.get(_PRIORITY, b""))
    return (
        to + bytes((length,)) + given.get(_SOURCE, b""),
        metric,
        [links[number] for number in dict.fromkeys(numbers) if number in links],
    )


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def _next_hops(data: bytes) -> list[int]:
    """The numbers of the interfaces of a route's next hops."""
    found = []
    at = 0
    while at + _NEXT_HOP.size <= len(data):
        length, flags, _, number = _NEXT_HOP.unpack_from(data, at)
        if length < _NEXT_HOP.size:
            break
        if not flags & _DEAD:
            found.append(number)
        at += (length + 3) & ~3
    return found


def _connect() -> socket.socket:
    """Raises OSError."""
    kernel = netlink.connect(netlink.NETLINK_ROUTE, _TIMEOUT_S)
    try:
        kernel.setsockopt(netlink.SOL_NETLINK, _STRICT, 1)
    except OSError:
        pass  # an old kernel lists all tables
    return kernel


def _dump(
    kernel: socket.socket, request: int, answer: int, body: bytes, least: int, most: int = 1024
) -> Iterator[bytes]:
    """The content of each message of a list, as `netlink.dump` has it, within `_TIMEOUT_S`. Raises OSError."""
    message = netlink.message(request, netlink.REQUEST | netlink.DUMP, request, body)
    return netlink.dump(kernel, message, answer, least, monotonic() + _TIMEOUT_S, most)


class Changes:
    """The kernel's notifications that routes, rules or links have changed, registered with `poll` while it waits.

    However many come, the daemon is woken once; it asks `changed` when it has time, and is woken again after that.
    """

    def __init__(self, poll: select.poll) -> None:
        """Raises OSError."""
        self._socket = netlink.connect(netlink.NETLINK_ROUTE, groups=_GROUPS)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KEPT)
        self.fd = self._socket.fileno()
        self._poll = poll
        self._changed = False
        poll.register(self.fd, select.POLLIN)

    def serve(self) -> None:
        """Something has changed: what it is does not matter."""
        if not self._changed:
            self._changed = True
            self._poll.unregister(self.fd)

    def changed(self) -> bool:
        """Whether something has changed since the last call."""
        if not self._changed:
            return False
        try:
            for _ in range(_KEPT // netlink.HEADER.size):
                self._socket.recv(_DATAGRAM)
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: more than the kernel kept; what is left wakes us again
            pass
        self._changed = False
        self._poll.register(self.fd, select.POLLIN)
        return True

    def close(self) -> None:
        if not self._changed:
            self._poll.unregister(self.fd)
        self._socket.close()
