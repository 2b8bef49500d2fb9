"""The listener of the fleet page, as the configuration wants it.

Knows the configuration and TLS. Must not know pages. A new certificate takes effect without a restart.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from ipaddress import ip_network
from typing import Any

from cpe_filter.collect import users
from cpe_filter.collect.cases import instructions, worker
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.intake.listener import Listener, ListenError
from cpe_filter.collect.intake.tls import CHECK_S, browser_context, follow
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.rollout.figures import Rollouts
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.web import makers, site
from cpe_filter.collect.web.access import Access, AddressOf, ByPassword, ByProxy
from cpe_filter.collect.web.figures import Figures, Found, View
from cpe_filter.collect.web.oidc import Oidc, Terms
from cpe_filter.collect.web.provider import Provider
from cpe_filter.collect.web.sessions import Sessions

#: Few: browsers, not routers.
_MAX_CONNECTIONS, _MAX_PER_SOURCE = 512, 64

_log = logging.getLogger("cpe_filter.collect.web")


def listeners(
    config: Config,
    store: Store,
    metrics: Metrics,
    mail: Desk | None = None,
    instruct: instructions.Desk | None = None,
    rollouts: Rollouts | None = None,
) -> tuple[list[Listener], list[Coroutine[Any, Any, None]]]:
    """The listener of the page and the jobs for it; none if the configuration has no page. Raises `ListenError`."""
    if not config.page.address:
        return [], []
    context = tls(config)
    secure = context is not None or config.page.url.startswith("https:")
    trusted = tuple(ip_network(text) for text in config.page.trusted)
    address_of = AddressOf(trusted, config.page.address_header.encode())
    lists = maker_lists(config)
    terms = site.Terms(
        secure,
        config.page.url,
        config.page.session_hours * 3600,
        address_of,
        config.page.zone,
        lists,
        people(config),
        config.page.answer_days,
        rollouts,
    )
    application = site.application(
        store, access(config), terms, metrics, mail=mail, oidc=identity_provider(config), instruct=instruct
    )
    listener = Listener(config.page.address, application, context, _MAX_CONNECTIONS, _MAX_PER_SOURCE, for_routers=False)
    jobs = [] if context is None else [follow(context, config.page.certificate, config.page.key, "page", _log)]
    return [listener], [*jobs, _watch_makers(lists)] if config.page.makers else jobs


def people(config: Config) -> tuple[str, ...]:
    """The users who may act; none where a proxy or an identity provider knows others."""
    if config.page.login == "proxy" or config.oidc.issuer:
        return ()
    known = (users.parse(text) for text in config.page.users)
    return tuple(sorted(user.name for user in known if user is not None and user.role != users.VIEWER))


def access(config: Config) -> Access:
    """What authenticates users: passwords, or a reverse proxy."""
    header = config.page.user_header.encode()
    if config.page.login == "proxy":
        trusted = tuple(ip_network(text) for text in config.page.trusted)
        groups = config.page.groups_header.encode()
        page = config.page
        return ByProxy(trusted, header, groups, page.desk_group, page.viewer_group, page.admin_group)
    known = [user for user in map(users.parse, config.page.users) if user is not None]
    sessions = Sessions(config.page.session_hours * 3600, config.page.idle_minutes * 60)
    return ByPassword(known, sessions, header)


def figures(store: Store) -> Callable[[int, str, str, int], Awaitable[Found]]:
    """Figures of the page for others: days, region, model, POSIX seconds."""
    computed = Figures(store)

    async def of(days: int, region: str, model: str, now: int) -> Found:
        return await computed.of(View(days, region, model), now)

    return of


def identity_provider(config: Config) -> Oidc | None:
    """Raises `worker.SetupError`."""
    oidc = config.oidc
    if not oidc.issuer:
        return None
    secret = worker.read_secret(oidc.client_secret_file) if oidc.client_secret_file else ""
    provider = Provider(oidc.issuer, oidc.client_id, secret, oidc.timeout_s, worker.authority(oidc.ca))
    roles: dict[users.Role, str] = {users.VIEWER: oidc.viewer_role, users.DESK: oidc.desk_role}
    if oidc.admin_role:
        roles[users.ADMIN] = oidc.admin_role
    return Oidc(provider, Terms(config.page.url, roles, oidc.roles_claim, oidc.name_claim, oidc.scope))


def maker_lists(config: Config) -> makers.Files:
    """The lists of makers. Raises `ListenError`."""
    try:
        return makers.Files(config.page.makers)
    except makers.MakersError as error:
        raise ListenError(f"[page] makers: {error}") from None


def tls(config: Config) -> ssl.SSLContext | None:
    """None for plain HTTP. Raises `ListenError`."""
    if not config.page.certificate:
        return None
    return browser_context(config.page.certificate, config.page.key)


async def _watch_makers(lists: makers.Files) -> None:
    while True:
        await asyncio.sleep(CHECK_S)
        try:
            if await asyncio.to_thread(lists.check):
                _log.info("list of makers reloaded", extra={"fields": {"date": lists.list.date}})
        except makers.MakersError as error:
            _log.error("list of makers", extra={"fields": {"why": str(error)}})
