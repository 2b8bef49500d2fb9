"""The filter with something about its surroundings changed: `python -m tests.faults.shim [options] run --policy FILE`.

Knows the filter's parts by name and changes them in its own process, before they are used. Options:

--clock FILE      the wall clock is ahead by the seconds in FILE (a float64, read each time), the monotonic clock
                  is not; no machine's clock is set, and the kernel's own stamps on files stay as they are
--slow MS         each packet takes the filter so many milliseconds longer
--no-flag         the queue's fail-open flag is left alone
--turns FILE      the lengths of the loop's turns go to FILE at the end, as JSON
--hang            SIGUSR1 makes it busy with nothing for 5 s: alive, and deaf
--begun FILE      the POSIX time goes to FILE when the filter begins to look at packets
"""

from __future__ import annotations

import argparse
import atexit
import json
import mmap
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_AHEAD = struct.Struct("=d")


def set_ahead(path: Path, seconds: float) -> None:
    """Sets the clock of a filter that was started with `--clock path`. The file keeps its place: it is mapped."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(_AHEAD.pack(seconds))


def _shift_clock(path: str) -> None:
    with open(path, "r+b") as file:
        ahead = mmap.mmap(file.fileno(), _AHEAD.size)
    real = time.time

    def shifted() -> float:
        return real() + float(_AHEAD.unpack(ahead[:])[0])

    def of_now(convert: Callable[..., Any]) -> Callable[..., Any]:
        return lambda seconds=None: convert(shifted() if seconds is None else seconds)

    changed: Any = time
    changed.time = shifted
    changed.time_ns = lambda: int(shifted() * 1e9)
    changed.localtime, changed.gmtime = of_now(time.localtime), of_now(time.gmtime)


def _slow_down(seconds: float) -> None:
    from cpe_filter import engine

    real = engine.Engine.packet

    def slow(*arguments: Any, **named: Any) -> str:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:  # busy, as a slow processor is
            pass
        return real(*arguments, **named)

    changed: Any = engine.Engine
    changed.packet = slow


def _leave_flag() -> None:
    from cpe_filter.enforce import nfqueue

    changed: Any = nfqueue
    changed.set_fail_open = lambda *_: ("", [])


class _TimedPoll:
    """A poll object that notes how long the program took from one wait to the next: by the clock, and of the CPU."""

    def __init__(self, turns: list[tuple[float, float]]) -> None:
        self._poll = select.poll()
        self._turns = turns
        self._since = self._cpu_since = 0.0
        self.register, self.unregister, self.modify = self._poll.register, self._poll.unregister, self._poll.modify

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        if self._since and len(self._turns) < 2_000_000:
            self._turns.append((time.monotonic() - self._since, time.thread_time() - self._cpu_since))
        ready = self._poll.poll(timeout)
        self._since, self._cpu_since = time.monotonic(), time.thread_time()
        return ready


def _time_turns(path: str) -> None:
    from cpe_filter.live import daemon as router

    turns: list[tuple[float, float]] = []

    class Timed:
        def __getattr__(self, name: str) -> Any:
            return getattr(select, name)

        def poll(self) -> _TimedPoll:
            return _TimedPoll(turns)

    def tell() -> None:
        taken = sorted(1000 * each for each, _ in turns) or [0.0]
        told = {"turns": len(turns), "p99_ms": taken[len(taken) * 99 // 100], "longest_ms": taken[-1]}
        told["longest_cpu_ms"] = max((1000 * cpu for _, cpu in turns), default=0.0)
        with open(path, "w") as file:
            json.dump(told, file)

    changed: Any = router
    changed.select = Timed()
    atexit.register(tell)


def _hang_when_told(seconds: float = 5.0) -> None:
    def hang(*_: Any) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    signal.signal(signal.SIGUSR1, hang)


def _tell_begin(path: str) -> None:
    from cpe_filter.live import daemon as router

    changed: Any = router
    real = changed.Queue

    def queue(*arguments: Any) -> Any:
        with open(f"{path}.new", "w") as file:
            file.write(repr(time.time()))
        os.replace(f"{path}.new", path)
        return real(*arguments)

    changed.Queue = queue


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--clock")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--no-flag", action="store_true")
    parser.add_argument("--turns")
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--begun")
    options, rest = parser.parse_known_args()
    if options.clock:
        _shift_clock(options.clock)
    if options.slow:
        _slow_down(options.slow / 1000)
    if options.no_flag:
        _leave_flag()
    if options.turns:
        _time_turns(options.turns)
    if options.hang:
        _hang_when_told()
    if options.begun:
        _tell_begin(options.begun)
    from cpe_filter.cli.main import main as run

    return run(rest)


if __name__ == "__main__":
    sys.exit(main())
