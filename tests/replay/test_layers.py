"""Layers: each layout, byte by byte, gives the packet that was put into it; everything else is counted by its reason.

The layouts are written from the specifications. `tests.fuzz.encapsulated` has random chains of them from scapy.
"""

from __future__ import annotations

import struct

import pytest

from cpe_filter.replay.capture import Frame
from cpe_filter.replay.layers import DEEPEST, LAYERS, OTHER, REASONS, Layers, Packet
from cpe_filter.replay.links import LINK_TYPES
from cpe_filter.replay.reasons import REASONS as WORDS
from cpe_filter.replay.reasons import meaning
from cpe_filter.replay.walk import ETHERTYPES, IP_PROTOCOLS, PPP_PROTOCOLS
from tests import build
from tests.build import DEVICE_MAC, ROUTER_MAC

MACS = ROUTER_MAC + DEVICE_MAC
OUTER = bytes.fromhex("0200000000aa0200000000bb")


def with_checksum(packet: bytes) -> bytes:
    """An IPv4 packet with the checksum that a router has put into it."""
    total = sum(struct.unpack("!10H", packet[:20]))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:10] + struct.pack("!H", ~total & 0xFFFF) + packet[12:]


IP = with_checksum(build.session()[4].data)
IP6 = build.session(client=build.CLIENT6, server=build.SERVER6)[4].data
assert IP[9] == 6
FRAME = MACS + b"\x08\0" + IP
SNAP = b"\xaa\xaa\x03\0\0\0\x08\0"
LLC = MACS + struct.pack("!H", len(SNAP + IP)) + SNAP + IP


def ip(proto: int, payload: bytes, six: bool = False) -> bytes:
    return (
        build.ip("2001:db8:a::1", "2001:db8:a::2", proto, payload)
        if six
        else build.ip("10.0.0.1", "10.0.0.2", proto, payload)
    )


def over_ip(proto: int, payload: bytes, six: bool = False) -> bytes:
    return OUTER + (b"\x86\xdd" if six else b"\x08\0") + ip(proto, payload, six)


def over_udp(port: int, payload: bytes, source: int = 50000) -> bytes:
    return OUTER + b"\x08\0" + build.udp("10.0.0.1", "10.0.0.2", source, port, payload)


def gre(head: str, payload: bytes) -> bytes:
    return over_ip(47, bytes.fromhex(head) + payload)


def ethernet(kind: str, payload: bytes = IP) -> bytes:
    """kind: what is between the addresses and the payload, in hexadecimal digits."""
    return MACS + bytes.fromhex(kind) + payload


WIFI = ROUTER_MAC + DEVICE_MAC + ROUTER_MAC + b"\0\0" + SNAP + IP
PAYLOAD = struct.pack("<HH", 4 + len(IP), 9) + IP
_BIG = struct.pack(">HH", 4 + len(IP), 9) + IP
PPP = b"\0\x21" + IP
L2TP = "0002 0007 0009"
#: name -> link type, frame, whether the MAC is the device's.
READ: dict[str, tuple[int, bytes, bool]] = {
    **{f"tag {tpid}": (1, ethernet(f"{tpid}0007 0800"), True) for tpid in ("8100", "88a8", "9100", "9200", "9300")},
    "five tags": (1, ethernet("88a80001" * 2 + "81000001" * 3 + "0800"), True),
    "tags to the bound": (1, ethernet("81000001" * (DEEPEST - 2) + "0800"), True),
    "LLC": (1, LLC, True),
    "LLC behind a tag": (1, ethernet("81000001" + f"{len(SNAP + IP):04x}", SNAP + IP), True),
    "PPPoE": (1, ethernet("8864 1100 002a 0100", PPP), True),
    "PPPoE behind tags": (1, ethernet("81000001 88a80002 8864 1100 002a 0100", PPP), True),
    "PPPoE with a compressed protocol": (1, ethernet("8864 1100 002a 0100 21"), True),
    "MPLS": (1, ethernet("8847 000640 40 000641 ff"), True),
    "MPLS, PPPoE": (1, ethernet("8864 1100 002a 0100 0281 000641ff"), True),
    "pseudowire": (1, OUTER + bytes.fromhex("8847 000641ff") + FRAME, True),
    "pseudowire with control word": (1, OUTER + bytes.fromhex("8847 000641ff 00000007") + FRAME, True),
    "pseudowire, 4 in the MAC": (1, OUTER + bytes.fromhex("8847 000641ff 4200") + FRAME[2:], True),
    "802.1ah": (1, OUTER + bytes.fromhex("88e7 00000009") + FRAME, True),
    "802.1BR": (1, ethernet("893f 000000010000 0800"), True),
    "VN-tag": (1, ethernet("8926 00000001 0800"), True),
    "Cisco metadata": (1, ethernet("8909 010100010007 0800"), True),
    "HSR": (1, ethernet("892f 00400001 0800"), True),
    "TRILL": (1, OUTER + bytes.fromhex("22f3 003f 00010002") + FRAME, True),
    "MACsec in clear": (1, ethernet("88e5 0000 00000007 0800"), True),
    "MACsec in clear with SCI": (1, ethernet("88e5 2000 00000007 0102030405060708 0800"), True),
    "batman-adv": (1, OUTER + bytes.fromhex("4305 400f3201 020000000003") + FRAME, True),
    "batman-adv, 4 addresses": (1, OUTER + bytes.fromhex("4305 420f3201 020000000003 020000000004 0100") + FRAME, True),
    "NSH": (1, OUTER + bytes.fromhex("894f 0fc2 0103 00000100") + FRAME, True),
    "Marvell EDSA": (1, ethernet("dada 0000 c0100001 0800"), True),
    "Marvell DSA": (1, ethernet("c0100001 0800"), True),
    "MediaTek": (1, ethernet("00010000 0800"), True),
    "MediaTek, tagged": (1, ethernet("01010007 0800"), True),
    "Qualcomm": (1, ethernet("8003 0800"), True),
    "Realtek, 4 bytes": (1, ethernet("8899 a001 0800"), True),
    "Realtek, 8 bytes": (1, ethernet("8899 0400 0000 0001 0800"), True),
    "Broadcom": (1, ethernet("20000008 0800"), True),
    "MediaTek, like a length": (1, ethernet("00040000 0800", with_checksum(build.session()[1].data)), True),
    "Broadcom, IPv4 of 60 bytes": (1, ethernet("00000008 0800"), True),
    "Broadcom, older": (1, ethernet("8874 00000001 0800"), True),
    "RZ/N1": (1, ethernet("e001 000000000001 0800"), True),
    "GRE": (1, gre("0000 0800", IP), False),
    "GRE with all": (1, gre("b000 0800 0000 0000 00000007 00000001", IP), False),
    "GRE with a route": (1, gre("4000 0800 0000 0000 0800 0004 0a000003 00000000", IP), False),
    "GRE over IPv6": (1, over_ip(47, bytes.fromhex("0000 0800") + IP, six=True), False),
    "NVGRE": (1, gre("2000 6558 00000700", FRAME), True),
    "PPTP": (1, gre(f"3001 880b {len(PPP):04x} 0007 00000001", PPP), False),
    "PPTP with acknowledgement": (1, gre(f"3081 880b {len(PPP):04x} 0007 00000001 00000000", PPP), False),
    "WCCP": (1, gre("0000 883e", IP), False),
    "WCCP version 2": (1, gre("0000 883e 00010000", IP), False),
    "EoIP": (1, gre(f"2001 6400 {len(FRAME):04x} 0700", FRAME), True),
    "MPLS in GRE": (1, gre("0000 8847 000641ff", IP), False),
    "ERSPAN I": (1, gre("0000 88be", FRAME), True),
    "ERSPAN II": (1, gre("1000 88be 00000001 10010001 00000000", FRAME), True),
    "ERSPAN II with a tag": (
        1,
        gre("1000 88be 00000001 10010001 00000000", ethernet("81000007 0800")),
        True,
    ),
    "ERSPAN III": (1, gre("1000 22eb 00000001 20010001 00000000 0000 0000", FRAME), True),
    "ERSPAN III with platform": (1, gre("1000 22eb 00000001 20010001 00000000 0000 0001" + "00" * 8, FRAME), True),
    "ERSPAN III of IP": (1, gre("1000 22eb 00000001 20010001 00000000 0000 0800", IP), False),
    "VXLAN": (1, over_udp(4789, bytes.fromhex("08000000 00000700") + FRAME), True),
    "VXLAN, Linux's port": (1, over_udp(8472, bytes.fromhex("08000000 00000700") + FRAME), True),
    "VXLAN, group policy": (1, over_udp(4789, bytes.fromhex("88000005 00000700") + FRAME), True),
    "VXLAN-GPE": (1, over_udp(4790, bytes.fromhex("0c000001 00000700") + IP), False),
    "Geneve": (1, over_udp(6081, bytes.fromhex("0000 6558 00000700") + FRAME), True),
    "Geneve with options": (1, over_udp(6081, bytes.fromhex("0240 6558 00000700 0102030405060708") + FRAME), True),
    "Geneve of IP": (1, over_udp(6081, bytes.fromhex("0000 0800 00000700") + IP), False),
    "TZSP": (1, over_udp(37008, bytes.fromhex("0100 0001 01") + FRAME), True),
    "TZSP with tags": (1, over_udp(37008, bytes.fromhex("0100 0001 00 0a0105 2904000005dc 01") + FRAME), True),
    "TZSP of Wi-Fi": (
        1,
        over_udp(
            37008, bytes.fromhex("0100 0012 01 0801 0000") + ROUTER_MAC + DEVICE_MAC + ROUTER_MAC + b"\0\0" + SNAP + IP
        ),
        True,
    ),
    "L2TP": (1, over_udp(1701, bytes.fromhex(L2TP) + PPP), False),
    "L2TP with all": (1, over_udp(1701, bytes.fromhex("4a02 0040 0007 0009 0001 0000 0002 abcd ff03") + PPP), False),
    "L2TPv3 over UDP": (1, over_udp(1701, bytes.fromhex("0003 0000 00000007") + FRAME), True),
    "L2TPv3": (1, over_ip(115, bytes.fromhex("00000007") + FRAME), True),
    "L2TPv3 with sublayer": (1, over_ip(115, bytes.fromhex("00000007 40000001") + FRAME), True),
    "L2TPv3 with cookie": (1, over_ip(115, bytes.fromhex("00000007 0102030405060708 40000001") + FRAME), True),
    "GTP": (1, over_udp(2152, bytes.fromhex(f"30ff {len(IP):04x} 00000007") + IP), False),
    "GTP, 5G": (1, over_udp(2152, bytes.fromhex(f"34ff {len(IP) + 8:04x} 00000007 00000085 01000900") + IP), False),
    "GTP with numbers": (1, over_udp(2152, bytes.fromhex(f"32ff {len(IP) + 4:04x} 00000007 00010000") + IP), False),
    "Teredo": (1, over_udp(3544, IP6), False),
    "Teredo with origin": (1, over_udp(3544, bytes.fromhex("0000 1234 01020304") + IP6), False),
    "Teredo with both": (
        1,
        over_udp(3544, bytes.fromhex("0001 0000 0102030405060708 00 0000 1234 01020304") + IP6),
        False,
    ),
    "LISP": (1, over_udp(4341, bytes.fromhex("80000001 00000001") + IP), False),
    "CAPWAP": (1, over_udp(5247, bytes.fromhex("00 100200 00000000") + FRAME), True),
    "GUE": (1, over_udp(6080, bytes.fromhex("00 04 0000") + IP), False),
    "GUE variant 1": (1, over_udp(6080, IP), False),
    "GRE in UDP": (1, over_udp(4754, bytes.fromhex("0000 0800") + IP), False),
    "MPLS in UDP": (1, over_udp(6635, bytes.fromhex("000641ff") + IP), False),
    "IP in IP": (1, over_ip(4, IP), False),
    "6in4": (1, over_ip(41, IP6), False),
    "DS-Lite": (1, over_ip(4, IP, six=True), False),
    "6in6": (1, over_ip(41, IP6, six=True), False),
    "EtherIP": (1, over_ip(97, b"\x30\0" + FRAME), True),
    "Ethernet in IPv6": (1, over_ip(143, FRAME, six=True), True),
    "MPLS in IP": (1, over_ip(137, bytes.fromhex("000641ff") + IP), False),
    "AH": (1, over_ip(51, bytes.fromhex("04 04 0000 00000007 00000001" + "00" * 12) + IP), False),
    "AH over IPv6": (1, over_ip(51, bytes.fromhex("04 04 0000 00000007 00000001" + "00" * 12) + IP, six=True), False),
    "destination options": (1, over_ip(60, bytes.fromhex("04 00 0401 0104 0100") + IP, six=True), False),
    "a tunnel in a tunnel": (1, over_udp(4789, bytes.fromhex("08000000 00000700") + gre("0000 6558", FRAME)), True),
    "cooked v1 with a tag": (
        113,
        bytes.fromhex("0000 0001 0006") + DEVICE_MAC + bytes.fromhex("0000 8100 0007 0800") + IP,
        True,
    ),
    "cooked v1, PPP": (113, bytes.fromhex("0000 0200 0000 0000000000000000 0800") + IP, False),
    "cooked v1, PPPoE": (
        113,
        bytes.fromhex("0000 0001 0006") + DEVICE_MAC + bytes.fromhex("0000 8864 1100 002a 0100") + PPP,
        True,
    ),
    "cooked v2 with tags": (
        276,
        bytes.fromhex("88a8 0000 00000003 0001 00 06") + DEVICE_MAC + bytes.fromhex("0000 0007 8100 0008 0800") + IP,
        True,
    ),
    "cooked v2, GRE": (276, bytes.fromhex("0800 0000 00000003 030a 00 04 0a00000100000000") + IP, False),
    "cooked v2, LLC": (276, bytes.fromhex("0004 0000 00000003 0001 00 06") + DEVICE_MAC + b"\0\0" + SNAP + IP, True),
    "NFLOG": (239, bytes.fromhex("0200 0005 0800 0100 0800 0200") + PAYLOAD, False),
    "NFLOG, big-endian": (
        239,
        bytes.fromhex("0200 0005 0008 0001 0800 0200") + struct.pack(">HH", 4 + len(IP), 9) + IP,
        False,
    ),
    "NFLOG with MAC": (
        239,
        bytes.fromhex("0200 0005 1000 0800 0006 0000") + DEVICE_MAC + b"\0\0" + struct.pack("<HH", 4 + len(IP), 9) + IP,
        True,
    ),
    "PPP": (9, PPP, False),
    "PPP with address": (9, b"\xff\x03" + PPP, False),
    "PPP, one byte": (9, b"\xff\x03\x21" + IP, False),
    "PPP with a bridge": (9, bytes.fromhex("0031 0001") + FRAME, True),
    "PPP multilink, whole": (9, bytes.fromhex("003d c0000001") + PPP, False),
    "PPP in HDLC": (50, b"\xff\x03" + PPP, False),
    "Cisco HDLC in 50": (50, b"\x0f\0\x08\0" + IP, False),
    "PPPoE, 51": (51, bytes.fromhex("1100 002a 0100") + PPP, False),
    "Cisco HDLC": (104, b"\x0f\0\x08\0" + IP, False),
    "Cisco HDLC with MPLS": (104, bytes.fromhex("0f00 8847 000641ff") + IP, False),
    "PPP, 166": (166, b"\0\x03" + PPP, False),
    "PPP, 204": (204, b"\x01\xff\x03" + PPP, False),
    "Cisco HDLC, 205": (205, b"\x01\x0f\0\x08\0" + IP, False),
    "Frame Relay": (107, b"\x18\x41\x03\xcc" + IP, False),
    "Frame Relay, Cisco": (107, b"\x18\x41\x08\0" + IP, False),
    "Frame Relay, SNAP": (107, b"\x18\x41\x03\0\x80\0\0\0\x08\0" + IP, False),
    "Frame Relay, 206": (206, b"\x01\x18\x41\x03\xcc" + IP, False),
    "ATM": (100, SNAP + IP, False),
    "ATM, bridged": (100, b"\xaa\xaa\x03\0\x80\xc2\0\x07\0\0" + FRAME, True),
    "Wi-Fi to the AP": (105, b"\x08\x01\0\0" + ROUTER_MAC + DEVICE_MAC + ROUTER_MAC + b"\0\0" + SNAP + IP, True),
    "Wi-Fi from the AP": (105, b"\x08\x02\0\0" + ROUTER_MAC + ROUTER_MAC + DEVICE_MAC + b"\0\0" + SNAP + IP, True),
    "Wi-Fi, QoS": (105, b"\x88\x01\0\0" + ROUTER_MAC + DEVICE_MAC + ROUTER_MAC + b"\0\0\0\0" + SNAP + IP, True),
    "Wi-Fi, 4 addresses": (
        105,
        b"\x08\x03\0\0" + OUTER + ROUTER_MAC + b"\0\0" + DEVICE_MAC + SNAP + IP,
        True,
    ),
    "Wi-Fi, A-MSDU of one": (
        105,
        b"\x88\x01\0\0" + ROUTER_MAC + OUTER + b"\0\0\x80\0" + LLC,
        True,
    ),
    "radiotap": (
        127,
        bytes.fromhex("0000 0800 00000000 0801 0000") + ROUTER_MAC + DEVICE_MAC + ROUTER_MAC + b"\0\0" + SNAP + IP,
        True,
    ),
    "radiotap, padded": (
        127,
        bytes.fromhex("0000 0900 02000000 20 8801 0000") + ROUTER_MAC + DEVICE_MAC + ROUTER_MAC + bytes(6) + SNAP + IP,
        True,
    ),
    "PPI": (192, bytes.fromhex("0000 0800 01000000") + FRAME, True),
    "PF log": (117, bytes.fromhex("3d02") + bytes(62) + IP, False),
    "OpenBSD enc": (109, bytes(12) + IP, False),
    "MPLS, 219": (219, bytes.fromhex("000641ff") + IP, False),
    "IPNET": (226, bytes.fromhex("0102") + bytes(22) + IP, False),
    "PKTAP": (258, struct.pack("<III", 108, 1, 1) + bytes(96) + FRAME, True),
    "PKTAP, 149": (149, struct.pack("<III", 108, 1, 1) + bytes(96) + FRAME, True),
    "NetANALYZER": (240, bytes(4) + FRAME, True),
    "NetANALYZER transparent": (241, bytes(4) + b"\x55" * 7 + b"\xd5" + FRAME, True),
    "mPacket": (274, b"\x55" * 7 + b"\xd5" + FRAME, True),
    "Broadcom, 281": (281, ethernet("20000008 0800"), True),
    "Broadcom, 282": (282, b"\x20\0\0\x08" + FRAME, True),
    "DSA, 284": (284, ethernet("c0100001 0800"), True),
    "Realtek, another protocol": (1, ethernet("8899 5001 0800"), True),
    "cooked, of MediaTek's host port": (
        113,
        bytes.fromhex("0000 0001 0006") + DEVICE_MAC + b"\0\0\0\xf8\0\0\x08\0" + IP,
        True,
    ),
    "cooked, of Qualcomm's host port": (
        113,
        bytes.fromhex("0000 0001 0006") + DEVICE_MAC + b"\0\0\0\xf8\x08\0" + IP,
        True,
    ),
    "VXLAN elsewhere": (1, over_udp(4788, bytes.fromhex("0800000000000100") + FRAME), True),
    "VXLAN from a service's port": (1, over_udp(4789, bytes.fromhex("0800000000000100") + FRAME, 53), True),
    "Geneve with reserved bits": (1, over_udp(6081, bytes.fromhex("0001655800000100") + FRAME), True),
    "L2TPv3 in UDP elsewhere": (1, over_udp(5000, bytes.fromhex("00030000 00000007 a5a5a5a5 00000000") + FRAME), True),
    "IP in UDP": (1, over_udp(5555, IP), False),
    "PPTP without a number": (1, gre(f"2001 880b {len(PPP):04x} 0007", PPP), False),
    "EDSA, 285": (285, ethernet("dada 0000 c0100001 0800"), True),
}


def read(link: int, data: bytes, length: int = 0) -> tuple[Packet | None, Layers]:
    layers = Layers()
    found = layers.packet(Frame(0.0, link, data, length or len(data)))
    layers.finish()
    return found, layers


@pytest.mark.parametrize("name", READ)
def test_is_read(name: str) -> None:
    link, frame, mac = READ[name]
    found, layers = read(link, frame)
    assert layers.unread == {}
    assert layers.read == 1
    assert found is not None
    assert found.tcp
    assert found.data in (IP, IP6) or name == "MediaTek, like a length"
    assert found.hwaddr == (DEVICE_MAC if mac else None)


@pytest.mark.parametrize("name", READ)
def test_cut_at_every_byte_is_read_or_counted(name: str) -> None:
    link, frame, _ = READ[name]
    for size in range(len(frame)):
        found, layers = read(link, frame[:size], len(frame))
        assert layers.read + sum(layers.unread.values()) == 1
        assert found is not None or layers.unread or size


def test_every_layer_and_link_type_is_tried() -> None:
    passed = set()
    for link, frame, _ in READ.values():
        found, _ = read(link, frame)
        passed |= set(found.path) if found else set()
    plain = {"minimal-ip", "esp", "ipcomp", "ppp-compressed", "ppp-encrypted", "van-jacobson", "loopback", "ip", "udp"}
    assert set(LAYERS) - passed <= plain | {"ethernet", "prism", "avs", "typed"}
    numbers = {link for link, _, _ in READ.values()} | {link.number for link in build.LINKS.values()}
    assert set(LINK_TYPES) - numbers <= {106, 112, 119, 163}
    assert {*ETHERTYPES.values(), *IP_PROTOCOLS.values(), *PPP_PROTOCOLS.values()} - {"tcp"} <= set(LAYERS)
    assert {layer for _, layer in LINK_TYPES.values()} <= set(LAYERS)


WIREGUARD = struct.pack("<IIQ", 4, 7, 1) + bytes(48)
UNREAD: dict[str, tuple[int, bytes, str]] = {
    "ESP": (1, over_ip(50, bytes(64)), "esp"),
    "ESP over IPv6": (1, over_ip(50, bytes(64), six=True), "esp"),
    "ESP in UDP": (1, over_udp(4500, bytes.fromhex("00000007 00000001") + bytes(64), 4500), "esp"),
    "WireGuard": (1, over_udp(51820, WIREGUARD), "wireguard"),
    "WireGuard elsewhere": (1, over_udp(40001, WIREGUARD), "wireguard"),
    "OpenVPN": (1, over_udp(1194, b"\x48\0\0\0" + bytes(60)), "openvpn"),
    "MACsec": (1, ethernet("88e5 0c00 00000007"), "macsec"),
    "Wi-Fi": (105, b"\x08\x41\0\0" + OUTER + ROUTER_MAC + b"\0\0" + bytes(60), "wifi-encrypted"),
    "Wi-Fi fragment": (105, b"\x08\x05\0\0" + OUTER + ROUTER_MAC + b"\0\0" + SNAP + IP, "wifi-fragment"),
    "Wi-Fi A-MSDU": (105, b"\x88\x01\0\0" + OUTER + ROUTER_MAC + b"\0\0\x80\0" + LLC + bytes(3) + LLC, "wifi-several"),
    "unknown ethertype": (1, ethernet("88b5"), "ethertype 0x88b5"),
    "unknown in cooked": (113, bytes.fromhex("0000 0001 0006") + DEVICE_MAC + b"\0\0\x88\xb5" + IP, "ethertype 0x88b5"),
    "unknown protocol": (1, over_ip(253, IP), "IP protocol 253"),
    "unknown link type": (220, IP, "link type 220"),
    "unknown in PPI": (192, bytes.fromhex("0000 0800 dc000000") + FRAME, "link type 220"),
    "unknown in PPP": (9, b"\x02\x47" + IP, "PPP protocol 0x0247"),
    "MPPE": (9, b"\0\xfd" + bytes(40), "ppp-compressed"),
    "ECP": (9, b"\0\x53" + bytes(40), "ppp-encrypted"),
    "Van Jacobson": (9, b"\0\x2d" + bytes(40), "van-jacobson"),
    "multilink": (9, bytes.fromhex("003d 80000001") + PPP, "ppp-multilink"),
    "IPComp": (1, over_ip(108, bytes(40)), "ipcomp"),
    "L2TPv3 of nobody knows what": (1, over_ip(115, bytes.fromhex("00000007") + b"\x5a" * 60), "l2tpv3"),
    "not IP": (101, b"\x75" + bytes(60), "not-ip"),
    "too many tags": (1, ethernet("81000001" * (DEEPEST + 1) + "0800"), "too-deep"),
    "IP in IP without end": (101, ip(4, b"") * (DEEPEST + 2), "too-deep"),
    "DTLS": (1, over_udp(5247, b"\x01\0\0\0" + bytes(40)), "dtls"),
    "SNAP of a vendor": (1, MACS + b"\0\x28" + b"\xaa\xaa\x03\x00\x01\x02\x08\0" + bytes(32), "SNAP OUI 0x0102"),
    "bad IPv4 header": (1, ethernet("0800", b"\x44" + IP[1:]), "damaged"),
    "VXLAN-GPE": (1, over_udp(4790, bytes.fromhex("0c00000600000100") + FRAME), "VXLAN protocol 6"),
    "Realtek of nobody knows what": (1, ethernet("8899 5501 0001"), "ethertype 0x8899"),
    "a length that is too large": (1, ethernet("8100 0001 0400"), "ethertype 0x0400"),
    "GRE version 5": (1, gre("0005 0800", IP), "GRE version 5"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_is_counted_by_reason(name: str) -> None:
    link, frame, reason = UNREAD[name]
    found, layers = read(link, frame)
    assert found is None
    assert layers.unread == {reason: 1}
    assert layers.read == 0
    about, advice = meaning(reason)
    assert about
    assert advice


#: Nothing that carries a device's mail: read.
QUIET: dict[str, tuple[int, bytes]] = {
    "ARP": (1, ethernet("0806", bytes.fromhex("0001 0800 0604 0001") + bytes(20))),
    "PPPoE discovery": (1, ethernet("8863", bytes(28))),
    "LCP": (1, ethernet("8864 1100 0001 0004 c021", bytes(4))),
    "spanning tree": (1, MACS + b"\0\x26\x42\x42\x03" + bytes(43)),
    "LLDP": (1, ethernet("88cc", bytes(40))),
    "EAPOL": (1, ethernet("888e", bytes(40))),
    "CDP": (1, MACS + b"\0\x28\xaa\xaa\x03\0\0\x0c\x20\0" + bytes(32)),
    "ICMP": (1, over_ip(1, bytes(20))),
    "IGMP": (1, over_ip(2, bytes(20))),
    "ICMPv6": (1, over_ip(58, bytes(20), six=True)),
    "hop-by-hop, then ICMPv6": (1, over_ip(0, bytes.fromhex("3a00 05020000 0100") + bytes(20), six=True)),
    "OSPF": (1, over_ip(89, bytes(20))),
    "DNS": (1, over_udp(53, build.dns_query())),
    "DNS to a client on VXLAN's port": (1, over_udp(4789, b"\x0c\0\x81\x80" + bytes(40), 53)),
    "QUIC": (1, over_udp(443, b"\xc3" + bytes(1199))),
    "IKE": (1, over_udp(4500, bytes(4) + bytes(40), 4500)),
    "a NAT keep-alive": (1, over_udp(4500, b"\xff", 4500)),
    "WireGuard's handshake": (1, over_udp(51820, b"\x01\0\0\0" + bytes(144))),
    "TZSP keep-alive": (1, over_udp(37008, bytes.fromhex("0104 0000"))),
    "GTP echo": (1, over_udp(2152, bytes.fromhex("3201 0004 00000000 00010000"))),
    "L2TP control": (1, over_udp(1701, bytes.fromhex("c802 000c 0007 0000 0001 0001"))),
    "L2TPv3 control": (1, over_ip(115, bytes(20))),
    "a GRE keep-alive": (1, gre("0000 0000", b"")),
    "PPTP acknowledgement": (1, gre("2081 880b 0000 0007 00000001", b"")),
    "a Wi-Fi beacon": (105, b"\x80\0\0\0" + OUTER + ROUTER_MAC + bytes(40)),
    "Wi-Fi without data": (105, b"\x48\x01\0\0" + OUTER + ROUTER_MAC + bytes(2)),
    "Cisco SLARP": (104, b"\x8f\0\x80\x35" + bytes(18)),
    "other TCP": (1, ethernet("0800", build.tcp("192.0.2.10", "198.51.100.9", 40000, 443, 1, 1, 16))),
}


@pytest.mark.parametrize("name", QUIET)
def test_is_read_and_is_not_mail(name: str) -> None:
    link, frame = QUIET[name]
    found, layers = read(link, frame)
    assert layers.unread == {}
    assert layers.read == 1
    assert found is None or found.tcp == (name == "other TCP")


def test_padding_and_check_sequences_are_no_part_of_the_packet() -> None:
    syn = with_checksum(build.session()[0].data)
    for trailer in (b"", bytes(6), bytes(10)):
        for frame in (ethernet("0800", syn), MACS + struct.pack("!H", len(SNAP + syn)) + SNAP + syn):
            found, layers = read(1, frame + trailer)
            assert found is not None
            assert layers.read == 1
            assert found.data == syn + trailer


def test_a_tag_of_a_switch_with_a_tag_of_a_network() -> None:
    found, layers = read(1, ethernet("00020000 81000007 0800"))
    assert layers.unread == {}
    assert found is not None
    assert found.data == IP


def test_what_no_tag_explains_is_not_guessed() -> None:
    found, layers = read(1, ethernet("8003 0801"))
    assert found is None
    assert layers.unread == {"ethertype 0x8003": 1}


def test_reasons_are_bounded_and_all_counted() -> None:
    layers = Layers()
    for number in range(3000):
        layers.packet(Frame(0.0, 1, MACS + struct.pack("!H", 0xA000 + number) + b"\x5a" * 40, 54))
    assert len(layers.unread) == REASONS + 1
    assert layers.unread[OTHER] == 3000 - REASONS
    assert sum(layers.unread.values()) == 3000


def test_every_reason_has_words() -> None:
    used = {reason.rpartition(" ")[0] or reason for _, _, reason in UNREAD.values()}
    assert used <= {*WORDS, "SNAP OUI"}
    for reason in WORDS:
        assert meaning(reason) == WORDS[reason]
    assert meaning("ethertype 0x88b5")[0].endswith("(ethertype 0x88b5)")
