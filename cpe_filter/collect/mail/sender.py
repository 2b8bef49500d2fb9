"""Sends notices by e-mail: queues those of new cases if that is automatic, and hands what is due to the relay.

Knows cases, the subscriber map and the bounds. Must not know SMTP (relay) or what a message says (message). The address
is looked up at each attempt: a subscriber who has left the map is sent nothing. A message that the relay defers is
repeated with exponential backoff and full jitter; while the relay itself fails, nothing is sent for a time that
doubles, and no message is blamed. A message may arrive twice only if this process or its store dies between the relay's
250 and the commit; both copies have the same Message-ID.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cpe_filter.collect import mail_address
from cpe_filter.collect.cases import actions, notice, query
from cpe_filter.collect.cases.history import MAIL
from cpe_filter.collect.cases.model import CaseError, Detail
from cpe_filter.collect.cases.notifications import MailState
from cpe_filter.collect.mail import message, outbox
from cpe_filter.collect.mail import relay as smtp
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import audit, lease, rounds
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.collect.subscribers.map import Line, MapUnavailableError, Subscribers

#: The first and the longest wait between two attempts, seconds. The relay has a queue of its own.
BASE_S, CAP_S = 60.0, 3600.0
#: How soon a message is looked at again that had no address, or for which a bound was reached; or the map was away.
_LATER_S, _SOON_S = 3600, 300
_PAGE = 64
_LEASE_S = 60
LEASE = "mail"
#: The mark that holds from when on notices are automatic.
_SINCE = "mail since"

Relay = Callable[[message.Envelope], smtp.Result]

_log = logging.getLogger("cpe_filter.collect.mail")


@dataclass(frozen=True, slots=True)
class Bounds:
    """quiet: minutes of the day (first, first after) without automatic notices; equal: none. Others as in [mail]."""

    automatic: bool = False
    quiet: tuple[int, int] = (0, 0)
    per_day: int = 1000
    per_subscriber: int = 2
    per_case: int = 3
    give_up_s: int = 3 * 86_400


def is_quiet(quiet: tuple[int, int], zone: str, now: float) -> bool:
    """Whether it is a quiet hour; the hours may span midnight."""
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    minute, (first, after) = local.hour * 60 + local.minute, quiet
    return first <= minute < after if first <= after else minute >= first or minute < after


class Sender:
    """`step` sends what is due. relay: blocks; called in a thread. clock: POSIX seconds. jitter: 0 to 1."""

    def __init__(
        self,
        store: Store,
        subscribers: Subscribers,
        terms: message.Terms,
        bounds: Bounds,
        relay: Relay,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        me: str = lease.ME,
    ) -> None:
        self._store, self._subscribers, self._terms, self._bounds = store, subscribers, terms, bounds
        self._relay, self._metrics, self._clock, self._jitter, self._me = relay, metrics, clock, jitter, me
        #: Failures of the relay in a row, and until when it gets no messages.
        self._failures = 0
        self._not_before = 0.0

    async def step(self) -> int:
        """Sends what is due now: how many attempts. Raises `StoreError`."""
        now = self._clock()
        if not await self._lead():
            return 0
        loud = self._bounds.automatic and not is_quiet(self._bounds.quiet, self._terms.notice.zone, now)
        if loud:
            await self._queue_new(int(now))
        tried = 0
        free = self._bounds.per_day - await outbox.sent_in_a_day(self._store, int(now))
        if self._clock() >= self._not_before and free > 0:
            for row in await outbox.due(self._store, int(now), loud, min(_PAGE, free)):
                tried += await self._attempt(row)
                if self._failures or not await self._lead():
                    break
        for case in await outbox.unnoted(self._store):
            await self._note(case, int(self._clock()))
        return tried

    async def _lead(self) -> bool:
        # Longer than one message may take at the relay, or another process would begin the same one.
        return await lease.take(self._store, LEASE, int(self._clock()), _LEASE_S * 10, self._me)

    async def _queue_new(self, now: int) -> None:
        mark = "INSERT INTO desk_mark (name, value, holder) VALUES (:name, :now, '') ON CONFLICT (name) DO NOTHING"
        await self._store.write([(mark, {"name": _SINCE, "now": now})])
        rows = await self._store.read("SELECT value FROM desk_mark WHERE name = :name", name=_SINCE)
        since = int(rows[0]["value"])
        for row in await outbox.new_cases(self._store, since, self._bounds.per_case, _PAGE):
            await outbox.add(self._store, row["id"], row["subscriber"], row["place"], "", now)

    async def _attempt(self, row: Row) -> int:
        """One message: 1 if the relay was asked."""
        now = int(self._clock())
        current = await outbox.find(self._store, row["id"])
        if current is None or current["state"] != outbox.QUEUED:
            return 0  # the desk has given it up since the list was read
        found = await query.detail(self._store, row["case_id"])
        if found is None:
            await self._finish(row, outbox.SKIPPED, None, "the case is gone")
            return 0
        try:
            line = await self._subscribers.find(found.case.router, now)
        except MapUnavailableError:
            await self._later(row, _SOON_S, "the subscriber map is unavailable")
            return 0
        try:
            return await self._prepared(row, found, line, now)
        except notice.NoNoticeError:
            await self._finish(row, outbox.SKIPPED, None, f"the case was {found.case.state}")
            return 0

    async def _prepared(self, row: Row, found: Detail, line: Line | None, now: int) -> int:
        """Raises `notice.NoNoticeError`."""
        chosen = message.languages(line.languages if line else (), self._terms.notice.language, self._terms.second)
        texts = message.notices(notice.facts_of(found), chosen, self._terms.notice)
        if line is None or line.subscriber != row["subscriber"]:
            await self._finish(row, outbox.FAILED, None, "the router has another subscriber now")
            return 0
        if problem := no_address(line):
            await self._later(row, _LATER_S, problem)
            return 0
        if await outbox.sent_in_a_day(self._store, now, line.subscriber) >= self._bounds.per_subscriber:
            await self._later(row, _LATER_S, "the subscriber was sent enough notices in 24 hours")
            return 0
        envelope = message.envelope(row["id"], line.email, texts, self._terms, now)
        await self._sent(row, await asyncio.to_thread(self._relay, envelope), " ".join(chosen))
        return 1

    async def _sent(self, row: Row, result: smtp.Result, languages: str) -> None:
        self._failures = self._failures + 1 if result.outcome == "unavailable" else 0
        if result.outcome == "accepted":
            await self._finish(row, outbox.SENT, result.status, None, languages)
        elif result.outcome == "refused":
            await self._finish(row, outbox.FAILED, result.status, result.why, languages)
        elif result.outcome == "deferred":
            await self._later(row, self._backoff(row["tries"]), result.why, result.status, tried=True)
        else:
            wait = self._backoff(self._failures - 1)
            self._not_before = self._clock() + wait
            await self._later(row, wait, result.why, result.status)

    async def _finish(
        self, row: Row, state: MailState, status: str | None, why: str | None, languages: str = ""
    ) -> None:
        self._log_outcome(row, state, status, why)
        done = outbox.done(row["id"], state, int(self._clock()), status, why, languages)
        await self._store.write([done])

    async def _later(self, row: Row, wait_s: float, why: str, status: str | None = None, tried: bool = False) -> None:
        now = int(self._clock())
        if now - (row["retried_at"] or row["made_at"]) >= self._bounds.give_up_s:
            await self._finish(row, outbox.FAILED, status, f"given up: {why}")
            return
        self._log_outcome(row, "deferred", status, why)
        await self._store.write([outbox.postponed(row["id"], now + max(1, int(wait_s)), status, why, tried)])

    def _log_outcome(self, row: Row, outcome: str, status: str | None, why: str | None) -> None:
        if self._metrics is not None:
            self._metrics.mail.labels(outcome).inc()
        fields = {"case": row["case_id"], "message": row["id"], "outcome": outcome, "status": status, "why": why}
        _log.log(logging.INFO if outcome in ("sent", "skipped") else logging.WARNING, "mail", extra={"fields": fields})

    async def _note(self, case: str, now: int) -> None:
        try:
            await actions.notified(self._store, case, MAIL, now=now, by=audit.By(MAIL, audit.SERVICE))
        except CaseError:
            pass  # it was acknowledged or closed in the meantime

    def _backoff(self, tries: int) -> float:
        return self._jitter() * min(CAP_S, BASE_S * 2.0 ** min(tries, 20))


def no_address(line: Line) -> str | None:
    """Why a subscriber cannot be written to; None if it is possible. Does not contain the address."""
    if not line.email:
        return "the subscriber map has no e-mail address"
    problem = mail_address.problem(line.email)
    return f"the e-mail address in the subscriber map cannot be used: {problem}" if problem else None


async def run(sender: Sender, every_s: float = 5.0) -> None:
    """Sends until it is cancelled."""
    await rounds.repeat(sender.step, every_s, _log, "mail")
