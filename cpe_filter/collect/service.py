"""`run`, `ingest` and `consume`: listeners and jobs, until a signal to stop.

Knows how the parts go together. Must not know what a part does. Any number of processes may run, with one configuration
file.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from cpe_filter import __version__
from cpe_filter.collect import expiry, internal, signing
from cpe_filter.collect.api import listener as api
from cpe_filter.collect.api import once, tokens, versions
from cpe_filter.collect.cases import age_tables, instructions, worker
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.enrol import listener as enrolment
from cpe_filter.collect.intake import routers
from cpe_filter.collect.intake.http import check_uvicorn
from cpe_filter.collect.intake.inbox import Inbox, Sink
from cpe_filter.collect.intake.jetstream import Feed, Link, Queue
from cpe_filter.collect.intake.listener import Listener
from cpe_filter.collect.intake.outgoing import Outgoing
from cpe_filter.collect.intake.posted import Posted, Posting
from cpe_filter.collect.intake.server import Server, Times
from cpe_filter.collect.mail import setup as mail
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.rollout.figures import Rollouts
from cpe_filter.collect.store import audit, probe, retention
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.collect.web import listener as page
from cpe_filter.collect.wire import Report

Jobs = list[Coroutine[Any, Any, None]]

_log = logging.getLogger("cpe_filter.collect")


def make_store(config: Config) -> Store:
    """The store that the configuration names, not yet open."""
    if config.store.engine == "postgresql":
        from cpe_filter.collect.store.postgres import Postgres

        return Postgres(config.store.dsn, config.store.connections)
    from cpe_filter.collect.store.sqlite import SQLite

    return SQLite(config.store.path)


@contextlib.asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Store]:
    """The store, open. Raises `StoreError`."""
    store = make_store(config)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def run(config: Config) -> None:
    """Reports -> store, in one process."""
    metrics = Metrics()
    async with opened(config) as store:
        await _record_start(config, store)
        inbox = Inbox(store, metrics, config.limits.waiting)
        pages, jobs = _with_store(config, store, metrics, _instructions(config, store))
        outgoing = Outgoing(store)
        await _serve(config, metrics, inbox, pages, [*jobs, outgoing.run()], outgoing.of)
        await inbox.close()


async def ingest(config: Config) -> None:
    """Reports -> NATS JetStream."""
    metrics = Metrics()
    async with _linked(config) as link:
        posted = Posted(link)
        queue = Queue(link, metrics, config.limits.waiting)
        await _serve(config, metrics, queue, [], [posted.run()], posted.of)


async def consume(config: Config) -> None:
    """NATS JetStream -> store."""
    metrics = Metrics()
    async with _linked(config) as link, opened(config) as store:
        await _record_start(config, store)
        outgoing = Outgoing(store)
        feed = Feed(link, store, metrics, outgoing.stored)
        for_routers = _instructions(config, store)
        pages, jobs = _with_store(config, store, metrics, for_routers)
        # Routers get their answers from `ingest`, which has no store.
        posting = [Posting(link, store, outgoing).run()] if for_routers else []
        await _serve(config, metrics, feed, pages, [feed.run(), *posting, *jobs])


class _NoReports:
    """In place of a sink, in a process that takes no reports."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ready(self) -> None:
        """Raises `StoreError`."""
        await probe.write(self._store)


async def est(config: Config) -> None:
    """Certificates for routers, and nothing else: this process has the key of the authority."""
    metrics = Metrics()
    async with opened(config) as store:
        await _record_start(config, store)
        found, jobs = await enrolment.listeners(config, store, metrics)
        jobs = [*jobs, expiry.watch(expiry.of_enrolment(config), metrics)]
        await _serve(config, metrics, _NoReports(store), found, jobs, address=config.enrol.metrics_address)


async def _record_start(config: Config, store: Store) -> None:
    """The configuration is read at the start only: its digest shows whether it has changed. Raises `StoreError`."""
    digest = hashlib.sha256(repr(config).encode()).hexdigest()
    reason = f"version {__version__}, configuration {digest[:16]}"
    await audit.record(store, audit.By(audit.os_user(), audit.SERVICE), "started", reason=reason)


@contextlib.asynccontextmanager
async def _linked(config: Config) -> AsyncIterator[Link]:
    nats = config.nats
    link = Link(nats.servers, nats.stream, nats.replicas, nats.max_bytes, nats.credentials, nats.ca)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


def _with_store(
    config: Config, store: Store, metrics: Metrics, for_routers: instructions.Desk | None
) -> tuple[list[Listener], Jobs]:
    """What runs in each process that has a store: the fleet page, cases, notifications, mail and retention.
    for_routers: makes instructions; None without a key."""
    subscribers = worker.subscribers(config)  # read once, for all of them
    desk = mail.desk(config, store, subscribers)
    rollouts = Rollouts(store, worker.rollout_terms(config))
    pages, page_jobs = page.listeners(config, store, metrics, desk, for_routers, rollouts)
    people = page.people(config)
    apis, api_jobs = api.listeners(config, store, metrics, desk, page.figures(store), for_routers, people, rollouts)
    mail_jobs = mail.jobs(config, store, metrics, subscribers)
    case_jobs = worker.jobs(config, store, metrics, subscribers, rollouts)
    return [*pages, *apis], [_retain(store, config, metrics), *case_jobs, *mail_jobs, *page_jobs, *api_jobs]


def _instructions(config: Config, store: Store) -> instructions.Desk | None:
    """What makes instructions for routers; None without a key. Raises `worker.SetupError`."""
    if not config.desk.instruction_key:
        return None
    try:
        key = signing.load(config.desk.instruction_key)
    except signing.KeyFileError as error:
        raise worker.SetupError(str(error)) from None
    return instructions.Desk(
        store, key, instructions.Terms(config.desk.instruction_days, config.desk.instructions_per_day)
    )


async def _serve(
    config: Config,
    metrics: Metrics,
    sink: Sink | Feed | _NoReports,
    pages: Sequence[Listener],
    jobs: Jobs,
    waiting: Callable[[Report], list[str]] = lambda report: [],
    address: str | None = None,
) -> None:
    """Listens (for routers only where `sink` takes reports) and runs the jobs, until a signal to stop.

    address: of the metrics, if it is not [metrics] address.
    """
    try:
        listeners: list[Listener] = list(pages)
        if not isinstance(sink, _NoReports):
            jobs = [*jobs, expiry.watch(expiry.of_services(config), metrics)]
        if not isinstance(sink, (Feed, _NoReports)):
            for_routers, watch = routers.listeners(config, metrics, sink, waiting)
            listeners = [*for_routers, *listeners]
            jobs = [*jobs, watch]
        if watched_at := config.metrics.address if address is None else address:
            watched = internal.application(metrics.registry, sink.ready)
            listeners.append(Listener(watched_at, watched, max_connections=64))
        times = Times(config.limits.handshake_s, config.limits.head_s, config.limits.idle_s)
        server = Server(listeners, times, metrics) if listeners else None
        if server is not None:
            check_uvicorn()
            server.bind()
    except BaseException:
        for job in jobs:
            job.close()
        raise
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(job) for job in jobs]
    serving = asyncio.create_task(server.serve()) if server is not None else None
    _log.info("started", extra={"fields": {"addresses": server.addresses if server else [], "pid": os.getpid()}})
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks, *([serving] if serving else [])], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if server is not None and serving is not None:
        server.should_exit = True
        await serving
    await _end(tasks)
    _log.info("stopped")


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels until all have ended: before Python 3.12 `asyncio.wait_for` can swallow a cancellation. Raises what a
    task raised."""
    while any(not task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _retain(store: Store, config: Config, metrics: Metrics) -> None:
    while True:
        try:
            counts = await retain_once(store, config)
            for what, count in counts.items():
                metrics.retained.labels(what).inc(count)
        except StoreError as error:
            _log.error("retention", extra={"fields": {"why": str(error)}})
        await asyncio.sleep(config.retention.every_minutes * 60)


async def retain_once(store: Store, config: Config) -> dict[str, int]:
    """Deletes what is too old, and logs how many rows of each part. Raises `StoreError`."""
    now = int(time.time())
    keep = config.retention
    # The months of cases are counted before their incidents are deleted.
    counts = await age_tables.run(store, age_tables.Terms(keep.evidence_days, keep.case_days), now)
    terms = retention.Terms(keep.evidence_days, keep.incident_days, keep.silent_days)
    counts |= await retention.run(store, terms, now)
    counts["api"] = await once.forget(store, now) + await versions.forget(store, now) + await tokens.forget(store, now)
    counts["audit"] = await audit.prune(store, now - keep.audit_days * retention.DAY)
    # Who copies the log to another machine can tell there whether the chain has been replaced.
    number, chain = await audit.head(store)
    _log.info("audit log", extra={"fields": {"line": number, "chain": chain}})
    _log.info("retention", extra={"fields": counts})
    return counts
