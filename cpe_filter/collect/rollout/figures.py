"""The store, and the index of what is published -> how far each signed document has come (`spread`).

Knows the tables router_document, router_in_force, router_state and desk_instruction. Must not know HTML, HTTP or keys.
Routers could invent any number of documents and reasons: each query has a bound, and keeps what most routers name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from cpe_filter.collect.published import Index, PublishedError, read
from cpe_filter.collect.rollout.spread import (
    APPLIED,
    DAY,
    EXCUSED,
    FLEET_S,
    REFUSED,
    SILENT_S,
    Found,
    OfModel,
    Spread,
    Terms,
)
from cpe_filter.collect.store.base import Row, Store

#: Outcomes older than this are history; documents that are shown besides those that are judged; reasons of one.
RECENT_S, MOST, MOST_REASONS = 90 * DAY, 40, 12
#: Documents whose course and models are computed; models of one, its steps, hours of its course.
DETAILED, MODELS, MAX_STEPS, COURSE_H = 16, 8, 8, 48
#: Figures are kept for so long, seconds, and for so many times as long as they took. Such that took longer than SLOW_S
#: are given for STALE_S more, while others are computed.
_CACHED_S, _TIMES, _SLOW_S, _STALE_S = 5.0, 20, 2.0, 600.0


class Rollouts:
    """Computes the figures for page, API and metrics of one process, when they are asked for; less often where the
    store is slow. There the figures before are given while it computes, if they are not too old."""

    def __init__(self, store: Store, terms: Terms, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._terms, self._clock = store, terms, clock
        self._found: Found | None = None
        self._until = self._stale_until = float("-inf")
        self._task: asyncio.Task[Found] | None = None

    async def of(self, now: int) -> Found:
        """Raises `StoreError`."""
        at = self._clock()
        if self._found is not None and at < self._until:
            return self._found
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._compute(now))
            self._task.add_done_callback(_looked_at)
        if self._found is not None and at < self._stale_until:
            return self._found
        return await asyncio.shield(self._task)  # a request that is given up must not end it for the others

    async def _compute(self, now: int) -> Found:
        begun = self._clock()
        self._found = await compute(self._store, self._terms, now)
        ended = self._clock()
        self._until = ended + max(_CACHED_S, _TIMES * (ended - begun))
        self._stale_until = self._until + (_STALE_S if ended - begun > _SLOW_S else 0)
        return self._found


def _looked_at(task: asyncio.Task[Found]) -> None:
    """An error is for those who wait; the next who asks begins again."""
    if not task.cancelled():
        task.exception()


async def compute(store: Store, terms: Terms, now: int) -> Found:
    """Raises `StoreError`."""
    found = Found(now, terms)
    index = Index()
    if terms.published:
        try:
            index = await asyncio.to_thread(read, terms.published)
            found.has_index = bool(index.channels)
            if not found.has_index:
                found.problem = f"{terms.published}: nothing is published there"
        except PublishedError as error:
            found.problem = str(error)
    row = (await store.read(_FLEET, fleet=now - FLEET_S, silent=now - SILENT_S))[0]
    found.routers, found.silent = int(row["n"]), int(row["silent"] or 0)
    by_name = await _reported(store, found, index, now)
    _join(index, by_name)
    found.documents = _listed(index, by_name)
    for one in found.documents:
        if one.is_current:
            one.audience = await _audience(store, one, found.routers, now)
    for one in found.current[:DETAILED]:
        await _course(store, one, now)
        await _models(store, one)
    await _instructions(store, found, now)
    return found


async def _reported(store: Store, found: Found, index: Index, now: int) -> dict[tuple[str, str], Spread]:
    """Documents by type and digest, of what routers report. Those that were published last come first: a few routers
    can name so many others that these would be behind the bound."""
    last = [entry.digest for one in index.channels.values() for entry in one.entries[-1 - MAX_STEPS :]]
    ours = {f"d{place}": digest for place, digest in enumerate(last)}
    first = f"CASE WHEN digest IN ({', '.join(f':{place}' for place in ours) or 'NULL'}) THEN 0 ELSE 1 END"
    by_name: dict[tuple[str, str], Spread] = {}

    def of(row: Row) -> Spread:
        name = row["type"], row["digest"]
        if name not in by_name:
            by_name[name] = Spread(row["type"], int(row["sequence"] or 0), row["digest"])
        return by_name[name]

    for row in await store.read(_OUTCOMES.format(first=first), recent=now - RECENT_S, **ours, most=20 * MOST):
        one, number = of(row), int(row["n"])  # of the number that most name; others are there, as routers' words
        one.outcomes[row["result"]] = one.outcomes.get(row["result"], 0) + number
        one.since = row["first"] if one.since is None else min(one.since, row["first"])
        if row["result"] == REFUSED and row["why"] in EXCUSED:
            one.excused += number
        reason = row["result"], row["why"]
        if row["why"] and (len(one.reasons) < MOST_REASONS or reason in one.reasons):
            one.reasons[reason] = one.reasons.get(reason, 0) + number
    limits = {"fleet": now - FLEET_S, "quiet": now - SILENT_S, "recent": now - RECENT_S}
    in_force = _IN_FORCE.format(first=first.replace("digest", "f.digest"))
    for row in await store.read(in_force, **limits, **ours, most=4 * MOST):
        if not row["digest"]:
            found.none[row["type"]] = int(row["n"])
            continue
        one = of(row)
        one.since = row["since"] if one.since is None else min(one.since, row["since"])
        one.in_force += int(row["n"])
        one.by_heartbeat += int(row["by_heartbeat"] or 0)
        one.silent += int(row["silent"] or 0)
    for row in await store.read(_RECENT, since=now - DAY):
        found.recent[row["type"], row["result"]] = int(row["n"])
    return by_name


def _join(index: Index, by_name: dict[tuple[str, str], Spread]) -> None:
    """Adds refusals by a router that knows no type of a document, because of its key or signature, to the document with
    this digest."""
    # What is published counts most, and of what routers say, what most of them do.
    known = {digest: kind for kind, digest in reversed(by_name) if kind}
    known |= {entry.digest: channel.type for channel in index.channels.values() for entry in channel.entries}
    for (kind, digest), one in list(by_name.items()):
        if kind or digest not in known:
            continue
        del by_name[kind, digest]
        whole = by_name.setdefault((known[digest], digest), Spread(known[digest], 0, digest))
        whole.excused += one.excused
        whole.since = min(one.since or 0, whole.since or one.since or 0)
        for result, number in one.outcomes.items():
            whole.outcomes[result] = whole.outcomes.get(result, 0) + number
        for why, number in one.reasons.items():
            whole.reasons[why] = whole.reasons.get(why, 0) + number


def _listed(index: Index, by_name: Mapping[tuple[str, str], Spread]) -> list[Spread]:
    """What is published now; then the latest of what was, and of what routers have."""
    current, rest = [], []
    for channel in index.channels.values():
        there = []
        for entry in channel.entries:
            one = by_name.get((channel.type, entry.digest)) or Spread(channel.type, entry.sequence, entry.digest)
            one.channel, one.entry, one.sequence = channel.name, entry, entry.sequence
            one.since = entry.published
            there.append(one)
        if not there:
            continue
        *before, last = there
        current.append(last)
        rest += before
        _compare(last, before)
    rest += [one for one in by_name.values() if one.entry is None]
    rest.sort(key=lambda one: (not (one.in_force or one.outcomes), one.type, -one.sequence))
    return sorted(current, key=lambda one: (one.type, one.channel)) + rest[:MOST]


def _compare(last: Spread, before: Sequence[Spread]) -> None:
    """The steps of a rollout before the current document; or who still has what it halts."""

    def content(one: Spread) -> str:
        return one.entry.content if one.entry is not None else ""

    for one in reversed(before):
        if content(one) != content(last) or len(last.steps) == MAX_STEPS:
            break
        last.steps.append(one)
    halts = last.entry.halts if last.entry is not None else None
    bad = {content(one) for one in before if one.sequence == halts}
    if bad:
        last.left = sum(one.in_force for one in before if content(one) in bad)


async def _audience(store: Store, one: Spread, routers: int, now: int) -> int | None:
    """How many routers of the fleet a document is for. A region is in no report: None."""
    entry = one.entry
    if entry is None or any(name.startswith("region:") for name in entry.audience):
        return None
    if "*" in entry.audience:
        return routers
    names = {f"n{place}": name for place, name in enumerate(entry.audience)}
    kinds = {}
    for column, prefix in (("router", "router:"), ("model", "model:")):
        kinds[column] = ", ".join(f":{place}" for place, name in names.items() if name.startswith(prefix)) or "NULL"
    rows = await store.read(
        f"SELECT COUNT(*) AS n FROM router_state WHERE heard_at >= :fleet AND (router IN ({kinds['router']})"
        f" OR model IN ({kinds['model']}))", fleet=now - FLEET_S,
        **{place: name.partition(":")[2] for place, name in names.items()},
    )  # fmt: skip
    return int(rows[0]["n"])


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


async def _models(store: Store, one: Spread) -> None:
    """On which models it fails."""
    if not one.failed or not one.digest:
        return
    rows = await store.read(_MODELS, type=one.type, digest=one.digest, most=MODELS)
    one.models = [OfModel(row["model"], int(row["failed"]), int(row["n"])) for row in rows if row["failed"]]


async def _instructions(store: Store, found: Found, now: int) -> None:
    for row in await store.read(_INSTRUCTIONS, recent=now - RECENT_S):
        key = row["action"], row["state"]
        found.instructions[key] = found.instructions.get(key, 0) + int(row["n"])
        if row["state"] == REFUSED and row["why"]:
            found.instruction_reasons[row["action"], row["why"]] = int(row["n"])


_FLEET = """
SELECT COUNT(*) AS n, SUM(CASE WHEN heard_at < :silent THEN 1 ELSE 0 END) AS silent FROM router_state
WHERE heard_at >= :fleet
"""
_IN_FORCE = """
SELECT f.type, f.digest, f.sequence, COUNT(*) AS n, MIN(f.since) AS since,
    SUM(CASE WHEN d.router IS NULL THEN 1 ELSE 0 END) AS by_heartbeat,
    SUM(CASE WHEN r.heard_at < :quiet THEN 1 ELSE 0 END) AS silent
FROM router_in_force f JOIN router_state r ON r.router = f.router
LEFT JOIN router_document d ON d.router = f.router AND d.type = f.type AND d.digest = f.digest
    AND d.at >= :recent
WHERE r.heard_at >= :fleet GROUP BY f.type, f.digest, f.sequence ORDER BY {first}, n DESC, f.sequence DESC LIMIT :most
"""
_OUTCOMES = """
SELECT type, digest, sequence, result, why, COUNT(*) AS n, MIN(at) AS first FROM router_document
WHERE at >= :recent GROUP BY type, digest, sequence, result, why ORDER BY {first}, n DESC, sequence DESC LIMIT :most
"""
_RECENT = "SELECT type, result, COUNT(*) AS n FROM router_document WHERE at >= :since GROUP BY type, result"
_COURSE = """
SELECT (at - :since) / 3600 AS hour, result, COUNT(*) AS n FROM router_document
WHERE type IN (:type, '') AND digest = :digest AND at >= :since AND at < :until
GROUP BY 1, result
"""
_EXCUSED = ", ".join(f"'{why}'" for why in EXCUSED)
_MODELS = f"""
SELECT COALESCE(r.model, '') AS model, COUNT(*) AS n, SUM(CASE WHEN d.result <> 'applied' THEN 1 ELSE 0 END) AS failed
FROM router_document d LEFT JOIN router_state r ON r.router = d.router
WHERE d.type IN (:type, '') AND d.digest = :digest AND (d.result <> 'refused' OR d.why NOT IN ({_EXCUSED}))
GROUP BY 1 ORDER BY failed DESC, 1 LIMIT :most
"""
_INSTRUCTIONS = """
SELECT action, state, why, COUNT(*) AS n FROM desk_instruction WHERE made_at >= :recent GROUP BY action, state, why
ORDER BY n DESC LIMIT 200
"""
