"""What changes between two tables of the detector's rates, in lines for people, and what is stricter. Pure.

Knows rows of a table. Must not know documents or routers.
"""

from __future__ import annotations

from collections.abc import Mapping

from cpe_filter.detect.evidence import INDICATORS, SENDER_PROFILES
from cpe_filter.detect.rates import ROUNDING, Row, weights


def changes(before: Mapping[str, Row], after: Mapping[str, Row]) -> list[str]:
    """A line for each number that differs. Rows that a table does not have are the built-in ones."""
    lines = []
    for name in sorted({*before, *after}):
        own = INDICATORS[name]
        old, new = (table.get(name, Row(own.bot, own.usual)) for table in (before, after))
        pairs = zip(("bot", *SENDER_PROFILES), (old.bot, *old.usual), (new.bot, *new.usual), strict=True)
        lines += [f"{name}, {column}: {_shown(a)} -> {_shown(b)}" for column, a, b in pairs if _shown(a) != _shown(b)]
    return lines


def stricter(before: Mapping[str, Row], after: Mapping[str, Row]) -> list[str]:
    """The indicators that weigh more by a table than by the one before, though not more than what is built in."""
    found = []
    for name in sorted({*before, *after}):
        own = INDICATORS[name]
        built_in = Row(own.bot, own.usual)
        old, new = (weights(own, table.get(name, built_in)) for table in (before, after))
        pairs = zip(SENDER_PROFILES, old, new, strict=True)
        more = [profile for profile, a, b in pairs if b > a + ROUNDING]
        if more:
            found.append(f"{name} weighs more than by the table before, against {', '.join(more)}")
    return found


def _shown(share: float) -> str:
    return f"{share:.4f}" if share else "_"
