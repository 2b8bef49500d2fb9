"""IP packet -> a question for a domain's mail servers (MX), with client and resolver.

Knows the headers of IP, UDP (RFC 768) and of DNS messages (RFC 1035 section 4). Must not know devices or sockets. It
returns no name: the name is skipped and never stored. End hosts pass mail to a relay or a webmail service and have no
use for MX records; a host that asks for them is about to deliver mail itself.
"""

from __future__ import annotations

import struct

from cpe_filter.inspect.packet import parse, skip_extension_headers
from cpe_filter.lean.named_tuple import NamedTuple

PORT = 53
#: Type and class of the question (RFC 1035 sections 3.2.2, 3.2.4).
MX, IN = 15, 1

_TCP, _UDP = 6, 17
#: QR and opcode, all 0 in a standard query.
_QR_OPCODE = 0xF800
_LONGEST_NAME = 255  # RFC 1035 section 2.3.4
_LONGEST_LABEL = 63

_ipv4 = struct.Struct("!BxH2xHxB2x4s4s").unpack_from
_ipv6 = struct.Struct("!4xHBx16s16s").unpack_from
_two_u16 = struct.Struct("!HH").unpack_from
_u16 = struct.Struct("!H").unpack_from


class Question(NamedTuple):
    """A question for MX records. `client`, `resolver`: packed addresses (4 or 16 bytes)."""

    client: bytes
    resolver: bytes


def mx_question(data: bytes) -> Question | None:
    """Reads an IP packet. Returns a `Question` if it is a standard query for MX, class IN, to port 53; else None.

    Raises nothing, whatever the bytes. A truncated packet suffices if it has the header and the question. Not seen:
    fragments; over TCP, a message that does not begin its segment (RFC 1035 section 4.2.2: length, then message), and
    all but the first of several in one segment; encrypted questions (DNS over TLS, HTTPS, QUIC).
    """
    if len(data) < 40:  # 20 IPv4, 8 UDP, 12 DNS: anything shorter is not a query
        return None
    version = data[0] >> 4
    if version == 4:
        head, total, frag, proto, src, dst = _ipv4(data)
        start = (head & 15) * 4
        if start < 20 or frag & 0x3FFF:
            return None
    elif version == 6:
        total, proto, src, dst = _ipv6(data)
        total = total + 40 if total else len(data)
        start = 40
    else:
        return None
    if proto != _UDP and proto != _TCP:
        if version == 4:
            return None
        found = skip_extension_headers(data, proto, min(len(data), total), _UDP)
        if isinstance(found, str):
            return _over_tcp(data)
        start = found
    end = min(len(data), total or len(data))
    if end < start + 8 or _u16(data, start + 2)[0] != PORT:
        return None
    if proto == _TCP:
        return _over_tcp(data)
    length = _u16(data, start + 4)[0]
    if length < 8:
        return None
    if not _asks_for_mx(data, start + 8, min(end, start + length)):
        return None
    return Question(src, dst)


def _over_tcp(data: bytes) -> Question | None:
    segment = parse(data)
    if isinstance(segment, str) or segment.dport != PORT or len(segment.payload) < 2:
        return None
    payload = segment.payload
    end = 2 + _u16(payload)[0]
    # Bytes from the middle of a stream may look like a length, but they are unlikely to continue like a query.
    if end > len(payload) + segment.cut or not _asks_for_mx(payload, 2, min(end, len(payload))):
        return None
    return Question(segment.src, segment.dst)


def _asks_for_mx(data: bytes, start: int, end: int) -> bool:
    """Whether a DNS message, between these offsets, is a standard query with one question, for MX."""
    if end - start < 12:
        return False
    flags, questions = _two_u16(data, start + 2)
    if flags & _QR_OPCODE or questions != 1:  # servers do not answer several questions (RFC 9619)
        return False
    at = start + 12
    last = min(end - 5, at + _LONGEST_NAME - 1)  # the last possible place of the root label
    while at <= last:
        label = data[at]
        if not label:
            return _two_u16(data, at + 1) == (MX, IN)
        if label > _LONGEST_LABEL:  # a pointer (section 4.1.4) has nothing to point to in the first name
            return False
        at += label + 1
    return False


def is_local(address: bytes) -> bool:
    """Whether a resolver's packed address is by its range one of a home, or within an ISP.

    IPv4: RFC 1918, shared (RFC 6598), link-local, loopback, multicast. IPv6: ULA, link-local,
    site-local (RFC 3879; Windows asks fec0:0:0:ffff::1 if it knows no resolver), loopback, multicast.
    """
    first, second = address[0], address[1]
    if len(address) == 4:
        return (
            first in (10, 127)
            or first >= 224
            or (first == 100 and second & 0xC0 == 64)
            or (first == 169 and second == 254)
            or (first == 172 and second & 0xF0 == 16)
            or (first == 192 and second == 168)
        )
    return first & 0xFE == 0xFC or first == 0xFF or (first == 0xFE and second >= 0x80) or address == b"\0" * 15 + b"\1"
