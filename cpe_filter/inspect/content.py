"""Message content: it is counted and its end is found; only its last four bytes are kept.

Knows RFC 5321 section 4.1.1.4. Must not know what surrounds a message.
"""

from __future__ import annotations


class ContentReader:
    """Looks for the line with a single dot in one message.

    bare_lf: the client ends its commands with a bare LF, so it may end its message with one, too.
    """

    __slots__ = ("_bare_lf", "_tail", "ended_bare", "lost")

    def __init__(self, bare_lf: bool) -> None:
        self._tail = b"\r\n"  # content begins at the start of a line
        self._bare_lf = bare_lf
        #: The message ended with LF.LF.
        self.ended_bare = False
        #: Bytes of this message were not seen.
        self.lost = False

    def forget(self) -> None:
        """Bytes were not seen."""
        self._tail = b""
        self.lost = True

    def end_in(self, data: bytes, at: int) -> tuple[int, int]:
        """Where the message ends in `data[at:]`: the offset behind its terminator (-1 if it goes on), and the size.

        The size is the number of bytes of content, without the terminator's dot and line end. If a terminator is spread
        over segments, a part of it has been counted as content before; the number is then negative and corrects that.
        """
        tail = self._tail
        # The terminator may straddle segments: look at the seam first, then at the segment itself.
        found = (tail + data[at : at + 5]).find(b"\r\n.\r\n")
        if found >= 0:
            end = at + found + 5 - len(tail)
        else:
            found = data.find(b"\r\n.\r\n", at)
            end = found + 5 if found >= 0 else -1
        dot = 3
        self.ended_bare = False
        if self._bare_lf:
            found = (tail + data[at : end if end >= 0 else None]).find(b"\n.\n")
            if found >= 0:
                end = at + found + 3 - len(tail)
                dot = 2
                self.ended_bare = True
        if end < 0:
            self._tail = (tail + data[at:])[-4:] if len(data) - at < 4 else data[-4:]
            return -1, len(data) - at
        return end, end - at - dot


#: In place of a reader while no content is being sent.
NO_CONTENT = ContentReader(False)
