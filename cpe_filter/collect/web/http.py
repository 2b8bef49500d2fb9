"""HTTP of the fleet page: forms, the error that ends a request, and the headers of every answer.

Must not know stores, sessions or how a page looks.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import Request

#: Bytes and fields of a form; seconds for a form to arrive.
MAX_FORM, MAX_FIELDS, FORM_S = 16 * 1024, 20, 20.0

Form = dict[str, str]

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: that would make the Origin of our own forms null.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex",
}


class HttpError(Exception):
    """Ends a request with a page that says why. The text is shown: it must not contain anything that was sent."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers


class Refusal(NamedTuple):
    """Why an action was not done: the HTTP status, and a sentence."""

    status: int
    why: str


async def read_form(request: Request) -> Form:
    """A small form; of fields with one name the last. Raises `HttpError`."""
    return dict(await read_fields(request, MAX_FIELDS))


async def read_fields(request: Request, most: int) -> list[tuple[str, str]]:
    """A form with at most so many fields, as names and values in order. Raises `HttpError`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HttpError(415, "Expected a form.", {"connection": "close"})
    try:
        body = await asyncio.wait_for(_read_body(request), FORM_S)
    except (asyncio.TimeoutError, TimeoutError):
        raise HttpError(408, "The form took too long.", {"connection": "close"}) from None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=most, errors="strict")
    except ValueError:
        raise HttpError(400, "Malformed form.") from None
    if any("\0" in text for pair in pairs for text in pair):  # no browser sends it, and PostgreSQL cannot hold it
        raise HttpError(400, "Malformed form.")
    return pairs


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body.extend(chunk)
        if len(body) > MAX_FORM:
            raise HttpError(413, "The form is too large.", {"connection": "close"})
    return bytes(body)
