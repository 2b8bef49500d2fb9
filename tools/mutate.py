"""A sample of small changes to the code, to learn whether a test notices: `python -m tools.mutate`.

Each change turns one comparison, condition, constant or statement of a module around, in a copy of the project; then
the tests that mirror that module run, and where they pass those of its room and `tests/engine`, the live ones last. A
test that fails is run once more without the change: if it fails then, too, it has noticed nothing. What no test notices
has survived. The sample is drawn with a fixed seed, so it is the same for the same code.

Exit status: 0 where at most `--allowed` survive, 1 where more do.
"""

from __future__ import annotations

import argparse
import ast
import copy
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
#: Rooms whose changes are drawn.
ROOMS = ("enforce", "detect", "report", "live")
CHANGES, SEED, ALLOWED, TIMEOUT_S = 60, 25, 5, 900.0
#: What is not copied.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".vm", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")

_SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


class Change(NamedTuple):
    """One change of one file. source: all of the file with it."""

    path: str
    line: int
    kind: str
    before: str
    after: str
    source: str


class Result(NamedTuple):
    change: Change
    noticed: bool
    by: str
    seconds: float


# ── changes ─────────────────────────────────────────────────────────────────────────────────────


def _docstrings(tree: ast.Module) -> set[int]:
    """The ids of the statements that are documentation."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first))
    return found


def _only_for_types(tree: ast.Module) -> set[int]:
    """The ids of all nodes that do nothing when the program runs: under TYPE_CHECKING, and annotations."""
    found: set[int] = set()
    for node in ast.walk(tree):
        idle: list[ast.AST] = []
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            idle += [node]
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("TYPE_CHECKING", "__slots__"):
            idle += [node]
        if isinstance(node, ast.AnnAssign):
            idle += [node.annotation]
        if isinstance(node, ast.FunctionDef):
            idle += [each for each in [node.returns, *(arg.annotation for arg in node.args.args)] if each]
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            idle += [node]  # an error's or a message's words
        found |= {id(below) for each in idle for below in ast.walk(each)}
    return found


def _places(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Nodes that can be changed, and how."""
    idle = _only_for_types(tree) | _docstrings(tree)
    for node in ast.walk(tree):
        if id(node) in idle:
            continue
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield node, "comparison"
        elif isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Compare | ast.Constant):
            yield node, "condition"
        elif isinstance(node, ast.BoolOp):
            yield node, "and/or"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            yield node, "constant"
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and _inside_function(tree, node):
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Yield)):
                yield node, "statement"


def _inside_function(tree: ast.Module, wanted: ast.AST) -> bool:
    cached = getattr(tree, "_in_functions", None)
    if cached is None:
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        cached = {id(below) for function in functions for below in ast.walk(function)}
        tree._in_functions = cached  # type: ignore[attr-defined]
    return id(wanted) in cached


def _changed(node: ast.AST, kind: str) -> ast.AST:
    """A changed copy of the node."""
    new = copy.deepcopy(node)
    if isinstance(new, ast.Compare):
        new.ops = [_SWAPPED[type(new.ops[0])]()]
    elif isinstance(new, ast.If | ast.While) and kind == "condition":
        new.test = ast.UnaryOp(ast.Not(), new.test)
    elif isinstance(new, ast.BoolOp):
        new.op = ast.Or() if isinstance(new.op, ast.And) else ast.And()
    elif isinstance(new, ast.Constant) and kind == "constant":
        value = new.value
        assert isinstance(value, int | float)
        new = ast.Constant(not value if isinstance(value, bool) else value + 1 if value < 10 else value * 2)
    else:
        new = ast.Pass()
    return ast.copy_location(new, node)


def _replaced(text: str, node: ast.AST, new: ast.AST) -> tuple[str, str, str]:
    """The file's text with the node's replaced, and both texts."""
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    if isinstance(node, ast.If | ast.While):  # its head alone: the body keeps its lines
        assert isinstance(new, ast.If | ast.While)
        node, new = node.test, new.test
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    data = text.encode()
    begin = starts[node.lineno - 1] + node.col_offset
    end = starts[node.end_lineno - 1] + node.end_col_offset
    words = ast.unparse(new)
    if isinstance(new, ast.expr) and not isinstance(new, ast.Constant):
        words = f"({words})"
    return (data[:begin] + words.encode() + data[end:]).decode(), data[begin:end].decode(), words


def _thinkable(path: str, text: str) -> Iterator[Change]:
    """Every change of a file, also those that do not compile."""
    for node, kind in _places(ast.parse(text)):
        source, before, after = _replaced(text, node, _changed(node, kind))
        yield Change(path, getattr(node, "lineno", 0), kind, before, after, source)


def _compiles(change: Change) -> bool:
    try:
        compile(change.source, change.path, "exec")
    except SyntaxError:
        return False
    return True


def changes(path: str, text: str) -> list[Change]:
    """Every change of a file that still compiles."""
    return [change for change in _thinkable(path, text) if _compiles(change)]


def sample(rooms: list[str], count: int, seed: int) -> list[Change]:
    """As many changes of each room, and within it of each module by its size."""
    draw = random.Random(seed)
    found: list[Change] = []
    for number, room in enumerate(rooms):
        share = count // len(rooms) + (number < count % len(rooms))
        possible = [
            change
            for path in sorted((PROJECT / "cpe_filter" / room).rglob("*.py"))
            for change in _thinkable(str(path.relative_to(PROJECT)), path.read_text())
        ]
        kinds: dict[str, list[Change]] = {}
        for change in draw.sample(possible, len(possible)):
            kinds.setdefault(change.kind, []).append(change)
        left = min(share, len(possible))
        # Each kind in its turn: there are ten times as many constants as conditions.
        turns = itertools.cycle(sorted(kinds))
        while left:
            change = kinds[next(turns)].pop()
            if _compiles(change):  # asked of what is drawn alone: there are thousands
                found.append(change)
                left -= 1
    return found


# ── tests ───────────────────────────────────────────────────────────────────────────────────────


def suites(path: str) -> list[list[str]]:
    """pytest's arguments for a module, in this order until one fails: its own tests, its room's and the engine's."""
    room, module = Path(path).parts[1], Path(path).stem
    folder = PROJECT / "tests" / room
    own = sorted(str(each.relative_to(PROJECT)) for each in folder.rglob(f"test_{module}*.py"))
    rest = [f"tests/{room}", "tests/engine"]
    if room == "enforce":
        rest += ["tests/live/test_live.py", "tests/live/test_gate.py"]
    if room == "detect":
        rest += ["tests/evaluate"]
    rest = [each for each in rest if (PROJECT / each).exists()]
    return [*([own] if own else []), ["-m", "not live", *rest], ["-m", "live", *rest]]


def run(folder: Path, words: list[str], timeout_s: float) -> str:
    """pytest in a copy of the project: "" where all pass, else what failed first, as pytest names it."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", "-rfE", *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "it does not end"
    if process.returncode in (0, 5):
        return ""
    lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR", "E "))]
    return lines[0] if lines else said.strip().splitlines()[-1]


def tried(change: Change, folder: Path, timeout_s: float, live: bool = True) -> Result:
    """The change made in a copy, its tests run, and the copy as before."""
    begun = time.monotonic()
    path = folder / change.path
    before = path.read_text()
    path.write_text(change.source)
    try:
        for words in suites(change.path)[: None if live else -1]:
            by = run(folder, words, timeout_s)
            if by and not _fails_without(by, folder, path, before, timeout_s):
                return Result(change, True, by, time.monotonic() - begun)
            path.write_text(change.source)
    finally:
        path.write_text(before)
    return Result(change, False, "", time.monotonic() - begun)


def _fails_without(by: str, folder: Path, path: Path, before: str, timeout_s: float) -> bool:
    """Whether the named test fails without the change, too: it is not steady, or fails on this machine."""
    path.write_text(before)
    test = by.removeprefix("FAILED ").removeprefix("ERROR ").partition(" - ")[0]
    return "::" in test and bool(run(folder, [test], timeout_s))


def _show(result: Result) -> None:
    change = result.change
    state = "noticed " if result.noticed else "SURVIVED"
    before, after = (" ".join(text.split())[:70] for text in (change.before, change.after))
    print(f"{state} {result.seconds:6.1f} s  {change.path}:{change.line}  {change.kind}: {before}  ->  {after}")
    if result.by:
        print(f"{'':20}{result.by[:140]}")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rooms", nargs="*", help=f"folders of cpe_filter/ ({' '.join(ROOMS)})")
    parser.add_argument("--changes", type=int, default=CHANGES, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the sample (%(default)s)")
    parser.add_argument("--allowed", type=int, default=ALLOWED, help="how many may survive (%(default)s)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="at a time (%(default)s)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds for one suite (%(default)s)")
    parser.add_argument(
        "--without-live", action="store_true", help="without the live tests of the room, which come last"
    )
    parser.add_argument("--list", action="store_true", help="print the sample and run nothing")
    options = parser.parse_args(argv)
    drawn = sample(options.rooms or list(ROOMS), options.changes, options.seed)
    if options.list:
        for change in drawn:
            print(f"{change.path}:{change.line}  {change.kind}: {change.before!r} -> {change.after!r}")
        return 0
    with tempfile.TemporaryDirectory(prefix="cpe-filter-mutate-") as name:
        copies = [Path(name, str(number)) for number in range(options.jobs)]
        for each in copies:
            shutil.copytree(PROJECT, each, ignore=LEFT_OUT)
        free = list(copies)

        def one(change: Change) -> Result:
            folder = free.pop()
            try:
                return tried(change, folder, options.timeout, not options.without_live)
            finally:
                free.append(folder)

        survived = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            for result in pool.map(one, drawn):
                survived += not result.noticed
                _show(result)
    print(f"{len(drawn)} changes, {len(drawn) - survived} noticed, {survived} survived (allowed: {options.allowed})")
    return 0 if survived <= options.allowed else 1


if __name__ == "__main__":
    sys.exit(main())
