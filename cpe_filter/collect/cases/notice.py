"""A case -> the text that the ISP sends to its subscriber: a mail, and a short message without personal data.

Knows cases and the texts that the router shows, too (texts.notice). Must not know how they are sent, or to which
address: the mail system of the ISP does that. Strings of routers are hostile: the name of a device is reduced to
characters that no mail program makes a link of.
"""

from __future__ import annotations

import textwrap
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from cpe_filter.collect.cases.history import ACTIVE
from cpe_filter.collect.cases.model import Detail
from cpe_filter.texts.notice import Words

VERSION = 1
#: Characters of a line of the mail. A URL may be longer.
WIDTH = 72
MAX_NAME = 63

#: The texts for each `act` of a case.
_BLOCKED = {
    "explain": ("h_blocked", "blocked_block"),
    "reset": ("h_blocked", "blocked_block"),
    "limit": ("h_limited", "blocked_block"),
    "monitor": ("h_blocked", "blocked_monitor"),
}


class NoNoticeError(Exception):
    """The case has ended, or its device is only suspected. The text says which."""


class Terms(NamedTuple):
    """language: of texts.notice. provider, help_url: may be empty. zone: an IANA time zone, for times in the text."""

    language: str = "en"
    provider: str = ""
    help_url: str = ""
    zone: str = "UTC"


class Facts(NamedTuple):
    """What the text says of a case. oui: 6 hex digits or None. name: the DHCP host name, "" if unknown. first, last:
    POSIX seconds."""

    case: str
    state: str
    standing: str
    act: str
    oui: str | None
    name: str
    first: int
    last: int


class Notice(NamedTuple):
    """subject: one line. body: lines of plain text. sms: US-ASCII, 160 characters."""

    language: str
    subject: str
    body: str
    sms: str

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"v": VERSION, **self._asdict()}


def facts_of(found: Detail) -> Facts:
    """What a case says to its subscriber, with the name of the device if a router has reported it."""
    case = found.case
    name = next((row["name"] for row in found.incidents if row["name"]), "")
    return Facts(case.id, case.state, case.standing, case.act, case.oui, name, case.begun_at, case.last_at)


def notice(facts: Facts, terms: Terms, flowed: bool = False) -> Notice:
    """flowed: lines that go on end in a space (RFC 3676), so that a narrow screen wraps them as it needs. Raises
    `NoNoticeError`."""
    if facts.state not in ACTIVE:
        raise NoNoticeError(f"case {facts.case} is {facts.state}: there is no notice for it")
    if facts.standing != "compromised":
        raise NoNoticeError(
            f"the device of case {facts.case} is only {facts.standing}: subscribers are not notified of that"
        )
    words = Words(terms.language, terms.provider)
    blocked, text = _BLOCKED.get(facts.act, _BLOCKED["explain"])
    paragraphs = [
        words("mail_hello"),
        f"{words('mail_intro')} {words('standing_compromised')}",
        "\n".join(_about(facts, terms, words)),
        words("mail_page"),
        f"{words(blocked)}\n{words(text)}",
        f"{words('h_works')}\n{words('works')}",
        "\n".join([words("h_steps"), *_steps(words)]),
        f"{words('h_own')}\n{words('own')}",
        f"{words('h_object')}\n{words('object')}",
        *([f"{words('help')}\n{terms.help_url}"] if terms.help_url else []),
        words("mail_safety"),
        f"{words('mail_bye')}\n{words('signature')}",
    ]
    body = "\n\n".join(
        "\n".join(map(_flowed if flowed else _wrapped, paragraph.split("\n"))) for paragraph in paragraphs
    )
    return Notice(terms.language, words("mail_subject"), f"{body}\n", words.short_message())


def _steps(words: Words) -> list[str]:
    """What follows from the last one is what is true in every mode: the collector does not know the router's."""
    steps = words("step_1"), words("step_2"), f"{words('step_3')} {words('then_watch')}"
    return [f"{number}. {text}" for number, text in enumerate(steps, 1)]


def _about(facts: Facts, terms: Terms, words: Words) -> list[str]:
    oui = facts.oui or ""
    maker = [words("maker", oui=":".join(oui[n : n + 2] for n in (0, 2, 4)).upper())] if len(oui) == 6 else []
    device = ", ".join([safe(facts.name) or words("mail_unnamed"), *maker])
    zone = ZoneInfo(terms.zone)
    times = [
        f"{words(key)}: {words.moment(datetime.fromtimestamp(at, zone).timetuple())}"
        f" ({datetime.fromtimestamp(at, zone).tzname()})"
        for key, at in (("first", facts.first), ("last", facts.last))
    ]
    return [f"{words('mail_device')}: {device}", *times, f"{words('mail_case')}: {facts.case}"]


def safe(name: str) -> str:
    """The name of a device with letters, digits, `-` and `_`; anything else is `?`. Dots would make links."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "?" for c in name[:MAX_NAME])
    return kept if kept.strip("?") else ""


def _wrapped(line: str) -> str:
    indent = "   " if line[:1].isdigit() and line[1:3] == ". " else ""
    return textwrap.fill(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip


def _flowed(line: str) -> str:
    return " \n".join(textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False))


def message(one: Notice) -> bytes:
    """As RFC 5322 has it, with CRLF and UTF-8. The sender adds From, To, Date and Message-ID."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = one.subject
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic reply
    mail.set_content(one.body, cte="8bit")
    mail["Content-Language"] = one.language
    return mail.as_bytes()
