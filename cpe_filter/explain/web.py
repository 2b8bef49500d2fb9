"""The notice's server: answers what the ruleset leads here, and people's answers, in the responder's process.

Knows sockets, time, and which request gets which answer; http knows the format, notice_page the words. Must not know
devices: it asks the filter (channel) about a client's address. It keeps nothing that a client says.

A request for any other host than this server is one that was led here: it gets a redirect to this server's own address,
as connectivity checks expect of a network with something to tell. So a forged Host, or a name that leads here (DNS
rebinding), gets no page. The form carries a token of the client's address, and Origin must be this server's, so no
other site can answer in a user's name. Everything is bounded: connections, those of a client (shares), bytes, time, and
how often a client asks the filter.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from _operator import _compare_digest
from collections.abc import Callable

from cpe_filter.explain import http
from cpe_filter.explain.channel import NAME, Channel
from cpe_filter.explain.ports import ExplainError, Ports
from cpe_filter.explain.shares import Shares, groups_of
from cpe_filter.lean.clocks import Mono
from cpe_filter.lean.listener import SHORTAGE, Listener
from cpe_filter.lean.log import Log, info
from cpe_filter.lean.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.policy.model import Policy

#: Seconds of a connection in all, and without a byte; seconds that the filter has for an answer.
TOTAL_S, IDLE_S, ANSWER_S = 20.0, 6.0, 10.0
#: Connections at once; an eighth of them for one address.
MOST = 48
#: Seconds for which a token is good at least; a form may lie open.
TOKEN_S = 1800.0
#: Questions to the filter: a client's, at once and a second; and clients that are remembered for it.
_BURST, _A_SECOND, _CLIENTS = 12, 1.0, 128
#: Seconds after an answer in which a connection may still come that was led here before.
PASSED_S = 2.0
#: Seconds between two reports that requests of a client are led here, and seconds for which an answer is remembered.
_LED_S, _PASSED_S = 30.0, 60.0
_RECEIVE_BYTES = 2048
_KERNEL_BYTES = 8192
_BACKLOG, _ACCEPT_TURN = 64, 16
_ANSWERS = ("seen", "cleaned", "server", "mistake")


class _Connection:
    __slots__ = (
        "active",
        "began",
        "client",
        "data",
        "groups",
        "language",
        "number",
        "out",
        "own",
        "post",
        "socket",
        "to",
    )

    def __init__(self, sock: socket.socket, client: str, now: Mono, groups: tuple[bytes, ...]) -> None:
        self.socket = sock
        self.client = client
        self.began = self.active = now
        self.groups = groups
        self.data = b""
        self.out: bytes | None = None
        self.number = 0  # of the question to the filter that is open
        self.own = self.language = self.to = ""
        self.post = False


class Web:
    """`bind` as root, `listen`; then `serve` and `tick` from the responder's loop."""

    def __init__(self, policy: Policy, poll: select.poll, log: Log, make_room: Callable[[], bool]) -> None:
        """make_room: ends another connection of this process, where there is one, to free a descriptor."""
        self._make_room = make_room
        self._notice = policy.notice
        self._folder = os.path.dirname(policy.status.status_file)
        self._poll = poll
        self._log = log
        self._listener = Listener(poll)
        self._ports = Ports(policy.notice.show_port, _KERNEL_BYTES, _BACKLOG)
        self._channel = Channel(poll)
        self._connections: dict[int, _Connection] = {}
        self._waiting: dict[int, _Connection] = {}
        self._shares = Shares(MOST)
        self._number = 0
        self._secret = os.urandom(16)
        self._tokens: dict[str, tuple[float, Mono]] = {}  # by client: questions that it may ask, since when
        self._led: dict[str, Mono] = {}
        self._passed: dict[str, Mono] = {}
        #: Connections, redirects, pages, answers, turned away.
        self.counts = [0, 0, 0, 0, 0]

    def bind(self) -> None:
        """Takes the port, IPv4 and IPv6, and the socket to the filter. Raises `ExplainError`."""
        self._ports.bind()
        path = os.path.join(self._folder, NAME)
        try:
            self._channel.bind(path)
        except OSError as error:
            raise ExplainError(f"{path}: {error.strerror}") from None

    def listen(self) -> None:
        """Lets clients in. Raises `ExplainError`."""
        self._ports.listen(self._listener)

    def __contains__(self, fd: int) -> bool:
        return fd in self._connections or fd in self._listener or fd in self._channel

    @property
    def is_busy(self) -> bool:
        """Whether `tick` has something to look after."""
        return bool(self._connections) or self._listener.is_paused or self._channel.is_paused

    def serve(self, fd: int, event: int, now: Mono) -> None:
        if fd in self._listener:
            self._accept(fd, now)
        elif fd in self._channel:
            for message in self._channel.serve(fd):
                self._answered(message, now)
            if self._channel.is_paused and self._free_descriptor():
                self._channel.resume()
        else:
            connection = self._connections[fd]
            try:
                self._go_on(connection, event, now)
            except BlockingIOError:
                pass
            except OSError:
                self._close(connection)

    def tick(self, now: Mono) -> None:
        """Each second: ends what takes too long."""
        self._listener.resume()
        self._channel.resume()
        for connection in list(self._connections.values()):
            if connection.number and now - connection.began > ANSWER_S:
                self._respond(connection, http.response(503), now)
            elif now - connection.began > TOTAL_S or (not connection.number and now - connection.active > IDLE_S):
                self._reset(connection)
        for table, lasts in ((self._led, _LED_S), (self._passed, _PASSED_S)):
            for client in [client for client, at in table.items() if now - at > lasts]:
                del table[client]

    def close(self) -> None:
        for connection in list(self._connections.values()):
            self._close(connection)
        self._channel.close()
        self._listener.close()
        self._ports.close()

    def log_counts(self) -> None:
        if any(self.counts):
            connections, led, pages, answers, away = self.counts
            self._log(
                info(
                    f"notice: {connections} connections, {led} led here, {pages} pages, {answers} answers, "
                    f"{away} turned away"
                )
            )
            self.counts = [0, 0, 0, 0, 0]

    # ── connections ─────────────────────────────────────────────────────────────────────────────

    def _accept(self, fd: int, now: Mono) -> None:
        for _ in range(_ACCEPT_TURN):
            accepted = self._listener.accept(fd)
            # The kernel looks for a descriptor before it looks for a client.
            if accepted is None and self._listener.is_paused and (not _waits(fd) or self._free_descriptor()):
                self._listener.resume()
                accepted = self._listener.accept(fd) if _waits(fd) else None
            if accepted is None:
                return
            sock, peer = accepted
            sock.setblocking(False)
            self.counts[0] += 1
            groups = groups_of(sock.family, peer[0])
            if not self._shares.take(groups):
                self.counts[4] += 1
                _reset(sock)
                continue
            self._connections[sock.fileno()] = _Connection(sock, peer[0], now, groups)
            self._poll.register(sock.fileno(), select.POLLIN)

    def _free_descriptor(self, spared: _Connection | None = None) -> bool:
        """No descriptors are left: ends the connection that has been silent for longest. False if there is none."""
        open_ = [one for one in self._connections.values() if one is not spared]
        if not open_:
            return self._make_room()
        self.counts[4] += 1
        self._reset(min(open_, key=_since))
        return True

    def _go_on(self, connection: _Connection, event: int, now: Mono) -> None:
        """Raises OSError when the client has gone."""
        if connection.out is not None:
            sent = connection.socket.send(connection.out)
            connection.active = now
            self._sent(connection, sent)
            return
        data = connection.socket.recv(_RECEIVE_BYTES)
        if not data:
            self._close(connection)
            return
        connection.active = now
        if connection.number:  # it waits for the filter; what it says further is not read
            return
        connection.data += data
        request = http.parse(connection.data)
        if isinstance(request, int):
            self.counts[4] += 1
            self._respond(connection, http.response(request), now)
        elif request is not None:
            self._request(connection, request, now)

    def _respond(self, connection: _Connection, out: bytes, now: Mono) -> None:
        # The connection is gone when a later answer of the filter comes.
        self._waiting.pop(connection.number, None)
        connection.number = 0
        connection.active = now
        connection.out = out
        connection.data = b""
        try:
            self._sent(connection, connection.socket.send(out))
        except BlockingIOError:
            self._poll.modify(connection.socket.fileno(), select.POLLOUT)
        except OSError:
            self._close(connection)

    def _sent(self, connection: _Connection, sent: int) -> None:
        connection.out = (connection.out or b"")[sent:]
        if connection.out:
            self._poll.modify(connection.socket.fileno(), select.POLLOUT)
        else:
            self._close(connection)

    def _reset(self, connection: _Connection) -> None:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        fd = connection.socket.fileno()
        self._poll.unregister(fd)
        del self._connections[fd]
        self._waiting.pop(connection.number, None)
        connection.socket.close()
        self._shares.give_back(connection.groups)

    # ── requests ────────────────────────────────────────────────────────────────────────────────

    def _request(self, connection: _Connection, request: http.Request, now: Mono) -> None:
        address = _own_address(connection.socket)
        router = f"[{address}]" if ":" in address else address
        own = f"{router}:{self._notice.show_port}"
        if request.host is None or request.host.lower() != own:
            self._led_here(connection, own, now)
            return
        connection.own, head = router, request.method == "HEAD"
        fields = http.fields(request.query if request.method != "POST" else request.form)
        self._load(connection, self._notice.language)
        connection.language = self._language(fields, request.languages)
        self._load(connection, connection.language)
        if request.path not in ("/", "/captive"):
            self._respond(connection, http.response(404, head=head), now)
        elif not self._may_ask(connection.client, now):
            self.counts[4] += 1
            self._respond(connection, http.response(429, more="Retry-After: 10\r\n", head=head), now)
        elif request.method == "POST":
            self._post(connection, request, own, now)
        else:
            connection.to = "api" if request.path == "/captive" else "head" if head else "page"
            # Only a page is opened by people.
            self._ask(connection, "page" if connection.to == "page" else "about", now)

    def _led_here(self, connection: _Connection, own: str, now: Mono) -> None:
        """A request that was meant for another host."""
        client = connection.client
        if connection.began < self._passed.get(client, -PASSED_S) + PASSED_S:
            # It was led here before the device was let through. An answer would not be that of the host: it asks again.
            self._reset(connection)
            return
        self.counts[1] += 1
        if client not in self._led and len(self._led) < _CLIENTS:
            self._led[client] = now
            self._channel.send({"do": "led", "client": client})
        self._respond(connection, http.redirect(f"http://{own}/"), now)

    def _post(self, connection: _Connection, request: http.Request, own: str, now: Mono) -> None:
        form = http.fields(request.form)
        given = form.get("token", "").encode()  # of text, only US-ASCII can be compared
        known = any(_compare_digest(given, token.encode()) for token in self._good_tokens(connection.client, now))
        local = request.origin in (None, f"http://{own}") and request.site in (None, "same-origin", "none")
        answer = form.get("answer", "")
        if not known or not local or answer not in _ANSWERS or request.path != "/":
            self.counts[4] += 1
            self._respond(connection, self._html(403, self._done(connection, "refused")), now)
            return
        connection.to = "done"
        self.counts[3] += 1
        self._ask(connection, answer, now)

    def _ask(self, connection: _Connection, verb: str, now: Mono) -> None:
        """Asks the filter about the client."""
        self._number += 1
        if not self._channel.send({"id": self._number, "do": verb, "client": connection.client}):
            self._respond(connection, http.response(503, more="Retry-After: 10\r\n"), now)
            return
        connection.number = self._number
        self._waiting[self._number] = connection

    def _answered(self, message: dict[str, Any], now: Mono) -> None:
        connection = self._waiting.pop(message.get("id", 0), None)
        if connection is None:
            return
        if "error" in message:
            self._respond(connection, http.response(503), now)
            return
        if connection.to == "done":
            result = str(message.get("result"))
            if result not in ("refused", "busy", "failed"):
                self._led.pop(connection.client, None)
                if len(self._passed) < _CLIENTS and not message.get("held"):
                    self._passed[connection.client] = now
            code = 403 if result == "refused" else 429 if result == "busy" else 200
            reports = bool(message.get("reports"))
            text = self._done(connection, result, reports, bool(message.get("held")))
            self._respond(connection, self._html(code, text), now)
        elif connection.to == "api":  # RFC 8908 section 5
            captive = message.get("to") == "own" and (not message.get("answer") or "until" in message)
            url = f"http://{connection.own}:{self._notice.show_port}/"
            body = f'{{"captive":{"true" if captive else "false"},"user-portal-url":"{url}"}}\n'
            self._respond(connection, http.response(200, body, "application/captive+json"), now)
        elif message.get("to") == "unknown":
            self._respond(connection, self._html(503, self._done(connection, "failed"), connection.to == "head"), now)
        else:
            from cpe_filter.explain import notice_page

            self.counts[2] += 1
            (token, _) = self._good_tokens(connection.client, now)
            text = notice_page.page(self._notice, connection.language, message, token, connection.own)
            self._respond(connection, self._html(200, text, connection.to == "head"), now)

    def _done(self, connection: _Connection, result: str, reports: bool = True, held: bool = False) -> str:
        from cpe_filter.explain import notice_page

        return notice_page.done(self._notice, connection.language, result, connection.own, reports, held)

    def _html(self, code: int, text: str, head: bool = False) -> bytes:
        from cpe_filter.explain import notice_page

        return http.response(code, text, more=f"Content-Security-Policy: {notice_page.POLICY}\r\n", head=head)

    def _load(self, connection: _Connection, language: str) -> None:
        """Loads the page's code and words, which takes descriptors. Raises OSError."""
        while True:
            try:
                from cpe_filter.explain import notice_page

                notice_page.load(language)
                return
            except OSError as error:
                if error.errno not in SHORTAGE or not self._free_descriptor(connection):
                    raise

    def _language(self, fields: dict[str, str], header: str | None) -> str:
        """The one that was chosen on the page, else the browser's, else the policy's."""
        from cpe_filter.explain import notice_page

        chosen, known = fields.get("l", ""), notice_page.languages()
        return chosen if chosen in known else http.language(header, known) or self._notice.language

    def _may_ask(self, client: str, now: Mono) -> bool:
        """A bucket of tokens for each client."""
        left, since = self._tokens.pop(client, (float(_BURST), now))
        left = min(float(_BURST), left + (now - since) * _A_SECOND)
        if len(self._tokens) >= _CLIENTS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[client] = (left - 1 if left >= 1 else left), now
        return left >= 1

    def _good_tokens(self, client: str, now: Mono) -> tuple[str, str]:
        """The token of a client's form: the newest, and the one before."""
        slot = int(now // TOKEN_S)
        one, before = (sha256(self._secret + f"{at} {client}".encode()).hexdigest()[:32] for at in (slot, slot - 1))
        return one, before


def _waits(fd: int) -> bool:
    """Whether a client waits at this listening socket."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _since(connection: _Connection) -> tuple[bool, Mono]:
    """The order in which connections end when descriptors run out: those that wait for the filter come last."""
    return connection.number > 0, connection.active


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _own_address(sock: socket.socket) -> str:
    """The router's address at which the client reaches this server.

    The kernel may lead IPv6 to the interface's link-local address, which no URL can have; then another one of it.
    """
    address: str = sock.getsockname()[0].partition("%")[0]
    if not address.startswith("fe80:"):
        return address
    try:
        with open("/proc/net/if_inet6") as file:
            rows = [line.split() for line in file]
    except OSError:
        return address
    packed = socket.inet_pton(socket.AF_INET6, address).hex()
    names = {row[5] for row in rows if row[0] == packed}
    for row in rows:
        if row[5] in names and row[3] == "00":  # of global scope, unique local ones, too
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))
    return address
