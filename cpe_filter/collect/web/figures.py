"""The tables of the store -> the figures of the overview: plain numbers, and names that the pages escape.

Knows what each figure means; the queries are in `figures_sql`. Must not know HTML.

    compromised   subscribers with a compromised device; for a day: at its end (UTC)
    new           compromised for the first time on record
    recurring     compromised again after it had ended
    cleared       the last of their compromised devices became clean; over: that, or expired, or closed by the desk

A router without a known subscriber counts as one. Sums are over spells: the overlapping times of the devices of one
subscriber, joined, so that two bots in one home are one spell. A result is cached for a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cpe_filter.collect import indicators
from cpe_filter.collect.cases import funnel as stages
from cpe_filter.collect.cases import query
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.web import figures_sql, funnel
from cpe_filter.collect.web.funnel import Funnel

DAY = 86_400
#: Choices of the period, days.
PERIODS = (30, 90, 180)
#: Names in a list at most; the others are summed up.
MAX_NAMES = 12
#: Cases whose indicators are counted, the latest.
MAX_CASES = 20_000
#: Episodes in the funnel, the latest.
MAX_EPISODES = 200_000
MONTHS = 12
#: A heartbeat a day, and two hours of tolerance.
FRESH_S = 26 * 3600
#: Routers that reported within this time are the fleet.
FLEET_S = 30 * DAY
_CACHED_S = 60
_MAX_CACHED = 64


class View(NamedTuple):
    """What the overview shows: the last days, and one region, one model, or all if empty."""

    days: int = 30
    region: str = ""
    model: str = ""


class Share(NamedTuple):
    """A name with its count, and the number of routers with this name (None: unknown)."""

    name: str
    number: int
    routers: int | None = None


class Troubled(NamedTuple):
    """A router that dropped events, failed on packets, or lost its ruleset."""

    router: str
    model: str
    drops: int
    failures: int
    restored: int
    exempt: int
    heard_at: int


@dataclass(slots=True)
class Found:
    """days, months: `YYYY-MM-DD` or `YYYY-MM`; figures have the same index; see the module."""

    now: int
    days: list[str] = field(default_factory=list)
    compromised: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    recurring: list[int] = field(default_factory=list)
    cleared: list[int] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    months: list[Row] = field(default_factory=list)
    regions: list[Share] = field(default_factory=list)
    models: list[Share] = field(default_factory=list)
    #: The devices found within the period.
    funnel: Funnel = field(default_factory=Funnel)
    indicators: list[Share] = field(default_factory=list)
    cases: int = 0
    routers: int = 0
    #: age of the last heartbeat -> routers.
    heartbeats: list[Share] = field(default_factory=list)
    policies: list[Share] = field(default_factory=list)
    versions: list[Share] = field(default_factory=list)
    drops: int = 0
    dropping: int = 0
    exempt: int = 0
    exempting: int = 0
    failing: int = 0
    unwatched: int = 0
    unmapped: int = 0
    troubled: list[Troubled] = field(default_factory=list)
    #: to choose from.
    all_regions: list[str] = field(default_factory=list)
    all_models: list[str] = field(default_factory=list)


#: The model of a case is that of the subscriber map, or else as the router reports it.
_COLUMNS = {"region": "c.region", "model": query.MODEL_OF}


class Figures:
    """Computes figures, cached for a minute. One request computes, others wait for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: OrderedDict[View, Found] = OrderedDict()
        self._one = asyncio.Lock()

    async def of(self, view: View, now: int) -> Found:
        """Raises `StoreError`."""
        async with self._one:
            found = self._cache.get(view)
            if found is None or not found.now <= now < found.now + _CACHED_S:
                found = self._cache[view] = await compute(self._store, view, now)
            self._cache.move_to_end(view)
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
            return found


class _Query:
    """One computation: the filters as SQL, and their parameters."""

    def __init__(self, store: Store, view: View) -> None:
        self._store = store
        self._given = {name: value for name, value in (("region", view.region), ("model", view.model)) if value}
        #: For a query that has more conditions, and for one that has none. Names are fixed; values are parameters.
        terms = " AND ".join(f"{_COLUMNS[name]} = :{name}" for name in self._given)
        self.conditions, self.alone = (f"WHERE {terms} AND", f"WHERE {terms}") if terms else ("WHERE", "")
        months = " AND ".join(f"c.{name} = :{name}" for name in self._given)
        self.months = f"WHERE {months}" if months else ""

    async def __call__(self, text: str, words: dict[str, str] | None = None, **parameters: Any) -> list[Row]:
        filtered = "{where}" in text
        filled = text.format(**(words or {})) if words else text
        return await self._store.read(filled, **parameters, **(self._given if filtered else {}))


async def compute(store: Store, view: View, now: int) -> Found:
    """Computes all figures. Raises `StoreError`."""
    ask = _Query(store, view)
    found = Found(now)
    await _over_time(ask, found, view)
    since = now - view.days * DAY
    await _funnel(ask, found, since)
    rows = await ask(figures_sql.INDICATORS, {"where": ask.conditions}, since=since, most=MAX_CASES)
    found.cases = len(rows)
    found.indicators = await asyncio.to_thread(_mix, rows)
    await _fleet(ask, found)
    for by, out in (("region", found.regions), ("model", found.models)):
        rows = await ask(figures_sql.BY, {"where": ask.conditions, "by": _COLUMNS[by]})
        out += [Share(row["name"], row["count"]) for row in rows]
    found.models = _rates(found.models, await ask(figures_sql.FLEET_BY, {"by": "model"}, fleet=now - FLEET_S))
    found.regions = _few(found.regions)
    known = await query.choices(store)
    found.all_regions, found.all_models = known["regions"], known["models"]
    found.unmapped = int((await ask(figures_sql.UNMAPPED))[0]["count"])
    return found


async def _over_time(ask: _Query, found: Found, view: View) -> None:
    today = found.now // DAY
    since = (today - view.days + 1) * DAY
    rows = await ask(figures_sql.DAYS, {"where": ask.alone}, since=since)
    by_day = {int(row["day"]): row for row in rows}
    before = by_day.get(-1, {})
    level = int(before.get("new", 0)) + int(before.get("recurring", 0)) - int(before.get("ended", 0))
    for at in range(view.days):
        row = by_day.get(at, {})
        new, recurring, cleared, ended = (int(row.get(name, 0)) for name in ("new", "recurring", "cleared", "ended"))
        level += new + recurring - ended
        found.days.append(_day(since + at * DAY))
        found.new.append(new)
        found.recurring.append(recurring)
        found.cleared.append(cleared)
        found.over.append(ended)
        found.compromised.append(level)
    months = await ask(figures_sql.MONTHS, {"where": ask.months}, most=MONTHS)
    found.months = [
        {name: value if name == "month" else int(value or 0) for name, value in row.items()} for row in reversed(months)
    ]


async def _funnel(ask: _Query, found: Found, since: int) -> None:
    marks = await ask(figures_sql.CLEAN_DAYS, name=stages.MARK)
    days = int(marks[0]["value"]) if marks else stages.CLEAN_DAYS
    rows = await ask(figures_sql.FUNNEL, {"where": ask.conditions}, since=since, most=MAX_EPISODES)
    found.funnel = await asyncio.to_thread(funnel.funnel, rows, found.now, days)
    found.funnel.cut = len(rows) == MAX_EPISODES


async def _fleet(ask: _Query, found: Found) -> None:
    now = found.now
    times = {"day": now - FRESH_S, "three": now - 3 * DAY, "week": now - 7 * DAY, "fleet": now - FLEET_S}
    row = {name: int(value or 0) for name, value in (await ask(figures_sql.FLEET, None, **times))[0].items()}
    found.routers, found.drops, found.dropping = row["routers"], row["drops"], row["dropping"]
    found.exempt, found.exempting, found.failing = row["exempt"], row["exempting"], row["failing"]
    found.unwatched = row["unwatched"]
    ages = (("within a day", "fresh"), ("1 to 3 days ago", "late"), ("3 to 7 days ago", "later"))
    found.heartbeats = [Share(title, row[name]) for title, name in (*ages, ("longer ago, or never", "silent"))]
    for by, name in (("pol", "policies"), ("ver", "versions")):
        rows = await ask(figures_sql.FLEET_BY, {"by": by}, fleet=now - FLEET_S)
        setattr(found, name, _few([Share(one["name"], one["count"]) for one in rows]))
    found.troubled = [
        Troubled(
            one["router"],
            one["model"] or "",
            one["drops"],
            one["failures"] or 0,
            one["restored"] or 0,
            one["exempt"] or 0,
            one["heard_at"],
        )
        for one in await ask(figures_sql.BAD, fleet=now - FLEET_S)
    ]


def _mix(rows: list[Row]) -> list[Share]:
    """The number of cases with each indicator."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(indicators.read(row["ind"]).keys())
    return [Share(name, count) for name, count in counts.most_common(MAX_NAMES)]


def _rates(shares: list[Share], fleet: list[Row]) -> list[Share]:
    """Adds the number of routers of each model; models without a compromised device come last."""
    routers = {row["name"] or "": int(row["count"]) for row in fleet}
    known = {share.name for share in shares}
    every = [*shares, *(Share(name, 0) for name in routers if name not in known)]
    return _few([share._replace(routers=routers.get(share.name)) for share in every])


def _few(shares: list[Share]) -> list[Share]:
    if len(shares) <= MAX_NAMES:
        return shares
    rest = shares[MAX_NAMES - 1 :]
    routers = None if any(one.routers is None for one in rest) else sum(one.routers or 0 for one in rest)
    return [*shares[: MAX_NAMES - 1], Share(f"{len(rest)} others", sum(one.number for one in rest), routers)]


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
