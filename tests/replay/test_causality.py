"""Causality: what acknowledges waits for what it acknowledges, is read once, and does not wait for what is missing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.replay.capture import frames
from cpe_filter.replay.causality import CONNECTIONS, WAIT_S, WAITING, WAITING_BYTES, Causality, Item
from cpe_filter.replay.layers import Packet
from cpe_filter.replay.replay import Options, replay
from tests import build
from tests.lab.record import PCAPS

NAMES = ["bot-sprayer", "bot-sprayer-ipv6", "bot-starttls", "legit-laptop", "legit-exim-newsletter"]


def judge(path: Path) -> dict[str, Any]:
    return replay(str(path), Options(sessions=True), lambda _: None)


def facts(result: dict[str, Any]) -> tuple[Any, ...]:
    keys = ("device", "standing", "connections", "sessions", "messages", "recipients")
    devices = [[device[key] for key in keys] for device in result["devices"]]
    sessions = sorted(
        str([session[key] for key in ("client_port", "server", "helo", "tls", "transactions", "violations")])
        for session in result["sessions"]
    )
    return devices, sessions


@pytest.mark.parametrize("offset", [-0.2, -0.02, -0.001, 0.001, 0.02, 0.2])
@pytest.mark.parametrize("name", NAMES)
def test_directions_with_clocks_of_their_own(name: str, offset: float, tmp_path: Path) -> None:
    path = PCAPS / f"{name}.pcap"
    expected = facts(judge(path))
    given = []
    for frame in frames(str(path), lambda _: None):
        six = frame.data[12:14] == b"\x86\xdd"
        port = frame.data[56:58] if six else frame.data[36:38]
        given.append((frame.time if port in (b"\0\x19", b"\0\x35") else frame.time + offset, frame.data))
    for order in (given, sorted(given, key=lambda item: item[0])):
        (tmp_path / "a").write_bytes(build.pcap(order))
        got = judge(tmp_path / "a")
        assert facts(got) == expected
        assert got["accounting"]["read"] == got["packets"] == len(given)


def items(path: Path) -> list[tuple[float, Item]]:
    return [
        (frame.time, (Packet(frame.data[6:12], frame.data[:6], frame.data[14:]), False))
        for frame in frames(str(path), lambda _: None)
    ]


def test_every_packet_comes_out_once() -> None:
    rng = random.Random(1)
    given = items(PCAPS / "bot-sprayer.pcap")
    rng.shuffle(given)
    causality = Causality((25,))
    got = [item for number, (_, item) in enumerate(given) for item in causality.ready(item, number / 50)]
    got += causality.finish()
    assert sorted(item[0].data for item in got) == sorted(item[0].data for _, item in given)


def segment(number: int, seq: int, ack: int, flags: int, payload: bytes = b"", server: bool = False) -> Item:
    ends = (build.SERVER, build.CLIENT, 25, number) if server else (build.CLIENT, build.SERVER, number, 25)
    return Packet(None, None, build.tcp(*ends, seq, ack, flags, payload)), False


def test_what_is_missing_is_not_waited_for_long() -> None:
    causality = Causality((25,))
    begin = [
        segment(9, 100, 0, build.SYN),
        segment(9, 500, 101, build.SYN | build.ACK, server=True),
        segment(9, 101, 501, build.ACK),
    ]
    for item in begin:
        assert list(causality.ready(item, 1.0)) == [item]
    reply = segment(9, 501, 111, build.ACK, b"250 ok\r\n", server=True)
    assert list(causality.ready(reply, 2.0)) == []
    more = segment(9, 509, 111, build.ACK, b"250 ok\r\n", server=True)
    assert list(causality.ready(more, 2.0 + WAIT_S + 0.1)) == [reply, more]
    assert causality.finish() == []


def test_memory_is_bounded() -> None:
    causality = Causality((25,))
    for number in range(2 * CONNECTIONS):
        list(causality.ready(segment(number & 0xFFFF, 500, number, build.SYN | build.ACK, b"x" * 1400, True), 1.0))
        assert len(causality._waiting) <= WAITING + 1
        assert causality._bytes <= WAITING_BYTES + 1500
    assert len(causality._connections) <= CONNECTIONS


def test_a_capture_that_is_far_out_of_order_is_named(tmp_path: Path) -> None:
    given = list(frames(str(PCAPS / "bot-sprayer.pcap"), lambda _: None))
    warnings: list[str] = []
    (tmp_path / "a").write_bytes(build.pcap([(frame.time, frame.data) for frame in reversed(given)]))
    replay(str(tmp_path / "a"), Options(), warnings.append)
    assert any("put them in order with reordercap" in text for text in warnings)
    warnings.clear()
    replay(str(PCAPS / "bot-sprayer.pcap"), Options(), warnings.append)
    assert warnings == []


@pytest.mark.parametrize("name", ["bot-sprayer", "bot-sprayer-ipv6"])
def test_packets_without_a_length_wait_for_nothing(name: str) -> None:
    """What a network card divides: the length in the header is 0."""
    causality = Causality((25,))
    for time, (packet, cut) in items(PCAPS / f"{name}.pcap"):
        at = 4 if packet.data[0] >> 4 == 6 else 2
        item = packet._replace(data=packet.data[:at] + b"\0\0" + packet.data[at + 2 :]), cut
        if packet.tcp and b"\0\x19" in (packet.data[20:22], packet.data[22:24], packet.data[40:42], packet.data[42:44]):
            assert list(causality.ready(item, time)) == [item]
