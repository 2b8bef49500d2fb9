"""When routers speak to the collector: one by one, and a hundred thousand at once."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from cpe_filter.lean.clocks import Posix, Uptime
from cpe_filter.report.schedule import (
    BASE_S,
    CAP_S,
    DAY_S,
    MINUTE_S,
    MOST_AFTER_S,
    MOST_SPLAY_S,
    PAUSE_S,
    SLOW_S,
    SPLAY_S,
    Plan,
    begin,
    delivered,
    failed,
    known,
    next_at,
    refused,
    to_send,
    tuned,
)
from cpe_filter.report.spool import Waiting

if TYPE_CHECKING:
    from cpe_filter.report.events import EventKind

UP = 100_000.0
PLAN = Plan("b", UP, beat=UP + 5000)


def waiting(kind: EventKind, up: int = 0, seq: int = 1) -> Waiting:
    return Waiting(seq, kind, "x", up, b"{}\n")


def highest() -> float:
    return 1.0 - 2**-53


# ── when something is due ───────────────────────────────────────────────────────────────────────────


def test_nothing_waits() -> None:
    assert next_at(PLAN, [], 77) is None


def test_an_event_goes_at_a_second_of_the_minute_that_is_the_router_s_own() -> None:
    minute = 1675 * 60
    for after, due in ((0, 17), (16, 17), (17, 17), (18, 77), (40, 77), (59, 77), (60, 77), (78, 137)):
        assert next_at(PLAN, [waiting("opened", minute + after)], 77) == minute + due
    assert next_at(PLAN, [waiting("opened", minute), waiting("raised", minute + 40)], 77) == minute + 17
    assert next_at(PLAN, [waiting("opened", 3)], 77) == UP


def answer(up: int) -> Waiting:
    return Waiting(1, "updated", "x", up, b'{"seq":1,"notice":{"shown":1,"answer":"seen"}}\n')


def test_an_answer_goes_within_15_s_also_soon_after_another_exchange() -> None:
    minute = 1675 * 60
    well = PLAN._replace(due=Uptime(minute + 75.0))
    for after, due in ((0, 2), (2, 2), (3, 17), (40, 47)):
        assert next_at(well, [waiting("updated", minute), answer(minute + after)], 77) == minute + due
    assert next_at(PLAN, [answer(minute + 3)], 77) == minute + 17
    # Not after a failure, nor before its time after a boot.
    assert next_at(well._replace(failures=1), [answer(minute)], 77) == well.due
    boot = well._replace(due=Uptime(minute + 3000.0))
    assert next_at(boot, [answer(minute)], 77) == boot.due
    # What was reported with it waits for nothing more; without an answer the router keeps to its minute.
    assert next_at(well, [waiting("updated", minute)], 77) == well.due


@pytest.mark.parametrize("late", [0.0, 0.4, 29.9])
def test_a_busy_router_that_is_well_exchanges_once_a_minute_at_its_own_second(late: float) -> None:
    """An event every 7 seconds. late: seconds that an exchange takes."""
    plan, seq, begun = PLAN, 0, []
    for _ in range(20):
        seq = int(max(plan.due, seq) // 7 + 1) * 7
        at = next_at(plan, [waiting("updated", seq)], 77)
        assert at is not None
        begun.append(at)
        plan = delivered(plan, Uptime(at + late), Posix(0.0), 77, False, None, None)
    assert {at % MINUTE_S for at in begun[1:]} == {17.0}
    assert {later - earlier for earlier, later in itertools.pairwise(begun[1:])} <= {60.0, 120.0}


def test_between_two_exchanges_there_is_half_a_minute_whenever_the_first_one_was() -> None:
    for second in range(60):
        pause = delivered(PLAN, Uptime(UP + second), Posix(0.0), 77, False, None, None).due - (UP + second)
        assert PAUSE_S <= pause < PAUSE_S + MINUTE_S


def test_a_heartbeat_waits_for_its_time_and_takes_no_other_event_with_it() -> None:
    beat, opened = waiting("heartbeat", 3), waiting("opened", 3)
    assert next_at(PLAN, [beat], 77) == UP + 5000
    assert next_at(PLAN, [beat, opened], 77) == UP
    assert to_send(PLAN, [beat, opened], UP) == [opened]
    assert to_send(PLAN, [beat, opened], UP + 5000) == [beat, opened]


@pytest.mark.parametrize("wall", [0.0, 1.8e9, 1.8e9 + 43200.0, 1.8e9 + 86399.0, -5e8])
def test_heartbeats_keep_the_router_s_time_of_day(wall: float) -> None:
    plan, up = PLAN, UP
    for _ in range(5):
        before, plan = up, delivered(plan, Uptime(up), Posix(wall + up), 30_000, True, None, None)
        up = plan.beat
        assert (wall + up) % DAY_S == pytest.approx(30_000)
        assert DAY_S / 2 <= up - before < 1.5 * DAY_S
    assert delivered(plan, Uptime(up), Posix(wall), 30_000, False, None, None).beat == plan.beat


# ── after an exchange ───────────────────────────────────────────────────────────────────────────────


def test_after_a_boot_a_splay() -> None:
    assert begin("b", 30.0, lambda: 0.0).due == 30
    assert 30 + SPLAY_S - 1 < begin("b", 30.0, highest).due <= 30 + SPLAY_S


def test_windows_double_up_to_the_cap_with_full_jitter() -> None:
    plan, widest = PLAN._replace(splay=0), []
    for _ in range(12):
        assert failed(plan, UP, 0.0, lambda: 0.0).due == UP
        plan = failed(plan, UP, 0.0, highest)
        widest.append(round(plan.due - UP))
    assert widest == [40, 80, 160, 320, 640, 1280, 2560, 5120, 5120, 5120, 5120, 5120]
    assert (BASE_S, CAP_S, plan.failures) == (20, 5120, 12)


def test_an_outage_ends_over_the_length_of_the_splay() -> None:
    plan = PLAN
    for _ in range(4):
        plan = failed(plan, UP, 0.0, highest)
    assert round(plan.due - UP) == SPLAY_S
    assert round(failed(tuned(plan, 7000, None), UP, 0.0, highest).due - UP) == 7000


def test_retry_after_comes_before_the_jitter_and_is_bounded() -> None:
    assert failed(PLAN, UP, 300.0, lambda: 0.0).due == UP + 300
    assert round(failed(PLAN, UP, 300.0, highest).due - UP) == 340
    assert failed(PLAN, UP, 1e30, lambda: 0.0).due == UP + MOST_AFTER_S
    assert failed(PLAN, UP, -5.0, lambda: 0.0).due == UP


def test_refused_routers_are_slow() -> None:
    plan = PLAN
    for _ in range(12):
        assert refused(plan, UP, lambda: 0.0).due >= UP + SLOW_S / 2
        plan = refused(plan, UP, highest)
        assert plan.due - UP <= DAY_S
    assert plan.due - UP > 0.9 * DAY_S


def test_success_forgets_failures() -> None:
    plan = delivered(failed(PLAN, UP, 0.0, highest), Uptime(UP), Posix(0.0), 50, False, 120, "v8")
    assert (plan.failures, plan.due, plan.splay, plan.policy) == (0, 1667 * 60 + 50, 120, "v8")


@pytest.mark.parametrize(("said", "splay"), [(-1, 0), (0, 0), (600, 600), (10**30, MOST_SPLAY_S), (None, SPLAY_S)])
def test_the_collector_tunes_the_splay_within_bounds(said: int | None, splay: int) -> None:
    assert tuned(PLAN, said, None).splay == splay


# ── as a file ───────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_is_read_back_in_its_boot_alone() -> None:
    assert known(list(PLAN), "b") == PLAN
    assert known(list(PLAN), "c") is None


@pytest.mark.parametrize(
    "content",
    [None, 1, "x", [], {}, list(PLAN)[:-1], ["b", "x", 0, 0, 0, ""], ["b", float("nan"), 0, 0, 0, ""],
     ["b", float("inf"), 0, 0, 0, ""], ["b", -1, 0, 0, 0, ""], ["b", 1, 0, -1, 0, ""], ["b", 1, 0, 0, 1e9, ""]],
)  # fmt: skip
def test_what_is_no_plan(content: Any) -> None:
    assert known(content, "b") is None


# ── many routers ────────────────────────────────────────────────────────────────────────────────────


def peak(dues: list[float], window_s: int = 10) -> float:
    """The most exchanges a second, over windows of so many seconds."""
    counted: dict[int, int] = {}
    for due in dues:
        counted[int(due) // window_s] = counted.get(int(due) // window_s, 0) + 1
    return max(counted.values()) / window_s


def test_after_a_power_cut_a_hundred_thousand_come_back_evenly() -> None:
    draw = random.Random(6).random
    dues = [begin("b", 60.0, draw).due for _ in range(100_000)]
    assert peak(dues) < 1.35 * 100_000 / SPLAY_S


def test_a_hundred_thousand_that_find_a_bot_in_the_same_second_report_it_evenly() -> None:
    draw = random.Random(8).random
    booted = [draw() * DAY_S for _ in range(100_000)]
    opened = [waiting("opened", int(2 * DAY_S - start)) for start in booted]
    dues = [next_at(PLAN._replace(due=0.0), [event], int(draw() * DAY_S)) for event in opened]
    delays = [due - event.up for due, event in zip(dues, opened, strict=True) if due is not None]
    assert peak(delays, 1) < 1.1 * 100_000 / MINUTE_S
    assert max(delays) < MINUTE_S


def test_after_an_outage_a_hundred_thousand_come_back_evenly() -> None:
    """Each had something to send at some time of two hours without a collector."""
    draw = random.Random(7).random
    end, back = 7200.0, []
    for _ in range(100_000):
        plan, up = PLAN._replace(due=0.0), draw() * end
        while up < end:
            plan = failed(plan, up, 0.0, draw)
            up = max(plan.due, up + 1)
        back.append(up - end)
    assert peak(back) < 100.0  # of 1,000 a second, were there no window
    assert max(back) < CAP_S
