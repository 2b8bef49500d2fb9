"""A case's history -> the events that notification systems are told, each once. Pure.

    opened     a device of a subscriber has been found compromised (suspected, where such cases are kept)
    recurring  the same, after it had been clean or closed
    raised     a suspected one is compromised now
    clean      it is known to be clean
    closed     it is over without being known to be clean; `why` says how

What has been told is known by slots: `begin:INCIDENT`, `raised:INCIDENT`, `end:INCIDENT:N`, `again:INCIDENT:N`. News of
an episode before one that was told already is kept as skipped: "clean" after "recurring" would mislead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from cpe_filter.collect.cases.history import DESK, Episode, History
from cpe_filter.collect.store.base import Statement

OPENED, RECURRING, RAISED, CLEAN, CLOSED = KINDS = ("opened", "recurring", "raised", "clean", "closed")
QUEUED, DELIVERED, DEAD, SKIPPED = EVENT_STATES = ("queued", "delivered", "dead", "skipped")

VERSION = 1

#: A case's columns -> what its subscriber may be written (notice.Notice.plain), or None where there is nothing.
Texts = Callable[[dict[str, Any]], dict[str, Any] | None]


class News(NamedTuple):
    """at: POSIX seconds. late: not to be sent."""

    slot: str
    kind: str
    at: int
    late: bool = False


def news(told: History, slots: Collection[str], now: int) -> list[News]:
    """What is new in a history. slots: what was told before. now: when the latest of it was heard."""
    out: list[News] = []
    late = False
    for episode in reversed(told.episodes):
        last = episode is told.episodes[-1]
        out[:0] = [one._replace(late=late) for one in _of(episode, slots, last, now)]
        late = late or any(f"begin:{incident}" in slots for incident in episode.members)
    return out


def _of(episode: Episode, slots: Collection[str], last: bool, now: int) -> list[News]:
    out = []
    name = next((incident for incident in episode.members if f"begin:{incident}" in slots), None)
    if name is None:
        name = episode.incident
        out.append(News(f"begin:{name}", RECURRING if episode.number else OPENED, episode.begun_at))
    out += [
        News(f"raised:{incident}", RAISED, at) for incident, at in episode.raised if f"raised:{incident}" not in slots
    ]
    again = sum(slot.startswith(f"again:{name}:") for slot in slots)
    end = f"end:{name}:{again}"
    if episode.clean_at is not None or (episode.closed_at is not None and episode.why != DESK):
        if end not in slots:
            kind, at = (CLEAN, episode.clean_at) if episode.clean_at is not None else (CLOSED, episode.closed_at)
            out.append(News(end, kind, at or now))
    elif last and end in slots:  # it had ended, and has not after all: a later report says so
        out.append(News(f"again:{name}:{again}", RECURRING, now))
    return out


def statements(
    case: dict[str, Any], events: list[News], told: int, now: int, old: bool, texts: Texts | None = None
) -> list[Statement]:
    """Puts events of a case into the queue. case: its columns. told: how many it has had. old: from before
    notifications were set up. texts: to be sent along."""
    out: list[Statement] = []
    for place, one in enumerate(events):
        number = hashlib.sha256(json.dumps([case["router"], one.slot]).encode()).hexdigest()[:32]
        skipped = old or one.late
        values = {
            "id": number,
            "case_id": case["id"],
            "slot": one.slot,
            "n": now * 1_000_000 + told + place,
            "kind": one.kind,
            "at": one.at,
            "made_at": now,
            "body": "" if skipped else body(number, one, case, texts),
            "state": SKIPPED if skipped else QUEUED,
            "next_at": now,
            "done_at": now if skipped else None,
            "why": "late" if one.late else "before notifications were set up" if old else None,
        }
        out.append((_EVENT, values))
    return out


def body(number: str, one: News, case: dict[str, Any], texts: Texts | None = None) -> str:
    """What is sent, JSON. It has no name, port or address of the device. With `texts` what tells of a compromised
    device has `notice`, too, which has a version of its own."""
    told = {
        "v": VERSION,
        "id": number,
        "event": one.kind,
        "at": one.at,
        "case": {
            **{name: case[name] for name in ("id", "state", "standing", "subscriber", "contact", "region", "line")},
            "router": case["router"],
            "device": case["dev"],
            "vendor_oui": case["oui"],
            "opened_at": case["opened_at"],
            "first_seen": case["first_at"],
            "last_seen": case["last_at"],
            "incidents": case["incidents"],
            "episodes": case["episodes"],
            "indicators": json.loads(case["ind"]),
            "action": case["act"],
            "why": case["why"],
        },
    }
    notice = texts(case) if texts is not None and one.kind in (OPENED, RECURRING, RAISED) else None
    return json.dumps({**told, "notice": notice} if notice else told, separators=(",", ":"))


_EVENT = """
INSERT INTO desk_event (id, case_id, slot, n, kind, at, made_at, body, state, tries, next_at, done_at, status, why)
VALUES (:id, :case_id, :slot, :n, :kind, :at, :made_at, :body, :state, 0, :next_at, :done_at, NULL, :why)
ON CONFLICT (id) DO NOTHING
"""
