"""How often each indicator fires for each sender: `python -m tests.evaluate.world.rates [--mode M] [--by NETWORK]`.

For each indicator and sender, over devices: how many times it fired for each new network of servers that the device
met (or, with --by connection, for each connection), as median and 95th percentile of the devices; and of all legitimate
devices together, and of each class of bots. Knows the detector's `trace`. Standings have no consequences here: evidence
is counted to the end of a life, in mode monitor or block.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from collections.abc import Iterator
from typing import NamedTuple

from cpe_filter.detect.detector import Detector, Step
from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE
from tests.evaluate.intervals import quantile
from tests.evaluate.world.measure import Gate, Task, attempts, remember_readings
from tests.evaluate.world.sets import DEVELOPMENT, load

#: Devices that have met fewer networks, or made fewer connections, say too little.
_LEAST = 8


class Counts(NamedTuple):
    """One device's. fired: indicator -> times."""

    name: str
    kind: str
    networks: int
    connections: int
    fired: dict[str, int]


def count(task: Task) -> Counts:
    """Plays a life whose standing changes nothing."""
    kind, stream = attempts(task)
    gate = Gate(task.mode)
    gate.policy = gate.policy._replace(filter=gate.policy.filter._replace(escalate=False))
    fired: dict[str, int] = {}

    def trace(step: Step) -> None:
        if step.added >= 0 or INDICATORS[step.indicator].family == LEGITIMATE:  # else it did not fire
            fired[step.indicator] = fired.get(step.indicator, 0) + 1

    gate.listen(Detector(trace))
    for attempt in itertools.islice(stream, task.cap):
        if attempt.time > task.days * 86400:
            break
        if attempt.spam or not kind:
            gate.take(attempt)
        else:
            attempt.meet()
    return Counts(task.name, kind, gate.device.networks, gate.device.connections, fired)


def table(found: list[Counts], by_network: bool) -> Iterator[str]:
    """A line for each indicator and group: how many devices, median, 95th percentile, most."""
    groups: dict[str, list[Counts]] = {}
    for one in found:
        if (one.networks if by_network else one.connections) >= _LEAST:
            groups.setdefault(one.kind or "legitimate", []).append(one)
            groups.setdefault(f"  {one.name}", []).append(one)
    yield f"{'indicator':20} {'who':22} {'devices':>7} {'median':>7} {'95 %':>7} {'most':>7}"
    for indicator in sorted({name for one in found for name in one.fired}):
        for group, rows in groups.items():
            rates = [row.fired.get(indicator, 0) / (row.networks if by_network else row.connections) for row in rows]
            if any(rates):
                middle, late = quantile(rates, 0.5), quantile(rates, 0.95)
                yield f"{indicator:20} {group:22} {len(rows):7} {middle:7.3f} {late:7.3f} {max(rates):7.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.world.rates", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--cap", type=int, default=1000, help="connections of a device")
    parser.add_argument("--mode", choices=("monitor", "block"), default="monitor")
    parser.add_argument("--by", choices=("network", "connection"), default="network")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    senders = load(DEVELOPMENT)
    work = [
        Task(DEVELOPMENT, name, seed, options.mode, options.cap)
        for name in (*senders.legitimate, *senders.bots)
        for seed in range(options.runs)
    ]
    with multiprocessing.Pool(options.processes, remember_readings) as pool:
        found = pool.map(count, work, chunksize=2)
    for line in table(found, options.by == "network"):
        print(line)


if __name__ == "__main__":
    main()
