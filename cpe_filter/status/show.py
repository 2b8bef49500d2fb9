"""`cpe-filter status`: once, or repeated.

Knows terminals and pipes, and where the router's service reports a configuration that it cannot use (a line in
`config-error`, see status.of_service). Must not know what a status means; see overview. On a terminal a watch redraws
in place, with plain control sequences (ECMA-48), and shows as much of the status as fits. Into a pipe it appends each
new status.
"""

from __future__ import annotations

import json
import os
import sys
import time

from cpe_filter.inputs import printable
from cpe_filter.lean.clocks import posix
from cpe_filter.lean.log_output import one_line
from cpe_filter.outcome import complain
from cpe_filter.status.overview import describe
from cpe_filter.status.status import NotRunningError, of_service, read

#: The shortest and longest interval of a watch, in seconds.
LEAST_S, MOST_S = 0.1, 3600.0

#: Characters of a line in `config-error`.
_LONGEST_ERROR = 1000
#: Lines of `notes`.
_MOST_NOTES = 16
_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"
_WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def once(path: str, as_json: bool) -> int:
    """0 and the status, or 1 and one line if no filter runs."""
    try:
        text = _text(path, as_json, _size()[0])[0]
    except NotRunningError as why:
        complain(_with_error(str(why), path))
        return 1
    sys.stdout.write(text if as_json else f"{text}\n")
    return 0


def watch(path: str, as_json: bool, every_s: float) -> int:
    """The status every so many seconds until Ctrl-C. Also shows when the filter stops, and when it runs again."""
    terminal = sys.stdout.isatty() and not as_json
    last = ""
    try:
        while True:
            columns, rows = _size()
            try:
                text, new = _text(path, as_json, columns)
            except NotRunningError as why:
                error = config_problem(path)
                new = _with_error(str(why), path)
                object_ = {"running": False, "why": str(why), **({"config_error": error} if error else {})}
                text = json.dumps(object_) if as_json else f"cpe-filter: {one_line(new)}"
            if terminal:
                _redraw(text, columns or 80, rows or 24)
            elif new != last:
                print(text.rstrip("\n") if as_json or not last else f"\n{text}", flush=True)
            last = new
            time.sleep(every_s)
    except KeyboardInterrupt:
        if terminal:
            sys.stdout.write("\n")
        return 0


def _text(path: str, as_json: bool, columns: int | None) -> tuple[str, str]:
    """What to show, and what distinguishes this status from the next. Raises `NotRunningError`."""
    text, content = read(path)
    error, notes = config_problem(path), service_notes(path)
    which = f"{content['pid']} {content.get('updated')} {error} {notes}"
    if as_json:
        more = {**({"config_error": error} if error else {}), **({"notes": notes} if notes else {})}
        return (f"{json.dumps(more)[:-1]},{text.lstrip()[1:]}" if more else text), which
    try:
        return "\n".join(describe(content, posix(), columns, error, notes)), which
    except _WRONG:
        raise NotRunningError(f"{path}: not a status file") from None


def config_problem(path: str) -> str | None:
    """Why the service does not use its configuration, one line; None if it does, or if there is no service."""
    lines = _service_lines(path, "config-error", 1)
    return lines[0] if lines else None


def service_notes(path: str) -> list[str]:
    """What else the service's user must know: no relays, no jail, ways out that are not watched. A line for each."""
    return _service_lines(path, "notes", _MOST_NOTES)


def _service_lines(path: str, name: str, most: int) -> list[str]:
    try:
        with open(of_service(path, name), encoding="utf-8", errors="replace") as file:
            lines = [file.readline(_LONGEST_ERROR).rstrip("\n") for _ in range(most)]
    except OSError:
        return []
    return [printable(line) for line in lines if line]


def _with_error(why: str, path: str) -> str:
    error = config_problem(path)
    parts = [why, *([f"the configuration cannot be used: {error}"] if error else []), *service_notes(path)]
    return "; ".join(parts)


def _size() -> tuple[int | None, int | None]:
    """Columns and rows of the terminal that the output goes to; None if it is not a terminal."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return None, None
    return (size.columns or None), (size.lines or None)


def _redraw(text: str, columns: int, rows: int) -> None:
    """Redraws the screen without clearing it first, which would flicker. Says so if not all lines fit."""
    lines = [line[:columns] for line in text.split("\n")]
    if len(lines) > rows - 1:
        left_out = len(lines) - (rows - 2)
        lines = [*lines[: rows - 2], f"... {left_out} lines more: cpe-filter status"[:columns]]
    sys.stdout.write(_HOME + "".join(f"{line}{_TO_LINE_END}\n" for line in lines) + _TO_SCREEN_END)
    sys.stdout.flush()
