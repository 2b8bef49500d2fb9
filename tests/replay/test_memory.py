"""Memory does not grow with the length of a stream (`python -m tests.bench.replay_memory` has a long one)."""

from __future__ import annotations

from tests.bench.replay_memory import GROWTH_MB, MOST_MB, peak


def test_a_longer_stream_takes_no_more_memory() -> None:
    short, _ = peak(4)
    long, _ = peak(20)
    assert long <= short + GROWTH_MB
    assert long <= MOST_MB
