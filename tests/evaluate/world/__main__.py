"""`python -m tests.evaluate.world`: the honest world through the detector, sender by sender.

Prints for each legitimate sender how many device-years are convicted or suspected, for each bot how many are found and
after how many of its connections, the published methods, and the goals with Clopper-Pearson 95 % intervals. Leaves with
0 even where goals are missed, except with --strict.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable

from tests.evaluate import signed
from tests.evaluate.world import table
from tests.evaluate.world.measure import Life, Task, life, remember_readings
from tests.evaluate.world.sets import DEVELOPMENT, SETS, VALIDATION, AbsentError, Set, load, record

MODES = ("monitor", "limit", "block", "all")
#: Connections of a legitimate device, quick or not, and of a bot.
_CAPS = (1200, 4000)
_BOT_CAP = 400


def tasks(options: argparse.Namespace, senders: Set, mode: str) -> list[Task]:
    """Raises SystemExit where --only names nobody."""
    runs = options.runs or (6 if options.quick else 40)
    cap = _CAPS[0] if options.quick else _CAPS[1]
    names = [*senders.legitimate, *senders.bots]
    known = {*names, "legitimate", "bots", *(kind for kind, _ in senders.bots.values())}
    for name in options.only:
        if name not in known:
            raise SystemExit(f"--only {name}: not a sender; there are: {', '.join(sorted(known))}")
    out = []
    for name in names:
        bot = name in senders.bots
        groups = {name, "bots" if bot else "legitimate", senders.bots[name][0] if bot else ""}
        if options.only and not groups & set(options.only):
            continue
        for seed in range(options.seed, options.seed + runs):
            compare = options.published and mode == "monitor" and seed % 3 == 0
            most = _BOT_CAP if bot else cap
            out.append(
                Task(options.set, name, seed, mode, most, options.days, options.why, compare, not options.no_tests)
            )
    return out


def run(options: argparse.Namespace, senders: Set, mode: str, say: Callable[[str], None]) -> int:
    """One mode: plays everybody, prints the tables; how many goals are missed."""
    begun = time.monotonic()
    work = tasks(options, senders, mode)
    if options.processes > 1:
        with multiprocessing.Pool(options.processes, remember_readings) as pool:
            lives: list[Life] = pool.map(life, work, chunksize=2)
    else:
        remember_readings()
        lives = [life(task) for task in work]
    say(f"\n{options.set}, mode {mode}: {len(lives)} devices, {time.monotonic() - begun:.0f} s")
    good, bad = [one for one in lives if not one.kind], [one for one in lives if one.kind]
    if good:
        table.legitimate(good, say)
    if bad:
        table.bots(bad, say)
    if options.why:
        table.why(lives, say)
    table.published(lives, say)
    return table.goals(lives, mode, say)


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.world", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 devices of each sender, shorter lives")
    parser.add_argument("--runs", type=int, default=0, help="devices of each sender (40)")
    parser.add_argument("--seed", type=int, default=0, help="the first device's number")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--set", choices=SETS, default=DEVELOPMENT)
    parser.add_argument("--reason", default="", help="why the validation set is used; goes into its log")
    parser.add_argument("--only", action="append", default=[], help="a sender, a class, legitimate or bots; repeatable")
    parser.add_argument("--mode", choices=MODES, default="monitor")
    parser.add_argument("--no-tests", action="store_true", help="the responder tests nobody ([explain] tests = false)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--why", action="store_true", help="the evidence of those judged wrong")
    parser.add_argument("--published", action="store_true", help="published methods on every third device, too")
    parser.add_argument("--strict", action="store_true", help="leave with 1 where a goal is missed")
    signed.add_to(parser)
    parser.add_argument("--list", action="store_true", help="the senders and what each is")
    options = parser.parse_args(arguments)
    try:
        senders = load(options.set)
    except AbsentError as error:
        say(str(error))
        return 2
    if options.list:
        for line in table.senders(senders):
            say(line)
        return 0
    problem = signed.use(options)
    if problem:
        say(problem)
        return 2
    if options.set == VALIDATION:
        if not options.reason:
            parser.error("--set validation needs --reason: each use of it is recorded")
        record(options.reason)
    modes = MODES[:-1] if options.mode == "all" else (options.mode,)
    missed = sum(run(options, senders, mode, say) for mode in modes)
    say(f"\n{missed} goals missed")
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
