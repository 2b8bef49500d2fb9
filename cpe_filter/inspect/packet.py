"""IP packet -> TCP segment.

Knows the headers of IPv4 (RFC 791), IPv6 (RFC 8200) and TCP (RFC 9293). Must not know link layers, flows or SMTP.
`parse` does not check checksums, because captures taken on a sending host hold unfinished ones (checksum offload);
`checksum` does.
"""

from __future__ import annotations

import struct

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

#: Why a packet is not a segment. `parse` returns one of these names and nothing else.
REFUSALS = (
    "empty",
    "not-ip",
    "short-ip-header",
    "bad-ip-header",
    "fragment",
    "not-tcp",
    "short-tcp-header",
    "bad-tcp-header",
    "too-many-extension-headers",
)

# What `checksum` finds; a higher number is worse.
UNSEEN, RIGHT, PARTIAL, WRONG = range(4)
#: A packet longer than this was merged from several (GRO), or is still to be split (TSO).
_LONGEST_FRAME = 1500

_MAX_EXTENSION_HEADERS = 8
#: Extension headers whose length is in units of 8 octets beyond the first (RFC 6564, RFC 8200 section 4).
_OPTIONS_LIKE = frozenset((0, 43, 60, 135, 139, 140))
_FRAGMENT, _AUTHENTICATION, _TCP = 44, 51, 6

_ipv4 = struct.Struct("!BxH2xHBB2x4s4s").unpack_from
_ipv6 = struct.Struct("!4xHBB16s16s").unpack_from
_tcp = struct.Struct("!HHIIBB").unpack_from
_ipv4_tcp = struct.Struct("!2xH2xHBB2x4s4sHHIIBB").unpack_from
_u16 = struct.Struct("!H").unpack_from


class Segment:
    """One TCP segment.

    `src`, `dst` are packed addresses (4 or 16 bytes); `seq`, `ack` 32-bit numbers as sent; `payload` the
    bytes at hand; `cut` how many more the packet carried on the wire than the capture or queue kept; `ttl` the TTL or
    hop limit. `checksum` is `UNSEEN` until the function `checksum` has been called.
    """

    __slots__ = ("ack", "checksum", "cut", "dport", "dst", "flags", "payload", "seq", "sport", "src", "ttl")

    def __init__(
        self,
        src: bytes,
        dst: bytes,
        sport: int,
        dport: int,
        seq: int,
        ack: int,
        flags: int,
        payload: bytes,
        cut: int,
        ttl: int = 64,
    ) -> None:
        self.src = src
        self.dst = dst
        self.sport = sport
        self.dport = dport
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.payload = payload
        self.cut = cut
        self.ttl = ttl
        self.checksum = UNSEEN

    def __repr__(self) -> str:
        names = "".join(
            letter for letter, bit in zip("FSRPA", (FIN, SYN, RST, PSH, ACK), strict=True) if self.flags & bit
        )
        return f"<Segment {self.sport}>{self.dport} {names} seq={self.seq} len={len(self.payload)}+{self.cut}>"


def parse(data: bytes) -> Segment | str:
    """Reads an IP packet. Returns a `Segment`, or one of `REFUSALS`; raises nothing, whatever the bytes.

    A packet that the capture (or the queue's copy range) has truncated is read if its TCP header is complete; `cut`
    says how much of the payload is missing. A length field of 0 means a segmentation-offload or jumbo packet: then the
    bytes at hand are the packet (RFC 2675, Linux GSO).
    """
    if not data:
        return "empty"
    version = data[0] >> 4
    size = len(data)
    if data[0] == 0x45 and size >= 40:
        # Nearly every packet is IPv4 without options: read both headers at once. A truncated one goes the long way.
        total, frag, ttl, proto, src, dst, sport, dport, seq, ack, offset, flags = _ipv4_tcp(data)
        payload_at = 20 + (offset >> 2 & 60)
        if proto == _TCP and not frag & 0x3FFF and 40 <= payload_at <= total <= size:
            return Segment(src, dst, sport, dport, seq, ack, flags, data[payload_at:total], 0, ttl)
    if version == 4:
        found = _ipv4_header(data, size)
    elif version == 6:
        found = _ipv6_header(data, size)
    else:
        return "not-ip"
    return found if isinstance(found, str) else _segment(data, size, *found)


def _ipv4_header(data: bytes, size: int) -> tuple[int, int, int, bytes, bytes] | str:
    """Where the TCP header begins and where the packet ends on the wire, TTL, addresses; or why it is not read."""
    if size < 20:
        return "short-ip-header"
    vihl, total, frag, ttl, proto, src, dst = _ipv4(data)
    start = (vihl & 15) * 4
    if start < 20:
        return "bad-ip-header"
    if frag & 0x3FFF:
        return "fragment"
    if proto != _TCP:
        return "not-tcp"
    if not total:
        total = size
    elif total < start:
        return "bad-ip-header"
    return start, total, ttl, src, dst


def _ipv6_header(data: bytes, size: int) -> tuple[int, int, int, bytes, bytes] | str:
    """As `_ipv4_header`."""
    if size < 40:
        return "short-ip-header"
    total, proto, ttl, src, dst = _ipv6(data)
    total = total + 40 if total else size
    start = 40
    if proto != _TCP:
        found = skip_extension_headers(data, proto, min(size, total))
        if isinstance(found, str):
            return found
        start = found
    return start, total, ttl, src, dst


def _segment(data: bytes, size: int, start: int, total: int, ttl: int, src: bytes, dst: bytes) -> Segment | str:
    """TCP at `start`; the packet ends at `total` on the wire and at `size` here."""
    if total - start < 20:
        return "bad-tcp-header"
    if size - start < 20:
        return "short-tcp-header"
    sport, dport, seq, ack, offset, flags = _tcp(data, start)
    payload_at = start + (offset >> 4) * 4
    if payload_at - start < 20 or payload_at > total:
        return "bad-tcp-header"
    if size >= total:
        return Segment(src, dst, sport, dport, seq, ack, flags, data[payload_at:total], 0, ttl)
    return Segment(src, dst, sport, dport, seq, ack, flags, data[payload_at:size], total - max(size, payload_at), ttl)


def checksum(data: bytes) -> int:
    """The TCP checksum of a packet that `parse` reads: `RIGHT`, `PARTIAL`, `WRONG`, or `UNSEEN` if bytes are cut.

    Partial: the sum of the pseudo-header alone, which Linux leaves for the network card to complete. A virtual
    interface passes such packets on, and packets that it has merged: if longer than a frame, these count as right.
    """
    size = len(data)
    if data[0] >> 4 == 4:
        start = (data[0] & 15) * 4
        total = (data[2] << 8 | data[3]) or size
        addresses = data[12:20]
    else:
        total = data[4] << 8 | data[5]
        total = total + 40 if total else size
        start = 40
        if data[6] != _TCP:
            found = skip_extension_headers(data, data[6], min(size, total))
            if isinstance(found, str):
                return UNSEEN
            start = found
        addresses = data[8:40]
    if size < total:
        return UNSEEN
    # Sums in one's complement of 16 bits are remainders by 0xFFFF (RFC 1071): Python divides it all as one number.
    pseudo = int.from_bytes(addresses, "big") + _TCP + total - start
    summed = int.from_bytes(data[start:total], "big")
    if (total - start) & 1:
        summed <<= 8
    if not (pseudo + summed) % 0xFFFF:
        return RIGHT
    if ((data[start + 16] << 8 | data[start + 17]) - pseudo) % 0xFFFF:
        return WRONG
    return RIGHT if total > _LONGEST_FRAME else PARTIAL


def skip_extension_headers(data: bytes, proto: int, end: int, wanted: int = _TCP) -> int | str:
    """The offset of the TCP header behind IPv6 extension headers (or of another protocol's), or why there is none."""
    at = 40
    for _ in range(_MAX_EXTENSION_HEADERS):
        if proto == wanted:
            return at
        if proto != _FRAGMENT and proto != _AUTHENTICATION and proto not in _OPTIONS_LIKE:
            return "not-tcp"
        if at + 8 > end:
            return "short-ip-header"
        if proto == _FRAGMENT:
            # An "atomic" fragment (offset 0, no more to come) is a complete packet (RFC 6946).
            if _u16(data, at + 2)[0] & 0xFFF9:
                return "fragment"
            length = 8
        elif proto == _AUTHENTICATION:
            length = (data[at + 1] + 2) * 4
        else:
            length = (data[at + 1] + 1) * 8
        proto = data[at]
        at += length
        if at > end:
            return "short-ip-header"
    return at if proto == wanted else "too-many-extension-headers"
