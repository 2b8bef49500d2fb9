"""The engine's time from the times of a capture: it never goes back, and goes on where a clock was set.

Knows times. Must not know packets. Packets that come a little late count as of now. Where the clock was set back, or
one damaged time was far ahead, time would stand still for all that follows: many packets in a row from an earlier time
move it on.
"""

from __future__ import annotations

from cpe_filter.lean.clocks import PacketTime

#: Packets of several queues and interfaces are out of order by less than this, seconds.
LATE_S = 60.0
#: So many packets in a row from an earlier time: the clock was set back. Fewer are late, or of another clock.
IN_A_ROW = 16


class PacketClock:
    """jumps: how often a clock was set back; back: by how many seconds, the most. late: packets that came late."""

    __slots__ = ("_earlier", "_offset", "back", "jumps", "late", "now")

    def __init__(self) -> None:
        self.now = PacketTime(0.0)
        self.late = self.jumps = 0
        self.back = 0.0
        self._offset = 0.0
        self._earlier = 0

    def at(self, time: float) -> PacketTime:
        """The engine's time for a packet of this time (POSIX seconds, 0: unknown)."""
        moved = time + self._offset
        if moved >= self.now:
            self._earlier = 0
            self.now = PacketTime(moved)
        elif time > 0.0:
            self._behind(time, self.now - moved)
        return self.now

    def _behind(self, time: float, seconds: float) -> None:
        self.late += 1
        if seconds <= LATE_S:
            self._earlier = 0
            return
        self._earlier += 1
        if self._earlier >= IN_A_ROW:
            self._earlier = 0
            self.late -= IN_A_ROW
            self.jumps += 1
            self.back = max(self.back, seconds)
            self._offset = self.now - time

    def note(self) -> str:
        """A line about jumps."""
        times = "once" if self.jumps == 1 else f"{self.jumps} times"
        return f"the clock was set back {times}, by up to {self.back:.0f} s; times after that are later than captured"
