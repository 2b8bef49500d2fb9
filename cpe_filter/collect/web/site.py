"""The fleet page as an ASGI application: routes, permissions, actions.

Knows HTTP. Must not know SQL or how a page looks. GET only reads. A change is a POST by a user with role desk, from a
page of this site, with the token of that user. Every answer forbids the browser other origins, scripts, frames and
caching. Typed names and texts are never logged; which user did what to which case is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from cpe_filter.collect.answer_headers import WithHeaders
from cpe_filter.collect.cases import actions, instructions, mail_servers
from cpe_filter.collect.intake.limits import Buckets
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.rollout import routers, spread
from cpe_filter.collect.rollout.figures import Rollouts
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store, StoreError, StoreUnavailableError
from cpe_filter.collect.web import (
    auditpage,
    casefile,
    login,
    mailform,
    makers,
    overview,
    rolloutpage,
    style,
    subscriberpage,
    undeliveredpage,
    zone,
    zonepage,
)
from cpe_filter.collect.web import instructions as instructions_page
from cpe_filter.collect.web import mail_servers as mail_servers_page
from cpe_filter.collect.web.access import (
    Access,
    AddressOf,
    ByPassword,
    Person,
    RefusedError,
    TooManyAttemptsError,
    same_origin,
)
from cpe_filter.collect.web.desk_routes import DeskRoutes, Fields, Tools
from cpe_filter.collect.web.figures import Figures
from cpe_filter.collect.web.http import HEADERS, MAX_FIELDS, Form, HttpError, read_fields, read_form
from cpe_filter.collect.web.layout import TOKEN, frame
from cpe_filter.collect.web.oidc import Identity, Oidc
from cpe_filter.collect.web.sso import Host, Sso

#: Bytes of a query.
MAX_QUERY = 2048
#: Failed logins that the audit log gets: at once, and per hour after that. The next line says how many were left out.
_FAILED_BURST, _FAILED_PER_HOUR = 100, 300
#: How long a browser keeps the choice of a time zone, seconds.
_ZONE_S = 365 * 86_400
#: How long one page may take.
_PAGE_S = 60.0

#: The id of a case in a URL.
_CASE = re.compile(r"[0-9A-Za-z-]{1,64}")
_CACHED = "public, max-age=31536000, immutable"
#: Where the browser may be sent after the login.
_NEXT = re.compile(
    r"/((audit|fleet|cases(/[0-9A-Za-z-]{1,64})?|subscribers|rollout(/routers)?)(\?[!-~]{0,1500})?|mail-servers|undelivered"
    r"|subscribers/[!->@-~]{1,800}|bulk(/[0-9a-f]{1,32})?|zone|(\?[!-~]{0,1500})?)"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """secure: cookies are sent over TLS only. url: the URL that browsers use, empty if it is the address. address_of:
    finds the address of the browser. zone: of times, where a user has not chosen another. makers: names of makers.
    people: users that cases can be assigned to; none: any name. answer_days: after so many days without an answer of
    the subscriber a case waits for the desk. rollouts: figures of signed documents; None: of the store alone."""

    secure: bool
    url: str = ""
    session_s: int = 36_000
    address_of: AddressOf = field(default_factory=AddressOf)
    zone: str = zone.UTC
    makers: makers.Files = field(default_factory=lambda: makers.Files(()))
    people: tuple[str, ...] = ()
    answer_days: int = 7
    rollouts: Rollouts | None = None


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
        mail: Desk | None = None,
        oidc: Oidc | None = None,
        instruct: instructions.Desk | None = None,
    ) -> None:
        self._store, self._access, self._terms, self._metrics, self._now = store, access, terms, metrics, now
        self._mail, self._instruct = mail, instruct
        self._ways = login.Ways(not isinstance(access, ByPassword) or access.has_users, oidc is not None)
        self._oidc = oidc
        self._figures = Figures(store)
        self._rollouts = terms.rollouts or Rollouts(store, spread.Terms())
        self._log = logging.getLogger("cpe_filter.collect.web")
        # Browsers accept a cookie with this prefix only from this host, and only over TLS (RFC 6265bis).
        self._cookie = "__Host-fleet" if terms.secure else "fleet"
        self._zone_cookie = f"{self._cookie}-zone"
        self._failed = Buckets(_FAILED_PER_HOUR, _FAILED_BURST, 1)
        self._left_out = 0

    def routes(self) -> list[Route]:
        tools = Tools(
            self._store, self._mail, self._now, self._own_fields, self._html, self._log_event, self._by,
            self._terms.people, self._terms.answer_days,
        )  # fmt: skip
        desk = DeskRoutes(tools)
        return [
            Route("/", self._page(desk.today), methods=["GET"]),
            Route("/fleet", self._page(self._overview), methods=["GET"]),
            Route(rolloutpage.PATH, self._page(self._rollout), methods=["GET"]),
            Route(rolloutpage.LIST, self._page(self._routers), methods=["GET"]),
            Route("/cases", self._page(desk.cases), methods=["GET"]),
            Route("/cases.csv", self._page(desk.export, desk=True), methods=["POST"]),
            Route("/cases/{number}/assign", self._page(desk.assign, desk=True), methods=["POST"]),
            Route("/bulk", self._page(desk.latest), methods=["GET"]),
            Route("/bulk", self._page(desk.choose, desk=True), methods=["POST"]),
            Route("/bulk/{number}", self._page(desk.batch), methods=["GET"]),
            Route("/bulk/{number}", self._page(desk.confirm, desk=True), methods=["POST"]),
            Route("/bulk/{number}/rest", self._page(desk.rest, desk=True), methods=["POST"]),
            Route("/filters", self._page(desk.save, desk=True), methods=["POST"]),
            Route("/filters/{number}/delete", self._page(desk.drop, desk=True), methods=["POST"]),
            Route("/mail-servers", self._page(self._mail_servers), methods=["GET"]),
            Route("/cases/{number}", self._page(self._case), methods=["GET"]),
            Route("/cases/{number}/mail", self._page(self._mail_form, desk=True), methods=["GET"]),
            Route("/cases/{number}/mail", self._page(self._send_mail, desk=True), methods=["POST"]),
            Route("/cases/{number}/router-{act}", self._page(self._instruction, desk=True), methods=["GET", "POST"]),
            Route("/cases/{number}/{act}", self._page(self._act, desk=True), methods=["POST"]),
            Route(subscriberpage.PATH, self._page(self._subscribers), methods=["GET"]),
            Route(subscriberpage.PATH, self._page(self._by_address, desk=True), methods=["POST"]),
            Route(f"{subscriberpage.PATH}/{{subscriber:path}}", self._page(self._subscriber), methods=["GET"]),
            Route(undeliveredpage.PATH, self._page(self._undelivered), methods=["GET"]),
            Route(f"{undeliveredpage.PATH}/{{act}}", self._page(self._act_undelivered, desk=True), methods=["POST"]),
            Route(auditpage.PATH, self._page(self._audit), methods=["GET"]),
            Route("/zone", self._page(self._zone_form), methods=["GET"]),
            Route("/zone", self._page(self._set_zone), methods=["POST"]),
            Route("/login", self._guarded(self._login), methods=["GET", "POST"]),
            Route("/logout", self._page(self._logout), methods=["POST"]),
            Route("/static/{name}", self._static, methods=["GET"]),
            *self._sso_routes(),
        ]

    def _sso_routes(self) -> list[Route]:
        if self._oidc is None:
            return []

        def count(outcome: str) -> None:
            self._metrics.logins.labels(outcome).inc()

        host = Host(_target, self._address, self._log_event, count, self._enter)
        endpoints = Sso(self._oidc, host, self._terms.secure, self._ways, self._now).endpoints()
        return [Route(path, self._guarded(work), methods=["GET"]) for path, work in endpoints.items()]

    # ── permissions ─────────────────────────────────────────────────────────────────────────────────

    def _page(self, show: Shown, desk: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """For users who are logged in."""

        async def inside(request: Request) -> Response:
            person = self._person(request)
            if person is None:
                if not self._access.login:
                    raise HttpError(403, "You are not logged in.")
                # As it was sent: decoded, the id of a subscriber can look like a query.
                raw = request.scope.get("raw_path") or request.url.path.encode()
                back = raw.decode("latin-1") + (f"?{request.url.query}" if request.url.query else "")
                known = request.method == "GET" and back != "/" and _NEXT.fullmatch(back)
                return _redirect("/login" + (f"?{urlencode({'next': back})}" if known else ""))
            if desk and not person.may_act:
                self._log_event("page refused", request, logging.WARNING, user=person.name, reason="role")
                raise HttpError(403, "Viewers can only read; this needs role desk.")
            return await show(request, person)

        return self._guarded(inside)

    def _guarded(self, work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Shows every error as a page that contains only fixed texts."""

        async def outside(request: Request) -> Response:
            headers = None
            zone.use(request.cookies.get(self._zone_cookie, ""), self._terms.zone)
            makers.use(self._terms.makers.list)
            try:
                if len(request.scope.get("query_string", b"")) > MAX_QUERY:
                    raise HttpError(414, "The address is too long.")
                return await asyncio.wait_for(work(request), _PAGE_S)
            except HttpError as error:
                status, why, headers = error.status, str(error), error.headers
            except RefusedError as error:
                status, why = error.status, f"{str(error)[:1].upper()}{str(error)[1:]}."
                self._log_event("page refused", request, logging.WARNING, reason=error.reason)
            except ClientDisconnect:
                return Response(status_code=400)
            except (StoreUnavailableError, asyncio.TimeoutError, TimeoutError) as error:
                status, why, headers = 503, "The store is unavailable. Try again soon.", {"retry-after": "30"}
                self._log_event("page failed", request, logging.ERROR, why=str(error) or "too slow")
            except StoreError as error:
                status, why = 500, "This page cannot be shown. The log says why."
                self._log_event("page failed", request, logging.ERROR, why=str(error))
            return self._error_page(request, status, why, headers)

        return outside

    def _error_page(self, request: Request, status: int, why: str, headers: dict[str, str] | None = None) -> Response:
        try:
            person = self._person(request)
        except RefusedError:
            person = None
        body = f'<h1>{why}</h1><p><a href="/">Back to the first page</a></p>'
        return HTMLResponse(frame(f"{status}", body, person, self._access.login), status, headers)

    def _person(self, request: Request) -> Person | None:
        peer = request.client.host if request.client else None
        cookie = request.cookies.get(self._cookie, "")
        return self._access.person(peer, request.scope["headers"], cookie, time.monotonic())

    async def _form(self, request: Request) -> Form:
        """A form of this site. Raises `HttpError`."""
        self._check_origin(request)
        return await read_form(request)

    def _check_origin(self, request: Request) -> None:
        """Raises `HttpError`."""
        if not same_origin(request.headers, request.url.scheme, self._terms.url):
            self._log_event("page refused", request, logging.WARNING, reason="origin")
            raise HttpError(403, "This form came from another site.")

    async def _own_form(self, request: Request, person: Person) -> Form:
        """A form with the token of the user: other sites cannot make it."""
        return dict(await self._own_fields(request, person, MAX_FIELDS))

    async def _own_fields(self, request: Request, person: Person, most: int) -> Fields:
        """The same with at most so many fields, of which several can have one name."""
        self._check_origin(request)
        fields = await read_fields(request, most)
        given = [value for name, value in fields if name == TOKEN]
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), person.token.encode()):
            self._log_event("page refused", request, logging.WARNING, user=person.name, reason="token")
            raise HttpError(403, "This form has expired. Reload the page.")
        return fields

    # ── pages ───────────────────────────────────────────────────────────────────────────────────

    async def _overview(self, request: Request, person: Person) -> Response:
        view = overview.parse(dict(request.query_params))
        found = await self._figures.of(view, int(self._now()))
        documents = rolloutpage.card(await self._rollouts.of(self._time()))
        return self._html("Fleet", overview.page(found, view) + documents, person, "/fleet")

    async def _rollout(self, request: Request, person: Person) -> Response:
        found = await self._rollouts.of(self._time())
        return self._html("Rollout", rolloutpage.page(found), person, rolloutpage.PATH)

    async def _routers(self, request: Request, person: Person) -> Response:
        ask = rolloutpage.parse(request.query_params)
        if ask is None:
            raise HttpError(404, "No such list.")
        rows = await routers.listed(self._store, ask, self._time())
        return self._html("Routers of a document", rolloutpage.routers(ask, rows), person, rolloutpage.PATH)

    async def _case(self, request: Request, person: Person) -> Response:
        number = _number(request)
        body = await casefile.page(
            self._store, number, person, self._mail, int(self._now()), self._terms.people, self._instruct
        )
        if body is None:
            raise HttpError(404, "No such case.")
        message = casefile.DONE.get(request.query_params.get("done", ""), "")
        return self._html(f"Case {number}", body, person, "/cases", message)

    async def _act(self, request: Request, person: Person) -> Response:
        number, act = _number(request), request.path_params["act"]
        if act not in actions.KINDS:
            raise HttpError(404, "No such page.")
        form = await self._own_form(request, person)
        by, text = self._by(request, person), form.get("text", "")
        refusal = await casefile.act(self._store, number, act, by, text, int(self._now()))
        if refusal:
            raise HttpError(refusal.status, refusal.why)
        self._log_event("case", request, logging.INFO, user=person.name, case=number, act=act)
        return _redirect(f"/cases/{number}?done={act}")

    async def _mail_form(self, request: Request, person: Person) -> Response:
        """Shows the notice and asks for a confirmation."""
        number = _number(request)
        body = await mailform.page(self._store, self._mail, number, person, int(self._now())) if self._mail else None
        if body is None:
            raise HttpError(404, "No such case.")
        return self._html(f"Notice of case {number}", body, person, "/cases")

    async def _send_mail(self, request: Request, person: Person) -> Response:
        number = _number(request)
        form = await self._own_form(request, person)
        if self._mail is None:
            raise HttpError(404, "No such page.")
        place = form.get(mailform.PLACE, "")
        by = self._by(request, person)
        refusal = await mailform.send(self._store, self._mail, number, place, by, int(self._now()))
        if refusal:
            raise HttpError(refusal.status, refusal.why)
        self._log_event("case", request, logging.INFO, user=person.name, case=number, act="mail")
        return _redirect(f"/cases/{number}?done=mail")

    async def _instruction(self, request: Request, person: Person) -> Response:
        """Asks for a confirmation; a POST queues the instruction."""
        number, action = _number(request), instructions_page.parse(request.path_params["act"])
        if action is None or self._instruct is None:
            raise HttpError(404, "No such page.")
        now = int(self._now())
        if request.method == "GET":
            body = await instructions_page.page(self._store, self._instruct, number, action, person, now)
            if body is None:
                raise HttpError(404, "No such case.")
            return self._html(f"Instruction for case {number}", body, person, "/cases")
        form = await self._own_form(request, person)
        refusal = await instructions_page.send(
            self._store, self._instruct, number, action, form, self._by(request, person), now
        )
        if refusal:
            raise HttpError(refusal.status, refusal.why)
        self._log_event("case", request, logging.INFO, user=person.name, case=number, act=f"router-{action}")
        return _redirect(f"/cases/{number}?done=router-{action}")

    async def _mail_servers(self, request: Request, person: Person) -> Response:
        body = mail_servers_page.page(await mail_servers.listed(self._store))
        return self._html("Mail servers", body, person, "/mail-servers")

    async def _subscribers(self, request: Request, person: Person) -> Response:
        body = await subscriberpage.search(self._store, request.query_params.get("text", ""), person)
        return self._html("Subscribers", body, person, subscriberpage.PATH)

    async def _by_address(self, request: Request, person: Person) -> Response:
        """Recorded before it is done: who looks for whose address is what an audit asks first."""
        form = await self._own_form(request, person)
        query = subscriberpage.parse_address(form)
        if not isinstance(query, str):
            by = self._by(request, person)
            await audit.record(self._store, by, "search-address", reason=query.words, now=self._time())
        body = await subscriberpage.by_address(self._store, self._mail, form, query, person)
        return self._html("Subscribers", body, person, subscriberpage.PATH)

    async def _subscriber(self, request: Request, person: Person) -> Response:
        subscriber = request.path_params["subscriber"]
        body = await subscriberpage.page(self._store, self._mail, subscriber, self._time())
        if body is None:
            raise HttpError(404, "No case of such a subscriber.")
        return self._html("Subscriber", body, person, subscriberpage.PATH)

    async def _undelivered(self, request: Request, person: Person) -> Response:
        body = await undeliveredpage.page(self._store, person)
        message = undeliveredpage.DONE.get(request.query_params.get("done", ""), "")
        return self._html("Notices not delivered", body, person, undeliveredpage.PATH, message)

    async def _act_undelivered(self, request: Request, person: Person) -> Response:
        act = request.path_params["act"]
        if act not in undeliveredpage.CHOICES:
            raise HttpError(404, "No such page.")
        form = await self._own_form(request, person)
        number, reason = form.get(undeliveredpage.MAIL, ""), form.get(undeliveredpage.REASON, "")
        by = self._by(request, person)
        if refusal := await undeliveredpage.act(self._store, act, number, reason, by, self._time()):
            raise HttpError(refusal.status, refusal.why)
        self._log_event("undelivered", request, logging.INFO, user=person.name, message=number, act=act)
        return _redirect(f"{undeliveredpage.PATH}?done={act}")

    async def _audit(self, request: Request, person: Person) -> Response:
        if not person.may_audit:
            self._log_event("page refused", request, logging.WARNING, user=person.name, reason="role")
            raise HttpError(403, "The audit log needs role admin.")
        view = auditpage.parse(dict(request.query_params))
        return self._html("Audit log", await auditpage.page(self._store, view), person, auditpage.PATH)

    async def _zone_form(self, request: Request, person: Person) -> Response:
        return self._html("Time zone", zonepage.page(person, self._terms.zone), person)

    async def _set_zone(self, request: Request, person: Person) -> Response:
        chosen = (await self._own_form(request, person)).get(zonepage.ZONE, "")
        if not zonepage.is_known(chosen):
            raise HttpError(400, "No such time zone.")
        response = _redirect("/zone")
        self._set_cookie(response, chosen, _ZONE_S if chosen else 0, self._zone_cookie)
        return response

    async def _login(self, request: Request) -> Response:
        if not isinstance(self._access, ByPassword):
            raise HttpError(404, "No such page.")
        if request.method == "POST":
            return await self._try_login(request, self._access)
        query = dict(request.query_params)
        target = _target(query.get("next", ""))
        if self._person(request):
            return _redirect(target)
        return HTMLResponse(login.page(target, logged_out="out" in query, ways=self._ways))

    async def _try_login(self, request: Request, access: ByPassword) -> Response:
        form = await self._form(request)
        target = _target(form.get("next", ""))
        name, password = form.get("name", ""), form.get("password", "")
        try:
            secret = await access.log_in(self._address(request), name, password, time.monotonic())
        except TooManyAttemptsError as error:
            self._metrics.logins.labels("slowed").inc()
            self._log_event("login slowed", request, logging.WARNING)
            wait = int(error.wait_s) + 1
            return HTMLResponse(login.page(target, wait_s=wait, ways=self._ways), 429, {"retry-after": str(wait)})
        if secret is None:
            self._metrics.logins.labels("failed").inc()
            self._log_event("login failed", request, logging.WARNING)
            await self._record_failure(request, access, name)
            return HTMLResponse(login.page(target, failed=True, ways=self._ways), 403)
        return await self._logged_in(request, access, name, secret, target)

    async def _enter(self, request: Request, identity: Identity, target: str) -> Response:
        """A login by the identity provider."""
        if not isinstance(self._access, ByPassword):
            raise HttpError(404, "No such page.")
        if self._access.is_like_one(identity.name):  # who reads the history of a case could not tell them apart
            self._metrics.logins.labels("failed").inc()
            self._log_event("login failed", request, logging.WARNING, reason="oidc name of a user with a password")
            raise HttpError(403, "Your name at the identity provider belongs to a user with a password here.")
        secret = self._access.begin(identity.name, identity.role, time.monotonic())
        return await self._logged_in(request, self._access, identity.name, secret, target, subject=identity.subject)

    async def _logged_in(
        self, request: Request, access: ByPassword, name: str, secret: str, target: str, **fields: str
    ) -> Response:
        access.log_out(request.cookies.get(self._cookie, ""))
        self._metrics.logins.labels("good").inc()
        self._log_event("login", request, logging.INFO, user=name, **fields)
        await audit.record(self._store, audit.By(name, audit.PAGE, self._address(request)), "login", now=self._time())
        response = _redirect(target)
        self._set_cookie(response, secret, self._terms.session_s)
        return response

    async def _record_failure(self, request: Request, access: ByPassword, name: str) -> None:
        """A typed name that no user has may be a password: it is not kept. Guesses cannot fill the log."""
        if self._failed.take("", 1, time.monotonic()):
            self._left_out += 1
            return
        more = f"{self._left_out} more before this one are not listed" if self._left_out else ""
        by = audit.By(name if access.knows(name) else "", audit.PAGE, self._address(request))
        with contextlib.suppress(StoreError):  # the program's log has it
            await audit.record(self._store, by, "login-failed", reason=more, now=self._time())
            self._left_out = 0

    async def _logout(self, request: Request, person: Person) -> Response:
        await self._own_form(request, person)
        if isinstance(self._access, ByPassword):
            self._access.log_out(request.cookies.get(self._cookie, ""))
            self._log_event("logout", request, logging.INFO, user=person.name)
            with contextlib.suppress(StoreError):  # the session has ended all the same
                await audit.record(self._store, self._by(request, person), "logout", now=self._time())
        response = _redirect("/login?out=1")
        self._set_cookie(response, "", 0)
        return response

    async def _static(self, request: Request) -> Response:
        found = style.FILES.get(request.url.path)
        if found is None:
            return self._error_page(request, 404, "No such page.")
        kind, data = found
        return Response(data, media_type=kind, headers={"cache-control": _CACHED})

    # ── pieces ──────────────────────────────────────────────────────────────────────────────────

    def _html(
        self, title: str, body: str, person: Person, section: str = "", message: str = "", status: int = 200
    ) -> Response:
        return HTMLResponse(frame(title, body, person, self._access.login, section, message), status)

    def _by(self, request: Request, person: Person) -> audit.By:
        return audit.By(person.name, audit.PAGE, self._address(request))

    def _time(self) -> int:
        return int(self._now())

    def _set_cookie(self, response: Response, secret: str, lasts_s: int, name: str = "") -> None:
        response.set_cookie(
            name or self._cookie,
            secret,
            max_age=lasts_s,
            path="/",
            secure=self._terms.secure,
            httponly=True,
            samesite="lax",
        )

    def _log_event(self, event: str, request: Request, level: int, **fields: Any) -> None:
        self._log.log(level, event, extra={"fields": {"peer": self._address(request), **fields}})

    def _address(self, request: Request) -> str:
        return self._terms.address_of(request.client.host if request.client else None, request.scope["headers"])


def _number(request: Request) -> str:
    number: str = request.path_params["number"]
    if not _CASE.fullmatch(number):
        raise HttpError(404, "No such case.")
    return number


def _target(path: str) -> str:
    """Where a login leads: a path of this site, else the first page."""
    return path if _NEXT.fullmatch(path) else "/"


def _redirect(path: str) -> Response:
    return RedirectResponse(path, 303)


def application(
    store: Store,
    access: Access,
    terms: Terms,
    metrics: Metrics,
    now: Callable[[], float] = time.time,
    mail: Desk | None = None,
    oidc: Oidc | None = None,
    instruct: instructions.Desk | None = None,
) -> Callable[..., Any]:
    """The page behind its listener. now: POSIX seconds, called for each request. mail: shows and sends notices.
    instruct: makes instructions for routers."""
    site = Site(store, access, terms, metrics, now, mail, oidc, instruct)
    log = logging.getLogger("cpe_filter.collect.web")

    async def wrong(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        why = "Method not allowed." if status == 405 else "No such page."
        return site._error_page(request, status, why)

    async def failed(request: Request, error: Exception) -> Response:
        log.error("page failed", exc_info=error)
        return HTMLResponse(frame("500", "<h1>This page cannot be shown. The log says why.</h1>", None, False), 500)

    app = Starlette(routes=site.routes(), exception_handlers={404: wrong, 405: wrong, Exception: failed})
    app.router.redirect_slashes = False

    def count(status: int) -> None:
        metrics.pages.labels(str(status)).inc()

    return WithHeaders(app, HEADERS, count, terms.secure, {"cache-control": "no-store"})
