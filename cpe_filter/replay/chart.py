"""A track as text: the score over time in a terminal, and the evidence that moved it most.

Knows terminals' characters. Must not know how a track came about (timeline) or which part of it is drawn (axis).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cpe_filter.detect.score import COMPROMISED, CONVICT_AT, SUSPECT_AT, SUSPECTED
from cpe_filter.replay.axis import Axis, Tick, axis, moment, precision
from cpe_filter.replay.timeline import Point, Track
from cpe_filter.texts.terminal import clock, table

#: Ten rows up to the threshold of a conviction put both thresholds on the border of two rows; one more is above.
ROWS = 10
COLUMNS = 56
_LABEL = 16


class Glyphs(NamedTuple):
    """filled: a cell's lower part, from nothing to all of it. passed: reached within the column, then left."""

    filled: str
    passed: str
    clipped: str
    threshold: str
    side: str
    corner: str
    base: str
    tick: str


BLOCKS = Glyphs(" ▁▂▃▄▅▆▇█", "░", "▲", "▁", "│", "└", "─", "┬")
ASCII = Glyphs(" .#", ":", "^", "_", "|", "+", "-", "+")


def glyphs(encoding: str | None) -> Glyphs:
    """Block characters if the terminal's encoding has them."""
    try:
        "".join(BLOCKS).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def lines(track: Track, encoding: str | None) -> list[str]:
    """A device's timeline for people, without indentation."""
    count = f"{track.count} pieces of evidence" if track.count != 1 else "1 piece of evidence"
    if track.peak.score < 0.05:
        return [f"score over time: it stayed at 0.0 ({count})"]
    drawn = axis(track)
    how = "in order of evidence" if drawn.by_order else "over time"
    out = [f"score {how}, {clock(track.first.time)} to {clock(track.last.time)} UTC ({count})"]
    if not track.begun:
        out.append("(what came before was not kept)")
    out += draw(drawn, glyphs(encoding))
    if drawn.cut:
        went_on = f"evidence went on until {clock(track.last.time)}, to a score of {track.last.score:.1f}"
        step = 0.1 if drawn.end - drawn.start < 60 else 1.0
        out.append(f"(drawn to {moment(drawn.end, step)}; {went_on})")
    step = precision([track.first, track.last])
    rows = [
        [
            moment(p.time, step),
            p.connection,
            p.called,
            f"{p.added:+.1f}",
            f"{p.score:.1f}",
            track.mark(p),
        ]
        for p in track.movers()
    ]
    titles = ["time", "connection", "indicator", "added", "score", ""]
    until = f" until it was {COMPROMISED}" if COMPROMISED in track.standings else ""
    out.append(f"what moved it most{until}, in order of time:")
    # Numbers are aligned to the right, names to the left; the table can only align all columns or none.
    for row in rows:
        row[1] = f"{row[1]:>{len(titles[1])}}"
        row[3], row[4] = f"{row[3]:>5}", f"{row[4]:>5}"
    out += ["  " + line for line in table(titles, rows, right_from=99)]
    return out


def draw(drawn: Axis, glyph: Glyphs) -> list[str]:
    """The chart: a row for scores above the threshold, `ROWS` below it, the axis, times, connection numbers."""
    columns = _columns(drawn)
    step = CONVICT_AT / ROWS
    labels = {ROWS: f"{CONVICT_AT:g} {COMPROMISED}", round(SUSPECT_AT / step): f"{SUSPECT_AT:g} {SUSPECTED}"}
    out = []
    for row in range(ROWS, -1, -1):
        cells = []
        for score, highest in columns:
            if row == ROWS:
                cell = glyph.clipped if highest > CONVICT_AT else glyph.filled[0]
            else:
                cell = _cell(score - row * step, highest - row * step, step, row in labels, glyph)
            cells.append(glyph.threshold if cell == " " and row in labels else cell)
        out.append(f"{labels.get(row, ''):>{_LABEL}} {glyph.side}{''.join(cells)}".rstrip())
    ticks = drawn.ticks(4)
    base = [glyph.base] * COLUMNS
    for tick in ticks:
        base[_column(tick.position)] = glyph.tick
    out.append(f"{'0':>{_LABEL}} {glyph.corner}{''.join(base)}")
    out.append(_below("time", [(tick, tick.label) for tick in ticks]))
    out.append(_below("connection", [(tick, str(tick.connection)) for tick in ticks]))
    return out


def _cell(score: float, highest: float, step: float, on_line: bool, glyph: Glyphs) -> str:
    """A cell whose lower border is 0 and whose upper border is `step`."""
    full = len(glyph.filled) - 1
    if score > 0:
        # On a threshold's line the smallest block would look like the line.
        return glyph.filled[max(1 + (on_line and full > 2), min(full, round(score / step * full)))]
    return glyph.passed if highest > 0 else " "


def _column(position: float) -> int:
    return min(COLUMNS - 1, int(position * COLUMNS))


def _columns(drawn: Axis) -> list[tuple[float, float]]:
    """For each column the score at its end, and the highest within it."""
    within: list[list[Point]] = [[] for _ in range(COLUMNS)]
    for point in drawn.shown:
        within[_column(drawn.position(point))].append(point)
    out = []
    score = drawn.base
    for points in within:
        highest = max([score, *(point.score for point in points)])
        score = points[-1].score if points else score
        out.append((score, highest))
    return out


def _below(title: str, texts: Sequence[tuple[Tick, str]]) -> str:
    """Labels under their ticks, without those that would touch another."""
    line = ""
    for tick, text in texts:
        at = max(0, min(COLUMNS - len(text), _column(tick.position) - len(text) // 2))
        if at >= len(line) + bool(line):
            line = line.ljust(at) + text
    return f"{title:>{_LABEL}}  {line}"
