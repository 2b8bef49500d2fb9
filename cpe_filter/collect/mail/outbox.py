"""The outbox: notices to be sent and what became of them, in the store, so that a restart loses none.

Knows the table desk_mail. Must not know SMTP. The id of a message is made of its case and its place among the messages
of the case: two processes, or two clicks, that add the same one add one.
"""

from __future__ import annotations

import hashlib
import json

from cpe_filter.collect.cases.history import MAIL
from cpe_filter.collect.cases.notifications import MailState
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Statement, Store

QUEUED: MailState = "queued"
SENT: MailState = "sent"
FAILED: MailState = "failed"
BOUNCED: MailState = "bounced"
SKIPPED: MailState = "skipped"

DAY = 86_400


def number_of(case: str, place: int) -> str:
    """The id of a message: 20 hex digits."""
    return hashlib.sha256(json.dumps(["mail", case, place]).encode()).hexdigest()[:20]


async def add(
    store: Store, case: str, subscriber: str, place: int, user: str, now: int, by: audit.By | None = None
) -> bool:
    """Adds a message. place: how many messages the case has. user: who asked for it, "" if it is automatic. by: the
    same for the audit log, None if it is automatic. False if it was added before."""
    adding = added(case, subscriber, place, user, now)
    if by is None:
        return (await store.write([adding]))[0] == 1
    return (await audit.record(store, by, "mail", case, "", now, [adding]))[0] == 1


def added(case: str, subscriber: str, place: int, user: str, now: int) -> Statement:
    """The statement of `add`."""
    values = {"id": number_of(case, place), "case_id": case, "place": place, "subscriber": subscriber, "now": now}
    return _ADD, {**values, "user": user}


async def of_case(store: Store, case: str) -> list[Row]:
    """The messages of a case, oldest first."""
    return await store.read("SELECT * FROM desk_mail WHERE case_id = :id ORDER BY made_at, place", id=case)


async def find(store: Store, number: str) -> Row | None:
    """A message by its id."""
    rows = await store.read("SELECT * FROM desk_mail WHERE id = :id", id=number)
    return rows[0] if rows else None


async def due(store: Store, now: int, with_automatic: bool, most: int) -> list[Row]:
    """Messages that are due, at most `most`."""
    return await store.read(_DUE, now=now, automatic=1 if with_automatic else 0, most=most)


async def new_cases(store: Store, since: int, per_case: int, most: int) -> list[Row]:
    """Cases whose subscriber should be sent a notice: `id`, `subscriber`, `place`. since: when that was set up."""
    return await store.read(_NEW, since=since, per_case=per_case, most=most)


async def sent_in_a_day(store: Store, now: int, subscriber: str | None = None) -> int:
    """Messages that the relay has accepted within 24 hours, of all or of one subscriber."""
    whose = "" if subscriber is None else " AND subscriber = :subscriber"
    values = {"since": now - DAY, **({} if subscriber is None else {"subscriber": subscriber})}
    return int(
        (await store.read(f"SELECT COUNT(*) AS n FROM desk_mail WHERE sent_at > :since{whose}", **values))[0]["n"]
    )


async def unnoted(store: Store) -> list[str]:
    """Cases whose subscriber was sent a notice, which the case does not say yet."""
    return [row["id"] for row in await store.read(_UNNOTED)]


def done(number: str, state: MailState, now: int, status: str | None, why: str | None, languages: str) -> Statement:
    """A message was sent, or will not be."""
    sent_at = now if state == SENT else None
    values = {"id": number, "state": state, "now": now, "sent_at": sent_at, "status": status, "why": why}
    return _DONE, {**values, "languages": languages}


def postponed(number: str, next_at: int, status: str | None, why: str, tried: bool) -> Statement:
    """The next attempt is at `next_at`. tried: the relay was asked."""
    values = {"id": number, "next_at": next_at, "status": status, "why": why, "tried": 1 if tried else 0}
    return _POSTPONED, values


def returned(number: str, now: int, status: str, why: str) -> Statement:
    """A message came back. Changes no row if that is known, or if it was not sent."""
    return _RETURNED, {"id": number, "now": now, "status": status, "why": why}


def delayed(number: str, status: str, why: str) -> Statement:
    """A mail system reports that it has not delivered a message yet."""
    return _DELAYED, {"id": number, "status": status, "why": why}


_ADD = f"""
INSERT INTO desk_mail (id, case_id, place, subscriber, made_at, made_by, state, tries, next_at, languages)
VALUES (:id, :case_id, :place, :subscriber, :now, :user, '{QUEUED}', 0, :now, '')
ON CONFLICT (id) DO NOTHING
"""
_DUE = f"""
SELECT * FROM desk_mail WHERE state = '{QUEUED}' AND next_at <= :now AND (made_by <> '' OR :automatic = 1)
ORDER BY next_at, made_at, id LIMIT :most
"""
#: A notice that was opened or answered in the home stops none by e-mail: another person may have read it. What the desk
#: or another system has done does.
_NEW = """
SELECT n.id, n.subscriber, n.place FROM (
    SELECT c.id, c.subscriber, c.begun_at, (SELECT COUNT(*) FROM desk_mail m WHERE m.case_id = c.id) AS place
    FROM desk_case c
    WHERE c.state IN ('open', 'recurring', 'notified', 'acknowledged') AND c.standing = 'compromised'
        AND c.subscriber <> '' AND c.begun_at >= :since
        AND NOT EXISTS (SELECT 1 FROM desk_case_action a WHERE a.case_id = c.id AND a.at >= c.begun_at
            AND a.what IN ('notified', 'acknowledged'))
        AND NOT EXISTS (SELECT 1 FROM desk_mail o WHERE o.case_id = c.id AND o.made_at >= c.begun_at)
) n WHERE n.place < :per_case ORDER BY n.begun_at, n.id LIMIT :most
"""
#: What a bounce took back does not count: another notice may be at the subscriber.
_UNNOTED = f"""
SELECT c.id FROM desk_case c WHERE c.state IN ('open', 'recurring', 'notified', 'acknowledged') AND EXISTS (
    SELECT 1 FROM desk_mail m WHERE m.case_id = c.id AND m.state = '{SENT}' AND m.sent_at >= c.begun_at)
    AND NOT EXISTS (SELECT 1 FROM desk_case_action a WHERE a.case_id = c.id AND a.at >= c.begun_at
        AND a.what = 'notified' AND a.who = '{MAIL}' AND NOT EXISTS (SELECT 1 FROM desk_case_action b
            WHERE b.case_id = c.id AND b.what = 'bounced' AND b.at >= a.at))
ORDER BY c.id LIMIT 500
"""
_DONE = """
UPDATE desk_mail SET state = :state, tries = tries + 1, done_at = :now, sent_at = :sent_at, status = :status,
    why = :why, languages = :languages
WHERE id = :id
"""
_POSTPONED = """
UPDATE desk_mail SET next_at = :next_at, tries = tries + :tried, status = :status, why = :why WHERE id = :id
"""
_RETURNED = f"""
UPDATE desk_mail SET state = '{BOUNCED}', done_at = :now, status = :status, why = :why,
    sent_at = COALESCE(sent_at, :now)
WHERE id = :id AND state IN ('{QUEUED}', '{SENT}')
"""
_DELAYED = f"UPDATE desk_mail SET status = :status, why = :why WHERE id = :id AND state = '{SENT}'"
