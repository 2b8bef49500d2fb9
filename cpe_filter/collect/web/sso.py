"""The endpoints of a login by an identity provider: its beginning, its callback, and the logout there.

Knows HTTP, and the cookie that binds a login to a browser. Must not know the flow (oidc) or sessions: `Host.enter`
begins one.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cpe_filter.collect.intake.limits import Buckets, source
from cpe_filter.collect.web import login
from cpe_filter.collect.web.http import HttpError
from cpe_filter.collect.web.oidc import PENDING_S, Identity, LoginError, Oidc
from cpe_filter.collect.web.provider import ProviderError

PATH, CALLBACK, END = "/login/oidc", "/login/oidc/callback", "/logout/oidc"
#: Logins that one address may begin: at once, and per hour.
_BURST, _PER_HOUR = 20, 120
_REMEMBERED = 10_000
#: Parameters of a callback.
_MAX_PARAMETERS = 16


class Host(NamedTuple):
    """What the site does for these endpoints."""

    #: Any text -> a path of the site, where a login may lead.
    target: Callable[[str], str]
    #: The address of a browser.
    address: Callable[[Request], str]
    #: Event, request, level, and fields of a line of the log.
    log: Callable[..., None]
    #: Counts a login: good, failed, slowed or unavailable.
    counted: Callable[[str], None]
    #: Begins a session, and leads to the target. Raises `HttpError`.
    enter: Callable[[Request, Identity, str], Awaitable[Response]]


class Sso:
    """secure: cookies are sent over TLS only. ways: for the page of the login. now: POSIX seconds."""

    def __init__(self, oidc: Oidc, host: Host, secure: bool, ways: login.Ways, now: Callable[[], float]) -> None:
        self._oidc, self._host, self._secure, self._ways, self._now = oidc, host, secure, ways, now
        self._cookie = "__Host-fleet-login" if secure else "fleet-login"
        self._begun = Buckets(_PER_HOUR, _BURST, _REMEMBERED)

    def endpoints(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Path -> what answers GET there."""
        return {PATH: self._begin, CALLBACK: self._callback, END: self._end}

    async def _begin(self, request: Request) -> Response:
        target = self._host.target(request.query_params.get("next", ""))
        wait_s = self._begun.take(source(self._host.address(request)), 1, time.monotonic())
        if wait_s:
            self._host.counted("slowed")
            self._host.log("login slowed", request, logging.WARNING)
            page = login.page(target, wait_s=int(wait_s) + 1, ways=self._ways)
            return HTMLResponse(page, 429, {"retry-after": str(int(wait_s) + 1)})
        browser = request.cookies.get(self._cookie, "")
        if not 32 <= len(browser) <= 64:  # another login of this browser may be under way
            browser = secrets.token_urlsafe(32)
        try:
            url = await self._oidc.begin(browser, target, time.monotonic())
        except ProviderError as error:
            return self._unavailable(request, target, error)
        response = RedirectResponse(url, 303)
        response.set_cookie(
            self._cookie, browser, max_age=int(PENDING_S), path="/", secure=self._secure, httponly=True, samesite="lax"
        )
        return response

    async def _callback(self, request: Request) -> Response:
        pairs = request.query_params.multi_items()
        query = dict(pairs)
        try:
            if len(pairs) > _MAX_PARAMETERS or len(query) != len(pairs):
                raise LoginError("parameters")
            browser = request.cookies.get(self._cookie, "")
            identity, target = await self._oidc.finish(query, browser, time.monotonic(), self._now())
            return await self._host.enter(request, identity, target)
        except ProviderError as error:
            return self._unavailable(request, "/", error)
        except LoginError as error:
            self._host.counted("failed")
            self._host.log("login failed", request, logging.WARNING, reason=f"oidc {error}")
            why = _REASONS.get(str(error), "The login failed. Try again.")
            return HTMLResponse(login.page("/", problem=why, ways=self._ways), 403)

    async def _end(self, request: Request) -> Response:
        """After the logout here."""
        try:
            url = await self._oidc.end_url("/login?out=1")
        except ProviderError as error:
            return self._unavailable(request, "/", error)
        if not url:
            raise HttpError(404, "The identity provider has no logout.")
        return RedirectResponse(url, 303)

    def _unavailable(self, request: Request, target: str, error: Exception) -> Response:
        self._host.counted("unavailable")
        self._host.log("identity provider", request, logging.ERROR, reason="unavailable", why=str(error))
        why = "The identity provider is unavailable."
        if self._ways.passwords:
            why += " You can log in with a password."
        page = login.page(target, problem=why, ways=self._ways)
        return HTMLResponse(page, 503, {"retry-after": "30"})


_REASONS = {
    "role": "You may not see this page: the identity provider gives you none of its roles.",
    "name": "The identity provider gives you a name that cannot be used here.",
    "state": "The login took too long, or was used before. Try again.",
    "refused": "The identity provider refused the login.",
}
