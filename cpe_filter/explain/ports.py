"""The responder's ports: bound by IPv4 and IPv6 while the process is root, listened on later.

Knows sockets. Must not know what is served on a port.
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.listener import Listener


class ExplainError(RuntimeError):
    """The responder cannot start, or cannot serve the notice; the text says why."""


class Ports:
    """kernel_bytes: of each connection's two buffers in the kernel. backlog: clients that wait there."""

    def __init__(self, port: int, kernel_bytes: int, backlog: int) -> None:
        self._port = port
        self._kernel_bytes = kernel_bytes
        self._backlog = backlog
        self.bound: list[socket.socket] = []

    def bind(self) -> None:
        """By each family that the kernel has. No client is answered before `listen`. Raises `ExplainError`."""
        for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            try:
                listener = socket.socket(family, socket.SOCK_STREAM)
            except OSError:
                continue  # a kernel without this family
            self.bound.append(listener)
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections inherit both.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._kernel_bytes)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._kernel_bytes)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind((everywhere, self._port))
            except OSError as error:
                raise ExplainError(f"port {self._port} cannot be bound: {error.strerror}") from None

    def listen(self, listener: Listener) -> None:
        """Lets clients in, by this listener. Raises `ExplainError`."""
        for bound in self.bound:
            try:
                bound.listen(self._backlog)
            except OSError as error:
                raise ExplainError(f"port {self._port} cannot be listened on: {error.strerror}") from None
            listener.add(bound)

    def close(self) -> None:
        for bound in self.bound:
            bound.close()
