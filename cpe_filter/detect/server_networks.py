"""Which mail servers a device has met, and how that came out: fixed memory, the longest unused forgotten first.

Knows neighbourhoods of servers (/24, /48) by their fingerprints. Must not know what follows from them. A table of
`BUCKETS` buckets with `WAYS` places of two bytes: fourteen bits of fingerprint, two of outcome; within a bucket the
last used comes first. A neighbourhood is taken for another with a probability of about `WAYS` in 16,384.
"""

from __future__ import annotations

BUCKETS, WAYS = 96, 4
SIZE = 2 * BUCKETS * WAYS
_PLACES = range(0, 2 * WAYS, 2)

#: How it came out so far: nothing to tell, put off, turned away, accepted.
MET, DEFERRED, TURNED_AWAY, ACCEPTED = range(4)


def fingerprint(server: bytes) -> int:
    """A server's (packed address) neighbourhood as a number of 40 bits.

    The same on every run and machine, so that a capture is judged alike everywhere (Knuth's multiplicative hash).
    """
    prefix = server[:3] if len(server) == 4 else server[:6]
    return (int.from_bytes(prefix, "big") + len(server)) * 0x9E3779B97F4A7C15 >> 24 & 0xFFFFFFFFFF


class Neighbours:
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
        """A connection to the neighbourhood of this `fingerprint`; True if it is new."""
        at, place = self._find(number)
        if place < 0:
            self._first(at, 2 * (WAYS - 1), _mark(number) << 2 | MET)
            return True
        self._first(at, place, self._entry(at + place))
        return False

    def look(self, number: int) -> int:
        """How it came out so far; -1 where it is not remembered. Changes nothing."""
        at, place = self._find(number)
        return -1 if place < 0 else self._entry(at + place) & 3

    def attempt(self, number: int) -> bool:
        """A connection that nobody answered; True if the neighbourhood is new.

        It comes last in its bucket: whoever sends SYNs in another's name drives out no more than a quarter.
        """
        at, place = self._find(number)
        if place < 0:
            entry = _mark(number) << 2 | MET
            at += 2 * (WAYS - 1)
            self.table[at : at + 2] = entry.to_bytes(2, "big")
        return place < 0

    def outcome(self, number: int) -> int:
        """How it came out so far; MET where it is not remembered."""
        at, place = self._find(number)
        return MET if place < 0 else self._entry(at + place) & 3

    def settle(self, number: int, outcome: int) -> None:
        """Remembers how it came out, if the neighbourhood is still remembered; the highest outcome stays.

        Else a server that puts off now and then would give the same news again and again.
        """
        at, place = self._find(number)
        if place >= 0:
            entry = self._entry(at + place)
            entry = entry & ~3 | max(entry & 3, outcome)
            self.table[at + place : at + place + 2] = entry.to_bytes(2, "big")

    def _find(self, number: int) -> tuple[int, int]:
        """Where its bucket begins, and where in it the neighbourhood is, -1 if nowhere."""
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
        """Puts an entry at the head of its bucket, in the place of the one at `place`."""
        table = self.table
        table[at + 2 : at + place + 2] = table[at : at + place]
        table[at : at + 2] = entry.to_bytes(2, "big")


def _mark(number: int) -> int:
    """What tells neighbourhoods of one bucket apart: 14 bits, never 0, which is an empty place."""
    return number >> 26 or 1
