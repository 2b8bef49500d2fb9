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

ActionKind = Literal[
    "notified",
    "acknowledged",
    "closed",
    "confirmed",
    "false-alarm",
    "reopened",
    "note",
    "bounced",
    "quiet",
    "relapsed",
    "assigned",
]
#: These close a case and say what it was: `calibrate` learns from them.
CONFIRMED: Literal["confirmed"] = "confirmed"
FALSE_ALARM: Literal["false-alarm"] = "false-alarm"
REOPENED: Literal["reopened"] = "reopened"
NOTE: Literal["note"] = "note"
#: The notice by e-mail came back: the subscriber has not been notified after all.
BOUNCED: Literal["bounced"] = "bounced"
#: A user works on the case from now on, or no one does. It changes no state.
ASSIGNED: Literal["assigned"] = "assigned"
#: What the collector itself has observed (funnel.observe): days without a finding, and a finding after these.
QUIET: Literal["quiet"] = "quiet"
RELAPSED: Literal["relapsed"] = "relapsed"
#: The users of actions that the collector does itself: its mail, its webhook, its observations.
MAIL, WEBHOOK, COLLECTOR = "mail", "webhook", "collector"

#: How a subscriber was notified: the notice was opened in the home; e-mail; the webhook; the desk, which notes it.
Channel = Literal["router", "mail", "webhook", "desk"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
#: Answers to the notice on the router (report-v1.schema.json).
Answer = Literal["seen", "cleaned", "server", "mistake"]
#: Those that the desk has to decide on.
OBJECTIONS: tuple[Answer, ...] = ("server", "mistake")

#: The standing of a device (report-v1.schema.json).
Standing = Literal["clear", "unusual", "suspected", "compromised"]

#: Why an incident ended: as a router reports it (report-v1.schema.json), `silent` by retention, `desk` by a person.
EndReason = Literal["cleared", "released", "expired", "exempt", "merged", "silent", "desk"]
#: After these the device is known to be clean.
_CLEAN: tuple[EndReason, ...] = ("cleared", "released")
DESK: Literal["desk"] = "desk"


class Spell(NamedTuple):
    """An incident: from when it counts, when it was raised to compromised, when it ended (None: not yet), and why.

    last: of its evidence. seen, seen_home: when the notice was first known to be open at the device, and at another one
    of the home. answered, objected: when people had first answered it, and with an objection. answer: the last one.
    """

    incident: str
    begun: int
    raised: int | None
    ended: int | None
    why: EndReason | None
    last: int | None = None
    seen: int | None = None
    seen_home: int | None = None
    answered: int | None = None
    objected: int | None = None
    answer: Answer | None = None


class Action(NamedTuple):
    """known: the incidents that the case had then. assignee: of `assigned`; "": not assigned."""

    id: str
    at: int
    user: str
    kind: ActionKind
    text: str
    known: frozenset[str]
    assignee: str | None = None


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
    #: When its subscriber was first notified by each channel; a notice by e-mail that came back is not in it.
    told: dict[Channel, int] = field(default_factory=dict)
    #: When the notice was first open at the device, and at another one of the home; when it was answered, and with an
    #: objection; the last answer. When the desk last took the case up or closed it, and as what.
    seen_device_at: int | None = None
    seen_home_at: int | None = None
    answered_at: int | None = None
    objected_at: int | None = None
    answer: Answer | None = None
    decided_at: int | None = None
    outcome: Literal["", "confirmed", "false-alarm"] = ""
    #: The last finding: evidence of one of its incidents.
    last_at: int = 0


class History(NamedTuple):
    """episodes: at least one. active: the incidents that are open now."""

    state: State
    episodes: list[Episode]
    active: frozenset[str]


# The order of points with the same time. An end comes after a begin, so two incidents that touch are one episode.
(
    _BEGIN, _RAISE, _NOTIFIED, _BOUNCED, _SEEN, _SEEN_HOME, _ANSWERED, _OBJECTED, _ACKNOWLEDGED, _END, _CLOSE, _LATE,
    _REOPEN,
) = range(13)  # fmt: skip
_NOTICE = (_SEEN, _SEEN_HOME, _ANSWERED, _OBJECTED)
_CLOSING = (CLOSED, CONFIRMED, FALSE_ALARM)
_OUTCOMES: dict[str, Literal["confirmed", "false-alarm"]] = {CONFIRMED: CONFIRMED, FALSE_ALARM: FALSE_ALARM}
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
        points += [
            (max(begun, at), of, spell.incident, spell)
            for of, at in (
                (_SEEN, spell.seen),
                (_SEEN_HOME, spell.seen_home),
                (_ANSWERED, spell.answered),
                (_OBJECTED, spell.objected),
            )
            if at is not None
        ]
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
            state.action(at, rank, point)
    return History(state.state, state.episodes, frozenset(state.active))


def channel(user: str) -> Channel:
    """The channel of an action `notified`."""
    return "mail" if user == MAIL else "webhook" if user == WEBHOOK else "desk"


def assignee(actions: Iterable[Action]) -> str:
    """Who works on a case: as its latest `assigned` says, "" if no one. A case that recurs keeps its user."""
    assigned = [action for action in actions if action.kind == ASSIGNED]
    return max(assigned, key=lambda action: (action.at, action.id)).assignee or "" if assigned else ""


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

    def spell(self, at: int, rank: int, spell: Spell) -> None:
        if rank in (_BEGIN, _LATE):
            self.active.add(spell.incident)
            self._begin(at, spell)
        elif rank == _RAISE:
            # It was closed as a suspicion; now it is compromised.
            self._begin(at, spell)
            self.episodes[-1].raised.append((spell.incident, at))
        elif rank in _NOTICE:
            self._notice(at, rank, spell)
        elif spell.incident in self.active:
            self.active.discard(spell.incident)
            if not self.active:
                self._end(at, spell.why)

    def _begin(self, at: int, spell: Spell) -> None:
        if not self.episodes or self.state not in ACTIVE:
            self.state = RECURRING if self.episodes else OPEN
            self.episodes.append(Episode(len(self.episodes), spell.incident, at))
        episode = self.episodes[-1]
        if spell.incident not in episode.members:
            episode.members.append(spell.incident)
        episode.last_at = max(episode.last_at, episode.begun_at, spell.last or 0)

    def _end(self, at: int, why: EndReason | None) -> None:
        episode = self.episodes[-1]
        episode.ended = at, why
        if why in _CLEAN:
            episode.clean_at = at
            if self.state != CLOSED:
                self.state = CLEAN
        elif self.state != CLOSED:
            episode.closed_at, episode.why, self.state = at, why, CLOSED

    def _notice(self, at: int, rank: int, spell: Spell) -> None:
        """The notice was opened or answered in the home."""
        episode = next((one for one in reversed(self.episodes) if spell.incident in one.members), None)
        if episode is None:
            return
        if rank == _SEEN:
            episode.seen_device_at = at if episode.seen_device_at is None else episode.seen_device_at
        elif rank == _SEEN_HOME:
            episode.seen_home_at = at if episode.seen_home_at is None else episode.seen_home_at
        elif rank == _ANSWERED:
            episode.answered_at = at if episode.answered_at is None else episode.answered_at
            episode.answer = spell.answer
        else:
            episode.objected_at = at if episode.objected_at is None else episode.objected_at
        episode.told.setdefault("router", at)
        if episode is self.episodes[-1]:
            if self.state in (OPEN, RECURRING):
                episode.notified_at, self.state = at, NOTIFIED
            # An objection leaves the next step to the desk.
            if rank == _ANSWERED and spell.answer not in OBJECTIONS and self.state == NOTIFIED:
                episode.acknowledged_at, self.state = at, ACKNOWLEDGED

    def action(self, at: int, rank: int, done: Action) -> None:
        episode = self.episodes[-1]
        if rank in (_ACKNOWLEDGED, _CLOSE):
            episode.decided_at = at
        if rank == _NOTIFIED and self.state in ACTIVE:
            episode.told.setdefault(channel(done.user), at)
            if self.state in (OPEN, RECURRING):
                episode.notified_at, self.state = at, NOTIFIED
        elif rank == _BOUNCED:
            self._bounced(episode, channel(done.user))
        elif rank == _ACKNOWLEDGED and self.state in (OPEN, RECURRING, NOTIFIED):
            episode.acknowledged_at, self.state = at, ACKNOWLEDGED
        elif rank == _CLOSE and self.state != CLOSED:
            episode.closed_at, episode.why, self.state = at, DESK, CLOSED
            episode.outcome = _OUTCOMES.get(done.kind, "")
        elif rank == _REOPEN and self.state == CLOSED and episode.why == DESK:
            self._reopen(episode)

    def _bounced(self, episode: Episode, channel: Channel) -> None:
        # A person or another system that has notified the subscriber did so whatever comes back by mail.
        gone = episode.told.pop(channel, None)
        if gone is not None and self.state == NOTIFIED and not episode.told:
            episode.notified_at, self.state = None, RECURRING if episode.number else OPEN
        elif gone is not None and episode.notified_at == gone:
            episode.notified_at = min(episode.told.values(), default=None)

    def _reopen(self, episode: Episode) -> None:
        episode.closed_at = episode.why = None
        episode.outcome = ""
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
