"""What changes between two policies of the ISP, in lines for people, and which changes are dangerous. Pure.

Knows keys of a policy and which of their changes can stop legitimate mail. Must not know documents or routers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: How strict each mode is.
_MODES = {"monitor": 0, "limit": 1, "block": 2}
#: Keys that stop more mail the lower they are.
_LOWER = frozenset(
    ("limits", f"{what}_{how}")
    for what in ("connections", "destinations", "messages", "recipients")
    for how in ("per_hour", "burst")
) | {("filter", "queue_rate")}
#: Lists whose entries let mail or helpful traffic pass, and what follows where one is gone.
_PASSING = {
    ("network", "relays"): "mail to it is no longer let through unseen",
    ("notice", "emergency"): "its HTTP can lead to the notice, and it can be in quarantine",
    ("notice", "helpful"): "quarantined devices no longer reach it",
}
#: Flags that stop more when they are set, and what follows.
_SET = {
    ("filter", "escalate"): "compromised devices are blocked in mode monitor and limit, too",
    ("notice", "quarantine"): "compromised devices reach helpful sites only",
    ("network", "router_output"): "mail of the router itself is filtered, too",
}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line for each key that is set, changed, or left to the router again."""
    lines = []
    for table, name in sorted(_names(before) | _names(after)):
        old, new = (_value(one, table, name) for one in (before, after))
        if old != new:
            lines.append(f"  [{table}] {name}: {_shown(old)} -> {_shown(new)}")
    if before.get("exempt") != after.get("exempt"):
        lines.append(f"  [[exempt]]: {len(before.get('exempt', []))} -> {len(after.get('exempt', []))} entries")
    return lines or ["  nothing changes"]


def dangers(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Changes that can stop legitimate mail, one line for each. A key that was left to the routers counts as changed:
    theirs may have been milder."""
    found = []
    for table, name in sorted(_names(before) | _names(after)):
        old, new = (_value(one, table, name) for one in (before, after))
        if old != new and (text := _danger((table, name), old, new)):
            found.append(text)
    gone = [one for one in before.get("exempt", []) if one not in after.get("exempt", [])]
    if gone:
        found.append(f"[[exempt]]: {len(gone)} removed; these devices or destinations are filtered again")
    return found


def _danger(key: tuple[str, str], old: Any, new: Any) -> str | None:
    table, name = key
    if key in _PASSING and (gone := [one for one in old or [] if one not in (new or [])]):
        few = ", ".join(map(str, gone[:3])) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        return f"[{table}] {name}: {few} removed: {_PASSING[key]}"
    follows = _left(key, old) if new is None else _follows(key, old, new)
    return f"[{table}] {name}: {_shown(old)} -> {_shown(new)}: {follows}" if follows else None


def _follows(key: tuple[str, str], old: Any, new: Any) -> str:
    """What follows from a value that a document sets; "" if nothing that stops legitimate mail."""
    if key in _LOWER:
        return "lower, or perhaps lower than the router's own" if old is None or new < old else ""
    if key in _PASSING:
        return "in place of the routers' own list" if old is None else ""
    if key in _SET:
        return _SET[key] if new is True else ""
    judge = _OTHERS.get(key)
    return judge(old, new) if judge else ""


def _left(key: tuple[str, str], old: Any) -> str:
    """What follows where a value is left to the routers again."""
    strictest = {("filter", "mode"): "block", ("network", "private_destinations"): "filter"}
    milder = old != strictest[key] if key in strictest else key in _LOWER or (key in _SET and old is False)
    return "the routers' own may be stricter" if milder else ""


def _mode(old: Any, new: Any) -> str:
    return "stricter" if _MODES.get(new, 0) > _MODES.get(old, 0) else ""


def _private(old: Any, new: Any) -> str:
    return "mail to private addresses is filtered, too" if new == "filter" else ""


def _ports(old: Any, new: Any) -> str:
    more = [port for port in new if port not in (old or [25])] if isinstance(new, list) else []
    return f"filtered, too: {', '.join(map(str, more))}" if more else ""


def _replies(old: Any, new: Any) -> str:
    more = [row for row in new if row not in (old or [])] if isinstance(new, list) else []
    return "a wrong wording can count against legitimate senders" if more else ""


_OTHERS: dict[tuple[str, str], Callable[[Any, Any], str]] = {
    ("filter", "mode"): _mode,
    ("network", "private_destinations"): _private,
    ("network", "ports"): _ports,
    ("detect", "replies"): _replies,
}


def _names(content: dict[str, Any]) -> set[tuple[str, str]]:
    return {(table, name) for table, values in content.items() if isinstance(values, dict) for name in values}


def _value(content: dict[str, Any], table: str, name: str) -> Any:
    """None if the document leaves it to the router."""
    values = content.get(table)
    return values.get(name) if isinstance(values, dict) else None


def _shown(value: Any) -> str:
    return "(the router's)" if value is None else repr(value)
