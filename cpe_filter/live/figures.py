"""The status of the running filter, besides what the engine knows.

Knows parts and this process. Must not know the form of a status (status).
"""

from __future__ import annotations

import os
import time

from cpe_filter.engine import Engine
from cpe_filter.lean.clocks import posix
from cpe_filter.live.part import Part
from cpe_filter.live.rules_in_kernel import RulesInKernel
from cpe_filter.policy.model import Policy
from cpe_filter.status import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Figures:
    """parts: of the daemon; each adds its facts."""

    def __init__(self, policy: Policy, engine: Engine, parts: list[Part], rules: RulesInKernel) -> None:
        self._policy = policy  # what takes a restart to change
        self._engine = engine
        self._parts = parts
        self._rules = rules
        self._since = time.time()

    def facts(self) -> dict[str, Any]:
        """For the status file."""
        found = {
            "pid": os.getpid(),
            "pid_namespace": status.pid_namespace(),
            "since": round(self._since, 3),
            "queue": self._policy.filter.queue,
            "handoff": self._rules.handoff,
            "fail": self._policy.filter.fail,
            "memory": memory(),
            "lookup_packets": 0,  # where they are not watched
        }
        for part in self._parts:
            found.update(part.facts())
        return found

    def counted(self) -> dict[str, Any]:
        """For the metrics file."""
        return status.counted(self._engine, self.facts(), posix())


def memory() -> int:
    """Bytes of this process in memory; 0 if the kernel does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
