"""The faults in short, on the real kernel: no dialogue is lost by any of them. `make faults` is the long version."""

from __future__ import annotations

import pytest

from cpe_filter.enforce.nfqueue import TURN_S
from tests.faults.__main__ import Tried, attempt, row
from tests.faults.faults import FAULTS
from tests.faults.scene import OPEN

IDLE_S = 0.8
#: How often a measurement on a machine that others use, too, may come out badly.
TRIES = 3


def tried(name: str, seconds: float, policy: str = "") -> Tried:
    """What came of a fault; what holds for every one has been asserted."""
    result = attempt(FAULTS[name], seconds, IDLE_S, policy=policy)
    outcome = result.outcome
    told = row(FAULTS[name], result)
    assert outcome.lost == 0, told
    assert outcome.cut == 0, told
    assert outcome.begun > 10 * seconds, told  # there was something to lose
    assert result.standing in ("clear", ""), told
    assert "blind" not in result.notes, told
    assert "internal error" not in result.log
    return result


@pytest.mark.live
def test_without_a_fault_every_dialogue_is_read(live: None) -> None:
    # Else the faults would be tried on mail that they could not touch.
    result = tried("nothing", 2.0)
    assert result.notes["packets_judged"] > 8 * result.outcome.begun


@pytest.mark.live
def test_a_killed_filter_and_its_successors(live: None) -> None:
    assert tried("kill", 2.0).notes["kills"] >= 1


@pytest.mark.live
def test_a_clock_that_jumps(live: None) -> None:
    notes = tried("clock", 3.0).notes
    assert notes["exemption_over"]
    assert notes["and_in_force_again"]


@pytest.mark.live
def test_a_filter_that_hangs_holds_up_only_what_its_queue_holds(live: None) -> None:
    # Without the queue's fail-open flag half of them wait for a second and more.
    for _ in range(TRIES):
        result = tried("stop", 3.0, "queue_length = 8\n")
        if result.outcome.median_ms < 500:
            return
    pytest.fail(row(FAULTS["stop"], result))


@pytest.mark.live
def test_reload_under_load(live: None) -> None:
    notes = tried("reload", 2.0).notes
    assert notes["in_effect"] >= notes["signals"] // 2
    assert notes["refused"] >= 1


@pytest.mark.live
def test_a_flushed_ruleset_comes_back(live: None) -> None:
    notes = tried("flush", 3.0).notes
    assert notes["restored_s"] is not None
    assert notes["restored_s"] <= 5.0


@pytest.mark.live
def test_a_slow_filter_and_a_bot(live: None) -> None:
    assert tried("slow", 3.0).notes["syns"] > 1000


@pytest.mark.live
def test_a_flood_does_not_delay_the_other_devices_mail(live: None) -> None:
    for _ in range(TRIES):
        result = tried("flood", 3.0)
        assert result.notes["syns"] > 10_000
        # They are refused, once the device is over its limit.
        assert result.notes["syns_that_left"] < result.notes["syns"] / 2
        if result.outcome.median_ms <= 2 * result.outcome.idle_median_ms:
            return
    pytest.fail(row(FAULTS["flood"], result))


@pytest.mark.live
def test_saturated_the_loop_still_turns(live: None) -> None:
    result = tried("flood-unguarded", 2.0)
    assert result.notes["longest_cpu_ms"] < 100 + 1000 * TURN_S, row(FAULTS["flood-unguarded"], result)


@pytest.mark.live
def test_a_full_tmpfs(live: None) -> None:
    notes = tried("full", 2.0).notes
    assert notes["complaints"] >= 1
    assert notes["written_again"]


@pytest.mark.live
def test_nothing_leaves_unseen_while_a_filter_that_fails_closed_is_down(live: None) -> None:
    assert tried("closed-kill", 2.0).notes["left_unseen"] == 0


@pytest.mark.live
def test_while_one_that_fails_open_is_down_mail_leaves(live: None) -> None:
    result = attempt(FAULTS["closed-kill"]._replace(policy=OPEN), 2.0, IDLE_S)
    assert result.outcome.lost == 0
    assert result.notes["left_unseen"] > 0
