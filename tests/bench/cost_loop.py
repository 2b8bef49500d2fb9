"""The filter with its event loop watched: `python -m tests.bench.cost_loop FILE run --policy POLICY`.

FILE gets a JSON object at the end: the longest time between two looks at the loop's descriptors (`gap_s`; timers and
signals wait that long), the CPU that the filter used in it (`cpu_s`; the rest it waited for a processor) and the
number of turns.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path


class WatchedPoll:
    """A `select.poll` that knows how long its caller was away."""

    gap = cpu = 0.0
    turns = 0

    def __init__(self) -> None:
        self._poll = _POLL()
        self.register = self._poll.register
        self.unregister = self._poll.unregister
        self.modify = self._poll.modify
        self._left = 0.0
        self._left_cpu = 0.0

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        if self._left:
            away = time.monotonic() - self._left
            if away > WatchedPoll.gap:
                WatchedPoll.gap, WatchedPoll.cpu = away, time.thread_time() - self._left_cpu
        found = self._poll.poll(timeout)
        WatchedPoll.turns += 1
        self._left, self._left_cpu = time.monotonic(), time.thread_time()
        return found


_POLL = select.poll


def main() -> None:
    from cpe_filter.cli import main as cli

    select.poll = WatchedPoll  # type: ignore[assignment,misc]
    path, *arguments = sys.argv[1:]
    try:
        cli.main(arguments)
    finally:
        Path(path).write_text(
            json.dumps({"gap_s": WatchedPoll.gap, "cpu_s": WatchedPoll.cpu, "turns": WatchedPoll.turns})
        )


if __name__ == "__main__":
    main()
