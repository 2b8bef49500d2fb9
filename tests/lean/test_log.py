"""Lines that are logged when they are news."""

from __future__ import annotations

import sys

import pytest

from cpe_filter.lean.log import LogOnce, log


def test_the_first_line_about_a_subject() -> None:
    lines: list[str] = []
    once = LogOnce(lines.append)
    for text in ("a is down", "a is still down"):
        once.first("a", text)
    once.first("b", "b is down")
    once.clear("a")
    once.first("a", "a is down again")
    assert lines == ["a is down", "b is down", "a is down again"]


def test_a_line_that_has_changed() -> None:
    lines: list[str] = []
    once = LogOnce(lines.append)
    for text in ("disk full", "disk full", "no such folder", "disk full"):
        once.changed("file", text)
    once.clear("file")
    once.changed("file", "disk full")
    assert lines == ["disk full", "no such folder", "disk full", "disk full"]


def test_subjects_are_bounded() -> None:
    lines: list[str] = []
    once = LogOnce(lines.append, most=2)
    for subject in ("a", "b", "c", "a"):
        once.changed(subject, f"{subject} {len(lines)}")
    assert lines == ["a 0", "b 1", "a 2"]


def test_a_line_on_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    log("a line")
    assert capsys.readouterr().err == "cpe-filter: a line\n"
    monkeypatch.setattr(sys, "stderr", None)  # closed from the start
    log("nobody reads this")
