"""What listens here and who is reached from here: listeners, NATS, the mail relay, names of this server, the clock.

Knows sockets, TLS and DNS. Must not send mail, or anything else that a peer would keep: it asks each listener of the
collector itself for one page.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from cryptography import x509

from cpe_filter.collect.cases.worker import SetupError, authority
from cpe_filter.collect.config.model import Config, NatsTable
from cpe_filter.collect.doctor.finding import Finding, fail, ok, warn
from cpe_filter.collect.intake.jetstream import Link
from cpe_filter.collect.mail import relay
from cpe_filter.collect.mail import setup as mail
from cpe_filter.collect.store.base import StoreError
from cpe_filter.collect.web.provider import Provider, ProviderError
from cpe_filter.enrol.protocol import PATH as EST_PATH
from cpe_filter.send.protocol import PATH

_CONNECT_S = 5.0
_NATS_S = 15.0
#: adjtimex(2): the clock is not synchronized. The structure takes 208 bytes on 64-bit systems, less on others.
_TIME_ERROR, _TIMEX_BYTES = 5, 256


def look(config: Config) -> Iterator[Finding]:
    yield _clock()
    if config.listen.address:
        yield _routers(config)
    if config.metrics.address:
        yield _ready(config.metrics.address)
    if config.page.address:
        yield _answers("fleet page", config.page.address, bool(config.page.certificate))
    if config.api.address:
        yield _answers("API", config.api.address, bool(config.api.certificate))
    if config.enrol.address:
        yield _est(config.enrol.address)
    yield from _names(config)
    if config.oidc.issuer and config.page.address:
        yield _provider(config)
    if config.nats != NatsTable():
        yield _nats(config)
    if config.mail.relay:
        yield _relay(config)


def _clock() -> Finding:
    """A kernel that is kept in step by NTP says so."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return warn("clock", "not known whether it is synchronized")
    if state == -1:  # ProtectClock= of the service's unit forbids the question
        return warn("clock", "not known whether it is synchronized: this process may not ask the kernel")
    if state == _TIME_ERROR:
        return warn("clock", "not synchronized by NTP; certificates and times of events depend on it")
    return ok("clock", "synchronized")


# ── listeners ───────────────────────────────────────────────────────────────────────────────────────


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that is open already."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__("localhost", timeout=_CONNECT_S)
        self.sock = sock


def _open(address: str) -> socket.socket:
    """A connection to where a listener is; to loopback where it listens at all addresses. Raises OSError."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_CONNECT_S)
        try:
            sock.connect(address.removeprefix("unix:"))
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return socket.create_connection((host, int(port)), _CONNECT_S)


def _asked(sock: socket.socket, path: str) -> tuple[int, str]:
    """Status, and the first line of the body. Raises OSError, `http.client.HTTPException`."""
    connection = _Connection(sock)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(4096).decode(errors="replace").partition("\n")[0]
    finally:
        connection.close()


def _routers(config: Config) -> Finding:
    """TLS with the certificate of the file, and an answer that asks for a router's certificate."""
    thing, address = "listener for routers", config.listen.address
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is compared with the file
    try:
        with context.wrap_socket(_open(address)) as sock:
            shown = sock.getpeercert(binary_form=True)
            status, _ = _asked(sock, PATH)
    except (OSError, http.client.HTTPException) as error:
        return fail(thing, f"{address}: {_why(error)}; is the collector running?")
    try:
        with open(config.listen.certificate, "rb") as file:
            from_file = x509.load_pem_x509_certificates(file.read(1 << 20))[0]
    except (OSError, ValueError):
        from_file = None  # reported elsewhere
    if from_file is not None and shown is not None and x509.load_der_x509_certificate(shown) != from_file:
        return warn(thing, f"{address}: shows another certificate than {config.listen.certificate}")
    if status not in (401, 405):
        return fail(thing, f"{address}: answers with {status} without a certificate; is it the collector?")
    return ok(thing, f"{address}: TLS, and the collector answers")


def _ready(address: str) -> Finding:
    try:
        status, text = _asked(_open(address), "/readyz")
    except (OSError, http.client.HTTPException) as error:
        return fail("metrics", f"{address}: {_why(error)}; is the collector running?")
    if status != 200:
        return fail("metrics", f"{address}: /readyz answers with {status}: {text[:200]}")
    return ok("metrics", f"{address}: ready")


def _answers(thing: str, address: str, secure: bool) -> Finding:
    """A listener for people or programs, in TLS or not."""
    try:
        sock = _open(address)
        if secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        status, _ = _asked(sock, "/")
    except (OSError, http.client.HTTPException) as error:
        return fail(thing, f"{address}: {_why(error)}; is the collector running?")
    if status >= 500:
        return fail(thing, f"{address}: answers with {status}")
    return ok(thing, f"{address}: answers with {status}")


def _est(address: str) -> Finding:
    """The EST server: its authorities, which anyone may ask for."""
    thing = "enrolment"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(_open(address)) as sock:
            status, _ = _asked(sock, f"{EST_PATH}cacerts")
    except (OSError, http.client.HTTPException) as error:
        return fail(thing, f"{address}: {_why(error)}; is `collector est` running?")
    if status != 200:
        return fail(thing, f"{address}: answers with {status} for the authorities; is it `collector est`?")
    return ok(thing, f"{address}: TLS, and it gives its authorities")


# ── others ──────────────────────────────────────────────────────────────────────────────────────────


def _names(config: Config) -> Iterator[Finding]:
    """Names in the server's certificate, by which routers come, and in the page's URL."""
    names: list[str] = []
    if config.listen.address:
        try:
            with open(config.listen.certificate, "rb") as file:
                first = x509.load_pem_x509_certificates(file.read(1 << 20))[0]
            other = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = [name for name in other.get_values_for_type(x509.DNSName) if not name.startswith("*")]
        except (OSError, ValueError):
            pass  # reported elsewhere
        except x509.ExtensionNotFound:
            yield fail("public name", f"{config.listen.certificate} has no subjectAltName, so no router accepts it")
    if host := urlsplit(config.page.url).hostname:
        names.append(host)
    for name in dict.fromkeys(names[:8]):
        try:
            found = {str(one[4][0]) for one in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError) as error:
            yield fail("public name", f"{name}: {_why(error)}; routers cannot find it")
        else:
            yield ok("public name", f"{name}: {', '.join(sorted(found)[:4])}")


def _nats(config: Config) -> Finding:
    nats = config.nats

    async def ask() -> None:
        link = Link(nats.servers, nats.stream, nats.replicas, nats.max_bytes, nats.credentials, nats.ca)
        await link.open(make=False)
        try:
            await link.check()
        finally:
            await link.close()

    try:
        asyncio.run(asyncio.wait_for(ask(), _NATS_S))
    except StoreError as error:
        if "stream not found" in str(error):
            return warn("NATS", f"reached; stream {nats.stream} does not exist yet: `ingest` makes it")
        return fail("NATS", str(error))
    except (asyncio.TimeoutError, TimeoutError):
        return fail("NATS", f"no answer of {', '.join(nats.servers)} within {_NATS_S:g} s")
    return ok("NATS", f"stream {nats.stream} takes messages")


def _provider(config: Config) -> Finding:
    """Its discovery document is read as at a login."""
    thing, oidc = "identity provider", config.oidc

    async def ask() -> None:
        provider = Provider(oidc.issuer, oidc.client_id, "", oidc.timeout_s, authority(oidc.ca))
        try:
            await provider.endpoints()
        finally:
            await provider.close()

    try:
        asyncio.run(ask())
    except SetupError as error:
        return fail(thing, str(error))
    except ProviderError as error:
        return fail(thing, f"{oidc.issuer}: {error}")
    return ok(thing, f"{oidc.issuer}: its configuration can be used")


def _relay(config: Config) -> Finding:
    try:
        problem = relay.problem(mail.relay_terms(config))
    except SetupError as error:
        return fail("mail relay", str(error))
    if problem:
        return fail("mail relay", f"{config.mail.relay}: {problem}")
    how = {"off": "in clear text", "opportunistic": "STARTTLS if offered"}.get(config.mail.starttls, "STARTTLS")
    if config.mail.security == "tls":
        how = "TLS at once"
    return ok("mail relay", f"{config.mail.relay}: reached, {how}{', logged in' if config.mail.user else ''}")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:  # WRONG_VERSION_NUMBER: what listens there speaks no TLS
        return f"TLS failed ({error.reason.replace('_', ' ').lower()})"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
