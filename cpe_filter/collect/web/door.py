"""The page's door, as the configuration wants it, and new users for it.

Knows the configuration, sockets and TLS. A new certificate takes effect without a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Coroutine
from ipaddress import ip_network
from typing import Any

from cpe_filter.collect import file_modes, users
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.intake.server import CannotListen, Door
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import site
from cpe_filter.collect.web.access import Access, ByPassword, ByProxy, From
from cpe_filter.collect.web.sessions import Sessions

#: Browsers, not routers: few.
_MOST, _MOST_OF_ONE = 512, 64
_LOOK_S = 10.0


def doors(config: Config, store: Store, metrics: Metrics) -> tuple[list[Door], list[Coroutine[Any, Any, None]]]:
    """The page's door and what runs beside it; none where the configuration has no page. Raises `CannotListen`."""
    if not config.page.address:
        return [], []
    context = tls(config)
    secure = context is not None or config.page.url.startswith("https:")
    trusted = tuple(ip_network(text) for text in config.page.trusted)
    asked = From(trusted, config.page.address_header.encode())
    manner = site.Manner(secure, config.page.url, config.page.session_hours * 3600, asked)
    application = site.application(store, access(config), manner, metrics)
    door = Door(config.page.address, application, context, _MOST, _MOST_OF_ONE, routers=False)
    return [door], [] if context is None else [_watch(config, context)]


def access(config: Config) -> Access:
    """Who says who asks."""
    header = config.page.user_header.encode()
    if config.page.login == "proxy":
        trusted = tuple(ip_network(text) for text in config.page.trusted)
        groups = config.page.groups_header.encode()
        return ByProxy(trusted, header, groups, config.page.desk_group, config.page.viewer_group)
    known = [user for user in map(users.parse, config.page.users) if user is not None]
    sessions = Sessions(config.page.session_hours * 3600, config.page.idle_minutes * 60)
    return ByPassword(known, sessions, header)


def tls(config: Config) -> ssl.SSLContext | None:
    """TLS 1.2 or later without client certificates; None for plain HTTP. Raises `CannotListen`."""
    if not config.page.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.page.certificate, config.page.key)
    except OSError as error:  # ssl.SSLError, too
        why = getattr(error, "reason", None) or error.strerror or str(error)
        raise CannotListen(f"{config.page.certificate}, {config.page.key}: {why}") from None
    if wrong := file_modes.fault(config.page.key):
        raise CannotListen(wrong)
    return context


async def _watch(config: Config, context: ssl.SSLContext) -> None:
    log = logging.getLogger("cpe_filter.collect.web")
    seen = _mark(config)
    while True:
        await asyncio.sleep(_LOOK_S)
        if (mark := _mark(config)) != seen:
            seen = mark
            try:
                context.load_cert_chain(config.page.certificate, config.page.key)
                log.info("page certificate read again")
            except OSError as error:
                why = getattr(error, "reason", None) or error.strerror
                log.error("page certificate", extra={"about": {"file": config.page.certificate, "why": why}})


def _mark(config: Config) -> tuple[tuple[int, int], ...]:
    marks = []
    for path in (config.page.certificate, config.page.key):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            marks.append((status.st_ino, status.st_mtime_ns))
    return tuple(marks)
