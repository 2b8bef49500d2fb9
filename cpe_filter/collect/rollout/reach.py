"""Which routers a document concerns, of those in the store: counted with the same code by which a router decides.

Knows routers, their models, and which documents are in force. Must not know what a document asks for. A router's region
is in no report: it is taken from the map of subscribers, where that is a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cpe_filter.collect.store.base import Row, Store
from cpe_filter.signed.document import ALL, Document, Recipient, is_later

DAY = 86_400
#: Routers that reported within this time are the fleet, as on the fleet page.
FLEET_S = 30 * DAY
_CHUNK = 5000
#: Names in a list.
_MOST = 8

#: A router's id -> its region, "" if that is not known.
RegionOf = Callable[[str], str]

_ROUTERS = """
SELECT r.router, r.model, r.ver, f.digest, f.sequence FROM router_state r
LEFT JOIN router_in_force f ON f.router = r.router AND f.type = :type
WHERE r.heard_at >= :fleet AND r.router > :after ORDER BY r.router LIMIT :most
"""


@dataclass(slots=True)
class Reach:
    """routers: of the fleet. audience: that the document is for. first: of these, among the permille. old: of the
    first, with a version before min_agent: they refuse it. models, in_force: of the first. regionless: routers of
    which no region is known, where the audience names one."""

    routers: int = 0
    audience: int = 0
    first: int = 0
    old: int = 0
    regionless: int = 0
    models: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)
    in_force: Counter[str] = field(default_factory=Counter)


async def count(store: Store, made: Document, now: int, region_of: RegionOf | None = None) -> Reach:
    """Looks at each router of the fleet. Raises `StoreError`."""
    found = Reach()
    by_region = any(one.startswith("region:") for one in made.audience)
    after = ""
    while True:
        rows = await store.read(_ROUTERS, type=made.type, fleet=now - FLEET_S, after=after, most=_CHUNK)
        for row in rows:
            region = region_of(row["router"]) if region_of is not None else ""
            _count(found, made, row, region, by_region)
        if len(rows) < _CHUNK:
            return found
        after = rows[-1]["router"]


def _count(found: Reach, made: Document, row: Row, region: str, by_region: bool) -> None:
    found.routers += 1
    if by_region and not region:
        found.regionless += 1
    if not made.is_for(Recipient(row["router"], row["model"] or "", region)):
        return
    found.audience += 1
    if not made.is_rolled_out_to(row["router"]):
        return
    found.first += 1
    found.models[row["model"] or "unknown"] += 1
    if region:
        found.regions[region] += 1
    known = row["digest"]
    found.in_force["not reported" if known is None else str(row["sequence"]) if known else "none"] += 1
    if made.min_agent and is_later(made.min_agent, row["ver"]):
        found.old += 1


def lines(found: Reach, made: Document) -> list[str]:
    """For people."""
    part = f", {found.first:,} of them among the first {made.rollout_permille} of 1000"
    said = [
        f"routers: {found.routers:,} reported within {FLEET_S // DAY} days; {found.audience:,} in the audience"
        + (part if made.rollout_permille < ALL else "")
    ]
    if found.regionless:
        said.append(f"  the region of {found.regionless:,} is not known here: the map of subscribers (a file) has it")
    for what, counts in (("model", found.models), ("region", found.regions), (f"{made.type} now", found.in_force)):
        if counts:
            named = [f"{name[:64]!a} {count:,}" for name, count in counts.most_common(_MOST)]
            rest = sum(counts.values()) - sum(count for _, count in counts.most_common(_MOST))
            said.append(f"  by {what}: {', '.join(named)}" + (f", others {rest:,}" if rest else ""))
    if found.old:
        said.append(f"  {found.old:,} of them have a version before {made.min_agent} and refuse it")
    return said
