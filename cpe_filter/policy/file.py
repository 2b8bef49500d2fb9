"""The policy file: TOML -> `Policy`.

Knows TOML and how each kind of key is checked; the keys are policy_keys'. Every error names file, table, key, what was
found and what is allowed. No part of the running filter, which has its policy read apart (policy.load): tomllib and
what it imports take 1.5 MB.
"""

from __future__ import annotations

import sys
from ipaddress import IPv6Network
from typing import Any

from cpe_filter.inspect.nat64 import LENGTHS
from cpe_filter.policy.keys import (
    AT_START,
    BY_TABLE,
    KEYS,
    MAX_PATHS,
    MAX_PREFIXES,
    MAX_PROVIDER,
    MAX_SOCKET,
    MAX_TEXT,
    MAX_URL,
    MAX_VERSION,
    OF_RESPONDER,
    Key,
)
from cpe_filter.policy.model import Exemption, Policy, PolicyError, Reread, exemption, found, network, shown

#: A policy larger than this is a mistake.
MAX_FILE_BYTES = 1 << 20
MAX_LIST = 1024
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


def reread(path: str, old: Policy) -> Reread:
    """The file again, while a filter runs by `old`. Raises `PolicyError`."""
    new = load(path)
    asked = [key for key in KEYS if key.value(old) != key.value(new)]
    later = [key for key in asked if key in AT_START]
    responder = [key for key in asked if key in OF_RESPONDER]
    changed = [key.place for key in asked if key not in later]
    if old.exempt != new.exempt:
        changed.append("[[exempt]]")
    for key in later:
        new = _with(new, key.table, {key.name: key.value(old)})
    return Reread(new, tuple(changed), tuple(key.place for key in later), tuple(key.place for key in responder))


def _with(policy: Policy, table: str, values: dict[str, Any]) -> Policy:
    """The policy with these keys of one table changed."""
    changed: dict[str, Any] = {table: getattr(policy, table)._replace(**values)}
    return policy._replace(**changed)


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
    policy = Policy()
    for table, content in data.items():
        if table == "exempt":
            policy = policy._replace(exempt=_exemptions(content, path))
            continue
        keys = BY_TABLE.get(table)
        if keys is None:
            known = [f"[{name}]" for name in BY_TABLE] + ["[[exempt]]"]
            hint = _home(table) or _nearest(f"[{table}]", known)
            raise PolicyError(f"{path}: unknown table or key {shown(table)}; {hint}")
        if not isinstance(content, dict):
            raise PolicyError(f"{path}: {table} is {found(content)}; a table [{table}] is wanted")
        values: dict[str, Any] = {}
        for name, value in content.items():
            key = keys.get(name)
            if key is None:
                # `port` in [network] is a slip for `ports`, though [explain] has a key of that name.
                slip = any(_edits(name[:40], other) == 1 for other in keys)
                hint = (not slip and _home(name)) or _nearest(name, list(keys))
                raise PolicyError(f"{path}: [{table}] unknown key {shown(name)}; {hint}")
            values[name] = _value(key, value, f"{path}: [{table}] {name}")
        policy = _with(policy, table, values)
    both = set(policy.network.lan) & set(policy.network.wan)
    if both:
        raise PolicyError(
            f"{path}: [network] lan and wan both name {', '.join(sorted(both))}; an interface is one or the other"
        )
    return policy


def _value(key: Key, value: Any, where: str) -> Any:
    if key.kind == "word":
        if value not in key.words or not isinstance(value, str):
            raise PolicyError(f"{where} is {found(value)}; allowed: {key.allowed}")
        return value
    if key.kind == "flag":
        if not isinstance(value, bool):
            raise PolicyError(f"{where} is {found(value)}; allowed: true, false")
        return value
    if key.kind == "number":
        return whole(value, key.low, key.high, where, key.unit)
    if key.kind in _TEXTS:
        if not isinstance(value, str) or not _TEXTS[key.kind](value):
            raise PolicyError(f"{where} is {found(value)}; allowed: {key.allowed}")
        return value
    if not isinstance(value, list):
        raise PolicyError(f"{where} is {found(value)}; a list of {key.allowed} is wanted")
    if len(value) > MAX_LIST:
        raise PolicyError(f"{where} has {len(value)} entries; at most {MAX_LIST}")
    if key.kind == "interfaces":
        return _interfaces(value, where)
    if key.kind == "ports":
        return _ports(value, where)
    if key.kind == "paths":
        return _paths(value, where)
    if key.kind == "prefixes":
        return _prefixes(value, where)
    return tuple(network(item, where) for item in value)


def whole(value: Any, low: int, high: int, where: str, unit: str) -> int:
    """A whole number within bounds. Raises `PolicyError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PolicyError(f"{where} is {found(value)}; allowed: a whole number from {low} to {high} ({unit})")
    return value


def _interfaces(value: list[Any], where: str) -> tuple[str, ...]:
    if not value:
        raise PolicyError(f"{where} is empty; at least one interface is wanted")
    for name in value:
        # The kernel's rule (dev_valid_name), less the characters that would need quoting in a ruleset.
        good = isinstance(name, str) and 0 < len(name) < 16 and name not in (".", "..")
        if not good or not all(c.isascii() and (c.isalnum() or c in "._-@") for c in name):
            raise PolicyError(
                f"{where} has {found(name)}; allowed: interface names of 1 to 15 letters, digits, . _ - @"
            )
    return tuple(dict.fromkeys(value))


def _is_sentence(text: str) -> bool:
    return len(text) <= MAX_TEXT and text.isascii() and text.isprintable() and text == text.strip()


def _is_title(text: str) -> bool:
    return len(text) <= MAX_PROVIDER and text.isprintable() and text == text.strip()


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
    "title": _is_title,
}


def _paths(value: list[Any], where: str) -> tuple[str, ...]:
    if len(value) > MAX_PATHS:
        raise PolicyError(f"{where} has {len(value)} entries; allowed: at most {MAX_PATHS} paths")
    for path in value:
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            raise PolicyError(f"{where} has {found(path)}; allowed: absolute paths")
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


def _prefixes(value: list[Any], where: str) -> tuple[IPv6Network, ...]:
    if len(value) > MAX_PREFIXES:
        raise PolicyError(f"{where} has {len(value)} entries; allowed: at most {MAX_PREFIXES} prefixes")
    out: dict[IPv6Network, None] = {}
    for item in value:
        try:
            prefix = network(item, where)
        except PolicyError:
            prefix = None
        if not isinstance(prefix, IPv6Network) or prefix.prefixlen not in LENGTHS:
            raise PolicyError(
                f"{where} has {found(item)}; allowed: prefixes of 32, 40, 48, 56, 64 or 96 bits such as 64:ff9b:1::/96"
            )
        out[prefix] = None
    return tuple(out)


def _exemptions(content: Any, path: str) -> tuple[Exemption, ...]:
    if not isinstance(content, list) or len(content) > MAX_LIST:
        raise PolicyError(f"{path}: exempt is {found(content)}; tables [[exempt]] are wanted, at most {MAX_LIST}")
    out = []
    for number, entry in enumerate(content, 1):
        where = f"{path}: [[exempt]] number {number}"
        if not isinstance(entry, dict):
            raise PolicyError(f"{where} is {found(entry)}; a table is wanted")
        for name in entry:
            if name not in _EXEMPT_KEYS:
                raise PolicyError(f"{where} unknown key {shown(name)}; {_nearest(name, list(_EXEMPT_KEYS))}")
        out.append(timed_exemption(entry, where))
    return tuple(out)


def timed_exemption(entry: dict[str, Any], where: str) -> Exemption:
    """A table [[exempt]], its keys known. Raises `PolicyError`, which begins with `where`."""
    until = entry.get("until")
    return exemption(entry, where)._replace(until=None if until is None else moment(until, f"{where} until"))


def moment(value: Any, where: str) -> float:
    """The last second of a date, or a date and time, as POSIX time. Raises `PolicyError`."""
    if not hasattr(value, "timetuple"):  # a TOML date or date-time
        raise PolicyError(f"{where} is {found(value)}; allowed: a date such as 2027-01-31, or a date and time")
    import calendar

    # A date alone lasts to its end; a time without zone is UTC, as the router's clock is.
    try:
        utc = value.utctimetuple() if hasattr(value, "utctimetuple") else None
    except OverflowError:  # in UTC it lies outside the years 1 to 9999
        raise PolicyError(f"{where} is {value}; allowed: a date from the years 1 to 9999") from None
    return float(calendar.timegm(utc)) if utc else float(calendar.timegm(value.timetuple())) + 86399.0


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
