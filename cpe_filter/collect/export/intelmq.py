"""An incident -> an event of IntelMQ's data format, as its JSON parser expects it. Pure.

Knows the names of IntelMQ 3.5's harmonisation. Must not know files or the store. IntelMQ runs inside the ISP, so the
event names the subscriber (`source.account`) and the case (`extra.case`).
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from cpe_filter.collect.cases.attribution import Held
from cpe_filter.collect.export.export_rows import ExportRow

FEED = "cpe-filter"


def event(item: ExportRow, provider: str = "") -> dict[str, Any] | Held:
    """The event of an incident with a source. provider: the ISP."""
    source = item.source
    if isinstance(source, Held):
        return source
    incident, case = item.incident, item.case
    made: dict[str, Any] = {
        "__type": "Event",
        "feed.name": FEED,
        "classification.taxonomy": "malicious-code",
        "classification.type": "infected-system",
        "classification.identifier": "spambot",
        "time.source": _time(source.at),
        "time.observation": _time(incident["changed_at"]),
        "source.network" if source.is_prefix else "source.ip": source.address,
        "source.account": case.subscriber,
        "protocol.transport": "tcp",
        "protocol.application": "smtp",
        "destination.port": 25,
        "event_description.text": "A device behind this address sends mail directly to mail servers of strangers.",
        "extra.case": case.id,
        "extra.incident": incident["id"],
        "extra.router": case.router,
        "extra.device": case.dev,
        "extra.state": case.state,
        "extra.action": incident["act"],
        "extra.indicators": sorted(incident["ind"]),
        "extra.first_seen": _time(incident["first_at"]),
        "extra.last_seen": _time(incident["last_at"]),
        "extra.connections": incident["conns"],
        "extra.networks": incident["nets"],
        "extra.recipients": incident["rcpts"],
        "extra.messages": incident["msgs"],
        "extra.refused": incident["refused"],
    }
    for name, value in (
        ("feed.provider", provider),
        ("source.port", source.port),
        ("source.asn", case.asn),
        ("extra.region", case.region),
        ("extra.contact", case.contact),
        ("extra.notified", None if case.told_at is None else _time(case.told_at)),
        ("extra.answer", case.answer),
    ):
        if value:
            made[name] = value
    return made


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+00:00")
