"""The desk's work beside the collector: cases kept up to date, notifications sent, figures for /metrics.

Knows the configuration and how the parts go together. Any number of processes may run it on one store; a lease sees to
it that one works at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from cpe_filter.collect import file_modes as secrecy
from cpe_filter.collect.cases import age_tables as aging
from cpe_filter.collect.cases import notice, webhook
from cpe_filter.collect.cases import plan as caseplan
from cpe_filter.collect.cases.update import Casebook
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.export.xarf import Reporter
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import lease
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.collect.subscribers.file import File
from cpe_filter.collect.subscribers.http import Lookup
from cpe_filter.collect.subscribers.map import Nobody, Subscribers, WrongMap

LEASE = "cases"
_LEASE_S = 60
_RENEW_S = 15.0
#: How often all incidents are compared, unknown routers asked for again, and figures made.
_FULL_S, _FIGURES_S = 600.0, 30.0
#: From when on events are for notification systems.
_NOTIFY = "webhook since"

_log = logging.getLogger("cpe_filter.collect.cases.worker")


class WrongDesk(Exception):
    """A file that the configuration names cannot be used. One line, or one for each error."""


class Desk:
    """What is to run beside a collector with a store. Raises `WrongDesk`."""

    def __init__(self, config: Config, store: Store, metrics: Metrics) -> None:
        self._config, self._store, self._metrics = config, store, metrics
        self._whose = subscribers(config)
        self._sender = sender(config, store, metrics) if config.webhook.url else None

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """They never end by themselves, and never raise."""
        out = [_work(self._config, self._store, self._metrics, self._whose)]
        return [*out, webhook.run(self._sender)] if self._sender is not None else out


def subscribers(config: Config) -> Subscribers:
    """The map that the configuration names; not yet read. Raises `WrongDesk`."""
    if config.subscribers.url:
        headers = {}
        if config.subscribers.token_file:
            headers["authorization"] = f"Bearer {_secret(config.subscribers.token_file)}"
        return Lookup(
            config.subscribers.url,
            config.subscribers.timeout_s,
            config.subscribers.known_minutes * 60,
            config.subscribers.unknown_minutes * 60,
            headers,
            _authority(config.subscribers.ca),
        )
    return File(config.subscribers.file) if config.subscribers.file else Nobody()


@contextlib.asynccontextmanager
async def mapped(config: Config) -> AsyncIterator[Subscribers]:
    """The map, read, for a command that ends. Raises `WrongDesk`."""
    found = subscribers(config)
    await found.refresh(0)
    if isinstance(found, File) and found.wrong:
        raise WrongDesk(found.wrong)
    try:
        yield found
    finally:
        if isinstance(found, Lookup):
            await found.close()


def sender(config: Config, store: Store, metrics: Metrics | None) -> webhook.Sender:
    """Raises `WrongDesk`."""
    terms = webhook.Terms(
        config.webhook.url,
        config.webhook.timeout_s,
        config.webhook.give_up_hours * 3600,
        config.webhook.queue,
        config.webhook.notified,
    )
    try:
        key = webhook.secret(_secret(config.webhook.secret_file))
    except webhook.WrongSecret as error:
        raise WrongDesk(f"{config.webhook.secret_file}: {error}") from None
    return webhook.Sender(store, terms, key, metrics, _authority(config.webhook.ca))


def reporter(config: Config) -> Reporter:
    confidence = config.export.confidence_percent
    return Reporter(
        config.export.org, config.export.contact, config.export.domain, confidence / 100 if confidence else None
    )


def terms_of_retention(config: Config) -> aging.Terms:
    return aging.Terms(config.retention.evidence_days, config.retention.case_days)


def check(config: Config) -> None:
    """Reads the files that the configuration names. Raises `WrongDesk`."""
    if config.subscribers.file:
        from cpe_filter.collect.subscribers.file import read

        try:
            read(config.subscribers.file)
        except WrongMap as error:
            raise WrongDesk(str(error)) from None
    else:
        subscribers(config)
    if config.webhook.url:
        _authority(config.webhook.ca)
        try:
            webhook.secret(_secret(config.webhook.secret_file))
        except webhook.WrongSecret as error:
            raise WrongDesk(f"{config.webhook.secret_file}: {error}") from None


async def casebook(config: Config, store: Store, whose: Subscribers, now: int) -> Casebook:
    since = await _notify_since(store, now) if config.webhook.url else 0
    texts = _texts(terms_of_notice(config)) if config.webhook.texts else None
    return Casebook(store, whose, caseplan.Terms(config.cases.suspected, bool(config.webhook.url), since, texts))


def terms_of_notice(config: Config) -> notice.Terms:
    return notice.Terms(config.notice.language, config.notice.provider, config.notice.help_url, config.notice.zone)


def _texts(terms: notice.Terms) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """For outgoing: without the device's name, as all that a webhook is told."""

    def texts(case: dict[str, Any]) -> dict[str, Any] | None:
        facts = notice.Facts(
            case["id"], case["state"], case["standing"], case["act"], case["oui"], "", case["begun_at"], case["last_at"]
        )
        try:
            return notice.notice(facts, terms).plain()
        except notice.NothingToTell:
            return None

    return texts


async def _notify_since(store: Store, now: int) -> int:
    """When notifications were set up first: what is older is no news."""
    sql = "INSERT INTO desk_mark (name, value, holder) VALUES (:name, :now, '') ON CONFLICT (name) DO NOTHING"
    await store.write([(sql, {"name": _NOTIFY, "now": now})])
    rows = await store.read("SELECT value FROM desk_mark WHERE name = :name", name=_NOTIFY)
    return int(rows[0]["value"])


async def _work(config: Config, store: Store, metrics: Metrics, whose: Subscribers) -> None:
    worker = _Worker(config, store, metrics, whose)
    renewing = asyncio.create_task(worker.renew())
    try:
        while True:
            try:
                await worker.step(time.time())
            except StoreError as error:
                _log.error("cases", extra={"about": {"why": str(error)}})
            except Exception:  # a fault of ours must not keep routers from reporting
                _log.exception("cases failed")
            await asyncio.sleep(config.cases.every_s)
    finally:
        renewing.cancel()
        with contextlib.suppress(Exception):
            await lease.give(store, LEASE)
        if isinstance(whose, Lookup):
            await whose.close()


class _Worker:
    """One round of the desk's work after the other."""

    def __init__(self, config: Config, store: Store, metrics: Metrics, whose: Subscribers) -> None:
        self._config, self._store, self._metrics, self._whose = config, store, metrics, whose
        self._book: Casebook | None = None
        self._ours = False
        self._full_at = self._retry_at = self._figures_at = float("-inf")
        self._changed = True  # at the start, too: the map may have changed while nobody looked
        self._said = ""

    async def renew(self) -> None:
        """A round may take longer than the lease holds."""
        while True:
            await asyncio.sleep(_RENEW_S)
            if self._ours:
                with contextlib.suppress(StoreError):
                    self._ours = await lease.take(self._store, LEASE, int(time.time()), _LEASE_S)

    async def step(self, now: float) -> None:
        """Raises `StoreError`."""
        self._changed = await self._whose.refresh(now) or self._changed
        self._tell()
        if now - self._figures_at >= _FIGURES_S:
            self._figures_at = now
            self._metrics.desk(await aging.figures(self._store))
        was_ours, self._ours = self._ours, await lease.take(self._store, LEASE, int(now), _LEASE_S)
        if not self._ours:
            return
        if not was_ours or self._book is None:  # somebody else may have done anything meanwhile
            self._book = await casebook(self._config, self._store, self._whose, int(now))
            self._full_at, self._changed = float("-inf"), True
        await self._cases(self._book, now)

    async def _cases(self, book: Casebook, now: float) -> None:
        full = now - self._full_at >= _FULL_S
        built = await book.catch_up(int(now), full)
        if full:
            self._full_at = now
        if self._changed:
            built += await book.remap(int(now))
            self._changed, self._retry_at = False, now
        elif now - self._retry_at >= self._config.subscribers.unknown_minutes * 60:
            built += await book.remap(int(now), unknown_only=True)
            self._retry_at = now
        self._metrics.cases_built.inc(built)

    def _tell(self) -> None:
        """Says once what is wrong with the map, and when it is right again."""
        wrong = self._whose.wrong if isinstance(self._whose, File | Lookup) else ""
        self._metrics.subscribers_failed.set(1 if wrong else 0)
        if wrong != self._said:
            if wrong:
                _log.error("subscribers", extra={"about": {"why": wrong}})
            else:
                _log.info("subscribers good again")
            self._said = wrong


def _secret(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read(4096).strip()
    except OSError as error:
        raise WrongDesk(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongDesk(f"{path}: not ASCII text") from None
    if not text or not text.isprintable():
        raise WrongDesk(f"{path}: one line of text is wanted")
    if wrong := secrecy.fault(path):
        raise WrongDesk(wrong)
    return text


def _authority(path: str) -> Any:
    """For httpx: the authority in a file, or the system's."""
    try:
        return ssl.create_default_context(cafile=path or None)
    except OSError as error:
        raise WrongDesk(f"{path}: {getattr(error, 'reason', None) or error.strerror}") from None
