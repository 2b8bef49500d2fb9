"""An incident -> a XARF v4 report, `infrastructure/botnet`. Pure, except for the schemas of the package `xarf`.

Knows XARF 4.2. Must not know files or the store. The same incident always gives the same report id, so that receivers
recognise a repetition. A report has the address, the port, the time and the evidence; neither subscriber nor device.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from datetime import datetime, timezone
from functools import cache
from ipaddress import ip_address
from typing import Any, NamedTuple

from cpe_filter.collect.cases.attribution import PREFIX, Held, Source
from cpe_filter.collect.export.export_rows import ExportRow
from cpe_filter.collect.subscribers.map import public
from cpe_filter.detect.evidence import INDICATORS

VERSION = "4.2.0"
#: The limit of the schema.
_MAX_TAGS = 20


class Reporter(NamedTuple):
    """The reporting organisation. contact: an e-mail address. confidence: 0 to 1, None to leave it out."""

    org: str
    contact: str
    domain: str
    confidence: float | None = None


class XarfError(Exception):
    """A report that violates the schema. The text says which field and why."""


def report(item: ExportRow, reporter: Reporter) -> dict[str, Any] | Held:
    """The report of an incident with a source. Raises `XarfError`: that is a bug here or in `reporter`."""
    source = item.source
    if isinstance(source, Held):
        return source
    if source.is_prefix:
        return Held(PREFIX)
    who = {"org": reporter.org, "contact": reporter.contact, "domain": reporter.domain}
    evidence = json.dumps(_evidence(item, source), separators=(",", ":")).encode()
    made: dict[str, Any] = {
        "xarf_version": VERSION,
        "report_id": report_id(item),
        "timestamp": _time(source.at),
        "reporter": who,
        "sender": who,
        "source_identifier": source.address,
        "category": "infrastructure",
        "type": "botnet",
        "evidence_source": "traffic_analysis",
        "bot_capabilities": ["spam"],
        "compromise_evidence": _summary(item),
        "description": "A device behind this address sends mail directly to mail servers of strangers.",
        "evidence": [
            {
                "content_type": "application/json",
                "description": "Evidence from its connections to port 25; counts of connections",
                "payload": base64.b64encode(evidence).decode(),
                "hash": f"sha256:{hashlib.sha256(evidence).hexdigest()}",
                "size": len(evidence),
            }
        ],
        "tags": [f"case:{item.case.id}", *(f"indicator:{name}" for name in _known(item))][:_MAX_TAGS],
    }
    if source.port is not None:
        made["source_port"] = source.port
    if reporter.confidence is not None:
        made["confidence"] = reporter.confidence
    check(made)
    return made


def report_id(item: ExportRow) -> str:
    """A UUID of version 4, as the schema requires, derived from the incident."""
    name = json.dumps(["xarf", item.case.router, item.incident["id"]]).encode()
    return str(uuid.UUID(bytes=hashlib.sha256(name).digest()[:16], version=4))


def check(made: dict[str, Any]) -> None:
    """Checks the schemas, and what they do not: a time with zone, a public address. Raises `XarfError`."""
    faults = [f"{fault.field}: {fault.message}" for fault in _validator().validate(made)]
    try:
        datetime.strptime(made["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, TypeError):
        faults.append("timestamp: not like 2026-11-24T12:00:00Z")
    try:
        if not public(ip_address(made["source_identifier"])):
            faults.append("source_identifier: not a public address")
    except ValueError:
        faults.append("source_identifier: not an address")
    if faults:
        raise XarfError("; ".join(faults)[:500])


@cache
def _validator() -> Any:
    from xarf import SchemaValidator

    return SchemaValidator()


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _known(item: ExportRow) -> list[str]:
    """Indicators that this program knows; a router could invent others."""
    return [name for name in sorted(item.incident["ind"]) if name in INDICATORS]


def _summary(item: ExportRow) -> str:
    seen = "; ".join(f"{INDICATORS[name].desk.rstrip('.')} ({item.incident['ind'][name]}x)" for name in _known(item))
    incident = item.incident
    return (
        f"{incident['conns']} connections to port 25 of {incident['nets']} new networks of mail servers,"
        f" {incident['rcpts']} recipients, {incident['msgs']} messages accepted, {incident['refused']}"
        f" connections refused by the filter. {seen}."
    )


def _evidence(item: ExportRow, source: Source) -> dict[str, Any]:
    incident = item.incident
    return {
        "first": _time(incident["first_at"]),
        "last": _time(incident["last_at"]),
        **{name: incident[name] for name in ("conns", "nets", "msgs", "rcpts", "refused", "act")},
        "indicators": {name: incident["ind"][name] for name in _known(item)},
        "protocol": "tcp",
        "destination_port": 25,
        "source_port": source.port,
    }
