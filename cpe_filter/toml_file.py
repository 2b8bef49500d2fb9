"""TOML files of known tables and keys: the policy, the exemptions, the configuration of the collector.

Knows how such a file is read and checked against a list of keys. Every error names file, table, key, what was found and
what is allowed. Must not know any key. Not part of the running filter: tomllib and what it imports take 1.5 MB, so the
filter reads its files in a child process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cpe_filter.inputs import found, shown
from cpe_filter.lean.named_tuple import NamedTuple

#: A file larger than this is a mistake.
MAX_FILE_BYTES = 1 << 20

Tables = Mapping[str, Mapping[str, "Key"]]


class NotAllowedError(ValueError):
    """A value that is not allowed. The text follows the name of the key; empty: the key's own text."""


class Key(NamedTuple):
    """One key of a file.

    kind: what tests and pages call this kind of value. read: a value from the file -> the value that is kept; raises
    `NotAllowedError`. allowed: the same in words. unit, low, high: of a number. words: the allowed words.
    """

    table: str
    name: str
    kind: str
    read: Callable[[Any], Any]
    allowed: str
    meaning: str
    unit: str = ""
    low: int = 0
    high: int = 0
    words: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it stands in the file, for people."""
        return f"[{self.table}] {self.name}"

    def value(self, tables: Any) -> Any:
        """What is set for it in an object with a field for each table."""
        return getattr(getattr(tables, self.table), self.name)


# ── keys of common kinds ────────────────────────────────────────────────────────────────────────────


def number(table: str, name: str, unit: str, low: int, high: int, meaning: str) -> Key:
    """A whole number from low to high."""
    allowed = f"a whole number from {low} to {high} ({unit})"
    return Key(table, name, "number", whole(low, high, unit), allowed, meaning, unit, low, high)


def word(table: str, name: str, words: tuple[str, ...], meaning: str) -> Key:
    """One of a few words."""
    read = valid(lambda value: isinstance(value, str) and value in words)
    return Key(table, name, "word", read, ", ".join(words), meaning, words=words)


def flag(table: str, name: str, meaning: str) -> Key:
    return Key(table, name, "flag", valid(lambda value: isinstance(value, bool)), "true, false", meaning)


def whole(low: int, high: int, unit: str) -> Callable[[Any], int]:
    """Reads a whole number within bounds."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise NotAllowedError(f"is {found(value)}; allowed: a whole number from {low} to {high} ({unit})")
        return value

    return read


def valid(rule: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Reads a value that is kept as it is, a list as a tuple, where `rule` holds."""

    def read(value: Any) -> Any:
        if not rule(value):
            raise NotAllowedError
        return tuple(value) if isinstance(value, list) else value

    return read


def by_table(keys: Iterable[Key]) -> dict[str, dict[str, Key]]:
    tables: dict[str, dict[str, Key]] = {}
    for key in keys:
        tables.setdefault(key.table, {})[key.name] = key
    return tables


# ── a file ──────────────────────────────────────────────────────────────────────────────────────────


def load(path: str, error: type[ValueError]) -> dict[str, Any]:
    """Reads and parses a file. Raises `error`."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as why:
        raise error(f"{path}: {why.strerror}") from None
    return parse(raw, path, error)


def parse(raw: bytes, path: str, error: type[ValueError]) -> dict[str, Any]:
    """The bytes of a file as tables. Raises `error`, which names `path`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(raw) > MAX_FILE_BYTES:
        raise error(f"{path}: too large; allowed: at most {MAX_FILE_BYTES} bytes")
    try:
        data: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as why:
        raise error(f"{path}: not UTF-8 text (byte {why.start})") from None
    except ValueError as why:  # TOMLDecodeError, or int()'s own refusal of thousands of digits
        raise error(f"{path}: not TOML: {why}") from None
    except RecursionError:
        raise error(f"{path}: not TOML: nested too deeply") from None
    return data


def check(
    data: dict[str, Any],
    path: str,
    tables: Tables,
    error: type[ValueError],
    lists: Mapping[str, Iterable[str]],
    problems: list[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """The values of each table, as their keys read them. Raises `error` for the first that cannot be read.

    lists: names of lists of tables ([[name]]) and their keys, for errors only; the caller checks them himself.
    problems: if given, what is wrong is added to this list instead, and left out of the values.
    """
    values: dict[str, dict[str, Any]] = {}
    for table, content in data.items():
        try:
            keys = _keys(table, content, path, tables, error, lists)
        except error as why:
            note(why, problems)
            continue
        values[table] = {}
        for name, value in content.items():
            try:
                values[table][name] = _value(table, name, value, path, keys, tables, error, lists)
            except error as why:
                note(why, problems)
    return values


def note(why: ValueError, problems: list[str] | None) -> None:
    """Adds an error to a list; without a list raises it."""
    if problems is None:
        raise why from None
    problems.append(str(why))


def _keys(
    table: str, content: Any, path: str, tables: Tables, error: type[ValueError], lists: Mapping[str, Iterable[str]]
) -> Mapping[str, Key]:
    """The keys of a table, whose content is one. Raises `error`."""
    keys = tables.get(table)
    if keys is None:
        known = [f"[{name}]" for name in tables] + [f"[[{name}]]" for name in lists]
        hint = _home(table, tables, lists) or nearest(f"[{table}]", known)
        raise error(f"{path}: unknown table or key {shown(table)}; {hint}")
    if not isinstance(content, dict):
        raise error(f"{path}: {table} is {found(content)}; expected a table [{table}]")
    return keys


def _value(
    table: str,
    name: str,
    value: Any,
    path: str,
    keys: Mapping[str, Key],
    tables: Tables,
    error: type[ValueError],
    lists: Mapping[str, Iterable[str]],
) -> Any:
    """The value of a key of a table. Raises `error`."""
    key = keys.get(name)
    if key is None:
        # `port` in [network] is a slip for `ports`, though [explain] has a key of that name.
        slip = any(_edits(name[:40], other) == 1 for other in keys)
        hint = (not slip and _home(name, tables, lists)) or nearest(name, keys)
        raise error(f"{path}: [{table}] unknown key {shown(name)}; {hint}")
    return read(key, value, f"{path}: [{table}] {name}", error)


def read(key: Key, value: Any, where: str, error: type[ValueError]) -> Any:
    """A value as its key reads it. Raises `error`, which begins with `where`."""
    try:
        return key.read(value)
    except NotAllowedError as why:
        raise error(f"{where} {str(why) or f'is {found(value)}; allowed: {key.allowed}'}") from None


def _home(name: str, tables: Tables, lists: Mapping[str, Iterable[str]]) -> str:
    """The right place of a known key that is in the wrong table; empty for an unknown one."""
    places = [f"[[{one}]]" for one, names in lists.items() if name in names]
    places += [f"[{table}]" for table, keys in tables.items() if name in keys]
    return f"it belongs in {places[0]}" if places else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the known name that takes the fewest edits, if few; else all of them."""
    known = list(known)
    best = min(known, key=lambda other: _edits(name[:40], other))
    if _edits(name[:40], best) <= max(2, len(best) // 3):
        return f"did you mean {best}?"
    return f"known: {', '.join(known)}"


def _edits(a: str, b: str) -> int:
    """Levenshtein's distance. difflib would do, at the price of `re` and `heapq` for one message."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]
