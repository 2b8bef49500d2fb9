"""What a dialogue is at a moment, and what a reply to a command changes in it.

Knows what each command does once it is answered (`EFFECTS`, `TURNS` in `command`). Must not know how a client's bytes
are read (`client`), nor how a reply finds its command (`smtp`). A reply that was not seen (None) counts as agreement.
"""

from __future__ import annotations

from cpe_filter.inspect.content import ContentReader
from cpe_filter.inspect.envelope import Envelope
from cpe_filter.inspect.facts import Event, Limits, Reply, Transaction
from cpe_filter.inspect.reply import ReplyReader
from cpe_filter.inspect.tls import HANDSHAKE_RECORD, ClientHello
from cpe_filter.inspect.waiting import UNCOUNTED, Pending, Waiting

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
#: In the place of a reader where no content is being sent.
NO_CONTENT = ContentReader(False)
#: What waits for the greeting.
_CONNECT = Pending("connect")
#: The events of a dialogue of which there is nothing to tell. Shared, so nobody may add to it.
NO_EVENTS: list[Event] = []


class Exchange:
    """What both sides have said and what came of it. `smtp.Dialogue` is the whole of it, and tells the attributes."""

    __slots__ = (
        "__dict__",
        "_client_line",
        "_content",
        "_content_agreed",
        "_hello_sent",
        "_limits",
        "_mailed_from",
        "_quotable",
        "_replies",
        "_waiting",
        "commands",
        "dismissed",
        "envelope",
        "events",
        "greeted",
        "mode",
        "pipelining",
        "quit_sent",
        "server_seen",
    )

    # Where few dialogues ever have anything but this the class has it for all: an attribute of its own is then in a
    # dictionary that only such a dialogue gets. 4,096 dialogues are 4,096 times what one takes.
    _assumed = False  # some command was taken as agreed to, its reply unseen
    _bad_lines = 0
    _bare_lf = False  # a command line ended without CR
    _chunk_left = 0
    _client_lost = False
    _client_skip = 0  # bytes of an over-long line thrown away
    _data_refused = False
    _guessed = False
    _held = b""
    _hidden = False  # content went by unseen, and with it there may have been commands
    _resuming = False  # since such content nothing of the client was seen
    _unmeasured: Transaction | None = None  # its size may count a QUIT
    _unseen = False  # something may have been said that was not seen
    after_hello = 0
    authenticated = False
    client_hello: ClientHello | None = None
    ehlo = False
    helo: str | None = None
    last_reply: Reply | None = None
    opaque_reason = ""
    quirks: tuple[str, ...] = ()
    tls = False
    unagreed = False  # the client began with TLS, and nothing shows that the server takes part in it
    violations: tuple[str, ...] = ()
    watch_all = False

    def __init__(self, limits: Limits = Limits(), greeting_expected: bool = True) -> None:  # noqa: B008
        self._limits = limits
        self.mode = COMMAND
        self.envelope = Envelope(limits)
        self.events = NO_EVENTS
        self.pipelining = False
        self.greeted = not greeting_expected
        self.quit_sent = False
        self.dismissed = False
        self.server_seen = False
        self.commands = 0
        self._content = NO_CONTENT
        self._replies: ReplyReader | None = None  # between replies there is nothing to keep
        self._quotable = b""  # checksums, `CHECK_BYTES` each
        self._waiting = Waiting()
        if greeting_expected:
            self._waiting.add(_CONNECT)
        self._client_line = b""
        self._mailed_from = -1  # the path, as a checksum
        self._hello_sent = False
        self._content_agreed = False  # the content that is being sent follows a 354 that was seen
        if not greeting_expected:
            self._unseen = True

    def _tell(self, event: Event) -> None:
        """Adds to `events`."""
        if self.events:
            self.events.append(event)
        else:
            self.events = [event]

    def violate(self, name: str) -> None:
        """Records a violation, once a dialogue."""
        if name not in self.violations:
            self.violations += (name,)
            self._tell(Event("violation", name))

    def _quirk(self, name: str) -> None:
        """A way of writing that is allowed, or nearly so, and tells programs apart; once a dialogue."""
        if name not in self.quirks:
            self.quirks += (name,)
            self._tell(Event("quirk", name))

    def become_opaque(self, reason: str) -> None:
        """Nothing further of this dialogue can or may be read."""
        for item in self._waiting.take_all():
            # Sent is sent: who outruns our bounds shall not hide recipients by it.
            if item.verb != "connect" and reason != "tls":
                self._settle(item, None)
        self.mode = OPAQUE
        self.opaque_reason = reason
        if reason == "tls" and not self.tls:
            self.tls = self.unagreed = True
        self._held = self._client_line = b""
        self._replies = None
        self._waiting.take_all()
        self._content = NO_CONTENT
        self._quotable = b""
        if reason != "tls":
            self.envelope.abandon()
        self._tell(Event("opaque", reason))

    def _give_up_waiting(self) -> None:
        """The client goes on, so what it waited for has been answered, unseen."""
        for _ in range(min(self._waiting.lost, len(self._waiting))):
            self._settle(self._waiting.take(), None)
        self._waiting.lost = 0

    # ── what a reply does ────────────────────────────────────────────────────────────────────────────

    def _settle(self, item: Pending, reply: Reply | None) -> None:
        """Applies one command with its reply; None means the reply was not seen, and counts as agreement."""
        verb = item.verb
        agreed = reply is None or 200 <= reply.code < 400
        if verb == "MAIL":
            self.envelope.sender(item.name, agreed)
            self._tell(Event("sender", item.name, reply))
        elif verb == "RCPT":
            self.envelope.recipient(item.name, agreed)
            self._tell(Event("recipient", item.name, reply))
        elif verb == "connect":
            self.greeted = True
            self._tell(Event("greeting", "", reply))
        elif verb == "unknown" and reply is not None and reply.code == 354:
            self._effect_content(None)  # the server has taken for DATA what we could not read
        elif verb == "stray":
            self._tell(Event("reply", "unknown", reply))
        elif verb == "content":
            self._tell(self.envelope.finish(reply))
        elif verb in ("AUTH", "auth-line"):
            self._effect_auth(reply)
        elif verb == "DATA":
            if agreed:
                self._effect_content(reply)
            else:
                self._refused_content(reply)
        elif verb == "BDAT":
            self._chunk_answered(item, reply, agreed)
        elif verb in ("HELO", "EHLO"):
            if agreed:
                self.envelope.greeted()
                if reply is not None:
                    self._announced(reply if verb == "EHLO" else None)
            if self._limits.names and (agreed or self.helo is None):
                self.helo = item.name
                self.ehlo = verb == "EHLO"
            self._tell(Event("hello", item.name, reply, int(verb == "EHLO")))
        elif verb == "RSET" and agreed:
            self.envelope.reset()
            self._tell(Event("reply", verb, reply))
        elif verb == "STARTTLS" and agreed and (reply or self._held[:1] == bytes((HANDSHAKE_RECORD,))):
            if self._held and self._held[0] != HANDSHAKE_RECORD:
                self.violate("data-before-tls")
            self.tls = True
            self.mode = HANDSHAKE
            self._tell(Event("tls", "", reply))
        else:
            self._tell(Event("reply", verb, reply))

    def _announced(self, reply: Reply | None) -> None:
        """Each line of EHLO's reply after the first names an extension (RFC 5321 section 4.1.1.1)."""
        offered = (*reply.before[1:], reply.text[4:]) if reply is not None and reply.before else ()
        self.pipelining = False
        for line in offered:
            if line[:10].upper() == "PIPELINING" and line[10:11] in ("", " "):
                self.pipelining = True

    def _chunk_answered(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        if agreed or self.envelope.current is not None:
            self._effect_chunk(item, reply, agreed)
        else:
            self.envelope.content_refused()
            self._tell(Event("reply", "BDAT", reply))

    def _effect_content(self, reply: Reply | None) -> None:
        if self.envelope.current is None:
            self.envelope.open(None)
        if reply is not None and reply.code != 354:
            self.violate("reply-code")
        if self._guessed:
            self._guessed = False
        else:
            self._start_content()
        self._content_agreed = reply is not None and reply.code == 354 and not self.watch_all

    def _start_content(self) -> None:
        self.mode = CONTENT
        self._content_agreed = False
        self._content = ContentReader(self._bare_lf)

    def _refused_content(self, reply: Reply | None) -> None:
        self._data_refused = True
        transaction = self.envelope.current
        self.envelope.content_refused()
        if self._guessed:
            self._guessed = False
            self.violate("content-after-refusal")
            if transaction is not None:
                transaction.size = 0
            for item in self._waiting.take_all():
                self._waiting.add(item if item.verb != "content" else Pending("stray", size=UNCOUNTED))
            if self.mode == CONTENT:
                self.mode = REFUSED
                self._waiting.stray(UNCOUNTED)
        self._tell(Event("reply", "DATA", reply))

    def _effect_chunk(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
        if self.envelope.current is None:
            self.envelope.open(None)
        self.envelope.count_content(item.size)
        if item.last:
            self.envelope.content_ends()
            self._tell(self.envelope.finish(reply))
        elif not agreed:
            self.envelope.content_refused()
            self._tell(Event("reply", "BDAT", reply))

    def _effect_auth(self, reply: Reply | None) -> None:
        if reply is not None and reply.code == 334:
            self.mode = SECRET
            return
        if self.mode == HELD or self.mode == SECRET:
            self.mode = COMMAND
        if reply is not None and reply.positive:
            self.authenticated = True
        self._tell(Event("reply", "AUTH", reply))
