"""Sockets, TLS and time-outs around ASGI applications; HTTP itself is uvicorn's.

Knows doors: an address, an application, and TLS or not. Must not know reports. uvicorn hands no client certificate to
the application and lets a client take for ever over its headers and its handshake, so its connections are made here:
accepted, shaken hands with against the clock, and given to uvicorn's protocol with the certificate in the scope
(`extensions.tls.client_cert_der`). Handshakes that fail are counted and logged with their address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cpe_filter.collect import file_modes as secrecy
from cpe_filter.collect.intake.limits import home
from cpe_filter.collect.metrics import Metrics

#: Bytes of a request's head.
MAX_HEAD = 16 * 1024
#: How long requests may go on after the signal to stop.
STOP_S = 20
#: How long a client may take to answer TLS' goodbye.
_GOODBYE_S = 2.0
_BACKLOG = 4096
#: Descriptors beside connections: stores, logs, the queue.
_OTHER_FILES = 256

Application = Callable[..., Any]


class CannotListen(Exception):
    """An address or a certificate that cannot be used. The text says which and why."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that a client may take: for the TLS handshake, for a request's head, and between requests."""

    handshake_s: float = 10.0
    head_s: float = 10.0
    idle_s: float = 30.0


@dataclass(slots=True)
class Door:
    """address: `host:port`, `[v6]:port` or `unix:/path`. tls: None for plain HTTP. most: connections at once, and
    most_of_one: those of one address (of IPv6 of a /64), where TLS ends here; elsewhere a proxy's is the only one.

    routers: whether it is for them.
    """

    address: str
    application: Application
    tls: ssl.SSLContext | None = None
    most: int = 10_000
    most_of_one: int = 256
    reuse_port: bool = False
    routers: bool = True


def server_context(certificate: str, key: str, client_ca: str) -> ssl.SSLContext:
    """TLS 1.3 with a client certificate of `client_ca`. Raises `CannotListen`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Routers come with OpenSSL 1.1.1 or later. With 1.2 sessions could be resumed by their id: nothing here stops that.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The handshake goes on without a certificate, so that the application can say that one is wanted; one of another
    # authority, or out of date, ends it.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    # A resumed session is not verified again; a full handshake is cheap beside being wrong.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError, too
        raise CannotListen(f"{certificate}, {key}: {_unusable(error)}") from None
    if wrong := secrecy.fault(key):
        raise CannotListen(wrong)
    try:
        context.load_verify_locations(client_ca)
    except OSError as error:
        raise CannotListen(f"{client_ca}: {_unusable(error)}") from None
    return context


def _unusable(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)


class _Protocol(H11Protocol):
    """uvicorn's, with a bound on the time of each request's head, and the client's certificate in the scope.

    peer: address and port as accept(2) told them, None for a Unix socket. uvicorn asks the socket, which does not know
    any more who sent what lies in it once the sender has reset the connection, and then says None, too.
    """

    head_s = 10.0
    peer: tuple[str, int] | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self.client = self.peer
        session = transport.get_extra_info("ssl_object")
        extensions: dict[str, Any] = {}
        if session is not None:
            # The ASGI extension has PEM; the application wants DER, and it is made only once.
            extensions["tls"] = {"client_cert_der": session.getpeercert(binary_form=True)}
        application = self.app

        async def with_certificate(scope: Any, receive: Any, send: Any) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), **extensions}
            await application(scope, receive, send)

        self.app = cast(Any, with_certificate)
        self._clock()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._clock()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)
        if self._gone is not None:
            self._gone()

    def _clock(self) -> None:
        """Runs while a head is awaited or under way; between requests uvicorn's own time-out for idleness does."""
        awaited = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        if not awaited:
            self._stop_clock()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self._too_slow)

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        logging.getLogger("cpe_filter.collect.intake.server").warning(
            "refused", extra={"about": {"peer": self.client[0] if self.client else "unix", "reason": "slow-head"}}
        )
        self.transport.abort()


class Server(uvicorn.Server):
    """Several doors, one process. `serve` returns some time after `should_exit` is set: what is under way is done."""

    def __init__(self, doors: list[Door], times: Times, metrics: Metrics) -> None:
        self._doors, self._times, self._metrics = doors, times, metrics
        self._configs = [
            uvicorn.Config(
                door.application,
                http=_Protocol,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=cast(int, times.idle_s),
                timeout_graceful_shutdown=STOP_S,
                h11_max_incomplete_event_size=MAX_HEAD,
            )
            for door in doors
        ]
        super().__init__(self._configs[0])
        self._sockets: list[socket.socket] = []
        #: Where each door is after `started`: `(host, port)` or a path.
        self.addresses: list[Any] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would die of the signal once it is done; whoever runs several things decides on signals itself."""
        yield

    def bind(self) -> None:
        """Takes the addresses. Raises `CannotListen`. To be called before `serve`."""
        _descriptors(sum(door.most for door in self._doors))
        for door in self._doors:
            try:
                listener = _socket(door)
            except OSError as error:
                for other in self._sockets:
                    other.close()
                raise CannotListen(f"{door.address}: {error.strerror or error}") from None
            self._sockets.append(listener)
            self.addresses.append(listener.getsockname())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = []
        for door, config, listener in zip(self._doors, self._configs, self._sockets, strict=True):
            if not config.loaded:
                config.load()
            self.servers.append(cast(Any, _Acceptor(self, door, config, listener, self._times, self._metrics)))
        self.started = True


class _Acceptor:
    """Takes connections at one door until it is closed."""

    def __init__(
        self,
        server: Server,
        door: Door,
        config: uvicorn.Config,
        listener: socket.socket,
        times: Times,
        metrics: Metrics,
    ) -> None:
        self._server, self._door, self._config, self._listener = server, door, config, listener
        self._times, self._metrics = times, metrics
        self._log = logging.getLogger("cpe_filter.collect.intake.server")
        self._open = 0
        self._open_of: dict[str, int] = {}
        self._tls: dict[str, Any] = {}
        if door.tls is not None:
            self._tls = {"ssl": door.tls, "ssl_handshake_timeout": times.handshake_s}
            if sys.version_info >= (3, 11):
                self._tls["ssl_shutdown_timeout"] = _GOODBYE_S
        self._tasks: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._accept())

    def close(self) -> None:
        self._task.cancel()
        self._listener.close()
        if self._door.address.startswith("unix:"):
            with contextlib.suppress(OSError):
                os.unlink(self._door.address.removeprefix("unix:"))

    async def wait_closed(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._listener)
            except OSError as error:  # the peer has gone again, or there are no descriptors left
                self._log.error("accept failed", extra={"about": {"why": error.strerror}})
                await asyncio.sleep(0.1)
                continue
            full = self._full(peer)
            if full:
                self._refused(peer, "full", full)
                connection.close()
                continue
            self._count(peer, +1)
            task = asyncio.create_task(self._serve(connection, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, peer: Any) -> None:
        loop = asyncio.get_running_loop()
        made: list[_Protocol] = []

        def protocol() -> _Protocol:
            new = _Protocol(config=self._config, server_state=self._server.server_state, app_state={}, _loop=loop)
            new.head_s = self._times.head_s
            new.peer = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
            made.append(new)
            return new

        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(protocol, sock=connection, **self._tls)
            if made[0].transport.is_closing():
                self._count(peer, -1)
            else:
                made[0]._gone = lambda: self._count(peer, -1)
        except (OSError, asyncio.TimeoutError) as error:
            connection.close()
            self._count(peer, -1)
            self._refused(peer, "handshake", _why(error))
        except BaseException:
            connection.close()
            self._count(peer, -1)
            raise

    def _full(self, peer: Any) -> str:
        """Why there is no room for a connection more; "" where there is."""
        if self._open >= self._door.most:
            return "too many connections"
        if self._door.tls is not None and self._open_of.get(_home(peer), 0) >= self._door.most_of_one:
            return "too many connections from there"
        return ""

    def _count(self, peer: Any, change: int) -> None:
        self._open += change
        where = _home(peer)
        self._open_of[where] = self._open_of.get(where, 0) + change
        if not self._open_of[where]:
            del self._open_of[where]
        if self._door.tls is not None and self._door.routers:
            self._metrics.connections.set(self._open)

    def _refused(self, peer: Any, reason: str, why: str) -> None:
        self._metrics.refused.labels(reason).inc()
        about = {"peer": peer[0] if isinstance(peer, tuple) else "unix", "reason": reason, "why": why}
        self._log.warning("refused", extra={"about": about})


def _home(peer: Any) -> str:
    return home(str(peer[0]) if isinstance(peer, tuple) else "")


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "certificate"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS").lower().replace("_", " ")
    if isinstance(error, ConnectionAbortedError):  # asyncio's way to say that time is up
        return "handshake too slow"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _descriptors(connections: int) -> None:
    """Asks for as many as connections need; a system's usual 1,024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        log = logging.getLogger("cpe_filter.collect.intake.server")
        log.warning("few descriptors", extra={"about": {"limit": hard, "wanted": wanted}})
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _socket(door: Door) -> socket.socket:
    if door.address.startswith("unix:"):
        path = door.address.removeprefix("unix:")
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o117)  # for its user and group: the terminator's group must be this process's
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    else:
        host, port = host_port(door.address)
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if door.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind((host, port))
        except BaseException:
            listener.close()
            raise
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def host_port(address: str) -> tuple[str, int]:
    """`192.0.2.1:8443` or `[::]:8443` in parts."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
