"""The measuring itself: intervals against known values, SPOT against its paper, a small evaluation from end to end."""

from __future__ import annotations

import random
import statistics
from collections import Counter

import pytest

from tests.evaluate.__main__ import main
from tests.evaluate.attacker import Plan, attempt
from tests.evaluate.bound import Shown, bounds, divergence
from tests.evaluate.facts import Session
from tests.evaluate.intervals import NEVER, clopper_pearson, incomplete_beta, quantile
from tests.evaluate.measure import Task, home, hunt, year
from tests.evaluate.published import METHODS, Rate, Sprt


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [
        # R: binom.test(hits, runs)$conf.int
        (0, 3000, 0.0, 0.0012288673),
        (0, 10, 0.0, 0.3084971),
        (1, 10, 0.002528579, 0.4450161),
        (5, 10, 0.187086, 0.812914),
        (10, 10, 0.6915029, 1.0),
        (7, 20, 0.1539092, 0.5921885),
    ],
)
def test_clopper_pearson(hits: int, runs: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, runs) == pytest.approx((low, high), abs=2e-7)


def test_clopper_pearson_of_nothing_is_everything() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_incomplete_beta() -> None:
    assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3)
    assert incomplete_beta(2, 3, 0.5) == pytest.approx(0.6875)


def test_quantile_counts_runs_without_end() -> None:
    assert quantile([1, 2, 3, NEVER], 0.5) == 2
    assert quantile([1, 2, 3, NEVER], 0.99) == NEVER
    assert quantile([], 0.5) == NEVER


def test_spot_needs_as_many_messages_as_published() -> None:
    """theta .9/.2, alpha = beta = .01: E[N] = 3.93 by Wald's bound, simulated mean 5.0, median 4, p95 8 (the facts)."""
    rng = random.Random(1)
    needed = []
    for _ in range(4000):
        test, count = Sprt(0.9, 0.2), 1
        while not test.add(rng.random() < 0.9):
            count += 1
        needed.append(count)
    assert 4.7 < statistics.mean(needed) < 5.3
    assert statistics.median(needed) == 4
    assert quantile(needed, 0.95) == 8


def test_rate_rule() -> None:
    rule = Rate(3, 10.0)
    times = [0, 6, 12, 13, 14, 15]
    sessions = [Session(time, bytes(4), "lost", (), False) for time in times]
    assert [rule.see(session, ()) for session in sessions] == [False, False, False, True, False, False]


def test_results_are_the_same_again() -> None:
    for which, name in (("development", "classic-sprayer"), ("hold-out", "doorbell")):
        task = Task(which, name, 3, True)
        assert hunt(task) == hunt(task)
        assert set(hunt(task).methods) == set(METHODS)
    task = Task("development", "script", 3, True, 60)
    assert year(task) == year(task)
    assert home(Task("development", "", 1, False, 3)) == home(Task("development", "", 1, False, 3))


def test_attempt_counts_what_passes() -> None:
    careless = Plan(rate=100, good=0.5, servers=0, tls=0.0, tidy=False)
    assert attempt(careless, "monitor", False, 0) == -1
    assert attempt(Plan(rate=2, good=0.99, servers=5, tls=1.0), "limit", False, 0) <= 2.5


def test_bound() -> None:
    a: Counter[Shown]
    b: Counter[Shown]
    a, b = Counter({("x",): 90000, ("y",): 10000}), Counter({("x",): 20000, ("y",): 80000})
    assert divergence(a, b) == pytest.approx(1.146, abs=0.001)  # SPOT's setting, facts/detection.md
    assert divergence(a, a) == 0
    sprayer, patient = bounds("development", ["classic-sprayer", "patient"], 2)
    assert sprayer.connections < patient.connections


def test_a_small_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.evaluate.attacker.CHOICES", {"rate": (1, 5)})
    lines: list[str] = []
    assert main(["--quick", "--runs", "2", "--years", "16", "--set", "development"], say=lines.append) == 0
    text = "\n".join(lines)
    for part in ("Goals", "classic bots", "Published methods", "SPOT", "Adaptive attacker", "block"):
        assert part in text
