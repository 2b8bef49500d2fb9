"""The log: lines with a severity, and lines that are not repeated.

Knows severities, and when a line is a repetition; `log_output` knows where lines go. Must not know what is logged.
Saves 1830 kB: logging with `re`, `string` and `traceback` takes 2330 kB, this module 500 kB, all of it for
collections.abc, which others load in any case.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.lean.log_output import ERROR, INFO, NOTICE, WARNING, Output

#: Subjects whose last line `LogOnce` remembers. Further subjects are not logged, so made-up subjects cannot fill the
#: log.
MAX_SUBJECTS = 64


class Line(str):
    """The text of a line with its severity. `err`, `warning`, `notice` and `info` make it."""

    __slots__ = ("severity",)
    severity: int

    def __new__(cls, text: str, severity: int) -> Line:
        line = super().__new__(cls, text)
        line.severity = severity
        return line


#: What writes a line. Parts get it, so that what they log can be seen in tests.
Log = Callable[[Line], None]


def err(text: str) -> Line:
    """Something failed that the filter needs: a person has to look."""
    return Line(text, ERROR)


def warning(text: str) -> Line:
    """Something is wrong and the filter goes on: a compromised device, rules that another program has changed."""
    return Line(text, WARNING)


def notice(text: str) -> Line:
    """Normal, and worth keeping: a start, a changed standing, a refusal, what people do."""
    return Line(text, NOTICE)


def info(text: str) -> Line:
    """Normal, and of interest to those who look closely: counts, what was delivered."""
    return Line(text, INFO)


#: The log of this process.
output = Output()


def log(line: Line) -> None:
    """Writes a line to syslog or stderr. Never blocks, never fails."""
    output.write(line.severity, line)


class LogOnce:
    """Lines about subjects. A line is logged if it is new for its subject."""

    __slots__ = ("_last", "_log", "_most")

    def __init__(self, log: Log, most: int = MAX_SUBJECTS) -> None:
        self._log = log
        self._most = most
        self._last: dict[str, str] = {}

    def first(self, subject: str, line: Line) -> None:
        """Logs the line unless there was one about this subject since the last `clear`."""
        if subject not in self._last:
            self.changed(subject, line)

    def changed(self, subject: str, line: Line) -> None:
        """Logs the line unless it is the same as the last one about this subject."""
        if self._last.get(subject) == line or (subject not in self._last and len(self._last) >= self._most):
            return
        self._last[subject] = line
        self._log(line)

    def clear(self, subject: str) -> None:
        """The subject is in order again: the next line about it is new."""
        self._last.pop(subject, None)
