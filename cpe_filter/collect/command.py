"""`cpe-filter collector`: check, run, ingest, consume, migrate, retain.

    run      takes reports and keeps them in the store: one process does it all
    ingest   takes reports and puts them in NATS JetStream
    consume  from there into the store
    migrate  brings the store's tables up to date, and ends (run and consume do so, too)
    retain   deletes what is too old, and ends (run and consume do so now and then)
    check    reads the configuration, certificates, revocation list and map of subscribers, and ends
    export   writes incidents of cases for others: xarf, intelmq or csv
    rebuild  builds all cases anew from incidents, actions and the map of subscribers
    webhook  list: events that were given up, one JSON object a line;   retry: puts them back into the queue
    notice   what may be written to the subscriber of a case, in a language: --case ID --language de --format mail|json
    password asks for a name and a password for the fleet page, and prints the line for the configuration

Knows how the parts go together. Any number of `ingest` and `consume` may run, with one file of configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from ipaddress import ip_network
from typing import Any

from cryptography import x509
from prometheus_client import make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from cpe_filter.collect import desk_command, log, users
from cpe_filter.collect.cases import age_tables as aging
from cpe_filter.collect.cases import worker as desk
from cpe_filter.collect.config.file import ConfigError, load
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.intake import app, identity
from cpe_filter.collect.intake.inbox import Inbox, Sink
from cpe_filter.collect.intake.jetstream import Feed, Link, Queue
from cpe_filter.collect.intake.server import CannotListen, Door, Server, Times, server_context
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import retention
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.collect.web import door as page

WORK = ("run", "ingest", "consume", "migrate", "retain", "check", "password", *desk_command.WORK)

#: How often certificates and the revocation list are looked at.
_LOOK_S = 2.0

_log = logging.getLogger("cpe_filter.collect")


class Unusable(Exception):
    """Configuration or surroundings that nothing can be done with; one line that says why."""


def main(path: str, work: str, **words: str | None) -> int:
    """Does `work` by the configuration in `path`; 0 when it is done or was told to stop. words: of
    `desk_command.Asked`. Raises `Unusable`."""
    asked = desk_command.Asked(**words)
    try:
        desk_command.check(work, asked)
        if work == "password":  # before there is a configuration that is complete
            print(users.ask())
            return 0
        config = load(path)
        log.set_up(config.log.level)
        for renamed in config.renamed:
            _log.warning("old name in the configuration", extra={"about": {"file": path, "why": renamed}})
        if work == "check":
            return _check(config, path)
        asyncio.run(_work(config, work, asked))
    except (ConfigError, CannotListen, StoreError, identity.WrongList, users.UserError) as error:
        raise Unusable(str(error)) from None
    except (desk.WrongDesk, desk_command.WrongWords) as error:
        raise Unusable(str(error)) from None
    return 0


def open_store(config: Config) -> Store:
    """The store that the configuration names, not yet open."""
    if config.store.engine == "postgresql":
        from cpe_filter.collect.store.postgres import Postgres

        return Postgres(config.store.dsn, config.store.connections)
    from cpe_filter.collect.store.sqlite import SQLite

    return SQLite(config.store.path)


def terms_of_retention(config: Config) -> retention.Terms:
    return retention.Terms(config.retention.evidence_days, config.retention.incident_days, config.retention.silent_days)


def _check(config: Config, path: str) -> int:
    doors = []
    if config.listen.address:
        server_context(config.listen.certificate, config.listen.key, config.listen.client_ca)
        doors.append(f"TLS at {config.listen.address}")
    revoked = _revoked(config)
    desk.check(config)
    if config.page.address:
        page.tls(config)
        doors.append(f"the page at {config.page.address}")
    if config.tls_proxy.address:
        doors.append(f"TLS proxy at {config.tls_proxy.address}")
    told = f", {len(revoked)} certificates revoked" if revoked is not None else ", no revocation list"
    print(f"{path}: good. {' and '.join(doors)}; store {config.store.engine}{told}.")
    return 0


async def _work(config: Config, work: str, asked: desk_command.Asked) -> None:
    if work in desk_command.WORK:
        async with _opened(open_store(config)) as store:
            await desk_command.run(config, store, work, asked)
    elif work == "migrate":
        async with _opened(open_store(config)):
            _log.info("schema is up to date")
    elif work == "retain":
        async with _opened(open_store(config)) as store:
            _tell(await _retain_once(store, config))
    elif work == "run":
        metrics = Metrics()
        async with _opened(open_store(config)) as store:
            inbox = Inbox(store, metrics, config.limits.waiting)
            cases = desk.Desk(config, store, metrics)
            pages, page_jobs = page.doors(config, store, metrics)
            jobs = [_retain(store, config, metrics), *cases.jobs(), *page_jobs]
            await _serve(config, metrics, inbox, jobs, pages)
            await inbox.close()
    else:
        link = Link(
            config.nats.servers,
            config.nats.stream,
            config.nats.replicas,
            config.nats.max_bytes,
            config.nats.credentials,
            config.nats.ca,
        )
        metrics = Metrics()
        await link.open()
        try:
            if work == "ingest":
                await _serve(config, metrics, Queue(link, metrics, config.limits.waiting), [])
                return
            async with _opened(open_store(config)) as store:
                feed = Feed(link, store, metrics)
                cases = desk.Desk(config, store, metrics)
                pages, page_jobs = page.doors(config, store, metrics)
                jobs = [feed.run(), _retain(store, config, metrics), *cases.jobs(), *page_jobs]
                await _serve(config, metrics, feed, jobs, pages)
        finally:
            await link.close()


@contextlib.asynccontextmanager
async def _opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _serve(
    config: Config,
    metrics: Metrics,
    sink: Sink | Feed,
    jobs: list[Coroutine[Any, Any, None]],
    pages: Sequence[Door] = (),
) -> None:
    """Opens the doors (for routers only where `sink` takes reports), runs the jobs beside, until told to stop."""
    doors: list[Door] = list(pages)
    try:
        if not isinstance(sink, Feed):
            routers, watch = _routers_doors(config, metrics, sink)
            doors = [*routers, *doors]
            jobs = [*jobs, watch]
        if config.metrics.address:
            doors.append(Door(config.metrics.address, inside(metrics, sink), most=64, reuse_port=False))
        times = Times(config.limits.handshake_s, config.limits.head_s, config.limits.idle_s)
        server = Server(doors, times, metrics) if doors else None
        if server is not None:
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
    _log.info("started", extra={"about": {"addresses": server.addresses if server else [], "pid": os.getpid()}})
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks, *([serving] if serving else [])], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if server is not None and serving is not None:
        server.should_exit = True
        await serving
    await _end(tasks)
    _log.info("stopped")


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels until they have ended: before Python 3.12 `asyncio.wait_for` can swallow a cancellation. Raises what one
    of them raised."""
    while any(not task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)
    for task in tasks:
        if not task.cancelled():
            task.result()


def _routers_doors(config: Config, metrics: Metrics, sink: Sink) -> tuple[list[Door], Coroutine[Any, Any, None]]:
    terms = app.Terms(
        reports_per_hour=config.limits.reports_per_hour,
        reports_burst=config.limits.reports_burst,
        events_per_hour=config.limits.events_per_hour,
        events_burst=config.limits.events_burst,
        body_s=config.limits.body_s,
        retry_splay_s=config.answer.retry_splay_s,
        retry_after_s=config.answer.retry_after_s,
        policy_version=config.answer.policy_version,
    )
    limits = app.Limits(terms)
    revoked = _revoked(config)
    header = config.tls_proxy.header.encode()
    doors: list[Door] = []
    tls = None
    if config.listen.address:
        tls = server_context(config.listen.certificate, config.listen.key, config.listen.client_ca)
        by_certificate = identity.ByCertificate(config.listen.id_from, revoked, header)
        application = app.application(by_certificate, sink, terms, limits, metrics)
        doors.append(
            Door(
                config.listen.address,
                application,
                tls,
                config.listen.max_connections,
                config.listen.max_per_source,
                config.listen.reuse_port,
            )
        )
    if config.tls_proxy.address:
        by_header = identity.ByHeader(
            tuple(ip_network(text) for text in config.tls_proxy.trusted),
            header,
            config.tls_proxy.header_holds,
            config.listen.id_from,
            revoked,
            config.tls_proxy.address_header.encode(),
        )
        doors.append(Door(config.tls_proxy.address, app.application(by_header, sink, terms, limits, metrics)))
    return doors, _watch(config, tls, revoked, metrics)


def _revoked(config: Config) -> identity.Revoked | None:
    if not config.listen.crl:
        return None
    try:
        with open(config.listen.client_ca, "rb") as file:
            authorities = x509.load_pem_x509_certificates(file.read())
    except OSError as error:
        raise CannotListen(f"{config.listen.client_ca}: {error.strerror}") from None
    except ValueError:
        raise CannotListen(f"{config.listen.client_ca}: no certificates in PEM") from None
    revoked = identity.Revoked(config.listen.crl, authorities)
    revoked.read()
    return revoked


async def _watch(config: Config, tls: Any, revoked: identity.Revoked | None, metrics: Metrics) -> None:
    """A new server certificate and a new revocation list take effect without a restart."""
    seen = _mark(config)
    stale = False
    while True:
        if revoked is not None:
            _look(revoked, config, metrics)
            late = revoked.next_update is not None and revoked.next_update < time.time()
            if late and not stale:
                # Refusing everybody would be worse than a list that is a little old.
                _log.error("revocation list out of date", extra={"about": {"file": config.listen.crl}})
            stale = late
        if tls is not None and _mark(config) != seen:
            seen = _mark(config)
            try:
                tls.load_cert_chain(config.listen.certificate, config.listen.key)
                _log.info("server certificate read again")
            except OSError as error:
                about = {"file": config.listen.certificate, "why": getattr(error, "reason", None) or error.strerror}
                _log.error("server certificate", extra={"about": about})
        await asyncio.sleep(_LOOK_S)


def _look(revoked: identity.Revoked, config: Config, metrics: Metrics) -> None:
    try:
        if revoked.read():
            metrics.crl_failed.set(0)
            _log.info("revocation list read", extra={"about": {"entries": len(revoked)}})
    except identity.WrongList as error:
        metrics.crl_failed.set(1)
        _log.error("revocation list", extra={"about": {"why": str(error), "file": config.listen.crl}})
    metrics.crl_entries.set(len(revoked))
    metrics.crl_next_update.set(revoked.next_update or 0)


def _mark(config: Config) -> tuple[tuple[int, int], ...]:
    marks = []
    for path in (config.listen.certificate, config.listen.key):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            marks.append((status.st_ino, status.st_mtime_ns))
    return tuple(marks)


async def _retain(store: Store, config: Config, metrics: Metrics) -> None:
    while True:
        try:
            done = await _retain_once(store, config)
            for what, count in done.items():
                metrics.retained.labels(what).inc(count)
            _tell(done)
        except StoreError as error:
            _log.error("retention", extra={"about": {"why": str(error)}})
        await asyncio.sleep(config.retention.every_minutes * 60)


async def _retain_once(store: Store, config: Config) -> dict[str, int]:
    now = int(time.time())
    # Months of cases are counted before their incidents go.
    cases = await aging.run(store, desk.terms_of_retention(config), now)
    return {**cases, **await retention.run(store, terms_of_retention(config), now)}


def _tell(done: dict[str, int]) -> None:
    _log.info("retention", extra={"about": done})


def inside(metrics: Metrics, sink: Sink | Feed) -> Starlette:
    """/metrics and /healthz: not for routers."""

    async def health(_request: Request) -> Response:
        try:
            await asyncio.wait_for(sink.ready(), 5)
        except (StoreError, asyncio.TimeoutError, TimeoutError):
            return PlainTextResponse("store away\n", 503)
        return PlainTextResponse("good\n")

    return Starlette(routes=[Route("/healthz", health), Mount("/metrics", make_asgi_app(metrics.registry))])
