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
#: SYNs and questions that are remembered; copied connections; those that are not sure yet.
_RECENT, _COPIED, _UNSURE = 4096, 1 << 16, 4096
#: Packets that are kept of one that is not sure, and bytes of all of them.
_KEPT, _KEPT_BYTES = 12, 4 << 20
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
        self._copied: dict[bytes, None] = {}  # by client and server: these are copies
        self._unsure: dict[bytes, _Copy] = {}  # these may be
        self._originals: dict[bytes, list[_Copy]] = {}  # by the other connection: the unsure ones
        self._kept = 0
        self._questions: dict[bytes, float] = {}

    def originals(self, packet: Packet, time: float) -> Iterable[Packet]:
        """What the engine must read now: the packet; nothing if it is a copy or may be one; or what was kept, too."""
        data = packet.data
        if not packet.tcp:
            return self._question(packet, time)
        start = 20 if data[0] == 0x45 else 40
        nothing_copied = not (self._copied or self._unsure)
        if nothing_copied and len(data) >= start + 20 and data[start + 13] & _SYN_MASK != _SYN:
            return (packet,)  # nearly always
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
        if peers in self._copied:
            self.count += 1
            return ()
        return self._follow(packet, peers, start, from_client) if self._unsure else (packet,)

    def finish(self) -> None:
        """Nothing follows: what was kept of connections that nothing has shown to be different is copies."""
        self.count += sum(len(copy.kept) for copy in self._unsure.values())
        self._unsure.clear()

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
        if peers in self._copied or peers in self._unsure:
            return
        copy = self._unsure[peers] = _Copy(peers, of)
        self._originals.setdefault(of, []).append(copy)
        if len(self._unsure) > _UNSURE:
            self._settle(next(iter(self._unsure.values())))

    def _end(self, peers: bytes) -> None:
        self._copied.pop(peers, None)
        copy = self._unsure.get(peers)
        if copy is not None:
            self._settle(copy)

    def _settle(self, copy: _Copy) -> None:
        """What was kept of it is copies; what follows is read."""
        self.count += len(copy.kept)
        self._drop(copy)

    def _drop(self, copy: _Copy) -> None:
        self._kept -= sum(len(packet.data) for packet in copy.kept)
        del self._unsure[copy.peers]
        copies = self._originals[copy.of]
        copies.remove(copy)
        if not copies:
            del self._originals[copy.of]

    def _confirm(self, copy: _Copy) -> None:
        self._settle(copy)
        self._copied[copy.peers] = None
        if len(self._copied) > _COPIED:
            del self._copied[next(iter(self._copied))]

    def _follow(self, packet: Packet, peers: bytes, start: int, from_client: bool) -> Iterable[Packet]:
        if from_client:
            for copy in tuple(self._originals.get(peers, ()))[:_HOPS]:
                self._compare(copy, copy.there, copy.here, packet.data, start)
        own = self._unsure.get(peers)
        if own is None:
            return (packet,)
        own.kept.append(packet)
        self._kept += len(packet.data)
        if from_client and self._compare(own, own.here, own.there, packet.data, start):
            return ()
        if len(own.here) >= _DIFFERENT or len(own.kept) >= _KEPT:
            self._drop(own)
            return own.kept
        if self._kept > _KEPT_BYTES:
            self._settle(next(iter(self._unsure.values())))
        return ()

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
