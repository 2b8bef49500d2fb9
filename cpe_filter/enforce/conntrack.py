"""Which port a connection has on the router's WAN side: conntrack asked over netlink.

Knows ctnetlink's question for one connection (linux/netfilter/nfnetlink_conntrack.h). Must not know why it is asked,
and changes nothing. A question takes some 20 us; still it is none for the way of a packet.
"""

from __future__ import annotations

import struct

from cpe_filter.enforce.nfnetlink import attributes, messages
from cpe_filter.lean import plain_socket as socket

_NETLINK_NETFILTER = 12
_GET, _NEW = 1 << 8 | 1, 1 << 8  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_...
_REQUEST = 0x1
_NESTED = 0x8000
_ORIGINAL, _REPLY = 1, 2  # CTA_TUPLE_...
_IP, _PROTOCOL = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_...
_AF_INET, _AF_INET6 = 2, 10
_HEADER = struct.Struct("=IHHII")
_TIMEOUT_S = 0.2


def wan_port(client: bytes, client_port: int, server: bytes, server_port: int) -> int | None:
    """The source port of a TCP connection (packed addresses, before NAT) after NAT. None where none is known."""
    question = _question(client, client_port, server, server_port)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
            netlink.settimeout(_TIMEOUT_S)
            netlink.bind((0, 0))
            netlink.send(question)
            for kind, _, _, content in messages(netlink.recv(8192)):
                if kind == _NEW:
                    return _answer(content)
    except OSError:
        pass
    return None


def _question(client: bytes, client_port: int, server: bytes, server_port: int) -> bytes:
    four = len(client) == 4
    source, destination = (1, 2) if four else (3, 4)  # CTA_IP_V4_..., CTA_IP_V6_...
    addresses = _attribute(source, client) + _attribute(destination, server)
    ports = (
        _attribute(_NUMBER, bytes((socket.IPPROTO_TCP,)))
        + _attribute(_SOURCE_PORT, client_port.to_bytes(2, "big"))
        + _attribute(_DESTINATION_PORT, server_port.to_bytes(2, "big"))
    )
    tuple_ = _attribute(_IP | _NESTED, addresses) + _attribute(_PROTOCOL | _NESTED, ports)
    body = bytes((_AF_INET if four else _AF_INET6, 0, 0, 0)) + _attribute(_ORIGINAL | _NESTED, tuple_)
    return _HEADER.pack(_HEADER.size + len(body), _GET, _REQUEST, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _answer(content: bytes) -> int | None:
    """Replies go to the source port after NAT."""
    reply = dict(attributes(dict(attributes(content[4:])).get(_REPLY, b"")))
    port = dict(attributes(reply.get(_PROTOCOL, b""))).get(_DESTINATION_PORT, b"")
    return int.from_bytes(port, "big") if len(port) == 2 else None
