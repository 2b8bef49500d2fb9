"""How mail comes into being here: mailings, alarms in storms, domains of one kind, lines of businesses.

Knows times and addresses. Must not know the detector, servers' answers, or who is a bot. All shares are judgement.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

from tests.evaluate.world.delivery import Home, Mail
from tests.evaluate.world.internet import Internet
from tests.evaluate.world.line import server_line
from tests.evaluate.world.manners import Letter, Mailbox
from tests.evaluate.world.people import DAY, HOUR, Contacts, stranger, times

Sized = Callable[[random.Random], int]
#: Somebody: the number of a domain, and a mailbox there.
Whom = tuple[int, Mailbox]


def business(rng: random.Random, pbl: tuple[float, float] = (0.05, 0.40), own: float = 0.7) -> Home:
    """An office whose line has a fixed address more often than a home's."""
    return Home(rng, server_line(rng, pbl, own), Internet(rng))


def domain_at(home: Home, *kinds: str) -> int:
    """A domain whose mail is with one of these kinds of provider, and whose server is up."""
    while True:
        number = stranger(home.rng)
        host = home.internet.host(number)
        if host.manners.kind in kinds and host.fate == "up":
            return number


def mailbox(rng: random.Random, dead: float = 0.0) -> Mailbox:
    return Mailbox(rng.randrange(1 << 20), "unknown" if rng.random() < dead else "exists")


def starts(rng: random.Random, days: int, every: float, first: float = 0.0) -> Iterator[float]:
    """Moments in the day, about so many days apart."""
    day = first
    while day < days:
        yield (int(day) + 0.33) * DAY + rng.uniform(0, 10) * HOUR
        day += max(1.0, rng.gauss(every, every * 0.15))


def to_all(
    home: Home,
    members: Iterable[Whom],
    begin: Iterable[float],
    letter: Callable[[tuple[Mailbox, ...], int], Letter],
    gap_s: float,
    size: Sized,
    together: int = 1,
) -> Iterator[Mail]:
    """Mailings to who is a member when they begin; `together` recipients of a domain in one letter at most."""
    free = 0.0
    for moment in begin:
        free = max(free, moment)
        bytes_ = size(home.rng)
        for to, boxes in _batches(list(members), together):
            yield Mail(free, to, letter(boxes, bytes_))
            free += home.rng.expovariate(1 / gap_s)


def _batches(members: list[Whom], together: int) -> Iterator[tuple[int, tuple[Mailbox, ...]]]:
    if together == 1:
        yield from ((to, (box,)) for to, box in members)
        return
    groups: dict[int, list[Mailbox]] = {}
    for to, box in members:
        groups.setdefault(to, []).append(box)
    for to, boxes in groups.items():
        for at in range(0, len(boxes), together):
            yield to, tuple(boxes[at : at + together])


def forgets(members: Contacts, after: int = 1) -> Callable[[Mail, bool, float], None]:
    """A list that drops an address after so many failures."""
    failures: dict[int, int] = {}

    def told(mail: Mail, delivered: bool, _: float) -> None:
        if delivered:
            return
        for box in mail.letter.to:
            failures[box.number] = failures.get(box.number, 0) + 1
            if failures[box.number] >= after:
                members.drop((mail.to, box))

    return told


def notices(
    home: Home,
    days: int,
    per_day: float,
    whom: list[Whom],
    letter: Callable[[tuple[Mailbox, ...], int], Letter],
    size: Sized,
    *,
    night: float = 1.0,
    storms: tuple[float, int, float] = (0.0, 0, 60.0),
    each: bool = True,
) -> Iterator[Mail]:
    """What machines report, to all of `whom`. storms: a year, notices in one, seconds between them."""
    rng = home.rng
    a_year, most, gap = storms
    free = 0.0
    for moment in times(rng, days, per_day, night, week=False):
        count = rng.randint(2, most) if most > 2 and rng.random() < a_year / (365 * max(per_day, 0.01)) else 1
        time = max(free, moment)
        for _ in range(count):
            for to, box in whom if each else [rng.choice(whom)]:
                yield Mail(time, to, letter((box,), size(rng)))
                time += rng.uniform(0.5, 4.0)
            time += rng.expovariate(1 / gap)
        free = time
