"""Order: frames come by their times, where these are a little out of order; nothing is lost or held for long."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from cpe_filter.replay.frame import Frame
from cpe_filter.replay.order import LATE_S, WINDOW, WINDOW_BYTES, in_order


def frame(time: float, data: bytes = b"x") -> Frame:
    return Frame(time, 1, data, len(data))


def times(*values: float) -> list[float]:
    return [got.time for got in in_order(frame(value) for value in values)]


def test_late_ones_move_up() -> None:
    assert times(1, 2, 1.5, 3, 2.9, 2.8) == [1, 1.5, 2, 2.8, 2.9, 3]


def test_equal_times_keep_their_order() -> None:
    frames = [frame(0.0, bytes([number])) for number in range(200)]
    assert list(in_order(frames)) == frames


def test_times_that_come_again_say_nothing_of_the_order() -> None:
    """A capture that a program has written: one time for each direction."""
    assert times(1, 2, 1, 2, 1, 1, 2) == [1, 2, 1, 2, 1, 1, 2]


def test_a_time_that_two_frames_have_is_no_hindrance() -> None:
    assert times(0.1, 0.2, 0.3, 0.5, 0.6, 0.3, 0.4) == [0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6]


def test_a_clock_that_was_set_back_is_no_late_frame() -> None:
    later = 100 + LATE_S + 0.1
    assert times(100, later, 99, 99.5, later) == [100, later, 99, 99.5, later]


def test_shuffled_within_the_window_all_are_in_order() -> None:
    rng = random.Random(1)
    values = [number * 0.001 for number in range(5000)]
    places = sorted((at + rng.random() * WINDOW / 2, value) for at, value in enumerate(values))
    shuffled = [value for _, value in places]
    assert shuffled != values
    assert times(*shuffled) == values


def test_few_frames_and_few_bytes_wait() -> None:
    taken = 0

    def source(size: int) -> Iterator[Frame]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield frame(float(number), bytes(size))

    for size, most in ((60, WINDOW + 1), (1 << 20, WINDOW_BYTES // (1 << 20) + 1)):
        taken = 0
        next(in_order(source(size)))
        assert taken == most
