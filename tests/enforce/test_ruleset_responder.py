"""The chains that bring a refused connection to the responder, in each mode. Live: test_live_ruleset."""

from __future__ import annotations

import pytest

from cpe_filter.enforce.ruleset_responder import responder_chains
from tests.policies import make_policy


def chain(lines: list[str], name: str) -> list[str]:
    begin = lines.index(f"\tchain {name} {{")
    return lines[begin : lines.index("\t}", begin)]


@pytest.mark.parametrize(
    ("mode", "name", "counted"),
    [
        # In mode limit the SYNs of a blocked device are counted before conntrack sees them.
        ("limit", "denied_prerouting_blocked", False),
        ("monitor", "denied_prerouting_blocked", True),
        ("monitor", "denied_output_blocked", False),  # ether saddr: the router's own packets have none
        ("block", "denied_prerouting", False),
    ],
)
def test_where_explanations_are_counted_for_each_device(mode: str, name: str, counted: bool) -> None:
    lines = chain(responder_chains(make_policy(mode=mode, router_output=True), True), name)
    assert any("update @explained" in line for line in lines) is counted
