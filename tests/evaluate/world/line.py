"""A home's Internet access: what the world thinks of its address, and when it is down.

Knows the properties that servers look up (PBL, reverse name, XBL). Must not know servers or senders. Sources: PBL has
70 to 85 % of homes' lines (the brief); shares of reverse names, outages, and inherited listings are judgement.
"""

from __future__ import annotations

import random

DAY = 86400.0
Range = tuple[float, float]
OWN, GENERIC, UNCONFIRMED, NO_NAME = "own", "generic", "unconfirmed", "none"


class Line:
    """pbl: Spamhaus' PBL has it. ptr: the reverse name (one's own; the provider's; that without a forward; none).

    listed: (from, to) when XBL and the like have it. outages: (from, to) when nothing gets out. name: the reverse name.
    """

    __slots__ = ("ipv6", "listed", "name", "outages", "pbl", "ptr")

    def __init__(self, pbl: bool, ptr: str, name: str, listed: list[Range], outages: list[Range]) -> None:
        self.pbl = pbl
        self.ptr = ptr
        self.ipv6 = False  # it prefers IPv6, where it can
        self.name = name
        self.listed = listed
        self.outages = outages

    @property
    def is_home(self) -> bool:
        """What servers that look for home lines take it for."""
        return self.pbl or self.ptr != OWN

    def is_listed(self, time: float) -> bool:
        return any(start <= time < end for start, end in self.listed)

    def is_down(self, time: float) -> bool:
        return any(start <= time < end for start, end in self.outages)


def home_line(rng: random.Random, pbl: Range = (0.70, 0.85)) -> Line:
    """An ordinary home's. One in eight inherits 2 to 14 days on a list a year; 0 to 4 outages of 5 min to 6 h (J)."""
    return _line(rng, rng.random() < rng.uniform(*pbl), own=0.02)


def server_line(rng: random.Random, pbl: Range = (0.30, 0.85), own: float = 0.5) -> Line:
    """Of somebody who keeps a mail server: some asked for a fixed address, out of PBL, with a name of its own (J)."""
    return _line(rng, rng.random() < rng.uniform(*pbl), own)


def _line(rng: random.Random, pbl: bool, own: float) -> Line:
    digits = [rng.randint(1, 254) for _ in range(4)]
    name = rng.choice(("{3}-{2}-{1}-{0}.dyn.isp.example", "p{0:02x}{1:02x}{2:02x}{3:02x}.dip.isp.example",
                       "host{3}.{2}.adsl.isp.example", "cpe-{0}-{1}-{2}-{3}.res.isp.example"))  # fmt: skip
    if not pbl and rng.random() < own:
        ptr = OWN
    else:
        ptr = rng.choices((GENERIC, UNCONFIRMED, NO_NAME), (0.6, 0.15, 0.25))[0]
    listed = []
    if rng.random() < 0.125:
        start = rng.random() * 365 * DAY
        listed.append((start, start + rng.uniform(2, 14) * DAY))
    outages = []
    for _ in range(rng.randint(0, 4)):
        start = rng.random() * 365 * DAY
        outages.append((start, start + 300 * 72 ** rng.random()))
    return Line(pbl, ptr, name.format(*digits), listed, outages)
