"""What both pages say of a device in facts: what was noticed, when, how much, what is blocked, and what follows from
cleaning it.

Knows HTML and the texts' keys. Must not know devices, policies or who reads it. The page on the router (page) and the
notice that is served (explain.notice_page) use it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from cpe_filter.texts.html import escape
from cpe_filter.texts.notice import Words

#: Findings that are shown of one device.
NOTICED = 4


def facts(
    words: Words,
    indicators: Iterable[str],
    first: float | None,
    last: float | None,
    counts: tuple[int, int],
    mode: str,
) -> str:
    """A list. indicators: the weightiest first. first, last: POSIX seconds. counts: connections, and those refused.

    mode: what is in force for the device: monitor, limit, block, or held: it is in quarantine.
    """
    rows = []
    noticed = words.noticed(indicators)[:NOTICED]
    if noticed:
        items = "".join(f"<li>{escape(text)}</li>" for text in noticed)
        rows.append(("wide", "h_noticed", f"<ul>{items}</ul>"))
    rows += [("", key, escape(local(words, at))) for key, at in (("first", first), ("last", last)) if at]
    if counts[0]:
        said = words("connections", count=words.number(counts[0]), refused=words.number(min(counts)))
        rows.append(("wide", "h_connections", escape(said)))
    held = mode == "held"
    blocked = "blocked_monitor" if mode == "monitor" else "quarantine" if held else "blocked_block"
    rows.append(("", "h_limited" if mode == "limit" else "h_blocked", escape(words(blocked))))
    rows.append(("", "h_works", escape(words("works_held" if held else "works"))))
    items = "".join(
        f'<div class="{kind}"><dt>{escape(words(key))}</dt><dd>{text}</dd></div>' for kind, key, text in rows
    )
    return f"<dl>{items}</dl>"


def afterwards(mode: str, now: str) -> str:
    """The key of what is true once the device has been reported as cleaned. mode: the policy's for every device; now:
    the one that is in force for this one."""
    if mode == "block":
        return "then_block"
    return "then_free" if now in ("block", "held") else "then_watch"


def local(words: Words, seconds: float) -> str:
    """A time for people, in local time."""
    return words.moment(time.localtime(seconds))
