"""What readers of captures share: a frame, and how damage is reported and stepped over.

Knows no format. Must not know where bytes come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from cpe_filter.replay.stream import Stream

#: What is kept of one packet or block, bytes. Longer ones are stepped over, or cut.
MAX_RECORD = 1 << 20

Warn = Callable[[str], None]


class CaptureError(ValueError):
    """An input that cannot be used as a capture at all."""


class NoCaptureError(CaptureError):
    """An input that is something else, and has no packets."""


class Frame(NamedTuple):
    """time: POSIX seconds. link: LINKTYPE number. data: what was kept of the frame. length: on the wire."""

    time: float
    link: int
    data: bytes
    length: int


class Damages:
    """Parts of a file that could not be read. The first ones are warnings of their own, the rest one together."""

    _LISTED = 10

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._more = self._bytes = self._places = 0

    def add(self, at: int, size: int, reason: str) -> None:
        """size: bytes from byte `at` on."""
        self._places += 1
        if self._places <= self._LISTED:
            self._warn(f"{size} bytes from byte {at} could not be read: {reason}")
        else:
            self._more += 1
            self._bytes += size

    def finish(self) -> None:
        if self._more:
            self._warn(f"{self._bytes} bytes in {self._more} more places could not be read")


def search(
    stream: Stream, candidates: Callable[[bytes, int], Iterator[int]], sound_at: Callable[[bytes, int], bool]
) -> int:
    """Steps to the next sound place behind the one that is ahead, or to the end; returns how many bytes that took."""
    skipped, least = 0, 1
    while True:
        last_part = stream.fill(2 * MAX_RECORD) < 2 * MAX_RECORD
        data, at = stream.data, stream.at
        end = len(data) if last_part else len(data) - MAX_RECORD - 64
        for found in candidates(data, at + least):
            if found >= end:
                break
            if sound_at(data, found):
                stream.at = found
                return skipped + found - at
        stream.at = end
        skipped += end - at
        least = 0
        if last_part:
            return skipped
