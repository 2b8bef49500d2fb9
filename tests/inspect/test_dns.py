"""`inspect.dns` against dpkt: what dpkt reads as a standard query for MX, class IN, is one to us, and nothing else."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.inspect.dns import Question, is_local, mx_question
from tests.build import CLIENT, CLIENT6, OPT, TYPE_A, TYPE_AAAA, TYPE_MX, dns_query, ip, packed, tcp, udp

RESOLVER, RESOLVER6 = "192.0.2.1", "2001:db8:1::1"
PAIRS = {"ipv4": (CLIENT, RESOLVER), "ipv6": (CLIENT6, RESOLVER6)}


def by_dpkt(message: bytes) -> bool | None:
    """Whether dpkt reads a DNS message as a standard query for MX; None where it cannot read it."""
    try:
        dns = dpkt.dns.DNS(message)
    except (dpkt.UnpackError, IndexError, struct.error, UnicodeError):
        return None
    questions = [(question.type, question.cls) for question in dns.qd]
    return dns.qr == 0 and dns.opcode == 0 and questions == [(15, 1)]


def by_us(message: bytes) -> bool:
    found = mx_question(udp(CLIENT, RESOLVER, 40000, 53, message))
    assert found is None or found == Question(packed(CLIENT), packed(RESOLVER))
    return found is not None


_label = st.text(st.characters(max_codepoint=127), min_size=1, max_size=63).map(str.encode)  # dpkt wants UTF-8
_name = st.lists(_label, max_size=4).filter(lambda labels: sum(len(label) + 1 for label in labels) < 255)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    name = b"".join(bytes([len(label)]) + label for label in draw(_name)) + b"\0"
    flags = draw(st.sampled_from((0, 0x0100, 0x0120, 0x8180, 0x0800, 0x2800)))
    questions = draw(st.sampled_from((1, 1, 1, 0, 2)))
    opt = draw(st.sampled_from(sorted(OPT.values())))
    kind = draw(st.sampled_from((TYPE_MX, TYPE_MX, TYPE_A, TYPE_AAAA, 255, 0x0F00)))
    question = name + struct.pack("!HH", kind, draw(st.sampled_from((1, 1, 1, 3, 255))))
    return struct.pack("!HHHHHH", 7, flags, questions, 0, 0, bool(opt)) + question * questions + opt


@settings(max_examples=600, derandomize=True, deadline=None)
@given(messages())
def test_messages_are_read_as_dpkt_reads_them(message: bytes) -> None:
    assert by_us(message) == by_dpkt(message)


@settings(max_examples=1500, derandomize=True, deadline=None)
@given(messages(), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=3), st.integers(0, 300))
def test_damaged_messages(message: bytes, damage: list[tuple[int, int]], size: int) -> None:
    changed = bytearray(message)
    for at, byte in damage:
        changed[at % len(changed)] = byte
    message = bytes(changed[:size])
    theirs = by_dpkt(message)
    pointer = any(byte >= 0xC0 for byte in message[12:])  # dpkt would follow it, even to itself
    if theirs is not None and not pointer:
        assert by_us(message) == theirs
    elif theirs is False:
        assert not by_us(message)  # what dpkt cannot read may be a question with a damaged record behind it


@settings(max_examples=1500, derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    mx_question(data)
    mx_question(b"\x45" + data)
    mx_question(b"\x60" + data)


@pytest.mark.parametrize(("client", "resolver"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("opt", OPT.values(), ids=OPT)
def test_who_asked_whom(client: str, resolver: str, opt: bytes) -> None:
    expected = Question(packed(client), packed(resolver))
    message = dns_query(opt=opt)
    assert mx_question(udp(client, resolver, 40000, 53, message)) == expected
    whole = struct.pack("!H", len(message)) + message
    assert mx_question(tcp(client, resolver, 40000, 53, 1, 1, 0x18, whole)) == expected
    # An Ethernet frame may bring padding along.
    assert mx_question(udp(client, resolver, 40000, 53, message) + bytes(9)) == expected


@pytest.mark.parametrize(("client", "resolver"), PAIRS.values(), ids=PAIRS)
def test_cut_at_every_byte(client: str, resolver: str) -> None:
    bare = udp(client, resolver, 40000, 53, dns_query())
    for packet in (bare, udp(client, resolver, 40000, 53, dns_query(opt=OPT["cookie"]))):
        for size in range(len(packet)):
            # The question suffices, and nothing less.
            assert (mx_question(packet[:size]) is not None) == (size >= len(bare))


def test_options_and_extension_headers_are_stepped_over() -> None:
    four = udp(CLIENT, RESOLVER, 40000, 53, dns_query())
    options = b"\x46" + four[1:2] + struct.pack("!H", len(four) + 4) + four[4:20] + b"\x94\4\0\0" + four[20:]
    assert mx_question(options) is not None
    six = udp(CLIENT6, RESOLVER6, 40000, 53, dns_query())[40:]
    assert mx_question(ip(CLIENT6, RESOLVER6, 60, b"\x11\0\1\4\0\0\0\0" + six)) is not None
    segment = tcp(CLIENT6, RESOLVER6, 40000, 53, 1, 1, 0x18, struct.pack("!H", 29) + dns_query())[40:]
    assert mx_question(ip(CLIENT6, RESOLVER6, 60, b"\x06\0\1\4\0\0\0\0" + segment)) is not None


_LONG = ".".join(["a" * 63] * 3 + ["a" * 61])  # 255 bytes with the root: the longest name there is
_MESSAGE = dns_query()

NOT = {
    "empty": b"",
    "address": udp(CLIENT, RESOLVER, 40000, 53, dns_query(qtype=TYPE_A)),
    "answer": udp(CLIENT, RESOLVER, 40000, 53, dns_query(flags=0x8180)),
    "from-the-resolver": udp(RESOLVER, CLIENT, 53, 40000, _MESSAGE),
    "multicast-dns": udp(CLIENT, "224.0.0.251", 5353, 5353, _MESSAGE),
    "update": udp(CLIENT, RESOLVER, 40000, 53, dns_query(flags=0x2800)),
    "icmp": ip(CLIENT, RESOLVER, 1, struct.pack("!HHHH", 40000, 53, 8 + len(_MESSAGE), 0) + _MESSAGE),
    "name-too-long": udp(CLIENT, RESOLVER, 40000, 53, dns_query(_LONG + "a.b")),
    "label-too-long": udp(CLIENT, RESOLVER, 40000, 53, dns_query("a" * 64)),
    "pointer": udp(CLIENT, RESOLVER, 40000, 53, _MESSAGE[:12] + b"\xc0\x0c\0\x0f\0\1"),
    "udp-length-0": ip(CLIENT, RESOLVER, 17, struct.pack("!HHHH", 40000, 53, 0, 0) + _MESSAGE),
    "udp-length-short": ip(CLIENT, RESOLVER, 17, struct.pack("!HHHH", 40000, 53, 20, 0) + _MESSAGE),
    "tcp-no-message": tcp(CLIENT, RESOLVER, 40000, 53, 1, 0, 2),
    "tcp-length-lies": tcp(CLIENT, RESOLVER, 40000, 53, 1, 1, 0x18, b"\1\0" + _MESSAGE),
    "tcp-in-the-middle": tcp(CLIENT, RESOLVER, 40000, 53, 9, 1, 0x18, _MESSAGE),
    "tcp-other-port": tcp(CLIENT, RESOLVER, 40000, 25, 1, 1, 0x18, struct.pack("!H", 29) + _MESSAGE),
}


@pytest.mark.parametrize("packet", NOT.values(), ids=NOT)
def test_what_is_no_question_for_mail_servers(packet: bytes) -> None:
    assert mx_question(packet) is None


def test_the_longest_name_is_read() -> None:
    assert mx_question(udp(CLIENT, RESOLVER, 40000, 53, dns_query(_LONG))) is not None
    assert mx_question(udp(CLIENT, RESOLVER, 40000, 53, dns_query(""))) is not None


def test_fragments_are_not_read() -> None:
    packet = bytearray(udp(CLIENT, RESOLVER, 40000, 53, _MESSAGE))
    packet[6] |= 0x20
    assert mx_question(bytes(packet)) is None


def test_nothing_of_the_name_is_kept() -> None:
    found = mx_question(udp(CLIENT, RESOLVER, 40000, 53, dns_query("canary.example")))
    assert found is not None
    assert found._fields == ("client", "resolver")


LOCAL = "10.1.2.3 172.16.0.1 172.31.255.1 192.168.1.1 100.64.0.1 100.127.9.9 169.254.1.1 127.0.0.1 224.0.0.251 fe80::1 "
LOCAL += "febf::1 fec0:0:0:ffff::1 fd00::53 fc00::1 ::1 ff02::fb"
FOREIGN = "8.8.8.8 9.9.9.9 172.15.0.1 172.32.0.1 192.167.1.1 100.63.0.1 100.128.0.1 169.253.1.1 198.18.0.1 192.0.2.1 "
FOREIGN += "2001:db8::1 2620:fe::fe ::2"


@pytest.mark.parametrize("address", LOCAL.split())
def test_local_resolvers(address: str) -> None:
    assert is_local(ip_address(address).packed)


@pytest.mark.parametrize("address", FOREIGN.split())
def test_foreign_resolvers(address: str) -> None:
    assert not is_local(ip_address(address).packed)
