"""How long a client takes to answer its server: times of one connection's packets -> the least of these delays.

Knows when packets passed, and that a turn is a reply and the client's next data. Must not know packets, SMTP, or what a
delay means. A device that only relays for a remote operator cannot answer a reply before it has been to the operator
and back, but its TCP acknowledges at once. This shows twice:

- The floor of the turns is higher than that of the path between router and device, which the handshake shows (SYN-ACK
  to ACK). A delay now and then (a name looked up, a slow program, a lost packet) lifts some turns and not the floor.
- The acknowledgement of a reply passes ahead of the answer. Wi-Fi that sleeps can lift all turns of a connection, but
  what the device has to say then comes at once. A TCP that waits for the answer to carry the acknowledgement waits no
  longer than 40 ms (Linux, Windows) to 200 ms (RFC 1122 section 4.2.3.2 permits 500).

What is in doubt makes the difference smaller, never larger: a reply that passes again counts from its last copy, and an
acknowledgement of what passed twice does not measure the path (Karn and Partridge 1987).
"""

from __future__ import annotations

#: Turns that are enough, and without which there is no result: enough, too, for a client that answers at once. A
#: dialogue in clear has 5 before the message is sent, one that begins TLS has 3 up to the ClientHello.
ENOUGH, LEAST = 5, 3
#: Seconds by which an acknowledgement must be ahead of the answer. A device that wakes up sends both at once.
AHEAD_S = 0.015
_NEVER = -1.0


class Turnaround:
    """One connection, from the server's SYN-ACK on, which passed at `time` (seconds).

    turns: how many were seen; ahead: in how many of the first `LEAST` the client's TCP acknowledged separately.
    """

    __slots__ = ("_acknowledged", "_floor", "_once", "_path", "_since", "ahead", "turns")

    def __init__(self, time: float) -> None:
        self.turns = self.ahead = 0
        self._floor = self._path = self._acknowledged = _NEVER
        self._since = time  # what the server has sent last; _NEVER once the client has spoken
        self._once = True  # it has passed once

    def sent(self, time: float, again: bool) -> None:
        """Data of the server passes; again: it has passed before."""
        self._since = time
        self._acknowledged = _NEVER
        self._once = not again

    def acknowledged(self, time: float) -> None:
        """The client acknowledges all that the server has sent, and sends no data."""
        if self._since < 0.0 or self._acknowledged >= 0.0:
            return
        self._acknowledged = time
        delay = max(0.0, time - self._since)
        if self._once and (self._path < 0.0 or delay < self._path):
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
        if self.turns <= LEAST and self._once and self._acknowledged >= 0.0 and time - self._acknowledged >= AHEAD_S:
            self.ahead += 1

    @property
    def enough(self) -> bool:
        """Whether more turns would not matter. The floor only falls, so a low one is known early."""
        if self.turns < LEAST:
            return False
        return self.turns >= ENOUGH or 0.0 <= self._path > self._floor - AHEAD_S

    def spoke(self) -> None:
        """The client sends data that answers nothing, or not all that was sent: what follows is not a turn."""
        self._since = _NEVER

    @property
    def milliseconds(self) -> int | None:
        """The floor of the turns less that of the path; None with too few turns, or if the path was not measured."""
        if self.turns < LEAST or self._path < 0.0:
            return None
        return max(0, round((self._floor - self._path) * 1000.0))
