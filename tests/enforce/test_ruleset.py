"""The ruleset as text: what of it depends on the mode."""

from __future__ import annotations

import pytest

from cpe_filter.enforce.ruleset import render
from cpe_filter.enforce.ruleset_names import KNOWN
from cpe_filter.enforce.ruleset_names import NATIVE as HANDOFF
from tests.policies import make_policy


@pytest.mark.parametrize(("mode", "rules"), [("monitor", 2), ("limit", 0), ("block", 0)])
def test_pairs_are_let_alone_in_monitor_only(mode: str, rules: int) -> None:
    """In mode limit each message counts, so no pair of a device and a server is let alone."""
    text = render(make_policy(mode=mode), HANDOFF)
    assert sum(f"@{KNOWN}" in line and line.endswith("goto known") for line in text.splitlines()) == rules
