"""Values as JSON, in US-ASCII and without spaces, without the module json.

Knows RFC 8259, and _json, the C module under json, for texts that are written. Must not know what a value means. Saves
1080 kB: json and what it imports (`re`, `enum`) take 1210 kB, this module and _json 125 kB. The C code that reads would
not do: it loads json to say what is wrong. The running filter reads requests of a few kilobytes here. More is read in a
child process (see forked).
"""

from __future__ import annotations

import math
from _json import encode_basestring_ascii as _text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How deep lists and objects may be nested in what is read.
DEPTH = 16

_WORDS = {"null": None, "true": True, "false": False}
_BLANK, _NUMERIC, _HEX = " \t\n\r", "+-.0123456789Ee", "0123456789abcdefABCDEF"
_UNESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def encode(value: Any) -> str:
    """None, booleans, numbers, texts, and lists, tuples and dicts (whose keys are texts) of these.

    A number that JSON cannot express (infinity) becomes null. Half of a surrogate pair, which represents a byte that is
    not UTF-8, is written as the module json writes it. Raises TypeError for anything else.
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


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────


def decode(text: str) -> Any:
    """A value: None, booleans, numbers, texts, lists and dicts. At most `DEPTH` deep. Raises ValueError.

    If several members have one name the last counts. The time grows with the length of the text.
    """
    value, at = _value(text, _after_blank(text, 0), DEPTH)
    if at < len(text):
        raise ValueError(f"more than a value, at {at}")
    return value


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins there, and the position behind it."""
    first = text[at : at + 1]
    value: Any
    if first == '"':
        value, at = _string(text, at + 1)
    elif first in ("{", "["):
        value, at = _members(text, at, depth)
    elif first == "-" or first.isdigit():
        value, at = _number(text, at)
    else:
        word = next((word for word in _WORDS if text.startswith(word, at)), None)
        if word is None:
            raise ValueError(f"no value, at {at}")
        value, at = _WORDS[word], at + len(word)
    return value, _after_blank(text, at)


def _members(text: str, at: int, depth: int) -> tuple[list[Any] | dict[str, Any], int]:
    """The list or object that begins there."""
    if not depth:
        raise ValueError(f"too deep, at {at}")
    is_object = text[at] == "{"
    end = "}" if is_object else "]"
    found: list[tuple[str, Any]] = []
    at = _after_blank(text, at + 1)
    more = text[at : at + 1] != end
    while more:
        name = ""
        if is_object:
            name, at = _string(text, _past(text, at, '"'))
            at = _after_blank(text, _past(text, _after_blank(text, at), ":"))
        value, at = _value(text, at, depth - 1)
        found.append((name, value))
        more = text[at : at + 1] == ","
        if more:
            at = _after_blank(text, at + 1)
    at = _past(text, at, end)
    return (dict(found) if is_object else [value for _, value in found]), at


def _string(text: str, at: int) -> tuple[str, int]:
    """The text whose first character is there."""
    out, halves = [], False
    while (character := text[at : at + 1]) != '"':
        at += 1
        if character < " ":  # or the end
            raise ValueError(f"a text does not end, at {at}")
        if character == "\\":
            character, at = text[at : at + 1], at + 1
            if character == "u":
                digits, at = text[at : at + 4], at + 4
                if len(digits) != 4 or not all(digit in _HEX for digit in digits):
                    raise ValueError(f"an escape without its digits, at {at}")
                character = chr(int(digits, 16))
                halves = halves or "\ud800" <= character <= "\udfff"
            elif character in _UNESCAPED:
                character = _UNESCAPED[character]
            else:
                raise ValueError(f"an unknown escape, at {at}")
        out.append(character)
    whole = "".join(out)
    if halves:  # two that follow each other are one character
        whole = whole.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    return whole, at + 1


def _number(text: str, at: int) -> tuple[int | float, int]:
    end = at
    while end < len(text) and text[end] in _NUMERIC:
        end += 1
    number = text[at:end]
    mantissa, has_exponent, exponent = number.removeprefix("-").lower().partition("e")
    whole, has_point, fraction = mantissa.partition(".")
    good = whole.isdigit() and (whole[0] != "0" or whole == "0")
    good = good and (fraction.isdigit() or not has_point)
    if not good or (has_exponent and not exponent[exponent[:1] in ("+", "-") :].isdigit()):
        raise ValueError(f"not a number, at {at}")
    return (float(number) if has_point or has_exponent else int(number)), end


def _past(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise ValueError(f"no {character}, at {at}")
    return at + 1


def _after_blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at
