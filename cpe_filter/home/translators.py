"""The prefixes of NAT64 that files on the router name: of its own translator, and what its resolver has answered.

Knows the file in which the kernel's module nat46 shows its configuration (464XLAT, RFC 6877; MAP-T, RFC 7599), and the
file into which the service writes the addresses of `ipv4only.arpa` (RFC 7050): the filter opens no connections, so it
asks no name server. Must not know what is done with a prefix. Where the router translates for clients by IPv4, clients
by IPv6 reach IPv4 servers by the same prefix (DNS64).
"""

from __future__ import annotations

import os
from ipaddress import IPv6Address, IPv6Network

from cpe_filter.inspect.nat64 import LENGTHS, prefix_in
from cpe_filter.lean.files import read

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


def answers_file(status_file: str) -> str:
    """The path of the file with the resolver's answers, in the folder of the status."""
    return os.path.join(os.path.dirname(status_file), "nat64")


def looked_up(path: str) -> tuple[IPv6Network, ...]:
    """The prefixes in the resolver's answers: addresses, one a line. None where others can write it. Raises nothing."""
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
