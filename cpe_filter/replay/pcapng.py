"""pcapng: blocks, of which some are packets, in sections with an order of bytes and interfaces of their own.

Knows the format (draft-ietf-opsawg-pcapng). Must not know where the bytes come from.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from cpe_filter.replay.frame import MAX_RECORD, CaptureError, Damages, Frame, Warn, search
from cpe_filter.replay.stream import Stream

#: How a section begins, whatever the order of its bytes.
MAGIC = b"\x0a\x0d\x0d\x0a"
#: Interfaces of one section, at most: each takes memory.
INTERFACES = 4096
_INTERFACE, _OLD_PACKET, _SIMPLE, _STATISTICS, _ENHANCED = 1, 2, 3, 5, 6
_PACKETS = (_OLD_PACKET, _SIMPLE, _ENHANCED)
#: Blocks that have no packets: sections, names, the journal, secrets, custom ones. Types from `_LOCAL` on are private.
_WITHOUT_PACKETS = {0x0A0D0D0A, 4, 9, 10, 0xBAD, 0x40000BAD}
_LOCAL = 0x80000000
_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET, _ISB_IFDROP, _ISB_OSDROP = 0, 9, 14, 5, 7
#: What a packet's block may have besides the packet, bytes.
_OPTIONS = 1 << 22
#: How blocks begin that are looked for behind damage.
_BEGINNINGS = {"<": re.compile(rb"[\1-\6]\0\0\0|\n\r\r\n"), ">": re.compile(rb"\0\0\0[\1-\6]|\n\r\r\n")}


class _Interface(NamedTuple):
    link: int
    scale: float
    offset: int
    snaplen: int


class _BlockError(ValueError):
    pass


def frames(stream: Stream, total: int | None, warn: Warn) -> Iterator[Frame]:
    """The frames of a pcapng stream; total: how many bytes it has, if that is known.

    Raises `CaptureError` if the first section's header cannot be read.
    """
    blocks = _Blocks(stream, total, warn)
    while True:
        section = blocks.section
        unpack, interfaces = section.enhanced, section.interfaces
        data, at = stream.data, stream.at
        end = len(data)
        while at + 32 <= end:  # the hot loop: sound packets that are here, as nearly all files have
            kind, size, index, high, low, kept, length = unpack(data, at)
            after = at + size
            if kind != _ENHANCED or after > end or kept > size - 32 or size & 3 or index >= len(interfaces):
                break
            interface = interfaces[index]
            if interface is None or kept > length or data[after - 4 : after] != data[at + 4 : at + 8]:
                break
            time = interface.offset + (high << 32 | low) / interface.scale
            start = at + 28
            at = after
            yield Frame(time if 0 <= time < 1e11 else 0.0, interface.link, data[start : start + kept], length)
        stream.at = at
        block = blocks.next()
        if block is None:
            break
        frame = blocks.take(*block)
        if frame is not None:
            yield frame
    blocks.finish()


class _Section:
    """What holds for the blocks of one section: the order of bytes, and the interfaces."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.interfaces: list[_Interface | None] = []  # None: described, but unreadable
        self.dropped: dict[int, int] = {}
        self.head = struct.Struct(f"{order}II").unpack_from
        self.enhanced = struct.Struct(f"{order}7I").unpack_from
        self.number = struct.Struct(f"{order}I").unpack_from

    def packet(self, kind: int, block: bytes, room: int) -> Frame:
        """A packet's frame. room: bytes of the block, of which the last may not be here. Raises `_BlockError`."""
        if kind == _SIMPLE:
            return self._simple(block, room)
        if room < 32:
            raise _BlockError("too short for a packet")
        _, _, index, high, low, kept, length = self.enhanced(block, 0)
        if kind == _OLD_PACKET:  # two bytes count packets that were lost
            index = index >> 16 if self.order == ">" else index & 0xFFFF
        interface = self._described(index)
        if kept > room - 32:
            raise _BlockError(f"a packet of {kept} bytes in a block of {room}")
        time = interface.offset + (high << 32 | low) / interface.scale
        if not 0 <= time < 1e11:
            time = 0.0
        return Frame(time, interface.link, block[28 : 28 + kept], max(length, kept))

    def _simple(self, block: bytes, room: int) -> Frame:
        """No time, no captured length; of the first interface."""
        if room < 16:
            raise _BlockError("too short for a packet")
        interface = self._described(0)
        (length,) = self.number(block, 8)
        kept = min(length, room - 16, interface.snaplen or MAX_RECORD)
        return Frame(0.0, interface.link, block[12 : 12 + kept], length)

    def _described(self, index: int) -> _Interface:
        interface = self.interfaces[index] if index < len(self.interfaces) else None
        if interface is None:
            raise _BlockError(f"a packet of interface {index}, which is not described")
        return interface

    def add_interface(self, block: bytes, room: int) -> None:
        """Raises `_BlockError`."""
        if len(self.interfaces) >= INTERFACES:
            raise _BlockError(f"more than {INTERFACES} interfaces")
        self.interfaces.append(None)
        if room < 20:
            raise _BlockError("too short for an interface")
        link, snaplen = struct.unpack_from(f"{self.order}H2xI", block, 8)
        scale, offset = 1e6, 0
        for code, data in self._options(block, 16, room):
            if code == _IF_TSRESOL and data:
                scale = float((2 if data[0] & 0x80 else 10) ** min(data[0] & 0x7F, 60))
            elif code == _IF_TSOFFSET and len(data) == 8:
                (offset,) = struct.unpack(f"{self.order}q", data)
        self.interfaces[-1] = _Interface(link, scale, offset, snaplen)

    def count_drops(self, block: bytes, room: int) -> None:
        """What the machine that captured has lost, by its own statistics. They grow, so the largest counts."""
        if room < 24:
            raise _BlockError("too short for statistics")
        (index,) = self.number(block, 8)
        lost = 0
        for code, data in self._options(block, 20, room):
            if code in (_ISB_IFDROP, _ISB_OSDROP) and len(data) == 8:
                lost += struct.unpack(f"{self.order}Q", data)[0]
        if index < len(self.interfaces):
            self.dropped[index] = max(lost, self.dropped.get(index, 0))

    def _options(self, block: bytes, at: int, room: int) -> Iterator[tuple[int, bytes]]:
        end = min(len(block), room - 4)
        while at + 4 <= end:
            code, size = struct.unpack_from(f"{self.order}HH", block, at)
            if code == _END_OF_OPTIONS:
                break
            yield code, block[at + 4 : min(at + 4 + size, end)]
            at += 4 + (size + 3) // 4 * 4


class _Blocks:
    """The walk from block to block, and what was left out on it."""

    def __init__(self, stream: Stream, total: int | None, warn: Warn) -> None:
        self._stream, self._total, self._warn = stream, total, warn
        self._damages = Damages(warn)
        self._at = 0  # where the current block begins
        self._dropped = 0
        self._unknown: dict[int, int] = {}
        self.section = _Section("<")

    def next(self) -> tuple[int, bytes, int] | None:
        """The next block: its type, its bytes (at most `MAX_RECORD`), and how many there are. None at the end."""
        stream = self._stream
        while have := stream.fill(12):
            self._at = stream.position
            if have < 12:
                self._cut_off(12)
                return None
            if stream.data.startswith(MAGIC, stream.at) and not self._begin_section():
                continue
            kind, length = self.section.head(stream.data, stream.at)
            if length < 12 or length % 4 or self._is_impossible(kind, length):
                self._recover(f"a block of {length} bytes")
                continue
            if length > MAX_RECORD:
                data = stream.read(MAX_RECORD)
                if len(data) < MAX_RECORD or stream.skip(length - MAX_RECORD) < length - MAX_RECORD:
                    self._cut_off(length)
                    return None
                return kind, data, length
            if stream.fill(length) < length:
                self._cut_off(length)
                return None
            if self.section.number(stream.data, stream.at + length - 4)[0] != length:
                self._recover("a block whose two lengths differ")
                continue
            return kind, stream.read(length), length
        return None

    def take(self, kind: int, block: bytes, room: int) -> Frame | None:
        """Does what a block says; its frame, if it is a packet."""
        try:
            if kind in _PACKETS:
                return self.section.packet(kind, block, room)
            if kind == _INTERFACE:
                self.section.add_interface(block, room)
            elif kind == _STATISTICS:
                self.section.count_drops(block, room)
            elif kind not in _WITHOUT_PACKETS and kind < _LOCAL:
                known = kind if kind in self._unknown or len(self._unknown) < 16 else -1
                self._unknown[known] = self._unknown.get(known, 0) + 1
        except _BlockError as error:
            self._damages.add(self._at, room, f"damaged block: {error}")
        return None

    def finish(self) -> None:
        self._damages.finish()
        self._end_section()
        for kind, number in self._unknown.items():
            name = f"type {kind}" if kind >= 0 else "other types"
            self._warn(f"{number} blocks of {name} were left out; what is in them is not known")
        if self._dropped:
            self._warn(f"{self._dropped} packets were lost when this was captured, by the capture's own statistics")

    def _begin_section(self) -> bool:
        """Reads the header that says how everything behind it is read; whether it could.

        Raises `CaptureError` if it is the first: this is not a capture then.
        """
        stream = self._stream
        mark = stream.data[stream.at + 8 : stream.at + 12]
        order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(mark)
        if order is None:
            if not self._at:
                raise CaptureError("not a capture: a pcapng header without byte order")
            self._recover("a section without byte order")
            return False
        self._end_section()
        self.section = _Section(order)
        return True

    def _end_section(self) -> None:
        self._dropped += sum(self.section.dropped.values())

    def _is_impossible(self, kind: int, length: int) -> bool:
        """Whether a block cannot be so long: it ends behind the file, or its packet fills too little of it."""
        if length <= MAX_RECORD or not self._at:
            return False
        if self._total is not None and self._at + length > self._total:
            return True
        if kind not in (_ENHANCED, _OLD_PACKET):
            return False
        return bool(length - self.section.enhanced(self._stream.peek(28).ljust(28, b"\0"), 0)[5] > _OPTIONS)

    def _cut_off(self, length: int) -> None:
        if not self._at:
            raise CaptureError(f"not a capture: a pcapng file cut off in its header of {length} bytes")
        self._stream.skip(length)
        size = self._stream.position - self._at
        self._damages.add(self._at, size, f"cut off within a block of {length} bytes")

    def _recover(self, reason: str) -> None:
        """Steps to the next block that is sound. Raises `CaptureError` in the first block."""
        if not self._at:
            raise CaptureError(f"not a capture: the header of pcapng is {reason}")
        skipped = search(self._stream, self._beginnings, self._is_sound)
        self._damages.add(self._at, skipped, reason)

    def _beginnings(self, data: bytes, at: int) -> Iterator[int]:
        return (match.start() for match in _BEGINNINGS[self.section.order].finditer(data, at))

    def _is_sound(self, data: bytes, at: int) -> bool:
        """Whether a block is at `at`, for sure: both its lengths are there and equal."""
        if data.startswith(MAGIC, at):
            mark = data[at + 8 : at + 12]
            order = "little" if mark == b"\x4d\x3c\x2b\x1a" else "big" if mark == b"\x1a\x2b\x3c\x4d" else ""
            length = int.from_bytes(data[at + 4 : at + 8], "little" if order == "little" else "big")
            if not order:
                return False
        elif at + 12 > len(data):
            return False
        else:
            length = self.section.head(data, at)[1]
        end = at + length
        sound = 12 <= length <= MAX_RECORD and not length % 4 and end <= len(data)
        return sound and data[end - 4 : end] == data[at + 4 : at + 8]
