"""Mail in random layers: `python -m tests.fuzz.encapsulated [--count N] [--seed S] [--tshark N]`.

A segment to or from port 25 is put into a random chain of tags and tunnels, whose headers scapy builds, and into a
frame of a random link type; some frames are of a kind that nobody can look into, some packets are fragmented. Each
frame must be read to that very segment, with the device's MAC or without one, or be counted by a reason where it
cannot be. What is neither is a silent drop. `--tshark N` also gives N frames to tshark, and compares what it finds.

scapy builds headers only, and is told the number of each next layer by the table of chains: the chain itself is what is
expected. Headers that scapy does not have (L2TP, GTP, Teredo, EtherIP, switch tags, PPP, HDLC, NFLOG) are written here.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.macsec import MACsec
from scapy.contrib.mpls import MPLS
from scapy.contrib.nsh import NSH
from scapy.contrib.tzsp import TZSP
from scapy.layers.dot11 import Dot11, Dot11QoS, RadioTap
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH
from scapy.layers.l2 import GRE, GRE_PPTP, LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1AH, Dot1Q, Ether
from scapy.layers.ppp import PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from cpe_filter.inspect.packet import Segment, parse
from cpe_filter.replay.capture import Frame
from cpe_filter.replay.layers import DEEPEST, Layers
from tests import build

DEVICE, OTHER, OUTER = "02:00:00:00:01:01", "02:00:00:00:00:01", ("02:00:00:00:0a:01", "02:00:00:00:0a:02")
PAYLOADS = (b"", b"EHLO a\r\n", b"MAIL FROM:<a@b.example>\r\n", b"x" * 700, b"y" * 1200)
MOST_WRAPS = 7


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@lru_cache(maxsize=1 << 19)
def head(layer: str, size: int, *values: Any) -> bytes:
    """The header that scapy builds in front of `size` bytes."""
    built: Packet = HEADS[layer](*values)
    whole = bytes(built / Raw(bytes(size))) if size else bytes(built)
    return whole[: len(whole) - size]


def _gre(proto: int, key: bool, seq: bool, chksum: bool) -> Packet:
    return GRE(proto=proto, key_present=key, seqnum_present=seq, chksum_present=chksum)


def _geneve(proto: int, options: int) -> Packet:
    return GENEVE(proto=proto, vni=77, options=[GeneveOptions(data=b"abcd") for _ in range(options)])


#: scapy's layers, with the fields that say what follows.
HEADS: dict[str, Callable[..., Packet]] = {
    "ether": lambda src, dst, kind: Ether(src=src, dst=dst, type=kind),
    "dot3": lambda src, dst, size: Ether(src=src, dst=dst, type=size),
    "llc": lambda: LLC(dsap=0xAA, ssap=0xAA, ctrl=3),
    "snap": lambda kind: SNAP(OUI=0, code=kind),
    "dot1q": lambda kind, vlan: Dot1Q(type=kind, vlan=vlan),
    "dot1ad": lambda kind, vlan: Dot1AD(type=kind, vlan=vlan),
    "dot1ah": lambda: Dot1AH(isid=9),
    "macsec": lambda: MACsec(SC=1, SCI=b"12345678", PN=5),
    "mpls": lambda label, last: MPLS(label=label, s=last, ttl=64),
    "pppoe": lambda size: PPPoE(sessionid=9, len=size),
    "ip": lambda src, dst, proto, number: IP(src=src, dst=dst, proto=proto, id=number, flags="DF"),
    "ip-fragment": lambda src, dst, proto, number, at, more: IP(
        src=src, dst=dst, proto=proto, id=number, frag=at // 8, flags="MF" if more else 0
    ),
    "ip6": lambda src, dst, proto: IPv6(src=src, dst=dst, nh=proto),
    "ah": lambda proto: AH(nh=proto, spi=7, seq=1, payloadlen=4, icv=b"0123456789ab", reserved=0),
    "udp": lambda sport, dport: UDP(sport=sport, dport=dport, chksum=0),
    "gre": _gre,
    "pptp": lambda size: GRE_PPTP(seqnum_present=1, payload_len=size, call_id=3, seqence_number=9),
    "erspan2": lambda: ERSPAN_II(session_id=5, vlan=4),
    "erspan3": lambda: ERSPAN_III(session_id=5),
    "erspan3-platform": lambda: ERSPAN_III(session_id=5, o=1) / ERSPAN_PlatformSpecific(),
    "vxlan": lambda: VXLAN(vni=77, flags=8),
    "geneve": _geneve,
    "tzsp": TZSP,
    "nsh": lambda proto: NSH(nextproto=proto, mdtype=1, context_header=b"\0" * 16),
    "cooked1": lambda kind, src: CookedLinux(pkttype=0, lladdrtype=1, lladdrlen=6, src=src + b"\0\0", proto=kind),
    "cooked2": lambda kind, src: CookedLinuxV2(
        pkttype=0, lladdrtype=1, lladdrlen=6, src=src + b"\0\0", proto=kind, ifindex=2
    ),
    "dot11": lambda a1, a2, a3: Dot11(type=2, subtype=0, FCfield="to_DS", addr1=a1, addr2=a2, addr3=a3),
    "dot11-qos": lambda a1, a2, a3: (
        Dot11(type=2, subtype=8, FCfield="from_DS", addr1=a1, addr2=a2, addr3=a3) / Dot11QoS()
    ),
    "radiotap": RadioTap,
    "tcp": lambda sport, dport, seq, ack, flags: TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, chksum=1),
}


class Inner(NamedTuple):
    """What is in the layers so far. kind: of `data`, an ethertype, or "frame".

    mac: the device's, b"" if an IP tunnel was put around it before any frame, None if neither has been.
    """

    kind: int | str
    data: bytes
    mac: bytes | None
    path: tuple[str, ...] = ()


class Case(NamedTuple):
    """frames: of one packet, several if it is fragmented. readable: whether anyone can look into it."""

    link: int
    frames: list[bytes]
    segment: tuple[bytes, bytes, int, int, int, bytes]
    mac: bytes | None
    readable: bool
    path: tuple[str, ...]


IP4, IP6, VLAN, AD, PPPOE, MPLS_TYPE, AH_TYPE, MACSEC = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x8864, 0x8847, 0x88E7, 0x88E5
TPIDS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)


class Generator:
    """Random cases; the same ones for a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._number = 0

    def case(self) -> Case:
        rng = self.rng
        inner, segment = self._segment()
        for _ in range(rng.randrange(MOST_WRAPS + 1)):
            wraps = [wrap for wrap, kinds in WRAPS if inner.kind in kinds]
            inner = rng.choice(wraps)(self, inner)
            if len(inner.data) > 8000:
                break
        readable = True
        if rng.random() < 0.03:
            inner, readable = self._hidden(inner), False
        if readable and rng.random() < 0.05 and inner.kind == IP4 and inner.path:
            return self._fragmented(inner, segment)
        if inner.kind in (IP4, IP6) and rng.random() < 0.2:
            inner = switch_tag(self, inner)
        link, frame, mac = self._link(inner)
        return Case(link, [frame], segment, mac, readable, (*inner.path, str(link)))

    def _segment(self) -> tuple[Inner, tuple[bytes, bytes, int, int, int, bytes]]:
        rng = self.rng
        six = rng.random() < 0.3
        src, dst = (build.CLIENT6, build.SERVER6) if six else (build.CLIENT, build.SERVER)
        sport, dport, seq, payload = rng.randrange(1024, 65536), 25, rng.getrandbits(32), rng.choice(PAYLOADS)
        if rng.random() < 0.5:
            src, dst, sport, dport = dst, src, dport, sport
        tcp = bytearray(head("tcp", len(payload), 1, 2, 3, 4, "PA"))
        struct.pack_into("!HHI", tcp, 0, sport, dport, seq)
        data = bytes(tcp) + payload
        inner = Inner(0, data, None)
        return self.ip(inner, 6, src, dst), (build.packed(src), build.packed(dst), sport, dport, seq, payload)

    def ip(self, inner: Inner, proto: int, src: str = "", dst: str = "") -> Inner:
        """An IP header; a router's addresses unless others are named."""
        if not src:
            src, dst = self.rng.choice((("10.0.0.1", "10.0.0.2"), ("2001:db8:a::1", "2001:db8:a::2")))
        if ":" in src:
            return Inner(IP6, head("ip6", len(inner.data), src, dst, proto) + inner.data, inner.mac, inner.path)
        number = self.rng.randrange(2)
        return Inner(IP4, head("ip", len(inner.data), src, dst, proto, number) + inner.data, inner.mac, inner.path)

    def put(self, inner: Inner, kind: int | str, name: str, layer: str, *values: Any) -> Inner:
        data = head(layer, len(inner.data), *values) + inner.data
        return Inner(kind, data, inner.mac, (*inner.path, name))

    def over_ip(self, inner: Inner, proto: int, name: str) -> Inner:
        """Behind an IP header. Unless a frame is inside, no MAC is the device's from here on."""
        outer = self.ip(inner, proto)
        return outer._replace(mac=inner.mac or b"", path=(*inner.path, name))

    def over_udp(self, inner: Inner, port: int, name: str) -> Inner:
        data = head("udp", len(inner.data), self.rng.randrange(49152, 49154), port) + inner.data
        return self.over_ip(inner._replace(data=data), 17, name)

    def _hidden(self, inner: Inner) -> Inner:
        """A layer that nobody can look into."""
        rng = self.rng
        secret = bytes(byte ^ 0x5A for byte in inner.data)
        secret += bytes(-len(secret) % 16)
        what = rng.randrange(5)
        hidden = inner._replace(data=struct.pack("!II", 0x1234, 1) + secret)
        if what == 0:
            return self.over_ip(hidden, 50, "esp")
        if what == 1:
            data = struct.pack("<IIQ", 4, 7, 1) + secret
            return self.over_udp(inner._replace(data=data), 51820, "wireguard")
        if what == 2:
            return self.over_ip(hidden, 253, "protocol-253")
        if what == 3:
            return self.over_udp(inner._replace(data=b"\x30abcd1234" + secret), 1194, "openvpn")
        return Inner("frame", head("ether", 0, *OUTER, 0x88B5) + secret, b"", (*inner.path, "ethertype-88b5"))

    def _fragmented(self, inner: Inner, segment: Any) -> Case:
        """As fragments of an IPv4 packet of its own, in a random order."""
        self._number = (self._number + 1) % 0x10000
        size = self.rng.choice((16, 64, 512))
        if len(inner.data) / size > 200:
            size = 512
        starts = list(range(0, len(inner.data), size))
        frames = []
        for at in starts:
            piece = inner.data[at : at + size]
            ip = bytearray(head("ip-fragment", len(piece), "10.0.0.1", "10.0.0.2", 4, 1, at, at != starts[-1]))
            struct.pack_into("!H", ip, 4, self._number)
            frames.append(head("ether", 0, *OUTER, IP4) + bytes(ip) + piece)
        self.rng.shuffle(frames)
        return Case(1, frames, segment, inner.mac, True, (*inner.path, "fragments"))

    def _link(self, inner: Inner) -> tuple[int, bytes, bytes | None]:
        """A frame of a random link type for what is inside, and the MAC that the device then has."""
        rng = self.rng
        if inner.kind == "frame":
            if rng.random() < 0.1:
                return 274, b"\x55" * 7 + b"\xd5" + inner.data, inner.mac
            return 1, inner.data, inner.mac
        kind, data = int(inner.kind), inner.data
        links = [1, 1, 1, 113, 276, 105, 127, 104]
        if kind in (IP4, IP6):
            links += [101, 228 if kind == IP4 else 229, 0, 9, 50, 51, 204, 239, 226]
        link = rng.choice(links)
        device = packed(DEVICE)
        mac = inner.mac if inner.mac is not None else device
        frames: dict[int, Callable[[], bytes]] = {
            1: lambda: head("ether", 0, DEVICE, OTHER, kind) + data,
            113: lambda: head("cooked1", 0, kind, device) + data,
            276: lambda: head("cooked2", 0, kind, device) + data,
            105: lambda: head("dot11", 0, OTHER, DEVICE, OTHER) + head("llc", 0) + head("snap", 0, kind) + data,
            127: lambda: (
                head("radiotap", 0)
                + head("dot11-qos", 0, OTHER, OTHER, DEVICE)
                + head("llc", 0)
                + head("snap", 0, kind)
                + data
            ),
        }
        if link in frames:
            return link, frames[link](), mac
        ppp = struct.pack("!H", 0x21 if kind == IP4 else 0x57) + data
        plain: dict[int, Callable[[], bytes]] = {
            104: lambda: struct.pack("!BBH", 0x0F, 0, kind) + data,
            0: lambda: struct.pack("<I", 2 if kind == IP4 else 30) + data,
            9: lambda: (b"\xff\x03" if rng.random() < 0.5 else b"") + ppp,
            50: lambda: b"\xff\x03" + ppp,
            51: lambda: head("pppoe", 0, len(ppp)) + ppp,
            204: lambda: bytes([rng.randrange(2)]) + b"\xff\x03" + ppp,
            226: lambda: struct.pack("!BBHIIIII", 1, 2 if kind == IP4 else 26, 0, 0, 1, 2, 0, 0)[:24] + data,
            239: lambda: (
                struct.pack("!BBH", 2 if kind == IP4 else 10, 0, 5)
                + struct.pack("<HH", 8, 1)
                + struct.pack("!HBx", kind, 2)
                + struct.pack("<HH", 16, 8)
                + struct.pack("!HH", 6, 0)
                + device
                + b"\0\0"
                + struct.pack("<HH", 4 + len(data), 9)
                + data
            ),
        }
        frame = plain[link]() if link in plain else data
        return link, frame, mac if link == 239 else inner.mac


# ── what can be wrapped around what ─────────────────────────────────────────────────────────────

Wrap = Callable[[Generator, Inner], Inner]
_IP = (IP4, IP6)
_TYPED = (IP4, IP6, VLAN, AD, 0x9100, 0x9200, 0x9300, PPPOE, MPLS_TYPE, AH_TYPE, MACSEC)


def ether(g: Generator, inner: Inner) -> Inner:
    if inner.mac is None:
        return g.put(inner._replace(mac=packed(DEVICE)), "frame", "ether", "ether", DEVICE, OTHER, inner.kind)
    return g.put(inner, "frame", "ether", "ether", *OUTER, inner.kind)


def llc_snap(g: Generator, inner: Inner) -> Inner:
    body = head("llc", 0) + head("snap", 0, inner.kind) + inner.data
    if len(body) > 1500:
        return ether(g, inner)
    whole = ether(g, inner)
    return whole._replace(data=whole.data[:12] + struct.pack("!H", len(body)) + body, path=(*inner.path, "llc"))


def vlan(g: Generator, inner: Inner) -> Inner:
    tpid = g.rng.choice(TPIDS)
    layer = "dot1ad" if tpid == AD else "dot1q"
    return g.put(inner, tpid, f"vlan-{tpid:x}", layer, inner.kind, g.rng.randrange(1, 5))


def switch_tag(g: Generator, inner: Inner) -> Inner:
    """A frame between a switch chip and its host, outside of all else; scapy has none of these tags."""
    rng, mac = g.rng, packed(DEVICE) if inner.mac is None else inner.mac
    tags = {
        "mediatek": bytes([0, 1 << rng.randrange(7), 0, 0]),
        "qualcomm": bytes([0x80, rng.randrange(1, 7)]),
        "broadcom": bytes([rng.choice((0, 0x20)), 0, 0, rng.randrange(1, 9)]),
        "dsa": bytes([rng.choice((0x00, 0x40, 0xC0)) | rng.randrange(8), rng.randrange(8) << 3, 0, 1]),
        "edsa": bytes.fromhex("dada0000c0100001"),
        "realtek-4": bytes.fromhex("8899a001"),
        "realtek-8": bytes.fromhex("8899040000000001"),
    }
    name = rng.choice(sorted(tags))
    ends = packed(DEVICE) + packed(OTHER) if inner.mac is None else packed(OUTER[0]) + packed(OUTER[1])
    ends = ends[6:] + ends[:6]
    data = ends + tags[name] + struct.pack("!H", int(inner.kind)) + inner.data
    return Inner("frame", data, mac, (*inner.path, name))


def macsec(g: Generator, inner: Inner) -> Inner:
    data = struct.pack("!H", int(inner.kind)) + inner.data
    return g.put(inner._replace(data=data), MACSEC, "macsec", "macsec")


def mpls(g: Generator, inner: Inner) -> Inner:
    for number in range(g.rng.choice((1, 2, 3))):
        inner = g.put(inner, MPLS_TYPE, "mpls", "mpls", g.rng.randrange(16, 24), number == 0)
    return inner


def pseudowire(g: Generator, inner: Inner) -> Inner:
    data = (bytes(4) if g.rng.random() < 0.6 else b"") + inner.data
    return mpls(g, inner._replace(data=data, path=(*inner.path, "pseudowire")))


def pppoe(g: Generator, inner: Inner) -> Inner:
    data = struct.pack("!H", 0x21 if inner.kind == IP4 else 0x57) + inner.data
    return g.put(inner._replace(data=data), PPPOE, "pppoe", "pppoe", len(data))


def i_tag(g: Generator, inner: Inner) -> Inner:
    return g.put(inner, AH_TYPE, "802.1ah", "dot1ah")


def ipip(g: Generator, inner: Inner) -> Inner:
    return g.over_ip(inner, 4 if inner.kind == IP4 else 41, "ipip")


def ah(g: Generator, inner: Inner) -> Inner:
    proto = 4 if inner.kind == IP4 else 41
    return g.over_ip(inner._replace(data=head("ah", 0, proto) + inner.data), 51, "ah")


def gre(g: Generator, inner: Inner) -> Inner:
    kind = 0x6558 if inner.kind == "frame" else inner.kind
    flags = [g.rng.random() < 0.4 for _ in range(3)]
    return g.over_ip(inner._replace(data=head("gre", len(inner.data), kind, *flags) + inner.data), 47, "gre")


def pptp(g: Generator, inner: Inner) -> Inner:
    ppp = (b"\xff\x03" if g.rng.random() < 0.5 else b"") + struct.pack("!H", 0x21 if inner.kind == IP4 else 0x57)
    data = ppp + inner.data
    return g.over_ip(inner._replace(data=head("pptp", 0, len(data)) + data), 47, "pptp")


def erspan(g: Generator, inner: Inner) -> Inner:
    kind = g.rng.choice(("1", "erspan2", "erspan3", "erspan3-platform"))
    if kind == "1":
        data = head("gre", len(inner.data), 0x88BE, False, False, False) + inner.data
    else:
        body = head(kind, len(inner.data)) + inner.data
        data = head("gre", len(body), 0x88BE if kind == "erspan2" else 0x22EB, False, True, False) + body
    return g.over_ip(inner._replace(data=data), 47, f"erspan-{kind}")


def eoip(g: Generator, inner: Inner) -> Inner:
    data = struct.pack("!HHHH", 0x2001, 0x6400, len(inner.data), 7) + inner.data  # MikroTik's; scapy has none
    return g.over_ip(inner._replace(data=data), 47, "eoip")


def etherip(g: Generator, inner: Inner) -> Inner:
    return g.over_ip(inner._replace(data=b"\x30\0" + inner.data), 97, "etherip")


def vxlan(g: Generator, inner: Inner) -> Inner:
    data = head("vxlan", 0) + inner.data
    return g.over_udp(inner._replace(data=data), g.rng.choice((4789, 8472)), "vxlan")


def geneve(g: Generator, inner: Inner) -> Inner:
    kind = 0x6558 if inner.kind == "frame" else inner.kind
    return g.over_udp(inner._replace(data=head("geneve", 0, kind, g.rng.randrange(3)) + inner.data), 6081, "geneve")


def tzsp(g: Generator, inner: Inner) -> Inner:
    tags = b"\0" * g.rng.randrange(2) + (b"\x0a\x01\x05" if g.rng.random() < 0.5 else b"") + b"\x01"
    return g.over_udp(inner._replace(data=head("tzsp", 0)[:4] + tags + inner.data), 37008, "tzsp")


def nsh(g: Generator, inner: Inner) -> Inner:
    proto = {"frame": 3, IP4: 1, IP6: 2}[inner.kind]
    flags = b"\x0c\0\0\x04" + b"\0\0\x4d\0"  # VXLAN-GPE
    return g.over_udp(inner._replace(data=flags + head("nsh", 0, proto) + inner.data), 4790, "nsh")


def l2tp(g: Generator, inner: Inner) -> Inner:
    ppp = b"\xff\x03" + struct.pack("!H", 0x21 if inner.kind == IP4 else 0x57) + inner.data
    flags = g.rng.choice((0x0002, 0x4002, 0x4802, 0x0202))
    data = struct.pack("!H", flags) + (struct.pack("!H", len(ppp) + 8) if flags & 0x4000 else b"")
    data += struct.pack("!HH", 7, 9) + (b"\0\x01\0\0" if flags & 0x0800 else b"")
    data += b"\0\x02ab" if flags & 0x0200 else b""
    return g.over_udp(inner._replace(data=data + ppp), 1701, "l2tp")


def gtp(g: Generator, inner: Inner) -> Inner:
    extended = g.rng.random() < 0.5
    more = b"\0\0\0\x85" + b"\x01\0\x09\0" if extended else b""
    data = struct.pack("!BBHI", 0x34 if extended else 0x30, 255, len(inner.data) + len(more), 7) + more + inner.data
    return g.over_udp(inner._replace(data=data), 2152, "gtp")


def teredo(g: Generator, inner: Inner) -> Inner:
    origin = b"\0\0" + bytes(6) if g.rng.random() < 0.5 else b""
    return g.over_udp(inner._replace(data=origin + inner.data), 3544, "teredo")


def mpls_in_ip(g: Generator, inner: Inner) -> Inner:
    return g.over_ip(inner, 137, "mpls-in-ip")


WRAPS: list[tuple[Wrap, tuple[int | str, ...]]] = [
    (ether, _TYPED),
    (llc_snap, _TYPED),
    (vlan, (IP4, IP6, VLAN, AD, 0x9100, 0x9200, 0x9300, PPPOE, MPLS_TYPE)),
    (macsec, (IP4, IP6, VLAN)),
    (mpls, _IP),
    (pseudowire, ("frame",)),
    (pppoe, _IP),
    (i_tag, ("frame",)),
    (ipip, _IP),
    (ah, _IP),
    (gre, (*_IP, "frame", MPLS_TYPE)),
    (pptp, _IP),
    (erspan, ("frame",)),
    (eoip, ("frame",)),
    (etherip, ("frame",)),
    (vxlan, ("frame",)),
    (geneve, ("frame", IP4, IP6)),
    (tzsp, ("frame",)),
    (nsh, ("frame", IP4, IP6)),
    (l2tp, _IP),
    (gtp, _IP),
    (teredo, (IP6,)),
    (mpls_in_ip, (MPLS_TYPE,)),
]


# ── comparing ───────────────────────────────────────────────────────────────────────────────────


class SilentLossError(AssertionError):
    """A frame that was neither read to its segment nor counted."""


def check(case: Case, layers: Layers) -> str:
    """What became of a case: "read" or "counted". Raises `SilentLossError`."""
    before, read = sum(layers.unread.values()), layers.read
    found = None
    for number, frame in enumerate(case.frames):
        found = layers.packet(Frame(float(number % 7), case.link, frame, len(frame)))
    counted = sum(layers.unread.values()) - before
    if layers.read - read + counted != len(case.frames):
        raise SilentLossError(f"{len(case.frames)} frames, {layers.read - read} read, {counted} counted: {case.path}")
    if not case.readable:
        if counted != 1:
            raise SilentLossError(f"cannot be looked into, and was not counted: {case.path}")
        return "counted"
    if counted:
        return "lost"
    segment = parse(found.data) if found else "nothing"
    if not isinstance(segment, Segment):
        raise SilentLossError(f"{segment}: {case.path}")
    got = (segment.src, segment.dst, segment.sport, segment.dport, segment.seq, segment.payload)
    assert found is not None
    if got != case.segment or not found.tcp:
        raise SilentLossError(f"another segment: {case.path}")
    if (found.hwaddr or None) != (case.mac or None):
        raise SilentLossError(f"the MAC {found.hwaddr!r} in place of {case.mac!r}: {case.path}")
    return "read"


def run(count: int, seed: int, progress: bool = False) -> Counter[str]:
    """So many cases; how many were read and how many counted. Raises `SilentLossError`."""
    generator, layers, seen = Generator(seed), Layers(), Counter[str]()
    begun = time.monotonic()
    for number in range(count):
        case = generator.case()
        became = check(case, layers)
        if became == "lost":
            reasons = dict(layers.unread)
            raise SilentLossError(f"readable, but counted as one of {reasons}: {case.path} {case.frames[0].hex()}")
        seen[became] += 1
        seen["frames"] += len(case.frames)
        seen[f"layers {min(len(case.path), DEEPEST)}"] += 1
        if progress and number % 100000 == 99999:
            print(f"{number + 1} packets, {time.monotonic() - begun:.0f} s", flush=True)
    layers.finish()
    if "fragment" in layers.unread:
        raise SilentLossError("fragments remain")
    return seen


def with_tshark(count: int, seed: int) -> tuple[int, list[str]]:
    """How many readable frames tshark reads to the same segment; the paths of those where it finds another or none."""
    generator = Generator(seed)
    by_link: dict[int, list[Case]] = {}
    for _ in range(count):
        case = generator.case()
        if case.readable and len(case.frames) == 1:
            by_link.setdefault(case.link, []).append(case)
    same, others = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for link, cases in by_link.items():
            path = Path(folder, "a.pcap")
            path.write_bytes(build.pcap([(1.0 + n, case.frames[0]) for n, case in enumerate(cases)], link))
            fields = [word for name in ("tcp.srcport", "tcp.dstport", "tcp.seq_raw") for word in ("-e", name)]
            command = ["tshark", "-r", str(path), "-T", "fields", "-E", "occurrence=l", *fields]
            told = subprocess.run(command, capture_output=True, text=True).stdout
            for case, line in zip(cases, told.splitlines(), strict=True):
                if line.split("\t") == [str(number) for number in case.segment[2:5]]:
                    same += 1
                else:
                    others.append(" ".join(case.path))
    return same, others


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tshark", type=int, default=0, metavar="N", help="compare N packets with tshark, too")
    options = parser.parse_args()
    begun = time.monotonic()
    try:
        seen = run(options.count, options.seed, progress=True)
    except SilentLossError as error:
        print(f"silent drop: {error}", file=sys.stderr)
        return 1
    print(f"{options.count} packets in {time.monotonic() - begun:.0f} s, 0 silent drops: {dict(sorted(seen.items()))}")
    if options.tshark:
        same, others = with_tshark(options.tshark, options.seed)
        print(f"tshark reads {same} to the same segment, and {len(others)} not: {Counter(others).most_common(12)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
