"""A short version of the benchmarks: nothing is super-linear, and the benchmark would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import bookkeeping, engine, linear
from tests.lab.net import within
from tests.policies import make_policy


@pytest.mark.parametrize("name", sorted(linear.CASES))
def test_cost_per_byte_stays_flat(name: str) -> None:
    # CPU time is noisy on shared machines: a case must look super-linear three times in a row.
    sizes = (1_000, 10_000, 100_000)
    assert not all(linear.super_linear([linear.per_byte(linear.CASES[name], size) for size in sizes]) for _ in range(3))


def test_a_quadratic_case_would_be_noticed() -> None:
    def quadratic(size: int) -> None:
        data = b""
        for _ in range(size // 100):
            data += b"x" * 100
            data.count(b"y")

    assert linear.super_linear([linear.per_byte(quadratic, size) for size in (1_000, 10_000, 300_000)])


def test_bulk_upload_is_one_accepted_message() -> None:
    from cpe_filter.engine import FORWARD, Engine, Flow
    from cpe_filter.lean.clocks import PacketTime

    ended: list[Flow] = []
    judge = Engine(make_policy(mode="monitor"), ended=ended.append)
    packets = engine.bulk_upload(1_000_000)
    for when, hwaddr, data in packets:
        judge.packet(PacketTime(when), FORWARD, hwaddr, data)
    judge.finish(PacketTime(packets[-1][0]))
    (flow,) = ended
    (transaction,) = flow.session.dialogue.transactions
    assert (transaction.outcome, transaction.size) == ("accepted", 1_000_000 // 76 * 76)
    assert flow.session.dialogue.facts.violations == ()


def test_no_turn_of_the_loop_is_long_for_what_is_written(tmp_path: Path) -> None:
    for name, turns in bookkeeping.measure(tmp_path, runs=5).items():
        assert turns.cpu < 1000 * within(bookkeeping.GOAL_MS / 1000), name
