"""nftables over netlink: lists of what is in the kernel, news of changes, and transactions.

Knows netlink's messages and attributes (linux/netlink.h, linux/netfilter/nf_tables.h). Must not know what a ruleset is
for. A ruleset goes into the kernel by the program nft; here goes what is changed between packets. The program takes
2.6 ms of CPU, on a router ten times that; a transaction of a set element takes 30 us.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator

from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.named_tuple import NamedTuple

#: Families (linux/netfilter.h, NFPROTO_...). `ANY` lists those of all.
ANY, INET, IPV4, IPV6 = 0, 1, 2, 10
FAMILIES = {0: "any", 1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

# What is listed or told of; the numbers are those of a message that brings one (NFT_MSG_NEW...).
TABLE, CHAIN, RULE, SET, ELEMENT, GENERATION, OBJECT, FLOWTABLE = 0, 3, 6, 9, 12, 15, 18, 22
#: A message that takes something away (NFT_MSG_DEL...) has the number of one that brings it, and 2 more.
_TAKEN_AWAY = {what + 2: what for what in (TABLE, CHAIN, RULE, SET, ELEMENT, OBJECT, FLOWTABLE)}

_NETLINK_NETFILTER, _SUBSYSTEM = 12, 10 << 8
_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES = 270, 1, 7
_REQUEST, _DUMP, _DUMP_INTERRUPTED = 0x1, 0x300, 0x10
_ERROR, _DONE = 2, 3
#: nlmsghdr (length, type, flags, sequence, port) and nfgenmsg (family, version, resource).
_HEADER, _GENERIC = struct.Struct("=IHHII"), struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_ACKNOWLEDGE, _CREATE, _APPEND = 0x4, 0x400, 0x800
#: Messages that open and end a transaction (linux/netfilter/nfnetlink.h).
_BEGIN, _END = 16, 17
_TYPE = 0x3FFF  # without the flags for nesting and byte order
_TIMEOUT_S = 2.0
#: Bytes of a datagram: of a list the kernel makes them no longer than the room that the reader offers.
_LISTED, _TOLD = 1 << 14, 1 << 16
#: Bytes of one list. A set of a thousand networks has 60,000.
_LONGEST = 16 << 20


class Change(NamedTuple):
    """A piece of news. what: TABLE, CHAIN, ...; family, table: whose; name: of a set whose ELEMENT it is, else b"".

    by: the program, with a GENERATION.
    """

    what: int
    family: int
    table: bytes
    name: bytes
    by: str


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute, in order. What is cut off ends it."""
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & _TYPE, data[at + 4 : at + length]
        at += (length + 3) & ~3


def name(value: bytes) -> bytes:
    """A string as attributes hold it, without its end."""
    return value.split(b"\0", 1)[0]


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and content of each message in a datagram."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size or at + length > len(datagram):
            return
        yield kind, flags, sequence, datagram[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def listing(what: int, family: int, *given: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    """Family and attributes of everything of a kind. `given`: attributes of the request, names with their NUL.

    Raises OSError: FileNotFoundError where a table or set that `given` names is not there.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.settimeout(_TIMEOUT_S)
        netlink.bind((0, 0))
        for sequence in range(1, 5):
            found = _list_once(netlink, what, family, given, sequence)
            if found is not None:
                return found
    raise OSError(errno.EAGAIN, "the ruleset changes faster than it can be read")


def _list_once(
    netlink: socket.socket, what: int, family: int, given: tuple[tuple[int, bytes], ...], sequence: int
) -> list[tuple[int, bytes]] | None:
    """One try; None where the ruleset changed meanwhile."""
    request = _GENERIC.pack(family, 0, 0)
    for kind, value in given:
        request += _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)
    header = _HEADER.pack(_HEADER.size + len(request), _SUBSYSTEM | (what + 1), _REQUEST | _DUMP, sequence, 0)
    netlink.send(header + request)
    found: list[tuple[int, bytes]] = []
    whole, size = True, 0
    while True:
        datagram = netlink.recv(_LISTED)
        size += len(datagram)
        if size > _LONGEST:
            raise OSError(errno.EFBIG, "the list has no end")
        for kind, flags, number, content in messages(datagram):
            if number != sequence:
                continue
            whole = whole and not flags & _DUMP_INTERRUPTED
            if kind in (_ERROR, _DONE):
                code = -struct.unpack_from("=i", content)[0] if len(content) >= 4 else 0
                if code == errno.EINTR:
                    return None
                if code:
                    raise OSError(code, os.strerror(code))
                return found if whole else None
            if kind == _SUBSYSTEM | what and len(content) >= 4:
                found.append((content[0], content[4:]))


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute with its padding."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


class Request(NamedTuple):
    """One change of a transaction. what: TABLE, CHAIN, ...; remove: take it away; body: its attributes."""

    what: int
    remove: bool
    body: bytes


class Transactions:
    """A socket for changes to nftables, each all or nothing. Close it at the end."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setblocking(False)
        self._sequence = 0

    def commit(self, requests: list[Request]) -> None:
        """Makes these changes to tables of family inet, in order, or none of them. Raises OSError.

        The kernel has carried them out, or refused, before the message is sent: there is no waiting.
        """
        self._sequence = first = self._sequence + 1 & 0x3FFFFFFF
        parts = [_message(_BEGIN, _REQUEST, first, 0, 10, b"")]
        for number, (what, remove, body) in enumerate(requests, 1):
            flags = _REQUEST if remove else _REQUEST | _CREATE | (_APPEND if what == RULE else 0)
            if number == len(requests):
                flags |= _ACKNOWLEDGE
            parts.append(_message(_SUBSYSTEM | what + 2 * remove, flags, first, INET, 0, body))
        parts.append(_message(_END, _REQUEST, first, 0, 10, b""))
        self._socket.send(b"".join(parts))
        code = errno.EIO
        try:
            while True:
                for kind, _, sequence, content in messages(self._socket.recv(_LISTED)):
                    if kind == _ERROR and sequence == first and len(content) >= 4:
                        code = -struct.unpack_from("=i", content)[0]
                        if code:
                            raise OSError(code, os.strerror(code))
        except BlockingIOError:
            pass
        if code:
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        self._socket.close()


def _message(kind: int, flags: int, sequence: int, family: int, resource: int, body: bytes) -> bytes:
    header = _HEADER.pack(_HEADER.size + 4 + len(body), kind, flags, sequence, 0)
    return header + bytes((family, 0)) + resource.to_bytes(2, "big") + body


def news() -> socket.socket:
    """A socket on which the kernel tells of each change to nftables; read it with `changes`. Raises OSError."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    try:
        netlink.bind((0, 0))
        netlink.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
        netlink.setblocking(False)
    except OSError:
        netlink.close()
        raise
    return netlink


def changes(netlink: socket.socket) -> list[Change]:
    """What the next datagram tells.

    Raises BlockingIOError where nothing waits, and OSError (ENOBUFS) where news was lost.
    """
    found = []
    for kind, _, _, content in messages(netlink.recv(_TOLD)):
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
    """`nft (process 123)`: who made a generation."""
    given = dict(attributes(data))
    called = name(given.get(3, b"")).decode("ascii", "replace")
    process = int.from_bytes(given.get(2, b""), "big")
    called = "".join(c if c.isprintable() else "?" for c in called)
    return f"{called} (process {process})" if called else ""
