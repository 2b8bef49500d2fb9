"""Accepts connections at several listeners and hands them to `http.Protocol`.

Knows listeners. Must not know reports. uvicorn hands no client certificate to the application and sets no time limit
for a handshake or a request head, so connections are accepted here: the handshake has a time limit, and the protocol
gets the certificate (`extensions.tls.client_cert_der`). Failed handshakes are counted and logged with their address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import uvicorn

from cpe_filter.collect.intake import http
from cpe_filter.collect.intake.limits import source
from cpe_filter.collect.intake.listener import Listener, bind
from cpe_filter.collect.metrics import Metrics

#: How long requests may run on after the signal to stop.
STOP_S = 20
#: How long a client may take to answer the close_notify of TLS.
_CLOSE_NOTIFY_S = 2.0
#: How long nothing is accepted after accept(2) has failed: without descriptors it would fail at once, again and again.
PAUSE_S = 0.1

_log = logging.getLogger("cpe_filter.collect.intake.server")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that a client may take: for the TLS handshake, for a request head, and between requests."""

    handshake_s: float = 10.0
    head_s: float = 10.0
    idle_s: float = 30.0


class Server(uvicorn.Server):
    """`bind`, then `serve`, which returns once `should_exit` is set and running requests are done."""

    def __init__(self, listeners: list[Listener], times: Times, metrics: Metrics) -> None:
        self._listeners, self._times, self._metrics = listeners, times, metrics
        self._configs = [http.config(listener.application, times.idle_s, STOP_S) for listener in listeners]
        super().__init__(self._configs[0])
        self._sockets: list[socket.socket] = []
        #: Where each listener is bound: `(host, port)` or a path.
        self.addresses: list[Any] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again at its end; the caller runs several things and decides on signals."""
        yield

    def bind(self) -> None:
        """Takes the addresses. Raises `ListenError`."""
        self._sockets = bind(self._listeners)
        self.addresses = [bound.getsockname() for bound in self._sockets]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers = []
        for listener, config, bound in zip(self._listeners, self._configs, self._sockets, strict=True):
            if not config.loaded:
                config.load()
            self.servers.append(cast(Any, _Acceptor(self, listener, config, bound, self._times, self._metrics)))
        self.started = True


class _Acceptor:
    """Accepts connections at one listener until it is closed. The names of its methods are those of asyncio.Server."""

    def __init__(
        self,
        server: Server,
        listener: Listener,
        config: uvicorn.Config,
        bound: socket.socket,
        times: Times,
        metrics: Metrics,
    ) -> None:
        self._server, self._listener, self._config, self._socket = server, listener, config, bound
        self._times, self._metrics = times, metrics
        self._open = 0
        self._open_from: dict[str, int] = {}
        self._tls: dict[str, Any] = {}
        if listener.tls is not None:
            self._tls = {"ssl": listener.tls, "ssl_handshake_timeout": times.handshake_s}
            if sys.version_info >= (3, 11):
                self._tls["ssl_shutdown_timeout"] = _CLOSE_NOTIFY_S
        self._tasks: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._accept())

    def close(self) -> None:
        self._task.cancel()
        self._socket.close()
        if self._listener.path:
            with contextlib.suppress(OSError):
                os.unlink(self._listener.path)

    async def wait_closed(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._socket)
            except OSError as error:  # the peer has disconnected, or no descriptors are left
                _log.error("accept failed", extra={"fields": {"why": error.strerror}})
                await asyncio.sleep(PAUSE_S)
                continue
            if reason := self._full(peer):
                self._refused(peer, "full", reason)
                connection.close()
                continue
            self._count(peer, +1)
            task = asyncio.create_task(self._serve(connection, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, peer: Any) -> None:
        loop = asyncio.get_running_loop()
        made: list[http.Protocol] = []

        def protocol() -> http.Protocol:
            new = http.Protocol(config=self._config, server_state=self._server.server_state, app_state={}, _loop=loop)
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
                made[0].on_lost = lambda: self._count(peer, -1)
        except (OSError, asyncio.TimeoutError) as error:
            connection.close()
            self._count(peer, -1)
            self._refused(peer, "handshake", _reason(error))
        except BaseException:
            connection.close()
            self._count(peer, -1)
            raise

    def _full(self, peer: Any) -> str | None:
        """Why one more connection is refused; None if it is not."""
        if self._open >= self._listener.max_connections:
            return "too many connections"
        per_source = self._listener.tls is not None  # behind a proxy all connections have one source
        if per_source and self._open_from.get(_source(peer), 0) >= self._listener.max_per_source:
            return "too many connections from this source"
        return None

    def _count(self, peer: Any, change: int) -> None:
        self._open += change
        key = _source(peer)
        self._open_from[key] = self._open_from.get(key, 0) + change
        if not self._open_from[key]:
            del self._open_from[key]
        if self._listener.tls is not None and self._listener.for_routers:
            self._metrics.connections.set(self._open)

    def _refused(self, peer: Any, reason: str, why: str) -> None:
        self._metrics.refused.labels(reason).inc()
        fields = {"peer": peer[0] if isinstance(peer, tuple) else "unix", "reason": reason, "why": why}
        _log.warning("refused", extra={"fields": fields})


def _source(peer: Any) -> str:
    return source(str(peer[0]) if isinstance(peer, tuple) else "")


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "certificate"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS").lower().replace("_", " ")
    if isinstance(error, ConnectionAbortedError):  # how asyncio reports that the time is up
        return "handshake too slow"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
