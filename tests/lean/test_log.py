"""Lines that are logged when they are news."""

from __future__ import annotations

import sys

import pytest

from cpe_filter.lean.log import Line, LogOnce, err, info, log, notice, warning


def test_the_first_line_about_a_subject() -> None:
    lines: list[str] = []
    once = LogOnce(lines.append)
    for text in ("a is down", "a is still down"):
        once.first("a", info(text))
    once.first("b", info("b is down"))
    once.clear("a")
    once.first("a", info("a is down again"))
    assert lines == ["a is down", "b is down", "a is down again"]


def test_a_line_that_has_changed() -> None:
    lines: list[str] = []
    once = LogOnce(lines.append)
    for text in ("disk full", "disk full", "no such folder", "disk full"):
        once.changed("file", err(text))
    once.clear("file")
    once.changed("file", err("disk full"))
    assert lines == ["disk full", "no such folder", "disk full", "disk full"]


def test_subjects_are_bounded() -> None:
    lines: list[str] = []
    once = LogOnce(lines.append, most=2)
    for subject in ("a", "b", "c", "a"):
        once.changed(subject, info(f"{subject} {len(lines)}"))
    assert lines == ["a 0", "b 1", "a 2"]


def test_a_line_on_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    log(info("a line"))
    assert capsys.readouterr().err == "cpe-filter: a line\n"
    monkeypatch.setattr(sys, "stderr", None)  # closed from the start
    log(info("nobody reads this"))


def test_severities_are_syslog_s() -> None:
    lines = [err("a"), warning("a"), notice("a"), info("a")]
    assert [line.severity for line in lines] == [3, 4, 5, 6]
    assert set(lines) == {"a"}
    assert isinstance(lines[0], Line)
