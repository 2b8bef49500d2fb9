"""Which modules a command of the router can reach, read from the sources: no import is run.

Knows import statements, the functions of `commands`, and how the notice's languages are found. Must not know packages.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.lab.net import PROJECT

#: By module, the functions that begin what is in a package of its own, and what is in none.
APART: dict[str, dict[str, tuple[str, ...]]] = {
    "cpe-filter-report": {
        "cpe_filter.cli.commands": ("_send", "_report_show", "_policy", "_enrol", "_documents"),
        "cpe_filter.uci.service": ("_spool",),
        "cpe_filter.live.reports": ("make_reports",),
        "cpe_filter.live.daemon": ("make_instructions",),
    },
    "cpe-filter-explain": {
        "cpe_filter.cli.commands": ("_explain",),
        "cpe_filter.live.reports": ("make_notice_desk",),
    },
    "none": {
        "cpe_filter.cli.commands": ("_command_replay", "_command_collector", "_policy_at_isp"),
        "cpe_filter.cli.parser": ("_collector_command", "_policy_at_isp"),
    },
}
#: Modules that are named at run time: who names them, and the beginning of their names.
BY_NAME = {"cpe_filter.texts.notice": "cpe_filter.texts."}
#: Those that are in packages of their own.
LANGUAGES = ("nl", "de", "tr")

_SOURCES: dict[str, Path] = {}
for _path in sorted((PROJECT / "cpe_filter").rglob("*.py")):
    _parts = _path.relative_to(PROJECT).with_suffix("").parts
    _SOURCES[".".join(_parts[:-1] if _parts[-1] == "__init__" else _parts)] = _path


def source(name: str) -> Path:
    return _SOURCES[name]


def reached(*starts: str, without: tuple[str, ...] = ()) -> set[str]:
    """All our modules that these bring along, themselves too. without: packages of `APART` that are not there."""
    found: set[str] = set()
    left = list(starts)
    while left:
        name = left.pop()
        if name in found or name not in _SOURCES:
            continue
        found.add(name)
        left.append(name.rpartition(".")[0])
        functions = tuple(each for package in without for each in APART[package].get(name, ()))
        tree = ast.parse(_SOURCES[name].read_text())
        assert set(functions) <= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        left += _imports(tree, functions)
        if name in BY_NAME:
            left += [BY_NAME[name] + language for language in ("en", *LANGUAGES)]
    return found


def texts(language: str) -> set[str]:
    return {f"cpe_filter.texts.{language}"}


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
