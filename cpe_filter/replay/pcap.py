"""pcap: a file's header, then packets, each behind a header of its own.

Knows the format and its variants (pcap-savefile(5)). Must not know where the bytes come from.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cpe_filter.replay.frame import MAX_RECORD, CaptureError, Damages, Frame, Warn, search
from cpe_filter.replay.stream import Stream


class _Variant(NamedTuple):
    """A variant of pcap. order: of its bytes, for struct. ticks: a second's. more: bytes of a packet's header."""

    order: str
    ticks: float
    more: int


#: Keyed by magic: micro- and nanoseconds, and Kuznetsov's, whose packets' headers have 8 bytes more (also FRITZ!Box).
VARIANTS = {
    struct.pack(f"{order}I", magic): _Variant(order, ticks, more)
    for order in "<>"
    for magic, ticks, more in ((0xA1B2C3D4, 1e6, 0), (0xA1B23C4D, 1e9, 0), (0xA1B2CD34, 1e6, 8))
}
#: Times of two neighbouring packets that are further apart, or lengths that do not fit, need a second look.
_DAY_S = 86400


def frames(stream: Stream, warn: Warn) -> Iterator[Frame]:
    """The frames of a pcap file, whose magic is in `VARIANTS`. Raises `CaptureError` if its header is cut off."""
    head = stream.read(24)
    if len(head) < 24:
        raise CaptureError("not a capture: too short for a pcap or pcapng header")
    variant = VARIANTS[head[:4]]
    major, minor, link = struct.unpack(f"{variant.order}HH12xI", head[4:])
    link &= 0x03FFFFFF  # the upper bits describe a frame check sequence
    records = _Records(variant, swapped=(major, minor) <= (2, 3))
    unpack, size, ticks = records.unpack, records.size, variant.ticks
    damages = Damages(warn)
    number = 0
    last = -1
    while True:
        data, at = stream.data, stream.at
        end = len(data)
        while at + size <= end:  # the hot loop: packets that are here, and nothing about them is odd
            seconds, fraction, kept, length = unpack(data, at)
            after = at + size + kept
            if after > end or kept > length or not -_DAY_S < seconds - last < _DAY_S or fraction >= ticks:
                break
            number += 1
            at = after
            last = seconds
            yield Frame(seconds + fraction / ticks, link, data[after - kept : after], length)
        stream.at = at
        have = stream.fill(size)
        if have < size:
            if have:
                damages.add(stream.position, have, f"cut off in the header of packet {number + 1}")
            break
        number += 1
        if not records.sound(stream, last):
            kept = unpack(stream.data, stream.at)[2]
            at = stream.position
            skipped = search(stream, records.candidates(stream, last), records.sound_at)
            damages.add(at, skipped, f"packet {number} with a length of {kept} bytes")
            continue
        seconds, fraction, kept, length = records.header(stream.data, stream.at)
        stream.at += size
        data = stream.read(kept)
        last = seconds
        yield Frame(seconds + fraction / ticks, link, data, max(length, kept))
        if len(data) < kept:
            warn(f"cut off within packet {number}")
            break
    damages.finish()


class _Records:
    """The headers of a pcap file's packets, and how to tell them from other bytes."""

    def __init__(self, variant: _Variant, swapped: bool) -> None:
        layout = struct.Struct(f"{variant.order}IIII{variant.more}x")
        self.size, self.unpack = layout.size, layout.unpack_from
        self._variant = variant
        self._swapped = swapped

    def header(self, data: bytes, at: int) -> tuple[int, int, int, int]:
        """Seconds, fraction, bytes kept, bytes on the wire. Old versions have the last two in another order."""
        seconds, fraction, kept, length = self.unpack(data, at)
        return (
            (seconds, fraction, length, kept) if self._swapped and kept > length else (seconds, fraction, kept, length)
        )

    def sound(self, stream: Stream, last: int) -> bool:
        """Whether the packet ahead is one: its header is usual, or what follows its end is a header or the end."""
        seconds, fraction, kept, length = self.header(stream.data, stream.at)
        if kept > MAX_RECORD:
            return False
        if kept <= length and (last < 0 or abs(seconds - last) < _DAY_S) and fraction < self._variant.ticks:
            return True
        if not (seconds or kept):
            return False  # a hole of zeros, as a crash or a full disk leaves it
        have = stream.fill(2 * self.size + kept)
        if have < 2 * self.size + kept:
            return last < 0 or have == self.size + kept
        return self._is_usual(stream.data, stream.at + self.size + kept, seconds)

    def candidates(self, stream: Stream, last: int) -> Callable[[bytes, int], Iterator[int]]:
        """Where headers may begin: at seconds whose upper half is that of the last packet, or the next one."""
        upper = (self.unpack(stream.data, stream.at)[0] if last < 0 else last) >> 16
        before = 2 if self._variant.order == "<" else 0
        halves = [struct.pack(f"{self._variant.order}H", half) for half in (upper, min(upper + 1, 0xFFFF))]

        def found(data: bytes, at: int) -> Iterator[int]:
            places = [data.find(half, at + before) for half in halves]
            while any(place >= 0 for place in places):
                place = min(place for place in places if place >= 0)
                yield place - before
                places = [
                    data.find(half, place + 1) if was == place else was
                    for half, was in zip(halves, places, strict=True)
                ]

        return found

    def sound_at(self, data: bytes, at: int) -> bool:
        """Whether a packet is at `at`, for sure: two headers in the right distance, or one and the end."""
        if at + self.size > len(data):
            return False
        seconds, fraction, kept, length = self.unpack(data, at)
        after = at + self.size + kept
        usual = 0 < kept <= length <= MAX_RECORD and fraction < self._variant.ticks
        return usual and (after == len(data) or self._is_usual(data, after, seconds))

    def _is_usual(self, data: bytes, at: int, last: int) -> bool:
        if at + self.size > len(data):
            return False
        seconds, fraction, kept, length = self.header(data, at)
        return abs(seconds - last) < _DAY_S and kept <= length <= 1 << 24 and fraction < self._variant.ticks
