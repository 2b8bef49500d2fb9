"""TCP of our own over whole Ethernet frames, for what no socket would send.

    card = Card(lab, "device2")
    connection = card.connection(mx4(0))
    if connection.open(flags=SYN | URG):
        connection.say(b"EHLO x\\r\\n")

A `Card` is a lab host's network card in the hands of a test: it sends frames as they are, from any MAC, and answers for
addresses that the host does not have. A `Connection` is one client's side of TCP: it numbers, acknowledges and reads in
order, and leaves all else to its caller: flags, options, checksums, hop limits, extension headers, fragments, numbers.
It sends nothing again and keeps no timers. The host's own TCP, which knows nothing of these connections, is kept from
resetting them. Must not know the filter or SMTP.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

from tests.lab.net import PATIENCE, Lab
from tests.lab.netns import inside

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
ROUTER_MAC = "02:00:00:00:01:fe"
#: Extension headers: number and content, to which the number of the next header is put in front.
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
_PADDING = bytes([0, 1, 4, 0, 0, 0, 0])  # of 8 bytes: PadN of six
_IPV4, _ARP, _IPV6, _VLAN = b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00"
_TCP, _ICMPV6 = 6, 58
_OUTGOING = 4  # PACKET_OUTGOING
_PROMISCUOUS = struct.pack("=HH8s", 1, 0, b"")  # PACKET_MR_PROMISC, of struct packet_mreq
_SOL_PACKET, _ADD_MEMBERSHIP = 263, 1
_SO_RCVBUFFORCE = 33


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def options(*each: bytes) -> bytes:
    """TCP options, filled up with NOPs to whole words."""
    joined = b"".join(each)
    return joined + b"\1" * (-len(joined) % 4)


def option(kind: int, value: bytes = b"") -> bytes:
    return bytes([kind, 2 + len(value)]) + value


MSS = option(2, b"\x05\x78")
#: MSS, SACK permitted, window scale: 12 bytes, so that a SYN can be cut behind its fixed header.
PLAIN = options(MSS, option(4), option(3, b"\7"))


def padding_header(number: int) -> tuple[int, bytes]:
    """A hop-by-hop or destination options header with nothing but padding."""
    return number, _PADDING


def routing_header(kind: int, through: str = "") -> tuple[int, bytes]:
    """A routing header that has reached its end (no segments left). Kind 4 is SRv6's: `through` its only segment."""
    if kind == 4:
        return ROUTING, bytes([2, 4, 0, 0, 0, 0, 0]) + packed(through)
    return ROUTING, bytes([0, kind, 0, 0, 0, 0, 0])


def authentication_header() -> tuple[int, bytes]:
    """RFC 4302, with a check value that is none."""
    return AUTHENTICATION, struct.pack(">BHII12s", 4, 0, 0x100, 1, bytes(12))


def fragments(packet: bytes, first: int = 8, number: int | None = None) -> list[bytes]:
    """An IP packet in two fragments; `first` is how many bytes (a multiple of 8) of what is behind IP the first has.

    IPv6: behind the fixed header alone, so of a packet without extension headers.
    """
    number = random.getrandbits(16) if number is None else number
    if packet[0] >> 4 == 4:
        body = packet[20:]
        parts = []
        for part, offset, more in ((body[:first], 0, 0x2000), (body[first:], first // 8, 0)):
            head = packet[:2] + struct.pack(">HHH", 20 + len(part), number, more | offset) + packet[8:10] + b"\0\0"
            head += packet[12:20]
            parts.append(head[:10] + struct.pack(">H", checksum(head)) + head[12:] + part)
        return parts
    body = packet[40:]
    return [
        packet[:4]
        + struct.pack(">HBB", 8 + len(part), FRAGMENT, packet[7])
        + packet[8:40]
        + struct.pack(">BBHI", packet[6], 0, offset | more, number)
        + part
        for part, offset, more in ((body[:first], 0, 1), (body[first:], first, 0))
    ]


def atomic_fragment(number: int = 7) -> tuple[int, bytes]:
    """A fragment header on a packet that is in one piece (RFC 6946), as an extension header."""
    return FRAGMENT, struct.pack(">BHI", 0, 0, number)


class Card:
    """A host's eth0. Sends and receives frames until `close`; reading answers ARP and neighbour solicitations."""

    def __init__(self, lab: Lab, host: str) -> None:
        self.lab, self.host = lab, host
        self.mac = lab.mac(host)
        #: Addresses that the host does not have, but this card answers for, and with which MAC.
        self.answers: dict[bytes, bytes] = {}
        lab.nft(
            host,
            "table inet quiet\ndelete table inet quiet\n"
            "table inet quiet { chain out { type filter hook output priority 0; tcp flags & rst == rst drop; }; }",
        )
        with inside(lab.namespace(host)):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
            self._socket.bind(("eth0", 0))
            index = socket.if_nametoindex("eth0")
        self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("=i", index) + _PROMISCUOUS)

    def close(self) -> None:
        self._socket.close()

    def send(self, packet: bytes, source: str = "", to: str = ROUTER_MAC, tagged: int | None = None) -> None:
        """Sends an IP packet in a frame. tagged: the VLAN number of an 802.1Q tag."""
        kind = _IPV6 if packet[0] >> 4 == 6 else _IPV4
        tag = b"" if tagged is None else _VLAN + struct.pack(">H", tagged)
        self._send(mac(to) + mac(source or self.mac) + tag + kind + packet)

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame)
        except OSError:
            pass  # a full queue of the card: as lost on the cable

    def receive(self, until: float) -> bytes | None:
        """The next IP packet that came in, without its frame; None at `until` (monotonic)."""
        while True:
            left = until - time.monotonic()
            if left < 0 or not select.select([self._socket], [], [], left)[0]:
                return None
            frame, meta = self._socket.recvfrom(65536)
            if meta[2] == _OUTGOING:
                continue
            kind, packet = frame[12:14], frame[14:]
            if kind == _ARP:
                self._answer_arp(packet)
            elif kind == _IPV6 and packet[6:7] == bytes([_ICMPV6]) and packet[40:41] == b"\x87":
                self._answer_solicitation(packet)
            elif kind in (_IPV4, _IPV6):
                return packet

    def answer_for(self, address: str, own: str = "") -> None:
        """From now on the address is here, with this MAC; the router learns it at once (unasked, and when it asks)."""
        there, here = packed(address), mac(own or self.mac)
        self.answers[there] = here
        if len(there) == 4:
            self._send(b"\xff" * 6 + here + _ARP + _arp(2, here, there, mac(ROUTER_MAC), packed("192.168.1.1")))
        else:
            self._send(mac(ROUTER_MAC) + here + _IPV6 + _advertisement(there, packed("2001:db8:1::1"), here))

    def _answer_arp(self, packet: bytes) -> None:
        sender, asker, wanted = packet[8:14], packet[14:18], packet[24:28]
        here = self.answers.get(wanted)
        if packet[6:8] == b"\0\1" and here:
            self._send(sender + here + _ARP + _arp(2, here, wanted, sender, asker))

    def _answer_solicitation(self, packet: bytes) -> None:
        asker, wanted = packet[8:24], packet[48:64]
        here = self.answers.get(wanted)
        if here and any(asker):
            self._send(mac(ROUTER_MAC) + here + _IPV6 + _advertisement(wanted, asker, here))

    def connection(
        self, server: str, source: str = "", own: str = "", port: int = 25, sport: int = 0, isn: int | None = None
    ) -> Connection:
        """A client's side of a connection, not open yet. own: the MAC to send from."""
        if not source:
            source = self.lab.address6(self.host) if ":" in server else self.lab.address4(self.host)
        return Connection(self, server, source, own or self.mac, port, sport or random.randint(20000, 60000), isn)


def _arp(operation: int, mac1: bytes, address1: bytes, mac2: bytes, address2: bytes) -> bytes:
    return struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, operation, mac1, address1, mac2, address2)


def _advertisement(address: bytes, asker: bytes, own: bytes) -> bytes:
    """A neighbour advertisement, solicited and overriding (RFC 4861)."""
    body = struct.pack(">BBHI16sBB6s", 136, 0, 0, 0x60000000, address, 2, 1, own)
    pseudo = address + asker + struct.pack(">II", len(body), _ICMPV6)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    return struct.pack(">IHBB16s16s", 0x60000000, len(body), _ICMPV6, 255, address, asker) + body


class Connection:
    """One client's side. `seq` and `ack` are what comes next; `heard` what the server has said in order so far."""

    def __init__(
        self, card: Card, server: str, source: str, own: str, port: int, sport: int, isn: int | None = None
    ) -> None:
        self.card, self.own, self.port, self.sport = card, own, port, sport
        self.server, self.source = server, source
        self._to, self._from = packed(server), packed(source)
        self.isn = random.getrandbits(32) if isn is None else isn
        self.tagged: int | None = None
        #: Extension headers of each packet (IPv6); hop limit of each packet.
        self.headers: list[tuple[int, bytes]] = []
        self.ttl = 64
        #: In how many bytes the first of two fragments is; 0: packets go whole.
        self.fragmented = 0
        self._begin()

    def _begin(self) -> None:
        self.seq, self.ack = self.isn, 0
        self.heard, self._lines = b"", 0
        self.up = self.refused = self.over = False

    # ── sending ─────────────────────────────────────────────────────────────────────────────────

    def packet(
        self,
        flags: int,
        payload: bytes = b"",
        seq: int | None = None,
        ack: int | None = None,
        wrong_checksum: bool = False,
        ttl: int = 0,
        tcp_options: bytes = b"",
        reserved: int = 0,
    ) -> bytes:
        """An IP packet with one segment. reserved: the four bits behind the header's length."""
        seq = self.seq if seq is None else seq
        ack = (self.ack if flags & ACK else 0) if ack is None else ack
        words = 5 + len(tcp_options) // 4
        segment = struct.pack(
            ">HHIIBBHHH",
            *(self.sport, self.port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF),
            *(words << 4 | reserved, flags, 64240, 0, 1 if flags & URG else 0),
        )
        segment += tcp_options + payload
        pseudo = self._from + self._to
        pseudo += struct.pack(
            ">HH" if len(self._to) == 4 else ">II", *((6, len(segment)) if len(self._to) == 4 else (len(segment), 6))
        )
        sum_ = checksum(pseudo + segment) ^ (0x5555 if wrong_checksum else 0)
        segment = segment[:16] + struct.pack(">H", sum_) + segment[18:]
        ttl = ttl or self.ttl
        if len(self._to) == 4:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), random.getrandbits(16), 0, ttl, _TCP, 0)
            head += self._from + self._to
            return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + segment
        first, chain = _chained(self.headers, _TCP)
        head = struct.pack(">IHBB", 0x60000000, len(chain) + len(segment), first, ttl)
        return head + self._from + self._to + chain + segment

    def send(self, flags: int, payload: bytes = b"", **how: Any) -> None:
        """Sends a segment (how: see `packet`) and moves nothing."""
        packet = self.packet(flags, payload, **how)
        for part in fragments(packet, self.fragmented) if self.fragmented else [packet]:
            self.card.send(part, self.own, tagged=self.tagged)

    def say(self, payload: bytes, flags: int = PSH | ACK, pieces: int = 1200) -> None:
        """Sends data, in segments of at most `pieces` bytes, and moves on."""
        for at in range(0, len(payload), pieces):
            part = payload[at : at + pieces]
            self.send(flags, part)
            self.seq = (self.seq + len(part)) & 0xFFFFFFFF

    def reset(self) -> None:
        self.send(RST | ACK)
        self.over = True

    # ── receiving ───────────────────────────────────────────────────────────────────────────────

    def open(
        self,
        patience: float = 1.0,
        flags: int = SYN,
        payload: bytes = b"",
        tcp_options: bytes = PLAIN,
        reserved: int = 0,
        times: int = 1,
    ) -> bool:
        """SYN, and ACK once it is answered; whether it is. Once more on the same ports and number, if called again.

        payload: sent with the SYN (TCP Fast Open). times: so many SYNs at once, before anything is waited for.
        """
        self._begin()
        for _ in range(times):
            self.send(flags, payload, tcp_options=tcp_options, reserved=reserved)
        end = time.monotonic() + patience * PATIENCE
        while not (self.up or self.refused) and self._read(end):
            pass
        if self.up:
            self.send(ACK)
        return self.up

    def wait(self, patience: float = 1.0, *texts: bytes) -> bytes:
        """Reads until one of `texts` has come, the connection is over, or time is up; all heard since it opened."""
        end = time.monotonic() + patience
        while not (self.over or self.refused or any(text in self.heard for text in texts)) and self._read(end):
            pass
        return self.heard

    def line(self, patience: float = 1.0) -> bytes:
        """The next line that the server says; empty if none comes."""
        end = time.monotonic() + patience
        while b"\n" not in self.heard[self._lines :]:
            if self.over or not self._read(end):
                return b""
        begin = self._lines
        self._lines = self.heard.index(b"\n", begin) + 1
        return self.heard[begin : self._lines]

    def _read(self, end: float) -> bool:
        """Takes the next packet of ours into account; False when time is up."""
        while True:
            packet = self.card.receive(end)
            if packet is None:
                return False
            segment = self._ours(packet)
            if segment:
                self._take(segment)
                return True

    def _ours(self, packet: bytes) -> bytes:
        """The segment, if it is from the server to this client, else nothing."""
        if packet[0] >> 4 == 4:
            if packet[9] != _TCP or packet[12:20] != self._to + self._from:
                return b""
            segment = packet[(packet[0] & 15) * 4 : struct.unpack_from(">H", packet, 2)[0]]
        else:
            if packet[6] != _TCP or packet[8:40] != self._to + self._from:
                return b""
            segment = packet[40 : 40 + struct.unpack_from(">H", packet, 4)[0]]
        return segment if segment[:4] == struct.pack(">HH", self.port, self.sport) else b""

    def _take(self, segment: bytes) -> None:
        seq, acked, offset, flags = struct.unpack_from(">IIBB", segment, 4)
        payload = segment[(offset >> 4) * 4 :]
        if flags & RST:
            self.refused = not self.up
            self.over = True
        elif flags & SYN:
            if not self.up:
                self.up, self.ack = True, (seq + 1) & 0xFFFFFFFF
                self.seq = acked
        elif seq == self.ack and (payload or flags & FIN):
            self.heard += payload
            self.ack = (self.ack + len(payload) + (flags & FIN)) & 0xFFFFFFFF
            self.over = self.over or bool(flags & FIN)
            self.send(ACK)


def _chained(headers: Iterable[tuple[int, bytes]], last: int) -> tuple[int, bytes]:
    """The number of the first of these headers, and all of them, each naming the next."""
    each = list(headers)
    numbers = [number for number, _ in each] + [last]
    return numbers[0], b"".join(bytes([numbers[n + 1]]) + content for n, (_, content) in enumerate(each))
