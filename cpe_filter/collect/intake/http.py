"""uvicorn's HTTP/1.1 protocol with what it lacks: a time limit for request heads, and the client certificate.

Knows uvicorn, parts of which are not its public interface: `check_uvicorn` says so at the start where a version has
changed them. Must not know sockets' options or reports.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

#: Bytes of a request head.
MAX_HEAD = 16 * 1024
#: The versions that this was tested with (pyproject.toml has the same bounds).
TESTED_UVICORN = ">=0.30,<0.55"

_log = logging.getLogger("cpe_filter.collect.intake.http")


class UvicornError(Exception):
    """The installed uvicorn lacks what is used of it. The text says what, and which versions will do."""


class Protocol(H11Protocol):
    """peer: address and port from accept(2), None for a Unix socket. uvicorn asks the socket for them, which no longer
    knows once the sender has reset the connection; uvicorn then says None, too, as for a Unix socket.
    """

    head_s = 10.0
    peer: tuple[str, int] | None = None
    on_lost: Callable[[], None] | None = None
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self.client = self.peer
        session = transport.get_extra_info("ssl_object")
        extensions: dict[str, Any] = {}
        if session is not None:
            # The ASGI extension has PEM; the application needs DER, and it is made only once.
            extensions["tls"] = {"client_cert_der": session.getpeercert(binary_form=True)}
        application = self.app

        async def with_certificate(scope: Any, receive: Any, send: Any) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), **extensions}
            await application(scope, receive, send)

        self.app = cast(Any, with_certificate)
        self._set_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._set_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def _set_timer(self) -> None:
        """Runs while a head is expected or incomplete; between requests uvicorn's own idle timer does."""
        expected = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        if not expected:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_s, self._on_slow_head)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_slow_head(self) -> None:
        peer = self.client[0] if self.client else "unix"
        _log.warning("refused", extra={"fields": {"peer": peer, "reason": "slow-head"}})
        self.transport.abort()


def config(application: Callable[..., Any], idle_s: float, stop_s: int) -> uvicorn.Config:
    """uvicorn's configuration for one application. Seconds: between requests, and for what runs at the end."""
    return uvicorn.Config(
        application,
        http=Protocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=cast(int, idle_s),
        timeout_graceful_shutdown=stop_s,
        h11_max_incomplete_event_size=MAX_HEAD,
    )


#: What is overridden or read of uvicorn, and where it has to be.
_USED: tuple[tuple[type, tuple[str, ...]], ...] = (
    (H11Protocol, ("connection_made", "data_received", "on_response_complete", "connection_lost")),
    (uvicorn.Server, ("startup", "shutdown", "serve", "capture_signals", "main_loop")),
)
_INSTANCE = ("app", "client", "conn", "loop", "timeout_keep_alive_task")


def check_uvicorn(
    protocol: type[H11Protocol] = Protocol, used: tuple[tuple[type, tuple[str, ...]], ...] = _USED
) -> None:
    """Whether this uvicorn has what is used of it. Raises `UvicornError`."""
    missing = [f"{class_.__name__}.{name}" for class_, names in used for name in names if not hasattr(class_, name)]
    if not missing:
        loop = asyncio.new_event_loop()
        try:
            made = protocol(config(_nothing, 1, 1), ServerState(), {}, loop)
            missing = [f"{protocol.__name__}.{name}" for name in _INSTANCE if not hasattr(made, name)]
        except (TypeError, AttributeError) as error:
            missing = [str(error)]
        finally:
            loop.close()
    if missing:
        raise UvicornError(
            f"uvicorn {uvicorn.__version__} lacks {', '.join(missing)}: pip install 'uvicorn{TESTED_UVICORN}'"
        )


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application for the check."""
