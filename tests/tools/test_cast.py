"""The moving image of what a terminal shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.lab.cast import COLUMNS, ROWS, Line, draw, record

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter(SVG + "text")]  # noqa: S314


def test_lines_colours_and_what_is_cut() -> None:
    lines = [
        Line(0.1, "plain <&> \x1b[1;31mred\x1b[0m after"),
        Line(0.2, ""),
        Line(0.3, "x" * 400),
        Line(0.4, "\x1b[32m" + "y" * COLUMNS + "more\x1b[0m"),
        Line(0.5, "a\x07bell"),
    ]
    svg = draw(lines, "title <b>")
    assert texts(svg) == ["plain <&> red after", "x" * COLUMNS, "y" * COLUMNS, "a?bell"]
    assert '<tspan class="b" style="fill:#ff7b72">red</tspan>' in svg
    assert "title &lt;b&gt;" in svg
    assert "script" not in svg
    assert re.findall(r"https?://\S+", svg) == ['http://www.w3.org/2000/svg"']


def test_times() -> None:
    """As they came, long waits cut short; the end is shown for a while, and to those who want no motion."""
    svg = draw([Line(1.0, "one"), Line(2.0, "two"), Line(60.0, "three")], "t")
    total = float(re.search(r"animation:s ([0-9.]+)s", svg)[1])  # type: ignore[index]
    assert total == pytest.approx(3.2 + 8.0)
    frames = re.findall(r"([0-9.]+)%\{transform:translateY\((-?\d+)px\)\}", svg)
    assert [float(at) * total / 100 for at, _ in frames] == pytest.approx([0, 1, 2, 3.2, total], abs=0.01)
    rows = [int(place) // 18 for _, place in frames]
    assert rows == [ROWS, ROWS - 1, ROWS - 2, ROWS - 3, ROWS - 3]
    assert f"#s{{transform:translateY({(ROWS - 3) * 18}px)}}" in svg


def test_a_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('seen', sys.stdout.isatty()); print('wrong', file=sys.stderr); sys.exit(3)"
    assert record([sys.executable, "-c", program], tmp_path / "x.svg", "t", tmp_path) == 3
    assert texts((tmp_path / "x.svg").read_text()) == ["seen True", "wrong"]
    assert "seen True" in capfd.readouterr().out
