"""The API as an ASGI application: routes, tokens, rate limits, errors.

Knows HTTP. Must not know SQL or what an operation does. A request passes these in turn: the query's length, the token,
the token's rate, its role, the parameters, the body against its schema, and for a POST the Idempotency-Key. Cookies
are not read. What failed is logged with a reason and never with what was sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cpe_filter.collect.answer_headers import WithHeaders
from cpe_filter.collect.api import once, problem, query, tokens
from cpe_filter.collect.api.acts import ACTS
from cpe_filter.collect.api.operations import OPERATIONS, PARAMETERS, PATH_RULES, PREFIX, Operation
from cpe_filter.collect.api.problem import HEADERS, ProblemError
from cpe_filter.collect.api.reads import READS, Call, Done, Setup
from cpe_filter.collect.api.schemas import SCHEMAS
from cpe_filter.collect.intake.limits import Buckets, source
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import StoreError, StoreUnavailableError

#: How long one request may take, seconds. A claim and an unfinished request lapse later.
_REQUEST_S = 30.0
#: Requests without a valid token, from one address: at once, and per hour.
_ANONYMOUS_BURST, _ANONYMOUS_PER_HOUR = 30, 120
_REMEMBERED = 10_000
_CHALLENGE = 'Bearer realm="cpe-filter"'


@dataclass(frozen=True, slots=True)
class Limits:
    """What one token may do."""

    requests_per_hour: int = 36_000
    requests_burst: int = 300
    acts_per_hour: int = 1200
    acts_burst: int = 120


class Api:
    """All operations, for one listener."""

    def __init__(self, setup: Setup, limits: Limits, metrics: Metrics, now: Callable[[], float]) -> None:
        self._setup, self._metrics, self._now = setup, metrics, now
        self._log = logging.getLogger("cpe_filter.collect.api")
        self._requests = Buckets(limits.requests_per_hour, limits.requests_burst, tokens.MAX_TOKENS)
        self._acts = Buckets(limits.acts_per_hour, limits.acts_burst, tokens.MAX_TOKENS)
        self._anonymous = Buckets(_ANONYMOUS_PER_HOUR, _ANONYMOUS_BURST, _REMEMBERED)
        self._validators = {
            one.body: jsonschema_rs.Draft202012Validator(SCHEMAS[one.body]) for one in OPERATIONS if one.body
        }

    def routes(self) -> list[Route]:
        """One for each path, with all its methods, so that `Allow` names them all."""
        paths: dict[str, dict[str, Operation]] = {}
        for one in OPERATIONS:
            paths.setdefault(PREFIX + one.path, {})[one.method] = one
        return [
            Route(path, self._endpoint(by_method), methods=[*by_method]) for path, by_method in paths.items()
        ]  # fmt: skip

    def _endpoint(self, by_method: dict[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            one = by_method["GET" if request.method == "HEAD" else request.method]
            fields: dict[str, Any] = {"peer": _peer(request), "operation": one.name}
            try:
                return await asyncio.wait_for(self._answer(one, request, fields), _REQUEST_S)
            except ProblemError as error:
                return self._refusal(error, fields)
            except ClientDisconnect:
                return Response(status_code=400)
            except (StoreUnavailableError, asyncio.TimeoutError, TimeoutError) as error:
                self._log.error("api failed", extra={"fields": {**fields, "why": str(error) or "too slow"}})
                return problem.response(ProblemError("unavailable", headers={"retry-after": "30"}))
            except StoreError as error:
                self._log.error("api failed", extra={"fields": {**fields, "why": str(error)}})
                return problem.response(ProblemError("internal"))

        return endpoint

    def _refusal(self, error: ProblemError, fields: dict[str, Any]) -> Response:
        level = logging.WARNING if error.status in (401, 403, 413) else logging.INFO
        details = {**fields, "status": error.status, "reason": error.code}
        self._log.log(level, "api refused", extra={"fields": details})
        return problem.response(error)

    async def _answer(self, one: Operation, request: Request, fields: dict[str, Any]) -> Response:
        raw = request.scope.get("query_string", b"")
        if len(raw) > query.MAX_QUERY:
            raise ProblemError("too-long")
        now = int(self._now())
        token = await self._token(one, request, now) if one.role else None
        if token is not None:
            fields["token"] = token.name
            self._pay(one, token)
            if one.role and not token.may(one.role):
                raise ProblemError("forbidden", f"This needs role {one.role}; the token has {token.role}")
        else:
            self._pay_anonymous(request)
        path = dict(request.path_params)
        if not all(re.fullmatch(PATH_RULES[name], value, re.ASCII) for name, value in path.items()):
            raise ProblemError("not-found")
        asked = query.read(raw, {name: PARAMETERS[name] for name in one.parameters})
        call = Call(self._setup, token, now, path, asked, {}, _header(request, "if-match"), fields["peer"])
        if one.method == "GET":
            response = _response(one.status, await READS[one.name](call))
        else:
            response = await self._post(one, request, call)
        if token is not None:  # also reads: what was done with a stolen token must be known
            self._log.info("api", extra={"fields": {**fields, "status": response.status_code, **path}})
        return response

    async def _post(self, one: Operation, request: Request, call: Call) -> Response:
        data, body = await self._body(one, request)
        call = Call(call.setup, call.token, call.now, call.path, call.query, body, call.match, call.peer)
        key = _header(request, "idempotency-key")
        if key is None:
            return _response(one.status, await ACTS[one.name](call))
        return await self._once(one, request, call, key, data)

    async def _once(self, one: Operation, request: Request, call: Call, key: str, data: bytes) -> Response:
        token, store = call.who.id, call.store
        digest = once.digest(one.method, request.url.path, call.match or "", data)
        before = await once.begin(store, token, key, digest, call.now)
        if before is not None:
            headers = {**before.headers, "idempotent-replayed": "true"}
            return Response(before.body.encode(), before.status, headers, "application/json")
        try:
            response = _response(one.status, await ACTS[one.name](call))
        except (ProblemError, StoreError):  # nothing was done: the client may try the same again
            await once.drop(store, token, key)
            raise
        headers = {name: value for name, value in response.headers.items() if name == "etag"}
        await once.end(store, token, key, response.status_code, headers, bytes(response.body).decode())
        return response

    async def _body(self, one: Operation, request: Request) -> tuple[bytes, dict[str, Any]]:
        """The bytes of the body, and its value, which fits the schema."""
        if one.body is None:
            return b"", {}
        data, value = await problem.read_json(request)
        try:
            error = next(self._validators[one.body].iter_errors(value), None)
        except (ValueError, RecursionError):  # lone surrogates
            raise ProblemError("bad-request", "The text of the body is not Unicode") from None
        if error is not None:
            steps = [str(step) for step in error.schema_path]
            # Only names of the schema say where.
            place = [steps[at + 1] for at, step in enumerate(steps[:-1]) if step == "properties"]
            raise ProblemError("bad-request", f"Body{''.join(f', {name}' for name in place)}: {steps[-1]}")
        return data, value

    async def _token(self, one: Operation, request: Request, now: int) -> tokens.Token:
        """Raises `ProblemError`."""
        given = request.headers.getlist("authorization")
        scheme, _, text = (given[0] if len(given) == 1 else "").partition(" ")
        text = text.strip(" ")
        if scheme.lower() == "bearer" and tokens.is_well_formed(text):
            token = await tokens.find(self._setup.store, text, now)
            if token is not None:
                return token
        self._metrics.api_tokens_refused.inc()
        self._pay_anonymous(request)
        error = ', error="invalid_token"' if given else ""
        raise ProblemError("unauthorized", headers={"www-authenticate": _CHALLENGE + error})

    def _pay_anonymous(self, request: Request) -> None:
        """Requests without a valid token count for their address."""
        wait = self._anonymous.take(source(_peer(request)), 1, time.monotonic())
        if wait:
            raise _too_many(wait)

    def _pay(self, one: Operation, token: tokens.Token) -> None:
        now = time.monotonic()
        wait = self._requests.take(token.id, 1, now)
        if not wait and one.method != "GET":
            wait = self._acts.take(token.id, 1, now)
        if wait:
            raise _too_many(wait)


def _too_many(wait_s: float) -> ProblemError:
    return ProblemError("too-many-requests", headers={"retry-after": str(max(1, min(3600, math.ceil(wait_s))))})


def _header(request: Request, name: str) -> str | None:
    """The value of a header that may occur once. Raises `ProblemError`."""
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise ProblemError("bad-request", f"Header {name} occurs twice")
    return values[0] if values else None


def _peer(request: Request) -> str:
    return request.client.host if request.client else "unix"


def _response(status: int, done: Done) -> Response:
    body = json.dumps(done.value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(body, status, dict(done.headers), "application/json")


def application(
    setup: Setup,
    limits: Limits,
    metrics: Metrics,
    now: Callable[[], float] = time.time,
    secure: bool = True,
) -> Callable[..., Any]:
    """The API behind its listener. now: POSIX seconds, called for each request."""
    api = Api(setup, limits, metrics, now)
    log = logging.getLogger("cpe_filter.collect.api")

    async def missing(_request: Request, _error: Exception) -> Response:
        return problem.response(ProblemError("not-found"))

    async def method(_request: Request, error: Exception) -> Response:
        allow = (getattr(error, "headers", None) or {}).get("Allow", "")
        return problem.response(ProblemError("method-not-allowed", headers={"allow": allow}))

    async def failed(_request: Request, error: Exception) -> Response:
        log.error("api failed", exc_info=error)
        return problem.response(ProblemError("internal"))

    app = Starlette(routes=api.routes(), exception_handlers={404: missing, 405: method, Exception: failed})
    app.router.redirect_slashes = False
    return WithHeaders(app, HEADERS, lambda status: metrics.api.labels(str(status)).inc(), secure)
