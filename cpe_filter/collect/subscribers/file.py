"""The subscriber map as a CSV file: UTF-8, RFC 4180, a header with `map.COLUMNS` in any order.

Knows files. Must not know who asks for a subscriber. A file is read again when it changes. A file with an error is
refused completely, each error is reported with its line, and the last good file stays. Replace the file by renaming a
new one: half a file may look valid.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import Iterable, Iterator

from cpe_filter.collect.subscribers.map import COLUMNS, Line, MapError, Row, check_overlaps, line_at, row

MAX_FILE = 1 << 30
MAX_ROWS = 5_000_000
#: Errors that are reported of one file.
_MAX_ERRORS = 20


def parse(text: Iterable[str], name: str) -> dict[str, tuple[Row, ...]]:
    """CSV text, line by line -> rows of each router. Raises `MapError` with up to 20 errors, each `name:line: what`."""
    faults = _Faults(name)
    found: dict[str, tuple[Row, ...]] = {}
    lines: dict[str, int] = {}
    for number, values in _records(text, faults):
        try:
            one = row(values)
            found[one.router] = (*found.get(one.router, ()), one)
            lines[one.router] = number
            if len(found[one.router]) > 1:
                check_overlaps(found[one.router])
        except MapError as error:
            faults.add(number, str(error))
    faults.end()
    return found


class _Faults:
    def __init__(self, name: str) -> None:
        self._name, self._lines = name, list[str]()

    def add(self, number: int, what: str) -> None:
        self._lines.append(f"{self._name}:{number}: {what}")
        if len(self._lines) >= _MAX_ERRORS:
            self._lines.append(f"{self._name}: perhaps more errors")
            self.end()

    def end(self) -> None:
        if self._lines:
            raise MapError("\n".join(self._lines))


def _records(text: Iterable[str], faults: _Faults) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(text, strict=True)
    header: list[str] | None = None
    count = 0
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            faults.add(reader.line_num, f"not CSV: {error}")
            faults.end()
            return
        if fields is None:
            break
        if header is None:
            header = _header(fields, faults)
        elif fields:  # an empty line is ignored
            count += 1
            if count > MAX_ROWS:
                faults.add(reader.line_num, f"over {MAX_ROWS} rows; use an HTTP lookup for so many")
                faults.end()
            if len(fields) != len(header):
                faults.add(reader.line_num, f"{len(fields)} fields; the header has {len(header)}")
            else:
                yield reader.line_num, dict(zip(header, fields, strict=True))
    if header is None:
        faults.add(1, "no header")


def _header(fields: list[str], faults: _Faults) -> list[str]:
    names = [field.strip().lower() for field in fields]
    for name in names:
        if name not in COLUMNS:
            faults.add(1, f"unknown column {name[:40]!a}; known: {', '.join(COLUMNS)}")
    for name in ("router", "subscriber"):
        if name not in names:
            faults.add(1, f"column {name} is missing")
    if len(set(names)) != len(names):
        faults.add(1, "a column appears twice")
    faults.end()
    return names


def read(path: str) -> dict[str, tuple[Row, ...]]:
    """A whole file. Raises `MapError`."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE:
                raise MapError(f"{path}: over {MAX_FILE} bytes; use an HTTP lookup for so many")
            # Spreadsheets write a byte order mark.
            return parse(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), path)
    except OSError as error:
        raise MapError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MapError(f"{path}: not UTF-8 text") from None


class File:
    """A `Subscribers` from a CSV file, read again when it changes; while it has errors the last good one stays.

    `wrong`: what is wrong with the current file, "" if nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows: dict[str, tuple[Row, ...]] = {}
        self._mark: tuple[int, int, int] | None = None
        self.wrong = ""

    def __len__(self) -> int:
        return len(self._rows)

    async def find(self, router: str, at: int) -> Line | None:
        rows = self._rows.get(router)
        return line_at(rows, at) if rows else None

    async def refresh(self, now: float) -> bool:
        mark = self._stat()
        if mark == self._mark and mark is not None:
            return False
        try:
            rows = await asyncio.to_thread(read, self._path)
        except MapError as error:
            self.wrong, self._mark = str(error), mark
            return False
        # A file that is still being written has another mark the next time.
        self.wrong, self._mark, self._rows = "", mark, rows
        return True

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
