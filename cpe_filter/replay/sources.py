"""What the command line names -> captures to judge: each input alone, the files of a folder, or all files as one.

Knows folders, and how packets of several files are put in order. Must not know formats or how anything is judged.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from cpe_filter.replay.capture import CaptureError, Frame, frames
from cpe_filter.replay.stream import Reading, label
from cpe_filter.texts.terminal import clock

#: Between two files that are judged as one, seconds without packets that are worth a line.
GAP_S = 600.0
#: Lines about gaps and overlaps, at most.
LINES = 5
#: Files that are open at once while their times overlap.
OPEN = 200

#: Says something about an input, by its path.
Warn = Callable[[str, str], None]


class Source(NamedTuple):
    """A capture to judge. found: in a folder, so it may be something else."""

    path: str
    found: bool = False


class FolderError(ValueError):
    """A folder in which there is nothing to judge."""


def expand(paths: Sequence[str], skipped: Warn) -> list[Source]:
    """The inputs, with the files of a folder and of the folders in it, in the order of their names (`x9` before `x10`).

    skipped: called with what in a folder is not a file. Raises `OSError`, and `FolderError` for an empty folder.
    """
    sources: list[Source] = []
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            sources.append(Source(path))
            continue
        before = len(sources)
        _expand_folder(path, sources, skipped)
        if len(sources) == before:
            raise FolderError(f"{path}: no files in this folder")
    return sources


def _expand_folder(path: str, sources: list[Source], skipped: Warn) -> None:
    """Files first. A link to a folder is not followed: it may lead back."""
    folders = []
    for name in sorted(os.listdir(path), key=_natural):
        inside = os.path.join(path, name)
        if os.path.isfile(inside):
            sources.append(Source(inside, True))
        elif os.path.isdir(inside) and not os.path.islink(inside):
            folders.append(inside)
        else:
            skipped(inside, "a link to a folder" if os.path.isdir(inside) else "not a file")
    for folder in folders:
        _expand_folder(folder, sources, skipped)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts numbers in names by their value."""
    return [(0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in _parts(name)]


def _parts(name: str) -> Iterator[str]:
    start = 0
    for at in range(1, len(name) + 1):
        if at == len(name) or name[at].isdecimal() != name[start].isdecimal() or at - start >= 18:
            yield name[start:at]
            start = at


class _Part:
    """A file of several. first: the time of its first packet. last: the latest so far. rest: None: not open."""

    def __init__(self, path: str, number: int, first: Frame, rest: Iterator[Frame] | None) -> None:
        self.path, self.number = path, number
        self.first = self.last = first.time
        self.frame = first
        self.rest = rest

    def __lt__(self, other: _Part) -> bool:
        return (self.frame.time, self.number) < (other.frame.time, other.number)


class Joined:
    """The frames of several files as those of one, in the order of the files' first packets.

    Where files overlap, their packets are taken in order of time. failed: called with a file that cannot be used, and
    the error. notes: what else is worth a line, once all frames have been read.
    """

    def __init__(
        self, sources: Sequence[Source], reading: Reading, failed: Callable[[Source, Exception], None]
    ) -> None:
        self._sources, self._reading, self._failed = sources, reading, failed
        self._lines = 0
        self._latest: _Part | None = None  # of those that were read to their end, the one that ended last
        self.notes: list[str] = []

    def frames(self, warn: Warn) -> Iterator[Frame]:
        """warn: called with damage in a file. Raises `CaptureError` if no file can be used."""
        waiting = self._parts(warn)
        interrupt = self._reading.interrupt
        if not waiting and not (interrupt and interrupt.happened):
            raise CaptureError("none of the files can be used, or has packets")
        self._note_order(waiting)
        waiting.reverse()
        active: list[_Part] = []
        while waiting or active:
            while waiting and len(active) < OPEN and (not active or waiting[-1].first <= active[0].frame.time):
                part = waiting.pop()
                self._compare(part, active)
                if part.rest is None:
                    part.rest = self._rest(part, warn)
                heapq.heappush(active, part)
            yield from self._run(active, waiting[-1].first if waiting and len(active) < OPEN else None)
        if self._lines > LINES:
            self.notes.append(f"{self._lines - LINES} more gaps and overlaps")

    def _run(self, active: list[_Part], until: float | None) -> Iterator[Frame]:
        """The frames of the open files, until the next one has to be opened, or can be."""
        while active and (until is None or active[0].frame.time < until):
            part = active[0]
            yield part.frame
            assert part.rest is not None  # noqa: S101
            frame = next(part.rest, None)
            if frame is None:
                heapq.heappop(active)
                if self._latest is None or part.last >= self._latest.last:
                    self._latest = part
                if until is None:
                    return
                continue
            part.frame = frame
            part.last = max(part.last, frame.time)
            if len(active) > 1:
                heapq.heapreplace(active, part)

    def _parts(self, warn: Warn) -> list[_Part]:
        """The files that have packets, by the time of the first one."""
        parts = []
        for number, source in enumerate(self._sources):
            path = source.path
            again = path != "-" and os.path.isfile(path)  # a pipe can be read only once
            said: list[str] = []
            found = frames(path, said.append if again else self._warn(path, warn), self._reading)
            try:
                first = next(found, None)
            except (CaptureError, OSError) as error:
                self._failed(source, error)
                continue
            if first is not None:
                parts.append(_Part(path, number, first, None if again else found))
            else:
                for text in said:
                    warn(path, text)
        return sorted(parts)

    def _rest(self, part: _Part, warn: Warn) -> Iterator[Frame]:
        """A file's frames behind the first one; if it cannot be read any more, the others go on."""
        try:
            found = frames(part.path, self._warn(part.path, warn), self._reading)
            next(found, None)
            yield from found
        except (CaptureError, OSError) as error:
            self._failed(self._sources[part.number], error)

    def _warn(self, path: str, warn: Warn) -> Callable[[str], None]:
        return lambda text: warn(path, text)

    def _note_order(self, parts: Sequence[_Part]) -> None:
        numbers = [part.number for part in parts]
        if numbers != sorted(numbers):
            names = ", ".join(os.path.basename(part.path) or part.path for part in parts[:8])
            more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
            self.notes.append(f"taken in the order of their first packets: {names}{more}")

    def _compare(self, part: _Part, active: Sequence[_Part]) -> None:
        """Notes how a file's beginning goes with those before it."""
        if active and part.first < active[0].frame.time:
            text = (
                f"{label(part.path)} begins before {label(active[0].path)} ends; their packets are put in order of time"
            )
        elif (
            not active and self._latest is not None and part.first - self._latest.last > GAP_S and self._latest.last > 0
        ):
            gap, since = _duration(part.first - self._latest.last), clock(self._latest.last)
            text = f"no packets for {gap} from {since} UTC on, before {label(part.path)}"
        else:
            return
        self._lines += 1
        if self._lines <= LINES:
            self.notes.append(text)


def _duration(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min"
