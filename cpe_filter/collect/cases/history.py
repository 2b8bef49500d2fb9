"""A device's incidents and what people did about them -> its case's state and episodes. Pure.

Knows nothing of tables. The same incidents and actions give the same history whatever order they came in: it follows
the times of events, not of their arrival.

    open          compromised, nobody has been told
    recurring     the same, after it had been clean or closed
    notified      the subscriber has been told
    acknowledged  the subscriber or the desk has taken it up
    clean         the device is known to be clean: its conduct cleared it, or its owner released it
    closed        the desk closed it; or it is over without being known to be clean (why: expired, exempt, silent)

What began before the desk closed a case but was not known to it then counts as begun after: late news is not buried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

OPEN, RECURRING, NOTIFIED, ACKNOWLEDGED, CLEAN, CLOSED = STATES = (
    "open",
    "recurring",
    "notified",
    "acknowledged",
    "clean",
    "closed",
)
#: In these a device is still compromised as far as is known, and somebody has something to do.
ACTIVE = (OPEN, RECURRING, NOTIFIED, ACKNOWLEDGED)

NOTE, REOPENED = "note", "reopened"
ACTIONS = (NOTIFIED, ACKNOWLEDGED, CLOSED, REOPENED, NOTE)

#: Why an incident ended that make a device clean (report-v1.schema.json).
_CLEAN = ("cleared", "released")
#: Of an episode that the desk closed.
DESK = "desk"


class Spell(NamedTuple):
    """An incident: from when it counts, when it was raised to compromised, when it ended (None: not yet), and why."""

    incident: str
    begun: int
    raised: int | None
    ended: int | None
    why: str | None


class Action(NamedTuple):
    """what: of `ACTIONS`. known: the incidents that the case had then."""

    id: str
    at: int
    who: str
    what: str
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
    why: str | None = None
    #: All its incidents.
    members: list[str] = field(default_factory=list)
    #: Incidents that were raised while it went on, with the time.
    raised: list[tuple[str, int]] = field(default_factory=list)
    #: When its last incident ended, and why, although the desk had closed it before.
    over: tuple[int, str] | None = None


class History(NamedTuple):
    """episodes: at least one. active: the incidents that go on now."""

    state: str
    episodes: list[Episode]
    active: frozenset[str]


# Of points with the same time: what ends comes after what begins, so that two incidents that touch are one episode.
_BEGIN, _RAISE, _TOLD, _TAKEN, _END, _CLOSE, _LATE, _REOPEN = range(8)
_RANKS = {NOTIFIED: _TOLD, ACKNOWLEDGED: _TAKEN, CLOSED: _CLOSE, REOPENED: _REOPEN}


def tell(spells: Iterable[Spell], actions: Iterable[Action]) -> History:
    """spells: at least one."""
    known = list(actions)
    points: list[tuple[int, int, str, Spell | Action]] = []
    for spell in spells:
        begun, rank = _begin(spell, known)
        points.append((begun, rank, spell.incident, spell))
        if spell.raised is not None and spell.raised > spell.begun:
            points.append((max(begun, spell.raised), _RAISE, spell.incident, spell))
        if spell.ended is not None:
            points.append((max(begun, spell.ended), _END, spell.incident, spell))
    points += [(action.at, _RANKS[action.what], action.id, action) for action in known if action.what in _RANKS]
    points.sort(key=lambda point: point[:3])
    fold = _Fold()
    for at, rank, _, what in points:
        if isinstance(what, Spell):
            fold.spell(at, rank, what)
        elif fold.episodes:
            fold.action(at, rank)
    return History(fold.state, fold.episodes, frozenset(fold.active))


def _begin(spell: Spell, actions: Iterable[Action]) -> tuple[int, int]:
    begun, rank = spell.begun, _BEGIN
    for action in actions:
        unknown = action.what == CLOSED and spell.incident not in action.known and begun <= action.at
        if unknown and (spell.ended is None or spell.ended > action.at):
            begun, rank = action.at, _LATE
    return begun, rank


class _Fold:
    def __init__(self) -> None:
        self.state = OPEN
        self.episodes: list[Episode] = []
        self.active: set[str] = set()

    def spell(self, at: int, rank: int, spell: Spell) -> None:
        if rank in (_BEGIN, _LATE):
            self.active.add(spell.incident)
            self._begin(at, spell.incident)
        elif rank == _RAISE:
            # Closed as a suspicion; this is news.
            self._begin(at, spell.incident)
            self.episodes[-1].raised.append((spell.incident, at))
        elif spell.incident in self.active:
            self.active.discard(spell.incident)
            if not self.active:
                self._end(at, spell.why or "")

    def _begin(self, at: int, incident: str) -> None:
        if not self.episodes or self.state not in ACTIVE:
            self.state = RECURRING if self.episodes else OPEN
            self.episodes.append(Episode(len(self.episodes), incident, at))
        if incident not in self.episodes[-1].members:
            self.episodes[-1].members.append(incident)

    def _end(self, at: int, why: str) -> None:
        episode = self.episodes[-1]
        episode.over = at, why
        if why in _CLEAN:
            episode.clean_at = at
            if self.state != CLOSED:
                self.state = CLEAN
        elif self.state != CLOSED:
            episode.closed_at, episode.why, self.state = at, why, CLOSED

    def action(self, at: int, rank: int) -> None:
        episode = self.episodes[-1]
        if rank == _TOLD and self.state in (OPEN, RECURRING):
            episode.notified_at, self.state = at, NOTIFIED
        elif rank == _TAKEN and self.state in (OPEN, RECURRING, NOTIFIED):
            episode.acknowledged_at, self.state = at, ACKNOWLEDGED
        elif rank == _CLOSE and self.state != CLOSED:
            episode.closed_at, episode.why, self.state = at, DESK, CLOSED
        elif rank == _REOPEN and self.state == CLOSED and episode.why == DESK:
            self._reopen(episode)

    def _reopen(self, episode: Episode) -> None:
        episode.closed_at = episode.why = None
        if not self.active and episode.clean_at is not None:
            self.state = CLEAN
        elif not self.active and episode.over is not None:
            episode.closed_at, episode.why = episode.over
        elif episode.acknowledged_at is not None:
            self.state = ACKNOWLEDGED
        elif episode.notified_at is not None:
            self.state = NOTIFIED
        else:
            self.state = RECURRING if episode.number else OPEN
