"""What is known of a dialogue: its attributes, each with who sets it.

Must not know how anything is found out.

Memory: 4,096 dialogues take 4,096 times what one takes. What few dialogues ever have is therefore in objects of its own
(`Facts`, `Gaps`, `ClientInput`). A dialogue shares an empty one until it has something to put in (`own_facts`,
`own_gaps`, `own_input`).
"""

from __future__ import annotations

from cpe_filter.inspect.content import NO_CONTENT
from cpe_filter.inspect.envelope import Envelope
from cpe_filter.inspect.facts import Event, Facts, Limits, Reply, Transaction
from cpe_filter.inspect.reply import ReplyReader
from cpe_filter.inspect.states import CHUNK, COMMAND, CONTENT, REFUSED
from cpe_filter.inspect.waiting import Pending, Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.inspect.states import Mode

#: At least so much of a chunk must be to come for the client's bytes to be `unneeded`. Less is not worth the change.
CHUNK_UNNEEDED = 16384
_CONNECT = Pending("connect")
#: The events of a dialogue that has none. Shared, so it must not be changed.
NO_EVENTS: list[Event] = []


class Gaps:
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
        #: A command was taken as agreed to without a reply. Set by `sent` while no server is seen.
        self.assumed = False
        #: Bytes of the client are missing before what comes next. Set by `client_gap`, `unasked`; ends with a line
        #: that is a command (`resumes`).
        self.client_lost = False
        #: The command that waits behind one that was answered with 421. Set by `find_command`.
        self.closing: Pending | None = None
        #: Content passed unseen, and with it there may have been commands. Set by `client_gap`, `ends_content`.
        self.hidden = False
        #: Nothing of the client was seen since such content. Set by `client_gap`, `ends_content`; ends as
        #: `client_lost` does.
        self.resuming = False
        #: The transaction whose size may count a QUIT. Set by `ends_content`; ends with the next hidden reply.
        self.unmeasured: Transaction | None = None
        #: A line without a code came before the greeting, or in its place. Set by `server`.
        self.unread_greeting = False
        #: Bytes may have passed that were not seen. Set if the beginning or any byte is missing; stays.
        self.unseen = False
        #: The client hides commands behind content: all of it must be seen. Set by `answers_hidden`; stays.
        self.watch_all = False


class ClientInput:
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
        #: Lines that were not commands. Set by `not_a_command`.
        self.bad_lines = 0
        #: A command line ended without CR. Set by `read_command`; stays.
        self.bare_lf = False
        #: The command whose chunk is being sent, or was sent last. Set by `read_bdat`, `on_private`.
        self.chunk: Pending | None = None
        #: Bytes of that chunk that are still to come. Falls in `pass_chunk`, `rest_of_chunk` and `client_gap`.
        self.chunk_left = 0
        #: DATA was refused, and no command has come since. Set by `content_refused`; ends in `read_command`.
        self.data_refused = False
        #: Held bytes were read as content before DATA had its reply. Set by `hold`; ends with that reply.
        self.guessed = False
        #: Bytes behind a command of `TURNS`, or of a ClientHello. Set by `hold`, `guess`, `handshake`; read by
        #: `release`.
        self.held = b""
        #: A line whose end has not come, and how many bytes of it were dropped. Set by `join_line`.
        self.line = b""
        self.skipped = 0
        #: LHLO was agreed to. Set by `on_hello`.
        self.lmtp = False
        #: Replies to the last message, and the first of these that agrees, or the first. Set by `finish`.
        self.replies = 0
        self.taken: Reply | None = None
        #: Private-use commands that the server has named. Set by the reply to EHLO; ends with a pretence of TLS.
        self.private_names: tuple[str, ...] = ()
        #: The 220 to a private-use command: TLS may follow. Set by `on_private`; ends with the client's next line.
        self.tls_reply: Reply | None = None


#: Shared by all dialogues that have nothing of their own to put in. Must not be changed.
NO_FACTS, NO_GAPS, NO_INPUT = Facts(), Gaps(), ClientInput()


class DialogueState:
    """The attributes of a dialogue, and what callers ask of it. `smtp.Dialogue` is the machine that sets them.

    The caller reads `facts` and the other attributes of the second group, and empties `events`.
    """

    __slots__ = (
        # The machine's own.
        "content",
        "content_agreed",
        "gaps",
        "hello_sent",
        "input",
        "limits",
        "mailed_from",
        "quotable",
        "replies",
        "waiting",
        # For callers.
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
        self.limits = limits
        #: How the client's next bytes are read. Set by what reads them and by what a reply does.
        self.mode: Mode = COMMAND
        #: What the server has agreed to. Set by replies alone (`_on_...`).
        self.envelope = Envelope(limits)
        #: What happened. Added to by `emit`; emptied by the caller.
        self.events = NO_EVENTS
        #: What was found out besides. Set where it is found, by way of `own_facts`.
        self.facts = NO_FACTS
        #: The extensions that the server offered, of `EXTENSIONS`. Set by the reply to EHLO; ends with a pretence of
        #: TLS and with XCLIENT.
        self.offered = 0
        #: The greeting has come or was passed over. Set by `on_greeting`, `pass_over`.
        self.greeted = not greeting_expected
        #: The client has sent QUIT. Set by `read_command`, or by a reply that only QUIT gets.
        self.quit_sent = False
        #: The server has answered QUIT with 221, and the client has sent nothing since. Set by `dismiss`.
        self.dismissed = False
        #: Anything of the server was seen. Set by `server`, `server_gap`, and by a caller that sees its segments.
        self.server_seen = False
        #: How many lines of the client were commands. Counted by `read_command`.
        self.commands = 0
        #: Finds the end of the message that is being sent. Set by `start_content`; ends with `end_content`.
        self.content = NO_CONTENT
        #: That message follows a 354 that was seen. Set by `begin_content`.
        self.content_agreed = False
        #: A reply whose end has not come. Set by `server`; None between replies, where there is nothing to keep.
        self.replies: ReplyReader | None = None
        #: Checksums of the transaction's local-parts, `CHECK_BYTES` each. Set by `read_path`.
        self.quotable = b""
        #: The commands that wait for replies. Added by `sent`; removed by `_reply`, or when waiting is given up.
        self.waiting = Waiting()
        #: The path of the last MAIL as a checksum, -1 for none. Set by `read_path`.
        self.mailed_from = -1
        #: HELO or EHLO was sent. Set by `read_command`; ends with a pretence of TLS.
        self.hello_sent = False
        self.gaps = NO_GAPS
        self.input = NO_INPUT
        if greeting_expected:
            self.waiting.add(_CONNECT)
        else:
            self.own_gaps().unseen = True

    # ── what callers ask ─────────────────────────────────────────────────────────────────────────────

    @property
    def buffered(self) -> int:
        """Bytes that are kept: unfinished lines, what is held, and commands that wait for a reply."""
        kept = self.waiting.bytes + (len(self.replies.unfinished) if self.replies is not None else 0)
        return kept if self.input is NO_INPUT else kept + len(self.input.line) + len(self.input.held)

    @property
    def holds(self) -> bool:
        """Whether the client has sent on before the reply that decides how to read it (DATA, STARTTLS, AUTH)."""
        return bool(self.input.held)

    @property
    def answered(self) -> bool:
        """Whether the client's next data answers the server: no command waits, and no refused content is being sent."""
        return not self.waiting and self.mode != REFUSED

    def unanswered(self, verb: str) -> int:
        """How many commands of this verb wait for their replies."""
        return sum(1 for command in self.waiting if command.verb == verb)

    @property
    def resuming(self) -> bool:
        """Nothing of the client was seen since content that was `unneeded`; that is what is missing before a FIN."""
        return self.gaps.resuming

    @property
    def unneeded(self) -> bool:
        """The client's bytes until the server's next reply need not be seen: they are message content."""
        if self.mode == CONTENT:
            return self.content_agreed
        return self.mode == CHUNK and self.input.chunk_left > CHUNK_UNNEEDED and not self.gaps.watch_all

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """The attempts to send a message, as many as `Limits` allows to keep."""
        return self.envelope.transactions

    # ── what is found out ────────────────────────────────────────────────────────────────────────────

    def own_facts(self) -> Facts:
        """The dialogue's own `facts`, to set something."""
        if self.facts is NO_FACTS:
            self.facts = Facts()
        return self.facts

    def own_gaps(self) -> Gaps:
        if self.gaps is NO_GAPS:
            self.gaps = Gaps()
        return self.gaps

    def own_input(self) -> ClientInput:
        if self.input is NO_INPUT:
            self.input = ClientInput()
        return self.input

    def emit(self, event: Event) -> None:
        """Adds to `events`."""
        if self.events:
            self.events.append(event)
        else:
            self.events = [event]

    def violate(self, name: str) -> None:
        """Records a violation, once a dialogue."""
        if name not in self.facts.violations:
            self.own_facts().violations += (name,)
            self.emit(Event("violation", name))

    def quirk(self, name: str) -> None:
        """Records a way of writing that is allowed, or nearly so, and distinguishes programs; once a dialogue."""
        if name not in self.facts.quirks:
            self.own_facts().quirks += (name,)
            self.emit(Event("quirk", name))

    def keep(self, reply: Reply) -> None:
        """Keeps the last reply to anything but QUIT, because a 221 says nothing."""
        if self.limits.last_reply:
            self.own_facts().last_reply = reply._replace(before=()) if reply.before else reply

    def dismiss(self) -> None:
        """The server has answered QUIT with 221: the connection ends (RFC 5321 section 4.1.1.10)."""
        self.dismissed = not (self.waiting or self.input.line or self.input.held)

    # ── what the machine does (smtp.Dialogue) ────────────────────────────────────────────────────────

    def become_opaque(self, reason: str) -> None:
        """Nothing more of this dialogue can or may be read."""
        raise NotImplementedError

    def settle(self, item: Pending, reply: Reply | None) -> None:
        """Applies one command with its reply."""
        raise NotImplementedError

    def sent(self, verb: str, name: str = "", size: int = 0, last: bool = False, turns: bool | None = None) -> Pending:
        """A command was sent: it waits for its reply, or is settled at once if no server is seen. Returns it.

        turns: its reply decides how the client's next bytes are read (None: as `TURNS` has it).
        """
        raise NotImplementedError

    def client(self, data: bytes) -> None:
        """Bytes from the client, in order."""
        raise NotImplementedError
