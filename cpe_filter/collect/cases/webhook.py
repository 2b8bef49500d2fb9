"""Delivers case events to a notification system: signed JSON by POST, repeated until it is accepted.

Knows HTTP; the queue is `queue`. Must not know what leads to an event. Requests follow the Standard Webhooks
specification: `webhook-id` (the same for each attempt: a receiver that has seen it may drop it), `webhook-timestamp`,
`webhook-signature: v1,BASE64`, the HMAC-SHA256 of `id.timestamp.body`.

2xx: delivered. 400, 410, 413, 415, 422: given up at once. Anything else (3xx too: redirects are not followed) is
repeated with exponential backoff and full jitter, not before Retry-After, and given up when the event is too old. While
the receiver fails it gets one event at a time; after a success the others follow.
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
from typing import Any, Literal

import httpx

from cpe_filter.collect.cases import actions, model, queue
from cpe_filter.collect.cases.notifications import DEAD, DELIVERED, OPENED, RECURRING
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import audit, lease, rounds
from cpe_filter.collect.store.base import Row, Store
from cpe_filter.send.protocol import retry_after

#: Statuses that are final.
FINAL = (400, 410, 413, 415, 422)
#: The first and the longest wait between two attempts, seconds.
BASE_S, CAP_S = 5.0, 3600.0
#: A longer Retry-After is shortened to this.
MAX_RETRY_AFTER_S = 86_400
#: Requests at once, while the receiver does not fail.
AT_ONCE = 4
_PAGE = 64
_LEASE_S = 60
LEASE = "webhook"
#: The user of its actions.
_USER = "webhook"

#: What an attempt came to; of these, `failed` is repeated.
Outcome = Literal["delivered", "dead", "failed"]
FAILED: Literal["failed"] = "failed"
_LOGGED: dict[Outcome, str] = {DELIVERED: "delivered", DEAD: "delivery given up", FAILED: "delivery failed"}

_log = logging.getLogger("cpe_filter.collect.cases.webhook")


class SecretError(ValueError):
    """The text says what is wrong; it does not contain the secret."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds. queue: events that wait at most; beyond that the oldest are given up. notified: a delivered event
    `opened` or `recurring` means that the subscriber has been notified."""

    url: str
    timeout_s: float = 10.0
    give_up_s: int = 3 * 86_400
    queue: int = 100_000
    notified: bool = True


def secret(text: str) -> bytes:
    """The key in a secret's text, `whsec_BASE64` as the specification has it. Raises `SecretError`."""
    text = text.strip()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError("not whsec_ and Base64") from None
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise SecretError("expected whsec_ and 24 to 64 random bytes in Base64 (openssl rand -base64 32)")
    return key


def signature(key: bytes, number: str, at: int, body: bytes) -> str:
    """The value of the header webhook-signature."""
    digest = hmac.new(key, f"{number}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True)
class Answer:
    """To one attempt. status: None without an answer. retry_after_s: 0 if it has none."""

    status: int | None
    why: str
    retry_after_s: int = 0

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


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
        #: Failures of the receiver in a row, and until when it gets no events.
        self._failures = 0
        self._not_before = 0.0

    async def close(self) -> None:
        await self._client.aclose()

    async def step(self) -> int:
        """Sends what is due now: how many attempts. Raises `StoreError`."""
        now = self._clock()
        if not await lease.take(self._store, LEASE, int(now), _LEASE_S, self._me):
            return 0
        await self._give_up_old(int(now))
        tried = 0
        while self._clock() >= self._not_before:
            due = await queue.due(self._store, int(self._clock()), 1 if self._failures else _PAGE)
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
        outcome = self._outcome(answer, now - row["made_at"])
        if self._metrics is not None:
            self._metrics.webhook.labels(outcome).inc()
        fields = {"event": row["id"], "case": row["case_id"], "status": answer.status, "why": answer.why}
        level = logging.INFO if outcome == DELIVERED else logging.WARNING
        _log.log(level, _LOGGED[outcome], extra={"fields": fields})
        if outcome == DELIVERED:
            # First this: the event may be sent twice, but the case must record that its subscriber was notified.
            if self._terms.notified and row["kind"] in (OPENED, RECURRING):
                await self._notified(row["case_id"], now)
            statement = queue.delivered(row["id"], now, answer.status)
        elif outcome == DEAD:
            statement = queue.given_up(row["id"], now, answer.status, answer.why)
        else:
            # The event that was tried first is not always the one that is at fault.
            wait = max(answer.retry_after_s, self._backoff(row["tries"]))
            statement = queue.postponed(row["id"], now + int(wait), answer.status, answer.why)
        await self._store.write([statement])

    def _outcome(self, answer: Answer, age_s: float) -> Outcome:
        """What becomes of an event of this age; and whether the other end is asked by one event at a time."""
        if answer.delivered or answer.is_final:
            self._failures = 0
            return DELIVERED if answer.delivered else DEAD
        self._failures += 1
        wait = max(answer.retry_after_s, self._backoff(self._failures - 1))
        self._not_before = max(self._not_before, self._clock() + wait)
        return DEAD if age_s >= self._terms.give_up_s else FAILED

    async def _notified(self, case: str, now: int) -> None:
        try:
            await actions.notified(self._store, case, _USER, now=now, by=audit.By(_USER, audit.SERVICE))
        except model.CaseError:
            pass  # it was acknowledged or closed in the meantime

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
        # The body of the answer is not read: it could be endless.
        async with self._client.stream("POST", self._terms.url, content=body, headers=headers) as response:
            if 200 <= response.status_code < 300:
                return Answer(response.status_code, "")
            headers_ = response.headers
            wait = retry_after(headers_.get("retry-after", ""), headers_.get("date", ""), self._clock())
            after = int(min(MAX_RETRY_AFTER_S, wait))
            return Answer(response.status_code, f"status {response.status_code}", after)

    async def _give_up_old(self, now: int) -> None:
        count = await queue.give_up_old(self._store, now, self._terms.give_up_s, self._terms.queue)
        if count:
            _log.error("deliveries given up", extra={"fields": {"count": count, "why": "too old, or too many waiting"}})
            if self._metrics is not None:
                self._metrics.webhook.labels(DEAD).inc(count)


async def run(sender: Sender, every_s: float = 2.0) -> None:
    """Sends until it is cancelled."""
    await rounds.repeat(sender.step, every_s, _log, "webhook")
