"""The cases of a filter as CSV (RFC 4180), in pieces, so that a large export needs little memory.

Knows CSV and the columns of a case. Must not know HTTP. Cells that a spreadsheet would take for a formula begin with an
apostrophe; every text is quoted. Names of devices and source ports are not in it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timezone
from typing import Any

from cpe_filter.collect.cases import query
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.store.base import Store
from cpe_filter.replay.spreadsheet import inert

#: Cases that are read at once.
_CHUNK = 500

COLUMNS = (
    "case", "state", "standing", "subscriber", "contact", "region", "line", "model", "router", "device", "vendor_oui",
    "assigned_to", "opened", "found", "notified", "acknowledged", "clean", "closed", "why", "first_seen", "last_seen",
    "incidents", "episodes", "connections", "networks", "messages", "recipients", "refused", "action", "indicators",
)  # fmt: skip


async def pieces(store: Store, ids: Sequence[str]) -> AsyncIterator[bytes]:
    """UTF-8. A case that no longer exists is left out. Raises `StoreError`."""
    yield _lines([COLUMNS])
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        found = await query.by_ids(store, chunk)
        yield _lines([_row(found[number]) for number in chunk if number in found])


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerows([inert(value) for value in row] for row in rows)
    return out.getvalue().encode(errors="replace")


def _row(case: Case) -> list[Any]:
    times = (case.opened_at, case.begun_at, case.notified_at, case.acknowledged_at, case.clean_at, case.closed_at)
    return [
        case.id, case.state, case.standing, case.subscriber, case.contact, case.region, case.line, case.model,
        case.router, case.dev, case.oui, case.assignee, *map(_time, times), case.why, _time(case.first_at),
        _time(case.last_at), case.incidents, case.episodes, case.conns, case.nets, case.msgs, case.rcpts, case.refused,
        case.act, " ".join(f"{name}:{number}" for name, number in sorted(case.ind.items())),
    ]  # fmt: skip


def _time(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
