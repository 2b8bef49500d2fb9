"""When the status file and the metrics file are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.engine import Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.figures import memory
from cpe_filter.live.status_files import MetricsFile, StatusFile
from cpe_filter.policy.model import Policy
from cpe_filter.status.status import Writer
from tests.status.statuses import status


def policy(**values: Any) -> Policy:
    return Policy()._replace(status=Policy().status._replace(**values))


def test_memory_is_this_process_s() -> None:
    assert 8 << 20 < memory() < 2 << 30


def test_the_status_is_written_when_it_is_time(tmp_path: Path) -> None:
    path, chosen = tmp_path / "status.json", policy(status_interval_s=5)
    part = StatusFile(lambda: chosen, Writer(Engine(chosen), str(path), dict, lambda device: "", print))
    times = []
    for second in range(12):
        part.tick(PacketTime(1000.0 + second))
        while part.step(PacketTime(1000.0 + second)):
            pass
        if path.exists():
            times.append(second)
            path.unlink()
    assert times == [0, 5, 10]


def test_metrics_are_written_when_it_is_time(tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    chosen = policy(metrics_file=str(path), metrics_interval_s=60)
    part = MetricsFile(lambda: chosen, status, print)
    times = []
    for second in range(180):
        part.tick(PacketTime(1000.0 + second))
        if path.exists():
            times.append(second)
            path.unlink()
    assert times == [0, 60, 120]


def test_metrics_of_a_filter_that_is_gone_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    chosen = policy(metrics_file=str(path))
    part = MetricsFile(lambda: chosen, status, print)
    part.tick(PacketTime(0.0))
    assert path.exists()
    part.close()
    assert not path.exists()


def test_without_a_metrics_file_none_is_made() -> None:
    def never() -> dict[str, Any]:
        pytest.fail("a status for nobody")

    MetricsFile(lambda: policy(metrics_file=""), never, print).tick(PacketTime(1000.0))


def test_a_metrics_file_that_cannot_be_written_is_logged_once(tmp_path: Path) -> None:
    log: list[str] = []
    chosen = policy(metrics_file=str(tmp_path / "none" / "m.prom"), metrics_interval_s=60)
    part = MetricsFile(lambda: chosen, status, log.append)
    for second in range(300):
        part.tick(PacketTime(1000.0 + second))
    assert log == [f"metrics not written: {tmp_path}/none/m.prom: No such file or directory"]
    os.mkdir(tmp_path / "none")
    part.tick(PacketTime(2000.0))
    assert (tmp_path / "none" / "m.prom").exists()
