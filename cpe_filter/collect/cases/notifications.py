"""The history of a case -> events for notification systems, each once. Pure.

Knows a case's history. Must not know tables, or how an event is delivered (webhook).

    opened     a device of a subscriber is compromised
    recurring  the same, after it was clean or closed
    raised     a suspected device is compromised now
    clean      the device is known to be clean
    closed     it ended without the device being known to be clean; `why` says how

Slots record what has been announced: `begin:INCIDENT`, `raised:INCIDENT`, `end:INCIDENT:N`, `again:INCIDENT:N`. News of
an episode that is older than an announced one is stored as skipped: "clean" after "recurring" would mislead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple, get_args

from cpe_filter.collect import indicators
from cpe_filter.collect.cases.history import DESK, Episode, History
from cpe_filter.collect.store.base import Statement

EventKind = Literal["opened", "recurring", "raised", "clean", "closed"]
OPENED: Literal["opened"] = "opened"
RECURRING: Literal["recurring"] = "recurring"
RAISED: Literal["raised"] = "raised"
CLEAN: Literal["clean"] = "clean"
CLOSED: Literal["closed"] = "closed"

#: The state of an event in desk_event. `dead`: given up.
EventState = Literal["queued", "delivered", "dead", "skipped"]
EVENT_STATES: tuple[EventState, ...] = get_args(EventState)
QUEUED: Literal["queued"] = "queued"
DELIVERED: Literal["delivered"] = "delivered"
DEAD: Literal["dead"] = "dead"
SKIPPED: Literal["skipped"] = "skipped"

#: The state of a notice by e-mail in desk_mail. `sent`: the relay has accepted it. `failed`: given up. `skipped`: the
#: case had ended before.
MailState = Literal["queued", "sent", "failed", "bounced", "skipped"]
MAIL_STATES: tuple[MailState, ...] = get_args(MailState)

VERSION = 1

#: The columns of a case -> the text for its subscriber (notice.Notice.plain), or None if there is none.
Texts = Callable[[dict[str, Any]], dict[str, Any] | None]


class News(NamedTuple):
    """at: POSIX seconds. late: too late to be sent."""

    slot: str
    kind: EventKind
    at: int
    late: bool = False


def news(folded: History, slots: Collection[str], now: int) -> list[News]:
    """What is new in a history. slots: what was announced before. now: when the latest report of it arrived."""
    out: list[News] = []
    late = False
    for episode in reversed(folded.episodes):
        last = episode is folded.episodes[-1]
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
    return out + _of_the_end(episode, name, slots, last, now)


def _of_the_end(episode: Episode, name: str, slots: Collection[str], last: bool, now: int) -> list[News]:
    """name: of the incident by which the beginning was reported."""
    again = sum(slot.startswith(f"again:{name}:") for slot in slots)
    end = f"end:{name}:{again}"
    is_clean = episode.clean_at is not None
    if is_clean or (episode.closed_at is not None and episode.why != DESK):
        at = episode.clean_at if is_clean else episode.closed_at
        return [] if end in slots else [News(end, CLEAN if is_clean else CLOSED, at or now)]
    if last and end in slots:  # a later report says that it has not ended after all
        return [News(f"again:{name}:{again}", RECURRING, now)]
    return []


def statements(
    case: dict[str, Any], events: list[News], announced: int, now: int, old: bool, texts: Texts | None = None
) -> list[Statement]:
    """Puts events of a case into the queue. case: its columns. announced: how many it has had. old: they are from
    before notifications were set up. texts: to be sent with them."""
    out: list[Statement] = []
    for place, one in enumerate(events):
        number = hashlib.sha256(json.dumps([case["router"], one.slot]).encode()).hexdigest()[:32]
        skipped = old or one.late
        values = {
            "id": number,
            "case_id": case["id"],
            "slot": one.slot,
            "n": now * 1_000_000 + announced + place,
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
    """The JSON that is sent. It has no name, port or address of the device. With `texts` an event about a compromised
    device also has `notice`, which has its own version."""
    content = {
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
            "indicators": indicators.read(case["ind"]),
            "action": case["act"],
            "why": case["why"],
        },
    }
    notice = texts(case) if texts is not None and one.kind in (OPENED, RECURRING, RAISED) else None
    return json.dumps({**content, "notice": notice} if notice else content, separators=(",", ":"))


_EVENT = """
INSERT INTO desk_event (id, case_id, slot, n, kind, at, made_at, body, state, tries, next_at, done_at, status, why)
VALUES (:id, :case_id, :slot, :n, :kind, :at, :made_at, :body, :state, 0, :next_at, :done_at, NULL, :why)
ON CONFLICT (id) DO NOTHING
"""
