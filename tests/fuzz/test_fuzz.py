"""A bounded share of the fuzzing for every run of the tests; `make fuzz` does the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpe_filter.inspect.facts import Facts, Limits
from cpe_filter.inspect.smtp import Dialogue
from tests.fuzz import encapsulated, run
from tests.fuzz.targets import TARGETS, WrongResultError, check_dialogue


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        *(("packet", 20000), ("dns", 10000), ("stream", 2000), ("smtp", 10000), ("engine", 7000), ("saved", 7000)),
        *(("leases", 5000), ("layers", 5000), ("data", 3000)),
    ],
)
def test_fuzz(name: str, runs: int, tmp_path: Path) -> None:
    figures = run.fuzz(name, runs, seed=7, folder=tmp_path)
    assert figures["inputs"] == runs


def test_mail_in_layers_is_read_or_counted() -> None:
    seen = encapsulated.run(4000, seed=7)
    assert seen["read"] + seen["counted"] == 4000
    assert seen["counted"] > 50


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_target_has_seeds(name: str) -> None:
    assert any(len(data) > 20 for data in run.seeds(name))


def test_a_failing_input_is_written_down_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fussy(data: bytes) -> None:
        if b"QUIT" in data:
            raise WrongResultError("QUIT")

    monkeypatch.setitem(TARGETS, "smtp", fussy)
    with pytest.raises(WrongResultError):
        run.fuzz("smtp", 1000, seed=1, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"QUIT"


def test_the_invariants_can_fail() -> None:
    dialogue = Dialogue()
    dialogue.facts = Facts()  # its own: a new dialogue has the facts that all share
    dialogue.facts.violations += ("no-such-violation",)
    with pytest.raises(WrongResultError, match="not in the table"):
        check_dialogue(dialogue, Limits())
