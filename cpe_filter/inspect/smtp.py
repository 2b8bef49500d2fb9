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

Content need not be seen (`unneeded`): the server's next reply ends it, whatever passed meanwhile. A client may have
sent commands behind the content (RFC 2920), which then were not seen either: replies that nothing visible asked for are
theirs. The first of these ends the leniency (`watch_all`), and each that may be RCPT's counts as a recipient.

Bounds, per dialogue, whatever is sent: `LINE` bytes of an unfinished line a side, `HELD_BYTES` held, and the
counts in `Limits`. What exceeds them makes the dialogue opaque with a reason, or is counted and not kept.
"""

from __future__ import annotations

from binascii import crc32
from typing import NamedTuple

from cpe_filter.inspect import tls
from cpe_filter.inspect.address import (
    BARE,
    SPACED,
    address_of,
    hide_local_parts,
    hide_words,
    local_part,
    parse_path,
    readable,
)
from cpe_filter.inspect.command import (
    AUTH_LIMIT,
    COMMAND_LIMIT,
    EFFECTS,
    LIMITS,
    LINE,
    MAIL,
    NEW,
    READY,
    TURNS,
    is_command,
    is_no_content,
    is_no_prose,
    parse_chunk,
    parse_command,
)
from cpe_filter.inspect.content import ContentReader
from cpe_filter.inspect.envelope import Envelope
from cpe_filter.inspect.facts import Event, Limits, Reply, Transaction
from cpe_filter.inspect.reply import ReplyReader
from cpe_filter.inspect.tls import HANDSHAKE_RECORD

__all__ = [
    "EFFECTS",
    "HELD_BYTES",
    "LINE",
    "OPAQUE",
    "TURNS",
    "Dialogue",
    "Event",
    "Limits",
    "Reply",
    "Transaction",
]

HELD_BYTES = 8192
#: So much of a chunk must still be to come for the client's bytes to be `unneeded`: less is not worth the change.
CHUNK_UNNEEDED = 16384
#: What a command that waits takes besides its text, bytes.
WAITING_COST = 120
#: Local-parts of the running transaction that are remembered by checksum, to blank them in replies.
QUOTABLE = 64
#: So many lines that are no commands, and none that is: not SMTP.
_NOT_SMTP_AFTER = 8
_NOBODY_COUNTED = 1 << 30  # for how many lines of content there may be replies, where they were not told apart
#: Replies that only these commands get.
_ANSWERED_BY = {
    354: ("DATA",),
    221: ("QUIT",),
    334: ("AUTH", "auth-line"),
    235: ("AUTH", "auth-line"),
}

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


class _Waiting(NamedTuple):
    verb: str
    name: str = ""
    size: int = 0
    last: bool = False


class Dialogue:
    """One SMTP conversation. Feed it with `client`, `server`, `client_gap`, `server_gap`, end with `close`.

    `last_reply` is the last to anything but QUIT: a 221 would say nothing. `after_hello`: bytes of the client that came
    in after its ClientHello (`client_hello`), before the watcher stopped to feed it. `dismissed`: the server has said
    221 to QUIT, and the client nothing after that.
    Facts are attributes; events collect in `events`, which the caller empties.
    """

    __slots__ = (
        "_assumed",
        "_bad_lines",
        "_chunk_left",
        "_client_line",
        "_content",
        "_client_lost",
        "_client_skip",
        "_content_agreed",
        "_data_refused",
        "_guessed",
        "_held",
        "_hello_sent",
        "_hidden",
        "_limits",
        "_mailed_from",
        "_lost_replies",
        "_quotable",
        "_replies",
        "_resuming",
        "_unmeasured",
        "_unseen",
        "_waiting",
        "_waiting_bytes",
        "after_hello",
        "authenticated",
        "client_hello",
        "commands",
        "dismissed",
        "ehlo",
        "envelope",
        "events",
        "extensions",
        "greeted",
        "helo",
        "last_reply",
        "mode",
        "opaque_reason",
        "quirks",
        "quit_sent",
        "server_seen",
        "tls",
        "violations",
        "watch_all",
    )

    def __init__(self, limits: Limits = Limits(), greeting_expected: bool = True) -> None:  # noqa: B008
        self._limits = limits
        self.mode = COMMAND
        self.envelope = Envelope(limits)
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
        self.after_hello = 0
        self.authenticated = False
        self.quit_sent = False
        self.opaque_reason = ""
        self.server_seen = False
        self.commands = 0
        self._content = ContentReader()
        self._replies = ReplyReader(limits.local_parts)
        self._quotable: list[int] = []
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        if greeting_expected:
            self._wait_for(_Waiting("connect"))
        self._client_line = b""
        self._client_skip = 0  # bytes of an over-long line thrown away
        self._client_lost = False
        self._lost_replies = 0  # how many of `_waiting` may have been answered unseen
        self._held = b""
        self._guessed = False
        self._chunk_left = 0
        self._bad_lines = 0
        self._data_refused = False
        self._mailed_from = -1  # the path, as a checksum
        self._hello_sent = False
        self._assumed = False  # some command was taken as agreed to, its reply unseen
        self._unseen = not greeting_expected  # something may have been said that was not seen
        self.dismissed = False
        self.watch_all = False
        self._content_agreed = False  # the content that is being sent follows a 354 that was seen
        self._hidden = False  # content went by unseen, and with it there may have been commands
        self._resuming = False  # since such content nothing of the client was seen
        self._unmeasured: Transaction | None = None  # its size may count a QUIT

    @property
    def buffered(self) -> int:
        """Bytes that are kept: unfinished lines, what is held, and commands that wait for a reply."""
        return len(self._client_line) + len(self._replies.unfinished) + len(self._held) + self._waiting_bytes

    @property
    def unneeded(self) -> bool:
        """What the client sends until the server's next reply need not be seen: it is message content."""
        if self.mode == CONTENT:
            return self._content_agreed
        return self.mode == CHUNK and self._chunk_left > CHUNK_UNNEEDED and not self.watch_all

    @property
    def resuming(self) -> bool:
        """Nothing of the client was seen since content that was `unneeded`: what is missing before a FIN was that."""
        return self._resuming

    @property
    def transactions(self) -> list[Transaction]:
        """The attempts to send a message, as many as `Limits` lets be kept."""
        return self.envelope.transactions

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
                at = self._in_content(data, at)
            elif mode == CHUNK:
                at = self._chunk(data, at)
            elif mode == HELD:
                at = self._hold(data, at)
            elif mode == HANDSHAKE:
                at = self._handshake(data, at)
            else:
                self.after_hello += len(data) - at
                return

    def client_gap(self, size: int) -> None:
        """`size` bytes from the client were not seen."""
        if self.mode == OPAQUE:
            self.after_hello += size
            return
        if self.mode == HANDSHAKE:
            self.become_opaque("tls")
            return
        left_out = self.unneeded or self._resuming
        if self.mode == CONTENT:
            self.envelope.count_content(size)
            self._content.forget()
            self._hidden = self._hidden or left_out
            return
        if self.mode == CHUNK:
            taken = min(size, self._chunk_left)
            self._chunk_left -= taken
            size -= taken
            if not self._chunk_left:
                self.mode = COMMAND
                self._resuming = left_out
            if not size:
                return
        if left_out:
            self._hidden = self._client_lost = True
            self._unmeasured = None
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
        if (self._client_lost or self._resuming) and not self._resumes(line):
            return end + 1
        if self.mode == SECRET:
            if total > AUTH_LIMIT:
                self.violate("overlong-command")
            self._sent("auth-line")
        elif self.mode == COMMAND or self._leaves_refused(line):
            self._command(line, bare, total + 1)
        return end + 1

    def _resumes(self, line: bytes) -> bool:
        """The first line behind bytes that were not seen. Segments nearly always begin at a line: is it a command?"""
        verb = parse_command(line).verb
        if self._resuming and verb in ("RCPT", "DATA", "BDAT"):
            self._unseen = True  # MAIL was sent behind the content
        self._client_lost = self._resuming = False
        return bool(verb) or self.mode != COMMAND

    def _leaves_refused(self, line: bytes) -> bool:
        """Content may be sent although DATA or the message was refused: is this line a command again?"""
        if is_no_content(line) or (self._hidden and not self._data_refused and is_no_prose(line)):
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
        verb, rest, quirks = parse_command(line)
        if not verb and self._not_a_command(line):
            return
        self.commands += bool(verb)
        if bare:
            self._content.bare_lf = True
            self.violate("bare-lf")
        if total > LIMITS.get(verb, COMMAND_LIMIT):
            self.violate("overlong-command")
        for quirk in quirks:
            self._quirk(quirk)
        self._in_turn()
        if not verb:
            self.violate("unknown-command")
            self._sent("unknown")
            return
        self._data_refused = False
        if self.envelope.state not in EFFECTS[verb][0] and not (self._waiting or self._unseen or self._assumed):
            self.violate("wrong-order")
        if verb == "MAIL" or verb == "RCPT":
            self._path(verb, rest)
        elif verb == "HELO" or verb == "EHLO":
            name = readable(rest.strip())
            self._hello_sent = True
            if not name:
                self.violate("empty-hello")
            self._sent(verb, name if self._limits.local_parts else hide_local_parts(name))
        elif verb == "BDAT":
            self._bdat(rest)
        else:
            if verb == "QUIT":
                self.quit_sent = True
                self.events.append(Event("quit"))
            self._sent(verb)

    def _in_turn(self) -> None:
        """A command comes: was it its turn?"""
        if self.quit_sent:
            self.violate("data-after-quit")
        if self._lost_replies:
            self._give_up_waiting()
        if not self.server_seen:
            return
        if not self.greeted:
            self.violate("early-talk")
        elif self._waiting and self._waiting[-1].verb != "stray" and "PIPELINING" not in self.extensions:
            self.violate("blind-pipelining")

    def _path(self, verb: str, rest: bytes) -> None:
        path, form = parse_path(rest, b"FROM" if verb == "MAIL" else b"TO")
        if form == BARE:
            self.violate("bad-path")
        elif form == SPACED:
            self._quirk("path-spaced")
        if verb == "MAIL" and not (self._hello_sent or self._unseen):
            self.violate("no-hello")
        if not self._limits.local_parts:
            if verb == "MAIL" and not self._waiting:
                self._quotable.clear()
            local = local_part(path)
            if local and len(self._quotable) < QUOTABLE:
                self._quotable.append(crc32(local.lower()))
        if verb == "MAIL":
            self._mailed_from = crc32(path.lower()) if path else -1
        elif crc32(path.lower()) == self._mailed_from:
            self._quirk("sender-is-recipient")
        self._sent(verb, address_of(path, self._limits.local_parts))

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
        chunk = parse_chunk(rest)
        if chunk is None:
            self.violate("bad-chunk")
            self._sent("unknown")
            return
        size, last = chunk
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
        self._waiting_bytes += len(item.name) + WAITING_COST

    def _take(self, index: int = 0) -> _Waiting:
        """The command that has waited longest (or the last, -1), no longer waiting."""
        item = self._waiting.pop(index)
        self._waiting_bytes -= len(item.name) + WAITING_COST
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
            if not is_command(self._held):
                self.mode = SECRET
        elif verb == "DATA" and not is_no_content(self._held.rstrip(b"\r\n")):
            self._settle(item, None)
        self._release()
        return end

    def _handshake(self, data: bytes, at: int) -> int:
        """Collects the ClientHello, for the name and the fingerprint it holds; from there on all is opaque."""
        if not self._held and data[at] != HANDSHAKE_RECORD:  # only after STARTTLS
            self._goes_on_in_the_clear()
            return at
        size = len(self._held) + len(data) - at
        self._held += data[at : at + tls.LONGEST - len(self._held)]
        try:
            self.client_hello = tls.client_hello(self._held)
        except tls.NotTLS:
            self.become_opaque("tls" if self.tls else "not-smtp")
            return len(data)
        if self.client_hello:
            self.after_hello = size - self.client_hello.size
            self.events.append(Event("fingerprint", self.client_hello.ja4))
        if self.client_hello or len(self._held) >= tls.LONGEST:
            self.become_opaque("tls")
        return len(data)

    def _goes_on_in_the_clear(self) -> None:
        """STARTTLS was agreed to and no TLS came: a decrypted capture, or a pretence. All begins anew (RFC 3207)."""
        self.mode = COMMAND
        self.envelope.reset()
        self.envelope.state = NEW
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
        self._content_agreed = False
        self._content.start()

    def _in_content(self, data: bytes, at: int) -> int:
        """Counts content up to the line with a dot alone; returns where what follows it begins."""
        end, size = self._content.end_in(data, at)
        self.envelope.count_content(size)
        if end < 0:
            return len(data)
        if self._content.ended_bare:
            self.violate("bare-lf-dot")
        self._end_content()
        return end

    def _end_content(self) -> None:
        self.mode = COMMAND
        self.envelope.content_ends()
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
        at = 0
        while at < len(data) and self.mode != OPAQUE:
            reply, at = self._replies.next(data, at, self.violate)
            if reply is not None:
                self._reply(hide_words(reply, self._quotable) if self._quotable else reply)

    def server_gap(self, size: int) -> None:
        """`size` bytes from the server were not seen."""
        self.server_seen = True
        if self.mode == OPAQUE or not size:
            return
        self.violate("lost-data")
        self._unseen = True
        self._replies.forget()
        # Only what waits now can have been answered there.
        self._lost_replies = len(self._waiting)

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
        if not waiting and self.mode == CONTENT and self._ends_content(reply):
            early = not reply.positive
        elif not waiting and self.mode == SECRET:
            self._wait_for(_Waiting("auth-line"))  # what this answers was not seen
        elif not waiting or self._answers_unseen(waiting[0], reply):
            self._unasked(reply)
            return
        item = self._take()
        if item.verb == "stray" and item.size > 1:
            self._waiting.insert(0, item._replace(size=item.size - 1))
            self._waiting_bytes += WAITING_COST
        if item.verb != "QUIT":
            self.last_reply = reply._replace(before=())
        self._settle(item, reply)
        if early:
            self.mode = REFUSED
        if item.verb == "QUIT":
            if reply.code == 221:
                self._dismiss()
        elif item.verb in TURNS:
            if self.mode == HELD:
                self.mode = COMMAND
            self._release()

    def _ends_content(self, reply: Reply) -> bool:
        """A reply comes although the end of the content was not seen: does it answer the message?

        The server saw the end where we did not (not shown, bytes lost, or an end it is lenient about), or has heard
        enough and the rest is still to come.
        """
        left_out = self._content_agreed and self._content.lost
        # A 421 says that the connection ends (RFC 5321 section 3.8), nothing about a message that is under way. Where
        # content was left out it most likely is no longer: some large providers refuse a message so.
        if not left_out and (self.envelope.current is None or reply.code == 421):
            return False
        if left_out:
            self.envelope.count_content(-2 if self._content.bare_lf else -3)  # the dot and its line end
            self._unmeasured = self.envelope.current
        else:
            self._unseen = True
        if self._content_agreed:
            self._hidden = self._resuming = True
            self._mailed_from = -1  # the next MAIL may go by unseen
        self._end_content()
        return True

    def _answers_unseen(self, item: _Waiting, reply: Reply) -> bool:
        """Where client bytes were not seen: does the reply answer a command among them, and not this one?

        So does agreement with DATA that is no 354, and any reply to QUIT that is no farewell.
        """
        if item.verb == "DATA":
            return (self._unseen or self._hidden) and 200 <= reply.code <= 299
        return self._hidden and item.verb == "QUIT" and reply.code not in (221, 421)

    def _unasked(self, reply: Reply) -> None:
        """Nothing that was seen asked for this reply."""
        if self.mode == CHUNK and reply.code != 421:
            # The server takes for commands what we take for a chunk.
            self.mode = COMMAND
            self._hidden = self._client_lost = True
        if self._hidden and reply.code != 421:
            self._answers_hidden(reply)
            return
        if reply.code == 354:
            self._effect_content(None)  # the DATA that this answers was not seen
            return
        if self._unseen and reply.code == 221:
            self.quit_sent = True  # nothing else is answered so
            self._dismiss()
        if not (self._unseen or self._assumed or self.quit_sent or reply.code == 421):
            self.violate("unasked-reply")
        if not self.quit_sent:
            self.last_reply = reply._replace(before=())
        self.events.append(Event("reply", "", reply))

    def _answers_hidden(self, reply: Reply) -> None:
        """The reply to a command that went by unseen with message content."""
        if reply.code == 221:
            if not self.quit_sent:
                self.quit_sent = True
                self.events.append(Event("quit"))
            if self._unmeasured is not None:
                self._unmeasured.size = max(0, self._unmeasured.size - len(b"QUIT\r\n"))
                self._unmeasured = None
            self.events.append(Event("reply", "QUIT", reply))
            self._dismiss()
            return
        # Whoever sends more than QUIT there could hide whole envelopes so.
        self.watch_all = self._unseen = True
        self._unmeasured = None
        if reply.code == 354:
            self._effect_content(None)
            return
        self.last_reply = reply._replace(before=())
        if reply.code == 334:
            self._effect_auth(reply)
        elif reply.code == 220 and self.mode == COMMAND:
            self._settle(_Waiting("STARTTLS"), reply)
        elif reply.code in (250, 251) and self.envelope.state in (NEW, READY):
            self.envelope.state = MAIL  # RCPT is not agreed to before MAIL
            self.events.append(Event("reply", "", reply))
        elif reply.code in (250, 251) or reply.code >= 400:
            self._settle(_Waiting("RCPT"), reply)
        else:
            self.events.append(Event("reply", "", reply))

    def _dismiss(self) -> None:
        """The server has said 221 to QUIT: the connection ends (RFC 5321 section 4.1.1.10)."""
        self.dismissed = not (self._waiting or self._client_line or self._held)

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
            self.events.append(self.envelope.finish(reply))
        elif verb in ("AUTH", "auth-line"):
            self._effect_auth(reply)
        elif verb in ("MAIL", "RCPT", "DATA", "BDAT"):
            self._envelope(item, reply, agreed)
        elif verb in ("HELO", "EHLO"):
            if agreed:
                self.envelope.greeted()
                if reply is not None:
                    self._announced(reply if verb == "EHLO" else None)
            if agreed or self.helo is None:
                self.helo = item.name
                self.ehlo = verb == "EHLO"
            self.events.append(Event("hello", item.name, reply, int(verb == "EHLO")))
        elif verb == "RSET" and agreed:
            self.envelope.reset()
            self.events.append(Event("reply", verb, reply))
        elif verb == "STARTTLS" and agreed and (reply or self._held[:1] == bytes((HANDSHAKE_RECORD,))):
            if self._held and self._held[0] != HANDSHAKE_RECORD:
                self.violate("data-before-tls")
            self.tls = True
            self.mode = HANDSHAKE
            self.events.append(Event("tls", "", reply))
        else:
            self.events.append(Event("reply", verb, reply))

    def _announced(self, reply: Reply | None) -> None:
        """Each line of EHLO's reply after the first names an extension (RFC 5321 section 4.1.1.1)."""
        self.extensions.clear()  # a new list takes the place of the old
        if reply is not None and reply.before:
            for line in (*reply.before[1:], reply.text[4:]):
                self.extensions.update(word[:20].upper() for word in line.split(None, 1)[:1])

    def _envelope(self, item: _Waiting, reply: Reply | None, agreed: bool) -> None:
        verb, envelope = item.verb, self.envelope
        if verb == "MAIL":
            envelope.sender(item.name, agreed)
            self.events.append(Event("sender", item.name, reply))
        elif verb == "RCPT":
            envelope.recipient(item.name, agreed)
            self.events.append(Event("recipient", item.name, reply))
        elif verb == "DATA" and agreed:
            self._effect_content(reply)
        elif verb == "DATA":
            self._refused_content(reply)
        elif agreed or envelope.current is not None:
            self._effect_chunk(item, reply, agreed)
        else:
            envelope.content_refused()
            self.events.append(Event("reply", "BDAT", reply))

    def _effect_content(self, reply: Reply | None) -> None:
        if self.envelope.current is None:
            self.envelope.open(None)
        if reply is not None and reply.code != 354:
            self.violate("reply-code")
        if not self._guessed:
            self._start_content()
        self._guessed = False
        self._content_agreed = reply is not None and reply.code == 354 and not self.watch_all

    def _refused_content(self, reply: Reply | None) -> None:
        self._data_refused = True
        transaction = self.envelope.current
        self.envelope.content_refused()
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

    def _effect_chunk(self, item: _Waiting, reply: Reply | None, agreed: bool) -> None:
        if self.envelope.current is None:
            self.envelope.open(None)
        self.envelope.count_content(item.size)
        if item.last:
            self.envelope.content_ends()
            self.events.append(self.envelope.finish(reply))
        elif not agreed:
            self.envelope.content_refused()
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
        while self._waiting and reason != "tls":
            # Sent is sent: who outruns our bounds shall not hide recipients by it.
            item = self._take()
            if item.verb != "connect":
                self._settle(item, None)
        self.mode = OPAQUE
        self.opaque_reason = reason
        self.tls = self.tls or reason == "tls"
        self._held = self._client_line = b""
        self._replies.forget()
        self._waiting.clear()
        self._waiting_bytes = 0
        if reason != "tls":
            self.envelope.abandon()
        self.events.append(Event("opaque", reason))

    def seal(self, size: int) -> None:
        """The client has sent `size` bytes after its ClientHello, and no more will come."""
        self.events.append(Event("sealed", "", None, size))

    def close(self, closed: bool) -> None:
        """The connection is over (`closed`), or nobody watches it any longer."""
        if closed and self._replies.unfinished[:3].isdigit():
            self.server(b"\n")  # the last line of a server that hung up without ending it
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
        self.envelope.close(one_side_only=not self.server_seen)
        left_out = self.mode == CONTENT and self._content.lost  # QUIT may have been behind it
        if self.commands and not (self.quit_sent or self.mode == OPAQUE or self._client_lost or left_out):
            self.violate("no-quit")
