"""The kinds of values that only the policy has: what is allowed, and the value in the policy.

Must not know which key is of which kind. Not part of the running filter.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network
from typing import Any

from cpe_filter.inputs import found
from cpe_filter.inspect.nat64 import LENGTHS
from cpe_filter.policy.model import NETWORK, Network, parse_mac, parse_network
from cpe_filter.policy.reply_patterns import read as read_reply
from cpe_filter.toml_file import NotAllowedError, valid, whole

#: Text and URL of a refusal make one or two reply lines of RFC 5321.
MAX_TEXT, MAX_URL = 400, 200
#: Characters of a policy's version (report-v1.schema.json).
MAX_VERSION = 64
#: Characters of the provider's name: with it the longest text of a refusal still fits `MAX_TEXT`.
MAX_PROVIDER = 60
#: Bytes of a Unix socket's path (sun_path, without the NUL).
MAX_SOCKET = 107
INTERFACES = "interface names of 1 to 15 letters, digits, . _ - @, or their beginning and a *"
#: Entries in a list.
MAX_LIST, MAX_PATHS, MAX_PORTS, MAX_REPLIES, MAX_MACS = 1024, 8, 8, 200, 64
#: Prefixes of NAT64: each IPv4 network that passes has one of each in the kernel.
MAX_PREFIXES = 8
#: People send mail by submission; RFC 5068 section 3.1 forbids blocking it.
_NEVER_PORTS = (465, 587)


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────


def _is_sentence(text: str) -> bool:
    return len(text) <= MAX_TEXT and text.isascii() and text.isprintable() and text == text.strip()


def _is_title(text: str) -> bool:
    return len(text) <= MAX_PROVIDER and text.isprintable() and text == text.strip()


def _is_url(text: str) -> bool:
    """Empty or https. No user name, because `https://isp.example@evil.example` is misleading."""
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


def is_hours(text: str) -> bool:
    """`8-22`: from one hour to another, which may be on the next day."""
    first, dash, last = text.partition("-")
    ends = (first, last)
    whole = all(part.isascii() and part.isdecimal() and len(part) <= 2 and int(part) <= 24 for part in ends)
    return dash == "-" and whole and int(first) != int(last)


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


def _text(rule: Callable[[str], bool]) -> Callable[[Any], Any]:
    return valid(lambda value: isinstance(value, str) and rule(value))


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────


def _entries(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise NotAllowedError
    if len(value) > most:
        raise NotAllowedError(f"has {len(value)} entries; allowed: at most {most}")
    return value


def is_interface(name: str) -> bool:
    """The kernel's rule (dev_valid_name), less the characters that would need quoting in a ruleset."""
    letters = name.removesuffix("*")
    named = 0 < len(name) < 16 and name not in (".", "..", "*")
    return named and all(c.isascii() and (c.isalnum() or c in "._-@") for c in letters)


def _interfaces(value: Any) -> tuple[str, ...]:
    entries = _entries(value, MAX_LIST)
    if not entries:
        raise NotAllowedError("is empty; expected at least one interface")
    for name in entries:
        if not isinstance(name, str) or not is_interface(name):
            raise NotAllowedError(f"has {found(name)}; allowed: {INTERFACES}")
    return tuple(dict.fromkeys(entries))


def _paths(value: Any) -> tuple[str, ...]:
    entries = _entries(value, MAX_PATHS)
    for path in entries:
        if not isinstance(path, str) or not _is_path(path):
            raise NotAllowedError(f"has {found(path)}; allowed: absolute paths")
    return tuple(dict.fromkeys(entries))


def _ports(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise NotAllowedError
    if not 0 < len(value) <= MAX_PORTS:
        raise NotAllowedError(f"has {len(value)} entries; allowed: 1 to {MAX_PORTS} ports")
    read = whole(1, 65535, "port")
    for port in value:
        if read(port) in _NEVER_PORTS:
            raise NotAllowedError(
                f"has {port}; allowed: any but 465 and 587, which are for submission (RFC 5068 section 3.1)"
            )
    return tuple(dict.fromkeys(value))


def _networks(value: Any) -> tuple[Network, ...]:
    out = []
    for item in _entries(value, MAX_LIST):
        network = parse_network(item)
        if network is None:
            raise NotAllowedError(f"has {found(item)}; allowed: {NETWORK}")
        out.append(network)
    return tuple(out)


def _macs(value: Any) -> tuple[str, ...]:
    out: dict[str, None] = {}
    for item in _entries(value, MAX_MACS):
        mac = parse_mac(item)
        if mac is None:
            raise NotAllowedError(f"has {found(item)}; allowed: MACs such as 02:00:00:12:34:56")
        out[mac.hex(":")] = None
    return tuple(out)


def _prefixes(value: Any) -> tuple[IPv6Network, ...]:
    out: dict[IPv6Network, None] = {}
    for item in _entries(value, MAX_PREFIXES):
        prefix = parse_network(item)
        if not isinstance(prefix, IPv6Network) or prefix.prefixlen not in LENGTHS:
            raise NotAllowedError(
                f"has {found(item)}; allowed: prefixes of 32, 40, 48, 56, 64 or 96 bits such as 64:ff9b:1::/96"
            )
        out[prefix] = None
    return tuple(out)


def _replies(value: Any) -> tuple[str, ...]:
    rows = []
    for item in _entries(value, MAX_REPLIES):
        try:
            rows.append(read_reply(item))
        except ValueError as error:
            raise NotAllowedError(f"has {found(item)}: {error}") from None
    return tuple(dict.fromkeys(rows))


#: For each kind: how a value is read, and what is allowed, for people.
KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "version": (_text(_is_version), f"at most {MAX_VERSION} letters, digits, and ._+-"),
    "text": (_text(_is_path), "an absolute path"),
    "file": (_text(_is_file), "an absolute path, or empty"),
    "socket": (_text(_is_socket), f"an absolute path of at most {MAX_SOCKET} bytes"),
    "sentence": (_text(_is_sentence), f"one line of US-ASCII, at most {MAX_TEXT} characters, or empty"),
    "title": (_text(_is_title), f"one line of at most {MAX_PROVIDER} characters, or empty"),
    "url": (_text(_is_url), "an https URL, or empty"),
    "hours": (_text(is_hours), "two hours of the day such as 8-22"),
    "user": (_text(_is_user), "a user name, not root"),
    "interfaces": (_interfaces, "a list of interface names; `*` at the end means any end"),
    "ports": (_ports, f"a list of 1 to {MAX_PORTS} ports from 1 to 65535"),
    "networks": (_networks, "a list of IPv4 and IPv6 addresses and networks"),
    "prefixes": (_prefixes, f"a list of at most {MAX_PREFIXES} IPv6 prefixes of 32, 40, 48, 56, 64 or 96 bits"),
    "macs": (_macs, f"a list of at most {MAX_MACS} MACs such as 02:00:00:12:34:56"),
    "paths": (_paths, f"a list of at most {MAX_PATHS} absolute paths"),
    "replies": (_replies, f'a list of at most {MAX_REPLIES} wordings such as "unknown-user: no such person"'),
}
