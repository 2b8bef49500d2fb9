"""The gate: a table that finds fewer bots or convicts more senders is refused, one that changes nothing passes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.collect.cases.rates import MOST, Row, encode
from cpe_filter.detect import rates, score
from cpe_filter.detect.evidence import INDICATORS
from tests.evaluate import gate
from tests.evaluate.intervals import NEVER
from tests.evaluate.signed import InForce
from tests.evaluate.world.measure import Life
from tests.signed import making

FEW = ["--quick", "--mode", "monitor", "--only", "self-hosted", "--only", "tofsee", "--only", "cutwail"]


@pytest.fixture(autouse=True)
def own_table() -> Iterator[None]:
    indicators, weights, bounds = dict(INDICATORS), dict(score._WEIGHTS), dict(score._BOUNDS)
    yield
    rates.use("")
    InForce.rows = ""
    INDICATORS.update(indicators)
    score._WEIGHTS.update(weights)
    score._BOUNDS.update(bounds)


def ran(tmp_path: Path, text: bytes, *more: str) -> tuple[int, str]:
    path = tmp_path / "table"
    path.write_bytes(text)
    said: list[str] = []
    return gate.main([str(path), *more], said.append), "\n".join(said)


def test_a_table_that_changes_nothing_passes(tmp_path: Path) -> None:
    code, said = ran(tmp_path, encode({}), *FEW)
    assert (code, said.split(":")[0]) == (0, "passed")


def test_a_table_for_which_all_is_legitimate_is_refused(tmp_path: Path) -> None:
    rows = {
        name: Row(row.bot, (0.98,) * len(row.usual)) for name, row in INDICATORS.items() if row.family != "legitimate"
    }
    code, said = ran(tmp_path, encode(rows), *FEW)
    assert code == 1
    assert "worse: monitor: classic bots found" in said
    assert "refused: " in said


def test_what_is_not_a_table_is_named(tmp_path: Path) -> None:
    code, said = ran(tmp_path, b"nonsense")
    assert code == 2
    assert "lines 1 and 2 must be" in said


#: The legitimate senders that come nearest to a conviction.
NEAR = [word for name in ("behind-one-mac", "developer", "dormitory", "cafe", "nextcloud") for word in ("--only", name)]


@pytest.mark.parametrize("seed", range(3))
def test_an_adverse_signed_table_accuses_nobody_more(seed: int, tmp_path: Path) -> None:
    """Rates lose what they show, and keep what clears a sender. Seed 0: all of it; others: a part."""
    random_ = random.Random(seed)
    rows = {}
    for name, own in INDICATORS.items():
        if not own.repeat:
            usual = (one and seed and random_.choice((one, 0.0, MOST, random_.uniform(one, MOST))) for one in own.usual)
            rows[name] = Row(own.bot, tuple(usual))
    path = tmp_path / "table"
    path.write_bytes(encode(rows))
    said: list[str] = []
    assert gate.main(["--table", str(path), "--quick", "--only", "tofsee", *NEAR], said.append) == 1
    assert not [line for line in said if "legitimate" in line or "convicted" in line]
    assert "worse: monitor: classic bots" in "\n".join(said)


def test_signed_data_is_judged_as_a_router_judges_it(tmp_path: Path) -> None:
    """It passes what the gate lets pass, and not what a router would refuse."""
    table, replies = tmp_path / "table", tmp_path / "replies"
    table.write_bytes(making.rates_text(0.04).encode())
    replies.write_text(making.replies("mailbox-full: quota exhausted"))
    said: list[str] = []
    assert gate.main(["--table", str(table), "--replies", str(replies), *FEW], said.append) == 0
    assert InForce.rows == "fquotaexhausted"
    assert said[-1].startswith("passed: signed documents, ")
    table.write_bytes(making.rates_text(0.01).encode())
    assert gate.main(["--table", str(table), *FEW], said.append) == 2
    assert said[-1].endswith("the bound is 0.01; allowed: 0.03 or more, or _")


def life(name: str, kind: str, convicted_at: float, suspected_at: float = NEVER) -> Life:
    return Life(name, kind, 0, 100, 30.0, suspected_at, convicted_at, False, (), "", {})


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ([life("nas", "", NEVER)], [life("nas", "", NEVER)], []),
        (
            [life("nas", "", NEVER)],
            [life("nas", "", 7.0)],
            ["legitimate devices convicted: 0 -> 1", "nas convicted: 0 -> 1"],
        ),
        ([life("nas", "", NEVER)], [life("nas", "", NEVER, 3.0)], ["legitimate devices suspected: 0 -> 1"]),
        ([life("x", "classic", 4.0)], [life("x", "classic", NEVER)], ["classic bots found: 1 -> 0 of 1"]),
        ([life("x", "classic", 4.0)], [life("x", "classic", 9.0)], ["classic bots, median: 4.0 -> 9.0"]),
        ([life("x", "classic", 9.0), life("nas", "", 7.0)], [life("x", "classic", 4.0), life("nas", "", NEVER)], []),
        (  # as many, but other senders
            [life("nas", "", 7.0), life("mta", "", NEVER)],
            [life("nas", "", NEVER), life("mta", "", 7.0)],
            ["mta convicted: 0 -> 1"],
        ),
    ],
)
def test_what_is_worse(before: list[Life], after: list[Life], found: list[str]) -> None:
    assert gate.worse(before, after) == found
