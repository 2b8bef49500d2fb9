"""Listening sockets: they accept clients, and pause when no descriptors are left.

Knows accept(2) and poll. Must not know what is done with a client. When descriptors run out the clients wait in the
kernel, and `poll` would return the listener again and again; trying at once would only use CPU.
"""

from __future__ import annotations

import errno
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

#: What accept(2) and open(2) say when no descriptor or no memory is left.
SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Registers with `poll`. Call `accept` when that returns a socket of ours (`in`), `resume` every second."""

    __slots__ = ("_poll", "_sockets", "is_paused")

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._sockets: dict[int, socket.socket] = {}
        self.is_paused = False

    def add(self, listening: socket.socket) -> None:
        """Accepts clients of this socket, which does not block and is closed by `close`."""
        self._sockets[listening.fileno()] = listening
        self._poll.register(listening.fileno(), 0 if self.is_paused else select.POLLIN)

    def __contains__(self, fd: int) -> bool:
        return fd in self._sockets

    def accept(self, fd: int) -> tuple[socket.socket, Any] | None:
        """A client and its address; None if there is none, or none is accepted now."""
        if self.is_paused:  # since a moment ago
            return None
        try:
            return self._sockets[fd].accept()
        except OSError as error:
            if error.errno in SHORTAGE:
                self.pause()
            return None

    def pause(self) -> None:
        """Accepts no clients."""
        self._watch(0)
        self.is_paused = True

    def resume(self) -> None:
        """Accepts clients again."""
        self._watch(select.POLLIN)
        self.is_paused = False

    def _watch(self, events: int) -> None:
        if self.is_paused is bool(events):
            for fd in self._sockets:
                self._poll.modify(fd, events)

    def close(self) -> None:
        for fd, listening in self._sockets.items():
            self._poll.unregister(fd)
            listening.close()
        self._sockets.clear()
