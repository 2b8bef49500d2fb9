"""The networks of mail servers that a device has met, with outcomes, in fixed memory. The least recently used go first.

Knows networks of servers (/24, /48) by their fingerprints. Must not know what follows from them. It is a table of
`BUCKETS` buckets with `WAYS` entries of two bytes: fourteen bits of fingerprint, two of outcome. Within a bucket the
last used comes first. A network is mistaken for another one with a probability of about `WAYS` in 16,384.
"""

from __future__ import annotations

BUCKETS, WAYS = 96, 4
SIZE = 2 * BUCKETS * WAYS
_PLACES = range(0, 2 * WAYS, 2)

#: The outcome so far: nothing known, deferred, rejected, accepted.
MET, DEFERRED, TURNED_AWAY, ACCEPTED = range(4)


def fingerprint(server: bytes) -> int:
    """The network of a server (packed address) as a number of 40 bits.

    The same on every run and machine, so that a capture is judged alike everywhere (Knuth's multiplicative hash).
    """
    prefix = server[:3] if len(server) == 4 else server[:6]
    return (int.from_bytes(prefix, "big") + len(server)) * 0x9E3779B97F4A7C15 >> 24 & 0xFFFFFFFFFF


class ServerNetworks:
    """`table` is all there is, to be saved as it is. Raises ValueError where it is not `SIZE` bytes."""

    __slots__ = ("table",)

    def __init__(self, table: bytes | bytearray = bytes(SIZE)) -> None:
        if len(table) != SIZE:
            raise ValueError(f"a table of neighbours is {SIZE} bytes, not {len(table)}")
        self.table = bytearray(table)

    def __len__(self) -> int:
        """How many are remembered."""
        return sum(any(self.table[at : at + 2]) for at in range(0, SIZE, 2))

    def meet(self, number: int) -> bool:
        """A connection to the network of this `fingerprint`; True if it is new."""
        at, place = self._find(number)
        if place < 0:
            self._first(at, 2 * (WAYS - 1), _mark(number) << 2 | MET)
            return True
        self._first(at, place, self._entry(at + place))
        return False

    def look(self, number: int) -> int:
        """The outcome so far; -1 if it is not remembered. Changes nothing."""
        at, place = self._find(number)
        return -1 if place < 0 else self._entry(at + place) & 3

    def attempt(self, number: int) -> bool:
        """A connection without an answer; True if the network is new.

        It comes last in its bucket: SYNs in another device's name drive out no more than a quarter of the entries.
        """
        at, place = self._find(number)
        if place < 0:
            entry = _mark(number) << 2 | MET
            at += 2 * (WAYS - 1)
            self.table[at : at + 2] = entry.to_bytes(2, "big")
        return place < 0

    def outcome(self, number: int) -> int:
        """The outcome so far; MET if it is not remembered."""
        at, place = self._find(number)
        return MET if place < 0 else self._entry(at + place) & 3

    def settle(self, number: int, outcome: int) -> None:
        """Remembers an outcome, if the network is still remembered; the highest outcome stays.

        Otherwise a server that defers mail now and then would give the same evidence again and again.
        """
        at, place = self._find(number)
        if place >= 0:
            entry = self._entry(at + place)
            entry = entry & ~3 | max(entry & 3, outcome)
            self.table[at + place : at + place + 2] = entry.to_bytes(2, "big")

    def _find(self, number: int) -> tuple[int, int]:
        """Where its bucket begins, and where in it the network is, -1 if nowhere."""
        at = number % BUCKETS * 2 * WAYS
        wanted = _mark(number)
        table = self.table
        for place in _PLACES:
            if (table[at + place] << 8 | table[at + place + 1]) >> 2 == wanted:
                return at, place
        return at, -1

    def _entry(self, at: int) -> int:
        return self.table[at] << 8 | self.table[at + 1]

    def _first(self, at: int, place: int, entry: int) -> None:
        """Puts an entry at the head of its bucket. It replaces the one at `place`."""
        table = self.table
        table[at + 2 : at + place + 2] = table[at : at + place]
        table[at : at + 2] = entry.to_bytes(2, "big")


def _mark(number: int) -> int:
    """What distinguishes networks of one bucket: 14 bits, never 0, which marks an empty entry."""
    return number >> 26 or 1
