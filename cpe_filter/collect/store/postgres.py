"""The store in PostgreSQL, for fleets that are too large for one file, or for several collectors on one store.

Knows PostgreSQL through psycopg's pool. Must not know what a report says (sql has the statements). synchronous_commit
is on in each connection, whatever the server's default: a commit is durable when `add` returns. A lost connection is a
`StoreUnavailableError`; the pool reconnects.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from cpe_filter.collect.store import schema, sql
from cpe_filter.collect.store.base import Row, Statement, StoreUnavailableError, UnstorableError
from cpe_filter.collect.wire import Report

MAX_ROWS = 1_000_000
#: How long a call waits for a connection; then the store is unavailable.
_WAIT_S = 5.0
#: How long one statement may take.
_STATEMENT_MS = 30_000
#: Attempts after a deadlock of two writers, or with a connection of the pool that was lost.
_TRIES = 3
#: pg_advisory_xact_lock: held during a migration. "cpef" in ASCII.
_LOCK = 0x63706566

Connection = psycopg.AsyncConnection[dict[str, Any]]

logging.getLogger("psycopg.pool").setLevel(
    logging.ERROR
)  # it warns at each attempt; `StoreUnavailableError` says it once


class Postgres:
    """A `store.Store` behind a libpq connection string."""

    dialect = "postgresql"

    def __init__(self, dsn: str, connections: int = 4) -> None:
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            connection_class=psycopg.AsyncConnection[dict[str, Any]],
            kwargs={"row_factory": dict_row, "connect_timeout": 5, "application_name": "cpe-filter collector"},
            min_size=1,
            max_size=connections,
            max_waiting=1024,
            timeout=_WAIT_S,
            reconnect_timeout=15,
            configure=_configure,
            open=False,
        )

    async def open(self) -> None:
        try:
            await self._pool.open(wait=True, timeout=_WAIT_S)
        except PoolTimeout as error:
            await self._pool.close()
            raise StoreUnavailableError(f"PostgreSQL: {error}") from None
        async with self._transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await connection.execute(schema.VERSIONS)
            rows = await (await connection.execute(schema.APPLIED)).fetchall()
            for migration in schema.pending([row["version"] for row in rows]):
                for statement in migration.statements:
                    await connection.execute(statement)
                values = {"version": migration.version, "name": migration.name, "applied_at": int(time.time())}
                await connection.execute(sql.percent(schema.APPLY), values)

    async def close(self) -> None:
        await self._pool.close()

    async def add(self, reports: Sequence[Report]) -> int:
        statements = sql.rows(reports)
        for left in reversed(range(_TRIES)):
            try:
                return await self._add(statements)
            except _RetryError as error:
                if not left:
                    raise StoreUnavailableError(str(error)) from None
        raise AssertionError("unreachable")

    async def _add(self, statements: Sequence[tuple[str, sql.Rows]]) -> int:
        new = 0
        async with self._transaction() as connection, connection.cursor() as cursor:
            for statement, values in statements:
                await cursor.executemany(sql.percent(statement), values)  # pipelined: one round trip for all rows
                if statement is sql.REPORT:
                    new = cursor.rowcount
        return new

    async def read(self, sql: str, /, **parameters: Any) -> list[Row]:
        async with self._transaction() as connection:
            cursor = await connection.execute(_percent(sql), parameters)
            return await cursor.fetchmany(MAX_ROWS)

    async def write(self, statements: Sequence[Statement]) -> list[int]:
        async with self._transaction() as connection:
            return [(await connection.execute(_percent(text), values)).rowcount for text, values in statements]

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
            raise _RetryError(_text(error)) from None
        except (psycopg.errors.AdminShutdown, psycopg.errors.CrashShutdown) as error:
            raise StoreUnavailableError(_text(error)) from None
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
            raise UnstorableError(_text(error)) from None
        except psycopg.OperationalError as error:  # PoolTimeout, too
            raise StoreUnavailableError(_text(error)) from None
        except psycopg.Error as error:
            raise StoreUnavailableError(_text(error)) from None


class _RetryError(StoreUnavailableError):
    """Two writers were in conflict; nothing was stored."""


_percent = sql.percent


async def _configure(connection: Connection) -> None:
    await connection.execute("SET synchronous_commit = on")
    await connection.execute(f"SET statement_timeout = {_STATEMENT_MS}")
    await connection.commit()


def _text(error: Exception) -> str:
    """The first line of an error: the others may quote values."""
    return f"PostgreSQL: {(str(error) or type(error).__name__).splitlines()[0][:200]}"
