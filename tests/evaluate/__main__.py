"""`make evaluate`: the detector's goals, measured. `python -m tests.evaluate [--quick] [--runs N] [--years N]`

Prints goal by goal what was measured with Clopper-Pearson 95 % intervals, missed goals as missed; then the published
methods on the same sessions, the adaptive attacker, and the same for the hold-out set. Leaves with 0 even where goals
are missed: it measures, tests judge. `--strict` leaves with 1 then.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable

from tests.evaluate import attacker
from tests.evaluate.bound import bounds
from tests.evaluate.measure import Home, Hunt, Task, Year, home, hunt, year
from tests.evaluate.report import Report
from tests.evaluate.scenarios import SETS

#: Every so many-th legitimate device also meets the published methods.
COMPARE_EVERY = 3


class Sizes:
    """How much is run: bot runs a scenario, legitimate device-years in all, homes, seeds of the attacker."""

    def __init__(self, quick: bool, runs: int, years: int) -> None:
        self.runs = runs or (30 if quick else 300)
        self.years = years or (64 if quick else 3040)
        self.homes = max(5, self.runs // 3)
        self.seeds = 1 if quick else 2
        self.histories = min(self.runs, 5 if quick else 20)
        self.rounds = 1 if quick else 2
        self.days = 7 if quick else attacker.DAYS
        self.holdout_share = 4


def tasks(which: str, names: Iterable[str], runs: int, every: int) -> list[Task]:
    return [Task(which, name, seed, seed % every == 0) for name in names for seed in range(runs)]


def _attack(key: tuple[str, bool, int, int, int]) -> attacker.Best:
    return attacker.search(*key)


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, less than a minute")
    parser.add_argument("--runs", type=int, default=0, help="runs of each bot scenario (300)")
    parser.add_argument("--years", type=int, default=0, help="legitimate device-years in all (3040)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", choices=sorted(SETS), help="only this set")
    parser.add_argument("--strict", action="store_true", help="leave with 1 where a goal is missed")
    options = parser.parse_args(arguments)
    sizes = Sizes(options.quick, options.runs, options.years)
    begun = time.monotonic()
    missed = 0
    with multiprocessing.Pool(options.processes) as pool:
        for which in [options.set] if options.set else list(SETS):
            everything = SETS[which]
            share = 1 if which == "development" else sizes.holdout_share
            report = Report(which, say)
            years = max(1, sizes.years // share // len(everything.legitimate))
            least = pool.apply_async(bounds, (which, list(everything.bots), sizes.histories))
            hunts: list[Hunt] = pool.map(hunt, tasks(which, everything.bots, sizes.runs, 1), chunksize=4)
            lives: list[Year] = pool.map(year, tasks(which, everything.legitimate, years, COMPARE_EVERY), chunksize=1)
            homes: list[Home] = []
            if which == "development":
                homes = pool.map(home, [Task(which, "", n, False, 14) for n in range(sizes.homes)], chunksize=1)
                report.goals(hunts, lives, homes)
            report.bots(hunts, least.get())
            report.legitimate(lives)
            report.methods(hunts, lives)
            if which == "development":
                keys = [
                    (mode, quiet, sizes.seeds, sizes.rounds, sizes.days)
                    for mode in attacker.MODES
                    for quiet in (False, True)
                ]
                report.attacker(pool.map(_attack, keys, chunksize=1))
            missed += report.missed
    say(f"\n{time.monotonic() - begun:.0f} s, {missed} goals missed")
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
