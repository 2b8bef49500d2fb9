"""How evidence adds up: what convicts, and above all what never does."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.evidence import (
    CLIP,
    FAMILIES,
    IDENTITY,
    INDICATORS,
    LEGITIMATE,
    SENDER_PROFILES,
    SHARES,
    UNSPOKEN,
)
from cpe_filter.detect.score import (
    _NEEDED,
    CLEAR,
    CLEAR_BELOW,
    COMPROMISED,
    CONVICT_AT,
    FADE,
    FAMILY_MINIMUM,
    MANY,
    MOST,
    PROBATION,
    SESSION_CLIP,
    STRENGTH,
    SUSPECT_AT,
    SUSPECTED,
    Score,
)

NAMES = sorted(INDICATORS)
IDENTITIES = [name for name in NAMES if INDICATORS[name].family == IDENTITY]
ON_SYNS = [name for name in NAMES if INDICATORS[name].family in UNSPOKEN]
RELIEF = [name for name in NAMES if INDICATORS[name].family == LEGITIMATE]
AGAINST = [name for name in NAMES if INDICATORS[name].family != LEGITIMATE]
#: What one contact of a plain bot shows, and of a mail server.
BOT = (
    "new-destination", "breadth", "destination-burst", "helo-dynamic", "helo-not-ehlo", "path-spaced", "sender-rotates",
    "new-pair", "unauthenticated", "unknown-user", "no-quit",
)  # fmt: skip
MAIL = ("new-destination", "breadth", "accepted", "quit")
#: What an ordinary contact might show and does not.
LACKS = ("sender-rotates", "helo-rotates", "unknown-user", "new-pair")
HABITS = [name for name in NAMES if INDICATORS[name].repeat]
RATES = [name for name in NAMES if not INDICATORS[name].repeat]


def session(score: Score, *names: str) -> None:
    """One connection's evidence."""
    room = SESSION_CLIP
    for name in names:
        room = score.add(name, room)
        score.judge()


def sessions_until(score: Score, standing: str, *names: str, most: int = 200) -> int:
    for number in range(1, most + 1):
        session(score, *names)
        if score.standing == standing:
            return number
    return most + 1


def mail(score: Score) -> None:
    """An ordinary mail server's contact."""
    session(score, *MAIL)
    for name in LACKS:
        score.lack(name)
    score.judge()


def suspect() -> Score:
    score = Score()
    score.sums = [SUSPECT_AT + 0.1] * len(SENDER_PROFILES)
    score._weigh()
    score.judge()
    assert score.standing == SUSPECTED
    return score


def convict() -> Score:
    score = Score()
    assert sessions_until(score, COMPROMISED, *BOT) < 10
    return score


def test_thresholds() -> None:
    assert 0 < CLEAR_BELOW < SUSPECT_AT < CONVICT_AT < MOST
    assert 0 < PROBATION < 1
    assert PROBATION * CONVICT_AT > CLEAR_BELOW, "a released device would be cleared at once"
    assert pytest.approx([CONVICT_AT + math.log(share) for share in SHARES]) == _NEEDED
    assert all(0 < needed <= MOST for needed in _NEEDED)


# ── how it adds up ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", HABITS)
def test_each_sum_gets_its_weight_and_less_each_time(name: str) -> None:
    row, score = INDICATORS[name], Score()
    for count in range(5):
        score.sums = [2.0] * len(SENDER_PROFILES)
        score.add(name, SESSION_CLIP)
        expected = [max(0.0, 2.0 + weight * row.repeat**count) for weight in row.weights]
        assert score.sums == pytest.approx(expected)
        assert score.tallies[name].count == count + 1


def test_a_part_of_the_weight() -> None:
    score = Score()
    score.sums = [5.0] * len(SENDER_PROFILES)
    score.add("dnsbl-listed", SESSION_CLIP, 0.25)
    assert score.sums == pytest.approx([5.0 + weight / 4 for weight in INDICATORS["dnsbl-listed"].weights])


@pytest.mark.parametrize("name", RATES)
def test_a_rate_counts_by_presence_and_absence_and_learns(name: str) -> None:
    """Against a bound p: ln(q/p) where it fires, ln((1-q)/(1-p)) where it does not, with q from before."""
    row, score = INDICATORS[name], Score()
    hits = chances = 0.0
    for fired in (True, True, False, True, False, False, False, True):
        score.sums = [2.0] * len(SENDER_PROFILES)
        q = min(0.9, (STRENGTH * row.bot + hits) / (STRENGTH + chances))
        if fired:
            score.add(name, SESSION_CLIP)
        else:
            score.lack(name)
        expected = []
        for p in row.usual:
            weight = 0.0 if not p or q <= p else math.log(q / p) if fired else math.log((1 - q) / (1 - p))
            expected.append(max(0.0, 2.0 + max(-CLIP, min(CLIP, weight))))
        assert score.sums == pytest.approx(expected)
        hits, chances = hits * FADE + fired, chances * FADE + 1
    assert score.tallies[name].count == 4


@pytest.mark.parametrize("name", RATES)
def test_absence_counts_in_what_an_indicator_has_added(name: str) -> None:
    score = Score()
    score.sums = [2.0] * len(SENDER_PROFILES)
    score.lack(name)
    assert score.tallies[name].weight == pytest.approx(score.value - 2.0)
    assert score.tallies[name].weight < 0


@pytest.mark.parametrize("name", RATES)
def test_no_sender_within_a_bound_gains_by_a_rate_on_average(name: str) -> None:
    """The mean of the likelihood ratio is 1 at the bound and less below it, whatever has been learnt."""
    row = INDICATORS[name]
    for q in (0.05, 0.3, 0.6, 0.9):
        for p in row.usual:
            if p and q > p:
                for actual in (p, p / 2, p / 10):
                    assert actual * q / p + (1 - actual) * (1 - q) / (1 - p) <= 1 + 1e-9


def test_absence_while_nothing_is_under_way_is_forgotten() -> None:
    """So a bot after clean years is not taken to be as clean."""
    score = Score()
    for _ in range(100):
        score.lack("sender-rotates")
    assert (score.tallies["sender-rotates"].hits, score.tallies["sender-rotates"].chances) == (0.0, 0.0)


def test_what_a_session_may_add_runs_out_but_relief_does_not() -> None:
    score = Score()
    room = SESSION_CLIP
    for _ in range(20):
        for name in AGAINST:
            room = score.add(name, room)
    assert room <= 1.0
    assert SESSION_CLIP - 1 <= score.value <= SESSION_CLIP + 1e-9
    before = list(score.sums)
    assert score.add("accepted", room) == room
    assert score.sums[0] < before[0]


def test_the_least_sum_decides_as_far_as_each_has_to_go() -> None:
    score = Score()
    for n, needed in enumerate(_NEEDED):
        score.sums = [MOST] * len(SENDER_PROFILES)
        score.sums[n] = needed
        score._weigh()
        assert score.value == pytest.approx(CONVICT_AT)
        score.sums[n] = needed * 0.99
        score._weigh()
        assert score.value < CONVICT_AT
        assert score.nearest_profile == SENDER_PROFILES[n]


def test_it_is_like_the_sender_that_is_least_ruled_out() -> None:
    """As a share of what each takes, not in nats."""
    rare, common = min(range(len(SENDER_PROFILES)), key=_NEEDED.__getitem__), SENDER_PROFILES.index("list")
    score = Score()
    score.sums = [MOST] * len(SENDER_PROFILES)
    score.sums[rare], score.sums[common] = 0.9 * _NEEDED[rare], 0.8 * _NEEDED[common]
    score._weigh()
    assert score.sums[rare] < score.sums[common]
    assert score.nearest_profile == SENDER_PROFILES[common]
    assert [sum_ for _, sum_, _ in score.profile_margins] == score.sums
    assert [needed for _, _, needed in score.profile_margins] == list(_NEEDED)


def test_suspicion_takes_a_share_of_what_each_sum_needs() -> None:
    score = Score()
    score.sums = [SUSPECT_AT / CONVICT_AT * needed for needed in _NEEDED]
    score._weigh()
    assert score.value == pytest.approx(SUSPECT_AT)
    score.sums = [MOST] * len(SENDER_PROFILES)
    score.sums[3] = SUSPECT_AT / CONVICT_AT * _NEEDED[3] - 0.01
    score._weigh()
    assert not score.judge()
    assert score.standing == CLEAR


@pytest.mark.parametrize("nth", range(len(SENDER_PROFILES)))
def test_who_looks_like_any_sender_is_not_convicted(nth: int) -> None:
    score = convict()
    score.standing = CLEAR
    score.sums = [MOST] * len(SENDER_PROFILES)
    score.sums[nth] = 0.0
    score._weigh()
    assert not score.judge()
    assert score.standing == CLEAR


EVIDENCE = st.lists(st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0.0, 1.0)), max_size=12), max_size=40)
Evidence = list[list[tuple[str, float]]]


@settings(derandomize=True, max_examples=300)
@given(EVIDENCE)
def test_bounds_hold_whatever_comes(sessions: Evidence) -> None:
    score = Score()
    for names in sessions:
        before, room = score.value, SESSION_CLIP
        for name, part in names:
            standing, less = score.standing, room
            room = score.add(name, room, part)
            changed = score.judge()
            assert 0 <= room <= less
            assert changed == (score.standing != standing)
            assert all(0 <= value <= MOST for value in score.sums)
            assert 0 <= score.value <= MOST
            if standing == COMPROMISED:
                assert score.standing == COMPROMISED
            elif score.standing == COMPROMISED:
                assert len(score.families) >= 2
                assert set(score.families) - UNSPOKEN
                assert all(value >= needed - 1e-9 for value, needed in zip(score.sums, _NEEDED, strict=True))
        assert score.value - before <= SESSION_CLIP + 1e-9
    assert sum(tally.weight for tally in score.tallies.values()) == pytest.approx(score.value, abs=1e-6)


def test_counts_end_somewhere() -> None:
    score = Score()
    score.add("accepted", SESSION_CLIP)
    score.tallies["accepted"].count = MANY
    score.add("accepted", SESSION_CLIP)
    assert score.tallies["accepted"].count == MANY


# ── what convicts ───────────────────────────────────────────────────────────────────────────────


def test_two_families_convict() -> None:
    score = convict()
    assert len(score.families) >= 2
    assert set(score.families) - UNSPOKEN


def test_a_family_counts_from_its_minimum_on() -> None:
    score = Score()
    score.credits = [0.0] * len(FAMILIES)
    score.credits[FAMILIES.index("volume")] = FAMILY_MINIMUM - 0.01
    assert score.families == []
    score.credits[FAMILIES.index("volume")] = FAMILY_MINIMUM
    assert score.families == ["volume"]


def test_a_family_counts_although_another_has_filled_all_sums() -> None:
    """A bot in mode block, whose bursts come first: what else it shows must not be lost."""
    score = Score()
    for _ in range(45):
        session(score, "sustained")
    assert min(score.sums) == MOST
    assert score.families == ["volume"]
    assert score.standing == SUSPECTED
    session(score, "sender-rotates")
    assert score.families == ["identity", "volume"]
    assert score.standing == COMPROMISED


def test_what_speaks_for_a_sender_is_no_family() -> None:
    score = Score()
    score.sums = [5.0] * len(SENDER_PROFILES)
    for name in RELIEF:
        score.add(name, SESSION_CLIP)
    assert score.families == []


def test_families_begin_anew_with_the_ordinary_senders_sum() -> None:
    """What an old episode has shown supports no later conviction."""
    score = Score()
    session(score, "sender-rotates", "refused")
    assert score.families == ["identity", "reply"]
    for _ in range(40):
        session(score, "accepted", "quit")
    assert score.sums[0] == 0
    assert score.families == []


@pytest.mark.parametrize("first", ["destination", "connect", "volume", "dns", "identity", "reply", "dialect", "origin"])
@pytest.mark.parametrize("second", ["", "destination", "connect", "reply", "dialect"])
def test_conviction_takes_two_families_one_of_them_spoken(first: str, second: str) -> None:
    """With all sums as high as they can be."""
    families = {first, second} - {""}
    score = Score()
    for name in NAMES:
        if INDICATORS[name].family in families:
            score.add(name, SESSION_CLIP)
    score.credits = [FAMILY_MINIMUM * (family in families) for family in FAMILIES]
    score.sums = [MOST] * len(SENDER_PROFILES)
    score._weigh()
    assert score.families == sorted(families)
    score.judge()
    assert (score.standing == COMPROMISED) == (len(families) == 2 and not families <= UNSPOKEN)


# ── what never does ─────────────────────────────────────────────────────────────────────────────


def never_convicted(score: Score, many: Iterable[Iterable[str]]) -> None:
    for names in many:
        session(score, *names)
        assert score.standing != COMPROMISED


@pytest.mark.parametrize("family", [[name] for name in IDENTITIES] + [IDENTITIES])
def test_identity_alone_never_convicts(family: list[str]) -> None:
    never_convicted(Score(), [family] * 10000)


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.lists(st.sampled_from([*IDENTITIES, *RELIEF]), max_size=8), max_size=100))
def test_no_order_of_identity_evidence_convicts(many: list[list[str]]) -> None:
    never_convicted(Score(), many)


@pytest.mark.parametrize("names", [[name] for name in ON_SYNS] + [ON_SYNS])
def test_syns_alone_never_convict(names: list[str]) -> None:
    never_convicted(Score(), [names] * 5000)


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.lists(st.sampled_from([*ON_SYNS, *RELIEF]), max_size=8), max_size=100))
def test_no_order_of_syn_evidence_convicts(many: list[list[str]]) -> None:
    never_convicted(Score(), many)


@pytest.mark.parametrize("name", AGAINST)
def test_no_indicator_convicts_alone(name: str) -> None:
    score = Score()
    never_convicted(score, [[name]] * 3000)
    assert len(score.families) <= 1


def test_home_line_refusals_alone_do_not_even_suspect() -> None:
    score = Score()
    for _ in range(10000):
        session(score, "residential-line")
        assert score.standing == CLEAR
    assert score.value == 0.0


def test_a_mail_server_that_all_refuse_for_its_line_is_not_convicted() -> None:
    never_convicted(Score(), [("new-destination", "breadth", "residential-line", "quit")] * 2000)


def test_a_newsletters_first_run_is_not_convicted() -> None:
    """500 new servers in minutes, most of which accept it; one address in 25 is gone, and one server in 50."""
    score = Score()
    for n in range(500):
        if n % 50 == 49:
            names: tuple[str, ...] = ("new-destination", "destination-burst", "connect-timeout")
        elif n % 25 == 24:
            names = ("new-destination", "destination-burst", "breadth", "unknown-user", "quit")
        else:
            names = ("new-destination", "destination-burst", "breadth", "message-content", "accepted", "quit")
        session(score, *names)
        assert score.standing != COMPROMISED
    assert score.nearest_profile == "list" or score.value < SUSPECT_AT


NEWS = ["new-destination", "destination-burst", "breadth", "accepted"]


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.lists(st.sampled_from(NEWS), unique=True), max_size=300))
def test_a_newsletters_novel_destinations_never_convict(many: list[list[str]]) -> None:
    score = Score()
    never_convicted(score, many)
    assert score.sums[SENDER_PROFILES.index("list")] < _NEEDED[SENDER_PROFILES.index("list")]


@pytest.mark.parametrize("name", RELIEF)
def test_relief_never_counts_against(name: str) -> None:
    score = suspect()
    before = list(score.sums)
    session(score, *[name] * 50)
    assert all(after <= start for start, after in zip(before, score.sums, strict=True))
    assert score.standing != COMPROMISED


# ── over time ───────────────────────────────────────────────────────────────────────────────────


def test_evidence_of_legitimate_use_clears_a_suspect() -> None:
    score = suspect()
    for _ in range(200):
        mail(score)
    assert score.standing == CLEAR


def test_a_suspicion_does_not_flicker() -> None:
    """It begins at one height and ends at a lower one."""
    score = Score()
    for value, standing in [(SUSPECT_AT - 0.1, CLEAR), (SUSPECT_AT, SUSPECTED), (CLEAR_BELOW, SUSPECTED),
                            (CLEAR_BELOW - 0.1, CLEAR), (SUSPECT_AT - 0.1, CLEAR)]:  # fmt: skip
        before, score.value = score.standing, value
        assert score.judge() == (standing != before)
        assert score.standing == standing


def test_a_conviction_stays() -> None:
    score = convict()
    for _ in range(1000):
        session(score, "accepted", "quit")
        assert score.standing == COMPROMISED
    assert score.value == 0.0


@pytest.mark.parametrize("clean", [1, 30, 7300])
def test_a_bot_after_clean_sessions_is_found_as_fast(clean: int) -> None:
    old = Score()
    for _ in range(clean):
        session(old, *MAIL)
    assert old.standing == CLEAR
    assert sessions_until(old, COMPROMISED, *BOT) <= sessions_until(Score(), COMPROMISED, *BOT) + 1


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.lists(st.sampled_from([*RELIEF, "new-destination", "deferred"]), max_size=6), max_size=60))
def test_no_past_of_its_kind_hides_a_bot(past: list[list[str]]) -> None:
    """No sum falls below nothing: there is no credit to be saved up."""
    score = Score()
    for names in past:
        session(score, *names)
    assert sessions_until(score, COMPROMISED, *BOT) <= sessions_until(Score(), COMPROMISED, *BOT)


def test_release_sets_a_device_half_way() -> None:
    score = convict()
    score.release()
    assert score.standing == SUSPECTED
    assert score.tallies == {}
    assert score.sums == pytest.approx([PROBATION * needed for needed in _NEEDED])
    assert CLEAR_BELOW < score.value < CONVICT_AT
    assert not score.judge()
    assert score.standing == SUSPECTED


def test_after_release_a_bot_is_found_sooner() -> None:
    score = convict()
    score.release()
    needed = sessions_until(Score(), COMPROMISED, *BOT)
    assert sessions_until(score, COMPROMISED, *BOT) <= needed


def test_after_release_legitimate_use_clears() -> None:
    score = convict()
    score.release()
    assert sessions_until(score, CLEAR, *MAIL) < 25
    session(score, "unknown-user")
    assert score.standing == CLEAR


def test_after_release_one_family_still_does_not_convict() -> None:
    score = convict()
    score.release()
    never_convicted(score, [IDENTITIES] * 1000)


def test_what_one_side_has_shown_hides_nothing() -> None:
    plain, pinned = Score(), Score()
    for _ in range(60):
        pinned.add("sustained", SESSION_CLIP, proven=False)
        pinned.judge()
    assert sessions_until(pinned, COMPROMISED, *BOT) <= sessions_until(plain, COMPROMISED, *BOT)


@pytest.mark.parametrize("room", [0.0, 0.1, 0.3])
def test_evidence_against_never_lowers_the_score(room: float) -> None:
    score = Score()
    for _ in range(6):
        score.add("sustained", SESSION_CLIP, proven=False)
        score.add("connect-timeout", SESSION_CLIP, proven=False)
    before = score.value
    for name in ("no-quit", "dnsbl-listed", "path-spaced"):
        score.add(name, room)
        assert before - 1e-9 <= score.value <= before + 3 * room + 1e-9
