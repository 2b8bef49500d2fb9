"""The listener of the API, as the configuration wants it.

Knows the configuration and TLS. Must not know operations. A new certificate takes effect without a restart.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Coroutine
from typing import Any

from cpe_filter.collect.api import app
from cpe_filter.collect.api.reads import Figures, Instructions, Setup
from cpe_filter.collect.cases import worker
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.intake.listener import Listener
from cpe_filter.collect.intake.tls import browser_context, follow
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.rollout.figures import Rollouts
from cpe_filter.collect.store.base import Store

#: Few: programs, not routers.
_MAX_CONNECTIONS, _MAX_PER_SOURCE = 256, 64

_log = logging.getLogger("cpe_filter.collect.api")


def listeners(
    config: Config,
    store: Store,
    metrics: Metrics,
    mail: Desk | None = None,
    figures: Figures | None = None,
    instructions: Instructions | None = None,
    people: tuple[str, ...] = (),
    rollouts: Rollouts | None = None,
) -> tuple[list[Listener], list[Coroutine[Any, Any, None]]]:
    """The listener of the API and the jobs for it; none if the configuration has no API. people: see `Setup`. Raises
    `ListenError`."""
    api = config.api
    if not api.address:
        return [], []
    context = tls(config)
    limits = app.Limits(api.requests_per_hour, api.requests_burst, api.acts_per_hour, api.acts_burst)
    desk = mail if config.mail.relay else None
    texts = worker.notice_terms(config)
    setup = Setup(store, texts, desk, figures, instructions, rollouts, config.page.answer_days, people)
    application = app.application(setup, limits, metrics, secure=context is not None or api.plain_http)
    listener = Listener(api.address, application, context, _MAX_CONNECTIONS, _MAX_PER_SOURCE, for_routers=False)
    return [listener], [] if context is None else [follow(context, config.api.certificate, config.api.key, "api", _log)]


def tls(config: Config) -> ssl.SSLContext | None:
    """None for plain HTTP. Raises `ListenError`."""
    if not config.api.certificate:
        return None
    return browser_context(config.api.certificate, config.api.key)
