"""A table of rates from outside: its text, what it may change, and its place in the detector.

    cpe-filter rates 1
    profiles mta list appliance ...
    unknown-user 0.3000 0.0600 0.2500 _ ...

A row has an indicator's code, the share of a bot's contacts that show it, and each profile's bound; `_`: no bound.
Rows that are not in the text stay as they are built in.

A table can only relax: no piece of evidence weighs more against any kind of sender than it does by the built-in table
(docs/detect.md has the argument, tests/detect/test_rates.py the proof):

- of a rate (score: drawn again at each contact) only the bounds change, and only upward. A higher bound makes a contact
  that shows the indicator weigh less. A contact that does not show it weighs as by the built-in bound: otherwise a
  table could take away what clears a sender.
- of a habit no weight is above the built-in one, and what speaks for a sender speaks at least as much for it.
- families, repeats, thresholds, shares and clips are not in a table. So neither SYNs alone nor any single indicator
  convict.

So for each sender within the built-in bounds the mean of the likelihood ratio of a rate stays 1 at most: Lorden's bound
on false convictions holds as it does without a table.

Knows the text and the tables of evidence and score. Must not know files, or who has signed a text. What is in force is
the process's: all detectors of a process use one table.
"""

from __future__ import annotations

import math

from cpe_filter.detect import score
from cpe_filter.detect.evidence import ANY, CLIP, INDICATORS, LEGITIMATE, SENDER_PROFILES
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cpe_filter.detect.evidence import Indicator

HEADER = "cpe-filter rates 1"
#: No rate is nearer to never or always than this, so that no single finding decides.
LEAST, MOST = 0.001, 0.98
#: Bytes of a text.
MOST_BYTES = 32 * 1024
#: A weight may be that much above the built-in one in a text, because its rates are rounded to four digits (nats). The
#: built-in one counts then. The same for a share.
ROUNDING, _DIGIT = 0.001, 0.00005


class TableError(ValueError):
    """A text that is not a table of rates, or changes what it may not. One line that says where and what is allowed."""


class Row(NamedTuple):
    """bot: a share; usual: bounds in the order of `SENDER_PROFILES`, `ANY` where there is none."""

    bot: float
    usual: tuple[float, ...]


def encode(rows: Mapping[str, Row]) -> bytes:
    """The canonical text: rows in the order of the codes, four digits, lines end in a line feed. So equal tables have
    equal bytes."""
    lines = [HEADER, f"profiles {' '.join(SENDER_PROFILES)}"]
    for name in sorted(rows):
        row = rows[name]
        lines.append(" ".join([name, f"{row.bot:.4f}", *("_" if not one else f"{one:.4f}" for one in row.usual)]))
    return ("\n".join(lines) + "\n").encode("ascii")


def decode(text: bytes) -> dict[str, Row]:
    """The rows of a text, whatever they change. Raises `TableError`, also where the text is not canonical."""
    if len(text) > MOST_BYTES:
        raise TableError(f"more than {MOST_BYTES} bytes")
    lines = text.decode("ascii", "replace").split("\n")
    profiles = f"profiles {' '.join(SENDER_PROFILES)}"
    if lines[:2] != [HEADER, profiles]:
        raise TableError(f"lines 1 and 2 must be {HEADER!r} and {profiles!r}")
    rows = {}
    for number, line in enumerate(lines[2:-1], 3):
        name, *values = line.split(" ")
        if name not in INDICATORS:
            raise TableError(f"line {number}: {name[:40]!a} is not an indicator")
        if len(values) != 1 + len(SENDER_PROFILES):
            raise TableError(f"line {number}: {name} needs {1 + len(SENDER_PROFILES)} values, has {len(values)}")
        bounds = tuple(ANY if value == "_" else _share(value, number) for value in values[1:])
        rows[name] = Row(_share(values[0], number), bounds)
    if encode(rows) != text:
        raise TableError("not canonical: codes in order and once, four digits, lines end in a line feed")
    return rows


def allowed(text: bytes) -> dict[str, Row]:
    """The rows of a text that only changes what a table may change. Raises `TableError`."""
    rows = decode(text)
    for name, row in rows.items():
        built_in = score.built_in.get(name, INDICATORS[name])
        for profile, old, new in zip(SENDER_PROFILES, built_in.usual, row.usual, strict=True):
            if new and not old:
                raise TableError(f"{name}, {profile}: no bound is built in; allowed: _")
        (_check_habit if built_in.repeat else _check_rate)(name, built_in, row)
    return rows


def _check_rate(name: str, built_in: Indicator, row: Row) -> None:
    if abs(row.bot - built_in.bot) > _DIGIT:
        raise TableError(f"{name}: a bot's share is {row.bot:g}; allowed: {built_in.bot:g}, only bounds of it change")
    for profile, old, new in zip(SENDER_PROFILES, built_in.usual, row.usual, strict=True):
        if new and new < old - _DIGIT:
            raise TableError(f"{name}, {profile}: the bound is {new:g}; allowed: {old:g} or more, or _")


def _check_habit(name: str, built_in: Indicator, row: Row) -> None:
    for profile, old, new in zip(SENDER_PROFILES, built_in.weights, weights(built_in, row), strict=True):
        if new > old + ROUNDING:
            raise TableError(f"{name}, {profile}: it weighs {new:.3f} nats; allowed: {old:.3f} or less")


def weights(indicator: Indicator, row: Row) -> tuple[float, ...]:
    """What a row's rates weigh, nats."""
    least, most = (-CLIP, 0.0) if indicator.family == LEGITIMATE else (0.0, CLIP)
    return tuple(max(least, min(most, math.log(row.bot / one))) if one else 0.0 for one in row.usual)


def use(text: str) -> None:
    """All detectors of this process judge by this table from now on; "": as it is built in. Sums stay as they are: what
    was seen before was judged by the table of its time. Raises `TableError`; then nothing changes."""
    rows = allowed(text.encode("ascii", "replace")) if text else {}
    for name, indicator in score.built_in.items():
        if name not in rows:
            _put(name, indicator)
    for name in [name for name in score.built_in if name not in rows]:
        del score.built_in[name]
    for name, row in rows.items():
        own = score.built_in.setdefault(name, INDICATORS[name])
        lighter = tuple(map(min, own.weights, weights(own, row)))
        _put(name, own._replace(bot=row.bot if own.repeat else own.bot, usual=row.usual, weights=lighter))


def _put(name: str, indicator: Indicator) -> None:
    INDICATORS[name] = indicator
    score.weigh(name, indicator)


def _share(value: str, number: int) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not LEAST <= share <= MOST:  # also what is not a number
        raise TableError(f"line {number}: {value[:20]!a} is not a share from {LEAST} to {MOST}")
    return share
