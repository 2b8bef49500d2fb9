"""A case's history from its incidents and actions: stories, and what must hold for all of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpe_filter.collect.cases.history import STATES, Action, ActionKind, EndReason, Spell, fold


def spell(
    name: str, begun: int, ended: int | None = None, why: EndReason | None = "cleared", raised: int | None = None
) -> Spell:
    return Spell(name, begun, raised if raised is not None else begun, ended, why if ended is not None else None)


def act(what: ActionKind, at: int, known: str = "abc") -> Action:
    return Action(f"{what}{at}", at, "amy", what, "", frozenset(known))


STORIES: list[tuple[str, list[Any], str, list[tuple[Any, ...]]]] = [
    ("a", [spell("a", 10)], "open", [(10, None, None)]),
    ("ends", [spell("a", 10, 20)], "clean", [(10, 20, None)]),
    ("released", [spell("a", 10, 20, "released")], "clean", [(10, 20, None)]),
    ("expired is not clean", [spell("a", 10, 20, "expired")], "closed", [(10, None, "expired")]),
    ("silent is not clean", [spell("a", 10, 20, "silent")], "closed", [(10, None, "silent")]),
    ("exempt is not clean", [spell("a", 10, 20, "exempt")], "closed", [(10, None, "exempt")]),
    ("again", [spell("a", 10, 20), spell("b", 30)], "recurring", [(10, 20, None), (30, None, None)]),
    ("again after expiry", [spell("a", 10, 20, "expired"), spell("b", 30)], "recurring",
     [(10, None, "expired"), (30, None, None)]),
    ("overlap is one", [spell("a", 10, 30), spell("b", 20, 40)], "clean", [(10, 40, None)]),
    ("touching is one", [spell("a", 10, 20), spell("b", 20)], "open", [(10, None, None)]),
    ("no time at all", [spell("a", 10, 10)], "clean", [(10, 10, None)]),
    ("ends before it begins", [spell("a", 10, 5)], "clean", [(10, 10, None)]),
    ("told", [spell("a", 10), act("notified", 11)], "notified", [(10, None, None)]),
    ("taken up", [spell("a", 10), act("notified", 11), act("acknowledged", 12)], "acknowledged", [(10, None, None)]),
    ("told too late", [spell("a", 10), act("acknowledged", 11), act("notified", 12)], "acknowledged",
     [(10, None, None)]),
    ("clean after all", [spell("a", 10, 30), act("acknowledged", 12)], "clean", [(10, 30, None)]),
    ("acknowledged after the end", [spell("a", 10, 11), act("acknowledged", 12)], "clean", [(10, 11, None)]),
    ("desk closes", [spell("a", 10), act("closed", 12)], "closed", [(10, None, "desk")]),
    ("closed, then clean", [spell("a", 10, 20), act("closed", 12)], "closed", [(10, 20, "desk")]),
    ("closed when clean", [spell("a", 10, 20), act("closed", 22)], "closed", [(10, 20, "desk")]),
    ("closed, then again", [spell("a", 10, 20), act("closed", 22), spell("b", 30)], "recurring",
     [(10, 20, "desk"), (30, None, None)]),
    ("closed while a goes on, then b", [spell("a", 10), act("closed", 12), spell("b", 15)], "recurring",
     [(10, None, "desk"), (15, None, None)]),
    ("reopened", [spell("a", 10), act("closed", 12), act("reopened", 13)], "open", [(10, None, None)]),
    ("reopened as it was", [spell("a", 10), act("notified", 11), act("closed", 12), act("reopened", 13)], "notified",
     [(10, None, None)]),
    ("reopened when clean", [spell("a", 10, 12), act("closed", 11), act("reopened", 13)], "clean", [(10, 12, None)]),
    ("reopened when over", [spell("a", 10, 12, "expired"), act("closed", 11), act("reopened", 13)], "closed",
     [(10, None, "expired")]),
    ("the filter's closing stays", [spell("a", 10, 12, "expired"), act("reopened", 13)], "closed",
     [(10, None, "expired")]),
    ("late news is not buried", [spell("a", 10, 11), act("closed", 20, "a"), spell("b", 15)], "recurring",
     [(10, 11, "desk"), (20, None, None)]),
    ("late news of what is over by then", [spell("a", 10, 11), act("closed", 20, "a"), spell("b", 15, 18)], "closed",
     [(10, 11, None), (15, 18, "desk")]),
    ("notes do nothing", [spell("a", 10), act("note", 12)], "open", [(10, None, None)]),
    ("raised after closing", [spell("a", 10, raised=30), act("closed", 20)], "recurring",
     [(10, None, "desk"), (30, None, None)]),
    ("action before all", [act("closed", 5, ""), spell("a", 10)], "open", [(10, None, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "things", "state", "episodes"), STORIES, ids=[story[0] for story in STORIES])
def test_stories(name: str, things: list[Any], state: str, episodes: list[tuple[Any, ...]]) -> None:
    for order in itertools.islice(itertools.permutations(things), 24):
        told = fold([one for one in order if isinstance(one, Spell)], [one for one in order if isinstance(one, Action)])
        assert told.state == state
        assert [(one.begun_at, one.clean_at, one.why) for one in told.episodes] == episodes
        assert [one.number for one in told.episodes] == list(range(len(episodes)))


times = st.integers(0, 12)
spells = st.lists(
    st.builds(
        lambda begun, length, why: (begun, None if length is None else begun + length, why),
        times,
        st.none() | st.integers(0, 6),
        st.sampled_from(["cleared", "released", "expired", "silent", "exempt"]),
    ),
    min_size=1,
    max_size=4,
)
acts = st.lists(
    st.tuples(
        st.sampled_from(["notified", "acknowledged", "closed", "reopened", "note"]), times, st.text("abcd", max_size=4)
    ),
    max_size=5,
)


@given(spells, acts, st.randoms(use_true_random=False))
def test_what_always_holds(drawn: list[Any], actions: list[Any], random: Any) -> None:
    made = [spell("abcd"[place], *one) for place, one in enumerate(drawn)]
    done = [
        Action(f"x{place}", at, "amy", what, "", frozenset(known)) for place, (what, at, known) in enumerate(actions)
    ]
    told = fold(made, done)
    assert told.state in STATES
    assert told.active == {one.incident for one in made if one.ended is None}
    assert {name for one in told.episodes for name in one.members} == {one.incident for one in made}
    for before, after in itertools.pairwise(told.episodes):
        assert before.begun_at <= after.begun_at
        assert before.clean_at is not None or before.closed_at is not None
    if told.state in ("clean", "closed"):
        last = told.episodes[-1]
        assert last.clean_at is not None or last.closed_at is not None
    random.shuffle(made)
    random.shuffle(done)
    assert fold(made, done) == told
