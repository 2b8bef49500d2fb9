"""The lines of the log, found in the code: each call of `err`, `warning`, `notice` or `info` of lean.log.

Knows the code's habits: a line is a literal, or a local variable that is one. A value in it is shown by its name in
capitals, or as `VALUES` says. What is made elsewhere stands in `MADE_ELSEWHERE`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.lab.net import PROJECT

PACKAGE = PROJECT / "cpe_filter"
#: The most severe first.
SEVERITIES = ("err", "warning", "notice", "info")
#: Rooms that are programs of their own; all others belong to `run`.
PROGRAMS = {"explain": "explain", "send": "send", "cli": "all", "uci": "service"}
#: Values whose name in the code does not say what they are, by the end of their expression.
VALUES = {
    "strerror": "ERROR",
    "strerror or error": "ERROR",
    "type(error).__name__": "KIND",
    "gate.failures": "N",
    "gate.last_failure": "ERROR",
    "watched.unlogged": "N",
    "BLIND_S": "N",
    "MINUTES": "N",
    "minutes": "N",
    "block_minutes": "N",
    "max_connections": "N",
    "compromised": "N",
    "ip_address(server)": "ADDRESS",
    "_connections(self.count)": "N connections",
    "_period(time - self.since)": "the last minute",
    "_called(batch[0])": "EVENT",
    "_called(event)": "EVENT",
    "max(0.0, plan.due - uptime())": "N",
    "self.called": "DEVICE",
    "self._called(device)": "DEVICE",
    "called": "DEVICE",
    "event.before": "STANDING",
    "event.after": "STANDING",
    "before": "DEVICE",
    "after": "DEVICE",
    "describe(each)": "EXEMPTION",
    "describe(kept.exemption)": "EXEMPTION",
    "'; '.join(lines)": "CHANGES",
    "' '.join(policy.network.lan)": "INTERFACES",
    "' '.join(policy.network.wan)": "INTERFACES",
    "len(policy.network.relays)": "N",
    "len(newest.devices)": "N",
    "connections": "N",
    "recipients": "N",
    "turned_away": "N",
    "timed_out": "N",
    "'' if has_log else 'no '": "[no] ",
    "exemptions_store.set_aside(self._file)": "WHERE",
    "error.filename or policy.state.state_file": "PATH",
    "watched.guarded.title": "RULES",
    "leaves": "leaves",
    "family": "4 or 6",
    "self._flash": "PATH",
    "self._recent": "PATH",
    "device.score.value": "N",
    "event.connection": "N",
    "because": "[: REASON]",
    "still": "STANDING",
    "to": "N servers",
    "why": "REASON",
    "len(leases)": "N",
    "len(good)": "N",
    "MOST": "N",
    "forbidden": "main.jail is required, and there is none: REASON",
    "', '.join(unnamed)": "OPTIONS",
    "_SIDES[key]": "home or Internet",
    "_MOST_LEASES": "N",
    "' '.join(both)": "INTERFACES",
    "' '.join(side.devices)": "INTERFACES",
    "' '.join(side.unknown)": "NETWORKS",
    "', '.join(left)": "INTERFACES",
    "event.why": "WORD",
}
#: Lines whose text is not where they are logged; a word is a list of the same file that they are appended to.
MADE_ELSEWHERE: dict[tuple[str, str], list[str] | str] = {
    ("report/reporter.py", "problem"): "problems",
    ("cli/main.py", "str(error)"): ["REASON why the program cannot start"],
    ("cli/main.py", "_with_file(error)"): ["PATH: ERROR"],
    ("cli/run.py", "text"): ["KEY: WHAT until the package PACKAGE is installed"],
    ("cli/commands.py", "str(error)"): ["no filter has made reports yet (there is no PATH)"],
    ("uci/prepare.py", "text"): ["KEY: WHAT until the package PACKAGE is installed"],
    ("live/control_socket.py", "f'control: {text}'"): ["control: internal error: KIND: ERROR"],
    ("status/refusals.py", "f'refused {_connections(self.count)} of {text} in {_period(time - self.since)}'"): [
        "refused N connections of N other devices in the last minute"
    ],
    ("send/send.py", "already_running(reader.holder())"): ["send: already running (pid N)"],
    ("live/state.py", "text"): ["state not written: PATH: ERROR", "not written: PATH: ERROR"],
}


class LineNotFoundError(Exception):
    """The text of a line is not a literal; the message says where."""


def rows() -> list[tuple[str, str, str]]:
    """(severity, program, line) of all lines, the most severe first."""
    found: dict[tuple[str, str, str], None] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if not file.startswith(("collect/", "replay/", "lean/")):
            for severity, text in _lines_of(path, file):
                found[severity, PROGRAMS.get(file.partition("/")[0], "run"), text] = None
    return sorted(found, key=lambda row: (SEVERITIES.index(row[0].split()[0]), row))


def _lines_of(path: Path, file: str) -> Iterator[tuple[str, str]]:
    tree = ast.parse(path.read_text())
    imported = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "cpe_filter.lean.log"
        for name in node.names
    } & set(SEVERITIES)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions if imported else ():
        local: dict[str, ast.expr] = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or len(node.args) != 1:
                continue
            severity = _severity(node.func.id, imported, local)
            if severity is not None:
                prefix = "send: " if file == "send/send.py" else ""
                for text in _texts(node.args[0], tree, local, file):
                    yield severity, prefix + text


def _severity(name: str, imported: set[str], local: dict[str, ast.expr]) -> str | None:
    if name in imported:
        return name
    chosen = local.get(name)
    if isinstance(chosen, ast.IfExp) and isinstance(chosen.body, ast.Name) and isinstance(chosen.orelse, ast.Name):
        return " or ".join(sorted((chosen.body.id, chosen.orelse.id), key=SEVERITIES.index))
    return None


def _texts(node: ast.expr, tree: ast.Module, local: dict[str, ast.expr], file: str) -> list[str]:
    known = MADE_ELSEWHERE.get((file, ast.unparse(node)))
    if isinstance(known, list):
        return known
    return [_text(made, local, file) for made in ([node] if known is None else _appended(tree, known))]


def _appended(tree: ast.Module, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.append":
            yield node.args[0]


def _text(node: ast.expr, local: dict[str, ast.expr], file: str) -> str:
    if isinstance(node, ast.Name) and isinstance(local.get(node.id), ast.JoinedStr | ast.Constant):
        node = local[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        raise LineNotFoundError(f"{file}:{node.lineno}: {ast.unparse(node)} is not a literal; see MADE_ELSEWHERE")
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            parts.append(_value(part.value))
        else:
            assert isinstance(part, ast.Constant)
            parts.append(str(part.value))
    return "".join(parts)


def _value(node: ast.expr) -> str:
    text = ast.unparse(node)
    for end, word in VALUES.items():
        if text == end or text.endswith(f".{end}"):
            return word
    if isinstance(node, ast.Call) and len(node.args) == 1:
        return _value(node.args[0])
    name = text.partition("(")[0] if isinstance(node, ast.Call) else text
    return name.rpartition(".")[2].strip("_").upper()
