"""Who writes to whom and when: the letters of households, clubs and offices.

Knows habits of writing. Must not know servers' answers or the detector. All rates are judgement with a range unless a
source is named.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.evaluate.mta import DAY, HOUR, Range, log_uniform, poisson, times_of_day
from tests.evaluate.world.delivery import Home, Mail
from tests.evaluate.world.internet import DOMAINS, Internet
from tests.evaluate.world.line import Line, home_line, server_line
from tests.evaluate.world.manners import Letter, Mailbox

__all__ = [
    "DAY", "HOUR", "Range", "Contacts", "a_home", "a_server_home", "correspondence", "in_order", "log_uniform",
    "log_size", "own_domain", "poisson", "times", "times_of_day",
]  # fmt: skip


def a_home(rng: random.Random, line: Line | None = None, **world: Range) -> Home:
    return Home(rng, line or home_line(rng), Internet(rng, **world))


def a_server_home(rng: random.Random, **world: Range) -> Home:
    return Home(rng, server_line(rng), Internet(rng, **world))


def own_domain(rng: random.Random) -> str:
    return f"{rng.choice(('family', 'house', 'workshop', 'studio'))}{rng.randrange(9999)}.example"


def log_size(rng: random.Random, least: int = 800, most: int = 60000) -> int:
    return int(log_uniform(rng, least, most))


def times(rng: random.Random, days: int, per_day: float, night: float = 0.15, week: bool = True) -> Iterator[float]:
    """Moments over so many days; at weekends half as many."""
    for day in range(days):
        yield from times_of_day(rng, day, poisson(rng, per_day if day % 7 < 5 or not week else per_day * 0.5), night)


class Contacts:
    """Those whom somebody writes to: few of them often. dead: share whose mailbox is gone."""

    def __init__(self, home: Home, count: int, consumers: float, dead: float) -> None:
        self._home, self._consumers, self._dead = home, consumers, dead
        self._known = [self._new() for _ in range(count)]

    def _new(self) -> tuple[int, Mailbox]:
        rng = self._home.rng
        state = "exists" if rng.random() >= self._dead else rng.choice(("unknown", "unknown", "disabled", "full"))
        return self._home.internet.anyone(rng, self._consumers), Mailbox(rng.randrange(1 << 20), state)

    def add(self) -> None:
        self._known.append(self._new())

    def one(self, new: float = 0.0) -> tuple[int, Mailbox]:
        """Somebody; a new one with this probability."""
        rng = self._home.rng
        if rng.random() < new:
            self.add()
            return self._known[-1]
        return self._known[int(len(self._known) * rng.random() ** 2)]

    def add_dead(self, to: int) -> None:
        """A mailbox of this domain that is no more."""
        self._known.append((to, Mailbox(self._home.rng.randrange(1 << 20), "unknown")))

    def drop(self, whom: tuple[int, Mailbox]) -> None:
        if whom in self._known and len(self._known) > 1:
            self._known.remove(whom)

    def __iter__(self) -> Iterator[tuple[int, Mailbox]]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def correspondence(
    home: Home,
    days: int,
    per_day: float,
    sender: str,
    *,
    contacts: tuple[int, int] = (20, 200),
    new: Range = (0.01, 0.10),
    dead: Range = (0.005, 0.03),
    mistyped: Range = (0.002, 0.015),
    unwanted: Range = (0.0, 0.03),
    aligned: float = 0.9,
    consumers: Range = (0.35, 0.70),
) -> Iterator[Mail]:
    """The mail of people: mostly to those they wrote to before."""
    rng = home.rng
    known = Contacts(home, rng.randint(*contacts), rng.uniform(*consumers), rng.uniform(*dead))
    newcomers, wrong, refused = rng.uniform(*new), rng.uniform(*mistyped), rng.uniform(*unwanted)
    proven = rng.random() < aligned
    for time in times(rng, days, per_day):
        to, box = known.one(newcomers)
        if rng.random() < wrong:
            box = Mailbox(rng.randrange(1 << 20), "unknown")
        boxes = (
            (box,)
            if rng.random() < 0.9
            else (box, *(Mailbox(rng.randrange(1 << 20)) for _ in range(rng.randint(1, 4))))
        )
        yield Mail(time, to, Letter(sender, boxes, log_size(rng), refused, proven))


def in_order(*streams: Iterator[Mail]) -> Iterator[Mail]:
    """Several sources of letters in one queue."""
    from heapq import merge

    return merge(*streams, key=lambda mail: mail.time)


def stranger(rng: random.Random) -> int:
    return DOMAINS + rng.randrange(300000)
