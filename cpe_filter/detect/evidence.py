"""The table of indicators: what counts for or against a device being compromised, and how much.

Knows the literature and the legitimate senders that a device is compared with. Must not know how evidence adds up
(score) or where facts come from (engine). A new indicator is a row in each of the two tables here, one place in
`detector` that sees it, and one line in its test.

Each row has rates: how many of a bot's first contacts with a server show the indicator, and how many of each legitimate
sender's. Its weight against a sender is the log-likelihood ratio ln(bot / sender) in nats, clipped to `CLIP`. Only a
server's first answers count (see server_networks), because later ones are not new information. `repeat_discount` is
for correlation: each further time the indicator fires on a device it counts that factor of the time before. What a
program does in all of its sessions (its HELO name, its dialect) is discounted fast; what depends on the recipient is
not discounted.

`basis` is the origin of the rates. SIMULATED ones follow the scenarios of tests/evaluate, whose own rates name their
sources; `python -m tests.evaluate.calibrate` prints them next to what it observes. JUDGEMENT ones are guided by the
named source.
"""

from __future__ import annotations

import math

from cpe_filter.lean.named_tuple import NamedTuple

DESTINATION, CONNECT, IDENTITY, VOLUME, REPLY, DIALECT, DNS, ORIGIN, LEGITIMATE = (
    "destination",
    "connect",
    "identity",
    "volume",
    "reply",
    "dialect",
    "dns",
    "origin",
    "legitimate",
)
#: Seen without a word of SMTP. These alone can make a device suspected, and never convict it.
UNSPOKEN = frozenset((DESTINATION, CONNECT, VOLUME, DNS))
#: The legitimate senders that a device is compared with, the ordinary one first.
SENDER_PROFILES = ("mta", "newsletter", "script", "residential", "listed", "bouncer")
#: What people call them.
PROFILE_NAMES = dict(
    zip(
        SENDER_PROFILES,
        ("mail server", "newsletter", "script", "home line", "listed line", "bouncing server"),
        strict=True,
    )
)
#: The share of all legitimate sessions that are theirs, at most (judgement): a rare sender takes less to be ruled out.
SHARES = (1.0, 1.0, 0.4, 0.1, 0.02, 0.1)
#: The most that one finding may weigh, nats.
CLIP = 3.5
#: Where a row's rates come from.
SIMULATED, JUDGEMENT = "simulated", "judgement"


class Indicator(NamedTuple):
    """family: one of the above. bot, usual: rates, `usual` and `weights` (nats) in the order of `SENDER_PROFILES`.

    repeat_discount: factor. when: it fires. meaning: for people, after the device's name; subscriber, desk: the texts
    for these.
    """

    family: str
    bot: float
    usual: tuple[float, ...]
    weights: tuple[float, ...]
    repeat_discount: float
    basis: str
    source: str
    when: str
    meaning: str
    subscriber: str
    desk: str


#: The numbers: family; the share of a bot's first contacts that show it; of each sender's, in the order of
#: `SENDER_PROFILES`; the repeat discount; where the rates come from.
# fmt: off
_RATES: dict[str, tuple[str, float, tuple[float, ...], float, str]] = {
    "new-destination":       (DESTINATION, 0.8,  (0.32, 0.8, 0.55, 0.8, 0.8, 0.8),           1,   SIMULATED),
    "rcpt-accepted":         (LEGITIMATE,  0.25, (0.9, 0.25, 0.4, 0.25, 0.25, 0.25),         1,   JUDGEMENT),
    "destination-burst":     (VOLUME,      0.4,  (0.25, 0.4, 0.3, 0.3, 0.3, 0.4),            0.8, JUDGEMENT),
    "connect-refused":       (CONNECT,     0.03, (0.01, 0.005, 0.008, 0.01, 0.01, 0.06),     0.9, SIMULATED),
    "connect-timeout":       (CONNECT,     0.05, (0.015, 0.01, 0.012, 0.015, 0.015, 0.08),   0.85, SIMULATED),
    "helo-dynamic":          (IDENTITY,    0.35, (0.03, 0.01, 0.03, 0.05, 0.05, 0.03),       0.3, SIMULATED),
    "helo-address":          (IDENTITY,    0.1,  (0.03, 0.005, 0.05, 0.03, 0.03, 0.02),      0.3, JUDGEMENT),
    "helo-private":          (IDENTITY,    0.1,  (0.05, 0.02, 0.12, 0.05, 0.05, 0.02),       0.3, JUDGEMENT),
    "helo-unqualified":      (IDENTITY,    0.25, (0.08, 0.03, 0.25, 0.25, 0.25, 0.05),       0.3, SIMULATED),
    "helo-empty":            (IDENTITY,    0.03, (0.005, 0.005, 0.01, 0.01, 0.01, 0.005),    0.3, JUDGEMENT),
    "helo-rotates":          (IDENTITY,    0.3,  (0.08, 0.05, 0.1, 0.08, 0.1, 0.05),         0.9, SIMULATED),
    "sender-unrelated":      (IDENTITY,    0.5,  (0.3, 0.3, 0.45, 0.3, 0.3, 0.3),            0.3, JUDGEMENT),
    "sender-rotates":        (IDENTITY,    0.3,  (0.1, 0.1, 0.1, 0.15, 0.15, 0.1),           0.7, SIMULATED),
    "non-null-sender":       (IDENTITY,    0.95, (0.9, 0.95, 0.95, 0.95, 0.95, 0.3),         1,   SIMULATED),
    "banner-refused":        (REPLY,       0.08, (0.015, 0.01, 0.015, 0.08, 0.03, 0.02),     0.8, SIMULATED),
    "unknown-user":          (REPLY,       0.32, (0.02, 0.03, 0.03, 0.03, 0.03, 0.015),      1,   SIMULATED),
    "dnsbl-listed":          (REPLY,       0.2,  (0.005, 0.005, 0.008, 0.06, 0.4, 0.005),    0.5, SIMULATED),
    "dnsbl-unlisted":        (REPLY,       0.9,  (0.9, 0.9, 0.9, 0.9, 0.8, 0.9),             1,   JUDGEMENT),
    "residential-line":      (REPLY,       0.1,  (0.25, 0.1, 0.15, 0.55, 0.12, 0.1),         1,   SIMULATED),
    "refused":               (REPLY,       0.12, (0.02, 0.015, 0.02, 0.05, 0.03, 0.02),      0.9, SIMULATED),
    "deferred":              (REPLY,       0.05, (0.07, 0.07, 0.07, 0.08, 0.08, 0.07),       1,   SIMULATED),
    "tls-too-short":         (REPLY,       0.45, (0.35, 0.14, 0.15, 0.45, 0.45, 0.42),       1,   SIMULATED),
    "early-talk":            (DIALECT,     0.05, (0.005, 0.005, 0.008, 0.005, 0.005, 0.005), 0.5, JUDGEMENT),
    "blind-pipelining":      (DIALECT,     0.05, (0.01, 0.01, 0.01, 0.01, 0.01, 0.01),       0.5, JUDGEMENT),
    "content-after-refusal": (DIALECT,     0.05, (0.005, 0.005, 0.008, 0.005, 0.005, 0.005), 0.5, SIMULATED),
    "not-smtp":              (DIALECT,     0.02, (0.004, 0.004, 0.004, 0.004, 0.004, 0.004), 0.5, JUDGEMENT),
    "no-quit":               (DIALECT,     0.6,  (0.1, 0.04, 0.1, 0.08, 0.12, 0.06),         0.4, SIMULATED),
    "path-spaced":           (DIALECT,     0.4,  (0.05, 0.01, 0.03, 0.04, 0.05, 0.03),       0.3, SIMULATED),
    "helo-not-ehlo":         (DIALECT,     0.4,  (0.08, 0.02, 0.08, 0.06, 0.08, 0.04),       0.3, SIMULATED),
    "declines-tls":          (DIALECT,     0.85, (0.45, 0.25, 0.7, 0.45, 0.45, 0.3),         0.4, JUDGEMENT),
    "verb-case":             (DIALECT,     0.25, (0.05, 0.03, 0.1, 0.08, 0.08, 0.03),        0.3, JUDGEMENT),
    "many-recipients":       (VOLUME,      0.25, (0.05, 0.25, 0.03, 0.05, 0.1, 0.02),        0.3, JUDGEMENT),
    "sender-is-recipient":   (DIALECT,     0.12, (0.04, 0.02, 0.2, 0.1, 0.06, 0.01),         0.3, JUDGEMENT),
    "helo-is-recipient":     (IDENTITY,    0.08, (0.02, 0.01, 0.03, 0.03, 0.02, 0.02),       0.5, JUDGEMENT),
    "from-router":           (ORIGIN,      0.3,  (0.02, 0.01, 0.05, 0.02, 0.02, 0.01),       0.5, JUDGEMENT),
    "mx-lookup":             (DNS,         0.5,  (0.5, 0.5, 0.1, 0.5, 0.5, 0.5),             0.3, JUDGEMENT),
    "mx-foreign":            (DNS,         0.3,  (0.08, 0.08, 0.05, 0.08, 0.08, 0.08),       0.3, JUDGEMENT),
    "accepted":              (LEGITIMATE,  0.35, (0.9, 0.9, 0.8, 0.4, 0.5, 0.45),            1,   SIMULATED),
    "tls-carried":           (LEGITIMATE,  0.4,  (0.85, 0.85, 0.75, 0.4, 0.5, 0.45),         1,   SIMULATED),
    "null-sender":           (LEGITIMATE,  0.02, (0.03, 0.03, 0.03, 0.03, 0.03, 0.7),        1,   SIMULATED),
    "retry-accepted":        (LEGITIMATE,  0.02, (0.08, 0.06, 0.03, 0.08, 0.08, 0.08),       1,   SIMULATED),
    "quit":                  (LEGITIMATE,  0.5,  (0.75, 0.75, 0.65, 0.7, 0.7, 0.75),         0.5, SIMULATED),
    "authenticated":         (LEGITIMATE,  0.01, (0.08, 0.02, 0.08, 0.08, 0.08, 0.05),       1,   JUDGEMENT),
    "private-extension":     (LEGITIMATE,  0.01, (0.03, 0.01, 0.01, 0.03, 0.03, 0.03),       1,   JUDGEMENT),
}
# fmt: on

#: The words: source; when it fires; what people read after the device's name; the subscriber's text; the desk's.
_WORDS: dict[str, tuple[str, str, str, str, str]] = {
    "new-destination": (
        "BotFlex; Lin (unique recipients)",
        "the first connection to a server network (/24, /48); not the device's first of all",
        "contacted a mail server it had never used",
        "It contacted mail servers all over the world that it had never used before.",
        "New destination network on TCP 25.",
    ),
    "rcpt-accepted": (
        "judgement",
        "a new server network accepts a recipient, or gets more bytes under TLS than a rejected session has",
        "a new server accepted a recipient",
        "A mail server was ready to accept its mail.",
        "RCPT accepted by a new destination.",
    ),
    "destination-burst": (
        "MikroTik and iungonetwork rules",
        "more than 5 new server networks within a minute",
        "contacted many new mail servers within a minute",
        "It contacted many new mail servers within a minute.",
        "More than 5 new destination networks within 60 s.",
    ),
    "connect-refused": (
        "Jung 2004 (TRW)",
        "a reset answers the first SYN to a server network",
        "a server refused the connection",
        "It tried mail servers that refuse connections.",
        "First contact answered by RST.",
    ),
    "connect-timeout": (
        "Jung 2004 (TRW)",
        "nothing answers the first SYN to a server network within 10 s",
        "a server did not answer",
        "It tried mail servers that do not answer.",
        "First contact unanswered after SYN retransmissions.",
    ),
    "helo-dynamic": (
        "CBL; judgement",
        "the HELO name spells out an address or has a pool word with digits",
        "says HELO with a name of a dynamic address pool",
        "It introduces itself with a made-up technical name.",
        "HELO looks like a dynamic pool rDNS name.",
    ),
    "helo-address": (
        "CBL; RFC 5321 section 4.1.1.1",
        "the HELO name is an address without brackets",
        "says HELO with an address without brackets",
        "It introduces itself with a number instead of a name.",
        "HELO is a bare IP address.",
    ),
    "helo-private": (
        "CBL; smtplib and others do it too",
        "the HELO name is a literal of a private address",
        "says HELO with a private address",
        "It introduces itself with an address that only exists in your home.",
        "HELO is a private address literal.",
    ),
    "helo-unqualified": (
        "CBL; msmtp and others do it too",
        "the HELO name is localhost or has no dot",
        "says HELO with an unqualified name",
        "It introduces itself with a single word.",
        "HELO is localhost or an unqualified word.",
    ),
    "helo-empty": (
        "RFC 5321 section 4.1.1.1",
        "HELO comes without a name",
        "says HELO without a name",
        "It introduces itself with no name at all.",
        "HELO without argument.",
    ),
    "helo-rotates": (
        "operators' rule: more than 2 a week",
        "a HELO name after its third",
        "says HELO under changing names",
        "It introduces itself under many different names.",
        "More than 3 HELO names seen from one device.",
    ),
    "sender-unrelated": (
        "judgement; forwarders do it too",
        "the sender's domain is not the HELO name's",
        "uses a sender domain unlike its HELO name",
        "It sends in the name of a domain that is not its own.",
        "MAIL FROM domain unrelated to HELO.",
    ),
    "sender-rotates": (
        "judgement",
        "a sender domain after its third",
        "keeps changing its sender domain",
        "It sends under many different sender domains.",
        "More than 3 MAIL FROM domains seen from one device.",
    ),
    "non-null-sender": (
        "RFC 5321 section 4.5.5",
        "MAIL with a sender to a server network that has neither accepted nor rejected it before",
        "sends mail with a sender address, not bounces",
        "It writes to strangers of its own accord.",
        "Non-null reverse-path at a first contact: not backscatter.",
    ),
    "banner-refused": (
        "CESNET; some refuse every home line",
        "5yz in place of the greeting, with no reason given",
        "a server rejected it in the greeting (5xx)",
        "Mail servers reject it as soon as it connects.",
        "Rejected at the banner (5yz).",
    ),
    "unknown-user": (
        "Cutwail: 53.3 % of failures",
        "a recipient is rejected as non-existent",
        "wrote to addresses that do not exist",
        "It wrote to many addresses that do not exist.",
        "RCPT rejected, unknown user (X.1.1).",
    ),
    "dnsbl-listed": (
        "CBL, XBL",
        "a rejection says that our address is on a blocklist of infected or spamming hosts",
        "a server reports this line's address on a blocklist",
        "Mail servers report that your connection is on a blocklist of spam senders.",
        "Reply text names a DNSBL listing of the WAN address (not PBL).",
    ),
    "dnsbl-unlisted": (
        "judgement",
        "a server has answered a first contact without naming a blocklist",
        "a server named no blocklist",
        "A mail server did not find your connection on a blocklist.",
        "No DNSBL named at a first contact.",
    ),
    "residential-line": (
        "PBL proves a home line only",
        "a rejection names a list of or a policy against residential lines",
        "a server rejects mail from residential lines",
        "Mail servers do not accept mail that comes straight from home connections.",
        "Reply text names PBL or a policy against residential lines.",
    ),
    "refused": (
        "CESNET",
        "any other 5yz to MAIL, RCPT, DATA or the message",
        "a server rejected sender, recipient or message (5xx)",
        "Mail servers rejected what it sent.",
        "Permanent failure (5yz) for sender, recipient or content.",
    ),
    "deferred": (
        "greylisting meets everyone",
        "4yz at the first contact",
        "a server deferred it (4xx)",
        "A mail server asked it to try again later.",
        "Temporary failure (4yz), greylisting.",
    ),
    "tls-too-short": (
        "measured with real clients (tests/evaluate/sealed.py)",
        "a TLS session at a first contact ends after 120 to 450 bytes: too few for a message",
        "ended a TLS session too short for a message",
        "Its encrypted connections to mail servers end before a message is sent.",
        "STARTTLS session too short to have carried a message.",
    ),
    "early-talk": (
        "B@bel; postscreen",
        "the client speaks before the greeting",
        "speaks before the server's greeting",
        "It talks like a spam program: it does not wait for the server's greeting.",
        "Early talker (pregreet).",
    ),
    "blind-pipelining": (
        "B@bel; postscreen",
        "commands are pipelined although PIPELINING was not offered",
        "pipelines commands although that was not offered",
        "It talks like a spam program: it does not wait for replies.",
        "Pipelining without the extension.",
    ),
    "content-after-refusal": (
        "B@bel",
        "the message is sent although DATA was rejected",
        "sends the message although DATA was rejected",
        "It talks like a spam program: it sends although it was rejected.",
        "Content after a rejected DATA.",
    ),
    "not-smtp": (
        "judgement",
        "what it says is not SMTP",
        "speaks something other than SMTP on port 25",
        "It uses the mail port for something else.",
        "Non-SMTP payload on TCP 25.",
    ),
    "no-quit": (
        "B@bel",
        "it disconnects without QUIT",
        "disconnects without QUIT",
        "It ends connections as spam programs do.",
        "Connection closed without QUIT.",
    ),
    "path-spaced": (
        "B@bel",
        "`MAIL FROM: <` or `RCPT TO: <`",
        "puts a space after MAIL FROM: or RCPT TO:",
        "It writes mail commands as spam programs do.",
        "Space after the colon of MAIL FROM or RCPT TO.",
    ),
    "helo-not-ehlo": (
        "B@bel",
        "it says HELO",
        "says HELO instead of EHLO",
        "It uses an outdated greeting, as many spam programs do.",
        "HELO instead of EHLO.",
    ),
    "declines-tls": (
        "judgement",
        "it continues in the clear although STARTTLS was offered",
        "does not use STARTTLS although it is offered",
        "It does not encrypt although it could.",
        "STARTTLS offered and not used.",
    ),
    "verb-case": (
        "B@bel",
        "a verb is not in capitals",
        "writes SMTP commands in lower or mixed case",
        "It writes mail commands as spam programs do.",
        "SMTP verbs not in upper case.",
    ),
    "many-recipients": (
        "Cutwail, Lethic: many in one envelope; Rustock one",
        "the 20th RCPT of a session",
        "sends to 20 or more recipients in one session",
        "It writes to very many people at once.",
        "20 or more RCPT in one session.",
    ),
    "sender-is-recipient": (
        "B@bel; sextortion mail writes so; so do scripts that report to their owner",
        "MAIL FROM and a RCPT TO are the same address",
        "uses the recipient's address as its sender",
        "It sends mail that claims to come from its recipient.",
        "MAIL FROM equals RCPT TO.",
    ),
    "helo-is-recipient": (
        "CBL: another's or the recipient's name",
        "the HELO name is of the recipient's domain and not of the sender's",
        "says HELO with a name of the recipient's domain",
        "It pretends to be the mail server that it contacts.",
        "HELO within the recipient's domain, unlike the sender's.",
    ),
    "from-router": (
        "BCMUPnP_Hunter, ProxyM",
        "the router's own first connection",
        "mail originates on the router itself",
        "The router itself sends mail, which it never should.",
        "TCP 25 originated by the CPE.",
    ),
    "mx-lookup": (
        "MaraDNS Deadwood",
        "it asks a resolver in the home for an MX",
        "looks up MX records itself",
        "It looks up mail servers as only mail servers do.",
        "MX query by an end host.",
    ),
    "mx-foreign": (
        "BotFlex; judgement",
        "it asks a resolver outside the home for an MX",
        "looks up MX records at a foreign resolver",
        "It looks up mail servers past your router.",
        "MX query by an end host to a foreign resolver.",
    ),
    "accepted": (
        "SPOT's label from replies",
        "a server network accepts a message in the clear for the first time",
        "a server accepted its message",
        "A mail server accepted its message.",
        "Message accepted at a first contact.",
    ),
    "tls-carried": (
        "measured with real clients (tests/evaluate/sealed.py)",
        "a TLS session at a first contact carries 1,300 bytes or more",
        "ended a TLS session long enough for a message",
        "Its encrypted mail was accepted.",
        "STARTTLS session long enough to have carried a message.",
    ),
    "null-sender": (
        "RFC 5321 section 4.5.5",
        "MAIL FROM:<> at a first contact",
        "sends bounces",
        "It returns undeliverable mail.",
        "Null reverse-path: bounces or callouts.",
    ),
    "retry-accepted": (
        "RFC 5321 section 4.5.4.1",
        "a server network that had deferred it or was out of reach accepts its mail",
        "retried after a deferral and was accepted",
        "It tried again later, as mail servers do.",
        "Retried after a temporary failure, accepted.",
    ),
    "quit": (
        "B@bel",
        "it says QUIT",
        "ended its session with QUIT",
        "It ends its connections properly.",
        "QUIT.",
    ),
    "authenticated": (
        "judgement",
        "AUTH answered 235",
        "authenticated to the server (AUTH)",
        "It has an account with the mail server.",
        "AUTH succeeded.",
    ),
    "private-extension": (
        "RFC 5321 section 2.2.2: private-use extensions are for servers that have agreed on them",
        "a new server network agrees to a private-use command that it offers, such as Exchange's X-ANONYMOUSTLS",
        "uses an extension by which mail servers of one organisation know each other",
        "It belongs to the same organisation as the mail server.",
        "Private-use SMTP extension agreed to.",
    ),
}


def _indicator(name: str) -> Indicator:
    """A row of both tables."""
    family, bot, usual, repeat_discount, basis = _RATES[name]
    weights = tuple(max(-CLIP, min(CLIP, math.log(bot / rate))) for rate in usual)
    return Indicator(family, bot, usual, weights, repeat_discount, basis, *_WORDS[name])


#: All of it, by the indicator's code.
INDICATORS = {name: _indicator(name) for name in _RATES}

#: Codes of earlier versions -> today's. Saved states, reports of routers that have not been updated, and the rows of a
#: collector may still have them; their readers call `current`.
RENAMED = {
    "took-leave": "quit",
    "welcomed": "rcpt-accepted",
    "came-back": "retry-accepted",
    "carried": "tls-carried",
    "turned-away": "tls-too-short",
    "connect-lost": "connect-timeout",
    "helo-bare": "helo-unqualified",
    "helo-poses": "helo-is-recipient",
    "named-sender": "non-null-sender",
    "to-itself": "sender-is-recipient",
    "odd-case": "verb-case",
    "listed": "dnsbl-listed",
    "unlisted": "dnsbl-unlisted",
    "home-line": "residential-line",
}

#: From a class of reply to an indicator (see `replies`).
FROM_REPLY = {
    "unknown-user": "unknown-user",
    "dnsbl-listed": "dnsbl-listed",
    "residential-line": "residential-line",
    "refused": "refused",
    "deferred": "deferred",
}
#: From a kind of HELO name to an indicator (see `names`).
FROM_NAME = {
    "empty": "helo-empty",
    "literal-private": "helo-private",
    "bare-address": "helo-address",
    "localhost": "helo-unqualified",
    "bare-word": "helo-unqualified",
    "dynamic": "helo-dynamic",
}
#: From a way of writing (see `inspect.facts`) to an indicator.
FROM_QUIRK = {
    "path-spaced": "path-spaced",
    "lower-case": "verb-case",
    "mixed-case": "verb-case",
    "sender-is-recipient": "sender-is-recipient",
}
#: Violations that are indicators under the same name (see `inspect.violations`).
FROM_VIOLATION = frozenset(("early-talk", "blind-pipelining", "content-after-refusal", "no-quit"))


def current(code: str) -> str:
    """Today's code of an indicator that an older version may have written."""
    return RENAMED.get(code, code)
