"""Requests of the desk's daily work: the first page, the list, actions on many cases, assigning, saved filters, export.

Knows HTTP by the tools that `site` gives it. Must not know SQL or how a page looks, or who may do what: `site` checks
role, origin and token before it calls. An action on many cases runs to its end even if the browser goes away.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from cpe_filter.collect.cases import actions, bulk, query, saved
from cpe_filter.collect.cases.bulk import Batch, BulkError, Order
from cpe_filter.collect.cases.model import CaseError, CaseNotFoundError
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.collect.users import NAME
from cpe_filter.collect.web import batches, casecsv, caselist, today
from cpe_filter.collect.web.access import Person
from cpe_filter.collect.web.caselist import CHOSEN, QUERY, SHOWN, WHICH, Context, View
from cpe_filter.collect.web.http import Form, HttpError
from cpe_filter.collect.web.people import NOBODY

#: Fields of the form of the list.
_MAX_FIELDS = 2 * caselist.PAGE + 20
#: How long a request waits for the end of an action on many cases, before it shows how far it is.
_WAIT_S = 15.0
_NUMBER = re.compile(r"[0-9a-f]{8,32}")
_CASE = re.compile(r"[0-9A-Za-z-]{1,64}")

Fields = list[tuple[str, str]]


class Log(Protocol):
    """Logs who did what."""

    def __call__(self, event: str, request: Request, level: int, **fields: object) -> None: ...


class Html(Protocol):
    """A page as an answer."""

    def __call__(
        self, title: str, body: str, person: Person, section: str, message: str = "", status: int = 200
    ) -> Response: ...


class Tools(NamedTuple):
    """fields: the form of a request, checked to be of this person and with at most so many fields; raises
    `HttpError`. people: users that cases can be assigned to; none: any name. answer_days: see `Context`."""

    store: Store
    mail: Desk | None
    now: Callable[[], float]
    fields: Callable[[Request, Person, int], Awaitable[Fields]]
    html: Html
    log: Log
    by: Callable[[Request, Person], audit.By]
    people: Sequence[str]
    answer_days: int


class DeskRoutes:
    """Each method answers one kind of request of a person."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._store = tools, tools.store
        self._running: set[asyncio.Task[None]] = set()
        self._log = logging.getLogger("cpe_filter.collect.web")

    async def today(self, _request: Request, person: Person) -> Response:
        body = await today.page(self._store, self._context(person))
        return self._tools.html("Today", body, person, "/")

    async def cases(self, request: Request, person: Person) -> Response:
        view = caselist.parse(dict(request.query_params))
        body = await caselist.page(self._store, view, self._context(person))
        message = _DONE.get(request.query_params.get("done", ""), "")
        return self._tools.html("Cases", body, person, "/cases", message)

    # ── many cases ──────────────────────────────────────────────────────────────────────────────────

    async def choose(self, request: Request, person: Person) -> Response:
        """Keeps a choice of cases, and leads to the page that asks what to do."""
        fields = await self._tools.fields(request, person, _MAX_FIELDS)
        form = dict(fields)
        which, filter_ = form.get(WHICH, ""), ""
        if which == "all":
            view = _view(form.get(QUERY, ""))
            filter_, ids = view.saved(), await self._matching(view, person)
        elif which == "page":
            ids = [number for number in form.get(SHOWN, "").split(" ") if _CASE.fullmatch(number)]
        else:
            ids = [value for name, value in fields if name == CHOSEN and _CASE.fullmatch(value)]
            if not ids:
                raise HttpError(400, "Choose at least one case.")
        number = await self._draft(person, ids, filter_)
        return _redirect(f"/bulk/{number}")

    async def _draft(self, person: Person, ids: list[str], filter_: str) -> str:
        try:
            return await bulk.draft(self._store, person.name, ids, filter_, int(self._tools.now()))
        except BulkError:
            raise HttpError(
                409, f"Actions on many cases take 1 to {bulk.MAX_CASES:,} cases; {len(ids):,} were chosen."
            ) from None

    async def _matching(self, view: View, person: Person) -> list[str]:
        wanted = view.wanted(person.name, self._context(person).answered_before)
        return await query.ids(self._store, wanted, view.order, bulk.MAX_CASES + 1)

    async def batch(self, request: Request, person: Person) -> Response:
        """The page that asks, or the result."""
        found = await self._batch(request, person)
        now = int(self._tools.now())
        if found.order is not None:
            return self._tools.html("Result", batches.result(found, person, now), person, "/cases")
        cases = await query.by_ids(self._store, [item.case for item in found.items])
        with_mail = self._tools.mail is not None and self._tools.mail.is_set_up
        body = batches.ask(found, cases, person, self._tools.people, with_mail, now)
        return self._tools.html("Act on cases", body, person, "/cases")

    async def _batch(self, request: Request, person: Person) -> Batch:
        number = request.path_params["number"]
        found = await bulk.find(self._store, number) if _NUMBER.fullmatch(number) else None
        # What is not confirmed yet is its maker's alone.
        if found is None or (found.order is None and found.made_by != person.name):
            raise HttpError(404, "No such action.")
        return found

    async def confirm(self, request: Request, person: Person) -> Response:
        """Does it, unless other cases match the filter now."""
        form = dict(await self._tools.fields(request, person, _MAX_FIELDS))
        found = await self._batch(request, person)
        path = f"/bulk/{found.id}"
        if found.order is not None:
            return _redirect(path)  # a second click
        order = self._order(form)
        if found.query:
            matching = await self._matching(_view(found.query), person)
            if set(matching) != {item.case for item in found.items}:
                body = batches.changed(found, matching, person)
                return self._tools.html("Nothing was done", body, person, "/cases", status=409)
        by, now = self._tools.by(request, person), int(self._tools.now())
        if not await bulk.confirm(self._store, found.id, by, order, now):
            return _redirect(path)
        fields = {"user": person.name, "batch": found.id, "act": order.action, "cases": len(found.items)}
        self._tools.log("bulk", request, logging.INFO, **fields)
        await self._run(found.id, by)
        return _redirect(path)

    def _order(self, form: Form) -> Order:
        """Raises `HttpError`."""
        reason = _text(form.get("reason", ""))
        action = form.get("action", "")
        assignee = self._assignee(form) if action == bulk.ASSIGN else ""
        if action not in bulk.ACTIONS:
            raise HttpError(400, "Choose an action.")
        if action in bulk.WITH_REASON and not reason:
            raise HttpError(400, "This action needs a reason.")
        order = Order(action, reason, assignee)
        if bulk.problem(order) is not None:
            raise HttpError(400, f"A reason has at most {actions.MAX_TEXT:,} characters.")
        return order

    def _assignee(self, form: Form) -> str:
        """Raises `HttpError`."""
        name = form.get("assignee", "").strip()
        if name in ("", NOBODY):
            return ""
        people = self._tools.people
        if not NAME.fullmatch(name) or (people and name not in people):
            raise HttpError(400, "No user has this name, or the user cannot act on cases.")
        return name

    async def _run(self, number: str, by: audit.By) -> None:
        """Begins, and waits for a while."""
        mailer = self._tools.mail.prepare if self._tools.mail is not None and self._tools.mail.is_set_up else None
        task = asyncio.create_task(bulk.run(self._store, number, by, mailer))
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait([task], timeout=_WAIT_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StoreError):
            self._log.error("bulk", extra={"fields": {"why": str(error)}})
        elif error is not None:
            self._log.error("bulk failed", exc_info=error)

    async def rest(self, request: Request, person: Person) -> Response:
        """After an interruption: acts on the cases that were not done, or leaves them."""
        form = dict(await self._tools.fields(request, person, _MAX_FIELDS))
        found = await self._batch(request, person)
        now = int(self._tools.now())
        if found.made_by != person.name or not found.is_interrupted(now):
            raise HttpError(409, "This action is not interrupted, or not yours.")
        left = [item.case for item in found.of(bulk.WAITING)]
        path = f"/bulk/{found.id}"
        if form.get("do") == "again":
            path = f"/bulk/{await self._draft(person, left, '')}"
        await bulk.leave(self._store, found.id, person.name, now)
        return _redirect(path)

    async def latest(self, _request: Request, person: Person) -> Response:
        body = batches.overview(await bulk.latest(self._store))
        return self._tools.html("Actions on many cases", body, person, "/cases")

    # ── one case, filters, export ───────────────────────────────────────────────────────────────────

    async def assign(self, request: Request, person: Person) -> Response:
        form = dict(await self._tools.fields(request, person, _MAX_FIELDS))
        number = request.path_params["number"]
        if not _CASE.fullmatch(number):
            raise HttpError(404, "No such case.")
        assignee, text = self._assignee(form), _text(form.get("text", ""))
        try:
            by = self._tools.by(request, person)
            await actions.assign(self._store, number, person.name, assignee, text, int(self._tools.now()), by)
        except CaseNotFoundError:
            raise HttpError(404, "No such case.") from None
        except CaseError:
            raise HttpError(400, "This remark cannot be saved.") from None
        self._tools.log("case", request, logging.INFO, user=person.name, case=number, act="assign")
        return _redirect(f"/cases/{number}?done=assign")

    async def save(self, request: Request, person: Person) -> Response:
        form = dict(await self._tools.fields(request, person, _MAX_FIELDS))
        view = _view(form.get(QUERY, ""))
        name, shared = form.get("name", ""), form.get("shared") == "yes"
        try:
            await saved.save(self._store, person.name, name, view.saved(), shared, int(self._tools.now()))
        except saved.SavedError as error:
            raise HttpError(409, f"{error}.") from None
        self._tools.log("filter saved", request, logging.INFO, user=person.name, shared=shared)
        return _redirect(f"/cases?{view.saved()}&done=saved")

    async def drop(self, request: Request, person: Person) -> Response:
        await self._tools.fields(request, person, _MAX_FIELDS)
        number = request.path_params["number"]
        if not _NUMBER.fullmatch(number) or not await saved.delete(self._store, person.name, number):
            raise HttpError(404, "No such filter.")
        self._tools.log("filter deleted", request, logging.INFO, user=person.name)
        return _redirect("/cases?done=dropped")

    async def export(self, request: Request, person: Person) -> Response:
        form = dict(await self._tools.fields(request, person, _MAX_FIELDS))
        view = _view(form.get(QUERY, ""))
        wanted = view.wanted(person.name, self._context(person).answered_before)
        ids = await query.ids(self._store, wanted, view.order, caselist.MAX_EXPORT + 1)
        if len(ids) > caselist.MAX_EXPORT:
            raise HttpError(409, f"More than {caselist.MAX_EXPORT:,} cases match; narrow the filter to export them.")
        reason = f"{len(ids)} cases as CSV: {view.saved()}"
        by, now = self._tools.by(request, person), int(self._tools.now())
        await audit.record(self._store, by, "export", reason=reason, now=now)
        self._tools.log("export", request, logging.INFO, user=person.name, cases=len(ids))
        headers = {"content-disposition": 'attachment; filename="cases.csv"'}
        return StreamingResponse(casecsv.pieces(self._store, ids), headers=headers, media_type="text/csv")

    def _context(self, person: Person) -> Context:
        return Context(person, self._tools.answer_days, int(self._tools.now()))


#: The message of the list after an action.
_DONE = {"saved": "The filter is saved.", "dropped": "The filter is deleted."}


def _view(text: str) -> View:
    """A filter from a form, whole: what is left of one that was cut would match other cases. Raises `HttpError`."""
    try:
        return caselist.parse(dict(parse_qsl(text, max_num_fields=20)))
    except ValueError:
        raise HttpError(400, "Malformed form.") from None


def _text(text: str) -> str:
    """A remark with plain line ends and no spaces around it."""
    return "\n".join(line.rstrip() for line in text.replace("\r", "").split("\n")).strip()


def _redirect(path: str) -> Response:
    return RedirectResponse(path, 303)
