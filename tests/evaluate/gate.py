"""`make gate TABLE=FILE`: a proposed table of rates passes only where no goal of the evaluation gets worse.

`python -m tests.evaluate.gate FILE [--quick]` plays the same lives (sender by sender, the same seeds) with the filter's
own table and with the proposed one, in modes monitor and block, and compares. FILE is used as the built-in table of a
release would be; `--table FILE` and `--replies FILE` as routers use the data of signed documents. It refuses them, with
exit status 1, where

- a legitimate device is convicted more often, of all or of one sender;
- more legitimate devices are suspected;
- fewer bots of a class are found, or their median takes more connections.

It uses the development set only. 2 where FILE is not a table.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cpe_filter.collect.cases.rates import Row, TableError, decode, digest
from cpe_filter.detect import score
from cpe_filter.detect.evidence import CLIP, INDICATORS, LEGITIMATE
from tests.evaluate import signed
from tests.evaluate.intervals import NEVER
from tests.evaluate.world.measure import Life, Task, life
from tests.evaluate.world.sets import DEVELOPMENT, Set, load

MODES = ("monitor", "block")


def apply(rows: Mapping[str, Row]) -> None:
    """The detector of this process, and of those that it forks, uses these rows from now on."""
    for name, row in rows.items():
        old = INDICATORS[name]
        least, most = (-CLIP, 0.0) if old.family == LEGITIMATE else (0.0, CLIP)
        weights = tuple(max(least, min(most, math.log(row.bot / one))) if one else 0.0 for one in row.usual)
        INDICATORS[name] = old._replace(bot=row.bot, usual=row.usual, weights=weights)
        if old.repeat:
            score._WEIGHTS[name] = tuple((n, weight) for n, weight in enumerate(weights) if weight)
        else:
            score._BOUNDS[name] = tuple((n, p, math.log(p), math.log(1 - p)) for n, p in enumerate(row.usual) if p)


def worse(before: Sequence[Life], after: Sequence[Life]) -> list[str]:
    """What got worse, in sentences."""
    out = []
    for what, count in (("convicted", _convicted), ("suspected", _suspected)):
        old, new = count(before), count(after)
        if sum(new.values()) > sum(old.values()):
            out.append(f"legitimate devices {what}: {sum(old.values())} -> {sum(new.values())}")
        if what == "convicted":
            out += [f"{name} convicted: {old[name]} -> {new[name]}" for name in sorted(new) if new[name] > old[name]]
    kinds = sorted({one.kind for one in before if one.kind})
    for kind in kinds:
        old_at, new_at = (sorted(one.convicted_at for one in lives if one.kind == kind) for lives in (before, after))
        old_found, new_found = (sum(at != NEVER for at in times) for times in (old_at, new_at))
        if new_found < old_found:
            out.append(f"{kind} bots found: {old_found} -> {new_found} of {len(old_at)}")
        elif statistics.median_low(new_at) > statistics.median_low(old_at):
            out.append(f"{kind} bots, median: {statistics.median_low(old_at)} -> {statistics.median_low(new_at)}")
    return out


def _convicted(lives: Sequence[Life]) -> Counter[str]:
    return Counter(one.name for one in lives if not one.kind and one.convicted_at != NEVER)


def _suspected(lives: Sequence[Life]) -> Counter[str]:
    return Counter(one.name for one in lives if not one.kind and one.suspected_at != NEVER)


def tasks(names: Sequence[str], senders: Set, mode: str, quick: bool) -> list[Task]:
    runs, cap, bot_cap, days = (2, 200, 100, 30) if quick else (20, 4000, 400, 365)
    return [
        Task(DEVELOPMENT, name, seed, mode, bot_cap if name in senders.bots else cap, days)
        for name in names
        for seed in range(runs)
    ]


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.gate", description=__doc__)
    parser.add_argument("built_in", metavar="FILE", nargs="?")
    signed.add_to(parser)
    parser.add_argument("--quick", action="store_true", help="2 devices of each sender, one month")
    parser.add_argument("--only", action="append", default=[], metavar="SENDER", help="repeatable")
    parser.add_argument("--mode", action="append", default=[], choices=MODES, help="repeatable (both)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    text = b""
    try:
        if options.built_in is not None:
            text = Path(options.built_in).read_bytes()
            decode(text)
        elif options.table is None is options.replies:
            parser.error("expected FILE, --table FILE or --replies FILE")
    except (OSError, TableError) as error:
        say(f"{options.built_in}: {error}")
        return 2
    senders, modes = load(DEVELOPMENT), options.mode or MODES
    names = options.only or [*senders.legitimate, *senders.bots]
    work = [tasks(names, senders, mode, options.quick) for mode in modes]
    before = [play(one, options.processes) for one in work]
    if text:
        apply(decode(text))
    problem = signed.use(options)
    if problem:
        say(problem)
        return 2
    after = [play(one, options.processes) for one in work]
    found = [f"{mode}: {line}" for mode, old, new in zip(modes, before, after, strict=True) for line in worse(old, new)]
    for line in found:
        say(f"worse: {line}")
    what = f"{len(decode(text))} rows, SHA-256 {digest(text)}" if text else "signed documents"
    say(f"{'refused' if found else 'passed'}: {what}, {len(work[0])} lives a mode")
    return 1 if found else 0


def play(work: Sequence[Task], processes: int) -> list[Life]:
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        return pool.map(life, work, chunksize=2)


if __name__ == "__main__":
    sys.exit(main())
