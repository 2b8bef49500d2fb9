"""Query parameters and cursors of the API.

Knows how values are written in a URL. Must not know what they select. A cursor says where the next part of a list
begins: the sort key of the last row. It is not secret, and a forged one selects nothing that a filter could not.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from cpe_filter.collect.api import times
from cpe_filter.collect.api.problem import ProblemError
from cpe_filter.collect.api.schemas import Schema

#: Bytes of a query; parameters in it.
MAX_QUERY, MAX_PARAMETERS = 4096, 32
_MAX_CURSOR = 1024


class Parameter(NamedTuple):
    """schema: JSON Schema of the value: a string (of an enum, a date-time), an integer, or an array of words, which are
    separated by commas."""

    name: str
    schema: Schema
    about: str


def read(raw: bytes, allowed: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of a query string; times as POSIX seconds. Raises `ProblemError`."""
    if len(raw) > MAX_QUERY:
        raise ProblemError("too-long")
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_PARAMETERS,
                          errors="strict")  # fmt: skip
    except ValueError:
        raise ProblemError("bad-request", "Malformed query") from None
    out: dict[str, Any] = {}
    for name, value in pairs:
        parameter = allowed.get(name)
        if parameter is None:
            raise ProblemError("bad-request", "Unknown parameter")
        if name in out:
            raise ProblemError("bad-request", f"Parameter {name} occurs twice")
        try:
            out[name] = _value(parameter.schema, value)
        except ValueError:
            raise ProblemError("bad-request", f"Parameter {name} is not as described") from None
    return out


def _value(schema: Schema, text: str) -> Any:
    """Raises `ValueError`."""
    if not text or "\0" in text:
        raise ValueError("empty")
    if schema["type"] == "array":
        words = list(dict.fromkeys(text.split(",")))
        return [_value(schema["items"], word) for word in words]
    if schema["type"] == "integer":
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise ValueError("not a number")
        if not schema["minimum"] <= int(text) <= schema["maximum"]:
            raise ValueError("out of range")
        return int(text)
    if schema.get("format") == "date-time":
        return times.parsed(text)
    if "enum" in schema and text not in schema["enum"]:
        raise ValueError("not a word of the list")
    if len(text) > schema.get("maxLength", len(text)):
        raise ValueError("too long")
    return text


def cursor(*key: int | str) -> str:
    """A sort key as a word."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def after(text: str, *types: type) -> list[Any]:
    """The sort key of a cursor, with values of these types (int, str). Raises `ProblemError`."""
    try:
        if len(text) > _MAX_CURSOR:
            raise ValueError("too long")
        key = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise ProblemError("bad-request", "Parameter cursor is not one of this list") from None
    good = isinstance(key, list) and len(key) == len(types) and all(
        type(part) is kind and _storable(part) for part, kind in zip(key, types, strict=True)
    )  # fmt: skip
    if not good:
        raise ProblemError("bad-request", "Parameter cursor is not one of this list")
    return list(key)


def _storable(part: object) -> bool:
    if isinstance(part, int):
        return abs(part) < 1 << 62
    return isinstance(part, str) and "\0" not in part and part.encode("utf-8", "replace").decode() == part
