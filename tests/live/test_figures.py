"""The status of the running filter besides what the engine knows."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, cast

from cpe_filter.engine import Engine
from cpe_filter.live.figures import Figures, memory
from cpe_filter.live.part import Part
from cpe_filter.policy.model import Policy


class Lookups(Part):
    """A part that has its own figure."""

    def facts(self) -> dict[str, Any]:
        return {"lookup_packets": 7}


def figures(*parts: Part) -> Figures:
    rules = cast(Any, SimpleNamespace(handoff="native"))
    return Figures(Policy(), Engine(Policy()), list(parts), rules)


def test_parts_add_theirs() -> None:
    found = figures().facts()
    assert (found["pid"], found["handoff"], found["fail"]) == (os.getpid(), "native", "open")
    assert found["lookup_packets"] == 0
    assert figures(Lookups()).facts()["lookup_packets"] == 7


def test_memory_is_that_of_the_process() -> None:
    assert 1 << 20 < memory() < 1 << 40
