"""Events of cases -> a notification system: POST of JSON, signed, until it has been taken.

Knows the queue (desk_event) and HTTP. Requests follow the Standard Webhooks specification: `webhook-id` (the same for
each try: whoever has seen it may drop it), `webhook-timestamp`, `webhook-signature: v1,BASE64`, the HMAC-SHA256 of
`id.timestamp.body`. The queue is in the store, so nothing is lost by a restart.

2xx: taken. 400, 410, 413, 415, 422: this event will never be taken; it is dead at once. All else (3xx too: redirects
are not followed) is tried again with exponential backoff and full jitter, not before Retry-After, and is dead when it
is too old. A system that is down is asked by one event at a time: when that gets through the others follow. Events of
one case go out in their order; a dead one does not hold up the next.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from cpe_filter.collect.cases import cases
from cpe_filter.collect.cases.notifications import OPENED, RECURRING
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import lease
from cpe_filter.collect.store.base import Row, Store, StoreError

#: Statuses that say no for good.
NEVER = (400, 410, 413, 415, 422)
#: The first and the longest wait between two tries, seconds.
BASE_S, CAP_S = 5.0, 3600.0
#: The longest Retry-After that is believed.
MOST_RETRY_AFTER_S = 86_400
#: Requests at once, while the other end is well.
AT_ONCE = 4
_PAGE = 64
_LEASE_S = 60
LEASE = "webhook"

_log = logging.getLogger("cpe_filter.collect.cases.webhook")


class WrongSecret(ValueError):
    """The text says what is wrong; nothing of the secret is in it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds. queue: events that wait at most; beyond them the oldest are given up. notified: a taken event `opened`
    or `recurring` means that the subscriber has been told."""

    url: str
    timeout_s: float = 10.0
    give_up_s: int = 3 * 86_400
    queue: int = 100_000
    notified: bool = True


def secret(text: str) -> bytes:
    """The key in a secret's text, `whsec_BASE64` as the specification has it. Raises `WrongSecret`."""
    text = text.strip()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise WrongSecret("not whsec_ and Base64") from None
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise WrongSecret("whsec_ and the Base64 of 24 to 64 random bytes is wanted (openssl rand -base64 32)")
    return key


def signature(key: bytes, number: str, at: int, body: bytes) -> str:
    """The header's value."""
    digest = hmac.new(key, f"{number}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one try. status: None where there was none. retry_after_s: 0 if not said."""

    status: int | None
    why: str
    retry_after_s: int = 0

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def never(self) -> bool:
        return self.status in NEVER


class Sender:
    """`step` sends what is due. clock: POSIX seconds. jitter: 0 to 1."""

    def __init__(
        self,
        store: Store,
        terms: Terms,
        key: bytes,
        metrics: Metrics | None = None,
        verify: Any = True,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        me: str = lease.ME,
    ) -> None:
        self._store, self._terms, self._key, self._metrics = store, terms, key, metrics
        self._clock, self._jitter, self._me = clock, jitter, me
        self._client = httpx.AsyncClient(
            follow_redirects=False, timeout=terms.timeout_s, verify=verify, trust_env=False,
            headers={"content-type": "application/json", "user-agent": "cpe-filter"},
        )  # fmt: skip
        #: Failures in a row of the other end as a whole, and until when it is left alone.
        self._failures = 0
        self._not_before = 0.0

    async def close(self) -> None:
        await self._client.aclose()

    async def step(self) -> int:
        """Sends what is due now: how many events were tried. Raises `StoreError`."""
        now = self._clock()
        if not await lease.take(self._store, LEASE, int(now), _LEASE_S, self._me):
            return 0
        await self._bound(int(now))
        tried = 0
        while self._clock() >= self._not_before:
            due = await self._store.read(_DUE, now=int(self._clock()), most=1 if self._failures else _PAGE)
            if not due:
                break
            for start in range(0, len(due), AT_ONCE):
                part = due[start : start + AT_ONCE]
                await asyncio.gather(*(self._try(row) for row in part))
                tried += len(part)
                if not await lease.take(self._store, LEASE, int(self._clock()), _LEASE_S, self._me):
                    return tried
                if self._failures:
                    break
        return tried

    async def _try(self, row: Row) -> None:
        answer = await self._post(row)
        now = int(self._clock())
        told = "delivered" if answer.taken else "dead" if answer.never else "failed"
        if answer.taken or answer.never:
            self._failures = 0
        else:
            self._failures += 1
            wait = max(answer.retry_after_s, self._backoff(self._failures - 1))
            self._not_before = max(self._not_before, self._clock() + wait)
            if now - row["made_at"] >= self._terms.give_up_s:
                told = "dead"
        if self._metrics is not None:
            self._metrics.webhook.labels(told).inc()
        if told == "failed":
            # The one that was tried first is not always the one that is at fault.
            wait = max(answer.retry_after_s, self._backoff(row["tries"]))
            values: dict[str, Any] = {"next_at": now + int(wait), "state": "queued", "done_at": None}
        else:
            values = {"next_at": now, "state": told, "done_at": now}
        about = {"event": row["id"], "case": row["case_id"], "status": answer.status, "why": answer.why}
        _log.log(logging.INFO if answer.taken else logging.WARNING, f"webhook {told}", extra={"about": about})
        # Before it is ticked off: it may be sent twice, but a case must not miss that its subscriber was told.
        if answer.taken and self._terms.notified and row["kind"] in (OPENED, RECURRING):
            await self._notified(row["case_id"], now)
        values.update(id=row["id"], status=answer.status, why=answer.why or None)
        await self._store.write([(_DONE, values)])

    async def _notified(self, case: str, now: int) -> None:
        try:
            await cases.notified(self._store, case, "webhook", now=now)
        except cases.CaseError:
            pass  # somebody has acknowledged or closed it meanwhile

    def _backoff(self, tries: int) -> float:
        return self._jitter() * min(CAP_S, BASE_S * 2.0 ** min(tries, 20))

    async def _post(self, row: Row) -> Answer:
        body = row["body"].encode()
        at = int(self._clock())
        headers = {
            "webhook-id": row["id"],
            "webhook-timestamp": str(at),
            "webhook-signature": signature(self._key, row["id"], at, body),
        }
        try:
            return await asyncio.wait_for(self._send(body, headers), self._terms.timeout_s)
        except (asyncio.TimeoutError, TimeoutError):
            return Answer(None, f"no answer in {self._terms.timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Answer(None, (str(error) or type(error).__name__)[:200])

    async def _send(self, body: bytes, headers: dict[str, str]) -> Answer:
        # What it answers beside the status is not read: it could be endless.
        async with self._client.stream("POST", self._terms.url, content=body, headers=headers) as response:
            if 200 <= response.status_code < 300:
                return Answer(response.status_code, "")
            after = retry_after(response.headers.get("retry-after", ""), self._clock())
            return Answer(response.status_code, f"status {response.status_code}", after)

    async def _bound(self, now: int) -> None:
        """Gives up what is too old, and the oldest where too many wait."""
        waiting = (await self._store.read("SELECT COUNT(*) AS n FROM desk_event WHERE state = 'queued'"))[0]["n"]
        statements = [(_TOO_OLD, {"now": now, "before": now - self._terms.give_up_s})]
        if waiting > self._terms.queue:
            statements.append((_TOO_MANY, {"now": now, "most": waiting - self._terms.queue}))
        given_up = sum(await self._store.write(statements))
        if given_up:
            _log.error("webhook dead", extra={"about": {"count": given_up, "why": "too old, or too many wait"}})
            if self._metrics is not None:
                self._metrics.webhook.labels("dead").inc(given_up)


async def dead(store: Store, most: int = 100) -> list[Row]:
    """Events that were given up, newest first."""
    return await store.read(
        "SELECT id, case_id, kind, at, made_at, tries, done_at, status, why FROM desk_event WHERE state = 'dead'"
        " ORDER BY done_at DESC, n DESC LIMIT :most", most=most,
    )  # fmt: skip


async def revive(store: Store, now: int) -> int:
    """Puts dead events that still have a body back into the queue: how many."""
    return (await store.write([(_REVIVE, {"now": now})]))[0]


def retry_after(text: str, now: float) -> int:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110 section 10.2.3); 0 if it makes none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(MOST_RETRY_AFTER_S, int(text[:9]))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    wait = (moment - datetime.fromtimestamp(now, timezone.utc)).total_seconds()
    return int(max(0, min(MOST_RETRY_AFTER_S, wait)))


async def run(sender: Sender, every_s: float = 2.0) -> None:
    """Sends for ever."""
    while True:
        try:
            await sender.step()
        except StoreError as error:
            _log.error("webhook", extra={"about": {"why": str(error)}})
        except Exception:  # a fault of ours must not keep routers from reporting
            _log.exception("webhook failed")
        await asyncio.sleep(every_s)


#: The first of each case that waits.
_DUE = """
SELECT e.id, e.case_id, e.kind, e.body, e.tries, e.made_at FROM desk_event e
WHERE e.state = 'queued' AND e.next_at <= :now AND NOT EXISTS (
    SELECT 1 FROM desk_event o WHERE o.case_id = e.case_id AND o.state = 'queued' AND o.n < e.n)
ORDER BY e.next_at, e.n LIMIT :most
"""
_DONE = """
UPDATE desk_event SET state = :state, tries = tries + 1, next_at = :next_at, done_at = :done_at, status = :status,
    why = :why
WHERE id = :id
"""
_TOO_OLD = """
UPDATE desk_event SET state = 'dead', done_at = :now, why = COALESCE(why, 'never tried') || '; too old'
WHERE state = 'queued' AND made_at < :before
"""
_TOO_MANY = """
UPDATE desk_event SET state = 'dead', done_at = :now, why = 'too many wait' WHERE id IN
    (SELECT id FROM desk_event WHERE state = 'queued' ORDER BY n LIMIT :most)
"""
_REVIVE = """
UPDATE desk_event SET state = 'queued', next_at = :now, made_at = :now, tries = 0, done_at = NULL
WHERE state = 'dead' AND body <> ''
"""
