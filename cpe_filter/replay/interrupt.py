"""Ctrl-C while inputs are read: reading ends, and what has been found so far is shown.

Knows SIGINT. Must not know what is read. Between two reads a signal only leaves a mark, so that no packet is judged
halfway; a read that waits is broken off. A second Ctrl-C ends the program as usual.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """`with Interrupt() as interrupt:`. happened: Ctrl-C was pressed; reading ends."""

    def __init__(self) -> None:
        self.happened = False
        self._waiting = False
        self._former: Any = None

    def __enter__(self) -> Interrupt:
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # not ignored, as under nohup
            self._former = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)

    def waiting(self, read: Callable[[], bytes]) -> bytes:
        """What `read` returns; nothing, as at the end, if it is interrupted or was before."""
        try:
            self._waiting = True
            return b"" if self.happened else read()
        except KeyboardInterrupt:
            return b""
        finally:
            self._waiting = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self.happened = self.happened, True
        if again or self._waiting:
            raise KeyboardInterrupt
