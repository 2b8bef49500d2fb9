"""Who asked for MX records and has not mailed yet: kept for an hour, for the day the mail comes.

Knows device keys and times. Must not know packets or names. A device that only asks DNS must not fill the table of
devices: DNS is a datagram with any MAC on it, and spoofed ones would push real devices out. So what is asked before the
first mail waits here, in a table of its own. When it is full the one silent longest goes: a flood of made-up MACs costs
others this one piece of evidence, and nothing else.
"""

from __future__ import annotations

from cpe_filter.lean.named_tuple import NamedTuple

KEYS = 256
#: Seconds after its last lookup that a device is remembered. A bot resolves just before it sends.
KEEP_S = 3600.0
#: Lookups of one device kept with their times; the rest is a number.
KEPT = 8


class Asked(NamedTuple):
    """queries: how many in all. last: of these the last ones, at most `KEPT`, as (seconds, of a foreign resolver)."""

    queries: int
    last: list[tuple[float, bool]]


class RecentlyAsked:
    """Bounded: `limit` keys with `KEPT` lookups each."""

    def __init__(self, limit: int = KEYS) -> None:
        self.limit = limit
        self._asked: dict[bytes, Asked] = {}  # the one silent longest comes first

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, key: bytes, foreign: bool, time: float) -> None:
        """A device that has never mailed asked for MX records."""
        earlier = self._take_fresh(key, time)
        queries, last = earlier or (0, [])
        while len(self._asked) >= self.limit:
            del self._asked[next(iter(self._asked))]
        self._asked[key] = Asked(queries + 1, [*last[1 - KEPT :], (time, foreign)])

    def take(self, key: bytes, time: float) -> Asked | None:
        """What a device asked that mails now, once; None where there is nothing of the last hour."""
        return self._take_fresh(key, time) if self._asked else None

    def _take_fresh(self, key: bytes, time: float) -> Asked | None:
        asked = self._asked.pop(key, None)
        if asked is None or time - asked.last[-1][0] > KEEP_S:
            return None
        return asked
