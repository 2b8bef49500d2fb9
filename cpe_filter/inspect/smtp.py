"""An SMTP dialogue, watched from the middle: client and server bytes in, facts and events out.

Sans-I/O: whoever holds bytes calls `client` and `server` in the order in which they passed. `states` holds the rules
and the tables that this machine carries out. This module must not know packets, time, policy, or what is good or bad.
One class, in this order: its attributes, the server's replies, what each reply does, the client's bytes, the end.

Bounds, per dialogue, whatever is sent: `LINE` bytes of an unfinished line on each side, `HELD_BYTES` held, and the
counts in `Limits`. Anything beyond makes the dialogue opaque with a reason, or is counted and not kept.

Memory: 4,096 dialogues take 4,096 times what one takes. What few dialogues ever have is therefore in objects of its own
(`Facts`, `_Gaps`, `_ClientInput`). A dialogue shares an empty one until it has something to put in (`_own_facts`,
`_own_gaps`, `_own_input`).
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.inspect import tls
from cpe_filter.inspect.address import (
    BARE,
    CHECK_BYTES,
    SPACED,
    address_of,
    check,
    hide_local_parts,
    hide_words,
    local_part,
    parse_path,
    readable,
)
from cpe_filter.inspect.command import (
    AUTH_LIMIT,
    COMMAND_LIMIT,
    LIMITS,
    LINE,
    announced_size,
    is_command,
    is_no_content,
    is_no_prose,
    parse_chunk,
    parse_command,
    parse_private,
    private_name,
)
from cpe_filter.inspect.content import ContentReader
from cpe_filter.inspect.envelope import Envelope
from cpe_filter.inspect.facts import Event, Facts, Limits, Reply, Transaction
from cpe_filter.inspect.reply import ReplyReader
from cpe_filter.inspect.states import (
    ANSWERS,
    AS_MAIL,
    AUTH_LINE,
    CHUNK,
    CHUNKING,
    COMMAND,
    COMMANDS,
    CONTENT,
    EXTENSIONS,
    HANDSHAKE,
    HELD,
    MAIL,
    MAY_BE_OUTRUN,
    NEW,
    OPAQUE,
    OTHERS_THAT_WAIT,
    PASSED_OVER,
    PIPELINING,
    REFUSED,
    TO_STRAY,
    TURNS,
    UNIMPLEMENTED,
    WORDLESS,
)
from cpe_filter.inspect.tls import HANDSHAKE_RECORD
from cpe_filter.inspect.waiting import UNCOUNTED, Pending, Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.inspect.states import Mode

__all__ = ["HELD_BYTES", "LINE", "NO_EVENTS", "Dialogue"]

HELD_BYTES = 8192
#: At least so much of a chunk must be to come for the client's bytes to be `unneeded`. Less is not worth the change.
CHUNK_UNNEEDED = 16384
#: Local-parts of the running transaction that are remembered by checksum, to blank them in replies.
QUOTABLE = 64
#: After so many lines that are not commands, and fewer that are, the dialogue is not SMTP.
_NOT_SMTP_AFTER = 8
#: Rounds of `close`: held bytes may contain further commands that wait in turn. What is left after these is ignored.
_CLOSING_ROUNDS = 4
#: A waiting command of which only the verb is remembered. Shared, because it is never changed.
_NAMELESS = {verb: Pending(verb) for verb in (*COMMANDS, "content", "auth-line", "unknown", "private")}
_CONNECT = Pending("connect")
#: A reply that comes while one of these has waited longest may answer another command.
#: Replies that say more than yes or no.
_SPECIAL = frozenset((*ANSWERS, 421))
_IN_DOUBT = frozenset((*PASSED_OVER, *MAY_BE_OUTRUN))
#: In place of a reader while no content is being sent.
_NO_CONTENT = ContentReader(False)
#: The events of a dialogue that has none. Shared, so it must not be changed.
NO_EVENTS: list[Event] = []


class _Gaps:
    """What was not seen of a dialogue, and what follows from that."""

    __slots__ = (
        "assumed",
        "client_lost",
        "closing",
        "hidden",
        "resuming",
        "unmeasured",
        "unread_greeting",
        "unseen",
        "watch_all",
    )

    def __init__(self) -> None:
        #: A command was taken as agreed to without a reply. Set by `_sent` while no server is seen.
        self.assumed = False
        #: Bytes of the client are missing before what comes next. Set by `client_gap`, `_unasked`; ends with a line
        #: that is a command (`_resumes`).
        self.client_lost = False
        #: The command that waits behind one that was answered with 421. Set by `_answered`.
        self.closing: Pending | None = None
        #: Content passed unseen, and with it there may have been commands. Set by `client_gap`, `_ends_content`.
        self.hidden = False
        #: Nothing of the client was seen since such content. Set by `client_gap`, `_ends_content`; ends as
        #: `client_lost` does.
        self.resuming = False
        #: The transaction whose size may count a QUIT. Set by `_ends_content`; ends with the next hidden reply.
        self.unmeasured: Transaction | None = None
        #: A line without a code came before the greeting, or in its place. Set by `server`.
        self.unread_greeting = False
        #: Bytes may have passed that were not seen. Set if the beginning or any byte is missing; stays.
        self.unseen = False
        #: The client hides commands behind content: all of it must be seen. Set by `_answers_hidden`; stays.
        self.watch_all = False


class _ClientInput:
    """How the client's bytes are read, where they are not complete command lines that wait for their replies."""

    __slots__ = (
        "bad_lines",
        "bare_lf",
        "chunk",
        "chunk_left",
        "data_refused",
        "guessed",
        "held",
        "line",
        "lmtp",
        "private_names",
        "replies",
        "skipped",
        "taken",
        "tls_reply",
    )

    def __init__(self) -> None:
        #: Lines that were not commands. Set by `_not_a_command`.
        self.bad_lines = 0
        #: A command line ended without CR. Set by `_command`; stays.
        self.bare_lf = False
        #: The command whose chunk is being sent, or was sent last. Set by `_bdat`, `_on_private`.
        self.chunk: Pending | None = None
        #: Bytes of that chunk that are still to come. Falls in `_chunk`, `_rest_of_chunk` and `client_gap`.
        self.chunk_left = 0
        #: DATA was refused, and no command has come since. Set by `_content_refused`; ends in `_command`.
        self.data_refused = False
        #: Held bytes were read as content before DATA had its reply. Set by `_hold`; ends with that reply.
        self.guessed = False
        #: Bytes behind a command of `TURNS`, or of a ClientHello. Set by `_hold`, `_guess`, `_handshake`; read by
        #: `_release`.
        self.held = b""
        #: A line whose end has not come, and how many bytes of it were dropped. Set by `_join_line`.
        self.line = b""
        self.skipped = 0
        #: LHLO was agreed to. Set by `_on_hello`.
        self.lmtp = False
        #: Replies to the last message, and the first of these that agrees, or the first. Set by `_finish`.
        self.replies = 0
        self.taken: Reply | None = None
        #: Private-use commands that the server has named. Set by the reply to EHLO; ends with a pretence of TLS.
        self.private_names: tuple[str, ...] = ()
        #: The 220 to a private-use command: TLS may follow. Set by `_on_private`; ends with the client's next line.
        self.tls_reply: Reply | None = None


#: Shared by all dialogues that have nothing of their own to put in. Must not be changed.
NO_FACTS, _NO_GAPS, _NO_INPUT = Facts(), _Gaps(), _ClientInput()


class Dialogue:
    """One SMTP conversation. Feed it with `client`, `server`, `client_gap`, `server_gap`, end with `close`.

    The caller reads `facts` and the attributes without underscore, and empties `events`.
    """

    __slots__ = (
        "_content",
        "_content_agreed",
        "_gaps",
        "_hello_sent",
        "_input",
        "_limits",
        "_mailed_from",
        "_quotable",
        "_replies",
        "_waiting",
        "commands",
        "dismissed",
        "envelope",
        "events",
        "facts",
        "greeted",
        "mode",
        "offered",
        "quit_sent",
        "server_seen",
    )

    def __init__(self, limits: Limits = Limits(), greeting_expected: bool = True) -> None:  # noqa: B008
        self._limits = limits
        #: How the client's next bytes are read. Set by what reads them and by what a reply does.
        self.mode: Mode = COMMAND
        #: What the server has agreed to. Set by replies alone (`_on_...`).
        self.envelope = Envelope(limits)
        #: What happened. Added to by `_emit`; emptied by the caller.
        self.events = NO_EVENTS
        #: What was found out besides. Set where it is found, by way of `_own_facts`.
        self.facts = NO_FACTS
        #: The extensions that the server offered, of `EXTENSIONS`. Set by the reply to EHLO; ends with a pretence of
        #: TLS and with XCLIENT.
        self.offered = 0
        #: The greeting has come or was passed over. Set by `_on_greeting`, `_pass_over`.
        self.greeted = not greeting_expected
        #: The client has sent QUIT. Set by `_command`, or by a reply that only QUIT gets.
        self.quit_sent = False
        #: The server has answered QUIT with 221, and the client has sent nothing since. Set by `_dismiss`.
        self.dismissed = False
        #: Anything of the server was seen. Set by `server`, `server_gap`, and by a caller that sees its segments.
        self.server_seen = False
        #: How many lines of the client were commands. Counted by `_command`.
        self.commands = 0
        #: Finds the end of the message that is being sent. Set by `_start_content`; ends with `_end_content`.
        self._content = _NO_CONTENT
        #: That message follows a 354 that was seen. Set by `_begin_content`.
        self._content_agreed = False
        #: A reply whose end has not come. Set by `server`; None between replies, where there is nothing to keep.
        self._replies: ReplyReader | None = None
        #: Checksums of the transaction's local-parts, `CHECK_BYTES` each. Set by `_path`.
        self._quotable = b""
        #: The commands that wait for replies. Added by `_sent`; removed by `_reply`, or when waiting is given up.
        self._waiting = Waiting()
        #: The path of the last MAIL as a checksum, -1 for none. Set by `_path`.
        self._mailed_from = -1
        #: HELO or EHLO was sent. Set by `_command`; ends with a pretence of TLS.
        self._hello_sent = False
        self._gaps = _NO_GAPS
        self._input = _NO_INPUT
        if greeting_expected:
            self._waiting.add(_CONNECT)
        else:
            self._own_gaps().unseen = True

    # ── what callers ask ─────────────────────────────────────────────────────────────────────────────

    @property
    def buffered(self) -> int:
        """Bytes that are kept: unfinished lines, what is held, and commands that wait for a reply."""
        kept = self._waiting.bytes + (len(self._replies.unfinished) if self._replies is not None else 0)
        return kept if self._input is _NO_INPUT else kept + len(self._input.line) + len(self._input.held)

    @property
    def holds(self) -> bool:
        """Whether the client has sent on before the reply that decides how to read it (DATA, STARTTLS, AUTH)."""
        return bool(self._input.held)

    @property
    def answered(self) -> bool:
        """Whether the client's next data answers the server: no command waits, and no refused content is being sent."""
        return not self._waiting and self.mode != REFUSED

    def unanswered(self, verb: str) -> int:
        """How many commands of this verb wait for their replies."""
        return sum(1 for command in self._waiting if command.verb == verb)

    @property
    def resuming(self) -> bool:
        """Nothing of the client was seen since content that was `unneeded`; that is what is missing before a FIN."""
        return self._gaps.resuming

    @property
    def unneeded(self) -> bool:
        """The client's bytes until the server's next reply need not be seen: they are message content."""
        if self.mode == CONTENT:
            return self._content_agreed
        return self.mode == CHUNK and self._input.chunk_left > CHUNK_UNNEEDED and not self._gaps.watch_all

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """The attempts to send a message, as many as `Limits` allows to keep."""
        return self.envelope.transactions

    # ── what is found out ────────────────────────────────────────────────────────────────────────────

    def _own_facts(self) -> Facts:
        """The dialogue's own `facts`, to set something."""
        if self.facts is NO_FACTS:
            self.facts = Facts()
        return self.facts

    def _own_gaps(self) -> _Gaps:
        if self._gaps is _NO_GAPS:
            self._gaps = _Gaps()
        return self._gaps

    def _own_input(self) -> _ClientInput:
        if self._input is _NO_INPUT:
            self._input = _ClientInput()
        return self._input

    def _emit(self, event: Event) -> None:
        """Adds to `events`."""
        if self.events:
            self.events.append(event)
        else:
            self.events = [event]

    def violate(self, name: str) -> None:
        """Records a violation, once a dialogue."""
        if name not in self.facts.violations:
            self._own_facts().violations += (name,)
            self._emit(Event("violation", name))

    def _quirk(self, name: str) -> None:
        """Records a way of writing that is allowed, or nearly so, and distinguishes programs; once a dialogue."""
        if name not in self.facts.quirks:
            self._own_facts().quirks += (name,)
            self._emit(Event("quirk", name))

    def become_opaque(self, reason: str) -> None:
        """Nothing more of this dialogue can or may be read."""
        for item in self._waiting.take_all():
            # Count what was sent: a client must not hide recipients by exceeding the bounds.
            if item.verb != "connect" and reason != "tls":
                self._settle(item, None)
        self.mode = OPAQUE
        facts = self._own_facts()
        facts.opaque_reason = reason
        if reason == "tls" and not facts.tls:
            facts.tls = facts.unagreed = True
        self._input = _NO_INPUT
        self._replies = None
        self._waiting.take_all()
        self._content = _NO_CONTENT
        self._quotable = b""
        if reason != "tls":
            self.envelope.abandon()
        self._emit(Event("opaque", reason))

    # ── the server's bytes ───────────────────────────────────────────────────────────────────────────

    def server(self, data: bytes) -> None:
        """Bytes from the server, in order."""
        self.server_seen = True
        at, waiting, keeps = 0, self._waiting, self._limits.last_reply
        reader = self._replies or ReplyReader(self._limits.local_parts)
        while at < len(data) and self.mode != OPAQUE:
            verb = "" if keeps or not waiting or waiting.lost else waiting[0].verb
            wordless = verb in WORDLESS or (verb == "connect" and len(waiting) == 1)
            reply, at = reader.next(data, at, self.violate, wordless)
            if reply is not None:
                if self._quotable and (keeps or reply.code >= 400):  # else its text is not read
                    reply = hide_words(reply, self._quotable)
                self._reply(reply)
            elif not (self.greeted or reader.begun):
                # A line without a code, before the greeting or in its place: the client's next line shows which.
                self._own_gaps().unread_greeting = True
        self._replies = reader if reader.begun else None

    def server_gap(self, size: int) -> None:
        """`size` bytes from the server were not seen."""
        self.server_seen = True
        if self.mode == OPAQUE or not size:
            return
        self.violate("lost-data")
        self._own_gaps().unseen = True
        self._replies = self._replies or ReplyReader(self._limits.local_parts)
        self._replies.forget()
        # Only commands that wait now can have been answered there.
        self._waiting.lost = len(self._waiting)

    def _reply(self, reply: Reply) -> None:
        waiting = self._waiting
        item: Pending | None
        if waiting and not waiting.lost and waiting[0].verb not in _IN_DOUBT and reply.code not in _SPECIAL:  # mostly
            item, early = waiting.next(), False
        else:
            item, early = self._answered(reply)
            if item is None:
                return
        if item.verb != "QUIT" and self._limits.last_reply:
            self._keep(reply)
        _ON_REPLY[item.verb](self, item, reply, 200 <= reply.code < 400)  # `_settle`, without its call
        if early:
            self.mode = REFUSED
        if item.verb == "QUIT":
            if reply.code == 221:
                self._dismiss()
        elif item.verb in TURNS:
            if self.mode == HELD and not waiting:
                self.mode = COMMAND
            if self._input.held and self.mode != HELD:
                self._release()

    # ── which command a reply answers ────────────────────────────────────────────────────────────────

    def _answered(self, reply: Reply) -> tuple[Pending | None, bool]:
        """Removes the command that a reply answers. Returns it, or None if it was not seen and has been handled.

        Also returns whether the reply refuses content before its end was seen.
        """
        waiting, early = self._waiting, False
        if waiting.lost or (waiting and (waiting[0].verb in PASSED_OVER or reply.code in ANSWERS)):
            self._pass_over(reply)
        if waiting:
            if waiting[0].verb in MAY_BE_OUTRUN and self._answers_unseen(waiting[0], reply):
                self._unasked(reply)
                return None, False
        elif self.mode == CONTENT and self._ends_content(reply):
            early = not reply.positive
        elif self.mode == AUTH_LINE:
            waiting.add(Pending("auth-line"))  # what this answers was not seen
        else:
            self._unasked(reply)
            return None, False
        item = waiting.next()
        if reply.code == 421 and waiting:
            self._own_gaps().closing = waiting[0]
        return item, early

    def _pass_over(self, reply: Reply) -> None:
        """The first waiting command may not be the one that is answered: its own reply never comes, or was lost."""
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
        if waiting and waiting[0].verb == "stray" and reply.code not in TO_STRAY:
            waiting.take()  # a line of content is not a command, and is refused as such
        if reply.code in ANSWERS and waiting and waiting[0].verb not in ANSWERS[reply.code]:
            for _ in range(waiting.first_of(ANSWERS[reply.code])):
                self._settle(waiting.take(), None)  # the server has left these without a reply

    def _resynchronise(self, reply: Reply) -> None:
        """Replies were lost: the commands before the one that this reply answers have been answered unseen."""
        before = self._waiting.unanswered_before(reply)
        self._waiting.lost = 0
        for _ in range(before):
            self._settle(self._waiting.take(), None)

    def _keep(self, reply: Reply) -> None:
        """Keeps the last reply to anything but QUIT, because a 221 says nothing."""
        if self._limits.last_reply:
            self._own_facts().last_reply = reply._replace(before=()) if reply.before else reply

    def _ends_content(self, reply: Reply) -> bool:
        """A reply comes although the end of the content was not seen: does it answer the message?

        Either the server saw an end that we did not see (not shown, bytes lost, or an end that it is lenient about), or
        it has seen enough and the rest is still to come.
        """
        left_out = self._content_agreed and self._content.lost
        # A 421 says that the connection ends (RFC 5321 section 3.8), and nothing about a message that is being sent. If
        # content was left out the message has most likely ended: some large providers refuse a message this way.
        if not left_out and (self.envelope.current is None or reply.code == 421):
            return False
        gaps = self._own_gaps()
        gaps.unmeasured = self.envelope.current if left_out else None
        if left_out:
            self.envelope.count_content(-2 if self._input.bare_lf else -3)  # the dot and its line end
        else:
            gaps.unseen = True
        if self._content_agreed:
            gaps.hidden = gaps.resuming = True
            self._mailed_from = -1  # the next MAIL may pass unseen
        self._end_content()
        return True

    def _answers_unseen(self, item: Pending, reply: Reply) -> bool:
        """If client bytes were not seen: does the reply answer a command among them, and not this one?

        It does if it agrees with DATA without being a 354, if it would answer QUIT without being a 221, or if it would
        answer a line that is not a command as RCPT is answered.
        """
        gaps = self._gaps
        if item.verb == "DATA":
            return (gaps.unseen or gaps.hidden) and 200 <= reply.code <= 299
        if item.verb == "unknown":
            return gaps.hidden and (reply.code in (250, 251) or 550 <= reply.code <= 553)
        return gaps.hidden and item.verb == "QUIT" and reply.code not in (221, 421)

    def _unasked(self, reply: Reply) -> None:
        """Nothing that was seen asked for this reply."""
        if (self.mode == CHUNK and reply.code != 421) or (self.mode == REFUSED and reply.positive):
            # What we take for a chunk, or for refused content, the server takes for commands.
            self.mode = COMMAND
            if self._input.chunk_left:
                self._input.chunk_left = 0
            self._own_gaps().hidden = self._own_gaps().client_lost = True
        if self._gaps.hidden and reply.code != 421:
            self._answers_hidden(reply)
            return
        if reply.code == 354:
            self._begin_content(None)  # the DATA that this answers was not seen
            return
        if self._gaps.unseen and reply.code == 221:
            self.quit_sent = True  # nothing else is answered so
            self._dismiss()
        if not (self._gaps.unseen or self._gaps.assumed or self.quit_sent or reply.code == 421):
            self.violate("unasked-reply")
        if not self.quit_sent:
            self._keep(reply)
        self._emit(Event("reply", "", reply))

    def _answers_hidden(self, reply: Reply) -> None:
        """The reply to a command that passed unseen with message content."""
        gaps = self._own_gaps()
        if reply.code == 221:
            if not self.quit_sent:
                self.quit_sent = True
                self._emit(Event("quit"))
            if gaps.unmeasured is not None:
                gaps.unmeasured.size = max(0, gaps.unmeasured.size - len(b"QUIT\r\n"))
                gaps.unmeasured = None
            self._emit(Event("reply", "QUIT", reply))
            self._dismiss()
            return
        # A client that sends more than QUIT there could hide complete envelopes.
        gaps.watch_all = gaps.unseen = True
        first, gaps.unmeasured = gaps.unmeasured is not None and gaps.resuming, None
        if reply.code == 354:
            if self._input.data_refused:  # no, a hidden RCPT was
                self.envelope.recipient("", False)
                self._emit(Event("recipient"))
                self._input.data_refused = False
            self._begin_content(None)
            return
        self._keep(reply)
        if reply.code == 334:
            self._on_auth(_NAMELESS["AUTH"], reply, True)
        elif reply.code == 220 and self.mode == COMMAND:
            self._settle(_NAMELESS["STARTTLS"], reply)
        elif reply.code in (250, 251) and first:
            self.envelope.state = MAIL  # RCPT is not agreed to before MAIL
            self._emit(Event("reply", "", reply))
        elif reply.code in (250, 251) or reply.code >= 400:
            self._settle(_NAMELESS["RCPT"], reply)
        else:
            self._emit(Event("reply", "", reply))

    def _dismiss(self) -> None:
        """The server has answered QUIT with 221: the connection ends (RFC 5321 section 4.1.1.10)."""
        self.dismissed = not (self._waiting or self._input.line or self._input.held)

    def _give_up_waiting(self) -> None:
        """The client goes on, so the reply that it waited for has come, unseen."""
        for _ in range(min(self._waiting.lost, len(self._waiting))):
            self._settle(self._waiting.take(), None)
        self._waiting.lost = 0

    # ── what a reply does ────────────────────────────────────────────────────────────────────────────
    #
    # One method for each effect that `states` names. reply: None where it was not seen, which counts as agreement.

    def _settle(self, item: Pending, reply: Reply | None) -> None:
        """Applies one command with its reply."""
        _ON_REPLY[item.verb](self, item, reply, reply is None or 200 <= reply.code < 400)

    def _on_greeting(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        self.greeted = True
        self._emit(Event("greeting", "", reply))

    def _on_hello(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        extended = item.verb != "HELO"
        if reply is not None and reply.code == 220 and self._gaps.unread_greeting:
            # The greeting, behind a line without a code that the client had taken for it.
            self._gaps.unread_greeting = False
            self._waiting.again(item)
            self._emit(Event("greeting", "", reply))
            return
        if agreed:
            self.envelope.greeted()
            if item.verb == "LHLO" or self._input.lmtp:
                self._own_input().lmtp = item.verb == "LHLO"
            if reply is not None:
                self._announced(reply if extended else None)
        if self._limits.names and (agreed or self.facts.helo is None):
            facts = self._own_facts()
            facts.helo = item.name
            facts.ehlo = extended
        self._emit(Event("hello", item.name, reply, int(extended)))

    def _announced(self, reply: Reply | None) -> None:
        """Each line of EHLO's reply after the first names an extension (RFC 5321 section 4.1.1.1)."""
        lines = (*reply.before[1:], reply.text[4:]) if reply is not None and reply.before else ()
        offered = 0
        private: tuple[str, ...] = ()
        for line in lines:
            if line[:1] == "X" or line[:1] == "x":
                private += (private_name(line.encode()),)
            else:
                offered |= EXTENSIONS.get(line.partition(" ")[0].upper(), 0)
        self.offered = offered
        if private or self._input.private_names:
            self._own_input().private_names = private

    def _on_mail(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        self.envelope.sender(item.name, agreed)
        self._emit(Event("sender", item.name, reply))

    def _on_rcpt(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        self.envelope.recipient(item.name, agreed)
        self._emit(Event("recipient", item.name, reply))

    def _on_data(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        if agreed:
            self._begin_content(reply)
        else:
            self._content_refused(reply)

    def _begin_content(self, reply: Reply | None) -> None:
        if self.envelope.current is None:
            self.envelope.open(None)
        if reply is not None and reply.code != 354:
            self.violate("reply-code")
        if self._input.guessed:
            self._input.guessed = False
        else:
            self._start_content()
        self._content_agreed = reply is not None and reply.code == 354 and not self._gaps.watch_all

    def _start_content(self) -> None:
        self.mode = CONTENT
        self._content_agreed = False
        self._content = ContentReader(self._input.bare_lf)

    def _content_refused(self, reply: Reply | None) -> None:
        state = self._own_input()
        state.data_refused = True
        transaction = self.envelope.current
        self.envelope.content_refused()
        if state.guessed:
            state.guessed = False
            self.violate("content-after-refusal")
            if transaction is not None:
                transaction.size = 0
            for item in self._waiting.take_all():
                self._waiting.add(item if item.verb != "content" else Pending("stray", size=UNCOUNTED))
            if self.mode == CONTENT:
                self.mode = REFUSED
                self._waiting.stray(UNCOUNTED)
        self._emit(Event("reply", "DATA", reply))

    def _on_bdat(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        envelope, size = self.envelope, item.size
        if self._input.chunk is item and self._input.chunk_left:  # not all of its bytes have passed, or been read
            size = self._chunk_refused(item, reply) if not agreed else self._chunk_goes_on(item, reply)
        elif size and reply is not None and reply.code in UNIMPLEMENTED:
            self._waiting.stray(UNCOUNTED, first=True)  # its bytes may have been commands
        if reply is not None and reply.code in UNIMPLEMENTED:
            self._emit(Event("reply", "BDAT", reply))
            return
        if not agreed and envelope.current is None:
            envelope.content_refused()
            self._emit(Event("reply", "BDAT", reply))
            return
        if envelope.current is None:
            envelope.open(None)
        envelope.count_content(size)
        if item.last:
            envelope.content_ends()
            self._finish(item._replace(size=0), reply)
        elif not agreed:
            envelope.content_refused()
            self._emit(Event("reply", "BDAT", reply))

    def _chunk_goes_on(self, item: Pending, reply: Reply | None) -> int:
        """A chunk was agreed to before its end (None: nothing shows otherwise). Returns how many bytes of it count."""
        state = self._input
        if self.mode == HELD:
            self.mode = CHUNK
            return item.size if reply is not None or not self.server_seen else min(item.size, len(state.held))
        return item.size if reply is not None else item.size - state.chunk_left

    def _chunk_refused(self, item: Pending, reply: Reply | None) -> int:
        """A chunk was refused before its end. Returns how many bytes of it have passed.

        A server that has the command drops the rest of it (RFC 3030 section 2). For another one its bytes are commands.
        """
        state, left = self._input, self._input.chunk_left
        if self.unneeded:
            self._own_gaps().hidden = self._own_gaps().resuming = True
        self.mode = REFUSED
        if reply is not None and reply.code in UNIMPLEMENTED:
            state.chunk_left = 0
            state.data_refused = left < item.size or state.held != b""
            if left < item.size:
                self._waiting.stray(UNCOUNTED)
            else:
                self.mode = COMMAND
        elif item.size <= len(state.held) and (reply is None or reply.code != 503):
            self.mode, left = CHUNK, 0  # it has waited for the end
        return item.size - left

    def _on_content(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        self._finish(item, reply)

    def _finish(self, item: Pending, reply: Reply | None) -> None:
        """The reply to a whole message. LMTP has one for each recipient that was accepted (RFC 2033 section 4.2)."""
        state, transaction = self._input, self.envelope.current
        if state.lmtp and transaction is not None and reply is not None and reply.code != 421:
            state.replies += 1
            if state.taken is None or reply.positive:
                state.taken = reply
            if state.replies < transaction.accepted:
                self._waiting.again(item)
                return
            reply, state.replies, state.taken = state.taken, 0, None
        self._emit(self.envelope.finish(reply))

    def _on_rset(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        if agreed:
            self.envelope.reset()
        self._emit(Event("reply", "RSET", reply))

    def _on_starttls(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        held = self._input.held
        if not (agreed and (reply or held[:1] == bytes((HANDSHAKE_RECORD,)))):
            self._emit(Event("reply", "STARTTLS", reply))
            return
        if held and held[0] != HANDSHAKE_RECORD:
            self.violate("data-before-tls")
        self._begin_tls(reply)

    def _on_xclient(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        """220: the session begins again, with another client (postfix.org/XCLIENT_README)."""
        if agreed and reply is not None:
            self._starts_again()
        self._emit(Event("reply", item.verb, reply))

    def _on_turn(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        """The server is the client from now on (RFC 2645 section 4)."""
        self._emit(Event("reply", item.verb, reply))
        if agreed and reply is not None:
            self.become_opaque("turned")

    def _begin_tls(self, reply: Reply | None) -> None:
        self._own_facts().tls = True
        self.mode = HANDSHAKE
        self._emit(Event("tls", "", reply))

    def _on_auth(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        if reply is not None and reply.code == 334:
            self.mode = AUTH_LINE
            return
        if self.mode == HELD or self.mode == AUTH_LINE:
            self.mode = COMMAND
        if reply is not None and reply.positive:
            self._own_facts().authenticated = True
        self._emit(Event("reply", "AUTH", reply))

    def _on_private(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        self._emit(Event("reply", "private", reply))
        state = self._own_input()
        code = reply.code if reply is not None else 0
        if not agreed and state.chunk is item and state.chunk_left:
            self._chunk_refused(item, reply)
        if code == 334 or code == 235:
            self._on_auth(item, reply, agreed)
        elif code == 354 and item.size:
            state.chunk_left = item.size
            self.mode = CHUNK
            state.chunk = Pending("private")  # for the reply to the chunk
            self._waiting.add(state.chunk)
        elif code == 354:
            self._begin_content(None)
        elif code == 220:
            state.tls_reply = reply
        elif reply is None and state.held[:1] == bytes((HANDSHAKE_RECORD,)):
            self._begin_tls(None)

    def _on_unknown(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        code = reply.code if reply is not None else 0
        if code == 354 and item.size:  # XEXCH50, which the server has not named
            self._on_private(item, reply, agreed)
        elif code == 354:
            self._begin_content(None)  # what we could not read was DATA for the server
        elif code == 334 and not self._waiting and self.mode == COMMAND:
            self.mode = AUTH_LINE
        else:
            self._emit(Event("reply", "unknown", reply))

    def _on_stray(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        self._emit(Event("reply", "unknown", reply))

    def _on_other(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        self._emit(Event("reply", item.verb, reply))

    # ── the client's bytes ───────────────────────────────────────────────────────────────────────────

    def client(self, data: bytes) -> None:
        """Bytes from the client, in order."""
        at = 0
        while at < len(data):
            mode = self.mode
            if mode == COMMAND and data[at] == HANDSHAKE_RECORD and self._tls_may_begin():
                pass  # the mode has changed
            elif mode == COMMAND or mode == AUTH_LINE or (mode == REFUSED and not self._input.chunk_left):
                at = self._client_line_at(data, at)
            elif mode == CONTENT:
                at = self._in_content(data, at)
            elif mode == CHUNK:
                at = self._chunk(data, at)
            elif mode == HELD:
                at = self._hold(data, at)
            elif mode == HANDSHAKE:
                at = self._handshake(data, at)
            elif mode == REFUSED:
                at = self._rest_of_chunk(data, at)
            else:
                self._own_facts().after_hello += len(data) - at
                return

    def _tls_may_begin(self) -> bool:
        """A line begins like a TLS record: is it one?"""
        state = self._input
        if state.line:
            return False
        if state.tls_reply is not None:
            reply, state.tls_reply = state.tls_reply, None
            self._begin_tls(reply)
            return True
        if not self.commands:
            self.mode = HANDSHAKE  # TLS from the first byte, as on port 465
        return not self.commands

    def client_gap(self, size: int) -> None:
        """`size` bytes from the client were not seen."""
        if self.mode == OPAQUE:
            self._own_facts().after_hello += size
            return
        if self._input.tls_reply is not None:
            self._begin_tls(self._input.tls_reply)
        if self.mode == HANDSHAKE:
            self.become_opaque("tls")
            return
        gaps = self._own_gaps()
        left_out = self.unneeded or gaps.resuming
        if self.mode == CONTENT:
            self.envelope.count_content(size)
            self._content.forget()
            gaps.hidden = gaps.hidden or left_out
            return
        if self._input.chunk_left and self.mode != HELD:
            size = self._chunk_gap(size, left_out)
            if not size:
                return
        state = self._input
        if state.line or state.skipped:
            state.line, state.skipped = b"", 0
        gaps.client_lost = True
        if left_out:
            gaps.hidden = True
            gaps.unmeasured = None
            return
        if state.held and self.mode == HELD:
            # Without its continuation the held part is useless; the reply will still say how to go on.
            if state.chunk_left:
                state.chunk_left = max(0, state.chunk_left - len(state.held) - size)
            state.held = b""
        self.violate("lost-data")
        gaps.unseen = True

    # ── lines ────────────────────────────────────────────────────────────────────────────────────────

    def _client_line_at(self, data: bytes, at: int) -> int:
        """Takes one line from `data[at:]`; returns where the next begins."""
        end = data.find(b"\n", at)
        if 0 <= end <= at + LINE and not self._input.line:
            line = data[at:end]
            total = end - at
        else:
            line, total = self._join_line(data, at, end)
            if end < 0:
                return len(data)
        text = line.rstrip(b"\r")
        if (self._gaps.client_lost or self._gaps.resuming) and not self._resumes(text):
            return end + 1
        if self.mode == AUTH_LINE:
            if total > AUTH_LIMIT:
                self.violate("overlong-command")
            self._sent("auth-line")
        elif self.mode == COMMAND or self._leaves_refused(text):
            self._command(text, len(text) == len(line), total + 1)
        return end + 1

    def _join_line(self, data: bytes, at: int, end: int) -> tuple[bytes, int]:
        """For a line that is long, or whose beginning or end (-1) is not in `data`: its kept part, and its length."""
        state = self._own_input()
        stop = end if end >= 0 else len(data)
        room = LINE - len(state.line)
        line = state.line + data[at : min(stop, at + room)]
        skipped = state.skipped + max(0, stop - at - room)
        if stop - at > room:
            # The last byte shows whether a line ends with CR, so it takes the last place of the kept part.
            line = line[:-1] + data[stop - 1 : stop]
        state.line, state.skipped = (line, skipped) if end < 0 else (b"", 0)
        return line, len(line) + skipped

    def _resumes(self, line: bytes) -> bool:
        """The first line behind bytes that were not seen. Segments nearly always begin at a line: is it a command?"""
        verb = parse_command(line).verb
        gaps = self._gaps
        if gaps.resuming and verb in ("RCPT", "DATA", "BDAT"):
            gaps.unseen = True  # MAIL was sent behind the content
        gaps.client_lost = gaps.resuming = False
        return bool(verb) or self.mode != COMMAND

    def _leaves_refused(self, line: bytes) -> bool:
        """Content may be sent although DATA or the message was refused: is this line a command again?"""
        if is_no_prose(line):
            self.mode = COMMAND
            return True
        if line == b".":
            self.mode = COMMAND
        if self._input.data_refused:
            self._waiting.stray()
        return False

    def _command(self, line: bytes, bare: bool, total: int) -> None:
        verb, rest, quirks = parse_command(line)
        name = ""
        if not verb:
            if self._is_private(name := private_name(line)):
                verb, rest, quirks = parse_private(line, name)
            elif self._not_a_command(line):
                return
        self.commands += bool(verb)
        if bare:
            self._own_input().bare_lf = True
            self.violate("bare-lf")
        if total > COMMAND_LIMIT and total > LIMITS.get(verb, COMMAND_LIMIT):
            self.violate("overlong-command")
        for quirk in quirks:
            self._quirk(quirk)
        waiting = self._waiting
        if waiting or waiting.lost or self.quit_sent or not self.greeted:
            self._in_turn()
        if not verb:
            self.violate("unknown-command")
            self._sent("unknown", size=announced_size(line[len(name) :]) if name else 0)
            return
        if self._input.data_refused:
            self._input.data_refused = False
        if verb == "private":
            self._sent(verb, size=announced_size(rest))
            return
        if self.envelope.state not in COMMANDS[verb][0] and not (waiting or self._gaps.unseen or self._gaps.assumed):
            self.violate("wrong-order")
        self._by_verb(verb, rest)

    def _is_private(self, name: str) -> bool:
        """Whether the server has named this private-use command ("" for none), or may have, unseen."""
        if not name:
            return False
        return self._gaps.unseen or self._gaps.assumed or name in self._input.private_names

    def _by_verb(self, verb: str, rest: bytes) -> None:
        """The effects of a command before its reply comes."""
        if verb == "MAIL" or verb == "RCPT":
            self._path(verb, rest)
        elif verb == "HELO" or verb == "EHLO" or verb == "LHLO":
            name = readable(rest.strip())
            self._hello_sent = True
            if not name:
                self.violate("empty-hello")
            self._sent(verb, name if self._limits.local_parts else hide_local_parts(name))
        elif verb == "BDAT":
            self._bdat(rest)
        elif verb in AS_MAIL:
            self._path("MAIL", rest)
        elif verb == "BURL":
            self._sent(verb, last=rest.upper().endswith(b" LAST"))
        else:
            if verb == "QUIT":
                self.quit_sent = True
                self._emit(Event("quit"))
            self._sent(verb)

    def _in_turn(self) -> None:
        """A command comes: was it its turn?"""
        if self.quit_sent:
            self.violate("data-after-quit")
        if self._waiting.lost:
            self._give_up_waiting()
        if not self.server_seen:
            return
        if self._gaps.unread_greeting and not self.greeted:
            self._settle(self._waiting.take(), None)
        if not self.greeted:
            self.violate("early-talk")
        elif self._waiting and self._waiting[-1].verb != "stray" and not self.offered & PIPELINING:
            self.violate("blind-pipelining")

    def _path(self, verb: str, rest: bytes) -> None:
        path, form = parse_path(rest, b"FROM" if verb == "MAIL" else b"TO")
        if form == BARE:
            self.violate("bad-path")
        elif form == SPACED:
            self._quirk("path-spaced")
        if verb == "MAIL" and not (self._hello_sent or self._gaps.unseen):
            self.violate("no-hello")
        if not self._limits.local_parts:
            if verb == "MAIL" and not self._waiting:
                self._quotable = b""
            local = local_part(path)
            if local and len(self._quotable) < QUOTABLE * CHECK_BYTES:
                self._quotable += check(local)
        if verb == "MAIL":
            self._mailed_from = hash(path.lower()) if path else -1  # hash is never -1
        elif hash(path.lower()) == self._mailed_from:
            self._quirk("sender-is-recipient")
        self._sent(verb, address_of(path, self._limits.local_parts))

    def _not_a_command(self, line: bytes) -> bool:
        """Handles lines that are not commands for a reason; False if it is just an unknown one."""
        if not self.commands and any(b < 9 or b > 126 for b in line[:32]):
            self.become_opaque("not-smtp")
            return True
        state = self._own_input()
        if state.data_refused:
            # DATA was refused, and the message comes all the same.
            self.violate("content-after-refusal")
            self._waiting.stray()
            if line != b".":
                self.mode = REFUSED
            return True
        state.bad_lines += 1
        if state.bad_lines >= _NOT_SMTP_AFTER and state.bad_lines > self.commands and not self._gaps.hidden:
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
        if not size:
            self._sent("BDAT", last=last, turns=False)
            return
        state = self._own_input()
        state.chunk_left = size
        # Octets that a server is not known to expect may be commands for it: these wait for its reply.
        known = self.server_seen and (self.offered & CHUNKING or self._gaps.unseen)
        state.chunk = self._sent("BDAT", size=size, last=last, turns=not known)
        if self.mode == COMMAND:
            self.mode = CHUNK

    def _sent(self, verb: str, name: str = "", size: int = 0, last: bool = False, turns: bool | None = None) -> Pending:
        """A command was sent: it waits for its reply, or is settled at once if no server is seen. Returns it.

        turns: its reply decides how the client's next bytes are read (None: as `TURNS` has it).
        """
        item = Pending(verb, name, size, last) if name or size or last else _NAMELESS[verb]
        if turns is None:
            turns = verb in TURNS
        if self._input.tls_reply is not None:
            self._input.tls_reply = None
        if not self.server_seen:
            self._own_gaps().assumed = True
            if turns:
                self.mode = HELD
                self._waiting.add(item)
            else:
                self._settle(item, None)
            return item
        self._waiting.add(item)
        if len(self._waiting) > self._limits.waiting or self._waiting.bytes > self._limits.waiting_bytes:
            self.become_opaque("too-many-commands")
        elif turns:
            self.mode = HELD
        return item

    # ── bytes that depend on a reply ─────────────────────────────────────────────────────────────────

    def _hold(self, data: bytes, at: int) -> int:
        """The client went on although its next bytes depend on a reply."""
        verb = self._waiting[-1].verb if self._waiting else ""
        if not self.server_seen or self._waiting.lost:
            return self._guess(verb, data, at)
        if verb == "DATA" and not self._gaps.client_lost:
            self.violate("early-content")
        state = self._own_input()
        room = HELD_BYTES - len(state.held)
        state.held += data[at : at + room]
        if len(data) - at <= room:
            return len(data)
        if verb != "DATA" and verb != "BDAT":
            self.become_opaque("too-much-held")
            return len(data)
        # No reply for so long: read it as content; the reply will show whether that was right.
        if verb == "BDAT":
            self.mode = CHUNK
        else:
            state.guessed = True
            self._start_content()
        self._release()
        return at + room

    def _guess(self, verb: str, data: bytes, at: int) -> int:
        """The reply that decides was not seen: the client's next line shows what it was."""
        state = self._own_input()
        end = data.find(b"\n", at) + 1 or len(data)
        state.held += data[at:end]
        tls_follows = state.held[0] == HANDSHAKE_RECORD
        if not (state.held.endswith(b"\n") or tls_follows) and len(state.held) < HELD_BYTES:
            return end
        while len(self._waiting) > 1:
            self._settle(self._waiting.take(), None)
        self._waiting.lost = 0
        item = self._waiting.take() if self._waiting else Pending("")
        self.mode = COMMAND
        if verb == "STARTTLS":
            self._settle(item, None)
        elif verb == "private":
            self._guess_private(item)
        elif verb in ("AUTH", "auth-line"):
            if not is_command(state.held):
                self.mode = AUTH_LINE
        elif verb == "BDAT":
            self._guess_chunk(item)
        elif verb == "DATA" and not is_no_content(state.held.rstrip(b"\r\n")):
            self._settle(item, None)
        self._release()
        return end

    def _guess_chunk(self, item: Pending) -> None:
        """The reply to BDAT was not seen: a chunk follows, or a command because it was refused."""
        if is_no_prose(self._input.held.rstrip(b"\r\n")):
            self._input.chunk_left = 0
        else:
            self.mode = HELD
            self._settle(item, None)

    def _guess_private(self, item: Pending) -> None:
        """The reply to a private-use command was not seen: TLS, a command, a chunk or an authentication follows."""
        state = self._input
        if state.held[0] == HANDSHAKE_RECORD or is_command(state.held) or private_name(state.held.rstrip(b"\r\n")):
            self._settle(item, None)
        elif item.size:
            state.chunk, state.chunk_left, self.mode = item, item.size, CHUNK
        else:
            self.mode = AUTH_LINE

    def _release(self) -> None:
        """The awaited reply has come: read what was held."""
        held = self._input.held
        if held:
            self._input.held = b""
            self.client(held)

    def _handshake(self, data: bytes, at: int) -> int:
        """Collects the ClientHello, for its name and fingerprint; after it everything is opaque."""
        state = self._own_input()
        if not state.held and data[at] != HANDSHAKE_RECORD:  # only after STARTTLS
            self._goes_on_in_the_clear()
            return at
        size = len(state.held) + len(data) - at
        state.held += data[at : at + tls.LONGEST - len(state.held)]
        try:
            hello = tls.client_hello(state.held)
        except tls.NotTLSError:
            self.become_opaque("tls" if self.facts.tls else "not-smtp")
            return len(data)
        if hello:
            facts = self._own_facts()
            facts.client_hello = hello
            facts.after_hello = size - hello.size
            self._emit(Event("fingerprint", hello.ja4))
        if hello or len(state.held) >= tls.LONGEST:
            self.become_opaque("tls")
        return len(data)

    def _goes_on_in_the_clear(self) -> None:
        """STARTTLS was agreed to and no TLS came: a decrypted capture, or a pretence. The state is reset (RFC 3207)."""
        self.mode = COMMAND
        self._starts_again()

    def _starts_again(self) -> None:
        self.envelope.reset()
        self.envelope.state = NEW
        self._hello_sent = False
        self.offered = 0
        if self._input.private_names:
            self._input.private_names = ()

    # ── message content ──────────────────────────────────────────────────────────────────────────────

    def _in_content(self, data: bytes, at: int) -> int:
        """Counts content up to the line with a single dot; returns the position behind it."""
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
        self._content = _NO_CONTENT
        self.envelope.content_ends()
        self._sent("content")

    def _chunk(self, data: bytes, at: int) -> int:
        state = self._input
        taken = min(len(data) - at, state.chunk_left)
        state.chunk_left -= taken
        if not state.chunk_left:
            self.mode = COMMAND
        return at + taken

    def _rest_of_chunk(self, data: bytes, at: int) -> int:
        """A chunk was refused before its end. Its rest may come, or commands: then the server does not wait for it."""
        state = self._own_input()
        stop = min(data.find(b"\n", at) + 1 or len(data), at + LINE - len(state.line))
        line = state.line + data[at:stop]
        if line[-1] != 0x0A and len(line) < LINE:
            state.line = line
            return stop
        state.line = b""
        text, left = line.rstrip(b"\r\n"), state.chunk_left
        if self._gaps.client_lost or self._gaps.resuming:
            self._resumes(text)
        if line[-1] == 0x0A and is_no_prose(text):
            left = 0
        elif len(line) <= left:
            self._waiting.stray()  # a server that reads commands answers it
        state.chunk_left = max(0, left - len(line))
        if not state.chunk_left:
            self.mode = COMMAND
            if left < len(line):
                self.client(line[left:])
        return stop

    def _chunk_gap(self, size: int, left_out: bool) -> int:
        """Lost bytes of a chunk. Returns how many were lost behind it."""
        state = self._input
        if state.line:  # of a chunk that was refused
            state.chunk_left, state.line = max(0, state.chunk_left - len(state.line)), b""
        taken = min(size, state.chunk_left)
        state.chunk_left -= taken
        if not state.chunk_left:
            self.mode = COMMAND
            self._own_gaps().resuming = left_out
        return size - taken

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────

    def tls_ended(self, size: int) -> None:
        """The client has sent `size` bytes after its ClientHello, and no more will come."""
        self._emit(Event("tls-bytes", "", None, size))

    def timed(self, turns: int, ahead: int, milliseconds: int) -> None:
        """How fast the client answers, as `turnaround` has found it."""
        self._emit(Event("turnaround", f"{turns}/{ahead}", None, milliseconds))

    def close(self, closed: bool) -> None:
        """The connection has ended (`closed`), or is no longer watched."""
        if closed and self._replies is not None and self._replies.unfinished[:3].isdigit():
            self.server(b"\n")  # the last line of a server that disconnected without ending it
        # Commands that were never answered count as the client intended them.
        for _ in range(_CLOSING_ROUNDS):
            closing = self._gaps.closing is not None and self._waiting and self._waiting[0] is self._gaps.closing
            for item in self._waiting.take_all():
                if item.verb != "connect" and not closing:  # after 421 nothing more is done (RFC 5321 section 3.8)
                    self._settle(item, None)
            if self.mode == HELD:
                self.mode = COMMAND
            if not self._input.held:
                break
            self._release()
        if not closed:
            return
        self.envelope.close(one_side_only=not self.server_seen)
        left_out = self.mode == CONTENT and self._content.lost  # QUIT may have been behind it
        if self.commands and not (self.quit_sent or self.mode == OPAQUE or self._gaps.client_lost or left_out):
            self.violate("no-quit")


_Effect = Callable[[Dialogue, Pending, Reply | None, bool], None]
#: What waits -> what its reply does, as `states` has it. "": what waited was lost with a gap.
_ON_REPLY: dict[str, _Effect] = {
    verb: getattr(Dialogue, f"_on_{effect}")
    for verb, effect in (
        *((verb, effect) for verb, (_, effect) in COMMANDS.items()),
        *OTHERS_THAT_WAIT.items(),
        ("", "other"),
    )
}
