"""nftables over netlink: lists of what is in the kernel, notifications of changes, and transactions.

Knows nftables' messages (linux/netfilter/nf_tables.h). Must not know what a ruleset is for. The program nft loads a
ruleset; this module makes changes between packets. The program takes 2.6 ms of CPU, and ten times that on a router; a
transaction of a set element takes 30 us.
"""

from __future__ import annotations

import errno

from cpe_filter.inputs import printable
from cpe_filter.lean import netlink
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.netlink import attribute, attributes, messages, name, netfilter_header

#: Families (linux/netfilter.h, NFPROTO_...). `ANY` lists those of all.
ANY, INET, IPV4, IPV6 = 0, 1, 2, 10
FAMILIES = {0: "any", 1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

# Kinds of objects; the numbers are those of a message that adds one (NFT_MSG_NEW...).
TABLE, CHAIN, RULE, SET, ELEMENT, GENERATION, OBJECT, FLOWTABLE = 0, 3, 6, 9, 12, 15, 18, 22
#: The number of a message that removes an object (NFT_MSG_DEL...) is by 2 higher than that of one that adds it.
_TAKEN_AWAY = {what + 2: what for what in (TABLE, CHAIN, RULE, SET, ELEMENT, OBJECT, FLOWTABLE)}

_SUBSYSTEM = 10 << 8
_ADD_MEMBERSHIP, _GROUP_NFTABLES = 1, 7
_CREATE, _APPEND = 0x400, 0x800
#: Messages that open and end a transaction (linux/netfilter/nfnetlink.h).
_BEGIN, _END = 16, 17
# Attributes of a list of a set's elements, and of an element (linux/netfilter/nf_tables.h).
_ELEMENTS_TABLE, _ELEMENTS_SET, _ELEMENTS, _ELEMENT_KEY = 1, 2, 3, 1
_TIMEOUT_S = 2.0
#: How often a set is read while its hash table grows.
_READINGS = 6
#: Bytes of a datagram. The kernel makes the datagrams of a list no longer than the reader's buffer.
_LISTED, _TOLD = 1 << 14, 1 << 16
#: Bytes of one list. A set of a thousand networks has 60,000.
_LONGEST = 16 << 20


class Change(NamedTuple):
    """A change. what: TABLE, CHAIN, ...; family, table: where; name: the set of an ELEMENT, else b"".

    by: the program, for a GENERATION.
    """

    what: int
    family: int
    table: bytes
    name: bytes
    by: str


def listing(what: int, family: int, *given: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    """Family and attributes of all objects of a kind. `given`: attributes of the request, names with their NUL.

    Raises OSError: FileNotFoundError if a table or set that `given` names does not exist.
    """
    with netlink.connect(netlink.NETLINK_NETFILTER, _TIMEOUT_S) as kernel:
        for sequence in range(1, 5):
            found = _list_once(kernel, what, family, given, sequence)
            if found is not None:
                return found
    raise OSError(errno.EAGAIN, "the ruleset changes faster than it can be read")


def set_elements(table: bytes, set_name: bytes) -> list[bytes]:
    """The attributes of each element of a set of family inet, each element's as one value. Raises OSError.

    The kernel walks a hash table in pieces. If the table grows meanwhile, elements are missing from the list or come
    twice. So the set is read until two readings have the same keys, at most `_READINGS` times.
    """
    given = ((_ELEMENTS_TABLE, table + b"\0"), (_ELEMENTS_SET, set_name + b"\0"))
    found: list[bytes] = []
    before: list[bytes] | None = None
    for _ in range(_READINGS):
        found = []
        for _, data in listing(ELEMENT, INET, *given):
            found += [element for _, element in attributes(dict(attributes(data)).get(_ELEMENTS, b""))]
        keys = sorted([dict(attributes(element)).get(_ELEMENT_KEY, b"") for element in found])
        if keys == before:
            break
        before = keys
    return found


def _list_once(
    kernel: socket.socket, what: int, family: int, given: tuple[tuple[int, bytes], ...], sequence: int
) -> list[tuple[int, bytes]] | None:
    """One try; None if the ruleset changed meanwhile."""
    request = netfilter_header(family, 0) + b"".join([attribute(kind, value) for kind, value in given])
    flags = netlink.REQUEST | netlink.DUMP
    kernel.send(netlink.message(_SUBSYSTEM | (what + 1), flags, sequence, request))
    found: list[tuple[int, bytes]] = []
    whole, size = True, 0
    while True:
        datagram = kernel.recv(_LISTED)
        size += len(datagram)
        if size > _LONGEST:
            raise OSError(errno.EFBIG, "the list has no end")
        for kind, flags, number, content in messages(datagram):
            if number != sequence:
                continue
            whole = whole and not flags & netlink.DUMP_INTERRUPTED
            if kind in (netlink.ERROR, netlink.DONE):
                try:
                    netlink.raise_error(content)
                except InterruptedError:
                    return None
                return found if whole else None
            if kind == _SUBSYSTEM | what and len(content) >= 4:
                found.append((content[0], content[4:]))


class Request(NamedTuple):
    """One change of a transaction. what: TABLE, CHAIN, ...; remove: whether to remove it; body: its attributes."""

    what: int
    remove: bool
    body: bytes


class Transactions:
    """A socket for changes to nftables, each all or nothing. Close it at the end."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = netlink.connect(netlink.NETLINK_NETFILTER)
        self._sequence = 0

    def commit(self, requests: list[Request]) -> None:
        """Makes these changes to tables of family inet, in order, or none of them. Raises OSError.

        The kernel carries them out, or refuses them, while the message is being sent. So this never waits.
        """
        self._sequence = first = self._sequence + 1 & 0x3FFFFFFF
        border = netfilter_header(0, _SUBSYSTEM >> 8)
        parts = [netlink.message(_BEGIN, netlink.REQUEST, first, border)]
        for number, (what, remove, body) in enumerate(requests, 1):
            flags = netlink.REQUEST if remove else netlink.REQUEST | _CREATE | (_APPEND if what == RULE else 0)
            if number == len(requests):
                flags |= netlink.ACKNOWLEDGE
            content = netfilter_header(INET, 0) + body
            parts.append(netlink.message(_SUBSYSTEM | what + 2 * remove, flags, first, content))
        parts.append(netlink.message(_END, netlink.REQUEST, first, border))
        self._socket.send(b"".join(parts))
        answered = False
        try:
            while True:
                for kind, _, sequence, content in messages(self._socket.recv(_LISTED)):
                    if kind == netlink.ERROR and sequence == first:
                        netlink.raise_error(content)
                        answered = True
        except BlockingIOError:
            pass
        if not answered:
            raise OSError(errno.EIO, "the kernel did not answer")

    def close(self) -> None:
        self._socket.close()


def news() -> socket.socket:
    """A socket on which the kernel reports each change of nftables; read it with `changes`. Raises OSError."""
    kernel = netlink.connect(netlink.NETLINK_NETFILTER)
    try:
        kernel.setsockopt(netlink.SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
    except OSError:
        kernel.close()
        raise
    return kernel


def changes(kernel: socket.socket) -> list[Change]:
    """The changes in the next datagram.

    Raises BlockingIOError if nothing waits, and OSError (ENOBUFS) if notifications were lost.
    """
    found = []
    for kind, _, _, content in messages(kernel.recv(_TOLD)):
        if kind & 0xFF00 != _SUBSYSTEM or len(content) < 4:
            continue
        what = _TAKEN_AWAY.get(kind & 0xFF, kind & 0xFF)
        if what == GENERATION:
            found.append(Change(what, content[0], b"", b"", _program(content[4:])))
            continue
        table = set_name = b""
        for number, value in attributes(content[4:]):
            if number == 1:  # NFTA_..._TABLE
                table = name(value)
                if what != ELEMENT:
                    break
            elif number == 2:  # NFTA_SET_ELEM_LIST_SET
                set_name = name(value)
                break
        if table:
            found.append(Change(what, content[0], table, set_name, ""))
    return found


def _program(data: bytes) -> str:
    """`nft (pid 123)`: the program that made a generation."""
    given = dict(attributes(data))
    called = name(given.get(3, b"")).decode("ascii", "replace")
    process = int.from_bytes(given.get(2, b""), "big")
    return f"{printable(called)} (pid {process})" if called else ""
