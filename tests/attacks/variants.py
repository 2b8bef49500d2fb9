"""How much of an attack is tried: all combinations with ATTACKS=all (`make attacks`), else each value at least once."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterable
from typing import Any

import pytest

ALL = os.environ.get("ATTACKS") == "all"
FAMILIES = ("IPv4", "IPv6")
FAILS = ("open", "closed")
RESPONDER = ("responder", "no responder")


def variants(**dimensions: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrises a test by these dimensions, each the name of a parameter with its values (text, or a number)."""
    names = list(dimensions)
    values = [list(each) for each in dimensions.values()]
    rows = list(itertools.product(*values))
    if not ALL:
        rows = few(rows)
    return pytest.mark.parametrize(names, rows, ids=["-".join(str(value) for value in row) for row in rows])


def few(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in which each value of each column comes up; the same ones each time."""
    shuffled = random.Random(25).sample(rows, len(rows))
    missing = {(at, value) for row in rows for at, value in enumerate(row)}
    found = []
    while missing:
        best = max(shuffled, key=lambda row: len(missing & set(enumerate(row))))
        missing -= set(enumerate(best))
        found.append(best)
    return sorted(found, key=rows.index)


#: What mode block may be run with. A responder makes another way for each packet, and so does the family.
BLOCK = {"family": FAMILIES, "fail": FAILS, "responder": RESPONDER}
