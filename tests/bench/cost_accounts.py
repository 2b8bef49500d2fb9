"""The kernel's accounts: how long a process ran, how much memory it has, how many packets a queue passed on.

Knows /proc. CPU times are those of the scheduler (schedstat, nanoseconds). Without CONFIG_IRQ_TIME_ACCOUNTING, as
usual, the kernel charges its work on packets to the process that happens to run. So client, server and filter share one
core, as on a small router, and their sum is the cost of a dialogue.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

QUEUE = 25
#: The core that client, server and filter share where one core is meant.
CORE = max(os.sched_getaffinity(0))


def cpu_ns(pid: int) -> int:
    """Nanoseconds that a process's threads ran."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def memory_kb(pid: int, key: str = "VmRSS") -> int:
    """A line of /proc/PID/status, in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise RuntimeError(f"no {key} of process {pid}")


class QueueCount(NamedTuple):
    """queued: packets handed to userspace since the queue was bound; waiting: of these without a verdict;
    lost: those that found the queue or its socket full."""

    queued: int
    waiting: int
    lost: int


def queue_count(pid: int) -> QueueCount | None:
    """The queue as /proc shows it to a process of the router; None while it is not bound."""
    try:
        lines = Path(f"/proc/{pid}/net/netfilter/nfnetlink_queue").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, _, waiting, _, _, full, unsent, sequence, *_ = map(int, line.split())
        if number == QUEUE:
            return QueueCount(sequence, waiting, full + unsent)
    return None


def machine_ticks() -> int:
    """Hundredths of a second that the shared core was not idle, for any process."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{CORE} "):
            user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, line.split()[1:])
            return user + nice + system + irq + softirq
    return 0


def kernel_thread() -> int:
    """The process id of the thread that does what softirqs leave undone on the shared core; 0 if not found."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                if (path / "comm").read_text().strip() == f"ksoftirqd/{CORE}":
                    return int(path.name)
    return 0


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started in here runs on one core only (None: anywhere)."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
