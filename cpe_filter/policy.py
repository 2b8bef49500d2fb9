"""The policy file: TOML -> one frozen `Policy`.

Knows the keys, their units, defaults and ranges (`KEYS` is the one place; README's table is tested against
it). Must not know how a policy is carried out. Every error names file, table, key, what was found and what is
allowed. tomllib brings `typing` along anyway, so NamedTuples cost nothing here; dataclasses would cost 2.6 MB.
"""

from __future__ import annotations

import sys
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple

Network = IPv4Network | IPv6Network

#: A policy larger than this is a mistake.
MAX_FILE_BYTES = 1 << 20
MAX_LIST = 1024
MAX_PATHS = 8
#: Text and URL of a refusal make one or two reply lines of RFC 5321.
MAX_TEXT, MAX_URL = 400, 200
#: Characters of a policy's version (report-v1.schema.json).
MAX_VERSION = 64
#: Bytes of a Unix socket's path (sun_path, without the NUL).
MAX_SOCKET = 107
#: Characters of an exemption's reason.
MAX_REASON = 200


class PolicyError(ValueError):
    """A policy that cannot be used. The text names file, table, key, finding and what is allowed."""


class Exemption(NamedTuple):
    """`device` may send straight to `destination`. It stays watched.

    device: packed MAC (6 bytes) or None for any. destination: network or None for any. until: last second,
    POSIX time, or None for ever.
    """

    device: bytes | None
    destination: Network | None
    until: float | None
    reason: str


class Policy(NamedTuple):
    """What the ISP or the owner of the router has decided. Keys, units and ranges: `KEYS`."""

    version: str = ""
    mode: str = "block"
    escalate: bool = True
    refusal: str = "explain"
    fail: str = "open"
    queue: int = 25
    queue_length: int = 64
    queue_rate: int = 500
    block_minutes: int = 60
    lan: tuple[str, ...] = ("br-lan",)
    wan: tuple[str, ...] = ("wan",)
    ports: tuple[int, ...] = (25,)
    relays: tuple[Network, ...] = ()
    private_destinations: str = "pass"
    router_output: bool = True
    # On OpenWrt /tmp is root's alone; elsewhere they are only read, and nothing in them is trusted.
    leases: tuple[str, ...] = ("/tmp/dhcp.leases", "/tmp/odhcpd.leases", "/tmp/hosts/odhcpd")  # noqa: S108
    connections_per_hour: int = 60
    connections_burst: int = 12
    destinations_per_hour: int = 20
    destinations_burst: int = 6
    # A household's own server writes a few messages a day; what waited during an outage goes out at once.
    messages_per_hour: int = 60
    messages_burst: int = 20
    recipients_per_hour: int = 100
    recipients_burst: int = 30
    watch_dns: bool = True
    status_file: str = "/var/run/cpe-filter/status.json"
    status_interval_s: int = 5
    metrics_file: str = ""
    metrics_interval_s: int = 60
    control_socket: str = "/var/run/cpe-filter/control"
    state_file: str = "/etc/cpe-filter/state"
    exemptions_file: str = "/etc/cpe-filter/exemptions.toml"
    explain_text: str = (
        "Your Internet provider, not the recipient, refused this: mail may not go straight from this line to other "
        "mail servers. Send it through your mail service's server, port 587 or 465."
    )
    explain_url: str = ""
    explain_port: int = 2525
    explain_max_connections: int = 64
    explain_user: str = "nobody"
    report_url: str = ""
    report_ca: str = "/etc/cpe-filter/collector-ca.pem"
    report_certificate: str = "/etc/cpe-filter/router.pem"
    report_key: str = "/etc/cpe-filter/router.key"
    report_user: str = "cpe-filter"
    report_heartbeat: bool = True
    report_update_minutes: int = 15
    report_hostnames: bool = False
    exempt: tuple[Exemption, ...] = ()


class Key(NamedTuple):
    """One key of the file.

    kind: word, flag, number, text (a path), file (a path or empty), socket, sentence, url, user, version, interfaces,
    ports, networks or paths.
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

    @property
    def field(self) -> str:
        """Its name in `Policy`. What is called `port` in [explain] would say too little there."""
        return f"{self.table}_{self.name}" if self.table in ("explain", "report") else self.name

    @property
    def place(self) -> str:
        """Where it stands in the file, for people."""
        return f"[{self.table}] {self.name}"

    @property
    def default(self) -> Any:
        return Policy._field_defaults[self.field]


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
        "When the filter does not run: mail passes unseen, or nothing leaves on these ports.",
    ),
    _number("filter", "queue", "NFQUEUE number", 0, 65535, "The kernel queue that carries packets to the filter."),
    _number(
        "filter", "queue_length", "packets", 1, 65535, "How many packets wait in the kernel before the queue is full."
    ),
    _number(
        "filter",
        "queue_rate",
        "packets/s",
        10,
        1000000,
        "So many packets of a device reach the filter; beyond, they pass unseen or, where mail is limited, wait.",
    ),
    _number(
        "filter",
        "block_minutes",
        "minutes",
        1,
        44640,
        "How long the kernel refuses a blocked device by itself before it asks again.",
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
        f"one line of US-ASCII, at most {MAX_TEXT} characters",
        "What the responder says to refused mail; bounces carry it.",
    ),
    _other("explain", "url", "url", "an https URL, or empty", "Where subscribers read more; said after the text."),
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
)

_BY_TABLE: dict[str, dict[str, Key]] = {}
for _key in KEYS:
    _BY_TABLE.setdefault(_key.table, {})[_key.name] = _key
#: Fields that a running filter takes over from a new policy only when it starts again: they are bound to its queue, its
#: sockets and its files. The rest takes effect by a reload.
AT_START = (
    "fail",
    "queue",
    "queue_length",
    "lan",
    "wan",
    "leases",
    "status_file",
    "control_socket",
    "state_file",
    "exemptions_file",
    "explain_port",
)
#: Those that the responder, a process of its own, reads when it starts.
OF_RESPONDER = ("explain_text", "explain_url", "explain_max_connections", "explain_user")
_EXEMPT_KEYS = ("device", "destination", "until", "reason")
#: Submission is the way for people to send mail; RFC 5068 section 3.1 forbids blocking it.
_NEVER_PORTS = (465, 587)


def load(path: str) -> Policy:
    """Reads and checks a policy file. Raises `PolicyError`."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from None
    return build(parse(raw, path), path)


def parse(raw: bytes, path: str) -> dict[str, Any]:
    """TOML as tables. Raises `PolicyError`, which names `path`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(raw) > MAX_FILE_BYTES:
        raise PolicyError(f"{path}: too large; allowed: at most {MAX_FILE_BYTES} bytes")
    try:
        data: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except ValueError as error:  # TOMLDecodeError, or int()'s own refusal of thousands of digits
        raise PolicyError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise PolicyError(f"{path}: not TOML: nested too deeply") from None
    return data


def build(data: dict[str, Any], path: str) -> Policy:
    """Checks parsed TOML. Raises `PolicyError`."""
    values: dict[str, Any] = {}
    for table, content in data.items():
        if table == "exempt":
            values["exempt"] = _exemptions(content, path)
            continue
        keys = _BY_TABLE.get(table)
        if keys is None:
            known = [f"[{name}]" for name in _BY_TABLE] + ["[[exempt]]"]
            hint = _home(table) or _nearest(f"[{table}]", known)
            raise PolicyError(f"{path}: unknown table or key {shown(table)}; {hint}")
        if not isinstance(content, dict):
            raise PolicyError(f"{path}: {table} is {_found(content)}; a table [{table}] is wanted")
        for name, value in content.items():
            key = keys.get(name)
            if key is None:
                # `port` in [network] is a slip for `ports`, though [explain] has a key of that name.
                slip = any(_edits(name[:40], other) == 1 for other in keys)
                hint = (not slip and _home(name)) or _nearest(name, list(keys))
                raise PolicyError(f"{path}: [{table}] unknown key {shown(name)}; {hint}")
            values[key.field] = _value(key, value, f"{path}: [{table}] {name}")
    policy = Policy(**values)
    both = set(policy.lan) & set(policy.wan)
    if both:
        raise PolicyError(
            f"{path}: [network] lan and wan both name {', '.join(sorted(both))}; an interface is one or the other"
        )
    return policy


def _value(key: Key, value: Any, where: str) -> Any:
    if key.kind == "word":
        if value not in key.words or not isinstance(value, str):
            raise PolicyError(f"{where} is {_found(value)}; allowed: {key.allowed}")
        return value
    if key.kind == "flag":
        if not isinstance(value, bool):
            raise PolicyError(f"{where} is {_found(value)}; allowed: true, false")
        return value
    if key.kind == "number":
        return whole(value, key.low, key.high, where, key.unit)
    if key.kind in _TEXTS:
        if not isinstance(value, str) or not _TEXTS[key.kind](value):
            raise PolicyError(f"{where} is {_found(value)}; allowed: {key.allowed}")
        return value
    if not isinstance(value, list):
        raise PolicyError(f"{where} is {_found(value)}; a list of {key.allowed} is wanted")
    if len(value) > MAX_LIST:
        raise PolicyError(f"{where} has {len(value)} entries; at most {MAX_LIST}")
    if key.kind == "interfaces":
        return _interfaces(value, where)
    if key.kind == "ports":
        return _ports(value, where)
    if key.kind == "paths":
        return _paths(value, where)
    return tuple(_network(item, where) for item in value)


def whole(value: Any, low: int, high: int, where: str, unit: str) -> int:
    """A whole number within bounds. Raises `PolicyError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PolicyError(f"{where} is {_found(value)}; allowed: a whole number from {low} to {high} ({unit})")
    return value


def _interfaces(value: list[Any], where: str) -> tuple[str, ...]:
    if not value:
        raise PolicyError(f"{where} is empty; at least one interface is wanted")
    for name in value:
        # The kernel's rule (dev_valid_name), less the characters that would need quoting in a ruleset.
        good = isinstance(name, str) and 0 < len(name) < 16 and name not in (".", "..")
        if not good or not all(c.isascii() and (c.isalnum() or c in "._-@") for c in name):
            raise PolicyError(
                f"{where} has {_found(name)}; allowed: interface names of 1 to 15 letters, digits, . _ - @"
            )
    return tuple(dict.fromkeys(value))


def _is_sentence(text: str) -> bool:
    return 0 < len(text) <= MAX_TEXT and text.isascii() and text.isprintable() and text == text.strip()


def _is_url(text: str) -> bool:
    """Empty or https. No user name: `https://isp.example@evil.example` is not what it seems."""
    if not text:
        return True
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or any(c in ' "<>\\^`{|}' for c in text):
        return False
    host = text[len("https://") :].split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    name, _, port = host.partition(":")
    labels = name.split(".")
    return (
        text.startswith("https://")
        and all(label and all(c.isalnum() or c == "-" for c in label) for label in labels)
        and (port.isdecimal() if ":" in host else True)
    )


def _is_user(text: str) -> bool:
    """useradd's rule."""
    rest = "abcdefghijklmnopqrstuvwxyz_0123456789-"
    return text != "root" and 0 < len(text) <= 32 and text[0] in rest[:27] and all(c in rest for c in text)


def _is_version(text: str) -> bool:
    return len(text) <= MAX_VERSION and text.isascii() and all(c.isalnum() or c in "._+-" for c in text)


def _is_path(text: str) -> bool:
    return text.startswith("/") and "\0" not in text


def _is_file(text: str) -> bool:
    return not text or _is_path(text)


def _is_socket(text: str) -> bool:
    return _is_path(text) and len(text.encode("utf-8", "surrogateescape")) <= MAX_SOCKET


#: Kinds of text whose whole rule is yes or no.
_TEXTS = {
    "text": _is_path,
    "file": _is_file,
    "socket": _is_socket,
    "sentence": _is_sentence,
    "url": _is_url,
    "user": _is_user,
    "version": _is_version,
}


def _paths(value: list[Any], where: str) -> tuple[str, ...]:
    if len(value) > MAX_PATHS:
        raise PolicyError(f"{where} has {len(value)} entries; allowed: at most {MAX_PATHS} paths")
    for path in value:
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            raise PolicyError(f"{where} has {_found(path)}; allowed: absolute paths")
    return tuple(dict.fromkeys(value))


def _ports(value: list[Any], where: str) -> tuple[int, ...]:
    if not 0 < len(value) <= 8:
        raise PolicyError(f"{where} has {len(value)} entries; allowed: 1 to 8 ports")
    for port in value:
        whole(port, 1, 65535, where, "port")
        if port in _NEVER_PORTS:
            raise PolicyError(
                f"{where} has {port}; allowed: any but 465 and 587, the way of submission (RFC 5068 section 3.1)"
            )
    return tuple(dict.fromkeys(value))


def _network(value: Any, where: str) -> Network:
    if isinstance(value, str) and "%" not in value:  # a zone (RFC 4007) is no address, and could hold anything
        try:
            return ip_network(value, strict=False)
        except ValueError:
            pass
    raise PolicyError(
        f"{where} has {_found(value)}; allowed: an address or network such as 192.0.2.25 or 2001:db8::/48"
    )


def _exemptions(content: Any, path: str) -> tuple[Exemption, ...]:
    if not isinstance(content, list) or len(content) > MAX_LIST:
        raise PolicyError(f"{path}: exempt is {_found(content)}; tables [[exempt]] are wanted, at most {MAX_LIST}")
    out = []
    for number, entry in enumerate(content, 1):
        where = f"{path}: [[exempt]] number {number}"
        if not isinstance(entry, dict):
            raise PolicyError(f"{where} is {_found(entry)}; a table is wanted")
        for name in entry:
            if name not in _EXEMPT_KEYS:
                raise PolicyError(f"{where} unknown key {shown(name)}; {_nearest(name, list(_EXEMPT_KEYS))}")
        out.append(exemption(entry, where))
    return tuple(out)


def exemption(entry: dict[str, Any], where: str) -> Exemption:
    """A table [[exempt]], its keys known. Raises `PolicyError`, which begins with `where`."""
    device = entry.get("device", "any")
    packed = None if device == "any" else parse_mac(device)
    if device != "any" and packed is None:
        raise PolicyError(f'{where} device is {_found(device)}; allowed: a MAC such as 02:00:00:12:34:56, or "any"')
    destination = entry.get("destination", "any")
    network = None if destination == "any" else _network(destination, f"{where} destination")
    if packed is None and network is None:
        raise PolicyError(f"{where} exempts every device for every destination; name a device or a destination")
    until = entry.get("until")
    if until is not None:
        until = moment(until, f"{where} until")
    reason = entry.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
        raise PolicyError(f"{where} reason is {_found(reason)}; allowed: one line of at most {MAX_REASON} characters")
    return Exemption(packed, network, until, reason)


def moment(value: Any, where: str) -> float:
    """The last second of a date, or a date and time, as POSIX time. Raises `PolicyError`."""
    if not hasattr(value, "timetuple"):  # a TOML date or date-time
        raise PolicyError(f"{where} is {_found(value)}; allowed: a date such as 2027-01-31, or a date and time")
    import calendar

    # A date alone lasts to its end; a time without zone is UTC, as the router's clock is.
    try:
        utc = value.utctimetuple() if hasattr(value, "utctimetuple") else None
    except OverflowError:  # in UTC it lies outside the years 1 to 9999
        raise PolicyError(f"{where} is {value}; allowed: a date from the years 1 to 9999") from None
    return float(calendar.timegm(utc)) if utc else float(calendar.timegm(value.timetuple())) + 86399.0


def parse_mac(text: Any) -> bytes | None:
    """`02:00:00:12:34:56` (or with dashes) as 6 bytes; None if it is none."""
    if not isinstance(text, str):
        return None
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(len(p) == 2 and all(c in "0123456789abcdefABCDEF" for c in p) for p in parts):
        return None
    return bytes(int(p, 16) for p in parts)


def _found(value: Any) -> str:
    """A value from the file for an error message: short, printable, with its type where that says more."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"  # str() refuses thousands of digits
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else "a date or time"


def shown(text: str) -> str:
    """A text from a file or a person for an error message: short, printable, in quotes."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return f'"{text[:40]}..."' if len(text) > 40 else f'"{text}"'


def _home(name: str) -> str:
    """Where a known key belongs that stands in the wrong place; empty for an unknown one."""
    if name in _EXEMPT_KEYS:
        return "it belongs in [[exempt]]"
    return next((f"it belongs in [{key.table}]" for key in KEYS if key.name == name), "")


def _nearest(name: str, known: list[str]) -> str:
    """The known name that takes the fewest edits, if few; else all of them."""
    best = min(known, key=lambda other: _edits(name[:40], other))
    if _edits(name[:40], best) <= max(2, len(best) // 3):
        return f"did you mean {best}?"
    return f"known: {', '.join(known)}"


def _edits(a: str, b: str) -> int:
    """Levenshtein's distance. difflib would do, at the price of `re` and `heapq` for one message."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]
