"""The package's structure: heads that say what a module knows, no circle of imports, few modules outside of a room.

Which room may know which is in pyproject.toml ([tool.importlinter]), and checked by `make lint`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.lab.net import PROJECT

ROOT = PROJECT / "cpe_filter"
#: Modules that belong to no room.
LOOSE = 6


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(tree: ast.Module, known: Iterable[str]) -> Iterator[str]:
    """Modules of ours that a module imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                if below in known or node.module in known:
                    yield below if below in known else node.module


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one node (Tarjan), and nodes that know themselves."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1 or node in graph[node]:
                found.append(sorted(part))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_no_circle_of_imports() -> None:
    graph = {name: set(imported(ast.parse(path.read_text()), MODULES)) for name, path in MODULES.items()}
    assert len(graph) > 200
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"a"}}) == [["a"]]
    assert list(imported(ast.parse("def f():\n    from a.b import c, d\n    import a.e"), ("a.b", "a.b.c", "a.e"))) == [
        "a.b.c",
        "a.b",
        "a.e",
    ]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_opens_with_what_it_is_and_what_it_must_not_know(name: str) -> None:
    head = ast.get_docstring(ast.parse(MODULES[name].read_text()))
    assert head is not None
    assert len(head) > 20
    if MODULES[name].parent != ROOT or MODULES[name].stem.strip("_") not in ("init", "main"):
        assert "ust not " in " ".join(head.split()), f"{name}: what must it not know?"


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()} - {ROOT}), ids=name_of)
def test_a_room_says_what_it_knows_and_what_it_must_not_know(folder: Path) -> None:
    head = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    words = " ".join(head.split())
    assert "nows " in words, f"{folder.name}/__init__.py: what does it know?"
    assert "ust not " in words or "nows nothing" in words, f"{folder.name}/__init__.py: what must it not know?"


def test_few_modules_belong_to_no_room() -> None:
    assert len([path for path in ROOT.glob("*.py") if path.stem != "__init__"]) <= LOOSE


def test_tests_mirror_the_rooms() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert {room for room in rooms if not (PROJECT / "tests" / room).is_dir()} == set()
