"""What a short dialogue costs in instructions: `python -m tests.vm.cost` (qemu and Debian's kernel, no root).

The comparison of `tests.bench.cost` in a guest whose clock counts instructions (`machine.run`, counting). One
instruction takes a nanosecond, so the kernel's accounts of CPU time count instructions, the same on every host except
for the moments of interrupts. Exit status: 0 if the goals are met, 1 if one is missed, 2 if nothing was measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.bench import cost_measures as measures
from tests.bench.cost_lab import CostLab, UnavailableError, build
from tests.bench.cost_measures import KNOWN, NEW, NONE, VARIANTS, C
from tests.lab.net import PYTHON
from tests.vm import kernel
from tests.vm.machine import run

VARIANTS_HERE = (NONE, C, KNOWN, NEW)
DIALOGUES = 400
TIMEOUT_S = 900
_MARK, _CLOCK = "measured: ", "ns a thousand instructions: "
#: What is measured, at most, and of what.
GOALS = (
    ("handler, new server, k instructions", 1000.0),
    ("total, new server, of the C program's", 1.3),
    ("total, known server, of no filter's", 1.05),
    ("packets of a known server's dialogue shown to the filter", 0.0),
)


def inside(dialogues: int) -> None:
    """In the guest: one round of each variant, printed as a line of JSON."""
    found: dict[str, Any] = {}
    counted = float(subprocess.run([str(build("count"))], capture_output=True, text=True, check=True).stdout)
    print(f"{_CLOCK}{counted}", flush=True)
    with CostLab() as lab:
        for name in VARIANTS_HERE:
            one = measures.dialogues(lab, VARIANTS[name], dialogues)
            found[name] = {"total": one.us, "handler": one.handler_us, "shown": one.queued, "failed": one.failed}
            print(name, found[name], flush=True)
    print(_MARK + json.dumps(found), flush=True)


def figures(found: dict[str, dict[str, float]]) -> list[float]:
    """What stands beside `GOALS`. A CPU microsecond of the guest is a thousand instructions."""
    return [
        found[NEW]["handler"],
        found[NEW]["total"] / found[C]["total"],
        found[KNOWN]["total"] / found[NONE]["total"],
        found[KNOWN]["shown"],
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.cost", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dialogues", type=int, default=DIALOGUES, help="so many with each variant (%(default)s)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.inside:
        inside(options.dialogues)
        return 0
    reason = kernel.why_not()
    try:
        for name in ("dialogue", "flood", "accept", "count"):
            build(name)  # the guest finds them
    except UnavailableError as error:
        reason = reason or str(error)
    if reason:
        print(f"instructions are not counted: {reason}", file=sys.stderr)
        return 2
    command = [PYTHON, "-m", __spec__.name, "--inside", "--dialogues", str(options.dialogues)]
    ended = run(command, TIMEOUT_S, counting=True)
    lines = [line for line in ended.output.splitlines() if line.startswith(_MARK)]
    if not lines:
        print(f"instructions are not counted:\n{ended.output[-4000:]}{ended.console[-2000:]}", file=sys.stderr)
        return 2
    found = json.loads(lines[0].removeprefix(_MARK))
    print(f"a dialogue ({options.dialogues} each, {ended.seconds:.0f} s)    k instructions: total, handler   shown")
    for name, one in found.items():
        failed = f"  {one['failed']} failed" if one["failed"] else ""
        print(f"{name:<44}{one['total']:>13.0f}{one['handler']:>9.0f}{one['shown']:>8.1f}{failed}")
    missed = 0
    for (what, goal), figure in zip(GOALS, figures(found), strict=True):
        missed += figure > goal
        print(f"{what:<58}<= {goal:>7g} {figure:>9.2f}  {'MISSED' if figure > goal else 'met'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
