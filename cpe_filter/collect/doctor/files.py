"""Files that the configuration names: modes, certificates and when they expire, the revocation list, secrets, the map.

Knows X.509 and permissions. Must not know sockets.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator

from cryptography import x509

from cpe_filter.collect import file_modes, published, signing
from cpe_filter.collect.api import listener as api
from cpe_filter.collect.cases import worker
from cpe_filter.collect.config.model import Config
from cpe_filter.collect.doctor.finding import Finding, fail, ok, warn
from cpe_filter.collect.enrol import listener as enrolment
from cpe_filter.collect.enrol.authority import AuthorityError
from cpe_filter.collect.intake import identity, routers, tls
from cpe_filter.collect.intake.listener import ListenError
from cpe_filter.collect.mail import setup as mail
from cpe_filter.collect.web import listener as page

#: A certificate, or a signed document, that expires within this many days is named.
SOON_DAYS = 21


def look(config: Config, path: str, now: datetime.datetime) -> Iterator[Finding]:
    yield from _modes(config, path)
    yield from _certificates(config, now)
    yield from _revoked(config, now)
    yield from _used(config)
    yield from _enrolment(config)
    if config.provision.published:
        yield _published(config.provision.published, now)


def _modes(config: Config, path: str) -> Iterator[Finding]:
    """Private keys, secrets, the store, and the configuration, which has hashes of passwords."""
    private = [config.listen.key, config.page.key, config.webhook.secret_file, config.subscribers.token_file]
    private += [config.mail.password_file, config.mail.key_file, config.nats.credentials]
    private += [config.api.key, config.oidc.client_secret_file, config.desk.instruction_key]
    private += [config.enrol.key, config.enrol.ca_key]
    if config.store.engine == "sqlite":
        private.append(config.store.path)
    if config.page.users or "password=" in config.store.dsn.replace(" ", ""):
        private.append(path)
    faults = [fault for name in private if name and (fault := file_modes.fault(name))]
    if faults:
        for fault in faults:
            yield fail("file modes", fault)
    else:
        yield ok("file modes", f"others cannot read the {sum(map(bool, private))} private files")


def _certificates(config: Config, now: datetime.datetime) -> Iterator[Finding]:
    named = {
        "[listen] certificate": config.listen.certificate if config.listen.address else "",
        "[listen] client_ca": config.listen.client_ca,
        "[page] certificate": config.page.certificate if config.page.address else "",
        "[api] certificate": config.api.certificate if config.api.address else "",
        "[enrol] certificate": config.enrol.certificate if config.enrol.address else "",
        "[enrol] ca": config.enrol.ca,
        "[enrol] factory_ca": config.enrol.factory_ca if config.enrol.address else "",
        "[oidc] ca": config.oidc.ca if config.oidc.issuer else "",
        "[mail] ca": config.mail.ca if config.mail.relay else "",
        "[nats] ca": config.nats.ca,
        "[subscribers] ca": config.subscribers.ca,
        "[webhook] ca": config.webhook.ca,
    }
    for thing, path in named.items():
        if path:
            yield _certificate(thing, path, now)


def _certificate(thing: str, path: str, now: datetime.datetime) -> Finding:
    """The certificate of a file that expires first."""
    try:
        with open(path, "rb") as file:
            found = x509.load_pem_x509_certificates(file.read(16 << 20))
    except OSError as error:
        return fail(thing, f"{path}: {error.strerror}")
    except ValueError:
        return fail(thing, f"{path}: no certificate in PEM")
    first = min(found, key=_ends)
    days = (_ends(first) - now).total_seconds() / 86400
    date = f"{_ends(first):%Y-%m-%d %H:%M} UTC"
    if days < 0:
        return fail(thing, f"{path}: expired at {date}; renew it")
    if any(_begins(one) > now for one in found):
        return fail(thing, f"{path}: not valid yet; is the clock right?")
    if days < SOON_DAYS:
        return warn(thing, f"{path}: expires in {days:.0f} days ({date}); renew it")
    return ok(thing, f"{path}: valid for {days:.0f} days")


def _ends(certificate: x509.Certificate) -> datetime.datetime:
    """cryptography 42 has the time with its zone."""
    return certificate.not_valid_after_utc


def _begins(certificate: x509.Certificate) -> datetime.datetime:
    return certificate.not_valid_before_utc


def _revoked(config: Config, now: datetime.datetime) -> Iterator[Finding]:
    try:
        found = routers.revocation_list(config)
    except identity.RevocationListError as error:
        yield fail("[listen] crl", str(error))
        return
    if found is None:
        return
    ends = datetime.datetime.fromtimestamp(found.next_update, datetime.timezone.utc) if found.next_update else None
    if ends is not None and ends < now:
        yield warn("[listen] crl", f"{config.listen.crl}: due for an update since {ends:%Y-%m-%d %H:%M} UTC")
    else:
        yield ok("[listen] crl", f"{len(found)} certificates revoked")


def _published(folder: str, now: datetime.datetime) -> Finding:
    """The index of signed documents. One that expires leaves routers as they are, and new ones without it."""
    thing = "[provision] published"
    try:
        channels = published.read(folder).channels.values()
    except published.PublishedError as error:
        return fail(thing, str(error))
    current = [(one.current.expires, f"{one.type} {one.current.sequence}") for one in channels if one.current]
    if not current:
        return warn(thing, f"{folder}: nothing is published there")
    expires, name = min(current)
    days = (expires - now.timestamp()) / 86400
    if days < SOON_DAYS:
        return warn(
            thing, f"{folder}: {name} {'has expired' if days < 0 else f'expires in {days:.0f} days'}; publish one"
        )
    return ok(thing, f"{len(current)} current documents; the first to expire is {name}, in {days:.0f} days")


def _used(config: Config) -> Iterator[Finding]:
    """Keys that fit their certificates, the map, secrets: read as the service reads them."""
    listen = config.listen
    checks: dict[str, Callable[[], object]] = {"subscribers, webhook": lambda: worker.check(config)}
    if listen.address:
        checks["[listen] key"] = lambda: tls.router_context(listen.certificate, listen.key, listen.client_ca)
    if config.page.certificate:
        checks["[page] key"] = lambda: page.tls(config)
    if config.api.address and config.api.certificate:
        checks["[api] key"] = lambda: api.tls(config)
    if config.page.address and config.page.makers:
        checks["[page] makers"] = lambda: page.maker_lists(config)
    if config.page.address and config.oidc.issuer:
        checks["[oidc] files"] = lambda: page.identity_provider(config)
    if config.desk.instruction_key:
        checks["[desk] instruction_key"] = lambda: signing.load(config.desk.instruction_key)
    if config.enrol.ca_key or config.enrol.sign_command:
        checks["[enrol] authority"] = lambda: enrolment.authority_of(config)
    if config.enrol.address:
        checks["[enrol] key"] = lambda: enrolment.tls(config)
    if config.mail.relay:
        checks["[mail] files"] = lambda: mail.check(config)
    for thing, check in checks.items():
        try:
            check()
        except (ListenError, worker.SetupError, signing.KeyFileError, AuthorityError) as error:
            yield fail(thing, str(error).splitlines()[0])
        else:
            yield ok(thing, "can be used")
    if os.geteuid() == 0:
        yield warn("user", "root, who may read everything; run doctor as the user of the service")


def _enrolment(config: Config) -> Iterator[Finding]:
    """Whether what `est` issues and revokes is what the listener for routers trusts and reads."""
    enrol, listen = config.enrol, config.listen
    if not enrol.address:
        return
    if enrol.sign_command and not os.access(enrol.sign_command[0], os.X_OK):
        yield fail("[enrol] sign_command", f"{enrol.sign_command[0]}: not a program that this user may run")
    if not listen.address:
        return  # another configuration has the listener
    try:
        issuing, trusted = _first(enrol.ca), x509.load_pem_x509_certificates(_read(listen.client_ca))
    except (OSError, ValueError):
        return  # reported above
    if issuing not in trusted:
        what = f"{listen.client_ca} does not have the first certificate of {enrol.ca}"
        yield fail("[listen] client_ca", f"{what}: routers that enrol cannot report")
    if not listen.crl:
        yield warn("[listen] crl", "is empty: a router that `collector routers revoke` ends can still report")
    elif enrol.crl and os.path.realpath(enrol.crl) != os.path.realpath(listen.crl):
        yield warn("[listen] crl", f"is not [enrol] crl ({enrol.crl}); is it brought here?")


def _first(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates(_read(path))[0]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(16 << 20)
