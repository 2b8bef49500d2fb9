"""The server's end of the socket to the filter (live.notify.channel has the other).

Knows Unix sockets (SOCK_SEQPACKET) and JSON. Must not know HTTP, or what is asked. Root makes the socket's file, before
it gives up root, for root alone; so only the filter can connect. One filter at a time: the last that has connected.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat

from cpe_filter.lean.json_text import decode, encode
from cpe_filter.lean.listener import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: The socket's name, in the folder of the status file; and bytes of a datagram.
NAME, LONGEST = "notice", 4096


class Channel:
    """Registers with `poll`. Call `serve` when that returns one of its descriptors, `resume` every second."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._listener = Listener(poll)
        self._filter: socket.socket | None = None

    def bind(self, path: str) -> None:
        """Takes the socket's place in the file system. Raises OSError."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(errno.EEXIST, "exists and is not a socket")
            os.unlink(path)  # of a server before this one: a new one has its own filter connection soon
        except FileNotFoundError:
            pass
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mask = os.umask(0o177)
        try:
            listening.bind(path)
            listening.listen(2)
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(mask)
        listening.setblocking(False)
        self._listener.add(listening)

    def __contains__(self, fd: int) -> bool:
        return fd in self._listener or (self._filter is not None and self._filter.fileno() == fd)

    @property
    def is_paused(self) -> bool:
        """Whether a filter may wait for a descriptor."""
        return self._listener.is_paused

    def resume(self) -> None:
        """Lets the filter in again."""
        self._listener.resume()

    @property
    def is_open(self) -> bool:
        return self._filter is not None

    def serve(self, fd: int) -> Iterator[dict[str, Any]]:
        """The filter's answers that have come."""
        if fd in self._listener:
            self._accept(fd)
            return
        while self._filter is not None:
            try:
                raw = self._filter.recv(LONGEST)
            except BlockingIOError:
                return
            except OSError:
                raw = b""
            if not raw:
                self._drop()
                return
            try:
                message = decode(raw.decode())
            except ValueError:
                continue
            if message.get("do") == "ping":
                self.send({"do": "pong"})
            else:
                yield message

    def _accept(self, fd: int) -> None:
        accepted = self._listener.accept(fd)
        if accepted is None:
            return
        self._drop()
        self._filter, _ = accepted
        self._filter.setblocking(False)
        self._poll.register(self._filter.fileno(), select.POLLIN)

    def send(self, message: dict[str, Any]) -> bool:
        """To the filter. False if there is none, or it does not read."""
        if self._filter is None:
            return False
        try:
            self._filter.send(encode(message).encode())
        except OSError:
            return False
        return True

    def _drop(self) -> None:
        if self._filter is not None:
            self._poll.unregister(self._filter.fileno())
            self._filter.close()
            self._filter = None

    def close(self) -> None:
        self._drop()
        self._listener.close()
