"""The control socket: one request to the running filter, one answer.

Knows Unix sockets (SOCK_SEQPACKET), who is at the other end (SO_PEERCRED) and JSON. Must not know what is asked.
The filter's side never waits: a request is one datagram and so is its answer. Bounded: `CLIENTS` clients, `REQUEST`
bytes, `PATIENCE_S` seconds; who is late makes room for who comes. Only root and the filter's own user are let in.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from collections.abc import Callable

from cpe_filter import apart
from cpe_filter import plain_socket as socket
from cpe_filter.json_text import encode
from cpe_filter.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: (who asks, request) -> answer. What it raises becomes an answer, too.
    Handle = Callable[["Peer", dict[str, Any]], dict[str, Any]]

CLIENTS = 4
#: Bytes of a request and of an answer.
REQUEST, ANSWER = 4096, 1 << 16
#: Seconds that a client has for its request, and the filter for its answer.
PATIENCE_S, WAIT_S = 2.0, 40.0

_SO_PEERCRED_BYTES = 12  # struct ucred: pid, uid, gid


class Peer(NamedTuple):
    """Who asks."""

    pid: int
    uid: int


class Taken(OSError):
    """The socket cannot be had; the text says why."""


class NotRunning(Exception):
    """Nobody answers at the socket; the text says why."""


class NoAnswer(Exception):
    """Somebody is there, but there was no answer; the text says why."""


class ControlSocket:
    """The filter's side, on `poll`. Call `serve` where that names a descriptor of ours (`in`), `tick` every second."""

    def __init__(self, path: str, poll: select.poll, handle: Handle, log: Callable[[str], None]) -> None:
        """Takes the socket's place in the file system. Raises `Taken`."""
        self._path = path
        self._poll = poll
        self._handle = handle
        self._log = log
        self._clients: dict[int, tuple[socket.socket, Peer, float]] = {}
        self._uids = (0, os.geteuid())
        self._time = 0.0
        self._listener = _bind(path)
        self._inode = os.stat(path).st_ino
        poll.register(self._listener.fileno(), select.POLLIN)

    def __contains__(self, fd: int) -> bool:
        return fd in self._clients or fd == self._listener.fileno()

    def __len__(self) -> int:
        return len(self._clients)

    def tick(self, time: float) -> None:
        """Sends away who is late. time: seconds, never going back."""
        self._time = time
        for fd in [fd for fd, (_, _, since) in self._clients.items() if time - since > PATIENCE_S]:
            self._drop(fd)

    def serve(self, fd: int) -> None:
        """Lets a client in, or answers one."""
        if fd == self._listener.fileno():
            self._admit()
            return
        client, peer, _ = self._clients[fd]
        try:
            request = client.recv(REQUEST + 1)
            if request:
                client.send(self._answer(peer, request))
        except BlockingIOError:  # the descriptor's number was another's a moment ago
            return
        except OSError:
            pass  # it has gone
        self._drop(fd)

    def _admit(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it has gone, or we have no descriptors left
            return
        pid, uid, _ = _credentials(client)
        if uid not in self._uids:
            self._log(f"control: refused process {pid} of uid {uid}")
            client.close()
            return
        client.setblocking(False)
        if len(self._clients) >= CLIENTS:
            self._drop(next(iter(self._clients)))
        self._clients[client.fileno()] = client, Peer(pid, uid), self._time
        self._poll.register(client.fileno(), select.POLLIN)

    def _answer(self, peer: Peer, request: bytes) -> bytes:
        if len(request) > REQUEST:
            return encode({"error": f"the request is too long; allowed: {REQUEST} bytes"}).encode()
        try:
            asked = apart.result(lambda: _decode(request), ValueError)
        except (ValueError, apart.Unfinished):
            asked = None
        if not isinstance(asked, dict):
            return encode({"error": "the request is no JSON object"}).encode()
        try:
            answer = encode(self._handle(peer, asked)).encode()
        except Exception as error:  # a defect; mail still wants its verdicts
            text = f"internal error: {type(error).__name__}: {error}"
            self._log(f"control: {text}")
            return encode({"error": text[:400]}).encode()
        if len(answer) > ANSWER:
            return encode({"error": "the answer is too long"}).encode()
        return answer

    def _drop(self, fd: int) -> None:
        client, _, _ = self._clients.pop(fd)
        self._poll.unregister(fd)
        client.close()

    def close(self) -> None:
        """Gives the socket's place back, if it is still ours."""
        for fd in list(self._clients):
            self._drop(fd)
        try:
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except OSError:
            pass
        self._listener.close()


def _bind(path: str) -> socket.socket:
    """A listening socket at `path`, its owner's alone. What another filter has left there is replaced."""
    from cpe_filter.state import lock_folder

    folder = os.path.dirname(path)
    lock = -1
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.makedirs(folder, exist_ok=True)
        lock = lock_folder(folder, 1.0)  # two that start at once must not both find it stale
        if lock < 0:
            raise Taken(errno.EAGAIN, "somebody else holds its folder's lock")
        _clear(path)
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(CLIENTS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise Taken(error.errno, f"{path}: {error.strerror}") from None
    finally:
        if lock >= 0:
            os.close(lock)
    return listener


def _clear(path: str) -> None:
    """Takes a stale socket away. Raises OSError where something else is there."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EEXIST, "is there and is no socket")
    if listens(path):
        raise OSError(errno.EADDRINUSE, "another filter answers there")
    os.unlink(path)


def listens(path: str) -> bool:
    """Whether somebody has this socket open and takes connections, even if held up at the moment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # it has more waiting than it takes
            return True
        except OSError:
            return False
    return True


def ask(path: str, request: dict[str, Any], wait_s: float = WAIT_S) -> dict[str, Any]:
    """The running filter's answer. Raises `NotRunning` and `NoAnswer`."""
    content = encode(request).encode()
    if len(content) > REQUEST:
        raise NoAnswer(f"the request is too long; allowed: {REQUEST} bytes")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(wait_s)
        try:
            client.connect(path)
        except FileNotFoundError:
            raise NotRunning(f"there is no {path}") from None
        except ConnectionRefusedError:
            raise NotRunning(f"nobody answers at {path}") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise NoAnswer(f"{path}: {reason}") from None
        try:
            client.send(content)
            raw = client.recv(ANSWER + 1)
        except TimeoutError:
            raise NoAnswer(f"the filter at {path} has not answered within {wait_s:g} s") from None
        except OSError as error:
            raise NoAnswer(f"{path}: {error.strerror}") from None
    try:
        answer = _decode(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NoAnswer(f"the filter at {path} gave no answer" if not raw else f"{path}: not a cpe-filter's answer")
    return answer


def _decode(content: bytes) -> Any:
    import json

    return json.loads(content)


def _credentials(client: socket.socket) -> tuple[int, int, int]:
    raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED_BYTES)
    pid, uid, gid = (int.from_bytes(raw[n : n + 4], sys.byteorder) for n in (0, 4, 8))
    return pid, uid, gid
