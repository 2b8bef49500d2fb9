"""Notices by e-mail that did not reach their subscriber: the list for the desk, trying again, giving up.

Knows the table desk_mail. Must not know SMTP or HTTP. In the list are notices that failed, came back, or wait after a
failed attempt, until the desk gives them up. One that came back was delivered to the next server, so it is not tried
again: the desk sends a new one from the page of its case. What the desk does is in the audit log.
"""

from __future__ import annotations

from typing import Literal

from cpe_filter.collect.mail.outbox import BOUNCED, FAILED, QUEUED, find
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Statement, Store

Choice = Literal["retry", "give-up"]
#: In place of a message's id.
ALL = "all"
MOST = 200

_LISTED = f"""
FROM desk_mail m WHERE m.dismissed_at IS NULL
    AND (m.state IN ('{FAILED}', '{BOUNCED}') OR (m.state = '{QUEUED}' AND m.why IS NOT NULL))
"""
_RETRY = f"""
UPDATE desk_mail SET state = '{QUEUED}', next_at = :now, retried_at = :now, done_at = NULL
WHERE dismissed_at IS NULL AND (state = '{FAILED}' OR (state = '{QUEUED}' AND why IS NOT NULL))
"""
#: One that waits is not sent any more; of the others the desk has taken note.
_GIVE_UP = f"""
UPDATE desk_mail SET dismissed_at = :now, done_at = COALESCE(done_at, :now),
    state = CASE WHEN state = '{QUEUED}' THEN '{FAILED}' ELSE state END
WHERE dismissed_at IS NULL AND (state IN ('{FAILED}', '{BOUNCED}') OR (state = '{QUEUED}' AND why IS NOT NULL))
"""
_WHAT: dict[Choice, tuple[str, str]] = {"retry": ("mail-retry", _RETRY), "give-up": ("mail-give-up", _GIVE_UP)}


async def listed(store: Store, most: int = MOST) -> tuple[list[Row], int]:
    """Rows of desk_mail, the latest first, and how many there are in all."""
    count = await store.read(f"SELECT COUNT(*) AS n {_LISTED}")
    rows = await store.read(f"SELECT m.* {_LISTED} ORDER BY m.made_at DESC, m.id LIMIT :most", most=most)
    return rows, int(count[0]["n"])


async def do(store: Store, choice: Choice, number: str, by: audit.By, reason: str, now: int) -> int:
    """Tries a message again, or gives it up: how many there were. number: the id of a message, or `ALL`."""
    what, sql = _WHAT[choice]
    change: Statement
    if number == ALL:
        total = (await listed(store, 1))[1]
        change = (sql, {"now": now})
        return (await audit.record(store, by, what, "", f"up to {total} messages: {reason}", now, [change]))[0]
    row = await find(store, number)
    if row is None:
        return 0
    change = (f"{sql} AND id = :id", {"now": now, "id": number})
    return (await audit.record(store, by, what, row["case_id"], reason, now, [change]))[0]
