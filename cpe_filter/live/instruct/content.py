"""What an instruction may ask for: nothing but to relax.

Knows the table [instruction] of a document. Must not know signatures or devices. Read strictly: an instruction that is
not understood must not be carried out in part.
"""

from __future__ import annotations

from datetime import datetime, timezone

from cpe_filter.inputs import found, shown
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Releases a compromised device, and so ends all that follows from its standing; exempts a device until a time; ends
#: its quarantine alone.
RELEASE, EXEMPT, END_QUARANTINE = "release", "exempt", "end-quarantine"
ACTIONS = (RELEASE, EXEMPT, END_QUARANTINE)
#: Characters of a reason; seconds that an exemption may last.
MAX_REASON, MAX_EXEMPT_S = 120, 366 * 86400
_KEYS = ("action", "device", "reason", "until")


class ContentError(ValueError):
    """Not an instruction that this version knows; the text says why."""


class Instruction(NamedTuple):
    """device: its pseudonym, 16 hex digits. until: POSIX seconds, 0 without an end."""

    action: str
    device: str
    reason: str
    until: int


def parse(content: dict[str, Any], issued: int) -> Instruction:
    """The tables behind the header. issued: POSIX seconds. Raises `ContentError`."""
    table = content.get("instruction")
    if not isinstance(table, dict) or len(content) != 1:
        raise ContentError("expected one table, [instruction]")
    for name in table:
        if name not in _KEYS:
            raise ContentError(f"[instruction] unknown key {shown(name)}")
    action, device, reason = (table.get(name, "") for name in ("action", "device", "reason"))
    if not isinstance(action, str) or action not in ACTIONS:
        raise ContentError(f"[instruction] action is {found(action)}; allowed: {', '.join(ACTIONS)}")
    if not isinstance(device, str) or len(device) != 16 or not set(device) <= set("0123456789abcdef"):
        raise ContentError(f"[instruction] device is {found(device)}; expected 16 hex digits")
    if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
        raise ContentError(f"[instruction] reason: expected one line of at most {MAX_REASON} characters")
    if ("until" in table) != (action == EXEMPT):
        raise ContentError("[instruction] until: expected with exempt, and only there")
    return Instruction(action, device, reason, _until(table["until"], issued) if action == EXEMPT else 0)


def _until(value: Any, issued: int) -> int:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ContentError(f"[instruction] until is {found(value)}; expected a time like 2026-12-31T00:00:00Z")
    until = int((value - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds())
    if not issued < until <= issued + MAX_EXEMPT_S:
        raise ContentError(
            f"[instruction] until is later than allowed: {MAX_EXEMPT_S // 86400} days from issued"
            if until > issued
            else "[instruction] until is not later than issued"
        )
    return until
