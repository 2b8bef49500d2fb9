"""Calibration: its arithmetic against what is known, and that it finds a bound that is wrong."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from cpe_filter.detect.device import Devices
from cpe_filter.detect.evidence import ANY, INDICATORS, SENDER_PROFILES
from cpe_filter.detect.score import CONVICT_AT, FADE
from tests.evaluate import calibrate
from tests.evaluate.calibrate import exceeded, is_beyond, main, number
from tests.evaluate.calibrate_rates import (
    EARLIER,
    OF,
    WORLD,
    Life,
    Listener,
    Rate,
    earlier_life,
    life,
    passages,
    rate,
)
from tests.evaluate.facts import Player
from tests.evaluate.legit import LEGITIMATE
from tests.evaluate.scenarios import seeded
from tests.evaluate.world.legit import LEGITIMATE as IN_WORLD


def a_life(hits: int, chances: int, name: str = "connect-timeout", group: str = "appliance", sender: str = "x") -> Life:
    return Life(group, sender, chances, {name: hits}, {name: chances}, 0.0, "mta", 0, 0)


def test_every_sender_has_its_kind() -> None:
    assert tuple(WORLD) == SENDER_PROFILES
    assert set(EARLIER) <= set(SENDER_PROFILES)
    for kinds, senders in ((WORLD, IN_WORLD), (EARLIER, LEGITIMATE)):
        assert sorted(itertools.chain.from_iterable(kinds.values())) == sorted(senders)
    assert set(OF) == set(INDICATORS)


def test_rate_of_independent_devices_is_clopper_and_pearsons() -> None:
    rng = random.Random(1)
    found = rate([a_life(sum(rng.random() < 0.2 for _ in range(50)), 50) for _ in range(40)], "connect-timeout")
    assert (found.devices, found.contacts) == (40, 2000)
    assert found.low < 0.2 < found.high
    assert 0.02 < found.high - found.low < 0.06


def test_what_a_device_does_always_is_known_as_well_as_there_are_devices() -> None:
    found = rate([a_life(100 * (n < 5), 100) for n in range(10)], "connect-timeout")
    assert (found.share, found.devices) == (0.5, 10)
    assert (found.low, found.high) == pytest.approx((0.187086, 0.812914), abs=1e-6)  # binom.test(5, 10)
    none = rate([a_life(0, 100) for _ in range(10)], "connect-timeout")
    assert (none.low, none.high) == pytest.approx((0.0, 0.3084971), abs=1e-6)  # binom.test(0, 10)


def test_a_device_with_one_chance_weighs_little() -> None:
    """A mean over devices would say a half."""
    assert rate([a_life(1, 1), a_life(0, 99)], "connect-timeout").share == 0.01


def test_rate_of_nothing_is_unknown() -> None:
    assert math.isnan(rate([], "connect-timeout").share)
    assert not is_beyond(0.5, rate([], "connect-timeout"))


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(0.19, True), (0.21, False), (0.31, False), (ANY, False)],
)
def test_beyond_a_bound_is_the_whole_interval(bound: float, expected: bool) -> None:
    assert is_beyond(bound, Rate(0.25, 0.2, 0.3, 50, 5000)) is expected
    assert not is_beyond(bound, Rate(0.25, 0.2, 0.3, 2, 5000))
    assert not is_beyond(bound, Rate(0.25, 0.2, 0.3, 50, 30))


def test_a_bound_that_a_sender_exceeds_is_found_with_what_it_costs() -> None:
    row, n = INDICATORS["connect-timeout"], SENDER_PROFILES.index("appliance")
    (one,) = exceeded([a_life(10, 100, sender="wild") for _ in range(9)] + [a_life(1, 100) for _ in range(9)])
    assert (one.indicator, one.kind, one.sender, one.bound) == ("connect-timeout", "appliance", "wild", row.usual[n])
    assert one.weight == row.weights[n]
    assert one.most == pytest.approx(sum(one.weight * row.repeat**k for k in range(1000)))


def test_a_bound_that_weighs_nothing_is_not_exceeded() -> None:
    """Of what bots show less often than a kind may, a habit weighs 0."""
    name, kind = next(
        (name, SENDER_PROFILES[n])
        for name, row in INDICATORS.items()
        for n, bound in enumerate(row.usual)
        if row.repeat and bound != ANY and not row.weights[n] and bound < 0.8
    )
    assert exceeded([a_life(100, 100, name, kind) for _ in range(20)]) == []


def test_passages_count_until_the_first() -> None:
    found = passages([(1000, 10), (1000, 90), (900, 0)])
    assert (found.passed, found.contacts) == (2, 500)
    assert 1 / found.least == pytest.approx(0.0072, abs=1e-4)  # binom.test(2, 1000): 0.007205
    none = passages([(1000, 0)] * 10)
    assert none.contacts == math.inf
    assert 2000 < none.least < 3500  # 10,000 / 3.7


def test_rates_are_counted_as_the_detector_counts_them() -> None:
    """Its own tallies say how often a rate fired and might have (they fade: here over few contacts)."""
    listener, device = Listener(), Devices().get(b"\2\0\0\0\1\1", 0.0)
    player = Player(listener)
    sessions = itertools.islice(LEGITIMATE["mailing-list"](seeded("mailing-list", 1), 365), 60)
    for session in sessions:
        player.play(device, session)
    player.until(math.inf)
    counted = listener.life("list", "mailing-list")
    assert counted.contacts <= 60
    for name, tally in device.score.tallies.items():
        if not INDICATORS[name].repeat:
            # It begins again whenever nothing is under way.
            assert tally.chances <= sum(FADE**n for n in range(round(counted.chances[name]))) + 1e-9, name
            assert tally.count == round(counted.hits.get(name, 0)) <= counted.chances[name], name
        elif name != "tls-too-short":
            assert tally.count == round(counted.hits[name]) <= counted.chances[name], name


def test_lives_are_the_same_again_and_go_on_after_a_conviction() -> None:
    for make, name in ((life, "tofsee"), (earlier_life, "script")):
        assert make("appliance", name, 1, 120) == make("appliance", name, 1, 120)
    bot = life("classic", "tofsee", 1, 120)
    assert 0 < bot.suspected <= bot.convicted < bot.contacts
    assert bot.highest > CONVICT_AT


def test_a_quick_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "QUICK", calibrate.Sizes(2, 50))
    lines: list[str] = []
    assert main(["--quick", "--processes", "1"], say=lines.append) == 0
    rows = [line.split()[0] for line in lines if line and line.split()[0] in INDICATORS]
    assert rows[: len(INDICATORS)] == list(INDICATORS)
    text = "\n".join(lines)
    for part in ("kind listed: no sender", "not-smtp: nobody", f"{number(math.exp(CONVICT_AT))} to what convicts"):
        assert part in text
    for sender in IN_WORLD:
        assert f"\n  {sender} " in text
