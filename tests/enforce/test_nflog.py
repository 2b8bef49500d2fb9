"""NFLOG on the real kernel, over the loopback of a network namespace of its own; and the reader of its messages."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator

import pytest

from cpe_filter.enforce.nflog import TOGETHER
from cpe_filter.enforce.packets import Reader
from cpe_filter.lean.netlink import attribute
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON

_PROLOGUE = """
import select, socket, time
from cpe_filter.enforce.nflog import LogBusyError, PacketLog
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

def send(count):
    for number in range(count):
        sender.sendto(b"%d" % number, ("127.0.0.1", 9))

def drain(log):
    found, reads = [], 0
    while select.select([log.fd], [], [], 0.2)[0]:
        found += log.read()
        reads += 1
    return found, reads
"""


@pytest.fixture(scope="module")
def namespace(live: None) -> Iterator[str]:
    name = f"cfl{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    rules = "table inet t { chain o { type filter hook output priority 0; udp dport 9 log group 7; }; }\n"
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], input=rules, text=True, check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def run(namespace: str, program: str) -> str:
    command = ["ip", "netns", "exec", namespace, PYTHON, "-c", _PROLOGUE + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=PROJECT)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


@pytest.mark.live
def test_packets_come_in_order_and_together(namespace: str) -> None:
    program = (
        "log = PacketLog(7)\nsend(64)\nfound, reads = drain(log)\n"
        "print([packet[28:] for *_, packet in found] == [b'%d' % n for n in range(64)])\n"
        f"print(reads < 3 + 64 // {TOGETHER})\n"
        "print({hook for _, hook, _, _ in found}, log.lost)"
    )
    assert run(namespace, program).split() == ["True", "True", "{3}", "0"]


@pytest.mark.live
def test_one_packet_does_not_wait_for_others(namespace: str) -> None:
    program = (
        "log = PacketLog(7)\nbegun = time.monotonic()\nsend(1)\nselect.select([log.fd], [], [], 60)\n"
        "print(len(log.read()), time.monotonic() - begun < 30)"
    )
    assert run(namespace, program) == "1 True"


@pytest.mark.live
def test_what_is_lost_is_counted(namespace: str) -> None:
    program = (
        "import cpe_filter.enforce.nflog as module\nmodule._RECEIVE_BUFFER = 1\nlog = PacketLog(7)\nsend(2000)\n"
        "time.sleep(0.1)\nfound, _ = drain(log)\nprint(len(found) < 2000)\n"
        "send(1)\nprint(len(drain(log)[0]), log.lost + len(found))"
    )
    assert run(namespace, program).split() == ["True", "1", "2000"]


@pytest.mark.live
def test_a_group_that_is_taken(namespace: str) -> None:
    program = "log = PacketLog(7)\ntry: PacketLog(7)\nexcept LogBusyError as error: print(error)"
    assert run(namespace, program) == "NFLOG group 7 is in use by another program"


@pytest.mark.live
def test_the_kernel_keeps_what_comes_in_a_burst(namespace: str) -> None:
    """Whatever net.core.rmem_max allows to others. The kernel counts its own overhead and doubles the number."""
    program = "import socket\nlog = PacketLog(7)\nprint(log._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))"
    assert int(run(namespace, program)) == 2 * (1 << 22)


# ── messages ────────────────────────────────────────────────────────────────────────────────────────

MAC = bytes.fromhex("020000000102")


def message(payload: bytes, *, hook: int = 2, mac: bytes | None = MAC, mark: bool = False, kind: int = 0x400) -> bytes:
    """As the kernel makes them: the packet last."""
    body = bytes(4) + attribute(1, struct.pack(">HBx", 0x800, hook)) + attribute(4, bytes(4))
    if mark:
        body += attribute(2, bytes(4))
    if mac:
        body += attribute(8, struct.pack(">HH", 6, 0) + mac + bytes(2))
    body += attribute(9, payload)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def reader() -> Reader:
    return Reader(0x400, 2, 8, 9)


def test_what_stands_elsewhere_is_found_all_the_same() -> None:
    read = reader()
    for mark in (False, True, False, True):
        for size in (0, 1, 20, 1399):
            assert read.read(message(b"x" * size, mark=mark)) == [(0, 2, MAC, b"x" * size)]
    assert read.read(message(b"y", hook=3, mac=None)) == [(0, 3, None, b"y")]


def test_a_payload_that_looks_like_an_attribute() -> None:
    read = reader()
    read.read(message(b"x" * 60))
    for payload in (attribute(9, b"z" * 40), attribute(8, bytes(12)) + attribute(9, b"z" * 20)):
        assert read.read(message(payload, mark=True))[0][3] == payload


def test_several_and_others_in_a_datagram() -> None:
    datagram = message(b"one") + message(b"other", kind=0x300) + message(b"two", mark=True) + message(b"", kind=3)
    assert [packet for *_, packet in reader().read(datagram)] == [b"one", b"two"]


def test_a_message_without_attributes_hides_no_packet_behind_it() -> None:
    empty = struct.pack("=IHHII", 20, 0x300, 0, 7, 0) + bytes(4)
    found = reader().read(empty + message(b"one") + empty + message(b"two"))
    assert [packet for *_, packet in found] == [b"one", b"two"]


def test_whatever_the_bytes_nothing_is_raised() -> None:
    chance = random.Random(7)
    read = reader()
    whole = message(b"x" * 40) + message(b"y" * 30, mark=True)
    for _ in range(3000):
        broken = bytearray(whole[: chance.randrange(len(whole) + 1)])
        for _ in range(chance.randrange(4)):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        for *_, packet in read.read(bytes(broken)):
            assert len(packet) <= len(whole)
