"""The check of the language finds what is banned and leaves alone what is not; its limits are what is there."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tools import style


@pytest.mark.parametrize("pattern", style.PATTERNS, ids=lambda pattern: pattern.name)
def test_each_pattern(pattern: style.Pattern) -> None:
    assert pattern.name in set(style.found(pattern.finds))
    assert pattern.name not in set(style.found(pattern.leaves))


def test_of_programs_only_what_a_person_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text('"""Begun anew."""\nanew = beside  # told again\nanew = f"set by itself"\n')
    read = [(line, name) for line, text in style.prose(path) for name in style.found(text)]
    assert read == [(1, "anew"), (2, "told"), (3, "by itself")]


def test_examples_of_code_in_documents_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("told\n```\nanew\n```\n`beside` told\n")
    read = [(line, name) for line, text in style.prose(path) for name in style.found(text)]
    assert read == [(1, "told"), (5, "told")]


def test_no_pattern_occurs_more_often_than_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert style.main([]) == 0, capsys.readouterr().out


def test_every_pattern_has_a_limit() -> None:
    assert set(json.loads(style.LIMITS.read_text())) == {pattern.name for pattern in style.PATTERNS}


def test_one_more_is_one_too_many(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counter(name for name, *_ in style.occurrences())
    limit = json.loads(style.LIMITS.read_text())["told"]
    more = [("told", "x.md", 1, "told")] * (limit - counts["told"] + 1)
    occurrences = [*style.occurrences(), *more]
    monkeypatch.setattr(style, "occurrences", lambda: iter(occurrences))
    assert style.main([]) == 1
    assert f"'told': {limit + 1} times, allowed are {limit}" in capsys.readouterr().out
