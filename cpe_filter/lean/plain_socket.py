"""Sockets as socket has them, without what it adds: `from cpe_filter.lean import plain_socket as socket`.

Knows _socket, the C module below it, which has sockets and constants. Must not know what a socket is for. socket adds
enums of the constants, files, `selectors` and helpers for programs on the Internet. Saves 1120 kB: socket with `enum`
and `selectors` takes 1250 kB, this module and _socket 130 kB. Type checkers see socket's own names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import *  # noqa: F403
else:
    import _socket

    # Those of its 700 names that the filter uses.
    from _socket import (  # noqa: F401
        AF_INET,
        AF_INET6,
        AF_NETLINK,
        AF_PACKET,
        AF_UNIX,
        IPPROTO_TCP,
        SO_PEERCRED,
        SO_RCVBUF,
        SOCK_DGRAM,
        SOCK_RAW,
        SOCK_SEQPACKET,
        SOL_SOCKET,
        error,
        if_indextoname,
        if_nameindex,
        inet_ntop,
        inet_pton,
    )

    class socket(_socket.socket):
        """Adds what the C class leaves to Python. Child processes do not inherit sockets (PEP 446)."""

        __slots__ = ()

        def accept(self):
            fd, address = self._accept()
            return socket(fileno=fd), address

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()
