"""What a store of reports can do. Two keep the promise: `sqlite.SQLite` (one file) and `postgres.Postgres`.

Knows reports and plain SQL. Must not know HTTP or queues. Everything else that belongs to the collector (cases,
exports, pages) stands on `read` and `write`: one SQL text for both engines, with parameters as `:name` (never as part
of the text), no `%`, no `::` casts, `CASE` in place of engines' own functions; where that is not enough, `dialect`
tells them apart. Tables come from migrations/NNNN_name.sql, one text for both, too: add the next number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cpe_filter.collect.wire import Report

Row = dict[str, Any]
#: SQL text and its parameters.
Statement = tuple[str, Mapping[str, Any]]


class StoreError(Exception):
    """The text says what went wrong, for the log."""


class StoreAway(StoreError):
    """It cannot be reached, is full or is busy: the same may succeed later."""


class Unstorable(StoreError):
    """It refuses these values for good."""


class WrongSchema(StoreError):
    """Its tables are newer than this program, or not the program's."""


class Store(Protocol):
    """A store that is open. Any number of calls may run at once."""

    #: `sqlite` or `postgresql`.
    dialect: str

    async def open(self) -> None:
        """Connects and checks the tables, bringing old ones up to date. Raises `StoreAway`, `WrongSchema`."""

    async def close(self) -> None:
        """Ends what runs and disconnects."""

    async def add(self, reports: Sequence[Report]) -> int:
        """Keeps reports, all in one transaction, durably before it returns: how many events were new.

        Events that are known already change nothing. Raises `StoreAway` or `Unstorable`; then none is kept.
        """

    async def read(self, sql: str, /, **parameters: Any) -> list[Row]:
        """The rows of a SELECT, at most a million. Raises `StoreAway`, or `Unstorable` where the SQL is wrong."""

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        """Runs statements in one transaction: how many rows each changed. Raises as `add`."""
