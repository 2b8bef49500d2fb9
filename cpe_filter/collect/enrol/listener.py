"""The listener of the EST server, and its jobs: fresh certificates, and the revocation list.

Knows the configuration. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Coroutine
from typing import Any

from cryptography import x509

from cpe_filter.collect.config.model import Config
from cpe_filter.collect.enrol import authority, est, proof, register
from cpe_filter.collect.enrol.authority import Authority
from cpe_filter.collect.intake.listener import Listener, ListenError
from cpe_filter.collect.intake.tls import follow, router_context
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.lean.atomic_file import AtomicFile

#: How often revocations are looked for, and the list is made without any: seconds.
_LOOK_S, _AGAIN_S = 5.0, 3600.0
_UPKEEP_S = 3600.0
_MAX_PER_SOURCE = 64

_log = logging.getLogger("cpe_filter.collect.enrol")


def authority_of(config: Config) -> Authority:
    """Raises `AuthorityError`."""
    enrol = config.enrol
    return Authority(enrol.ca, enrol.ca_key, enrol.sign_command, enrol.days)


async def listeners(
    config: Config, store: Store, metrics: Metrics
) -> tuple[list[Listener], list[Coroutine[Any, Any, None]]]:
    """Raises `AuthorityError`, `ListenError`, `StoreError`."""
    enrol = config.enrol
    own = authority_of(config)
    context, hosts = tls(config)
    nonces = proof.Nonces(await register.nonce_secret(store))
    lists = RevocationList(own, store, enrol.crl)
    terms = est.Terms(hosts, enrol.burst, enrol.factory_id == "serial-number")
    application = est.application(own, store, nonces, terms, metrics, lambda: lists.current)
    listener = Listener(enrol.address, application, context, enrol.max_connections, _MAX_PER_SOURCE, for_routers=False)
    jobs = [follow(context, enrol.certificate, enrol.key, "enrolment", _log), _upkeep(store, metrics)]
    return [listener], [*jobs, lists.run()] if own.can_list else jobs


def tls(config: Config) -> tuple[ssl.SSLContext, frozenset[str]]:
    """The TLS context, and the server's names. Raises `ListenError`."""
    enrol = config.enrol
    context = router_context(enrol.certificate, enrol.key, enrol.ca)
    try:
        if enrol.factory_ca:
            context.load_verify_locations(enrol.factory_ca)
        with open(enrol.certificate, "rb") as file:
            own = x509.load_pem_x509_certificates(file.read())[0]
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except OSError as error:
        raise ListenError(f"{enrol.factory_ca or enrol.certificate}: {error.strerror or error}") from None
    except (ValueError, x509.ExtensionNotFound):
        raise ListenError(f"{enrol.certificate}: no certificate with subject alternative names") from None
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return context, frozenset(name.lower() for name in [*names.get_values_for_type(x509.DNSName), *addresses])


class RevocationList:
    """path: where the list is written, for the collector's [listen] crl; "" for nowhere. current: the last one, PEM."""

    def __init__(self, own: Authority, store: Store, path: str) -> None:
        self._own, self._store, self._path = own, store, path
        self._seen: list[tuple[str, int]] | None = None
        self._made_at = 0.0
        self.current = b""

    async def run(self) -> None:
        while True:
            try:
                await self.look(time.time())
            except (StoreError, OSError, authority.AuthorityError) as error:
                why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
                _log.error("revocation list", extra={"fields": {"why": why}})
            await asyncio.sleep(_LOOK_S)

    async def look(self, now: float) -> bool:
        """Makes the list if something was revoked, or the last one is old; whether it did."""
        revoked = await register.revoked(self._store, int(now))
        if revoked == self._seen and now - self._made_at < _AGAIN_S:
            return False
        made = await asyncio.to_thread(self._own.crl, revoked, int(now))
        if self._path:
            file = AtomicFile(self._path, 0o644, f"{self._path}.{os.getpid()}.new")  # other processes write it, too
            file.write(made)
            file.finish(durable=True)
        if revoked != self._seen:
            _log.info("revocation list made", extra={"fields": {"entries": len(revoked)}})
        self.current, self._seen, self._made_at = made, revoked, now
        return True


async def _upkeep(store: Store, metrics: Metrics) -> None:
    """Once an hour: forgets what is old, and counts routers by their certificates."""
    while True:
        try:
            await register.forget(store, int(time.time()))
            for state, count in (await register.standing(store, int(time.time()))).items():
                metrics.router_certificates.labels(state).set(count)
        except StoreError as error:
            _log.error("retention", extra={"fields": {"why": str(error)}})
        await asyncio.sleep(_UPKEEP_S)
