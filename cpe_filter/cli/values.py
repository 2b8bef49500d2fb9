"""Values of options: text -> number, or `UsageError`, which says what is allowed.

Knows ranges. Must not know which command has an option.
"""

from __future__ import annotations

from cpe_filter.inputs import shown
from cpe_filter.outcome import UsageError


def port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 65535):
        raise UsageError(f"--port is {shown(text)}; allowed: 1 to 65535")
    return int(text)


def seconds(text: str, least: float, most: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= most:
        raise UsageError(f"--watch is {shown(text)}; allowed: {least:g} to {most:g} seconds")
    return seconds


def whole(text: str, name: str, most: int) -> int:
    """A whole number from 0."""
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) <= most):
        raise UsageError(f"{name} is {shown(text)}; allowed: a whole number from 0 to {most}")
    return int(text)
