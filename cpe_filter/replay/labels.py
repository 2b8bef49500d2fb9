"""Where a chart's labels stand, so that none touches another on a narrow screen or a wide one.

Knows boxes in pixels, from the width of the chart and an estimate of a text's. Must not know SVG or tracks. The page
has no script, so positions are chosen once, for `WIDTHS` of which some are close to any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: Widths of the chart, pixels: on screens of 320 and 390 pixels, on the narrowest with all ticks, and on a wide one.
WIDTHS = (215, 289, 500, 950)
#: How many of these are narrow: there, ticks that a wide screen has may be hidden.
NARROW = 2
#: The most that a character takes at 12 pixels, in bold; and what a line of text takes above and below its base.
_CHARACTER, _ABOVE, _BELOW = 7.0, 11.0, 4.0
_PAUSE = 6.0


class Label(NamedTuple):
    """A text at `x` (share of the chart's width) + `dx` pixels, and `y` pixels. anchor: start, middle or end."""

    text: str
    x: float
    dx: float
    y: float
    anchor: str

    def span(self, width: int) -> tuple[float, float]:
        """Its left and its right end in a chart of this width."""
        at, size = self.x * width + self.dx, len(self.text) * _CHARACTER
        left = at - {"start": 0.0, "middle": size / 2, "end": size}[self.anchor]
        return left, left + size

    def touches(self, other: Label, width: int) -> bool:
        left, right = self.span(width)
        their_left, their_right = other.span(width)
        apart = abs(self.y - other.y) >= _ABOVE + _BELOW
        return not apart and left < their_right + _PAUSE and their_left < right + _PAUSE


def best(choices: Sequence[Label], others: Sequence[Label]) -> Label:
    """The place for a label that has the fewest faults over all widths; among equals the first."""
    return min(choices, key=lambda label: sum(_faults(label, others, width) for width in WIDTHS))


def _faults(label: Label, others: Sequence[Label], width: int) -> int:
    left, right = label.span(width)
    outside = left < 0 or right > width or label.y < _ABOVE
    return outside + sum(label.touches(other, width) for other in others)


def without_touching(labels: Iterable[Label], widths: Sequence[int]) -> list[Label]:
    """The labels of a row, from left to right, that touch none before them."""
    kept: list[Label] = []
    for label in labels:
        if not kept or not any(label.touches(kept[-1], width) for width in widths):
            kept.append(label)
    return kept
