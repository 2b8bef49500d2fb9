"""The NAT64 prefixes in files on the router: those of its own translator, and those that its resolver has answered.

Knows the file in which the kernel module nat46 shows its configuration (464XLAT, RFC 6877; MAP-T, RFC 7599), and the
file into which the service writes the addresses of `ipv4only.arpa` (RFC 7050). The filter opens no connections, so it
asks no name server itself. Must not know what is done with a prefix. If the router translates for IPv4 clients, IPv6
clients reach IPv4 servers through the same prefix (DNS64).
"""

from __future__ import annotations

import os
from ipaddress import IPv6Address, IPv6Network

from cpe_filter.inspect.nat64 import LENGTHS, prefix_in
from cpe_filter.lean.files import read

CONTROL = "/proc/net/nat46/control"
#: The most bytes that are read, and the most prefixes that are used.
_LONGEST, MOST = 1 << 14, 8


def prefixes(path: str = CONTROL) -> tuple[IPv6Network, ...]:
    """The prefixes of RFC 6052's form in use now; none without a translator. Raises nothing."""
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


def answers_file(status_file: str) -> str:
    """The path of the file with the resolver's answers, in the folder of the status."""
    return os.path.join(os.path.dirname(status_file), "nat64")


def looked_up(path: str) -> tuple[IPv6Network, ...]:
    """The prefixes in the resolver's answers, one address a line. None if others can write the file. Raises nothing."""
    try:
        text = read(path, _LONGEST).decode("ascii", "replace")
    except OSError:
        return ()
    found: dict[IPv6Network, None] = {}
    for line in text.splitlines():
        try:
            prefix = prefix_in(IPv6Address(line.strip()).packed)
        except ValueError:
            continue
        if prefix is not None and len(found) < MOST:
            found[prefix] = None
    return tuple(found)
