"""IEEE 802.11 frames and the headers that drivers put before them.

Knows their layout. Must not know what the frames carry. Data in the clear is read; what is encrypted cannot be.
"""

from __future__ import annotations

from cpe_filter.replay.walk import DONE, Layer, UnreadError, Walk, looks_like_type, u16_le, u32, u32_le

_DATA = 2
_TO_DS, _FROM_DS, _MORE_FRAGMENTS, _PROTECTED, _ORDER = 0x01, 0x02, 0x04, 0x40, 0x80
_QOS, _NULL = 0x8, 0x4


def ieee80211(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    return _data_frame(walk, data, at, padded=False)


def padded(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """With the header filled up to a multiple of 4 bytes, as radiotap says of some drivers."""
    return _data_frame(walk, data, at, padded=True)


def _data_frame(walk: Walk, data: bytes, at: int, padded: bool) -> tuple[str, int]:
    kind, subtype, flags = data[at] >> 2 & 3, data[at] >> 4, data[at + 1]
    if kind != _DATA or subtype & _NULL:
        return DONE, at
    size = 30 if flags & (_TO_DS | _FROM_DS) == _TO_DS | _FROM_DS else 24
    several = False
    if subtype & _QOS:
        several = data[at + size] & 0x80 != 0
        size += 6 if flags & _ORDER else 2
    if flags & _PROTECTED:
        raise UnreadError("wifi-encrypted")
    if flags & _MORE_FRAGMENTS or u16_le(data, at + 22)[0] & 15:
        raise UnreadError("wifi-fragment")
    addresses = [data[at + start : at + start + 6] for start in (4, 10, 16, 24)]
    receiver, sender = {0: (0, 1), _TO_DS: (2, 1), _FROM_DS: (0, 2)}.get(flags & (_TO_DS | _FROM_DS), (2, 3))
    walk.to_hwaddr, walk.hwaddr = addresses[receiver], addresses[sender]
    if padded:
        size = (size + 3) // 4 * 4
    at += size
    if several:
        return _aggregate(walk, data, at)
    if data[at : at + 2] != b"\xaa\xaa" and looks_like_type(data, at):  # outside a BSS
        return "typed", at
    return "llc", at


def _aggregate(walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """An A-MSDU: frames with addresses and length. One alone is read."""
    size = data[at + 12] << 8 | data[at + 13]
    if len(data) - at > (14 + size + 3) // 4 * 4 + 4:
        raise UnreadError("wifi-several")
    walk.to_hwaddr, walk.hwaddr = data[at : at + 6], data[at + 6 : at + 12]
    return "llc", at + 14


def typed(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    from cpe_filter.replay.walk import by_ethertype

    return by_ethertype(data[at] << 8 | data[at + 1], at + 2)


def radiotap(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """radiotap.org: fields are aligned; the flags are the second, behind the TSF timer."""
    if data[at]:
        raise UnreadError("damaged")
    size = u16_le(data, at + 2)[0]
    present = word = u32_le(data, at + 4)[0]
    field = 8
    while word & 1 << 31:
        word = u32_le(data, at + field)[0]
        field += 4
    if size < field:
        raise UnreadError("damaged")
    flags = 0
    if present & 2:
        if present & 1:
            field = (field + 7) // 8 * 8 + 8
        flags = data[at + field]
    return "802.11-padded" if flags & 0x20 else "802.11", at + size


def prism(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    """The Prism header, or AVS's in its place: both have their length behind a magic number."""
    if u32(data, at)[0] & 0xFFFFF000 == 0x80211000:
        return avs(_walk, data, at)
    size = next((size for size in (u32_le(data, at + 4)[0], u32(data, at + 4)[0]) if 8 <= size <= 512), 0)
    if not size:
        raise UnreadError("damaged")
    return "802.11", at + size


def avs(_walk: Walk, data: bytes, at: int) -> tuple[str, int]:
    size = u32(data, at + 4)[0]
    if not 8 <= size <= 512:
        raise UnreadError("damaged")
    return "802.11", at + size


LAYERS: dict[str, Layer] = {
    "802.11": ieee80211,
    "802.11-padded": padded,
    "typed": typed,
    "radiotap": radiotap,
    "prism": prism,
    "avs": avs,
}
