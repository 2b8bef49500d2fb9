"""How much a client sent in TLS: the sequence numbers of a connection's end -> bytes after the ClientHello.

Knows TCP's numbers at the end of a connection (RFC 9293 section 3.6). Must not know TLS or SMTP. The packets in between
need not be seen: a FIN carries the number that follows its side's last byte, and acknowledges the other side's. For a
connection in TLS only FIN and RST count, which the kernel shows, so that live filter and replay find the same.
"""

from __future__ import annotations

_MASK = 0xFFFFFFFF
#: No TCP window is larger (RFC 7323 section 2.3), and no connection to a mail port carries more.
_FARTHEST = 0x40000000
#: A client's connection has one end. So many different ones are remembered, in case some are forged.
_ENDS = 4


class TlsVolume:
    """The client's side from the byte after its ClientHello, which has the sequence number `start`."""

    __slots__ = ("_ends", "_start", "_taken")

    def __init__(self, start: int) -> None:
        self._start = start & _MASK
        self._ends: tuple[int, ...] = ()
        self._taken = -1

    def fin(self, seq: int) -> None:
        """The client's FIN has this sequence number, after any payload of its segment."""
        end = (seq - self._start) & _MASK
        if end <= _FARTHEST and end not in self._ends and len(self._ends) < _ENDS:
            self._ends += (end,)

    def reset(self, seq: int) -> None:
        """A client's RST with an ACK: the client gave up, and this is the sequence number of its next byte.

        A program that closes with unread data ends like this (RFC 1122 section 4.2.2.13); TLS's close_notify is often
        unread. Do not call it for other RSTs: one without ACK repeats a number of the server's, and after a FIN there
        is nothing new.
        """
        if not self._ends:
            self.fin(seq)

    def server_fin(self, ack: int) -> None:
        """The server's FIN acknowledges everything before this number. The client's FIN takes a number, too."""
        taken = (ack - self._start) & _MASK
        if taken <= _FARTHEST + 1:
            self._taken = max(self._taken, taken)

    @property
    def size(self) -> int | None:
        """Bytes that the client sent; None if neither side's end was seen, or several of the client's.

        If the server's FIN was seen, it is what the server had acknowledged by then. A client cannot forge that, and
        a close_notify that it sends afterwards is left out. Many servers reset the connection instead of waiting for
        the client's FIN.
        """
        if self._taken >= 0:
            return self._taken - (self._taken - 1 in self._ends)
        return self._ends[0] if len(self._ends) == 1 else None
