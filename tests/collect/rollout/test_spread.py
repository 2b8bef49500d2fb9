"""The verdict on a document, what liars can do to it, and the commands that it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpe_filter.collect.published import Entry
from cpe_filter.collect.rollout import spread
from cpe_filter.collect.rollout.spread import Found, Spread, Terms, wilson

ENTRY = Entry(2, "a" * 16, "", 0, 0, ("*",), 10, "s", "c" * 16, "staged", 0)
TERMS = Terms("/srv/policy", 2)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 100, 0.0215, 0.1118), (1, 1, 0.2065, 1)],
)
def test_wilson(part: int, whole: int, low: float, high: float) -> None:
    assert wilson(part, whole) == pytest.approx((low, high), abs=0.0005)


@pytest.mark.parametrize(
    ("applied", "back", "said"),
    [(0, 0, "unknown"), (0, 2, "wait"), (0, 3, "halt"), (95, 5, "halt"), (97, 3, "wait"), (100, 0, "wait"),
     (400, 0, "good"), (10_000, 20, "good")],
)  # fmt: skip
@pytest.mark.parametrize("result", ["taken-back", "rolled-back", "refused"])
def test_verdict(applied: int, back: int, said: str, result: str) -> None:
    one = Spread("policy", 1, "a" * 16, outcomes={"applied": applied, result: back})
    assert one.verdict(2) == said


def test_refusals_that_a_halt_would_not_change_do_not_count() -> None:
    one = Spread("policy", 1, "a" * 16, outcomes={"applied": 400, "refused": 300}, excused=300)
    assert (one.answered, one.failed, one.verdict(2)) == (400, 0, "good")
    one.outcomes["refused"] += 40
    assert (one.answered, one.failed, one.verdict(2)) == (440, 40, "halt")


def test_a_step_of_a_rollout_is_judged_with_the_steps_before_it() -> None:
    before = Spread("policy", 1, "a" * 16, "routers", ENTRY, outcomes={"applied": 5, "taken-back": 5})
    now = Spread("policy", 2, "b" * 16, "routers", ENTRY, steps=[before])
    assert now.verdict(2) == "halt"
    before.outcomes = {"applied": 400}
    assert now.verdict(2) == "unknown"


def test_how_many_should_have_it() -> None:
    one = Spread("policy", 2, "a" * 16, "routers", replace(ENTRY, permille=500), in_force=300, audience=2000,
                 outcomes={"applied": 300, "taken-back": 100, "refused": 50}, excused=40)  # fmt: skip
    assert (one.expected, one.reached, one.not_heard) == (1000, 150, 550)
    one.audience = None
    assert (one.expected, one.reached, one.not_heard) == (None, None, None)
    one.audience = 0
    assert (one.expected, one.reached, one.not_heard) == (0, None, 0)


def test_without_an_index_one_router_cannot_hide_what_many_answered() -> None:
    real = Spread("policy", 2, "a" * 16, outcomes={"applied": 20})
    found = Found(0, TERMS, documents=[real, Spread("policy", 1 << 52, "f" * 16, outcomes={"applied": 1}),
                                       Spread("policy", 0, "", outcomes={"refused": 30})])  # fmt: skip
    assert found.current == [real]


def test_what_should_be_halted_comes_first() -> None:
    good = Spread("policy", 2, "a" * 16, "a", ENTRY, outcomes={"applied": 20})
    bad = Spread("policy", 3, "b" * 16, "b", ENTRY, outcomes={"taken-back": 20})
    found = Found(0, TERMS, documents=[good, bad], has_index=True)
    assert found.current == [bad, good]
    assert spread.metrics(found)["document_halt"] == {("a",): 0, ("b",): 1}


def test_commands() -> None:
    one = Spread("policy", 2, "a" * 16, "routers", ENTRY)
    where = "--published /srv/policy --channel routers --key KEY"
    assert spread.command(one, TERMS) == f"cpe-filter policy halt {where}"
    assert spread.next_command(one, TERMS) == f"cpe-filter policy publish --permille 100 {where}"
    one.entry = replace(ENTRY, permille=1000, state="current", halts=1)
    # A halt halts no halt.
    assert spread.command(one, TERMS) == f"cpe-filter policy halt --to N {where}"
    assert spread.next_command(one, TERMS) is None
    unknown = Spread("policy", 2, "a" * 16)
    assert spread.command(unknown, Terms()) == "cpe-filter policy halt --published DIR --channel CHANNEL --key KEY"
    assert "'/srv/it is'" in spread.command(one, Terms("/srv/it is"))
