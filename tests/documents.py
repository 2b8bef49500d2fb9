"""The documents' tables that are made from the code: `python -m tests.documents` writes them, `test_docs` checks them.

Knows where each table stands. A table begins with its header and ends at the first empty line.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cpe_filter.collect.config.keys import KEYS as COLLECTOR_KEYS
from cpe_filter.collect.config.model import Config
from cpe_filter.policy.keys import KEYS
from cpe_filter.policy.model import Policy
from cpe_filter.replay.violations import VIOLATIONS
from tests import log_lines
from tests.lab.net import PROJECT

DOCS = PROJECT / "docs"
KEY_HEADER = "| key | default | allowed | meaning |\n|---|---|---|---|\n"

LOG_HEADER = "| severity | program | line |\n|---|---|---|\n"

VIOLATION_HEADER = "| violation | by | means | rule |\n|---|---|---|---|\n"


def toml(value: Any) -> str:
    """A default as it would be written in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def policy_table() -> str:
    """The policy's keys."""
    return _keys(
        (
            key.table,
            key.name,
            key.value(Policy()),
            f"{key.low} to {key.high} {key.unit}" if key.kind == "number" else key.allowed,
            key.meaning,
        )
        for key in KEYS
    )


def collector_table() -> str:
    """The keys of the collector's configuration."""
    return _keys((key.table, key.name, key.value(Config()), key.allowed, key.meaning) for key in COLLECTOR_KEYS)


def violation_table() -> str:
    """The violations of the protocol that `replay --json` names."""
    return "\n".join(
        f"| `{name}` | {author} | {meaning} | {source} |" for name, (author, meaning, source) in VIOLATIONS.items()
    )


def log_table() -> str:
    """The lines of the log."""
    return "\n".join(
        f"| {severity} | {program} | {text if '`' in text else f'`{text}`'} |"
        for severity, program, text in log_lines.rows()
    )


def _keys(rows: Iterable[tuple[str, str, Any, str, str]]) -> str:
    return "\n".join(
        f"| `[{table}]` `{name}` | `{toml(default)}` | {allowed} | {meaning} |"
        for table, name, default, allowed, meaning in rows
    )


def table(page: str, header: str) -> str:
    """The rows of the table of `page` that begins with `header`."""
    text = (DOCS / page).read_text()
    start = text.index(header) + len(header)
    return text[start : text.index("\n\n", start)]


def _write(page: str, header: str, rows: str) -> None:
    path: Path = DOCS / page
    path.write_text(path.read_text().replace(header + table(page, header), header + rows))


if __name__ == "__main__":
    _write("policy.md", KEY_HEADER, policy_table())
    _write("collector.md", KEY_HEADER, collector_table())
    _write("log.md", LOG_HEADER, log_table())
    _write("replay.md", VIOLATION_HEADER, violation_table())
