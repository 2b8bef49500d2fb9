"""The walk through the layers of a frame: what a layer gets, what it returns, and which number means which layer.

Knows numbers of the registries (IEEE, IANA). Must not know how a layer is laid out (`links`, `network`, `tunnels` do),
files or mail.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

_Unpack = Callable[[bytes, int], tuple[int]]

# Each returns a tuple of one number.
u16: _Unpack = struct.Struct("!H").unpack_from
u32: _Unpack = struct.Struct("!I").unpack_from
u16_le: _Unpack = struct.Struct("<H").unpack_from
u32_le: _Unpack = struct.Struct("<I").unpack_from

#: The layer after the last: nothing below it can carry a device's mail.
DONE = ""
#: The layer of a walk that has found an IP packet with TCP.
TCP = "tcp"
#: An IP fragment: the walk goes on when all of the packet is there.
FRAGMENT = "fragment"


class UnreadError(Exception):
    """What follows cannot be looked into; the reason is one of `reasons`, perhaps with a number."""


class Walk:
    """Where a walk is, and what it has passed.

    hwaddr, to_hwaddr: MACs of sender and receiver, None where the innermost link has none. outgoing: whether a cooked
    frame was sent by the capturing host; None: not known. packet, at: the innermost IP packet begins there. cut: the
    capture has not kept all of the frame. data: the bytes; a layer may put others in their place. frames: how many
    frames these came in. path: the tunnels, outermost first.
    """

    __slots__ = ("at", "cut", "data", "frames", "hwaddr", "outgoing", "packet", "path", "to_hwaddr")

    def __init__(self, data: bytes, cut: bool = False) -> None:
        self.data = data
        self.frames = 1
        self.hwaddr: bytes | None = None
        self.to_hwaddr: bytes | None = None
        self.outgoing: bool | None = None
        self.packet = b""
        self.at = -1
        self.cut = cut
        self.path: list[str] = []

    def routed(self) -> None:
        """A tunnel that routers build: the MACs outside are theirs."""
        self.hwaddr = self.to_hwaddr = None


#: Walk, bytes, where the layer begins -> the next layer, where that begins. Raises `UnreadError`, and IndexError or
#: struct.error where bytes are missing.
Layer = Callable[[Walk, bytes, int], tuple[str, int]]

VLAN_TYPES = frozenset((0x8100, 0x88A8, 0x9100, 0x9200, 0x9300))
ETHERTYPES = {
    0x0800: "ip",
    0x86DD: "ip",
    **dict.fromkeys(VLAN_TYPES, "vlan"),
    0x8864: "pppoe",
    0x8847: "mpls",
    0x8848: "mpls",
    0x880B: "ppp",  # RFC 2784's registry: PPP in GRE
    0x6558: "ethernet",  # transparent Ethernet bridging
    0x88E5: "macsec",
    0x88E7: "i-tag",
    0x893F: "e-tag",
    0x8926: "vn-tag",
    0x8909: "cmd",
    0x892F: "hsr",
    0x894F: "nsh",
    0x22F3: "trill",
    0x4305: "batman",
    0xDADA: "edsa",
    0x8874: "broadcom-legacy",
    0x8899: "realtek",
    0xE001: "rzn1",
}
#: Ethertypes below which no device's mail can be: discovery, control, other network protocols.
QUIET_ETHERTYPES = {
    0x0806: "ARP",
    0x8035: "RARP",
    0x0842: "Wake-on-LAN",
    0x2000: "CDP",
    0x2001: "NHRP",
    0x22EA: "SRP",
    0x22F0: "AVTP",
    0x22F4: "IS-IS",
    0x6002: "DEC MOP",
    0x6003: "DECnet",
    0x6004: "LAT",
    0x8037: "IPX",
    0x809B: "AppleTalk",
    0x80F3: "AARP",
    0x8137: "IPX",
    0x8138: "IPX",
    0x8808: "pause frames",
    0x8809: "LACP",
    0x8863: "PPPoE discovery",
    0x886D: "Intel teaming",
    0x887B: "HomePlug",
    0x888E: "EAPOL",
    0x8892: "PROFINET",
    0x88A4: "EtherCAT",
    0x88B7: "OUI extended",
    0x88CC: "LLDP",
    0x88C7: "802.11 pre-authentication",
    0x88D9: "LLTD",
    0x88DC: "WSMP",
    0x88E1: "HomePlug AV",
    0x88E3: "MRP",
    0x88F5: "MVRP",
    0x88F7: "PTP",
    0x88F8: "NC-SI",
    0x88FB: "PRP supervision",
    0x8902: "CFM",
    0x8906: "FCoE",
    0x890D: "802.11r and TDLS",
    0x8912: "mediaxtream",
    0x8914: "FIP",
    0x893A: "IEEE 1905.1",
    0x9000: "loopback test",
    0x9003: "loop detection",
}
IP_PROTOCOLS = {
    4: "ip-in-ip",
    41: "ip-in-ip",
    6: TCP,
    17: "udp",
    47: "gre",
    50: "esp",
    55: "minimal-ip",
    94: "ip-in-ip",
    97: "etherip",
    108: "ipcomp",
    115: "l2tpv3",
    137: "mpls-in-ip",
    143: "ethernet",
}
#: IP protocols that carry no device's mail: routing, control, other transports (SMTP is specified over TCP).
QUIET_PROTOCOLS = frozenset(
    (1, 2, 3, 8, 9, 33, 36, 46, 54, 58, 59, 81, 82, 88, 89, 103, 111, 112, 113, 123, 124, 131, 132, 134, 136, 138, 139)
)
PPP_PROTOCOLS = {
    0x0021: "ip",
    0x0057: "ip",
    0x0031: "bcp",
    0x003D: "multilink",
    0x0281: "mpls",
    0x0283: "mpls",
    0x00FB: "ppp-compressed",
    0x00FD: "ppp-compressed",
    0x0051: "ppp-encrypted",
    0x0053: "ppp-encrypted",
    0x0055: "ppp-encrypted",
    0x002D: "van-jacobson",
    0x002F: "van-jacobson",
    0x0061: "van-jacobson",
    0x0063: "van-jacobson",
    0x0065: "van-jacobson",
    0x0067: "van-jacobson",
    0x0069: "van-jacobson",
    0x0003: "van-jacobson",
    0x0005: "van-jacobson",
    0x2003: "van-jacobson",
}


def by_ethertype(kind: int, at: int) -> tuple[str, int]:
    """The layer that an ethertype announces at `at`."""
    layer = ETHERTYPES.get(kind)
    if layer is not None:
        return layer, at
    if kind in QUIET_ETHERTYPES:
        return DONE, at
    raise UnreadError("ethertype", kind)


#: The most bytes that a network adds behind a short packet: IEEE 802.3's least payload, and a check sequence.
_PADDING = 50


def looks_like_ip(data: bytes, at: int) -> bool:
    """Whether an IP header and nothing else begins at `at`: for layers that do not say what they carry."""
    rest = len(data) - at
    if rest < 20:
        return False
    if data[at] >> 4 == 4:
        size = (data[at] & 15) * 4
        total = u16(data, at + 2)[0]
        if size < 20 or rest < size or total < size:
            return False
        if not u16(data, at + 10)[0]:  # its checksum is left to the network card
            return 0 <= rest - total <= _PADDING
        words: tuple[int, ...] = struct.unpack_from(f"!{size // 2}H", data, at)
        return sum(words) % 0xFFFF == 0
    if data[at] >> 4 == 6 and rest >= 40:
        return 0 <= rest - 40 - u16(data, at + 4)[0] <= _PADDING and (
            data[at + 6] in IP_PROTOCOLS or data[at + 6] in QUIET_PROTOCOLS or data[at + 6] in (0, 43, 44, 51, 60)
        )
    return False


#: Tags that `looks_like_type` follows.
_TAGS = 10


def looks_like_type(data: bytes, at: int) -> bool:
    """Whether an ethertype is at `at`, and what it announces follows."""
    for _ in range(_TAGS):
        if at + 4 > len(data):
            return False
        kind = u16(data, at)[0]
        if kind in (0x0800, 0x86DD):
            return looks_like_ip(data, at + 2) and (data[at + 2] >> 4 == 4) == (kind == 0x0800)
        if kind == 0x0806:
            return data[at + 2 : at + 8] == b"\x00\x01\x08\x00\x06\x04"
        if kind == 0x8864:
            return data[at + 2 : at + 4] == b"\x11\x00" and data[at + 8 : at + 10] in (b"\x00\x21", b"\x00\x57")
        if kind in VLAN_TYPES:
            at += 4
        elif data[at + 2 : at + 8] == b"\xaa\xaa\x03\0\0\0":
            at += 8
        else:
            return False
    return False


def looks_like_ethernet(data: bytes, at: int) -> int:
    """How much an Ethernet frame seems to begin at `at`: 2 if it makes sense to the IP packet, 1 if its type does."""
    if looks_like_type(data, at + 12):
        return 2
    if at + 17 > len(data):
        return 0
    kind = u16(data, at + 12)[0]
    if kind in ETHERTYPES or kind in QUIET_ETHERTYPES:
        return 1
    return int(data[at + 14 : at + 17] in (b"\xaa\xaa\x03", b"\x42\x42\x03"))
