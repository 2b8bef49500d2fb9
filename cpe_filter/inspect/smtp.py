"""An SMTP dialogue, watched from the middle: client and server bytes in, facts and events out.

Sans-I/O: whoever holds bytes calls `client` and `server` in the order in which they passed. This package must not know
time, policy, or what is good or bad; this module and those below must not know packets either. To read it:

    states         the rules, and the tables of states, commands and replies that the machine carries out. First.
    dialogue_state what is known of a dialogue, and what callers ask
    smtp           the machine: the server's bytes, the client's bytes, the end
    client_lines   lines of the client -> commands, which wait for their replies (`waiting`)
    client_data    the client's other bytes: held, content, chunks, a ClientHello, lost ones
    unseen         which command a reply answers although something is missing
    effects        what the reply to each command does, to the mode and the `envelope`

`client_lines`, `client_data`, `unseen` and `effects` are functions on the one `Dialogue` that they are given.

Bounds, per dialogue, whatever is sent: `LINE` bytes of an unfinished line on each side, `HELD_BYTES` held, and the
counts in `Limits`. Anything beyond makes the dialogue opaque with a reason, or is counted and not kept.
"""

from __future__ import annotations

from cpe_filter.inspect.address import hide_words
from cpe_filter.inspect.client_data import (
    handshake,
    hold,
    lose,
    pass_chunk,
    pass_content,
    release,
    rest_of_chunk,
    tls_may_begin,
)
from cpe_filter.inspect.client_lines import read_line
from cpe_filter.inspect.content import NO_CONTENT
from cpe_filter.inspect.dialogue_state import NO_EVENTS, NO_FACTS, NO_GAPS, NO_INPUT, DialogueState
from cpe_filter.inspect.effects import ON_REPLY
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.reply import ReplyReader
from cpe_filter.inspect.states import (
    AUTH_LINE,
    CHUNK,
    COMMAND,
    CONTENT,
    HANDSHAKE,
    HELD,
    IN_DOUBT,
    OPAQUE,
    REFUSED,
    SPECIAL,
    TURNS,
    WORDLESS,
)
from cpe_filter.inspect.tls import HANDSHAKE_RECORD
from cpe_filter.inspect.unseen import find_command
from cpe_filter.inspect.waiting import NAMELESS, Pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

__all__ = ["NO_EVENTS", "NO_FACTS", "NO_GAPS", "NO_INPUT", "Dialogue"]

#: Rounds of `close`: held bytes may contain further commands that wait in turn. What is left after these is ignored.
_CLOSING_ROUNDS = 4


class Dialogue(DialogueState):
    """One SMTP conversation. Feed it with `client`, `server`, `client_gap`, `server_gap`, end with `close`."""

    __slots__ = ()

    def become_opaque(self, reason: str) -> None:
        """Nothing more of this dialogue can or may be read."""
        for item in self.waiting.take_all():
            # Count what was sent: a client must not hide recipients by exceeding the bounds.
            if item.verb != "connect" and reason != "tls":
                self.settle(item, None)
        self.mode = OPAQUE
        facts = self.own_facts()
        facts.opaque_reason = reason
        if reason == "tls" and not facts.tls:
            facts.tls = facts.unagreed = True
        self.input = NO_INPUT
        self.replies = None
        self.waiting.take_all()
        self.content = NO_CONTENT
        self.quotable = b""
        if reason != "tls":
            self.envelope.abandon()
        self.emit(Event("opaque", reason))

    # ── the server's bytes ───────────────────────────────────────────────────────────────────────────

    def server(self, data: bytes) -> None:
        """Bytes from the server, in order."""
        self.server_seen = True
        at, waiting, keeps = 0, self.waiting, self.limits.last_reply
        reader = self.replies or ReplyReader(self.limits.local_parts)
        while at < len(data) and self.mode != OPAQUE:
            verb = "" if keeps or not waiting or waiting.lost else waiting[0].verb
            wordless = verb in WORDLESS or (verb == "connect" and len(waiting) == 1)
            reply, at = reader.next(data, at, self.violate, wordless)
            if reply is not None:
                if self.quotable and (keeps or reply.code >= 400):  # else its text is not read
                    reply = hide_words(reply, self.quotable)
                self._reply(reply)
            elif not self.greeted:
                self._without_code(reader)
        self.replies = reader if reader.begun else None

    def _without_code(self, reader: ReplyReader) -> None:
        """A line came that does not complete the greeting. If it has no code, the client's next line shows whether it
        comes before the greeting or in its place."""
        if not reader.begun:
            self.own_gaps().unread_greeting = True

    def server_gap(self, size: int) -> None:
        """`size` bytes from the server were not seen."""
        self.server_seen = True
        if self.mode == OPAQUE or not size:
            return
        self.violate("lost-data")
        self.own_gaps().unseen = True
        self.replies = self.replies or ReplyReader(self.limits.local_parts)
        self.replies.forget()
        # Only commands that wait now can have been answered there.
        self.waiting.lost = len(self.waiting)

    def _reply(self, reply: Reply) -> None:
        waiting = self.waiting
        item: Pending | None
        if waiting and not waiting.lost and waiting[0].verb not in IN_DOUBT and reply.code not in SPECIAL:  # mostly
            item, early = waiting.next(), False
        else:
            item, early = find_command(self, reply)
            if item is None:
                return
        if item.verb != "QUIT" and self.limits.last_reply:
            self.keep(reply)
        ON_REPLY[item.verb](self, item, reply, 200 <= reply.code < 400)  # `settle`, without its call
        if early:
            self.mode = REFUSED
        if item.verb == "QUIT":
            if reply.code == 221:
                self.dismiss()
        elif item.verb in TURNS:
            self._turned()

    def _turned(self) -> None:
        """The reply has come that decides how the client's next bytes are read, unless a later one does, too."""
        if self.mode == HELD and not self.waiting:
            self.mode = COMMAND
        if self.input.held and self.mode != HELD:
            release(self)

    def settle(self, item: Pending, reply: Reply | None) -> None:
        """Applies one command with its reply."""
        ON_REPLY[item.verb](self, item, reply, reply is None or 200 <= reply.code < 400)

    # ── the client's bytes ───────────────────────────────────────────────────────────────────────────

    def client(self, data: bytes) -> None:
        """Bytes from the client, in order."""
        at = 0
        while at < len(data):
            mode = self.mode
            if mode == COMMAND and data[at] == HANDSHAKE_RECORD and tls_may_begin(self):
                pass  # the mode has changed
            elif mode == COMMAND or mode == AUTH_LINE or (mode == REFUSED and not self.input.chunk_left):
                at = read_line(self, data, at)
            elif mode == CONTENT:
                at = pass_content(self, data, at)
            elif mode == CHUNK:
                at = pass_chunk(self, data, at)
            elif mode == HELD:
                at = hold(self, data, at)
            elif mode == HANDSHAKE:
                at = handshake(self, data, at)
            elif mode == REFUSED:
                at = rest_of_chunk(self, data, at)
            else:
                self.own_facts().after_hello += len(data) - at
                return

    def client_gap(self, size: int) -> None:
        """`size` bytes from the client were not seen."""
        lose(self, size)

    def sent(self, verb: str, name: str = "", size: int = 0, last: bool = False, turns: bool | None = None) -> Pending:
        """A command was sent: it waits for its reply, or is settled at once if no server is seen. Returns it.

        turns: its reply decides how the client's next bytes are read (None: as `TURNS` has it).
        """
        item = Pending(verb, name, size, last) if name or size or last else NAMELESS[verb]
        if turns is None:
            turns = verb in TURNS
        if self.input.tls_reply is not None:
            self.input.tls_reply = None
        if not self.server_seen:
            self.own_gaps().assumed = True
            if turns:
                self.mode = HELD
                self.waiting.add(item)
            else:
                self.settle(item, None)
            return item
        self.waiting.add(item)
        if len(self.waiting) > self.limits.waiting or self.waiting.bytes > self.limits.waiting_bytes:
            self.become_opaque("too-many-commands")
        elif turns:
            self.mode = HELD
        return item

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────

    def tls_ended(self, size: int) -> None:
        """The client has sent `size` bytes after its ClientHello, and no more will come."""
        self.emit(Event("tls-bytes", "", None, size))

    def timed(self, turns: int, ahead: int, milliseconds: int) -> None:
        """How fast the client answers, as `turnaround` has found it."""
        self.emit(Event("turnaround", f"{turns}/{ahead}", None, milliseconds))

    def _settle_waiting(self) -> None:
        waiting, closing = self.waiting, self.gaps.closing
        if closing is not None and waiting and waiting[0] is closing:
            waiting.take_all()  # after 421 nothing more is done (RFC 5321 section 3.8)
        for item in waiting.take_all():
            if item.verb != "connect":
                self.settle(item, None)

    def close(self, closed: bool) -> None:
        """The connection has ended (`closed`), or is no longer watched."""
        if closed and self.replies is not None and self.replies.unfinished[:3].isdigit():
            self.server(b"\n")  # the last line of a server that disconnected without ending it
        # Commands that were never answered count as the client intended them.
        for _ in range(_CLOSING_ROUNDS):
            self._settle_waiting()
            if self.mode == HELD:
                self.mode = COMMAND
            if not self.input.held:
                break
            release(self)
        if not closed:
            return
        self.envelope.close(one_side_only=not self.server_seen)
        left_out = self.mode == CONTENT and self.content.lost  # QUIT may have been behind it
        if self.commands and not (self.quit_sent or self.mode == OPAQUE or self.gaps.client_lost or left_out):
            self.violate("no-quit")
