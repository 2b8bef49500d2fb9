"""IP fragments -> whole packets, bounded.

Knows the fields of IPv4 and IPv6 that concern fragments (RFC 791, RFC 8200 section 4.5). Must not know links or what a
packet carries. Fragments that overlap with other bytes make no packet (RFC 5722): no two hosts agree on what it is.
"""

from __future__ import annotations

from cpe_filter.replay.walk import u16, u32

#: Packets that wait for fragments or have just become whole, their bytes together, and the fragments of one.
WAITING, BYTES, PIECES = 512, 4 << 20, 256
#: Seconds until the rest is lost (RFC 8200 section 4.5: 60; Linux: 30).
LOST_AFTER_S = 60.0
_LONGEST = 65535


class _Fragment:
    """key: which packet it is of. start, end: its place in the payload. last: nothing follows. head: the packet's."""

    __slots__ = ("data", "end", "head", "key", "last", "start")

    def __init__(self, key: bytes, start: int, data: bytes, last: bool, head: bytes) -> None:
        self.key = key
        self.start = start
        self.end = start + len(data)
        self.data = data
        self.last = last
        self.head = head


class _Datagram:
    """A packet in pieces. frames: how many frames it came in. whole: of a complete one, what the pieces were."""

    __slots__ = ("begun", "broken", "frames", "head", "kept", "pieces", "total", "whole")

    def __init__(self, time: float) -> None:
        self.begun = time
        self.pieces: dict[int, bytes] = {}
        self.kept = 0
        self.total = -1
        self.head = b""
        self.frames = 0
        self.broken = False
        self.whole: dict[int, int] | None = None


class Fragments:
    """`lost`: frames of packets that were given up."""

    def __init__(self) -> None:
        self.lost = 0
        self._datagrams: dict[bytes, _Datagram] = {}
        self._kept = 0

    def add(self, packet: bytes, frames: int, time: float) -> tuple[bytes | None, int]:
        """Takes a fragment, a packet from its IP header on, that came in `frames` frames.

        Returns the whole packet, None if there is none yet; and how many frames are accounted for by this one. Raises
        IndexError or struct.error where bytes are missing.
        """
        fragment = _fragment(packet)
        known = self._datagrams.get(fragment.key)
        if known is not None and time - known.begun > LOST_AFTER_S:
            self._forget(fragment.key)
            known = None
        if known is not None and known.whole is not None:
            if known.whole.get(fragment.start) == hash(fragment.data):
                return None, frames  # a copy of what was read
            self._forget(fragment.key)
            known = None
        if known is None:
            known = self._datagrams[fragment.key] = _Datagram(time)
        known.frames += frames
        self._insert(known, fragment)
        while len(self._datagrams) > WAITING or self._kept > BYTES:
            self._forget(next(iter(self._datagrams)))
        if self._datagrams.get(fragment.key) is not known:
            return None, 0
        return self._complete(known)

    def finish(self) -> int:
        """Nothing more comes: how many frames were of packets that did not become whole."""
        for key in list(self._datagrams):
            self._forget(key)
        return self.lost

    def _forget(self, key: bytes) -> None:
        datagram = self._datagrams.pop(key)
        self._kept -= datagram.kept
        if datagram.whole is None:
            self.lost += datagram.frames

    def _insert(self, datagram: _Datagram, fragment: _Fragment) -> None:
        if fragment.start == 0:
            datagram.head = fragment.head
        if fragment.last:
            if datagram.total not in (-1, fragment.end):
                datagram.broken = True
            datagram.total = fragment.end
        same = datagram.pieces.get(fragment.start)
        if same == fragment.data or datagram.broken:
            return
        overlaps = same is not None or any(
            start < fragment.end and fragment.start < start + len(data) for start, data in datagram.pieces.items()
        )
        if overlaps or fragment.end > _LONGEST or len(datagram.pieces) >= PIECES or not fragment.data:
            datagram.broken = True
            return
        datagram.pieces[fragment.start] = fragment.data
        datagram.kept += len(fragment.data)
        self._kept += len(fragment.data)

    def _complete(self, datagram: _Datagram) -> tuple[bytes | None, int]:
        if datagram.broken or datagram.kept != datagram.total or not datagram.head:
            return None, 0
        payload = b"".join(datagram.pieces[start] for start in sorted(datagram.pieces))
        if len(payload) > _LONGEST or max(datagram.pieces) >= datagram.total:
            return None, 0
        datagram.whole = {start: hash(data) for start, data in datagram.pieces.items()}
        self._kept -= datagram.kept
        datagram.kept = 0
        datagram.pieces.clear()
        head = bytearray(datagram.head)
        if head[0] >> 4 == 4:
            head[2:4] = min(len(head) + len(payload), _LONGEST).to_bytes(2, "big")
        else:
            head[4:6] = len(payload).to_bytes(2, "big")
        return bytes(head) + payload, datagram.frames


def _fragment(packet: bytes) -> _Fragment:
    if packet[0] >> 4 == 4:
        size = (packet[0] & 15) * 4
        total, identification, flags = (u16(packet, at)[0] for at in (2, 4, 6))
        head = bytearray(packet[:size])
        head[6:8] = b"\0\0"
        key = packet[12:20] + packet[9:10] + identification.to_bytes(2, "big")
        data = packet[size:total] if total else packet[size:]
        if len(packet) < total:
            raise IndexError
        return _Fragment(key, (flags & 0x1FFF) * 8, data, not flags & 0x2000, bytes(head))
    protocol, at = packet[6], 40
    while protocol != 44:
        protocol, at = packet[at], at + (packet[at + 1] + (2 if protocol == 51 else 1)) * (4 if protocol == 51 else 8)
    total = 40 + u16(packet, 4)[0]
    if len(packet) < total:
        raise IndexError
    offset = u16(packet, at + 2)[0]
    # Headers before the fragment header concern the way, not the packet: they are left out.
    head = bytearray(packet[:40])
    head[6] = packet[at]
    key = packet[8:40] + u32(packet, at + 4)[0].to_bytes(4, "big")
    return _Fragment(key, offset & 0xFFF8, packet[at + 8 : total], not offset & 1, bytes(head))
