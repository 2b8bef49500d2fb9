"""The time in which no program holds the filter's queue, and what left the router for port 25 in it.

    with NoFilter(router, knocking="device3", settled=mx4(0)) as seen:
        ...  # the filter is replaced
    seen.facts()

Knows the kernel's list of queues and captures. Must not know why the filter was away.
"""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from cpe_filter.replay.capture import CaptureError, frames
from tests.ip_packets import network_layer
from tests.lab.net import PATIENCE, PYTHON, RELAY4, Lab, mx4

QUEUE = "25"
#: Strangers' servers that the knocking device has never met.
STRANGERS = tuple(mx4(number) for number in (34, 35, 36))
TURN_S = 0.005 * PATIENCE


class NoFilter:
    """`pid`: a process in the router's network."""

    def __init__(self, lab: Lab, pid: int, knocking: str, settled: str) -> None:
        self._lab, self._knocking, self._settled = lab, knocking, settled
        self._queues = Path(f"/proc/{pid}/net/netfilter/nfnetlink_queue")
        self._files = {name: lab.folder / f"no-filter-{name}.pcap" for name in ("came", "left")}
        self._gaps: list[tuple[float, float]] = []
        self._end = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> NoFilter:
        self._captures = [
            self._lab.capture(name, interface, self._files[which], "tcp dst port 25")
            for name, interface, which in (("router", "br-lan", "came"), ("internet", "isp", "left"))
        ]
        words = [PYTHON, "-m", "tests.vm.knock", self._settled, *STRANGERS, RELAY4]
        self._knocks = self._lab.start(self._knocking, words)
        assert self._knocks.stdout is not None
        assert self._knocks.stdout.readline().strip() == "ready"
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.sleep(1)  # with the filter again
        self._end.set()
        self._watch.join()
        for process in (self._knocks, *self._captures):
            self._lab.stop(process)

    def _look(self) -> None:
        """Each gap from the first look that found no holder to the last one before a holder was there again."""
        gap: tuple[float, float] | None = None
        while not self._end.is_set():
            before = time.time()
            held = any(line.split()[:1] == [QUEUE] for line in self._queues.read_text().splitlines())
            if held and gap:
                self._gaps.append(gap)
                gap = None
            elif not held:
                gap = (gap[0] if gap else time.time(), before)
            time.sleep(TURN_S)
        if gap:
            self._gaps.append(gap)

    def _packets(self, which: str) -> list[tuple[bool, str]]:
        """For each packet whether it is of a gap, and where it goes."""
        found = []
        with contextlib.suppress(CaptureError):
            for frame in frames(str(self._files[which]), lambda text: None):
                layer = network_layer(frame)
                if layer and layer[1][0] >> 4 == 4:
                    within = any(start <= frame.time <= end for start, end in self._gaps)
                    found.append((within, str(ipaddress.IPv4Address(layer[1][16:20]))))
        return found

    def facts(self) -> dict[str, Any]:
        """seconds: of all gaps. came, left: packets to strangers in them, and to the relay; before_and_after: those to
        strangers that left while there was a filter."""
        came = [server for within, server in self._packets("came") if within]
        left = self._packets("left")
        gone = [server for within, server in left if within]
        return {
            "gaps": [round(end - start, 2) for start, end in self._gaps],
            "came": {server: came.count(server) for server in sorted(set(came))},
            "left": {server: gone.count(server) for server in sorted(set(gone))},
            "before_and_after": sum(1 for within, server in left if not within and server != RELAY4),
        }
