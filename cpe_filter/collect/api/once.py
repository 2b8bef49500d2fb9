"""Idempotency-Key: a request that is sent again is done once.

Knows the table api_request. Must not know what a request does. As in draft-ietf-httpapi-idempotency-key-header: the
first request with a key is done, and its answer is kept for a day; a repetition gets that answer; the same key for
another request is an error. Where the collector is killed between the act and the keeping, a repetition after
`_STALE_S` is done again: acts with a version are then refused (412), and a note may be there twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from cpe_filter.collect.api.problem import ProblemError
from cpe_filter.collect.store.base import Store

KEY = re.compile(r"[0-9A-Za-z._-]{1,64}")
#: Seconds: how long an answer is kept; after which a request that was not finished may be tried again.
KEPT_S, _STALE_S = 86_400, 120


class Answer(NamedTuple):
    """As it was sent."""

    status: int
    headers: dict[str, str]
    body: str


def digest(method: str, path: str, match: str, body: bytes) -> str:
    """What makes two requests the same."""
    return hashlib.sha256(json.dumps([method, path, match]).encode() + body).hexdigest()


async def begin(store: Store, token: str, key: str, request: str, now: int) -> Answer | None:
    """None: the caller does this request, and then calls `end` or `drop`. Otherwise the answer to the first one.
    Raises `ProblemError`, `StoreError`."""
    if not KEY.fullmatch(key):
        raise ProblemError("bad-request", "Idempotency-Key has 1 to 64 letters, digits and - _ .")
    values = {"token": token, "key": key, "now": now, "digest": request}
    counts = await store.write(
        [(_FORGET, {"before": now - KEPT_S, "stale": now - _STALE_S}), (_BEGIN, values)]
    )  # fmt: skip
    if counts[1] == 1:
        return None
    rows = await store.read("SELECT * FROM api_request WHERE token = :token AND key = :key", token=token, key=key)
    row = rows[0] if rows else None
    if row is not None and row["digest"] != request:
        raise ProblemError("key-reused")
    if row is None or row["status"] is None:
        raise ProblemError("in-progress", headers={"retry-after": "1"})
    return Answer(int(row["status"]), json.loads(row["headers"]), row["body"])


async def end(store: Store, token: str, key: str, status: int, headers: Mapping[str, str], body: str) -> None:
    """Keeps the answer."""
    values = {"token": token, "key": key, "status": status, "headers": json.dumps(dict(headers)), "body": body}
    await store.write([(_END, values)])


async def drop(store: Store, token: str, key: str) -> None:
    """The request was not done: a repetition is a new one."""
    await store.write([("DELETE FROM api_request WHERE token = :token AND key = :key AND status IS NULL",
                        {"token": token, "key": key})])  # fmt: skip


async def forget(store: Store, now: int) -> int:
    """Deletes answers that are not repeated any more, for retention: they have what a case has. How many."""
    return (await store.write([(_FORGET, {"before": now - KEPT_S, "stale": now - _STALE_S})]))[0]


_FORGET = "DELETE FROM api_request WHERE at < :before OR (status IS NULL AND at < :stale)"
_BEGIN = """
INSERT INTO api_request (token, key, at, digest, status, headers, body)
VALUES (:token, :key, :now, :digest, NULL, '{}', '')
ON CONFLICT (token, key) DO NOTHING
"""
_END = "UPDATE api_request SET status = :status, headers = :headers, body = :body WHERE token = :token AND key = :key"
