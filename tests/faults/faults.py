"""The faults: what can go wrong on a router while mail passes, each a function of a scene.

Knows how to do harm, bounded, inside the lab. A fault's docstring is its text in the table. Each gets the seconds that
it should last, and leaves in `scene.notes` what it saw besides the dialogues.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cpe_filter.inspect.packet import FIN, RST, SYN, parse
from cpe_filter.replay.capture import frames
from tests.faults.probe import Probe
from tests.faults.scene import (
    ADMITTED,
    BLOCK_CLOSED,
    BLOCK_OPEN,
    CLOSED,
    HOSTS,
    LIMIT_CLOSED,
    LIMIT_OPEN,
    OPEN,
    Scene,
)
from tests.faults.shim import set_ahead
from tests.ip_packets import network_layer
from tests.lab.net import BOUNDS, PYTHON, mx4, mx6, within
from tests.lab.netns import inside

#: What the flush gives back at once: the router's own NAT, as fw4 does when it restarts.
_NAT = "table ip lab_nat { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }; }"
TEN_YEARS_S = 10 * 365.25 * 86400
#: Seconds from a kill to the supervisor's restart.
RESPAWN_S = 0.3
FLOOD_RATE = 50_000
#: Seconds without a sign of life after which a filter counts as dead, at most; and those of a SYN sent again meanwhile.
DEAD_S = 10.0
#: Connections of a device that is convicted.
_RUNNING = 20
_NOT_OF_THE_STREAM = 10**9
_STRANGER4, _STRANGER6 = mx4(20), mx6(24)
_TURNS = ("--turns", "{lab}/turns.json")
_FIVE_YEARS = f"[[exempt]]\ndestination = '198.18.2.0/24'\nuntil = {time.gmtime().tm_year + 5}-01-01\n"
_UNLIMITED = OPEN + "escalate = false\n"


class CannotTryError(RuntimeError):
    """The fault cannot be tried here; the text says why."""


class Fault(NamedTuple):
    """do: the fault itself. The rest: the scene that it wants. What is added to `policy` is of [filter]."""

    name: str
    do: Callable[[Scene, float], None]
    policy: str = OPEN
    shim: tuple[str, ...] = ()
    tmpfs: bool = False
    filtered: bool = True
    hosts: tuple[str, ...] = HOSTS

    @property
    def read(self) -> bool:
        """Whether the filter is to read the stream: mail to relays it does not see."""
        return self.filtered and self.hosts == HOSTS

    @property
    def about(self) -> str:
        return (self.do.__doc__ or "").strip().rstrip(".")


def nothing(scene: Scene, seconds: float) -> None:
    """Nothing happens, for comparison."""
    before = scene.packets_judged()
    time.sleep(seconds)
    scene.notes["packets_judged"] = scene.packets_judged() - before


def kill(scene: Scene, seconds: float) -> None:
    """kill -9, restarted after 0.3 s, again and again."""
    ready = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scene.kill_filter()
        time.sleep(RESPAWN_S)
        ready.append(scene.start_filter())
        time.sleep(1.0)
    scene.notes["kills"] = len(ready)
    scene.notes["ready_s"] = round(max(ready), 3)


def restart(scene: Scene, seconds: float) -> None:
    """An orderly end and a new start, again and again."""
    ready = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if scene.filter.stop() != 0:
            raise RuntimeError(f"the filter did not end in order:\n{scene.log()}")
        ready.append(scene.start_filter())
        time.sleep(1.0)
    scene.notes["restarts"] = len(ready)
    scene.notes["ready_s"] = round(max(ready), 3)


def stop(scene: Scene, seconds: float) -> None:
    """SIGSTOP for 3 s, then SIGCONT."""
    scene.filter.process.send_signal(signal.SIGSTOP)
    time.sleep(3.0)
    scene.filter.process.send_signal(signal.SIGCONT)
    time.sleep(max(0.0, seconds - 3.0))


def pulses(scene: Scene, seconds: float) -> None:
    """Stopped for 250 ms of every 300."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scene.filter.process.send_signal(signal.SIGSTOP)
        time.sleep(0.25)
        scene.filter.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)


def reload(scene: Scene, seconds: float) -> None:
    """SIGHUP every 0.2 s; every fourth time the policy is wrong, every other one of two."""
    if not _catches(scene.filter.process.pid, signal.SIGHUP):
        raise CannotTryError("the filter does not know SIGHUP")
    good = scene.policy.read_text()
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        count += 1
        wrong = "[filter\n" if count % 4 == 0 else ""
        _replace(
            scene.policy, wrong + good + (f"[[exempt]]\ndestination = '198.18.{count % 250}.0/24'\n" * (count % 2))
        )
        scene.filter.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
    _replace(scene.policy, good)
    scene.filter.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    scene.notes["signals"] = count + 1
    scene.notes["in_effect"] = scene.log().count("is in effect")
    scene.notes["refused"] = scene.log().count("reload by SIGHUP refused")


def flush(scene: Scene, seconds: float) -> None:
    """`nft flush ruleset`, as by a firewall's restart; the filter has to find it."""
    before = _rules(scene)
    restored = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        scene.lab.nft("router", "flush ruleset\n" + _NAT)
        while _rules(scene) != before:
            if time.monotonic() - begun > within(8.0):
                scene.notes["restored_s"] = None
                return
            time.sleep(0.05)
        restored.append(time.monotonic() - begun)
        time.sleep(2.0)
    scene.notes["flushes"] = len(restored)
    scene.notes["restored_s"] = round(max(restored), 2)


def slow(scene: Scene, seconds: float) -> None:
    """A filter of 1 ms a packet, and 3,000 SYN/s from the other device, unlimited."""
    scene.flooded(scene.flood(3000, seconds))


def flooded(scene: Scene, seconds: float) -> None:
    """50,000 SYN/s from the other device."""
    scene.flooded(scene.flood(FLOOD_RATE, min(seconds, 5.0)))


def answered(scene: Scene, seconds: float) -> None:
    """10,000 SYN/s from the other device to servers that answer."""
    scene.flooded(scene.flood(10_000, seconds, "answered"))


def macs(scene: Scene, seconds: float) -> None:
    """10,000 SYN/s, each with a MAC of its own: no guard knows who it is."""
    scene.flooded(scene.flood(10_000, seconds, "macs"))


def full(scene: Scene, seconds: float) -> None:
    """The tmpfs with the filter's files is full."""
    filler = scene.files / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    time.sleep(seconds)
    complaints = [line for line in scene.log().splitlines() if "not written" in line]
    filler.unlink()
    freed = time.time()
    time.sleep(2.5)
    scene.notes["complaints"] = len(complaints)
    scene.notes["written_again"] = (scene.files / "status.json").stat().st_mtime > freed


def clock(scene: Scene, seconds: float) -> None:
    """The wall clock jumps 10 years ahead, then 20 back, then to where it was."""
    for ahead in (TEN_YEARS_S, -TEN_YEARS_S, 0.0):
        set_ahead(scene.clock, ahead)
        time.sleep(max(1.5, seconds / 3))
    # Exemptions go by the wall clock, all else by one that does not jump.
    scene.notes["exemption_over"] = "has expired" in scene.log()
    scene.notes["and_in_force_again"] = "is in force again" in scene.log()


def closed_kill(scene: Scene, seconds: float) -> None:
    """fail closed: kill -9, restarted after 1.5 s."""
    path = scene.lab.folder / "wan.pcap"
    tcpdump = scene.lab.capture("internet", "isp", path, "tcp dst port 25")
    scene.harm_begins()
    spans = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scene.kill_filter()
        begun = time.time()
        time.sleep(1.5)
        scene.start_filter()
        spans.append((begun, float((scene.lab.folder / "begun").read_text())))
        time.sleep(1.5)
    time.sleep(0.3)
    scene.lab.stop(tcpdump)
    scene.notes["down_s"] = round(sum(b - a for a, b in spans), 1)
    scene.notes["left_unseen"] = left_between(path, spans)


def closed_stop(scene: Scene, seconds: float) -> None:
    """fail closed: SIGSTOP for 3 s, then SIGCONT."""
    path = scene.lab.folder / "wan.pcap"
    tcpdump = scene.lab.capture("internet", "isp", path, "tcp dst port 25")
    scene.harm_begins()
    scene.filter.process.send_signal(signal.SIGSTOP)
    begun = time.time()
    time.sleep(3.0)
    spans = [(begun + 0.05, time.time())]
    scene.filter.process.send_signal(signal.SIGCONT)
    time.sleep(max(0.0, seconds - 3.0))
    scene.lab.stop(tcpdump)
    scene.notes["left_unseen"] = left_between(path, spans)


# ── mode block, limit and monitor without a filter ──────────────────────────────────────────────────


def _block_without(scene: Scene, seconds: float, harm: Callable[[], None], repair: Callable[[], float | None]) -> None:
    """Another device tries strangers while the filter is not there."""
    path = scene.lab.folder / "wan.pcap"
    tcpdump = scene.lab.capture("internet", "isp", path, f"tcp dst port 25 and (dst {_STRANGER4} or dst {_STRANGER6})")
    with Probe(scene.lab, "device2", _STRANGER4) as four, Probe(scene.lab, "device2", _STRANGER6) as six:
        time.sleep(0.5)
        scene.harm_begins()
        harm()
        time.sleep(max(seconds, 3.0))
        repair()
        time.sleep(0.5)
    scene.lab.stop(tcpdump)
    tried = four.attempts + six.attempts
    scene.notes["direct_tried"] = len(tried)
    scene.notes["direct_not_refused"] = sum(each.outcome != "refused" for each in tried)
    scene.notes["refused_ms"] = max((each.ms for each in tried if each.outcome == "refused"), default=0.0)
    scene.notes["left"] = left_between(path, [(0.0, float("inf"))])


def block_kill(scene: Scene, seconds: float) -> None:
    """Mode block: kill -9, restarted at the end; another device tries strangers"""
    _block_without(scene, seconds, scene.kill_filter, scene.start_filter)


def block_stop(scene: Scene, seconds: float) -> None:
    """Mode block: SIGSTOP, SIGCONT at the end; another device tries strangers"""
    _block_without(scene, seconds, lambda: _signal(scene, signal.SIGSTOP), lambda: _signal(scene, signal.SIGCONT))


def block_hang(scene: Scene, seconds: float) -> None:
    """Mode block: the filter is busy with nothing for 5 s; another device tries strangers"""
    _block_without(scene, max(seconds, 5.0), lambda: _signal(scene, signal.SIGUSR1), lambda: None)


def _until_dead(scene: Scene, harm: Callable[[], None], repair: Callable[[], object], seconds: float) -> None:
    """No filter for so long. Notes when connections came through again, and when they did no more."""
    with Probe(scene.lab, "device2", HOSTS[0]) as probe:
        time.sleep(0.5)
        scene.harm_begins()
        begun = time.monotonic()
        harm()
        time.sleep(seconds)
        repaired = time.monotonic()
        repair()
        time.sleep(4.0)  # SYNs are sent again after 1 and 3 s
    through = [each for each in probe.since(begun, repaired) if each.outcome == "through" and each.ended < repaired]
    # The first, and the last: for what fails open, and what fails closed.
    ends = [each.ended - begun for each in through]
    scene.notes["passes_after_s"] = min(ends) if ends else None
    scene.notes["passes_until_s"] = max(ends) if ends else None
    scene.notes["worst_through_ms"] = max((each.ms for each in through), default=0.0)
    scene.notes["passes_again_s"] = probe.first("through", repaired)


#: How long a dead filter is dead in these scenes: until it counts as such, and for two of the SYN's repetitions more.
_LONG_S = DEAD_S + (4.0 if BOUNDS else 10.0)


def killed(scene: Scene, seconds: float) -> None:
    """kill -9, restarted after 14 s (20 in `make test`)"""
    _until_dead(scene, scene.kill_filter, scene.start_filter, _LONG_S)


def stopped(scene: Scene, seconds: float) -> None:
    """SIGSTOP for 14 s, then SIGCONT"""
    _until_dead(scene, lambda: _signal(scene, signal.SIGSTOP), lambda: _signal(scene, signal.SIGCONT), _LONG_S)


def relays_flooded(scene: Scene, seconds: float) -> None:
    """50,000 SYN/s, each with a MAC of its own, while mail goes to relays and exempt servers"""
    scene.flooded(scene.flood(FLOOD_RATE, min(seconds, 5.0), "macs"))


def convict(scene: Scene, seconds: float) -> None:
    """A device with 20 connections to servers it knows is convicted; these are to end within 100 ms"""
    for host in HOSTS:
        scene.lab.run(
            "device2", [PYTHON, "-m", "tests.lab.send", host, "--sender", f"ann{_NOT_OF_THE_STREAM}@home.example"]
        )
    running = []
    for number in range(_RUNNING):
        with inside(scene.lab.namespace("device2")):
            running.append(socket.create_connection((HOSTS[number % len(HOSTS)], 25), 5))
        running[-1].recv(99)
        running[-1].setblocking(False)
    scene.harm_begins()
    program = [PYTHON, "-m", "tests.lab.bot", "--pause", "0.02", "--count", "60", "--first", "20"]
    bot = scene.lab.start("device2", program)
    convicted = 0.0
    answered = time.monotonic()
    end = time.monotonic() + seconds + 10.0
    going = list(running)
    while going and time.monotonic() < end:
        if not convicted and "is now compromised" in scene.log():
            convicted = time.monotonic()
        for each in list(going):
            try:
                each.send(b"NOOP\r\n")
                if each.recv(4096):
                    answered = time.monotonic()
            except BlockingIOError:
                pass
            except OSError:
                going.remove(each)
        time.sleep(0.005)
    scene.lab.stop(bot)
    for each in running:
        each.close()
    time.sleep(seconds)
    scene.notes["running"] = len(running)
    scene.notes["going_on"] = len(going)
    scene.notes["ended_ms"] = 1000 * (answered - convicted) if convicted and not going else None


def _signal(scene: Scene, number: int) -> None:
    scene.filter.process.send_signal(number)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("nothing", nothing),
        Fault("kill", kill),
        Fault("restart", restart),
        Fault("stop", stop),
        Fault("pulses", pulses),
        Fault("reload", reload),
        Fault("flush", flush),
        Fault("slow", slow, _UNLIMITED, ("--slow", "1")),
        Fault("flood", flooded, shim=_TURNS),
        Fault("flood-unlimited", flooded, _UNLIMITED, _TURNS),
        Fault("flood-unguarded", flooded, _UNLIMITED + "queue_rate = 1000000\n", _TURNS),
        Fault("flood-answered", answered, _UNLIMITED, _TURNS),
        Fault("flood-macs", macs, _UNLIMITED, _TURNS),
        Fault("flood-no-filter", flooded, filtered=False),
        Fault("full", full, tmpfs=True),
        Fault("clock", clock, _FIVE_YEARS + OPEN, ("--clock", "{lab}/clock")),
        Fault("closed-kill", closed_kill, LIMIT_CLOSED, ("--begun", "{lab}/begun")),
        Fault("closed-stop", closed_stop, LIMIT_CLOSED),
        Fault("block-kill", block_kill, BLOCK_OPEN, hosts=ADMITTED),
        Fault("block-stop", block_stop, BLOCK_OPEN, hosts=ADMITTED),
        Fault("block-hang", block_hang, BLOCK_CLOSED, ("--hang",), hosts=ADMITTED),
        Fault("limit-kill", killed, LIMIT_OPEN),
        Fault("limit-stop", stopped, LIMIT_OPEN),
        Fault("limit-kill-closed", killed, LIMIT_CLOSED, hosts=ADMITTED[:2]),
        Fault("limit-stop-closed", stopped, LIMIT_CLOSED, hosts=ADMITTED[:2]),
        Fault("monitor-kill", killed, OPEN),
        Fault("monitor-stop", stopped, OPEN),
        Fault("monitor-kill-closed", killed, CLOSED, hosts=ADMITTED[:2]),
        Fault("monitor-stop-closed", stopped, CLOSED, hosts=ADMITTED[:2]),
        Fault("block-flood", relays_flooded, BLOCK_OPEN, hosts=ADMITTED),
        Fault("limit-flood", relays_flooded, LIMIT_OPEN, hosts=ADMITTED[:2]),
        Fault("convict", convict, OPEN.replace("= true", "= false", 1)),
    )
}


def left_between(path: Path, spans: list[tuple[float, float]]) -> int:
    """Packets of a capture by which mail went out in these times: all but pure acknowledgements."""
    count = 0
    for frame in frames(str(path), print):
        layer = network_layer(frame)
        segment = parse(layer[1]) if layer else "no IP"
        if isinstance(segment, str) or not any(a <= frame.time < b for a, b in spans):
            continue
        if segment.payload or segment.flags & (SYN | FIN | RST):
            count += 1
    return count


def _replace(path: Path, text: str) -> None:
    """As an editor saves: never half a file."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    os.replace(temporary, path)


def _rules(scene: Scene) -> list[str]:
    """The rules there are, without handles, counts or elements. Tables are listed in the order of their making."""
    return sorted(scene.lab.run("router", ["nft", "-s", "-t", "list", "ruleset"]).stdout.splitlines())


def _catches(pid: int, number: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
