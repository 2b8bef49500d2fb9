"""Makers of devices by the IEEE's public lists: the first three bytes of a MAC -> a name.

Knows the files (oui, mam, oui36 and iab, as .csv or .txt). Must not know cases. A router reports three bytes of a MAC,
and none of a randomised one: more bytes would single out a device. The IEEE divides some of these blocks among
many makers; of such a block the name is one of several, and is shown as that. A file may be a mistake: sizes and names
are bounded.
"""

from __future__ import annotations

import csv
import datetime
import io
import os
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

#: Bytes of a file, files, and rows of all files. All lists of 2026 together have 60,000 rows and 7 MB as .csv.
MAX_BYTES, MAX_FILES, MAX_ROWS = 64 << 20, 8, 1_000_000
#: Characters of a name, and names of one divided block that are kept.
MAX_NAME, MAX_SHARING = 80, 3
#: Whose blocks are divided.
_AUTHORITY = "IEEE Registration Authority"
_HEX = re.compile(r"([0-9A-F]{2})-([0-9A-F]{2})-([0-9A-F]{2})\s+\(hex\)")
_RANGE = re.compile(r"([0-9A-F]{6}(?:-[0-9A-F]{6})?)\s+\(base 16\)\s*(.*)")
_CSV_HEAD = "Registry,Assignment,Organization Name"


class MakersError(Exception):
    """A list that cannot be used: file, what was found, and what is allowed."""


class Maker(NamedTuple):
    """name: "" if there is none. sharing: how many makers share the block (0: it is not divided), others: some of
    them."""

    name: str
    sharing: int = 0
    others: tuple[str, ...] = ()


class Makers:
    """A list. date: of the oldest of its files, `2026-11-24`; "" if there is no list."""

    def __init__(self, rows: Iterable[tuple[str, str]] = (), date: str = "") -> None:
        """rows: an assignment of 6, 7 or 9 hex digits, and the name. Raises `MakersError`."""
        self.date = date
        self._whole: dict[str, str] = {}
        self._parts: dict[str, tuple[int, tuple[str, ...]]] = {}
        for number, (assignment, organisation) in enumerate(rows):
            if number >= MAX_ROWS:
                raise MakersError(f"more than {MAX_ROWS:,} rows")
            block = assignment[:6].lower()
            name = _name(organisation)
            if len(assignment) == 6:
                self._whole.setdefault(block, name)
                continue
            count, names = self._parts.get(block, (0, ()))
            if len(names) < MAX_SHARING and name not in names and name != "Private":
                names = (*names, name)
            self._parts[block] = count + 1, names

    def __len__(self) -> int:
        return len(self._whole) + len(self._parts)

    def find(self, oui: str) -> Maker | None:
        """oui: 6 hex digits. None if the list does not have it."""
        block = oui.lower()
        count, names = self._parts.get(block, (0, ()))
        whole = self._whole.get(block)
        if count or whole == _AUTHORITY:
            return Maker("", max(count, 1), names)
        return Maker(whole) if whole else None


def is_local(oui: str) -> bool:
    """Whether an address that begins like this is locally administered (IEEE 802, the second bit): randomised."""
    return len(oui) == 6 and oui[1] in "2367abefABEF"


def _name(text: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= MAX_NAME else f"{plain[: MAX_NAME - 3]}..."


#: The list of the request.
_now: ContextVar[Makers] = ContextVar("makers")
_NONE = Makers()


def use(found: Makers) -> None:
    """From here on in this request `current` gives this list."""
    _now.set(found)


def current() -> Makers:
    return _now.get(_NONE)


class Files:
    """The files of the configuration; `check` reads them again when one of them has changed."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Raises `MakersError`."""
        self._paths = tuple(paths)
        self._seen = self._stamps()
        self.list = self._read()

    def check(self) -> bool:
        """True if a new list was read. Raises `MakersError`; then the last good one stays in use."""
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        self._seen = stamps
        self.list = self._read()
        return True

    def _stamps(self) -> list[tuple[int, int, int]]:
        found = []
        for path in self._paths:
            try:
                status = os.stat(path)
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return found

    def _read(self) -> Makers:
        if not self._paths:
            return Makers()
        rows: list[tuple[str, str]] = []
        dates = []
        for path in self._paths:
            text, changed = _text(path)
            found = list(_csv_rows(text, path) if text.lstrip("\ufeff").startswith(_CSV_HEAD) else _txt_rows(text))
            if not found:
                raise MakersError(f"{path}: not a list of the IEEE; expected oui, mam, oui36 or iab, as .csv or .txt")
            rows += found
            dates.append(changed)
        date = datetime.datetime.fromtimestamp(min(dates), datetime.timezone.utc).strftime("%Y-%m-%d")
        try:
            return Makers(rows, date)
        except MakersError as error:
            raise MakersError(f"{', '.join(self._paths)}: {error}") from None


def _text(path: str) -> tuple[str, float]:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MakersError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise MakersError(f"{path}: more than {MAX_BYTES >> 20} MiB")
    return data.decode("utf-8", "replace"), status.st_mtime


def _csv_rows(text: str, path: str) -> Iterator[tuple[str, str]]:
    try:
        for row in csv.reader(io.StringIO(text, newline="")):
            if len(row) > 2 and re.fullmatch(r"[0-9A-Fa-f]{6}|[0-9A-Fa-f]{7}|[0-9A-Fa-f]{9}", row[1]):
                yield row[1], row[2]
    except csv.Error as error:
        raise MakersError(f"{path}: {error}") from None


def _txt_rows(text: str) -> Iterator[tuple[str, str]]:
    """`70-B3-D5 (hex) NAME`, and on the next line `F2F000-F2FFFF (base 16) NAME`, or a block's six digits."""
    block = ""
    for line in text.splitlines():
        if found := _HEX.match(line):
            block = "".join(found.groups())
        elif block and (found := _RANGE.match(line)):
            part, name = found.groups()
            if part == block:
                yield block, name
            elif part[1:7] == "00000-":  # 900000-9FFFFF: a sixteenth
                yield f"{block}{part[0]}", name
            elif part[3:7] == "000-":  # F2F000-F2FFFF
                yield f"{block}{part[:3]}", name
            block = ""
