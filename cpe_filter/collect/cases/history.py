"""The incidents of a device and what people did about them -> state and episodes of its case. Pure.

Knows incidents, actions and times. Must not know tables. The same incidents and actions give the same history in
whatever order they arrived: what counts is when things happened, not when they were reported.

    open          compromised, not yet notified
    recurring     the same, after it was clean or closed
    notified      the subscriber is notified
    acknowledged  the subscriber or the desk works on it
    clean         the device is known to be clean: cleared by its behaviour, or released by its owner
    closed        the desk closed it; or it ended without being known to be clean (why: expired, exempt, merged, silent)

An incident that began before the desk closed a case, but was not known then, counts as begun after: late news is not
lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

State = Literal["open", "recurring", "notified", "acknowledged", "clean", "closed"]
STATES: tuple[State, ...] = get_args(State)
OPEN: Literal["open"] = "open"
RECURRING: Literal["recurring"] = "recurring"
NOTIFIED: Literal["notified"] = "notified"
ACKNOWLEDGED: Literal["acknowledged"] = "acknowledged"
CLEAN: Literal["clean"] = "clean"
CLOSED: Literal["closed"] = "closed"
#: In these states the device is still compromised as far as is known, and the desk has to act.
ACTIVE: tuple[State, ...] = (OPEN, RECURRING, NOTIFIED, ACKNOWLEDGED)

ActionKind = Literal["notified", "acknowledged", "closed", "confirmed", "false-alarm", "reopened", "note", "bounced"]
#: These close a case and say what it was: `calibrate` learns from them.
CONFIRMED: Literal["confirmed"] = "confirmed"
FALSE_ALARM: Literal["false-alarm"] = "false-alarm"
REOPENED: Literal["reopened"] = "reopened"
NOTE: Literal["note"] = "note"
#: The notice by e-mail came back: the subscriber has not been notified after all.
BOUNCED: Literal["bounced"] = "bounced"
#: The user of actions that the collector's own mail does.
MAIL = "mail"

#: The standing of a device (report-v1.schema.json).
Standing = Literal["clear", "unusual", "suspected", "compromised"]

#: Why an incident ended: as a router reports it (report-v1.schema.json), `silent` by retention, `desk` by a person.
EndReason = Literal["cleared", "released", "expired", "exempt", "merged", "silent", "desk"]
#: After these the device is known to be clean.
_CLEAN: tuple[EndReason, ...] = ("cleared", "released")
DESK: Literal["desk"] = "desk"


class Spell(NamedTuple):
    """An incident: from when it counts, when it was raised to compromised, when it ended (None: not yet), and why."""

    incident: str
    begun: int
    raised: int | None
    ended: int | None
    why: EndReason | None


class Action(NamedTuple):
    """known: the incidents that the case had then."""

    id: str
    at: int
    user: str
    kind: ActionKind
    text: str
    known: frozenset[str]


@dataclass(slots=True)
class Episode:
    """incident: the one that began it. Times are POSIX seconds. why: of closed_at."""

    number: int
    incident: str
    begun_at: int
    notified_at: int | None = None
    acknowledged_at: int | None = None
    clean_at: int | None = None
    closed_at: int | None = None
    why: EndReason | None = None
    #: All its incidents.
    members: list[str] = field(default_factory=list)
    #: Incidents that were raised during it, with the time.
    raised: list[tuple[str, int]] = field(default_factory=list)
    #: When its last incident ended, and why, even if the desk had closed it before.
    ended: tuple[int, EndReason | None] | None = None


class History(NamedTuple):
    """episodes: at least one. active: the incidents that are open now."""

    state: State
    episodes: list[Episode]
    active: frozenset[str]


# The order of points with the same time. An end comes after a begin, so two incidents that touch are one episode.
_BEGIN, _RAISE, _NOTIFIED, _BOUNCED, _ACKNOWLEDGED, _END, _CLOSE, _LATE, _REOPEN = range(9)
_CLOSING = (CLOSED, CONFIRMED, FALSE_ALARM)
_RANKS = {
    NOTIFIED: _NOTIFIED,
    BOUNCED: _BOUNCED,
    ACKNOWLEDGED: _ACKNOWLEDGED,
    **dict.fromkeys(_CLOSING, _CLOSE),
    REOPENED: _REOPEN,
}


def fold(spells: Iterable[Spell], actions: Iterable[Action]) -> History:
    """The history that incidents (one at least) and actions make, in the order of their times."""
    known = list(actions)
    points: list[tuple[int, int, str, Spell | Action]] = []
    for spell in spells:
        begun, rank = _begin(spell, known)
        points.append((begun, rank, spell.incident, spell))
        if spell.raised is not None and spell.raised > spell.begun:
            points.append((max(begun, spell.raised), _RAISE, spell.incident, spell))
        if spell.ended is not None:
            points.append((max(begun, spell.ended), _END, spell.incident, spell))
    points += [(action.at, _RANKS[action.kind], action.id, action) for action in known if action.kind in _RANKS]
    points.sort(key=lambda point: point[:3])
    state = _Fold()
    for at, rank, _, point in points:
        if isinstance(point, Spell):
            state.spell(at, rank, point)
        elif state.episodes:
            state.action(at, rank, point.user)
    return History(state.state, state.episodes, frozenset(state.active))


def _begin(spell: Spell, actions: Iterable[Action]) -> tuple[int, int]:
    begun, rank = spell.begun, _BEGIN
    for action in actions:
        unknown = action.kind in _CLOSING and spell.incident not in action.known and begun <= action.at
        if unknown and (spell.ended is None or spell.ended > action.at):
            begun, rank = action.at, _LATE
    return begun, rank


class _Fold:
    def __init__(self) -> None:
        self.state: State = OPEN
        self.episodes: list[Episode] = []
        self.active: set[str] = set()
        self.notified_by = ""

    def spell(self, at: int, rank: int, spell: Spell) -> None:
        if rank in (_BEGIN, _LATE):
            self.active.add(spell.incident)
            self._begin(at, spell.incident)
        elif rank == _RAISE:
            # It was closed as a suspicion; now it is compromised.
            self._begin(at, spell.incident)
            self.episodes[-1].raised.append((spell.incident, at))
        elif spell.incident in self.active:
            self.active.discard(spell.incident)
            if not self.active:
                self._end(at, spell.why)

    def _begin(self, at: int, incident: str) -> None:
        if not self.episodes or self.state not in ACTIVE:
            self.state = RECURRING if self.episodes else OPEN
            self.episodes.append(Episode(len(self.episodes), incident, at))
        if incident not in self.episodes[-1].members:
            self.episodes[-1].members.append(incident)

    def _end(self, at: int, why: EndReason | None) -> None:
        episode = self.episodes[-1]
        episode.ended = at, why
        if why in _CLEAN:
            episode.clean_at = at
            if self.state != CLOSED:
                self.state = CLEAN
        elif self.state != CLOSED:
            episode.closed_at, episode.why, self.state = at, why, CLOSED

    def action(self, at: int, rank: int, user: str) -> None:
        episode = self.episodes[-1]
        if rank == _NOTIFIED and self.state in (OPEN, RECURRING):
            episode.notified_at, self.state, self.notified_by = at, NOTIFIED, user
        elif rank == _BOUNCED and self.state == NOTIFIED and self.notified_by == user:
            # A person or another system that has notified the subscriber did so whatever comes back by mail.
            episode.notified_at, self.state = None, RECURRING if episode.number else OPEN
        elif rank == _ACKNOWLEDGED and self.state in (OPEN, RECURRING, NOTIFIED):
            episode.acknowledged_at, self.state = at, ACKNOWLEDGED
        elif rank == _CLOSE and self.state != CLOSED:
            episode.closed_at, episode.why, self.state = at, DESK, CLOSED
        elif rank == _REOPEN and self.state == CLOSED and episode.why == DESK:
            self._reopen(episode)

    def _reopen(self, episode: Episode) -> None:
        episode.closed_at = episode.why = None
        if not self.active and episode.clean_at is not None:
            self.state = CLEAN
        elif not self.active and episode.ended is not None:
            episode.closed_at, episode.why = episode.ended
        elif episode.acknowledged_at is not None:
            self.state = ACKNOWLEDGED
        elif episode.notified_at is not None:
            self.state = NOTIFIED
        else:
            self.state = RECURRING if episode.number else OPEN
