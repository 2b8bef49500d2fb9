"""Figures of signed documents -> the JSON of `schemas`.

Knows names of figures, columns and properties. Must not know SQL or HTTP.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cpe_filter.collect.api.times import written
from cpe_filter.collect.rollout.spread import RESULTS, Found, Spread
from cpe_filter.collect.store.base import Row

Json = dict[str, Any]

#: Names of a document's audience.
MAX_NAMES = 20


def version(answer: Json) -> str:
    """Changes with the figures, and not with the time."""
    text = json.dumps({**answer, "computed_at": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rollout(found: Found) -> Json:
    return {
        "computed_at": written(found.now),
        "routers": found.routers,
        "silent": found.silent,
        "halt_at": found.terms.halt_at,
        "published": found.has_index,
        "problem": found.problem or None,
        "documents": [_document(one, found) for one in found.documents],
        "without": dict(found.none),
        "instructions": [
            {"action": action, "state": state, "number": number}
            for (action, state), number in sorted(found.instructions.items())
        ],
    }


def _document(one: Spread, found: Found) -> Json:
    entry = one.entry
    numbers = (
        "in_force", "silent", "answered", "failed", "excused", "by_heartbeat", "audience", "expected", "not_heard",
        "left",
    )  # fmt: skip
    judged = one in found.current
    return {
        "type": one.type,
        "doc": one.digest,
        "number": one.sequence,
        "channel": one.channel or None,
        "state": entry.state if entry else None,
        "permille": entry.permille if entry else None,
        "for": list(entry.audience[:MAX_NAMES]) if entry else None,
        "halts": entry.halts if entry else None,
        "since": written(one.since),
        "verdict": one.verdict(found.terms.halt_at) if judged else None,
        **{name: getattr(one, name) for name in numbers},
        "reached_permille": one.reached,
        **{result.replace("-", "_"): one.outcomes.get(result, 0) for result in RESULTS},
        "reasons": [{"result": result, "why": why, "routers": number} for (result, why), number in one.reasons.items()],
        "models": [dict(zip(("model", "failed", "answered"), model, strict=True)) for model in one.models],
        "course": [dict(zip(("applied", "taken_back", "refused"), hour, strict=True)) for hour in one.course],
    }


def router(row: Row) -> Json:
    names = ("router", "model", "result", "why")
    return {
        **{name: row[name] for name in names},
        "version": row["ver"],
        "number": row["sequence"],
        "at": written(row["at"]),
        "heard_at": written(row["heard_at"]),
    }
