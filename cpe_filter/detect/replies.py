"""What a server's refusal says about the client: the text of a reply -> a class.

Knows how mail servers word refusals. Keeps nothing. "Our address is listed" is told apart from "a list is
mentioned" (as Zeek's patterns do), and lists of infected hosts from lists of home lines: a PBL
entry proves a residential address and nothing more.
"""

from __future__ import annotations

from cpe_filter.inspect.smtp import Reply

#: Refusals by meaning. `none` is for agreement.
NONE, UNKNOWN_USER, LISTED, HOME_LINE, DEFERRED, REFUSED = (
    "none",
    "unknown-user",
    "listed",
    "home-line",
    "deferred",
    "refused",
)

_UNKNOWN_USER = (
    "user unknown",
    "unknown user",
    "no such user",
    "no such recipient",
    "no such mailbox",
    "does not exist",
    "doesn't exist",
    "doesn't have a",
    "mailbox unavailable",
    "mailbox not found",
    "mailbox unknown",
    "unknown recipient",
    "recipient unknown",
    "unknown address",
    "unknown or illegal alias",
    "invalid recipient",
    "invalid mailbox",
    "not a valid recipient",
    "not our customer",
    "unrouteable address",
    "recipient not found",
    "address unknown",
    "no mailbox here",
    "user not found",
    "undeliverable address",
    "sorry, no mailbox",
)
_HOME_LINE = (
    "pbl",
    "dynamic ip",
    "dynamic address",
    "dynamic range",
    "dynamically",
    "dialup",
    "dial-up",
    "dul",
    "residential",
    "generic reverse",
    "generic rdns",
    "generic hostname",
    "reverse dns",
    "isp's mail server",
    "isp smtp",
    "smtp server of your provider",
)
_LISTED = (
    "blocked using",
    "is listed",
    "listed in",
    "listed at",
    "listed by",
    "blacklist",
    "blocklist",
    "block list",
    "black list",
    "block-list",
    "spamhaus",
    "spamcop",
    "xbl",
    "cbl.",
    "dnsbl",
    "rbl",
    "barracuda reputation",
    "sorbs",
    "uceprotect",
    "poor reputation",
    "bad reputation",
    "sending ip",
    "senderbase",
    "senderscore",
    "abuseat",
    "infected",
    "spam source",
    "open proxy",
)


def classify(reply: Reply | None) -> str:
    """One of the classes above. Enhanced codes first (RFC 3463: X.1.1 bad mailbox), then the wording."""
    if reply is None or reply.code < 400:
        return NONE
    text = reply.text.lower()
    if reply.code >= 500 and ("5.1.1" in text[:12] or any(word in text for word in _UNKNOWN_USER)):
        return UNKNOWN_USER
    words = text.replace("/", " ").replace("-", " ").replace(".", " ").split()
    if any(word in text if len(word) > 3 else word in words for word in _HOME_LINE):
        return HOME_LINE
    if any(word in text for word in _LISTED):
        return LISTED
    return REFUSED if reply.code >= 500 else DEFERRED
