"""How a client's bytes are read: lines, content, chunks, a TLS handshake; what must wait for a reply is held.

Knows RFC 5321's command lines and content, BDAT (3030), STARTTLS (3207), AUTH (4954), and how they are misused. Must
not know how replies find their commands (`smtp`) or what they do (`effects`).
"""

from __future__ import annotations

from binascii import crc32

from cpe_filter.inspect import tls
from cpe_filter.inspect.address import (
    BARE,
    CHECK_BYTES,
    SPACED,
    address_of,
    hide_local_parts,
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
    NEW,
    TURNS,
    is_command,
    is_no_content,
    is_no_prose,
    parse_chunk,
    parse_command,
)
from cpe_filter.inspect.effects import (
    CHUNK,
    COMMAND,
    CONTENT,
    HANDSHAKE,
    HELD,
    NO_CONTENT,
    OPAQUE,
    REFUSED,
    SECRET,
    Exchange,
)
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.tls import HANDSHAKE_RECORD
from cpe_filter.inspect.waiting import Pending

HELD_BYTES = 8192
#: So much of a chunk must still be to come for the client's bytes to be `unneeded`: less is not worth the change.
CHUNK_UNNEEDED = 16384
#: Local-parts of the running transaction that are remembered by checksum, to blank them in replies.
QUOTABLE = 64
#: What waits where there is nothing but a verb to remember; shared, since it is never changed.
_NAMELESS = {verb: Pending(verb) for verb in (*EFFECTS, "content", "auth-line", "unknown")}
#: So many lines that are no commands, and none that is: not SMTP.
_NOT_SMTP_AFTER = 8


class ClientSide(Exchange):
    """The client's half: `client`, `client_gap`."""

    __slots__ = ()

    @property
    def unneeded(self) -> bool:
        """What the client sends until the server's next reply need not be seen: it is message content."""
        if self.mode == CONTENT:
            return self._content_agreed
        return self.mode == CHUNK and self._chunk_left > CHUNK_UNNEEDED and not self.watch_all

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
        self._client_line = b""
        self._client_skip = 0
        self._client_lost = True
        if left_out:
            self._hidden = True
            self._unmeasured = None
            return
        if self.mode == HELD:
            # What was held is no use without what followed; the reply will still say how to go on.
            self._held = b""
        self.violate("lost-data")
        self._unseen = True

    # ── lines ────────────────────────────────────────────────────────────────────────────────────────

    def _client_line_at(self, data: bytes, at: int) -> int:
        """Takes one line from `data[at:]`; returns where the next begins."""
        end = data.find(b"\n", at)
        skipped = 0
        if 0 <= end <= at + LINE and not self._client_line:
            line = data[at:end]
        else:
            stop = end if end >= 0 else len(data)
            room = LINE - len(self._client_line)
            line = self._client_line + data[at : min(stop, at + room)]
            skipped = self._client_skip + max(0, stop - at - room)
            if stop - at > room:
                # The last byte tells whether a line ends with CR, so it takes the last place of what is kept.
                line = line[:-1] + data[stop - 1 : stop]
            if end < 0:
                self._client_line = line
                if skipped:
                    self._client_skip = skipped
                return stop
            self._client_line = b""
            if self._client_skip:
                self._client_skip = 0
        total = len(line) + skipped
        text = line.rstrip(b"\r")
        bare = len(text) == len(line)
        line = text
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
        if is_no_prose(line):
            self.mode = COMMAND
            return True
        if line == b".":
            self.mode = COMMAND
        if self._data_refused:
            self._waiting.stray()
        return False

    def _command(self, line: bytes, bare: bool, total: int) -> None:
        verb, rest, quirks = parse_command(line)
        if not verb and self._not_a_command(line):
            return
        self.commands += bool(verb)
        if bare:
            self._bare_lf = True
            self.violate("bare-lf")
        if total > COMMAND_LIMIT and total > LIMITS.get(verb, COMMAND_LIMIT):
            self.violate("overlong-command")
        if quirks:
            for quirk in quirks:
                self._quirk(quirk)
        waiting = self._waiting
        if waiting or waiting.lost or self.quit_sent or not self.greeted:
            self._in_turn()
        if not verb:
            self.violate("unknown-command")
            self._sent("unknown")
            return
        if self._data_refused:
            self._data_refused = False
        if self.envelope.state not in EFFECTS[verb][0] and not (waiting or self._unseen or self._assumed):
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
                self._tell(Event("quit"))
            self._sent(verb)

    def _in_turn(self) -> None:
        """A command comes: was it its turn?"""
        if self.quit_sent:
            self.violate("data-after-quit")
        if self._waiting.lost:
            self._give_up_waiting()
        if not self.server_seen:
            return
        if not self.greeted:
            self.violate("early-talk")
        elif self._waiting and self._waiting[-1].verb != "stray" and not self.pipelining:
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
                self._quotable = b""
            local = local_part(path)
            if local and len(self._quotable) < QUOTABLE * CHECK_BYTES:
                self._quotable += crc32(local.lower()).to_bytes(CHECK_BYTES, "big")
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
            self._waiting.stray()
            if line != b".":
                self.mode = REFUSED
            return True
        self._bad_lines += 1
        if self._bad_lines >= _NOT_SMTP_AFTER and self._bad_lines > self.commands and not self._hidden:
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
        item = Pending(verb, name, size, last) if name or size or last else _NAMELESS[verb]
        if not self.server_seen:
            self._assumed = True
            if verb in TURNS:
                self.mode = HELD
                self._waiting.add(item)
            else:
                self._settle(item, None)
            return
        self._waiting.add(item)
        if len(self._waiting) > self._limits.waiting or self._waiting.bytes > self._limits.waiting_bytes:
            self.become_opaque("too-many-commands")
        elif verb in TURNS:
            self.mode = HELD

    # ── what depends on a reply ──────────────────────────────────────────────────────────────────────

    def _hold(self, data: bytes, at: int) -> int:
        """The client went on although its next bytes depend on a reply."""
        verb = self._waiting[-1].verb if self._waiting else ""
        if not self.server_seen or self._waiting.lost:
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
            self._settle(self._waiting.take(), None)
        self._waiting.lost = 0
        item = self._waiting.take() if self._waiting else Pending("")
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

    def _release(self) -> None:
        """The awaited reply has come: read what was held."""
        if self._held:
            held, self._held = self._held, b""
            self.client(held)

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
            self._tell(Event("fingerprint", self.client_hello.ja4))
        if self.client_hello or len(self._held) >= tls.LONGEST:
            self.become_opaque("tls")
        return len(data)

    def _goes_on_in_the_clear(self) -> None:
        """STARTTLS was agreed to and no TLS came: a decrypted capture, or a pretence. All begins anew (RFC 3207)."""
        self.mode = COMMAND
        self.envelope.reset()
        self.envelope.state = NEW
        self._hello_sent = False
        self.pipelining = False

    # ── message content ──────────────────────────────────────────────────────────────────────────────

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
        self._content = NO_CONTENT
        self.envelope.content_ends()
        self._sent("content")

    def _chunk(self, data: bytes, at: int) -> int:
        taken = min(len(data) - at, self._chunk_left)
        self._chunk_left -= taken
        if not self._chunk_left:
            self.mode = COMMAND
        return at + taken
