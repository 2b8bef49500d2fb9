"""`cpe-filter collector`: runs a service or does one task, by its configuration file. `arguments` lists the verbs.

Knows the names of tasks and what each needs. Must not do their work.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from cpe_filter.collect import doctor, log, service, tasks, trial, users
from cpe_filter.collect.api import listener as api
from cpe_filter.collect.cases import worker
from cpe_filter.collect.config.file import ConfigError, load, problems
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.enrol import listener as enrolment
from cpe_filter.collect.enrol.authority import AuthorityError
from cpe_filter.collect.intake import identity, routers
from cpe_filter.collect.intake.http import UvicornError
from cpe_filter.collect.intake.listener import ListenError
from cpe_filter.collect.intake.tls import router_context
from cpe_filter.collect.mail import setup as mail
from cpe_filter.collect.store.base import StoreError
from cpe_filter.collect.web import listener as page
from cpe_filter.outcome import EXIT_UNUSABLE, UsageError, complain_all

WORK = ("run", "ingest", "consume", "est", "migrate", "retain", "check", "init", "doctor", "password", *tasks.WORK)

_SERVICES = {"run": service.run, "ingest": service.ingest, "consume": service.consume, "est": service.est}
_ERRORS = (
    AuthorityError,
    ConfigError,
    ListenError,
    StoreError,
    UvicornError,
    identity.RevocationListError,
    users.UserError,
    worker.SetupError,
    tasks.BadArgumentsError,
    trial.TrialError,
)

#: sysexits.h: a mail system that has started the program tries again later.
EX_TEMPFAIL = 75

_log = logging.getLogger("cpe_filter.collect")


def main(path: str, work: str, **options: str | None) -> int:
    """Does `work` by the configuration in `path`; 0 when it is done, or after a signal to stop; 1 where doctor found a
    fault.

    options: those of `tasks.Options`. Raises `UsageError`.
    """
    given = tasks.Options(**options)
    try:
        if given.since is not None:
            tasks.moment(given.since)
        if work == "password":  # before there is a complete configuration
            print(users.ask())
            return 0
        if work == "init":
            print(trial.make(given.of or "", given.host), end="")
            return 0
        if work == "doctor":
            return doctor.examine(path)
        if work == "check" and (wrong := problems(path)):
            complain_all(wrong)
            return EXIT_UNUSABLE
        config = load(path)
        log.set_up(config.log.level)
        for renamed in config.renamed:
            _log.warning("old name in the configuration", extra={"fields": {"file": path, "why": renamed}})
        if work == "check":
            return _check(config, path)
        asyncio.run(_SERVICES[work](config) if work in _SERVICES else _task(config, work, given))
    except _ERRORS as error:
        if work == "bounce" and isinstance(error, StoreError):
            print(f"collector bounce: {error}", file=sys.stderr)
            return EX_TEMPFAIL
        raise UsageError(str(error)) from None
    return 0


def _check(config: Config, path: str) -> int:
    places = []
    if config.listen.address:
        router_context(config.listen.certificate, config.listen.key, config.listen.client_ca)
        places.append(f"TLS at {config.listen.address}")
    revoked = routers.revocation_list(config)
    worker.check(config)
    mail.check(config)
    if config.page.address:
        page.tls(config)
        page.identity_provider(config)
        page.maker_lists(config)
        places.append(f"the page at {config.page.address}")
    if config.api.address:
        api.tls(config)
        places.append(f"the API at {config.api.address}")
    if config.enrol.address:
        enrolment.authority_of(config)
        enrolment.tls(config)
        places.append(f"certificates at {config.enrol.address}")
    if config.tls_proxy.address:
        places.append(f"TLS proxy at {config.tls_proxy.address}")
    count = f"{len(revoked)} certificates revoked" if revoked is not None else "no revocation list"
    print(f"{path}: good. {' and '.join(places)}; store {config.store.engine}, {count}.")
    return 0


async def _task(config: Config, work: str, options: tasks.Options) -> None:
    async with service.opened(config) as store:
        if work == "migrate":
            _log.info("schema is up to date")
        elif work == "retain":
            await service.retain_once(store, config)
        else:
            await tasks.run(config, store, work, options)
