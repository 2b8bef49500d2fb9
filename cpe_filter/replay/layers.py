"""Frames -> IP packets: walks from the link layer to the innermost packet, and accounts for every frame.

Knows which table has which layer. Must not know files, mail or how layers are laid out. Each frame is read, or counted
by the reason why it cannot be looked into; frames of which fragments are missing wait, and are counted at the end.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from cpe_filter.replay import links, network, tunnels, wireless
from cpe_filter.replay.capture import Frame
from cpe_filter.replay.fragments import Fragments
from cpe_filter.replay.links import LINK_TYPES
from cpe_filter.replay.walk import DONE, FRAGMENT, TCP, Layer, UnreadError, Walk

LAYERS: dict[str, Layer] = {**links.LAYERS, **wireless.LAYERS, **network.LAYERS, **tunnels.LAYERS}
#: Layers of one frame. A hostile one may have thousands of tags.
DEEPEST = 32
#: Reasons that are counted separately; each may have a number behind it, and a hostile capture has all of them.
REASONS = 64
OTHER = "other"


class Packet(NamedTuple):
    """The innermost IP packet of a frame. hwaddr, to_hwaddr: MACs of sender and receiver, None where it has none.

    data: from the IP header on. tcp: whether it carries TCP. outgoing: whether a cooked capture says that its host sent
    it; None: not known. path: the layers, outermost first.
    """

    hwaddr: bytes | None
    to_hwaddr: bytes | None
    data: bytes
    tcp: bool = True
    outgoing: bool | None = None
    path: tuple[str, ...] = ()


class Layers:
    """Reads the frames of one capture. `read` counts frames that were looked into, `unread` the others by reason."""

    def __init__(self) -> None:
        self.read = 0
        self.unread: dict[str, int] = {}
        self._fragments = Fragments()

    def packet(self, frame: Frame) -> Packet | None:
        """The packet in a frame. None if there is none, or not yet, or if it cannot be looked into.

        Raises nothing, whatever the bytes.
        """
        data = frame.data
        # Nearly every frame is this: Ethernet, IPv4 without options, TCP, no fragment.
        if (
            frame.link == 1
            and data[12:15] == b"\x08\0\x45"
            and data[23:24] == b"\x06"
            and not data[20] & 0x3F
            and not data[21]
        ):
            self.read += 1
            return Packet(data[6:12], data[:6], data[14:])
        link = LINK_TYPES.get(frame.link)
        walk = Walk(data, len(data) < frame.length)
        try:
            if link is None:
                raise UnreadError("link type", frame.link)
            found = self._walk(walk, link[1], frame.time)
        except UnreadError as error:
            self.count_unread(reason_of(error), walk.frames)
            return None
        except (IndexError, struct.error):
            self.count_unread("cut" if walk.cut else "damaged", walk.frames)
            return None
        self.read += walk.frames
        return found

    def count_unread(self, reason: str, frames: int) -> None:
        if frames:
            if reason not in self.unread and len(self.unread) >= REASONS:
                reason = OTHER
            self.unread[reason] = self.unread.get(reason, 0) + frames

    def finish(self) -> None:
        """No frame follows: counts those that still wait."""
        self.count_unread("fragment", self._fragments.finish())

    def _walk(self, walk: Walk, layer: str, time: float) -> Packet | None:
        at = 0
        for _ in range(DEEPEST):
            walk.path.append(layer)
            layer, at = LAYERS[layer](walk, walk.data, at)
            if layer == FRAGMENT:
                whole, walk.frames = self._fragments.add(walk.packet[walk.at :], walk.frames, time)
                if whole is None:
                    return None
                walk.data, layer, at = whole, "ip", 0
            if layer in (TCP, DONE):
                if walk.at < 0:
                    return None
                data = walk.packet[walk.at :] if walk.at else walk.packet
                return Packet(walk.hwaddr, walk.to_hwaddr, data, layer == TCP, walk.outgoing, tuple(walk.path))
        raise UnreadError("too-deep")


def reason_of(error: UnreadError) -> str:
    reason, *number = error.args
    return " ".join([reason, *(f"0x{n:04x}" if reason in _HEX else str(n) for n in number)])


_HEX = frozenset(("ethertype", "PPP protocol", "GRE protocol", "SNAP OUI", "LLC", "NLPID"))
