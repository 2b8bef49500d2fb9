"""`python -m tests.lab.lines`: measures the table of lines and prints it; with --write docs/lines.md has it, too.

Each cell is kept in build/lines.jsonl. The page is made of all that are there, so it can be measured in parts.

Exit status: 0 where every cell is right, 1 where one is not, 2 where nothing can be measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

from tests.lab.lines import programs, table
from tests.lab.lines.lay import LINES
from tests.lab.lines.measure import (
    Row,
    here,
    impossible,
    in_guest,
    keep,
    kept,
    needs_guest,
    setting_of,
    settings,
    show,
)
from tests.lab.net import why_not
from tests.vm import kernel


def _take(rows: Iterable[Row]) -> list[Row]:
    """Prints and keeps rows as they come."""
    taken = []
    begun = time.monotonic()
    for row in rows:
        interfaces = "all interfaces" if row.complete else "one missing"
        setting = f"{row.mode:<8} fail {row.fail:<7} {interfaces:<15}"
        print(f"{row.line:<13} IPv{row.family} {setting} {row.wrong or row.found}", flush=True)
        keep(row)
        taken.append(row)
    print(f"{len(taken)} cells in {time.monotonic() - begun:.0f} s", flush=True)
    return taken


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.lines", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES), metavar="LINE", help="these only")
    parser.add_argument("--settings", nargs="+", type=setting_of, default=settings(), help="MODE-FAIL-0|1: these only")
    parser.add_argument(
        "--only", choices=("host", "guest", "page"), help="only this kernel, only the guest, only the page"
    )
    parser.add_argument("--write", action="store_true", help="write docs/lines.md")
    parser.add_argument("--rows", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if not options.rows:
        programs.get()
    lines = [name for name in options.lines if name not in impossible()]
    if options.rows:
        for row in here(lines, options.settings):
            print(show(row), flush=True)
        return 0
    reason = why_not() or ("" if options.only in ("host", "page") else kernel.why_not())
    for name, why in impossible().items():
        print(f"{name} is not measured: {why}", file=sys.stderr)
    if reason or not lines:
        print(f"nothing is measured: {reason or 'no line'}", file=sys.stderr)
        return 2
    rows = []
    if options.only in (None, "host"):
        rows += _take(here(lines, options.settings))
    others = [name for name in needs_guest() if name in lines] if options.only in (None, "guest") else []
    if others:
        print(f"in the guest, whose kernel has their links: {', '.join(others)}", flush=True)
        rows += _take(in_guest(others, [one for one in options.settings if one.fail == "open"]))
    rows = rows or kept()
    if options.write:
        table.write(kept())
    print(table.rows(rows))
    return int(any(row.wrong for row in rows))


if __name__ == "__main__":
    sys.exit(main())
