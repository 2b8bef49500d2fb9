"""The lines of the log that are found in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import log_lines
from tests.log_lines import LineNotFoundError, rows


def test_severities_programs_and_values() -> None:
    found = rows()
    assert ("notice", "run", "refused N connections of DEVICE in the last minute to N servers: REASON") in found
    assert ("err", "run", "internal error, stopping: KIND: ERROR") in found
    assert ("notice", "explain", "stopped") in found
    assert ("warning or info", "send", "send: TEXT; not again within N s") in found
    assert [severity for severity, _, _ in found] == sorted(
        (severity for severity, _, _ in found), key=lambda name: log_lines.SEVERITIES.index(name.split()[0])
    )
    assert all(text.isprintable() and len(text) < 200 for _, _, text in found)


def test_a_line_that_is_made_elsewhere_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "part.py").write_text(
        "from cpe_filter.lean.log import err\ndef f(log, text):\n    log(err(text))\n"
    )
    monkeypatch.setattr(log_lines, "PACKAGE", tmp_path)
    with pytest.raises(LineNotFoundError, match=r"live/part\.py:3: text is not a literal"):
        rows()
