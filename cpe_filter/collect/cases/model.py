"""A case as it is read: its columns, what a list may be filtered by, and what cannot be done with it.

Knows the columns of desk_case. Must not know HTTP, or how they are read. It contains text from routers and subscribers,
which has to be escaped where it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cpe_filter.collect.cases import history
from cpe_filter.collect.cases.history import (
    ACKNOWLEDGED,
    ACTIVE,
    ASSIGNED,
    CLOSED,
    NOTE,
    NOTIFIED,
    REOPENED,
    ActionKind,
    Answer,
    EndReason,
    Standing,
    State,
)
from cpe_filter.collect.store.base import Row

#: Incidents of one case that are read, the newest: a hostile router can invent any number.
MAX_INCIDENTS = 500
#: Actions of one case.
MAX_ACTIONS = 1000


#: How far a case has come, by name: in SQL, and in words. See funnel.
STAGES: dict[str, tuple[str, str]] = {
    "unnotified": ("{active} AND c.told_at IS NULL AND c.clean_since IS NULL", "not notified"),
    "notified": (
        "{active} AND c.told_at IS NOT NULL AND c.seen_at IS NULL AND c.clean_since IS NULL",
        "notified, notice not opened",
    ),
    "seen": (
        "{active} AND c.seen_at IS NOT NULL AND c.answered_at IS NULL AND c.clean_since IS NULL",
        "notice opened, not answered",
    ),
    "answered": ("{active} AND c.answered_at IS NOT NULL AND c.clean_since IS NULL", "notice answered"),
    "objection": ("c.objection = 1", "objection to decide"),
    "clean": ("c.clean_since IS NOT NULL AND (c.relapsed_at IS NULL OR c.relapsed_at < c.clean_since)", "clean"),
    "relapsed": (
        "{active} AND c.relapsed_at IS NOT NULL AND (c.clean_since IS NULL OR c.relapsed_at >= c.clean_since)",
        "relapsed",
    ),
}


class CaseError(Exception):
    """An action that cannot be done; the text says why."""


class CaseNotFoundError(CaseError):
    """No case has this id."""


class InvalidStateError(CaseError):
    """The state of the case does not allow the action."""


@dataclass(frozen=True, slots=True)
class Case:
    """Columns as in desk_case, `ind` parsed. model: from the subscriber map, or else as the router reports it. From
    told_at on: see funnel."""

    id: str
    router: str
    dev: str
    subscriber: str
    region: str
    line: str
    model: str
    contact: str
    asn: int | None
    oui: str | None
    state: State
    standing: Standing
    act: str
    first_at: int
    last_at: int
    incidents: int
    episodes: int
    conns: int
    nets: int
    msgs: int
    rcpts: int
    refused: int
    ind: dict[str, int]
    opened_at: int
    begun_at: int
    notified_at: int | None
    acknowledged_at: int | None
    clean_at: int | None
    closed_at: int | None
    why: EndReason | None
    acted: int
    changed_at: int
    told_at: int | None = None
    told_by: str = ""
    seen_at: int | None = None
    seen_by: str = ""
    answered_at: int | None = None
    answer: Answer | None = None
    objection: int = 0
    clean_since: int | None = None
    relapsed_at: int | None = None
    assignee: str = ""

    @property
    def allowed(self) -> tuple[ActionKind, ...]:
        """The actions that have an effect now."""
        objects = self.objection and self.state == ACKNOWLEDGED
        return (
            *(kind for kind, states in ALLOWED_FROM.items() if self.state in states),
            *((ACKNOWLEDGED,) if objects else ()),
            NOTE,
            ASSIGNED,
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """All given conditions must hold. text: part of id, subscriber, router, device, contact or line. since: last_at.
    stage: one of `STAGES`.

    assigned: to this user, "": not assigned. need: a name of `needs.NEEDS`; `me` and `answered_before` are for some of
    them.
    """

    states: Sequence[State] = ()
    stage: str | None = None
    region: str | None = None
    model: str | None = None
    subscriber: str | None = None
    router: str | None = None
    indicator: str | None = None
    text: str = ""
    since: int | None = None
    until: int | None = None
    changed_since: int | None = None
    assigned: str | None = None
    need: str = ""
    me: str = ""
    answered_before: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """cases: one page; total: the number on all pages."""

    cases: list[Case]
    total: int


@dataclass(frozen=True, slots=True)
class Detail:
    """incidents: rows of `incident`, newest first (`ind` and `sp` parsed). reports: single events that are still kept,
    newest first (`body` parsed). episodes, actions, events: rows of their tables, oldest first (events without body).
    submission: the device's counts at submission ports, as the router's last heartbeat or its latest incident has them;
    None if they are not many.
    """

    case: Case
    episodes: list[Row] = field(default_factory=list)
    incidents: list[Row] = field(default_factory=list)
    reports: list[Row] = field(default_factory=list)
    actions: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    submission: Row | None = None


#: In which states each action is allowed.
ALLOWED_FROM: dict[ActionKind, tuple[State, ...]] = {
    NOTIFIED: (history.OPEN, history.RECURRING),
    ACKNOWLEDGED: (history.OPEN, history.RECURRING, NOTIFIED),
    CLOSED: (*ACTIVE, history.CLEAN),
    history.CONFIRMED: (*ACTIVE, history.CLEAN),
    history.FALSE_ALARM: (*ACTIVE, history.CLEAN),
    REOPENED: (CLOSED,),
    history.BOUNCED: (NOTIFIED,),
}
