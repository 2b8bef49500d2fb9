"""The page of lines: how rows become its table, and that no cell of it is wrong."""

from __future__ import annotations

import pytest

from tests.lab.lines import table
from tests.lab.lines.cell import BOTH, FILTERED, UNWATCHED
from tests.lab.lines.lay import LINES
from tests.lab.lines.measure import Row


def row(found: str, fail: str = "open", complete: bool = True, wrong: str = "", mode: str = "block") -> Row:
    return Row("ds-lite", "the kernel's ip6_tunnel", "6.1.0-57-amd64", mode, fail, complete, 4, found, wrong)


START = "| DS-Lite | the kernel's ip6_tunnel | IPv4 | "


@pytest.mark.parametrize(
    ("measured", "cells"),
    [
        ([row(FILTERED)], "- | - | filtered | - | - | -"),
        ([row(FILTERED), row(FILTERED, "closed")], "- | - | filtered | - | - | -"),
        ([row(FILTERED), row(FILTERED, "closed", wrong="mail passed")],
         "- | - | filtered (fail open), **wrong** (fail closed) | - | - | -"),
        ([row(UNWATCHED, complete=False, mode="monitor")], "- | - | - | reported | - | -"),
        ([row(BOTH, complete=False, mode="limit")], "- | - | - | - | both | -"),
    ],
)  # fmt: skip
def test_a_line_of_the_table(measured: list[Row], cells: str) -> None:
    assert table.rows(measured) == f"{START}{cells} |"


def test_what_is_wrong_is_named() -> None:
    assert table.wrongs([row(FILTERED)]) == "No cell is wrong.\n"
    found = table.wrongs([row(FILTERED), row(UNWATCHED, complete=False, wrong="mail was stopped")])
    assert "- DS-Lite (the kernel's ip6_tunnel), IPv4, mode block, fail open, one missing: mail was stopped.\n" in found


def test_the_page_has_every_line_and_no_cell_is_wrong() -> None:
    text = table.PAGE.read_text()
    block = text.split(table.BEGIN)[1].split(table.END)[0]
    titles = {line.split(" | ")[0].removeprefix("| ") for line in block.split(table.HEADER)[1].splitlines() if line}
    assert titles == {line.title for line in LINES.values()}
    assert table.WRONG not in block
