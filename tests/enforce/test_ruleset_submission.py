"""What is counted of submission, as text: how long the kernel keeps a count."""

from __future__ import annotations

import pytest

from cpe_filter.enforce.ruleset import render
from cpe_filter.enforce.ruleset_names import NATIVE, SUBMITTED
from cpe_filter.live.submissions import READ_S, WINDOW_S
from tests.policies import make_policy


def declared(name: str) -> list[str]:
    """The lines of a set's declaration."""
    body = render(make_policy(submission=True), NATIVE).partition(f"\tset {name} {{\n")[2].partition("\t}\n")[0]
    assert body
    return [line.strip() for line in body.splitlines()]


@pytest.mark.parametrize("family", [4, 6])
def test_a_server_counts_once_a_day_for_a_device(family: int) -> None:
    """A day is what `live/submissions` adds up: with longer pairs it would count too few servers."""
    lines = declared(f"submission_pairs{family}")
    assert f"type ether_addr . ipv{family}_addr" in lines
    assert f"timeout {WINDOW_S:.0f}s" in lines


@pytest.mark.parametrize("name", SUBMITTED)
def test_counts_outlive_many_readings(name: str) -> None:
    (timeout,) = [int(line.split()[1].rstrip("s")) for line in declared(name) if line.startswith("timeout ")]
    assert timeout > 10 * READ_S
