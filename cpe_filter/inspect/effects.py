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


class Exchange:
    """What both sides have said and what came of it. `smtp.Dialogue` is the whole of it, and tells the attributes."""

    __slots__ = (
        "_assumed",
        "_bad_lines",
        "_bare_lf",
        "_chunk_left",
        "_client_line",
        "_client_lost",
        "_client_skip",
        "_content",
        "_content_agreed",
        "_data_refused",
        "_guessed",
        "_held",
        "_hello_sent",
        "_hidden",
        "_limits",
        "_mailed_from",
        "_quotable",
        "_replies",
        "_resuming",
        "_unmeasured",
        "_unseen",
        "_waiting",
        "after_hello",
        "authenticated",
        "client_hello",
        "commands",
        "dismissed",
        "ehlo",
        "envelope",
        "events",
        "greeted",
        "helo",
        "last_reply",
        "mode",
        "opaque_reason",
        "pipelining",
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
        self.quirks: tuple[str, ...] = ()
        self.helo: str | None = None
        self.ehlo = False
        self.pipelining = False
        self.greeted = not greeting_expected
        self.last_reply: Reply | None = None
        self.tls = False
        self.client_hello: ClientHello | None = None
        self.after_hello = 0
        self.authenticated = False
        self.quit_sent = False
        self.dismissed = False
        self.opaque_reason = ""
        self.server_seen = False
        self.watch_all = False
        self.commands = 0
        self._content = NO_CONTENT
        self._replies = ReplyReader(limits.local_parts)
        self._quotable: tuple[int, ...] = ()
        self._waiting = Waiting()
        if greeting_expected:
            self._waiting.add(Pending("connect"))
        self._client_line = b""
        self._client_skip = 0  # bytes of an over-long line thrown away
        self._client_lost = False
        self._held = b""
        self._guessed = False
        self._chunk_left = 0
        self._bad_lines = 0
        self._bare_lf = False  # a command line ended without CR
        self._data_refused = False
        self._mailed_from = -1  # the path, as a checksum
        self._hello_sent = False
        self._assumed = False  # some command was taken as agreed to, its reply unseen
        self._unseen = not greeting_expected  # something may have been said that was not seen
        self._content_agreed = False  # the content that is being sent follows a 354 that was seen
        self._hidden = False  # content went by unseen, and with it there may have been commands
        self._resuming = False  # since such content nothing of the client was seen
        self._unmeasured: Transaction | None = None  # its size may count a QUIT

    def violate(self, name: str) -> None:
        """Records a violation, once a dialogue."""
        if name not in self.violations:
            self.violations.append(name)
            self.events.append(Event("violation", name))

    def _quirk(self, name: str) -> None:
        """A way of writing that is allowed, or nearly so, and tells programs apart; once a dialogue."""
        if name not in self.quirks:
            self.quirks += (name,)
            self.events.append(Event("quirk", name))

    def become_opaque(self, reason: str) -> None:
        """Nothing further of this dialogue can or may be read."""
        for item in self._waiting.take_all():
            # Sent is sent: who outruns our bounds shall not hide recipients by it.
            if item.verb != "connect" and reason != "tls":
                self._settle(item, None)
        self.mode = OPAQUE
        self.opaque_reason = reason
        self.tls = self.tls or reason == "tls"
        self._held = self._client_line = b""
        self._replies.forget()
        self._waiting.take_all()
        self._content = NO_CONTENT
        self._quotable = ()
        if reason != "tls":
            self.envelope.abandon()
        self.events.append(Event("opaque", reason))

    def _give_up_waiting(self) -> None:
        """The client goes on, so what it waited for has been answered, unseen."""
        for _ in range(min(self._waiting.lost, len(self._waiting))):
            self._settle(self._waiting.take(), None)
        self._waiting.lost = 0

    # ── what a reply does ────────────────────────────────────────────────────────────────────────────

    def _settle(self, item: Pending, reply: Reply | None) -> None:
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
        offered = (*reply.before[1:], reply.text[4:]) if reply is not None and reply.before else ()
        self.pipelining = any(line[:10].upper() == "PIPELINING" and line[10:11] in ("", " ") for line in offered)

    def _envelope(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
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
        self.events.append(Event("reply", "DATA", reply))

    def _effect_chunk(self, item: Pending, reply: Reply | None, agreed: bool) -> None:
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
