"""Copies: a connection before and behind NAT is one; what only seems to be a copy is read; duplicates shift nothing."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.replay.capture import Frame, frames
from cpe_filter.replay.copies import _KEPT_BYTES, _RECENT, _UNSURE, Copies
from cpe_filter.replay.layers import Layers, Packet
from cpe_filter.replay.replay import Options, replay
from tests import build
from tests.lab.record import PCAPS

DEVICE, ROUTER, GATEWAY = build.DEVICE_MAC, build.ROUTER_MAC, bytes.fromhex("0200000003aa")
WAN = "203.0.113.77"


def changed(packet: bytes, hops: int = 0, src: str = "", dst: str = "", number: int | None = None) -> bytes:
    """An IPv4 packet after routers: another TTL, another address, another identification."""
    data = bytearray(packet)
    data[8] -= hops
    if src:
        data[12:16] = build.packed(src)
    if dst:
        data[16:20] = build.packed(dst)
    if number is not None:
        struct.pack_into("!H", data, 4, number)
    return bytes(data)


def cooked(kind: int, mac: bytes, data: bytes, version: int) -> bytes:
    if version == 1:
        return struct.pack("!HHH", kind, 1, 6) + mac + b"\0\0" + b"\x08\0" + data
    return b"\x08\0" + struct.pack("!HIHBB", 0, 3, 1, kind, 6) + mac + b"\0\0" + data


def ppp(kind: int, data: bytes, version: int) -> bytes:
    if version == 1:
        return struct.pack("!HHH", kind, 512, 0) + bytes(8) + b"\x08\0" + data
    return b"\x08\0" + struct.pack("!HIHBB", 0, 9, 512, kind, 0) + bytes(8) + data


def any_interface(
    packets: list[build.Packet], version: int = 1, hops: int = 0, uplink: str = "ethernet"
) -> list[tuple[float, bytes]]:
    """What `tcpdump -i any` has of connections through a router: a port, the bridge, the uplink."""

    def wan(kind: int, mac: bytes, data: bytes) -> bytes:
        return ppp(kind, data, version) if uplink == "ppp" else cooked(kind, mac, data, version)

    out = []
    for number, (time, from_client, data) in enumerate(packets):
        data = changed(data, number=1000 + number)
        if from_client:
            inside = cooked(0, DEVICE, data, version)
            out += [(time, inside), (time, inside), (time, wan(4, ROUTER, changed(data, hops, src=WAN)))]
        else:
            inside = cooked(4, ROUTER, changed(data, hops), version)
            out += [(time, wan(0, GATEWAY, changed(data, dst=WAN))), (time, inside), (time, inside)]
    return out


def judge(path: Path, data: bytes, **options: Any) -> dict[str, Any]:
    path.write_bytes(data)
    return replay(str(path), Options(sessions=True, **options), lambda _: None)


@pytest.mark.parametrize("uplink", ["ethernet", "ppp"])
@pytest.mark.parametrize("hops", [0, 1])
@pytest.mark.parametrize("version", [1, 2])
def test_any_interface_shows_one_device(version: int, hops: int, uplink: str, tmp_path: Path) -> None:
    packets = build.session()
    data = build.pcap(any_interface(packets, version, hops, uplink), {1: 113, 2: 276}[version])
    result = judge(tmp_path / "a", data)
    (device,) = result["devices"]
    assert device["addresses"] == [build.CLIENT]
    assert device["device"] == "02:00:00:00:01:01"
    assert (device["connections"], device["sessions"], device["messages"]) == (1, 1, 1)
    (session,) = result["sessions"]
    assert session["violations"] == []
    assert result["accounting"]["copies"] == len(packets)
    assert result["accounting"]["read"] == 3 * len(packets)
    assert result["accounting"]["complete"]


def test_two_ports_of_ethernet_show_one_device(tmp_path: Path) -> None:
    timed = []
    for time, from_client, data in build.session():
        inside, outside = data, changed(data, 1, src=WAN) if from_client else changed(data, -1, dst=WAN)
        lan = (ROUTER + DEVICE if from_client else DEVICE + ROUTER) + b"\x08\0" + inside
        wan = (GATEWAY + ROUTER if from_client else ROUTER + GATEWAY) + b"\x08\0" + outside
        timed += [(time, lan), (time, wan)] if from_client else [(time, wan), (time, lan)]
    (device,) = judge(tmp_path / "a", build.pcap(timed))["devices"]
    assert device["device"] == "02:00:00:00:01:01"


def test_attempts_without_an_answer_are_copies_too(tmp_path: Path) -> None:
    talk = build.Conversation()
    first = talk.syn()
    again = [first._replace(time=first.time + after) for after in (0.0, 1.0, 3.0)]
    (device,) = judge(tmp_path / "a", build.pcap(any_interface(again), 113))["devices"]
    assert (device["device"], device["connections"]) == ("02:00:00:00:01:01", 1)


def test_two_devices_with_the_same_numbers_are_two(tmp_path: Path) -> None:
    """Programs that make their own SYNs may use one number for all."""
    both = sorted([*build.session(), *build.session(client="192.0.2.11")], key=lambda packet: packet.time)
    result = judge(tmp_path / "a", build.pcap(build.frames(both, "raw-101"), 101))
    assert len(result["devices"]) == 2
    assert result["accounting"]["copies"] == 0


def test_what_only_begins_like_a_copy_is_read(tmp_path: Path) -> None:
    """A host that sends a SYN in another's name first, to hide its connection as the copy."""
    bait = build.Conversation(client="192.0.2.200").syn()
    mail = build.session()
    timed = [(bait.time, build.ethernet(bait))]
    far = [packet._replace(data=changed(packet.data, 1)) if packet.from_client else packet for packet in mail]
    timed += build.frames(far)
    result = judge(tmp_path / "a", build.pcap(timed))
    (session,) = [session for session in result["sessions"] if session["client"] == build.CLIENT]
    assert session["transactions"][0]["outcome"] == "accepted"
    assert result["accounting"]["copies"] == 0
    assert any(build.CLIENT in device["addresses"] and device["messages"] == 1 for device in result["devices"])


def facts(result: dict[str, Any]) -> tuple[list[Any], list[str]]:
    devices = [
        [
            device[key]
            for key in ("device", "standing", "connections", "sessions", "messages", "recipients", "mx_queries")
        ]
        for device in result["devices"]
    ]
    sessions = [
        json.dumps({key: value for key, value in session.items() if key not in ("start", "connection")})
        for session in result["sessions"]
    ]
    return devices, sorted(sessions)


def _twice(frames: list[Frame], rng: random.Random) -> list[Frame]:
    return [frame for frame in frames for _ in range(2)]


def _twice_late(frames: list[Frame], rng: random.Random) -> list[Frame]:
    places = [(at + late, frame) for at, frame in enumerate(frames) for late in (0.0, 0.5 + rng.random() * 4)]
    return [frame for _, frame in sorted(places, key=lambda place: place[0])]


def _out_of_order(frames: list[Frame], rng: random.Random) -> list[Frame]:
    places = [(at + rng.random() * 6, frame) for at, frame in enumerate(frames)]
    return [frame for _, frame in sorted(places, key=lambda place: place[0])]


def _routed(frames: list[Frame], rng: random.Random) -> list[Frame]:
    """And a mirror of the next router's other side: another MAC, a lower TTL."""
    out = []
    for frame in frames:
        out.append(frame)
        if frame.data[12:14] == b"\x08\0":
            copy = frame.data[:6] + GATEWAY + b"\x08\0" + changed(frame.data[14:], 1)
            out.append(frame._replace(data=copy))
    return out


@pytest.mark.parametrize("how", [_twice, _twice_late, _out_of_order, _routed])
@pytest.mark.parametrize(
    "name", ["bot-sprayer", "bot-sprayer-ipv6", "bot-starttls", "legit-laptop", "legit-exim-newsletter"]
)
def test_duplicates_and_disorder_change_nothing(
    name: str, how: Callable[[list[Frame], random.Random], list[Frame]], tmp_path: Path
) -> None:
    path = PCAPS / f"{name}.pcap"
    expected = replay(str(path), Options(sessions=True), lambda _: None)
    given = how(list(frames(str(path), lambda _: None)), random.Random(1))
    got = judge(tmp_path / "a", build.pcap([(frame.time, frame.data) for frame in given]))
    assert facts(got) == facts(expected)
    assert got["accounting"]["read"] == got["packets"] == len(given)


def test_a_copied_question_counts_once(tmp_path: Path) -> None:
    asked = build.udp(build.CLIENT, "198.51.100.53", 40000, 53, build.dns_query())
    packets = [build.Packet(build.START - 9 + after, True, asked) for after in (0.0, 0.001, 0.002, 2.0, 2.001)]
    (device,) = judge(tmp_path / "a", build.pcap(build.frames([*packets, *build.session()])))["devices"]
    assert device["mx_queries"] == 2


def test_memory_is_bounded() -> None:
    layers, copies = Layers(), Copies((25,))

    def given(frame: bytes, time: float) -> None:
        packet = layers.packet(Frame(time, 101, frame, len(frame)))
        assert isinstance(packet, Packet)
        list(copies.originals(packet, time))

    for number in range(_RECENT * 2):
        syn = changed(build.tcp(build.CLIENT, "198.51.100.9", 40000, 25, number, 0, build.SYN))
        given(syn, number / 1000)
        given(changed(syn, 1, src=f"10.{number >> 8}.{number & 255}.1"), number / 1000)
        given(build.udp(build.CLIENT, "198.51.100.9", 40000, 53, struct.pack("!Q", number)), number / 1000)
    assert len(copies._syns) <= _RECENT
    assert len(copies._questions) <= _RECENT
    assert len(copies._unsure) <= _UNSURE
    assert sum(map(len, copies._originals.values())) <= _UNSURE
    assert sum(len(packet.data) for copy in copies._unsure.values() for packet in copy.kept) <= _KEPT_BYTES
