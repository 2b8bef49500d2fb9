"""An SMTP dialogue, watched from the middle: client and server bytes in, facts and events out.

Knows RFC 5321 with PIPELINING (2920), CHUNKING (3030), STARTTLS (3207), AUTH (4954), SMTPUTF8 (6531). Must
not know packets, time, policy, or what is good or bad. Sans-I/O: whoever holds bytes calls `client` and
`server` in the order in which they passed. Here stand the theory, and how a reply finds its command. `client` reads the
client's bytes, `waiting` is the queue of commands, `effects` what a reply changes; `Dialogue` is all of it.

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

from cpe_filter.inspect.address import hide_words
from cpe_filter.inspect.client import HELD_BYTES, ClientSide
from cpe_filter.inspect.command import EFFECTS, LINE, MAIL, TURNS
from cpe_filter.inspect.effects import CHUNK, COMMAND, CONTENT, HELD, OPAQUE, REFUSED, SECRET
from cpe_filter.inspect.facts import Event, Limits, Reply, Transaction
from cpe_filter.inspect.reply import ReplyReader
from cpe_filter.inspect.waiting import Pending

__all__ = [
    "COMMAND",
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


#: Agreement with these says no more than its code. The reply to EHLO is not among them: each of its lines counts.
_WORDLESS = frozenset(("MAIL", "RCPT", "DATA", "content", "RSET", "QUIT"))
#: A reply may pass these over (`_pass_over`).
_PASSED_OVER = ("connect", "stray")
#: A reply may answer what was sent before these, unseen (`_answers_unseen`).
_OUTRUN = ("DATA", "QUIT")


class Dialogue(ClientSide):
    """One SMTP conversation. Feed it with `client`, `server`, `client_gap`, `server_gap`, end with `close`.

    `last_reply` is the last to anything but QUIT: a 221 would say nothing. `after_hello`: bytes of the client that came
    in after its ClientHello (`client_hello`), before the watcher stopped to feed it. `dismissed`: the server has said
    221 to QUIT, and the client nothing after that.
    Facts are attributes; events collect in `events`, which the caller empties.
    """

    __slots__ = ()

    @property
    def buffered(self) -> int:
        """Bytes that are kept: unfinished lines, what is held, and commands that wait for a reply."""
        kept = self._waiting.bytes + (len(self._replies.unfinished) if self._replies is not None else 0)
        return kept + len(self._client_line) + len(self._held) if self._client_line or self._held else kept

    @property
    def holds(self) -> bool:
        """Whether the client has sent on before the reply that decides how it is to be read (DATA, STARTTLS, AUTH)."""
        return bool(self._held)

    def unanswered(self, verb: str) -> int:
        """How many commands of this verb wait for their replies."""
        return sum(1 for command in self._waiting if command.verb == verb)

    @property
    def resuming(self) -> bool:
        """Nothing of the client was seen since content that was `unneeded`: what is missing before a FIN was that."""
        return self._resuming

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """The attempts to send a message, as many as `Limits` lets be kept."""
        return self.envelope.transactions

    # ── what came from the server ────────────────────────────────────────────────────────────────────

    def server(self, data: bytes) -> None:
        """Bytes from the server, in order."""
        self.server_seen = True
        at, waiting, keeps = 0, self._waiting, self._limits.last_reply
        reader = self._replies or ReplyReader(self._limits.local_parts)
        while at < len(data) and self.mode != OPAQUE:
            verb = "" if keeps or not waiting or waiting.lost else waiting[0].verb
            wordless = verb in _WORDLESS or (verb == "connect" and len(waiting) == 1)
            reply, at = reader.next(data, at, self.violate, wordless)
            if reply is not None:
                if self._quotable and (keeps or reply.code >= 400):  # else nobody looks at its text
                    reply = hide_words(reply, self._quotable)
                self._reply(reply)
        self._replies = reader if reader.begun else None

    def server_gap(self, size: int) -> None:
        """`size` bytes from the server were not seen."""
        self.server_seen = True
        if self.mode == OPAQUE or not size:
            return
        self.violate("lost-data")
        self._unseen = True
        self._replies = self._replies or ReplyReader(self._limits.local_parts)
        self._replies.forget()
        # Only what waits now can have been answered there.
        self._waiting.lost = len(self._waiting)

    def _reply(self, reply: Reply) -> None:
        waiting = self._waiting
        if waiting.lost or (waiting and waiting[0].verb in _PASSED_OVER):
            self._pass_over(reply)
        early = False
        if waiting:
            if waiting[0].verb in _OUTRUN and self._answers_unseen(waiting[0], reply):
                self._unasked(reply)
                return
        elif self.mode == CONTENT and self._ends_content(reply):
            early = not reply.positive
        elif self.mode == SECRET:
            waiting.add(Pending("auth-line"))  # what this answers was not seen
        else:
            self._unasked(reply)
            return
        item = waiting.next()
        if item.verb != "QUIT" and self._limits.last_reply:
            self._keep(reply)
        self._settle(item, reply)
        if early:
            self.mode = REFUSED
        if item.verb == "QUIT":
            if reply.code == 221:
                self._dismiss()
        elif item.verb in TURNS:
            if self.mode == HELD:
                self.mode = COMMAND
            if self._held:
                self._release()

    # ── which command a reply answers ────────────────────────────────────────────────────────────────

    def _pass_over(self, reply: Reply) -> None:
        """What waits longest may not be what is answered: its own reply never comes, or was lost."""
        waiting = self._waiting
        if (
            len(waiting) > 1
            and waiting[0].verb == "connect"
            and not waiting.lost
            and 200 <= reply.code < 400
            and reply.code != 220
        ):
            self.violate("no-greeting")
            waiting.take()
            self.greeted = True
        if waiting.lost:
            self._resynchronise(reply)
        if waiting and waiting[0].verb == "stray" and reply.code < 500:
            waiting.take()  # a line of content that was taken for a command can only have been refused

    def _keep(self, reply: Reply) -> None:
        if self._limits.last_reply:
            self.last_reply = reply._replace(before=()) if reply.before else reply

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
        self._unmeasured = self.envelope.current if left_out else None
        if left_out:
            self.envelope.count_content(-2 if self._bare_lf else -3)  # the dot and its line end
        else:
            self._unseen = True
        if self._content_agreed:
            self._hidden = self._resuming = True
            self._mailed_from = -1  # the next MAIL may go by unseen
        self._end_content()
        return True

    def _answers_unseen(self, item: Pending, reply: Reply) -> bool:
        """Where client bytes were not seen: does the reply answer a command among them, and not this one?

        So does agreement with DATA that is no 354, and any reply to QUIT that is no farewell.
        """
        if item.verb == "DATA":
            return (self._unseen or self._hidden) and 200 <= reply.code <= 299
        return self._hidden and item.verb == "QUIT" and reply.code not in (221, 421)

    def _unasked(self, reply: Reply) -> None:
        """Nothing that was seen asked for this reply."""
        if (self.mode == CHUNK and reply.code != 421) or (self.mode == REFUSED and reply.positive):
            # The server takes for commands what we take for a chunk, or for refused content.
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
            self._keep(reply)
        self._tell(Event("reply", "", reply))

    def _answers_hidden(self, reply: Reply) -> None:
        """The reply to a command that went by unseen with message content."""
        if reply.code == 221:
            if not self.quit_sent:
                self.quit_sent = True
                self._tell(Event("quit"))
            if self._unmeasured is not None:
                self._unmeasured.size = max(0, self._unmeasured.size - len(b"QUIT\r\n"))
                self._unmeasured = None
            self._tell(Event("reply", "QUIT", reply))
            self._dismiss()
            return
        # Whoever sends more than QUIT there could hide whole envelopes so.
        self.watch_all = self._unseen = True
        first, self._unmeasured = self._unmeasured is not None and self._resuming, None
        if reply.code == 354:
            if self._data_refused:  # no, a hidden RCPT was
                self.envelope.recipient("", False)
                self._tell(Event("recipient"))
                self._data_refused = False
            self._effect_content(None)
            return
        self._keep(reply)
        if reply.code == 334:
            self._effect_auth(reply)
        elif reply.code == 220 and self.mode == COMMAND:
            self._settle(Pending("STARTTLS"), reply)
        elif reply.code in (250, 251) and first:
            self.envelope.state = MAIL  # RCPT is not agreed to before MAIL
            self._tell(Event("reply", "", reply))
        elif reply.code in (250, 251) or reply.code >= 400:
            self._settle(Pending("RCPT"), reply)
        else:
            self._tell(Event("reply", "", reply))

    def _dismiss(self) -> None:
        """The server has said 221 to QUIT: the connection ends (RFC 5321 section 4.1.1.10)."""
        self.dismissed = not (self._waiting or self._client_line or self._held)

    def _resynchronise(self, reply: Reply) -> None:
        """Replies were lost: what stands before the command that this one answers has been answered unseen."""
        before = self._waiting.unanswered_before(reply)
        self._waiting.lost = 0
        for _ in range(before):
            self._settle(self._waiting.take(), None)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────

    def seal(self, size: int) -> None:
        """The client has sent `size` bytes after its ClientHello, and no more will come."""
        self._tell(Event("sealed", "", None, size))

    def close(self, closed: bool) -> None:
        """The connection is over (`closed`), or nobody watches it any longer."""
        if closed and self._replies is not None and self._replies.unfinished[:3].isdigit():
            self.server(b"\n")  # the last line of a server that hung up without ending it
        # What was never answered is taken as the client meant it.
        for _ in range(4):  # held bytes may hold further commands that wait in turn; what is left is of no interest
            for item in self._waiting.take_all():
                if item.verb != "connect":
                    self._settle(item, None)
            if self.mode == HELD:
                self.mode = COMMAND
            if not self._held:
                break
            self._release()
        if not closed:
            return
        self.envelope.close(one_side_only=not self.server_seen)
        left_out = self.mode == CONTENT and self._content.lost  # QUIT may have been behind it
        if self.commands and not (self.quit_sent or self.mode == OPAQUE or self._client_lost or left_out):
            self.violate("no-quit")
