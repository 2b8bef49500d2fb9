"""The listeners for routers, as the configuration wants them, and what keeps their certificates fresh.

Knows the configuration. Must not know HTTP or reports. A new server certificate and a new revocation list take effect
without a restart.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import Any

from cryptography import x509

from cpe_filter.collect.config.model import Config
from cpe_filter.collect.intake import app, identity
from cpe_filter.collect.intake.inbox import Sink
from cpe_filter.collect.intake.listener import Listener, ListenError
from cpe_filter.collect.intake.tls import Reloader, router_context
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.wire import Report

#: How often the files are checked.
_CHECK_S = 2.0

_log = logging.getLogger("cpe_filter.collect")


def listeners(
    config: Config, metrics: Metrics, sink: Sink, waiting: Callable[[Report], list[str]] = lambda report: []
) -> tuple[list[Listener], Coroutine[Any, Any, None]]:
    """The listeners and the job that watches their files. waiting: the signed instructions for the router of a report.

    Raises `ListenError`, `RevocationListError`.
    """
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
    revoked = revocation_list(config)
    header = config.tls_proxy.header.encode()
    made: list[Listener] = []
    context = None
    if config.listen.address:
        context = router_context(config.listen.certificate, config.listen.key, config.listen.client_ca)
        by_certificate = identity.ByCertificate(config.listen.id_from, revoked, header)
        made.append(
            Listener(
                config.listen.address,
                app.application(by_certificate, sink, terms, limits, metrics, waiting),
                context,
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
        by_proxy = app.application(by_header, sink, terms, limits, metrics, waiting)
        made.append(Listener(config.tls_proxy.address, by_proxy))
    return made, _watch(config, context, revoked, metrics)


def revocation_list(config: Config) -> identity.Revoked | None:
    """The list that the configuration names, read. Raises `ListenError`, `RevocationListError`."""
    if not config.listen.crl:
        return None
    try:
        with open(config.listen.client_ca, "rb") as file:
            authorities = x509.load_pem_x509_certificates(file.read())
    except OSError as error:
        raise ListenError(f"{config.listen.client_ca}: {error.strerror}") from None
    except ValueError:
        raise ListenError(f"{config.listen.client_ca}: no certificates in PEM") from None
    revoked = identity.Revoked(config.listen.crl, authorities)
    revoked.read()
    return revoked


async def _watch(
    config: Config, context: ssl.SSLContext | None, revoked: identity.Revoked | None, metrics: Metrics
) -> None:
    reloader = Reloader(context, config.listen.certificate, config.listen.key) if context is not None else None
    was_expired = False
    while True:
        if revoked is not None:
            _read_list(revoked, config, metrics)
            expired = revoked.next_update is not None and revoked.next_update < time.time()
            if expired and not was_expired:
                # Refusing all routers would be worse than a list that is a little old.
                _log.error("revocation list expired", extra={"fields": {"file": config.listen.crl}})
            was_expired = expired
        if reloader is not None:
            try:
                if reloader.check():
                    _log.info("server certificate reloaded")
            except ListenError as error:
                _log.error("server certificate", extra={"fields": {"why": str(error)}})
        await asyncio.sleep(_CHECK_S)


def _read_list(revoked: identity.Revoked, config: Config, metrics: Metrics) -> None:
    try:
        if revoked.read():
            metrics.crl_failed.set(0)
            _log.info("revocation list read", extra={"fields": {"entries": len(revoked)}})
    except identity.RevocationListError as error:
        metrics.crl_failed.set(1)
        _log.error("revocation list", extra={"fields": {"why": str(error), "file": config.listen.crl}})
    metrics.crl_entries.set(len(revoked))
    metrics.crl_next_update.set(revoked.next_update or 0)
