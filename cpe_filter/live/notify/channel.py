"""The filter's end of the socket to the program that serves the notice (explain.channel has the other).

Knows Unix sockets (SOCK_SEQPACKET), JSON, and whether the server answers. Must not know what is asked. The server has
the socket's file, which root makes before it gives up root, in a folder of root's; the filter connects. So the server
needs no right to reach the filter, and no other user reaches either. The filter never waits: a request is one datagram
and so is its answer. Bounded: `REQUESTS` in a turn.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable

from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.json_text import decode, encode
from cpe_filter.lean.log import Log, LogOnce, err, info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: request -> answer. None: it comes later, by `send`.
    Handle = Callable[[dict[str, Any]], dict[str, Any] | None]

#: The socket's name, in the folder of the status file.
NAME = "notice"
#: Bytes of a datagram, and how many are read in a turn of the loop.
LONGEST, REQUESTS = 4096, 16
#: Seconds between two questions whether the server answers, and after which one that is silent counts as dead.
PING_S, PATIENCE_S = 2.0, 5.0
_SUBJECT = "channel"


class NoticeChannel:
    """Registers with `poll`. Call `tick` every second, `serve` when `fd` is ready."""

    def __init__(self, path: str, poll: select.poll, handle: Handle, log: Log) -> None:
        self._path = path
        self._poll = poll
        self._handle = handle
        self._log = log
        self._log_once = LogOnce(log)
        self._socket: socket.socket | None = None
        self._next_ping = self._answered_at = 0.0
        self._now = 0.0

    @property
    def fd(self) -> int:
        return self._socket.fileno() if self._socket is not None else -1

    @property
    def answers(self) -> bool:
        """Whether the server has answered a moment ago."""
        return self._socket is not None and self._now - self._answered_at < PATIENCE_S and self._answered_at > 0

    def tick(self, now: float) -> None:
        self._now = now
        if self._socket is None:
            self._connect()
        if self._socket is not None and now >= self._next_ping:
            self._next_ping = now + PING_S
            self.send({"do": "ping"})

    def _connect(self) -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            about = os.lstat(self._path)
            if not stat.S_ISSOCK(about.st_mode) or about.st_uid not in (0, os.geteuid()):
                raise OSError(0, "not a socket of root's")
            server.setblocking(False)
            server.connect(self._path)
        except OSError as error:
            server.close()
            if isinstance(error, FileNotFoundError | ConnectionRefusedError | BlockingIOError):
                return  # the server does not run, or not yet
            self._log_once.changed(_SUBJECT, err(f"notice not served: {self._path}: {error.strerror}"))
            return
        self._log_once.clear(_SUBJECT)
        self._socket, self._answered_at, self._next_ping = server, 0.0, 0.0
        self._poll.register(server.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Handles what the server has sent."""
        for _ in range(REQUESTS):
            if self._socket is None:
                return
            try:
                raw = self._socket.recv(LONGEST + 1)
            except BlockingIOError:
                return
            except OSError:
                raw = b""
            if not raw:
                self._log(info("the notice's server has gone"))
                self._drop()
                return
            answer = self._answered(raw)
            if answer is not None:
                self.send(answer)

    def _answered(self, raw: bytes) -> dict[str, Any] | None:
        try:
            request = decode(raw.decode()) if len(raw) <= LONGEST else None
        except ValueError:
            request = None
        if not isinstance(request, dict):
            return None
        if request.get("do") == "pong":
            self._answered_at = self._now
            return None
        try:
            return self._handle(request)
        except Exception as error:  # a defect; packets still need their verdicts
            self._log(err(f"notice: internal error: {type(error).__name__}: {error}"))
            return {"id": request.get("id"), "error": "internal error"}

    def send(self, message: dict[str, Any]) -> None:
        """To the server; one that does not read is left."""
        if self._socket is None:
            return
        try:
            self._socket.send(encode(message).encode())
        except OSError:
            self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._poll.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        self._drop()
