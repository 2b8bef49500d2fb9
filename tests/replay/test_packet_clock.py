"""The engine's time: it never goes back, and stands still for no longer than it takes to be sure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cpe_filter.replay.packet_clock import IN_A_ROW, LATE_S, PacketClock


def test_time_goes_on() -> None:
    clock = PacketClock()
    assert [clock.at(time) for time in (100.0, 101.5, 101.2, 103.0)] == [100.0, 101.5, 101.5, 103.0]
    assert (clock.late, clock.jumps) == (1, 0)


def test_packets_without_a_time_count_as_of_now() -> None:
    clock = PacketClock()
    clock.at(1e9)
    assert [clock.at(0.0) for _ in range(100)] == [1e9] * 100
    assert clock.jumps == 0


def test_a_clock_that_is_set_back_goes_on_from_there() -> None:
    clock = PacketClock()
    clock.at(10_000.0)
    times = [clock.at(1000.0 + second) for second in range(100)]
    assert times[:IN_A_ROW] == [10_000.0] * IN_A_ROW
    assert times[-1] == 10_000.0 + 100 - IN_A_ROW
    assert (clock.jumps, clock.back) == (1, 9000.0 - IN_A_ROW + 1)
    assert "set back once" in clock.note()


def test_one_time_far_ahead_does_not_stop_it() -> None:
    clock = PacketClock()
    clock.at(1000.0)
    clock.at(4e9)
    times = [clock.at(1000.0 + second) for second in range(100)]
    assert times[-1] - times[50] == 49.0


def test_two_interfaces_with_different_clocks_do_not_make_it_run() -> None:
    clock = PacketClock()
    for second in range(1000):
        clock.at(1e9 + second)
        clock.at(5.0 + second)
    assert (clock.now, clock.jumps) == (1e9 + 999, 0)


@given(st.lists(st.floats(0, 1e11)))
def test_it_never_goes_back(times: list[float]) -> None:
    clock = PacketClock()
    seen = [clock.at(time) for time in times]
    assert seen == sorted(seen)
    assert LATE_S > 0
