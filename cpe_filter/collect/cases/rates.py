"""A table of rates as a canonical text: what `calibrate` proposes, the evaluation gate checks and a policy can carry.

Knows the text's form and the table of indicators that it changes. Must not know where the rates come from. Rows that
are not in the text stay as they are in the filter's own table:

    cpe-filter rates 1
    profiles mta list appliance ...
    unknown-user 0.3400 0.0500 0.2500 _ ...

First the share of a bot's contacts that show the indicator, then each profile's bound, `_` where it may show it always
or never. Rows are in the order of the codes, numbers have four digits, and lines end in a line feed, so that equal
tables have equal bytes and one digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from cpe_filter.detect.evidence import ANY, INDICATORS, SENDER_PROFILES

HEADER = "cpe-filter rates 1"
#: No rate is nearer to never or always than this, so that no single finding decides.
LEAST, MOST = 0.001, 0.98
#: Bytes of a text.
MOST_BYTES = 64 * 1024


class TableError(ValueError):
    """A text that is not a table of rates. One line that says where and what is allowed."""


class Row(NamedTuple):
    """bot: a share; usual: bounds in the order of `SENDER_PROFILES`, `ANY` where there is none."""

    bot: float
    usual: tuple[float, ...]


def encode(rows: Mapping[str, Row]) -> bytes:
    """The canonical text."""
    lines = [HEADER, f"profiles {' '.join(SENDER_PROFILES)}"]
    for name in sorted(rows):
        row = rows[name]
        lines.append(" ".join([name, f"{row.bot:.4f}", *("_" if not one else f"{one:.4f}" for one in row.usual)]))
    return ("\n".join(lines) + "\n").encode("ascii")


def digest(text: bytes) -> str:
    """SHA-256 of the text, in hex: what is signed."""
    return hashlib.sha256(text).hexdigest()


def decode(text: bytes) -> dict[str, Row]:
    """The rows of a text. Raises `TableError`, also where the text is not canonical."""
    if len(text) > MOST_BYTES:
        raise TableError(f"more than {MOST_BYTES} bytes")
    lines = text.decode("ascii", "replace").split("\n")
    profiles = f"profiles {' '.join(SENDER_PROFILES)}"
    if lines[:2] != [HEADER, profiles]:
        raise TableError(f"lines 1 and 2 must be {HEADER!r} and {profiles!r}")
    rows = {}
    for number, line in enumerate(lines[2:-1], 3):
        name, *values = line.split(" ")
        row = INDICATORS.get(name)
        if row is None:
            raise TableError(f"line {number}: {name[:40]!a} is not an indicator")
        if len(values) != 1 + len(SENDER_PROFILES):
            raise TableError(f"line {number}: {name} needs {1 + len(SENDER_PROFILES)} values, has {len(values)}")
        bounds = tuple(ANY if value == "_" else _share(value, number) for value in values[1:])
        rows[name] = Row(_share(values[0], number), bounds)
    if encode(rows) != text:
        raise TableError("not canonical: codes in order and once, four digits, lines end in a line feed")
    return rows


def _share(value: str, number: int) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not LEAST <= share <= MOST:  # also what is not a number
        raise TableError(f"line {number}: {value[:20]!a} is not a share from {LEAST} to {MOST}")
    return share
