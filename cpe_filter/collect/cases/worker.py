"""The jobs that update cases and send notifications, and the figures of cases for /metrics.

Knows the configuration and how the parts go together. Must not know what a part does. Any number of processes may run
the jobs on one store; a lease ensures that one works at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from cpe_filter.collect import file_modes
from cpe_filter.collect.cases import age_tables, funnel, notice, plan, webhook
from cpe_filter.collect.cases.update import CaseUpdater
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.rollout import spread
from cpe_filter.collect.rollout.figures import Rollouts
from cpe_filter.collect.store import lease, rounds
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.collect.subscribers.file import File
from cpe_filter.collect.subscribers.http import Lookup
from cpe_filter.collect.subscribers.map import EmptyMap, MapError, Subscribers

LEASE = "cases"
_LEASE_S = 60
_RENEW_S = 15.0
#: How often all incidents are compared, and figures made.
_FULL_S, _FIGURES_S = 600.0, 30.0
#: The mark that holds from when on events are sent.
_NOTIFY = "webhook since"

_log = logging.getLogger("cpe_filter.collect.cases.worker")


class SetupError(Exception):
    """A file that the configuration names cannot be used. One line, or one for each error."""


def jobs(
    config: Config,
    store: Store,
    metrics: Metrics,
    whose: Subscribers | None = None,
    rollouts: Rollouts | None = None,
) -> list[Coroutine[Any, Any, None]]:
    """The jobs of a process with a store. They run until they are cancelled, and never raise. Raises `SetupError`.

    whose: the subscriber map, if others use it, too; these jobs refresh and close it. rollouts: the same.
    """
    sender_ = sender(config, store, metrics) if config.webhook.url else None
    known = whose if whose is not None else subscribers(config)
    made = [_work(config, store, metrics, known, rollouts or Rollouts(store, rollout_terms(config)))]
    return [*made, webhook.run(sender_)] if sender_ is not None else made


def subscribers(config: Config) -> Subscribers:
    """The subscriber map that the configuration names, not yet read. Raises `SetupError`."""
    if config.subscribers.url:
        headers = {}
        if config.subscribers.token_file:
            headers["authorization"] = f"Bearer {read_secret(config.subscribers.token_file)}"
        return Lookup(
            config.subscribers.url,
            config.subscribers.timeout_s,
            config.subscribers.known_minutes * 60,
            config.subscribers.unknown_minutes * 60,
            headers,
            authority(config.subscribers.ca),
        )
    return File(config.subscribers.file) if config.subscribers.file else EmptyMap()


@contextlib.asynccontextmanager
async def subscriber_map(config: Config) -> AsyncIterator[Subscribers]:
    """The map, read, for a task that ends. Raises `SetupError`."""
    found = subscribers(config)
    await found.refresh(0)
    if isinstance(found, File) and found.wrong:
        raise SetupError(found.wrong)
    try:
        yield found
    finally:
        if isinstance(found, Lookup):
            await found.close()


def sender(config: Config, store: Store, metrics: Metrics | None) -> webhook.Sender:
    """Raises `SetupError`."""
    terms = webhook.Terms(
        config.webhook.url,
        config.webhook.timeout_s,
        config.webhook.give_up_hours * 3600,
        config.webhook.queue,
        config.webhook.notified,
    )
    try:
        key = webhook.secret(read_secret(config.webhook.secret_file))
    except webhook.SecretError as error:
        raise SetupError(f"{config.webhook.secret_file}: {error}") from None
    return webhook.Sender(store, terms, key, metrics, authority(config.webhook.ca))


def check(config: Config) -> None:
    """Reads the files that the configuration names. Raises `SetupError`."""
    if config.subscribers.file:
        from cpe_filter.collect.subscribers.file import read

        try:
            read(config.subscribers.file)
        except MapError as error:
            raise SetupError(str(error)) from None
    else:
        subscribers(config)
    if config.webhook.url:
        authority(config.webhook.ca)
        try:
            webhook.secret(read_secret(config.webhook.secret_file))
        except webhook.SecretError as error:
            raise SetupError(f"{config.webhook.secret_file}: {error}") from None


async def updater(config: Config, store: Store, subscribers: Subscribers, now: int) -> CaseUpdater:
    since = await _notify_since(store, now) if config.webhook.url else 0
    texts = _texts(notice_terms(config)) if config.webhook.texts else None
    days = config.cases.clean_days
    await store.write([(_CLEAN_DAYS, {"name": funnel.MARK, "days": days})])
    return CaseUpdater(store, subscribers, plan.Terms(bool(config.webhook.url), since, texts, days))


def notice_terms(config: Config) -> notice.Terms:
    return notice.Terms(config.notice.language, config.notice.provider, config.notice.help_url, config.notice.zone)


def _texts(terms: notice.Terms) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """For notifications: without the name of the device, like everything that a webhook sends."""

    def texts(case: dict[str, Any]) -> dict[str, Any] | None:
        facts = notice.Facts(
            case["id"], case["state"], case["standing"], case["act"], case["oui"], "", case["begun_at"], case["last_at"]
        )
        try:
            return notice.notice(facts, terms).plain()
        except notice.NoNoticeError:
            return None

    return texts


_CLEAN_DAYS = """
INSERT INTO desk_mark (name, value, holder) VALUES (:name, :days, '')
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


async def _notify_since(store: Store, now: int) -> int:
    """When notifications were set up: what is older is not sent."""
    sql = "INSERT INTO desk_mark (name, value, holder) VALUES (:name, :now, '') ON CONFLICT (name) DO NOTHING"
    await store.write([(sql, {"name": _NOTIFY, "now": now})])
    rows = await store.read("SELECT value FROM desk_mark WHERE name = :name", name=_NOTIFY)
    return int(rows[0]["value"])


async def _work(config: Config, store: Store, metrics: Metrics, subscribers: Subscribers, rollouts: Rollouts) -> None:
    worker = _Worker(config, store, metrics, subscribers, rollouts)
    renewing = asyncio.create_task(worker.renew())
    try:
        await rounds.repeat(lambda: worker.step(time.time()), config.cases.every_s, _log, "cases")
    finally:
        renewing.cancel()
        with contextlib.suppress(Exception):
            await lease.give(store, LEASE)
        if isinstance(subscribers, Lookup):
            await subscribers.close()


class _Worker:
    """Updates cases, one round after the other."""

    def __init__(
        self, config: Config, store: Store, metrics: Metrics, subscribers: Subscribers, rollouts: Rollouts
    ) -> None:
        self._config, self._store, self._metrics, self._subscribers = config, store, metrics, subscribers
        self._updater: CaseUpdater | None = None
        self._rollouts = rollouts
        self._leader = False
        self._full_at = self._retry_at = self._figures_at = float("-inf")
        self._changed = True  # at the start, too: the map may have changed while this process did not run
        self._logged = ""

    async def renew(self) -> None:
        """Renews the lease: a round may take longer than it holds."""
        while True:
            await asyncio.sleep(_RENEW_S)
            if self._leader:
                with contextlib.suppress(StoreError):
                    self._leader = await lease.take(self._store, LEASE, int(time.time()), _LEASE_S)

    async def step(self, now: float) -> None:
        """Raises `StoreError`."""
        self._changed = await self._subscribers.refresh(now) or self._changed
        self._log_map()
        if now - self._figures_at >= _FIGURES_S:
            self._figures_at = now
            self._metrics.set_cases(await age_tables.figures(self._store))
            self._metrics.set_cases(spread.metrics(await self._rollouts.of(int(now))))
        was_leader, self._leader = self._leader, await lease.take(self._store, LEASE, int(now), _LEASE_S)
        if not self._leader:
            return
        if not was_leader or self._updater is None:  # another process may have done anything in the meantime
            self._updater = await updater(self._config, self._store, self._subscribers, int(now))
            self._full_at, self._changed = float("-inf"), True
        await self._cases(self._updater, now)

    async def _cases(self, updater: CaseUpdater, now: float) -> None:
        full = now - self._full_at >= _FULL_S
        built = await updater.catch_up(int(now), full)
        if full:
            self._full_at = now
        if self._changed:
            built += await updater.remap(int(now))
            self._changed, self._retry_at = False, now
        elif now - self._retry_at >= self._config.subscribers.unknown_minutes * 60:
            built += await updater.remap(int(now), unknown_only=True)
            self._retry_at = now
        self._metrics.cases_built.inc(built)

    def _log_map(self) -> None:
        """Logs once what is wrong with the map, and when it is good again."""
        wrong = self._subscribers.wrong if isinstance(self._subscribers, File | Lookup) else ""
        self._metrics.subscribers_failed.set(1 if wrong else 0)
        if wrong != self._logged:
            if wrong:
                _log.error("subscriber map", extra={"fields": {"why": wrong}})
            else:
                _log.info("subscriber map good again")
            self._logged = wrong


def rollout_terms(config: Config) -> spread.Terms:
    return spread.Terms(config.provision.published, config.provision.halt_at)


def read_secret(path: str) -> str:
    """One line of a file that only its owner and group can read. Raises `SetupError`."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read(4096).strip()
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SetupError(f"{path}: not ASCII text") from None
    if not text or not text.isprintable():
        raise SetupError(f"{path}: expected one line of text")
    if wrong := file_modes.fault(path):
        raise SetupError(wrong)
    return text


def authority(path: str) -> Any:
    """For httpx: the authority in a file, or the system's."""
    try:
        return ssl.create_default_context(cafile=path or None)
    except OSError as error:
        raise SetupError(f"{path}: {getattr(error, 'reason', None) or error.strerror}") from None
