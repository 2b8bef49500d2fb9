"""`python -m tests.conformance [CAPTURE...]`: replay next to tshark, and why they differ. `make conformance`

Without arguments: pcaps/, and all captures below the folder that CPE_FILTER_CAPTURES names. Prints each difference with
its explanation. Exit status 1 if one has none, 2 without tshark.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cpe_filter.replay.capture import CaptureError
from tests.conformance import dissection
from tests.conformance.differences import Comparison, compare
from tests.conformance.readings import Reading, of_replay
from tests.conformance.rules import LATE, RULES

ROOT = Path(__file__).parents[2]
ENDINGS = (".pcap", ".pcapng", ".cap")


def captures() -> list[Path]:
    """All captures at hand."""
    found = sorted((ROOT / "pcaps").glob("*.pcap"))
    more = os.environ.get("CPE_FILTER_CAPTURES")
    if more:
        found += sorted(path for path in Path(more).rglob("*") if path.suffix in ENDINGS)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.partition("\n")[0])
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--quiet", action="store_true", help="only the counts, and differences without explanation")
    options = parser.parse_args()
    if not dissection.available():
        print("tshark is not installed (Debian: apt-get install tshark)", file=sys.stderr)
        return 2
    paths = options.captures or captures()
    print(f"{dissection.version()}, {len(paths)} captures")
    print(" ".join(dissection.arguments("CAPTURE")))
    sessions = fields = unread = 0
    reasons: Counter[str] = Counter()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for path, theirs in zip(paths, pool.map(_dissected, paths), strict=True):
            if isinstance(theirs, dissection.DissectionError):
                print(theirs)
                unread += 1
                continue
            try:
                comparison = compare(of_replay(str(path)), theirs)
            except CaptureError as error:
                print(f"{path}: {error}")
                unread += 1
                continue
            sessions += comparison.sessions
            fields += comparison.fields
            reasons.update(item.rule.name if item.rule else "" for item in comparison.differences)
            _show(path, comparison, options.quiet)
    _summary(sessions, fields, unread, reasons)
    return 1 if reasons[""] or unread else 0


def _dissected(path: Path) -> list[Reading] | dissection.DissectionError:
    try:
        return dissection.of_tshark(str(path))
    except dissection.DissectionError as error:
        return error


def _show(path: Path, comparison: Comparison, quiet: bool) -> None:
    for item in comparison.differences:
        if quiet and item.rule:
            continue
        print(f"\n{path.name}: {item.session}: {item.field}")
        print(f"  replay  {item.ours or '-'}")
        print(f"  tshark  {item.theirs or '-'}")
        print(f"  {item.rule.name}: {item.rule.text}" if item.rule else f"  UNEXPLAINED ({item.notes})")


def _summary(sessions: int, fields: int, unread: int, reasons: Counter[str]) -> None:
    same = fields - sum(reasons.values()) + reasons[LATE.name]  # which is a session
    print(f"\n{sessions} sessions, {fields} fields compared, {same} the same, {unread} captures unread")
    for rule in (*RULES, LATE):
        if reasons[rule.name]:
            print(f"  {reasons[rule.name]:>4}  {rule.name:<14} {rule.text}")
    print(f"  {reasons['']:>4}  unexplained")


if __name__ == "__main__":
    sys.exit(main())
