"""A listener: an address, an application, and TLS or not; and its socket.

Knows sockets. Must not know HTTP or reports.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_BACKLOG = 4096
#: Descriptors besides connections: stores, logs, the queue.
_OTHER_FILES = 256

Application = Callable[..., Any]


class ListenError(Exception):
    """An address or a certificate that cannot be used. The text says which and why."""


@dataclass(slots=True)
class Listener:
    """address: `host:port`, `[v6]:port` or `unix:/path`. tls: None for plain HTTP.

    max_connections: open at the same time. max_per_source: from one IPv4 address or one IPv6 /64, where TLS ends here;
    behind a proxy every connection comes from the proxy. for_routers: whether the gauge of connections counts it.
    """

    address: str
    application: Application
    tls: ssl.SSLContext | None = None
    max_connections: int = 10_000
    max_per_source: int = 256
    reuse_port: bool = False
    for_routers: bool = True

    @property
    def path(self) -> str:
        """Of its Unix socket; "" for an address."""
        return self.address.removeprefix("unix:") if self.address.startswith("unix:") else ""


def bind(listeners: list[Listener]) -> list[socket.socket]:
    """Takes all the addresses, or none. Raises `ListenError`."""
    _raise_descriptor_limit(sum(listener.max_connections for listener in listeners))
    bound: list[socket.socket] = []
    for listener in listeners:
        try:
            bound.append(_bind(listener))
        except OSError as error:
            for other in bound:
                other.close()
            raise ListenError(f"{listener.address}: {error.strerror or error}") from None
    return bound


def _bind(listener: Listener) -> socket.socket:
    bound = _bind_unix(listener.path) if listener.path else _bind_tcp(listener)
    bound.listen(_BACKLOG)
    bound.setblocking(False)
    return bound


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)  # for its user and group: the group of the proxy must be this process's group
    try:
        bound.bind(path)
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound


def _bind_tcp(listener: Listener) -> socket.socket:
    host, port = host_port(listener.address)
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if host == "::":
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def host_port(address: str) -> tuple[str, int]:
    """The parts of `192.0.2.1:8443` or `[::]:8443`."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _raise_descriptor_limit(connections: int) -> None:
    """Asks for as many descriptors as the connections need: the usual limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        log = logging.getLogger("cpe_filter.collect.intake.listener")
        log.warning("few descriptors", extra={"fields": {"limit": hard, "needed": needed}})
        needed = hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
