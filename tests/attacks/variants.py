"""How much is tried: all combinations with ATTACKS=all (`make attacks`, `make live`), else each value at least once."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

ALL = os.environ.get("ATTACKS") == "all"
FAMILIES = ("IPv4", "IPv6")
FAILS = ("open", "closed")
RESPONDER = ("responder", "no responder")


def variants(
    also: Iterable[tuple[Any, ...]] = (), pairs: bool = False, **dimensions: Iterable[Any]
) -> pytest.MarkDecorator:
    """Parametrises a test by these dimensions, each the name of a parameter with its values (text, or a number).

    also: combinations that are always tried. pairs: of all combinations so many that each two values come together.
    """
    names = list(dimensions)
    values = [list(each) for each in dimensions.values()]
    rows = list(itertools.product(*values))
    always = [row for row in rows if row in set(also)]
    if not ALL:
        rows = few(rows, always)
    elif pairs:
        rows = paired(rows, always)
    return pytest.mark.parametrize(names, rows, ids=["-".join(str(value) for value in row) for row in rows])


def few(rows: list[tuple[Any, ...]], always: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in which each value of each column comes up, about equally often; the same ones each time."""
    shuffled = random.Random(25).sample(rows, len(rows))
    used = Counter(each for row in always for each in enumerate(row))
    missing = {each for row in rows for each in enumerate(row)} - set(used)
    found = list(always)
    while missing:
        best = max(
            shuffled,
            key=lambda row: (len(missing & set(enumerate(row))), -sum(used[each] for each in enumerate(row))),
        )
        missing -= set(enumerate(best))
        used.update(enumerate(best))
        found.append(best)
    return sorted(found, key=rows.index)


def paired(rows: list[tuple[Any, ...]], always: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in which each two values of two columns come together at least once."""
    met: set[tuple[Any, ...]] = set()
    found = []
    for row in [*always, *random.Random(25).sample(rows, len(rows))]:
        pairs = set(itertools.combinations(enumerate(row), 2))
        if row in always or not pairs <= met:
            met |= pairs
            found.append(row)
    return sorted(set(found), key=rows.index)


#: What mode block may be run with. A responder makes another way for each packet, and so does the family.
BLOCK: dict[str, Any] = {"family": FAMILIES, "fail": FAILS, "responder": RESPONDER}
