"""Errors of the API as problem details (RFC 9457), request bodies, and the headers of every answer.

Must not know cases or tokens. The texts of errors contain nothing that was sent.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple, NoReturn

from starlette.requests import Request
from starlette.responses import Response

#: Bytes of a request body; seconds for it to arrive.
MAX_BODY, BODY_S = 16 * 1024, 20.0
MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:problem-type:cpe-filter:"

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Kind(NamedTuple):
    """A kind of problem: its HTTP status, its title, and what a client should do, for the documentation."""

    status: int
    title: str
    meaning: str


PROBLEMS: dict[str, Kind] = {
    "bad-request": Kind(400, "Malformed request", "A parameter, a header or the body is not as described here."),
    "unauthorized": Kind(401, "No valid token", "Send `Authorization: Bearer cpe_...`; it may have expired."),
    "forbidden": Kind(403, "The token may not do this", "A token with another role is needed."),
    "not-found": Kind(404, "Not found", "There is no such case, token or path."),
    "method-not-allowed": Kind(405, "Method not allowed", "`Allow` names the methods of this path."),
    "timeout": Kind(408, "The body took too long", "Send it again."),
    "state": Kind(409, "The state of the case does not allow this", "Read the case again."),
    "in-progress": Kind(409, "The same request is being done", "Wait, and send it again."),
    "stale-version": Kind(412, "The case has changed", "Read the case again, and decide again."),
    "too-large": Kind(413, "The body is too large", f"At most {MAX_BODY} bytes."),
    "too-long": Kind(414, "The query is too long", "Use fewer filters."),
    "media-type": Kind(415, "Unsupported media type", "Send `Content-Type: application/json`, without encoding."),
    "key-reused": Kind(422, "The Idempotency-Key belongs to another request", "Use a new key."),
    "version-required": Kind(428, "If-Match is missing", "Send the ETag of the case that you have read, or `*`."),
    "too-many-requests": Kind(429, "Too many requests", "Wait as long as `Retry-After` says."),
    "internal": Kind(500, "Internal error", "The log of the collector says why."),
    "not-set-up": Kind(501, "Not set up", "The collector is not configured for this."),
    "unavailable": Kind(503, "The store is unavailable", "Wait as long as `Retry-After` says."),
}


class ProblemError(Exception):
    """Ends a request. code: of `PROBLEMS`. The text is sent: it must not contain anything that was sent."""

    def __init__(self, code: str, detail: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.headers = code, detail, headers or {}

    @property
    def status(self) -> int:
        return PROBLEMS[self.code].status


def response(error: ProblemError) -> Response:
    kind = PROBLEMS[error.code]
    value = {"type": _TYPE + error.code, "title": kind.title, "status": kind.status}
    if error.detail:
        value["detail"] = error.detail
    return Response(json.dumps(value).encode(), kind.status, error.headers, MEDIA_TYPE)


async def read_json(request: Request) -> tuple[bytes, Any]:
    """The body, and its JSON. Raises `ProblemError`."""
    data = await _read(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
        raise ProblemError("media-type")
    try:
        return data, json.loads(data.decode(), parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError:
        raise ProblemError("bad-request", "JSON nested too deeply") from None
    except ValueError:
        raise ProblemError("bad-request", "The body is not JSON, or a name occurs twice in it") from None


async def _read(request: Request) -> bytes:
    close = {"connection": "close"}
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 18 or int(length) > MAX_BODY:
        raise ProblemError("too-large", headers=close)
    body = bytearray()

    async def feed() -> None:
        async for chunk in request.stream():
            body.extend(chunk)
            if len(body) > MAX_BODY:
                raise ProblemError("too-large", headers=close)

    try:
        await asyncio.wait_for(feed(), BODY_S)
    except (asyncio.TimeoutError, TimeoutError):
        raise ProblemError("timeout", headers=close) from None
    return bytes(body)


def _refuse(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name twice")
    return value
