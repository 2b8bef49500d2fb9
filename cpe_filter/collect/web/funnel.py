"""From the notice to a clean device, in numbers: rows of episodes -> how many reached each stage, of how many.

Knows the stages (cases.funnel) and statistics. Must not know SQL or HTML. Pure. A device counts once for each time that
it was found; a home (a subscriber) once in each stage, however many of its devices reached it. Each number has its
denominator: the devices that could be in it. `clean` and the comparison of channels count only those that were notified
long enough ago.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cpe_filter.collect.cases.history import CHANNELS
from cpe_filter.collect.store.base import Row

DAY = 86_400
#: Days from the notice within which Cetin et al. (NDSS 2019) asked whether a device was clean.
WITHIN_DAYS = 14
#: Two-sided 95 % of a normal distribution.
_Z = 1.959964

StageName = Literal["found", "notified", "seen", "answered", "clean", "relapsed"]
Group = Literal["router", "mail", "webhook", "desk", "several", "none"]
GROUPS: tuple[Group, ...] = (*CHANNELS, "several", "none")


class Stage(NamedTuple):
    """devices and homes that reached it, of so many; the median time until then, seconds: `notified`, `seen` and
    `answered` from found, `clean` from the notice, `relapsed` from clean."""

    name: StageName
    devices: int
    homes: int
    of: int
    of_homes: int
    median_s: int | None


class Compared(NamedTuple):
    """Devices whose home was notified by one channel alone, by several or by none: how many of them were clean within
    `WITHIN_DAYS`, and the 95 % interval of that share (Wilson 1927)."""

    group: Group
    devices: int
    clean: int
    low: float
    high: float


@dataclass(slots=True)
class Funnel:
    """channels: devices whose home was notified by each, whatever else notified it. clean_without_notice: clean,
    without a notice before. false_alarms: closed as such, in no other number. waiting: notified too short a time ago
    to be known to be clean. cut: there were more devices than are counted."""

    stages: list[Stage] = field(default_factory=list)
    channels: dict[str, int] = field(default_factory=dict)
    compared: list[Compared] = field(default_factory=list)
    clean_days: int = 0
    clean_without_notice: int = 0
    waiting: int = 0
    false_alarms: int = 0
    cut: bool = False

    def stage(self, name: StageName) -> Stage:
        return next((one for one in self.stages if one.name == name), Stage(name, 0, 0, 0, 0, None))


def funnel(rows: Sequence[Row], now: int, clean_days: int) -> Funnel:
    """rows: `who` (the home) and the columns of desk_episode."""
    counted = [row for row in rows if row["outcome"] != "false-alarm"]
    told = [row for row in counted if row["told_at"] is not None]
    seen = [row for row in told if row["seen_at"] is not None]
    due = [row for row in told if now - row["told_at"] >= clean_days * DAY]
    clean = [row for row in due if row["clean_since"] is not None]
    relapsed = [row for row in clean if row["relapsed_at"] is not None]
    answered = [row for row in seen if row["answered_at"] is not None]
    return Funnel(
        stages=[
            _stage("found", counted, counted, None),
            _stage("notified", told, counted, lambda row: row["told_at"] - row["begun_at"]),
            _stage("seen", seen, told, lambda row: row["seen_at"] - row["begun_at"]),
            _stage("answered", answered, seen, lambda row: row["answered_at"] - row["begun_at"]),
            _stage("clean", clean, due, lambda row: max(0, row["clean_since"] - row["told_at"])),
            _stage("relapsed", relapsed, clean, lambda row: row["relapsed_at"] - row["clean_since"]),
        ],
        channels={name: sum(row[f"told_{name}_at"] is not None for row in counted) for name in CHANNELS},
        compared=[_compared(group, counted, now, clean_days) for group in GROUPS],
        clean_days=clean_days,
        clean_without_notice=sum(row["clean_since"] is not None and row["told_at"] is None for row in counted),
        waiting=len(told) - len(due),
        false_alarms=len(rows) - len(counted),
    )


def _stage(name: StageName, rows: list[Row], of: list[Row], took: Callable[[Row], int] | None) -> Stage:
    times = sorted(map(took, rows)) if took is not None else []
    median = times[(len(times) - 1) // 2] if times else None
    return Stage(name, len(rows), _homes(rows), len(of), _homes(of), median)


def _homes(rows: Iterable[Row]) -> int:
    return len({row["who"] for row in rows})


def _compared(group: Group, rows: list[Row], now: int, clean_days: int) -> Compared:
    fitting = [row for row in rows if _group(row) == group and now - _start(row) >= (WITHIN_DAYS + clean_days) * DAY]
    clean = sum(map(_clean_in_time, fitting))
    return Compared(group, len(fitting), clean, *wilson(clean, len(fitting)))


def _group(row: Row) -> Group:
    channels = [name for name in CHANNELS if row[f"told_{name}_at"] is not None]
    return channels[0] if len(channels) == 1 else "several" if channels else "none"


def _start(row: Row) -> int:
    at: int = row["begun_at"] if row["told_at"] is None else row["told_at"]
    return at


def _clean_in_time(row: Row) -> bool:
    """Whether it had stopped by then, and not begun again."""
    end = _start(row) + WITHIN_DAYS * DAY
    since, again = row["clean_since"], row["relapsed_at"]
    return since is not None and since <= end and (again is None or again > end)


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); (0, 1) where nothing is known."""
    if not runs:
        return 0.0, 1.0
    share, z2 = hits / runs, _Z * _Z
    middle = (share + z2 / (2 * runs)) / (1 + z2 / runs)
    half = _Z * math.sqrt(share * (1 - share) / runs + z2 / (4 * runs * runs)) / (1 + z2 / runs)
    # At the ends the bound is exact; rounding is not.
    return 0.0 if hits == 0 else max(0.0, middle - half), 1.0 if hits == runs else min(1.0, middle + half)
