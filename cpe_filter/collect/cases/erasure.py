"""Erases what the store has of one subscriber (GDPR, Article 17), before retention would.

Knows the tables of reports and cases. Must not know people or pages. A router that has cases of this subscriber alone
goes entirely; of one that was another's too, the incidents of this subscriber's cases. The audit log keeps its lines,
each of which the next one's chain needs. What a router reports afterwards comes back: see docs/privacy.md.
"""

from __future__ import annotations

from typing import NamedTuple

from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Statement, Store

_CASES = "SELECT id FROM desk_case WHERE subscriber = :subscriber"
_WHOLE = (
    "SELECT router FROM desk_case WHERE subscriber = :subscriber AND router NOT IN"
    " (SELECT router FROM desk_case WHERE subscriber <> :subscriber)"
)
_INCIDENTS = f"SELECT incident FROM desk_incident d WHERE d.router = {{0}}.router AND d.case_id IN ({_CASES})"
#: Tables, and which of their rows are the subscriber's, in an order in which no row is missed: what others are found by
#: goes last.
_ROWS = (
    ("report", f"router IN ({_WHOLE}) OR incident IN ({_INCIDENTS.format('report')})"),
    ("desk_export", f"router IN ({_WHOLE}) OR incident IN ({_INCIDENTS.format('desk_export')})"),
    ("incident", f"router IN ({_WHOLE}) OR id IN ({_INCIDENTS.format('incident')})"),
    (
        "compromised_month",
        f"router IN ({_WHOLE}) OR EXISTS (SELECT 1 FROM desk_case c WHERE c.subscriber = :subscriber AND"
        " c.router = compromised_month.router AND c.dev = compromised_month.dev)",
    ),
    *((table, f"router IN ({_WHOLE})") for table in ("router_state", "router_document", "router_in_force")),
    ("desk_instruction", f"router IN ({_WHOLE}) OR case_id IN ({_CASES})"),
    ("desk_incident", f"router IN ({_WHOLE}) OR case_id IN ({_CASES})"),
    *(
        (table, f"case_id IN ({_CASES})")
        for table in ("desk_episode", "desk_case_action", "desk_event", "desk_batch_case", "api_claim")
    ),
    ("desk_case_alias", f"id IN ({_CASES})"),
    ("desk_mail", f"subscriber = :subscriber OR case_id IN ({_CASES})"),
    ("desk_case", "subscriber = :subscriber"),
)


class Erased(NamedTuple):
    """cases, routers: how many. rows: table -> rows, where there are any."""

    cases: int
    routers: int
    rows: dict[str, int]


async def found(store: Store, subscriber: str) -> Erased:
    """What `erase` would delete now. Raises `StoreError`."""
    rows = {}
    for table, mine in _ROWS:
        count = await store.read(f"SELECT COUNT(*) AS n FROM {table} WHERE {mine}", subscriber=subscriber)
        rows[table] = int(count[0]["n"])
    routers = await store.read(f"SELECT COUNT(DISTINCT router) AS n FROM ({_WHOLE}) w", subscriber=subscriber)
    return Erased(rows["desk_case"], int(routers[0]["n"]), {table: n for table, n in rows.items() if n})


async def erase(store: Store, subscriber: str, by: audit.By, now: int) -> Erased:
    """Deletes all of it in one transaction, with a line in the audit log that does not name the subscriber.

    Raises `StoreError`; then nothing was deleted.
    """
    before = await found(store, subscriber)
    if not before.cases:
        return before
    work: list[Statement] = [(f"DELETE FROM {table} WHERE {mine}", {"subscriber": subscriber}) for table, mine in _ROWS]
    text = f"cases {before.cases}, routers {before.routers}"
    counts = await audit.record(store, by, "erase", "", text, now, also=work)
    rows = {table: count for (table, _), count in zip(_ROWS, counts, strict=True) if count}
    return before._replace(cases=rows.get("desk_case", 0), rows=rows)
