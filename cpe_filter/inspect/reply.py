"""Bytes from a server -> complete replies.

Knows RFC 5321 section 4.2. Must not know what was asked. Bounded: one unfinished line of `LINE` bytes, `LINES` lines.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.inspect.address import hide_local_parts, readable
from cpe_filter.inspect.facts import Reply

#: Longest reply line by RFC 5321 section 4.5.3.1.5, and how much of one is kept.
REPLY_LIMIT, LINE = 512, 2048
#: The usual positive replies, without their text.
_AGREED = {b"%d " % code: Reply(code, str(code)) for code in (220, 221, 250, 251, 252, 354)}
#: How many lines of a reply are kept; the first ones of a longer reply.
LINES = 40

Violate = Callable[[str], None]


class ReplyReader:
    """Assembles lines into replies. `unfinished`: bytes of a line whose end has not come."""

    __slots__ = ("_before", "_code", "_cut", "_local_parts", "_skip", "unfinished")

    def __init__(self, local_parts: bool) -> None:
        self._local_parts = local_parts
        self.unfinished = b""
        self._skip = 0  # bytes of an over-long line that were dropped
        self._code = 0  # the code of an unfinished multi-line reply
        self._before: tuple[str, ...] = ()
        self._cut = False  # the next line may be the end of one that was lost

    @property
    def begun(self) -> bool:
        """Whether anything seen so far concerns what comes next. If not, a new reader can replace this one."""
        return bool(self.unfinished or self._skip or self._code or self._cut)

    def forget(self) -> None:
        """Bytes were lost: drops what was begun."""
        self.unfinished = b""
        self._skip = 0
        self._code = 0
        self._before = ()
        self._cut = True

    def next(self, data: bytes, at: int, violate: Violate, wordless: bool = False) -> tuple[Reply | None, int]:
        """Reads one line from `data[at:]`: the reply that it completes, if any, and where the next line begins.

        wordless: only the code of a positive reply is needed, so its text may be left out.
        """
        end = data.find(b"\n", at)
        if wordless and 0 <= end - at < REPLY_LIMIT and not (self.unfinished or self._code or self._cut):
            # A complete line that belongs to nothing before it: what `_whole` would find is known.
            agreed = _AGREED.get(data[at : at + 4])
            if agreed is not None:
                return agreed, end + 1
        if end < 0:
            room = LINE - len(self.unfinished)
            self.unfinished += data[at : at + room]
            self._skip += max(0, len(data) - at - room)
            return None, len(data)
        line = data[at : end if end - at <= LINE else at + LINE]
        if self.unfinished:
            line = self.unfinished + line
            self.unfinished = b""
        if len(line) + self._skip + 1 > REPLY_LIMIT:
            violate("overlong-reply")
        self._skip = 0
        return self._whole(line.rstrip(b"\r"), violate), end + 1

    def _whole(self, line: bytes, violate: Violate) -> Reply | None:
        cut, self._cut = self._cut, False
        if not (len(line) >= 3 and line[:3].isdigit()):
            if not cut:
                violate("malformed-reply")
            return None
        code, separator = int(line[:3]), line[3:4]
        if self._code and code != self._code:
            violate("reply-code")
        text = readable(line)
        if not self._local_parts and "@" in text:
            text = hide_local_parts(text)
        if separator == b"-":
            self._code = code
            if len(self._before) < LINES:
                self._before += (text[4:],)
            return None
        before, self._before = self._before, ()
        self._code = 0
        if separator not in (b" ", b""):
            violate("malformed-reply")
        if not 200 <= code <= 599:
            violate("reply-code")
        return Reply(code, text, before)
