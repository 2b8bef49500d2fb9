"""By which unwatched interfaces mail has left, and from which unlisted ones it came, from sets that the ruleset fills.

Knows an element with its counter (linux/netfilter/nf_tables.h). Must not know routes, or what follows.
"""

from __future__ import annotations

from cpe_filter.enforce.nfnetlink import set_elements
from cpe_filter.enforce.ruleset_names import FAMILIES, TABLE, UNLISTED, UNWATCHED, WAY_S
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.netlink import attributes, name

# NFTA_SET_ELEM_..., NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_EXPR_DATA, NFTA_COUNTER_PACKETS.
_KEY, _EXPIRATION, _EXPRESSION, _EXPRESSIONS = 1, 5, 7, 11
_VALUE, _LIST_ELEMENT, _DATA, _PACKETS = 1, 1, 2, 2


class Left(NamedTuple):
    """connections: how many an interface had since the element is there. ago_s: seconds since the last one."""

    connections: int
    ago_s: float


def mail_left() -> dict[tuple[str, int, bool], Left]:
    """By interface, family (4, 6), and whether mail came from there and left by a watched interface.

    Raises OSError: FileNotFoundError if the ruleset does not exist.
    """
    found = {}
    for came in (False, True):
        for family, _ in FAMILIES:
            for element in set_elements(TABLE.encode(), ((UNLISTED if came else UNWATCHED) + family).encode()):
                given = dict(attributes(element))
                interface = name(dict(attributes(given.get(_KEY, b""))).get(_VALUE, b"")).decode("utf-8", "replace")
                remaining_ms = int.from_bytes(given.get(_EXPIRATION, b""), "big")
                ago_s = max(0.0, WAY_S - remaining_ms / 1000)
                found[interface, int(family), came] = Left(counted(given), ago_s)
    return found


def counted(element: dict[int, bytes]) -> int:
    """The packets of an element's counter, which is its one expression or the first in a list of them."""
    expression = element.get(_EXPRESSION) or dict(attributes(element.get(_EXPRESSIONS, b""))).get(_LIST_ELEMENT, b"")
    counter = dict(attributes(dict(attributes(expression)).get(_DATA, b"")))
    return int.from_bytes(counter.get(_PACKETS, b""), "big")
