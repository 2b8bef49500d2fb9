"""A line's tunnel in userspace, for a kernel that has none: `python -m tests.lab.lines.carrier NAME KIND LOCAL REMOTE`.

Makes the TUN device NAME and carries its IP packets to the other end and back, as the kernel's tunnel of that kind
does on the wire. Prints "ready". One end; the other host runs another. Limits: no ICMP errors of the tunnel, no path
MTU discovery, no fragments of the outer packet, one peer, and `udp` (in WireGuard's place) does not encrypt.

Knows TUN and the outer headers. Must not know who uses the line.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
from collections.abc import Callable

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x1, 0x1000
_LARGEST = 65535
_UDP_PORT = 51820
#: RFC 2516: a session's frames; RFC 1661 and 5072: the numbers of IPv4 and IPv6 in PPP.
_PPPOE_SESSION, _PPPOE_HEADER = 0x8864, struct.Struct("!BBHHH")
_PPP = {4: 0x0021, 6: 0x0057}

#: Sends an IP packet to the other end, and returns the IP packet in what came from there ("" is none).
End = tuple[socket.socket, Callable[[bytes], None], Callable[[bytes], bytes]]


def tunnel_device(name: str) -> int:
    """A TUN device; returns its descriptor. Raises OSError."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def in_ipv6(local: str, remote: str) -> End:
    """IPv4 in IPv6 (RFC 2473): DS-Lite and MAP-E."""
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_IPIP)
    raw.bind((local, 0))
    raw.connect((remote, 0))
    return raw, lambda packet: _drop(raw.send, packet), lambda got: got


def in_ipv4(local: str, remote: str) -> End:
    """IPv6 in IPv4 (RFC 4213): 6rd."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPV6)
    raw.bind((local, 0))
    raw.connect((remote, 0))
    # A raw IPv4 socket gets the outer header, too.
    return raw, lambda packet: _drop(raw.send, packet), lambda got: got[4 * (got[0] & 0xF) :]


def in_udp(local: str, remote: str) -> End:
    """IPv4 or IPv6 in UDP, where WireGuard would be."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((local, _UDP_PORT))
    udp.connect((remote, _UDP_PORT))
    return udp, lambda packet: _drop(udp.send, packet), lambda got: got


def in_pppoe(local: str, remote: str) -> End:
    """Frames of session 1 on the interface `local`, to the MAC `remote`; no discovery, no PPP negotiation."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_PPPOE_SESSION))
    link.bind((local, _PPPOE_SESSION))
    to = (local, _PPPOE_SESSION, 0, 0, bytes.fromhex(remote.replace(":", "")))

    def send(packet: bytes) -> None:
        header = _PPPOE_HEADER.pack(0x11, 0, 1, len(packet) + 2, _PPP[packet[0] >> 4])
        _drop(lambda frame: link.sendto(frame, to), header + packet)

    def unpack(frame: bytes) -> bytes:
        if len(frame) < _PPPOE_HEADER.size:
            return b""
        length = _PPPOE_HEADER.unpack_from(frame)[3]
        return frame[_PPPOE_HEADER.size : _PPPOE_HEADER.size + length - 2]

    return link, send, unpack


def _drop(send: Callable[[bytes], int], packet: bytes) -> None:
    """Sends it, or drops it where there is no way to the other end now."""
    with contextlib.suppress(OSError):
        send(packet)


KINDS = {"ipip6": in_ipv6, "sit": in_ipv4, "wireguard": in_udp, "pppoe": in_pppoe}


def main(name: str, kind: str, local: str, remote: str) -> None:
    device = tunnel_device(name)
    outer, send, unpack = KINDS[kind](local, remote)
    print("ready", flush=True)
    while True:
        for ready in select.select([device, outer.fileno()], [], [])[0]:
            if ready != device:
                with contextlib.suppress(OSError):
                    packet = unpack(outer.recv(_LARGEST))
                    if packet:
                        os.write(device, packet)
            else:
                send(os.read(device, _LARGEST))


if __name__ == "__main__":
    main(*sys.argv[1:])
