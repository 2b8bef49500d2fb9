"""The prefixes that the router's own translator uses (464XLAT, RFC 6877; MAP-T, RFC 7599).

Knows the file in which the kernel's module nat46 tells its configuration. Must not know what is done with a prefix.
Where the router translates for clients by IPv4, clients by IPv6 reach IPv4 servers by the same prefix (DNS64). It is
asked for nowhere: a filter that opens no connections could hear DNS's answer (RFC 7050) only as others' packets, which
anybody can make up.
"""

from __future__ import annotations

from ipaddress import IPv6Network

from cpe_filter.inspect.nat64 import LENGTHS

CONTROL = "/proc/net/nat46/control"
#: Bytes that are read, and prefixes that are taken.
_LONGEST, MOST = 1 << 14, 8


def prefixes(path: str = CONTROL) -> tuple[IPv6Network, ...]:
    """The prefixes of RFC 6052's form in use now; none where there is no translator. Raises nothing."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST).decode("ascii", "replace")
    except OSError:
        return ()
    found: dict[IPv6Network, None] = {}
    for line in text.splitlines():
        words = line.split()
        try:
            if words[words.index("remote.style") + 1] != "RFC6052":
                continue
            prefix = IPv6Network(words[words.index("remote.v6") + 1], strict=False)
        except (ValueError, IndexError):
            continue
        if prefix.prefixlen in LENGTHS and len(found) < MOST:
            found[prefix] = None
    return tuple(found)
