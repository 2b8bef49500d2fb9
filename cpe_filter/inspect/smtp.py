"""An SMTP dialogue, watched from the middle: client and server bytes in, facts and events out.

Knows RFC 5321 with PIPELINING (2920), CHUNKING (3030), STARTTLS (3207), AUTH (4954), SMTPUTF8 (6531). Must
not know packets, time, policy, or what is good or bad. Sans-I/O: whoever holds bytes calls `client` and
`server` in the order in which they passed.

The theory. An observer sees what both sides see, a little earlier or later. Commands wait in `_waiting` until
their reply comes; **only the reply changes the envelope**, through the table `EFFECTS`. Some commands decide
by their reply how the client's next bytes must be read (`TURNS`: DATA, STARTTLS, AUTH): behind one of these
the client's bytes are held, unread, until the reply is known. Where the server's side is not seen at
all, each command counts as agreed to, and behind a command that decides the client's next line tells what the reply
was (`_guess`). After lost bytes both sides are read on from the next line that makes sense, and what only whole
knowledge could show (order, replies to nothing) is no longer held against anybody. Content that follows a refused
DATA may be answered line by line; these replies have a place of their own in `_waiting` ("stray"). Message content
is counted and passes; no byte of it is kept. What a client's bytes are read as:

    COMMAND ──DATA 354──► CONTENT ──CRLF.CRLF──► COMMAND        DATA refused, message sent anyway:
       │  ▲                                                      COMMAND ──► REFUSED ──line "."──► COMMAND
       │  └──n bytes── CHUNK ◄──BDAT n                           DATA, STARTTLS, AUTH sent: HELD until the reply
       ├──AUTH 334──► SECRET (one line) ──334──► SECRET …
       ├──STARTTLS 220──► HANDSHAKE ──TLS record──► OPAQUE (for good); anything else: COMMAND, in the clear
       └──no SMTP at all──► OPAQUE

Bounds, per dialogue, whatever is sent: `LINE` bytes of an unfinished line a side, `HELD_BYTES` held, and the
counts in `Limits`. What exceeds them makes the dialogue opaque with a reason, or is counted and not kept.
"""

from __future__ import annotations

from typing import NamedTuple

from cpe_filter.inspect import tls
from cpe_filter.inspect.address import BARE, NULL_SENDER, SPACED, hide_local_parts, parse_path, readable
from cpe_filter.inspect.tls import HANDSHAKE_RECORD

#: Longest line kept, bytes. RFC 5321 allows 512 for commands and replies; extensions add to MAIL and RCPT
#: (RFC 6531: 10 + 10, RFC 3461: 500, RFC 4954: 500) and AUTH has 12288, of which nothing is kept.
LINE = 2048
COMMAND_LIMIT, REPLY_LIMIT, AUTH_LIMIT = 512, 512, 12288
HELD_BYTES = 8192
#: So many lines that are no commands, and none that is: not SMTP.
_NOT_SMTP_AFTER = 8
_NOBODY_COUNTED = 1 << 30  # for how many lines of content there may be replies, where they were not told apart


#: What a command that waits takes besides its text, bytes.
_WAITING_COST = 120


class Limits(NamedTuple):
    """How much one dialogue may keep. The defaults are the router's; replay of a file allows more."""

    waiting: int = 1000  # commands that wait for a reply
    waiting_bytes: int = 65536  # what these take, `_WAITING_COST` for each and its text
    transactions: int = 8  # kept with their envelope; the counts go on
    recipients: int = 100  # kept by name for each transaction; the counts go on
    local_parts: bool = False  # keep whole addresses (a file's owner asked for it)


# How the client's next bytes are read.
COMMAND, HELD, CONTENT, CHUNK, SECRET, REFUSED, HANDSHAKE, OPAQUE = (
    "command",
    "held",
    "content",
    "chunk",
    "secret",
    "refused",
    "handshake",
    "opaque",
)

# What the server has agreed to so far.
NEW, READY, MAIL, RCPT = "new", "ready", "mail", "rcpt"
_ANY = (NEW, READY, MAIL, RCPT)

#: The table of states. verb -> (states in which the client may send it, what a positive reply does).
EFFECTS: dict[str, tuple[tuple[str, ...], str]] = {
    "HELO": (_ANY, "greet"),
    "EHLO": (_ANY, "greet"),
    "MAIL": ((NEW, READY), "begin"),
    "RCPT": ((MAIL, RCPT), "recipient"),
    "DATA": ((RCPT,), "content"),
    "BDAT": ((RCPT,), "chunk"),
    "RSET": (_ANY, "reset"),
    "STARTTLS": ((NEW, READY), "tls"),
    "AUTH": ((NEW, READY), "auth"),
    "QUIT": (_ANY, "quit"),
    "VRFY": (_ANY, ""),
    "EXPN": (_ANY, ""),
    "HELP": (_ANY, ""),
    "NOOP": (_ANY, ""),
    "ETRN": (_ANY, ""),
    "XCLIENT": (_ANY, ""),
    "XFORWARD": (_ANY, ""),
}
#: Commands whose reply decides how the client's next bytes are to be read.
TURNS = frozenset(("DATA", "STARTTLS", "AUTH", "auth-line"))

_VERBS = {verb.encode(): verb for verb in EFFECTS}
#: Replies that only these commands get.
_ANSWERED_BY = {
    354: ("DATA",),
    221: ("QUIT",),
    334: ("AUTH", "auth-line"),
    235: ("AUTH", "auth-line"),
}
_LONGER_LINES = {"MAIL": LINE, "RCPT": LINE, "AUTH": AUTH_LIMIT}


def _is_command(line: bytes) -> bool:
    """Whether a line, or its beginning, starts with a known verb."""
    word = line[:12].split(None, 1)[:1]
    return bool(word) and word[0].upper() in _VERBS


def _is_no_content(line: bytes) -> bool:
    """Whether a line is a command that hardly stands in a message: content that was expected is not being sent."""
    upper = line[:10].upper()
    return upper in (b"QUIT", b"RSET") or upper.startswith((b"MAIL FROM:", b"EHLO ", b"HELO "))


class Reply(NamedTuple):
    """A whole reply. `text` is its last line, code included, without local-parts unless allowed."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        """2yz or 3yz."""
        return 200 <= self.code < 400


class Event(NamedTuple):
    """Something happened that judgement may want.

    kind       name             reply             number
    greeting   -                the banner        -
    hello      HELO name        its reply or None 1 for EHLO
    sender     address/domain   reply or None     -
    recipient  address/domain   reply or None     -
    message    sender           final reply/None  bytes of content
    tls        -                its reply         -
    reply      verb             any other reply   -
    quit       -                -                 -
    violation  its name         -                 -
    quirk      its name         -                 -
    opaque     why              -                 -
    """

    kind: str
    name: str = ""
    reply: Reply | None = None
    number: int = 0


class Transaction:
    """An attempt to send one message: opened by MAIL, or by DATA or BDAT that came without it.

    `mail_from` is None in the latter case. `outcome` is accepted, rejected, aborted or open; `size` the bytes of
    content as sent (dots not unstuffed, the final `.` not counted).
    """

    __slots__ = ("accepted", "content_sent", "mail_from", "outcome", "rcpt_to", "recipients", "refused", "size")

    def __init__(self, mail_from: str | None) -> None:
        self.mail_from = mail_from
        self.rcpt_to: list[str] = []
        self.recipients = 0  # RCPT commands answered either way
        self.accepted = 0  # of these, answered 2yz
        self.outcome = "open"
        self.size = 0
        self.content_sent = False
        self.refused = False  # MAIL, DATA or content answered 4yz or 5yz

    def end(self) -> None:
        """The attempt is over without a final reply to its content."""
        if self.outcome == "open":
            rejected = self.refused or (self.recipients and not self.accepted)
            self.outcome = "rejected" if rejected else "aborted"


class _Waiting(NamedTuple):
    verb: str
    name: str = ""
    size: int = 0
    last: bool = False


class Dialogue:
    """One SMTP conversation. Feed it with `client`, `server`, `client_gap`, `server_gap`, end with `close`.

    `last_reply` is the last to anything but QUIT: a 221 would say nothing.
    Facts are attributes; events collect in `events`, which the caller empties.
    """

    __slots__ = (
        "_assumed",
        "_bad_lines",
        "_bare_lf",
        "_chunk_left",
        "_client_line",
        "_client_lost",
        "_client_skip",
        "_data_refused",
        "_guessed",
        "_held",
        "_hello_sent",
        "_limits",
        "_lost_replies",
        "_orphan",
        "_reply_code",
        "_server_line",
        "_server_cut",
        "_server_skip",
        "_tail",
        "_transaction",
        "_unseen",
        "_waiting",
        "_waiting_bytes",
        "authenticated",
        "client_hello",
        "commands",
        "ehlo",
        "events",
        "extensions",
        "greeted",
        "helo",
        "last_reply",
        "messages",
        "mode",
        "opaque_reason",
        "quirks",
        "quit_sent",
        "recipients",
        "server_seen",
        "state",
        "tls",
        "transaction_count",
        "transactions",
        "violations",
    )

    def __init__(self, limits: Limits = Limits(), greeting_expected: bool = True) -> None:  # noqa: B008
        self._limits = limits
        self.mode = COMMAND
        self.state = NEW
        self.events: list[Event] = []
        self.violations: list[str] = []
        self.quirks: set[str] = set()
        self.helo: str | None = None
        self.ehlo = False
        self.extensions: set[str] = set()
        self.greeted = not greeting_expected
        self.last_reply: Reply | None = None
        self.tls = False
        self.client_hello: tls.ClientHello | None = None
        self.authenticated = False
        self.quit_sent = False
        self.opaque_reason = ""
        self.server_seen = False
        self.transactions: list[Transaction] = []
        self.transaction_count = 0
        self.messages = 0  # accepted ones
        self.recipients = 0
        self.commands = 0
        self._transaction: Transaction | None = None
        self._orphan = False
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        if greeting_expected:
            self._wait_for(_Waiting("connect"))
        self._client_line = b""
        self._client_skip = 0  # bytes of an over-long line thrown away
        self._client_lost = False
        self._server_line = b""
        self._server_skip = 0
        self._server_cut = False  # the next line may be the end of one that was lost
        self._lost_replies = 0  # how many of `_waiting` may have been answered unseen
        self._reply_code = 0
        self._held = b""
        self._guessed = False
        self._tail = b"\r\n"
        self._chunk_left = 0
        self._bad_lines = 0
        self._bare_lf = False
        self._data_refused = False
        self._hello_sent = False
        self._assumed = False  # some command was taken as agreed to, its reply unseen
        self._unseen = not greeting_expected  # something may have been said that was not seen

    @property
    def buffered(self) -> int:
        """Bytes that are kept: unfinished lines, what is held, and commands that wait for a reply."""
        return len(self._client_line) + len(self._server_line) + len(self._held) + self._waiting_bytes

    # ── what came from the client ───────────────────────────────────────────────────────────────

    def client(self, data: bytes) -> None:
        """Bytes from the client, in order."""
        at = 0
        while at < len(data):
            mode = self.mode
            if mode == COMMAND and data[at] == HANDSHAKE_RECORD and not (self.commands or self._client_line):
                self.mode = HANDSHAKE  # TLS from the first byte, as on port 465
            elif mode == COMMAND or mode == SECRET or mode == REFUSED:
                at = self._client_line_at(data, at)
            elif mode == CONTENT:
                at = self._content(data, at)
            elif mode == CHUNK:
                at = self._chunk(data, at)
            elif mode == HELD:
                at = self._hold(data, at)
            elif mode == HANDSHAKE:
                at = self._handshake(data, at)
            else:
                return

    def client_gap(self, size: int) -> None:
        """`size` bytes from the client were not seen."""
        if self.mode == OPAQUE:
            return
        if self.mode == CONTENT:
            self._count_content(size)
            self._tail = b""
            return
        if self.mode == HANDSHAKE:
            self.become_opaque("tls")
            return
        if self.mode == CHUNK:
            taken = min(size, self._chunk_left)
            self._chunk_left -= taken
            size -= taken
            if not self._chunk_left:
                self.mode = COMMAND
            if not size:
                return
        if self.mode == HELD:
            # What was held is no use without what followed; the reply will still say how to go on.
            self._held = b""
        self.violate("lost-data")
        self._unseen = True
        self._client_line = b""
        self._client_skip = 0
        self._client_lost = True

    def _client_line_at(self, data: bytes, at: int) -> int:
        """Takes one line from `data[at:]`; returns where the next begins."""
        end = data.find(b"\n", at)
        stop = end if end >= 0 else len(data)
        room = LINE - len(self._client_line)
        line = self._client_line + data[at : min(stop, at + room)]
        skipped = self._client_skip + max(0, stop - at - room)
        if stop - at > room:
            # The last byte tells whether a line ends with CR, so it takes the last place of what is kept.
            line = line[:-1] + data[stop - 1 : stop]
        if end < 0:
            self._client_line, self._client_skip = line, skipped
            return stop
        self._client_line, self._client_skip = b"", 0
        total = len(line) + skipped
        bare = not line.endswith(b"\r")
        line = line.rstrip(b"\r")
        if self._client_lost:
            # Segments nearly always begin at a line: trust it if it looks like a command.
            self._client_lost = False
            if self.mode == COMMAND and not _is_command(line):
                return end + 1
        if self.mode == SECRET:
            if total > AUTH_LIMIT:
                self.violate("overlong-command")
            self._sent("auth-line")
        elif self.mode == COMMAND or self._leaves_refused(line):
            self._command(line, bare, total + 1)
        return end + 1

    def _leaves_refused(self, line: bytes) -> bool:
        """Content is being sent although DATA was refused: is this line a command again?"""
        if _is_no_content(line):
            self.mode = COMMAND
            return True
        if line == b".":
            self.mode = COMMAND
        if self._data_refused:
            self._stray()
        return False

    def _stray(self, lines: int = 1) -> None:
        """The server may take `lines` of content for commands and answer each of them."""
        waiting = self._waiting
        if waiting and waiting[-1].verb == "stray":
            lines += self._take(-1).size
        self._wait_for(_Waiting("stray", size=lines))

    def _command(self, line: bytes, bare: bool, total: int) -> None:
        text = line.lstrip(b" \t")
        word = text.partition(b" ")[0]
        verb = _VERBS.get(word.strip().upper(), "") if len(word) < 12 else ""
        rest = text[len(word) :]
        if not verb:
            upper = text[:9].upper()
            if upper.startswith((b"MAILFROM", b"RCPTTO")):  # the space forgotten
                verb = upper[:4].decode()
                rest = text[4:]
            elif b"\t" in word or b":" in word:
                word = text.replace(b":", b"\t", 1).split(b"\t", 1)[0]
                verb = _VERBS.get(word.upper(), "") if len(word) < 12 else ""
                rest = text[len(word) :]
        if not verb and self._not_a_command(line):
            return
        self.commands += bool(verb)
        if bare:
            self._bare_lf = True
            self.violate("bare-lf")
        if total > _LONGER_LINES.get(verb, COMMAND_LIMIT):
            self.violate("overlong-command")
        if verb:
            self._note_quirks(line, text[: len(verb)], verb)
        if self.quit_sent:
            self.violate("data-after-quit")
        if self._lost_replies:
            self._give_up_waiting()
        if not self.server_seen:
            pass
        elif not self.greeted:
            self.violate("early-talk")
        elif self._waiting and self._waiting[-1].verb != "stray" and "PIPELINING" not in self.extensions:
            self.violate("blind-pipelining")
        if not verb:
            self.violate("unknown-command")
            self._sent("unknown")
            return
        self._data_refused = False
        if self.state not in EFFECTS[verb][0] and not (self._waiting or self._unseen or self._assumed):
            self.violate("wrong-order")
        if verb == "MAIL" or verb == "RCPT":
            name, form, _ = parse_path(rest, b"FROM" if verb == "MAIL" else b"TO", self._limits.local_parts)
            if form == BARE:
                self.violate("bad-path")
            elif form == SPACED:
                self._quirk("path-spaced")
            if verb == "MAIL" and not (self._hello_sent or self._unseen):
                self.violate("no-hello")
            self._sent(verb, name)
        elif verb == "HELO" or verb == "EHLO":
            name = readable(rest.strip())
            self._hello_sent = True
            if not name:
                self.violate("empty-hello")
            self._sent(verb, name)
        elif verb == "BDAT":
            self._bdat(rest)
        else:
            if verb == "QUIT":
                self.quit_sent = True
                self.events.append(Event("quit"))
            self._sent(verb)

    def _note_quirks(self, line: bytes, word: bytes, verb: str) -> None:
        if line[:1] in b" \t":
            self._quirk("leading-space")
        if word != verb.encode():
            self._quirk("lower-case" if word.islower() else "mixed-case")

    def _not_a_command(self, line: bytes) -> bool:
        """Handles lines that are no commands for a reason; False if it is just an unknown one."""
        if not self.commands and any(b < 9 or b > 126 for b in line[:32]):
            self.become_opaque("not-smtp")
            return True
        if self._data_refused:
            # DATA was refused and here comes the message all the same.
            self.violate("content-after-refusal")
            self._stray()
            if line != b".":
                self.mode = REFUSED
            return True
        self._bad_lines += 1
        if self._bad_lines >= _NOT_SMTP_AFTER and self._bad_lines > self.commands:
            self.become_opaque("not-smtp")
            return True
        return False

    def _bdat(self, rest: bytes) -> None:
        words = rest.split()
        last = len(words) == 2 and words[1].upper() == b"LAST"
        # RFC 3030: chunk-size = 1*DIGIT. 10 digits exceed any message; int() of a huge one would not be linear.
        if (
            not words
            or len(words) > 2
            or (len(words) == 2 and not last)
            or not words[0].isdigit()
            or len(words[0]) > 10
        ):
            self.violate("bad-chunk")
            self._sent("unknown")
            return
        size = int(words[0])
        self._sent("BDAT", size=size, last=last)
        if size and self.mode == COMMAND:
            self._chunk_left = size
            self.mode = CHUNK

    def _sent(self, verb: str, name: str = "", size: int = 0, last: bool = False) -> None:
        """A command has gone out: it waits for its reply, or is settled at once where no server is seen."""
        item = _Waiting(verb, name, size, last)
        if not self.server_seen:
            self._assumed = True
            if verb in TURNS:
                self.mode = HELD
                self._wait_for(item)
            else:
                self._settle(item, None)
            return
        self._wait_for(item)
        if len(self._waiting) > self._limits.waiting or self._waiting_bytes > self._limits.waiting_bytes:
            self.become_opaque("too-many-commands")
        elif verb in TURNS:
            self.mode = HELD

    def _wait_for(self, item: _Waiting) -> None:
        self._waiting.append(item)
        self._waiting_bytes += len(item.name) + _WAITING_COST

    def _take(self, index: int = 0) -> _Waiting:
        """The command that has waited longest (or the last, -1), no longer waiting."""
        item = self._waiting.pop(index)
        self._waiting_bytes -= len(item.name) + _WAITING_COST
        return item

    def _hold(self, data: bytes, at: int) -> int:
        """The client went on although its next bytes depend on a reply."""
        verb = self._waiting[-1].verb if self._waiting else ""
        if not self.server_seen or self._lost_replies:
            return self._guess(verb, data, at)
        if verb == "DATA" and not self._client_lost:
            self.violate("early-content")
        room = HELD_BYTES - len(self._held)
        self._held += data[at : at + room]
        if len(data) - at <= room:
            return len(data)
        if verb != "DATA":
            self.become_opaque("too-much-held")
            return len(data)
        # No reply for so long: read it as content; the reply will tell whether that was right.
        self._guessed = True
        self._start_content()
        self._release()
        return at + room

    def _guess(self, verb: str, data: bytes, at: int) -> int:
        """The reply on which all depends was not seen: the client's next line tells what it was."""
        end = data.find(b"\n", at) + 1 or len(data)
        self._held += data[at:end]
        tls_follows = self._held[0] == HANDSHAKE_RECORD
        if not (self._held.endswith(b"\n") or tls_follows) and len(self._held) < HELD_BYTES:
            return end
        while len(self._waiting) > 1:
            self._settle(self._take(), None)
        self._lost_replies = 0
        item = self._take() if self._waiting else _Waiting("")
        self.mode = COMMAND
        if verb == "STARTTLS":
            self._settle(item, None)
        elif verb in ("AUTH", "auth-line"):
            if not _is_command(self._held):
                self.mode = SECRET
        elif verb == "DATA" and not _is_no_content(self._held.rstrip(b"\r\n")):
            self._settle(item, None)
        self._release()
        return end

    def _handshake(self, data: bytes, at: int) -> int:
        """Collects the ClientHello, for the name and the fingerprint it holds; from there on all is opaque."""
        if not self._held and data[at] != HANDSHAKE_RECORD:  # only after STARTTLS
            self._goes_on_in_the_clear()
            return at
        self._held += data[at : at + tls.LONGEST - len(self._held)]
        try:
            self.client_hello = tls.client_hello(self._held)
        except tls.NotTLS:
            self.become_opaque("tls" if self.tls else "not-smtp")
            return len(data)
        if self.client_hello or len(self._held) >= tls.LONGEST:
            self.become_opaque("tls")
        return len(data)

    def _goes_on_in_the_clear(self) -> None:
        """STARTTLS was agreed to and no TLS came: a decrypted capture, or a pretence. All begins anew (RFC 3207)."""
        self.mode = COMMAND
        self._end_transaction()
        self.state = NEW
        self._hello_sent = False
        self.extensions.clear()

    def _release(self) -> None:
        """The awaited reply has come: read what was held."""
        held, self._held = self._held, b""
        if held:
            self.client(held)

    # ── message content ─────────────────────────────────────────────────────────────────────────

    def _start_content(self) -> None:
        self.mode = CONTENT
        self._tail = b"\r\n"

    def _count_content(self, size: int) -> None:
        if self._transaction is not None:
            self._transaction.size += size

    def _content(self, data: bytes, at: int) -> int:
        """Counts content up to the line with a dot alone; returns where what follows it begins."""
        tail = self._tail
        # The terminator may straddle segments: look at the seam first, then at the segment itself.
        found = (tail + data[at : at + 5]).find(b"\r\n.\r\n")
        if found >= 0:
            end = at + found + 5 - len(tail)
        else:
            found = data.find(b"\r\n.\r\n", at)
            end = found + 5 if found >= 0 else -1
        dot = 3
        if self._bare_lf:
            # A client that ends its commands with a bare LF ends its message so, too.
            found = (tail + data[at : end if end >= 0 else None]).find(b"\n.\n")
            if found >= 0:
                end = at + found + 3 - len(tail)
                dot = 2
                self.violate("bare-lf-dot")
        if end < 0:
            self._count_content(len(data) - at)
            self._tail = (tail + data[at:])[-4:] if len(data) - at < 4 else data[-4:]
            return len(data)
        self._count_content(end - at - dot)
        self._end_content()
        return end

    def _end_content(self) -> None:
        self.mode = COMMAND
        transaction = self._transaction
        if transaction is not None:
            transaction.size = max(0, transaction.size)
            transaction.content_sent = True
        self._sent("content")

    def _chunk(self, data: bytes, at: int) -> int:
        taken = min(len(data) - at, self._chunk_left)
        self._chunk_left -= taken
        if not self._chunk_left:
            self.mode = COMMAND
        return at + taken

    # ── what came from the server ───────────────────────────────────────────────────────────────

    def server(self, data: bytes) -> None:
        """Bytes from the server, in order."""
        self.server_seen = True
        if self.mode == OPAQUE:
            return
        start = 0
        while self.mode != OPAQUE:
            end = data.find(b"\n", start)
            if end < 0:
                rest = data[start:]
                room = LINE - len(self._server_line)
                self._server_line += rest[:room]
                self._server_skip += max(0, len(rest) - room)
                return
            line = self._server_line + data[start : min(end, start + LINE)]
            if len(line) + self._server_skip + 1 > REPLY_LIMIT:
                self.violate("overlong-reply")
            self._server_line = b""
            self._server_skip = 0
            start = end + 1
            self._reply_line(line.rstrip(b"\r"))
            if start >= len(data):
                return

    def server_gap(self, size: int) -> None:
        """`size` bytes from the server were not seen."""
        self.server_seen = True
        if self.mode == OPAQUE or not size:
            return
        self.violate("lost-data")
        self._unseen = True
        self._server_line = b""
        self._server_skip = 0
        self._reply_code = 0
        self._server_cut = True
        # Only what waits now can have been answered there.
        self._lost_replies = len(self._waiting)

    def _reply_line(self, line: bytes) -> None:
        digits = line[:3]
        if not (len(digits) == 3 and digits.isdigit()):
            if not self._server_cut:
                self.violate("malformed-reply")
            self._server_cut = False
            return
        self._server_cut = False
        code = int(digits)
        sep = line[3:4]
        if self._reply_code and code != self._reply_code:
            self.violate("reply-code")
        self._extension(line, code)
        if sep == b"-":
            self._reply_code = code
            return
        self._reply_code = 0
        if sep not in (b" ", b""):
            self.violate("malformed-reply")
        if not 200 <= code <= 599:
            self.violate("reply-code")
        text = readable(line)
        self._reply(Reply(code, text if self._limits.local_parts else hide_local_parts(text)))

    def _extension(self, line: bytes, code: int) -> None:
        """A line of EHLO's reply after the first names an extension (RFC 5321 section 4.1.1.1)."""
        if not 200 <= code <= 299:
            return
        for item in self._waiting[:2]:
            if item.verb == "EHLO" or item.verb == "HELO":
                if not self._reply_code:
                    self.extensions.clear()  # a new list takes the place of the old
                elif item.verb == "EHLO" and len(self.extensions) < 32:
                    word = line[4:].split(None, 1)[:1]
                    if word:
                        self.extensions.add(readable(word[0][:20].upper()))
                return
            if item.verb != "connect":
                return

    def _reply(self, reply: Reply) -> None:
        waiting = self._waiting
        if (
            len(waiting) > 1
            and waiting[0].verb == "connect"
            and not self._lost_replies
            and 200 <= reply.code < 400
            and reply.code != 220
        ):
            self.violate("no-greeting")
            self._take()
            self.greeted = True
        if self._lost_replies:
            self._resynchronise(reply)
        if waiting and waiting[0].verb == "stray" and reply.code < 500:
            self._take()  # a line of content that was taken for a command can only have been refused
        early = False
        # A 421 says that the connection ends (RFC 5321 section 3.8), nothing about a message that is under way.
        if not waiting and self.mode == CONTENT and self._transaction is not None and reply.code != 421:
            # The server saw the end of the message where we did not (bytes lost, or an end it is lenient about),
            # or has heard enough and the rest is still to come.
            self._end_content()
            self._unseen = True
            early = not reply.positive
        elif not waiting and self.mode == SECRET:
            self._wait_for(_Waiting("auth-line"))  # what this answers was not seen
        elif not waiting or self._answers_unseen(waiting[0], reply):
            self._unasked(reply)
            return
        item = self._take()
        if item.verb == "stray" and item.size > 1:
            self._waiting.insert(0, item._replace(size=item.size - 1))
            self._waiting_bytes += _WAITING_COST
        if item.verb != "QUIT":
            self.last_reply = reply
        self._settle(item, reply)
        if early:
            self.mode = REFUSED
        if item.verb in TURNS:
            if self.mode == HELD:
                self.mode = COMMAND
            self._release()

    def _answers_unseen(self, item: _Waiting, reply: Reply) -> bool:
        """Where client bytes were lost, agreement with what is no answer to DATA answers a command in the gap."""
        return self._unseen and item.verb == "DATA" and 200 <= reply.code <= 299

    def _unasked(self, reply: Reply) -> None:
        if reply.code == 354:
            self._effect_content(None)  # the DATA that this answers was not seen
            return
        if self._unseen and reply.code == 221:
            self.quit_sent = True  # nothing else is answered so
        if not (self._unseen or self._assumed or self.quit_sent or reply.code == 421):
            self.violate("unasked-reply")
        if not self.quit_sent:
            self.last_reply = reply
        self.events.append(Event("reply", "", reply))

    def _resynchronise(self, reply: Reply) -> None:
        """Replies were lost: find the command that this one answers, drop those before it as unanswered."""
        waiting, self._lost_replies = min(self._lost_replies, len(self._waiting)), 0
        wanted = _ANSWERED_BY.get(reply.code, ())
        agreed_to = [item.verb in wanted for item in self._waiting]
        if any(agreed_to):
            index = agreed_to.index(True)
        else:
            # The last that can be meant: agreement with these has a code of its own.
            index = waiting - 1
            while index > 0 and reply.positive and self._waiting[index].verb in ("DATA", "AUTH", "auth-line", "QUIT"):
                index -= 1
        for _ in range(max(0, index)):
            item = self._take()
            self._settle(item, None)

    def _give_up_waiting(self) -> None:
        """The client goes on, so what it waited for has been answered, unseen."""
        for _ in range(min(self._lost_replies, len(self._waiting))):
            item = self._take()
            self._settle(item, None)
        self._lost_replies = 0

    # ── what a reply does ───────────────────────────────────────────────────────────────────────

    def _settle(self, item: _Waiting, reply: Reply | None) -> None:
        """Applies one command with its reply; None means the reply was not seen, and counts as agreement."""
        verb = item.verb
        agreed = reply is None or reply.positive
        if verb == "connect":
            self.greeted = True
            self.events.append(Event("greeting", "", reply))
        elif verb == "unknown" and reply is not None and reply.code == 354:
            self._effect_content(None)  # the server has taken for DATA what we could not read
        elif verb == "stray":
            self.events.append(Event("reply", "unknown", reply))
        elif verb == "content":
            self._finish(reply)
        elif verb in ("AUTH", "auth-line"):
            self._effect_auth(reply)
        elif verb in ("MAIL", "RCPT", "DATA", "BDAT"):
            self._envelope(item, reply, agreed)
        elif verb in ("HELO", "EHLO"):
            if agreed:
                self._end_transaction()
                self.state = READY
            if agreed or self.helo is None:
                self.helo = item.name
                self.ehlo = verb == "EHLO"
            self.events.append(Event("hello", item.name, reply, int(verb == "EHLO")))
        elif verb == "RSET" and agreed:
            self._end_transaction()
            if self.state != NEW:
                self.state = READY
            self.events.append(Event("reply", verb, reply))
        elif verb == "STARTTLS" and agreed and (reply or self._held[:1] == bytes((HANDSHAKE_RECORD,))):
            if self._held and self._held[0] != HANDSHAKE_RECORD:
                self.violate("data-before-tls")
            self.tls = True
            self.mode = HANDSHAKE
            self.events.append(Event("tls", "", reply))
        else:
            self.events.append(Event("reply", verb, reply))

    def _envelope(self, item: _Waiting, reply: Reply | None, agreed: bool) -> None:
        verb = item.verb
        open_ = self._transaction is not None
        if verb == "MAIL":
            if agreed or not open_ or self.state == READY:
                # A refused MAIL inside a transaction is a nested one and leaves it as it is.
                self._end_transaction()
                self._open(item.name)
                if agreed:
                    self.state = MAIL
                elif self._transaction is not None:
                    self._transaction.refused = True
            self.events.append(Event("sender", item.name, reply))
        elif verb == "RCPT":
            transaction = self._transaction
            if transaction is None and agreed:
                transaction = self._open(None)
            if transaction is not None:
                transaction.recipients += 1
                transaction.accepted += agreed
                if len(transaction.rcpt_to) < self._limits.recipients:
                    transaction.rcpt_to.append(item.name)
            if agreed:
                self.state = RCPT
            self.recipients += 1
            self.events.append(Event("recipient", item.name, reply))
        elif verb == "DATA":
            if agreed:
                self._effect_content(reply)
            else:
                self._refused_content(reply)
        else:
            self._effect_chunk(item, reply, agreed)

    def _effect_content(self, reply: Reply | None) -> None:
        if self._transaction is None:
            self._open(None)
        if reply is not None and reply.code != 354:
            self.violate("reply-code")
        if not self._guessed:
            self._start_content()
        self._guessed = False

    def _refused_content(self, reply: Reply | None) -> None:
        transaction = self._transaction
        self._data_refused = True
        if transaction is None:
            self._open_refused()
        else:
            transaction.refused = True
        if self._guessed:
            self._guessed = False
            self.violate("content-after-refusal")
            if transaction is not None:
                transaction.size = 0
            for _ in range(len(self._waiting)):
                item = self._take()
                self._wait_for(item if item.verb != "content" else _Waiting("stray", size=_NOBODY_COUNTED))
            if self.mode == CONTENT:
                self.mode = REFUSED
                self._stray(_NOBODY_COUNTED)
        self.events.append(Event("reply", "DATA", reply))

    def _open_refused(self) -> None:
        """DATA or BDAT without a transaction, refused: an attempt, counted once until the next HELO, MAIL or RSET."""
        if not self._orphan:
            self._orphan = True
            self._open(None).refused = True
            self._end_transaction()
            self._orphan = True

    def _effect_chunk(self, item: _Waiting, reply: Reply | None, agreed: bool) -> None:
        transaction = self._transaction
        if transaction is None:
            if not agreed:
                self._open_refused()
                self.events.append(Event("reply", "BDAT", reply))
                return
            transaction = self._open(None)
        transaction.size += item.size
        if item.last:
            transaction.content_sent = True
            self._finish(reply)
        elif not agreed:
            transaction.refused = True
            self.events.append(Event("reply", "BDAT", reply))

    def _effect_auth(self, reply: Reply | None) -> None:
        if reply is not None and reply.code == 334:
            self.mode = SECRET
            return
        if self.mode == HELD or self.mode == SECRET:
            self.mode = COMMAND
        if reply is not None and reply.positive:
            self.authenticated = True
        self.events.append(Event("reply", "AUTH", reply))

    def _open(self, mail_from: str | None) -> Transaction:
        transaction = Transaction(mail_from)
        self._transaction = transaction
        self.transaction_count += 1
        if len(self.transactions) < self._limits.transactions:
            self.transactions.append(transaction)
        return transaction

    def _end_transaction(self) -> None:
        self._orphan = False
        if self._transaction is not None:
            self._transaction.end()
            self._transaction = None
        if self.state != NEW:
            self.state = READY

    def _finish(self, reply: Reply | None) -> None:
        """The final reply to a message (RFC 5321 section 4.1.1.4)."""
        transaction = self._transaction
        sender, size = NULL_SENDER, 0
        if transaction is not None:
            sender, size = transaction.mail_from or NULL_SENDER, transaction.size
            if reply is not None:
                transaction.outcome = "accepted" if reply.positive else "rejected"
                self.messages += reply.positive
            self._transaction = None
        if self.state != NEW:
            self.state = READY
        self.events.append(Event("message", sender, reply, size))

    # ── the rest ────────────────────────────────────────────────────────────────────────────────

    def violate(self, name: str) -> None:
        """Records a violation, once a dialogue."""
        if name not in self.violations:
            self.violations.append(name)
            self.events.append(Event("violation", name))

    def _quirk(self, name: str) -> None:
        """A way of writing that is allowed, or nearly so, and tells programs apart; once a dialogue."""
        if name not in self.quirks:
            self.quirks.add(name)
            self.events.append(Event("quirk", name))

    def become_opaque(self, reason: str) -> None:
        """Nothing further of this dialogue can or may be read."""
        self.mode = OPAQUE
        self.opaque_reason = reason
        self.tls = self.tls or reason == "tls"
        self._held = self._client_line = self._server_line = b""
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._transaction is not None and reason != "tls":
            self._transaction = None  # stays "open": nobody knows
        self.events.append(Event("opaque", reason))

    def close(self, closed: bool) -> None:
        """The connection is over (`closed`), or nobody watches it any longer."""
        # What was never answered is taken as the client meant it.
        for _ in range(4):  # held bytes may hold further commands that wait in turn; what is left is of no interest
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            for item in waiting:
                if item.verb != "connect":
                    self._settle(item, None)
            if self.mode == HELD:
                self.mode = COMMAND
            self._release()
        if not closed:
            return
        if self._transaction is not None:
            if not (self._transaction.content_sent and not self.server_seen):
                self._transaction.end()
            self._transaction = None
        if self.commands and not self.quit_sent and self.mode != OPAQUE and not self._client_lost:
            self.violate("no-quit")
