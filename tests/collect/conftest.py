"""Fixtures of the collector's tests: each engine's store, and a PostgreSQL shared by the session."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cpe_filter.collect.store.base import Store
from tests.collect import cluster as postgresql
from tests.collect import streams
from tests.conftest import LIVE_REQUIRED

T = TypeVar("T")
#: A store for a place: called once for each store the test opens on it.
Opener = Callable[[], Store]

_numbers = itertools.count(1)


def _need(reason: str) -> None:
    """reason: why a server cannot run here, "" if it can."""
    if reason and LIVE_REQUIRED and os.geteuid() == 0:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.Cluster]:
    _need(postgresql.why_not())
    with postgresql.Cluster() as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[streams.Streams]:
    """Three NATS servers."""
    _need(streams.why_not())
    with streams.Streams() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Of each engine, on an empty place."""
    if request.param == "sqlite":
        from cpe_filter.collect.store.sqlite import SQLite

        return lambda: SQLite(str(tmp_path / "collector.db"))
    from cpe_filter.collect.store.postgres import Postgres

    running: postgresql.Cluster = request.getfixturevalue("postgres")
    dsn = running.create(f"t{next(_numbers)}")
    return lambda: Postgres(dsn)


@pytest.fixture
def with_store(opener: Opener) -> Callable[[Callable[[Store], Awaitable[T]]], T]:
    """Runs a coroutine function with an open store."""

    def run(work: Callable[[Store], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            store = opener()
            await store.open()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(inside())

    return run
