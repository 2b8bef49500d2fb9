"""How far one signed document has come on routers, and whether to halt it. Pure.

Knows what routers report and what is published. Must not know SQL, HTML, HTTP or keys. What routers report is their own
word: a number that the ISP has never published can be anything, and a few routers can lie. So a verdict needs several
routers, and it only advises: the key that halts is not here.

    tried        routers that applied the document, took it back, or have it in force
    taken back   of these, those on which it failed, or where a person took it back (rolled-back)
    refused      routers that never tried it; excused: because of what they are, not of what the document is
    failed       taken back, or refused and not excused
    answered     tried, or refused and not excused
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal, NamedTuple, get_args

from cpe_filter.collect.published import Entry
from cpe_filter.signed import errors

DAY = 86_400
#: Routers that reported within this time are the fleet; those that did not within this one are silent: a router reports
#: daily.
FLEET_S, SILENT_S = 30 * DAY, 2 * DAY
#: Routers on which a document must have failed before a halt is advised: one may be broken, or lie.
LEAST = 3
#: 95 %.
_Z = 1.96
APPLIED, REFUSED, TAKEN_BACK, ROLLED_BACK = RESULTS = ("applied", "refused", "taken-back", "rolled-back")
#: "" for a document whose signature is not good: a router knows no type of it.
TYPES = ("policy", "table", "replies", "")
#: More words for lists and metrics: in force; the same, and the router does not report any more; has not answered.
IN_FORCE, SILENT, NOT_HEARD = "in-force", "silent", "not-heard"
#: Refusals that a halt would not change: the router's version, audience or clock, or it had a later document.
EXCUSED = (errors.AGENT, errors.AUDIENCE, errors.EARLY, errors.EXPIRED, errors.SEQUENCE)

Verdict = Literal["halt", "wait", "good", "unknown"]
HALT: Verdict = "halt"
WAIT: Verdict = "wait"
GOOD: Verdict = "good"
UNKNOWN: Verdict = "unknown"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Terms(NamedTuple):
    """published: the folder of `policy publish`, "" for none. halt_at: percent of those that answered."""

    published: str = ""
    halt_at: int = 2


class OfModel(NamedTuple):
    """Routers of one model; "" where it is not known."""

    model: str
    failed: int
    answered: int


@dataclass(slots=True)
class Spread:
    """One document. channel, entry: as published; "" and None if that is not known. audience: routers that it is for,
    None if that is not known. by_heartbeat: in force, and no event within 90 days says how. silent: in force, and the
    router does not report any more. excused: refusals for EXCUSED. reasons: (result, why) -> routers. since: when it
    was first seen. course: by the hour since then, routers that applied it, took it back, refused it. steps: the
    documents with the same content before this one. left: routers that still have the document that this one halts."""

    type: str
    sequence: int
    digest: str
    channel: str = ""
    entry: Entry | None = None
    in_force: int = 0
    by_heartbeat: int = 0
    silent: int = 0
    excused: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    since: int | None = None
    audience: int | None = None
    course: list[tuple[int, int, int]] = field(default_factory=list)
    models: list[OfModel] = field(default_factory=list)
    steps: list[Spread] = field(default_factory=list)
    left: int | None = None

    @property
    def taken_back(self) -> int:
        return self.outcomes.get(TAKEN_BACK, 0) + self.outcomes.get(ROLLED_BACK, 0)

    @property
    def tried(self) -> int:
        return self.outcomes.get(APPLIED, 0) + self.by_heartbeat + self.taken_back

    @property
    def refused(self) -> int:
        return self.outcomes.get(REFUSED, 0)

    @property
    def failed(self) -> int:
        return self.taken_back + self.refused - self.excused

    @property
    def answered(self) -> int:
        return self.tried + self.refused - self.excused

    @property
    def expected(self) -> int | None:
        """Routers that should have it, about: its permille of its audience."""
        if self.audience is None or self.entry is None:
            return None
        return round(self.audience * self.entry.permille / 1000)

    @property
    def reached(self) -> int | None:
        """Routers that have it, of 1000 of its audience."""
        return round(1000 * self.in_force / self.audience) if self.audience else None

    @property
    def not_heard(self) -> int | None:
        """Routers that should have it and have not answered, about."""
        return None if self.expected is None else max(0, self.expected - self.answered - self.excused)

    @property
    def is_current(self) -> bool:
        return self.entry is not None and self.entry.state in ("staged", "current")

    def verdict(self, halt_at: int) -> Verdict:
        """halt: it certainly fails on more than `halt_at` percent, or a step with the same content before it does;
        good: certainly on fewer; wait: not known yet."""
        return self.judged(halt_at)._own_verdict(halt_at)

    def judged(self, halt_at: int) -> Spread:
        """The document whose numbers the verdict is from: this one, or a step before it that fails."""
        bad = (one for one in (self, *self.steps) if one._own_verdict(halt_at) == HALT)
        return next(bad, self)

    def _own_verdict(self, halt_at: int) -> Verdict:
        if not self.answered:
            return UNKNOWN
        low, high = wilson(self.failed, self.answered)
        if low > halt_at / 100 and self.failed >= LEAST:
            return HALT
        return GOOD if high < halt_at / 100 else WAIT


@dataclass(slots=True)
class Found:
    """now: POSIX seconds. routers, silent: of the fleet. documents: the published current ones first, then the latest.
    none: type -> routers without one. problem: of the index. instructions: (action, state) -> number, of the last 90
    days; instruction_reasons: (action, why) -> number refused. recent: (type, result) -> routers within a day."""

    now: int
    terms: Terms
    routers: int = 0
    silent: int = 0
    documents: list[Spread] = field(default_factory=list)
    none: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    has_index: bool = False
    instructions: dict[tuple[str, str], int] = field(default_factory=dict)
    instruction_reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    recent: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def current(self) -> list[Spread]:
        """Those that are judged: what is published now; without an index the latest of each type that several routers
        have answered. Those that should be halted come first."""
        if self.has_index:
            found = [one for one in self.documents if one.is_current]
        else:
            latest: dict[str, Spread] = {}
            for one in sorted(self.documents, key=lambda one: one.sequence):
                if one.type and one.digest and (one.answered >= LEAST or one.type not in latest):
                    latest[one.type] = one
            found = list(latest.values())
        return sorted(found, key=lambda one: one.verdict(self.terms.halt_at) != HALT)


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Within which shares the true one lies, 95 % (E. B. Wilson 1927). It is sensible for few and for none."""
    if not whole:
        return 0.0, 1.0
    share, square = part / whole, _Z * _Z / whole
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * sqrt(share * (1 - share) / whole + square / (4 * whole))
    return max(0.0, middle - half), min(1.0, middle + half)


def command(one: Spread, terms: Terms) -> str:
    """The command that halts a document, for where its key is."""
    to = " --to N" if one.entry is not None and one.entry.halts is not None else ""  # `halt` halts no halt
    return f"cpe-filter policy halt{to} {_where(one, terms)}"


def next_command(one: Spread, terms: Terms) -> str | None:
    """The command for the next step of a rollout: ten times as many routers. None where there is none."""
    if one.entry is None or not one.is_current or one.entry.permille >= 1000:
        return None
    permille = min(1000, max(1, 10 * one.entry.permille))
    return f"cpe-filter policy publish --permille {permille} {_where(one, terms)}"


def _where(one: Spread, terms: Terms) -> str:
    folder = shlex.quote(terms.published) if terms.published else "DIR"
    return f"--published {folder} --channel {one.channel or 'CHANNEL'} --key KEY"


Figures = dict[str, dict[tuple[str, ...], int]]


def metrics(found: Found) -> Figures:
    """For /metrics: metric -> labels' values -> value. Names of channels are the ISP's; no label is a router's word."""
    of_channel: dict[tuple[str, ...], int] = {}
    advised: dict[tuple[str, ...], int] = {}
    for one in found.documents:
        if one.is_current:
            of_channel |= {(one.channel, result): one.outcomes.get(result, 0) for result in RESULTS}
            of_channel |= {(one.channel, IN_FORCE): one.in_force, (one.channel, SILENT): one.silent}
            if one.not_heard is not None:
                of_channel[one.channel, NOT_HEARD] = one.not_heard
            advised[one.channel,] = int(one.verdict(found.terms.halt_at) == HALT)
    reports: dict[tuple[str, ...], int] = {
        (kind or "unknown", result): found.recent.get((kind, result), 0) for kind in TYPES for result in RESULTS
    }
    return {"document_routers": of_channel, "document_halt": advised, "document_reports": reports}
