"""Faults under load: what was acknowledged is stored, and each event once. Sent = stored, exactly."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.store.postgres import Postgres
from tests.collect import streams
from tests.collect.ca import Authority, Pair
from tests.collect.cluster import Cluster
from tests.collect.reports import body, incident
from tests.collect.running import Collector
from tests.collect.senders import Senders, Sent
from tests.conftest import LIVE_REQUIRED
from tests.lab.net import DEADLINE_S

#: Many from few routers: the limits are not what is tested here.
LOOSE = {"reports_burst": 100_000, "reports_per_hour": 100_000, "events_burst": 1_000_000, "events_per_hour": 1_000_000}
ROUTERS = 4


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def routers(authority: Authority) -> list[Pair]:
    return [authority.router(f"r{number}") for number in range(ROUTERS)]


def in_file(path: Path) -> list[Sent]:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT router, seq FROM report").fetchall()


def in_postgres(dsn: str) -> list[Sent]:
    async def read() -> list[Sent]:
        store = Postgres(dsn)
        await store.open()
        rows = await store.read("SELECT router, seq FROM report")
        await store.close()
        return [(row["router"], row["seq"]) for row in rows]

    return asyncio.run(read())


def exactly(stored: list[Sent], sent: set[Sent], count: int) -> None:
    assert len(sent) == count
    assert len(stored) == len(set(stored)), "stored twice"
    assert set(stored) == sent


def until(condition: Callable[[], bool], seconds: float = DEADLINE_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Dying(Collector):
    """A collector that dies once, as `tests.collect.dying` says; started again, it lives."""

    fault: tuple[str, int] | None = None

    def command(self, what: str | None = None) -> list[str]:
        plain = super().command(what)
        if self.fault is None:
            return plain
        where, after = self.fault
        return [sys.executable, "-m", "tests.collect.dying", where, str(after), *plain[3:]]


@pytest.mark.parametrize("where", ["committed", "committing"])
def test_killed_before_the_answer(tmp_path: Path, authority: Authority, where: str) -> None:
    pair = authority.router("r1")
    collector = Dying(tmp_path / "c", authority, limits=LOOSE)
    collector.fault = (where, 2)
    with collector:
        assert collector.post(pair, body(incident(1))).status == 200
        with pytest.raises(OSError):  # noqa: PT011  # whatever way the connection ends
            collector.post(pair, body(incident(2), incident(3)))
        assert collector.process is not None
        assert collector.process.wait(DEADLINE_S) == -signal.SIGKILL
        kept = [("r1", 1)] + ([("r1", 2), ("r1", 3)] if where == "committed" else [])
        assert sorted(in_file(tmp_path / "c" / "collector.db")) == kept
        collector.fault = None
        collector.start()
        said = collector.post(pair, body(incident(2), incident(3)))
        assert (said.status, said.body["acked"]) == (200, [2, 3])
    assert sorted(in_file(tmp_path / "c" / "collector.db")) == [("r1", 1), ("r1", 2), ("r1", 3)]


def test_killed_again_and_again_under_load(tmp_path: Path, authority: Authority) -> None:
    """With one report in ten sent twice, too."""
    collector = Dying(tmp_path / "c", authority, limits=LOOSE)
    pairs = routers(authority)
    collector.fault = ("committed", 30)
    with collector:
        senders = Senders(collector.connect, pairs, reports=60, events=5).start()
        for fault in (("committing", 25), ("committed", 20), None):
            assert collector.process is not None
            assert collector.process.wait(DEADLINE_S) == -signal.SIGKILL
            collector.fault = fault
            collector.start()
        senders.join()
        assert senders.resent > 3
    exactly(in_file(tmp_path / "c" / "collector.db"), senders.sent, ROUTERS * 60 * 5)


def test_stop_answers_what_is_under_way(tmp_path: Path, authority: Authority) -> None:
    collector = Collector(tmp_path / "c", authority, limits=LOOSE)
    pairs = routers(authority)
    with collector:
        senders = Senders(collector.connect, pairs, reports=40, events=3).start()
        for count in (60, 200):
            until(lambda count=count: senders.done() >= count)  # type: ignore[misc]
            assert collector.stop() == 0
            collector.start()
        senders.join()
    exactly(in_file(tmp_path / "c" / "collector.db"), senders.sent, ROUTERS * 40 * 3)
    assert "Traceback" not in collector.log.read_text()


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_postgresql_restarted(tmp_path: Path, authority: Authority, postgres: Cluster, how: str) -> None:
    dsn = postgres.create(f"faults_{how}")
    collector = Collector(
        tmp_path / "c",
        authority,
        store={"engine": "postgresql", "dsn": dsn},
        limits=LOOSE,
        answer={"retry_after_s": 1},
    )
    pairs = routers(authority)
    with collector:
        senders = Senders(collector.connect, pairs, reports=60, events=5).start()
        until(lambda: senders.done() >= 200)
        postgres.stop(how)
        time.sleep(1)
        postgres.start()
        senders.join()
        away = [said for said in senders.refused if said.status == 503]
        assert away
        assert all(1 <= int(said.headers["retry-after"]) <= 2 for said in away)
        assert {said.status for said in senders.refused} == {503}
        assert any(line["event"] == "store unavailable" for line in collector.lines())
    exactly(in_postgres(dsn), senders.sent, ROUTERS * 60 * 5)
    assert "Traceback" not in collector.log.read_text()


def test_full_disk(tmp_path: Path, authority: Authority) -> None:
    """A file that may not grow: nothing is acknowledged, and it goes on when there is room."""
    collector = Collector(tmp_path / "c", authority, limits=LOOSE, answer={"retry_after_s": 1})
    pair = authority.router("r1")
    with collector:
        assert collector.post(pair, body(incident(1))).status == 200
        assert collector.process is not None
        wal = tmp_path / "c" / "collector.db-wal"
        import resource

        limits = resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (wal.stat().st_size + 100, limits[1]))
        # Its log may not grow, either, where it has become larger than that.
        said = [collector.post(pair, body(*[incident(n) for n in range(2, 200)])) for _ in range(3)]
        assert {one.status for one in said} == {503}
        resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, limits)
        assert in_file(tmp_path / "c" / "collector.db") == [("r1", 1)]
        assert collector.post(pair, body(incident(2))).status == 200
    assert sorted(in_file(tmp_path / "c" / "collector.db")) == [("r1", 1), ("r1", 2)]


# ── with NATS ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cluster() -> Any:
    reason = streams.why_not()
    if reason and LIVE_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with streams.Streams() as running:
        yield running


def test_a_nats_server_killed_a_consumer_killed_and_postgresql_restarted(
    tmp_path: Path, authority: Authority, postgres: Cluster, cluster: streams.Streams
) -> None:
    """All of it in one run, under load, with one report in ten sent twice."""
    dsn = postgres.create("faults_nats")
    tables: dict[str, Any] = {
        "store": {"engine": "postgresql", "dsn": dsn},
        "nats": {"servers": cluster.urls, "max_bytes": 1 << 28},
        "limits": LOOSE,
        "answer": {"retry_after_s": 1},
    }
    ingest = Collector(tmp_path / "ingest", authority, "ingest", **tables)
    consume = Collector(tmp_path / "consume", authority, "consume", **tables)
    pairs = routers(authority)
    with ingest, consume:
        senders = Senders(ingest.connect, pairs, reports=150, events=5).start()
        until(lambda: senders.done() >= 300)
        leader = cluster.leader("CPE_REPORTS")
        cluster.kill(leader)
        until(lambda: senders.done() >= 900)
        consume.kill()
        until(lambda: senders.done() >= 1300)
        consume.start()
        cluster.start(leader)
        until(lambda: senders.done() >= 1800)
        postgres.stop("immediate")
        time.sleep(1)
        postgres.start()
        senders.join()
        assert senders.resent > 0
        until(lambda: cluster.messages("CPE_REPORTS") == 0)
        assert ingest.stop() == 0
        assert consume.stop() == 0
        assert {said.status for said in senders.refused} <= {503}
        for one in (ingest, consume):
            assert "Traceback" not in one.log.read_text()
    exactly(in_postgres(dsn), senders.sent, ROUTERS * 150 * 5)


def test_without_a_majority_nothing_is_acknowledged(
    tmp_path: Path, authority: Authority, cluster: streams.Streams
) -> None:
    tables: dict[str, Any] = {"nats": {"servers": cluster.urls, "max_bytes": 1 << 28}, "answer": {"retry_after_s": 1}}
    pair = authority.router("r1")
    with (
        Collector(tmp_path / "ingest", authority, "ingest", **tables) as ingest,
        Collector(tmp_path / "consume", authority, "consume", **tables) as consume,
    ):
        assert ingest.post(pair, body(incident(1))).status == 200
        database = consume.folder / "collector.db"
        until(lambda: in_file(database) == [("r1", 1)])
        keeps = cluster.leader("CPE_REPORTS")
        others = [number for number in range(3) if number != keeps]
        for number in others:
            cluster.kill(number)
        assert ingest.post(pair, body(incident(2))).status == 503
        for number in others:
            cluster.start(number)
        cluster.wait()
        until(lambda: ingest.post(pair, body(incident(2))).status == 200)
        until(lambda: sorted(in_file(database)) == [("r1", 1), ("r1", 2)])
