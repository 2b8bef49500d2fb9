"""Reports -> rows and the statements that store them, the same for both engines.

Knows the tables of migrations/. Must not know an engine. Reports arrive more than once, late and in any order, so each
statement is idempotent: a stored event is ignored; the row of an incident is replaced only by a later event (by seq
within a boot, by time across boots); opened_at, raised_at and the times of the notice are the earliest seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from cpe_filter.collect import indicators
from cpe_filter.collect.store.sql_documents import Documents
from cpe_filter.collect.wire import Event, Report

Rows = list[dict[str, Any]]

REPORT = """
INSERT INTO report (router, boot, seq, received, at, kind, incident, address, body)
VALUES (:router, :boot, :seq, :received, :at, :kind, :incident, :address, :body)
ON CONFLICT (router, boot, seq) DO NOTHING
"""

_LATER = (
    "(CASE WHEN excluded.boot = incident.boot THEN excluded.seq > incident.seq"
    " ELSE excluded.updated_at > incident.updated_at END)"
)
_STATE = (
    "dev", "kind", "standing", "why", "act", "first_at", "last_at", "conns", "nets", "msgs", "rcpts", "refused",
    "ind", "address", "boot", "seq", "updated_at", "closed_at",
)  # fmt: skip
#: Columns that only some events have: the latest value stays.
_OPTIONAL = ("oui", "name", "sp", "sub", "serves", "class", "notice", "answer")
#: Columns of which the earliest time stays.
_FIRST = ("opened_at", "raised_at", "seen_at", "seen_home_at", "answered_at", "objected_at")
_ALL = ("router", "id", *_STATE, *_OPTIONAL, *_FIRST, "changed_at")


def _incident() -> str:
    sets = [f"{name} = CASE WHEN {_LATER} THEN excluded.{name} ELSE incident.{name} END" for name in _STATE]
    sets += [
        f"{name} = CASE WHEN {_LATER} THEN COALESCE(excluded.{name}, incident.{name})"
        f" ELSE COALESCE(incident.{name}, excluded.{name}) END"
        for name in _OPTIONAL
    ]
    sets += [
        f"{name} = CASE WHEN incident.{name} IS NULL OR excluded.{name} < incident.{name}"
        f" THEN excluded.{name} ELSE incident.{name} END"
        for name in _FIRST
    ]
    sets.append("changed_at = excluded.changed_at")
    # A repetition is not a change.
    news = [_LATER, *(f"excluded.{name} < incident.{name}" for name in _FIRST)]
    news += [f"(incident.{name} IS NULL AND excluded.{name} IS NOT NULL)" for name in (*_FIRST[1:], *_OPTIONAL)]
    return (
        f"INSERT INTO incident ({', '.join(_ALL)}) VALUES ({', '.join(':' + name for name in _ALL)})\n"
        f"ON CONFLICT (router, id) DO UPDATE SET\n    {(',' + chr(10) + '    ').join(sets)}\n"
        f"WHERE {' OR '.join(news)}\n"
    )


INCIDENT = _incident()

# A report that arrives late (a retry, a queue) must not replace a later one.
ROUTER = """
INSERT INTO router_state (router, address, boot, up, heard_first, heard_at, clock_off, ver, pol, model, dropped, drops)
VALUES (:router, :address, :boot, :up, :heard_at, :heard_at, :clock_off, :ver, :pol, :model, :dropped, :dropped)
ON CONFLICT (router) DO UPDATE SET
    address = excluded.address, boot = excluded.boot, up = excluded.up,
    heard_at = CASE WHEN excluded.heard_at > router_state.heard_at
        THEN excluded.heard_at ELSE router_state.heard_at END,
    clock_off = excluded.clock_off, ver = excluded.ver, pol = excluded.pol,
    model = COALESCE(excluded.model, router_state.model), dropped = excluded.dropped,
    drops = router_state.drops + CASE WHEN excluded.boot <> router_state.boot THEN excluded.dropped
        WHEN excluded.dropped > router_state.dropped THEN excluded.dropped - router_state.dropped ELSE 0 END
WHERE (excluded.boot = router_state.boot AND excluded.up >= router_state.up)
    OR (excluded.boot <> router_state.boot AND excluded.heard_at >= router_state.heard_at)
"""

HEARTBEAT = """
UPDATE router_state SET heartbeat_at = :at, devices = :devices, suspected = :suspected, compromised = :compromised,
    exempt = :exempt, mode = :mode, fail = :fail, packets = :packets, failures = :failures, restored = :restored,
    ways = :ways, unusual = :unusual, submitters = :submitters, submission = :submission
WHERE router = :router AND (heartbeat_at IS NULL OR heartbeat_at <= :at)
"""

INSTRUCTION = """
UPDATE desk_instruction SET state = :state, why = :why, done_at = :at, document = ''
WHERE router = :router AND id = :id AND state IN ('queued', 'sent', 'expired')
"""


def rows(reports: Sequence[Report]) -> list[tuple[str, Rows]]:
    """Statements, each with the rows to run it for, in this order. Rows are in the order of their keys, so that two
    writers wait for each other instead of running into a deadlock."""
    events: Rows = []
    incidents: Rows = []
    routers: Rows = []
    heartbeats: Rows = []
    instructions: Rows = []
    documents = Documents()
    for report in reports:
        routers.append(_router(report))
        for event in report.events:
            events.append(_event(report, event))
            if event["kind"] == "heartbeat":
                heartbeats.append(_heartbeat(report, event))
                documents.heartbeat(report, event)
            elif event["kind"] == "document":
                documents.outcome(report, event)
            elif event["kind"] == "instruction":
                instructions.append(_instruction(report, event))
            else:
                incidents.append(_incident_row(report, event))
    events.sort(key=lambda row: (row["router"], row["boot"], row["seq"]))
    incidents.sort(key=lambda row: (row["router"], row["id"], row["updated_at"], row["seq"]))
    routers.sort(key=lambda row: row["router"])  # stable: the reports of one router stay in order
    heartbeats.sort(key=lambda row: (row["router"], row["at"]))
    instructions.sort(key=lambda row: (row["router"], row["id"]))
    pairs = [(REPORT, events), (INCIDENT, incidents), (ROUTER, routers), (HEARTBEAT, heartbeats)]
    pairs += [(INSTRUCTION, instructions), *documents.pairs()]
    return [(statement, values) for statement, values in pairs if values]


def _event(report: Report, event: Event) -> dict[str, Any]:
    return {
        "router": report.router,
        "boot": report.boot,
        "seq": event["seq"],
        "received": report.received,
        "at": report.at(event["up"]),
        "kind": event["kind"],
        "incident": event.get("id"),
        "address": report.address,
        "body": _json(event),
    }


def _incident_row(report: Report, event: Event) -> dict[str, Any]:
    at = report.at(event["up"])
    examples = [{"at": report.at(x["up"]), "port": x["port"], "family": x["family"]} for x in event.get("sp", ())]
    return {
        "router": report.router,
        "id": event["id"],
        "dev": event["dev"],
        "oui": event.get("oui"),
        "name": event.get("name"),
        "kind": event["kind"],
        "standing": event["standing"],
        "why": event.get("why") if event["kind"] == "closed" else None,
        "act": event["act"],
        "first_at": report.at(event["first"]),
        "last_at": report.at(event["last"]),
        "conns": event["conns"],
        "nets": event["nets"],
        "msgs": event["msgs"],
        "rcpts": event["rcpts"],
        "refused": event["refused"],
        "ind": _json(indicators.counts(event["ind"])),
        "sp": _json(examples) if examples else None,
        "sub": _json(event["sub"]) if "sub" in event else None,
        "serves": int(event["serves"]) if "serves" in event else None,
        "class": event.get("class"),
        "notice": _json(event["notice"]) if "notice" in event else None,
        **_notice(event.get("notice", {}), at),
        "address": report.address,
        "boot": report.boot,
        "seq": event["seq"],
        "opened_at": at,
        "raised_at": at if event["standing"] == "compromised" else None,
        "updated_at": at,
        "closed_at": at if event["kind"] == "closed" else None,
        "changed_at": report.received,
    }


def _notice(notice: Any, at: int) -> dict[str, Any]:
    """What became of the notice, at the latest at `at`."""
    own, others = notice.get("answer"), notice.get("others_seen", False)
    return {
        "answer": own or ("seen" if others else None),
        "seen_at": at if notice.get("shown") or own else None,
        "seen_home_at": at if notice.get("others") or others else None,
        "answered_at": at if own or others else None,
        "objected_at": at if own in ("server", "mistake") else None,
    }


def _router(report: Report) -> dict[str, Any]:
    return {
        "router": report.router,
        "address": report.address,
        "boot": report.boot,
        "up": report.up,
        "heard_at": report.received,
        "clock_off": report.t - report.received if report.synced and report.t is not None else None,
        "ver": report.ver,
        "pol": report.pol,
        "model": report.model,
        "dropped": report.dropped,
    }


def _heartbeat(report: Report, event: Event) -> dict[str, Any]:
    names = ("devices", "suspected", "compromised", "mode", "fail", "packets", "failures", "restored")
    return {
        "router": report.router,
        "at": report.at(event["up"]),
        "exempt": event.get("exempt"),
        "ways": len(event.get("ways", ())) + len(event.get("unlisted", ())),
        "unusual": event.get("unusual", 0),
        "submitters": len(event.get("sub", ())),
        "submission": _json(event["sub"]) if "sub" in event else None,
        **{name: event[name] for name in names},
    }


def _instruction(report: Report, event: Event) -> dict[str, Any]:
    return {
        "router": report.router,
        "id": event["doc"],
        "state": event["result"],
        "why": event.get("why"),
        "at": report.at(event["up"]),
    }


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


_NAMED = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")


def percent(sql: str) -> str:
    """`:name` as psycopg's `%(name)s`."""
    return _NAMED.sub(r"%(\1)s", sql)
