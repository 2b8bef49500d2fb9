"""Cases and rows of tables -> the JSON of `schemas`.

Knows names of columns and of properties. Must not know SQL or HTTP.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cpe_filter.collect.api import tokens
from cpe_filter.collect.api.times import written
from cpe_filter.collect.cases import history
from cpe_filter.collect.cases.model import Case, Detail
from cpe_filter.collect.cases.notice import Notice
from cpe_filter.collect.mail import outbox
from cpe_filter.collect.store.base import Row

Json = dict[str, Any]

#: What makes a version: what was decided, and what was sent. Not counts: decisions of the desk do not depend on them.
_VERSIONED = (
    "id", "state", "episodes", "begun_at", "notified_at", "acknowledged_at", "clean_at", "closed_at", "why", "acted",
    "answered_at", "answer", "objection", "assignee",
)  # fmt: skip
_FUNNEL = ("told_at", "seen_at", "answered_at", "clean_since", "relapsed_at")
#: Acts, by the kind of their action.
_ACTS = {
    history.ACKNOWLEDGED: "acknowledge",
    history.NOTIFIED: "notified",
    history.CLOSED: "close",
    history.REOPENED: "reopen",
    history.NOTE: "notes",
    history.ASSIGNED: "assign",
}


def version(case: Case, mails: int) -> str:
    """mails: notices of the case."""
    text = json.dumps([*(getattr(case, name) for name in _VERSIONED), mails])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def case_(case: Case, mails: int) -> Json:
    reopens = case.why == history.DESK
    return {
        "id": case.id,
        "version": version(case, mails),
        "state": case.state,
        "standing": case.standing,
        **{name: getattr(case, name) or None for name in ("subscriber", "contact", "region", "line", "model", "asn")},
        "router": case.router,
        "device": case.dev,
        "vendor_oui": case.oui,
        "action": case.act,
        "first_seen": written(case.first_at),
        "last_seen": written(case.last_at),
        "incidents": case.incidents,
        "episodes": case.episodes,
        "connections": case.conns,
        "networks": case.nets,
        "messages": case.msgs,
        "recipients": case.rcpts,
        "refused": case.refused,
        "indicators": dict(case.ind),
        **{name: written(getattr(case, name)) for name in ("opened_at", "begun_at")},
        **_ends(case),
        "closed_why": case.why,
        "changed_at": written(case.changed_at),
        **_funnel(case),
        "assignee": case.assignee or None,
        "told_by": case.told_by.split(),
        "objection": bool(case.objection),
        "allowed": sorted(
            _ACTS[kind] for kind in case.allowed if kind in _ACTS and (kind != history.REOPENED or reopens)
        ),
    }


def _funnel(of: Any) -> Json:
    of = of if isinstance(of, dict) else {name: getattr(of, name) for name in (*_FUNNEL, "answer")}
    return {**{name: written(of[name]) for name in _FUNNEL}, "answer": of["answer"]}


def _ends(of: Any) -> Json:
    names = ("notified_at", "acknowledged_at", "clean_at", "closed_at")
    return {name: written(of[name] if isinstance(of, dict) else getattr(of, name)) for name in names}


def detail(found: Detail, mails: Sequence[Row], orders: Sequence[Row]) -> Json:
    return {
        "case": case_(found.case, len(mails)),
        "episodes": [
            {
                "number": row["number"],
                "begun_at": written(row["begun_at"]),
                **_ends(row),
                **_funnel(row),
                "closed_why": row["why"],
            }
            for row in found.episodes
        ],
        "incidents": [_incident(row) for row in found.incidents],
        "history": [{"at": written(row["at"]), **{name: row[name] for name in ("who", "what", "text", "assignee")}}
                    for row in found.actions],
        "notifications": [
            {
                **{name: row[name] for name in ("id", "kind", "state", "why")},
                "at": written(row["at"]),
                "done_at": written(row["done_at"]),
            }
            for row in found.events
        ],
        "mails": [mail(row) for row in mails],
        "instructions": [_instruction(row) for row in orders],
    }  # fmt: skip


def _instruction(row: Row) -> Json:
    return {
        **{name: row[name] for name in ("id", "action", "made_by", "state", "why")},
        **{name: written(row[name]) for name in ("made_at", "expires_at", "sent_at", "done_at")},
        "until": written(row["until_at"]),
        "text": row["remark"],
    }


def _incident(row: Row) -> Json:
    return {
        **{name: row[name] for name in ("id", "standing", "why", "name", "address", "refused")},
        **{name: written(row[name]) for name in ("opened_at", "raised_at", "closed_at")},
        "first_seen": written(row["first_at"]),
        "last_seen": written(row["last_at"]),
        "connections": row["conns"],
        "networks": row["nets"],
        "messages": row["msgs"],
        "recipients": row["rcpts"],
        "indicators": dict(row["ind"]),
        "action": row["act"],
        "examples": [
            {"at": written(one["at"]), "source_port": one["port"], "family": one["family"]} for one in row["sp"]
        ],
    }


def mail(row: Row) -> Json:
    return {
        "id": row["id"],
        "case": row["case_id"],
        "subscriber": row["subscriber"],
        "state": row["state"],
        "made_by": row["made_by"] or None,
        **{name: written(row[name]) for name in ("made_at", "sent_at")},
        "next_at": written(row["next_at"]) if row["state"] == outbox.QUEUED else None,
        **{name: row[name] for name in ("tries", "status", "why")},
        "languages": row["languages"].split(),
    }


def figures(found: Any, states: dict[str, int], days: int) -> Json:
    """found: web.figures.Found."""
    funnel = found.funnel
    names = ("channels", "clean_days", "clean_without_notice", "waiting", "false_alarms", "cut")
    return {
        "days": days,
        "cases": states,
        "stages": [
            {
                **{name: getattr(one, name) for name in ("name", "devices", "homes", "of_homes", "median_s")},
                "of_devices": one.of,
            }
            for one in funnel.stages
        ],
        **{name: getattr(funnel, name) for name in names},
        "routers": found.routers,
    }


def notice(made: Notice) -> Json:
    return made._asdict()


def subscriber(row: Row) -> Json:
    return {**row, "last_seen": written(row["last_seen"])}


def audit_line(row: Row) -> Json:
    return {
        **{name: row[name] for name in ("n", "via", "what", "reason", "chain")},
        "at": written(row["at"]),
        "who": row["who"] or None,
        "case": row["case_id"] or None,
        "peer": row["peer"] or None,
    }


def token(row: Row, now: int) -> Json:
    times = {name: written(row[name]) for name in ("created_at", "expires_at", "revoked_at", "used_at")}
    return {**{name: row[name] for name in ("id", "name", "role")}, "state": tokens.state(row, now), **times}
