"""The facts of a dialogue: replies, events, transactions, and how much of them may be kept.

Knows their form. Must not know how bytes become facts (smtp, reply, command) or what facts mean (detect).
"""

from __future__ import annotations

from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    EventKind = Literal[
        "greeting",
        "hello",
        "sender",
        "recipient",
        "message",
        "tls",
        "fingerprint",
        "tls-bytes",
        "turnaround",
        "reply",
        "quit",
        "violation",
        "quirk",
        "opaque",
        "responder",
    ]
    Outcome = Literal["open", "accepted", "rejected", "aborted"]


class ClientHello(NamedTuple):
    """server_name: from SNI, "" if none. ja4: the fingerprint, e.g. t13d1516h2_8daaf6152771_e5627efa2ab1.

    size: bytes of the records that held it, their headers included.
    """

    server_name: str
    ja4: str
    size: int


class Limits(NamedTuple):
    """How much one dialogue may keep. The defaults are the router's; replay of a file allows more."""

    waiting: int = 1000  # commands that wait for a reply
    waiting_bytes: int = 65536  # bytes of these: `smtp.WAITING_COST` for each, and its text
    transactions: int = 8  # kept with their envelope; the counts go on
    recipients: int = 100  # kept by name for each transaction; the counts go on
    local_parts: bool = False  # keep complete addresses (requested by the owner of a capture file)
    last_reply: bool = True  # keep it
    names: bool = True  # keep the HELO name and a message's sender; else only their events have them


class Reply(NamedTuple):
    """A complete reply. `text` is its last line, including the code; `before` the earlier lines, without code.

    Without local-parts, unless these are allowed.
    """

    code: int
    text: str
    before: tuple[str, ...] = ()

    @property
    def positive(self) -> bool:
        """2yz or 3yz."""
        return 200 <= self.code < 400


class Event(NamedTuple):
    """Something happened that may matter for a judgement.

    kind         name             reply             number
    greeting     -                the banner        -
    hello        HELO name        its reply or None 1 for EHLO
    sender       address/domain   reply or None     -
    recipient    address/domain   reply or None     -
    message      sender, if kept  final reply/None  bytes of content
    tls          -                its reply         -
    fingerprint  JA4              -                 -
    tls-bytes    -                -                 bytes the client sent after its ClientHello, to the end
    turnaround   turns/ahead      -                 least time from a reply to the answer, without the path's, ms
    reply        verb             any other reply   -
    quit         -                -                 -
    violation    its name         -                 -
    quirk        its name         -                 -
    opaque       why              -                 -
    responder    the answer       -                 for "returned": seconds since the first attempt, 0 if unknown

    turns/ahead: how many turns were seen, in how many of the first 3 the client's TCP acknowledged separately: 5/3.

    `responder` comes from connections to our responder alone (engine.responder_answers), and is what a client has
    answered to one of its tests. Each test has two answers; without one of them it was not asked, or was cut short.

    waited          it waited for the second part of the greeting
    talked-early    it did not; the violation "early-talk" has come, too
    coped           it read a long reply to EHLO, and one to MAIL, and went on to RCPT
    broke           it did not wait for the end of such a reply ("blind-pipelining" has come, too), sent EHLO or HELO
                    again, or disconnected without QUIT
    took-tls        it asked for the STARTTLS that was offered (and was refused with 454)
    declined-tls    it sent MAIL without
    returned        it tried an envelope again that had been deferred with 450
    did-not-return  it did not within hours, and went on mailing
    """

    kind: EventKind
    name: str = ""
    reply: Reply | None = None
    number: int = 0


class Transaction:
    """An attempt to send one message: opened by MAIL, or by DATA or BDAT that came without it.

    `mail_from` is None in the latter case. `outcome` is accepted, rejected, aborted or open; `size` the bytes of
    content as sent (dots not unstuffed, the final `.` not counted).
    """

    __slots__ = ("accepted", "content_sent", "_kept", "mail_from", "outcome", "recipients", "refused", "size")

    def __init__(self, mail_from: str | None) -> None:
        self.mail_from = mail_from
        self._kept: list[str] | None = None
        self.recipients = 0  # RCPT commands answered either way
        self.accepted = 0  # of these, answered 2yz
        self.outcome: Outcome = "open"
        self.size = 0
        self.content_sent = False
        self.refused = False  # MAIL, DATA or content answered 4yz or 5yz

    @property
    def rcpt_to(self) -> list[str]:
        """Recipients, as many as `Limits` lets be kept."""
        return self._kept or []

    def keep(self, name: str, most: int) -> None:
        """Keeps a recipient's name, up to so many."""
        kept = self._kept
        if kept is None:
            self._kept = [name] if most else None
        elif len(kept) < most:
            kept.append(name)

    def end(self) -> None:
        """The attempt has ended without a final reply to its content."""
        if self.outcome == "open":
            rejected = self.refused or (self.recipients and not self.accepted)
            self.outcome = "rejected" if rejected else "aborted"


class Facts:
    """What has been found out about a dialogue. Only `smtp.Dialogue` sets these."""

    __slots__ = (
        "after_hello",
        "authenticated",
        "client_hello",
        "ehlo",
        "helo",
        "last_reply",
        "opaque_reason",
        "quirks",
        "tls",
        "unagreed",
        "violations",
    )

    def __init__(self) -> None:
        #: Bytes of the client that were read behind its ClientHello, before the caller stopped to feed the dialogue.
        self.after_hello = 0
        #: AUTH succeeded.
        self.authenticated = False
        self.client_hello: ClientHello | None = None
        #: `helo` was given with EHLO.
        self.ehlo = False
        #: The last name in HELO or EHLO that the server agreed to; if there is none, the first name.
        self.helo: str | None = None
        #: The last reply to anything but QUIT.
        self.last_reply: Reply | None = None
        #: Why nothing more is read; "" while the dialogue is read.
        self.opaque_reason = ""
        #: Ways of writing that distinguish programs, in the order in which they were seen.
        self.quirks: tuple[str, ...] = ()
        #: TLS began, or was agreed to.
        self.tls = False
        #: The client began with TLS, and nothing shows that the server takes part in it.
        self.unagreed = False
        #: Names of `violations.VIOLATIONS`, in the order in which they were seen.
        self.violations: tuple[str, ...] = ()
