"""The collector's benchmark in small: a fleet's return is spread, and the load is real."""

from __future__ import annotations

import math
from pathlib import Path

from tests.bench import collector, collector_load
from tests.bench.collector_recovery import fixed, heartbeats, impatient, power_cut, recover
from tests.collect.ca import Authority
from tests.collect.running import Collector

ROUTERS = 20_000


def test_boot_is_spread_over_the_splay() -> None:
    one = recover(power_cut(ROUTERS), 0)
    assert one.routers == ROUTERS
    assert one.peak_minute < 1.3 * ROUTERS / 3600
    assert 3500 < one.all_s < 3700


def test_return_after_an_outage_is_spread() -> None:
    day = 86_400
    one = recover(heartbeats(ROUTERS, 24), day)
    assert one.routers == ROUTERS
    assert one.peak_minute < 2 * ROUTERS / 3600
    assert one.all_s < 5120
    hasty = recover(impatient(ROUTERS, day), day, again=fixed)
    assert hasty.peak_minute > 10 * one.peak_minute


def test_collector_that_is_too_small_still_gets_through() -> None:
    one = recover(heartbeats(5000, 24), 86_400, capacity=1)
    assert one.routers == 5000
    assert one.refused > 0
    assert 5000 <= one.all_s < 5000 * 4
    assert math.isfinite(one.tries)


def test_load(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    for number in range(collector_load.ROUTERS):
        authority.router(f"r{number}")
    with Collector(tmp_path / "c", authority, limits=collector.LOOSE) as running:
        for how in ("keep", "new"):
            result = collector.load(running, 1, how, 4)
            assert result["reports"] > 10
            assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
        assert running.metrics()["cpe_collector_reports_total"] >= result["reports"]
