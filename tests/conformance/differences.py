"""Compares the readings of a capture, session by session.

Knows readings and rules. A session is that of the same addresses and ports, in the order of starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

from tests.conformance.readings import FIELDS, Reading
from tests.conformance.rules import LATE, RULES, Rule


class Difference(NamedTuple):
    """rule: None where there is no explanation. ours, theirs: what is different, as text. notes: of both."""

    session: str
    field: str
    ours: str
    theirs: str
    rule: Rule | None
    notes: str


class Comparison(NamedTuple):
    sessions: int
    fields: int
    differences: list[Difference]


def compare(ours: Iterable[Reading], theirs: Iterable[Reading]) -> Comparison:
    """fields: how many were compared."""
    pairs: dict[tuple[object, object], tuple[list[Reading], list[Reading]]] = defaultdict(lambda: ([], []))
    for side, readings in enumerate((ours, theirs)):
        for reading in sorted(readings, key=lambda reading: reading.start):
            pairs[reading.client, reading.server][side].append(reading)
    sessions = fields = 0
    differences: list[Difference] = []
    for mine, other in pairs.values():
        for our, their in zip_longest(mine, other):
            if not any(one is not None and one.spoken for one in (our, their)):
                continue
            sessions += 1
            if our is None or their is None:
                differences.append(_alone(our, their, mine, other))
                continue
            fields += len(FIELDS)
            differences += _fields(our, their)
    return Comparison(sessions, fields, differences)


def _alone(our: Reading | None, their: Reading | None, mine: list[Reading], other: list[Reading]) -> Difference:
    """A session that only one has read."""
    one = our or their
    assert one is not None
    text = f"{len(one.commands)} commands, {len(one.replies)} replies"
    again = any("spurious_retransmission (server)" in reading.notes for reading in other)
    late = our is not None and our is not mine[0] and again and "midway" in our.notes and not our.commands
    notes = ", ".join(sorted(one.notes))
    return Difference(one.name, "session", text if our else "-", text if their else "-", LATE if late else None, notes)


def _fields(our: Reading, their: Reading) -> list[Difference]:
    found = []
    for field in FIELDS:
        mine, other = getattr(our, field), getattr(their, field)
        if mine != other:
            rule = next((rule for rule in RULES if rule.applies(field, our, their)), None)
            notes = f"{', '.join(sorted(our.notes)) or '-'} | {', '.join(sorted(their.notes)) or '-'}"
            found.append(Difference(our.name, field, _text(mine), _text(other), rule, notes))
    return found


def _text(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 160 else text[:160] + " ..."
