"""The subscriber map over HTTP: one request for each router, with a cache.

Knows HTTP. Must not know who asks for a subscriber. `GET url`, with the router's id in place of `{router}`. 200 with
JSON `{"rows":[{"subscriber",...}]}`, each with the columns of `subscribers` but `router` (text or numbers; `address`
and `language` may be lists): all lines of the router, past ones too. 404: unknown, repeated after a while. Anything
else is a failure. After `FAILURES` in a row no request is made for a time that doubles (full jitter); then one attempt
decides. No redirects, no proxies from the environment, at most `MAX_BODY` bytes, uncompressed, within `timeout_s`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from cpe_filter.collect.subscribers.map import (
    COLUMNS,
    MAX_ROWS_PER_ROUTER,
    Line,
    MapError,
    MapUnavailableError,
    Row,
    check_overlaps,
    line_at,
    row,
)

MAX_BODY = 256 * 1024
#: Routers in the cache.
MOST = 200_000
#: Failures in a row before a pause, and the first and the longest pause, seconds.
FAILURES = 5
PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0
#: Requests at once.
_AT_ONCE = 8


class Breaker:
    """A circuit breaker. Closed: always try; open: wait, then one attempt at a time until one succeeds."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float] = random.random) -> None:
        self._clock, self._jitter = clock, jitter
        self._failures = 0
        self._until = 0.0
        self._trying = False

    @property
    def open(self) -> bool:
        return self._failures >= FAILURES

    def enter(self) -> bool:
        if not self.open:
            return True
        if self._trying or self._clock() < self._until:
            return False
        self._trying = True
        return True

    def leave(self, good: bool) -> None:
        """Records how an attempt ended."""
        self._trying = False
        self._failures = 0 if good else self._failures + 1
        if self.open:
            doublings = min(self._failures - FAILURES, 16)
            # Never 0: that would be a closed breaker.
            self._until = self._clock() + max(1.0, self._jitter() * min(LONGEST_PAUSE_S, PAUSE_S * 2**doublings))


class Lookup:
    """A `Subscribers` behind `url`. Seconds: timeout_s for one answer; known_s and unknown_s in the cache.

    headers: for authentication. verify: an authority's certificates (PEM) in place of the system's. `failed`: failures
    since the start; `wrong`: the last one.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 5.0,
        known_s: float = 3600.0,
        unknown_s: float = 600.0,
        headers: dict[str, str] | None = None,
        verify: Any = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._timeout_s, self._known_s, self._unknown_s = url, timeout_s, known_s, unknown_s
        self._clock = clock
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=timeout_s,
            headers={**(headers or {}), "accept-encoding": "identity"},
            verify=verify,
            trust_env=False,
        )
        self._remembered: OrderedDict[str, tuple[float, tuple[Row, ...]]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[tuple[Row, ...]]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.breaker = Breaker(clock)
        self.failed = 0
        self.wrong = ""

    async def close(self) -> None:
        await self._client.aclose()

    async def refresh(self, now: float) -> bool:
        return False

    async def find(self, router: str, at: int) -> Line | None:
        remembered = self._remembered.get(router)
        if remembered is None or remembered[0] <= self._clock():
            rows = await self._ask(router)
        else:
            self._remembered.move_to_end(router)
            rows = remembered[1]
        return line_at(rows, at)

    async def _ask(self, router: str) -> tuple[Row, ...]:
        """One request for any number of callers."""
        task = self._asking.get(router)
        if task is None:
            task = self._asking[router] = asyncio.create_task(self._answer(router))
            task.add_done_callback(lambda _: self._asking.pop(router, None))
        return await asyncio.shield(task)

    async def _answer(self, router: str) -> tuple[Row, ...]:
        async with self._slots:
            if not self.breaker.enter():
                raise MapUnavailableError("paused after failures")
            good = False
            try:
                rows = await asyncio.wait_for(self._get(router), self._timeout_s)
                good = True
            except (httpx.HTTPError, httpx.InvalidURL, asyncio.TimeoutError, TimeoutError) as error:
                raise self._failure(str(error) or type(error).__name__) from None
            except MapError as error:
                raise self._failure(f"the answer for a router cannot be used: {error}") from None
            finally:
                self.breaker.leave(good)
        self.wrong = ""
        self._remembered[router] = self._clock() + (self._known_s if rows else self._unknown_s), rows
        self._remembered.move_to_end(router)
        if len(self._remembered) > MOST:
            self._remembered.popitem(last=False)
        return rows

    def _failure(self, what: str) -> MapUnavailableError:
        self.failed += 1
        self.wrong = what[:200]
        return MapUnavailableError(self.wrong)

    async def _get(self, router: str) -> tuple[Row, ...]:
        async with self._client.stream("GET", self._url.replace("{router}", quote(router, safe=""))) as response:
            if response.status_code == 404:
                return ()
            if response.status_code != 200:
                raise MapError(f"status {response.status_code}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise MapError(
                    "compressed, which was not requested"
                )  # a bomb would be decompressed before it is measured
            body = b""
            async for chunk in response.aiter_raw(65536):
                body += chunk
                if len(body) > MAX_BODY:
                    raise MapError(f"over {MAX_BODY} bytes")
        return parse(body, router)


def parse(body: bytes, router: str) -> tuple[Row, ...]:
    """An answer's JSON -> rows. Raises `MapError`."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise MapError("not JSON") from None
    rows = data.get("rows") if isinstance(data, dict) else None
    if not isinstance(rows, list) or len(rows) > MAX_ROWS_PER_ROUTER:
        raise MapError("not {rows:[...]}")
    found = tuple(row({**_values(values), "router": router}) for values in rows)
    check_overlaps(found)
    return found


def _values(values: Any) -> dict[str, str]:
    if not isinstance(values, dict):
        raise MapError("a row is not an object")
    out = {}
    for name in COLUMNS:
        value = values.get(name)
        if isinstance(value, list) and name in ("address", "language") and all(isinstance(item, str) for item in value):
            value = " ".join(value)
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise MapError(f"{name} is not text")
        out[name] = "" if value is None else str(value)
    return out
