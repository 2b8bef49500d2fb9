"""Faults while mail passes: `python -m tests.faults [names] [--seconds N] [--json]`. Needs root; ten minutes.

A home's device sends 15 mails a second by IPv4 and IPv6: to servers outside, or to relays and exempt servers if only
these must pass. Each fault has a lab of its own, idle time before and after it, and a row in the table: dialogues that
began meanwhile, lost and cut (ended before QUIT was answered), median and worst delay of complete dialogues, the
longest wait for one answer, and median and worst of the idle time. Below the table is what was done, and what was seen
besides the dialogues. While there is no filter for 14 s, a second device opens a connection each 0.1 s:
`passes_after_s` is when the first, and `passes_until_s` when the last came through; `passes_again_s` counts from the
filter's return.

Compare a flood with idle time on a machine that does nothing else: two cores run the flood, the home, the servers and
the filter.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from tests.faults.faults import FAULTS, CannotTryError, Fault
from tests.faults.scene import Outcome, Scene
from tests.lab.net import why_not

_HEADER = (
    f"{'fault':16}{'begun':>6}{'lost':>6}{'cut':>5}{'median':>9}{'worst':>9}{'stall':>9}{'idle':>9}{'worst':>9}  ms"
)


class Tried:
    """A fault's outcome, and what it left to say."""

    def __init__(self, outcome: Outcome, notes: dict[str, Any], log: str, standing: str) -> None:
        self.outcome = outcome
        self.notes = notes
        self.log = log
        self.standing = standing


def attempt(fault: Fault, seconds: float, idle: float, shim: tuple[str, ...] = (), policy: str = "") -> Tried:
    """Tries a fault in a lab of its own. Raises `CannotTryError`."""
    with Scene(fault.policy + policy, fault.shim + shim, fault.tmpfs, fault.filtered, hosts=fault.hosts) as scene:
        scene.idle(idle)
        with scene.during():
            fault.do(scene, seconds)
        seen = scene.packets_judged() if fault.filtered else 0
        scene.idle(max(idle, 1.5))
        standing = ""
        if fault.filtered:
            # Of pairs that have settled it need not see any, unless all is read.
            everything = "read_known = true" in fault.policy + policy
            if fault.read and everything and scene.packets_judged() == seen:
                scene.notes["blind"] = True  # it sees no mail any more
            if not scene.filter_runs():
                raise RuntimeError(f"the filter has ended:\n{scene.log()}")
            standing = scene.standing("device1")
        outcome = scene.outcome()
        if fault.filtered:
            scene.filter.stop()
        turns = scene.lab.folder / "turns.json"
        if turns.exists():
            scene.notes.update(json.loads(turns.read_text()))
        return Tried(outcome, scene.notes, scene.log(), standing)


def row(fault: Fault, tried: Tried) -> str:
    """A line of the table, and what is to be said below it."""
    o = tried.outcome
    notes = {"standing": tried.standing} if tried.standing not in ("", "clear") else {}
    notes |= tried.notes
    said = "  ".join(f"{key} {f'{value:.1f}' if isinstance(value, float) else value}" for key, value in notes.items())
    delays = (o.median_ms, o.worst_ms, o.stall_ms, o.idle_median_ms, o.idle_worst_ms)
    line = f"{fault.name:16}{o.begun:6}{o.lost:6}{o.cut:5}" + "".join(f"{each:9.1f}" for each in delays)
    for more in [fault.about, *([said] if said else []), *o.errors[:4]]:
        line += f"\n{'':16}{more}"
    return line


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults while mail passes.")
    parser.add_argument("names", nargs="*", choices=[[], *FAULTS], metavar="name", help=", ".join(FAULTS))
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each fault lasts, about (6)")
    parser.add_argument("--idle", type=float, default=4.0, help="idle time before and after each (4)")
    parser.add_argument("--json", action="store_true", help="an object a line")
    parser.add_argument("--log", action="store_true", help="the filter's log, too")
    parser.add_argument("--no-flag", action="store_true", help="without the queue's fail-open flag, for comparison")
    parser.add_argument("--queue-length", type=int, help="packets that may wait, in place of the default")
    options = parser.parse_args()
    reason = why_not()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    shim = ("--no-flag",) if options.no_flag else ()
    policy = f"queue_length = {options.queue_length}\n" if options.queue_length else ""
    if not options.json:
        print(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), f"faults of about {options.seconds:g} s")
        print(_HEADER, flush=True)
    for name in options.names or FAULTS:
        fault = FAULTS[name]
        try:
            tried = attempt(fault, options.seconds, options.idle, shim if fault.filtered else (), policy)
        except CannotTryError as why:
            print(json.dumps({"fault": name, "skipped": str(why)}) if options.json else f"{name:16}skipped: {why}")
            continue
        if options.json:
            told = {"fault": name, "about": fault.about, **tried.outcome._asdict(), **tried.notes}
            print(json.dumps(told | {"standing": tried.standing}), flush=True)
        else:
            print(row(fault, tried), flush=True)
        if options.log:
            print(tried.log, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
