"""Times of the API: RFC 3339, in UTC on the way out, with any offset on the way in.

Must not know what a time is of.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

_RULE = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.\d{1,9})?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII
)


def written(seconds: int | None) -> str | None:
    """POSIX seconds -> `2026-11-24T12:00:00Z`."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
    except (ValueError, OverflowError, OSError):
        return None


def parsed(text: str) -> int:
    """A date and time of RFC 3339, section 5.6, without leap seconds -> POSIX seconds. Raises `ValueError`."""
    found = _RULE.fullmatch(text)
    if found is None:
        raise ValueError("not RFC 3339")
    try:
        return int(datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or '+00:00'}").timestamp())
    except OverflowError:
        raise ValueError("out of range") from None
