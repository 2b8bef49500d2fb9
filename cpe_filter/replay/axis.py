"""The x axis of a score over time: which part of a track is drawn, where, and at which times and connections.

Knows times and tracks. Must not know what it is drawn with: positions are 0 (left) to 1 (right).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from cpe_filter.detect.score import COMPROMISED
from cpe_filter.replay.timeline import Point, Track
from cpe_filter.texts.terminal import clock

#: If first and last are less than so many seconds apart, order says more than time.
SHORTEST_S = 0.05
#: A conviction before this part of the whole time gets this much width, because what follows it explains nothing.
EARLY = 0.6

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
#: Seconds between ticks, in units that people use. From a day on multiples of days.
STEPS = (
    *(base * 10.0**power for power in (-3, -2, -1) for base in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(HOUR * n for n in (1, 2, 3, 6, 12)),
    *(DAY * n for n in (1, 2, 7, 14, 30, 90, 180, 365, 730, 1825, 3650)),
)


class Tick(NamedTuple):
    """position: 0 to 1. label: the time. connection: how many the device had opened by then."""

    position: float
    label: str
    connection: int


class Axis(NamedTuple):
    """start, end: POSIX seconds, or numbers of evidence where `by_order`. shown: the points within.

    cut: the track continues after the end. base: the score before the first point.
    """

    start: float
    end: float
    by_order: bool
    cut: bool
    shown: list[Point]
    base: float

    def position(self, point: Point) -> float:
        return self.at(point.number if self.by_order else point.time)

    def at(self, value: float) -> float:
        return min(1.0, max(0.0, (value - self.start) / (self.end - self.start)))

    def ticks(self, wanted: int) -> list[Tick]:
        """About `wanted` ticks at round times; by order only the first and the last piece of evidence."""
        first, last = self.shown[0], self.shown[-1]
        if self.by_order:
            ends = [first] if first.number == last.number else [first, last]
            return [Tick(self.position(p), moment(p.time, 0.001), p.connection) for p in ends]
        span = self.end - self.start
        step = next((step for step in STEPS if span / step <= wanted), span / wanted)
        times = [point.time for point in self.shown]
        ticks: list[Tick] = []
        number = int(self.start // step) + 1
        while number * step <= self.end and len(ticks) <= wanted:
            value = number * step
            point = self.shown[max(0, bisect_right(times, value) - 1)]
            ticks.append(Tick(self.at(value), moment(value, step), point.connection))
            number += 1
        return ticks


def axis(track: Track) -> Axis:
    """The part of a track that explains it: all of it, or up to some time after an early conviction."""
    points = track.points()
    first, last = points[0], points[-1]
    base = max(0.0, first.score - first.added)
    span = last.time - first.time
    if span < SHORTEST_S:
        return Axis(first.number - 1, last.number, True, False, points, base)
    end, cut = last.time, False
    convicted = track.standings.get(COMPROMISED)
    if convicted and 0 < convicted.time - first.time < EARLY * span / 2:
        # As long as every step is kept.
        end = min(first.time + (convicted.time - first.time) / EARLY, (track.soon or [last])[-1].time)
        cut = True
        points = [point for point in points if point.time <= end]
    # Some space to the left, because the first piece of evidence is a rise, too.
    return Axis(first.time - (end - first.time) / 40, end, False, cut, points, base)


def moment(seconds: float, step: float) -> str:
    """A time with the precision for steps of so many seconds: a date, a time, or a fraction of a second."""
    if step >= 1:
        text = clock(seconds)
        return (text[:10] if step >= DAY else text[5:16] if step >= HOUR else text[11:]) or text
    decimals = 1 if step >= 0.1 else 2 if step >= 0.01 else 3
    try:
        text = time.strftime("%H:%M:%S", time.gmtime(round(seconds, decimals)))
    except (OverflowError, ValueError, OSError):
        return clock(seconds)
    return text + f"{round(seconds, decimals) % 1:.{decimals}f}"[1:]


def precision(points: Sequence[Point]) -> float:
    """The step for `moment`, in seconds, that distinguishes the times of these points."""
    span = points[-1].time - points[0].time
    return 0.001 if span < HOUR else 1.0 if span < DAY else HOUR
