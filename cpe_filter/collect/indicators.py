"""Indicator codes as reports and tables have them -> today's (detect.evidence.RENAMED).

Knows codes and counts. Must not know tables. Codes are translated when rows are read, and when new ones are written.
Stored rows stay as they are: no table of millions of incidents has to be rewritten while it is in use, a collector of
an earlier version can run next to this one, and rows with old codes leave with [retention].
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from cpe_filter.detect.evidence import RENAMED, current

__all__ = ["counts", "current", "known_as", "read"]


def counts(found: Mapping[str, int]) -> dict[str, int]:
    """Counts by today's codes; those of two names for one indicator are added."""
    out: dict[str, int] = {}
    for code, count in found.items():
        out[current(code)] = out.get(current(code), 0) + count
    return out


def read(column: str) -> dict[str, int]:
    """The same of a column `ind`, which is JSON."""
    return counts(json.loads(column))


def known_as(code: str) -> list[str]:
    """The codes under which rows may have an indicator, today's first."""
    return [code, *(old for old, new in RENAMED.items() if new == code)]
