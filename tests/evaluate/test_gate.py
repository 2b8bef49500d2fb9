"""The gate: a table that finds fewer bots or convicts more senders is refused, one that changes nothing passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cpe_filter.collect.cases.rates import Row, encode
from cpe_filter.detect import score
from cpe_filter.detect.evidence import INDICATORS
from tests.evaluate import gate
from tests.evaluate.intervals import NEVER
from tests.evaluate.world.measure import Life

FEW = ["--quick", "--mode", "monitor", "--only", "self-hosted", "--only", "tofsee", "--only", "cutwail"]


@pytest.fixture(autouse=True)
def own_table() -> Iterator[None]:
    indicators, weights, bounds = dict(INDICATORS), dict(score._WEIGHTS), dict(score._BOUNDS)
    yield
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
