"""The log: lines on stderr, and lines that are not repeated.

Knows when a line is a repetition. Must not know what is logged. Saves 1830 kB: logging with `re`, `string` and
`traceback` takes 2330 kB, this module 500 kB, all of it for collections.abc, which others load in any case.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

#: Subjects whose last line `LogOnce` remembers. Further subjects are not logged, so made-up subjects cannot fill the
#: log.
MAX_SUBJECTS = 64


def log(text: str) -> None:
    """One line on stderr: procd and systemd carry it to the system log."""
    try:
        sys.stderr.write(f"cpe-filter: {text}\n")
        sys.stderr.flush()
    except (OSError, AttributeError):  # closed, now or from the start; the packets still need their verdicts
        pass


class LogOnce:
    """Lines about subjects. A line is logged if it is new for its subject. log: takes a line."""

    __slots__ = ("_last", "_log", "_most")

    def __init__(self, log: Callable[[str], None], most: int = MAX_SUBJECTS) -> None:
        self._log = log
        self._most = most
        self._last: dict[str, str] = {}

    def first(self, subject: str, text: str) -> None:
        """Logs the line unless there was one about this subject since the last `clear`."""
        if subject not in self._last:
            self.changed(subject, text)

    def changed(self, subject: str, text: str) -> None:
        """Logs the line unless it is the same as the last one about this subject."""
        if self._last.get(subject) == text or (subject not in self._last and len(self._last) >= self._most):
            return
        self._last[subject] = text
        self._log(text)

    def clear(self, subject: str) -> None:
        """The subject is in order again: the next line about it is new."""
        self._last.pop(subject, None)
