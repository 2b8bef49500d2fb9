"""Counts as charts: columns over time as inline SVG, bars in the cells of a table. Light, dark, narrow; no script.

Knows SVG and the class names of the style. Must not know what is counted. Takes numbers and fixed texts, or escaped
HTML. Each chart has a text (title, desc), a legend whose marks differ in shape and colour, and a table. Horizontal
positions are percentages and text is in pixels, so that a narrow chart is as readable as a wide one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cpe_filter.collect.web.layout import listing
from cpe_filter.texts.html import Column

#: Pixels.
_HEIGHT = 220
_BELOW = 26
#: Labels below the columns; every second one is hidden on a narrow screen.
_LABELS = 8
#: A column, percent of the width.
_WIDEST = 9.0


class Series(NamedTuple):
    """One number for each column. kind: a class of the style. down: drawn below the line."""

    title: str
    kind: str
    values: Sequence[int]
    down: bool = False


class Chart(NamedTuple):
    """name: an id, unique on the page. title: what it shows. words: what there is to see in it, plain text.

    labels: of the columns; ticks: the same, short, for below them. what: what a column is (Day, Month).
    stacked: series on one another, those that are `down` below the line. outline: one drawn as a stepped line, or None.
    """

    name: str
    title: str
    words: str
    what: str
    labels: Sequence[str]
    ticks: Sequence[str]
    stacked: Sequence[Series]
    outline: Series | None = None


def figure(chart: Chart, extra: Sequence[Series] = (), opened: bool = False) -> str:
    """The chart, its legend, and its table behind a summary. extra: series that only the table has."""
    everything = [*([chart.outline] if chart.outline else []), *chart.stacked]
    legend = "".join(f'<li><span class="mark {series.kind}"></span>{series.title}</li>' for series in everything)
    rows = [
        ("", [label, *(f"{series.values[at]:,}" for series in (*everything, *extra))])
        for at, label in reversed(list(enumerate(chart.labels)))
    ]
    columns = [Column(chart.what, "nowrap"), *(Column(series.title, "n") for series in (*everything, *extra))]
    listed = listing(f"{chart.title}, the latest first", columns, rows)
    more = " open" if opened else ""
    return (
        f'<figure class="columns">{_svg(chart)}<figcaption><ul class="legend">{legend}</ul></figcaption></figure>'
        f'<details class="data"{more}><summary>{chart.title}: as a table</summary>'
        f'<p class="note">{chart.words}</p>{listed}</details>'
    )


def _grid_line(value: int, y: float) -> list[str]:
    kind = "base" if value == 0 else "grid"
    return [
        f'<line class="{kind}" x2="100%" y1="{_n(y)}" y2="{_n(y)}"/>',
        f'<text class="scale" x="-8" y="{_n(y + 4)}">{abs(value):,}</text>',
    ]


def _bars(stacked: Sequence[Series], at: int, across: str, zero: float, pixels: float) -> list[str]:
    """The bars of one place, one beyond the other from `zero` on. pixels: of one; negative: upwards."""
    parts, edge = [], zero
    for series in stacked:
        height = series.values[at] * pixels if at < len(series.values) else 0
        if height:
            top = min(edge, edge + height)
            parts.append(f'<rect class="{series.kind}" {across} y="{_n(top)}" height="{_n(abs(height))}"/>')
        edge += height
    return parts


def _svg(chart: Chart) -> str:
    ups = [series for series in chart.stacked if not series.down]
    downs = [series for series in chart.stacked if series.down]
    count = max(1, len(chart.labels))
    highest = max(
        [0, *(chart.outline.values if chart.outline else ()), *(sum(values) for values in _across(ups, count))]
    )
    lowest = max([0, *(sum(values) for values in _across(downs, count))])
    step, above, below = scale(highest, lowest)
    pixels = _HEIGHT / max(1, above + below)
    zero = above * pixels
    parts = [
        f'<svg class="chart" role="img" aria-labelledby="{chart.name}-title {chart.name}-text" width="100%" '
        f'height="{_HEIGHT + _BELOW}"><title id="{chart.name}-title">{chart.title}</title>'
        f'<desc id="{chart.name}-text">{chart.words}</desc>'
    ]
    for value in range(-below, above + 1, step):
        parts += _grid_line(value, zero - value * pixels)
    wide = 100 / count
    bar = min(_WIDEST, wide * (0.8 if count < 60 else 1))
    for at in range(count):
        across = f'x="{_n(at * wide + (wide - bar) / 2)}%" width="{_n(bar)}%"'
        for series, sign in ((ups, -1), (downs, 1)):
            parts += _bars(series, at, across, zero, sign * pixels)
    if chart.outline:
        line = _steps(chart.outline.values, count, zero, pixels)
        parts.append(f'<svg width="100%" height="{_HEIGHT}" viewBox="0 0 1000 {_HEIGHT}" preserveAspectRatio="none">')
        parts.append(f'<path class="area" d="{line}V{_n(zero)}H0Z"/><path class="line" d="{line}"/></svg>')
    parts += _labels(chart, count, wide)
    return "".join([*parts, *_areas(chart, wide), "</svg>"])


def _areas(chart: Chart, wide: float) -> Iterator[str]:
    """What shows its numbers as a pointer is over it, one for each label. wide: per cent."""
    for at, label in enumerate(chart.labels):
        text = [f"{s.values[at]:,} {s.title.lower()}" for s in (chart.outline, *chart.stacked) if s]
        yield (
            f'<rect class="touch" x="{_n(at * wide)}%" width="{_n(wide)}%" height="{_HEIGHT}">'
            f"<title>{label}: {', '.join(text)}</title></rect>"
        )


def _across(series: Sequence[Series], count: int) -> list[list[int]]:
    return [[one.values[at] for one in series if at < len(one.values)] for at in range(count)]


def _steps(values: Sequence[int], count: int, zero: float, pixels: float) -> str:
    parts = []
    for at, value in enumerate(values):
        y = _n(zero - value * pixels)
        parts.append(f"{'V' if at else 'M0 '}{y}H{_n((at + 1) * 1000 / count)}")
    return "".join(parts) or f"M0 {_n(zero)}H1000"


def _labels(chart: Chart, count: int, wide: float) -> list[str]:
    every = max(1, -(-count // _LABELS))
    parts = []
    shown = range((count - 1) % every, count, every)
    for number, at in enumerate(reversed(shown)):  # the latest always has its label
        x = at * wide + wide / 2
        edge = " first" if x < 4 else " last" if x > 96 else ""
        second = " second" if number % 2 else ""
        parts.append(f'<text class="tick{edge}{second}" x="{_n(x)}%" y="{_HEIGHT + 19}">{chart.ticks[at]}</text>')
    return parts


def scale(highest: int, lowest: int = 0) -> tuple[int, int, int]:
    """A round step, and how far the axis goes up and down: multiples of it; about five lines in all."""
    ideal = (highest + lowest) / 5
    step = 1
    while step < ideal:
        digits = str(step)
        step = step * 5 // 2 if digits[0] == "2" else step * 2
    up, down = -(-highest // step) * step, -(-lowest // step) * step
    return step, max(up, step), down


def bar(value: float, most: float, kind: str = "") -> str:
    """A bar in a table cell: `value` as a part of `most`."""
    width = min(100.0, max(0.0, 100 * value / most)) if most > 0 else 0.0
    known = f"fill {kind}".strip()
    return (
        '<svg class="share" aria-hidden="true"><rect class="track" width="100%" height="100%" rx="2"/>'
        f'<rect class="{known}" width="{_n(width)}%" height="100%" rx="2"/></svg>'
    )


def percent(part: float, whole: float) -> str:
    """`37 %`; a dash if `whole` is 0. 0 % and 100 % are exact."""
    if not whole:
        return "&ndash;"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "&lt; 0.1 %"
    if 99.9 < share < 100:
        return "&gt; 99.9 %"
    if share in (0, 100) or 10 <= share <= 90:
        return f"{share:.0f} %"
    return f"{share:.1f} %"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
