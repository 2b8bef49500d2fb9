"""Which routers one document ended at how: a part of a list, and what one router has.

Knows the tables router_document, router_in_force and router_state. Must not know HTML or HTTP. A list is in the order
of the routers' ids, and each part begins where the one before ended, so that it costs the same wherever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cpe_filter.collect.rollout.spread import FLEET_S, IN_FORCE, RESULTS, SILENT, SILENT_S
from cpe_filter.collect.store.base import Row, Store

#: What a list can be of.
LISTS = (IN_FORCE, SILENT, *RESULTS)
#: Documents of one router that are shown: in force, and outcomes, the latest.
MAX_IN_FORCE, MAX_OUTCOMES = 4, 12


class Ask(NamedTuple):
    """Of which document. type: "" where it is not known; such refusals are in each list of the digest. result: of
    LISTS. why: with this reason alone, "" for all. after: the last router of the part before. most: rows."""

    type: str
    digest: str
    result: str
    why: str = ""
    after: str = ""
    most: int = 50


async def listed(store: Store, ask: Ask, now: int) -> list[Row]:
    """router, model, ver, heard_at, sequence, result, why, at; at: since when it is in force, or the outcome's. Raises
    `StoreError`."""
    values = {"type": ask.type, "digest": ask.digest, "after": ask.after, "most": ask.most}
    if ask.result in (IN_FORCE, SILENT):
        quiet = " AND r.heard_at < :quiet" if ask.result == SILENT else ""
        limits = {"fleet": now - FLEET_S, **({"quiet": now - SILENT_S} if quiet else {})}
        return await store.read(_IN_FORCE.format(quiet=quiet), result=ask.result, **values, **limits)
    why = {"why": ask.why} if ask.why else {}
    also = " AND why = :why" if why else ""
    parts = [_PART.format(type=":type", why=also, name="typed")]
    if ask.type:
        parts.append(_PART.format(type="''", why=also, name="untyped"))
    sql = _OUTCOMES.format(parts=" UNION ALL ".join(parts))
    return await store.read(sql, result=ask.result, **values, **why)


async def of_routers(store: Store, routers: Sequence[str]) -> dict[str, tuple[list[Row], list[Row]]]:
    """Router -> what is in force (type, digest, sequence, since), and its outcomes, the latest first. routers: a few.
    Raises `StoreError`."""
    found = {}
    for router in routers:
        found[router] = (
            await store.read(_OWN_IN_FORCE, router=router, most=MAX_IN_FORCE),
            await store.read(_OWN_OUTCOMES, router=router, most=MAX_OUTCOMES),
        )
    return found


# Two parts, because one with both types could not be read in the order of its index.
_PART = """
SELECT * FROM (SELECT router, sequence, result, why, at FROM router_document
    WHERE type = {type} AND digest = :digest AND result = :result AND router > :after{why}
    ORDER BY router LIMIT :most) {name}
"""
_OUTCOMES = """
SELECT d.router, r.model, r.ver, r.heard_at, d.sequence, d.result, d.why, d.at
FROM ({parts}) d LEFT JOIN router_state r ON r.router = d.router ORDER BY d.router LIMIT :most
"""
_IN_FORCE = """
SELECT f.router, r.model, r.ver, r.heard_at, f.sequence, CAST(:result AS TEXT) AS result, NULL AS why, f.since AS at
FROM router_in_force f JOIN router_state r ON r.router = f.router
WHERE f.type = :type AND f.digest = :digest AND f.router > :after AND r.heard_at >= :fleet{quiet}
ORDER BY f.router LIMIT :most
"""
_OWN_IN_FORCE = """
SELECT type, digest, sequence, since FROM router_in_force WHERE router = :router AND digest <> '' ORDER BY type
LIMIT :most
"""
_OWN_OUTCOMES = """
SELECT type, digest, sequence, result, why, at FROM router_document WHERE router = :router ORDER BY at DESC, digest
LIMIT :most
"""
