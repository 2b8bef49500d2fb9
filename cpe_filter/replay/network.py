"""IP, as far as a walk needs it: the header of a packet, and which layer its protocol is.

Knows IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200), and AH (RFC 4302). Must not know links.
"""

from __future__ import annotations

from cpe_filter.replay.walk import (
    DONE,
    FRAGMENT,
    IP_PROTOCOLS,
    QUIET_PROTOCOLS,
    Layer,
    UnreadError,
    Walk,
    u16,
)

_AUTHENTICATION, _FRAGMENT, _NOTHING = 51, 44, 59
#: Extension headers with a length in units of 8 bytes beyond the first (RFC 6564).
_OPTIONS_LIKE = frozenset((0, 43, 60, 135, 140))
_MAX_EXTENSION_HEADERS = 8


def ip(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    version = data[at] >> 4
    walk.packet, walk.at = data, at
    if version == 4:
        return _ipv4(walk, data, at)
    if version == 6:
        return _ipv6(data, at)
    raise UnreadError("not-ip")


def _ipv4(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    size = (data[at] & 15) * 4
    total, fragment = u16(data, at + 2)[0], u16(data, at + 6)[0]
    protocol = data[at + 9]
    if size < 20 or 0 < total < size or at + 20 > len(data):
        raise UnreadError("damaged")
    if fragment & 0x3FFF:
        return FRAGMENT, at
    start = at + size
    if protocol == _AUTHENTICATION:
        # The engine reads IPv4 without AH: this is the packet that AH protects.
        header = (data[start + 1] + 2) * 4
        if start + header > len(data):
            raise IndexError
        inner = bytearray(data[at : at + size] + data[start + header :])
        inner[2:4] = max(0, total - header).to_bytes(2, "big")
        inner[9] = data[start]
        walk.data = bytes(inner)
        return "ip", 0
    return _protocol(protocol), start


def _ipv6(data: bytes, at: int) -> tuple[str, int]:
    protocol = data[at + 6]
    if at + 40 > len(data):
        raise IndexError
    start = at + 40
    for _ in range(_MAX_EXTENSION_HEADERS + 1):
        if protocol == _FRAGMENT:
            if u16(data, start + 2)[0] & 0xFFF9:
                return FRAGMENT, at
            size = 8
        elif protocol in _OPTIONS_LIKE:
            size = (data[start + 1] + 1) * 8
        elif protocol == _AUTHENTICATION:
            size = (data[start + 1] + 2) * 4
        else:
            return _protocol(protocol), start
        protocol = data[start]
        start += size
    raise UnreadError("too-deep")


def _protocol(number: int) -> str:
    layer = IP_PROTOCOLS.get(number)
    if layer is not None:
        return layer
    if number in QUIET_PROTOCOLS:
        return DONE
    raise UnreadError("IP protocol", number)


LAYERS: dict[str, Layer] = {"ip": ip}
