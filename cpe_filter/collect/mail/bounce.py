"""What comes back to the bounce address: a delivery status notification (RFC 3464) -> the case that it is about.

Knows messages of strangers, which are hostile: of them only the signed token in the address, `Action` and `Status` are
used, and nothing is stored or logged but a status code and our own words for it. Must not know how a message was sent.
What is not a delivery report (an automatic reply, say) changes nothing.
"""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import logging
import os
import re
import time
from collections.abc import Iterator
from email.message import Message
from typing import Literal, NamedTuple

from cpe_filter.collect.cases import actions
from cpe_filter.collect.cases.history import BOUNCED, MAIL
from cpe_filter.collect.cases.model import CaseError
from cpe_filter.collect.mail import outbox, token
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store, StoreError

#: Bytes of a message that are read: the report comes before the returned message. Its parts, and recipients in it.
MAX_MESSAGE, MAX_PARTS, MAX_RECIPIENTS = 256 * 1024, 50, 100
#: Where a mail system writes the address that a message was delivered to.
_ADDRESSES = ("To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To")
#: Messages of the maildir in one round.
_PAGE = 500

Outcome = Literal["bounced", "delayed", "known", "other", "unsigned"]

#: Enhanced status codes (RFC 3463, 5248) without their class, for people.
MEANINGS = {
    "1.1": "the mailbox does not exist",
    "1.2": "the domain does not exist",
    "1.10": "the domain accepts no mail",
    "2.1": "the mailbox is disabled",
    "2.2": "the mailbox is full",
    "3.4": "the message is too large",
    "4.1": "the mail server does not answer",
    "4.4": "the mail server cannot be found",
    "4.7": "it was not delivered in time",
    "7.1": "the mail server refused it",
}

_log = logging.getLogger("cpe_filter.collect.mail")


class Report(NamedTuple):
    """number: of our message. action: `failed` or `delayed`; None if it says something else. status: `5.1.1`."""

    number: str
    action: Literal["failed", "delayed"] | None
    status: str

    @property
    def why(self) -> str:
        """The status for people."""
        return MEANINGS.get(self.status.partition(".")[2], "the mail system gave no other reason")


def read(raw: bytes, bounce_address: str, key: bytes) -> Report | None:
    """A message that came to the bounce address; None if it has no token that this key has signed."""
    # The parser splits only the older type into groups of fields; the newer one (RFC 6533) has the same groups.
    raw = re.sub(rb"(?i)message/global-delivery-status", b"message/delivery-status", raw[:MAX_MESSAGE])
    try:
        mail = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(raw)
        addresses = [str(value) for name in _ADDRESSES for value in (mail.get_all(name) or [])[:10]]
        number = token.find(bounce_address, key, " ".join(addresses)[:20_000])
        return _report(mail, number) if number is not None else None
    except (RecursionError, ValueError, LookupError, TypeError):  # what a parser may do with hostile input
        return None


def _report(mail: Message, number: str) -> Report:
    worst = Report(number, None, "")
    for group in _recipients(mail):
        action = str(group.get("Action", "")).strip().lower()
        found = re.match(r"\s*([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])", str(group.get("Status", "")))
        status = found[1] if found else ""
        if action == "failed":
            return Report(number, "failed", status or "5.0.0")
        if action == "delayed":
            worst = Report(number, "delayed", status or "4.0.0")
    return worst


def _recipients(mail: Message) -> Iterator[Message]:
    """The groups of fields of a delivery report (RFC 3464 section 2.1). The first one is about the message."""
    if mail.get_content_type() != "multipart/report" or not isinstance(mail.get_payload(), list):
        return
    for part in list(mail.get_payload())[:MAX_PARTS]:
        if isinstance(part, Message) and part.get_content_type() == "message/delivery-status":
            groups = part.get_payload()
            yield from (group for group in list(groups)[:MAX_RECIPIENTS] if isinstance(group, Message))
            return


async def apply(store: Store, report: Report | None, metrics: Metrics | None, now: int) -> Outcome:
    """Records a message in its case: what it was. Raises `StoreError`."""
    outcome = "unsigned" if report is None else await _apply(store, report, now)
    if metrics is not None:
        metrics.mail.labels(outcome).inc()
    fields: dict[str, str] = {"outcome": outcome}
    if report is not None:
        fields |= {"message": report.number, "status": report.status}
    _log.log(logging.INFO if outcome != "unsigned" else logging.WARNING, "bounce", extra={"fields": fields})
    return outcome


async def _apply(store: Store, report: Report, now: int) -> Outcome:
    row = await outbox.find(store, report.number)
    if row is None or report.action is None:
        return "other"
    if report.action == "delayed":
        await store.write([outbox.delayed(report.number, report.status, f"delayed: {report.why}")])
        return "delayed"
    if (await store.write([outbox.returned(report.number, now, report.status, report.why)]))[0] == 0:
        return "known"
    try:
        # The subscriber has not been notified after all.
        text = f"{report.status}: {report.why}"
        await actions.act(store, row["case_id"], BOUNCED, MAIL, text, now, audit.By(MAIL, audit.SERVICE))
    except CaseError:
        pass  # the case has gone on: acknowledged, closed; desk_mail shows what came back
    return "bounced"


class Maildir:
    """Reads a maildir into which a mail system delivers what comes to the bounce address, and deletes what it has read.

    Only regular files are read; a file that cannot be deleted is read once.
    """

    def __init__(self, path: str, store: Store, bounce_address: str, key: bytes, metrics: Metrics | None) -> None:
        self._path, self._store, self._bounce_address, self._key = path, store, bounce_address, key
        self._metrics = metrics
        self._stuck: set[str] = set()

    async def step(self, now: int) -> int:
        """How many messages. Raises `StoreError` and `OSError`."""
        count = 0
        for path in await asyncio.to_thread(self._new):
            raw = await asyncio.to_thread(_content, path)
            if raw is not None:
                await apply(self._store, read(raw, self._bounce_address, self._key), self._metrics, now)
                count += 1
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass  # another process has read it, too
            except OSError as error:
                self._stuck.add(path)
                _log.error("bounce", extra={"fields": {"why": f"{path}: {error.strerror}"}})
        return count

    def _new(self) -> list[str]:
        found: list[str] = []
        for folder in ("new", "cur"):
            with os.scandir(os.path.join(self._path, folder)) as entries:
                found += [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
        return sorted(path for path in found if path not in self._stuck)[:_PAGE]


def _content(path: str) -> bytes | None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read(MAX_MESSAGE)
    except OSError:
        return None


async def run(maildir: Maildir, every_s: float = 10.0) -> None:
    """Reads until it is cancelled."""
    logged = ""
    while True:
        try:
            await maildir.step(int(time.time()))
            logged = ""
        except (StoreError, OSError) as error:
            if str(error) != logged:
                _log.error("bounces", extra={"fields": {"why": str(error)}})
            logged = str(error)
        except Exception:  # a bug here must not keep routers from reporting
            _log.exception("bounces failed")
        await asyncio.sleep(every_s)
