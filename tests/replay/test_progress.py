"""Progress: one line that is written over, only for those who wait, and never wider than a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cpe_filter.replay import progress
from cpe_filter.replay.progress import Progress, line
from cpe_filter.replay.stream import Input


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def source(tmp_path: Path) -> Input:
    path = tmp_path / "long.pcap"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)
    source = Input(str(path))
    source.taken = 500_000_000
    return source


def test_nothing_is_shown_in_the_first_second(source: Input) -> None:
    out, clock = io.StringIO(), Clock()
    shown = Progress(out, clock)
    for _ in range(9):
        shown(source)
        clock.time += 0.1
    shown.clear()
    assert out.getvalue() == ""
    for _ in range(20):
        clock.time += 0.1
        shown(source)
    assert out.getvalue().count("\r") == 4
    assert "25% of 2 GB" in out.getvalue()
    assert out.getvalue().count("\n") == 0
    shown.clear()
    assert out.getvalue().endswith("\r\x1b[K")


def test_a_line_says_how_long_it_takes_and_fits(source: Input) -> None:
    assert line(source, 10.0, 200) == f"{source.path}: 25% of 2 GB, 30 s left"
    for width in (40, 79):
        assert len(line(source, 100_000.0, width)) <= width
    source.size = None
    assert line(source, 150.0, 200) == f"{source.path}: 500 MB in 0:02:30"
    source.path = "evil\x1b[2J\n.pcap"
    assert line(source, 1.0, 79).isprintable()


def test_nobody_watches_a_pipe() -> None:
    assert progress.on_terminal(io.StringIO()) is None
