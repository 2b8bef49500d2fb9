"""The responder: an SMTP server that says why mail is refused, and accepts none.

Knows sockets and time; dialogue knows SMTP. Must not know devices, verdicts or where a connection was meant to go. It
keeps and logs nothing that a client says, only counts. It opens no connection, resolves no name, and writes no file.

Everything is bounded: connections, those of one client, bytes, commands and mistakes of a connection, its time. At
most one reply waits for a client; before it has left, nothing more is read.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time

from cpe_filter.explain.dialogue import SHUTTING_DOWN, TIMED_OUT, TOO_MANY, Dialogue, Texts
from cpe_filter.explain.ports import ExplainError, Ports
from cpe_filter.explain.questions import RETURN_AFTER_S, Questions
from cpe_filter.explain.shares import Shares, groups_of
from cpe_filter.explain.text import explanation
from cpe_filter.explain.web import Web
from cpe_filter.lean.clocks import Mono
from cpe_filter.lean.listener import Listener
from cpe_filter.lean.log import Log, err, info, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.explain.questions import ConnectionTests
    from cpe_filter.policy.model import Policy

#: Seconds without a byte from a client, or of a connection in all.
IDLE_S, TOTAL_S = 30.0, 120.0
#: Seconds that a client must at least wait for the rest of a reply, if it may be made to wait. Postfix's postscreen
#: waits 6; that catches most that talk early, and here a second attempt is always possible.
PAUSE_S = 2.0
#: Seconds between two lines of counts in the log.
LOG_EVERY_S = 60.0
_RECEIVE_BYTES = 1024
#: Bytes of each direction's buffer in the kernel, which doubles it: a dialogue is short, a router small.
_KERNEL_BYTES = 4096
#: Connections that wait in the kernel to be taken: in a burst, too, none should have to ask again after a second.
_BACKLOG = 128
#: Connections taken before the others are looked after again.
_ACCEPT_TURN = 16


class _Connection:
    """A client: its socket, its dialogue, what it has yet to be sent, and what it counts against."""

    __slots__ = ("socket", "dialogue", "out", "began", "active", "groups", "tests", "resumes")

    def __init__(
        self,
        sock: socket.socket,
        dialogue: Dialogue,
        now: Mono,
        groups: tuple[bytes, ...],
        tests: ConnectionTests | None,
    ) -> None:
        self.socket = sock
        self.dialogue = dialogue
        self.tests = tests
        #: When the rest of a reply follows; 0: at once.
        self.resumes = Mono(0.0)
        self.out = dialogue.greeting()
        self.began = self.active = now
        self.groups = groups


class Responder:
    """The sockets: `bind`, `listen`, then `loop` until `stop`.

    No client takes all connections (see shares).
    """

    def __init__(
        self,
        policy: Policy,
        log: Log,
        idle_s: float = IDLE_S,
        total_s: float = TOTAL_S,
        pause_s: float = PAUSE_S,
        return_after_s: float = RETURN_AFTER_S,
    ) -> None:
        self._texts = Texts(explanation(policy))
        self._questions = Questions(policy.explain, return_after_s)
        self._pause_s = pause_s
        self._ports = Ports(policy.explain.port, _KERNEL_BYTES, _BACKLOG)
        self._log = log
        self._idle_s, self._total_s = idle_s, total_s
        self._connections: dict[int, _Connection] = {}
        self._shares = Shares(policy.explain.max_connections)
        self._counts = [0, 0, 0, 0]
        self._stop = False
        self._poll = select.poll()
        self._listener = Listener(self._poll)
        self._explains = policy.filter.refusal == "explain" or policy.notice.show == "off"
        self._web = Web(policy, self._poll, log, self._make_room) if policy.notice.show != "off" else None
        self._wake_read, self.wake = os.pipe()
        for fd in (self._wake_read, self.wake):
            os.set_blocking(fd, False)
        self._poll.register(self._wake_read, select.POLLIN)

    def bind(self) -> None:
        """Takes the port, IPv4 and IPv6. Raises `ExplainError`. No client is answered before `listen`.

        A notice that cannot be served is logged; HTTP then goes where it was meant to.
        """
        if self._explains:
            self._ports.bind()
            if not self._ports.bound:
                raise ExplainError("the kernel has neither IPv4 nor IPv6")
        if self._web is not None:
            try:
                self._web.bind()
            except (ExplainError, OSError) as error:
                self._log(err(f"notice not served: {error}"))
                self._web.close()
                self._web = None

    def listen(self) -> None:
        """Lets clients in. Raises `ExplainError`."""
        if self._web is not None:
            try:
                self._web.listen()
            except ExplainError as error:
                self._log(err(f"notice not served: {error}"))
                self._web.close()  # so the filter learns it, and leads no device here
                self._web = None
        self._ports.listen(self._listener)

    def stop(self) -> None:
        """Ends `loop`; may be called from a signal handler or another thread."""
        self._stop = True
        try:
            os.write(self.wake, b".")
        except OSError:
            pass  # full: it wakes up anyhow

    def loop(self) -> None:
        """Answers until `stop`; then connected clients get a last reply: the service ends."""
        next_tick, next_log = 0.0, None
        while not self._stop:
            now = Mono(time.monotonic())
            if now >= next_tick:
                self._tick(now)
                next_tick = now + 1.0
            if next_log is None:
                next_log = now + LOG_EVERY_S if self._has_counts else None
            elif now >= next_log:
                self._log_counts()
                next_log = None
            # Without connections and counts it sleeps without a limit, to leave the CPU alone.
            wait = None
            if self._connections or self._listener.is_paused or output.is_waiting or self._is_web_busy:
                wait = next_tick - now
            elif next_log is not None:
                wait = next_log - now
            for fd, event in self._poll.poll(None if wait is None else max(0.0, wait) * 1000):
                self._serve(fd, event, Mono(time.monotonic()))
        for connection in list(self._connections.values()):
            self._part(connection, SHUTTING_DOWN)
        self._log_counts()

    def close(self) -> None:
        """Gives everything back."""
        for connection in list(self._connections.values()):
            self._close(connection)
        self._listener.close()
        self._ports.close()
        if self._web is not None:
            self._web.close()
        for fd in (self._wake_read, self.wake):
            os.close(fd)

    def _serve(self, fd: int, event: int, now: Mono) -> None:
        connection = self._connections.get(fd)
        if fd in self._listener:
            self._accept(fd, now)
        elif connection is not None:
            try:
                if event & select.POLLIN:
                    data = connection.socket.recv(_RECEIVE_BYTES)
                    if not data:
                        self._close(connection)
                        return
                    connection.active = now
                    connection.resumes = Mono(0.0)
                    if connection.tests is not None:
                        connection.tests.time = now
                    connection.dialogue.receive(data)
                elif not event & select.POLLOUT:  # an error: the client has gone
                    self._close(connection)
                    return
                self._advance(connection, now)
            except BlockingIOError:
                pass
            except OSError:
                self._close(connection)
        elif self._web is not None and fd in self._web:
            self._web.serve(fd, event, now)
        elif fd == self._wake_read:
            os.read(fd, 512)

    def _advance(self, connection: _Connection, now: Mono) -> None:
        """Replies until the client must speak or read. Raises OSError when it has gone."""
        dialogue = connection.dialogue
        while True:
            if connection.out:
                try:
                    sent = connection.socket.send(connection.out)
                except BlockingIOError:
                    sent = 0
                connection.out = connection.out[sent:]
                if connection.out:
                    self._poll.modify(connection.socket.fileno(), select.POLLOUT)
                    return
                connection.active = now
                if dialogue.pauses:
                    connection.resumes = Mono(now + self._pause_s)
            if dialogue.is_closed:
                self._close(connection)
                return
            if connection.resumes:
                self._poll.modify(connection.socket.fileno(), select.POLLIN)
                return
            connection.out = dialogue.reply()
            if not connection.out and not dialogue.is_closed:
                self._poll.modify(connection.socket.fileno(), select.POLLIN)
                return

    def _accept(self, fd: int, now: Mono) -> None:
        for _ in range(_ACCEPT_TURN):
            accepted = self._listener.accept(fd)
            if accepted is None:
                return
            sock, peer = accepted
            sock.setblocking(False)
            self._counts[0] += 1
            groups = groups_of(sock.family, peer[0])
            if not self._shares.take(groups):
                self._counts[2] += 1
                _say(sock, TOO_MANY)
                sock.close()
                continue
            tests = self._questions.of(groups[0], self._shares.is_quiet(groups[0]), now)
            connection = _Connection(sock, Dialogue(self._texts, tests), now, groups, tests)
            self._connections[sock.fileno()] = connection
            self._poll.register(sock.fileno(), select.POLLIN)
            try:
                self._advance(connection, now)
            except OSError:
                self._close(connection)

    def _make_room(self) -> bool:
        """The notice needs a descriptor: ends the connection that has been silent for longest. False if there is none.

        Its client tries again; whoever waits for the notice does not.
        """
        if not self._connections:
            return False
        self._counts[2] += 1
        self._part(min(self._connections.values(), key=lambda connection: connection.active), TOO_MANY)
        return True

    def _tick(self, now: Mono) -> None:
        """Each second: ends what takes too long."""
        output.flush()
        self._listener.resume()
        if self._web is not None:
            self._web.tick(now)
        for connection in list(self._connections.values()):
            if now - connection.active > self._idle_s or now - connection.began > self._total_s:
                self._counts[3] += 1
                self._part(connection, TIMED_OUT)
            elif connection.resumes and now >= connection.resumes:
                connection.resumes = Mono(0.0)
                try:
                    self._advance(connection, now)
                except OSError:
                    self._close(connection)

    def _part(self, connection: _Connection, reply: bytes) -> None:
        """Ends a connection from this side.

        If the client has not read the last reply the connection is reset, so that it holds no memory in the kernel.
        """
        if connection.out:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            _say(connection.socket, reply)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        fd = connection.socket.fileno()
        self._poll.unregister(fd)
        del self._connections[fd]
        connection.socket.close()
        if connection.tests is not None:
            connection.tests.ended()
        self._counts[1] += connection.dialogue.refused
        self._shares.give_back(connection.groups)

    @property
    def _is_web_busy(self) -> bool:
        return self._web is not None and self._web.is_busy

    @property
    def _has_counts(self) -> bool:
        return any(self._counts) or (self._web is not None and any(self._web.counts))

    def _log_counts(self) -> None:
        if self._web is not None:
            self._web.log_counts()
        if any(self._counts):
            connections, recipients, turned_away, timed_out = self._counts
            self._log(
                info(
                    f"explain: {connections} connections, {recipients} recipients refused, "
                    f"{turned_away} over the limit of connections, {timed_out} timed out"
                )
            )
            self._counts = [0, 0, 0, 0]


def _say(sock: socket.socket, reply: bytes) -> None:
    """A last reply. It fits into an empty buffer. If the client has gone there is nothing to do."""
    try:
        sock.send(reply)
    except OSError:
        pass
