"""Frames -> the engine, and what became of each.

Knows layers, copies and the engine. Must not judge, and must not know files.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.engine import FORWARD, Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.replay.capture import Frame
from cpe_filter.replay.causality import Causality
from cpe_filter.replay.copies import Copies
from cpe_filter.replay.layers import Layers, Packet
from cpe_filter.replay.reasons import meaning

DNS_PORT = 53


def _is_plain_tcp(data: bytes) -> bool:
    """Whether an Ethernet frame has IPv4 without options, and TCP whose lengths agree; the engine would read it."""
    if data[12:15] != b"\x08\0\x45" or len(data) < 54 or data[23] != 6 or data[20] & 0x3F or data[21]:
        return False
    return 40 <= 20 + (data[46] >> 2 & 60) <= (data[16] << 8 | data[17]) <= len(data) - 14


class Feed:
    """Of one capture. count: frames. cut: of these, how many the capture has not kept whole; cut_mail: with mail."""

    def __init__(self, engine: Engine) -> None:
        self.count = self.cut = self.cut_mail = 0
        self.layers = Layers()
        self.copies = Copies(engine.policy.network.ports)
        #: The capture is damaged: how much is missing is not known.
        self.damaged = False
        self._engine = engine
        self._causality = Causality(engine.policy.network.ports)
        self._now = 0.0
        self._refused = 0
        policy = engine.policy
        ports = (*policy.network.ports, policy.explain.port, DNS_PORT)
        self._ports = frozenset(port.to_bytes(2, "big") for port in ports)

    def frame(self, frame: Frame, now: float) -> None:
        """now: seconds, never going back."""
        self.count += 1
        cut = len(frame.data) < frame.length
        self.cut += cut
        data, ports = frame.data, self._ports
        if frame.link == 1 and data[36:38] not in ports and data[34:36] not in ports and _is_plain_tcp(data):
            self.layers.read += 1  # most packets of a whole line: of other ports, and nothing in them counts
            return
        packet = self.layers.packet(frame)
        if packet is None:
            return
        self._now = now
        for original in self.copies.originals(packet, now):
            for ready, was_cut in self._causality.ready((original, cut), now):
                self._packet(ready, now, was_cut)

    def finish(self) -> None:
        for packet, cut in self._causality.finish():
            self._packet(packet, self._now, cut)
        self.copies.finish()
        self.layers.finish()

    def _packet(self, packet: Packet, now: float, cut: bool) -> None:
        engine = self._engine
        hwaddr, to_hwaddr, data, tcp = packet[:4]
        if tcp:
            mail = engine.mail_packets
            engine.packet(PacketTime(now), FORWARD, hwaddr, data, to_hwaddr)
            if engine.mail_packets != mail:
                self.cut_mail += cut
                return
            refused = sum(engine.refusals.values())
            if refused != self._refused:
                self._refused = refused
                self.layers.read -= 1
                self.layers.count_unread("cut" if cut else "damaged", 1)
                return
        engine.on_mx_query(PacketTime(now), hwaddr, data)

    def account(self) -> dict[str, Any]:
        """What became of the packets: `read` and those of `unread` are all; `copies` are of those that were read."""
        unread = sorted(self.layers.unread.items(), key=lambda item: (-item[1], item[0]))
        return {
            "complete": not (unread or self.cut_mail or self.damaged),
            "read": self.layers.read,
            "copies": self.copies.count,
            "cut": self.cut,
            "damaged": self.damaged,
            "unread": [
                {"reason": reason, "packets": number, "meaning": meaning(reason)[0], "advice": meaning(reason)[1]}
                for reason, number in unread
            ],
        }
