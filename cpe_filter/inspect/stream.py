"""Segments of one direction of a TCP connection -> contiguous bytes, with gaps said outright.

Knows sequence numbers. Must not know SMTP, the other direction's bytes, or time. Bounded: at most
`PENDING_SEGMENTS` segments and `PENDING_BYTES` bytes wait for an earlier one; past that the earlier one is
declared lost. The first copy of a byte wins; a later, different copy is reported as a conflict.
"""

from __future__ import annotations

from binascii import crc32

PENDING_SEGMENTS = 16
PENDING_BYTES = 24576
#: How many delivered segments are remembered by checksum (no bytes) to tell a resent copy from a changed one.
REMEMBERED = 8

_HALF, _MASK = 0x80000000, 0xFFFFFFFF

#: What `feed` and `acknowledged` yield: bytes in order, or the length of a gap before the next bytes.
Chunk = bytes | int


class Stream:
    """One direction. `position` counts the bytes delivered or declared lost since the start."""

    __slots__ = ("_next", "_pending", "_pending_bytes", "_recent", "conflict", "finished", "position")

    def __init__(self) -> None:
        self._next = -1
        self._pending: list[tuple[int, bytes, int]] = []
        self._pending_bytes = 0
        self._recent: list[tuple[int, int, int]] = []
        self.position = 0
        #: True once a byte came again with another value (an evasion: Ptacek & Newsham 1998).
        self.conflict = False
        #: Sequence position of the FIN has been reached.
        self.finished = False

    @property
    def started(self) -> bool:
        """Whether any segment has set the sequence number to expect."""
        return self._next >= 0

    def syn(self, seq: int) -> bool:
        """Sets the origin from a SYN's sequence number. False if the stream had begun elsewhere already."""
        if self._next < 0:
            self._next = (seq + 1) & _MASK
            return True
        return (self._next - self.position - 1) & _MASK == seq

    def feed(self, seq: int, payload: bytes, cut: int = 0, fin: bool = False) -> list[Chunk]:
        """Takes a segment's payload; returns what became readable, in order.

        `cut` bytes follow the payload that nobody has kept: they come out as a gap. A stream
        that has not begun begins here (mid-stream pick-up).
        """
        if self._next < 0:
            self._next = seq
        ahead = (seq - self._next) & _MASK
        if ahead == 0 and not self._pending:  # the ordinary case
            return self._deliver(seq, payload, cut, fin)
        if ahead >= _HALF:  # begins before what is expected: resent, or a keep-alive
            old = (1 << 32) - ahead
            self._compare(seq, payload)
            if old >= len(payload) + cut and not (fin and old == len(payload) + cut):
                return []
            if old >= len(payload):
                cut -= old - len(payload)
                payload = b""
            else:
                payload = payload[old:]
            seq = self._next
            ahead = 0
        if ahead:
            self._hold(seq, payload, cut, fin)
            if len(self._pending) <= PENDING_SEGMENTS and self._pending_bytes <= PENDING_BYTES:
                return []
            return self._give_up(self._pending[0][0])
        out = self._deliver(seq, payload, cut, fin)
        out += self._drain()
        return out

    def acknowledged(self, ack: int) -> list[Chunk]:
        """The other side has acknowledged up to `ack`: what is still missing before it will never be seen.

        Returns the gap and what waited behind it. Nothing where nothing is missing, where the stream has
        not begun, or where the number lies more than 1 GiB ahead (no TCP window is that large).
        """
        if self._next < 0:
            return []
        missing = (ack - self._next) & _MASK
        if missing == 0 or missing > 0x40000000:
            return []
        if self.finished:
            return []
        out: list[Chunk] = []
        while self._pending and (self._pending[0][0] - self._next) & _MASK < (ack - self._next) & _MASK < _HALF:
            out += self._give_up(self._pending[0][0])
        missing = (ack - self._next) & _MASK
        if 0 < missing < _HALF and not self.finished:
            # A FIN that was not seen takes one number too; a gap of one byte more at the end is harmless.
            out += self._give_up(ack)
        return out

    def skip_to(self, seq: int) -> list[Chunk]:
        """The bytes before `seq` were left out on purpose (content the kernel did not queue): a gap at once."""
        if self._next < 0 or (seq - self._next) & _MASK >= _HALF:
            return []
        return self._give_up(seq) if seq != self._next else []

    def flush(self) -> list[Chunk]:
        """The connection is over: what waits for lost segments comes out, gaps included."""
        out: list[Chunk] = []
        while self._pending:
            out += self._give_up(self._pending[0][0])
        return out

    def _deliver(self, seq: int, payload: bytes, cut: int, fin: bool) -> list[Chunk]:
        size = len(payload)
        self._next = (seq + size + cut) & _MASK
        self.position += size + cut
        if fin:
            self.finished = True
        if not size:
            return [cut] if cut else []
        recent = self._recent
        recent.append((seq, size, crc32(payload)))
        if len(recent) > REMEMBERED:
            del recent[0]
        return [payload, cut] if cut else [payload]

    def _compare(self, seq: int, payload: bytes) -> None:
        for start, size, check in self._recent:
            if start == seq and size <= len(payload):
                if crc32(payload[:size]) != check:
                    self.conflict = True
                return

    def _hold(self, seq: int, payload: bytes, cut: int, fin: bool) -> None:
        """Keeps a segment that came early, in order of sequence; of two copies the first stays."""
        if not payload and not cut and not fin:
            return
        pending = self._pending
        key = (seq - self._next) & _MASK
        at = len(pending)
        while at and (pending[at - 1][0] - self._next) & _MASK > key:
            at -= 1
        if at and pending[at - 1][0] == seq:
            first = pending[at - 1][1]
            shared = min(len(first), len(payload))
            if first[:shared] != payload[:shared]:
                self.conflict = True
            if len(payload) <= len(first):
                return
            # The longer copy may only add what lies behind the first.
            self._pending_bytes -= len(first)
            payload = first + payload[shared:]
            del pending[at - 1]
            at -= 1
        pending.insert(at, (seq, payload, cut << 1 | fin))
        self._pending_bytes += len(payload)

    def _give_up(self, upto: int) -> list[Chunk]:
        """Declares everything before `upto` lost and goes on with what waits from there."""
        gap = (upto - self._next) & _MASK
        self._next = upto
        self.position += gap
        out: list[Chunk] = [gap] if gap else []
        out += self._drain()
        return out

    def _drain(self) -> list[Chunk]:
        out: list[Chunk] = []
        pending = self._pending
        while pending:
            seq, payload, rest = pending[0]
            ahead = (seq - self._next) & _MASK
            if 0 < ahead < _HALF:
                break
            del pending[0]
            self._pending_bytes -= len(payload)
            old = -ahead & _MASK
            cut, fin = rest >> 1, bool(rest & 1)
            if old > len(payload):
                cut = max(0, cut - (old - len(payload)))
                if not cut and not fin:
                    continue
            # Two held segments may overlap: the earlier one's bytes have been delivered and win.
            out += self._deliver(self._next, payload[old:], cut, fin)
        return out
