"""What the filter does beside judging: its figures, its metrics file, and what is left at the end."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.enforce import nftables, offload
from cpe_filter.live.ruleset_guard import Upkeep, memory
from cpe_filter.policy.model import Policy
from tests.lab.alone import network
from tests.policies import changed_policy, make_policy
from tests.status.statuses import status


def test_memory_is_this_process_s() -> None:
    assert 8 << 20 < memory() < 2 << 30


# ── in a namespace of its own ───────────────────────────────────────────────────────────────────────


class Home:
    """An installed ruleset and its upkeep."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.log: list[str] = []
        self.error = ""
        nftables.install(policy, "")
        self.poll = select.poll()
        self.upkeep = Upkeep(lambda: self.policy, self.poll, self._install, self.log.append)

    def _install(self) -> str:
        nftables.install(self.policy, "")
        return self.error

    def turn(self, now: float) -> None:
        for fd, _ in self.poll.poll(0):
            assert fd in self.upkeep
            self.upkeep.serve(now)
        self.upkeep.tick(now)


@pytest.fixture
def home(live: None, tmp_path: Path) -> Iterator[Home]:
    with network():
        nft("table inet fw4 { chain forward { accept; }; }")
        home = Home(make_policy(lan=("lo",), metrics_file=str(tmp_path / "m.prom"), metrics_interval_s=60))
        yield home
        home.upkeep.close(rules_stay=True)


def nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def count(number: int) -> None:
    """As if the kernel had queued so many packets."""
    nft(f"table inet cpe_filter {{ counter queued2 {{ packets {number} bytes {60 * number} }}; }}")


@pytest.mark.live
def test_figures(home: Home) -> None:
    found = home.upkeep.figures()
    assert found["kernel"]["queued"] == [0, 0]
    assert found["restored"] == 0
    assert found["memory"] > 8 << 20
    assert found["queue_state"] == {}
    assert home.log == []


@pytest.mark.live
def test_counters_never_go_back_when_the_rules_are_put_back(home: Home) -> None:
    count(100)
    assert home.upkeep.figures()["kernel"]["queued2"] == [100, 6000]
    home.turn(1000.0)
    nft("flush ruleset")
    assert home.upkeep.figures()["kernel"]["queued2"] == [100, 6000]
    home.turn(1010.0)
    assert home.upkeep.figures()["restored"] >= 1
    count(100)  # as many as before, of which none may be missing
    assert home.upkeep.figures()["kernel"]["queued2"] == [200, 12000]
    nft("flush ruleset")  # and again, this time without a look in between
    home.turn(1020.0)
    count(150)
    assert home.upkeep.figures()["kernel"]["queued2"] == [350, 21000]


@pytest.mark.live
def test_our_own_changes_are_right(home: Home) -> None:
    home.policy = changed_policy(home.policy, ports=(25, 2525), relays=())
    nftables.update(home.policy, "")
    home.upkeep.rules_changed()
    assert offload.installed(home.policy)
    for second in range(5):
        home.turn(1000.0 + 10 * second)
    assert home.upkeep.figures()["restored"] == 0
    assert home.log == []


@pytest.mark.live
@pytest.mark.parametrize("rules_stay", [True, False])
def test_the_end(home: Home, rules_stay: bool) -> None:
    """What keeps mail before the ruleset stays as long as the ruleset does."""
    home.upkeep.write_metrics(0.0, status)
    path = Path(home.policy.status.metrics_file)
    assert path.exists()
    home.upkeep.close(rules_stay)
    assert offload.installed(home.policy) is rules_stay
    assert not path.exists()
    assert home.poll.poll(0) == []


@pytest.mark.live
def test_metrics_are_written_when_it_is_time(home: Home) -> None:
    path = Path(home.policy.status.metrics_file)
    times = []
    for second in range(180):
        home.upkeep.write_metrics(1000.0 + second, status)
        if path.exists():
            times.append(second)
            path.unlink()
    assert times == [0, 60, 120]


@pytest.mark.live
def test_without_a_metrics_file_none_is_made(home: Home) -> None:
    home.policy = changed_policy(home.policy, metrics_file="")

    def never() -> dict[str, Any]:
        raise AssertionError("a status for nobody")

    home.upkeep.write_metrics(1000.0, never)


@pytest.mark.live
def test_a_metrics_file_that_cannot_be_written_is_told_once(home: Home, tmp_path: Path) -> None:
    home.policy = changed_policy(home.policy, metrics_file=str(tmp_path / "none" / "m.prom"))
    for second in range(300):
        home.upkeep.write_metrics(1000.0 + second, status)
    assert home.log == [f"metrics not written: {tmp_path}/none/m.prom: No such file or directory"]
    os.mkdir(tmp_path / "none")
    home.upkeep.write_metrics(2000.0, status)
    assert (tmp_path / "none" / "m.prom").exists()
