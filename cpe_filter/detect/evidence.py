"""The table of indicators: what counts for or against a device being compromised, and how much.

Knows the literature. Must not know how evidence adds up (score) or where facts come from (engine). A new indicator is
one row here, one place in `engine` that sees it, one line in its test.

Weights are log-likelihood ratios, ln P(seen | bot) / P(seen | legitimate), in nats, for one session. They are judgement
guided by the sources named, and set so that on the development scenarios (tests/evaluate) no legitimate device is
convicted and bots are found early; rounded to tenths to say so. `fade` is the discount for correlation: each further
time the same indicator fires on a device it counts that factor of the time before, down to `FADE_FLOOR` of the full
weight.
"""

from __future__ import annotations

from typing import NamedTuple

FADE_FLOOR = 0.2

DESTINATION, CONNECT, IDENTITY, VOLUME, REPLY, DIALECT, ORIGIN, LEGITIMATE = (
    "destination",
    "connect",
    "identity",
    "volume",
    "reply",
    "dialect",
    "origin",
    "legitimate",
)
#: Seen on SYNs alone: these two together make a device suspected, never compromised.
SYN_ONLY = frozenset((DESTINATION, CONNECT))


class Indicator(NamedTuple):
    """family: one of the above. weight: nats. fade: factor. source: where it comes from. meaning: for people."""

    family: str
    weight: float
    fade: float
    source: str
    meaning: str


INDICATORS: dict[str, Indicator] = {
    "new-destination": Indicator(
        DESTINATION, 1.2, 0.97, "BotFlex; Lin (unique recipients)", "contacted a mail server it had never used"
    ),
    "destination-burst": Indicator(
        DESTINATION, 0.2, 0.9, "MikroTik and iungonetwork rules", "contacted many new mail servers within a minute"
    ),
    "connect-refused": Indicator(CONNECT, 0.7, 0.95, "Jung 2004 (TRW)", "a server refused the connection"),
    "connect-lost": Indicator(CONNECT, 0.7, 0.95, "Jung 2004 (TRW)", "a server did not answer"),
    "helo-dynamic": Indicator(
        IDENTITY, 1.8, 0.6, "CBL; judgement", "introduces itself with a name of a home line's address pool"
    ),
    "helo-address": Indicator(
        IDENTITY, 0.9, 0.5, "CBL; RFC 5321 section 4.1.1.1", "introduces itself with a bare address"
    ),
    "helo-private": Indicator(
        IDENTITY, 0.7, 0.4, "CBL; smtplib and others do it too", "introduces itself with a private address"
    ),
    "helo-bare": Indicator(IDENTITY, 0.5, 0.4, "CBL; msmtp and others do it too", "introduces itself without a domain"),
    "helo-empty": Indicator(IDENTITY, 1.0, 0.5, "RFC 5321 section 4.1.1.1", "introduces itself with no name"),
    "helo-rotates": Indicator(
        IDENTITY, 1.8, 0.9, "operators' rule: more than 2 a week", "introduces itself under changing names"
    ),
    "sender-unrelated": Indicator(
        IDENTITY, 0.3, 0.7, "judgement; forwarders do it too", "sends for a domain unlike its own name"
    ),
    "sender-rotates": Indicator(IDENTITY, 0.8, 0.9, "judgement", "sends for ever new sender domains"),
    "banner-refused": Indicator(
        REPLY, 0.7, 0.9, "CESNET; some refuse every home line", "a server refused it before it said anything"
    ),
    "unknown-user": Indicator(REPLY, 2.4, 0.98, "Cutwail: 53.3 % of failures", "wrote to addresses that do not exist"),
    "listed": Indicator(REPLY, 2.4, 0.98, "CBL, XBL", "a server says that this line's address is on a blocklist"),
    "home-line": Indicator(REPLY, 0.2, 0.5, "PBL proves a home line only", "a server takes no mail from home lines"),
    "refused": Indicator(REPLY, 1.4, 0.98, "CESNET", "a server refused sender, recipient or message"),
    "deferred": Indicator(REPLY, 0.2, 0.8, "greylisting meets everyone", "a server put it off"),
    "early-talk": Indicator(DIALECT, 1.8, 0.8, "B@bel; postscreen", "speaks before the server's greeting"),
    "blind-pipelining": Indicator(DIALECT, 1.3, 0.8, "B@bel; postscreen", "does not wait for replies"),
    "content-after-refusal": Indicator(DIALECT, 1.5, 0.8, "B@bel", "sends the message although it was refused"),
    "not-smtp": Indicator(DIALECT, 1.5, 0.8, "judgement", "speaks something other than mail on the mail port"),
    "no-quit": Indicator(DIALECT, 0.6, 0.9, "B@bel", "hangs up without taking leave"),
    "path-spaced": Indicator(DIALECT, 0.4, 0.6, "B@bel", "spaces MAIL FROM and RCPT TO in its own way"),
    "helo-not-ehlo": Indicator(DIALECT, 0.4, 0.6, "B@bel", "uses the greeting of the time before 1995"),
    "from-router": Indicator(ORIGIN, 3.0, 0.8, "BCMUPnP_Hunter, ProxyM", "mail that the router itself sends"),
    # Evidence of legitimate use. A single family, it only ever lowers a score.
    "accepted": Indicator(LEGITIMATE, -0.7, 1.0, "SPOT's label from replies", "a server took its message"),
    "took-leave": Indicator(LEGITIMATE, -0.15, 1.0, "B@bel", "ended its session with QUIT"),
    "encrypted": Indicator(LEGITIMATE, -0.3, 1.0, "judgement", "uses STARTTLS"),
    "authenticated": Indicator(LEGITIMATE, -2.5, 1.0, "judgement", "is known to the server (AUTH)"),
}

#: From a class of reply to an indicator (see `replies`).
FROM_REPLY = {
    "unknown-user": "unknown-user",
    "listed": "listed",
    "home-line": "home-line",
    "refused": "refused",
    "deferred": "deferred",
}
#: From a kind of HELO name to an indicator (see `names`).
FROM_NAME = {
    "empty": "helo-empty",
    "literal-private": "helo-private",
    "bare-address": "helo-address",
    "localhost": "helo-bare",
    "bare-word": "helo-bare",
    "dynamic": "helo-dynamic",
}
#: Violations that are indicators under the same name (see `inspect.violations`).
FROM_VIOLATION = frozenset(("early-talk", "blind-pipelining", "content-after-refusal", "no-quit"))
