"""A web server on loopback that does what it is given, byte by byte, behind real TLS.

Knows sockets and TLS. Must not know HTTP, documents, or who asks.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable

from tests.collect.ca import Pair

#: What is sent for a connection: pieces, each as it is made. Or a function that does it all with the plain socket.
Pieces = Iterable[bytes]
#: Seconds and bytes after which a server gives up that nobody stops: none of the tests comes near.
_LONGEST_S, MOST_SENT = 60.0, 256 << 20


class Server:
    """answer: what each request gets, after TLS, until it is closed. plain: instead of TLS, from the first byte.

    sent: bytes of answers that the kernel has taken; asked: the requests.
    """

    def __init__(
        self, pair: Pair, answer: Callable[[], Pieces] = tuple, plain: Callable[[socket.socket], None] | None = None
    ) -> None:
        self.answer, self.plain = answer, plain
        self.abrupt = False
        self.sent, self.asked = 0, list[bytes]()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(pair.certificate, pair.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"https://localhost:{self._listener.getsockname()[1]}/routers.signed"

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection = self._listener.accept()[0]
            except TimeoutError:
                continue
            connection.settimeout(5.0)
            with contextlib.suppress(OSError), connection:
                if self.plain is not None:
                    self.plain(connection)
                else:
                    self._answer(connection)

    def _answer(self, plain: socket.socket) -> None:
        with self.tls.wrap_socket(plain, server_side=True) as connection:
            request = b""
            while b"\r\n\r\n" not in request:
                data = connection.recv(4096)
                if not data:
                    return
                request += data
            self.asked.append(request)
            end = time.monotonic() + _LONGEST_S
            for piece in self.answer():
                connection.sendall(piece)
                self.sent += len(piece)
                if self._ended.is_set() or time.monotonic() > end or self.sent > MOST_SENT:
                    return
            if self.abrupt:  # RST
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            connection.unwrap()
