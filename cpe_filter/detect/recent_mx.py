"""Devices that asked for MX records and have not mailed yet: kept for an hour, in case mail follows.

Knows device keys and times. Must not know packets or names. A device that only asks DNS must not fill the table of
devices: a DNS question is a datagram with any MAC on it, and spoofed ones would push real devices out. So questions
before the first mail wait here, in a table of their own. When it is full the key that was silent longest is dropped. A
flood of made-up MACs costs other devices this one piece of evidence, and nothing else.
"""

from __future__ import annotations

from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

KEYS = 256
#: Seconds that a device is remembered after its last lookup. A bot resolves just before it sends.
KEEP_S = 3600.0
#: Lookups of one device that are kept with their times; the others are only counted.
KEPT = 8


class MxQueries(NamedTuple):
    """queries: how many in all. last: the last of them, at most `KEPT`, as (seconds, whether of a foreign resolver)."""

    queries: int
    last: list[tuple[PacketTime, bool]]


class RecentMx:
    """Bounded: `limit` keys with `KEPT` lookups each."""

    def __init__(self, limit: int = KEYS) -> None:
        self.limit = limit
        self._queries: dict[bytes, MxQueries] = {}  # the key that was silent longest comes first

    def __len__(self) -> int:
        return len(self._queries)

    def add(self, key: bytes, foreign: bool, time: PacketTime) -> None:
        """A device that has never mailed asked for MX records."""
        earlier = self._take_fresh(key, time)
        queries, last = earlier or (0, [])
        while len(self._queries) >= self.limit:
            del self._queries[next(iter(self._queries))]
        self._queries[key] = MxQueries(queries + 1, [*last[1 - KEPT :], (time, foreign)])

    def take(self, key: bytes, time: PacketTime) -> MxQueries | None:
        """The questions of a device that mails now, returned once; None if it asked nothing in the last hour."""
        return self._take_fresh(key, time) if self._queries else None

    def _take_fresh(self, key: bytes, time: PacketTime) -> MxQueries | None:
        found = self._queries.pop(key, None)
        if found is None or time - found.last[-1][0] > KEEP_S:
            return None
        return found
