"""A million routers come back after an outage: how many a second, by the router's own rules (report/schedule.py).

Second by second: every router that is due tries; while the outage lasts nobody is reached; afterwards the collector
takes `capacity` a second, and answers 503 with Retry-After to the rest. A router that delivered is done.
`python -m tests.bench.collector_recovery [--routers N]` prints a table.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable
from typing import NamedTuple

from cpe_filter.lean.clocks import Uptime
from cpe_filter.report import schedule
from cpe_filter.report.schedule import DAY_S, Plan

#: The collector's Retry-After: `[answer] retry_after_s` and as much again at random.
AFTER_S = 60
BOOT = "x"


class Result(NamedTuple):
    """Of one recovery; seconds count from the outage's end, rates are routers a second."""

    routers: int
    peak: int
    peak_minute: float
    tries: int
    half_s: int
    most_s: int
    all_s: int
    refused: int


#: When a router that failed comes again: plan, now, Retry-After -> plan.
Again = Callable[[Plan, Uptime, float, Callable[[], float]], Plan]


def fixed(plan: Plan, up: Uptime, after: float, draw: Callable[[], float]) -> Plan:
    """What a program does that was written for one router: again after 30 s."""
    return plan._replace(due=Uptime(up + 30.0), failures=plan.failures + 1)


def recover(
    starts: list[float], ends: float, capacity: float = math.inf, again: Again = schedule.failed, seed: int = 1
) -> Result:
    """starts: when each router first has something to send. ends: when the collector is back."""
    draw = random.Random(seed).random
    due: dict[int, list[Plan]] = {}
    for start in starts:
        plan = Plan(BOOT, start)
        due.setdefault(int(start), []).append(plan)
    end = int(ends)
    done: dict[int, int] = {}
    tries: dict[int, int] = {}
    refused = total = delivered = 0
    second = min(due)
    while due:
        trying = due.pop(second, ())
        total += len(trying)
        if second >= end and trying:
            tries[second - end] = len(trying)
        for number, plan in enumerate(trying):
            if second < end:
                plan = again(plan, second, 0.0, draw)
            elif number >= capacity:
                refused += 1
                plan = again(plan, second, AFTER_S * (1 + draw()), draw)
            else:
                done[second - end] = done.get(second - end, 0) + 1
                delivered += 1
                continue
            due.setdefault(max(second + 1, int(plan.due)), []).append(plan)
        second += 1
    peak = max(tries.values())
    minutes: dict[int, int] = {}
    for at, count in tries.items():
        minutes[at // 60] = minutes.get(at // 60, 0) + count
    at_half, at_most, so_far = 0, 0, 0
    for at in sorted(done):
        so_far += done[at]
        at_half = at_half or (at if so_far * 2 >= delivered else 0)
        at_most = at_most or (at if so_far >= delivered * 0.99 else 0)
    return Result(delivered, peak, max(minutes.values()) / 60, total, at_half, at_most, max(done), refused)


def power_cut(routers: int, seed: int = 2) -> list[float]:
    """All boot within a minute, and each waits for its part of the splay."""
    draw = random.Random(seed).random
    return [schedule.begin(BOOT, draw() * 60, draw).due for _ in range(routers)]


def heartbeats(routers: int, hours: float, seed: int = 3) -> list[float]:
    """The collector is away for so long; each router's heartbeat falls due at its own time of the day."""
    draw = random.Random(seed).random
    slots = (draw() * DAY_S for _ in range(routers))
    return [slot for slot in slots if slot < hours * 3600]


def impatient(routers: int, ends: float, seed: int = 4) -> list[float]:
    """Routers that try again every 30 s, in the last 30 s of the outage: what went before changes nothing."""
    draw = random.Random(seed).random
    return [ends - 30 * draw() for _ in range(routers)]


def table(routers: int, say: Callable[[str], None]) -> None:
    say("Routers with something to send, how many try in the worst second and in the worst minute (a second), and")
    say("how many seconds after the collector is back half of them, 99 % and all have delivered; tries that got a 503.")
    say(f"{'':44}{'routers':>9}{'peak/s':>9}{'minute/s':>9}{'half':>7}{'99 %':>7}{'all':>7}{'refused':>9}")
    day, few = heartbeats(routers, 24), routers * 2e-4
    cases: list[tuple[str, list[float], float, float, Again]] = [
        ("power cut: all boot within a minute", power_cut(routers), 0, math.inf, schedule.failed),
        ("collector away 1 h: heartbeats due then", heartbeats(routers, 1), 3600, math.inf, schedule.failed),
        ("collector away 24 h: all heartbeats due", day, DAY_S, math.inf, schedule.failed),
        (f"  the same, a collector that takes {few:.0f}/s", day, DAY_S, few, schedule.failed),
        ("  the same, all try again every 30 s", impatient(routers, DAY_S), DAY_S, math.inf, fixed),
    ]
    for name, starts, ends, capacity, again in cases:
        one = recover(starts, ends, capacity, again)
        say(
            f"{name:44}{one.routers:>9}{one.peak:>9}{one.peak_minute:>9.0f}{one.half_s:>7}{one.most_s:>7}"
            f"{one.all_s:>7}{one.refused:>9}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.collector_recovery")
    parser.add_argument("--routers", type=int, default=1_000_000)
    table(parser.parse_args().routers, print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
