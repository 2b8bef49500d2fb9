"""Segments of one direction of a TCP connection -> contiguous bytes, with explicit gaps.

Knows sequence numbers. Must not know SMTP, the other direction's bytes, or time. Bounded: at most
`PENDING_SEGMENTS` segments and `PENDING_BYTES` bytes wait for an earlier one; beyond that the earlier one is
declared lost. The first copy of a byte wins. A later, different copy is reported as a conflict, as far as it can be
recognised: only checksums are kept of bytes that have been delivered.
"""

from __future__ import annotations

import struct

PENDING_SEGMENTS = 16
PENDING_BYTES = 24576
#: How many delivered segments and gaps are remembered (by size and checksum, without bytes) to distinguish a resent
#: copy from a changed one.
REMEMBERED = 8

#: Size and hash of a delivered segment; 0 and the size of a gap. The hash has a key of this process (PEP 456), so no
#: sender can make two copies that have the same. CRC-32 would come with zlib's library, 130 kB.
_COPY = struct.Struct("!HI")
_LONGEST_COPY = 0xFFFF
_REMEMBERED_BYTES = REMEMBERED * _COPY.size
_copy = _COPY.pack

_HALF, _MASK = 0x80000000, 0xFFFFFFFF
#: No TCP window is larger (RFC 7323 section 2.3): a number farther ahead belongs to something else.
FARTHEST = 0x40000000

#: What `feed` and `acknowledged` yield: bytes in order, or the length of a gap before the next bytes.
Chunk = bytes | int


class Stream:
    """One direction. `position` counts the bytes delivered or declared lost since the start.

    The caller may read the attributes, and must not set them.
    """

    __slots__ = ("_pending", "_recent", "conflict", "end", "next", "position")

    def __init__(self) -> None:
        #: The sequence number to expect; -1 before any segment.
        self.next = -1
        #: The sequence number of the FIN, whether or not everything before it has arrived; -1 until one was seen.
        self.end = -1
        # Early segments: sequence number, bytes, how many more were cut off. Sorted; no byte is in it twice.
        self._pending: tuple[tuple[int, bytes, int], ...] = ()
        self._recent = b""  # as `_COPY`, up to `next`
        self.position = 0
        #: True once a byte came again with another value (an evasion: Ptacek & Newsham 1998).
        self.conflict = False

    # Computed from the other attributes, to save memory: every connection has two streams.

    @property
    def waiting(self) -> int:
        """Bytes that wait for earlier ones."""
        return sum(len(payload) for _, payload, _ in self._pending) if self._pending else 0

    @property
    def finished(self) -> bool:
        """Whether the sequence number of the FIN has been reached."""
        return self.end >= 0 and (self.next - self.end) & _MASK < _HALF

    @property
    def started(self) -> bool:
        """Whether any segment has set the sequence number to expect."""
        return self.next >= 0

    def syn(self, seq: int) -> bool:
        """Sets the origin from a SYN's sequence number. False if the stream had begun elsewhere already."""
        if self.next < 0:
            self.next = (seq + 1) & _MASK
            return True
        return (self.next - self.position - 1) & _MASK == seq

    def goes_on(self, seq: int, payload: bytes) -> bool:
        """Takes a complete segment with a payload, in order and without FIN: the payload is what becomes readable.

        The ordinary case, in as few steps as possible. False if `feed` must look closer; then nothing has changed.
        """
        if seq != self.next or self.end >= 0 or self._pending:
            return False
        size = len(payload)
        self.next = (seq + size) & _MASK
        self.position += size
        recent = self._recent + (_copy(size, hash(payload) & _MASK) if size <= _LONGEST_COPY else _copy(0, size))
        self._recent = recent if len(recent) <= _REMEMBERED_BYTES else recent[-_REMEMBERED_BYTES:]
        return True

    def feed(self, seq: int, payload: bytes, cut: int = 0, fin: bool = False) -> list[Chunk]:
        """Takes a segment's payload; returns what became readable, in order.

        `cut` bytes follow the payload and were not kept: they come out as a gap. A stream that has not begun begins
        here (mid-stream pick-up).
        """
        if payload and not (cut or fin) and self.goes_on(seq, payload):
            return [payload]
        if self.next < 0:
            self.next = seq
        if self.finished:
            return []
        ahead = (seq - self.next) & _MASK
        end = (seq + len(payload) + cut) & _MASK
        if fin and self.end < 0 and (end - self.next) & _MASK <= FARTHEST:
            self.end = end
        if ahead == 0 and not self._pending:
            return self._deliver(payload, cut)
        if ahead >= _HALF:  # begins before what is expected: resent, or a keep-alive
            old = (1 << 32) - ahead
            if old == 1 and len(payload) == 1:
                return []  # a keep-alive, whose one byte may be anything (RFC 1122 section 4.2.3.6)
            self._compare(seq, payload)
            if old > len(payload) + cut:
                return []
            cut = min(cut, len(payload) + cut - old)
            payload = payload[old:]
            seq = self.next
            ahead = 0
        elif ahead > FARTHEST:
            return []
        self._hold(seq, payload, cut)
        if not ahead:
            # Where nothing waits there is a bare FIN to note at most.
            return self._drain() or self._deliver(b"", 0)
        out: list[Chunk] = []
        while len(self._pending) > PENDING_SEGMENTS or self.waiting > PENDING_BYTES:
            out += self._give_up(self._pending[0][0])
        return out

    def acknowledged(self, ack: int) -> list[Chunk]:
        """The other side has acknowledged up to `ack`: bytes that are still missing before it will never be seen.

        Returns the gap and what waited behind it. Returns nothing if nothing is missing, if the stream has not begun,
        or if the number is more than 1 GiB ahead (no TCP window is that large).
        """
        if ack == self.next or self.next < 0 or self.finished:
            return []
        if self.end >= 0 and (ack - self.end) & _MASK < _HALF:
            ack = self.end  # the FIN takes a number, too, but is not a byte
        out: list[Chunk] = []
        while 0 < (ack - self.next) & _MASK <= FARTHEST:
            first = self._pending[0][0] if self._pending else ack
            out += self._give_up(first if (ack - first) & _MASK < _HALF else ack)
        return out

    def drop(self) -> None:
        """Forgets what waits, and what was delivered."""
        self._pending = ()
        self._recent = b""

    def flush(self) -> list[Chunk]:
        """The connection has ended: returns what waits for lost segments, gaps included."""
        out: list[Chunk] = []
        while self._pending:
            out += self._give_up(self._pending[0][0])
        if self.end >= 0 and 0 < (self.end - self.next) & _MASK <= FARTHEST:
            out += self._give_up(self.end)
        return out

    def _deliver(self, payload: bytes, cut: int) -> list[Chunk]:
        size = len(payload)
        self.next = (self.next + size + cut) & _MASK
        self.position += size + cut
        if size:
            copy = _copy(size, hash(payload) & _MASK) if size <= _LONGEST_COPY else _copy(0, size)
            self._recent = (self._recent + copy)[-_REMEMBERED_BYTES:]
        if not cut:
            return [payload] if size else []
        if self._recent:
            self._recent = (self._recent + _copy(0, cut))[-_REMEMBERED_BYTES:]
        return [payload, cut] if size else [cut]

    def _compare(self, seq: int, payload: bytes) -> None:
        at = (self.next - seq) & _MASK
        for size, check in reversed(list(_COPY.iter_unpack(self._recent))):
            at = (at - (size or check)) & _MASK
            if size and at + size <= len(payload) and hash(payload[at : at + size]) & _MASK != check:
                self.conflict = True

    def _hold(self, seq: int, payload: bytes, cut: int) -> None:
        """Keeps early segments in order of sequence. If a byte comes twice, the first copy stays."""
        pending = list(self._pending)
        at = (seq - self.next) & _MASK
        i = 0
        while i < len(pending):
            held = pending[i][1]
            start = (pending[i][0] - self.next) & _MASK
            if start + len(held) > at:
                if start >= at + len(payload):
                    break
                if start > at:  # bytes before the held piece are new
                    pending.insert(i, ((self.next + at) & _MASK, payload[: start - at], 0))
                    payload = payload[start - at :]
                    at = start
                    i += 1
                shared = min(len(payload), start + len(held) - at)
                if held[at - start : at - start + shared] != payload[:shared]:
                    self.conflict = True
                payload = payload[shared:]
                at += shared
            i += 1
        item = ((self.next + at) & _MASK, payload, cut)
        if payload or (cut and item not in pending):
            pending.insert(i, item)
        self._pending = tuple(pending)

    def _give_up(self, upto: int) -> list[Chunk]:
        """Declares everything before `upto` lost and goes on with what waits from there."""
        gap = (upto - self.next) & _MASK
        return self._deliver(b"", gap) + self._drain()

    def _drain(self) -> list[Chunk]:
        out: list[Chunk] = []
        while self._pending:
            seq, payload, cut = self._pending[0]
            ahead = (seq - self.next) & _MASK
            if 0 < ahead < _HALF:
                break
            self._pending = self._pending[1:]
            # A part may have been declared lost meanwhile, or be within what was cut off an earlier segment.
            old = -ahead & _MASK
            if old < len(payload) + cut:
                out += self._deliver(payload[old:], min(cut, len(payload) + cut - old))
        return out
