"""Names values from files and people in errors: short, printable, on one line.

Must not know what is allowed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def found(value: Any) -> str:
    """A value, with its type where that says more."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"  # str() refuses thousands of digits
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else "a date or time"


def printable(text: str) -> str:
    """A text on one line: whatever cannot be printed becomes `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shown(text: str) -> str:
    """A text in quotes."""
    text = printable(text)
    return f'"{text[:40]}..."' if len(text) > 40 else f'"{text}"'
