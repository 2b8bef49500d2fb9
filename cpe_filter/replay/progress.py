"""How far the reading of an input is, in one line of a terminal that is written over.

Knows the terminal's control characters and the clock. Must not know what is read.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from cpe_filter.lean.log_output import one_line
from cpe_filter.replay.stream import Input, label
from cpe_filter.texts.terminal import shorten

#: Seconds before the first line, and between two.
_AFTER_S, _EVERY_S = 1.0, 0.5
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Progress:
    """Call it with an input when a piece of it has been read; `clear` before anything else is written."""

    def __init__(self, out: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._out, self._now = out, now
        self._path = ""
        self._began = self._next = 0.0
        self._shown = False

    def __call__(self, source: Input) -> None:
        now = self._now()
        if source.path != self._path:
            self._path, self._began, self._next = source.path, now, now + _AFTER_S
        if now < self._next:
            return
        self._next = now + _EVERY_S
        columns = os.get_terminal_size(self._out.fileno()).columns if self._out.isatty() else 0
        width = min(columns or 80, 80) - 1  # some terminals do not know theirs
        self._out.write(f"\r{line(source, now - self._began, width).ljust(width)}")
        self._out.flush()
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            self._shown = False
            self._out.write("\r\x1b[K")
            self._out.flush()


def line(source: Input, elapsed: float, width: int) -> str:
    """`name: 43% of 1.2 GB, 12 s left`, in so many characters."""
    taken, size = source.taken, source.size
    if size:
        share = min(taken / size, 1.0)
        left = f", {_duration(elapsed / share - elapsed)} left" if share > 0.01 else ""
        text = f"{share:.0%} of {_size(size)}{left}"
    else:
        text = f"{_size(taken)} in {_duration(elapsed)}"
    return f"{shorten(one_line(label(source.path)), max(8, width - len(text) - 2))}: {text}"


def _size(number: float) -> str:
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    return f"{number:.3g} {_UNITS[unit]}" if number < 999.5 else f"{number:.0f} {_UNITS[unit]}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def on_terminal(stream: TextIO = sys.stderr) -> Progress | None:
    """For a person who watches; None where none does."""
    return Progress(stream) if stream.isatty() and os.environ.get("TERM") != "dumb" else None
