"""/metrics, /healthz and /readyz: for Prometheus and for whoever starts and watches the process. Never for routers.

Knows HTTP by Starlette, and that something is ready or not. Must not know what a metric means or how it is found out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cpe_filter.collect.store.base import StoreError

#: Time limit of a look, and how long its result holds: each look writes to the store.
LOOK_S, HOLDS_S = 5.0, 2.0


class Readiness:
    """Looks at most once in `HOLDS_S` seconds, however many ask; one look at a time."""

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock = look, clock
        self._asking = asyncio.Lock()
        self._at, self._problem = float("-inf"), "not looked yet"

    async def problem(self) -> str | None:
        """What is wrong, one line; None if reports would be accepted."""
        async with self._asking:
            if self._clock() - self._at >= HOLDS_S:
                self._problem = await self._found()
                self._at = self._clock()
            return self._problem or None

    async def _found(self) -> str:
        try:
            await asyncio.wait_for(self._look(), LOOK_S)
        except StoreError as error:
            return str(error)
        except (asyncio.TimeoutError, TimeoutError):
            return f"no answer within {LOOK_S:g} s"
        return ""


def application(registry: CollectorRegistry, look: Callable[[], Awaitable[None]]) -> Starlette:
    """look: raises `StoreError` where a report could not be stored now."""
    readiness = Readiness(look)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        problem = await readiness.problem()
        return PlainTextResponse(f"{problem}\n" if problem else "ready\n", 503 if problem else 200)

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", health), Route("/readyz", ready)],
    )
