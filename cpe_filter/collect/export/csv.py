"""Incidents -> CSV for spreadsheets (RFC 4180): one line for each incident of a case. Pure.

Knows CSV. Must not know files or the store. Cells that a spreadsheet would take for a formula begin with an apostrophe;
every text is quoted. An incident without a source is included; `held` says why it has none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from cpe_filter.collect.cases.attribution import Held, Source
from cpe_filter.collect.export.export_rows import ExportRow
from cpe_filter.replay.spreadsheet import inert

COLUMNS = (
    "case", "state", "subscriber", "contact", "region", "line", "model", "asn", "router", "device", "vendor_oui",
    "name", "incident", "standing", "opened", "raised", "closed", "why", "first_seen", "last_seen", "connections",
    "networks", "messages", "recipients", "refused", "action", "indicators", "source", "source_port", "source_time",
    "held", "notified", "notified_by", "seen", "seen_by", "answered", "answer", "objection", "clean_since", "relapsed",
)  # fmt: skip


def text(items: Iterable[ExportRow], header: bool = True) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    if header:
        writer.writerow(COLUMNS)
    for item in items:
        writer.writerow([inert(value) for value in _row(item)])
    return out.getvalue()


def _row(item: ExportRow) -> list[Any]:
    case, incident = item.case, item.incident
    source = item.source if isinstance(item.source, Source) else None
    return [
        case.id, case.state, case.subscriber, case.contact, case.region, case.line, case.model, case.asn, case.router,
        case.dev, incident["oui"], incident["name"], incident["id"], incident["standing"],
        *(_time(incident[name]) for name in ("opened_at", "raised_at", "closed_at")),
        incident["why"], _time(incident["first_at"]), _time(incident["last_at"]),
        *(incident[name] for name in ("conns", "nets", "msgs", "rcpts", "refused", "act")),
        " ".join(f"{name}:{count}" for name, count in sorted(incident["ind"].items())),
        source.address if source else None, source.port if source else None, _time(source.at if source else None),
        item.source.why if isinstance(item.source, Held) else None,
        _time(case.told_at), case.told_by, _time(case.seen_at), case.seen_by, _time(case.answered_at), case.answer,
        case.objection, _time(case.clean_since), _time(case.relapsed_at),
    ]  # fmt: skip


def _time(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
