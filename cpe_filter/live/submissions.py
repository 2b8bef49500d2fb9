"""Devices at submission ports, and devices that take mail from outside: read from the kernel's counts now and then.

Knows when the counts are read, what is many, and how it is logged and reported. Must not know how it is counted
(enforce). Nothing here judges a device or stops a packet: who tries stolen passwords at strangers' submission servers
is reported, and the provider of each account decides. Counts are those of a day, and begin at 0 with the filter.

A household's device has one to three submission servers, and each has a few addresses by IPv4 and IPv6. The bounds of
`is_many` are judgement. A device that fails at one server again and again has an old password: that is not many.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cpe_filter.detect.device import DEVICES, Devices, device_name
from cpe_filter.enforce import submissions
from cpe_filter.lean.log import notice
from cpe_filter.lean.token_bucket import level as token_level
from cpe_filter.live.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.lean.clocks import PacketTime
    from cpe_filter.lean.log import Log
    from cpe_filter.lean.token_bucket import Bucket
    from cpe_filter.policy.model import Policy

#: Seconds between two readings, and of the time that is counted together.
READ_S, WINDOW_S = 60.0, 86400.0
#: So many servers in a day are many; or so many, if so many connections failed, and most did.
MANY_SERVERS, SOME_SERVERS, MANY_FAILURES = 20, 5, 20
#: Devices in the status and in a heartbeat; devices that take mail; lines in the log, at once and in an hour.
SHOWN, REPORTED, MOST_SERVING = 32, 8, 64
LINES_BURST, LINES_PER_HOUR = 8, 4


NONE = (0, 0, 0)


class _Submitter:
    """A device's counts since `began` (the engine's time; since: POSIX). kernel: what was read last.

    before: since and counts of the time before this one, if it had many.
    """

    __slots__ = ("before", "began", "connections", "failures", "kernel", "many", "servers", "since")

    def __init__(self, now: float) -> None:
        self.kernel: tuple[int, ...] = (0, 0, 0, 0)
        self._reset(now)

        self.before: tuple[float, tuple[int, int, int]] | None = None

    def begin(self, now: float) -> None:
        self.before = (self.since, self.counts) if self.many else None
        self._reset(now)

    def _reset(self, now: float) -> None:
        self.many = False
        self.began, self.since = now, time.time()
        self.servers = self.connections = self.failures = 0

    def add(self, kernel: tuple[int, ...], with_bytes: bool) -> None:
        """The kernel's counts now: connections, servers, answered, short. Each begins at 0 again when it expires."""
        past, self.kernel = self.kernel, kernel
        connections, servers, answered, short = [n - p if n >= p else n for n, p in zip(kernel, past, strict=True)]
        self.connections += connections
        self.servers += servers
        if with_bytes:
            self.failures = min(self.connections, self.failures + max(0, connections - answered) + short)

    @property
    def is_many(self) -> bool:
        most = self.failures >= MANY_FAILURES and 2 * self.failures > self.connections
        return self.servers >= MANY_SERVERS or (self.servers >= SOME_SERVERS and most)

    @property
    def shown(self) -> tuple[float, tuple[int, int, int], bool]:
        """Since when, counts, and whether these are many: those of the day before if they were, and these are not."""
        if self.before is not None and not self.many:
            return *self.before, True
        return self.since, self.counts, self.many

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.servers, self.connections, self.failures


class Submissions(Part):
    """named: the name of the device with this MAC, "" if none is known."""

    def __init__(self, policy: Policy, devices: Devices, named: Callable[[bytes], str], log: Log) -> None:
        self._counts = policy.detect.submission
        self._devices = devices
        self._named = named
        self._log = log
        self._table: dict[bytes, _Submitter] = {}
        self._serving: dict[bytes, tuple[int, float, float]] = {}  # by MAC: count, when last (engine's time, POSIX)
        self._next = 0.0
        self._lines: Bucket | None = None

    def tick(self, now: PacketTime) -> None:
        if now < self._next:
            return
        self._next = now + READ_S
        try:
            if self._counts:
                self._count(submissions.submissions(), submissions.counts_bytes(), now)
            self._serve(submissions.serving(), now)
        except OSError:
            return  # no ruleset: its guard restores it

    def reload(self, policy: Policy) -> None:
        self._counts = policy.detect.submission
        if not self._counts:
            for mac in self._table:
                self._mark(mac, NONE)
            self._table.clear()

    def _count(self, kernel: dict[bytes, tuple[int, ...]], with_bytes: bool, now: float) -> None:
        for mac, one in list(self._table.items()):
            if mac not in kernel:
                one.kernel = (0, 0, 0, 0)
            if now - one.began >= WINDOW_S:
                if not one.connections and mac not in kernel:
                    del self._table[mac]
                    self._mark(mac, NONE)
                else:
                    one.begin(now)
        for mac, counts in kernel.items():
            known = self._table.get(mac)
            if known is None:
                if len(self._table) >= DEVICES:
                    continue
                known = self._table[mac] = _Submitter(now)
            if counts != known.kernel:
                known.add(counts, with_bytes)
            if known.is_many and not known.many:
                known.many = True
                if not known.before:
                    self._say(mac, known, now)
            _, shown, many = known.shown
            self._mark(mac, shown if many else NONE)

    def _mark(self, mac: bytes, counts: tuple[int, int, int]) -> None:
        """For a device that sends mail straight to servers, too: its incidents have the counts if they are many."""
        device = self._devices.find(mac)
        if device is not None:
            device.submissions = counts

    def _serve(self, kernel: dict[bytes, int], now: float) -> None:
        for mac, count in kernel.items():
            before = self._serving.pop(mac, (0, 0.0, 0.0))
            moment = (now, time.time()) if count != before[0] else before[1:]
            self._serving[mac] = (count, *moment)
            if len(self._serving) > MOST_SERVING:
                del self._serving[next(iter(self._serving))]
        for mac, (_, last, _) in self._serving.items():
            device = self._devices.find(mac)
            if device is not None:
                device.served_at = last

    def _say(self, mac: bytes, one: _Submitter, now: float) -> None:
        tokens = token_level(self._lines, float(LINES_BURST), LINES_PER_HOUR, now)
        self._lines = (tokens - 1.0 if tokens >= 1.0 else tokens), now
        if tokens >= 1.0:
            self._log(
                notice(
                    f"device {device_name(mac)} used {one.servers} submission servers (ports 465, 587, 2525) in a day; "
                    f"{one.failures} of {one.connections} connections failed; nothing is blocked"
                )
            )

    def facts(self) -> dict[str, Any]:
        """`submission`: devices by their servers, the most first; `serving`: devices that take mail from outside."""
        return {
            "submission": [
                {
                    "device": device_name(mac),
                    "name": self._named(mac) or None,
                    "since": round(since, 3),
                    "servers": counts[0],
                    "connections": counts[1],
                    "failures": counts[2],
                    "many": many,
                }
                for mac, (since, counts, many) in self._sorted()[:SHOWN]
            ],
            "serving": [
                {"device": device_name(mac), "connections": count, "last": round(last, 3)}
                for mac, (count, _, last) in self._serving.items()
            ],
        }

    def many(self) -> list[tuple[bytes, int, int, int]]:
        """MAC and counts of the devices with many servers, at most `REPORTED`, the most servers first."""
        return [(mac, *counts) for mac, (_, counts, many) in self._sorted() if many][:REPORTED]

    def _sorted(self) -> list[tuple[bytes, tuple[float, tuple[int, int, int], bool]]]:
        found = [(mac, one.shown) for mac, one in self._table.items()]
        return sorted(found, key=lambda item: (not item[1][2], -item[1][1][0]))
