"""The queue of case events for a notification system, in the store: so a restart loses nothing.

Knows the table desk_event. Must not know HTTP. Events of one case leave in their order; one that was given up does not
delay the next.
"""

from __future__ import annotations

from cpe_filter.collect.cases.notifications import DEAD, DELIVERED, QUEUED, EventState
from cpe_filter.collect.store.base import Row, Statement, Store


async def due(store: Store, now: int, most: int) -> list[Row]:
    """The first event of each case that is due, at most `most`."""
    return await store.read(_DUE, now=now, most=most)


def delivered(number: str, now: int, status: int | None) -> Statement:
    """An event was delivered."""
    return _tried(number, DELIVERED, now, now, status, None)


def given_up(number: str, now: int, status: int | None, why: str) -> Statement:
    """An event is given up."""
    return _tried(number, DEAD, now, now, status, why)


def postponed(number: str, next_at: int, status: int | None, why: str) -> Statement:
    """An attempt failed; the next one is at `next_at`."""
    return _tried(number, QUEUED, next_at, None, status, why)


def _tried(
    number: str, state: EventState, next_at: int, done_at: int | None, status: int | None, why: str | None
) -> Statement:
    values = {"id": number, "state": state, "next_at": next_at, "done_at": done_at, "status": status, "why": why}
    return _TRIED, values


async def give_up_old(store: Store, now: int, give_up_s: int, most: int) -> int:
    """Gives up what is older than `give_up_s`, and the oldest where more than `most` wait: how many."""
    waiting = (await store.read(f"SELECT COUNT(*) AS n FROM desk_event WHERE state = '{QUEUED}'"))[0]["n"]
    statements: list[Statement] = [(_TOO_OLD, {"now": now, "before": now - give_up_s})]
    if waiting > most:
        statements.append((_TOO_MANY, {"now": now, "most": waiting - most}))
    return sum(await store.write(statements))


async def read_given_up(store: Store, most: int = 100) -> list[Row]:
    """Events that were given up, newest first."""
    return await store.read(
        "SELECT id, case_id, kind, at, made_at, tries, done_at, status, why FROM desk_event"
        f" WHERE state = '{DEAD}' ORDER BY done_at DESC, n DESC LIMIT :most", most=most,
    )  # fmt: skip


async def requeue(store: Store, now: int) -> int:
    """Queues events again that were given up and still have a body: how many."""
    return (await store.write([(_REQUEUE, {"now": now})]))[0]


_DUE = f"""
SELECT e.id, e.case_id, e.kind, e.body, e.tries, e.made_at FROM desk_event e
WHERE e.state = '{QUEUED}' AND e.next_at <= :now AND NOT EXISTS (
    SELECT 1 FROM desk_event o WHERE o.case_id = e.case_id AND o.state = '{QUEUED}' AND o.n < e.n)
ORDER BY e.next_at, e.n LIMIT :most
"""
_TRIED = """
UPDATE desk_event SET state = :state, tries = tries + 1, next_at = :next_at, done_at = :done_at, status = :status,
    why = :why
WHERE id = :id
"""
_TOO_OLD = f"""
UPDATE desk_event SET state = '{DEAD}', done_at = :now, why = COALESCE(why, 'never tried') || '; too old'
WHERE state = '{QUEUED}' AND made_at < :before
"""
_TOO_MANY = f"""
UPDATE desk_event SET state = '{DEAD}', done_at = :now, why = 'too many waiting' WHERE id IN
    (SELECT id FROM desk_event WHERE state = '{QUEUED}' ORDER BY n LIMIT :most)
"""
_REQUEUE = f"""
UPDATE desk_event SET state = '{QUEUED}', next_at = :now, made_at = :now, tries = 0, done_at = NULL
WHERE state = '{DEAD}' AND body <> ''
"""
