"""Rows of measurement as the block of docs/lines.md that is made from them.

Knows Markdown and where the block stands. Must not know how anything was measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from cpe_filter import __version__ as version
from tests.lab.lines.cell import FILTERED, SILENTLY, UNWATCHED
from tests.lab.lines.lay import LINES
from tests.lab.lines.measure import MODES, Row
from tests.lab.net import PROJECT

PAGE = PROJECT / "docs" / "lines.md"
BEGIN, END = "<!-- made by `make lines` -->\n", "<!-- end -->\n"
_TITLES = ("line", "link", "IP", *MODES, *(f"one missing: {mode}" for mode in MODES))
HEADER = f"| {' | '.join(_TITLES)} |\n{'|---' * len(_TITLES)}|\n"
#: What a cell says that is not right, and how the others are shortened.
WRONG = "**wrong**"
_SHORT = {FILTERED: "filtered", SILENTLY: "silent", UNWATCHED: "reported"}


def rows(measured: Sequence[Row]) -> str:
    """The table's rows: one for each line, link and version of IP."""
    order = {name: number for number, name in enumerate(LINES)}
    keys = dict.fromkeys((row.line, row.by, row.family) for row in measured)
    lines = []
    for line, by, family in sorted(keys, key=lambda key: (order[key[0]], key[1], key[2])):
        mine = [row for row in measured if (row.line, row.by, row.family) == (line, by, family)]
        cells = [
            _cell([row for row in mine if (row.mode, row.complete) == (mode, complete)])
            for complete in (True, False)
            for mode in MODES
        ]
        lines.append(f"| {LINES[line].title} | {by} | IPv{family} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(same: Iterable[Row]) -> str:
    """One cell of fail open and fail closed, which are named where they differ."""
    texts = {row.fail: WRONG if row.wrong else _SHORT.get(row.found, "both") for row in same}
    if not texts:
        return "-"
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{text} (fail {fail})" for fail, text in texts.items())


def wrongs(measured: Sequence[Row]) -> str:
    """Each cell that is not right, with what is wrong."""
    found = [
        f"- {LINES[row.line].title} ({row.by}), IPv{row.family}, mode {row.mode}, fail {row.fail}, "
        f"{'all interfaces' if row.complete else 'one missing'}: {row.wrong}.\n"
        for row in measured
        if row.wrong
    ]
    return f"Cells that are wrong:\n\n{''.join(found)}" if found else "No cell is wrong.\n"


def write(measured: Sequence[Row]) -> None:
    """Replaces the page's block."""
    kernels = " and ".join(dict.fromkeys(f"Linux {row.kernel.split('-')[0]}" for row in measured))
    date = time.strftime("%Y-%m-%d", time.gmtime())
    made = f"Measured on {date} with cpe-filter {version} on {kernels}. {wrongs(measured)}\n{HEADER}{rows(measured)}\n"
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}")
