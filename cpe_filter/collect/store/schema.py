"""The tables' versions: migrations/NNNN_name.sql, in order, each once, each in a transaction of its own.

Knows the files. Must not know an engine, or what a table is for. The engines run what `pending` gives. A store with a
version that this program does not have is refused: this program could misread it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from cpe_filter.collect.store.base import SchemaError

VERSIONS = (
    "CREATE TABLE IF NOT EXISTS schema_version"
    " (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
)
APPLIED = "SELECT version FROM schema_version ORDER BY version"
APPLY = "INSERT INTO schema_version (version, name, applied_at) VALUES (:version, :name, :applied_at)"


class Migration(NamedTuple):
    """One file: its number, its name, its statements."""

    version: int
    name: str
    statements: tuple[str, ...]


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations of this program, in order. Numbers begin with 1 and have no gap."""
    files = sorted(
        (file for file in resources.files("cpe_filter.collect.store").joinpath("migrations").iterdir()
         if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )  # fmt: skip
    found = []
    for expected, file in enumerate(files, 1):
        number, _, rest = file.name.partition("_")
        if not number.isdecimal() or int(number) != expected:
            raise SchemaError(f"migrations: {file.name} should be number {expected}")
        found.append(Migration(expected, rest.removesuffix(".sql"), _statements(file.read_text(encoding="utf-8"))))
    return tuple(found)


def pending(applied: Sequence[int], known: Sequence[Migration] | None = None) -> tuple[Migration, ...]:
    """The migrations that a store with these versions needs. Raises `SchemaError` for other versions."""
    known = migrations() if known is None else known
    if list(applied) != list(range(1, len(applied) + 1)):
        raise SchemaError(f"the store's schema has versions {list(applied)}; some are missing")
    if len(applied) > len(known):
        raise SchemaError(
            f"the store's schema is version {len(applied)}, newer than this program, which knows {len(known)};"
            " install the version that wrote it, or a later one"
        )
    return tuple(known[len(applied) :])


def _statements(text: str) -> tuple[str, ...]:
    """Splits SQL text into statements, without comments."""
    out, statement = [], ""
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("--"):
            continue
        statement += line
        if sqlite3.complete_statement(statement):
            out.append(statement.strip().removesuffix(";"))
            statement = ""
    if statement.strip():
        raise SchemaError(f"migrations: a statement does not end: {statement.strip()[:60]}")
    return tuple(out)
