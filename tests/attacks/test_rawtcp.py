"""The attackers' own TCP, against dpkt: it sends what it is meant to send. And variants cover what they are to."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import dpkt
import pytest

from tests.attacks.variants import few, paired
from tests.lab.rawtcp import (
    ACK,
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    PLAIN,
    PSH,
    SYN,
    Connection,
    atomic_fragment,
    authentication_header,
    checksum,
    fragments,
    padding_header,
    routing_header,
)

ENDS = [("198.18.0.25", "192.168.1.102"), ("2001:db8:100::25", "2001:db8:1::102")]


def connection(server: str, source: str) -> Connection:
    card: Any = None
    return Connection(card, server, source, "02:00:00:00:01:02", 25, 40000, 1000)


def read(packet: bytes) -> Any:
    return (dpkt.ip.IP if packet[0] >> 4 == 4 else dpkt.ip6.IP6)(packet)


@pytest.mark.parametrize(("server", "source"), ENDS)
def test_a_segment_is_as_dpkt_reads_it(server: str, source: str) -> None:
    packet = connection(server, source).packet(PSH | ACK, b"EHLO x\r\n", ack=7, tcp_options=PLAIN, ttl=3)
    ip = read(packet)
    assert (ip.data.sport, ip.data.dport, ip.data.seq, ip.data.ack) == (40000, 25, 1000, 7)
    assert (ip.data.flags, ip.data.data, ip.data.opts) == (PSH | ACK, b"EHLO x\r\n", PLAIN)
    assert (ip.ttl if packet[0] >> 4 == 4 else ip.hlim) == 3
    assert sums_up(packet)


def sums_up(packet: bytes) -> bool:
    """Whether the checksums of IPv4 and TCP are right."""
    if packet[0] >> 4 == 4:
        segment = packet[20:]
        pseudo = packet[12:20] + struct.pack(">HH", 6, len(segment))
        return checksum(packet[:20]) == checksum(pseudo + segment) == 0
    return checksum(packet[8:40] + struct.pack(">II", len(packet) - 40, 6) + packet[40:]) == 0


@pytest.mark.parametrize(("server", "source"), ENDS)
def test_a_wrong_checksum_is_wrong(server: str, source: str) -> None:
    assert not sums_up(connection(server, source).packet(SYN, wrong_checksum=True))


def test_extension_headers_are_chained() -> None:
    sender = connection(*ENDS[1])
    sender.headers = [padding_header(HOP_BY_HOP), *[padding_header(DESTINATION)] * 9, atomic_fragment()]
    packet = sender.packet(SYN)
    numbers, at, number = [], 40, packet[6]
    while number != 6:
        numbers.append(number)
        number, at = packet[at], at + 8
    assert numbers == [HOP_BY_HOP, *[DESTINATION] * 9, FRAGMENT]
    assert packet[at : at + 4] == (40000).to_bytes(2, "big") + (25).to_bytes(2, "big")
    assert int.from_bytes(packet[4:6], "big") == len(packet) - 40


@pytest.mark.parametrize(
    ("header", "length"),
    [(routing_header(0), 8), (routing_header(4, "::1"), 24), (authentication_header(), 24)],
)
def test_longer_headers_are_as_long_as_they_say(header: tuple[int, bytes], length: int) -> None:
    number, content = header
    assert 1 + len(content) == length
    assert length == ((content[0] + 2) * 4 if number == 51 else (content[0] + 1) * 8)


@pytest.mark.parametrize(("server", "source"), ENDS)
def test_fragments_are_the_packet(server: str, source: str) -> None:
    packet = connection(server, source).packet(PSH | ACK, b"x" * 100)
    one, two = fragments(packet, 24, number=5)
    if packet[0] >> 4 == 4:
        assert (one[6:8], two[6:8]) == (b"\x20\0", b"\0\x03")
        assert one[20:] + two[20:] == packet[20:]
        assert checksum(one[:20]) == checksum(two[:20]) == 0
    else:
        assert one[6] == two[6] == FRAGMENT
        assert one[48:] + two[48:] == packet[40:]
        assert (one[42:44], two[42:44]) == (b"\0\1", (24).to_bytes(2, "big"))


def test_few_rows_have_each_value_and_paired_ones_each_two() -> None:
    rows = list(itertools.product("abcd", "xyz", (1, 2)))
    assert {each for row in few(rows, []) for each in enumerate(row)} == {
        each for row in rows for each in enumerate(row)
    }
    assert len(few(rows, [])) == 4
    always = ("b", "y", 2)
    assert always in few(rows, [always])
    pairs = {pair for row in paired(rows, []) for pair in itertools.combinations(enumerate(row), 2)}
    assert pairs == {pair for row in rows for pair in itertools.combinations(enumerate(row), 2)}
    assert len(paired(rows, [])) < len(rows)
