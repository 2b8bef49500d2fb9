"""Values as JSON, in US-ASCII and without spaces, without the module json.

Knows RFC 8259. The running filter only writes JSON; for that json and what it imports (`re`, `enum`) would take 0.9 MB.
What little it reads is read apart (see `apart`).
"""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ESCAPED = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def encode(value: Any) -> str:
    """None, booleans, numbers, texts, and lists, tuples and dicts (whose keys are texts) of these.

    A number that JSON cannot say (infinity) is null; half of a surrogate pair, which stands for a byte that is no
    UTF-8, is said as json says it. Raises TypeError for anything else.
    """
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else "null"
    if isinstance(value, dict):
        return "{" + ",".join([f"{_text(key)}:{encode(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([encode(item) for item in value]) + "]"
    raise TypeError(f"{type(value).__name__} is not for JSON")


def _text(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([c if " " <= c <= "~" and c not in '"\\' else _escaped(c) for c in text]) + '"'


def _escaped(character: str) -> str:
    short = _ESCAPED.get(character)
    if short is not None:
        return short
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join([f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)])
