"""The router's own sender and the collector: what one says the other understands."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.report import schedule
from cpe_filter.report.spool import Spool
from cpe_filter.report.spool_dir import SPOOL, SpoolWriter, boot_id, uptime
from cpe_filter.report.spool_reader import SpoolReader
from cpe_filter.send import send
from tests.collect.ca import Authority
from tests.collect.reports import heartbeat, incident
from tests.collect.running import Collector
from tests.policies import make_policy


class Router:
    """A router's folder: events that wait, and the sender."""

    def __init__(self, folder: Path, collector: Collector, name: str) -> None:
        pair = collector.authority.router(name)
        self._policy = make_policy(
            report_url=f"https://localhost:{collector.port}",
            report_ca=str(collector.authority.certificate),
            report_certificate=str(pair.certificate),
            report_key=str(pair.key),
            report_user="nobody",
            status_file=str(folder / "run" / "status.json"),
        )
        self._boot = boot_id()
        self._writer = SpoolWriter(str(folder / "run" / "report"), "nobody", lambda text: None)
        self._writer.make()
        self._reader = SpoolReader(str(folder / "run" / "report"))
        self._spool = Spool(self._boot, 1)

    def leave(self, *events: dict[str, Any]) -> None:
        for event in events:
            self._spool.add({name: value for name, value in event.items() if name != "seq"})
        self._writer.write(SPOOL, self._spool.encode("v7", "0.1.0"), 0o640)

    def send(self) -> int:
        own = send.check_files(self._policy)
        return send.Sender(self._policy, own, self._reader, "once", lambda work: work(), lambda: 0.5).run()

    def waiting(self) -> int:
        found = self._reader.spool(self._boot)
        assert found is not None
        return len(found[1])

    def plan(self) -> schedule.Plan:
        found = schedule.known(self._reader.read("plan"), self._boot)
        assert found is not None
        return found


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    answers = {"retry_splay_s": 77, "policy_version": "v8"}
    with Collector(tmp_path / "c", Authority(tmp_path / "ca"), answer=answers) as running:
        yield running


def stored(collector: Collector) -> list[tuple[str, int, str]]:
    with sqlite3.connect(collector.folder / "collector.db") as connection:
        return connection.execute("SELECT router, seq, kind FROM report ORDER BY router, seq").fetchall()


def test_events_arrive(tmp_path: Path, collector: Collector) -> None:
    router = Router(tmp_path / "r", collector, "cpe-0001")
    now = int(uptime())
    many = [incident(0, up=now, kind="opened", number=number) for number in range(300)]
    router.leave(*many, heartbeat(0, up=now))
    assert router.send() == send.DONE
    assert len(stored(collector)) == 301
    assert {router for router, _, _ in stored(collector)} == {"cpe-0001"}
    assert router.waiting() == 0
    plan = router.plan()
    assert (plan.splay, plan.policy, plan.failures) == (77, "v8", 0)


def test_collector_that_died_and_came_back(tmp_path: Path, collector: Collector) -> None:
    router = Router(tmp_path / "r", collector, "cpe-0002")
    router.leave(incident(0, up=5, kind="opened"), incident(0, up=6, kind="raised"))
    collector.kill()
    assert router.send() == send.UNDELIVERED
    assert router.waiting() == 2
    assert router.plan().failures == 1
    collector.start()
    assert router.send() == send.DONE
    assert [kind for _, _, kind in stored(collector)] == ["opened", "raised"]


def test_revoked_router_slows_down(tmp_path: Path, collector: Collector) -> None:
    router = Router(tmp_path / "r", collector, "cpe-0003")
    collector.authority.revoke("cpe-0003")
    collector.stop()
    collector.start()
    router.leave(incident(0, up=5, kind="opened"))
    assert router.send() == send.UNDELIVERED
    assert router.plan().due > uptime() + schedule.SLOW_S / 2
    assert router.waiting() == 1
    assert stored(collector) == []
