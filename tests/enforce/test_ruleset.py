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


def _chain(text: str, name: str) -> list[str]:
    return [line.strip() for line in text.split(f"\tchain {name} {{\n")[1].split("\t}\n", maxsplit=1)[0].splitlines()]


@pytest.mark.parametrize("quarantine", [False, True])
def test_http_of_a_held_device_leads_to_the_notice_whichever_way_it_would_leave(quarantine: bool) -> None:
    """It would be refused there, and nothing would say why. What stays in the home passes."""
    text = render(make_policy(quarantine=quarantine, lan=("br-lan",), wan=("wan",)), HANDOFF)
    chain = _chain(text, "to_notice")
    held = "ether saddr @quarantined goto held_to_notice"
    assert (held in chain) is quarantine
    assert ("chain held_to_notice" in text) is quarantine
    (elsewhere,) = [at for at, line in enumerate(chain) if line.startswith("fib daddr")]
    assert chain[-1] == "goto lead_to_notice"
    if quarantine:
        assert chain.index(held) < chain.index("meta l4proto @unclear return") < elsewhere
        home = ["fib daddr type local return", 'fib daddr . mark oifname "br-lan" return', "goto lead_to_notice"]
        assert _chain(text, "held_to_notice") == home
