"""The interface of a store of reports. Two implement it: `sqlite.SQLite` (one file) and `postgres.Postgres`.

Knows reports and plain SQL. Must not know HTTP or queues. The rest of the collector (cases, exports, pages) uses `read`
and `write`: one SQL text for both engines, with parameters as `:name` (never as part of the text), no `%`, no `::`
casts, `CASE` instead of functions that only one engine has; where that is not enough, `dialect` names the engine.
Tables are made by migrations/NNNN_name.sql, also one text for both: add the next number.
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


class StoreUnavailableError(StoreError):
    """It cannot be reached, is full or is busy: the same call may succeed later."""


class UnstorableError(StoreError):
    """It will always refuse these values."""


class SchemaError(StoreError):
    """Its tables are newer than this program, or belong to another one."""


class Store(Protocol):
    """A store that is open. Any number of calls may run at once."""

    #: `sqlite` or `postgresql`.
    dialect: str

    async def open(self) -> None:
        """Connects, and updates old tables. Raises `StoreUnavailableError`, `SchemaError`."""

    async def close(self) -> None:
        """Waits for what runs, and disconnects."""

    async def add(self, reports: Sequence[Report]) -> int:
        """Stores reports in one transaction, durable when it returns: how many events were new.

        Events that are stored already change nothing. Raises `StoreUnavailableError` or `UnstorableError`; then none is
        stored.
        """

    async def read(self, sql: str, /, **parameters: Any) -> list[Row]:
        """The rows of a SELECT, at most a million. Raises `StoreUnavailableError`; `UnstorableError` for wrong SQL."""

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        """Runs statements in one transaction: how many rows each changed. Raises as `add`."""
