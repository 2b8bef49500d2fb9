"""What a HELO name looks like.

Knows RFC 5321 section 4.1.1.1 and the forms that bots, routers' DHCP and bad configurations produce. Must not know what
a form is evidence of. Keeps nothing.
"""

from __future__ import annotations

#: Words in the reverse DNS names of residential lines.
_POOL_WORDS = frozenset(
    (
        "adsl",
        "dsl",
        "xdsl",
        "vdsl",
        "ftth",
        "fios",
        "pppoe",
        "ppp",
        "dial",
        "dialup",
        "dialin",
        "dyn",
        "dynamic",
        "dhcp",
        "cable",
        "pool",
        "client",
        "customer",
        "cust",
        "broadband",
        "residential",
        "resnet",
        "host",
        "catv",
        "cpe",
        "ip",
        "user",
        "users",
        "mobile",
        "wimax",
        "umts",
        "lte",
    )
)


def kind_of_name(name: str) -> str:
    """One of: empty, literal-private, literal, bare-address, localhost, bare-word, dynamic, plain."""
    name = name.strip().rstrip(".").lower()
    if not name:
        return "empty"
    if name.startswith("["):
        return "literal-private" if _private(name.strip("[]")) else "literal"
    if _dotted_quad(name) or name.count(":") > 1:
        return "bare-address"
    if name in ("localhost", "localhost.localdomain", "localdomain"):
        return "localhost"
    if "." not in name:
        return "bare-word"
    return "dynamic" if _dynamic(name) else "plain"


def registered_domain(name: str) -> str:
    """A rough public-suffix cut: the last two labels, three where the second last is short (co.uk, com.tr)."""
    labels = name.rstrip(".").lower().split(".")
    keep = 3 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2
    return ".".join(labels[-keep:])


def _dotted_quad(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(p.isdecimal() and len(p) < 4 for p in parts)


def _private(text: str) -> bool:
    if not _dotted_quad(text):
        return text.startswith(("ipv6:f", "ipv6:::1", "ipv6:::ffff:"))
    a, b = (int(part) for part in text.split(".")[:2])
    return a in (0, 10, 127) or (a, b) in ((192, 168), (169, 254)) or (a == 172 and 16 <= b < 32)


def _dynamic(name: str) -> bool:
    """Whether it looks like a pool's reverse DNS name: it spells out an address, or has a pool word and digits."""
    if name.isascii() and len(name.encode().translate(None, b"0123456789")) == len(name):
        return False  # all of it takes digits
    runs: list[str] = []
    words: list[str] = []
    current = ""
    for c in name + ".":
        if current and (not c.isalnum() or c.isdecimal() != current[-1].isdecimal()):
            (runs if current[-1].isdecimal() else words).append(current)
            current = ""
        if c.isalnum():
            current += c
    octets = [run for run in runs if len(run) < 4 and int(run) < 256]
    if len(octets) >= 4 or any(len(run) == 12 for run in runs):
        return True
    return len(octets) >= 1 and any(word in _POOL_WORDS for word in words)
