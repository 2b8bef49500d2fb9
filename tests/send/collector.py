"""A collector for the sender's tests: TLS with certificates of both sides, and answers that a test chooses.

Knows ssl and http.server. It is independent of the project's collector: it only assumes the wire format.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.collect.ca import Authority, Pair
from tests.report.wire import check_report


class Answer(NamedTuple):
    """What is said to a report. body: an object, or bytes as they are."""

    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Request(NamedTuple):
    """What came. router: the CN of its certificate; text: the report's JSON, unpacked."""

    router: str
    path: str
    headers: dict[str, str]
    size: int
    text: bytes
    connection: int

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.text)
        return report

    @property
    def seqs(self) -> list[int]:
        return [event["seq"] for event in self.report["events"]]


def taken(request: Request) -> Answer:
    """All of it has arrived."""
    return Answer(200, {"acked": request.seqs, "rejected": [], "retry_splay": 900, "policy_version": "v8"})


class Collector:
    """Listens on a port of 127.0.0.1 until `close`. `answers`: what is said next, `taken` when there is none left."""

    def __init__(self, authority: Authority, pair: Pair, clients: bool = True) -> None:
        self.requests: list[Request] = []
        self.answers: deque[Callable[[Request], Answer | None]] = deque()
        self.connections = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if clients:
            context.load_verify_locations(authority.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector._handle(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                request.settimeout(20)
                with contextlib.suppress(OSError, ValueError), context.wrap_socket(request, server_side=True) as tls:
                    collector.connections += 1
                    Handler(tls, client_address, self)

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        tls = handler.connection
        assert isinstance(tls, ssl.SSLSocket)
        certificate: Any = tls.getpeercert() or {}
        names = dict(pair for name in certificate.get("subject", ()) for pair in name)
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        request = Request(
            names.get("commonName", ""),
            handler.path,
            dict(handler.headers.items()),
            len(body),
            gzip.decompress(body),
            self.connections,
        )
        check_report(request.report)
        self.requests.append(request)
        answer = (self.answers.popleft() if self.answers else taken)(request)
        if answer is None:
            tls.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body or {}).encode()
        handler.send_response(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    @property
    def seqs(self) -> list[int]:
        """Of all that came."""
        return [seq for request in self.requests for seq in request.seqs]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
