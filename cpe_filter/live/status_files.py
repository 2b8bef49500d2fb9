"""The status file and the metrics file: when each is written.

Knows intervals and paths. Must not know the files' content (status).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cpe_filter.lean.log import Log, LogOnce, err
from cpe_filter.live.part import Part
from cpe_filter.policy.model import Policy
from cpe_filter.status.status import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.detect.detector import StandingChanged
    from cpe_filter.lean.clocks import PacketTime


class StatusFile(Part):
    """Written every `[status] status_interval_s`, and at a change of standing."""

    def __init__(self, policy: Callable[[], Policy], writer: Writer) -> None:
        self._policy = policy
        self._writer = writer
        self._next = 0.0

    def tick(self, now: PacketTime) -> None:
        if now >= self._next:
            self._next = now + self._policy().status.status_interval_s
            self._writer.ask()

    def step(self, now: PacketTime) -> bool:
        return self._writer.step()

    def standing_changed(self, event: StandingChanged) -> None:
        self._writer.ask()


class MetricsFile(Part):
    """Written every `[status] metrics_interval_s`, if it is configured. status: the source of the file."""

    def __init__(self, policy: Callable[[], Policy], status: Callable[[], dict[str, Any]], log: Log) -> None:
        self._policy = policy
        self._status = status
        self._log_once = LogOnce(log)
        self._next = 0.0
        self._path = ""  # the path where it was written last

    def tick(self, now: PacketTime) -> None:
        path = self._policy().status.metrics_file
        if not path or now < self._next:
            return
        self._next = now + self._policy().status.metrics_interval_s
        from cpe_filter.status import metrics

        try:
            metrics.write(path, metrics.exposition(self._status()))
            self._path = path
            self._log_once.clear(path)
        except OSError as error:
            self._log_once.changed(path, err(f"metrics not written: {path}: {error.strerror}"))

    def close(self) -> None:
        if self._path:  # otherwise the numbers of a stopped filter would still be scraped
            try:
                os.unlink(self._path)
            except OSError:
                pass
