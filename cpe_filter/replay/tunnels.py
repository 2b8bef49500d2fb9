"""Tunnels: what begins behind an IP header, a UDP header or an MPLS label, and carries frames or packets again.

Knows layouts (RFCs named at each). Must not know links or files. Which UDP port means a tunnel is a guess, because
clients take any port: a datagram whose header does not fit the tunnel is an ordinary datagram.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.replay.walk import (
    DONE,
    IP_PROTOCOLS,
    Layer,
    UnreadError,
    Walk,
    by_ethertype,
    looks_like_ethernet,
    looks_like_ip,
    u16,
    u32,
)

# ── behind IP ────────────────────────────────────────────────────────────────────────────────────


def ip_in_ip(walk: Walk, _data: bytes, at: int) -> tuple[str, int]:
    """RFC 2003, RFC 4213 (6in4), RFC 2473 and RFC 6333 (4in6, DS-Lite)."""
    walk.routed()
    return "ip", at


_C, _R, _K, _S, _A = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
_ERSPAN, _ERSPAN3, _PPTP, _WCCP, _EOIP = 0x88BE, 0x22EB, 0x880B, 0x883E, 0x6400


def gre(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 1701, 2784, 2890; version 1 is PPTP's (RFC 2637) and MikroTik's EoIP."""
    walk.routed()
    flags, kind = u16(data, at)[0], u16(data, at + 2)[0]
    at += 4
    version = flags & 7
    if version == 1:
        return _gre1(flags, kind, data, at)
    if version:
        raise UnreadError("GRE version", version)
    at += 4 * (bool(flags & (_C | _R)) + bool(flags & _K) + bool(flags & _S))
    if flags & _R:
        at = _skip_routing(data, at)
    if kind == _ERSPAN:
        if not flags & _S:  # type I has no header of its own
            return "ethernet", at
        return "erspan", at
    if kind == _WCCP and data[at] >> 4 != 4:
        at += 4
    if kind in (_WCCP, 0x00FE):
        return "ip", at
    if not kind:  # keepalives
        return DONE, at
    return ("erspan3", at) if kind == _ERSPAN3 else by_ethertype(kind, at)


def _gre1(flags: int, kind: int, data: bytes, at: int) -> tuple[str, int]:
    if kind == _EOIP:  # length and tunnel in place of the key
        return ("ethernet", at + 4) if data[at] or data[at + 1] else (DONE, at)
    if kind != _PPTP:
        raise UnreadError("GRE protocol", kind)
    size = u16(data, at)[0]
    at += 4 + (4 if flags & _S else 0) + (4 if flags & _A else 0)
    return ("ppp", at) if size else (DONE, at)


def _skip_routing(data: bytes, at: int) -> int:
    """RFC 1701's source route entries; the last is empty."""
    for _ in range(32):
        size = data[at + 3]
        if not (size or u16(data, at)[0]):
            return at + 4
        at += 4 + size
    raise UnreadError("too-deep")


def erspan(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """Version 1 is type II, 2 is type III (draft-foschiano-erspan)."""
    version = data[at] >> 4
    if version == 1:
        return "ethernet", at + 8
    if version == 2:
        return erspan3(_walk, data, at)
    raise UnreadError("ERSPAN version", version)


def erspan3(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    flags = u16(data, at + 10)[0]
    at += 20 if flags & 1 else 12
    frame_type = flags >> 10 & 31
    if frame_type == 0:
        return "ethernet", at
    if frame_type == 2:
        return "ip", at
    raise UnreadError("ERSPAN frame type", frame_type)


def etherip(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    if data[at] >> 4 != 3:  # RFC 3378
        raise UnreadError("damaged")
    return "ethernet", at + 2


def mpls_in_ip(walk: Walk, _data: bytes, at: int) -> tuple[str, int]:
    walk.routed()
    return "mpls", at


def minimal_ip(_walk: Walk, _data: bytes, _at: int) -> tuple[str, int]:
    raise UnreadError("IP protocol", 55)


def esp(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    u32(data, at)
    raise UnreadError("esp")


def ipcomp(_walk: Walk, _data: bytes, _at: int) -> tuple[str, int]:
    raise UnreadError("ipcomp")


def l2tpv3_session(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """Over UDP: flags and version have been read; the session follows."""
    u32(data, at)
    return _pseudowire(walk, data, at + 4)


def l2tpv3(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 3931 over IP: session 0 is control. How long cookie and sublayer are, both ends know and no header says."""
    if not u32(data, at)[0]:
        return DONE, at
    return _pseudowire(walk, data, at + 4)


#: What `looks_like_ethernet` returns for a frame with an IP packet in it.
_SURE = 2


def _pseudowire(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    walk.routed()
    for size in (0, 4, 8, 12):
        if looks_like_ethernet(data, at + size) == _SURE:
            return "ethernet", at + size
        if data[at + size : at + size + 2] == b"\xff\x03" and looks_like_ip(data, at + size + 4):
            return "ppp", at + size
    for size in (0, 4, 8, 12):
        if looks_like_ip(data, at + size):
            return "ip", at + size
    raise UnreadError("l2tpv3")


# ── MPLS and service headers ─────────────────────────────────────────────────────────────────────


def mpls(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 3032; behind the last label IP, or Ethernet with or without a control word (RFC 4385, RFC 4448)."""
    for _ in range(16):
        label = u32(data, at)[0]
        at += 4
        if label & 0x100:
            break
    else:
        raise UnreadError("too-deep")
    nibble = data[at] >> 4
    plain = looks_like_ethernet(data, at)
    if nibble in (4, 6) and (looks_like_ip(data, at) or not plain):
        return "ip", at
    if nibble == 0:
        # Behind a VLAN tag both make sense: then the bits that RFC 4448 reserves decide.
        control = looks_like_ethernet(data, at + 4)
        return "ethernet", at + 4 if control > plain or (control == plain and not u16(data, at)[0]) else at
    if nibble == 1 and not plain:
        return DONE, at  # an associated channel: tests of the path
    return "ethernet", at


_NSH_NEXT = {1: "ip", 2: "ip", 3: "ethernet", 4: "nsh", 5: "mpls"}


def nsh(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """RFC 8300."""
    size, kind = (data[at + 1] & 0x3F) * 4, data[at + 3]
    if size < 8 or kind not in _NSH_NEXT:
        raise UnreadError("NSH protocol", kind)
    return _NSH_NEXT[kind], at + size


# ── behind UDP: each returns None where the datagram is not the tunnel's ─────────────────────────

_Found = tuple[str, int] | None
#: Bytes, where the datagram's payload begins, where it ends on the wire.
_UdpLayer = Callable[[bytes, int, int], _Found]


def vxlan(data: bytes, at: int, _end: int) -> _Found:
    """RFC 7348, with the extension for generic protocols (draft-ietf-nvo3-vxlan-gpe)."""
    flags = data[at]
    if not flags & 8 or flags & 0x30:
        return None
    if flags & 4:
        kind = data[at + 3]
        if kind not in _NSH_NEXT and not data[at + 1] and not data[at + 2]:
            raise UnreadError("VXLAN protocol", kind)
        return (_NSH_NEXT[kind], at + 8) if kind in _NSH_NEXT else None
    return "ethernet", at + 8


def geneve(data: bytes, at: int, _end: int) -> _Found:
    """RFC 8926."""
    if data[at] >> 6 or data[at + 1] & 0x3F:
        return None
    return by_ethertype(u16(data, at + 2)[0], at + 8 + (data[at] & 63) * 4)


def tzsp(data: bytes, at: int, _end: int) -> _Found:
    """TaZmen's protocol, as MikroTik's sniffer sends it: a header, tags, and a frame."""
    version, kind, carried = data[at], data[at + 1], u16(data, at + 2)[0]
    if version != 1 or kind > 5:
        return None
    if kind > 1:
        return DONE, at
    at += 4
    while (tag := data[at]) != 1:
        at += 1 if not tag else 2 + data[at + 1]
    layer = {1: "ethernet", 18: "802.11", 119: "prism", 127: "avs"}.get(carried)
    if layer is None:
        raise UnreadError("TZSP protocol", carried)
    return layer, at + 1


def l2tp(data: bytes, at: int, _end: int) -> _Found:
    """RFC 2661; version 3 over UDP has RFC 3931's data header."""
    flags = u16(data, at)[0]
    version = flags & 15
    if version not in (2, 3) or flags & 0x34F0:
        return None
    if flags & 0x8000:
        return DONE, at
    if version == 3:
        return "l2tpv3-session", at + 4
    at += 6 + (2 if flags & 0x4000 else 0) + (4 if flags & 0x0800 else 0)
    if flags & 0x0200:
        at += 2 + u16(data, at)[0]
    return "ppp", at


_G_PDU = 255


def gtp(data: bytes, at: int, end: int) -> _Found:
    """GTP-U (3GPP TS 29.281): a header, extensions, and what the phone sends."""
    flags, kind = data[at], data[at + 1]
    if flags & 0xF0 != 0x30:
        return None
    if kind != _G_PDU:
        return DONE, at
    start = at
    at += 8
    if flags & 7:
        extension = data[at + 3] if flags & 4 else 0
        at += 4
        for _ in range(16):
            if not extension:
                break
            size = data[at] * 4
            if not size:
                return None
            extension = data[at + size - 1]
            at += size
    if start + 8 + u16(data, start + 2)[0] > end + 4:
        return None
    return ("ethernet", at) if data[at] >> 4 not in (4, 6) or looks_like_ethernet(data, at) else ("ip", at)


def teredo(data: bytes, at: int, _end: int) -> _Found:
    """RFC 4380: IPv6, perhaps behind an authentication and an origin."""
    if u16(data, at)[0] == 1:
        at += 13 + data[at + 2] + data[at + 3]
    if u16(data, at)[0] == 0:
        at += 8
    return ("ip", at) if data[at] >> 4 == 6 else None


def esp_in_udp(data: bytes, at: int, end: int) -> _Found:
    """RFC 3948: ESP, or IKE behind four zeros; one byte keeps the NAT's entry."""
    if end - at < 8 or not u32(data, at)[0]:
        return DONE, at
    raise UnreadError("esp")


def wireguard(data: bytes, at: int, end: int) -> _Found:
    """Three messages of a handshake have a length each; data is a multiple of 16 bytes."""
    kind, size = data[at : at + 4], end - at
    if kind == b"\x04\0\0\0" and size >= 32 and size % 16 == 0:
        raise UnreadError("wireguard")
    sizes = {b"\x01\0\0\0": 148, b"\x02\0\0\0": 92, b"\x03\0\0\0": 64}
    return (DONE, at) if sizes.get(kind) == size else None


def openvpn(data: bytes, at: int, _end: int) -> _Found:
    """The first byte has an opcode and a key: 6 and 9 are data, 1 to 5, 7, 8, 10 and 11 are control."""
    opcode = data[at] >> 3
    if opcode in (6, 9):
        raise UnreadError("openvpn")
    return (DONE, at) if 1 <= opcode <= 11 else None


def capwap(data: bytes, at: int, _end: int) -> _Found:
    """RFC 5415, the data channel: frames of access points."""
    if data[at] & 15 == 1:
        raise UnreadError("dtls")
    if data[at]:
        return None
    size, flags = (data[at + 1] >> 3) * 4, data[at + 3]
    if size < 8:
        return None
    if flags & 0x08:  # keep-alive
        return DONE, at
    if flags & 0x80:
        raise UnreadError("capwap-fragment")
    return ("802.11" if data[at + 2] & 1 else "ethernet"), at + size


def gue(data: bytes, at: int, _end: int) -> _Found:
    """Generic UDP Encapsulation (draft-ietf-intarea-gue): an IP protocol's number; variant 1 is IP itself."""
    variant = data[at] >> 6
    if variant == 1:
        return "ip", at
    if variant or data[at] & 0x20:
        return None
    layer = IP_PROTOCOLS.get(data[at + 1])
    if layer is None or layer in ("tcp", "udp"):
        return None
    return layer, at + 4 + (data[at] & 31) * 4


def _plain(layer: str, size: int = 0) -> _UdpLayer:
    def plain(_data: bytes, at: int, _end: int) -> _Found:
        return layer, at + size

    return plain


def lisp(data: bytes, at: int, _end: int) -> _Found:
    """RFC 6830."""
    return ("ip", at + 8) if looks_like_ip(data, at + 8) else None


def dtls(data: bytes, at: int, _end: int) -> _Found:
    if data[at] in range(20, 26) and data[at + 1] == 0xFE:
        raise UnreadError("dtls")
    return None


def gre_in_udp(data: bytes, at: int, _end: int) -> _Found:
    """RFC 8086."""
    return None if data[at] & 0x4F or data[at + 1] & 7 else ("gre", at)


#: Port -> what may be behind it.
UDP_PORTS: dict[int, _UdpLayer] = {
    1194: openvpn,
    1701: l2tp,
    2152: gtp,
    3544: teredo,
    4341: lisp,
    4500: esp_in_udp,
    4754: gre_in_udp,
    4755: dtls,
    4789: vxlan,
    4790: vxlan,
    5247: capwap,
    6080: gue,
    6081: geneve,
    6635: _plain("mpls"),
    6636: dtls,
    8472: vxlan,  # Linux's default
    37008: tzsp,
}
#: Both ends of a tunnel's datagrams have a port of this size or the tunnel's own. Below are services, whose clients
#: take any port.
_SERVICES = 1024


#: Bytes that tunnels have before a frame: none, or up to five words (VXLAN, Geneve, L2TPv3 with cookie and sublayer).
_FARTHEST = 20
_TYPE_BYTES = frozenset((0x08, 0x81, 0x86, 0x88, 0x91, 0x92, 0x93))


def _elsewhere(data: bytes, at: int) -> _Found:
    """A tunnel on a port that is not its own: a frame or an IP packet begins here, and its header makes sense."""
    for start in range(at, min(at + _FARTHEST, len(data) - 34) + 1, 4):
        if data[start + 12] in _TYPE_BYTES and looks_like_ethernet(data, start) == _SURE:
            return "ethernet", start
    for start in range(at, min(at + 12, len(data) - 28) + 1, 4):
        if data[start] in (0x45, 0x60) and looks_like_ip(data, start) and _fits(data, start):
            return "ip", start
    return None


def _fits(data: bytes, at: int) -> bool:
    """Whether an IP packet, of TCP or another tunnel, ends where the data ends."""
    four = data[at] == 0x45
    size = u16(data, at + 2)[0] if four else 40 + u16(data, at + 4)[0]
    return at + size == len(data) and data[at + (9 if four else 6)] in IP_PROTOCOLS


def udp(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    source, target, size = u16(data, at)[0], u16(data, at + 2)[0], u16(data, at + 4)[0]
    end = at + size if size >= 8 else len(data)
    at += 8
    if end - at < 4:
        return DONE, at
    for port, other in ((target, source), (source, target)):
        layer = UDP_PORTS.get(port)
        if layer is None or (other < _SERVICES and other != port):
            continue
        found = layer(data, at, end)
        if found is not None:
            if found[0]:
                walk.routed()
                walk.path.append(layer.__name__)
            return found
    found = _elsewhere(data, at)
    if found is not None:
        walk.routed()
        return found
    # WireGuard has no port of its own, but a look of its own.
    return wireguard(data, at, end) or (DONE, at)


LAYERS: dict[str, Layer] = {
    "ip-in-ip": ip_in_ip,
    "gre": gre,
    "erspan": erspan,
    "erspan3": erspan3,
    "etherip": etherip,
    "mpls-in-ip": mpls_in_ip,
    "minimal-ip": minimal_ip,
    "esp": esp,
    "ipcomp": ipcomp,
    "l2tpv3": l2tpv3,
    "l2tpv3-session": l2tpv3_session,
    "mpls": mpls,
    "nsh": nsh,
    "udp": udp,
}
