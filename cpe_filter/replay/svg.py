"""A track as inline SVG: the score over time with both thresholds, for a page of any width.

Knows SVG and the page's class names. Must not know how a track came about (timeline) or which part of it is drawn
(axis). It takes only numbers from a capture; times and labels are the program's own words. Horizontal positions are
percentages and text sizes are pixels, so a narrow chart is as readable as a wide one.
"""

from __future__ import annotations

from cpe_filter.detect.score import COMPROMISED, CONVICT_AT, SUSPECT_AT, SUSPECTED
from cpe_filter.replay.axis import Axis, Tick, axis, moment, precision
from cpe_filter.replay.labels import NARROW, WIDTHS, Label, best, without_touching
from cpe_filter.replay.timeline import Point, Track
from cpe_filter.texts.terminal import clock

#: Pixels, and the score at the upper border; a higher score is cut off and described in words.
HEIGHT = 240
TOP = CONVICT_AT * 1.25
_THRESHOLDS = ((SUSPECTED, SUSPECT_AT), (COMPROMISED, CONVICT_AT))
_TICKS = 6


def svg(track: Track, name: str) -> str:
    """The chart. name: an id for its title and description, unique on the page."""
    drawn = axis(track)
    limit, doubt = _y(CONVICT_AT), _y(SUSPECT_AT)
    parts = [
        f'<svg class="chart" role="img" aria-labelledby="{name}-title {name}-text" width="100%" '
        f'height="{HEIGHT + 44}">',
        f'<title id="{name}-title">Score over time</title>',
        f'<desc id="{name}-text">{description(track)}</desc>',
        f'<rect class="zone suspected" width="100%" y="{limit}" height="{doubt - limit:.1f}"/>',
        f'<rect class="zone compromised" width="100%" height="{limit}"/>',
    ]
    for tick, wide, narrow in _ticks(drawn.ticks(_TICKS)):
        parts += _tick(tick, wide, narrow)
    parts.append(f'<svg width="100%" height="{HEIGHT}" viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none">')
    line = _line(drawn)
    parts.append(f'<path class="area" d="{line}V{HEIGHT}H0Z"/><path class="line" d="{line}"/></svg>')
    labels: list[Label] = []
    for standing, threshold in _THRESHOLDS:
        y = _y(threshold)
        parts.append(f'<line class="threshold {standing}" x2="100%" y1="{y}" y2="{y}"/>')
        label = Label(standing, 1, -8, y - 6, "end")
        labels.append(label)
        parts.append(_text(label, standing))
        parts.append(f'<text class="scale" x="-8" y="{y + 4:.1f}">{threshold:g}</text>')
    parts.append(f'<line class="base" x2="100%" y1="{HEIGHT}" y2="{HEIGHT}"/>')
    parts.append(f'<text class="scale" x="-8" y="{HEIGHT + 4}">0</text>')
    parts.append(f'<text class="scale" x="-8" y="{HEIGHT + 36}">conn.</text>')
    if any(point.score > TOP for point in drawn.shown):
        labels.append(Label(f"\N{BLACK UP-POINTING TRIANGLE} up to {track.peak.score:.1f}", 1, -8, 16, "end"))
        parts.append(_text(labels[-1], ""))
    for standing, _ in _THRESHOLDS:
        if standing in track.standings:
            parts += _moment(drawn, track.standings[standing], standing, labels)
    return "".join([*parts, "</svg>"])


def description(track: Track) -> str:
    """The chart in words: plain text in which nothing needs escaping."""
    first, last = track.first, track.last
    said = [f"From {max(0.0, first.score - first.added):.1f} at {clock(first.time)} UTC to {last.score:.1f} at"]
    said.append(f"{clock(last.time)} UTC; highest {track.peak.score:.1f}.")
    step = precision([first, last])
    for standing, threshold in _THRESHOLDS:
        point = track.standings.get(standing)
        crossed = track.crossed.get(standing)
        if point:
            said.append(f"{standing.title()} at its connection {point.connection}, {moment(point.time, step)}.")
        elif crossed:
            said.append(f"Passed {threshold:g} at {moment(crossed.time, step)}, but was not {standing}.")
        else:
            said.append(f"Never reached {threshold:g} ({standing}).")
    return " ".join(said)


def _y(score: float) -> float:
    return round(HEIGHT * (1 - score / TOP), 1)


def _line(drawn: Axis) -> str:
    """A step for each point; at most twice the visible height, whatever the score."""
    line = [f"M0 {_y(drawn.base)}"]
    for point in drawn.shown:
        line.append(f"H{drawn.position(point) * 1000:.1f}V{_y(min(point.score, 2 * TOP))}")
    return "".join([*line, "H1000"])


def _ticks(ticks: list[Tick]) -> list[tuple[Tick, bool, bool]]:
    """The ticks, and whether each has its texts on a wide screen, and on a narrow one."""
    # The time is nearly always the longer one of the two texts; but a connection number may have ten digits.
    labels = {}
    for tick in ticks:
        anchor = "start" if tick.position < 0.06 else "end" if tick.position > 0.94 else "middle"
        labels[tick] = Label(max(tick.label, str(tick.connection), key=len), tick.position, 0, 0, anchor)
    wide = without_touching(labels.values(), WIDTHS[NARROW:])
    narrow = without_touching(wide, WIDTHS[:NARROW])
    return [(tick, label in wide, label in narrow) for tick, label in labels.items()]


def _tick(tick: Tick, wide: bool, narrow: bool) -> list[str]:
    """A line, and a time and a connection number where these have room."""
    x = f"{tick.position * 100:.2f}%"
    edge = " first" if tick.position < 0.06 else " last" if tick.position > 0.94 else ""
    kind = f'class="tick{edge}{"" if narrow else " second"}"'
    line = f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{HEIGHT + 5}"/>'
    if not wide:
        return [line]
    return [
        line,
        f'<text {kind} x="{x}" y="{HEIGHT + 19}">{tick.label}</text>',
        f'<text {kind} x="{x}" y="{HEIGHT + 36}">{tick.connection}</text>',
    ]


def _moment(drawn: Axis, point: Point, standing: str, labels: list[Label]) -> list[str]:
    """The point where a standing began, with its connection: if possible below it to the right, away from the line.

    Adds the label to `labels`.
    """
    position, y = drawn.position(point), _y(min(point.score, TOP))
    text = f"connection {point.connection}"
    places = (*((10, 16, "start"), (-10, -8, "end"), (-10, 16, "end")), (10, -8, "start"), (10, 32, "start"))
    label = best([Label(text, position, dx, y + dy, anchor) for dx, dy, anchor in places], labels)
    labels.append(label)
    circle = f'<circle class="moment {standing}" cx="{position * 100:.2f}%" cy="{y}" r="4.5"/>'
    return [circle, _text(label, standing)]


def _text(label: Label, standing: str) -> str:
    kind = " ".join(["label", *(["left"] if label.anchor == "end" else []), *([standing] if standing else [])])
    return f'<text class="{kind}" x="{label.x * 100:.2f}%" dx="{label.dx:g}" y="{label.y:.1f}">{label.text}</text>'
