"""Frames of other ports are passed over in few steps; what becomes of them is what becomes of them the long way."""

from __future__ import annotations

import random
import socket
from typing import Any

import dpkt
import pytest

from cpe_filter.engine import Engine
from cpe_filter.replay.capture import Frame
from cpe_filter.replay.feed import Feed
from cpe_filter.replay.replay import DEFAULT_POLICY

ETHERNET = bytes.fromhex("020000000001 020000000102 0800")
PORTS = (25, 53, 443, 2525, 8080, DEFAULT_POLICY.explain.port)


def tcp4(source: int, target: int, payload: bytes) -> bytes:
    segment = dpkt.tcp.TCP(sport=source, dport=target, seq=1, ack=1, flags=dpkt.tcp.TH_ACK, data=payload)
    addresses = {"src": socket.inet_aton("192.168.1.2"), "dst": socket.inet_aton("198.51.100.1")}
    return bytes(dpkt.ip.IP(**addresses, p=6, ttl=64, len=20 + len(segment), data=segment))


class _LongWay(Feed):
    """Looks at every port."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._ports = frozenset(number.to_bytes(2, "big") for number in range(65536))


def outcome(kind: type[Feed], frames: list[Frame]) -> tuple[Any, ...]:
    engine = Engine(DEFAULT_POLICY)
    feed = kind(engine)
    for frame in frames:
        feed.frame(frame, frame.time)
    feed.finish()
    return feed.account(), engine.mail_packets, sorted(device.name for device in engine.devices)


@pytest.mark.parametrize("seed", range(20))
def test_the_short_way_accounts_as_the_long_way(seed: int) -> None:
    """Also for damaged headers, cut packets and trailers."""
    chance = random.Random(seed)
    frames = []
    for number in range(200):
        source, target = chance.choice(PORTS), chance.choice(PORTS)
        data = bytearray(ETHERNET + tcp4(source, target, b"x" * chance.randrange(40)))
        for _ in range(chance.choice((0, 0, 1, 3))):
            data[chance.randrange(12, 54)] = chance.randrange(256)
        data += bytes(chance.choice((0, 0, 6)))
        kept = chance.choice((len(data), len(data), chance.randrange(len(data))))
        frames.append(Frame(float(number), 1, bytes(data[:kept]), len(data)))
    assert outcome(Feed, frames) == outcome(_LongWay, frames)
