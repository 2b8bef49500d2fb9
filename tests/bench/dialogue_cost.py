"""What the engine executes for a one-message dialogue: `python -m tests.bench.dialogue_cost`, which needs valgrind.

One device in mode monitor writes one message each to servers that are new to it, with the limits of the live filter.
Printed for each dialogue: instructions (valgrind's count, the same at every run), Python's bytecodes and calls, and CPU
microseconds. Each figure is a difference: the same process judges more, or fewer, of the same prepared packets, so
start-up and preparation cancel out. `--functions` adds what each function executes: bytecode instructions and calls.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import struct
import subprocess
import sys
import time
from collections import Counter
from ipaddress import ip_network
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from cpe_filter.engine import FORWARD, REQUIRED, Engine
from cpe_filter.inspect.facts import Limits
from cpe_filter.lean.clocks import PacketTime
from tests.build import ACK, DEVICE_MAC, FIN, PSH, ROUTER_MAC, START, SYN, Conversation, Packet
from tests.policies import make_policy

if TYPE_CHECKING:
    from _typeshed import TraceFunction

#: As in `cpe-filter run`.
LIMITS = Limits(waiting=500, transactions=0, recipients=0, last_reply=False, names=False)
#: Dialogues judged before counting begins (imports, caches, a warm interpreter), and with those that count.
WARM, MORE = 40, 140
RUNS = 7
#: Seconds between two dialogues.
PAUSE_S = 5.0
#: As the lab's client and server (dialogue.c) speak.
LINES = (
    (False, b"220 mx.example ESMTP ready\r\n"),
    (True, b"EHLO mail.sender.example\r\n"),
    (False, b"250-mx.example\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n"),
    (True, b"MAIL FROM:<newsletter@sender.example>\r\n"),
    (False, b"250 2.1.0 Ok\r\n"),
    (True, b"RCPT TO:<someone@mx.example>\r\n"),
    (False, b"250 2.1.0 Ok\r\n"),
    (True, b"DATA\r\n"),
    (False, b"354 End data with <CR><LF>.<CR><LF>\r\n"),
    (True, b"x" * 76 + b"\r\n.\r\n"),
    (False, b"250 2.0.0 Ok: queued as 4F2A91C3\r\n"),
    (True, b"QUIT\r\n"),
    (False, b"221 2.0.0 Bye\r\n"),
)


def dialogue(number: int) -> list[Packet]:
    """The packets of the number-th dialogue, but for pure acknowledgements, which the filter does not get to see."""
    server = f"198.{18 + number // 256}.{number % 256}.25"
    talk = Conversation("192.168.1.2", server, sport=40000 + number, time=START + PAUSE_S * number, step=0.02)
    talk.packet(True, SYN)
    talk.packet(False, SYN | ACK)
    for from_client, data in LINES:
        talk.packet(from_client, PSH | ACK, data)
    talk.packet(True, FIN | ACK)
    talk.packet(False, FIN | ACK)
    return [packet._replace(data=with_checksum(packet.data)) for packet in talk.packets]


def with_checksum(packet: bytes) -> bytes:
    """An IPv4 packet without options, its TCP checksum filled in (RFC 9293 section 3.1)."""
    pseudo = packet[12:20] + struct.pack("!HH", 6, len(packet) - 20)
    total: int = sum(part for (part,) in struct.iter_unpack("!H", pseudo + packet[20:] + bytes(len(packet) % 2)))
    return packet[:36] + (-total % 0xFFFF).to_bytes(2, "big") + packet[38:]


def engine() -> Engine:
    """An engine as `cpe-filter run` makes it."""
    made = Engine(make_policy(mode="monitor"), LIMITS, ours=lambda _: False, whole=False, checksums=REQUIRED)
    made.on_link([ip_network("192.168.1.0/24")])
    return made


def judge(packets: list[Packet], by: Engine) -> None:
    packet = by.packet
    for when, from_client, data in packets:
        packet(PacketTime(when), FORWARD, DEVICE_MAC if from_client else ROUTER_MAC, data)


def prepared(first: int, end: int) -> list[Packet]:
    return [packet for number in range(first, end) for packet in dialogue(number)]


def instructions() -> float:
    """A dialogue's, by valgrind."""

    def total(dialogues: int) -> int:
        count = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        run = subprocess.run(
            [*count, sys.executable, "-m", __spec__.name, "--judge", str(dialogues)],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"I +refs: +([\d,]+)", run.stderr)
        assert found is not None, run.stderr
        return int(found[1].replace(",", ""))

    return (total(MORE) - total(WARM)) / (MORE - WARM)


def executed() -> tuple[Counter[CodeType], Counter[CodeType]]:
    """Bytecode instructions and calls of each function in `MORE - WARM` dialogues."""
    by = engine()
    judge(prepared(0, WARM), by)
    packets = prepared(WARM, MORE)
    bytecodes: Counter[CodeType] = Counter()
    calls: Counter[CodeType] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> TraceFunction:
        frame.f_trace_opcodes = True
        if event == "call":
            calls[frame.f_code] += 1
        elif event == "opcode":
            bytecodes[frame.f_code] += 1
        return note

    sys.settrace(note)
    judge(packets, by)
    sys.settrace(None)
    return bytecodes, calls


def microseconds() -> float:
    """A dialogue's CPU time, median of interleaved runs."""
    warm, packets = prepared(0, WARM), prepared(WARM, MORE)
    times = []
    for _ in range(RUNS):
        by = engine()
        judge(warm, by)
        begun = time.process_time()
        judge(packets, by)
        times.append((time.process_time() - begun) / (MORE - WARM) * 1e6)
    return statistics.median(times)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dialogue_cost", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--judge", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--functions", action="store_true", help="print what each function executes, most first")
    options = parser.parse_args(argv)
    if options.judge is not None:
        judge(prepared(0, MORE)[: options.judge * len(dialogue(0))], engine())
        return 0
    bytecodes, calls = executed()
    count = MORE - WARM
    if options.functions:
        print("bytecodes  calls  function")
        for code, times in bytecodes.most_common():
            where = code.co_filename.rpartition("cpe_filter/")[2]
            print(f"{times / count:9.0f} {calls[code] / count:6.1f}  {where} {code.co_name}")
    print(f"a dialogue of {len(dialogue(0))} packets: {instructions() / 1000:.0f} k instructions", end=", ")
    print(f"{bytecodes.total() / count:.0f} bytecodes, {calls.total() / count:.0f} calls, {microseconds():.0f} us CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
