"""How long the packet loop stands still to write what a full table knows. `python -m tests.bench.bookkeeping`

Each is written as the loop does it, a slice a turn, with nothing between the slices. A figure is the longest turn of a
write, median of the runs: by the wall's clock, which on a busy machine counts what others do, too, and in CPU, by which
it is judged. Beside them the sum of the turns in CPU, and how many they were.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cpe_filter.detect.device import DEVICES
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.engine import Engine
from cpe_filter.live.state import RECENT_S, SETTLE_S, State
from cpe_filter.policy.model import Policy
from cpe_filter.status import metrics, status

RUNS = 21
#: Milliseconds of the loop that a turn may take for one of them.
GOAL_MS = 5.0
START = 1.8e9


class Turns(NamedTuple):
    """Milliseconds, medians of the runs. wall, cpu: of the longest turn; total: CPU of all."""

    wall: float
    cpu: float
    total: float
    turns: int


def full_table() -> Engine:
    """An engine with as many devices as there can be, each with many facts."""
    engine, rng = Engine(Policy()), random.Random(1)
    names = list(INDICATORS)
    for number in range(DEVICES):
        device = engine.devices.get(bytes((2, 0, 0, 0, number >> 8, number & 255)), START)
        device.seen(START + rng.random() * 1000, bytes((192, 168, 1, number & 255)))
        for _ in range(3):
            device.seen(device.last_seen, rng.randbytes(16))
        for _ in range(12):
            device.score.add(rng.choice(names), 10.0)
        for _ in range(60):
            device.server_networks.meet(rng.getrandbits(40))
        device.connections = device.sessions = rng.randrange(5000)
        device.messages = rng.randrange(500)
    return engine


def measured(begin: Callable[[int], None], turn: Callable[[], bool], runs: int = RUNS) -> Turns:
    """`begin` with the run's number, which is not counted, then `turn` until it returns False."""
    wall, cpu, total, turns = [], [], [], 0
    for number in range(runs):
        begin(number)
        took, used, more = [], [], True
        while more:
            begun, before = time.perf_counter(), time.thread_time()
            more = turn()
            took.append((time.perf_counter() - begun) * 1e3)
            used.append((time.thread_time() - before) * 1e3)
        wall.append(max(took))
        cpu.append(max(used))
        total.append(sum(used))
        turns = len(took)
    return Turns(statistics.median(wall), statistics.median(cpu), statistics.median(total), turns)


def measure(folder: Path, runs: int = RUNS) -> dict[str, Turns]:
    """folder: on tmpfs, as on a router."""
    engine = full_table()
    about: dict[str, Any] = {"pid": 1, "since": START, "failures": 0}
    writer = status.Writer(engine, str(folder / "status.json"), lambda: about, lambda one: "a-name-of-it", print)
    kept = State(str(folder / "flash"), str(folder / "state"), print)
    now = START + 2000

    def all_changed(number: int) -> None:
        for device in engine.devices:
            device.connections += 1
        writer.ask()

    def recent(number: int) -> None:
        nonlocal now
        now += RECENT_S

    def to_flash(number: int) -> None:
        nonlocal now
        while kept._call is not None:  # not the loop's time
            time.sleep(0.01)
            kept.tick(engine.devices, now)
        now += SETTLE_S
        kept.at_once(now)

    def metrics_file() -> bool:
        text = metrics.exposition(status.counted(engine, about, now))
        metrics.write(str(folder / "filter.prom"), text)
        return False

    figures = {
        "status, all changed": measured(all_changed, writer.step, runs),
        "status, nothing changed": measured(lambda number: writer.ask(), writer.step, runs),
        "state, in memory": measured(recent, lambda: kept.tick(engine.devices, now), runs),
        "state, on flash as well": measured(to_flash, lambda: kept.tick(engine.devices, now), runs),
        "metrics": measured(lambda number: None, metrics_file, runs),
    }
    writer.close()
    kept.close(engine.devices, now)
    return figures


def main() -> int:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        figures = measure(Path(folder))
    print(f"{f'ms of the loop, {DEVICES} devices':<30}{'longest turn':>14}{'its CPU':>9}{'CPU, all':>10}{'turns':>7}")
    for name, (wall, cpu, total, turns) in figures.items():
        print(f"{name:<30}{wall:>14.2f}{cpu:>9.2f}{total:>10.2f}{turns:>7}{'  MISSED' if cpu > GOAL_MS else ''}")
    return 1 if any(one.cpu > GOAL_MS for one in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
