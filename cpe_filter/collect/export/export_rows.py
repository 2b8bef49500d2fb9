"""The rows of an export: incidents of cases in which a device was compromised, each with its source.

Knows the tables and the subscriber map. Must not know formats or files. An incident that was only suspected is never
exported.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from cpe_filter.collect import indicators
from cpe_filter.collect.cases import attribution, model, query
from cpe_filter.collect.cases.attribution import Held, Source
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.subscribers.map import Subscribers

PAGE = 500


@dataclass(frozen=True, slots=True)
class ExportRow:
    """incident: a row of the table `incident`, `ind` and `sp` parsed."""

    case: Case
    incident: Row
    source: Source | Held


@dataclass(frozen=True, slots=True)
class Selection:
    """All given conditions must hold. since: when the incident was raised, POSIX seconds. case: an id. not_under: only
    what has not been exported under this mark. batch: only what is in this batch of mark `under`."""

    since: int | None = None
    case: str | None = None
    not_under: str | None = None
    under: str | None = None
    batch: int | None = None


async def export_rows(store: Store, subscribers: Subscribers, want: Selection, now: int) -> AsyncIterator[ExportRow]:
    """In the order in which the incidents were raised. Raises `StoreError`, `model.CaseNotFoundError`."""
    where, values = ["i.raised_at IS NOT NULL"], dict[str, Any]()
    if want.since is not None:
        where.append("i.raised_at >= :since")
        values["since"] = want.since
    if want.case is not None:
        case = await query.find(store, want.case)
        if case is None:
            raise model.CaseNotFoundError(f"no case {want.case[:40]}")
        where.append("d.case_id = :case")
        values["case"] = case.id
    if want.not_under is not None:
        where.append(_NOT_UNDER)
        values["mark"] = want.not_under
    if want.under is not None:
        where.append(_UNDER)
        values.update(mark=want.under, batch=want.batch)
    sql = f"{_SELECT} WHERE {' AND '.join(where)} AND {_AFTER} ORDER BY i.raised_at, i.router, i.id LIMIT :most"
    place = {"at": -1, "router": "", "id": ""}
    while rows := await store.read(sql, **values, **place, most=PAGE):
        found = await query.by_ids(store, [row["case_id"] for row in rows])
        for row in rows:
            case = found.get(row["case_id"])
            if case is not None:  # it has moved in the meantime: the next run finds it
                yield await _item(case, row, subscribers, now)
        last = rows[-1]
        place = {"at": last["raised_at"], "router": last["router"], "id": last["id"]}


async def _item(case: Case, row: Row, subscribers: Subscribers, now: int) -> ExportRow:
    incident = {**row, "ind": indicators.read(row["ind"]), "sp": json.loads(row["sp"] or "[]")}
    return ExportRow(case, incident, await attribution.source(incident, case.subscriber, subscribers, now))


_SELECT = (
    "SELECT i.*, d.case_id FROM incident i JOIN desk_incident d ON d.router = i.router AND d.incident = i.id"
    " AND d.case_id IS NOT NULL"
)
_AFTER = (
    "(i.raised_at > :at OR (i.raised_at = :at AND (i.router > :router OR (i.router = :router AND i.id > :id))))"
)  # fmt: skip
_EXPORTED = "EXISTS (SELECT 1 FROM desk_export x WHERE x.mark = :mark AND x.router = i.router AND x.incident = i.id"
_NOT_UNDER = f"NOT {_EXPORTED})"
_UNDER = f"{_EXPORTED} AND x.batch = :batch)"
