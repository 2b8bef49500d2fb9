"""Builds the input of tests: dialogues -> TCP packets -> link layers -> pcap and pcapng files, byte by byte.

Knows the formats from their specifications, not from the code under test. It does not use `dpkt`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import NamedTuple

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

DEVICE_MAC = bytes.fromhex("020000000101")
ROUTER_MAC = bytes.fromhex("020000000001")
CLIENT, SERVER = "192.0.2.10", "198.51.100.25"
CLIENT6, SERVER6 = "2001:db8:1::10", "2001:db8:2::25"
#: 2026-11-23 12:00:00 UTC: in half a second's steps nothing is lost in a float or in microseconds.
START = 1795435200.0
STEP = 0.5

#: A whole session of a well-behaved client, as people write dialogues.
LEGITIMATE = """
S: 220 mx.example.net ESMTP
C: EHLO mail.example.org
S: 250-mx.example.net
S: 250-PIPELINING
S: 250 SIZE 10000000
C: MAIL FROM:<alice@example.org>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.net>
S: 250 2.1.5 Ok
C: DATA
S: 354 End data with <CR><LF>.<CR><LF>
C: Subject: hello
C:
C: A line.
C: .
S: 250 2.0.0 Ok: queued
C: QUIT
S: 221 2.0.0 Bye
"""


class Packet(NamedTuple):
    """An IP packet on its way. time: POSIX seconds. from_client: whose. data: from the IP header on."""

    time: float
    from_client: bool
    data: bytes


def packed(address: str) -> bytes:
    return ip_address(address).packed


def ip(src: str, dst: str, proto: int, payload: bytes) -> bytes:
    """An IPv4 or IPv6 packet. Checksums stay 0, as where the network card fills them in."""
    if ":" in src:
        return struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + packed(src) + packed(dst) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, proto, 0)
    return head + packed(src) + packed(dst) + payload


def tcp(src: str, dst: str, sport: int, dport: int, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 65535, 0, 0)
    return ip(src, dst, 6, head + payload)


def udp(src: str, dst: str, sport: int, dport: int, payload: bytes) -> bytes:
    return ip(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload)


#: What resolvers and libraries put behind a question (RFC 6891): nothing, OPT, OPT with a client's, a whole cookie.
OPT = {
    "plain": b"",
    "edns": b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
    "cookie": b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08" + b"clientck",
    "full-cookie": b"\0\0\x29\x04\xd0\0\0\0\0\0\x1c\0\x0a\0\x18" + b"clientck" + b"serverservercook",
}
TYPE_A, TYPE_MX, TYPE_AAAA = 1, 15, 28


def dns_query(name: str = "example.net", qtype: int = TYPE_MX, opt: bytes = b"", flags: int = 0x0100) -> bytes:
    """A DNS message with one question (RFC 1035 section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    head = struct.pack("!HHHHHH", 0x1234, flags, 1, 0, 0, bool(opt))
    return head + labels + b"\0" + struct.pack("!HH", qtype, 1) + opt


class Conversation:
    """One TCP connection that is written down packet by packet: `packets` holds what has passed.

    Each packet takes `step` seconds.
    """

    def __init__(
        self,
        client: str = CLIENT,
        server: str = SERVER,
        sport: int = 40000,
        dport: int = 25,
        time: float = START,
        step: float = STEP,
        isn: int = 1000,
    ) -> None:
        self.client, self.server, self.sport, self.dport = client, server, sport, dport
        self.time, self.step = time, step
        self.client_seq, self.server_seq = isn, isn + 700000
        self.packets: list[Packet] = []

    def packet(self, from_client: bool, flags: int, payload: bytes = b"") -> Packet:
        """The next packet of one side; its sequence number moves on."""
        if from_client:
            ack = self.server_seq if flags & ACK else 0
            data = tcp(self.client, self.server, self.sport, self.dport, self.client_seq, ack, flags, payload)
            self.client_seq += len(payload) + bool(flags & (SYN | FIN))
        else:
            ack = self.client_seq if flags & ACK else 0
            data = tcp(self.server, self.client, self.dport, self.sport, self.server_seq, ack, flags, payload)
            self.server_seq += len(payload) + bool(flags & (SYN | FIN))
        packet = Packet(self.time, from_client, data)
        self.time += self.step
        self.packets.append(packet)
        return packet

    def syn(self) -> Packet:
        return self.packet(True, SYN)

    def open(self) -> Conversation:
        self.syn()
        self.packet(False, SYN | ACK)
        self.packet(True, ACK)
        return self

    def say(self, text: str) -> Conversation:
        """`C: ...` and `S: ...` lines; neighbouring lines of one side travel in one packet."""
        sides: list[tuple[bool, bytes]] = []
        for line in text.strip().splitlines():
            side, _, rest = line.strip().partition(":")
            data = rest.removeprefix(" ").encode() + b"\r\n"
            if sides and sides[-1][0] == (side == "C"):
                sides[-1] = (sides[-1][0], sides[-1][1] + data)
            else:
                sides.append((side == "C", data))
        for from_client, data in sides:
            self.packet(from_client, PSH | ACK, data)
        return self

    def close(self) -> Conversation:
        self.packet(True, FIN | ACK)
        self.packet(False, FIN | ACK)
        return self


def session(text: str = LEGITIMATE, client: str = CLIENT, server: str = SERVER, **more: float) -> list[Packet]:
    """The packets of a whole connection with this dialogue."""
    numbers = {name: int(value) if name in ("sport", "dport", "isn") else value for name, value in more.items()}
    return Conversation(client, server, **numbers).open().say(text).close().packets  # type: ignore[arg-type]


# ── link layers ─────────────────────────────────────────────────────────────────────────────────


def _ethertype(packet: bytes) -> bytes:
    return b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"


def _macs(packet: Packet) -> bytes:
    return ROUTER_MAC + DEVICE_MAC if packet.from_client else DEVICE_MAC + ROUTER_MAC


def ethernet(packet: Packet) -> bytes:
    return _macs(packet) + _ethertype(packet.data) + packet.data


def vlan(packet: Packet) -> bytes:
    """IEEE 802.1Q."""
    return _macs(packet) + b"\x81\x00\x00\x07" + _ethertype(packet.data) + packet.data


def qinq(packet: Packet) -> bytes:
    """IEEE 802.1ad: a service tag around a customer's."""
    return _macs(packet) + b"\x88\xa8\x00\x64\x81\x00\x00\x07" + _ethertype(packet.data) + packet.data


def pppoe(packet: Packet) -> bytes:
    """RFC 2516, session stage."""
    protocol = b"\x00\x57" if packet.data[0] >> 4 == 6 else b"\x00\x21"
    return (
        _macs(packet) + b"\x88\x64" + b"\x11\x00\x00\x2a" + struct.pack("!H", len(packet.data) + 2) + protocol
    ) + packet.data


def pppoe_vlan(packet: Packet) -> bytes:
    frame = pppoe(packet)
    return frame[:12] + b"\x81\x00\x00\x07" + frame[12:]


def cooked1(packet: Packet) -> bytes:
    """LINKTYPE_LINUX_SLL: type, ARPHRD, length and address of the sender, protocol."""
    mac = DEVICE_MAC if packet.from_client else ROUTER_MAC
    return struct.pack("!HHH", 0, 1, 6) + mac + b"\0\0" + _ethertype(packet.data) + packet.data


def cooked2(packet: Packet) -> bytes:
    """LINKTYPE_LINUX_SLL2: protocol, reserved, interface, ARPHRD, type, length and address of the sender."""
    mac = DEVICE_MAC if packet.from_client else ROUTER_MAC
    return _ethertype(packet.data) + struct.pack("!HIHBB", 0, 3, 1, 0, 6) + mac + b"\0\0" + packet.data


def raw(packet: Packet) -> bytes:
    return packet.data


def loopback(packet: Packet) -> bytes:
    """LINKTYPE_NULL: the address family, in the capturing machine's byte order."""
    return struct.pack("<I", 30 if packet.data[0] >> 4 == 6 else 2) + packet.data


def openbsd_loopback(packet: Packet) -> bytes:
    """LINKTYPE_LOOP: the same in network byte order."""
    return struct.pack("!I", 24 if packet.data[0] >> 4 == 6 else 2) + packet.data


class Link(NamedTuple):
    """number: LINKTYPE. wrap: packet -> frame. mac: whether it has the sender's MAC. versions: of IP."""

    number: int
    wrap: Callable[[Packet], bytes]
    mac: bool
    versions: tuple[int, ...] = (4, 6)


LINKS = {
    "ethernet": Link(1, ethernet, True),
    "vlan": Link(1, vlan, True),
    "qinq": Link(1, qinq, True),
    "pppoe": Link(1, pppoe, True),
    "pppoe-vlan": Link(1, pppoe_vlan, True),
    "cooked1": Link(113, cooked1, True),
    "cooked2": Link(276, cooked2, True),
    "raw-101": Link(101, raw, False),
    "raw-12": Link(12, raw, False),
    "raw-14": Link(14, raw, False),
    "raw-228": Link(228, raw, False, (4,)),
    "raw-229": Link(229, raw, False, (6,)),
    "loopback": Link(0, loopback, False),
    "openbsd-loopback": Link(108, openbsd_loopback, False),
}

#: (time, frame) as the writers below take them.
Timed = tuple[float, bytes]


def frames(packets: Iterable[Packet], link: str = "ethernet") -> list[Timed]:
    return [(packet.time, LINKS[link].wrap(packet)) for packet in packets]


# ── pcap ────────────────────────────────────────────────────────────────────────────────────────

#: name -> (magic, ticks a second, bytes of a record's header)
PCAP_KINDS = {
    "micro": (0xA1B2C3D4, 10**6, 16),
    "nano": (0xA1B23C4D, 10**9, 16),
    "modified": (0xA1B2CD34, 10**6, 24),  # Kuznetzov's; "PACPDOM" to dpkt where it is little-endian
}


def pcap(timed: Iterable[Timed], link: int = 1, kind: str = "micro", order: str = "<", snaplen: int = 262144) -> bytes:
    magic, ticks, size = PCAP_KINDS[kind]
    out = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, link)]
    for time, frame in timed:
        whole = int(time)
        kept = frame[:snaplen]
        out.append(struct.pack(f"{order}IIII", whole, round((time - whole) * ticks), len(kept), len(frame)))
        out.append(bytes(size - 16))
        out.append(kept)
    return b"".join(out)


# ── pcapng ──────────────────────────────────────────────────────────────────────────────────────


class Ng:
    """Writes pcapng, block by block; `data` is the file so far. order: "<" or ">"."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.data = b""
        self.section(order)

    def block(self, kind: int, body: bytes) -> Ng:
        body += bytes(-len(body) % 4)
        length = struct.pack(f"{self.order}I", len(body) + 12)
        self.data += struct.pack(f"{self.order}I", kind) + length + body + length
        return self

    def section(self, order: str) -> Ng:
        self.order = order
        return self.block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1) + self.option(4, b"test"))

    def option(self, code: int, value: bytes) -> bytes:
        return struct.pack(f"{self.order}HH", code, len(value)) + value + bytes(-len(value) % 4)

    def interface(
        self,
        link: int = 1,
        tsresol: int | None = None,
        tsoffset: int | None = None,
        snaplen: int = 0,
        comment: bytes = b"",
    ) -> Ng:
        options = self.option(2, b"eth0")
        if comment:
            options += self.option(1, comment)
        if tsresol is not None:
            options += self.option(9, bytes([tsresol]))
        if tsoffset is not None:
            options += self.option(14, struct.pack(f"{self.order}q", tsoffset))
        options += self.option(0, b"")
        return self.block(1, struct.pack(f"{self.order}HHI", link, 0, snaplen) + options)

    def enhanced(self, ticks: int, frame: bytes, interface: int = 0, length: int | None = None) -> Ng:
        length = len(frame) if length is None else length
        head = struct.pack(f"{self.order}IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), length)
        return self.block(6, head + frame + bytes(-len(frame) % 4) + self.option(1, b"a comment") + self.option(0, b""))

    def obsolete(self, ticks: int, frame: bytes, interface: int = 0) -> Ng:
        head = struct.pack(f"{self.order}HHIIII", interface, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        return self.block(2, head + frame)

    def simple(self, frame: bytes, length: int | None = None) -> Ng:
        return self.block(3, struct.pack(f"{self.order}I", len(frame) if length is None else length) + frame)


def pcapng(timed: Iterable[Timed], link: int = 1, order: str = "<", ticks: int = 10**6) -> bytes:
    """A plain file: one section, one interface, enhanced packet blocks."""
    tsresol = None if ticks == 10**6 else len(str(ticks)) - 1
    ng = Ng(order).interface(link, tsresol)
    for time, frame in timed:
        whole = int(time)
        ng.enhanced(whole * ticks + round((time - whole) * ticks), frame)
    return ng.data
