"""The store's tables -> the figures of the overview: plain numbers, and names that the pages escape.

Knows SQL, and what each figure means:

    compromised   subscribers of whom a device is compromised; on a day: at its end (UTC)
    new           compromised for the first time of which there is a record
    recurring     compromised again after having been over
    cleared       the last of their compromised devices became clean; over: that, or expired, or closed by the desk

A router that no subscriber is known for counts as one. Sums go over spells: the times of a subscriber's devices that
overlap, joined, so that two bots in one home are one spell. What is asked again within a minute is not computed again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cpe_filter.collect import indicators
from cpe_filter.collect.cases import query
from cpe_filter.collect.store.base import Row, Store

DAY = 86_400
#: Choices of the period, days.
PERIODS = (30, 90, 180)
#: Names in a list at most; the others are summed up.
MOST = 12
#: Cases whose indicators are counted, the latest.
MOST_CASES = 20_000
MONTHS = 12
#: A heartbeat a day, and some room for its slot to move.
FRESH_S = 26 * 3600
#: Routers heard of within so long are the fleet.
FLEET_S = 30 * DAY
_KEPT_S = 60
_MOST_KEPT = 64


class Wanted(NamedTuple):
    """What the overview is of: days up to now, and one region, one model, or all where empty."""

    days: int = 30
    region: str = ""
    model: str = ""


class Share(NamedTuple):
    """A name with how many there are, and how many routers there are of it (None: not known)."""

    name: str
    number: int
    routers: int | None = None


class Step(NamedTuple):
    """A step of the funnel: how many came so far, and the median of how long it took, seconds."""

    number: int
    median_s: int | None


class Bad(NamedTuple):
    """A router with something to look at."""

    router: str
    model: str
    drops: int
    failures: int
    restored: int
    exempt: int
    heard_at: int


@dataclass(slots=True)
class Found:
    """days, months: `YYYY-MM-DD` or `YYYY-MM` with the figures of the same place; see the module."""

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
    #: found, notified, acknowledged, clean; of the spells of devices that began within the period.
    funnel: list[Step] = field(default_factory=list)
    untold_clean: int = 0
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
    unmapped: int = 0
    bad: list[Bad] = field(default_factory=list)
    #: to choose from.
    all_regions: list[str] = field(default_factory=list)
    all_models: list[str] = field(default_factory=list)


# A spell: (who, number from 1, begun_at, over_at or NULL, clean).
_SPELLS = """
WITH one AS (
    SELECT CASE WHEN c.subscriber = '' THEN 'router ' || c.router ELSE 'of ' || c.subscriber END AS who,
        e.begun_at AS begun, COALESCE(e.clean_at, e.closed_at) AS over_at,
        CASE WHEN e.clean_at IS NULL THEN 0 ELSE 1 END AS clean
    FROM desk_episode e JOIN desk_case c ON c.id = e.case_id LEFT JOIN router_state r ON r.router = c.router {where}
),
before AS (
    SELECT who, begun, over_at, clean,
        MAX(COALESCE(over_at, 9000000000000)) OVER (
            PARTITION BY who ORDER BY begun, COALESCE(over_at, 9000000000000)
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS until
    FROM one
),
numbered AS (
    SELECT who, begun, over_at, clean,
        SUM(CASE WHEN until IS NULL OR until < begun THEN 1 ELSE 0 END) OVER (
            PARTITION BY who ORDER BY begun, COALESCE(over_at, 9000000000000)
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS number
    FROM before
),
spell AS (
    SELECT who, number, MIN(begun) AS begun, MIN(clean) AS clean,
        CASE WHEN COUNT(over_at) = COUNT(*) THEN MAX(over_at) ELSE NULL END AS over_at
    FROM numbered GROUP BY who, number
)
"""
_DAYS = (  # our own texts
    _SPELLS
    + """
SELECT day, SUM(new) AS new, SUM(recurring) AS recurring, SUM(cleared) AS cleared, SUM(ended) AS ended FROM (
    SELECT CASE WHEN begun < :since THEN -1 ELSE (begun - :since) / 86400 END AS day,
        CASE WHEN number = 1 THEN 1 ELSE 0 END AS new, CASE WHEN number = 1 THEN 0 ELSE 1 END AS recurring,
        0 AS cleared, 0 AS ended
    FROM spell
    UNION ALL
    SELECT CASE WHEN over_at < :since THEN -1 ELSE (over_at - :since) / 86400 END, 0, 0, clean, 1
    FROM spell WHERE over_at IS NOT NULL
) moment GROUP BY day
"""
)
_MONTHS = """
SELECT month, SUM(subscribers) AS subscribers, SUM(new) AS new, SUM(recurring) AS recurring, SUM(cleared) AS cleared,
    SUM(expired) AS expired, SUM(notified) AS notified, SUM(acknowledged) AS acknowledged, SUM(cleans) AS cleans,
    SUM(clean_s) AS clean_s
FROM desk_month c {where} GROUP BY month ORDER BY month DESC LIMIT :most
"""
_BY = """
SELECT name, COUNT(DISTINCT who) AS count FROM (
    SELECT {by} AS name, CASE WHEN c.subscriber = '' THEN 'router ' || c.router ELSE 'of ' || c.subscriber END AS who
    FROM desk_case c JOIN desk_episode e ON e.case_id = c.id LEFT JOIN router_state r ON r.router = c.router
    {where} e.clean_at IS NULL AND e.closed_at IS NULL
) active GROUP BY name ORDER BY count DESC, name LIMIT 500
"""
_FUNNEL = """
SELECT COUNT(*) AS found, COUNT(e.notified_at) AS told, COUNT(e.acknowledged_at) AS taken,
    SUM(CASE WHEN e.clean_at IS NOT NULL AND (e.notified_at IS NOT NULL OR e.acknowledged_at IS NOT NULL)
        THEN 1 ELSE 0 END) AS clean,
    SUM(CASE WHEN e.notified_at IS NOT NULL OR e.acknowledged_at IS NOT NULL THEN 1 ELSE 0 END) AS known,
    SUM(CASE WHEN e.clean_at IS NOT NULL AND e.notified_at IS NULL AND e.acknowledged_at IS NULL
        THEN 1 ELSE 0 END) AS untold
FROM desk_episode e JOIN desk_case c ON c.id = e.case_id LEFT JOIN router_state r ON r.router = c.router
{where} e.begun_at >= :since
"""
_MEDIAN = """
SELECT took FROM (
    SELECT took, ROW_NUMBER() OVER (ORDER BY took) AS place, COUNT(*) OVER () AS number FROM (
        SELECT e.{to} - e.begun_at AS took FROM desk_episode e JOIN desk_case c ON c.id = e.case_id
        LEFT JOIN router_state r ON r.router = c.router
        {where} e.begun_at >= :since AND e.{to} IS NOT NULL{more}
    ) span
) ranked WHERE place = (number + 1) / 2
"""
_INDICATORS = """
SELECT c.ind FROM desk_case c LEFT JOIN router_state r ON r.router = c.router
{where} c.last_at >= :since ORDER BY c.last_at DESC LIMIT :most
"""
_FLEET = """
SELECT COUNT(*) AS routers, SUM(drops) AS drops, SUM(CASE WHEN drops > 0 THEN 1 ELSE 0 END) AS dropping,
    SUM(exempt) AS exempt, SUM(CASE WHEN exempt > 0 THEN 1 ELSE 0 END) AS exempting,
    SUM(CASE WHEN failures > 0 THEN 1 ELSE 0 END) AS failing,
    SUM(CASE WHEN heartbeat_at >= :day THEN 1 ELSE 0 END) AS fresh,
    SUM(CASE WHEN heartbeat_at < :day AND heartbeat_at >= :three THEN 1 ELSE 0 END) AS late,
    SUM(CASE WHEN heartbeat_at < :three AND heartbeat_at >= :week THEN 1 ELSE 0 END) AS later,
    SUM(CASE WHEN heartbeat_at < :week OR heartbeat_at IS NULL THEN 1 ELSE 0 END) AS silent
FROM router_state c WHERE c.heard_at >= :fleet
"""
_FLEET_BY = """
SELECT c.{by} AS name, COUNT(*) AS count FROM router_state c WHERE c.heard_at >= :fleet
GROUP BY c.{by} ORDER BY count DESC, name LIMIT 500
"""
_BAD = """
SELECT router, model, drops, failures, restored, exempt, heard_at FROM router_state
WHERE heard_at >= :fleet AND (drops > 0 OR failures > 0 OR restored > 0)
ORDER BY CASE WHEN failures > 0 THEN 0 ELSE 1 END, drops DESC, router LIMIT 8
"""
_UNMAPPED = "SELECT COUNT(DISTINCT router) AS count FROM desk_case WHERE subscriber = ''"


#: A case's model is the map's of subscribers, or else what the router says (as in cases).
_COLUMNS = {"region": "c.region", "model": query.MODEL_OF}


class Figures:
    """Computes and remembers for a minute. Any number may ask at once: one computes, the others wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[Wanted, Found] = OrderedDict()
        self._one = asyncio.Lock()

    async def of(self, wanted: Wanted, now: int) -> Found:
        """Raises `StoreError`."""
        async with self._one:
            found = self._kept.get(wanted)
            if found is None or not found.now <= now < found.now + _KEPT_S:
                found = self._kept[wanted] = await compute(self._store, wanted, now)
            self._kept.move_to_end(wanted)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return found


class _Asking:
    """One computation: the filters as SQL, and their parameters."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self._store = store
        self._given = {name: value for name, value in (("region", wanted.region), ("model", wanted.model)) if value}
        #: For a query that has conditions of its own after it, and for one that has none. Names are ours, values not.
        terms = " AND ".join(f"{_COLUMNS[name]} = :{name}" for name in self._given)
        self.conditions, self.alone = (f"WHERE {terms} AND", f"WHERE {terms}") if terms else ("WHERE", "")
        months = " AND ".join(f"c.{name} = :{name}" for name in self._given)
        self.months = f"WHERE {months}" if months else ""

    async def __call__(self, text: str, words: dict[str, str] | None = None, **parameters: Any) -> list[Row]:
        filtered = "{where}" in text
        filled = text.format(**(words or {})) if words else text
        return await self._store.read(filled, **parameters, **(self._given if filtered else {}))


async def compute(store: Store, wanted: Wanted, now: int) -> Found:
    """All figures anew. Raises `StoreError`."""
    ask = _Asking(store, wanted)
    found = Found(now)
    await _over_time(ask, found, wanted)
    since = now - wanted.days * DAY
    await _funnel(ask, found, since)
    rows = await ask(_INDICATORS, {"where": ask.conditions}, since=since, most=MOST_CASES)
    found.cases = len(rows)
    found.indicators = await asyncio.to_thread(_mix, rows)
    await _fleet(ask, found)
    for by, out in (("region", found.regions), ("model", found.models)):
        rows = await ask(_BY, {"where": ask.conditions, "by": _COLUMNS[by]})
        out += [Share(row["name"], row["count"]) for row in rows]
    found.models = _rates(found.models, await ask(_FLEET_BY, {"by": "model"}, fleet=now - FLEET_S))
    found.regions = _few(found.regions)
    known = await query.choices(store)
    found.all_regions, found.all_models = known["regions"], known["models"]
    found.unmapped = int((await ask(_UNMAPPED))[0]["count"])
    return found


async def _over_time(ask: _Asking, found: Found, wanted: Wanted) -> None:
    today = found.now // DAY
    since = (today - wanted.days + 1) * DAY
    rows = await ask(_DAYS, {"where": ask.alone}, since=since)
    by_day = {int(row["day"]): row for row in rows}
    before = by_day.get(-1, {})
    level = int(before.get("new", 0)) + int(before.get("recurring", 0)) - int(before.get("ended", 0))
    for at in range(wanted.days):
        row = by_day.get(at, {})
        new, recurring, cleared, ended = (int(row.get(name, 0)) for name in ("new", "recurring", "cleared", "ended"))
        level += new + recurring - ended
        found.days.append(_day(since + at * DAY))
        found.new.append(new)
        found.recurring.append(recurring)
        found.cleared.append(cleared)
        found.over.append(ended)
        found.compromised.append(level)
    months = await ask(_MONTHS, {"where": ask.months}, most=MONTHS)
    found.months = [
        {name: value if name == "month" else int(value or 0) for name, value in row.items()} for row in reversed(months)
    ]


async def _funnel(ask: _Asking, found: Found, since: int) -> None:
    row = (await ask(_FUNNEL, {"where": ask.conditions}, since=since))[0]
    counts = {name: int(value or 0) for name, value in row.items()}
    found.untold_clean = counts["untold"]
    known = " AND (e.notified_at IS NOT NULL OR e.acknowledged_at IS NOT NULL)"
    medians = []
    for to, more in (("notified_at", ""), ("acknowledged_at", ""), ("clean_at", known)):
        rows = await ask(_MEDIAN, {"where": ask.conditions, "to": to, "more": more}, since=since)
        medians.append(int(rows[0]["took"]) if rows else None)
    found.funnel = [
        Step(counts["found"], None),
        # Who has taken it up has been told, whoever told him.
        Step(counts["known"], medians[0]),
        Step(counts["taken"], medians[1]),
        Step(counts["clean"], medians[2]),
    ]


async def _fleet(ask: _Asking, found: Found) -> None:
    now = found.now
    times = {"day": now - FRESH_S, "three": now - 3 * DAY, "week": now - 7 * DAY, "fleet": now - FLEET_S}
    row = {name: int(value or 0) for name, value in (await ask(_FLEET, None, **times))[0].items()}
    found.routers, found.drops, found.dropping = row["routers"], row["drops"], row["dropping"]
    found.exempt, found.exempting, found.failing = row["exempt"], row["exempting"], row["failing"]
    ages = (("within a day", "fresh"), ("1 to 3 days ago", "late"), ("3 to 7 days ago", "later"))
    found.heartbeats = [Share(title, row[name]) for title, name in (*ages, ("longer ago, or never", "silent"))]
    for by, name in (("pol", "policies"), ("ver", "versions")):
        rows = await ask(_FLEET_BY, {"by": by}, fleet=now - FLEET_S)
        setattr(found, name, _few([Share(one["name"], one["count"]) for one in rows]))
    found.bad = [
        Bad(
            one["router"],
            one["model"] or "",
            one["drops"],
            one["failures"] or 0,
            one["restored"] or 0,
            one["exempt"] or 0,
            one["heard_at"],
        )
        for one in await ask(_BAD, fleet=now - FLEET_S)
    ]


def _mix(rows: list[Row]) -> list[Share]:
    """In how many cases each indicator was seen."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(indicators.read(row["ind"]).keys())
    return [Share(name, count) for name, count in counts.most_common(MOST)]


def _rates(shares: list[Share], fleet: list[Row]) -> list[Share]:
    """With how many routers of the model there are; models of which none is compromised come last."""
    routers = {row["name"] or "": int(row["count"]) for row in fleet}
    known = {share.name for share in shares}
    every = [*shares, *(Share(name, 0) for name in routers if name not in known)]
    return _few([share._replace(routers=routers.get(share.name)) for share in every])


def _few(shares: list[Share]) -> list[Share]:
    if len(shares) <= MOST:
        return shares
    rest = shares[MOST - 1 :]
    routers = None if any(one.routers is None for one in rest) else sum(one.routers or 0 for one in rest)
    return [*shares[: MOST - 1], Share(f"{len(rest)} others", sum(one.number for one in rest), routers)]


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
