"""`inspect.packet` against dpkt: on any packet both read the same fields, or both refuse.

dpkt is the oracle; where `parse` differs from it, it does so on purpose, and `by_dpkt` says why. Packets come from
hypothesis, well-formed and then damaged, and from the recorded captures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import dpkt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpe_filter.inspect.packet import ACK, FIN, PSH, REFUSALS, RST, SYN, Segment, parse
from cpe_filter.replay.capture import CaptureError, frames
from tests.inspect import captures
from tests.ip_packets import network_layer

Fields = tuple[bytes, bytes, int, int, int, int, int, bytes, int]

_TCP, _HOP, _ROUTING, _FRAGMENT, _ESP, _AH, _DESTINATION = 6, 0, 43, 44, 50, 51, 60
_MOBILITY, _HIP, _SHIM6 = 135, 139, 140


# ── the oracle ──────────────────────────────────────────────────────────────────────────────────


class PlainExtensionHeader(dpkt.ip6.IP6ExtensionHeader):  # type: ignore[misc]
    """dpkt refuses a packet whose IPv6 options are malformed; the kernel is to judge these, not a mail filter."""

    __hdr__ = (("nxt", "B", 0), ("len", "B", 0))

    def unpack(self, buf: bytes) -> None:
        dpkt.Packet.unpack(self, buf)
        self.length = (self.len + 1) * 8


@pytest.fixture(autouse=True, scope="module")
def _taught_dpkt() -> Iterator[None]:
    """dpkt knows no mobility, HIP and Shim6 headers; and where a fragment header comes first it asks the last
    header, of whatever kind, for a fragment offset and fails if that has none."""
    with pytest.MonkeyPatch.context() as patch:
        known = dpkt.ip6.EXT_HDRS_CLS
        plain = dict.fromkeys((_HOP, _DESTINATION, _MOBILITY, _HIP, _SHIM6), PlainExtensionHeader)
        patch.setattr(dpkt.ip6, "EXT_HDRS_CLS", {**known, **plain})
        patch.setattr(dpkt.ip6, "EXT_HDRS", [*dpkt.ip6.EXT_HDRS, _MOBILITY, _HIP, _SHIM6])
        patch.setattr(dpkt.ip6.IP6ExtensionHeader, "frag_off", 0, raising=False)
        yield


def by_dpkt(data: bytes) -> Fields | None:
    """What dpkt reads in a packet, as `Segment`'s fields; None if it is no TCP segment.

    Where `parse` refuses what dpkt would read:
    - a fragment, even the first with a TCP header in it: its payload is not the segment's;
    - a TCP header that the packet's own length cuts off within its options;
    - more than eight extension headers.
    """
    try:
        if data[:1] and data[0] >> 4 == 4:
            ip = dpkt.ip.IP(data)
            if ip.mf or ip.offset:
                return None
            headers = ip.hl * 4
            total = ip.len or len(data)
        elif data[:1] and data[0] >> 4 == 6:
            ip = dpkt.ip6.IP6(data)
            extensions = ip.all_extension_headers
            if any(isinstance(e, dpkt.ip6.IP6FragmentHeader) and (e.frag_off or e.m_flag) for e in extensions):
                return None
            if len(extensions) > 8:
                return None
            headers = 40 + sum(extension.length for extension in extensions)
            total = 40 + ip.plen if ip.plen else len(data)
        else:
            return None
    except dpkt.UnpackError:
        return None
    tcp = ip.data
    if not isinstance(tcp, dpkt.tcp.TCP) or ip.p != _TCP:
        return None
    on_the_wire = total - headers - tcp.off * 4
    if on_the_wire < 0:
        return None
    payload = bytes(tcp.data)
    return (
        ip.src,
        ip.dst,
        tcp.sport,
        tcp.dport,
        tcp.seq,
        tcp.ack,
        tcp.flags & 0xFF,
        payload,
        on_the_wire - len(payload),
    )


def by_us(data: bytes) -> Fields | None:
    found = parse(data)
    if isinstance(found, str):
        assert found in REFUSALS
        return None
    assert isinstance(found.payload, bytes)
    return (
        found.src,
        found.dst,
        found.sport,
        found.dport,
        found.seq,
        found.ack,
        found.flags,
        found.payload,
        found.cut,
    )


# ── packets ─────────────────────────────────────────────────────────────────────────────────────


def tcp_header(payload: bytes, options: bytes = b"", offset: int | None = None, flags: int = ACK) -> bytes:
    words = 5 + len(options) // 4 if offset is None else offset
    return struct.pack("!HHIIBBHHH", 40000, 25, 0xFFFFFFF0, 77, words << 4, flags, 4096, 0, 0) + options + payload


def ipv4(body: bytes, options: bytes = b"", total: int | None = None, frag: int = 0x4000, proto: int = _TCP) -> bytes:
    size = 20 + len(options) + len(body) if total is None else total
    ihl = 0x45 + len(options) // 4
    head = struct.pack("!BBHHHBBH4s4s", ihl, 0, size, 1, frag, 64, proto, 0, b"\xc0\x00\x02\x01", b"\xc6\x33\x64\x02")
    return head + options + body


def ipv6(body: bytes, extensions: list[tuple[int, bytes]] | None = None, plen: int | None = None) -> bytes:
    """extensions: their types with their bytes behind the field "next header"."""
    kinds = [kind for kind, _ in extensions or []] + [_TCP]
    chain = b"".join(bytes([kinds[i + 1]]) + rest for i, (_, rest) in enumerate(extensions or []))
    size = len(chain) + len(body) if plen is None else plen
    head = struct.pack("!IHBB", 6 << 28, size, kinds[0], 64)
    return head + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x02" + chain + body


ATOMIC = (_FRAGMENT, b"\0\0\0\0\0\0\7")
AUTHENTICATION = (_AH, b"\4\0\0" + bytes(20))
PADDING = (_DESTINATION, b"\0\1\4\0\0\0\0")

_words = st.integers(0, 10).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))
_payload = st.binary(max_size=80)


@st.composite
def tcp_bytes(draw: st.DrawFn) -> bytes:
    options, payload = draw(_words), draw(_payload)
    ports = draw(st.tuples(st.integers(0, 0xFFFF), st.just(25)).map(lambda pair: struct.pack("!HH", *pair)))
    numbers = draw(st.binary(min_size=8, max_size=8))
    rest = bytes([5 + len(options) // 4 << 4 | draw(st.integers(0, 1)), draw(st.integers(0, 255))])
    return ports + numbers + rest + draw(st.binary(min_size=6, max_size=6)) + options + payload


@st.composite
def ipv4_packets(draw: st.DrawFn) -> bytes:
    options, body = draw(_words), draw(tcp_bytes())
    whole = 20 + len(options) + len(body)
    return ipv4(
        body,
        options,
        total=draw(st.sampled_from((whole, whole, whole, 0, whole + 100, max(0, whole - 3), 19))),
        frag=draw(st.sampled_from((0, 0x4000, 0x4000, 0x8000, 0x2000, 1, 0x1FFF, 0x2001))),
        proto=draw(st.sampled_from((_TCP, _TCP, _TCP, 17, _AH, 41, 1))),
    ) + draw(st.sampled_from((b"", b"", b"ethernet padding")))


@st.composite
def extension(draw: st.DrawFn) -> tuple[int, bytes]:
    kind = draw(
        st.sampled_from((_HOP, _ROUTING, _DESTINATION, _FRAGMENT, _AH, _ESP, _MOBILITY, _HIP, _SHIM6, 59, 17, _TCP))
    )
    if kind == _FRAGMENT:
        return kind, b"\0" + struct.pack("!H", draw(st.sampled_from((0, 0, 0, 6, 1, 8, 0xFFF9)))) + bytes(4)
    size = draw(st.integers(0, 3))
    length = (size + 2) * 4 if kind == _AH else (size + 1) * 8
    return kind, bytes([size]) + draw(st.binary(min_size=length - 2, max_size=length - 2))


@st.composite
def ipv6_packets(draw: st.DrawFn) -> bytes:
    body = draw(tcp_bytes())
    extensions = draw(st.lists(extension(), max_size=3) | st.lists(st.just(PADDING), max_size=10))
    whole = ipv6(body, extensions)
    size = len(whole) - 40
    return ipv6(body, extensions, draw(st.sampled_from((size, size, size, 0, size + 100, max(0, size - 3), 7))))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    packet = bytearray(draw(ipv4_packets() | ipv6_packets()))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), max_size=3)):
        packet[at % len(packet)] = byte
    return bytes(packet[: draw(st.integers(0, len(packet)) | st.just(len(packet)))])


# ── dpkt and parse agree ────────────────────────────────────────────────────────────────────────


@settings(max_examples=600, derandomize=True, deadline=None)
@given(ipv4_packets() | ipv6_packets())
def test_well_formed_packets_are_read_as_dpkt_reads_them(data: bytes) -> None:
    assert by_us(data) == by_dpkt(data)


@settings(max_examples=1500, derandomize=True, deadline=None)
@given(damaged())
def test_damaged_packets_are_read_as_dpkt_reads_them(data: bytes) -> None:
    assert by_us(data) == by_dpkt(data)


EXAMPLES = {
    "ipv4": ipv4(tcp_header(b"EHLO x\r\n")),
    "ipv4-options": ipv4(tcp_header(b"EHLO x\r\n", b"\1\1\x08\x0a" + bytes(8)), options=b"\x94\4\0\0" * 2),
    "ipv4-offload": ipv4(tcp_header(b"EHLO x\r\n"), total=0),
    "ipv6": ipv6(tcp_header(b"EHLO x\r\n")),
    "ipv6-extensions": ipv6(
        tcp_header(b"EHLO x\r\n", b"\2\4\5\xb4"), [(_HOP, b"\0\5\2\0\0\1\0"), AUTHENTICATION, ATOMIC, PADDING]
    ),
}


@pytest.mark.parametrize("packet", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_packets_cut_at_every_byte_are_read_as_dpkt_reads_them(packet: bytes) -> None:
    whole = parse(packet)
    assert isinstance(whole, Segment)
    readable = 0
    for size in range(len(packet) + 1):
        found = by_us(packet[:size])
        assert found == by_dpkt(packet[:size])
        readable += found is not None
    # As long as the TCP header's first 20 bytes are there the segment is read.
    assert readable >= len(whole.payload) + 1


@captures.needed
@pytest.mark.parametrize("path", captures.FILES, ids=captures.name)
def test_recorded_packets_are_read_as_dpkt_reads_them(path: Path) -> None:
    warnings: list[str] = []
    count = 0
    try:
        for frame in frames(str(path), warnings.append):
            layer = network_layer(frame)
            if layer is not None:
                count += 1
                assert by_us(layer[1]) == by_dpkt(layer[1]), layer[1].hex()
    except CaptureError as error:
        pytest.skip(f"not a capture that can be read: {error}")
    assert count, "no IP packet in the whole file"


# ── what is refused, and why ────────────────────────────────────────────────────────────────────

_SEGMENT = tcp_header(b"x")


REFUSED = [
    (b"", "empty"),
    (b"\x00" * 60, "not-ip"),
    (b"\x50" * 60, "not-ip"),
    (ipv4(_SEGMENT)[:19], "short-ip-header"),
    (ipv6(_SEGMENT)[:39], "short-ip-header"),
    (b"\x44" + ipv4(_SEGMENT)[1:], "bad-ip-header"),
    (ipv4(_SEGMENT, total=19), "bad-ip-header"),
    (ipv4(_SEGMENT, options=bytes(8), total=24), "bad-ip-header"),
    (ipv4(_SEGMENT, frag=0x2000), "fragment"),
    (ipv4(_SEGMENT, frag=185), "fragment"),
    (ipv6(_SEGMENT, [(_FRAGMENT, b"\0\0\1\0\0\0\7")]), "fragment"),
    (ipv6(_SEGMENT, [(_FRAGMENT, b"\0\5\xa8\0\0\0\7")]), "fragment"),
    (ipv4(_SEGMENT, proto=17), "not-tcp"),
    (ipv6(_SEGMENT, [(_ESP, bytes(7))]), "not-tcp"),
    (ipv6(_SEGMENT, [(59, bytes(7))]), "not-tcp"),
    (ipv4(_SEGMENT)[:39], "short-tcp-header"),
    (ipv6(_SEGMENT, [PADDING])[:60], "short-tcp-header"),
    (ipv6(_SEGMENT, [PADDING])[:44], "short-ip-header"),
    (ipv4(_SEGMENT, total=39), "bad-tcp-header"),
    (ipv4(tcp_header(b"", offset=4)), "bad-tcp-header"),
    (ipv4(tcp_header(b"x", offset=6)), "bad-tcp-header"),
    (ipv6(_SEGMENT, [PADDING] * 9), "too-many-extension-headers"),
]


@pytest.mark.parametrize(("data", "reason"), REFUSED)
def test_refusals_name_their_reason(data: bytes, reason: str) -> None:
    assert parse(data) == reason
    assert by_dpkt(data) is None


def test_every_refusal_has_an_example() -> None:
    assert {reason for _, reason in REFUSED} == set(REFUSALS)


@settings(max_examples=1500, derandomize=True, deadline=None)
@given(st.binary(max_size=120) | st.binary(max_size=120).map(lambda rest: b"\x45" + rest))
@example(b"\x60" + bytes(200))
@example(b"\x4f" + b"\xff" * 80)
def test_any_bytes_give_a_segment_or_a_known_refusal(data: bytes) -> None:
    found = parse(data)
    assert isinstance(found, Segment) or found in REFUSALS


# ── single facts ────────────────────────────────────────────────────────────────────────────────


def test_an_atomic_fragment_is_a_whole_packet() -> None:
    found = parse(ipv6(_SEGMENT, [ATOMIC]))
    assert isinstance(found, Segment)
    assert found.payload == b"x"


def test_eight_extension_headers_are_read() -> None:
    assert isinstance(parse(ipv6(_SEGMENT, [PADDING] * 8)), Segment)


def test_ethernet_padding_is_no_payload() -> None:
    found = parse(ipv4(tcp_header(b"")) + bytes(6))
    assert isinstance(found, Segment)
    assert (found.payload, found.cut) == (b"", 0)


def test_what_the_capture_cut_off_is_counted() -> None:
    packet = ipv4(tcp_header(b"MAIL FROM:<a@example.org>\r\n", options=bytes(12)))
    found = parse(packet[:-10])
    assert isinstance(found, Segment)
    assert (found.payload, found.cut) == (b"MAIL FROM:<a@exam", 10)
    headers_only = parse(packet[:44])  # within the TCP options
    assert isinstance(headers_only, Segment)
    assert (headers_only.payload, headers_only.cut) == (b"", 27)


def test_a_segment_shows_itself_without_its_payload() -> None:
    found = parse(ipv4(tcp_header(b"AUTH PLAIN c2VjcmV0\r\n", flags=FIN | SYN | RST | PSH | ACK)))
    assert repr(found) == "<Segment 40000>25 FSRPA seq=4294967280 len=21+0>"
