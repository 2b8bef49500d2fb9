"""How long a client takes to answer its server: times of one connection's packets -> the least of these delays.

Knows when packets passed, and that a turn is a reply and the client's next data. Must not know packets, SMTP, or what a
delay means. A device that only relays for a remote operator cannot answer a reply before it has been to the operator
and back, but its TCP acknowledges at once. So two floors are compared: that of the turns, and that of the path between
router and device, which the handshake shows (SYN-ACK to ACK). A delay now and then (a name looked up, a slow program,
Wi-Fi that sleeps) lifts some turns and not the floor.

What is in doubt makes the difference smaller, never larger: a reply that passes again counts from its last copy, and an
acknowledgement of what passed twice does not measure the path (Karn and Partridge 1987).
"""

from __future__ import annotations

#: Turns that are enough, and without which there is no result. A dialogue in clear has 5 before the message is sent,
#: one that begins TLS has 3 up to the ClientHello.
ENOUGH, LEAST = 5, 3
_NEVER = -1.0


class Turnaround:
    """One connection, from the server's SYN-ACK on, which passed at `time` (seconds). turns: how many were seen."""

    __slots__ = ("_floor", "_once", "_path", "_since", "turns")

    def __init__(self, time: float) -> None:
        self.turns = 0
        self._floor = self._path = _NEVER
        self._since = time  # what the server has sent last; _NEVER once the client has spoken
        self._once = True  # it passed once, and has not been acknowledged

    def sent(self, time: float, again: bool) -> None:
        """Data of the server passes; again: it has passed before."""
        self._since = time
        self._once = not again

    def acknowledged(self, time: float) -> None:
        """The client acknowledges all that the server has sent, and sends no data."""
        if self._once and self._since >= 0.0:
            self._once = False
            delay = max(0.0, time - self._since)
            if self._path < 0.0 or delay < self._path:
                self._path = delay

    def answered(self, time: float) -> None:
        """The client's first data after a reply that it waited for."""
        if self._since < 0.0:
            return
        delay = max(0.0, time - self._since)
        self._since = _NEVER
        self.turns += 1
        if self.turns == 1 or delay < self._floor:
            self._floor = delay

    def spoke(self) -> None:
        """The client sends data that answers nothing, or not all that was sent: what follows is not a turn."""
        self._since = _NEVER

    @property
    def milliseconds(self) -> int | None:
        """The floor of the turns less that of the path; None with too few turns, or if the path was not measured."""
        if self.turns < LEAST or self._path < 0.0:
            return None
        return max(0, round((self._floor - self._path) * 1000.0))
