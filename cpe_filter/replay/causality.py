"""Segments of a connection in an order that can have been: no acknowledgement before what it acknowledges.

Knows the numbers of TCP. Must not know SMTP or devices. The two directions of a connection may be captured by two
clocks (two ports, two hosts), or on two processors. In their times, or in their places in the file, a reply is then
before its command, and what it acknowledges would count as lost. Such a segment waits for it, and those of its
direction wait behind it; but not long, because the bytes may be missing.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable

from cpe_filter.replay.layers import Packet

#: The most that segments wait: seconds of the capture's time; how many; their bytes.
WAIT_S, WAITING, WAITING_BYTES = 2.0, 4096, 4 << 20
#: Connections that are known.
CONNECTIONS = 1 << 12
_FIN, _SYN, _ACK = 0x01, 0x02, 0x10
_MASK, _FARTHEST = 0xFFFFFFFF, 0x40000000
_TCP = struct.Struct("!4xIIBB").unpack_from

#: A packet, and whether the capture has cut it off.
Item = tuple[Packet, bool]


class _Segment:
    """end: the number behind its last byte. since: when it began to wait."""

    __slots__ = ("ack", "end", "flags", "item", "since", "waits")

    def __init__(self, item: Item, start: int, length: int) -> None:
        self.item = item
        seq: int
        self.ack: int
        self.flags: int
        seq, self.ack, offset, self.flags = _TCP(item[0].data, start)
        size = max(0, length - start - (offset >> 4) * 4)
        self.end: int = (seq + size + bool(self.flags & _SYN) + bool(self.flags & _FIN)) & _MASK
        self.since = 0.0
        self.waits = False


class _Connection:
    """For each direction the number behind what has been read (-1: nothing has), and the segments that wait."""

    __slots__ = ("begun", "ends", "waiting")

    def __init__(self) -> None:
        self.ends = [-1, -1]
        # Lists: nearly all stay empty, and an empty deque takes 760 bytes.
        self.waiting: tuple[list[_Segment], list[_Segment]] = ([], [])
        #: The SYN was seen: what is acknowledged before anything of the other side comes is still to come.
        self.begun = False


class Causality:
    """ports: mail's. Other packets pass."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._ports = frozenset(port.to_bytes(2, "big") for port in ports)
        self._connections: dict[bytes, _Connection] = {}
        self._waiting: deque[tuple[_Segment, _Connection, int]] = deque()
        self._bytes = 0  # of these, also of those that have been read behind one that still waits

    def ready(self, item: Item, now: float) -> Iterable[Item]:
        """What can be read now: the packet unless it must wait, and what has waited for it, or for too long."""
        data = item[0].data
        start = 20 if data[0] == 0x45 else 40
        if not item[0].tcp or len(data) < start + 20 or (start == 40 and (data[0] >> 4 != 6 or data[6] != 6)):
            return (item,)
        source, target = data[start : start + 2], data[start + 2 : start + 4]
        if source not in self._ports and target not in self._ports:
            return (item,)
        middle = 16 if start == 20 else 24
        one, other = data[2 * middle - start : middle] + source, data[middle:start] + target
        side = int(one > other)
        peers = other + one if side else one + other
        length = data[2] << 8 | data[3] if start == 20 else data[4] << 8 | data[5]
        if not length:
            length = len(data)  # of more than one packet: the network card divides it
        elif start == 40:
            length += 40
        out: list[Item] = []
        if self._waiting:
            self._expire(out, now)
        connection = self._connections.get(peers)
        if connection is None:
            connection = self._connections[peers] = _Connection()
            if len(self._connections) > CONNECTIONS:
                self._forget(next(iter(self._connections)), out)
        self._take(connection, side, _Segment(item, start, length), now, out)
        return out

    def finish(self) -> list[Item]:
        """Nothing follows: what still waits."""
        out: list[Item] = []
        while self._waiting:
            self._force(out)
        return out

    def _take(self, connection: _Connection, side: int, segment: _Segment, now: float, out: list[Item]) -> None:
        if segment.flags & (_SYN | _ACK) == _SYN:
            if connection.ends[side] not in (-1, segment.end):
                self._begin_again(connection, side, segment, out)
            connection.begun = True
        mine = connection.waiting[side]
        if mine or _must_wait(connection, side, segment):
            segment.since, segment.waits = now, True
            mine.append(segment)
            self._waiting.append((segment, connection, side))
            self._bytes += len(segment.item[0].data)
            return
        self._read(connection, side, segment, out)
        self._go_on(connection, out)

    def _begin_again(self, connection: _Connection, side: int, syn: _Segment, out: list[Item]) -> None:
        """The same ends have a new connection, of which the answer may be here already."""
        mine, others = connection.waiting[side], connection.waiting[1 - side]
        while mine:
            self._release(connection, side, out)
        while others and not (others[0].flags & _SYN and others[0].ack == syn.end):
            self._release(connection, 1 - side, out)
        connection.ends = [-1, -1]

    def _read(self, connection: _Connection, side: int, segment: _Segment, out: list[Item]) -> None:
        out.append(segment.item)
        end = connection.ends[side]
        if end < 0 or 0 < (segment.end - end) & _MASK <= _FARTHEST:
            connection.ends[side] = segment.end

    def _go_on(self, connection: _Connection, out: list[Item]) -> None:
        """Reads what has waited for what was read."""
        waiting = connection.waiting
        while True:
            for side in (0, 1):
                if waiting[side] and not _must_wait(connection, side, waiting[side][0]):
                    self._release(connection, side, out)
                    break
            else:
                return

    def _release(self, connection: _Connection, side: int, out: list[Item]) -> None:
        segment = connection.waiting[side].pop(0)
        segment.waits = False
        self._read(connection, side, segment, out)

    def _expire(self, out: list[Item], now: float) -> None:
        while self._waiting:
            first = self._waiting[0][0]
            late = now - first.since > WAIT_S or len(self._waiting) > WAITING or self._bytes > WAITING_BYTES
            if first.waits and not late:
                return
            self._force(out)

    def _force(self, out: list[Item]) -> None:
        """Reads the segment that has waited longest: what it acknowledges is missing."""
        segment, connection, side = self._waiting.popleft()
        self._bytes -= len(segment.item[0].data)
        if segment.waits:
            connection.ends[1 - side] = segment.ack
            self._release(connection, side, out)
            self._go_on(connection, out)

    def _forget(self, peers: bytes, out: list[Item]) -> None:
        connection = self._connections.pop(peers)
        for side in (0, 1):
            while connection.waiting[side]:
                self._release(connection, side, out)


def _must_wait(connection: _Connection, side: int, segment: _Segment) -> bool:
    """Whether it acknowledges what has not been read."""
    if not segment.flags & _ACK:
        return False
    end = connection.ends[1 - side]
    if segment.flags & _SYN:
        return end < 0 or (end - segment.ack) & _MASK > _FARTHEST
    if end >= 0:
        return 0 < (segment.ack - end) & _MASK <= _FARTHEST
    if not connection.begun:
        connection.ends[1 - side] = segment.ack  # the capture begins within the connection
    return connection.begun
