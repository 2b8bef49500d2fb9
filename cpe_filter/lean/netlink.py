"""Netlink: sockets to the kernel, messages and their attributes.

Knows the form of messages (linux/netlink.h, linux/netfilter/nfnetlink.h). Must not know what any message means.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from itertools import repeat
from time import monotonic

from cpe_filter.lean import plain_socket as socket

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
#: Flags of a message, and types of the kernel's answers.
REQUEST, ACKNOWLEDGE, DUMP, DUMP_INTERRUPTED = 0x1, 0x4, 0x300, 0x10
ERROR, DONE = 2, 3
SOL_NETLINK, SO_RCVBUFFORCE = 270, 33
#: nlmsghdr (length, type, flags, sequence, port).
HEADER = struct.Struct("=IHHII")
#: Bytes of a datagram of a list; the kernel makes none longer than the reader's buffer.
_LISTED = 1 << 14
_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_TYPE = 0x3FFF  # without the flags for nesting and byte order


def connect(protocol: int, timeout_s: float | None = None, groups: int = 0) -> socket.socket:
    """A socket to the kernel; without a timeout it never waits. groups: bits of its notifications. Raises OSError."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        netlink.bind((0, groups))
        if timeout_s is None:
            netlink.setblocking(False)
        else:
            netlink.settimeout(timeout_s)
    except OSError:
        netlink.close()
        raise
    return netlink


def message(kind: int, flags: int, sequence: int, content: bytes) -> bytes:
    """A message, whose content is a multiple of four bytes."""
    return HEADER.pack(HEADER.size + len(content), kind, flags, sequence, 0) + content


def netfilter_header(family: int, resource: int) -> bytes:
    """nfgenmsg, which begins the content of each netfilter message."""
    return bytes((family, 0)) + resource.to_bytes(2, "big")


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and content of each message in a datagram."""
    at = 0
    while at + HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram, at)
        if length < HEADER.size or at + length > len(datagram):
            return
        yield kind, flags, sequence, datagram[at + HEADER.size : at + length]
        at += (length + 3) & ~3


def dump(
    kernel: socket.socket, request: bytes, answer: int, least: int, end: float, most: int | None = None
) -> Iterator[bytes]:
    """Sends a request for a list; the content of each message of type `answer` with `least` bytes or more.

    end: of time.monotonic(). most: datagrams that are read, without one all. If the caller ends early, or the list is
    longer, the socket must not be used for another list. Raises OSError, after `end` TimeoutError.
    """
    _, _, _, sequence, _ = HEADER.unpack_from(request)
    kernel.send(request)
    for _ in range(most) if most is not None else repeat(None):
        remaining = end - monotonic()
        if remaining <= 0:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        kernel.settimeout(remaining)
        for kind, _, number, content in messages(kernel.recv(_LISTED)):
            if number != sequence:
                continue
            if kind in (ERROR, DONE):
                raise_error(content)
                return
            if kind == answer and len(content) >= least:
                yield content


def raise_error(content: bytes) -> None:
    """Raises the OSError of a message of type `ERROR` or `DONE`; returns if the message reports success."""
    code = -struct.unpack_from("=i", content)[0] if len(content) >= 4 else 0
    if code:
        raise OSError(code, os.strerror(code))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute, in order. Ends at a truncated one."""
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & _TYPE, data[at + 4 : at + length]
        at += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute with its padding."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def name(value: bytes) -> bytes:
    """A string as attributes hold it, without its NUL."""
    return value.split(b"\0", 1)[0]
