"""The store: reachable, migrated, writable; and room on the disk of an SQLite file.

Knows both engines as far as reading the version of the tables. Must not make or migrate anything.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from cpe_filter.collect import service
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.doctor.finding import Finding, fail, ok, warn
from cpe_filter.collect.store import probe, schema
from cpe_filter.collect.store.base import SchemaError, StoreError, StoreUnavailableError

#: Bytes free: below the first nothing is kept for long, below the second it is named.
_LEAST, _FEW = 256 << 20, 2 << 30
_WRITE_S = 15.0


def look(config: Config) -> Iterator[Finding]:
    if config.store.engine == "sqlite":
        yield from _room(config.store.path)
        if not os.path.exists(config.store.path):
            yield _to_be_made(config.store.path)
            return
    try:
        applied = _applied(config)
        waiting = schema.pending(applied)
    except StoreError as error:
        yield fail("store", str(error))
        return
    if waiting:
        what = "the tables are missing" if not applied else f"the tables are version {len(applied)}"
        yield warn(
            "store", f"{what}, this program's {len(schema.migrations())}; `migrate`, or the next start, updates them"
        )
        return
    yield ok("store", f"{config.store.engine}, tables of version {len(applied)}")
    yield _writable(config)


def _room(path: str) -> Iterator[Finding]:
    folder = os.path.dirname(path)
    try:
        found = os.statvfs(folder)
    except OSError as error:
        yield fail("disk room", f"{folder}: {error.strerror}")
        return
    free = found.f_bavail * found.f_frsize
    text = f"{folder}: {free / (1 << 30):.1f} GiB free"
    if free < _LEAST or (found.f_files and not found.f_favail):
        yield fail("disk room", f"{text}; make room")
    else:
        yield (warn if free < _FEW else ok)("disk room", text)


def _to_be_made(path: str) -> Finding:
    folder = os.path.dirname(path)
    if os.access(folder, os.W_OK | os.X_OK):
        return warn("store", f"{path} does not exist yet; `run` makes it")
    if os.path.isdir(folder) and not os.access(folder, os.X_OK):
        return fail("store", f"{folder} cannot be entered by this user; run doctor as the user of the service")
    return fail("store", f"{path} does not exist, and its folder cannot be written by this user")


def _applied(config: Config) -> Sequence[int]:
    """The versions in the store; none where it has no tables. Raises `StoreError`."""
    if config.store.engine == "sqlite":
        return _of_file(config.store.path)
    import psycopg

    try:
        with psycopg.connect(config.store.dsn, connect_timeout=5, autocommit=True) as connection:
            connection.execute("SET statement_timeout = 10000")
            there = connection.execute("SELECT to_regclass('schema_version')").fetchone()
            if there is None or there[0] is None:
                return []
            return [row[0] for row in connection.execute(schema.APPLIED).fetchall()]
    except psycopg.Error as error:
        raise StoreUnavailableError(f"PostgreSQL: {(str(error) or 'no answer').splitlines()[0][:200]}") from None


def _of_file(path: str) -> Sequence[int]:
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=5)
        try:
            there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone()
            return [row[0] for row in connection.execute(schema.APPLIED)] if there else []
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SchemaError(f"{path}: {error}") from None


def _writable(config: Config) -> Finding:
    """By a row, in tables that need no update: so opening changes none."""

    async def write() -> None:
        async with service.opened(config) as store:
            await probe.write(store)

    try:
        asyncio.run(asyncio.wait_for(write(), _WRITE_S))
    except StoreError as error:
        return fail("store, writing", str(error))
    except (asyncio.TimeoutError, TimeoutError):
        return fail("store, writing", f"no answer within {_WRITE_S:g} s")
    return ok("store, writing", "a row was committed")
