"""Notices by e-mail as the configuration has them: the jobs of a process, what the page uses, and the check of files.

Knows the configuration. Must not know how a message is made.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Coroutine
from functools import partial
from typing import Any

from cpe_filter.collect import mail_address
from cpe_filter.collect.cases import webhook, worker
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.mail import bounce, message, relay, sender
from cpe_filter.collect.mail.desk import Desk
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Store
from cpe_filter.collect.subscribers.map import Subscribers


def jobs(config: Config, store: Store, metrics: Metrics, subscribers: Subscribers) -> list[Coroutine[Any, Any, None]]:
    """They run until they are cancelled, and never raise. Raises `worker.SetupError`."""
    mail = config.mail
    if not mail.relay:
        return []
    terms = message_terms(config)
    send = partial(relay.send, relay_terms(config))
    made = [sender.run(sender.Sender(store, subscribers, terms, bounds(config), send, metrics))]
    if mail.bounce_maildir:
        maildir = bounce.Maildir(mail.bounce_maildir, store, mail.bounce_address, terms.key, metrics)
        made.append(bounce.run(maildir))
    return made


def desk(config: Config, store: Store, subscribers: Subscribers) -> Desk:
    """For the page. Raises `worker.SetupError`."""
    terms = message_terms(config) if config.mail.relay else None
    return Desk(store, subscribers, worker.notice_terms(config), terms, config.mail.per_case)


def check(config: Config) -> None:
    """Reads the files that [mail] names. Raises `worker.SetupError`."""
    if not config.mail.relay:
        return
    message_terms(config)
    relay_terms(config)
    if config.mail.bounce_maildir:
        for folder in ("new", "cur"):
            path = os.path.join(config.mail.bounce_maildir, folder)
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                raise worker.SetupError(f"{path}: not a folder that can be read and written")


def message_terms(config: Config) -> message.Terms:
    """Raises `worker.SetupError`."""
    mail = config.mail
    return message.Terms(
        mail.from_address,
        mail.reply_to,
        mail.bounce_address,
        bounce_key(config) if mail.key_file else b"",
        worker.notice_terms(config),
        mail.second_language,
    )


def bounce_key(config: Config) -> bytes:
    """Raises `worker.SetupError`."""
    try:
        return webhook.secret(worker.read_secret(config.mail.key_file))
    except webhook.SecretError as error:
        raise worker.SetupError(f"{config.mail.key_file}: {error}") from None


def relay_terms(config: Config) -> relay.Terms:
    """Raises `worker.SetupError`."""
    mail = config.mail
    host, _, port = mail.relay.rpartition(":")
    context: ssl.SSLContext = worker.authority(mail.ca)
    if mail.starttls == "opportunistic":  # RFC 7435: better than clear text, and never with a password
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return relay.Terms(
        host.removeprefix("[").removesuffix("]"),
        int(port),
        mail.starttls,
        context,
        mail_address.ascii_domain(mail.from_address.rpartition("@")[2]),
        mail.user,
        worker.read_secret(mail.password_file) if mail.user else "",
        mail.timeout_s,
        mail.security == "tls",
    )


def bounds(config: Config) -> sender.Bounds:
    """What [mail] allows."""
    mail = config.mail
    first, _, after = mail.quiet_hours.partition("-")
    return sender.Bounds(
        mail.automatic,
        (_minute(first), _minute(after)),
        mail.per_day,
        mail.per_subscriber,
        mail.per_case,
        mail.give_up_hours * 3600,
    )


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour or 0) * 60 + int(minute or 0)
