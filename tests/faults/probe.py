"""A device that opens connections at a steady pace, and when each came through or was refused.

Knows TCP. Runs in a thread of the harness, its sockets in the device's namespace. An attempt begins each `PACE_S`,
whatever became of the ones before: what is delayed must not make the measurement wait, too.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from types import TracebackType
from typing import NamedTuple

from tests.lab.net import Lab
from tests.lab.netns import inside

PACE_S = 0.1
#: Attempts under way at most; further ones wait.
_MOST = 400


class Attempt(NamedTuple):
    """One connection: when it began and ended (monotonic), and "through", "refused" or the name of another error.

    An attempt that is under way when the probe ends is "silent".
    """

    begun: float
    ended: float
    outcome: str

    @property
    def ms(self) -> float:
        return 1000 * (self.ended - self.begun)


class Probe:
    """Use as a context; `attempts` are those that have ended, in that order."""

    def __init__(self, lab: Lab, host: str, server: str, port: int = 25) -> None:
        self.attempts: list[Attempt] = []
        self._namespace, self._server, self._port = lab.namespace(host), server, port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def since(self, begin: float, end: float = float("inf")) -> list[Attempt]:
        """The attempts that began then."""
        return [each for each in self.attempts if begin <= each.begun < end]

    def first(self, outcome: str, begin: float) -> float | None:
        """Seconds from `begin` to the first such end of any attempt; None: there is none."""
        ends = [each.ended for each in self.attempts if each.outcome == outcome and each.ended >= begin]
        return min(ends) - begin if ends else None

    def last(self, outcome: str, begin: float, end: float) -> float | None:
        """Seconds from `begin` to the last such end before `end`."""
        ends = [each.ended for each in self.attempts if each.outcome == outcome and begin <= each.ended < end]
        return max(ends) - begin if ends else None

    def _run(self) -> None:
        family = socket.AF_INET6 if ":" in self._server else socket.AF_INET
        under_way: dict[socket.socket, float] = {}
        due = time.monotonic()
        while not self._over.is_set():
            now = time.monotonic()
            if now >= due and len(under_way) < _MOST:
                due = now + PACE_S
                with inside(self._namespace):
                    connecting = socket.socket(family, socket.SOCK_STREAM)
                connecting.setblocking(False)
                connecting.connect_ex((self._server, self._port))
                under_way[connecting] = now
            _, ready, _ = select.select([], list(under_way), [], max(0.0, due - time.monotonic()))
            for each in ready:
                self._end(under_way.pop(each), each)
        for each, begun in under_way.items():
            self.attempts.append(Attempt(begun, time.monotonic(), "silent"))
            each.close()

    def _end(self, begun: float, connected: socket.socket) -> None:
        error = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        outcome = "through" if not error else "refused" if error == 111 else f"error {error}"
        self.attempts.append(Attempt(begun, time.monotonic(), outcome))
        connected.close()
