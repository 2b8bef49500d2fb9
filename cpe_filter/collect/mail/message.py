"""A notice in one or two languages -> a message for a subscriber, and its envelope. Pure.

Knows RFC 5322, MIME and languages. Must not know the store, the relay or when a message is sent. Headers are those of a
message that a program sends to a person on its own account (RFC 3834 section 5): `Auto-Submitted: auto-generated` and,
for Exchange, `X-Auto-Response-Suppress` without NDR, because bounces are read. No List- header and no Precedence: it is
personal mail. Line length and charset suit any relay (quoted-printable where the text is not US-ASCII).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from typing import NamedTuple

from cpe_filter.collect import mail_address
from cpe_filter.collect.cases import notice
from cpe_filter.collect.mail import token
from cpe_filter.texts.notice import LANGUAGES, Words

#: Languages of one message.
MOST = 2


class Terms(NamedTuple):
    """sender: in From, with `notice.provider` as its name. reply_to, bounce_address: may be empty. key: signs tokens;
    empty without bounce_address. second: a second language for subscribers without one in the map, or empty."""

    sender: str
    reply_to: str
    bounce_address: str
    key: bytes
    notice: notice.Terms
    second: str = ""


class Envelope(NamedTuple):
    """content: RFC 5322, CRLF. utf8: the recipient's local-part needs SMTPUTF8 (RFC 6531)."""

    sender: str
    recipient: str
    content: bytes
    utf8: bool


def languages(of_subscriber: Sequence[str], first: str, second: str) -> tuple[str, ...]:
    """The languages of a message: those of the subscriber that have texts, else first and second of the ISP."""
    known = [language for language in of_subscriber if language in LANGUAGES]
    chosen = known or [language for language in (first, second) if language]
    return tuple(dict.fromkeys(chosen))[:MOST]


def notices(facts: notice.Facts, chosen: Sequence[str], terms: notice.Terms) -> list[notice.Notice]:
    """The notice in each language, flowed. Raises `notice.NoNoticeError`."""
    return [notice.notice(facts, terms._replace(language=language), flowed=True) for language in chosen]


def subject(texts: Sequence[notice.Notice]) -> str:
    """Of a message with these texts."""
    return " / ".join(text.subject for text in texts)


def parts(texts: Sequence[notice.Notice]) -> list[tuple[str, str]]:
    """The text of a message in pieces, each with its language: the others are announced at the top."""
    below = [(text.language, f"{Words(text.language, '')('mail_below')}\n") for text in texts[1:]]
    line, gap = f"{'-' * notice.WIDTH}\n\n", "\n" if below else ""
    return [
        *below,
        *((text.language, f"{line if at else gap}{text.body}\n") for at, text in enumerate(texts)),
    ]


def body(texts: Sequence[notice.Notice]) -> str:
    """The text of a message, flowed."""
    return "".join(text for _, text in parts(texts)).rstrip("\n") + "\n"


def unflowed(text: str) -> str:
    """As a mail program shows it, which wraps lines at its own width (RFC 3676)."""
    return text.replace(" \n", " ")


def envelope(number: str, address: str, texts: Sequence[notice.Notice], terms: Terms, now: float) -> Envelope:
    """A message. number: its id, 20 hex digits. address: a usable one (mail_address.problem). now: POSIX seconds."""
    to = _address("", address)
    is_utf8 = not address.rpartition("@")[0].isascii()
    mail = EmailMessage(policy=SMTPUTF8 if is_utf8 else SMTP)
    mail["From"] = _address(terms.notice.provider, terms.sender)
    mail["To"] = to
    if terms.reply_to:
        mail["Reply-To"] = _address("", terms.reply_to)
    mail["Subject"] = subject(texts)
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, timezone.utc))
    mail["Message-ID"] = message_id(number, terms.sender)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "DR, RN, NRN, OOF, AutoReply"
    text = body(texts)
    cte = "7bit" if text.isascii() and _is_short(text) else "quoted-printable"
    mail.set_content(text, cte=cte, params={"format": "flowed"})
    mail["Content-Language"] = ", ".join(text.language for text in texts)
    sender = mail_address.wire(terms.bounce_address or terms.sender)
    if terms.bounce_address:
        sender = token.address(sender, terms.key, number)
    return Envelope(sender, mail_address.wire(address), mail.as_bytes(), is_utf8)


def message_id(number: str, sender: str) -> str:
    """The same for each attempt, so that a message that arrives twice is known as one."""
    return f"<notice.{number}@{mail_address.ascii_domain(sender.rpartition('@')[2])}>"


def _address(name: str, address: str) -> Address:
    local, _, domain = mail_address.wire(address).rpartition("@")
    return Address(name, local, domain)


def _is_short(text: str) -> bool:
    """Whether no line is longer than a relay must carry (RFC 5322 section 2.1.1): a URL may be."""
    return all(len(line) <= 998 for line in text.split("\n"))
