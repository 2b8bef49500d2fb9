"""The collector's TOML file -> one frozen `Config`. `KEYS` is the one place where keys, ranges and defaults stand.

Knows no file but the one it reads; whether certificates can be used is `server`'s to say. Every error names file,
table, key, what was found and what is allowed.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from cpe_filter.collect.cases.notice import is_zone
from cpe_filter.collect.web import access
from cpe_filter.policy.model import shown
from cpe_filter.texts.notice import LANGUAGES

MAX_FILE = 1 << 20


class ConfigError(ValueError):
    """A file that cannot be used. The text names file, table, key, finding and what is allowed."""


@dataclass(frozen=True, slots=True)
class Config:
    """Fields are `table_key`; `KEYS` says what each means."""

    listen_address: str
    listen_certificate: str
    listen_key: str
    listen_client_ca: str
    listen_crl: str
    listen_id_from: str
    listen_max_connections: int
    listen_max_of_one: int
    listen_reuse_port: bool
    hop_address: str
    hop_trusted: tuple[str, ...]
    hop_header: str
    hop_header_holds: str
    hop_address_header: str
    store_engine: str
    store_path: str
    store_dsn: str
    store_connections: int
    nats_servers: tuple[str, ...]
    nats_stream: str
    nats_replicas: int
    nats_max_bytes: int
    nats_credentials: str
    nats_ca: str
    limits_reports_per_hour: int
    limits_reports_burst: int
    limits_events_per_hour: int
    limits_events_burst: int
    limits_waiting: int
    limits_handshake_s: int
    limits_head_s: int
    limits_body_s: int
    limits_idle_s: int
    answer_retry_splay_s: int
    answer_retry_after_s: int
    answer_policy_version: str
    retention_evidence_days: int
    retention_incident_days: int
    retention_silent_days: int
    retention_every_minutes: int
    retention_case_days: int
    cases_suspected: bool
    cases_every_s: int
    subscribers_file: str
    subscribers_url: str
    subscribers_token_file: str
    subscribers_ca: str
    subscribers_timeout_s: int
    subscribers_known_minutes: int
    subscribers_unknown_minutes: int
    export_org: str
    export_contact: str
    export_domain: str
    export_confidence_percent: int
    webhook_url: str
    webhook_secret_file: str
    webhook_ca: str
    webhook_timeout_s: int
    webhook_give_up_hours: int
    webhook_queue: int
    webhook_notified: bool
    webhook_texts: bool
    notice_language: str
    notice_provider: str
    notice_help_url: str
    notice_zone: str
    metrics_address: str
    page_address: str
    page_certificate: str
    page_key: str
    page_plain_http: bool
    page_address_header: str
    page_url: str
    page_login: str
    page_users: tuple[str, ...]
    page_session_hours: int
    page_idle_minutes: int
    page_trusted: tuple[str, ...]
    page_user_header: str
    page_groups_header: str
    page_desk_group: str
    page_viewer_group: str
    log_level: str


class Key(NamedTuple):
    """good: whether a value will do; allowed: the same for people."""

    table: str
    name: str
    default: Any
    good: Callable[[Any], bool]
    allowed: str
    meaning: str

    @property
    def field(self) -> str:
        return f"{self.table}_{self.name}"


def _number(table: str, name: str, default: int, low: int, high: int, unit: str, meaning: str) -> Key:
    def good(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Key(table, name, default, good, f"a whole number from {low} to {high} ({unit})", meaning)


def _word(table: str, name: str, words: tuple[str, ...], meaning: str) -> Key:
    return Key(table, name, words[0], lambda value: value in words, ", ".join(words), meaning)


def _text(table: str, name: str, default: str, rule: str, allowed: str, meaning: str) -> Key:
    def good(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(rule, value) is not None

    return Key(table, name, default, good, allowed, meaning)


def _file(table: str, name: str, meaning: str, default: str = "") -> Key:
    return _text(table, name, default, r"(/[^\0]+)?", "an absolute path", meaning)


def _is_address(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if value == "" or re.fullmatch(r"unix:/[^\0]{1,106}", value):
        return True
    host, colon, port = value.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal() and int(port[:6]) < 65536):
        return False
    try:
        parsed = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return (parsed.version == 6) == host.startswith("[") == host.endswith("]") and "%" not in host


def _are_networks(value: Any) -> bool:
    try:
        return isinstance(value, list) and len(value) <= 64 and all(
            isinstance(item, str) and bool(ip_network(item)) for item in value
        )  # fmt: skip
    except ValueError:
        return False


def _are_servers(value: Any) -> bool:
    rule = r"(nats|tls)://[0-9A-Za-z.\-\[\]:]{1,200}"
    return isinstance(value, list) and 0 < len(value) <= 16 and all(
        isinstance(item, str) and re.fullmatch(rule, item) for item in value
    )  # fmt: skip


def _are_users(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > 256 or not all(isinstance(item, str) for item in value):
        return False
    users = [access.user(item) for item in value]
    return None not in users and len({one.name for one in users if one}) == len(users)


_ADDRESSES = "192.0.2.1:8443, [::]:8443, unix:/path, or empty for none"
_HEADER = r"[a-z0-9-]{1,64}"
_URL = (
    r"(https://[0-9A-Za-z.\-]{1,200}|https://\[[0-9A-Fa-f:.]{2,45}\]|http://(127(\.[0-9]{1,3}){3}|\[::1\]|localhost))"
    r"(:[0-9]{1,5})?/"
)
_URL_HOST = r"[0-9A-Za-z.\-]{1,200}(:[0-9]{1,5})?(/|(?=$))"
_GROUP = r"[^,;|\s\0]{1,64}"

KEYS: tuple[Key, ...] = (
    Key("listen", "address", "[::]:8443", _is_address, _ADDRESSES, "Where routers connect, with TLS that ends here."),
    _file("listen", "certificate", "The server's certificate with its chain, PEM."),
    _file("listen", "key", "Its key, PEM."),
    _file("listen", "client_ca", "The authority, or several, that signs routers' certificates, PEM."),
    _file("listen", "crl", "Its revocation list, PEM or DER; read again when it changes. Empty: none."),
    _word("listen", "id_from", ("cn", "san-dns", "san-uri"), "What of a certificate is the router's id."),
    _number("listen", "max_connections", 10_000, 10, 1_000_000, "connections", "Open at once."),
    _number("listen", "max_of_one", 256, 1, 1_000_000, "connections",
            "Of these from one address (of IPv6 one /64). More where a load balancer stands before it."),
    Key("listen", "reuse_port", False, lambda v: isinstance(v, bool), "true, false",
        "Several processes share the address (SO_REUSEPORT)."),
    Key("hop", "address", "", _is_address, _ADDRESSES, "Where a TLS terminator connects, with plain HTTP."),
    Key("hop", "trusted", ["127.0.0.1/32", "::1/128"], _are_networks, "a list of networks",
        "Only a terminator at these is believed. A Unix socket's rights do the same for it."),
    _text("hop", "header", "x-router-id", _HEADER, "a header's name, lower case",
          "In which header the terminator names the router. From anybody else it is refused."),
    _word("hop", "header_holds", ("certificate", "id"),
          "What it holds: the certificate (RFC 9440, or URL-escaped PEM), or the id itself."),
    _text("hop", "address_header", "", f"({_HEADER})?", "a header's name, lower case, or empty",
          "In which header the terminator says from where the router connected."),
    _word("store", "engine", ("sqlite", "postgresql"), "Where reports are kept."),
    _file("store", "path", "SQLite's file.", "/var/lib/cpe-filter/collector.db"),
    _text("store", "dsn", "", r"[^\0]{0,1000}", "a libpq connection string",
          "PostgreSQL's; keep the password in a service or pgpass file."),
    _number("store", "connections", 4, 1, 100, "connections", "To PostgreSQL."),
    Key("nats", "servers", ["nats://127.0.0.1:4222"], _are_servers, "a list of nats://host:port or tls://host:port",
        "For `ingest` and `consume`."),
    _text("nats", "stream", "CPE_REPORTS", r"[A-Z0-9_]{1,32}", "1 to 32 of A-Z 0-9 _", "The stream's name."),
    _number("nats", "replicas", 3, 1, 5, "servers", "How many servers keep each message."),
    _number("nats", "max_bytes", 8 << 30, 1 << 20, 1 << 50, "bytes", "A full stream takes no more: routers wait."),
    _file("nats", "credentials", "A credentials file for NATS."),
    _file("nats", "ca", "The authority of NATS' servers, PEM."),
    _number("limits", "reports_per_hour", 120, 1, 100_000, "reports/h", "Of one router."),
    _number("limits", "reports_burst", 30, 1, 100_000, "reports", "How many of these at once."),
    _number("limits", "events_per_hour", 2000, 1, 10_000_000, "events/h", "Of one router."),
    _number("limits", "events_burst", 4000, 256, 10_000_000, "events", "How many of these at once."),
    _number("limits", "waiting", 4096, 1, 1_000_000, "reports", "How many wait for the store before more are put off."),
    _number("limits", "handshake_s", 10, 1, 600, "seconds", "For a TLS handshake."),
    _number("limits", "head_s", 10, 1, 600, "seconds", "For a request's head."),
    _number("limits", "body_s", 20, 1, 600, "seconds", "For its body."),
    _number("limits", "idle_s", 30, 1, 3600, "seconds", "Between requests of a connection."),
    _number("answer", "retry_splay_s", 3600, 0, 86_400, "seconds",
            "Over how long routers spread their return after a boot or an outage."),
    _number("answer", "retry_after_s", 60, 1, 3600, "seconds", "At least so long routers wait when the store is away."),
    _text("answer", "policy_version", "", r"[0-9A-Za-z._+-]{0,64}", "at most 64 of letters, digits . _ + -",
          "The policy's version that routers should have."),
    _number("retention", "evidence_days", 7, 1, 3650, "days", "How long single events, names and ports are kept."),
    _number("retention", "incident_days", 400, 1, 36_500, "days", "How long closed incidents and silent routers are."),
    _number("retention", "silent_days", 30, 1, 3650, "days", "An open incident without news for so long is closed."),
    _number("retention", "every_minutes", 60, 1, 10_080, "minutes", "How often this is seen to."),
    _number("retention", "case_days", 365, 1, 36_500, "days", "How long cases that are clean or closed are kept."),
    Key("cases", "suspected", False, lambda v: isinstance(v, bool), "true, false",
        "Devices that are only suspected make a case, too."),
    _number("cases", "every_s", 10, 1, 3600, "seconds", "How often cases are brought up to date."),
    _file("subscribers", "file", "The map of subscribers, CSV; read again when it changes."),
    _text("subscribers", "url", "", f"({_URL}[^\\s\\0]*\\{{router\\}}[^\\s\\0]*)?",
          "an https URL (http on this machine only) with {router} in it",
          "The same by HTTP: where a router's rows are."),
    _file("subscribers", "token_file", "A file with a bearer token for it."),
    _file("subscribers", "ca", "The authority of its certificate, PEM. Empty: the system's."),
    _number("subscribers", "timeout_s", 5, 1, 120, "seconds", "For an answer."),
    _number("subscribers", "known_minutes", 60, 1, 43_200, "minutes", "How long an answer holds."),
    _number("subscribers", "unknown_minutes", 10, 1, 43_200, "minutes", "Then unknown routers are tried again."),
    _text("export", "org", "", r"[^\0-\x1f]{0,200}", "at most 200 characters", "Who reports, in XARF and IntelMQ."),
    _text("export", "contact", "", r"([^@\s\0]{1,64}@[0-9A-Za-z.-]{1,190})?", "an e-mail address", "Whom to ask."),
    _text("export", "domain", "", r"([0-9A-Za-z-]{1,63}(\.[0-9A-Za-z-]{1,63})+)?", "a domain", "The organisation's."),
    _number("export", "confidence_percent", 0, 0, 100, "percent", "What XARF reports say of it; 0: nothing."),
    _text("webhook", "url", "", f"({_URL}[^\\s\\0]*)?", "an https URL (http on this machine only)",
          "Where events of cases are posted."),
    _file("webhook", "secret_file", "A file with whsec_ and Base64 of 24 to 64 random bytes: signs them."),
    _file("webhook", "ca", "The authority of its certificate, PEM. Empty: the system's."),
    _number("webhook", "timeout_s", 10, 1, 120, "seconds", "For an answer."),
    _number("webhook", "give_up_hours", 72, 1, 720, "hours", "An event that nobody takes for so long is dead."),
    _number("webhook", "queue", 100_000, 1, 10_000_000, "events", "That wait at most; then the oldest are dead."),
    Key("webhook", "notified", True, lambda v: isinstance(v, bool), "true, false",
        "An event that was taken means that the subscriber has been told."),
    Key("webhook", "texts", False, lambda v: isinstance(v, bool), "true, false",
        "Events of compromised devices carry what may be written to the subscriber, by [notice]."),
    _word("notice", "language", LANGUAGES, "Of what is written to subscribers, unless a command says another."),
    Key("notice", "provider", "", lambda v: isinstance(v, str) and len(v) <= 60 and v.isprintable() and v == v.strip(),
        "one line of at most 60 characters, or empty", "The Internet provider's name, as subscribers know it."),
    _text("notice", "help_url", "", f"(https://{_URL_HOST}[^\\s\\0\"<>]{{0,150}})?", "an https URL, or empty",
          "Where the provider helps and takes objections."),
    Key("notice", "zone", "UTC", is_zone, "a time zone such as Europe/Amsterdam", "Of the times in it."),
    Key("metrics", "address", "127.0.0.1:9464", _is_address, _ADDRESSES,
        "Where /metrics and /healthz are, plain HTTP."),
    Key("page", "address", "", _is_address, _ADDRESSES, "Where browsers find the fleet page."),
    _file("page", "certificate", "Its certificate with its chain, PEM. Empty: plain HTTP, from this machine only."),
    _file("page", "key", "Its key, PEM."),
    Key("page", "plain_http", False, lambda v: isinstance(v, bool), "true, false",
        "Plain HTTP at other addresses than loopback, too: only where somebody else does TLS."),
    _text("page", "address_header", "", f"({_HEADER})?", "a header's name, lower case, or empty",
          "In which header a proxy at one of `trusted` says from where a browser connects: logins are bounded by it."),
    _text("page", "url", "", r"(https?://[0-9A-Za-z.\-\[\]:]{1,200})?", "https://host, http://host:port, or empty",
          "How browsers reach it, where that is not by its address: a proxy's name."),
    _word("page", "login", ("password", "proxy"), "Who says who you are: a password, or a reverse proxy."),
    Key("page", "users", [], _are_users, "a list of name:role:hash, as `collector --config FILE password` prints them",
        "Who may log in, with login = password. Roles: viewer looks, desk also acts."),
    _number("page", "session_hours", 10, 1, 168, "hours", "How long a login lasts."),
    _number("page", "idle_minutes", 60, 1, 10_080, "minutes", "It ends after so long without a request."),
    Key("page", "trusted", ["127.0.0.1/32", "::1/128"], _are_networks, "a list of networks",
        "Only a proxy at these is believed, with login = proxy or an address_header."),
    _text("page", "user_header", "x-remote-user", _HEADER, "a header's name, lower case",
          "In which header the proxy names the user. With login = password it is refused."),
    _text("page", "groups_header", "x-remote-groups", _HEADER, "a header's name, lower case",
          "In which header the proxy names the user's groups, with commas between."),
    _text("page", "desk_group", "abuse-desk", _GROUP, "1 to 64 characters, no comma", "The group that is desk."),
    _text("page", "viewer_group", "", f"({_GROUP})?", "1 to 64 characters, no comma, or empty for everybody",
          "The group that may look."),
    _word("log", "level", ("info", "debug", "warning", "error"), "What is logged."),
)  # fmt: skip

_TABLES: dict[str, dict[str, Key]] = {}
for _key in KEYS:
    _TABLES.setdefault(_key.table, {})[_key.name] = _key


def load(path: str) -> Config:
    """Reads and checks a file. Raises `ConfigError`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise ConfigError(f"{path}: too large; allowed: {MAX_FILE} bytes")
    try:
        data: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    return build(data, path)


def build(data: dict[str, Any], path: str) -> Config:
    """Checks parsed TOML. Raises `ConfigError`."""
    values = {key.field: key.default for key in KEYS}
    for table, content in data.items():
        keys = _TABLES.get(table)
        if keys is None:
            raise ConfigError(f"{path}: unknown table or key {shown(table)}; {_nearest(table, list(_TABLES))}")
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: {table} is no table; a table [{table}] is wanted")
        for name, value in content.items():
            key = keys.get(name)
            if key is None:
                raise ConfigError(f"{path}: [{table}] unknown key {shown(name)}; {_nearest(name, list(keys))}")
            if not key.good(value):
                raise ConfigError(f"{path}: [{table}] {name} is {_found(value)}; allowed: {key.allowed}")
            values[key.field] = value
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    config = Config(**values)
    _together(config, path)
    return config


def _together(config: Config, path: str) -> None:
    """What one key asks of another."""
    if not config.listen_address and not config.hop_address:
        raise ConfigError(f"{path}: [listen] address and [hop] address are both empty; routers need a door")
    if config.listen_address.startswith("unix:"):
        raise ConfigError(f"{path}: [listen] address is a Unix socket; [hop] is for that")
    if config.listen_address:
        for name in ("certificate", "key", "client_ca"):
            if not getattr(config, f"listen_{name}"):
                raise ConfigError(f'{path}: [listen] {name} is missing; a path, or [listen] address = ""')
    if config.listen_crl and not config.listen_client_ca:
        raise ConfigError(f"{path}: [listen] crl needs client_ca, to check its signature")
    if config.store_engine == "postgresql" and not config.store_dsn:
        raise ConfigError(f"{path}: [store] dsn is missing for engine postgresql")
    if config.store_engine == "sqlite" and not config.store_path:
        raise ConfigError(f"{path}: [store] path is missing for engine sqlite")
    if config.hop_address_header == config.hop_header:
        raise ConfigError(f"{path}: [hop] header and address_header are the same")
    if config.retention_case_days > config.retention_incident_days:
        raise ConfigError(f"{path}: [retention] case_days is more than incident_days; cases are made of incidents")
    if config.subscribers_file and config.subscribers_url:
        raise ConfigError(f"{path}: [subscribers] file and url are both set; one or the other")
    if config.webhook_url and not config.webhook_secret_file:
        raise ConfigError(f"{path}: [webhook] secret_file is missing")
    _page_together(config, path)


def _page_together(config: Config, path: str) -> None:
    if not config.page_address:
        return
    if bool(config.page_certificate) != bool(config.page_key):
        raise ConfigError(f"{path}: [page] certificate and key go together; one is missing")
    near = config.page_address.startswith(("unix:", "127.", "[::1]:"))
    if not config.page_certificate and not near and not config.page_plain_http:
        raise ConfigError(
            f"{path}: [page] address is not of this machine alone; certificate and key are wanted, or plain_http = true"
        )
    if config.page_login == "password" and not config.page_users:
        raise ConfigError(f"{path}: [page] users is empty; `cpe-filter collector --config {path} password` makes one")
    if config.page_login == "proxy" and config.page_users:
        raise ConfigError(f'{path}: [page] users are for login = "password", but login is "proxy"; one or the other')
    if config.page_user_header == config.page_groups_header:
        raise ConfigError(f"{path}: [page] user_header and groups_header are the same")


def _found(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int | float):
        return shown(repr(value) if not isinstance(value, int) or value.bit_length() < 128 else "a huge number")
    return "a table, a date or a time"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:40], known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
