"""The keys of the policy file: the one place where their names, units, ranges and meanings stand.

Tables and keys have their names in `Policy`. Must not know TOML, or how a value is checked. The table in
docs/policy.md is tested against it. No part of the running filter, which has the fields alone.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.policy.model import Policy

#: Text and URL of a refusal make one or two reply lines of RFC 5321.
MAX_TEXT, MAX_URL = 400, 200
#: Characters of a policy's version (report-v1.schema.json).
MAX_VERSION = 64
#: Characters of the provider's name: with it the longest text of a refusal still fits `MAX_TEXT`.
MAX_PROVIDER = 60
#: Languages that there are texts in (report.notice_text).
LANGUAGES = ("en", "nl", "de", "tr")
#: Bytes of a Unix socket's path (sun_path, without the NUL).
MAX_SOCKET = 107
#: Paths in a list.
MAX_PATHS = 8
#: Prefixes of NAT64: each IPv4 network that passes has one of each in the kernel.
MAX_PREFIXES = 8


class Key(NamedTuple):
    """One key of the file.

    kind: word, flag, number, text (a path), file (a path or empty), socket, sentence, url, user, version, title,
    interfaces, ports, networks, prefixes (of NAT64) or paths.
    """

    table: str
    name: str
    kind: str
    unit: str
    allowed: str
    low: int
    high: int
    words: tuple[str, ...]
    meaning: str

    def value(self, policy: Policy) -> Any:
        """What a policy says."""
        return getattr(getattr(policy, self.table), self.name)

    @property
    def place(self) -> str:
        """Where it stands in the file, for people."""
        return f"[{self.table}] {self.name}"

    @property
    def default(self) -> Any:
        return self.value(Policy())


def _word(table: str, name: str, words: tuple[str, ...], meaning: str) -> Key:
    return Key(table, name, "word", "", ", ".join(words), 0, 0, words, meaning)


def _number(table: str, name: str, unit: str, low: int, high: int, meaning: str) -> Key:
    return Key(table, name, "number", unit, f"{low} to {high}", low, high, (), meaning)


def _other(table: str, name: str, kind: str, allowed: str, meaning: str) -> Key:
    return Key(table, name, kind, "", allowed, 0, 0, (), meaning)


KEYS: tuple[Key, ...] = (
    _other(
        "filter",
        "version",
        "version",
        f"at most {MAX_VERSION} letters, digits, and ._+-",
        "What this policy is called; reports to the Internet provider name it.",
    ),
    _word(
        "filter",
        "mode",
        ("monitor", "limit", "block"),
        "What happens to mail sent straight to strangers' servers: nothing, a rate limit, or a refusal.",
    ),
    _other(
        "filter",
        "escalate",
        "flag",
        "true, false",
        "Raise the mode of a suspected device to limit and of a compromised one to block.",
    ),
    _word(
        "filter",
        "refusal",
        ("explain", "reset"),
        "What a refused device gets: the responder's explanation, or a reset at once. Over a limit always a reset.",
    ),
    _word(
        "filter",
        "fail",
        ("open", "closed"),
        "When the filter is dead or hangs: mail that is not blocked passes unseen, or none leaves on these ports.",
    ),
    _number(
        "filter",
        "queue",
        "NFQUEUE number",
        0,
        65535,
        "Kernel queue (NFQUEUE) of packets that wait for the filter, and log group (NFLOG) of those it is only shown.",
    ),
    _number(
        "filter",
        "queue_length",
        "packets",
        1,
        65535,
        "How many packets may wait for the filter. More are dropped, and their senders repeat them.",
    ),
    _number(
        "filter",
        "queue_rate",
        "packets/s",
        10,
        1000000,
        "Packets of a device that the filter gets. More pass unobserved or, where they would wait for it, are refused.",
    ),
    _number(
        "filter",
        "block_minutes",
        "minutes",
        1,
        44640,
        "How long the kernel goes on blocking a compromised device after the filter has last confirmed it.",
    ),
    _other("network", "lan", "interfaces", "interface names", "Where subscribers' devices are."),
    _other("network", "wan", "interfaces", "interface names", "Where the Internet is."),
    _other(
        "network",
        "ports",
        "ports",
        "1 to 65535, at most 8",
        "Destination ports that count as mail. 587 and 465 are never touched.",
    ),
    _other(
        "network",
        "relays",
        "networks",
        "IPv4 and IPv6 addresses and networks",
        "The ISP's mail relays. Mail to these always passes and is not looked at.",
    ),
    _other(
        "network",
        "nat64",
        "prefixes",
        f"IPv6 prefixes of 32, 40, 48, 56, 64 or 96 bits, at most {MAX_PREFIXES}",
        "Prefixes of the network's NAT64 besides 64:ff9b::/96: a server behind it counts by its IPv4 address.",
    ),
    _word(
        "network",
        "private_destinations",
        ("pass", "filter"),
        "Destinations in RFC 1918, RFC 6598, link-local and ULA space: passed unseen, or treated like any other.",
    ),
    _other("network", "router_output", "flag", "true, false", "Watch mail that the router itself sends, too."),
    _other(
        "network",
        "leases",
        "paths",
        f"absolute paths, at most {MAX_PATHS}",
        "Lease files of dnsmasq and odhcpd: devices' names, and which random MAC follows which.",
    ),
    _number("limits", "connections_per_hour", "connections/h", 1, 100000, "Mode limit: a device's connections."),
    _number("limits", "connections_burst", "connections", 1, 100000, "How many of these at once."),
    _number(
        "limits", "destinations_per_hour", "servers/h", 1, 100000, "Mode limit: servers the device had not used before."
    ),
    _number("limits", "destinations_burst", "servers", 1, 100000, "How many of these at once."),
    _number("limits", "messages_per_hour", "messages/h", 1, 100000, "Mode limit: a device's MAIL commands."),
    _number("limits", "messages_burst", "messages", 1, 100000, "How many of these at once."),
    _number("limits", "recipients_per_hour", "recipients/h", 1, 1000000, "Mode limit: a device's RCPT commands."),
    _number("limits", "recipients_burst", "recipients", 1, 1000000, "How many of these at once."),
    _other(
        "detect",
        "watch_dns",
        "flag",
        "true, false",
        "Count what devices in the LAN ask DNS for mail servers (MX). No names are kept.",
    ),
    _other(
        "detect",
        "read_known",
        "flag",
        "true, false",
        "Read, too, what a clear device says to networks of servers that have answered it before: only to count it.",
    ),
    _other("status", "status_file", "text", "an absolute path", "Where the running filter writes what it knows."),
    _number("status", "status_interval_s", "seconds", 1, 3600, "How often it is written."),
    _other(
        "status",
        "metrics_file",
        "file",
        "an absolute path, or empty",
        "Where it writes its counters for Prometheus' node exporter (textfile); empty: nowhere.",
    ),
    _number("status", "metrics_interval_s", "seconds", 1, 3600, "How often these are written."),
    _other(
        "status",
        "control_socket",
        "socket",
        f"an absolute path of at most {MAX_SOCKET} bytes",
        "Where the running filter takes commands: `reload`, `exempt` and `release`.",
    ),
    _other(
        "state",
        "state_file",
        "text",
        "an absolute path",
        "Where it keeps what it knows across restarts; on flash, written at most once an hour.",
    ),
    _other(
        "state",
        "exemptions_file",
        "text",
        "an absolute path",
        "Where `cpe-filter exempt` keeps its exemptions, apart from this file's.",
    ),
    _other(
        "explain",
        "text",
        "sentence",
        f"one line of US-ASCII, at most {MAX_TEXT} characters, or empty",
        "What the responder says to refused mail; bounces carry it. Empty: the text in the language of [notice].",
    ),
    _other(
        "explain",
        "url",
        "url",
        "an https URL, or empty",
        "Where subscribers read more, said after the text. Empty: `[notice] help_url`.",
    ),
    _number("explain", "port", "TCP port", 1, 65535, "Where the responder listens."),
    _number(
        "explain", "max_connections", "connections", 8, 512, "How many it answers at once; an eighth for a client."
    ),
    _other("explain", "user", "user", "a user's name, not root", "Who the responder becomes when root starts it."),
    _other(
        "report",
        "url",
        "url",
        "an https URL, or empty",
        "Where `cpe-filter send` brings reports of compromised devices; empty: nothing is reported.",
    ),
    _other("report", "ca", "text", "an absolute path", "The certificates (PEM) by which the collector is recognised."),
    _other("report", "certificate", "text", "an absolute path", "This router's certificate (PEM); it says who it is."),
    _other("report", "key", "text", "an absolute path", "Its private key (PEM), mode 0600 or 0640."),
    _other("report", "user", "user", "a user's name, not root", "Who `send` becomes when root starts it."),
    _other("report", "heartbeat", "flag", "true, false", "Report once a day that the filter works, with counts."),
    _number("report", "update_minutes", "minutes", 5, 1440, "How often at most an incident is told of while it lasts."),
    _other("report", "hostnames", "flag", "true, false", "Report what a device calls itself in DHCP, too."),
    _word("notice", "language", LANGUAGES, "The language of what subscribers are told: page and refusals."),
    _other(
        "notice",
        "provider",
        "title",
        f"one line of at most {MAX_PROVIDER} characters, or empty",
        "The Internet provider's name, as subscribers know it.",
    ),
    _other(
        "notice",
        "help_url",
        "url",
        "an https URL, or empty",
        "Where the provider helps and takes objections. Nothing else is linked to.",
    ),
    _other(
        "notice",
        "page",
        "file",
        "an absolute path, or empty",
        "Where the running filter writes the subscriber's page, in tmpfs, for uhttpd; empty: nowhere.",
    ),
)
BY_TABLE: dict[str, dict[str, Key]] = {}
for _key in KEYS:
    BY_TABLE.setdefault(_key.table, {})[_key.name] = _key


def _keys(**names: tuple[str, ...]) -> tuple[Key, ...]:
    return tuple(BY_TABLE[table][name] for table in names for name in names[table])


#: Keys that a running filter takes over from a new policy only when it starts again: they are bound to its queue, its
#: sockets and its files. The rest takes effect by a reload.
AT_START = _keys(
    filter=("fail", "queue", "queue_length"),
    network=("lan", "wan", "leases"),
    status=("status_file", "control_socket"),
    state=("state_file", "exemptions_file"),
    explain=("port",),
)
#: Those that the responder, a process of its own, reads when it starts.
OF_RESPONDER = _keys(
    explain=("text", "url", "port", "max_connections", "user"), notice=("language", "provider", "help_url")
)
