"""Reads the spool's file, for `send`, and for a filter that has restarted.

Knows the form of the file and JSON. Must not know when an event is made or sent. Not loaded by the running filter,
which only writes the file.
"""

from __future__ import annotations

import json
from typing import Any

from cpe_filter.lean.checksum import CorruptStateError, without_checksum
from cpe_filter.report.spool import MOST, MOST_BYTES, ORDER, SpoolHeader, Waiting


def decode(data: bytes) -> tuple[SpoolHeader, list[Waiting]]:
    """What `Spool.encode` wrote. Raises `CorruptStateError`."""
    if len(data) > 2 * MOST_BYTES:
        raise CorruptStateError("too large")
    head, *lines = without_checksum(data).split(b"\n")
    try:
        content = json.loads(head)
        header = SpoolHeader(
            str(content["boot"]),
            _number(content["next"]),
            _number(content["dropped"]),
            str(content["pol"]),
            str(content["ver"]),
        )
        events = [_waiting(line) for line in lines if line]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise CorruptStateError("not a spool of cpe-filter") from None
    return header, events


def _waiting(line: bytes) -> Waiting:
    event: dict[str, Any] = json.loads(line)
    kind = event["kind"]
    if kind not in ORDER:
        raise ValueError
    return Waiting(_number(event["seq"]), kind, str(event.get("id", "")), _number(event["up"]), line + b"\n")


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise ValueError
    return value
