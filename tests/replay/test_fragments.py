"""Fragments: in any order they make the packet; what overlaps or is missing makes none; each frame is counted."""

from __future__ import annotations

import itertools
import struct

from cpe_filter.replay.capture import Frame
from cpe_filter.replay.fragments import BYTES, LOST_AFTER_S, PIECES, WAITING, Fragments
from cpe_filter.replay.layers import Layers
from tests import build

MAIL = build.session()[4].data
MAIL6 = build.session(client=build.CLIENT6, server=build.SERVER6)[4].data
ENDS = build.packed("10.0.0.1") + build.packed("10.0.0.2")


def piece4(at: int, data: bytes, more: bool, number: int = 7, proto: int = 4) -> bytes:
    flags = (0x2000 if more else 0) | at // 8
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), number, flags, 64, proto, 0) + ENDS + data


def piece6(at: int, data: bytes, more: bool, number: int = 7, before: bytes = b"") -> bytes:
    head = struct.pack("!BBHI", 41, 0, at | more, number)
    first = 0 if before else 44
    ends = build.packed("2001:db8:a::1") + build.packed("2001:db8:a::2")
    return struct.pack("!IHBB", 6 << 28, len(before + head + data), first, 64) + ends + before + head + data


def pieces(packet: bytes, size: int, six: bool = False, **more: int) -> list[bytes]:
    make = piece6 if six else piece4
    starts = range(0, len(packet), size)
    return [make(at, packet[at : at + size], at != starts[-1], **more) for at in starts]  # type: ignore[arg-type]


def read(packets: list[bytes], step: float = 0.0) -> tuple[list[bytes], Layers]:
    """The mail that was found in raw IP frames."""
    layers = Layers()
    found = [layers.packet(Frame(number * step, 101, data, len(data))) for number, data in enumerate(packets)]
    layers.finish()
    assert layers.read + sum(layers.unread.values()) == len(packets)
    return [packet.data for packet in found if packet and packet.tcp], layers


def test_any_order_makes_the_packet() -> None:
    for order in itertools.permutations(pieces(MAIL, 16)):
        assert read(list(order))[0] == [MAIL]
    assert read(pieces(MAIL6, 16, six=True)[::-1])[0] == [MAIL6]


def test_headers_before_the_fragment_header() -> None:
    before = bytes.fromhex("2c00 0104 0000 0000")
    half = len(MAIL6) // 16 * 8
    parts = [piece6(0, MAIL6[:half], True, before=before), piece6(half, MAIL6[half:], False, before=before)]
    assert read(parts)[0] == [MAIL6]


def test_fragments_in_fragments() -> None:
    inner = pieces(MAIL, 32)
    outer = [part for number, packet in enumerate(inner) for part in pieces(packet, 24, number=100 + number)]
    assert read(outer)[0] == [MAIL]


def test_what_is_missing_is_counted() -> None:
    parts = pieces(MAIL, 24)
    for missing in range(len(parts)):
        found, layers = read(parts[:missing] + parts[missing + 1 :])
        assert found == []
        assert layers.unread == {"fragment": len(parts) - 1}


def test_copies_of_fragments_make_one_packet() -> None:
    parts = pieces(MAIL, 24)
    for copied in (parts * 3, [part for part in parts for _ in range(3)]):
        found, layers = read(copied)
        assert found == [MAIL]
        assert layers.unread == {}


def test_a_number_that_is_used_again_is_another_packet() -> None:
    other = build.session()[6].data
    found, layers = read(pieces(MAIL, 24) + pieces(other, 24))
    assert found == [MAIL, other]
    assert layers.unread == {}


def test_overlapping_fragments_make_none() -> None:
    parts = [*pieces(MAIL, 24)[:-1], piece4(16, b"\xff" * 16, True), pieces(MAIL, 24)[-1]]
    found, layers = read(parts)
    assert found == []
    assert layers.unread == {"fragment": len(parts)}


def test_two_ends_make_none() -> None:
    parts = [piece4(0, MAIL[:24], True), piece4(48, b"", False), *pieces(MAIL, 24)[1:]]
    assert read(parts)[0] == []


def test_a_fragment_that_is_cut_off_is_counted() -> None:
    layers = Layers()
    part = pieces(MAIL, 24)[0]
    layers.packet(Frame(0.0, 101, part[:-4], len(part)))
    assert layers.unread == {"cut": 1}


def test_late_ones_are_lost() -> None:
    found, layers = read(pieces(MAIL, 24), step=LOST_AFTER_S + 1)
    assert found == []
    assert sum(layers.unread.values()) == len(pieces(MAIL, 24))


def test_many_that_are_never_whole_take_bounded_memory() -> None:
    fragments = Fragments()
    count = WAITING * 4
    for number in range(count):
        fragments.add(piece4(0, bytes(1400), True, number=number & 0xFFFF), 1, 0.0)
    assert len(fragments._datagrams) <= WAITING
    for number in range(count):
        fragments.add(piece4(0, bytes(65000), True, number=number & 0xFFFF, proto=17), 1, 0.0)
    assert fragments._kept <= BYTES
    assert fragments.finish() == 2 * count


def test_many_pieces_of_one_are_bounded() -> None:
    fragments = Fragments()
    for at in range(0, (PIECES + 50) * 16, 16):
        fragments.add(piece4(at, bytes(8), True), 1, 0.0)
    (datagram,) = fragments._datagrams.values()
    assert len(datagram.pieces) == PIECES
    assert fragments.finish() == PIECES + 50
