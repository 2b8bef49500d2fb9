"""The keys of the policy file: the one place for their names, units, ranges and meanings.

Tables and keys have their names in `Policy`; kinds says what is allowed in one. Must not know TOML. The table in
docs/policy.md is tested against it. Not part of the running filter, which has the fields alone.
"""

from __future__ import annotations

from cpe_filter.policy.kinds import KINDS
from cpe_filter.toml_file import Key, by_table, flag, number, word

#: Languages that there are texts in (texts.notice).
LANGUAGES = ("en", "nl", "de", "tr")


def _of(kind: str, table: str, name: str, meaning: str) -> Key:
    """A key of one of the policy's own kinds."""
    read, allowed = KINDS[kind]
    return Key(table, name, kind, read, allowed, meaning)


KEYS: tuple[Key, ...] = (
    _of("version", "filter", "version", "What this policy is called; reports to the Internet provider name it."),
    word("filter", "mode", ("monitor", "limit", "block"),
        "What happens to mail sent straight to strangers' servers: nothing, a rate limit, or a refusal."),
    flag("filter", "escalate", "Raise the mode of a suspected device to limit and of a compromised one to block."),
    word("filter", "refusal", ("explain", "reset"),
        "What a refused device gets: the responder's explanation, or a reset at once. Over a limit always a reset."),
    word("filter", "fail", ("open", "closed"),
        "When the filter is dead or hangs: mail that is not blocked passes unfiltered, or none leaves on these ports."),
    number("filter", "queue", "NFQUEUE number", 0, 65535,
        "Kernel queue (NFQUEUE) of packets that wait for the filter, and log group (NFLOG) of those it is only shown."),
    number("filter", "queue_length", "packets", 1, 65535,
        "How many packets may wait for the filter. More are dropped, and their senders repeat them."),
    number("filter", "queue_rate", "packets/s", 10, 1000000,
        "Packets of a device that the filter gets. More pass unobserved or, where they would wait for it, are "
        "refused."),
    number("filter", "block_minutes", "minutes", 1, 44640,
        "How long the kernel goes on blocking a compromised device after the filter has last confirmed it."),
    _of("interfaces", "network", "lan", "Where subscribers' devices are."),
    _of("interfaces", "network", "wan", "Where the Internet is."),
    _of("ports", "network", "ports", "Destination ports that count as mail. 587 and 465 are never touched."),
    _of("networks", "network", "relays", "The ISP's mail relays. Mail to these always passes and is not looked at."),
    _of("prefixes", "network", "nat64",
        "Prefixes of the network's NAT64 besides 64:ff9b::/96: a server behind it counts by its IPv4 address."),
    word("network", "private_destinations", ("pass", "filter"),
        "Destinations in RFC 1918, RFC 6598, link-local and ULA space: passed unfiltered, or treated like any other."),
    flag("network", "router_output", "Watch mail that the router itself sends, too."),
    _of("paths", "network", "leases",
        "Lease files of dnsmasq and odhcpd: devices' names, and which random MAC follows which."),
    number("limits", "connections_per_hour", "connections/h", 1, 100000, "Mode limit: a device's connections."),
    number("limits", "connections_burst", "connections", 1, 100000, "How many of these at once."),
    number("limits", "destinations_per_hour", "servers/h", 1, 100000,
        "Mode limit: servers the device had not used before."),
    number("limits", "destinations_burst", "servers", 1, 100000, "How many of these at once."),
    number("limits", "messages_per_hour", "messages/h", 1, 100000, "Mode limit: a device's MAIL commands."),
    number("limits", "messages_burst", "messages", 1, 100000, "How many of these at once."),
    number("limits", "recipients_per_hour", "recipients/h", 1, 1000000, "Mode limit: a device's RCPT commands."),
    number("limits", "recipients_burst", "recipients", 1, 1000000, "How many of these at once."),
    flag("detect", "watch_dns", "Count what devices in the LAN ask DNS for mail servers (MX). No names are kept."),
    flag("detect", "read_known",
        "Read, too, what a clear device says to networks of servers that have answered it before: only to count it."),
    flag("detect", "submission",
        "Count devices' connections to submission ports (465, 587, 2525) and their servers: reported, never blocked."),
    _of("replies", "detect", "replies",
        "Wordings of servers' refusals and what they mean; these come before the built-in ones (replies.md)."),
    _of("text", "status", "status_file", "Where the running filter writes what it knows."),
    number("status", "status_interval_s", "seconds", 1, 3600, "How often it is written."),
    _of("file", "status", "metrics_file",
        "Where it writes its counters for Prometheus' node exporter (textfile); empty: nowhere."),
    number("status", "metrics_interval_s", "seconds", 1, 3600, "How often these are written."),
    _of("socket", "status", "control_socket",
        "Where the running filter takes commands: `reload`, `exempt` and `release`."),
    _of("text", "state", "state_file",
        "Where it keeps what it knows across restarts; on flash, written at most once an hour."),
    _of("text", "state", "exemptions_file", "Where `cpe-filter exempt` keeps its exemptions, apart from this file's."),
    _of("sentence", "explain", "text",
        "What the responder says to refused mail; bounces carry it. Empty: the text in the language of [notice]."),
    _of("url", "explain", "url", "Where subscribers read more, shown after the text. Empty: `[notice] help_url`."),
    number("explain", "port", "TCP port", 1, 65535, "Where the responder listens."),
    number("explain", "max_connections", "connections", 8, 512, "How many it answers at once; an eighth for a client."),
    _of("user", "explain", "user", "Who the responder becomes when root starts it."),
    flag("explain", "tests", "Ask clients what mail programs and bots answer differently; off: none of the following."),
    flag("explain", "test_patience", "Say the greeting in two parts, with a pause between them: who talks first?"),
    flag("explain", "test_replies", "Give replies of several lines, in ways that the standard allows: who gets lost?"),
    flag("explain", "test_starttls", "Offer STARTTLS, and answer it with 454 and the text: who asks for it?"),
    flag("explain", "test_retry",
        "Answer a client's first recipients with 450 and the text, and with 554 when it tries again: who does?"),
    _of("url", "report", "url",
        "Where `cpe-filter send` brings reports of compromised devices; empty: nothing is reported."),
    _of("text", "report", "ca", "The certificates (PEM) by which the collector is recognised."),
    _of("text", "report", "certificate", "This router's certificate (PEM); it says who it is."),
    _of("text", "report", "key", "Its private key (PEM), mode 0600 or 0640."),
    _of("user", "report", "user", "Who `send` becomes when root starts it."),
    flag("report", "heartbeat", "Report once a day that the filter works, with counts."),
    number("report", "update_minutes", "minutes", 5, 1440, "How often at most an incident is reported while it lasts."),
    flag("report", "hostnames", "Report what a device calls itself in DHCP, too."),
    word("notice", "language", LANGUAGES, "The language of texts for subscribers: page and refusals."),
    _of("title", "notice", "provider", "The Internet provider's name, as subscribers know it."),
    _of("url", "notice", "help_url", "Where the provider helps and takes objections. Nothing else is linked to."),
    _of("title", "notice", "help_phone", "The number that subscribers call for help, as texts show it."),
    _of("file", "notice", "page",
        "Where the running filter writes the subscriber's page, in tmpfs, for uhttpd; empty: nowhere."),
    word("notice", "show", ("off", "device", "home"),
        "Whose plain HTTP (port 80) leads to the notice: no device's; a compromised device's, until it is answered "
        "there; also that of the home's other devices, now and then."),
    number("notice", "show_port", "TCP port", 1, 65535, "Where the responder serves it."),
    _of("hours", "notice", "hours", "At which hours of the day (local time) HTTP leads there."),
    number("notice", "times_a_day", "times/day", 1, 24,
        "How often for each of the other devices, with `home`; and how often a device is reminded."),
    _of("macs", "notice", "emergency",
        "Devices that must always work: their HTTP never leads there, and they are never in quarantine."),
    number("notice", "self_release", "releases/30 days", 0, 20,
        "How often people may release a device themselves, on the notice served to it; then the ISP does."),
    flag("notice", "self_exempt", "Let people exempt their mail server themselves there; off: it is an objection."),
    number("notice", "remind_days", "days", 0, 30,
        'After how many days a device whose users have "seen" it, and that still sends, is shown it again; 0: never.'),
    flag("notice", "quarantine",
        "A compromised device reaches the router, DNS and helpful sites only, until it is released."),
    number("notice", "quarantine_days", "days", 1, 30, "After how many days the quarantine ends in any case."),
    _of("networks", "notice", "helpful", "What a device in quarantine may reach on the Internet."),
)  # fmt: skip
BY_TABLE = by_table(KEYS)


def _keys(**names: tuple[str, ...]) -> tuple[Key, ...]:
    return tuple(BY_TABLE[table][name] for table in names for name in names[table])


#: Keys of a new policy that a running filter uses only after a restart: they are bound to its queue, its sockets and
#: its files. The others take effect by a reload.
AT_START = _keys(
    filter=("fail", "queue", "queue_length"),
    network=("lan", "leases"),
    status=("status_file", "control_socket"),
    state=("state_file", "exemptions_file"),
    explain=("port",),
    notice=("show_port",),
)
#: Those that the responder, a process of its own, reads when it starts.
OF_RESPONDER = _keys(
    status=("status_file",),
    explain=(
        *("text", "url", "port", "max_connections", "user", "tests"),
        *("test_patience", "test_replies", "test_starttls", "test_retry"),
    ),
    notice=("language", "provider", "help_url", "help_phone", "page", "show", "show_port"),
)
