"""Plain text for terminals: tables, times, shortened strings. Knows widths of lines. Must not know what is shown."""

from __future__ import annotations

import time
from collections.abc import Sequence


def clock(seconds: float | None) -> str:
    """POSIX seconds as `2026-11-23 12:30:51` UTC."""
    if seconds is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"


def shorten(text: str, width: int) -> str:
    """At most `width` characters, with a mark if it is cut."""
    return text if len(text) <= width else text[: width - 3] + "..."


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], right_from: int) -> list[str]:
    """Aligned lines; columns from `right_from` on are numbers and aligned to the right."""
    cells = [[str(cell) for cell in row] for row in [titles, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    return [
        "  ".join(
            cell.rjust(width) if i >= right_from else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
