"""One simulated device, or home, through the detector: what became of it.

Knows the seam of the detector and how to count. Results are small and picklable: the runs are spread over processes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from heapq import merge
from typing import NamedTuple

from cpe_filter.detect.detector import Detector
from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.score import CLEAR, COMPROMISED
from tests.evaluate import bots, legit
from tests.evaluate.facts import Player, Session
from tests.evaluate.intervals import NEVER
from tests.evaluate.mta import DAY
from tests.evaluate.published import METHODS, All
from tests.evaluate.scenarios import SETS, device_key, seeded

#: A bot that made so many connections is not found.
CAP = 400


class Task(NamedTuple):
    """compare: run the published methods too. days: of a legitimate device's life."""

    set: str
    name: str
    seed: int
    compare: bool
    days: int = 365


class Year(NamedTuple):
    """A legitimate device's life. alarms: days with an alarm, for each published method (empty: not run)."""

    name: str
    seed: int
    sessions: int
    suspected: bool
    convicted_at: float
    why: str
    alarms: dict[str, int]


class Hunt(NamedTuple):
    """A bot's: at which of its own connections (`NEVER` if not) it was suspected, convicted, found by each method.

    early: convicted before the bot had begun, which is an error.
    """

    name: str
    seed: int
    suspected_at: float
    convicted_at: float
    early: bool
    why: str
    methods: dict[str, float]


class Home(NamedTuple):
    """20 devices. missed, wronged: names of scenarios."""

    seed: int
    bots: int
    missed: list[str]
    wronged: list[str]


def one_device(name: str) -> tuple[Detector, Device]:
    return Detector(), Devices().get(device_key(name), 0.0)


def year(task: Task) -> Year:
    """Plays a legitimate device's life to its end, or to its conviction if no method is to be compared."""
    detector, device = one_device(task.name)
    player, methods = Player(detector), All() if task.compare else None
    suspected, convicted_at, count, why = False, NEVER, 0, ""
    for session in SETS[task.set].legitimate[task.name](seeded(task.name, task.seed), task.days):
        count += 1
        if convicted_at == NEVER:
            player.play(device, session)
            if detector.changes:
                suspected = True
                detector.changes.clear()
                if device.score.standing == COMPROMISED:
                    convicted_at, why = count, explain(device)
        if methods is not None:
            methods.see(session)
        elif convicted_at != NEVER:
            break
    return Year(task.name, task.seed, count, suspected, convicted_at, why, methods.alarms if methods else {})


def hunt(task: Task) -> Hunt:
    """Plays a bot until everybody has found it, or `CAP` connections of its own."""
    detector, device = one_device(task.name)
    player, methods = Player(detector), All() if task.compare else None
    found: dict[str, float] = dict.fromkeys(METHODS, NEVER) if task.compare else {}
    suspected_at = convicted_at = NEVER
    early, count, why = False, 0, ""
    for session in SETS[task.set].bots[task.name](seeded(task.name, task.seed)):
        count += session.spam
        if convicted_at == NEVER:
            player.play(device, session)
            detector.changes.clear()
            standing = device.score.standing
            if count and standing != CLEAR and suspected_at == NEVER:
                suspected_at = count
            if standing == COMPROMISED:
                early, convicted_at, why = not count, count, explain(device)
        if methods is not None:
            for method in methods.see(session):
                if count and found[method] == NEVER:
                    found[method] = count
        if count >= CAP or (convicted_at != NEVER and all(at != NEVER for at in found.values())):
            break
    return Hunt(task.name, task.seed, suspected_at, convicted_at, early, why or explain(device), found)


def explain(device: Device, most: int = 6) -> str:
    """The evidence that weighs most, as far as the detector tells."""
    tallies = getattr(device.score, "tallies", {})
    rows = sorted(((tally.weight, name) for name, tally in tallies.items()), key=lambda row: -abs(row[0]))
    return f"like a {device.score.nearest_profile}: " + ", ".join(
        f"{weight:+.1f} {name}" for weight, name in rows[:most]
    )


#: Bots for a home: kinds that the goals demand to be found.
_IN_HOMES = (
    "classic-sprayer",
    "classic-rotating",
    "many-recipients",
    "careful",
    "classic-1-an-hour",
    "careful-400-a-day",
)


def home(task: Task) -> Home:
    """20 devices for `days` days, 1 to 3 of them bots that begin on some day; who is convicted?"""
    rng = random.Random(f"home {task.seed}")
    infected = rng.randint(1, 3)
    names = [rng.choice(_IN_HOMES) for _ in range(infected)]
    streams: list[Iterator[tuple[float, int, Session]]] = []
    for number, name in enumerate(names):
        sessions = itertools.islice(bots.BOTS[name](seeded(name, rng.randrange(1 << 30))), CAP)
        streams.append(_numbered(sessions, number, rng.uniform(0, task.days / 2) * DAY))
    for number in range(infected, 20):
        names.append(rng.choice(list(legit.LEGITIMATE)))
        mine = random.Random(rng.randrange(1 << 30))
        streams.append(_numbered(legit.LEGITIMATE[names[-1]](mine, task.days), number, 0.0))
    detector, devices = Detector(), Devices()
    player = Player(detector)
    for time, number, session in merge(*streams, key=lambda item: item[:2]):
        if time > task.days * DAY:
            continue
        device = devices.get(b"\2\0\0\0\1" + bytes([number]), time)
        if device.score.standing != COMPROMISED:
            player.play(device, session)
            detector.changes.clear()
    convicted = {device.key[5] for device in devices if device.score.standing == COMPROMISED}
    missed = [names[n] for n in range(infected) if n not in convicted]
    return Home(task.seed, infected, missed, [names[n] for n in sorted(convicted) if n >= infected])


def _numbered(sessions: Iterator[Session], number: int, delay: float) -> Iterator[tuple[float, int, Session]]:
    for session in sessions:
        yield session.time + delay, number, session._replace(time=session.time + delay)
