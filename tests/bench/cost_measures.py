"""What is measured, one function for each: a lab in, figures out. Knows the load; must not know the goals.

All CPU figures are microseconds, all sizes MB of 10^6 bytes but for memory (MB of 2^20), all times seconds.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cpe_filter.enforce.ruleset_names import TABLE
from cpe_filter.engine import LOST_AFTER_S
from tests.bench.cost_accounts import cpu_ns, kernel_thread, machine_ticks, memory_kb, on_core, queue_count
from tests.bench.cost_lab import GENEROUS, SERVERS, STATUS_S, CostLab, Handler, UnavailableError
from tests.lab.net import mx6

Start = Callable[[CostLab], contextlib.AbstractContextManager[Handler]]

#: The variants of the comparison, in the order of the table. Of a device's dialogues with servers that have answered it
#: before the filter sees a packet each, by default; with a server that is new to it, and in mode limit, all is read.
VARIANTS: dict[str, Start] = {
    "no filter": lambda lab: lab.nothing(),
    "C, accepts everything": lambda lab: lab.accept_c(),
    "Python, accepts everything": lambda lab: lab.accept_python(),
    "cpe-filter, known servers": lambda lab: lab.filter("monitor", read_known=False),
    "cpe-filter, new servers": lambda lab: lab.filter("monitor"),
    "cpe-filter, limit": lambda lab: lab.filter("limit"),
    "Suricata, tuned": lambda lab: lab.suricata(),
}
NONE, C, PYTHON_ALL, KNOWN, NEW, LIMIT, SURICATA = VARIANTS
PARALLEL = 8
WARM_UP = 50
SHORT = 1_000
FLOWS = 4096
#: In so many rounds they are opened.
ROUNDS = 8


class Round(NamedTuple):
    """One run of short dialogues. us: total CPU a dialogue (client, server, handler, kernel); machine_us: the shared
    core's by the machine's own, coarser account, whoever used it; handler_us: the handler's; queued: packets a
    dialogue; rss: MB before and after."""

    us: float
    machine_us: float
    handler_us: float
    per_second: float
    queued: float
    rss: tuple[float, float]
    failed: int


def dialogues(lab: CostLab, start: Start, count: int) -> Round:
    """Short dialogues through one handler, freshly started."""
    with start(lab) as handler:
        lab.talk(WARM_UP, PARALLEL, SHORT)
        if handler.process:
            settle(handler.pid)
        pids = [lab.server.pid] + ([handler.pid] if handler.process else [])
        thread = kernel_thread()
        rss = memory_kb(handler.pid) if handler.process else 0
        queued, ticks = handler.queued(), machine_ticks()
        before = [cpu_ns(pid) for pid in (*pids, *([thread] if thread else []))]
        talk = lab.talk(count, PARALLEL, SHORT)
        if handler.process:
            settle(handler.pid)
        used = [cpu_ns(pid) - was for pid, was in zip((*pids, *([thread] if thread else [])), before, strict=True)]
        ticks = machine_ticks() - ticks
        queued = handler.queued() - queued
        grown = memory_kb(handler.pid) if handler.process else 0
    return Round(
        us=(sum(used) / 1e3 + talk.cpu_s * 1e6) / count,
        machine_us=ticks * 1e4 / count,
        handler_us=used[1] / 1e3 / count if handler.process else 0.0,
        per_second=talk.done / talk.seconds,
        queued=queued / count,
        rss=(rss / 1024, grown / 1024),
        failed=talk.failed,
    )


def settle(pid: int, step_s: float = 0.05, busy: float = 0.1, most_s: float = 30.0) -> None:
    """Waits until a handler has worked off what it was shown: nobody waits for it where packets are only shown.

    busy: the part of the time that it runs when it has not.
    """
    end, before = time.monotonic() + most_s, cpu_ns(pid)
    while time.monotonic() < end:
        time.sleep(step_s)
        now = cpu_ns(pid)
        if now - before < busy * step_s * 1e9:
            return
        before = now
    raise RuntimeError(f"the handler has not worked off what it was shown within {most_s:g} s")


#: By variant: its rounds, or why it could not run.
Compared = dict[str, list[Round] | str]


def compare(lab: CostLab, rounds: int, count: int, tell: Callable[[str], None]) -> Compared:
    """Interleaved rounds of all variants; a variant that cannot run has its reason instead."""
    results: Compared = {name: [] for name in VARIANTS}
    for number in range(rounds):
        names = list(VARIANTS)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            so_far = results[name]
            if isinstance(so_far, str):
                continue
            try:
                so_far.append(dialogues(lab, VARIANTS[name], count))
            except UnavailableError as error:
                results[name] = str(error)
        tell(f"short dialogues: round {number + 1} of {rounds}")
    return results


def uploads(lab: CostLab, variants: tuple[str, ...], rounds: int, size: int) -> dict[str, list[tuple[float, int]]]:
    """One message of `size` bytes on one connection, interleaved: MB/s and packets queued.

    Raises `UnavailableError`.
    """
    results: dict[str, list[tuple[float, int]]] = {name: [] for name in variants}
    for number in range(rounds):
        turn = number % len(variants)
        for name in variants[turn:] + variants[:turn]:
            with VARIANTS[name](lab) as handler:
                lab.talk(2, 1, SHORT)
                before = handler.queued()
                talk = lab.talk(1, 1, size)
                if talk.failed:
                    raise RuntimeError(f"an upload of {size} bytes failed: {name}")
                results[name].append((size / talk.seconds / 1e6, handler.queued() - before))
    return results


def queued_by_size(lab: CostLab, sizes: tuple[int, ...], count: int = 20) -> dict[str, tuple[float, float]]:
    """One-message dialogues one after the other, by family and size: packets queued, and packets on the wire."""
    lab.wire_counter()
    results = {}
    with lab.filter("monitor") as handler:
        for family, servers in (("IPv4", SERVERS), ("IPv6", [mx6(number) for number in range(8)])):
            lab.talk(len(servers), 1, SHORT, servers)  # neighbours and routes are found
            for size in sizes:
                time.sleep(0.3)  # the last packets of the dialogues before
                queued, wire = handler.queued(), lab.wire_count()
                talk = lab.talk(count, 1, size, servers)
                if talk.failed:
                    raise RuntimeError(f"{talk.failed} of {count} dialogues with {size} bytes failed over {family}")
                time.sleep(0.3)
                found = (handler.queued() - queued) / count, (lab.wire_count() - wire) / count
                results[f"{family}, {size // 1000} kB"] = found
    return results


class Flood(NamedTuple):
    """A flood of SYNs. sent, seconds: as the sender did it. queued: packets that reached the filter, answers to what
    it let pass among them. passed: connections that it let begin, to their server or to the responder, before it
    decided against the device. beyond: SYNs queued beyond the deciding one. handler: its share of a core in the last
    part of the flood; idle: the same without a flood."""

    sent: int
    seconds: float
    queued: int
    passed: int
    beyond: int
    handler: float
    idle: float
    standing: str


def flood(lab: CostLab, mode: str, rate: int, seconds: float, idle_s: float = 10.0, status_s: int = STATUS_S) -> Flood:
    """One device sprays SYNs to silent addresses; standings may raise the mode, the limits are the defaults."""
    with lab.filter(mode, "", status_s=status_s) as handler:
        idle = _share(handler.pid, idle_s) if idle_s else 0.0
        begun = time.monotonic()
        process = lab.flood(rate, seconds)
        time.sleep(min(2.0, seconds / 2))
        share = _share(handler.pid, max(0.1, begun + seconds - time.monotonic() - 0.2))
        sent = json.loads(process.communicate(timeout=30)[0])
        time.sleep(0.3)
        queued = handler.queued()
        assert handler.filter is not None
        time.sleep(status_s)
        device = handler.filter.device("device1")
        if device is None:
            raise RuntimeError("the filter does not know the device that sent a flood")
        passed = device["connections"] - device["refused"] + lab.counter(TABLE, "explained")
    beyond = max(0, device["connections"] - passed - 1)
    return Flood(sent["sent"], sent["seconds"], queued, passed, beyond, share, idle, device["standing"])


def _share(pid: int, seconds: float) -> float:
    """The share of a core that a process uses."""
    used, begun = cpu_ns(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_ns(pid) - used) / 1e9 / (time.monotonic() - begun)


class Memory(NamedTuple):
    """MB resident: a bare interpreter, the filter idle (one lease), the filter with flows and devices (so many)."""

    bare: float
    idle: float
    loaded: float
    flows: int
    devices: int


def memory(lab: CostLab, status_s: int = STATUS_S) -> Memory:
    """Resident memory, idle and with `FLOWS` dialogues of `DEVICES` devices, each held after its first RCPT.

    They are opened in rounds: of more packets at once than the filter's socket holds, some would be lost to it.
    """
    bare = bare_interpreter(lab.python)
    with lab.filter("monitor"):
        pass  # its modules are compiled now
    with lab.filter("monitor", status_s=status_s) as handler:
        time.sleep(1.5)
        idle = memory_kb(handler.pid) / 1024
    sources = lab.many_devices()
    with lab.filter("monitor", status_s=status_s) as handler:
        assert handler.filter is not None
        with contextlib.ExitStack() as rounds:
            for number in range(1, ROUNDS + 1):
                rounds.enter_context(held(lab, sources, FLOWS // ROUNDS))
                end = time.monotonic() + status_s + 20
                while handler.filter.status()["flows"] < number * FLOWS // ROUNDS and time.monotonic() < end:
                    time.sleep(0.2)
            settle(handler.pid)
            loaded = memory_kb(handler.pid) / 1024
            time.sleep(status_s + 0.5)
            loaded = max(loaded, memory_kb(handler.pid) / 1024)
            status = handler.filter.status()
    return Memory(bare, idle, loaded, status["flows"], len(status["devices"]))


def bare_interpreter(python: list[str]) -> float:
    """MB resident of the interpreter alone: the median of three."""
    found = []
    for _ in range(3):
        with subprocess.Popen(
            [*python, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            found.append(memory_kb(process.pid) / 1024)
            process.communicate(b"\n")
    return statistics.median(found)


@contextlib.contextmanager
def held(lab: CostLab, sources: str, count: int) -> Iterator[None]:
    """So many dialogues from these addresses, which stay open after their RCPT."""
    command = lab.lab.command("device1", lab.client_command(count, 32, SHORT, True, sources))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        if line["held"] != count:
            process.kill()
            raise RuntimeError(f"of {count} dialogues {line['held']} came as far as RCPT")
        yield
        process.communicate("")


def first_verdict(lab: CostLab) -> float:
    """Seconds from exec until a packet has its verdict, while one device sends a SYN every millisecond."""
    with lab.filter("monitor"):
        pass  # its modules are compiled now
    policy = lab.policy("limit")  # there a SYN waits for its verdict
    flooding = lab.flood(1000, 4)
    time.sleep(0.2)
    begun = time.monotonic()
    process = lab.lab.start("router", lab.filter_command(policy), subprocess.DEVNULL)
    try:
        while time.monotonic() < begun + 3:
            count = queue_count(process.pid)
            if count and count.queued > count.waiting:
                return time.monotonic() - begun
            time.sleep(0.0005)
        raise RuntimeError("no packet got a verdict within 3 s")
    finally:
        lab.lab.stop(process)
        flooding.wait(10)


class Gap(NamedTuple):
    """The longest time that timers and signals waited, and how much of it the filter itself ran. sent: SYNs."""

    gap_s: float
    cpu_s: float
    turns: int
    sent: int


def loop_gap(lab: CostLab, rate: int, seconds: float) -> Gap:
    """The event loop while one device sends more SYNs than can be handled, and dialogues as well.

    Mode monitor without escalation, which refuses nothing: what the kernel lets through has to be judged. The run goes
    on until the last SYNs of the flood, a whole table of them within a moment, count as lost attempts.
    """
    report = Path(lab.lab.folder) / "loop.json"
    with lab.filter("monitor", GENEROUS, watch=report):
        flooding = lab.flood(rate, seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end - 0.5:
            with on_core(None):
                lab.talk(200, 64, SHORT)
        sent = json.loads(flooding.communicate(timeout=30)[0])["sent"]
        time.sleep(LOST_AFTER_S + 1.5)
    return Gap(sent=sent, **json.loads(report.read_text()))
