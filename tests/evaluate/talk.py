"""How a client talks and what servers say: outcome -> events of a session.

Knows the wording of real servers' replies (Postfix, Exchange Online, Gmail, GMX, DNSBL texts) and the order in which
`inspect.smtp` reports a dialogue's events. Must not know rates, or who is a bot.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, RESET
from tests.evaluate.facts import FINGERPRINT, Session


def _replies(*lines: str) -> tuple[Reply, ...]:
    """Lines of a reply are parted by "/" and a space: the last carries the code, the others stand before it."""
    out = []
    for text in lines:
        *before, last = text.split("/ ")
        out.append(Reply(int(last[:3]), last, tuple(before)))
    return tuple(out)


#: How a session may come out -> replies that say so.
REPLIES: dict[str, tuple[Reply, ...]] = {
    "unknown": _replies(
        "550 5.1.1 User unknown in virtual mailbox table",
        "550 5.1.1 Recipient address rejected: User unknown in local recipient table",
        "5.1.1 The email account that you tried to reach does not exist. Please try/ "
        "550 5.1.1  https://support.google.com/mail/?p=NoSuchUser a1-20020a170902 - gsmtp",
        "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
        "554 delivery error: dd This user doesn't have a yahoo.example account",
    ),
    "listed": _replies(
        "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using zen.spamhaus.org; "
        "https://www.spamhaus.org/query/ip/192.0.2.10",
        "550 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using cbl.abuseat.org",
        "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using bl.spamcop.net; "
        "Blocked - see https://www.spamcop.net/bl.shtml?192.0.2.10",
        "550 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using b.barracudacentral.org",
        "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",
    ),
    # Some say what they mean, the rest name a combined list: zen holds PBL and XBL alike.
    "home": _replies(
        "550 5.7.1 Service unavailable, Client host [192.0.2.10] blocked using Spamhaus. "
        "To request removal from this list see https://www.spamhaus.org/query/ip/192.0.2.10 (AS16012609)",
        "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using pbl.spamhaus.org",
        "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using zen.spamhaus.org; "
        "https://www.spamhaus.org/query/ip/192.0.2.10",
        "550 5.7.1 Mail from dynamic IP addresses is not accepted here; use your provider's mail server",
        "5.7.1 [192.0.2.10] The IP you're using to send mail is not authorized to/ "
        "5.7.1 send email directly to our servers. Please use the SMTP relay at your/ "
        "550 5.7.1  https://support.google.com/mail/?p=NotAuthorizedError a1-20020a170902 - gsmtp",
        "550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.10]",
        "gmx.net (mxgmx017) Nemesis ESMTP Service not available/ No SMTP service/ IP address is black listed./ "
        "554 For explanation visit https://postmaster.gmx.net/en/error-messages?ip=192.0.2.10&c=hi",
    ),
    "rejected": _replies(
        "550 5.7.1 Message rejected due to content",
        "554 5.7.1 Relay access denied",
        "550 5.7.26 Unauthenticated email is not accepted due to domain's DMARC policy - gsmtp",
        "550 5.7.1 Sender address rejected: Access denied",
        "552 5.3.4 Message size exceeds fixed limit",
    ),
    "deferred": _replies(
        "450 4.2.0 Recipient address rejected: Greylisted, try again in 300 seconds",
        "451 4.7.1 Greylisting in action, please come back later",
        "451 4.3.0 Temporary lookup failure",
        "452 4.2.2 The recipient's mailbox is over its storage quota",
    ),
    "busy": _replies(
        "421 4.7.0 Try again later, closing connection.",
        "421 4.3.2 Service not available, too many connections",
    ),
    "no-banner": _replies(
        "554 mx.example.net ESMTP not accepting messages from you",
        "554 5.7.1 No SMTP service here",
    ),
}
BANNERS = _replies("220 mx.example.net ESMTP Postfix", "220 mx.example.net ESMTP", "220 smtp ready")
OK_HELLO = Reply(250, "250 8BITMIME", ("mx.example", "PIPELINING"))
OK_HELLO_TLS = Reply(250, "250 8BITMIME", ("mx.example", "PIPELINING", "STARTTLS"))
OK_HELO = Reply(250, "250 mx.example.net")
OK_SENDER, OK_RECIPIENT = Reply(250, "250 2.1.0 Ok"), Reply(250, "250 2.1.5 Ok")
QUEUED = Reply(250, "250 2.0.0 Ok: queued as 4XyZ12")

_GREETINGS = tuple(Event("greeting", "", banner) for banner in BANNERS)
_TLS = (
    Event("tls", "", Reply(220, "220 2.0.0 Ready to start TLS")),
    Event("fingerprint", FINGERPRINT),
    Event("opaque", "tls"),
)
#: Bytes that a client sends after its ClientHello (measured: see `sealed`): with one recipient refused, and with a
#: message from a line with its headers to 30 kB. Lengths of names are in it.
_EMPTY, _CARRIED = (207, 450), (470, 30000)
#: Each further recipient adds so many. After so many refusals servers hang up (Postfix: smtpd_hard_error_limit).
_RECIPIENT, _PATIENCE = (34, 62), 20
#: RSA key exchange or finite-field Diffie-Hellman adds so many, for so many of the sessions (assumed).
_OLD_HANDSHAKE, _OLD_SHARE = (225, 362), 0.03
_QUIT = (Event("quit"), Event("reply", "QUIT", Reply(221, "221 2.0.0 Bye")))
_NO_QUIT = (Event("violation", "no-quit"),)
_EARLY = (Event("violation", "early-talk"),)
_SPACED, _LOWER = Event("quirk", "path-spaced"), Event("quirk", "lower-case")
_AFTER = Event("violation", "content-after-refusal")
_NOT_ASKED = Event("reply", "unknown", Reply(502, "502 5.5.2 Error: command not recognized"))
_AUTH = Event("reply", "AUTH", Reply(235, "235 2.7.0 Authentication successful"))

_HELLOS: dict[tuple[str, bool, bool], Event] = {}
_SENDERS: dict[str, Event] = {}


class Client(NamedTuple):
    """A program's way of talking. helo: its name; the rest: what of its dialect can be seen."""

    helo: str
    ehlo: bool = True
    spaced: bool = False
    lower: bool = False
    early: bool = False
    stubborn: bool = False  # sends the message although DATA was refused
    authenticates: bool = False

    def hello(self, offered: bool) -> Event:
        """offered: the server's reply names STARTTLS."""
        key = (self.helo, self.ehlo, offered)
        event = _HELLOS.get(key)
        if event is None:
            if len(_HELLOS) > 50000:
                _HELLOS.clear()
            reply = (OK_HELLO_TLS if offered else OK_HELLO) if self.ehlo else OK_HELO
            event = _HELLOS[key] = Event("hello", self.helo, reply, int(self.ehlo))
        return event


def _sender(domain: str) -> Event:
    event = _SENDERS.get(domain)
    if event is None:
        if len(_SENDERS) > 50000:
            _SENDERS.clear()
        event = _SENDERS[domain] = Event("sender", domain, OK_SENDER)
    return event


def session(
    rng: random.Random,
    time: float,
    server: bytes,
    client: Client,
    outcome: str,
    *,
    sender: str,
    recipient: str,
    recipients: int = 1,
    tls: bool = False,
    quits: bool = True,
    spam: bool = False,
    unknown: int = 0,
    offers: bool | None = None,
) -> Session:
    """One connection that brings, or fails to bring, one message.

    outcome: accepted, a key of `REPLIES`, banner-<key>, data-<key>, lost, closed (RST to the SYN) or cut (the server
    resets after the hello). recipients: RCPT commands, `unknown` of them refused although the message is accepted.
    offers: the server has STARTTLS (None: as most). tls: STARTTLS follows the hello, and hides all of it but how much
    was sent.
    """
    if outcome == "lost":
        return Session(time, server, LOST, (), False, spam)
    if outcome == "closed":
        return Session(time, server, REFUSED, (), False, spam)
    if outcome.startswith("banner-"):
        greeting = Event("greeting", "", rng.choice(REPLIES[outcome[7:]]))
        return Session(time, server, CLOSED, (greeting, *(_QUIT if quits else ())), quits, spam)
    begin: tuple[Event, ...] = (*(_EARLY if client.early else ()), rng.choice(_GREETINGS))
    if client.lower:
        begin += (_LOWER,)
    begin += (client.hello(tls or (_offers(server) if offers is None else offers)),)
    if outcome == "cut":
        return Session(time, server, RESET, begin + _NO_QUIT, False, spam)
    if tls:
        return Session(time, server, CLOSED, (*begin, *_TLS, _sealed(rng, outcome, recipients)), False, spam)
    if client.authenticates:
        begin += (_AUTH,)
    if client.spaced:
        begin += (_SPACED,)
    begin += (_sender(sender),)
    talk = begin + _envelope(rng, outcome, client, sender, recipient, recipients, unknown)
    return Session(time, server, CLOSED, talk + (_QUIT if quits else _NO_QUIT), quits, spam)


def _offers(server: bytes) -> bool:
    """Whether a server offers STARTTLS, as 88 % do (80-95 %, see `internet`): the same each time it is asked."""
    return sum(server) % 100 < 88


def _sealed(rng: random.Random, outcome: str, recipients: int) -> Event:
    """What shows of a dialogue in TLS. A refusal of the content comes after the content."""
    if outcome == "accepted" or outcome.startswith("data-"):
        least, most = _CARRIED
        size = int(least * (most / least) ** rng.random())
    else:
        size = rng.randint(*_EMPTY)
        recipients = min(recipients, _PATIENCE)
    size += (recipients - 1) * rng.randint(*_RECIPIENT)
    if rng.random() < _OLD_SHARE:
        size += rng.randint(*_OLD_HANDSHAKE)
    return Event("tls-bytes", "", None, size)


def _envelope(
    rng: random.Random, outcome: str, client: Client, sender: str, recipient: str, recipients: int, unknown: int
) -> tuple[Event, ...]:
    good = Event("recipient", recipient, OK_RECIPIENT)
    if outcome.startswith("data-"):
        reply = rng.choice(REPLIES[outcome[5:]])
        if client.stubborn:
            return (*(good,) * recipients, Event("reply", "DATA", reply), _AFTER, _NOT_ASKED, _NOT_ASKED)
        return (good,) * recipients + (Event("message", sender, reply, 600),)
    if outcome != "accepted":
        return (Event("recipient", recipient, rng.choice(REPLIES[outcome])),) * recipients
    bad = (Event("recipient", recipient, rng.choice(REPLIES["unknown"])),) * unknown if unknown else ()
    return (*bad, *(good,) * max(1, recipients - unknown), Event("message", sender, QUEUED, 600))
