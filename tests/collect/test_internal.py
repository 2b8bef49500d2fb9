"""/metrics, /healthz and /readyz, asked over HTTP of a collector in a process of its own."""

from __future__ import annotations

import asyncio
import http.client
import resource
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cpe_filter.collect import internal
from cpe_filter.collect.store.base import StoreUnavailableError
from tests.collect.ca import Authority
from tests.collect.cluster import Cluster, why_not
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def ask(collector: Collector, path: str) -> tuple[int, str, str]:
    """Status, content type and body, as they are: no redirect is followed."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.metrics_port, timeout=DEADLINE_S)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.headers.get("content-type", ""), response.read().decode()


def becomes(collector: Collector, status: int) -> str:
    """Waits for /readyz to answer with this status: the body."""
    end = time.monotonic() + DEADLINE_S
    while True:
        found, _, body = ask(collector, "/readyz")
        if found == status:
            return body
        assert time.monotonic() < end, (found, body)
        time.sleep(0.2)


def test_metrics_are_at_exactly_that_path(tmp_path: Path, authority: Authority) -> None:
    with Collector(tmp_path / "c", authority) as collector:
        status, kind, body = ask(collector, "/metrics")
        assert status == 200
        assert kind.startswith("text/plain; version=")
        assert "# TYPE cpe_collector_requests_total counter\n" in body
        assert ask(collector, "/healthz")[::2] == (200, "ok\n")
        assert ask(collector, "/readyz")[::2] == (200, "ready\n")
        assert ask(collector, "/other")[0] == 404


def test_a_file_that_cannot_grow_is_not_ready(tmp_path: Path, authority: Authority) -> None:
    with Collector(tmp_path / "c", authority) as collector:
        assert becomes(collector, 200)
        assert collector.process is not None
        wal = tmp_path / "c" / "collector.db-wal"
        limits = resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (wal.stat().st_size, limits[1]))
        body = becomes(collector, 503)
        assert body.startswith(str(tmp_path / "c" / "collector.db"))
        assert ask(collector, "/healthz")[0] == 200
        resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, limits)
        becomes(collector, 200)


@pytest.mark.parametrize("fault", ["read-only", "stopped"])
def test_postgresql_that_takes_nothing_is_not_ready(tmp_path: Path, authority: Authority, fault: str) -> None:
    if why_not():
        pytest.skip(why_not())
    with Cluster() as cluster:
        dsn = cluster.create("reports")
        with Collector(tmp_path / "c", authority, store={"engine": "postgresql", "dsn": dsn}) as collector:
            becomes(collector, 200)

            def everywhere(value: str) -> None:
                with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
                    connection.execute(f"ALTER DATABASE reports SET default_transaction_read_only = {value}")
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'reports'"
                    )

            breaks: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
                "read-only": (lambda: everywhere("on"), lambda: everywhere("off")),
                "stopped": (cluster.stop, cluster.start),
            }
            wrong, right = breaks[fault]
            wrong()
            assert becomes(collector, 503).startswith(("PostgreSQL: ", "no answer within 5 s"))
            assert ask(collector, "/healthz")[0] == 200
            right()
            becomes(collector, 200)


def test_many_who_ask_cause_one_look() -> None:
    looks, now = [], 100.0

    async def look() -> None:
        looks.append(now)
        await asyncio.sleep(0)
        if len(looks) == 1:
            raise StoreUnavailableError("full")

    async def several() -> None:
        nonlocal now
        readiness = internal.Readiness(look, lambda: now)
        assert await asyncio.gather(*(readiness.problem() for _ in range(50))) == ["full"] * 50
        now += internal.HOLDS_S
        assert await asyncio.gather(*(readiness.problem() for _ in range(50))) == [None] * 50

    asyncio.run(several())
    assert len(looks) == 2


def test_a_look_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internal, "LOOK_S", 0.05)

    async def hang() -> None:
        await asyncio.sleep(60)

    assert asyncio.run(internal.Readiness(hang).problem()) == "no answer within 0.05 s"
