"""The port that a connection has on the router's WAN side, from conntrack over netlink.

Knows ctnetlink's request for one connection (linux/netfilter/nfnetlink_conntrack.h). Must not know why it is made, and
changes nothing. A request takes some 20 us. Do not make one for each packet.
"""

from __future__ import annotations

from cpe_filter.lean import netlink
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.netlink import attribute, attributes, messages, nested, netfilter_header

_GET, _NEW = 1 << 8 | 1, 1 << 8  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_...
_ORIGINAL, _REPLY = 1, 2  # CTA_TUPLE_...
_IP, _PROTOCOL = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_...
_AF_INET, _AF_INET6 = 2, 10
_TIMEOUT_S = 0.2


def wan_port(client: bytes, client_port: int, server: bytes, server_port: int) -> int | None:
    """The source port of a TCP connection (packed addresses, before NAT) after NAT. None if it is not known."""
    question = _question(client, client_port, server, server_port)
    try:
        with netlink.connect(netlink.NETLINK_NETFILTER, _TIMEOUT_S) as kernel:
            kernel.send(question)
            for kind, _, _, content in messages(kernel.recv(8192)):
                if kind == _NEW:
                    return _answer(content)
    except OSError:
        pass
    return None


def _question(client: bytes, client_port: int, server: bytes, server_port: int) -> bytes:
    four = len(client) == 4
    source, destination = (1, 2) if four else (3, 4)  # CTA_IP_V4_..., CTA_IP_V6_...
    ports = nested(
        _PROTOCOL,
        attribute(_NUMBER, bytes((socket.IPPROTO_TCP,))),
        attribute(_SOURCE_PORT, client_port.to_bytes(2, "big")),
        attribute(_DESTINATION_PORT, server_port.to_bytes(2, "big")),
    )
    addresses = nested(_IP, attribute(source, client), attribute(destination, server))
    body = netfilter_header(_AF_INET if four else _AF_INET6, 0) + nested(_ORIGINAL, addresses, ports)
    return netlink.message(_GET, netlink.REQUEST, 1, body)


def _answer(content: bytes) -> int | None:
    """Replies go to the source port after NAT."""
    reply = dict(attributes(dict(attributes(content[4:])).get(_REPLY, b"")))
    port = dict(attributes(reply.get(_PROTOCOL, b""))).get(_DESTINATION_PORT, b"")
    return int.from_bytes(port, "big") if len(port) == 2 else None
