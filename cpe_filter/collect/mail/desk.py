"""Notices by e-mail for the fleet page: the notice of a case as its subscriber will read it, and the desk's click.

Must not know HTTP or HTML. Only the first letter and the domain of an address leave this module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from cpe_filter.collect import mail_address
from cpe_filter.collect.cases import notice, query
from cpe_filter.collect.cases.model import CaseError, CaseNotFoundError, Detail
from cpe_filter.collect.mail import message, outbox
from cpe_filter.collect.mail.sender import no_address
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Row, Statement, Store
from cpe_filter.collect.subscribers.map import Line, MapUnavailableError, Subscribers


class Letter(NamedTuple):
    """What the page shows of a case. texts: none if the case has no notice now. parts: of the message, as a mail
    program shows them, each with its language. to: shortened, "" if unknown. sent: rows of desk_mail, oldest first.
    problem: why the desk cannot send it, None if it can; a sentence without its full stop.
    """

    texts: list[notice.Notice]
    subject: str
    parts: list[tuple[str, str]]
    to: str
    sent: list[Row]
    problem: str | None


class Desk:
    """per_case: messages of one case. terms: None where [mail] is not set up; then notices are only shown."""

    def __init__(
        self,
        store: Store,
        subscribers: Subscribers,
        texts: notice.Terms,
        terms: message.Terms | None = None,
        per_case: int = 3,
    ) -> None:
        self._store, self._subscribers, self._texts, self._terms = store, subscribers, texts, terms
        self._per_case = per_case

    async def line_of(self, router: str, at: int) -> Line | None:
        """The line of a router at a time, with a shortened e-mail address. Raises `MapUnavailableError`."""
        line = await self._subscribers.find(router, at)
        if line is None or not line.email:
            return line
        return replace(line, email=mail_address.shortened(line.email) if no_address(line) is None else "cannot be used")

    async def letter(self, found: Detail, now: int) -> Letter:
        """Raises `StoreError`."""
        sent = await outbox.of_case(self._store, found.case.id)
        line, problem = await self._line(found, now)
        second = self._terms.second if self._terms else ""
        chosen = message.languages(line.languages if line else (), self._texts.language, second)
        try:
            texts = message.notices(notice.facts_of(found), chosen, self._texts)
        except notice.NoNoticeError:
            return Letter([], "", [], "", sent, "The case has ended: there is no notice for it")
        usable = line is not None and no_address(line) is None
        to = mail_address.shortened(line.email) if line is not None and usable else ""
        if self._terms is None:
            problem = "E-mail is not set up"
        elif problem is None:
            problem = self._bound(sent)
        parts = [(language, message.unflowed(text)) for language, text in message.parts(texts)]
        return Letter(texts, message.subject(texts), parts, to, sent, problem)

    async def _line(self, found: Detail, now: int) -> tuple[Line | None, str | None]:
        """The line of the subscriber, and why no notice can be sent to it."""
        if not found.case.subscriber:
            return None, "The subscriber is unknown"
        try:
            line = await self._subscribers.find(found.case.router, now)
        except MapUnavailableError:
            return None, "The subscriber map is unavailable"
        if line is None or line.subscriber != found.case.subscriber:
            return None, "The router has another subscriber now"
        problem = no_address(line)
        return line, f"{problem[0].upper()}{problem[1:]}" if problem else None

    def _bound(self, sent: list[Row]) -> str | None:
        if any(row["state"] == outbox.QUEUED for row in sent):
            return "A notice is waiting to be sent"
        if len(sent) >= self._per_case:
            return f"The case has had {len(sent)} notices; [mail] per_case allows {self._per_case}"
        return None

    @property
    def is_set_up(self) -> bool:
        """Whether notices can be sent."""
        return self._terms is not None

    async def prepare(self, number: str, user: str, now: int) -> list[Statement]:
        """The statements that queue the next notice of a case (`bulk.Mailer`). Raises `CaseError` if it cannot be
        sent, and `StoreError`."""
        found = await query.detail(self._store, number)
        if found is None:
            raise CaseNotFoundError(f"no case {number[:40]}")
        letter = await self.letter(found, now)
        if letter.problem is not None:
            raise CaseError(letter.problem)
        return [outbox.added(found.case.id, found.case.subscriber, len(letter.sent), user, now)]

    async def queue(self, found: Detail, place: int, by: audit.By, now: int) -> str | None:
        """Queues the notice. by: who asks for it. place: how many messages the case had when the desk read it. None
        when it is done, else why not. A second click does nothing. Raises `StoreError`."""
        letter = await self.letter(found, now)
        if any(row["id"] == outbox.number_of(found.case.id, place) for row in letter.sent):
            return None
        if letter.problem is not None:
            return letter.problem
        if place != len(letter.sent):
            return "The case has changed. Reload the page"
        await outbox.add(self._store, found.case.id, found.case.subscriber, place, by.who, now, by)
        return None
