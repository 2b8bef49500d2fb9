"""Frames -> IP packets.

Knows link layers. Must not know files, TCP or SMTP.
"""

from __future__ import annotations

from cpe_filter.replay.capture import Frame

LINK_TYPES = {
    0: "BSD loopback",
    1: "Ethernet",
    12: "raw IP",
    14: "raw IP",
    101: "raw IP",
    108: "OpenBSD loopback",
    113: "Linux cooked v1",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2",
}
_VLAN = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_IP = (b"\x08\x00", b"\x86\xdd")


def supported_names() -> str:
    return ", ".join(dict.fromkeys(LINK_TYPES.values()))


def network_layer(frame: Frame) -> tuple[bytes | None, bytes] | None:
    """The sender's MAC (None if the link has none) and the IP packet; None for frames that are not IP."""
    data, link = frame.data, frame.link
    if link == 1:
        at = 12
        while data[at : at + 2] in _VLAN and at < 28:
            at += 4
        kind = data[at : at + 2]
        if kind == b"\x88\x64":  # PPPoE session stage, RFC 2516
            if data[at + 8 : at + 10] not in (b"\x00\x21", b"\x00\x57"):
                return None
            at += 8
        elif kind not in _IP:
            return None
        return data[6:12], data[at + 2 :]
    if link == 113:
        mac = data[6:12] if data[2:6] == b"\x00\x01\x00\x06" else None
        return (mac, data[16:]) if data[14:16] in _IP else None
    if link == 276:
        mac = data[12:18] if data[8:10] == b"\x00\x01" and data[11:12] == b"\x06" else None
        return (mac, data[20:]) if data[:2] in _IP else None
    if link in (0, 108):
        return None, data[4:]
    return (None, data) if link in LINK_TYPES else None
