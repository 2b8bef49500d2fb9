"""How far each signed document has come on routers, and whether to halt it.

Knows the tables router_document, router_in_force and desk_instruction, and the index of what is published. Must not
know HTML, HTTP or keys. What routers report is their own word: a number that the ISP has never published can be
anything, and a few routers can lie. So a verdict needs several routers, and it only advises: the key that halts is not
here.

    tried        routers that applied the document, took it back, or have it in force
    taken back   of these, those that took it back by themselves or by a person (rolled-back)
    refused      routers that never tried it: its signature, its audience, its content
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal, NamedTuple, get_args

from cpe_filter.collect.published import Entry, Index, PublishedError, read
from cpe_filter.collect.store.base import Row, Store

DAY = 86_400
#: Routers that reported within this time are the fleet.
FLEET_S = 30 * DAY
#: Outcomes older than this are history; documents that are shown; reasons of one.
RECENT_S, MOST, MOST_REASONS = 90 * DAY, 60, 12
#: Routers that must have taken a document back before a halt is advised: one may be broken, or lie.
LEAST = 3
#: 95 %.
_Z = 1.96
#: Hours of the course of a document.
COURSE_H = 48
_CACHED_S = 60.0
APPLIED, REFUSED, TAKEN_BACK, ROLLED_BACK = RESULTS = ("applied", "refused", "taken-back", "rolled-back")
IN_FORCE = "in-force"

Verdict = Literal["halt", "wait", "good", "unknown"]
HALT: Verdict = "halt"
WAIT: Verdict = "wait"
GOOD: Verdict = "good"
UNKNOWN: Verdict = "unknown"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Terms(NamedTuple):
    """published: the folder of `policy publish`, "" for none. halt_at: percent of those that tried it."""

    published: str = ""
    halt_at: int = 2


@dataclass(slots=True)
class Spread:
    """One document. channel, entry: as published; "" and None if that is not known. expected: routers that should
    have it, about; None if that cannot be said. reasons: (result, why) -> routers. since: when it was first seen.
    course: by the hour since then, routers that applied it, took it back, refused it."""

    type: str
    sequence: int
    digest: str
    channel: str = ""
    entry: Entry | None = None
    in_force: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    #: In force by a heartbeat; the event is not known.
    silent: int = 0
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    since: int | None = None
    expected: int | None = None
    course: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.outcomes.get(APPLIED, 0) + self.silent + self.taken_back

    @property
    def taken_back(self) -> int:
        return self.outcomes.get(TAKEN_BACK, 0) + self.outcomes.get(ROLLED_BACK, 0)

    @property
    def refused(self) -> int:
        return self.outcomes.get(REFUSED, 0)

    @property
    def unheard(self) -> int | None:
        """Routers that should have it and have not answered."""
        return None if self.expected is None else max(0, self.expected - self.tried - self.refused)

    @property
    def is_current(self) -> bool:
        return self.entry is not None and self.entry.state in ("staged", "current")

    def verdict(self, halt_at: int) -> Verdict:
        """halt: certainly more than `halt_at` percent take it back; good: certainly fewer; wait: not known yet."""
        if not self.tried:
            return UNKNOWN
        low, high = wilson(self.taken_back, self.tried)
        if low > halt_at / 100 and self.taken_back >= LEAST:
            return HALT
        return GOOD if high < halt_at / 100 else WAIT


@dataclass(slots=True)
class Found:
    """now: POSIX seconds. documents: the published current ones first, then the latest. problem: of the index.
    instructions: (action, state) -> number, of the last 90 days; instruction_reasons: (action, why) -> number refused.
    recent: (type, result) -> routers within a day."""

    now: int
    halt_at: int
    routers: int = 0
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
        have answered."""
        if self.has_index:
            return [one for one in self.documents if one.is_current]
        found: dict[str, Spread] = {}
        for one in sorted(self.documents, key=lambda one: one.sequence):
            if one.tried + one.refused >= LEAST or one.type not in found:
                found[one.type] = one
        return list(found.values())


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Within which shares the true one lies, 95 % (E. B. Wilson 1927). It is sensible for few and for none."""
    if not whole:
        return 0.0, 1.0
    share, square = part / whole, _Z * _Z / whole
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * sqrt(share * (1 - share) / whole + square / (4 * whole))
    return max(0.0, middle - half), min(1.0, middle + half)


class Rollouts:
    """Computes the figures, for page, API and metrics; kept for a minute, or longer where the store is slow. One
    request computes, others wait for it."""

    def __init__(self, store: Store, terms: Terms, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self.terms, self._clock = store, terms, clock
        self._one = asyncio.Lock()
        self._until = float("-inf")
        self._found: Found | None = None

    async def of(self, now: int) -> Found:
        """Raises `StoreError`."""
        async with self._one:
            begun = self._clock()
            if self._found is None or begun >= self._until:
                self._found = await compute(self._store, self.terms, now)
                ended = self._clock()
                self._until = ended + max(_CACHED_S, 20 * (ended - begun))
            return self._found


async def compute(store: Store, terms: Terms, now: int) -> Found:
    """Raises `StoreError`."""
    found = Found(now, terms.halt_at)
    index = Index()
    if terms.published:
        try:
            index = await asyncio.to_thread(read, terms.published)
            found.has_index = True
        except PublishedError as error:
            found.problem = str(error)
    found.routers = int((await store.read(_FLEET, fleet=now - FLEET_S))[0]["n"])
    by_name = await _reported(store, found, now)
    published = _with_index(found, index, by_name)
    for one in published:
        if one.is_current:
            one.expected = await _expected(store, one, found.routers, now)
    rest = [one for one in by_name.values() if one.entry is None]
    order = sorted([*published, *rest], key=lambda one: (not one.is_current, one.type, -one.sequence))
    kept = [one for one in order if one.is_current or one.in_force or one.outcomes or one.entry is not None]
    found.documents = kept[:MOST]
    for one in found.current:
        await _course(store, one, now)
    await _instructions(store, found, now)
    return found


async def _reported(store: Store, found: Found, now: int) -> dict[tuple[str, str], Spread]:
    """Documents by type and digest, of what routers report. A router could invent any number of them: those that most
    routers name are kept."""
    by_name: dict[tuple[str, str], Spread] = {}

    def of(row: Row) -> Spread:
        name = row["type"], row["digest"]
        if name not in by_name:
            by_name[name] = Spread(row["type"], int(row["sequence"] or 0), row["digest"])
        return by_name[name]

    for row in await store.read(_IN_FORCE, fleet=now - FLEET_S, most=4 * MOST):
        if not row["digest"]:
            found.none[row["type"]] = int(row["n"])
            continue
        one = of(row)
        one.in_force, one.silent, one.since = int(row["n"]), int(row["silent"] or 0), row["since"]
    for row in await store.read(_OUTCOMES, recent=now - RECENT_S, most=20 * MOST):
        one, count = of(row), int(row["n"])
        one.outcomes[row["result"]] = one.outcomes.get(row["result"], 0) + count
        one.since = row["first"] if one.since is None else min(one.since, row["first"])
        if row["why"] and len(one.reasons) < MOST_REASONS:
            one.reasons[row["result"], row["why"]] = count
    for row in await store.read(_RECENT, since=now - DAY):
        found.recent[row["type"], row["result"]] = int(row["n"])
    return by_name


def _with_index(found: Found, index: Index, by_name: Mapping[tuple[str, str], Spread]) -> list[Spread]:
    """The documents that the index has, with what is reported of each."""
    published = []
    for channel in index.channels.values():
        for entry in channel.entries:
            one = by_name.get((channel.type, entry.digest)) or Spread(channel.type, entry.sequence, entry.digest)
            one.channel, one.entry, one.sequence = channel.name, entry, entry.sequence
            one.since = entry.published
            published.append(one)
    return published


async def _expected(store: Store, one: Spread, routers: int, now: int) -> int | None:
    """How many routers should have a document, from its audience and permille. A region is in no report: None."""
    entry = one.entry
    if entry is None or any(name.startswith("region:") for name in entry.audience):
        return None
    audience = routers
    if "*" not in entry.audience:
        names = {f"n{place}": name.partition(":")[2] for place, name in enumerate(entry.audience)}
        listed = ", ".join(f":{name}" for name in names)
        rows = await store.read(
            f"SELECT COUNT(*) AS n FROM router_state WHERE heard_at >= :fleet AND (router IN ({listed})"
            f" OR model IN ({listed}))", fleet=now - FLEET_S, **names,
        )  # fmt: skip
        audience = int(rows[0]["n"])
    return round(audience * entry.permille / 1000)


async def _course(store: Store, one: Spread, now: int) -> None:
    if one.since is None or not one.digest:
        return
    hours = min(COURSE_H, max(1, (now - one.since) // 3600 + 1))
    counts = [[0, 0, 0] for _ in range(hours)]
    rows = await store.read(_COURSE, type=one.type, digest=one.digest, since=one.since, until=one.since + hours * 3600)
    for row in rows:
        at = 0 if row["result"] == APPLIED else 2 if row["result"] == REFUSED else 1
        counts[int(row["hour"])][at] += int(row["n"])
    one.course = [(a, b, c) for a, b, c in counts]


async def _instructions(store: Store, found: Found, now: int) -> None:
    for row in await store.read(_INSTRUCTIONS, recent=now - RECENT_S):
        key = row["action"], row["state"]
        found.instructions[key] = found.instructions.get(key, 0) + int(row["n"])
        if row["state"] == REFUSED and row["why"]:
            found.instruction_reasons[row["action"], row["why"]] = int(row["n"])


Figures = dict[str, dict[tuple[str, ...], int]]


def metrics(found: Found) -> Figures:
    """For /metrics: metric -> labels' values -> value. Names of channels are the ISP's; no label is a router's word."""
    of_channel: dict[tuple[str, ...], int] = {}
    advised: dict[tuple[str, ...], int] = {}
    for one in found.documents:
        if one.is_current:
            of_channel[one.channel, IN_FORCE] = one.in_force
            of_channel |= {(one.channel, result): one.outcomes.get(result, 0) for result in RESULTS}
            advised[one.channel,] = int(one.verdict(found.halt_at) == HALT)
    types = ("policy", "table", "replies")
    reports: dict[tuple[str, ...], int] = {
        (kind, result): found.recent.get((kind, result), 0) for kind in types for result in RESULTS
    }
    return {"document_routers": of_channel, "document_halt": advised, "document_reports": reports}


_FLEET = "SELECT COUNT(*) AS n FROM router_state WHERE heard_at >= :fleet"
_IN_FORCE = """
SELECT f.type, f.digest, f.sequence, COUNT(*) AS n, MIN(f.since) AS since,
    SUM(CASE WHEN d.router IS NULL THEN 1 ELSE 0 END) AS silent
FROM router_in_force f JOIN router_state r ON r.router = f.router
LEFT JOIN router_document d ON d.router = f.router AND d.type = f.type AND d.digest = f.digest
WHERE r.heard_at >= :fleet GROUP BY f.type, f.digest, f.sequence ORDER BY n DESC, f.sequence DESC LIMIT :most
"""
_OUTCOMES = """
SELECT type, digest, MAX(sequence) AS sequence, result, why, COUNT(*) AS n, MIN(at) AS first FROM router_document
WHERE at >= :recent GROUP BY type, digest, result, why ORDER BY n DESC, sequence DESC LIMIT :most
"""
_RECENT = "SELECT type, result, COUNT(*) AS n FROM router_document WHERE at >= :since GROUP BY type, result"
_COURSE = """
SELECT (at - :since) / 3600 AS hour, result, COUNT(*) AS n FROM router_document
WHERE type = :type AND digest = :digest AND at >= :since AND at < :until
GROUP BY 1, result
"""
_INSTRUCTIONS = """
SELECT action, state, why, COUNT(*) AS n FROM desk_instruction WHERE made_at >= :recent GROUP BY action, state, why
ORDER BY n DESC LIMIT 200
"""
