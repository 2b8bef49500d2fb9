"""Captures: every format and link layer gives the same frames and facts, and damage never gives an exception.

The files are written by `tests.build`, from the specifications; dpkt's own readers and the captures
folder (see `conftest`) are second opinions.
"""

from __future__ import annotations

import gzip
import io
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpe_filter.replay.capture import CaptureError, Frame, frames
from cpe_filter.replay.links import LINK_TYPES
from cpe_filter.replay.replay import Options, replay
from tests import build
from tests.build import LINKS, Ng, Packet
from tests.ip_packets import network_layer

PACKETS = build.session()
PACKETS6 = build.session(client=build.CLIENT6, server=build.SERVER6)
TIMED = build.frames(PACKETS)
TICKS = 10**6

Write = Callable[[bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Bytes -> the path of a file that holds them."""

    def write(data: bytes) -> str:
        path = tmp_path / "capture"
        path.write_bytes(data)
        return str(path)

    return write


def read(path: str) -> tuple[list[Frame], list[str]]:
    """All frames and all warnings."""
    warnings: list[str] = []
    return list(frames(path, warnings.append)), warnings


def facts(path: str) -> dict[str, Any]:
    """What replay says, less what is the file's own: its name."""
    warnings: list[str] = []
    result = replay(path, Options(addresses=True, sessions=True), warnings.append)
    assert warnings == []
    del result["capture"]
    return result


def without_mac(result: dict[str, Any]) -> dict[str, Any]:
    """The same facts with the device named by its address, as where the link tells no MAC."""
    for device in result["devices"]:
        (device["device"],) = device["addresses"]
    for session in result["sessions"]:
        session["device"] = session["client"]
    return result


# ── formats ─────────────────────────────────────────────────────────────────────────────────────

FORMATS: dict[str, bytes] = {
    f"pcap {kind} {order}": build.pcap(TIMED, kind=kind, order=order) for kind in build.PCAP_KINDS for order in "<>"
}
FORMATS |= {
    f"pcapng {ticks} {order}": build.pcapng(TIMED, order=order, ticks=ticks)
    for order in "<>"
    for ticks in (10, 10**3, 10**6, 10**9)
}
FORMATS |= {f"{name} gzip": gzip.compress(data) for name, data in list(FORMATS.items())}


def test_the_reference_is_what_was_said(write: Write) -> None:
    result = facts(write(FORMATS["pcap micro <"]))
    assert result["packets"] == result["smtp_packets"] == len(PACKETS)
    assert (result["start"], result["end"]) == (PACKETS[0].time, PACKETS[-1].time)
    (device,) = result["devices"]
    assert device["device"] == "02:00:00:00:01:01"
    assert device["addresses"] == [build.CLIENT]
    assert (device["connections"], device["sessions"], device["messages"], device["recipients"]) == (1, 1, 1, 1)
    (session,) = result["sessions"]
    assert session["helo"] == "mail.example.org"
    assert session["violations"] == []
    (transaction,) = session["transactions"]
    assert transaction["mail_from"] == "alice@example.org"
    assert transaction["rcpt_to"] == ["bob@example.net"]
    assert transaction["outcome"] == "accepted"
    assert transaction["bytes"] == len("Subject: hello\r\n\r\nA line.\r\n")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same(name: str, write: Write, tmp_path: Path) -> None:
    got, warnings = read(write(FORMATS[name]))
    assert warnings == []
    assert [(frame.time, frame.data, frame.length, frame.link) for frame in got] == [
        (when, data, len(data), 1) for when, data in TIMED
    ]
    reference = tmp_path / "reference"
    reference.write_bytes(FORMATS["pcap micro <"])
    assert facts(write(FORMATS[name])) == facts(str(reference))


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
@pytest.mark.parametrize(
    ("name", "version"), [(name, version) for name, link in LINKS.items() for version in link.versions]
)
def test_every_link_layer_gives_the_same(name: str, version: int, container: str, write: Write) -> None:
    packets = PACKETS if version == 4 else PACKETS6
    link = LINKS[name]
    writer = build.pcap if container == "pcap" else build.pcapng
    expected = facts(write(build.pcap(build.frames(packets))))
    got = facts(write(writer(build.frames(packets, name), link.number)))
    if link.mac:
        assert got == expected
    else:
        assert got == without_mac(expected)


def test_the_table_of_link_types_is_all_tried() -> None:
    assert {link.number for link in LINKS.values()} <= set(LINK_TYPES)  # `test_layers` has the others


@pytest.mark.parametrize("upper", [0x04000000, 0xF4000000, 0x10000000])
def test_upper_bits_of_the_link_type_tell_of_checksums(upper: int, write: Write) -> None:
    got, warnings = read(write(build.pcap(TIMED, link=1 | upper)))
    assert warnings == []
    assert {frame.link for frame in got} == {1}


@pytest.mark.parametrize(
    ("link", "data"),
    [
        (1, b"\xff" * 6 + build.DEVICE_MAC + b"\x08\x06" + bytes(28)),  # ARP
        (1, b"\xff" * 6 + build.DEVICE_MAC + b"\x88\x63" + bytes(28)),  # PPPoE discovery
        (1, build.ROUTER_MAC + build.DEVICE_MAC + b"\x88\x64\x11\x00\x00\x01\x00\x04\xc0\x21" + bytes(4)),  # LCP
        (1, build.ROUTER_MAC + build.DEVICE_MAC + b"\x81\x00\x00\x01" * 5 + b"\x08\x00" + bytes(40)),  # tags for ever
        (113, struct.pack("!HHH", 0, 1, 6) + bytes(8) + b"\x08\x06" + bytes(28)),
        (276, b"\x08\x06" + bytes(18) + bytes(28)),
    ],
)
def test_what_is_not_ip_is_left_out(link: int, data: bytes) -> None:
    assert network_layer(Frame(0.0, link, data, len(data))) is None


@pytest.mark.parametrize("name", LINKS)
def test_frames_cut_at_every_byte_are_read_or_left(name: str) -> None:
    link = LINKS[name]
    whole = link.wrap((PACKETS if 4 in link.versions else PACKETS6)[3])
    for size in range(len(whole)):
        found = network_layer(Frame(0.0, link.number, whole[:size], len(whole)))
        assert found is None or whole.endswith(found[1]) or whole[:size].endswith(found[1])


# ── pcapng's own ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", ["<", ">"])
def test_interfaces_have_their_own_link_and_clock(order: str, write: Write) -> None:
    ng = Ng(order).interface(1).interface(101, tsresol=9).interface(113, tsresol=0x80 | 10).interface(276, tsresol=0)
    ng.interface(1, tsresol=3, tsoffset=1_000_000_000).interface(12, tsoffset=-3600)
    packet = PACKETS[0]
    ng.enhanced(5_250_000, build.ethernet(packet), 0)
    ng.enhanced(5_250_000_000, build.raw(packet), 1)
    ng.enhanced(5 * 1024 + 256, build.cooked1(packet), 2)
    ng.enhanced(5, build.cooked2(packet), 3)
    ng.enhanced(5_250, build.ethernet(packet), 4)
    ng.obsolete(7_205_250_000, build.raw(packet), 5)
    got, warnings = read(write(ng.data))
    assert warnings == []
    assert [(frame.link, frame.time) for frame in got] == [
        (1, 5.25),
        (101, 5.25),
        (113, 5.25),
        (276, 5.0),
        (1, 1_000_000_005.25),
        (12, 3605.25),
    ]
    assert {layer[1] for frame in got if (layer := network_layer(frame))} == {packet.data}


def test_simple_and_obsolete_packet_blocks(write: Write) -> None:
    ng = Ng().interface(1, snaplen=60)
    frame = build.ethernet(PACKETS[4])
    assert len(frame) % 4, "padding must not be taken for data"
    ng.simple(frame[:60], len(frame)).obsolete(1_500_000, frame)
    got, warnings = read(write(ng.data))
    assert warnings == []
    assert got == [Frame(0.0, 1, frame[:60], len(frame)), Frame(1.5, 1, frame, len(frame))]


def test_a_simple_packet_is_as_long_as_it_says(write: Write) -> None:
    frame = build.ethernet(PACKETS[3])
    got, _ = read(write(Ng().interface().simple(frame).data))
    assert got == [Frame(0.0, 1, frame, len(frame))]


def test_unknown_blocks_are_stepped_over(write: Write) -> None:
    ng = Ng().interface()
    for kind in (4, 5, 10, 0x0BAD, 0x80000001):
        ng.block(kind, b"x" * 37).enhanced(kind, TIMED[0][1])
    got, warnings = read(write(ng.data))
    assert warnings == []
    assert len(got) == 5


def test_sections_have_their_own_order_and_interfaces(write: Write) -> None:
    ng = Ng("<").interface(1).enhanced(TICKS, build.ethernet(PACKETS[0]))
    ng.section(">").interface(101).interface(113).enhanced(2 * TICKS, build.cooked1(PACKETS[0]), 1)
    ng.section("<").interface(276).enhanced(3 * TICKS, build.cooked2(PACKETS[0]))
    got, warnings = read(write(ng.data))
    assert warnings == []
    assert [(frame.time, frame.link) for frame in got] == [(1.0, 1), (2.0, 113), (3.0, 276)]


def test_a_packet_of_no_interface_is_left_out_with_a_warning(write: Write) -> None:
    ng = Ng().interface().enhanced(1, b"x", 7).enhanced(2, b"y").section("<").enhanced(3, b"z")
    got, warnings = read(write(ng.data))
    assert [frame.data for frame in got] == [b"y"]
    assert len(warnings) == 2
    assert "interface 7" in warnings[0]


def test_an_interface_whose_comment_is_not_utf8_is_still_one(write: Write) -> None:
    ng = Ng().interface(101, comment="für".encode("latin-1")).interface(1, comment=b"\xff\0\xff")
    ng.enhanced(1, build.raw(PACKETS[0])).enhanced(2, build.ethernet(PACKETS[0]), 1)
    got, warnings = read(write(ng.data))
    assert warnings == []
    assert [frame.link for frame in got] == [101, 1]


def test_a_damaged_interface_does_not_shift_the_others(write: Write) -> None:
    ng = Ng().block(1, b"").interface(101)
    ng.enhanced(1, build.ethernet(PACKETS[0]), 0).enhanced(2, build.raw(PACKETS[0]), 1)
    got, warnings = read(write(ng.data))
    assert [(frame.link, frame.data) for frame in got] == [(101, build.raw(PACKETS[0]))]
    assert len(warnings) == 2


def test_options_that_overrun_their_block_hurt_nobody(write: Write) -> None:
    ng = Ng()
    ng.block(1, struct.pack("<HHI", 101, 0, 0) + struct.pack("<HH", 9, 60000) + b"\x09")
    got, _ = read(write(ng.enhanced(TICKS, build.raw(PACKETS[0])).data))
    assert [frame.link for frame in got] == [101]


def test_a_block_full_of_empty_options_takes_no_time(write: Write) -> None:
    ng = Ng().block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HH", 2, 0) * 250000)
    began = time.process_time()
    got, _ = read(write(ng.enhanced(1, b"x").data))
    assert len(got) == 1
    assert time.process_time() - began < 30.0  # in squares of their number it takes many minutes


def test_times_out_of_this_world_are_none(write: Write) -> None:
    ng = Ng().interface(1, tsresol=0).interface(1, tsoffset=-(2**62))
    ng.enhanced(2**64 - 1, b"x", 0).enhanced(1, b"x", 1)
    got, _ = read(write(ng.data))
    assert [frame.time for frame in got] == [0.0, 0.0]


def test_unsupported_links_beside_good_ones_are_left_out(write: Write) -> None:
    ng = Ng().interface(220).interface(1).section("<").interface(220).enhanced(1, b"usb")
    for number, (_, frame) in enumerate(TIMED):
        ng.interface(1).enhanced(number, frame, 1)
    warnings: list[str] = []
    result = replay(write(ng.data), Options(), warnings.append)
    assert result["smtp_packets"] == len(TIMED)
    assert len(warnings) == 1
    assert "220" in warnings[0]


@pytest.mark.parametrize(
    "data", [build.pcap(TIMED, link=220), Ng().interface(220).enhanced(1, b"usb").data], ids=["pcap", "pcapng"]
)
def test_a_file_of_unsupported_links_alone_is_refused(data: bytes, write: Write) -> None:
    with pytest.raises(CaptureError, match=r"link type 220 is not supported; supported: .*Ethernet"):
        replay(write(data), Options(), lambda _: None)


# ── damage ──────────────────────────────────────────────────────────────────────────────────────


def test_packets_cut_by_a_snaplen_keep_their_length(write: Write) -> None:
    got, warnings = read(write(build.pcap(TIMED, snaplen=70)))
    assert warnings == []
    assert [(frame.data, frame.length) for frame in got] == [(data[:70], len(data)) for _, data in TIMED]
    warned: list[str] = []
    result = replay(write(build.pcap(TIMED, snaplen=70)), Options(sessions=True), warned.append)
    assert any("cut off when captured" in text for text in warned)
    assert "lost-data" in result["sessions"][0]["violations"]


@pytest.mark.parametrize("name", ["pcap micro <", "pcap modified >", "pcapng 1000000 <", "pcapng 1000000000 >"])
def test_truncated_at_every_byte(name: str, tmp_path: Path) -> None:
    """Whole packets before the cut are there, whole; the cut is told, unless it falls between packets."""
    data = FORMATS[name]
    path = tmp_path / "capture"
    ends = set()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            got, warnings = read(str(path))
        except CaptureError:
            assert size < (24 if name.startswith("pcap ") else 40), "the start was usable"
            continue
        assert size >= 24, "there was no start"
        assert [frame.data for frame in got[:-1]] == [frame for _, frame in TIMED[: len(got)]][:-1]
        assert not got or TIMED[len(got) - 1][1].startswith(got[-1].data)
        if not warnings:
            ends.add((size, len(got)))
    counts = [count for _, count in sorted(ends)]
    assert sorted(set(counts)) == list(range(len(TIMED))), "a cut between packets is no damage"
    assert len(counts) <= len(TIMED) + 2


@pytest.mark.parametrize("name", ["pcap micro < gzip", "pcapng 1000000 < gzip"])
def test_gzip_truncated_at_every_byte(name: str, tmp_path: Path) -> None:
    data = FORMATS[name]
    path = tmp_path / "capture"
    most = 0
    for size in range(len(data)):
        path.write_bytes(data[:size])
        refusal = ""
        try:
            got, warnings = read(str(path))
        except CaptureError as error:
            refusal = str(error)
        if refusal:
            assert "gzip" in refusal or "empty" in refusal or "short" in refusal
            continue
        assert warnings, "a cut gzip file is never whole"
        assert [frame.data for frame in got[:-1]] == [frame for _, frame in TIMED][: len(got) - 1]
        most = max(most, len(got))
    assert most > len(TIMED) // 2, "what could be read is there"


def test_gzip_damaged_at_every_byte(tmp_path: Path) -> None:
    data = FORMATS["pcap micro < gzip"]
    path = tmp_path / "capture"
    noticed = 0
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            noticed += bool(read(str(path))[1])
        except CaptureError:
            noticed += 1
    assert noticed > len(data) * 0.9


@pytest.mark.parametrize("size", [0x00100001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF])
@pytest.mark.parametrize("order", ["<", ">"])
def test_huge_lengths_take_no_memory(size: int, order: str, write: Write) -> None:
    good = TIMED[0][1]
    files = {
        "caplen": build.pcap(TIMED[:1], order=order) + struct.pack(f"{order}IIII", 1, 1, size, size) + b"x" * 100,
        "block": Ng(order).interface().enhanced(1, good).data + struct.pack(f"{order}II", 6, size) + b"x" * 100,
        "inner": Ng(order)
        .interface()
        .enhanced(1, good)
        .block(6, struct.pack(f"{order}IIIII", 0, 0, 0, size, size) + good)
        .data,
    }
    for what, data in files.items():
        path = write(data)
        tracemalloc.start()
        got, warnings = read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [frame.data for frame in got] == [good], what
        assert len(warnings) == 1, what
        assert peak < 1 << 20, what


@pytest.mark.parametrize("length", [0, 4, 8, 11, 13, 30])
def test_impossible_block_lengths_are_counted(length: int, write: Write) -> None:
    start = Ng().interface().enhanced(1, b"x").data
    got, warnings = read(write(start + struct.pack("<II", 6, length) + b"x" * 100))
    assert len(got) == 1
    assert warnings == [f"108 bytes from byte {len(start)} could not be read: a block of {length} bytes"]


NOT_CAPTURES = {
    "empty": (b"", "empty"),
    "text": (b"From: alice@example.org\nSubject: this is no capture\n", "text, such as tcpdump prints"),
    "short": (b"\xd4\xc3\xb2\xa1\x02\x00", "too short"),
    "old magic": (struct.pack("<IHHiIII", 0xA1B2C3D5, 2, 4, 0, 0, 0, 1), "neither pcap nor pcapng"),
    "no byte order": (b"\x0a\x0d\x0d\x0a" + bytes(24), "byte order"),
    "huge header": (b"\x0a\x0d\x0d\x0a\xfc\xff\xff\xff\x4d\x3c\x2b\x1a" + bytes(24), "4294967292 bytes"),
    "gzip of text": (gzip.compress(b"no capture, but longer than the header of one"), "text"),
    "gzip of nothing": (gzip.compress(b""), "empty"),
    "gzip, two bytes of it": (b"\x1f\x8b", "gzip"),
    "gzip of another method": (b"\x1f\x8b\x07" + bytes(20), "gzip"),
    "pcapng, its first block cut": (FORMATS["pcapng 1000000 <"][:20], "cut off"),
}


@pytest.mark.parametrize("name", NOT_CAPTURES)
def test_what_is_no_capture_is_refused_with_the_reason(name: str, write: Write) -> None:
    data, reason = NOT_CAPTURES[name]
    with pytest.raises(CaptureError, match=reason):
        read(write(data))


def anything(data: bytes, path: Path) -> None:
    """The promise for all bytes: frames and warnings, or CaptureError."""
    path.write_bytes(data)
    said: list[str] = []
    try:
        for frame in frames(str(path), said.append):
            assert len(frame.data) <= len(data) * 1100  # deflate's best
            assert frame.length >= 0
            network_layer(frame)
        replay(str(path), Options(sessions=True), said.append)
    except CaptureError as error:
        said.append(str(error))
    assert all("\n" not in text for text in said)


_quiet = settings(
    derandomize=True, deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_starts = st.sampled_from(
    [b"", build.pcap([]), build.pcap([], kind="nano", order=">"), Ng().data, Ng(">").data, Ng().interface().data]
)


@_quiet
@given(start=_starts, rest=st.binary(max_size=300))
def test_arbitrary_bytes(start: bytes, rest: bytes, tmp_path: Path) -> None:
    anything(start + rest, tmp_path / "capture")


@_quiet
@given(
    name=st.sampled_from(sorted(FORMATS)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 3000),
)
def test_mutations_of_a_good_file(name: str, changes: list[tuple[int, int]], cut: int, tmp_path: Path) -> None:
    data = bytearray(FORMATS[name])
    for at, value in changes:
        data[at % len(data)] = value
    anything(bytes(data[:cut]) if cut < len(data) else bytes(data), tmp_path / "capture")


# ── a second opinion ────────────────────────────────────────────────────────────────────────────


def dpkt_reads(data: bytes) -> tuple[int, list[tuple[float, bytes]]]:
    """Link type and packets, as dpkt's own readers see them."""
    kind = dpkt.pcapng.Reader if data[:4] == b"\x0a\x0d\x0d\x0a" else dpkt.pcap.Reader
    reader = kind(io.BytesIO(data))
    return reader.datalink(), [(float(when), packet) for when, packet in reader]


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.endswith("gzip")])
def test_dpkt_reads_the_same(name: str, write: Write) -> None:
    link, packets = dpkt_reads(FORMATS[name])
    got, _ = read(write(FORMATS[name]))
    assert {frame.link for frame in got} == {link}
    assert [frame.data for frame in got] == [data for _, data in packets]
    assert [frame.time for frame in got] == pytest.approx([when for when, _ in packets], abs=1e-6)


def test_dpkt_reads_the_same_from_the_captures_folder(captures: Path) -> None:
    compared = 0
    for path in sorted(captures.rglob("*.pcap*")):
        data = path.read_bytes()
        try:
            link, packets = dpkt_reads(data)
        except (ValueError, dpkt.Error):
            continue
        got, warnings = read(str(path))
        if not warnings:
            assert {frame.link for frame in got} <= {link & 0xFFFF}, path.name
            assert [frame.data for frame in got] == [packet for _, packet in packets], path.name
            times = [when for when, _ in packets]
            assert [frame.time for frame in got] == pytest.approx(times, abs=1e-6), path.name
            compared += 1
    assert compared > 50


def test_packet_tuple_is_what_the_builders_say() -> None:
    """The builder itself, against dpkt: else both sides of every test above could be wrong alike."""
    for packet in (*PACKETS, *PACKETS6):
        assert_builder_agrees_with_dpkt(packet)


def assert_builder_agrees_with_dpkt(packet: Packet) -> None:
    ip = dpkt.ip6.IP6(packet.data) if packet.data[0] >> 4 == 6 else dpkt.ip.IP(packet.data)
    client, server = (build.CLIENT6, build.SERVER6) if packet.data[0] >> 4 == 6 else (build.CLIENT, build.SERVER)
    expected = (client, server) if packet.from_client else (server, client)
    assert (ip.src, ip.dst) == (build.packed(expected[0]), build.packed(expected[1]))
    assert isinstance(ip.data, dpkt.tcp.TCP)
    assert (ip.data.dport if packet.from_client else ip.data.sport) == 25


# ── blocks and records of any length ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1 << 20, 3 << 20, (1 << 22) + 4])
@pytest.mark.parametrize("kind", [4, 9, 10, 0xBAD, 0x40000BAD, 0x80000001])
@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_of_any_length_are_stepped_over(order: str, kind: int, size: int, write: Write) -> None:
    ng = Ng(order).block(kind, bytes(size)).interface().enhanced(1, TIMED[0][1]).block(kind, b"\xa5" * size)
    path = write(ng.enhanced(2, TIMED[1][1]).data)
    tracemalloc.start()
    got, warnings = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ([frame.data for frame in got], warnings) == ([TIMED[0][1], TIMED[1][1]], [])
    assert peak < 5 << 20


def test_packets_and_interfaces_with_a_long_comment_are_read(write: Write) -> None:
    many = struct.pack("<HH", 1, 60000) + b"c" * 60000
    frame = TIMED[0][1]
    body = struct.pack("<IIIII", 0, 0, 7, len(frame), len(frame)) + frame + bytes(-len(frame) % 4) + many * 20
    ng = Ng().block(1, struct.pack("<HHI", 1, 0, 0) + many * 20).block(6, body).enhanced(8, TIMED[1][1])
    got, warnings = read(write(ng.data))
    assert ([frame.data for frame in got], warnings) == ([TIMED[0][1], TIMED[1][1]], [])


def test_a_giant_packet_is_cut(write: Write) -> None:
    ng = Ng().interface().enhanced(1, bytes(3 << 20)).enhanced(2, b"next")
    got, warnings = read(write(ng.data))
    assert [(len(frame.data) <= 1 << 20, frame.length) for frame in got] == [(True, 3 << 20), (True, 4)]
    assert warnings == []


def test_blocks_of_unknown_types_are_counted(write: Write) -> None:
    ng = Ng().interface().block(0x0C0C, b"abcd").block(0x0C0C, b"").enhanced(1, b"x")
    got, warnings = read(write(ng.data))
    assert len(got) == 1
    assert warnings == ["2 blocks of type 3084 were left out; what is in them is not known"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_the_capturing_machine_lost_is_said(order: str, write: Write) -> None:
    def statistics(interface: int, dropped: int, by_system: int) -> bytes:
        drops = b"".join(
            struct.pack(f"{order}HHQ", code, 8, number) for code, number in ((4, 99), (5, dropped), (7, by_system))
        )
        return struct.pack(f"{order}III", interface, 0, 0) + drops + bytes(4)

    ng = Ng(order).interface().interface().enhanced(1, b"x")
    ng.block(5, statistics(0, 3, 0)).block(5, statistics(0, 5, 2)).block(5, statistics(1, 1, 0))
    ng.section(order).interface().block(5, statistics(0, 2, 0)).block(5, statistics(7, 9, 9))
    assert read(write(ng.data))[1] == ["10 packets were lost when this was captured, by the capture's own statistics"]


# ── what follows damage is found ────────────────────────────────────────────────────────────────

MANY = [(TIMED[0][0] + number / 4, TIMED[number % len(TIMED)][1]) for number in range(200)]


def damaged(data: bytes, at: int, bytes_: bytes) -> bytes:
    return data[:at] + bytes_ + data[at + len(bytes_) :]


@pytest.mark.parametrize("kind", build.PCAP_KINDS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bad", [b"\xff" * 16, b"\xff" * 40, bytes(range(200, 216)), b"\x5a" * 300])
def test_pcap_goes_on_behind_damage(kind: str, order: str, bad: bytes, write: Write) -> None:
    size = build.PCAP_KINDS[kind][2]
    at = 24 + sum(size + len(frame) for _, frame in MANY[:50])
    got, warnings = read(write(damaged(build.pcap(MANY, kind=kind, order=order), at, bad)))
    lost = (
        1
        if len(bad) <= size
        else 1 + next(n for n in range(1, 9) if sum(size + len(frame) for _, frame in MANY[50 : 50 + n]) >= len(bad))
    )
    assert [frame.data for frame in got[:50]] == [frame for _, frame in MANY[:50]]
    assert 200 - lost - 1 <= len(got) < 200
    assert got[-100:] == [Frame(when, 1, frame, len(frame)) for when, frame in MANY[-100:]]
    assert len(warnings) == 1
    assert f"bytes from byte {at} could not be read: packet 51 with a length of" in warnings[0]


@pytest.mark.parametrize("size", [16, 20, 4096, 5001])
def test_a_hole_of_zeros_is_damage(size: int, write: Write) -> None:
    at = 24 + sum(16 + len(frame) for _, frame in MANY[:50])
    whole = build.pcap(MANY)
    got, warnings = read(write(whole[:at] + bytes(size) + whole[at:]))
    assert got == [Frame(when, 1, frame, len(frame)) for when, frame in MANY]
    assert warnings == [f"{size} bytes from byte {at} could not be read: packet 51 with a length of 0 bytes"]


def test_a_length_that_is_too_small_does_not_derail(write: Write) -> None:
    at = 24 + sum(16 + len(frame) for _, frame in MANY[:50])
    got, warnings = read(write(damaged(build.pcap(MANY), at + 8, struct.pack("<I", 5))))
    assert len(got) == 200
    assert len(warnings) == 1
    assert [frame.data for frame in got[51:]] == [frame for _, frame in MANY[51:]]


@pytest.mark.parametrize("gap", [86400 * 3, 86400 * 3650, -86400 * 400])
def test_a_clock_that_jumps_is_not_damage(gap: float, write: Write) -> None:
    later = [(when + gap, frame) for when, frame in MANY[:5]]
    got, warnings = read(write(build.pcap([*MANY[:5], *later, *MANY[5:8]])))
    assert (len(got), warnings) == (13, [])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bad", [b"\xff" * 8, bytes(8), b"\x5a" * 300, b"\0\0\0\6\0\0\0\6" * 3])
def test_pcapng_goes_on_behind_damage(order: str, bad: bytes, write: Write) -> None:
    ng = Ng(order).interface()
    ends = []
    for when, frame in MANY:
        ends.append(len(ng.enhanced(int(when * TICKS), frame).data))
    got, warnings = read(write(damaged(ng.data, ends[49], bad)))
    lost = sum(ends[49] <= end - 1 < ends[49] + len(bad) or ends[49] < end <= ends[49] + len(bad) for end in ends) + 1
    assert 200 - lost - 1 <= len(got) < 200
    assert got[-100:] == [Frame(when, 1, frame, len(frame)) for when, frame in MANY[-100:]]
    assert len(warnings) == 1
    assert f"bytes from byte {ends[49]} could not be read: a block" in warnings[0]


def test_a_block_whose_lengths_differ_is_damage(write: Write) -> None:
    start = len(Ng().interface().enhanced(1, b"abcd").data)
    data = Ng().interface().enhanced(1, b"abcd").enhanced(2, b"efgh").enhanced(3, b"ijkl").data
    got, warnings = read(write(damaged(data, start + 4, struct.pack("<I", 32))))
    assert [frame.data for frame in got] == [b"abcd", b"ijkl"]
    size = (len(data) - start) // 2
    assert warnings == [f"{size} bytes from byte {start} could not be read: a block whose two lengths differ"]


def test_a_huge_length_behind_the_end_hides_nothing(write: Write) -> None:
    """The file is too short for the block, so its length is wrong; by a pipe that is only known at its end."""
    start = Ng().interface().enhanced(1, b"abcd").data
    rest = Ng().interface().enhanced(2, b"efgh").data[len(Ng().interface().data) :]
    data = start + struct.pack("<II", 4, 1 << 30) + b"names of hosts.." + rest
    got, warnings = read(write(data))
    assert [frame.data for frame in got] == [b"abcd", b"efgh"]
    assert len(warnings) == 1
    with gzip.open(write(b""), "wb") as file:
        file.write(data)
    got, warnings = read(str(file.name))
    assert [frame.data for frame in got] == [b"abcd"]
    size = len(data) - len(start)
    assert warnings == [
        f"{size} bytes from byte {len(start)} could not be read: cut off within a block of {1 << 30} bytes"
    ]


def test_many_damages_are_few_lines(write: Write) -> None:
    data = build.pcap(MANY)
    at = 24
    for number, (_, frame) in enumerate(MANY):
        if number % 4 == 3:
            data = damaged(data, at + 8, b"\xff" * 4)
        at += 16 + len(frame)
    got, warnings = read(write(data))
    assert len(got) >= 150
    assert len(warnings) == 11
    assert "in 40 more places could not be read" in warnings[-1]


def test_lengths_of_old_versions_are_the_other_way_round(write: Write) -> None:
    frame = TIMED[3][1]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 2, 0, 0, 65535, 1)
    got, warnings = read(write(head + struct.pack("<IIII", 1000, 5, len(frame), 40) + frame[:40]))
    assert (got, warnings) == ([Frame(1000.000005, 1, frame[:40], len(frame))], [])
