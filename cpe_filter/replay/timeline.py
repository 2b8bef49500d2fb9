"""How a score developed: the steps of each device, within bounds.

Knows the detector's steps and the thresholds. Must not know how they are shown (chart, page). From a long history it
keeps what a drawing needs: the first and last step, those that crossed a threshold or changed the standing, those that
moved the score most, and the lowest and highest of each run of steps between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappush, heappushpop
from typing import Any, NamedTuple

from cpe_filter.detect.detector import Step
from cpe_filter.detect.device import Device
from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE
from cpe_filter.detect.score import COMPROMISED, CONVICT_AT, SUSPECT_AT, SUSPECTED

#: Devices with a timeline: those whose scores rose highest.
DEVICES = 256
#: Points kept for each device, at most.
POINTS = 400
#: Runs of steps up to the conviction, and as many after it, with two points each. All first steps after it are kept.
RUNS = 80
SOON = 48
#: How many of the steps that moved the score most are listed, up to the conviction; and the least change that counts.
MOVERS = 10
SMALLEST = 0.05


class Point(NamedTuple):
    """A step of one device. number: its place among the device's steps. added: nats. score: after it."""

    number: int
    time: float
    connection: int
    indicator: str
    added: float
    score: float

    @property
    def absent(self) -> bool:
        """Whether what it counts is that the indicator did not fire where it might have."""
        return self.added < 0 and INDICATORS[self.indicator].family != LEGITIMATE

    @property
    def called(self) -> str:
        return f"no {self.indicator}" if self.absent else self.indicator


class Runs:
    """The lowest and highest of adjacent points in runs of equal length; the runs get longer as it fills."""

    __slots__ = ("_in_last", "_length", "_runs", "limit")

    def __init__(self, limit: int = RUNS) -> None:
        self.limit = limit
        self._length = 1
        self._in_last = 0
        self._runs: list[tuple[Point, ...]] = []

    def __iter__(self) -> Iterator[Point]:
        return (point for run in self._runs for point in run)

    def add(self, point: Point) -> None:
        if self._runs and self._in_last < self._length:
            self._runs[-1] = _extremes((*self._runs[-1], point))
            self._in_last += 1
            return
        # A run of one is one point, any longer one two.
        while len(self._runs) >= (self.limit if self._length > 1 else 2 * self.limit):
            pairs = range(0, len(self._runs), 2)
            self._runs = [_extremes(sum(self._runs[at : at + 2], ())) for at in pairs]
            self._length *= 2
        self._runs.append((point,))
        self._in_last = 1


def _extremes(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """The lowest and the highest, in order of time."""
    low = min(points, key=lambda point: point.score)
    high = max(points, key=lambda point: point.score)
    if low is high:
        return (low,)
    return (low, high) if low.number < high.number else (high, low)


class Track:
    """One device's score over time.

    crossed: by standing, the first point at or above its threshold. standings: by standing, the first point that gave
    it; a conviction may come later than its threshold, because it takes two families. soon: the points right after it.
    begun: False if the first steps were not kept.
    """

    __slots__ = (
        "_after",
        "_before",
        "_moved",
        "begun",
        "count",
        "crossed",
        "first",
        "last",
        "peak",
        "soon",
        "standings",
    )

    def __init__(self, step: Step) -> None:
        self.first = self.last = self.peak = _point(1, step)
        self.begun = step.score - step.added < 0.005
        self.count = 0
        self.crossed: dict[str, Point] = {}
        self.standings: dict[str, Point] = {}
        self.soon: list[Point] = []
        self._before, self._after = Runs(), Runs()
        self._moved: list[tuple[float, int, Point]] = []
        self.add(step)

    def add(self, step: Step) -> None:
        self.count += 1
        self.last = point = _point(self.count, step)
        if point.score > self.peak.score:
            self.peak = point
        if point.score >= SUSPECT_AT:
            self.crossed.setdefault(SUSPECTED, point)
        if point.score >= CONVICT_AT:
            self.crossed.setdefault(COMPROMISED, point)
        if COMPROMISED in self.standings:
            if len(self.soon) < SOON:
                self.soon.append(point)
            else:
                self._after.add(point)
            return
        self._before.add(point)
        if abs(point.added) >= SMALLEST:
            # If two are equal the earlier is kept, because it was more informative.
            item = (abs(point.added), -point.number, point)
            if len(self._moved) < MOVERS:
                heappush(self._moved, item)
            else:
                heappushpop(self._moved, item)

    def settle(self, standing: str) -> None:
        """What the device's standing was after the last point."""
        if standing in (SUSPECTED, COMPROMISED):  # the standings that a score has reached
            self.standings.setdefault(standing, self.last)

    def points(self) -> list[Point]:
        """At most `POINTS`, in order."""
        marked = (self.first, *self.crossed.values(), *self.standings.values(), self.last)
        kept = {point.number: point for point in (*self._before, *self.soon, *self._after, *marked, *self._most())}
        return [kept[number] for number in sorted(kept)]

    def movers(self) -> list[Point]:
        """The points that moved the score most, up to a conviction, and those that `mark` names; in order."""
        kept = {point.number: point for point in (*self._most(), *self.crossed.values(), *self.standings.values())}
        return [kept[number] for number in sorted(kept)]

    def mark(self, point: Point) -> str:
        """Why a point is special: it gave a standing, or was the first above a threshold. Else empty."""
        for standing, threshold in ((COMPROMISED, CONVICT_AT), (SUSPECTED, SUSPECT_AT)):
            if self.standings.get(standing) == point:
                return standing
            if self.crossed.get(standing) == point:
                return f"passes {threshold:g}"
        return ""

    def _most(self) -> list[Point]:
        return [item[2] for item in self._moved]


def _point(number: int, step: Step) -> Point:
    return Point(number, step.time, step.connection, step.indicator, step.added, step.score)


class Timeline:
    """The tracks of one capture's devices. Pass `step` to an engine as its `trace`, then call `finish`.

    crowded: there were more than `DEVICES` devices; those whose scores rose highest have tracks.
    """

    def __init__(self, limit: int = DEVICES) -> None:
        self.limit = limit
        self.crowded = False
        self.tracks: dict[str, Track] = {}
        self._tracks: dict[Device, Track] = {}
        self._least = 0.0  # no peak is lower; the true least may be higher

    def step(self, step: Step) -> None:
        """A piece of evidence, just counted; the device's standing is not up to date yet."""
        track = self._tracks.get(step.device)
        if track is not None:
            track.settle(step.device.score.standing)
            track.add(step)
        elif len(self._tracks) < self.limit or self._made_room(step.score):
            self._tracks[step.device] = Track(step)

    def finish(self) -> None:
        """No more steps: fills `tracks`, by the devices' names."""
        for device, track in self._tracks.items():
            track.settle(device.score.standing)
            self.tracks[device.name] = track

    def _made_room(self, score: float) -> bool:
        self.crowded = True
        if score <= self._least:
            return False
        device, track = min(self._tracks.items(), key=lambda item: item[1].peak.score)
        self._least = track.peak.score
        if score <= self._least:
            return False
        del self._tracks[device]
        return True


def as_json(track: Track | None) -> list[dict[str, Any]]:
    """The points of a track for `--json`: POSIX seconds, nats."""
    if track is None:
        return []
    return [
        {
            "time": round(point.time, 6),
            "connection": point.connection,
            "indicator": point.indicator,
            "added": round(point.added, 2),
            "score": round(point.score, 2),
        }
        for point in track.points()
    ]
