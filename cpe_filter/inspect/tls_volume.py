"""How much a client sent in TLS: the sequence numbers of a connection's end -> bytes after the ClientHello.

Knows TCP's numbers at the end of a connection (RFC 9293 section 3.6). Must not know TLS or SMTP. Nobody needs to see
what lies between: a FIN carries the number that follows its side's last byte, and acknowledges the other side's. Only
what the kernel queues of a sealed connection counts, FIN and RST, so that live filter and replay find the same.
"""

from __future__ import annotations

_MASK = 0xFFFFFFFF
#: No TCP window is larger (RFC 7323 section 2.3), nor is what a connection to a mail port carries.
_FARTHEST = 0x40000000
#: A client's connection has one end; so many different ones are remembered where somebody forges some.
_ENDS = 4


class Sealed:
    """The client's side from the byte after its ClientHello, which has the sequence number `start`."""

    __slots__ = ("_ends", "_start", "_taken")

    def __init__(self, start: int) -> None:
        self._start = start & _MASK
        self._ends: tuple[int, ...] = ()
        self._taken = -1

    def fin(self, seq: int) -> None:
        """The client's FIN has this sequence number, any payload before it counted in."""
        end = (seq - self._start) & _MASK
        if end <= _FARTHEST and end not in self._ends and len(self._ends) < _ENDS:
            self._ends += (end,)

    def reset(self, seq: int) -> None:
        """A client's RST that carries an ACK, too: it gave up, and this is the sequence number of its next byte.

        Programs end so that close with something unread, as TLS's farewell often is (RFC 1122 section 4.2.2.13). To be
        told of no other: an RST without ACK repeats a number of the server's, and after a FIN there is nothing new.
        """
        if not self._ends:
            self.fin(seq)

    def server_fin(self, ack: int) -> None:
        """The server's FIN acknowledges all before this sequence number. The client's FIN takes a number, too."""
        taken = (ack - self._start) & _MASK
        if taken <= _FARTHEST + 1:
            self._taken = max(self._taken, taken)

    @property
    def size(self) -> int | None:
        """Bytes that the client sent; None where neither side's end was seen, or several of the client's.

        Where the server's FIN was seen it is what the server had taken by then: a client cannot forge that, and the
        farewell that it may send after is left out. Many servers reset the connection instead of waiting for its FIN.
        """
        if self._taken >= 0:
            return self._taken - (self._taken - 1 in self._ends)
        return self._ends[0] if len(self._ends) == 1 else None
