"""After a claimed clean-up: a bot still there is found sooner, a cleaned device is cleared, silence proves nothing."""

from __future__ import annotations

import itertools
import statistics

import pytest

from cpe_filter.detect.detector import RELEASED, Detector
from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, Tally
from tests.evaluate.facts import Player, Session
from tests.evaluate.measure import one_device
from tests.evaluate.scenarios import SETS, seeded

SETS_ = SETS["development"]


def bot(name: str, seed: int) -> itertools.islice[Session]:
    return itertools.islice(SETS_.bots[name](seeded(name, seed)), 3000)


def convicted(seed: int) -> tuple[Detector, Device, float]:
    detector, device = one_device("classic-sprayer")
    player = Player(detector)
    for session in bot("classic-sprayer", seed):
        player.play(device, session)
        if device.score.standing == COMPROMISED:
            player.until(session.time + 60)
            detector.changes.clear()
            return detector, device, session.time + 60
    raise AssertionError("not convicted")


def test_a_released_device_is_watched() -> None:
    detector, device, time = convicted(1)
    at = device.compromised_at
    assert at is not None
    assert detector.release(device, time)
    (change,) = detector.changes
    assert (change.before, change.after, change.indicator) == (COMPROMISED, SUSPECTED, RELEASED)
    assert device.suspected_at == (time, device.connections)
    assert device.compromised_at is None
    assert not device.score.tallies
    assert len(device.server_networks) == 0
    assert device.connections >= at[1]  # what it did is not forgotten


def test_only_a_compromised_device_can_be_released() -> None:
    detector, device = one_device("classic-sprayer")
    assert not detector.release(device, 1.0)
    assert device.score.standing == CLEAR
    _, suspect, time = convicted(1)
    assert detector.release(suspect, time)
    detector.changes.clear()
    value = suspect.score.value
    assert not detector.release(suspect, time)  # asking twice makes nobody cleaner
    assert suspect.score.value == value
    assert not detector.changes


@pytest.mark.parametrize("name", ["classic-sprayer", "careful"])
def test_a_bot_that_is_still_there_is_convicted_sooner(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = [], []
    for seed in range(40):
        detector, device = one_device(name)
        player, count, released = Player(detector), 0, False
        for session in bot(name, seed):
            player.play(device, session)
            count += 1
            if device.score.standing == COMPROMISED:
                if released:
                    again.append(count)
                    break
                first.append(count)
                released, count = detector.release(device, session.time), 0
    with capsys.disabled():
        print(f"\n{name}: convicted at connection {statistics.median(first):g}, released {statistics.median(again):g}")
    assert len(again) == len(first) == 40
    assert statistics.median(again) < statistics.median(first)


@pytest.mark.parametrize("name", ["self-hosted", "script"])
def test_a_cleaned_device_is_cleared_by_its_mail(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    accepted = []
    for seed in range(20):
        detector, device, time = convicted(seed)
        detector.release(device, time)
        player = Player(detector)
        for session in SETS_.legitimate[name](seeded(name, seed), 365):
            player.play(device, session._replace(time=session.time + time))
            assert device.score.standing != COMPROMISED
            if device.score.standing == CLEAR:
                break
        assert device.score.standing == CLEAR
        assert device.suspected_at is None
        accepted.append(sum(device.score.tallies.get(n, Tally()).count for n in ("accepted", "tls-carried")))
    with capsys.disabled():
        print(f"\n{name}: clear after {statistics.median(accepted):g} accepted first contacts, at most {max(accepted)}")
    assert statistics.median(accepted) <= 5


def test_usual_servers_clear_it_too() -> None:
    """Servers from before count again: without that, who writes to these alone could never show anything."""
    detector, device, time = convicted(2)
    usual = [session for session in SETS_.legitimate["self-hosted"](seeded("self-hosted", 3), 200) if not session.spam]
    player = Player(detector)
    for session in usual:
        player.play(device, session._replace(time=session.time + time))
    time += usual[-1].time + 60
    player.until(time)
    detector.release(device, time)
    for session in usual:
        player.play(device, session._replace(time=session.time + time))
        if device.score.standing == CLEAR:
            return
    raise AssertionError("still suspected")


def test_who_sends_nothing_stays_watched() -> None:
    detector, device, time = convicted(1)
    detector.release(device, time)
    connection = detector.opened(device, bytes((198, 18, 1, 25)), time + 365 * 86400)
    assert connection.device.score.standing == SUSPECTED
