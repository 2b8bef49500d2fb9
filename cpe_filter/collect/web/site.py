"""The fleet page as an ASGI application: routes, who may, forms, headers.

Knows HTTP. Must not know SQL or how a page looks. GET only shows; what changes something is a POST of desk's, from a
page of this site, with the person's own token. Every answer says to the browser: nothing from elsewhere, no script, no
frame, not to be kept. Names and texts that are typed in are logged nowhere; who did what to which case is.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Store, StoreError, StoreUnavailableError
from cpe_filter.collect.web import casefile, caselist, login, overview, style
from cpe_filter.collect.web.access import (
    Access,
    AddressOf,
    ByPassword,
    Person,
    RefusedError,
    TooManyTriesError,
    same_origin,
)
from cpe_filter.collect.web.figures import Figures
from cpe_filter.collect.web.layout import TOKEN, frame

#: Bytes and fields of a form, and of a query; seconds for a form to come.
MAX_FORM, MAX_FIELDS, MAX_QUERY = 16 * 1024, 20, 2048
_FORM_S = 20.0
#: How long one page may take.
_PAGE_S = 60.0

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
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
#: A case's id in an address.
_CASE = re.compile(r"[0-9A-Za-z-]{1,64}")
_KEPT = "public, max-age=31536000, immutable"
#: Where one may be sent after the login.
_NEXT = re.compile(r"/(cases(/[0-9A-Za-z-]{1,64})?(\?[!-~]{0,1500})?|(\?[!-~]{0,1500})?)")


@dataclass(frozen=True, slots=True)
class Terms:
    """secure: cookies travel by TLS alone. url: how browsers reach the page, empty if by its address. asked: from where
    they connect."""

    secure: bool
    url: str = ""
    session_s: int = 36_000
    address_of: AddressOf = field(default_factory=AddressOf)


class HttpError(Exception):
    """Ends a request with a page that says why: our own words."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers


Form = dict[str, str]
Shown = Callable[[Request, Person], Awaitable[Response]]


class Site:
    """All endpoints of one page."""

    def __init__(
        self,
        store: Store,
        access: Access,
        terms: Terms,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._store, self._access, self._terms, self._metrics, self._now = store, access, terms, metrics, now
        self._figures = Figures(store)
        self._log = logging.getLogger("cpe_filter.collect.web")
        # A cookie with this prefix is taken from this host alone, and by TLS alone (RFC 6265bis).
        self._cookie = "__Host-fleet" if terms.secure else "fleet"

    def routes(self) -> list[Route]:
        return [
            Route("/", self._page(self._overview), methods=["GET"]),
            Route("/cases", self._page(self._cases), methods=["GET"]),
            Route("/cases/{number}", self._page(self._case), methods=["GET"]),
            Route("/cases/{number}/{act}", self._page(self._act, desk=True), methods=["POST"]),
            Route("/login", self._guarded(self._login), methods=["GET", "POST"]),
            Route("/logout", self._page(self._logout), methods=["POST"]),
            Route("/static/{name}", self._static, methods=["GET"]),
        ]

    # ── who may ─────────────────────────────────────────────────────────────────────────────────

    def _page(self, show: Shown, desk: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """For somebody who is logged in."""

        async def inside(request: Request) -> Response:
            person = self._person(request)
            if person is None:
                if not self._access.login:
                    raise HttpError(403, "You are not logged in.")
                back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                known = request.method == "GET" and back != "/" and _NEXT.fullmatch(back)
                return _go("/login" + (f"?{urlencode({'next': back})}" if known else ""))
            if desk and not person.may_act:
                self._say("page refused", request, logging.WARNING, user=person.name, reason="role")
                raise HttpError(403, "Viewers can look; this is for the desk.")
            return await show(request, person)

        return self._guarded(inside)

    def _guarded(self, work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Every way to fail as a page of its own, with nothing in it but our own words."""

        async def outside(request: Request) -> Response:
            headers = None
            try:
                if len(request.scope.get("query_string", b"")) > MAX_QUERY:
                    raise HttpError(414, "The address is too long.")
                return await asyncio.wait_for(work(request), _PAGE_S)
            except HttpError as error:
                status, why, headers = error.status, str(error), error.headers
            except RefusedError as error:
                status, why = error.status, f"{str(error)[:1].upper()}{str(error)[1:]}."
                self._say("page refused", request, logging.WARNING, reason=error.reason)
            except ClientDisconnect:
                return Response(status_code=400)
            except (StoreUnavailableError, asyncio.TimeoutError, TimeoutError) as error:
                status, why, headers = 503, "The store cannot be read now. Try again soon.", {"retry-after": "30"}
                self._say("page failed", request, logging.ERROR, why=str(error) or "too slow")
            except StoreError as error:
                status, why = 500, "This page cannot be shown. The log says why."
                self._say("page failed", request, logging.ERROR, why=str(error))
            return self._wrong(request, status, why, headers)

        return outside

    def _wrong(self, request: Request, status: int, why: str, headers: dict[str, str] | None = None) -> Response:
        try:
            person = self._person(request)
        except RefusedError:
            person = None
        body = f'<h1>{why}</h1><p><a href="/">To the overview</a></p>'
        return HTMLResponse(frame(f"{status}", body, person, self._access.login), status, headers)

    def _person(self, request: Request) -> Person | None:
        peer = request.client.host if request.client else None
        cookie = request.cookies.get(self._cookie, "")
        return self._access.person(peer, request.scope["headers"], cookie, time.monotonic())

    async def _form(self, request: Request) -> Form:
        """A small form of this site. Raises `HttpError`."""
        if not same_origin(request.headers, request.url.scheme, self._terms.url):
            self._say("page refused", request, logging.WARNING, reason="origin")
            raise HttpError(403, "This form came from another site.")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise HttpError(415, "A form is wanted.", {"connection": "close"})
        body = bytearray()

        async def take() -> None:
            async for chunk in request.stream():
                body.extend(chunk)
                if len(body) > MAX_FORM:
                    raise HttpError(413, "The form is too large.", {"connection": "close"})

        try:
            await asyncio.wait_for(take(), _FORM_S)
        except (asyncio.TimeoutError, TimeoutError):
            raise HttpError(408, "The form took too long.", {"connection": "close"}) from None
        try:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except ValueError:
            raise HttpError(400, "This is no form.") from None
        return dict(pairs)

    async def _own_form(self, request: Request, person: Person) -> Form:
        """A form with the person's token: nobody else could have made it."""
        form = await self._form(request)
        if not hmac.compare_digest(form.get(TOKEN, "").encode(), person.token.encode()):
            self._say("page refused", request, logging.WARNING, user=person.name, reason="token")
            raise HttpError(403, "This form is out of date. Load the page again.")
        return form

    # ── pages ───────────────────────────────────────────────────────────────────────────────────

    async def _overview(self, request: Request, person: Person) -> Response:
        wanted = overview.wanted(dict(request.query_params))
        found = await self._figures.of(wanted, int(self._now()))
        return self._html("Overview", overview.page(found, wanted), person, "/")

    async def _cases(self, request: Request, person: Person) -> Response:
        wanted = caselist.wanted(dict(request.query_params))
        body = await caselist.page(self._store, wanted)
        return self._html("Cases", body, person, "/cases")

    async def _case(self, request: Request, person: Person) -> Response:
        number = _number(request)
        body = await casefile.page(self._store, number, person)
        if body is None:
            raise HttpError(404, "There is no such case.")
        said = casefile.DONE.get(request.query_params.get("done", ""), "")
        return self._html(f"Case {number}", body, person, "/cases", said)

    async def _act(self, request: Request, person: Person) -> Response:
        number, act = _number(request), request.path_params["act"]
        if act not in casefile.ACTS:
            raise HttpError(404, "There is no such page.")
        form = await self._own_form(request, person)
        refusal = await casefile.act(self._store, number, act, person.name, form.get("text", ""), int(self._now()))
        if refusal:
            raise HttpError(refusal.status, refusal.why)
        self._say("case", request, logging.INFO, user=person.name, case=number, act=act)
        return _go(f"/cases/{number}?done={act}")

    async def _login(self, request: Request) -> Response:
        if not isinstance(self._access, ByPassword):
            raise HttpError(404, "There is no such page.")
        person = self._person(request)
        query = dict(request.query_params)
        back = query.get("next", "")
        back = back if _NEXT.fullmatch(back) else "/"
        if request.method == "GET":
            return _go(back) if person else HTMLResponse(login.page(back, out="out" in query))
        form = await self._form(request)
        back = form.get("next", "")
        back = back if _NEXT.fullmatch(back) else "/"
        address = self._from(request)
        try:
            secret = await self._access.log_in(
                address, form.get("name", ""), form.get("password", ""), time.monotonic()
            )
        except TooManyTriesError as error:
            self._metrics.logins.labels("slowed").inc()
            self._say("login slowed", request, logging.WARNING)
            wait = int(error.wait_s) + 1
            return HTMLResponse(login.page(back, slow=wait), 429, {"retry-after": str(wait)})
        if secret is None:
            self._metrics.logins.labels("failed").inc()
            self._say("login failed", request, logging.WARNING)
            return HTMLResponse(login.page(back, wrong=True), 403)
        self._access.log_out(request.cookies.get(self._cookie, ""))
        self._metrics.logins.labels("good").inc()
        self._say("login", request, logging.INFO, user=form["name"])
        response = _go(back)
        self._set_cookie(response, secret, self._terms.session_s)
        return response

    async def _logout(self, request: Request, person: Person) -> Response:
        await self._own_form(request, person)
        if isinstance(self._access, ByPassword):
            self._access.log_out(request.cookies.get(self._cookie, ""))
            self._say("logout", request, logging.INFO, user=person.name)
        response = _go("/login?out=1")
        self._set_cookie(response, "", 0)
        return response

    async def _static(self, request: Request) -> Response:
        found = style.FILES.get(request.url.path)
        if found is None:
            return self._wrong(request, 404, "There is no such page.")
        kind, data = found
        return Response(data, media_type=kind, headers={"cache-control": _KEPT})

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────

    def _html(self, title: str, body: str, person: Person, section: str, said: str = "") -> Response:
        return HTMLResponse(frame(title, body, person, self._access.login, section, said))

    def _set_cookie(self, response: Response, secret: str, lasts_s: int) -> None:
        response.set_cookie(
            self._cookie, secret, max_age=lasts_s, path="/", secure=self._terms.secure, httponly=True, samesite="lax"
        )

    def _say(self, event: str, request: Request, level: int, **about: Any) -> None:
        self._log.log(level, event, extra={"about": {"peer": self._from(request), **about}})

    def _from(self, request: Request) -> str:
        return self._terms.address_of(request.client.host if request.client else None, request.scope["headers"])


def _number(request: Request) -> str:
    number: str = request.path_params["number"]
    if not _CASE.fullmatch(number):
        raise HttpError(404, "There is no such case.")
    return number


def _go(path: str) -> Response:
    return RedirectResponse(path, 303)


class _Sealed:
    """Around the application: the headers of every answer, and a count of them."""

    def __init__(self, app: Any, metrics: Metrics, secure: bool) -> None:
        self._app, self._metrics = app, metrics
        self._headers = {**_HEADERS, **({"strict-transport-security": "max-age=31536000"} if secure else {})}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                self._metrics.pages.labels(str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, sealed)


def application(
    store: Store, access: Access, terms: Terms, metrics: Metrics, now: Callable[[], float] = time.time
) -> Callable[..., Any]:
    """The page behind its listener. now: POSIX seconds; it is asked anew for each request."""
    site = Site(store, access, terms, metrics, now)
    log = logging.getLogger("cpe_filter.collect.web")

    async def wrong(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        why = "This is not how the page is used." if status == 405 else "There is no such page."
        return site._wrong(request, status, why)

    async def failed(request: Request, error: Exception) -> Response:
        log.error("page failed", exc_info=error)
        return HTMLResponse(frame("500", "<h1>This page cannot be shown. The log says why.</h1>", None, False), 500)

    app = Starlette(routes=site.routes(), exception_handlers={404: wrong, 405: wrong, Exception: failed})
    app.router.redirect_slashes = False
    return _Sealed(app, metrics, terms.secure)
