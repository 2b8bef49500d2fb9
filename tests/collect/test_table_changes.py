"""What a table of rates changes, compared with the one before."""

from __future__ import annotations

import random

import pytest

from cpe_filter.collect.cases.rates import relaxing
from cpe_filter.collect.table_changes import changes, stricter
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.rates import LEAST, MOST, Row, allowed, encode

WIDE = {"helo-rotates": Row(0.4, (0.1, *INDICATORS["helo-rotates"].usual[1:]))}
NONE = {"helo-rotates": Row(0.4, (0.0,) * 10)}


def test_a_line_for_each_number() -> None:
    assert changes({}, WIDE) == ["helo-rotates, mta: 0.0300 -> 0.1000"]
    assert changes(WIDE, {}) == ["helo-rotates, mta: 0.1000 -> 0.0300"]
    assert changes(WIDE, NONE)[:2] == ["helo-rotates, mta: 0.1000 -> _", "helo-rotates, list: 0.0200 -> _"]
    assert changes(WIDE, WIDE) == []
    assert changes({}, {name: Row(own.bot, own.usual) for name, own in INDICATORS.items()}) == []


def test_what_is_stricter_than_before() -> None:
    assert stricter({}, WIDE) == stricter(WIDE, WIDE) == stricter(WIDE, NONE) == []
    assert stricter(WIDE, {}) == ["helo-rotates weighs more than by the table before, against mta"]
    assert stricter(NONE, WIDE)[0].startswith("helo-rotates weighs more than by the table before, against mta, list,")
    lower = {"no-quit": INDICATORS["no-quit"]}
    mild = {"no-quit": Row(0.3, lower["no-quit"].usual)}
    assert stricter(mild, {})[0].startswith("no-quit weighs more")


@pytest.mark.parametrize("seed", range(30))
def test_what_of_a_table_can_travel_is_what_a_router_takes(seed: int) -> None:
    """Of any table the wider bounds, and nothing else."""
    random_ = random.Random(seed)

    def share() -> float:
        return random_.uniform(LEAST, MOST)

    rows = {
        name: Row(share(), tuple(random_.choice((0.0, one, share())) for one in own.usual))
        for name, own in INDICATORS.items()
    }
    relaxed = relaxing(rows)
    assert relaxed
    assert allowed(encode(relaxed)).keys() == relaxed.keys()
    assert stricter({}, relaxed) == []


def test_a_share_of_bots_waits_for_a_release() -> None:
    own = INDICATORS["unknown-user"]
    assert relaxing({"unknown-user": Row(0.5, own.usual)}) == {}
    wider = (0.2, *own.usual[1:])
    assert relaxing({"unknown-user": Row(0.5, wider)}) == {"unknown-user": Row(own.bot, wider)}
