"""POST /v1/reports: identity, limits, content; then the sink. 200 only when the sink has stored the report.

Knows HTTP. Must not know TLS, stores or queues. Answers are JSON: `{"acked":[seq], "rejected":[{"seq","index","why"}],
"retry_splay":s, "policy_version":""}`, and `"instructions":[text]` where some wait for the router; or `{"why":text}`.
Repeating a request after 400, 413 or 415 is of no use; after 429 and 503 it is, after Retry-After seconds. Nothing that
a sender wrote is sent back or logged.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cpe_filter.collect import wire
from cpe_filter.collect.intake.identity import Headers, RefusedError
from cpe_filter.collect.intake.inbox import Sink
from cpe_filter.collect.intake.limits import Buckets, Discard, Gunzip, GzipError, Plain, TooLargeError
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import StoreUnavailableError, UnstorableError
from cpe_filter.send.protocol import MAX_BODY, PATH

#: Peer's address (None for a Unix socket), headers, certificate in DER -> router id and address. Raises `RefusedError`.
Identify = Callable[[str | None, Headers, "bytes | None"], "tuple[str, str | None]"]


@dataclass(frozen=True, slots=True)
class Terms:
    """Limits of a router, and what answers contain. Seconds, per hour, tokens; config.keys.KEYS explains each."""

    reports_per_hour: int = 120
    reports_burst: int = 30
    events_per_hour: int = 2000
    events_burst: int = 4000
    body_s: float = 20.0
    retry_splay_s: int = 3600
    retry_after_s: int = 60
    policy_version: str = ""


class Limits:
    """The token buckets of routers, shared by all listeners of a process."""

    def __init__(self, terms: Terms) -> None:
        self.reports = Buckets(terms.reports_per_hour, terms.reports_burst)
        self.events = Buckets(terms.events_per_hour, terms.events_burst)


class _RefusalError(Exception):
    """Ends a request. reason: one word for counters. close: ends the connection, too."""

    def __init__(self, status: int, reason: str, why: str, retry_after: int = 0, close: bool = False) -> None:
        super().__init__(why)
        self.status, self.reason, self.retry_after, self.close = status, reason, retry_after, close


class _Reports:
    def __init__(
        self,
        identify: Identify,
        sink: Sink,
        terms: Terms,
        limits: Limits,
        metrics: Metrics,
        waiting: Callable[[wire.Report], list[str]],
    ) -> None:
        self._identify, self._sink, self._terms, self._limits, self._metrics = identify, sink, terms, limits, metrics
        self._waiting = waiting
        self._log = logging.getLogger("cpe_filter.collect.intake.app")

    async def __call__(self, request: Request) -> Response:
        begun = time.monotonic()
        fields: dict[str, Any] = {"peer": request.client.host if request.client else "unix"}
        try:
            response = await self._receive(request, fields)
        except (_RefusalError, RefusedError) as error:
            response = self._refusal(error, fields)
        except ClientDisconnect:
            self._metrics.refused.labels("gone").inc()
            response = Response(status_code=400)  # the client has disconnected
        self._metrics.requests.labels(str(response.status_code)).inc()
        self._metrics.request_seconds.observe(time.monotonic() - begun)
        return response

    def _refusal(self, error: _RefusalError | RefusedError, fields: dict[str, Any]) -> Response:
        headers = {}
        if isinstance(error, _RefusalError):
            if error.retry_after:
                headers["retry-after"] = str(error.retry_after)
            if error.close:
                headers["connection"] = "close"
        self._metrics.refused.labels(error.reason).inc()
        level = logging.WARNING if error.status != 429 else logging.INFO
        details = {**fields, "status": error.status, "reason": error.reason, "why": str(error)}
        self._log.log(level, "refused", extra={"fields": details})
        return _json({"why": str(error)}, error.status, headers)

    async def _receive(self, request: Request, fields: dict[str, Any]) -> Response:
        received = int(time.time())
        # Exactly this path: no other spelling, and no query.
        if request.scope.get("raw_path", b"") != PATH.encode() or request.scope.get("query_string"):
            raise _RefusalError(404, "path", "no such path", close=True)
        extension = request.scope.get("extensions", {}).get("tls", {})
        peer = request.client.host if request.client else None
        try:
            router, address = self._identify(peer, request.scope["headers"], extension.get("client_cert_der"))
        except RefusedError as error:
            await self._drain(request)
            raise error
        fields["router"] = router
        # Before the body: a body that never ends costs the router as much as a report.
        wait = self._limits.reports.take(router, 1, time.monotonic())
        if wait:
            await self._drain(request)
            self._pay(wait, "too many reports")
        body = await self._body(request)
        try:
            report, rejected = wire.parse(body, router, address, received)
        except wire.ReportError as error:
            raise _RefusalError(400, "report", str(error)) from None
        self._pay(
            self._limits.events.take(router, len(report.events) + len(rejected), time.monotonic()), "too many events"
        )
        await self._store(report)
        if rejected:
            self._metrics.events.labels("rejected").inc(len(rejected))
            details = {**fields, "count": len(rejected), "why": rejected[0].why}
            self._log.warning("events rejected", extra={"fields": details})
        waiting = self._waiting(report)
        return _json(
            {
                "acked": [event["seq"] for event in report.events],
                "rejected": [{"seq": one.seq, "index": one.index, "why": one.why} for one in rejected],
                "retry_splay": self._terms.retry_splay_s,
                "policy_version": self._terms.policy_version,
                **({"instructions": waiting} if waiting else {}),
            }
        )

    async def _store(self, report: wire.Report) -> None:
        try:
            await self._sink.put(report)
        except StoreUnavailableError as error:
            # The reason is logged, not sent.
            self._log.error("store unavailable", extra={"fields": {"why": str(error)}})
            # Spread: routers that were refused together must not return together.
            spread = self._terms.retry_after_s
            raise _RefusalError(
                503, "store-unavailable", "try again later", spread + secrets.randbelow(spread + 1)
            ) from None
        except UnstorableError as error:
            self._log.error(
                "report refused by the store", extra={"fields": {"router": report.router, "why": str(error)}}
            )
            raise _RefusalError(400, "unstorable", "the store refuses this report") from None

    @staticmethod
    def _pay(wait_s: float, why: str) -> None:
        if wait_s:
            raise _RefusalError(429, "rate", why, max(1, min(3600, math.ceil(wait_s))))

    async def _body(self, request: Request) -> bytes:
        length = request.headers.get("content-length")
        if length is not None and int(length) > MAX_BODY:  # the server has checked that it is a number
            raise _RefusalError(413, "large", f"body over {MAX_BODY} bytes", close=True)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            await self._drain(request)
            raise _RefusalError(415, "type", "expected Content-Type: application/json")
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("gzip", "identity"):
            await self._drain(request)
            raise _RefusalError(415, "coding", "expected Content-Encoding: gzip or none")
        taker = Gunzip() if coding == "gzip" else Plain()
        try:
            await asyncio.wait_for(_feed(request, taker), self._terms.body_s)
            return taker.end()
        except (asyncio.TimeoutError, TimeoutError):
            raise _RefusalError(408, "slow", f"body took over {self._terms.body_s:g} s", close=True) from None
        except TooLargeError as error:
            raise _RefusalError(413, "large", str(error), close=True) from None
        except GzipError as error:
            raise _RefusalError(400, "gzip", str(error), close=True) from None

    async def _drain(self, request: Request) -> None:
        """Reads and discards the body up to `MAX_BODY`, so that the sender can read the refusal."""
        try:
            await asyncio.wait_for(_feed(request, Discard()), self._terms.body_s)
        except (asyncio.TimeoutError, TimeoutError):
            raise _RefusalError(408, "slow", "body too slow", close=True) from None
        except TooLargeError:
            raise _RefusalError(413, "large", f"body over {MAX_BODY} bytes", close=True) from None


async def _feed(request: Request, body: Gunzip | Plain | Discard) -> None:
    async for chunk in request.stream():
        body.feed(chunk)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(value, status, {"x-content-type-options": "nosniff", **(headers or {})})


def application(
    identify: Identify,
    sink: Sink,
    terms: Terms,
    limits: Limits,
    metrics: Metrics,
    waiting: Callable[[wire.Report], list[str]] = lambda report: [],
) -> Starlette:
    """The application behind one listener. Anything else than POST /v1/reports is refused, counted and logged.

    waiting: the signed instructions for the router of a report.
    """
    log = logging.getLogger("cpe_filter.collect.intake.app")

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        metrics.requests.labels(str(status)).inc()
        metrics.refused.labels("path" if status == 404 else "method").inc()
        peer = request.client.host if request.client else "unix"
        log.warning("refused", extra={"fields": {"peer": peer, "status": status, "reason": "path or method"}})
        allow = {"allow": "POST"} if status == 405 else {}
        return _json({"why": "expected POST /v1/reports"}, status, {"connection": "close", **allow})

    handlers = {404: refused, 405: refused}
    endpoint = _Reports(identify, sink, terms, limits, metrics, waiting)
    route = Route(PATH, endpoint.__call__, methods=["POST"])
    app = Starlette(routes=[route], exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app
