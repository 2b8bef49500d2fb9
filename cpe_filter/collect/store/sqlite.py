"""The store in one SQLite file: the default, enough for hundreds of thousands of routers on one machine.

Knows SQLite. Must not know what a report says (sql has the statements). One connection writes, in a thread of its own;
readers have their own and never wait for it (WAL). synchronous=FULL: a commit is on the disk when `add` returns and
survives a power cut. Two processes may share the file (a page, `retain`): SQLite locks it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cpe_filter.collect.store import schema, sql
from cpe_filter.collect.store.base import Row, SchemaError, Statement, StoreUnavailableError, UnstorableError
from cpe_filter.collect.wire import Report

T = TypeVar("T")

MAX_ROWS = 1_000_000
_READERS = 2
#: How long a writer waits for the lock of another process.
_BUSY_S = 5.0
#: ON CONFLICT ... DO UPDATE with row values and WHERE.
_OLDEST = (3, 35, 0)


class SQLite:
    """A `store.Store` in the file `path`."""

    dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer = ThreadPoolExecutor(1, "sqlite-write")
        self._readers = ThreadPoolExecutor(_READERS, "sqlite-read")
        self._connection: sqlite3.Connection | None = None
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []

    async def open(self) -> None:
        await self._run(self._writer, self._open)

    async def close(self) -> None:
        if self._connection is not None:
            await self._run(self._writer, self._connection.close)
            self._connection = None
        self._writer.shutdown()
        self._readers.shutdown()
        for connection in self._reading:
            connection.close()
        self._reading.clear()

    async def add(self, reports: Sequence[Report]) -> int:
        return await self._run(self._writer, lambda: self._add(reports))

    async def read(self, sql: str, /, **parameters: Any) -> list[Row]:
        return await self._run(self._readers, lambda: self._read(sql, parameters))

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        return await self._run(self._writer, lambda: self._write(statements))

    # ── in the threads ──────────────────────────────────────────────────────────────────────────

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except sqlite3.OperationalError as error:
                # Wrong SQL, a full disk and a lock are all OperationalError.
                if "syntax error" in str(error) or str(error).startswith("no such"):
                    raise UnstorableError(f"{self._path}: {error}") from None
                raise StoreUnavailableError(f"{self._path}: {error}") from None
            except sqlite3.DatabaseError as error:
                if type(error) is sqlite3.DatabaseError:  # not a database, or a corrupt one
                    raise StoreUnavailableError(f"{self._path}: {error}") from None
                raise UnstorableError(f"{self._path}: {error}") from None
            except OverflowError as error:
                raise UnstorableError(f"{self._path}: {error}") from None

        return await asyncio.get_running_loop().run_in_executor(threads, guarded)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        # SQLite's own knows the letters of ASCII only: who searched for MÜLLER did not find MÜLLER.
        connection.create_function("LOWER", 1, _lower, deterministic=True)
        return connection

    def _open(self) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise SchemaError(f"SQLite {sqlite3.sqlite_version} is too old; expected 3.35 or later")
        if not os.path.exists(self._path):  # data of subscribers: readable by its owner only, from the first byte
            try:
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))
            except OSError as error:
                raise StoreUnavailableError(f"{self._path}: {error.strerror}") from None
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(schema.VERSIONS)
            applied = [row[0] for row in connection.execute(schema.APPLIED)]
            for migration in schema.pending(applied):
                for statement in migration.statements:
                    connection.execute(statement)
                values = {"version": migration.version, "name": migration.name, "applied_at": int(time.time())}
                connection.execute(schema.APPLY, values)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _add(self, reports: Sequence[Report]) -> int:
        new = 0
        connection = self._begin()
        try:
            for statement, values in sql.rows(reports):
                count = connection.executemany(statement, values).rowcount
                if statement is sql.REPORT:
                    new = count
            connection.execute("COMMIT")
        except BaseException:
            self._rollback(connection)
            raise
        return new

    def _write(self, statements: Sequence[Statement]) -> list[int]:
        connection = self._begin()
        try:
            counts = [connection.execute(text, values).rowcount for text, values in statements]
            connection.execute("COMMIT")
        except BaseException:
            self._rollback(connection)
            raise
        return counts

    def _begin(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailableError(f"{self._path}: not open")
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    @staticmethod
    def _rollback(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")

    def _read(self, text: str, parameters: dict[str, Any]) -> list[Row]:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            connection.execute("PRAGMA query_only=ON")
            self._reading.append(connection)
        return [dict(row) for row in connection.execute(text, parameters).fetchmany(MAX_ROWS)]


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
