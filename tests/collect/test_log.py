"""Log lines: one JSON object each whatever is in them, and not without bound."""

from __future__ import annotations

import json
import logging
from typing import Any

from cpe_filter.collect.log import MAX_PER_MINUTE, Lines, Sparing


def record(event: str, level: int = logging.WARNING, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("x", level, "f.py", 1, event, (), None)
    made.fields = fields
    return made


def test_one_line_whatever_is_in_it() -> None:
    text = Lines().format(record("refused", why='a\nb"}\u2028{', peer=None))
    assert "\n" not in text
    assert "\u2028" not in text
    assert json.loads(text)["why"] == 'a\nb"}\u2028{'


def test_refusals_are_many_and_lines_are_not() -> None:
    now = 0.0
    sparing = Sparing(lambda: now)
    flood = [sparing.filter(record("refused", reason="handshake")) for _ in range(1000)]
    assert flood == [True] * MAX_PER_MINUTE + [False] * (1000 - MAX_PER_MINUTE)
    # It hides nothing else.
    assert sparing.filter(record("refused", reason="revoked"))
    assert sparing.filter(record("store unavailable"))
    assert all(sparing.filter(record("webhook delivered", logging.INFO)) for _ in range(1000))
    now = 60.0
    next_ = record("refused", reason="handshake", peer="192.0.2.1")
    assert sparing.filter(next_)
    assert json.loads(Lines().format(next_))["left_out"] == 1000 - MAX_PER_MINUTE
    after = record("refused", reason="handshake")
    assert sparing.filter(after)
    assert "left_out" not in Lines().format(after)
