"""How pytest-xdist's workers share the suite: each takes a whole file, and the longest files are begun first.

What a file's tests collide on or build once (a lab, a browser, a PostgreSQL) so stays with one worker. Knows files
and how long they take. Must not know what they test.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

#: What takes longest, longest first, as the beginning of a path. None of it may be left alone at the end.
LONGEST = (
    "tests/vm/",
    "tests/collect/test_faults.py",
    "tests/faults/",
    "tests/lines/",
    "tests/attacks/",
    "tests/openwrt/",
    "tests/live/",
    "tests/notice/test_live_way.py",
    "tests/collect/web/test_browser.py",
    "tests/collect/web/test_desk_browser.py",
    "tests/stock/",
    "tests/enforce/",
    "tests/tools/",
    "tests/engine/",
    "tests/fuzz/",
    "tests/evaluate/",
    "tests/bench/",
)
#: Workers for each core: most tests wait for a process, a timer or a network.
WORKERS_PER_CORE = 2


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def rank(nodeid: str) -> int:
    """0 for what is begun first."""
    return next((at for at, start in enumerate(LONGEST) if nodeid.startswith(start)), len(LONGEST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


def workers() -> int:
    """How many `-n auto` are."""
    return WORKERS_PER_CORE * len(os.sched_getaffinity(0))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        """In the order of the items, which xdist's own would change."""

        def _split_scope(self, nodeid: str) -> str:
            return file_of(nodeid)

    config.option.loadscopereorder = False
    return ByFile(config, log)
