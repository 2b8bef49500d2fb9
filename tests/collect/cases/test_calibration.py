"""What cases say about rates: intervals, what moves and what does not, and that nobody is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpe_filter.collect import tasks
from cpe_filter.collect.cases import actions, calibration, history, query
from cpe_filter.collect.cases.calibration import MIN_CASES, Labelled, clopper_pearson, propose, rate
from cpe_filter.collect.cases.rates import HEADER, LEAST, MOST, Row, TableError, decode, digest, encode
from cpe_filter.collect.store.base import Store
from cpe_filter.detect.evidence import ANY, INDICATORS, SENDER_PROFILES
from tests.collect.desks import WithStore, event, ours
from tests.collect.reports import NOW
from tests.evaluate import intervals

TABLE = {name: row.bot for name, row in INDICATORS.items()}


def cases(label: calibration.Label, count: int, **seen: int) -> list[Labelled]:
    return [Labelled(label, 10, {name.replace("_", "-"): number for name, number in seen.items()})] * count


@pytest.mark.parametrize(("hits", "runs"), [(0, 0), (0, 20), (20, 20), (5, 20), (1, 3), (37, 412), (300, 1000)])
def test_intervals_are_clopper_and_pearson_s(hits: int, runs: int) -> None:
    """The evaluation computes them in another way, by the incomplete beta function."""
    assert clopper_pearson(hits, runs) == pytest.approx(intervals.clopper_pearson(hits, runs), abs=1e-9)


def test_shares_are_rounded_outwards() -> None:
    low, high = clopper_pearson(5.4, 20)
    assert (low, high) == pytest.approx((clopper_pearson(5, 20)[0], clopper_pearson(6, 20)[1]))


def test_a_case_is_one_observation() -> None:
    many = [Labelled("confirmed", 1_000_000, {"unknown-user": 500_000})] * 20
    few = [Labelled("confirmed", 10, {"unknown-user": 5})] * 20
    assert rate(many, "unknown-user") == rate(few, "unknown-user")
    assert rate(many, "unknown-user").share == 0.5
    assert rate([Labelled("confirmed", 0, {"unknown-user": 7})], "unknown-user").share == 1.0


def test_too_few_cases_move_nothing() -> None:
    assert propose(cases("confirmed", MIN_CASES - 1)) == {}
    assert propose(cases("false-alarm", MIN_CASES - 1, unknown_user=10)) == {}
    assert propose([]) == {}


def test_confirmed_cases_move_a_bot_s_share_to_the_end_of_their_interval() -> None:
    found = propose(cases("confirmed", 100, unknown_user=9))
    row = found["unknown-user"]
    assert row.bot == pytest.approx(clopper_pearson(90, 100)[0], abs=1e-4)
    assert row.usual == INDICATORS["unknown-user"].usual
    inside = propose(cases("confirmed", 100, unknown_user=3))
    assert "unknown-user" not in inside


def test_false_alarms_widen_bounds_and_never_narrow_them() -> None:
    found = propose(cases("false-alarm", 100, unknown_user=9, accepted=1))
    low = clopper_pearson(90, 100)[0]
    before = INDICATORS["unknown-user"]
    assert found["unknown-user"].bot == before.bot
    for old, new in zip(before.usual, found["unknown-user"].usual, strict=True):
        assert new == (ANY if not old else pytest.approx(max(old, low), abs=1e-4))
    # What speaks for a sender is bounded from below.
    for name, row in found.items():
        legitimate = INDICATORS[name].family == "legitimate"
        for old, new in zip(INDICATORS[name].usual, row.usual, strict=True):
            assert new <= old if legitimate else new >= old


def test_a_proposal_is_a_table_again() -> None:
    found = propose([*cases("confirmed", 50, unknown_user=10), *cases("false-alarm", 50, no_quit=10)])
    assert decode(encode(found)) == found


# ── the text ────────────────────────────────────────────────────────────────────────────────────────

ROW = Row(0.34, (0.05, ANY, *[0.1] * (len(SENDER_PROFILES) - 2)))


def test_equal_tables_have_equal_bytes() -> None:
    one, other = {"unknown-user": ROW, "no-quit": ROW}, {"no-quit": ROW, "unknown-user": ROW}
    assert encode(one) == encode(other)
    assert digest(encode(one)) == digest(encode(other)) != digest(encode({}))
    assert decode(encode({})) == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: b"", "lines 1 and 2"),
        (lambda text: text.replace(HEADER.encode(), b"cpe-filter rates 2"), "lines 1 and 2"),
        (lambda text: text.replace(b" mta ", b" mda "), "lines 1 and 2"),
        (lambda text: text.replace(b"no-quit", b"no-such"), "is not an indicator"),
        (lambda text: text.replace(b"0.3400", b"1.0000"), f"not a share from {LEAST} to {MOST}"),
        (lambda text: text.replace(b"0.3400", b"nan"), "not a share"),
        (lambda text: text.replace(b"0.3400", b"-0.340"), "not a share"),
        (lambda text: text.replace(b"0.3400", b"_"), "not a share"),
        (lambda text: text.replace(b"0.3400", b"0.34"), "not canonical"),
        (lambda text: text.replace(b" 0.1000\n", b"\n"), "needs 11 values, has 10"),
        (lambda text: text[:-1], "not canonical"),
        (lambda text: text + text.split(b"\n")[2] + b"\n", "not canonical"),
        (lambda text: text.replace(b"\n", b"\r\n"), "lines 1 and 2"),
        (lambda text: text * 1000, "more than 32768 bytes"),
        (lambda text: b"\xff\0" + text, "lines 1 and 2"),
    ],
)
def test_a_text_that_is_not_a_table(change, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TableError, match=why):
        decode(change(encode({"no-quit": ROW})))


# ── from the desk ───────────────────────────────────────────────────────────────────────────────────


def test_the_desk_s_last_word_counts_and_nothing_names_anybody(
    with_store: WithStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def work(store: Store) -> None:
        for number in range(5):
            await store.add([event("raised", number, 1, router=f"r{number}", ind={"no-quit": 3}, nets=6, conns=9)])
        await ours()(store).catch_up(NOW)
        ids = [case.id for case in (await query.listed(store)).cases]
        await actions.act(store, ids[0], history.CONFIRMED, "anna", "", NOW + 10)
        await actions.act(store, ids[1], history.FALSE_ALARM, "anna", "our customer's server", NOW + 10)
        await actions.act(store, ids[2], history.FALSE_ALARM, "anna", "", NOW + 10)
        await actions.reopen(store, ids[2], "anna", "", NOW + 20)  # not closed any more
        await actions.close(store, ids[3], "anna", "", NOW + 10)  # without a finding
        await actions.act(store, ids[4], history.FALSE_ALARM, "anna", "", NOW + 10)
        await actions.reopen(store, ids[4], "anna", "", NOW + 20)
        await actions.act(store, ids[4], history.CONFIRMED, "anna", "", NOW + 30)
        assert [case.state for case in (await query.listed(store)).cases].count("closed") == 4
        found = await calibration.labelled(store)
        assert sorted(case.label for case in found) == ["confirmed", "confirmed", "false-alarm"]
        assert {(case.contacts, json.dumps(case.seen)) for case in found} == {(6, '{"no-quit": 3}')}
        output = tmp_path / "table"
        relaxing = tmp_path / "relaxing"
        await tasks._calibrate(store, tasks.Options(output=str(output), relaxing=str(relaxing)))
        text = capsys.readouterr().out
        assert "cases: 2 confirmed, 1 false alarms" in text
        assert f"SHA-256 {digest(output.read_bytes())}" in text
        assert decode(output.read_bytes()) == decode(relaxing.read_bytes()) == {}
        for private in (*ids, "anna", "r0", "customer"):
            assert private not in text
        with pytest.raises(tasks.BadArgumentsError, match="File exists"):
            await tasks._calibrate(store, tasks.Options(output=str(output)))

    with_store(work)
