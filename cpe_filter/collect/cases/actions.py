"""What people do with a case: acknowledge, close, reopen, note, notified. Each action is kept with its time and user.

Knows the tables of migrations/0002_cases.sql. Must not know HTTP.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from cpe_filter.collect.cases import funnel, history, model
from cpe_filter.collect.cases.history import ACKNOWLEDGED, ASSIGNED, CLOSED, NOTE, NOTIFIED, REOPENED, ActionKind
from cpe_filter.collect.cases.model import (
    ALLOWED_FROM,
    Case,
    CaseError,
    CaseNotFoundError,
    InvalidStateError,
)
from cpe_filter.collect.cases.query import find
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Statement, Store

#: Characters.
MAX_TEXT, MAX_USER = 2000, 100

#: The name of an action, as in URLs -> its kind.
KINDS: dict[str, ActionKind] = {
    "acknowledge": history.ACKNOWLEDGED,
    "notified": history.NOTIFIED,
    "confirm": history.CONFIRMED,
    "false-alarm": history.FALSE_ALARM,
    "close": history.CLOSED,
    "reopen": history.REOPENED,
    "note": history.NOTE,
}


async def acknowledge(store: Store, number: str, user: str, text: str = "", now: int | None = None) -> Case:
    """The desk or the subscriber works on it."""
    return await act(store, number, ACKNOWLEDGED, user, text, now)


async def close(store: Store, number: str, user: str, text: str = "", now: int | None = None) -> Case:
    """It is finished, until the device is found compromised again."""
    return await act(store, number, CLOSED, user, text, now)


async def reopen(store: Store, number: str, user: str, text: str = "", now: int | None = None) -> Case:
    """It was closed by mistake. What the filter closed cannot be reopened."""
    return await act(store, number, REOPENED, user, text, now)


async def note(store: Store, number: str, user: str, text: str, now: int | None = None) -> Case:
    """A remark."""
    if not text.strip():
        raise CaseError("a note needs text")
    return await act(store, number, NOTE, user, text, now)


async def notified(
    store: Store, number: str, user: str, text: str = "", now: int | None = None, by: audit.By | None = None
) -> Case:
    """The subscriber has been notified. user: the system or person that did it."""
    return await act(store, number, NOTIFIED, user, text, now, by)


async def assign(
    store: Store,
    number: str,
    user: str,
    assignee: str,
    text: str = "",
    now: int | None = None,
    by: audit.By | None = None,
) -> Case:
    """assignee: the user who works on the case from now on; "" for no one."""
    return await act(store, number, ASSIGNED, user, text, now, by, assignee)


async def act(
    store: Store,
    number: str,
    kind: ActionKind,
    user: str,
    text: str,
    now: int | None = None,
    by: audit.By | None = None,
    assignee: str | None = None,
) -> Case:
    """Does an action: the case after it. The audit log gets its line in the same transaction.

    by: how `user` came, for that line; None: by the page. What the collector does itself (via `audit.SERVICE`) is in
    the history of the case only.

    Raises `CaseNotFoundError`, `InvalidStateError`, `CaseError` (text too long, too many actions) and `StoreError`; so
    do all functions here.
    """
    at = int(time.time()) if now is None else now
    case, statements = await prepare(store, number, kind, user, text, at, assignee)
    by = by or audit.By(user)
    if by.via == audit.SERVICE:
        await store.write(statements)
    else:
        await audit.record(store, by, kind, case.id, text, at, statements)
    after = await find(store, case.id)
    if after is None:
        raise CaseNotFoundError(f"case {case.id} no longer exists")
    return after


async def prepare(
    store: Store,
    number: str,
    kind: ActionKind,
    user: str,
    text: str,
    at: int,
    assignee: str | None = None,
) -> tuple[Case, list[Statement]]:
    """Checks an action: the case before it, and the statements that do it, for one transaction with `audit.record`."""
    if (kind == ASSIGNED) != (assignee is not None) or len(assignee or "") > MAX_USER:
        raise CaseError(f"assigned needs an assignee of at most {MAX_USER} characters")
    if not user or len(user) > MAX_USER or len(text) > MAX_TEXT or not _is_storable(user + text + (assignee or "")):
        raise CaseError(f"user needs 1 to {MAX_USER} characters, text at most {MAX_TEXT}, Unicode without NUL")
    case = await find(store, number)
    if case is None:
        raise CaseNotFoundError(f"no case {number[:40]}")
    source = await read_source(store, case.id, at)
    before = history.fold(source.spells, source.actions)
    if not _is_allowed(kind, user, before):
        reason = f" ({before.episodes[-1].why})" if kind == REOPENED else ""
        raise InvalidStateError(f"case {case.id} is {before.state}{reason}")
    if len(source.actions) >= model.MAX_ACTIONS:
        raise CaseError(f"case {case.id} has {model.MAX_ACTIONS} actions")
    known = sorted(spell.incident for spell in source.spells)
    action = history.Action(secrets.token_hex(8), at, user, kind, text, frozenset(known), assignee)
    return case, [(_ACTION, _insert(case.id, action)), *_update(case.id, source, action)]


def _is_allowed(kind: ActionKind, user: str, before: history.History) -> bool:
    if kind in (NOTE, ASSIGNED):
        return True
    last = before.episodes[-1]
    if kind == REOPENED and last.why != history.DESK:
        return False
    if kind == NOTIFIED and history.channel(user) not in last.told:
        return before.state in history.ACTIVE  # the same subscriber, notified by one more channel
    if kind == history.BOUNCED:
        return before.state in history.ACTIVE and history.MAIL in last.told
    if kind == ACKNOWLEDGED and funnel.is_objection(last):
        return before.state in history.ACTIVE  # the desk has taken note
    return before.state in ALLOWED_FROM[kind]


@dataclass(frozen=True, slots=True)
class Source:
    """What the history of a case is computed from. changed_at: of its incidents. watch: of its router."""

    spells: list[history.Spell]
    actions: list[history.Action]
    changed_at: int
    watch: funnel.Watch


async def read_source(store: Store, number: str, now: int) -> Source:
    """The incidents of a case as they are now, and its actions."""
    rows = await store.read(
        "SELECT i.*, d.begun_at FROM desk_incident d"
        " JOIN incident i ON i.router = d.router AND i.id = d.incident"
        " WHERE d.case_id = :id ORDER BY i.opened_at DESC, i.id LIMIT :most", id=number, most=model.MAX_INCIDENTS,
    )  # fmt: skip
    if not rows:
        raise CaseNotFoundError(f"case {number} has no incident any more")
    marks = await store.read("SELECT value FROM desk_mark WHERE name = :name", name=funnel.MARK)
    days = int(marks[0]["value"]) if marks else funnel.CLEAN_DAYS
    watch = await read_watch(store, rows[0]["router"], now, days)
    spells = [spell(row, row["begun_at"]) for row in rows]
    return Source(spells, await read_actions(store, number), max(row["changed_at"] for row in rows), watch)


async def read_watch(store: Store, router: str, now: int, days: int) -> funnel.Watch:
    """Until when a router was heard."""
    rows = await store.read("SELECT heard_at FROM router_state WHERE router = :router", router=router)
    return funnel.Watch(min([now, *(row["heard_at"] for row in rows)]), days)


def spell(row: Row, begun: int) -> history.Spell:
    """row: of `incident`. begun: from when it counts."""
    return history.Spell(
        row["id"], begun, row["raised_at"], row["closed_at"], row["why"], row["last_at"], row["seen_at"],
        row["seen_home_at"], row["answered_at"], row["objected_at"], row["answer"],
    )  # fmt: skip


async def read_actions(store: Store, number: str) -> list[history.Action]:
    """The actions of a case, oldest first."""
    rows = await store.read("SELECT * FROM desk_case_action WHERE case_id = :id ORDER BY at, id", id=number)
    return [
        history.Action(
            row["id"], row["at"], row["who"], row["what"], row["text"], frozenset(json.loads(row["known"])),
            row["assignee"],
        )
        for row in rows
    ]  # fmt: skip


_ACTION = """
INSERT INTO desk_case_action (id, case_id, at, who, what, text, known, assignee)
VALUES (:id, :case_id, :at, :user, :kind, :text, :known, :assignee)
"""
#: Columns of desk_case that come from its history.
STATE_COLUMNS = (
    "state", "notified_at", "acknowledged_at", "clean_at", "closed_at", "why", "begun_at", "episodes", "told_at",
    "told_by", "seen_at", "seen_by", "answered_at", "answer", "objection", "clean_since", "relapsed_at",
)  # fmt: skip
_CHANGED = (*STATE_COLUMNS, "acted", "changed_at", "assignee")
_STATE = f"UPDATE desk_case SET {', '.join(f'{name} = :{name}' for name in _CHANGED)} WHERE id = :id"
_OF_HISTORY = ("number", "incident", "begun_at", "notified_at", "acknowledged_at", "clean_at", "closed_at", "why")
_EPISODE_COLUMNS = (
    *_OF_HISTORY, *(f"told_{channel}_at" for channel in history.CHANNELS), "told_at", "seen_at", "seen_by",
    "answered_at", "answer", "clean_since", "relapsed_at", "last_at", "outcome",
)  # fmt: skip
_EPISODE = (
    f"INSERT INTO desk_episode (case_id, {', '.join(_EPISODE_COLUMNS)})"
    f" VALUES (:case_id, {', '.join(':' + name for name in _EPISODE_COLUMNS)})"
)


def _update(number: str, source: Source, action: history.Action) -> list[Statement]:
    actions = [*source.actions, action]
    after = history.fold(source.spells, actions)
    found = funnel.clean(after, actions, source.watch)
    changed_at = max(source.changed_at, *(one.at for one in actions))
    values = {**state_columns(after, found), "acted": len(actions), "changed_at": changed_at, "id": number}
    values["assignee"] = history.assignee(actions)
    return [(_STATE, values), *replace_episodes(number, after, found)]


def state_columns(folded: history.History, found: list[funnel.Clean]) -> dict[str, Any]:
    """Columns of desk_case that come from the history."""
    last = folded.episodes[-1]
    names = ("begun_at", "notified_at", "acknowledged_at", "clean_at", "closed_at", "why")
    columns = {"state": folded.state, "episodes": len(folded.episodes), **{name: getattr(last, name) for name in names}}
    return {**columns, **funnel.case_columns(folded, found)}


def replace_episodes(number: str, folded: history.History, found: list[funnel.Clean]) -> list[Statement]:
    """Statements that replace the episodes of a case."""
    out: list[Statement] = [("DELETE FROM desk_episode WHERE case_id = :case_id", {"case_id": number})]
    for episode, clean in zip(folded.episodes, found, strict=True):
        values = {name: getattr(episode, name) for name in _OF_HISTORY}
        out.append((_EPISODE, {"case_id": number, **values, **funnel.episode_columns(episode, clean)}))
    return out


def keep(case: str, new: list[history.Action]) -> list[Statement]:
    """Statements that keep what the collector has observed of a case; what is known stays."""
    return [(f"{_ACTION} ON CONFLICT (id) DO NOTHING", _insert(case, one)) for one in new]


def _insert(case: str, action: history.Action) -> dict[str, Any]:
    return {**action._asdict(), "known": json.dumps(sorted(action.known)), "case_id": case}


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
