"""The table of indicators: what counts for or against a device being compromised, and how much.

Knows the literature and the legitimate senders that a device is compared with. Must not know how evidence adds up
(score) or where facts come from (engine). A new indicator is a row in each of the two tables here, one place in
`detector` that sees it, and one line in its test.

Each row has the share of a bot's contacts that show the indicator, and for each kind of legitimate sender (`PROFILES`)
a *bound*: no sender of this kind shows it in a larger share of its contacts, whatever it is like otherwise (or in a
smaller share, for what speaks for a sender). `ANY` means that such a sender may show it always or never. A sender of a
kind is not one point, but all that stays within these bounds; the bounds together are its least favourable member
(Huber 1965), and the likelihood ratio against it, presence and absence counted, bounds that against every other.

Two forms of rows: a *rate* is drawn again at each contact that could have shown it, and its absence counts, too. A
*habit* is a property of a program (its HELO name, its dialect): it counts when it is seen, and each further time
`repeat` times as much as the time before.

`basis` is the origin of the rates. SIMULATED ones follow the senders of tests/evaluate, whose own ranges name their
sources; JUDGEMENT ones are guided by the named source. Bounds are above what was observed of any of them.
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
#: The families whose evidence counts against a device. State files hold numbers in this order: new ones come last.
FAMILIES = (DESTINATION, CONNECT, IDENTITY, VOLUME, REPLY, DIALECT, DNS, ORIGIN)
#: Seen without a word of SMTP. These alone can make a device suspected, and never convict it.
UNSPOKEN = frozenset((DESTINATION, CONNECT, VOLUME, DNS))
#: The kinds of legitimate senders that a device is compared with, the ordinary one first.
SENDER_PROFILES = (
    "mta", "list", "appliance", "verifier", "guests", "forwarder", "survey", "hoster", "listed", "scanner"
)  # fmt: skip
#: What people call them.
PROFILE_NAMES = dict(
    zip(
        SENDER_PROFILES,
        (
            "mail server",
            "newsletter or list",
            "appliance or script",
            "verifying or bouncing server",
            "several clients behind NAT",
            "forwarder",
            "monitor or survey",
            "server of many domains",
            "server on a listed line",
            "scanner of many users",
        ),
        strict=True,
    )
)
#: The share of all legitimate sessions that are theirs, at most (judgement): a rare sender takes less to be ruled out.
SHARES = (1.0, 1.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.03)
#: The most that one finding may weigh, nats.
CLIP = 3.5
#: Where a row's rates come from.
SIMULATED, JUDGEMENT = "simulated", "judgement"
#: The bound of a sender that may show an indicator always or never: it neither speaks for nor against it.
ANY = 0.0


class Indicator(NamedTuple):
    """family: one of the above. bot, usual: rates and bounds, `usual` and `weights` (nats) in the order of
    `SENDER_PROFILES`; `ANY` in `usual` weighs 0.

    repeat: factor of a habit's next time; 0 for a rate. when: it fires. meaning: for people, after the device's name;
    subscriber, desk: the texts for these.
    """

    family: str
    bot: float
    usual: tuple[float, ...]
    weights: tuple[float, ...]
    repeat: float
    basis: str
    source: str
    when: str
    meaning: str
    subscriber: str
    desk: str


#: The numbers: family; the share of a bot's contacts that show it; each sender's bound, in the order of
#: `SENDER_PROFILES`, `_` for `ANY`; the factor for repeats (0: a rate); where the rates come from.
# fmt: off
_RATES: dict[str, tuple[str, float, str, float, str]] = {
    #                                             mta  list appl veri gues forw surv host lstd scan
    "new-destination":       (DESTINATION, 0.85, "_    _    .4   _    _    .2   _    _    _    _",    0,    SIMULATED),
    "breadth":               (DESTINATION, 0.75, "_    _    .15  _    .25  .15  _    _    _    .5",   0,    SIMULATED),
    "destination-burst":     (VOLUME,      0.4,  ".3   _    .03  .3   .05  .2   _    .3   .3   .03",  0.8,  JUDGEMENT),
    "sustained":             (VOLUME,      0.5,  ".04  .15  .01  .15  .02  .02  .3   .05  .04  .01",  1,    JUDGEMENT),
    "connect-refused":       (CONNECT,     0.03, ".015 .015 .02  .03  .015 .02  .03  .015 .015 .02",  0.9,  SIMULATED),
    "connect-timeout":       (CONNECT,     0.05, ".02  .03  .03  .05  .02  .03  .05  .02  .02  .03",  0.85, SIMULATED),
    "helo-dynamic":          (IDENTITY,    0.35, ".08  .01  .15  .08  .1   .08  .08  .03  .08  .03",  0.2,  SIMULATED),
    "helo-address":          (IDENTITY,    0.1,  ".01  .01  .1   .01  .05  .01  .01  .01  .01  .05",  0.2,  JUDGEMENT),
    "helo-private":          (IDENTITY,    0.1,  ".05  .1   _    .05  _    .05  .05  .02  .05  _",    0.2,  JUDGEMENT),
    "helo-unqualified":      (IDENTITY,    0.25, ".1   _    _    .1   _    .1   _    .05  .1   _",    0.2,  SIMULATED),
    "helo-empty":            (IDENTITY,    0.03, ".005 .005 .02  .005 .01  .005 .005 .005 .005 .01",  0.3,  JUDGEMENT),
    "helo-rotates":          (IDENTITY,    0.4,  ".03  .02  .15  .03  _    .03  .03  .15  .03  .02",  0,    SIMULATED),
    "helo-domain-rotates":   (IDENTITY,    0.4,  "_    _    .04  _    _    _    _    _    _    _",    0,    SIMULATED),
    "sender-unrelated":      (IDENTITY,    0.5,  ".3   .3   _    .3   _    _    .3   _    .3   _",    0.3,  JUDGEMENT),
    "sender-rotates":        (IDENTITY,    0.4,  ".03  .015 .12  .03  _    _    .02  .3   .03  .25",  0,    SIMULATED),
    "new-pair":              (IDENTITY,    0.4,  "_    _    _    _    _    .05  _    _    _    .2",   0,    SIMULATED),
    "unauthenticated":       (IDENTITY,    0.95, "_    _    _    _    .5   _    _    _    _    _",    0,    SIMULATED),
    "banner-refused":        (REPLY,       0.08, ".04  .04  .06  .04  .04  .04  .04  .04  .04  .06",  0.7,  JUDGEMENT),
    "unknown-user":          (REPLY,       0.3,  ".05  .25  _    .45  .05  .1   .02  .05  .05  .1",   0,    SIMULATED),
    "dnsbl-listed":          (REPLY,       0.2,  ".02  .02  .03  .02  .03  .02  .02  .02  .4   .03",  0.5,  SIMULATED),
    "dnsbl-unlisted":        (REPLY,       0.9,  "_    _    _    _    _    _    _    _    .8   _",    1,    JUDGEMENT),
    "residential-line":      (REPLY,       0.3,  "_    _    _    _    _    _    _    _    _    _",    1,    SIMULATED),
    "refused":               (REPLY,       0.12, ".04  .06  _    .1   .05  .1   .02  .05  .05  _",    0.9,  SIMULATED),
    "deferred":              (REPLY,       0.1,  "_    _    _    _    _    _    _    _    _    _",    1,    SIMULATED),
    "tls-too-short":         (REPLY,       0.5,  ".45  .5   _    _    .3   .45  _    .45  .45  _",    0,    SIMULATED),
    "early-talk":            (DIALECT,     0.05, ".005 .005 .02  .005 .01  .005 .01  .005 .005 .01",  0.5,  JUDGEMENT),
    "blind-pipelining":      (DIALECT,     0.05, ".01  .01  .02  .01  .01  .01  .01  .01  .01  .01",  0.5,  JUDGEMENT),
    "content-after-refusal": (DIALECT,     0.05, ".005 .005 .02  .005 .005 .005 .005 .005 .005 .01",  0.5,  SIMULATED),
    "not-smtp":              (DIALECT,     0.02, ".004 .004 .01  .004 .004 .004 .02  .004 .004 .01",  0.5,  JUDGEMENT),
    "no-quit":               (DIALECT,     0.6,  ".03  .03  .5   .03  .4   .03  .3   .03  .05  .4",   0.4,  SIMULATED),
    "path-spaced":           (DIALECT,     0.4,  ".02  .03  .4   .02  .05  .02  .05  .02  .02  .4",   0.3,  SIMULATED),
    "helo-not-ehlo":         (DIALECT,     0.4,  ".03  .15  .4   .05  .15  .03  .1   .03  .03  .4",   0.3,  SIMULATED),
    "declines-tls":          (DIALECT,     0.85, ".4   _    _    _    .4   .4   _    .3   .4   _",    0.4,  JUDGEMENT),
    "verb-case":             (DIALECT,     0.25, ".03  .05  .25  .03  .08  .03  .1   .03  .03  .15",  0.3,  JUDGEMENT),
    "many-recipients":       (VOLUME,      0.25, ".05  _    .05  .03  .05  .05  .02  .1   .05  .02",  0.3,  JUDGEMENT),
    "sender-is-recipient":   (DIALECT,     0.12, ".05  .03  .4   .02  .08  .05  .02  .05  .05  .4",   0.3,  JUDGEMENT),
    "helo-is-recipient":     (IDENTITY,    0.08, ".02  .02  .1   .02  .03  .02  .02  .02  .02  .05",  0.5,  JUDGEMENT),
    "relayed":               (ORIGIN,      0.9,  ".02  .02  .35  .02  .15  .02  .05  .02  .02  .1",   0.8,  SIMULATED),
    "from-router":           (ORIGIN,      0.3,  ".02  .01  .05  .02  .02  .02  .02  .02  .02  .02",  0.5,  JUDGEMENT),
    "mx-lookup":             (DNS,         0.5,  "_    _    .1   _    .1   _    _    _    _    .1",   0.3,  JUDGEMENT),
    "mx-foreign":            (DNS,         0.3,  "_    _    .05  _    .05  _    _    _    _    .05",  0.3,  JUDGEMENT),
    "message-content":       (DIALECT,     0.9,  "_    _    _    .65  _    _    .02  _    _    _",    0,    SIMULATED),
    "null-sender":           (LEGITIMATE,  0.02, ".03  .03  _    .3   .03  .03  _    .03  .03  .03",  1,    SIMULATED),
    "retry-accepted":        (LEGITIMATE,  0.02, ".06  .05  .03  .06  .04  .06  _    .06  .06  .03",  1,    SIMULATED),
    "accepted":              (LEGITIMATE,  0.35, ".4   .4   .4   .4   .4   .4   _    .4   .4   .4",   1,    SIMULATED),
    "tls-carried":           (LEGITIMATE,  0.4,  ".43  .43  .43  .43  .43  .43  _    .43  .43  .43",  1,    SIMULATED),
    "quit":                  (LEGITIMATE,  0.5,  ".9   .8   .6   .8   .6   .9   .6   .9   .9   .6",   0.5,  SIMULATED),
    "authenticated":         (LEGITIMATE,  0.01, ".05  .02  .08  .05  .3   .05  .01  .05  .05  .05",  1,    JUDGEMENT),
    "private-extension":     (LEGITIMATE,  0.01, ".03  .01  .01  .03  .03  .03  .01  .03  .03  .01",  1,    JUDGEMENT),
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
    "breadth": (
        "Lin (unique recipients); BotFlex",
        "a HELO name is used at a new server network after it was used at another one",
        "one program on it writes to many mail servers",
        "One program on it writes to many different mail servers.",
        "One HELO name at more than 1 new destination network.",
    ),
    "destination-burst": (
        "MikroTik and iungonetwork rules",
        "more than 2 new server networks within a minute",
        "contacted many new mail servers within a minute",
        "It contacted many new mail servers within a minute.",
        "More than 2 new destination networks within 60 s.",
    ),
    "sustained": (
        "MikroTik and iungonetwork rules; ProxyM: 400 messages a day",
        "the 8th new server network of an hour, in the second such hour of a day and later",
        "contacts new mail servers hour after hour",
        "It contacts new mail servers hour after hour.",
        "8 or more new destination networks within an hour, for hours.",
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
        "a HELO name after its second",
        "says HELO under changing names",
        "It introduces itself under many different names.",
        "More than 2 HELO names seen from one device.",
    ),
    "helo-domain-rotates": (
        "operators' rule: more than 2 a week",
        "a HELO name of a third Internet domain, or a later one",
        "says HELO with names of many Internet domains",
        "It introduces itself with names of many different companies.",
        "HELO names of several registered domains from one device.",
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
        "a sender domain after its second",
        "keeps changing its sender domain",
        "It sends under many different sender domains.",
        "More than 2 MAIL FROM domains seen from one device.",
    ),
    "new-pair": (
        "judgement; forwarders write to few servers in many names",
        "a sender domain after its second, at a new server network",
        "writes to a new server under a new sender domain",
        "It writes to strangers under ever new names.",
        "New MAIL FROM domain at a new destination network.",
    ),
    "unauthenticated": (
        "RFC 6409 section 4.3: submission is authenticated",
        "MAIL with a sender in the clear, without AUTH",
        "sends without an account at the server",
        "It sends mail without an account at the mail server.",
        "MAIL without AUTH: no submission.",
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
    "relayed": (
        "measured in the lab and in captures (docs/turnaround.md)",
        "it answers no reply within 20 ms, though it acknowledges at once; nor does it take as long as a person",
        "answers servers as late as if it asked a program far away each time",
        "It passes on mail for a stranger on the Internet, as proxy programs in apps do.",
        "SMTP turnaround far above the LAN round trip: relayed for a remote operator.",
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
    "message-content": (
        "RFC 5321 section 3.3; Postfix's address verification ends before DATA",
        "a new server agrees to a recipient, and the message follows",
        "sends a message, not only a question",
        "It sends messages to strangers.",
        "DATA after an accepted recipient: not a callout.",
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
    family, bot, bounds, repeat, basis = _RATES[name]
    usual = tuple(ANY if bound == "_" else float(bound) for bound in bounds.split())
    least, most = (-CLIP, 0.0) if family == LEGITIMATE else (0.0, CLIP)
    weights = tuple(max(least, min(most, math.log(bot / bound))) if bound else 0.0 for bound in usual)
    return Indicator(family, bot, usual, weights, repeat, basis, *_WORDS[name])


#: All of it, by the indicator's code.
INDICATORS = {name: _indicator(name) for name in _RATES}

#: Codes of earlier versions -> today's. Saved states, reports of routers that have not been updated, and the rows of a
#: collector may still have them; their readers call `current`.
RENAMED = {
    "took-leave": "quit",
    "came-back": "retry-accepted",
    "carried": "tls-carried",
    "turned-away": "tls-too-short",
    "connect-lost": "connect-timeout",
    "helo-bare": "helo-unqualified",
    "helo-poses": "helo-is-recipient",
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
