"""A cable that delays: `python -m tests.lab.turnaround.cable NAMESPACE DEVICE NAMESPACE DEVICE`. Needs no netem.

Makes a TAP device in each namespace, prints "ready", and carries frames between them in order. Lines on stdin are JSON,
the delays from now on: {"forth": {...}, "back": {...}}, each with the fields of `Way`. Answers "ok". Knows frames and
time alone.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from typing import NamedTuple

from tests.lab.netns import inside

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x2, 0x1000
_LARGEST = 65535
#: Frames that may be on their way; the cable drops more.
_MOST = 10_000


class Way(NamedTuple):
    """One direction: milliseconds of delay, uniform between `least` and `most`; `loss`: share of frames that are lost.

    sleep: the receiver wakes up after so many milliseconds, uniform between these two, and stays awake for `awake`.
    """

    least: float = 0.0
    most: float = 0.0
    loss: float = 0.0
    sleep: tuple[float, float] = (0.0, 0.0)
    awake: float = 0.0


class Direction:
    """Frames on their way in one direction."""

    def __init__(self) -> None:
        self.way = Way()
        self._last = self._wakes = 0.0

    def due(self, now: float) -> float | None:
        """When a frame that is sent now arrives; None: never."""
        way = self.way
        if random.random() < way.loss:
            return None
        at = now + random.uniform(way.least, way.most) / 1000
        if way.sleep[1]:
            # It sleeps again after each frame that it has got, and wakes up at times that nobody here decides.
            if at > self._wakes + way.awake / 1000:
                self._wakes = max(at, self._wakes) + random.uniform(0.0, random.uniform(*way.sleep)) / 1000
            at = max(at, self._wakes)
        self._last = max(self._last, at)
        return self._last


def tap(namespace: str, name: str) -> int:
    """A TAP device in a namespace; returns its descriptor. Raises OSError."""
    with inside(namespace):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return device


def carry(one: int, two: int) -> None:
    """Carries frames until stdin ends."""
    directions = {one: (two, Direction()), two: (one, Direction())}
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            try:
                os.write(to, frame)
            except OSError:
                pass  # the device is down, or full
        timeout = max(0.0, waiting[0][0] - now) if waiting else None
        ready, _, _ = select.select([0, one, two], [], [], timeout)
        now = time.monotonic()
        for fd in ready:
            if fd == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                ways = json.loads(line)
                directions[one][1].way, directions[two][1].way = Way(**ways["forth"]), Way(**ways["back"])
                print("ok", flush=True)
                continue
            to, direction = directions[fd]
            try:
                frame = os.read(fd, _LARGEST)
            except OSError:
                continue
            due = direction.due(now)
            if due is not None and len(waiting) < _MOST:
                number += 1
                heapq.heappush(waiting, (due, number, to, frame))


if __name__ == "__main__":
    namespace1, name1, namespace2, name2 = sys.argv[1:]
    ends = tap(namespace1, name1), tap(namespace2, name2)
    print("ready", flush=True)
    carry(*ends)
