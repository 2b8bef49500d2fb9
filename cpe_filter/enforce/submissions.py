"""What the kernel has counted of submission, and which devices take mail from outside, from sets of the ruleset.

Knows the sets. Must not know what many is, or what follows.
"""

from __future__ import annotations

from cpe_filter.enforce.nfnetlink import set_elements
from cpe_filter.enforce.ruleset_names import SERVING, SUBMITTED, TABLE
from cpe_filter.enforce.unwatched import counted
from cpe_filter.lean.netlink import attributes

_KEY, _VALUE = 1, 1  # NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE
#: Whether the kernel counts a connection's packets and bytes.
_ACCOUNTING = "/proc/sys/net/netfilter/nf_conntrack_acct"


def submissions() -> dict[bytes, tuple[int, ...]]:
    """By MAC, in the order of `SUBMITTED`: the kernel's counts. Raises OSError."""
    counts = [_by_mac(name) for name in SUBMITTED]
    return {mac: tuple([each.get(mac, 0) for each in counts]) for mac in counts[0]}


def serving() -> dict[bytes, int]:
    """By MAC: connections from outside that a device has answered. Raises OSError."""
    return _by_mac(SERVING)


def counts_bytes() -> bool:
    """Whether the kernel knows which connections were answered, and which were short."""
    try:
        with open(_ACCOUNTING, encoding="ascii") as file:
            return file.read(1) != "0"
    except OSError:
        return False


def _by_mac(name: str) -> dict[bytes, int]:
    found = {}
    for element in set_elements(TABLE.encode(), name.encode()):
        given = dict(attributes(element))
        mac = dict(attributes(given.get(_KEY, b""))).get(_VALUE, b"")[:6]
        found[mac] = counted(given)
    return found
