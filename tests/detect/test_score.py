"""How evidence adds up: what convicts, and above all what never does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.evidence import FROM_NAME, FROM_REPLY, FROM_VIOLATION, IDENTITY, INDICATORS, LEGITIMATE, SYN_ONLY
from cpe_filter.detect.score import (
    CLEAR,
    COMPROMISED,
    CONVICT_AT,
    SESSION_CLIP,
    SESSION_FLOOR,
    SUSPECTED,
    SYN_CAP,
    Score,
)

NAMES = sorted(INDICATORS)
IDENTITIES = [name for name in NAMES if INDICATORS[name].family == IDENTITY]
ON_SYNS = [name for name in NAMES if INDICATORS[name].family in SYN_ONLY]


def session(score: Score, *names: str, fresh: bool = True) -> None:
    """One connection's evidence."""
    gained = 0.0
    for name in names:
        gained = score.add(name, gained, fresh)
        score.judge()


def test_table() -> None:
    for name, row in INDICATORS.items():
        assert (row.weight < 0) == (row.family == LEGITIMATE), name
        assert 0 < row.fade <= 1, name
        assert row.source, name
        assert row.meaning, name
    assert {*FROM_NAME.values(), *FROM_REPLY.values(), *FROM_VIOLATION} <= set(INDICATORS)
    assert SYN_CAP < CONVICT_AT


def test_two_families_convict() -> None:
    score = Score()
    for _ in range(6):
        session(score, "new-destination", "helo-dynamic", "unknown-user")
    assert score.standing == COMPROMISED
    assert {"destination", "identity", "reply"} <= set(score.families)


@pytest.mark.parametrize("name", ON_SYNS)
def test_syns_alone_make_a_suspect_at_most(name: str) -> None:
    score = Score()
    for _ in range(10000):
        session(score, name)
    assert score.standing == SUSPECTED
    assert score.value == SYN_CAP


def test_all_syn_evidence_together_never_convicts() -> None:
    score = Score()
    for _ in range(2000):
        session(score, *ON_SYNS)
    assert score.standing == SUSPECTED


@pytest.mark.parametrize("names", [[name] for name in IDENTITIES] + [IDENTITIES])
def test_identity_alone_never_convicts(names: list[str]) -> None:
    score = Score()
    for _ in range(10000):
        session(score, *names)
    assert score.standing != COMPROMISED


def test_the_same_from_the_same_server_fades_away() -> None:
    """A camera that writes to one server with a bad name, and is refused 12,340 times a day."""
    score = Score()
    session(score, "helo-bare", "unknown-user", "no-quit", "helo-not-ehlo")
    for _ in range(12340):
        session(score, "helo-bare", "unknown-user", "no-quit", "helo-not-ehlo", fresh=False)
    assert score.standing == CLEAR
    assert score.value < CONVICT_AT / 2


def test_evidence_of_legitimate_use_clears_a_suspect() -> None:
    score = Score()
    for _ in range(12):
        session(score, "new-destination")
    assert score.standing == SUSPECTED
    for _ in range(6):
        session(score, "accepted", "took-leave")
    assert score.standing == CLEAR


def test_a_conviction_stays() -> None:
    score = Score()
    for _ in range(6):
        session(score, "new-destination", "helo-dynamic", "unknown-user")
    for _ in range(1000):
        session(score, "accepted", "took-leave")
    assert score.value == 0
    assert score.standing == COMPROMISED


def test_a_bot_after_a_clean_year_is_found_as_fast() -> None:
    def connections_until_convicted(score: Score) -> int:
        for number in range(1, 100):
            session(score, "new-destination", "helo-dynamic", "unknown-user")
            if score.standing == COMPROMISED:
                return number
        return 100

    old = Score()
    for _ in range(7300):
        session(old, "accepted", "took-leave", fresh=False)
    assert connections_until_convicted(old) == connections_until_convicted(Score())


@settings(derandomize=True, max_examples=200)
@given(st.lists(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=12), max_size=30))
def test_bounds_hold_whatever_comes(sessions: list[list[tuple[str, bool]]]) -> None:
    score = Score()
    for names in sessions:
        before, gained = score.talk, 0.0
        for name, fresh in names:
            gained = score.add(name, gained, fresh)
            score.judge()
            assert SESSION_FLOOR <= gained <= SESSION_CLIP
            assert score.syn >= 0
            assert score.talk >= 0
        assert score.talk - before <= SESSION_CLIP + 1e-9
        if score.standing == COMPROMISED:
            assert len(score.families) >= 2
