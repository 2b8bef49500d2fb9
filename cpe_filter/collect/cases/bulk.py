"""One action on many cases: chosen, confirmed, done case by case, and kept with what became of each.

Knows the tables desk_batch and desk_batch_case. Must not know HTTP, or how a notice is sent (`Mailer`). Each case is
one transaction, which also marks the case as done in the batch: an interrupted batch says exactly which cases were
done. A batch is confirmed once, so a second click does nothing. It remains in the store as a record of who did what.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple

from cpe_filter.collect.cases import actions, history
from cpe_filter.collect.cases.actions import KINDS, MAX_TEXT
from cpe_filter.collect.cases.model import CaseError
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Statement, Store, UnstorableError
from cpe_filter.collect.users import NAME

#: Cases of one batch.
MAX_CASES = 1000
#: Batches of one user that wait to be confirmed; older ones are dropped.
MAX_DRAFTS = 20
#: A batch that has done nothing for so long was interrupted, seconds.
STALE_S = 90

ASSIGN, MAIL = "assign", "mail"
#: Every action on many cases, by the name that it has in URLs.
ACTIONS = (ASSIGN, MAIL, *KINDS)
#: Actions that need a reason.
WITH_REASON = ("confirm", "false-alarm", "close", "reopen", "note")

ItemState = Literal["waiting", "done", "refused"]
WAITING: Literal["waiting"] = "waiting"
DONE: Literal["done"] = "done"
REFUSED: Literal["refused"] = "refused"

#: The id of a case, the user, POSIX seconds -> the statements that queue its notice. Raises `CaseError`.
Mailer = Callable[[str, str, int], Awaitable[list[Statement]]]

_log = logging.getLogger("cpe_filter.collect.cases.bulk")


class BulkError(Exception):
    """What was ordered cannot be done on any case; the text says why."""


class Order(NamedTuple):
    """action: of `ACTIONS`. reason: kept in the history of each case. assignee: of `assign`; "": not assigned."""

    action: str
    reason: str = ""
    assignee: str = ""


class Item(NamedTuple):
    """A case of a batch. why: of refused, a sentence without its full stop. at: POSIX seconds of the last change."""

    case: str
    state: ItemState
    why: str
    at: int


class Batch(NamedTuple):
    """query: the filter that selected the cases, as in a URL, "" where each was chosen. order: None until it is
    confirmed. begun_at, done_at: POSIX seconds; done_at is None while cases wait."""

    id: str
    made_at: int
    made_by: str
    query: str
    order: Order | None
    begun_at: int | None
    done_at: int | None
    items: list[Item]

    def of(self, state: ItemState) -> list[Item]:
        return [item for item in self.items if item.state == state]

    def is_interrupted(self, now: int) -> bool:
        """Whether cases wait and nothing has been done for a while."""
        if self.begun_at is None or self.done_at is not None:
            return False
        return now - max([self.begun_at, *(item.at for item in self.items)]) > STALE_S


def problem(order: Order) -> str | None:
    """Why an order cannot be done on any case; None if it can."""
    if order.action not in ACTIONS:
        return f"action is {order.action[:40]!a}; allowed: {', '.join(ACTIONS)}"
    if order.action in WITH_REASON and not order.reason.strip():
        return f"{order.action} needs a reason"
    if len(order.reason) > MAX_TEXT:
        return f"a reason has at most {MAX_TEXT} characters"
    if order.action != ASSIGN and order.assignee:
        return f"an assignee is for {ASSIGN}"
    if order.assignee and not NAME.fullmatch(order.assignee):
        return "an assignee is the name of a user"
    return None


async def apply(
    store: Store,
    by: audit.By,
    ids: Sequence[str],
    action: str,
    reason: str = "",
    *,
    assignee: str = "",
    mailer: Mailer | None = None,
    now: int | None = None,
) -> Batch:
    """Does an action on cases at once: what became of each. by: the person, and how the action came. Raises
    `BulkError`, `StoreError`."""
    order = Order(action, reason, assignee)
    if why := problem(order):
        raise BulkError(why)
    at = _time(now)
    number = await draft(store, by.who, ids, "", at)
    await confirm(store, number, by, order, at)
    await run(store, number, by, mailer, now)
    found = await find(store, number)
    if found is None:
        raise BulkError("the batch no longer exists")
    return found


async def draft(store: Store, person: str, ids: Sequence[str], query: str, now: int) -> str:
    """Keeps a choice of cases until it is confirmed: its id. query: see `Batch`. Raises `BulkError`, `StoreError`."""
    chosen = list(dict.fromkeys(ids))
    if not 0 < len(chosen) <= MAX_CASES:
        raise BulkError(f"{len(chosen)} cases were chosen; allowed: 1 to {MAX_CASES}")
    number = secrets.token_hex(10)
    rows: list[Statement] = [
        (_ITEM, {"batch": number, "place": place, "case_id": case, "now": now}) for place, case in enumerate(chosen)
    ]
    values = {"id": number, "now": now, "person": person, "query": query, "number": len(chosen)}
    await store.write([*_drop_drafts(person), (_BATCH, values), *rows])
    return number


def _drop_drafts(person: str) -> list[Statement]:
    """Statements that leave room for one more."""
    values = {"person": person, "most": MAX_DRAFTS - 1}
    return [(f"DELETE FROM desk_batch_case WHERE batch IN ({_OLD_DRAFTS})", values),
            (f"DELETE FROM desk_batch WHERE id IN ({_OLD_DRAFTS})", values)]  # fmt: skip


async def confirm(store: Store, number: str, by: audit.By, order: Order, now: int) -> bool:
    """Turns the person's draft into a batch that may run, with a line in the audit log. False if it is none any more:
    a second click. Raises `BulkError`, `StoreError`."""
    if why := problem(order):
        raise BulkError(why)
    values = {"id": number, "person": by.who, "now": now, **order._asdict()}
    if (await store.write([(_CONFIRM, values)]))[0] != 1:
        return False
    batch = await find(store, number)
    what = f"{order.action} {order.assignee}".strip()
    reason = f"{what}, {len(batch.items) if batch else 0} cases, {number}: {order.reason}"
    await audit.record(store, by, "bulk", reason=reason, now=now)
    return True


async def run(store: Store, number: str, by: audit.By, mailer: Mailer | None = None, now: int | None = None) -> None:
    """Does a confirmed batch. now: for tests; else the time of each case. Raises `StoreError`: then the cases that
    wait were not done."""
    batch = await find(store, number)
    if batch is None or batch.order is None or batch.done_at is not None:
        return
    for place, item in enumerate(batch.items):
        # Read again: it may have been left as interrupted, and be another batch's by now.
        if item.state == WAITING and await store.read(_WAITS, batch=number, place=place):
            await _one(store, batch, place, by, mailer, _time(now))
    await store.write([(_END, {"id": number, "now": _time(now)})])
    found = await find(store, number)
    if found is not None:
        done, refused = len(found.of(DONE)), len(found.of(REFUSED))
        named = {"batch": number, "user": batch.made_by, "action": batch.order.action}
        _log.info("bulk", extra={"fields": {**named, "done": done, "refused": refused}})


async def _one(store: Store, batch: Batch, place: int, by: audit.By, mailer: Mailer | None, now: int) -> None:
    mark = {"batch": batch.id, "place": place, "now": now}
    case, order = batch.items[place].case, batch.order or Order("")
    try:
        statements = await _statements(store, batch, case, mailer, now)
        done: Statement = (_MARK, {**mark, "state": DONE, "why": None})
        await audit.record(store, by, _kind(order), case, order.reason, now, [*statements, done])
    except CaseError as error:
        await store.write([(_MARK, {**mark, "state": REFUSED, "why": str(error)[:200]})])
    except UnstorableError as error:
        _log.error("bulk", extra={"fields": {"batch": batch.id, "case": case, "why": str(error)}})
        await store.write([(_MARK, {**mark, "state": REFUSED, "why": "the store refuses it; the log says why"})])


def _kind(order: Order) -> str:
    """A word of `audit.KINDS`."""
    return {ASSIGN: history.ASSIGNED, MAIL: "mail"}.get(order.action) or KINDS[order.action]


async def _statements(store: Store, batch: Batch, case: str, mailer: Mailer | None, now: int) -> list[Statement]:
    """Raises `CaseError`."""
    order = batch.order or Order("")
    if order.action != MAIL:
        assignee = order.assignee if order.action == ASSIGN else None
        kind = history.ASSIGNED if order.action == ASSIGN else KINDS[order.action]
        return (await actions.prepare(store, case, kind, batch.made_by, order.reason, now, assignee))[1]
    if mailer is None:
        raise CaseError("e-mail is not set up")
    queued = await mailer(case, batch.made_by, now)
    if order.reason.strip():
        queued += (await actions.prepare(store, case, history.NOTE, batch.made_by, order.reason, now))[1]
    return queued


async def find(store: Store, number: str) -> Batch | None:
    """A batch with its cases, in the order in which they are done. Raises `StoreError`."""
    rows = await store.read("SELECT * FROM desk_batch WHERE id = :id", id=number)
    if not rows:
        return None
    items = await store.read(
        "SELECT case_id, state, why, at FROM desk_batch_case WHERE batch = :id ORDER BY place", id=number
    )
    return _batch(rows[0], [Item(row["case_id"], row["state"], row["why"] or "", row["at"]) for row in items])


async def latest(store: Store, most: int = 50) -> list[tuple[Batch, dict[str, int]]]:
    """The latest confirmed batches of all users, without their cases, and how many of these are in each state. Raises
    `StoreError`."""
    rows = await store.read(_LATEST, most=most)
    counts: dict[str, dict[str, int]] = {row["id"]: dict.fromkeys((WAITING, DONE, REFUSED), 0) for row in rows}
    for row in await store.read(_COUNTS, most=most):
        counts[row["batch"]][row["state"]] = row["n"]
    return [(_batch(row, []), counts[row["id"]]) for row in rows]


async def leave(store: Store, number: str, person: str, now: int) -> None:
    """Ends a person's interrupted batch: its cases that wait are not done. Raises `StoreError`."""
    of = {"id": number, "person": person, "now": now}
    await store.write([(_LEAVE, of), (_END, {"id": number, "now": now})])


async def interrupted(store: Store, person: str, now: int) -> list[Batch]:
    """Batches of a person that were interrupted within a week, at most 10. Raises `StoreError`."""
    rows = await store.read(_UNDONE, person=person, since=now - 7 * 86_400)
    found = [await find(store, row["id"]) for row in rows]
    return [batch for batch in found if batch is not None and batch.is_interrupted(now)]


def _batch(row: Row, items: list[Item]) -> Batch:
    order = Order(row["action"], row["text"], row["assignee"]) if row["begun_at"] is not None else None
    made = row["id"], row["made_at"], row["made_by"], row["query"]
    return Batch(*made, order, row["begun_at"], row["done_at"], items)


def forget(before: int) -> list[Statement]:
    """Statements that delete batches from before a time."""
    of = {"before": before}
    return [
        ("DELETE FROM desk_batch_case WHERE batch IN (SELECT id FROM desk_batch WHERE made_at < :before)", of),
        ("DELETE FROM desk_batch WHERE made_at < :before", of),
    ]


def _time(now: int | None) -> int:
    return int(time.time()) if now is None else now


_BATCH = """
INSERT INTO desk_batch (id, made_at, made_by, query, number, action, text, assignee)
VALUES (:id, :now, :person, :query, :number, '', '', '')
"""
_ITEM = f"""
INSERT INTO desk_batch_case (batch, place, case_id, state, at) VALUES (:batch, :place, :case_id, '{WAITING}', :now)
"""
_OLD_DRAFTS = """
SELECT id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY made_at DESC, id) AS place FROM desk_batch
    WHERE made_by = :person AND begun_at IS NULL) ranked WHERE place > :most
"""
_CONFIRM = """
UPDATE desk_batch SET action = :action, text = :reason, assignee = :assignee, begun_at = :now
WHERE id = :id AND made_by = :person AND begun_at IS NULL
"""
_LATEST = "SELECT * FROM desk_batch WHERE begun_at IS NOT NULL ORDER BY begun_at DESC, id LIMIT :most"
_COUNTS = f"""
SELECT c.batch, c.state, COUNT(*) AS n FROM desk_batch_case c JOIN ({_LATEST}) l ON l.id = c.batch
GROUP BY c.batch, c.state
"""
_LEAVE = f"""
UPDATE desk_batch_case SET state = '{REFUSED}', why = 'interrupted', at = :now
WHERE batch = :id AND state = '{WAITING}' AND EXISTS
    (SELECT 1 FROM desk_batch b WHERE b.id = :id AND b.made_by = :person AND b.begun_at IS NOT NULL)
"""
_UNDONE = """
SELECT id FROM desk_batch WHERE made_by = :person AND begun_at >= :since AND done_at IS NULL
ORDER BY begun_at DESC, id LIMIT 10
"""
_MARK = "UPDATE desk_batch_case SET state = :state, why = :why, at = :now WHERE batch = :batch AND place = :place"
_WAITS = f"SELECT 1 AS one FROM desk_batch_case WHERE batch = :batch AND place = :place AND state = '{WAITING}'"
_END = f"""
UPDATE desk_batch SET done_at = :now WHERE id = :id AND done_at IS NULL AND NOT EXISTS
    (SELECT 1 FROM desk_batch_case b WHERE b.batch = :id AND b.state = '{WAITING}')
"""
