"""What the live filter does beside judging: looks after its rules in the kernel, and tells how it fares.

Knows the watch over the rules, the kernel's counters, /proc and the metrics file. Must not know packets or devices.
Nothing here starts a program unless rules are to be put back, and nothing that fails here stops the filter.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from cpe_filter.enforce import offload
from cpe_filter.enforce.nfqueue import queue_state
from cpe_filter.enforce.watch import Counters, Ruleset, Watch
from cpe_filter.lean.log import LogOnce
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Upkeep:
    """Made once the ruleset is installed. Registers with `poll`: `serve` what is ours (`in`), `tick` every second.

    policy gives the one in force; install puts the whole ruleset in again, and returns "" or why it could not.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        poll: select.poll,
        install: Callable[[], str],
        log: Callable[[str], None],
    ) -> None:
        self._policy = policy
        self._log = log
        self._install = install
        self._counters = Counters()
        self._ruleset = Ruleset(self._reinstall)
        self._next_metrics = 0.0
        self._unobserved_at: float | None = None
        self._metrics_file = ""  # where it was written last
        self._log_once = LogOnce(log)
        self.rules_changed()
        wards = [self._ruleset.ward(), offload.ward(policy, log)]
        self._watch = Watch(wards, poll, log)

    def __contains__(self, fd: int) -> bool:
        return fd in self._watch

    def serve(self, now: float) -> None:
        self._watch.serve(now)

    def tick(self, now: float) -> None:
        self._watch.tick(now)

    def rules_changed(self) -> None:
        """The filter itself has just changed its rules: what is there now is right."""
        try:
            self._ruleset.installed()
        except OSError as error:
            self._log(f"the ruleset could not be read back: {error.strerror or error}")
        failed = offload.install(self._policy())
        if failed:
            self._log(f"mail could not be kept out of fw4's flow offload: {failed}")

    def close(self, rules_stay: bool) -> None:
        """The end. rules_stay: the ruleset remains in the kernel, and so does what keeps mail before it."""
        self._watch.close()
        if self._metrics_file:  # else the numbers of a filter that is gone would be scraped for ever
            try:
                os.unlink(self._metrics_file)
            except OSError:
                pass
        error = "" if rules_stay else offload.remove()
        if error:
            self._log(f"the exemption from fw4's flow offload could not be taken out: {error}")

    @property
    def restored(self) -> int:
        """How often rules had to be put back."""
        return self._watch.mended

    def figures(self) -> dict[str, Any]:
        """For the status: `kernel` (packets and bytes by counter), `queue_state`, `memory` (bytes), `restored`.

        unobserved_at: when the rate guard last let packets pass unseen, POSIX seconds; None where it never did.
        """
        before = self._counters.totals.get("unobserved", (0, 0))
        try:
            self._counters.read()
        except OSError:
            pass  # those of the last time then
        if self._counters.totals.get("unobserved", (0, 0)) > before:
            self._unobserved_at = time.time()
        return {
            "unobserved_at": self._unobserved_at,
            "kernel": {name: list(counted) for name, counted in self._counters.totals.items()},
            "queue_state": _queue_facts(self._policy().filter.queue),
            "memory": memory(),
            "restored": self._watch.mended,
        }

    def write_metrics(self, now: float, status: Callable[[], dict[str, Any]]) -> None:
        """Writes the metrics file when it is time. A file that cannot be written is told once."""
        path = self._policy().status.metrics_file
        if not path or now < self._next_metrics:
            return
        self._next_metrics = now + self._policy().status.metrics_interval_s
        from cpe_filter.status import metrics

        try:
            metrics.write(path, metrics.exposition(status()))
            self._metrics_file = path
            self._log_once.clear("metrics")
        except OSError as error:
            self._log_once.changed("metrics", f"metrics not written: {path}: {error.strerror}")

    def _reinstall(self) -> str:
        self._counters.restart()
        return self._install()


def _queue_facts(number: int) -> dict[str, int]:
    """For the status; empty where nobody holds the queue."""
    state = queue_state(number)
    if state is None:
        return {}
    return {"waiting": state.waiting, "dropped_queue": state.dropped_queue, "dropped_socket": state.dropped_socket}


def memory() -> int:
    """Bytes of this process in memory; 0 where the kernel does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
