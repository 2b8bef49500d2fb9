"""Which modules a command of the router can reach, read from the sources: no import is run.

Knows import statements, the functions of `commands`, and how the notice's languages are found. Must not know packages.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.lab.net import PROJECT

#: The functions of cpe_filter.cli.commands that begin what is not in the package cpe-filter.
SEND = ("_send",)
ELSEWHERE = (*SEND, "_command_replay", "_command_collector")
#: Modules that are named at run time: who names them, and the beginning of their names.
BY_NAME = {"cpe_filter.texts.notice": "cpe_filter.texts."}
LANGUAGES = ("en", "nl", "de", "tr")

_SOURCES: dict[str, Path] = {}
for _path in sorted((PROJECT / "cpe_filter").rglob("*.py")):
    _parts = _path.relative_to(PROJECT).with_suffix("").parts
    _SOURCES[".".join(_parts[:-1] if _parts[-1] == "__init__" else _parts)] = _path


def source(name: str) -> Path:
    return _SOURCES[name]


def reached(*starts: str, without: tuple[str, ...] = ()) -> set[str]:
    """All our modules that these bring along, themselves too. without: functions of `commands` left out."""
    found: set[str] = set()
    left = list(starts)
    while left:
        name = left.pop()
        if name in found or name not in _SOURCES:
            continue
        found.add(name)
        left.append(name.rpartition(".")[0])
        left += _imports(ast.parse(_SOURCES[name].read_text()), without if name == "cpe_filter.cli.commands" else ())
        if name in BY_NAME:
            left += [BY_NAME[name] + language for language in LANGUAGES]
    return found


def begun_by(functions: tuple[str, ...]) -> set[str]:
    """What these functions of `commands` import."""
    tree = ast.parse(_SOURCES["cpe_filter.cli.commands"].read_text())
    parts = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in functions]
    assert len(parts) == len(functions)
    return {name for part in parts for name in _imports(part, ())}


def _imports(node: ast.AST, without: tuple[str, ...]) -> set[str]:
    """Also of functions; not what only type checkers read."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name in without:
            continue
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                found |= _imports(other, without)
            continue
        if isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        if isinstance(child, ast.ImportFrom) and child.module:
            found.add(child.module)
            found |= {f"{child.module}.{alias.name}" for alias in child.names}
        found |= _imports(child, without)
    return found
