"""Calibration: its arithmetic against what is known, and the table's signs against what is observed."""

from __future__ import annotations

import math
import random

import pytest

from cpe_filter.detect.evidence import INDICATORS, SENDER_PROFILES
from cpe_filter.detect.score import _NEEDED
from tests.evaluate import calibrate
from tests.evaluate.calibrate import QUICK, _number, is_off, main, observed, tasks, wrong_signs
from tests.evaluate.calibrate_alarms import interval, life
from tests.evaluate.calibrate_rates import (
    BOT_KINDS,
    OF,
    SENDER_KINDS,
    THRESHOLDS,
    Life,
    Rate,
    Watch,
    bot_life,
    mixed,
    rate,
    sender_life,
    thresholds,
)
from tests.evaluate.legit import LEGITIMATE

#: Weights that are nearer to nothing may lean the wrong way: `calibrate` lists them.
STRONG = 0.5


def a_life(hits: int, contacts: int) -> Life:
    return Life("script", contacts, contacts, {"all": contacts}, {"connect-timeout": hits}, (), False)


def test_every_sender_and_every_scenario_has_its_place() -> None:
    assert tuple(SENDER_KINDS) == SENDER_PROFILES
    placed = {name for names in SENDER_KINDS.values() for name in names}
    assert set(LEGITIMATE) - placed == {"nat-lan"}
    assert set(OF) == set(INDICATORS)


def test_rate_of_independent_devices_is_clopper_and_pearsons() -> None:
    rng = random.Random(1)
    lives = [a_life(sum(rng.random() < 0.2 for _ in range(50)), 50) for _ in range(40)]
    found = rate(lives, "connect-timeout")
    assert found.devices == 40
    assert found.contacts == 2000
    assert found.low < 0.2 < found.high
    assert 0.02 < found.high - found.low < 0.06


def test_what_a_device_does_always_is_known_as_well_as_there_are_devices() -> None:
    found = rate([a_life(100 * (n < 5), 100) for n in range(10)], "connect-timeout")
    assert (found.share, found.devices) == (0.5, 10)
    assert (found.low, found.high) == pytest.approx((0.187086, 0.812914), abs=1e-6)  # binom.test(5, 10)


def test_rate_of_nothing_is_unknown() -> None:
    assert math.isnan(rate([], "connect-timeout").share)
    assert math.isnan(mixed([rate([], "connect-timeout")]).share)
    assert not is_off(0.5, rate([], "connect-timeout"))


@pytest.mark.parametrize(
    ("claimed", "expected"), [(0.09, True), (0.11, False), (0.3, False), (0.39, False), (0.7, True)]
)
def test_off_is_more_than_a_factor_of_two_beyond_the_interval(claimed: float, expected: bool) -> None:
    assert is_off(claimed, Rate(0.25, 0.2, 0.3, 50, 5000)) is expected


def test_watch_notes_the_first_passage() -> None:
    watch = Watch("mta")
    for contact, value in enumerate([1.0, 4.5, 2.0, 3.5, 6.0], 1):
        watch.look([value, 99.0], contact)
    assert [watch.at.get(h, 0) for h in (3, 4, 5, 6, 7)] == [2, 2, 5, 5, 0]


def geometric(slope: float, lives: int, contacts: int, seed: int) -> list[tuple[int, tuple[int, ...]]]:
    """Lives whose first passages of h are e^(-slope h) apart, memoryless."""
    rng = random.Random(seed)
    out = []
    for _ in range(lives):
        at = [math.ceil(rng.expovariate(math.exp(-slope * h))) for h in THRESHOLDS]
        out.append((contacts, tuple(number if number <= contacts else 0 for number in at)))
    return out


def test_rare_passages_are_extrapolated() -> None:
    """e^12 = 163,000 contacts, of 200,000 in all: one passage or so, which counting could not tell."""
    found = [interval(geometric(1.0, 200, 1000, seed), THRESHOLDS, 12) for seed in range(20)]
    assert {each.how for each in found} == {"extrapolated"}
    assert sum(each.low < math.exp(12) < each.high for each in found) >= 17
    assert all(0.2 < each.contacts / math.exp(12) < 5 for each in found)


def test_frequent_passages_are_counted() -> None:
    found = [interval(geometric(1.0, 200, 1000, seed), THRESHOLDS, 5) for seed in range(20)]
    assert {each.how for each in found} == {"counted"}
    assert sum(each.low < math.exp(5) < each.high for each in found) >= 17


def test_too_few_passages_give_a_bound_only() -> None:
    found = interval([(1000, (0,) * len(THRESHOLDS))] * 10, THRESHOLDS, 9)
    assert (found.contacts, found.high) == (math.inf, math.inf)
    assert 2000 < found.low < 3500  # 10,000 / 3.7


def test_a_line_does_not_outweigh_what_was_seen() -> None:
    """Few devices that are quite unlike the others: nine pass all thresholds at once."""
    lives = geometric(1.5, 400, 10_000, 1)[:-9] + [(10_000, (10,) * len(THRESHOLDS))] * 9
    found = interval(lives, THRESHOLDS, 12)
    assert found.contacts < 4_000_000 / 4  # binom.test(9, 4e6): 4.1 at least


def test_drawn_lives_are_the_same_again() -> None:
    for sender in SENDER_PROFILES:
        one = life(sender, 1, 200, 0.5)
        assert one == life(sender, 1, 200, 0.5)
        assert one != life(sender, 2, 200, 0.5)
        assert len(one.passed) == len(thresholds(sender))
        assert thresholds(sender)[-1] == _NEEDED[SENDER_PROFILES.index(sender)]


def test_drawn_lives_follow_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """If bots were like mail servers, nothing would count for or against anybody."""
    alike = {name: row._replace(weights=tuple(0.0 for _ in row.weights)) for name, row in INDICATORS.items()}
    monkeypatch.setattr("tests.evaluate.calibrate_alarms.INDICATORS", alike)
    monkeypatch.setattr("cpe_filter.detect.score.INDICATORS", alike)
    monkeypatch.setattr("cpe_filter.detect.score._WEIGHTS", dict.fromkeys(alike, ()))
    assert life("mta", 1, 200, 0.5).drift == 0.0
    assert not any(life("mta", 1, 200, 0.5).passed)


def test_no_simulated_weight_of_some_size_has_the_wrong_sign() -> None:
    lives = [sender_life(*task) for task in tasks(SENDER_KINDS, QUICK.lives, QUICK.days)]
    lives += [bot_life(*task) for task in tasks(BOT_KINDS, QUICK.lives, QUICK.connections)]
    rates = observed(lives)
    assert [wrong for wrong in wrong_signs(rates) if abs(wrong.weight) >= STRONG] == []
    # The check can fail: bots and mail servers the other way round.
    for of in rates.values():
        of["bots"], of["mta"] = of["mta"], of["bots"]
    wrong = {each.indicator for each in wrong_signs(rates) if abs(each.weight) >= STRONG}
    assert {"unknown-user", "accepted", "dnsbl-listed"} <= wrong


def test_a_quick_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "QUICK", QUICK._replace(drawn=6, lives=4, days=40))
    lines: list[str] = []
    assert main(["--quick"], say=lines.append) == 0
    text = "\n".join(lines)
    rows = [line.split()[0] for line in lines if line and line.split()[0] in INDICATORS]
    assert rows[: len(INDICATORS)] == list(INDICATORS)
    for sender, needed in zip(SENDER_PROFILES, _NEEDED, strict=True):
        assert f"\n{sender}: at most one false conviction in " in text
        assert f"{_number(math.exp(needed))} first contacts" in text
    assert "not simulated" in text
