"""Ends connections in conntrack, over ctnetlink.

Knows ctnetlink's list and removal of connections (linux/netfilter/nfnetlink_conntrack.h). Must not know why they end.
Packets of an offloaded connection pass no rule, in software and in hardware; the kernel takes it out of the flow table
within two seconds after conntrack has lost it. Its next packet then meets the rules. A list may have thousands of
connections, so a child process does this.
"""

from __future__ import annotations

from ipaddress import ip_address
from time import monotonic

from cpe_filter.enforce.ruleset_sets import is_private
from cpe_filter.lean import netlink
from cpe_filter.lean.netlink import attribute, attributes, netfilter_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cpe_filter.policy.model import Network

_NEW, _GET, _DELETE = 1 << 8, 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_...
_ORIGINAL, _REPLY, _ZONE, _NESTED = 1, 2, 18, 0x8000  # CTA_...
_IP, _PROTOCOL, _DESTINATION_PORT = 1, 2, 3  # CTA_TUPLE_..., CTA_PROTO_...
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_..., CTA_IP_V6_...
_FAMILIES = (2, 10)
_WAIT_S = 10.0
#: Connections that are ended at once.
MOST = 1 << 16


def end(addresses: Collection[bytes], spared: Sequence[Network], ports: Sequence[int]) -> int:
    """Ends the connections of these addresses (packed) with the Internet; returns how many.

    spared: networks whose connections go on, as do those with private addresses. ports: so do those to these.
    Raises OSError.
    """
    found: list[tuple[int, bytes]] = []
    with netlink.connect(netlink.NETLINK_NETFILTER, _WAIT_S) as kernel:
        for sequence, family in enumerate(_FAMILIES, 1):
            request = netlink.message(_GET, netlink.REQUEST | netlink.DUMP, sequence, netfilter_header(family, 0))
            for content in netlink.dump(kernel, request, _NEW, 4, monotonic() + _WAIT_S):
                body = _removal(content, addresses, spared, ports)
                if body is not None and len(found) < MOST:
                    found.append((family, body))
    ended = 0
    with netlink.connect(netlink.NETLINK_NETFILTER, _WAIT_S) as kernel:
        for family, body in found:
            flags = netlink.REQUEST | netlink.ACKNOWLEDGE
            kernel.send(netlink.message(_DELETE, flags, 1, netfilter_header(family, 0) + body))
            for _, _, _, content in netlink.messages(kernel.recv(8192)):
                ended += content[:4] == bytes(4)  # else it has just ended
    return ended


def _removal(
    content: bytes, addresses: Collection[bytes], spared: Sequence[Network], ports: Sequence[int]
) -> bytes | None:
    """The attributes that name a connection to be ended; None if it goes on."""
    entry = dict(attributes(content[4:]))
    original, reply = (dict(attributes(entry.get(way, b""))) for way in (_ORIGINAL, _REPLY))
    source, destination = _ends(original)
    answering, _ = _ends(reply)
    if source in addresses:
        others = (destination, answering)
    elif answering in addresses:
        others = (source, source)
    else:
        return None
    port = dict(attributes(original.get(_PROTOCOL, b""))).get(_DESTINATION_PORT, b"")
    if int.from_bytes(port, "big") in ports:
        return None
    for other in map(ip_address, others):
        if is_private(other) or any(other in network for network in spared):
            return None
    zone = attribute(_ZONE, entry[_ZONE]) if _ZONE in entry else b""
    return attribute(_ORIGINAL | _NESTED, entry[_ORIGINAL]) + zone


def _ends(tuple_: dict[int, bytes]) -> tuple[bytes, bytes]:
    """Source and destination address."""
    found = dict(attributes(tuple_.get(_IP, b"")))
    source, destination = (found.get(four) or found.get(six, b"") for four, six in (_SOURCES, _DESTINATIONS))
    return source, destination
