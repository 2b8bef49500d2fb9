"""The keys of the collector's configuration: the one place where their ranges and meanings stand.

Tables and keys have their names and defaults in `model`. Must not know TOML. The table in docs/collector.md is made
from this one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cpe_filter.collect import mail_address, users
from cpe_filter.collect.config.model import Engine, FactoryId, HeaderHolds, IdFrom, Level, LoginBy, Security, StartTls
from cpe_filter.inputs import found
from cpe_filter.send.protocol import MAX_EVENTS
from cpe_filter.texts.notice import LANGUAGES
from cpe_filter.toml_file import Key, NotAllowedError, by_table, flag, number, valid, word

#: Files of one key.
_MAX_FILES = 8
#: Old names that files may still use: (table, key) before -> now. "" means the whole table.
RENAMED = {("hop", ""): ("tls_proxy", ""), ("listen", "max_of_one"): ("listen", "max_per_source")}


def _key(table: str, name: str, kind: str, is_valid: Callable[[Any], bool], allowed: str, meaning: str) -> Key:
    return Key(table, name, kind, valid(is_valid), allowed, meaning)


def _text(table: str, name: str, rule: str, allowed: str, meaning: str) -> Key:
    def is_valid(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(rule, value) is not None

    return Key(table, name, "text", valid(is_valid), allowed, meaning)


def _file(table: str, name: str, meaning: str) -> Key:
    return _text(table, name, r"(/[^\0]+)?", "an absolute path", meaning)


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


def _are_files(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_FILES and all(
        isinstance(item, str) and re.fullmatch(r"/[^\0]+", item) for item in value
    )  # fmt: skip


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 32 and all(
        isinstance(item, str) and 0 < len(item) <= 500 and "\0" not in item for item in value
    ) and (not value or value[0].startswith("/"))  # fmt: skip


def _are_users(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > 256 or not all(isinstance(item, str) for item in value):
        return False
    parsed = [users.parse(item) for item in value]
    return None not in parsed and len({user.name for user in parsed if user}) == len(parsed)


def _is_title(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 60 and value.isprintable() and value == value.strip()


_ZONE_TEXT = "a time zone such as Europe/Amsterdam"


def _zone(table: str, name: str, meaning: str) -> Key:
    return Key(table, name, "zone", _read_zone, _ZONE_TEXT, meaning)


def _read_zone(value: Any) -> str:
    """A time zone that this machine knows. Raises `NotAllowedError`."""
    if _is_zone(value):
        return str(value)
    if isinstance(value, str) and not _is_zone("Europe/London"):
        raise NotAllowedError(
            f"is {found(value)}, but this machine has no time zone data; install the package tzdata (of the system, or"
            " from PyPI)"
        )
    raise NotAllowedError("")


def _is_zone(value: Any) -> bool:
    try:
        return isinstance(value, str) and 0 < len(value) <= 64 and (value == "UTC" or bool(ZoneInfo(value)))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _is_mail_address(value: Any) -> bool:
    """Of the ISP: US-ASCII before the @, so that each relay takes it."""
    if not isinstance(value, str):
        return False
    return value == "" or (value.partition("@")[0].isascii() and mail_address.problem(value) is None)


def _is_language(value: Any) -> bool:
    return isinstance(value, str) and value in ("", *LANGUAGES)


def _is_relay(value: Any) -> bool:
    """`host:port`; the host a name or an IP address."""
    if not isinstance(value, str) or len(value) > 260:
        return False
    host, _, port = value.rpartition(":")
    name = re.fullmatch(r"[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?", host)
    return value == "" or (name is not None and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536) or (
        host.startswith("[") and _is_address(value) and not value.endswith(":0")
    )  # fmt: skip


_ADDRESSES = "192.0.2.1:8443, [::]:8443, unix:/path, or empty for none"
_HEADER = r"[a-z0-9-]{1,64}"
_HEADER_TEXT = "the name of a header, lower case"
_URL = (
    r"(https://[0-9A-Za-z.\-]{1,200}|https://\[[0-9A-Fa-f:.]{2,45}\]|http://(127(\.[0-9]{1,3}){3}|\[::1\]|localhost))"
    r"(:[0-9]{1,5})?/"
)
_URL_HOST = r"[0-9A-Za-z.\-]{1,200}(:[0-9]{1,5})?(/|(?=$))"
_GROUP = r"[^,;|\s\0]{1,64}"
_CLAIM, _CLAIM_TEXT = r"[!-~]{1,128}", "the name of a claim; a.b for b in a"
_IN_CLAIM = r"[^\s\0]{0,128}"

KEYS: tuple[Key, ...] = (
    _key("listen", "address", "address", _is_address, _ADDRESSES,
        "Where routers connect by TLS that ends in the collector."),
    _file("listen", "certificate", "The server certificate with its chain, PEM."),
    _file("listen", "key", "The private key of the certificate, PEM."),
    _file("listen", "client_ca", "The certificate authorities that sign router certificates, PEM."),
    _file("listen", "crl", "The revocation list, PEM or DER; read again when the file changes. Empty: none."),
    word("listen", "id_from", get_args(IdFrom), "Which name in the certificate is the router id."),
    number("listen", "max_connections", "connections", 10, 1_000_000, "Connections open at the same time."),
    number("listen", "max_per_source", "connections", 1, 1_000_000,
            "Connections from one IPv4 address or one IPv6 /64. Raise it behind a TCP load balancer."),
    flag("listen", "reuse_port", "Several processes share the address (SO_REUSEPORT)."),
    _key("tls_proxy", "address", "address", _is_address, _ADDRESSES,
        "Where a TLS proxy (TLS terminator) connects, in plain HTTP."),
    _key("tls_proxy", "trusted", "networks", _are_networks, "a list of networks",
        "Only a proxy at one of these addresses is trusted. For a Unix socket its file mode decides."),
    _text("tls_proxy", "header", _HEADER, _HEADER_TEXT,
          "In which header the proxy names the router. Any other client that sends it is refused."),
    word("tls_proxy", "header_holds", get_args(HeaderHolds),
          "What the header holds: the certificate (RFC 9440, or URL-escaped PEM), or the id."),
    _text("tls_proxy", "address_header", f"({_HEADER})?", f"{_HEADER_TEXT}, or empty",
          "In which header the proxy names the source address of the router."),
    word("store", "engine", get_args(Engine), "Where reports are kept."),
    _file("store", "path", "The SQLite file."),
    _text("store", "dsn", r"[^\0]{0,1000}", "a libpq connection string",
          "How to connect to PostgreSQL; keep the password in a service or pgpass file."),
    number("store", "connections", "connections", 1, 100, "Connections to PostgreSQL."),
    _key("nats", "servers", "servers", _are_servers, "a list of nats://host:port or tls://host:port",
        "NATS servers, for `ingest` and `consume`."),
    _text("nats", "stream", r"[A-Z0-9_]{1,32}", "1 to 32 of A-Z 0-9 _", "The name of the stream."),
    number("nats", "replicas", "servers", 1, 5, "How many servers keep each message."),
    number("nats", "max_bytes", "bytes", 1 << 20, 1 << 50,
            "The size of the stream. A full stream accepts nothing: routers keep their reports."),
    _file("nats", "credentials", "A NATS credentials file."),
    _file("nats", "ca", "The certificate authority of the NATS servers, PEM."),
    number("limits", "reports_per_hour", "reports/h", 1, 100_000, "Reports from one router."),
    number("limits", "reports_burst", "reports", 1, 100_000, "Reports from one router at once."),
    number("limits", "events_per_hour", "events/h", 1, 10_000_000, "Events from one router."),
    number("limits", "events_burst", "events", MAX_EVENTS, 10_000_000, "Events from one router at once."),
    number("limits", "waiting", "reports", 1, 1_000_000,
            "Reports that wait for the store; more are refused with 503."),
    number("limits", "handshake_s", "seconds", 1, 600, "Time limit of a TLS handshake."),
    number("limits", "head_s", "seconds", 1, 600, "Time limit of a request head."),
    number("limits", "body_s", "seconds", 1, 600, "Time limit of a request body."),
    number("limits", "idle_s", "seconds", 1, 3600, "Time limit between two requests of a connection."),
    number("answer", "retry_splay_s", "seconds", 0, 86_400,
            "Over how long routers spread their return after a boot or an outage."),
    number("answer", "retry_after_s", "seconds", 1, 3600, "How long routers wait at least while the store is down."),
    _text("answer", "policy_version", r"[0-9A-Za-z._+-]{0,64}", "at most 64 of letters, digits . _ + -",
          "The policy version that routers should have."),
    number("retention", "evidence_days", "days", 1, 3650, "How long single events, names and ports are kept."),
    number("retention", "incident_days", "days", 1, 36_500,
            "How long closed incidents, and routers that report nothing, are kept."),
    number("retention", "silent_days", "days", 1, 3650, "An open incident without news for this long is closed."),
    number("retention", "every_minutes", "minutes", 1, 10_080, "How often old data is deleted."),
    number("retention", "case_days", "days", 1, 36_500, "How long clean and closed cases are kept."),
    number("retention", "audit_days", "days", 1, 36_500, "How long the audit log is kept."),
    number("cases", "every_s", "seconds", 1, 3600, "How often cases are updated."),
    number("cases", "clean_days", "days", 1, 90, "A device without a finding for this long is clean, in the funnel."),
    _file("subscribers", "file", "The subscriber map, CSV; read again when the file changes."),
    _text("subscribers", "url", f"({_URL}[^\\s\\0]*\\{{router\\}}[^\\s\\0]*)?",
          "an https URL (http on this machine only) with {router} in it",
          "The subscriber map over HTTP: where the rows of a router are."),
    _file("subscribers", "token_file", "A file with a bearer token for the URL."),
    _file("subscribers", "ca", "The certificate authority of the URL, PEM. Empty: those of the system."),
    number("subscribers", "timeout_s", "seconds", 1, 120, "Time limit of a lookup."),
    number("subscribers", "known_minutes", "minutes", 1, 43_200, "How long an answer is cached."),
    number("subscribers", "unknown_minutes", "minutes", 1, 43_200,
            "How long `unknown` is cached; then the lookup is repeated."),
    _text("export", "org", r"[^\0-\x1f]{0,200}", "at most 200 characters", "The reporting organisation, in XARF and"
          " IntelMQ."),
    _text("export", "contact", r"([^@\s\0]{1,64}@[0-9A-Za-z.-]{1,190})?", "an e-mail address",
          "The contact address in XARF reports."),
    _text("export", "domain", r"([0-9A-Za-z-]{1,63}(\.[0-9A-Za-z-]{1,63})+)?", "a domain",
          "The domain of the organisation, in XARF reports."),
    number("export", "confidence_percent", "percent", 0, 100,
            "The confidence that XARF reports state; 0: they state none."),
    _text("webhook", "url", f"({_URL}[^\\s\\0]*)?", "an https URL (http on this machine only)",
          "Where case events are posted."),
    _file("webhook", "secret_file", "A file with `whsec_` and 24 to 64 random bytes in Base64, to sign events."),
    _file("webhook", "ca", "The certificate authority of the URL, PEM. Empty: those of the system."),
    number("webhook", "timeout_s", "seconds", 1, 120, "Time limit of a delivery attempt."),
    number("webhook", "give_up_hours", "hours", 1, 720, "An event that is not delivered for this long is given up."),
    number("webhook", "queue", "events", 1, 10_000_000, "Events that wait; beyond that the oldest are given up."),
    flag("webhook", "notified", "A delivered event means that the subscriber has been notified."),
    flag("webhook", "texts", "Events about compromised devices carry the text for the subscriber, see [notice]."),
    word("notice", "language", LANGUAGES, "The language of texts for subscribers; a command may choose another."),
    _key("notice", "provider", "title", _is_title, "one line of at most 60 characters, or empty",
        "The name of the ISP, as subscribers know it."),
    _text("notice", "help_url", f"(https://{_URL_HOST}[^\\s\\0\"<>]{{0,150}})?", "an https URL, or empty",
          "Where the ISP offers help and accepts objections."),
    _zone("notice", "zone", "The time zone of times in the text."),
    _key("mail", "relay", "relay", _is_relay, "smtp.isp.example:587, [2001:db8::1]:25, or empty for none",
        "The SMTP relay of the ISP: notices are sent to subscribers by it."),
    word("mail", "security", get_args(Security),
          "How TLS begins at the relay: by STARTTLS, or tls: at once, as at port 465 (RFC 8314), verified."),
    word("mail", "starttls", get_args(StartTls),
          "STARTTLS at the relay. required: a verified certificate or no mail; opportunistic: unverified, if offered."),
    _file("mail", "ca", "The certificate authority of the relay, PEM. Empty: those of the system."),
    _text("mail", "user", r"[!-~]{0,200}", "at most 200 printable US-ASCII characters, no space",
          "The user name at the relay (SMTP AUTH). Empty: no login."),
    _file("mail", "password_file", "A file with the password at the relay."),
    number("mail", "timeout_s", "seconds", 1, 300, "How long the relay may take for a reply."),
    _key("mail", "from_address", "e-mail address", _is_mail_address, "an e-mail address",
        "The sender in From. The name in it is [notice] provider."),
    _key("mail", "reply_to", "e-mail address", _is_mail_address, "an e-mail address, or empty",
        "Where replies of subscribers go. Empty: to the sender."),
    _key("mail", "bounce_address", "e-mail address", _is_mail_address, "an e-mail address, or empty",
        "The envelope sender. With key_file `+` and a signed token follow its local-part, for bounces."),
    _file("mail", "key_file", "A file with `whsec_` and 24 to 64 random bytes in Base64, to sign tokens of bounces."),
    _file("mail", "bounce_maildir", "A maildir with bounces; messages are read and deleted. Empty: none."),
    _key("mail", "second_language", "language", _is_language, f"{', '.join(LANGUAGES)}, or empty",
        "A second language of notices, for subscribers without a language in the map."),
    flag("mail", "automatic", "A new case is sent its notice. Otherwise the desk sends notices by hand."),
    _text("mail", "quiet_hours", r"(([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9])?",
          "21:00-07:00, or empty", "No automatic notice is sent in these hours, in [notice] zone."),
    number("mail", "per_day", "messages", 1, 1_000_000, "Notices sent in 24 hours; others wait."),
    number("mail", "per_subscriber", "messages", 1, 100, "Notices sent to one subscriber in 24 hours; others wait."),
    number("mail", "per_case", "messages", 1, 100, "Notices of one case, from its beginning to its deletion."),
    number("mail", "give_up_hours", "hours", 1, 720, "A notice that the relay refuses for this long is given up."),
    _file("desk", "instruction_key",
          "A secret key of signify or usign without a passphrase, to sign instructions for routers. Empty: none."),
    number("desk", "instruction_days", "days", 1, 30,
            "How long an instruction holds that its router has not answered."),
    number("desk", "instructions_per_day", "instructions", 1, 100_000, "Instructions made in 24 hours."),
    _file("provision", "published",
          "The folder of `policy publish`, or of a copy of its index.json, for the page of rollouts. Empty: none."),
    number("provision", "halt_at", "percent", 1, 100,
           "A halt is advised if certainly more of the routers that answered took a document back or refused it."),
    _key("metrics", "address", "address", _is_address, _ADDRESSES,
        "Where /metrics, /healthz and /readyz are, in plain HTTP."),
    _key("page", "address", "address", _is_address, _ADDRESSES, "Where browsers connect to the fleet page."),
    _file("page", "certificate", "Its certificate with the chain, PEM. Empty: plain HTTP, on this machine only."),
    _file("page", "key", "The private key of the certificate, PEM."),
    flag("page", "plain_http",
          "Plain HTTP at other addresses than loopback, too: only behind a proxy that terminates TLS."),
    _text("page", "address_header", f"({_HEADER})?", f"{_HEADER_TEXT}, or empty",
          "In which header a proxy at one of `trusted` names the address of the browser: logins are limited by it."),
    _text("page", "url", r"(https?://[0-9A-Za-z.\-\[\]:]{1,200})?", "https://host, http://host:port, or empty",
          "The URL that browsers use, if it differs from the address: the one of a proxy."),
    word("page", "login", get_args(LoginBy), "What authenticates users: a password, or a reverse proxy."),
    _key("page", "users", "users", _are_users,
         "a list of name:role:hash, as `collector password` prints them",
        "Who may log in, with login = password. Role viewer reads, role desk also acts, role admin also reads the"
        " audit log."),
    number("page", "session_hours", "hours", 1, 168, "How long a login lasts."),
    number("page", "idle_minutes", "minutes", 1, 10_080, "A login ends after this long without a request."),
    _key("page", "trusted", "networks", _are_networks, "a list of networks",
        "Only a proxy at one of these addresses is trusted, with login = proxy or an address_header."),
    _text("page", "user_header", _HEADER, _HEADER_TEXT,
          "In which header the proxy names the user. With login = password it is refused."),
    _text("page", "groups_header", _HEADER, _HEADER_TEXT,
          "In which header the proxy names the groups of the user, separated by commas."),
    _text("page", "desk_group", _GROUP, "1 to 64 characters, no comma", "Members of this group have role desk."),
    _text("page", "admin_group", f"({_GROUP})?", "1 to 64 characters, no comma, or empty for none",
          "Members of this group have role admin."),
    _text("page", "viewer_group", f"({_GROUP})?", "1 to 64 characters, no comma, or empty for all users",
          "Members of this group have role viewer."),
    _zone("page", "zone", "The time zone of times and days on the page, unless a user chooses another."),
    _key("page", "makers", "files", _are_files, f"a list of at most {_MAX_FILES} absolute paths",
         "Lists of the IEEE that name the makers of devices (oui, mam, oui36, iab; .csv or .txt), read again when they"
         " change."),
    number("page", "answer_days", "days", 1, 365,
            "A subscriber who has not answered so long after the notice waits for the desk, on the first page."),
    _text("oidc", "issuer", f"({_URL[:-1]}(/[0-9A-Za-z._~/-]{{0,200}})?)?", "an https URL (http on this machine only)",
          "The identity provider (OpenID Connect): the URL before /.well-known/openid-configuration. Empty: none."),
    _text("oidc", "client_id", r"[!-~]{0,200}", "at most 200 printable US-ASCII characters, no space",
          "The page's name at the provider."),
    _file("oidc", "client_secret_file", "A file with the page's secret at the provider. Empty: a public client."),
    _file("oidc", "ca", "The certificate authority of the provider, PEM. Empty: those of the system."),
    _text("oidc", "scope", r"([!#-\[\]-~]+( [!#-\[\]-~]+)*)?", "scopes, separated by spaces, or empty",
          "Scopes that are asked for, besides openid."),
    _text("oidc", "name_claim", _CLAIM, _CLAIM_TEXT, "Which claim is the name of a user."),
    _text("oidc", "roles_claim", _CLAIM, _CLAIM_TEXT, "Which claim has the roles or groups of a user."),
    _text("oidc", "viewer_role", _IN_CLAIM, "at most 128 characters, or empty for all users of the provider",
          "Who has this value in roles_claim has role viewer."),
    _text("oidc", "desk_role", f"(?=.){_IN_CLAIM}", "1 to 128 characters", "The same for role desk."),
    _text("oidc", "admin_role", _IN_CLAIM, "at most 128 characters, or empty for none", "The same for role admin."),
    number("oidc", "timeout_s", "seconds", 1, 60, "Time limit of an answer of the provider."),
    _key("api", "address", "address", _is_address, _ADDRESSES, "Where other systems connect to the API."),
    _file("api", "certificate", "Its certificate with the chain, PEM. Empty: plain HTTP, on this machine only."),
    _file("api", "key", "The private key of the certificate, PEM."),
    flag("api", "plain_http",
         "Plain HTTP at other addresses than loopback, too: only behind a proxy that terminates TLS."),
    number("api", "requests_per_hour", "requests/h", 1, 10_000_000, "Requests with one token."),
    number("api", "requests_burst", "requests", 1, 100_000, "Requests with one token at once."),
    number("api", "acts_per_hour", "requests/h", 1, 1_000_000, "Requests with one token that change something."),
    number("api", "acts_burst", "requests", 1, 100_000, "The same at once."),
    _key("enrol", "address", "address", _is_address, "192.0.2.1:8444, [::]:8444, or empty for none",
        "Where routers get and renew certificates (EST, RFC 7030), with `collector est`."),
    _file("enrol", "certificate", "Its server certificate with the chain, PEM."),
    _file("enrol", "key", "The private key of the certificate, PEM."),
    _file("enrol", "ca", "The authority that issues, first, and those above it, PEM."),
    _file("enrol", "ca_key", "The private key of the authority, PEM. Empty: sign_command signs."),
    _key("enrol", "sign_command", "words", _are_words, "a list of at most 32 words, the first an absolute path",
        "A program that signs instead: request (PEM) on stdin, certificate (PEM) on stdout; {router} and {days} are"
        " replaced."),
    _file("enrol", "factory_ca", "The authorities of certificates that routers have from their factory, PEM."),
    word("enrol", "factory_id", get_args(FactoryId), "Which name in such a certificate is the router id."),
    number("enrol", "days", "days", 1, 825, "How long a certificate is valid; routers renew it after two thirds."),
    number("enrol", "token_hours", "hours", 1, 8760, "How long a one-time token is valid."),
    number("enrol", "burst", "certificates", 1, 1000, "Certificates for one router at once; one an hour after that."),
    _file("enrol", "crl", "Where the revocation list is written, for [listen] crl. Empty: nowhere."),
    _key("enrol", "metrics_address", "address", _is_address, _ADDRESSES,
        "Where `collector est` has /metrics, /healthz and /readyz."),
    number("enrol", "max_connections", "connections", 10, 1_000_000, "Connections open at the same time."),
    word("log", "level", get_args(Level), "The least severe messages that are logged."),
)  # fmt: skip

TABLES = by_table(KEYS)
