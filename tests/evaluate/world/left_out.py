"""Evidence that the detector leaves out, as simulated senders show it: `python -m tests.evaluate.world.left_out`.

Prints for each kind of legitimate sender and each class of bots (2 minutes): how many devices have how many lists of
ciphers in their ClientHellos (JA4's second part); and what they answer to the responder's tests, with how many devices
did not return although asked. docs/tls-evidence.md and docs/notify.md say why none of it counts. Knows the simulated
senders, and `calibrate_rates`' kinds. Must not know the detector's rows.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cpe_filter.detect.detector import Connection, Detector
from cpe_filter.inspect.facts import Event
from tests.evaluate.calibrate_rates import WORLD
from tests.evaluate.world.converse import PASS
from tests.evaluate.world.measure import Gate, Task, attempts, device_key, remember_readings
from tests.evaluate.world.sets import DEVELOPMENT, load

#: Connections of a device: legitimate, and a bot's.
_CAPS = (500, 150)
ANSWERS = (
    *("waited", "talked-early", "coped", "broke", "took-tls", "declined-tls"),
    *("returned", "did-not-return"),
)


class Shown(NamedTuple):
    """One device's. lists: of ciphers. answers: how often it gave each."""

    group: str
    lists: int
    answers: dict[str, int]


class _Listening(Detector):
    """Counts the answers to the responder, and judges nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: Counter[str] = Counter()

    def event(self, connection: Connection, event: Event, time: float) -> None:
        if event.kind == "responder":
            self.answers[event.name] += 1


def cipher_list(ja4: str) -> str:
    """t13i871000_c66346c74e42_24695f2957a7 -> c66346c74e42."""
    return ja4.split("_")[1]


def shown(task: Task, group: str) -> Shown:
    """Plays a device twice: with nothing in its way, and with the responder."""
    lists = {
        cipher_list(event.name)
        for attempt in _connections(task)
        for event in attempt.meet(PASS).events
        if event.kind == "fingerprint"
    }
    gate = Gate("block", device_key(task.name))
    listening = _Listening()
    gate.listen(listening)
    for attempt in _connections(task):
        gate.take(attempt)
    return Shown(group, len(lists), dict(listening.answers))


def _connections(task: Task) -> Iterator:  # type: ignore[type-arg]
    _, stream = attempts(task)
    return itertools.takewhile(lambda attempt: attempt.time < task.days * 86400, itertools.islice(stream, task.cap))


def lists_lines(found: Iterable[Shown]) -> Iterator[str]:
    groups: dict[str, Counter[int]] = {}
    for one in found:
        groups.setdefault(one.group, Counter())[one.lists] += 1
    yield f"{'lists of ciphers':16} devices that have so many"
    for group, counted in groups.items():
        yield f"{group:16} {', '.join(f'{lists}: {n}' for lists, n in sorted(counted.items()))}"


def answers_lines(found: Iterable[Shown]) -> Iterator[str]:
    groups: dict[str, Counter[str]] = {}
    devices: dict[str, Counter[str]] = {}
    for one in found:
        groups.setdefault(one.group, Counter()).update(one.answers)
        told = [name for name in ANSWERS if one.answers.get(name)]
        devices.setdefault(one.group, Counter()).update(told)
    yield f"{'answers / devices':16} " + " ".join(f"{name:>15}" for name in ANSWERS)
    for group, counted in groups.items():
        yield f"{group:16} " + " ".join(f"{f'{counted[name]} / {devices[group][name]}':>15}" for name in ANSWERS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.world.left_out", description=__doc__)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    senders = load(DEVELOPMENT)
    groups = {name: kind for kind, names in WORLD.items() for name in names}
    groups |= {name: kind for name, (kind, _) in senders.bots.items()}
    work = [
        (Task(DEVELOPMENT, name, seed, "block", _CAPS[name in senders.bots]), groups.get(name, "other"))
        for name in (*senders.legitimate, *senders.bots)
        for seed in range(options.runs)
    ]
    with multiprocessing.Pool(options.processes, remember_readings) as pool:
        found = pool.starmap(shown, work, chunksize=2)
    for line in (*lists_lines(found), "", *answers_lines(found)):
        print(line)


if __name__ == "__main__":
    main()
