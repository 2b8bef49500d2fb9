"""Lines measured on the kernel that runs here, or in the virtual machine's: a row for each line, setting and family.

Knows which settings are tried. Must not know how a line is laid, how a cell is judged, or how rows are shown.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.lab.lines import programs
from tests.lab.lines.cell import Cell, Setting, baseline, measure
from tests.lab.lines.lay import DEVICES, LINES, Laid, lay
from tests.lab.lines.links import has
from tests.lab.net import PROJECT, PYTHON, Lab
from tests.vm.machine import run

MODES, FAILS = ("monitor", "limit", "block"), ("open", "closed")
#: Seconds for the guest: only one that hangs takes so long.
_TIMEOUT_S = 7200
_ROW = "row: "
#: Rows as JSON, a line each; not in git.
KEPT = PROJECT / "build" / "lines.jsonl"


class Row(NamedTuple):
    """What was found. by: what made the line's link; kernel: its release."""

    line: str
    by: str
    kernel: str
    mode: str
    fail: str
    complete: bool
    family: int
    found: str
    wrong: str


def settings(modes: Sequence[str] = MODES, fails: Sequence[str] = FAILS) -> list[Setting]:
    return [Setting(mode, fail, complete) for complete in (True, False) for mode in modes for fail in fails]


def here(lines: Sequence[str], wanted: Sequence[Setting]) -> Iterator[Row]:
    """Measures on this kernel. A line without old interfaces has only the settings with all. Raises RuntimeError."""
    for name in lines:
        with Lab(devices=DEVICES) as lab:
            lab.start_servers()
            laid = lay(lab, name)
            for setting, cell in cells(lab, laid, wanted):
                yield Row(name, laid.by, platform.release(), *setting, *cell)


def cells(lab: Lab, laid: Laid, wanted: Sequence[Setting]) -> Iterator[tuple[Setting, Cell]]:
    """Each setting's cells on a line that is laid. Raises RuntimeError where the line does not carry mail."""
    without = baseline(lab, laid)
    for setting in wanted:
        if setting.complete or (laid.lan, laid.wan) != (laid.old_lan, laid.old_wan):
            for cell in measure(lab, laid, setting, without):
                yield setting, cell


def in_guest(lines: Sequence[str], wanted: Sequence[Setting]) -> Iterator[Row]:
    """The same in the virtual machine, whose kernel has the links. Raises RuntimeError with what the guest said."""
    words = [f"{setting.mode}-{setting.fail}-{int(setting.complete)}" for setting in wanted]
    command = [PYTHON, "-m", "tests.lab.lines", "--rows", "--lines", *lines, "--settings", *words]
    ended = run(command, _TIMEOUT_S, {"CPE_FILTER_HANDOFF": "native"})
    for line in ended.output.splitlines():
        if line.startswith(_ROW):
            yield Row(*json.loads(line.removeprefix(_ROW)))
    if ended.code != 0:
        raise RuntimeError(f"the guest ended with {ended.code}: {ended.output[-4000:]}{ended.console[-2000:]}")


def show(row: Row) -> str:
    """The line by which `in_guest` knows a row."""
    return _ROW + json.dumps(row)


def keep(row: Row) -> None:
    """Adds a row to those that were measured on this machine before."""
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        file.write(json.dumps(row) + "\n")


def kept() -> list[Row]:
    """What was measured on this machine, the last of each cell."""
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    measured = [Row(*json.loads(line)) for line in lines]
    return list({row[:-2]: row for row in measured}.values())


def setting_of(word: str) -> Setting:
    """A setting as `in_guest` writes it. Raises ValueError."""
    mode, fail, complete = word.split("-")
    return Setting(mode, fail, bool(int(complete)))


def needs_guest() -> list[str]:
    """The lines whose link this kernel has not. Needs root."""
    with Lab(devices=0) as lab:
        return [name for name, line in LINES.items() if line.needs and not has(lab, line.needs)]


def impossible() -> dict[str, str]:
    """Lines that cannot be laid here, and why."""
    return {
        name: f"{line.program} is not here (python -m tests.lab.lines.programs gets it)"
        for name, line in LINES.items()
        if line.program and not programs.find(line.program)
    }
