"""Signed policies of the simulated ISP: one that is in force, and a step of the next that fails on one model.

Knows the command at the ISP, and the events of routers as they are on the wire. No router runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from cpe_filter.collect.store.base import Store
from cpe_filter.collect.store.sql_documents import Documents
from cpe_filter.collect.wire import Report
from tests.collect.publisher import MILD, STRICT, Isp
from tests.fleet.lives import Life

_HOUR, _PERMILLE, _SALT = 3600, 300, "spring"


def publish(folder: Path) -> Path:
    """The folder of `policy publish`, as if both had been published some time ago."""
    folder.mkdir()
    isp = Isp(folder)
    assert isp.publish(MILD) == isp.publish(STRICT, _PERMILLE) == 0
    index = json.loads((isp.web / "index.json").read_text())
    for entry, hours in zip(index["channels"]["routers"]["documents"], (300, 26), strict=True):
        entry["published"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * _HOUR))
    (isp.web / "index.json").write_text(json.dumps(index))
    return isp.web


async def report(store: Store, published: Path, lives: Sequence[Life], now: int, seed: int = 1) -> None:
    """What became of both on these routers, over the last 30 hours."""
    rng = Random(seed)
    index = json.loads((published / "index.json").read_text())
    old, new = (entry["digest"] for entry in index["channels"]["routers"]["documents"])
    made = Documents()
    worst = lives[0].model
    for life in lives:
        if life.silent or rng.random() < 0.05:  # one that does not fetch documents
            continue
        made.outcome(*_event(life, now - 29 * _HOUR, "applied", old, 1))
        if int.from_bytes(sha256((_SALT + life.router).encode()).digest(), "big") % 1000 >= _PERMILLE:
            continue
        at, luck = now - rng.randrange(24 * _HOUR), rng.random()
        if life.model == worst and luck < 0.4:
            made.outcome(*_event(life, at, "taken-back", new, 2, "relay" if luck < 0.3 else "collector"))
        elif luck > 0.95:
            made.outcome(*_event(life, at, "refused", new, 2, "agent"))
        elif luck > 0.93:
            made.outcome(*_event(life, at, "rolled-back", new, 2))
        else:
            made.outcome(*_event(life, at, "applied", new, 2))
    instructions = [(_ORDER, _order(n, lives[n].router, now)) for n in range(6)]
    await store.write([*((sql, row) for sql, rows in made.pairs() for row in rows), *instructions])


def _event(life: Life, at: int, result: str, doc: str, number: int, why: str = "") -> tuple[Report, dict[str, Any]]:
    sent = Report(life.router, None, at, life.boot, life.up, at, True, life.pol, life.ver, life.model, 0)
    event = {"up": life.up, "type": "policy", "doc": doc, "number": number, "result": result}
    return sent, {**event, **({"why": why} if why else {})}


def _order(n: int, router: str, now: int) -> dict[str, Any]:
    state, why = (("applied", None), ("applied", None), ("refused", "device"), ("sent", None))[n % 4]
    action = "exempt" if n % 3 == 2 else "release"
    return {"id": f"{n:016x}", "router": router, "action": action, "at": now - n * _HOUR, "state": state, "why": why}


_ORDER = """
INSERT INTO desk_instruction (id, case_id, router, dev, action, remark, made_at, made_by, sequence, expires_at, state,
    why, document)
VALUES (:id, 'none', :router, '0123456789abcdef', :action, '', :at, 'admin', 1, :at + 604800, :state, :why, '')
"""
