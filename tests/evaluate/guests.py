"""Strangers together: whether guests convict a home that is clean, and when a bot that changes its MAC does.

`python -m tests.evaluate.guests [--set S] [--homes N]`

Knows the scenarios and detect.home. A guest is a legitimate device in its first day in the home, without a lease: the
worst case, since all that it does is a first contact. Prints the homes suspected and convicted with Clopper-Pearson
intervals; then for each bot scenario, with a new MAC for so many of its connections, the median connection at which the
home, or strangers enough, were suspected and convicted.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
from collections.abc import Iterator
from heapq import merge
from statistics import median
from typing import NamedTuple

from cpe_filter.detect.detector import Connection, Detector
from cpe_filter.detect.device import Device, Devices
from cpe_filter.detect.home import Home
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.engine import LOST_AFTER_S
from cpe_filter.inspect.session import LOST, REFUSED
from tests.evaluate.facts import Session
from tests.evaluate.intervals import NEVER, clopper_pearson
from tests.evaluate.measure import CAP
from tests.evaluate.mta import DAY
from tests.evaluate.scenarios import SETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

#: A bot among the guests: what it leaves of the home's score must not convict the others.
_INFECTED = ("classic-sprayer", "careful", "one-recipient")
#: Guests a day, days, bots among them.
HOMES = ((5, 1, 0), (30, 1, 0), (30, 7, 0), (30, 1, 1))
#: Connections for each MAC.
CHANGES = (1, 3, 6, 12)


class Visit(NamedTuple):
    """A home and its guests: `seed`, guests a day, days, bots."""

    set: str
    seed: int
    guests: int
    days: int
    bots: int


class Rotation(NamedTuple):
    """A bot that takes a new MAC after so many connections."""

    set: str
    name: str
    seed: int
    each: int


class Strangers:
    """A home in which each device is a stranger; gets complete sessions."""

    def __init__(self) -> None:
        self.devices = Devices(1 << 20)
        self._detector = Detector()
        self._home = Home(self.devices)

    @property
    def standing(self) -> Standing:
        return self.devices.home.score.standing

    def play(self, number: int, session: Session) -> Device:
        time = session.time
        device = self._home.device(b"\2\0" + number.to_bytes(4, "big"), time)
        device.last_seen = time
        connection = self._detector.opened(device, session.server, time)
        shared = self._home.opened(connection, session.server, bytes(4), time)
        if session.phase in (LOST, REFUSED):
            time += LOST_AFTER_S if session.phase == LOST else 0.0
            self._detector.unanswered(connection, session.phase, time)
            if shared is not None:
                self._home.unanswered(shared, connection, session.phase, time)
        else:
            self._talk(connection, shared, session)
        self._home.judged(self._detector.changes)
        self._detector.changes.clear()
        return device

    def _talk(self, connection: Connection, shared: Connection | None, session: Session) -> None:
        """Both ends have completed the handshake."""
        time = session.time
        self._detector.established(connection, time)
        if shared is not None:
            self._home.established(shared, connection, time)
        for event in session.events:
            self._detector.event(connection, event, time)
            if shared is not None:
                self._home.event(shared, connection, event, time)
        connection.device.sessions += bool(session.events)
        self._detector.ended(connection, session.phase, session.quit, time)
        if shared is not None:
            self._home.ended(shared, connection, session.phase, session.quit, time)


def visited(visit: Visit) -> str:
    """The worst standing that the home came to."""
    rng = random.Random(f"guests {visit}")
    names = [name for name in SETS[visit.set].legitimate if not name.startswith("router")]
    streams = []
    for number in range(visit.guests * visit.days):
        arrives = (number // visit.guests + rng.random() / 2) * DAY
        life = SETS[visit.set].legitimate[rng.choice(names)](random.Random(rng.randrange(1 << 30)), 60)
        streams.append(_first_day(number, life, arrives))
    for number in range(visit.bots):
        bot = SETS["development"].bots[rng.choice(_INFECTED)](random.Random(rng.randrange(1 << 30)))
        streams.append(_first_day(visit.guests * visit.days + number, itertools.islice(bot, 60), rng.random() * DAY))
    home, worst = Strangers(), CLEAR
    for _, number, session in merge(*streams, key=lambda item: item[:2]):
        home.play(number, session)
        worst = home.standing if home.standing != CLEAR else worst
        if worst == COMPROMISED:
            break
    return worst


def _first_day(number: int, life: Iterator[Session], arrives: float) -> Iterator[tuple[float, int, Session]]:
    first = None
    for session in life:
        first = session.time if first is None else first
        if session.time > first + DAY:
            return
        time = session.time - first + arrives
        yield time, number, session._replace(time=time)


def rotated(task: Rotation) -> tuple[float, float]:
    """At which of its connections the home was suspected and convicted."""
    home, suspected = Strangers(), NEVER
    sessions = SETS[task.set].bots[task.name](random.Random(f"{task.name} {task.seed}"))
    for count, session in enumerate(itertools.islice((one for one in sessions if one.spam), CAP), 1):
        home.play((count - 1) // task.each, session)
        if home.standing != CLEAR:
            suspected = min(suspected, count)
        if home.standing == COMPROMISED:
            return suspected, count
    return suspected, NEVER


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.evaluate.guests", description=__doc__)
    parser.add_argument("--homes", type=int, default=200)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--set", choices=sorted(SETS), action="append")
    options = parser.parse_args()
    with multiprocessing.Pool(2) as pool:
        for which in options.set or list(SETS):
            print(f"\n{which}: homes with guests a day, days, bots: suspected, convicted")
            for guests, days, bots in HOMES:
                homes = options.homes // days
                found = pool.map(visited, [Visit(which, seed, guests, days, bots) for seed in range(homes)])
                convicted = found.count(COMPROMISED)
                low, high = clopper_pearson(convicted, homes)
                suspected = sum(standing != CLEAR for standing in found)
                print(
                    f"  {guests:3} {days:2} {bots:2}: {suspected:4} {convicted:4} of {homes} ({low:.3f} to {high:.3f})",
                    flush=True,
                )
            print(f"{which}: bots, connections a MAC: median connection suspected/convicted")
            for name in SETS[which].bots:
                row = []
                for each in CHANGES:
                    at = pool.map(rotated, [Rotation(which, name, seed, each) for seed in range(options.runs)])
                    row.append("/".join(f"{median(values):g}" for values in zip(*at, strict=True)))
                print(f"  {name:22}" + "".join(f"{text:>14}" for text in row), flush=True)


if __name__ == "__main__":
    main()
