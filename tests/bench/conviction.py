"""How long a conviction takes to be the kernel's: `python -m tests.bench.conviction` (root).

A device has connections that run; a packet is read that convicts it. Measured is `Gate.serve` with that packet: when it
returns, the device and all its connections are in the kernel's sets, which is looked at afterwards. Median of the runs,
by the wall's clock. Everything happens in a network namespace of its own.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import time
from ipaddress import ip_network
from typing import Any, cast

from cpe_filter.detect.score import COMPROMISED
from cpe_filter.enforce import nftables
from cpe_filter.enforce.nflog import PacketLog
from cpe_filter.enforce.nfqueue import Queue
from cpe_filter.enforce.packets import Found
from cpe_filter.enforce.ruleset_names import BLOCKED, REFUSED, TABLE
from cpe_filter.engine import FORWARD, REQUIRED, Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.gate import Gate
from cpe_filter.policy.model import Policy
from tests.bench.dialogue_cost import LIMITS, with_checksum
from tests.build import ACK, DEVICE_MAC, LEGITIMATE, PSH, ROUTER_MAC, START, Conversation, Packet, session
from tests.lab.net import why_not
from tests.policies import make_policy

RUNS = 15
#: Connections of the device that run.
RUNNING = (0, 8, 64, 256)
GOAL_MS = 1.0
_SPAM = LEGITIMATE.replace("EHLO mail.example.org", "HELO 7-0-2-198.dynamic.example.net").split("C: DATA")[0]
_REFUSED = _SPAM.replace("S: 250 2.1.5 Ok", "S: 550 5.1.1 User unknown") + "C: QUIT\nS: 221 Bye\n"


class _Source:
    """Packets to read, in place of a queue and of a log."""

    lost = 0

    def __init__(self) -> None:
        self.fd, self._other = os.pipe()
        self.packets: list[Found] = []

    def read(self) -> list[Found]:
        packets, self.packets = self.packets, []
        return packets

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._other)


def _found(packet: Packet) -> Found:
    return 0, FORWARD, DEVICE_MAC if packet.from_client else ROUTER_MAC, with_checksum(packet.data)


def _packets(running: int) -> list[Packet]:
    """`running` connections that have begun, then a bot's."""
    packets = []
    for number in range(running):
        talk = Conversation("192.168.1.2", f"198.18.{number // 8}.{number % 8}", sport=30000 + number)
        talk.open()
        talk.packet(False, PSH | ACK, b"220 mx.example ESMTP\r\n")
        talk.packet(True, PSH | ACK, b"EHLO mail.example.org\r\n")
        packets += talk.packets
    for number in range(60):
        packets += session(_REFUSED, "192.168.1.2", f"198.51.{number}.25", sport=40000 + number)
    return [packet._replace(time=START + 0.01 * number) for number, packet in enumerate(packets)]


def _engine(policy: Policy) -> Engine:
    engine = Engine(policy, LIMITS, ours=lambda _: False, whole=False, checksums=REQUIRED)
    engine.on_link([ip_network("192.168.1.0/24")])
    return engine


def _convicting(policy: Policy, packets: list[Packet]) -> int:
    """Which of the packets convicts."""
    engine = _engine(policy)
    for number, packet in enumerate(packets):
        engine.packet(PacketTime(packet.time), *_found(packet)[1:])
        device = engine.devices.find(DEVICE_MAC)
        if device is not None and device.score.standing == COMPROMISED:
            return number
    raise RuntimeError("the bot is not convicted")


def once(policy: Policy, packets: list[Packet], last: int) -> tuple[float, int]:
    """Milliseconds until the kernel knows, and how many connections it ends."""
    engine = _engine(policy)
    for packet in packets[:last]:
        engine.packet(PacketTime(packet.time), *_found(packet)[1:])
    engine.events.clear()
    queue, shown = _Source(), _Source()
    lines: list[str] = []
    now = packets[last].time
    gate = Gate(
        engine, cast(Queue, queue), cast(PacketLog, shown), select.poll(), lambda: PacketTime(now), lines.append
    )
    shown.packets = [_found(packets[last])]
    begun = time.perf_counter()
    gate.handle()
    took = (time.perf_counter() - begun) * 1e3
    blocked, ended = elements(BLOCKED), elements(f"{REFUSED}4")
    gate.close()
    running = [flow for flow in engine.flows if not flow.session.closed]
    if DEVICE_MAC.hex(":") not in blocked or len(ended) < len(running) or lines:
        raise RuntimeError(
            f"the kernel has {len(blocked)} devices, {len(ended)} of {len(running)} connections; {lines}"
        )
    return took, len(ended)


def elements(name: str) -> list[Any]:
    """What is in one of the ruleset's sets."""
    text = subprocess.run(
        ["nft", "-j", "list", "set", "inet", TABLE, name], capture_output=True, text=True, check=True
    ).stdout
    (found,) = [one["set"] for one in json.loads(text)["nftables"] if "set" in one]
    return [one["elem"]["val"] for one in found.get("elem", [])]


def measure(running: int, runs: int = RUNS) -> tuple[float, int]:
    """Median of milliseconds, and connections that are ended. Installs the ruleset where this process is."""
    policy = make_policy(mode="monitor", refusal="reset")
    packets = _packets(running)
    last = _convicting(policy, packets)
    handoff = nftables.find_handoff(policy)
    took, ended = [], 0
    for _ in range(runs):
        nftables.remove()
        nftables.update(policy, handoff, True)
        one, ended = once(policy, packets, last)
        took.append(one)
    return statistics.median(took), ended


def main() -> int:
    reason = why_not()
    if reason:
        print(f"conviction is not measured: {reason}", file=sys.stderr)
        return 0
    if "--inside" not in sys.argv:
        return subprocess.run(["unshare", "--net", sys.executable, "-m", __spec__.name, "--inside"]).returncode
    missed = False
    for running in RUNNING:
        took, ended = measure(running)
        missed = missed or took > GOAL_MS
        verdict = "MISSED" if took > GOAL_MS else "met"
        print(f"conviction to kernel, {ended:>3} running connections  <= {GOAL_MS:g} ms {took:>7.3f}  {verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
