"""The meaning of a server's refusal for the client: the text of a reply -> a class.

Knows how mail servers word refusals. Keeps nothing. "Our address is listed" is distinguished from "a list is mentioned"
(as in Zeek's patterns), and lists of infected hosts from lists of residential lines: a PBL entry proves a residential
address and nothing more.
"""

from __future__ import annotations

from cpe_filter.inspect.facts import Reply

#: Refusals by meaning. `none` is for positive replies.
NONE, UNKNOWN_USER, LISTED, RESIDENTIAL, DEFERRED, REFUSED = (
    "none",
    "unknown-user",
    "dnsbl-listed",
    "residential-line",
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
#: About the sender, not about the recipient.
_SENDER = ("5.1.7 ", "5.1.8 ", "sender address", "sender domain", "sender verify")
_HOME_LINE = (
    " pbl ",
    "dynamic ip",
    "dynamic address",
    "dynamic range",
    "dynamically",
    "dialup",
    "dial-up",
    " dul ",
    "residential",
    "generic reverse",
    "generic rdns",
    "generic hostname",
    "reverse dns",
    "reverse hostname",
    "ptr record",
    "notauthorizederror",  # Gmail
    "smtp relay at your",
    "isp's mail server",
    "isp smtp",
    "smtp server of your provider",
)
#: A union of lists including the PBL: unless another part is named, a residential line is in it for being one.
_UMBRELLA = ("zen.spamhaus", "zen.dq.spamhaus")
_UMBRELLA_PARTS = (" xbl ", " sbl ", " css ", " cbl ", " drop ")
_LISTED = (
    "blocked using",
    " is listed ",
    " listed in ",
    " listed at ",
    " listed by ",
    "blacklist",
    "blocklist",
    "block list",
    "black list",
    "block-list",
    "spamhaus",
    "spamcop",
    " xbl ",
    " cbl ",
    "dnsbl",
    " rbl ",
    "barracudacentral",
    "barracuda reputation",
    "sorbs",
    "uceprotect",
    "poor reputation",
    "bad reputation",
    "sending ip",
    "senderbase",
    "senderscore",
    "ipcheck.proofpoint",
    "csi.cloudmark",
    "unsolicitediperror",  # Gmail
    "abuseat",
    "infected",
    "spam source",
    "open proxy",
)


def classify(reply: Reply | None) -> str:
    """One of the classes above. Enhanced codes first (RFC 3463: X.1.1 bad mailbox), then the wording.

    Addresses in the text are ignored: a domain may have any name, and whether local-parts are kept must not change a
    judgement.
    """
    if reply is None or reply.code < 400:
        return NONE
    # Many servers give the reason in the lines before the last.
    whole = " ".join((reply.text, *reply.before)) if reply.before else reply.text
    text = " ".join(word for word in whole.lower().split() if "@" not in word)
    words = f" {' '.join(''.join(c if c.isalnum() else ' ' for c in text).split())} "
    if (
        reply.code >= 500
        and ("5.1.1" in text[:12] or _says(_UNKNOWN_USER, text, words))
        and not _says(_SENDER, text, words)
    ):
        return UNKNOWN_USER
    if _says(_HOME_LINE, text, words):
        return RESIDENTIAL
    if _says(_UMBRELLA, text, words) and not _says(_UMBRELLA_PARTS, text, words):
        return RESIDENTIAL
    if _says(_LISTED, text, words):
        return LISTED
    return REFUSED if reply.code >= 500 else DEFERRED


def _says(wordings: tuple[str, ...], text: str, words: str) -> bool:
    """Whether `text` has one of the wordings; those between spaces must be among its complete `words`."""
    return any(wording in (words if wording[0] == " " else text) for wording in wordings)
