"""The ISP's side of the simulated weeks: who the subscribers are, and what was done about their cases and when.

Writes the map of subscribers, and actions as they stand in the store: with the time they would have been done at, which
the page's own buttons cannot do.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

from cpe_filter.collect.cases import actions, saved
from cpe_filter.collect.store.base import Statement, Store
from tests.fleet.lives import DAY, HOUR, NOTICES_SINCE, Life

_LINES = ("Fibre 100", "Fibre 500", "DSL 50", "Cable 250")
_DESK = ("anna", "boris")
_REMARKS = (
    "Called; will reset the box tonight.",
    "Firmware of the vendor is from 2019, no update to be had.\nAdvised to replace it.",
    "Subscriber says it is the neighbours' box on the guest network.",
    "Second time; sent the leaflet about side-loaded apps.",
)
_ACTION = """
INSERT INTO desk_case_action (id, case_id, at, who, what, text, known)
VALUES (:id, :case_id, :at, :who, :what, :text, :known)
"""
_EPISODES = """
SELECT e.case_id, e.number, e.begun_at, e.clean_at, e.closed_at FROM desk_episode e ORDER BY e.case_id, e.number
"""
_MEMBERS = "SELECT case_id, incident, begun_at FROM desk_incident WHERE case_id IS NOT NULL"


def write_map(path: Path, lives: list[Life], seed: int = 2) -> None:
    """The map of subscribers as a CSV file: all routers but every fortieth.

    Without addresses: whatever is public belongs to somebody.
    """
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["router", "subscriber", "region", "line", "contact", "asn"])
        for number, life in enumerate(lives, 1):
            if number % 40:
                who = f"S-{100_000 + number * 37}"
                row = [life.router, who, life.region, rng.choice(_LINES), f"crm/{who}", 64_496]
                writer.writerow(row)


async def act(store: Store, now: int, seed: int = 3) -> int:
    """What would have been done about the cases there are: how many actions. Then rebuild the cases."""
    rng = random.Random(seed)
    members: dict[str, list[dict[str, Any]]] = {}
    for row in await store.read(_MEMBERS):
        members.setdefault(row["case_id"], []).append(row)
    out: list[Statement] = []
    for row in await store.read(_EPISODES):
        ends = [row[name] for name in ("clean_at", "closed_at") if row[name] is not None]
        end = min([now, *ends])
        for at, who, what, text in _of_one(rng, row["begun_at"], end, now):
            known = sorted(one["incident"] for one in members.get(row["case_id"], ()) if one["begun_at"] <= at)
            action = {"id": f"{rng.getrandbits(64):016x}", "case_id": row["case_id"], "at": at, "who": who}
            out.append((_ACTION, {**action, "what": what, "text": text, "known": json.dumps(known)}))
    if out:
        await store.write(out)
    return len(out)


async def share_out(store: Store, now: int) -> None:
    """Gives some of the cases that are active to users, and saves a filter for all."""
    rows = await store.read("SELECT id FROM desk_case WHERE state IN ('open', 'recurring', 'notified') ORDER BY id")
    for place, row in enumerate(rows):
        if place % 3:
            await actions.assign(store, row["id"], "anna", "admin" if place % 3 == 1 else "anna", now=now)
    await saved.save(store, "anna", "North, objections", "need=objection&region=North", True, now)
    await saved.save(store, "admin", "TV boxes that came back", "need=relapsed&text=001e06", False, now)


def _of_one(rng: random.Random, begun: int, end: int, now: int) -> list[tuple[int, str, str, str]]:
    """One episode's actions: (at, who, what, text), each before its end."""
    out: list[tuple[int, str, str, str]] = []
    if begun < now - NOTICES_SINCE * DAY or rng.random() > 0.93:
        return out
    told = begun + int(rng.expovariate(1 / (2 * HOUR))) + 300
    channel = rng.choices(("mail", "webhook", ""), (60, 15, 25))[0]
    if channel:
        out.append((told, channel, "notified", ""))
        if channel == "mail" and rng.random() < 0.06:
            out.append((told + 900, "mail", "bounced", "5.1.1: the address does not exist"))
    if rng.random() < 0.12:
        out.append((told + 7200, rng.choice(_DESK), "notified", "By phone."))
    if rng.random() < 0.3:
        taken = told + int(rng.expovariate(1 / (16 * HOUR))) + 600
        by_desk = rng.random() < 0.8
        out.append((taken, rng.choice(_DESK) if by_desk else "crm", "acknowledged", ""))
        if by_desk:
            out.append((taken + 120, rng.choice(_DESK), "note", rng.choice(_REMARKS)))
    return [one for one in out if one[0] < end]
