"""Copies of one packet in a capture: of several interfaces, before and behind NAT, of mirror ports.

Knows IP and TCP headers as far as NAT changes them. Must not know SMTP or devices. Byte for byte the same segment is no
matter for streams, which read each byte once; but behind NAT a connection has another client, which would be a second
device, and a question for MX records counts each time.

`tcpdump -i any` shows a connection twice: at the LAN with its client's address, and at the uplink with the router's.
NAT keeps the server, the sequence numbers, the window and the content. A SYN like that of another connection shortly
before begins a copy if it has come farther (TTL), leaves the host of which the other has entered (cooked captures), or
has the same IP identification. That alone could be made up, to hide a connection behind another: so the first packets
of a copy are kept until both have carried the same content. If they do not, all that was kept is read.
"""

from __future__ import annotations

from collections.abc import Iterable

from cpe_filter.replay.layers import Packet

#: Seconds between a packet and its copy.
APART_S, QUESTIONS_APART_S = 1.0, 0.5
#: SYNs and questions that are remembered; copied connections, and those that are not sure yet, and packets kept of one.
_RECENT, _COPIED, _UNSURE, _KEPT = 4096, 1 << 16, 512, 12
#: The routers between two copies.
_HOPS = 8
#: Different segments of the client after which two connections are not the same.
_DIFFERENT = 3
_SYN, _SYN_MASK = 0x02, 0x17


class _Syn:
    __slots__ = ("hwaddr", "identification", "outgoing", "peers", "time", "ttl")

    def __init__(self, packet: Packet, peers: bytes, time: float) -> None:
        data = packet.data
        self.peers = peers
        self.time = time
        self.hwaddr = packet.hwaddr
        self.outgoing = packet.outgoing
        self.ttl = data[8] if data[0] >> 4 == 4 else data[7]
        self.identification = data[4:6] if data[0] >> 4 == 4 else b"\0\0"

    def copied_by(self, other: _Syn) -> bool | None:
        """Whether the other is this one behind NAT; None if this one is the other behind NAT."""
        hops = self.ttl - other.ttl
        if hops:
            return None if -_HOPS <= hops < 0 else hops <= _HOPS
        if self.outgoing is not None and self.outgoing != other.outgoing:
            return None if self.outgoing else True
        return self.identification == other.identification != b"\0\0" and self.hwaddr != other.hwaddr


class _Copy:
    """A connection that seems to be another one behind NAT. here, there: its client's segments, and the other's."""

    __slots__ = ("here", "kept", "of", "peers", "there")

    def __init__(self, peers: bytes, of: bytes) -> None:
        self.peers = peers
        self.of = of
        self.kept: list[Packet] = []
        self.here: set[int] = set()
        self.there: set[int] = set()


class Copies:
    """`count`: packets that were left out as copies. ports: mail's."""

    def __init__(self, ports: Iterable[int]) -> None:
        self.count = 0
        self._ports = frozenset(port.to_bytes(2, "big") for port in ports)
        self._syns: dict[bytes, _Syn] = {}
        self._copied: dict[bytes, _Copy | None] = {}  # by client and server; None: sure
        self._originals: dict[bytes, _Copy] = {}  # of the unsure ones
        self._questions: dict[bytes, float] = {}

    def originals(self, packet: Packet, time: float) -> Iterable[Packet]:
        """What the engine must read now: the packet; nothing if it is a copy or may be one; or what was kept, too."""
        data = packet.data
        if not packet.tcp:
            return self._question(packet, time)
        start = 20 if data[0] == 0x45 else 40
        if start == 40 and (data[0] >> 4 != 6 or data[6] != 6):
            return (packet,)
        from_client = data[start + 2 : start + 4] in self._ports
        if not from_client and data[start : start + 2] not in self._ports:
            return (packet,)
        if len(data) < start + 20:
            return (packet,)
        middle = 16 if start == 20 else 24
        source = data[start - 2 * (middle - (12 if start == 20 else 8)) : middle] + data[start : start + 2]
        target = data[middle:start] + data[start + 2 : start + 4]
        peers = source + target if from_client else target + source
        if from_client and data[start + 13] & _SYN_MASK == _SYN:
            self._syn(packet, peers, start, time)
        if not self._copied:
            return (packet,)
        return self._follow(packet, peers, start, from_client)

    def finish(self) -> Iterable[Packet]:
        """Nothing follows: what was kept of connections that nothing has shown to be different is copies."""
        for copy in self._copied.values():
            if copy is not None:
                self.count += len(copy.kept)
        self._copied.clear()
        return ()

    def _syn(self, packet: Packet, peers: bytes, start: int, time: float) -> None:
        data = packet.data
        syn = _Syn(packet, peers, time)
        # NAT64 keeps the last bytes of the server's address.
        key = data[start - 4 : start] + data[start + 2 : start + 8] + data[start + 12 : start + 16]
        known = self._syns.get(key)
        if known is not None and known.peers != peers and abs(time - known.time) <= APART_S:
            copied = known.copied_by(syn)
            if copied:
                self._begin(peers, known.peers)
                return
            if copied is None:
                self._begin(known.peers, peers)
        elif known is not None and known.peers == peers:
            known.time = time  # sent again
            return
        self._end(peers)
        self._syns[key] = syn
        if len(self._syns) > _RECENT:
            del self._syns[next(iter(self._syns))]

    def _begin(self, peers: bytes, of: bytes) -> None:
        if peers in self._copied or of in self._copied:
            return
        copy = _Copy(peers, of)
        self._copied[peers] = self._originals[of] = copy
        if len(self._copied) > _COPIED:
            self._end(next(iter(self._copied)))
        if len(self._originals) > _UNSURE:
            self._confirm(next(iter(self._originals.values())))

    def _end(self, peers: bytes) -> None:
        copy = self._copied.pop(peers, None)
        if copy is not None:
            self.count += len(copy.kept)
            self._originals.pop(copy.of, None)

    def _confirm(self, copy: _Copy) -> None:
        self.count += len(copy.kept)
        self._copied[copy.peers] = None
        self._originals.pop(copy.of, None)

    def _follow(self, packet: Packet, peers: bytes, start: int, from_client: bool) -> Iterable[Packet]:
        original = self._originals.get(peers)
        if original is not None and from_client:
            self._compare(original, original.there, original.here, packet.data, start)
        if peers not in self._copied:
            return (packet,)
        copy = self._copied[peers]
        if copy is None:
            self.count += 1
            return ()
        copy.kept.append(packet)
        if from_client and self._compare(copy, copy.here, copy.there, packet.data, start):
            return ()
        if len(copy.here) < _DIFFERENT and len(copy.kept) < _KEPT:
            return ()
        del self._copied[peers]
        self._originals.pop(copy.of, None)
        return copy.kept

    def _compare(self, copy: _Copy, mine: set[int], others: set[int], data: bytes, start: int) -> bool:
        """Notes a segment with content; whether the other connection has carried it, too."""
        payload = data[start + (data[start + 12] >> 4) * 4 :]
        if not payload or len(mine) >= _KEPT:
            return False
        segment = hash((data[start + 4 : start + 8], payload))
        mine.add(segment)
        if segment not in others:
            return False
        self._confirm(copy)
        return True

    def _question(self, packet: Packet, time: float) -> Iterable[Packet]:
        """A DNS question, or anything else that is not TCP. A resolver asks again after a second or later."""
        data = packet.data
        four = data[0] >> 4 == 4
        start = (data[0] & 15) * 4 if four else 40
        if data[9 if four else 6] != 17 or data[start + 2 : start + 4] != b"\0\x35":
            return (packet,)
        key = data[4:8] + data[12:] if four else data[8:]
        before = self._questions.pop(key, None)
        self._questions[key] = time
        if len(self._questions) > _RECENT:
            del self._questions[next(iter(self._questions))]
        if before is not None and abs(time - before) <= QUESTIONS_APART_S:
            self.count += 1
            return ()
        return (packet,)
