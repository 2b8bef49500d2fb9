"""Tables of rates: what may be in one, what it changes, and that nothing is left of it afterwards."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from cpe_filter.detect import rates, score
from cpe_filter.detect.evidence import INDICATORS, LEGITIMATE, SENDER_PROFILES
from cpe_filter.detect.rates import LEAST, MOST, Row, TableError
from cpe_filter.detect.score import CLEAR, COMPROMISED, Score, Tally


@pytest.fixture(autouse=True)
def built_in() -> Iterator[None]:
    before = copy.deepcopy((dict(INDICATORS), dict(score._WEIGHTS), dict(score._BOUNDS)))
    yield
    rates.use("")
    assert before == (INDICATORS, score._WEIGHTS, score._BOUNDS)
    assert not score.built_in


def row(name: str, bot: float = 0.0, raised: float = 1.0) -> Row:
    """The built-in row with another share of bots, or other bounds."""
    own = INDICATORS[name]
    return Row(bot or own.bot, tuple(min(MOST, one * raised) for one in own.usual))


def text(**rows: Row) -> str:
    return rates.encode({name.replace("_", "-"): one for name, one in rows.items()}).decode()


def test_the_built_in_rates_are_a_table_that_changes_nothing() -> None:
    whole = {name: row(name) for name in INDICATORS}
    before = dict(INDICATORS)
    rates.use(rates.encode(whole).decode())
    for name, one in INDICATORS.items():
        assert one.weights == pytest.approx(before[name].weights, abs=1e-3), name


def added(name: str) -> float:
    """What one sight of it adds to the ordinary mail server's sum."""
    one = Score()
    one.add(name, 9.0)
    return one.sums[0]


def test_a_table_changes_sums_and_is_taken_back() -> None:
    rate, habit = added("unknown-user"), added("helo-dynamic")
    rates.use(text(unknown_user=row("unknown-user", raised=2.0)))
    assert added("unknown-user") == pytest.approx(rate - math.log(2), abs=1e-3)
    rates.use(text(helo_dynamic=row("helo-dynamic", 0.1)))  # another table: the first one's rows are built-in again
    assert added("unknown-user") == rate
    assert added("helo-dynamic") == pytest.approx(math.log(0.1 / 0.08), abs=1e-3)
    rates.use("")
    assert (added("unknown-user"), added("helo-dynamic")) == (rate, habit)


def test_without_a_bound_it_accuses_nobody_and_its_absence_still_clears() -> None:
    def lacked() -> float:
        one = Score()
        one.add("helo-dynamic", 9.0)
        one.lack("unknown-user")
        return one.sums[0]

    before = lacked()
    rates.use(text(unknown_user=Row(0.3, (0.0,) * 10)))
    assert lacked() == before < added("helo-dynamic")
    one = Score()
    one.add("helo-dynamic", 9.0)
    one.add("unknown-user", 9.0)
    assert one.sums[0] == added("helo-dynamic")  # nor does it clear anybody


NO_BOUND = "no bound is built in; allowed: _"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (text(unknown_user=row("unknown-user", raised=0.5)), "mta: the bound is 0.025; allowed: 0.05 or more, or _"),
        (text(unknown_user=row("unknown-user", 0.5)), "unknown-user: a bot's share is 0.5; allowed: 0.3"),
        (text(unknown_user=row("unknown-user", 0.2)), "unknown-user: a bot's share is 0.2; allowed: 0.3"),
        (text(unknown_user=Row(0.3, (0.5,) * 10)), f"unknown-user, appliance: {NO_BOUND}"),
        (text(accepted=Row(0.35, (0.5,) * 10)), f"accepted, survey: {NO_BOUND}"),
        (text(helo_dynamic=row("helo-dynamic", 0.9)), "helo-dynamic, mta: it weighs"),
        (text(helo_dynamic=row("helo-dynamic", 0.35, 0.5)), "helo-dynamic, mta: it weighs"),
        (text(quit=Row(0.5, (0.0,) * 10)), "quit, mta: it weighs"),
        (text(accepted=row("accepted", 0.9)), "accepted, mta: it weighs"),
        (text().replace("rates 1", "rates 2"), "lines 1 and 2"),
        (text() + "no-such-thing 0.1000" + " _" * 10 + "\n", "not an indicator"),
        (text() + "quit 0.5000 _\n", "needs 11 values"),
        (text() + "quit nan" + " _" * 10 + "\n", "not a share"),
        (text() + "quit 1.0000" + " _" * 10 + "\n", "not a share"),
        (text() + "quit 0.50" + " _" * 10 + "\n", "not canonical"),
        ("#" * 40000, "more than"),
        ("\u00e9", "lines 1 and 2"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(wrong: str, said: str) -> None:
    with pytest.raises(TableError, match=said) as refused:
        rates.use(wrong)
    assert "\n" not in str(refused.value)
    assert not score.built_in


# ── a table can only relax ──────────────────────────────────────────────────────────────────────────


def shares(low: float) -> st.SearchStrategy[float]:
    return st.one_of(st.sampled_from((low, MOST)), st.floats(low, MOST))


@st.composite
def tables(draw: st.DrawFn) -> str:
    """Any table that is taken, the most adverse ones included: each row at its ends, or between."""
    rows = {}
    for name in draw(st.sets(st.sampled_from(sorted(INDICATORS)), min_size=1)):
        own = INDICATORS[name]
        if own.repeat:
            bot = draw(shares(LEAST))
            least = [min(MOST, bot / math.exp(weight)) for weight in own.weights]
        else:
            bot, least = own.bot, list(own.usual)
        usual = [0.0 if not old else draw(shares(low)) for old, low in zip(own.usual, least, strict=True)]
        if not own.repeat or own.family != LEGITIMATE:
            usual = [draw(st.sampled_from((one, 0.0))) for one in usual]
        rows[name] = Row(bot, tuple(max(LEAST, one) if one else 0.0 for one in usual))
    made = rates.encode(rows)
    try:
        rates.allowed(made)
    except TableError:
        reject()
    return made.decode()


@st.composite
def states(draw: st.DrawFn) -> Score:
    """A score as a device may have it."""
    one = Score()
    sums = st.one_of(st.just(0.0), st.floats(0, score.MOST))
    one.restore(CLEAR, draw(st.lists(sums, min_size=10, max_size=10)), {})
    for name in draw(st.sets(st.sampled_from(sorted(INDICATORS)), max_size=4)):
        tally = one.tallies[name] = Tally(draw(st.integers(0, 9)))
        tally.chances = draw(st.floats(0, 6.7))
        tally.hits = tally.chances * draw(st.floats(0, 1))
    return one


SLOW = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@SLOW
@given(tables(), states(), st.sampled_from(sorted(INDICATORS)), st.booleans(), st.floats(0, 1), st.booleans())
def test_no_evidence_weighs_more_by_any_table(
    table: str, state: Score, name: str, fired: bool, part: float, proven: bool
) -> None:
    """From whatever state a device is in, one more contact adds no more to any sum than without the table."""
    other = copy.deepcopy(state)
    for one, use in ((state, ""), (other, table)):
        rates.use(use)
        if fired or INDICATORS[name].repeat:
            one.add(name, 99.0, part, proven)
        else:
            one.lack(name, part)
    rates.use("")
    for new, old in zip(other.sums, state.sums, strict=True):
        assert new <= old + 1e-9
    for new, old in zip(other.loose or other.sums, state.loose or state.sums, strict=True):
        assert new <= old + 1e-9
    assert other.value <= state.value + 1e-9


@SLOW
@given(tables())
def test_the_mean_of_the_likelihood_ratio_of_a_rate_stays_one_at_most(table: str) -> None:
    """For each kind of sender at its built-in bounds, and whatever share of its own a bot is taken to have."""
    own = dict(INDICATORS)
    rates.use(table)
    for name, bounds in score._BOUNDS.items():
        for q in (own[name].bot, 0.01, 0.3, 0.9):
            tally = Tally()
            tally.chances, tally.hits = 1e9, q * 1e9  # its own share, whatever the row says
            shown, absent = (dict(score._at_rate(name, copy.copy(tally), fired)) for fired in (True, False))
            for n, *_ in bounds:
                for share in (0.0, own[name].usual[n] / 2, own[name].usual[n]):
                    mean = share * math.exp(shown.get(n, 0)) + (1 - share) * math.exp(absent.get(n, 0))
                    assert mean <= 1 + 1e-6, (name, SENDER_PROFILES[n])
    rates.use("")


@SLOW
@given(tables())
def test_no_indicator_convicts_alone_with_any_table(table: str) -> None:
    rates.use(table)
    for name in rates.decode(table.encode()):
        if INDICATORS[name].family != LEGITIMATE:
            one = Score()
            for _ in range(100):
                one.add(name, 9.0)
                one.judge()
            assert one.standing != COMPROMISED, name
    rates.use("")


def test_sums_stay_under_another_table() -> None:
    one = Score()
    one.add("unknown-user", 9.0)
    before = [*one.sums]
    rates.use(text(unknown_user=row("unknown-user", raised=3.0)))
    assert (one.sums, one.standing) == (before, CLEAR)
