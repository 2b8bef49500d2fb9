"""The control socket: one request to the running filter, one answer.

Knows Unix sockets (SOCK_SEQPACKET), the user at the other end (SO_PEERCRED) and JSON. Must not know what is requested.
The filter's side never waits: a request is one datagram and so is its answer. An answer that comes later (`Later`)
delays those of other clients, which wait in the kernel, but not the loop. Bounded: `CLIENTS` clients, `REQUEST` bytes,
`PATIENCE_S` seconds; a late client makes room for a new one. Only root and the filter's own user are accepted.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from collections.abc import Callable

from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.json_text import decode, encode
from cpe_filter.lean.listener import Listener
from cpe_filter.lean.log import Log, err, warning
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, TypeVar

    from cpe_filter.lean.clocks import PacketTime

    _Done = TypeVar("_Done")

    class Later(Protocol):
        """An answer that comes later."""

        @property
        def fd(self) -> int:
            """Readable when `advance` has something to do; -1 if there is no descriptor."""

        def advance(self) -> dict[str, Any] | Later | None:
            """The answer; None if it is not ready; or what it waits for next. Also called each second."""

    #: (requester, request) -> answer. An exception becomes an answer, too.
    Handle = Callable[["Peer", dict[str, Any]], dict[str, Any] | Later]

CLIENTS = 4
#: Bytes of a request and of an answer.
REQUEST, ANSWER = 4096, 1 << 16
#: Seconds that a client has for its request, and the filter for its answer.
PATIENCE_S, WAIT_S = 2.0, 40.0

_SO_PEERCRED_BYTES = 12  # struct ucred: pid, uid, gid


class Peer(NamedTuple):
    """The requester."""

    pid: int
    uid: int


class SocketInUseError(OSError):
    """The socket cannot be opened; the text says why."""


class NotRunningError(Exception):
    """No filter answers at the socket; the text says why."""


class NoAnswerError(Exception):
    """A program holds the socket but did not answer; the text says why."""


class ControlSocket:
    """The filter's side, on `poll`. Call `serve` when that returns a descriptor of ours (`in`), `tick` every second."""

    def __init__(self, path: str, poll: select.poll, handle: Handle, log: Log) -> None:
        """Takes the socket's place in the file system. Raises `SocketInUseError`."""
        self._path = path
        self._poll = poll
        self._handle = handle
        self._log = log
        self._clients: dict[int, tuple[socket.socket, Peer, float]] = {}
        self._later: tuple[int, Later] | None = None  # the client (-1: none) whose answer comes later
        self._next: Callable[[], dict[str, Any] | Later] | None = None  # done after that
        self._later_fd = -1
        self._uids = (0, os.geteuid())
        self._time = 0.0
        listening = _bind(path)
        self._inode = os.stat(path).st_ino
        self._listener = Listener(poll)
        self._listener.add(listening)

    def __contains__(self, fd: int) -> bool:
        return fd in self._clients or fd == self._later_fd or fd in self._listener

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._later is not None

    def tick(self, time: PacketTime) -> None:
        """Disconnects late clients. time: seconds, never going back."""
        self._time = time
        if self._later is not None:
            self._go_on()
            return
        self._listener.resume()
        for fd in [fd for fd, (_, _, since) in self._clients.items() if time - since > PATIENCE_S]:
            self._drop(fd)

    def serve(self, fd: int) -> None:
        """Accepts a client, or answers one."""
        if fd in self._listener:
            self._admit(fd)
        elif fd == self._later_fd:
            self._go_on()
        elif self._later is None:
            self._read(fd)

    def between(self, work: Callable[[], dict[str, Any] | Later]) -> None:
        """Does work without a client: now, or after the answer that is still to come. Only the last one waits."""
        if self._later is not None:
            self._next = work
            return
        answer = self._done(work)
        if not isinstance(answer, dict):
            self._hold(-1, answer)

    def _admit(self, fd: int) -> None:
        accepted = self._listener.accept(fd)
        if accepted is None:
            return
        client, _ = accepted
        pid, uid, _ = _credentials(client)
        if uid not in self._uids:
            self._log(warning(f"control: refused process {pid} of uid {uid}"))
            client.close()
            return
        client.setblocking(False)
        if len(self._clients) >= CLIENTS:
            self._drop(next(iter(self._clients)))
        self._clients[client.fileno()] = client, Peer(pid, uid), self._time
        self._poll.register(client.fileno(), select.POLLIN)

    def _read(self, fd: int) -> None:
        client, peer, _ = self._clients[fd]
        try:
            request = client.recv(REQUEST + 1)
        except BlockingIOError:  # the descriptor's number was another's a moment ago
            return
        except OSError:
            request = b""  # it has gone
        if not request:
            self._drop(fd)
            return
        answer = self._answer(peer, request)
        if isinstance(answer, dict):
            self._send(fd, answer)
        else:
            self._hold(fd, answer)

    def _answer(self, peer: Peer, request: bytes) -> dict[str, Any] | Later:
        if len(request) > REQUEST:
            return {"error": f"the request is too long; allowed: {REQUEST} bytes"}
        try:
            asked = decode(request.decode())
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return {"error": "the request is not a JSON object"}
        return self._done(lambda: self._handle(peer, asked))

    def _done(self, work: Callable[[], _Done]) -> _Done | dict[str, Any]:
        """What `work` returns, or that it could not be done."""
        try:
            return work()
        except Exception as error:  # a defect; mail still needs its verdicts
            text = f"internal error: {type(error).__name__}: {error}"
            self._log(err(f"control: {text}"))
            return {"error": text[:400]}

    def _hold(self, fd: int, later: Later) -> None:
        """Other clients wait until this answer has come."""
        self._listener.pause()
        for one in self._clients:  # not watched: one that disconnects would wake us all the time
            self._poll.unregister(one)
        self._wait_for(fd, later)

    def _wait_for(self, fd: int, later: Later) -> None:
        self._later, self._later_fd = (fd, later), later.fd
        if self._later_fd >= 0:
            self._poll.register(self._later_fd, select.POLLIN)

    def _go_on(self) -> None:
        """The answer that was still to come may be ready."""
        if self._later is None:
            return
        fd, later = self._later
        if self._later_fd >= 0:
            self._poll.unregister(self._later_fd)
        answer = self._done(later.advance)
        if not isinstance(answer, dict):
            self._wait_for(fd, later if answer is None else answer)
            return
        self._resume()
        if fd >= 0:
            self._send(fd, answer)
        if self._next is not None:
            work, self._next = self._next, None
            self.between(work)

    def _resume(self) -> None:
        """The answer has been given: other clients are served again."""
        self._later, self._later_fd = None, -1
        self._listener.resume()
        for fd, (client, peer, _) in self._clients.items():
            self._poll.register(fd, select.POLLIN)
            self._clients[fd] = client, peer, self._time  # it was not this client that was late

    def _send(self, fd: int, answer: dict[str, Any]) -> None:
        """The answer, and the end of the connection."""
        encoded = self._done(lambda: encode(answer).encode())
        if isinstance(encoded, dict):
            encoded = encode(encoded).encode()
        if len(encoded) > ANSWER:
            encoded = encode({"error": "the answer is too long"}).encode()
        try:
            self._clients[fd][0].send(encoded)
        except OSError:
            pass  # it has gone
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        client, _, _ = self._clients.pop(fd)
        self._poll.unregister(fd)
        client.close()

    def close(self) -> None:
        """Removes the socket's file, if it is still ours. Clients that wait get no answer."""
        if self._later is not None:
            if self._later_fd >= 0:
                self._poll.unregister(self._later_fd)
            self._resume()
        for fd in list(self._clients):
            self._drop(fd)
        try:
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except OSError:
            pass
        self._listener.close()


def _bind(path: str) -> socket.socket:
    """A listening socket at `path`, for its owner alone. Replaces one that another filter has left."""
    from cpe_filter.lean.files import lock_folder

    folder = os.path.dirname(path)
    lock = -1
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.makedirs(folder, exist_ok=True)
        lock = lock_folder(folder, 1.0)  # two that start at once must not both find it stale
        if lock < 0:
            raise SocketInUseError(errno.EAGAIN, "another program holds the lock of its folder")
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
        raise SocketInUseError(error.errno, f"{path}: {error.strerror}") from None
    finally:
        if lock >= 0:
            os.close(lock)
    return listener


def _clear(path: str) -> None:
    """Removes a stale socket. Raises OSError if the file is anything else."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EEXIST, "exists and is not a socket")
    from cpe_filter.lean.files import already_running

    holder = holder_of(path)
    if holder:
        raise OSError(errno.EADDRINUSE, already_running(holder))
    os.unlink(path)


def holder_of(path: str) -> int:
    """The process that has this socket open and accepts connections, even if it is busy at the moment.

    0: there is none; -1: it is too busy to be known.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
            return _credentials(probe)[0] or -1
        except BlockingIOError:  # its backlog is full
            return -1
        except OSError:
            return 0


def ask(path: str, request: dict[str, Any], wait_s: float = WAIT_S) -> dict[str, Any]:
    """The running filter's answer. Raises `NotRunningError` and `NoAnswerError`."""
    content = encode(request).encode()
    if len(content) > REQUEST:
        raise NoAnswerError(f"the request is too long; allowed: {REQUEST} bytes")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(wait_s)
        try:
            client.connect(path)
        except FileNotFoundError:
            raise NotRunningError(f"there is no {path}") from None
        except ConnectionRefusedError:
            raise NotRunningError(f"no program answers at {path}") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise NoAnswerError(f"{path}: {reason}") from None
        try:
            client.send(content)
            raw = client.recv(ANSWER + 1)
        except TimeoutError:
            raise NoAnswerError(f"the filter at {path} has not answered within {wait_s:g} s") from None
        except OSError as error:
            raise NoAnswerError(f"{path}: {error.strerror}") from None
    try:
        answer = _decode(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        if not raw:
            raise NoAnswerError(f"the filter at {path} gave no answer")
        raise NoAnswerError(f"{path}: unexpected reply; is another program listening?")
    return answer


def _decode(content: bytes) -> Any:
    import json

    return json.loads(content)


def _credentials(client: socket.socket) -> tuple[int, int, int]:
    raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED_BYTES)
    pid, uid, gid = (int.from_bytes(raw[n : n + 4], sys.byteorder) for n in (0, 4, 8))
    return pid, uid, gid
