"""Link layers: what LINKTYPE numbers mean, and how Ethernet, its tags, PPP, HDLC and cooked frames are laid out.

Knows layouts (IEEE 802, RFC 1661, tcpdump.org/linktypes.html). Must not know IP or files. Wireless links are in
`wireless`.
"""

from __future__ import annotations

from cpe_filter.replay.walk import (
    DONE,
    ETHERTYPES,
    PPP_PROTOCOLS,
    QUIET_ETHERTYPES,
    Layer,
    UnreadError,
    Walk,
    by_ethertype,
    looks_like_ip,
    looks_like_type,
    u16,
    u32_le,
)

#: LINKTYPE -> the name for people, the first layer.
LINK_TYPES = {
    0: ("BSD loopback", "loopback"),
    1: ("Ethernet", "ethernet"),
    9: ("PPP", "ppp"),
    12: ("raw IP", "ip"),
    14: ("raw IP", "ip"),
    50: ("PPP in HDLC-like framing", "ppp-or-hdlc"),
    51: ("PPPoE", "pppoe"),
    100: ("ATM (RFC 1483)", "llc"),
    101: ("raw IP", "ip"),
    104: ("Cisco HDLC", "hdlc"),
    105: ("IEEE 802.11", "802.11"),
    106: ("ATM CLIP", "llc"),
    107: ("Frame Relay", "frame-relay"),
    108: ("OpenBSD loopback", "loopback"),
    109: ("OpenBSD enc", "enc"),
    112: ("Cisco HDLC", "hdlc"),
    113: ("Linux cooked v1", "cooked1"),
    117: ("PF log", "pflog"),
    119: ("IEEE 802.11 with Prism header", "prism"),
    127: ("IEEE 802.11 with radiotap", "radiotap"),
    149: ("Apple PKTAP", "pktap"),
    163: ("IEEE 802.11 with AVS header", "avs"),
    166: ("pppd", "pppd"),
    192: ("PPI", "ppi"),
    204: ("PPP with direction", "ppp-direction"),
    205: ("Cisco HDLC with direction", "hdlc-direction"),
    206: ("Frame Relay with direction", "frame-relay-direction"),
    219: ("MPLS", "mpls"),
    226: ("Solaris IPNET", "ipnet"),
    228: ("raw IPv4", "ip"),
    229: ("raw IPv6", "ip"),
    239: ("NFLOG", "nflog"),
    240: ("NetANALYZER", "netanalyzer"),
    241: ("NetANALYZER transparent", "netanalyzer-transparent"),
    258: ("Apple PKTAP", "pktap"),
    274: ("Ethernet mPacket", "mpacket"),
    276: ("Linux cooked v2", "cooked2"),
    281: ("Broadcom switch tag", "tag-4"),
    282: ("Broadcom switch tag in front", "prepended-4"),
    284: ("Marvell DSA", "tag-4"),
    285: ("Marvell EDSA", "tag-8"),
}
_ETHERNET = 1  # ARPHRD_ETHER, linux/if_arp.h


def ethernet(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    kind = u16(data, at + 12)[0]
    walk.to_hwaddr, walk.hwaddr = data[at : at + 6], data[at + 6 : at + 12]
    if kind in ETHERTYPES or (kind in QUIET_ETHERTYPES and kind not in _BEHIND_LLC):
        return by_ethertype(kind, at + 14)
    # A tag of a switch chip may look like a length, or like a type that is rare on Ethernet.
    size = _switch_tag(data, at + 12)
    if size:
        return by_ethertype(u16(data, at + 12 + size)[0], at + 14 + size)
    if _is_length(walk, kind, len(data) - at - 14):
        return "llc", at + 14
    raise UnreadError("ethertype", kind)


def _is_length(walk: Walk, kind: int, rest: int) -> bool:
    """IEEE 802.3: a length. Short frames are padded to 60 bytes; a check sequence may follow."""
    return 3 <= kind <= 1500 and (walk.cut or kind <= rest <= max(kind, 46) + 4)


#: Types that occur on Ethernet behind LLC alone. CDP's looks like a tag of Broadcom's.
_BEHIND_LLC = frozenset((0x2000, 0x2001))
#: How many bytes the tags of switch chips take between the addresses and the ethertype.
_TAG_SIZES = (2, 4, 6, 8)


def _switch_tag(data: bytes, at: int) -> int:
    """The size of a tag without an ethertype (MediaTek, Qualcomm, Broadcom, Marvell DSA); 0 if none makes sense.

    Where a VLAN tag follows, a size makes sense with it and without it; the packet is the same.
    """
    return next((size for size in _TAG_SIZES if looks_like_type(data, at + size)), 0)


def _tag(size: int) -> Layer:
    """A tag of `size` bytes behind its own ethertype; another ethertype follows."""

    def tag(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
        at += size
        return _after_type(walk, data, at)

    return tag


def _after_type(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """An ethertype or, in its place, the length of an LLC frame."""
    kind = u16(data, at)[0]
    return ("llc", at + 2) if _is_length(walk, kind, len(data) - at - 2) else by_ethertype(kind, at + 2)


def _link_tag(size: int) -> Layer:
    """An Ethernet frame whose link type says that a tag of `size` bytes follows the addresses."""

    def tag(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
        walk.to_hwaddr, walk.hwaddr = data[at : at + 6], data[at + 6 : at + 12]
        return _after_type(walk, data, at + 12 + size)

    return tag


def realtek(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """Protocol 4 has 8 bytes with its ethertype (RTL8365MB), protocol 9 or 0xA in the upper nibble 4 (RTL8366)."""
    if data[at] == 4:
        return _after_type(walk, data, at + 6)
    if data[at] >> 4 in (9, 0xA) or looks_like_type(data, at + 2):
        return _after_type(walk, data, at + 2)
    if data[at] in (1, 2, 3, 0x23):  # RRCP, echoes, loop detection
        return DONE, at
    raise UnreadError("ethertype", 0x8899)


def _prepended(size: int) -> Layer:
    def prepended(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
        return "ethernet", at + size

    return prepended


def llc(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """IEEE 802.2, and SNAP."""
    dsap, ssap, control = data[at], data[at + 1], data[at + 2]
    if dsap == 0xAA and ssap == 0xAA and control == 3:
        oui = data[at + 3 : at + 6]
        kind = u16(data, at + 6)[0]
        if oui in (b"\0\0\0", b"\0\0\xf8"):
            return by_ethertype(kind, at + 8)
        if oui == b"\0\x80\xc2":  # bridged (RFC 2684): 1 and 7 Ethernet, with and without its check sequence
            if kind in (1, 7):
                return "ethernet", at + 10
            return DONE, at
        if oui == b"\0\0\x0c":  # CDP, VTP, DTP, PVST+
            return DONE, at
        raise UnreadError("SNAP OUI", int.from_bytes(oui, "big"))
    if dsap == 6 and control == 3:  # RFC 1042's older form
        return "ip", at + 3
    if dsap == 0xFE and ssap == 0xFE and control == 3:
        return _nlpid(data, at + 3)
    if dsap in _QUIET_ACCESS_POINTS or control & 0xEF in _TESTS:
        return DONE, at
    raise UnreadError("LLC", dsap)


#: Protocols that carry no device's mail: SNA, spanning tree, Banyan, IPX, NetBIOS, LAN management, ISO, and others.
_QUIET_ACCESS_POINTS = frozenset(
    bytes.fromhex("02 03 04 05 08 0c 0e 18 42 4e 7e 80 86 8e 98 bc c8 d4 dc e0 ec f0 f4 f5 f8 fa fc fe ff")
)
#: XID and TEST, without the poll bit.
_TESTS = (0xAF, 0xE3)


def _nlpid(data: bytes, at: int) -> tuple[str, int]:
    """ISO's number of a network layer protocol (ISO 9577)."""
    kind = data[at]
    if kind in (0xCC, 0x8E):
        return "ip", at + 1
    if kind == 0x80:
        return "snap", at + 1
    if kind == 0xCF:
        return "ppp", at + 1
    if kind in (0x81, 0x82, 0x83, 0x08, 0xB1, 0xB2):  # ISO CLNP, ES-IS, IS-IS, Q.933, FRF
        return DONE, at
    raise UnreadError("NLPID", kind)


def snap(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    if data[at : at + 3] == b"\0\0\0":
        return by_ethertype(u16(data, at + 3)[0], at + 5)
    if data[at : at + 3] == b"\0\x80\xc2" and u16(data, at + 3)[0] in (1, 7):
        return "ethernet", at + 5
    raise UnreadError("SNAP OUI", int.from_bytes(data[at : at + 3], "big"))


def frame_relay(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 2427; an address of 2 to 4 bytes, of which the last is odd. Cisco's has an ethertype behind it."""
    end = at + 1
    while not data[end] & 1:
        end += 1
        if end > at + 3:
            raise UnreadError("damaged")
    end += 1
    if data[end] == 3:
        end += 1
        return _nlpid(data, end + 1 if data[end] == 0 else end)
    return by_ethertype(u16(data, end)[0], end + 2)


def vlan(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    return _after_type(walk, data, at + 2)


def macsec(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """IEEE 802.1AE: readable where it only protects integrity."""
    flags = data[at]
    if flags & 0x0C:
        raise UnreadError("macsec")
    return _after_type(walk, data, at + (14 if flags & 0x20 else 6))


def trill(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    return "ethernet", at + 6 + (u16(data, at)[0] >> 6 & 31) * 4


_B_UNICAST, _B_UNICAST4, _B_BROADCAST = 0x40, 0x42, 1


def batman(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """batman-adv, compatibility version 15 (linux/batadv_packet.h)."""
    kind = data[at]
    if data[at + 1] != 15:
        raise UnreadError("batman-adv", data[at + 1])
    if kind in (_B_UNICAST, _B_UNICAST4, _B_BROADCAST):
        return "ethernet", at + {_B_UNICAST: 10, _B_UNICAST4: 18, _B_BROADCAST: 14}[kind]
    if kind in (0x41, 2):  # fragments; network coding
        raise UnreadError("batman-adv", kind)
    return DONE, at


def pppoe(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 2516, the session stage."""
    if data[at + 1]:
        return DONE, at
    return _ppp_protocol(data, at + 6)


def ppp(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 1661, with or without the address and control of RFC 1662."""
    return _ppp_protocol(data, at + 2 if data[at] == 0xFF and data[at + 1] == 3 else at)


def _ppp_protocol(data: bytes, at: int) -> tuple[str, int]:
    if data[at] & 1:  # compressed to one byte
        kind, at = data[at], at + 1
    else:
        kind, at = u16(data, at)[0], at + 2
    layer = PPP_PROTOCOLS.get(kind)
    if layer is not None:
        return layer, at
    if kind >= 0x8000 or kind in (0x0023, 0x0025, 0x0027, 0x0029, 0x002B, 0x003F, 0x0049, 0x004B, 0x004D):
        return DONE, at  # control protocols; OSI, DECnet, AppleTalk, IPX, NetBIOS, SNA
    raise UnreadError("PPP protocol", kind)


def multilink(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 1990, numbers of 24 bits: a packet that begins and ends here is whole."""
    if data[at] != 0xC0:
        raise UnreadError("ppp-multilink")
    return "ppp", at + 4


def bcp(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 3518: Ethernet frames."""
    if data[at + 1] != 1:
        return DONE, at
    return "ethernet", at + 2


def _unread(reason: str) -> Layer:
    def unread(_walk: Walk, _data: bytes, _at: int) -> tuple[str, int]:
        raise UnreadError(reason)

    return unread


def ppp_or_hdlc(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    if data[at] in (0x0F, 0x8F):
        return hdlc(walk, data, at)
    return ppp(walk, data, at)


def pppd(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """The direction in place of the address: 0 in, 1 out."""
    return _ppp_protocol(data, at + 2 if data[at + 1] == 3 else at + 1)


def _skip(size: int, layer: str) -> Layer:
    def skip(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
        if at + size > len(data):
            raise IndexError
        return layer, at + size

    return skip


def hdlc(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    return by_ethertype(u16(data, at + 2)[0], at + 4)


def cooked1(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    kind, hardware, size, protocol = (u16(data, at + offset)[0] for offset in (0, 2, 4, 14))
    walk.outgoing = kind == 4
    if hardware == _ETHERNET and size == 6:
        walk.hwaddr = data[at + 6 : at + 12]
    return _cooked(data, at + 16, hardware, protocol)


def cooked2(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    protocol, hardware = u16(data, at)[0], u16(data, at + 8)[0]
    walk.outgoing = data[at + 10] == 4
    if hardware == _ETHERNET and data[at + 11] == 6:
        walk.hwaddr = data[at + 12 : at + 18]
    return _cooked(data, at + 20, hardware, protocol)


#: Linux, at the port to a switch chip (ETH_P_DSA, ETH_P_XDSA): but for its first two bytes the tag is still there.
_TAGGED = (0x001B, 0x00F8)


def _cooked(data: bytes, at: int, hardware: int, protocol: int) -> tuple[str, int]:
    """What a protocol number means depends on the hardware (LINKTYPE_LINUX_SLL)."""
    if hardware == 824:  # netlink
        return DONE, at
    if hardware in (778, 823):  # GRE over IPv4, IPv6: the protocol is GRE's
        return by_ethertype(protocol, at)
    if hardware in (801, 802, 803):
        return {801: "802.11", 802: "prism", 803: "radiotap"}[hardware], at
    if protocol == 1:  # 802.3 without LLC: IPX
        return DONE, at
    if protocol == 4:
        return "llc", at
    if protocol in (0x000C, 0x000D):  # CAN
        return DONE, at
    if not protocol and looks_like_ip(data, at):
        return "ip", at
    if protocol in _TAGGED:
        for size in _TAG_SIZES:
            if looks_like_type(data, at + size - 2):
                return by_ethertype(u16(data, at + size - 2)[0], at + size)
    return by_ethertype(protocol, at)


def loopback(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """The address family, in the byte order of the capturing host: 2 IPv4; 24, 28 and 30 IPv6; 10 on Linux."""
    family = u32_le(data, at)[0]
    family = family if family < 256 else int.from_bytes(data[at : at + 4], "big")
    if family in (2, 10, 24, 28, 30):
        return "ip", at + 4
    if family in (7, 16, 17, 18, 23, 26):  # ISO, AppleTalk, IPX, and others that are not IP
        return DONE, at
    # Some systems write the protocol, or nothing that fits.
    if looks_like_ip(data, at + 4):
        return "ip", at + 4
    raise UnreadError("address family", family)


def enc(_walk: Walk, _data: bytes, at: int) -> tuple[str, int]:
    """OpenBSD's view of packets before and after IPsec: family, SPI, flags."""
    return "ip", at + 12


def pflog(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    return "ip", at + (data[at] + 3) // 4 * 4


def ipnet(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    if data[at] != 1:
        raise UnreadError("damaged")
    return "ip", at + 24


_NF_PACKET_HEADER, _NF_OUTDEV, _NF_INDEV, _NF_HWADDR, _NF_PAYLOAD = 1, 5, 4, 8, 9


def nflog(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """Attributes of nfnetlink_log, in the capturing host's byte order; the payload is the last."""
    family = data[at]
    at += 4
    little = u16(data, at)[0] > len(data) or not u16(data, at)[0]
    order = "little" if little or data[at] else "big"
    protocol = 0
    devices = set()
    while True:
        size = int.from_bytes(data[at : at + 2], "little" if order == "little" else "big")
        kind = int.from_bytes(data[at + 2 : at + 4], "little" if order == "little" else "big") & 0x7FFF
        if at + 4 > len(data):
            raise IndexError
        if size < 4:
            raise UnreadError("damaged")
        if kind == _NF_PACKET_HEADER:
            protocol = u16(data, at + 4)[0]
        elif kind == _NF_HWADDR and u16(data, at + 4)[0] == 6:
            walk.hwaddr = data[at + 8 : at + 14]
        elif kind in (_NF_INDEV, _NF_OUTDEV):
            devices.add(kind)
        elif kind == _NF_PAYLOAD:
            break
        at += (size + 3) // 4 * 4
    walk.outgoing = devices == {_NF_OUTDEV}
    if family in (2, 10) or protocol in (0, 0x0800, 0x86DD):
        return "ip", at + 4
    return by_ethertype(protocol, at + 4)


def pktap(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """Darwin's header, little-endian: length, type (1: a packet), LINKTYPE of what follows."""
    size, kind, link = (u32_le(data, at + offset)[0] for offset in (0, 4, 8))
    if size < 108 or size > 4096 or kind > 1:
        raise UnreadError("damaged")
    if not kind:
        return DONE, at
    return _link(link), at + size


def _link(number: int) -> str:
    """The first layer of a link type that another layer names."""
    # 12 and 14 are raw IP in some systems' DLT numbers, as in LINKTYPE.
    found = LINK_TYPES.get(number)
    if found is None:
        raise UnreadError("link type", number)
    return found[1]


def ppi(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    size, link = data[at + 2] | data[at + 3] << 8, u32_le(data, at + 4)[0]
    if size < 8:
        raise UnreadError("damaged")
    return _link(link), at + size


LAYERS: dict[str, Layer] = {
    "ethernet": ethernet,
    "llc": llc,
    "snap": snap,
    "frame-relay": frame_relay,
    "frame-relay-direction": _skip(1, "frame-relay"),
    "vlan": vlan,
    "macsec": macsec,
    "i-tag": _skip(4, "ethernet"),
    "e-tag": _tag(6),
    "vn-tag": _tag(4),
    "cmd": _tag(6),
    "hsr": _tag(4),
    "trill": trill,
    "batman": batman,
    "edsa": _tag(6),
    "broadcom-legacy": _tag(4),
    "rzn1": _tag(6),
    "realtek": realtek,
    "tag-4": _link_tag(4),
    "tag-8": _link_tag(8),
    "prepended-4": _prepended(4),
    "netanalyzer": _skip(4, "ethernet"),
    "netanalyzer-transparent": _skip(12, "ethernet"),
    "mpacket": _skip(8, "ethernet"),
    "pppoe": pppoe,
    "ppp": ppp,
    "ppp-or-hdlc": ppp_or_hdlc,
    "ppp-direction": _skip(1, "ppp"),
    "pppd": pppd,
    "bcp": bcp,
    "multilink": multilink,
    "ppp-compressed": _unread("ppp-compressed"),
    "ppp-encrypted": _unread("ppp-encrypted"),
    "van-jacobson": _unread("van-jacobson"),
    "hdlc": hdlc,
    "hdlc-direction": _skip(1, "hdlc"),
    "cooked1": cooked1,
    "cooked2": cooked2,
    "loopback": loopback,
    "enc": enc,
    "pflog": pflog,
    "ipnet": ipnet,
    "nflog": nflog,
    "pktap": pktap,
    "ppi": ppi,
}
