"""The page's door, as the configuration wants it, and new users for it.

Knows the configuration, sockets and TLS. A new certificate takes effect without a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import ssl
import sys
from collections.abc import Coroutine
from ipaddress import ip_network
from typing import Any

from cpe_filter.collect import file_modes as secrecy
from cpe_filter.collect.config import Config
from cpe_filter.collect.intake.server import CannotListen, Door
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import password, site
from cpe_filter.collect.web.access import DESK, NAME, ROLES, Access, ByPassword, ByProxy, From, User, user
from cpe_filter.collect.web.sessions import Sessions

#: Browsers, not routers: few.
_MOST, _MOST_OF_ONE = 512, 64
_LOOK_S = 10.0


def doors(config: Config, store: Store, metrics: Metrics) -> tuple[list[Door], list[Coroutine[Any, Any, None]]]:
    """The page's door and what runs beside it; none where the configuration has no page. Raises `CannotListen`."""
    if not config.page_address:
        return [], []
    context = tls(config)
    secure = context is not None or config.page_url.startswith("https:")
    trusted = tuple(ip_network(text) for text in config.page_trusted)
    asked = From(trusted, config.page_address_header.encode())
    manner = site.Manner(secure, config.page_url, config.page_session_hours * 3600, asked)
    application = site.application(store, access(config), manner, metrics)
    door = Door(config.page_address, application, context, _MOST, _MOST_OF_ONE, routers=False)
    return [door], [] if context is None else [_watch(config, context)]


def access(config: Config) -> Access:
    """Who says who asks."""
    header = config.page_user_header.encode()
    if config.page_login == "proxy":
        trusted = tuple(ip_network(text) for text in config.page_trusted)
        groups = config.page_groups_header.encode()
        return ByProxy(trusted, header, groups, config.page_desk_group, config.page_viewer_group)
    users: list[User] = [one for one in map(user, config.page_users) if one is not None]
    sessions = Sessions(config.page_session_hours * 3600, config.page_idle_minutes * 60)
    return ByPassword(users, sessions, header)


def tls(config: Config) -> ssl.SSLContext | None:
    """TLS 1.2 or later without client certificates; None for plain HTTP. Raises `CannotListen`."""
    if not config.page_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.page_certificate, config.page_key)
    except OSError as error:  # ssl.SSLError, too
        why = getattr(error, "reason", None) or error.strerror or str(error)
        raise CannotListen(f"{config.page_certificate}, {config.page_key}: {why}") from None
    if wrong := secrecy.fault(config.page_key):
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
                context.load_cert_chain(config.page_certificate, config.page_key)
                log.info("page certificate read again")
            except OSError as error:
                why = getattr(error, "reason", None) or error.strerror
                log.error("page certificate", extra={"about": {"file": config.page_certificate, "why": why}})


def _mark(config: Config) -> tuple[tuple[int, int], ...]:
    marks = []
    for path in (config.page_certificate, config.page_key):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            marks.append((status.st_ino, status.st_mtime_ns))
    return tuple(marks)


class WrongUser(ValueError):
    """A name, role or password that will not do; one line that says why."""


def new_user() -> str:
    """Asks for a name, a role and a password on the terminal, or takes them as three lines of stdin.

    What is to be put into `[page] users`. Raises `WrongUser`.
    """
    if sys.stdin.isatty():
        name = _ask("Name: ")
        role = _ask(f"Role, {' or '.join(ROLES)} [{DESK}]: ") or DESK
        given = getpass.getpass(f"Password, at least {password.LEAST} characters: ")
        if getpass.getpass("Again: ") != given:
            raise WrongUser("the passwords differ")
    else:
        lines = sys.stdin.read(4096).split("\n")
        if len(lines) < 3:
            raise WrongUser("three lines are wanted on stdin: name, role, password")
        name, role, given = (line.rstrip("\r") for line in lines[:3])
    if not NAME.fullmatch(name):
        raise WrongUser("a name is 1 to 64 of letters, digits and . _ @ + -, the first a letter or digit")
    if role not in ROLES:
        raise WrongUser(f"a role is {' or '.join(ROLES)}")
    try:
        return f"{name}:{role}:{password.hashed(given)}"
    except password.WrongPassword as error:
        raise WrongUser(str(error)) from None


def _ask(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
