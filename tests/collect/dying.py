"""Runs the collector with one fault: `python -m tests.collect.dying WHERE AFTER ARGUMENTS...`.

WHERE: `committed`: it is killed when the store has committed and nobody has been answered; `committing`: when the
rows are written and not committed. AFTER: at which commit. The fault is here, not in the program.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from typing import Any

from cpe_filter.cli import main as cli
from cpe_filter.collect.store import sqlite
from cpe_filter.collect.wire import Report


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    where, after, *arguments = sys.argv[1:]
    left = int(after)
    add = sqlite.SQLite._add

    def dying(self: sqlite.SQLite, reports: Sequence[Report]) -> int:
        nonlocal left
        left -= 1
        if not left and where == "committing":
            assert self._connection is not None
            self._connection = _Half(self._connection)  # type: ignore[assignment]
        new = add(self, reports)
        if not left:
            _die()
        return new

    sqlite.SQLite._add = dying  # type: ignore[method-assign]
    cli.main(arguments)


class _Half:
    """A connection that dies in place of its COMMIT."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, text: str, *more: Any) -> Any:
        if text == "COMMIT":
            _die()
        return self._connection.execute(text, *more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


if __name__ == "__main__":
    main()
