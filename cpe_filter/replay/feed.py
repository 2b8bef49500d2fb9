"""Frames -> the engine, and what became of each.

Knows layers, copies and the engine. Must not judge, and must not know files.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.engine import FORWARD, Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.replay.capture import Frame
from cpe_filter.replay.copies import Copies
from cpe_filter.replay.layers import Layers, Packet
from cpe_filter.replay.reasons import meaning


class Feed:
    """Of one capture. count: frames. cut: of these, how many the capture has not kept whole; cut_mail: with mail."""

    def __init__(self, engine: Engine) -> None:
        self.count = self.cut = self.cut_mail = 0
        self.layers = Layers()
        self.copies = Copies(engine.policy.network.ports)
        #: The capture is damaged: how much is missing is not known.
        self.damaged = False
        self._engine = engine
        self._refused = 0

    def frame(self, frame: Frame, now: float) -> None:
        """now: seconds, never going back."""
        self.count += 1
        cut = len(frame.data) < frame.length
        self.cut += cut
        packet = self.layers.packet(frame)
        if packet is None:
            return
        for original in self.copies.originals(packet, now):
            self._packet(original, now, cut)

    def finish(self) -> None:
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
