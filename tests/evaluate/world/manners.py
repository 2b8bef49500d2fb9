"""Which refusal a server gives at which stage: (server, line, letter) -> reply, or None where it agrees.

Knows each kind of server's order of checks. Must not know clients' dialects (`converse`). Sources: the brief for where
a line in PBL or without a name is refused (Gmail: end of DATA; Microsoft: MAIL or RCPT; Yahoo, GMX: banner; others:
RCPT) and where an unknown user is (Yahoo after DATA; half of Microsoft 365's tenants never). Postfix' order of
restrictions is postconf(5)'s. How often content is refused is the letter's and the server's (`Manners.filters`).
"""

from __future__ import annotations

import random
from typing import NamedTuple

from cpe_filter.inspect.facts import Reply
from tests.evaluate.world import replies
from tests.evaluate.world.internet import Manners
from tests.evaluate.world.line import NO_NAME, OWN, UNCONFIRMED, Line


class Mailbox(NamedTuple):
    """number: which one of the domain. state: exists, unknown, disabled or full."""

    number: int
    state: str = "exists"


class Letter(NamedTuple):
    """What one connection tries. sender: a domain, or `<>`.

    unwanted: the chance that a filter would refuse it. aligned: SPF or DKIM proves the sender. real_sender: its domain
    is in DNS. probe: only asked, no message follows. login: AUTH first (0: no, 1: right, -1: wrong password). foreign:
    the server does not take mail for these recipients without AUTH.
    """

    sender: str
    to: tuple[Mailbox, ...]
    size: int = 3000
    unwanted: float = 0.0
    aligned: bool = True
    real_sender: bool = True
    probe: bool = False
    login: int = 0
    foreign: bool = False
    tag: int = 0


def at_banner(m: Manners, line: Line, time: float, rng: random.Random) -> Reply | None:
    kind = m.kind
    if kind == "yahoo":
        if line.is_listed(time):
            return replies.YAHOO_LISTED[0]
        if line.pbl:
            return replies.YAHOO_HOME[0]
    elif kind == "gmx":
        if line.is_listed(time):
            return replies.GMX_LISTED[0]
        if line.ptr != OWN:
            return replies.GMX_HOME[m.style % 2]
    elif kind == "tonline" and line.is_home:
        return replies.TONLINE_HOME[m.style % 2]
    if kind in ("hoster", "own") and rng.random() < 0.002:
        return replies.BUSY[m.style % 2]
    return None


def at_mail(m: Manners, line: Line, letter: Letter, time: float, rng: random.Random) -> Reply | None:
    if m.kind == "outlook":
        if line.is_listed(time) and rng.random() < 0.5:
            return replies.MICROSOFT_LISTED[m.style % 2]
        if line.pbl and m.style % 2:
            return replies.MICROSOFT_HOME_AT_MAIL[0]
    elif m.kind == "yahoo" and letter.unwanted > 0.3 and rng.random() < 0.3:
        return replies.YAHOO_DEFERRED[0]
    return None


def at_rcpt(
    m: Manners, line: Line, letter: Letter, box: Mailbox, helo: str, time: float, rng: random.Random
) -> Reply | None:
    """All but greylisting, which is for those that pass here."""
    unknown = box.state in ("unknown", "disabled")
    if m.kind in ("outlook", "m365"):
        if line.is_listed(time) and rng.random() < 0.5:
            return replies.MICROSOFT_LISTED[m.style % 2]
        if line.ipv6 and m.ipv6 and line.ptr in (NO_NAME, UNCONFIRMED):
            return replies.MICROSOFT_IPV6[m.style % 2]
        if line.pbl:
            return replies.MICROSOFT_HOME_AT_RCPT[0]
        if unknown and not m.late:
            texts = replies.OUTLOOK_UNKNOWN if m.kind == "outlook" else replies.M365_UNKNOWN
            return texts[m.style % len(texts)]
        return replies.MICROSOFT_LIMITED[m.style % 2] if letter.unwanted > 0.3 and rng.random() < 0.1 else None
    if m.kind == "gmail":
        if box.state == "full":
            return replies.GMAIL_FULL[box.number % 2]
        if unknown:
            return replies.GMAIL_DISABLED[0] if box.state == "disabled" else rng.choice(replies.GMAIL_UNKNOWN)
        return None
    if m.kind in ("yahoo", "icloud", "gmx", "tonline"):
        return _at_large(m, line, unknown, time)
    return _at_hoster(m, line, letter, box, helo, time, rng)


def _at_large(m: Manners, line: Line, unknown: bool, time: float) -> Reply | None:
    if m.kind == "icloud" and (line.pbl or line.is_listed(time)):
        return replies.PROOFPOINT_HOME[m.style % 2]
    if unknown and m.kind != "yahoo":
        texts = {"icloud": replies.ICLOUD_UNKNOWN, "gmx": replies.GMX_UNKNOWN, "tonline": replies.TONLINE_UNKNOWN}[
            m.kind
        ]
        return texts[m.style % len(texts)]
    return None


def _at_hoster(
    m: Manners, line: Line, letter: Letter, box: Mailbox, helo: str, time: float, rng: random.Random
) -> Reply | None:
    if letter.foreign and letter.login <= 0:
        return replies.RELAY[m.style % len(replies.RELAY)]
    refusal = None
    if box.state != "exists" and not m.catch_all:
        if box.state == "full":
            refusal = replies.FULL[m.style % len(replies.FULL)]
        else:
            texts = replies.UNKNOWN[m.program]
            refusal = texts[m.style % len(texts)]
    if letter.login > 0 or (refusal and m.user_first):
        return refusal
    return _of_client(m, line, letter, helo, time, rng) or refusal


def _of_client(m: Manners, line: Line, letter: Letter, helo: str, time: float, rng: random.Random) -> Reply | None:
    """What Postfix' restrictions on client, HELO and sender say, all of them at RCPT (smtpd_delay_reject)."""
    if m.asks_ptr and line.ptr in (NO_NAME, UNCONFIRMED):
        return replies.NO_PTR[m.style % len(replies.NO_PTR)]
    if m.checks_helo and ("." not in helo and not helo.startswith("[")):
        if m.program == "postfix":
            return replies.reply(replies.BAD_HELO.format(helo))
        return replies.reply(replies.BAD_HELO_OTHERS[m.style % len(replies.BAD_HELO_OTHERS)].format(helo))
    if m.zen and line.pbl:
        texts = replies.ZEN[m.program]
        return texts[m.style % len(texts)]
    if m.asks_lists and line.is_listed(time):
        return replies.LISTED[m.style % len(replies.LISTED)]
    if letter.sender != "<>":
        if m.checks_sender and not letter.real_sender:
            return replies.BAD_SENDER[m.style % len(replies.BAD_SENDER)]
        if m.checks_spf and not letter.aligned and rng.random() < 0.5:
            return replies.SPF[m.style % 2]
    return None


def at_end(m: Manners, line: Line, letter: Letter, time: float, rng: random.Random) -> Reply | None:
    """After the content: Gmail's refusals of home lines, Yahoo's unknown users, and filters."""
    unknown = any(box.state in ("unknown", "disabled") for box in letter.to)
    unwanted = rng.random() < letter.unwanted * m.filters
    if m.kind == "gmail":
        if line.pbl:
            return replies.GMAIL_HOME[0]
        if line.ptr in (NO_NAME, UNCONFIRMED):
            return replies.GMAIL_IPV6[0] if line.ipv6 else replies.GMAIL_NO_PTR[0]
        if not letter.aligned:
            return replies.GMAIL_UNAUTHENTICATED[0]
        if unwanted:
            texts = (replies.GMAIL_SPAM, replies.GMAIL_RATE, replies.GMAIL_REPUTATION)
            return texts[rng.choices((0, 1, 2), (0.6, 0.2, 0.2 if line.is_listed(time) else 0.05))[0]][0]
        return None
    if m.kind == "yahoo":
        if unknown:
            return replies.YAHOO_UNKNOWN[m.style % 2]
        return replies.YAHOO_SPAM[m.style % 2] if unwanted else None
    if m.kind in ("outlook", "m365"):
        if not letter.aligned and rng.random() < 0.2:
            return replies.MICROSOFT_DMARC[0]
        return None
    if unwanted:
        return replies.GMX_SPAM[0] if m.kind == "gmx" else replies.SPAM[m.style % len(replies.SPAM)]
    return None


def greylisted(m: Manners) -> Reply:
    return replies.GREYLISTED[m.style % len(replies.GREYLISTED)]


def after_all_refused(m: Manners, mail_refused: bool) -> Reply:
    """To DATA that was pipelined behind recipients none of whom was agreed to (RFC 2920)."""
    if mail_refused:
        return replies.NEED_MAIL if m.kind in ("outlook", "m365") else replies.ALL_REFUSED["exim"]
    if m.kind in ("outlook", "m365"):
        return replies.NEED_RCPT
    return replies.ALL_REFUSED.get(m.program, replies.ALL_REFUSED["other"])
