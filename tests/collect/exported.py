"""An item to export, for tests of the formats."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from cpe_filter.collect.cases.attribution import Held, Source
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.export.export_rows import ExportRow
from tests.collect.desks import TV
from tests.collect.reports import BOOT, NOW

SOURCE = Source(ip_address("8.8.1.1"), 40001, NOW - 30)


def item(source: Source | Held = SOURCE, of_case: dict[str, Any] | None = None, **of_incident: Any) -> ExportRow:
    case = Case(
        **{
            **dict.fromkeys(("incidents", "episodes", "conns", "nets", "msgs", "rcpts", "refused", "acted"), 7),
            **dict.fromkeys(("first_at", "last_at", "opened_at", "begun_at", "changed_at"), NOW),
            **dict.fromkeys(("notified_at", "acknowledged_at", "clean_at", "closed_at", "why")),
            "id": "0123456789abcdef", "router": "r1", "dev": TV, "subscriber": "S1", "region": "north",
            "line": "fibre-100", "model": "cpe-9", "contact": "crm:1", "asn": 64500, "oui": "b827eb", "state": "open",
            "standing": "compromised", "act": "explain", "ind": {"dnsbl-listed": 2},
            **(of_case or {}),
        }
    )  # fmt: skip
    incident = {
        "router": "r1", "id": "00000000000000aa", "dev": TV, "oui": "b827eb", "name": "tv", "kind": "raised",
        "standing": "compromised", "why": None, "act": "explain", "first_at": NOW - 90, "last_at": NOW - 10, "conns": 9,
        "nets": 8, "msgs": 1, "rcpts": 3, "refused": 4, "ind": {"dnsbl-listed": 2, "helo-dynamic": 9},
        "address": "192.0.2.7",
        "sp": [{"at": NOW - 30, "port": 40001, "family": 4}], "boot": BOOT, "seq": 2, "opened_at": NOW - 60,
        "raised_at": NOW - 30, "updated_at": NOW - 10, "closed_at": None, "changed_at": NOW,
        **of_incident,
    }  # fmt: skip
    return ExportRow(case, incident, source)
