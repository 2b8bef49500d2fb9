"""A mail server that notes what TLS shows: `python -m tests.lab.tls.server LOG CERTIFICATE KEY [--oldest] [--break]`.

Knows SMTP as far as mail programs need it, and TLS records (RFC 8446 section 5.1). Must not know which programs come. A
line of JSON for each connection that began TLS: client, JA4, the records as (direction, type, length) and what was
refused. Recipients `nobody@` are unknown, `later@` deferred, senders `spammer@` refused, messages of `bulk@` refused.
With --oldest it knows TLS 1.2 at most; with --break it closes the connection where its first message is due.
"""

from __future__ import annotations

import argparse
import json
import socket
import socketserver
import ssl
import threading
from typing import Any

from cpe_filter.inspect.tls import NotTLSError, client_hello

_LOCK = threading.Lock()


def records(data: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """The whole TLS records at the start of some bytes: (type, length of the payload); and what is left."""
    found = []
    at = 0
    while len(data) >= at + 5 and len(data) >= at + 5 + int.from_bytes(data[at + 3 : at + 5], "big"):
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        found.append((data[at], size))
        at += 5 + size
    return found, data[at:]


class Wire:
    """A connection whose bytes are noted once TLS has begun."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._rest = {">": b"", "<": b""}
        self._lines = b""
        self.hello = b""
        self.seen: list[tuple[str, int, int]] = []

    def begin(self, context: ssl.SSLContext, breaks: bool) -> None:
        """Raises OSError where the handshake fails."""
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        while breaks and self._hello() is None:
            self._receive()
        if breaks:
            raise ConnectionAbortedError
        self._do(self._tls.do_handshake)
        self._flush()

    def _hello(self) -> Any:
        try:
            return client_hello(self.hello)
        except NotTLSError:
            return ""

    def _do(self, call: Any, *arguments: Any) -> Any:
        while True:
            try:
                return call(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            except ssl.SSLError:
                self._flush()
                raise

    def _note(self, direction: str, data: bytes) -> None:
        found, self._rest[direction] = records(self._rest[direction] + data)
        self.seen += [(direction, kind, size) for kind, size in found]

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError
        if len(self.hello) < 8192:
            self.hello += data
        self._note(">", data)
        self._in.write(data)

    def _flush(self) -> None:
        data = self._out.read()
        if data:
            self._note("<", data)
            self._socket.sendall(data)

    def line(self) -> bytes:
        """The next line; empty at the end."""
        while b"\n" not in self._lines:
            got = self._do(self._tls.read, 65536) if self._tls else self._socket.recv(65536)
            if not got:
                return b""
            self._lines += got
        line, _, self._lines = self._lines.partition(b"\n")
        return line + b"\n"

    def say(self, text: str) -> None:
        data = (text + "\r\n").encode()
        if self._tls:
            self._tls.write(data)
            self._flush()
        else:
            self._socket.sendall(data)

    def pretend(self) -> None:
        """What came behind STARTTLS in the clear counts for nothing."""
        self._lines = b""


_OFFERS = "250-mx.friends.example\r\n250-SIZE 20000000\r\n250-8BITMIME\r\n250-PIPELINING\r\n{}250 ENHANCEDSTATUSCODES"


class Handler(socketserver.BaseRequestHandler):
    options: argparse.Namespace
    context: ssl.SSLContext

    def handle(self) -> None:
        self.request.settimeout(60)
        wire = Wire(self.request)
        self._refused: list[str] = []
        self._messages = 0
        try:
            self._talk(wire)
        except OSError as error:
            self._refused.append(f"{type(error).__name__} {error}")
        if wire.hello:
            hello = wire._hello()
            record = {
                "client": self.client_address[0],
                "ja4": hello.ja4 if hello else "",
                "hello": wire.hello[: hello.size if hello else 0].hex(),
                "records": wire.seen,
                "refused": self._refused,
                "messages": self._messages,
            }
            with _LOCK, open(self.options.log, "a") as log:
                log.write(json.dumps(record) + "\n")

    def _talk(self, wire: Wire) -> None:
        wire.say("220 mx.friends.example ESMTP")
        secure, sender, taken = False, "", 0
        while line := wire.line().decode("latin-1").strip():
            verb = line[:4].upper()
            if verb in ("EHLO", "HELO"):
                wire.say(_OFFERS.format("" if secure else "250-STARTTLS\r\n") if verb == "EHLO" else "250 mx")
            elif verb == "STAR":
                wire.say("220 2.0.0 ready")
                wire.pretend()
                wire.begin(self.context, self.options.breaks)
                secure = True
            elif verb == "MAIL":
                sender, taken = line, 0
                wire.say(self._no("550 5.7.1 we know you") if "spammer@" in line else "250 2.1.0 Ok")
            elif verb == "RCPT":
                refusal = self._recipient(line)
                taken += not refusal
                wire.say(self._no(refusal) if refusal else "250 2.1.5 Ok")
            elif verb == "DATA":
                if taken:
                    self._content(wire, sender)
                else:
                    wire.say("554 5.5.1 no valid recipients")
            elif verb == "QUIT":
                wire.say("221 2.0.0 Bye")
                return
            else:
                wire.say("250 2.0.0 Ok")

    def _no(self, text: str) -> str:
        self._refused.append(text[:3])
        return text

    @staticmethod
    def _recipient(line: str) -> str:
        if "nobody@" in line:
            return "550 5.1.1 <nobody@friends.example>: Recipient address rejected: User unknown in virtual table"
        return "450 4.2.0 Greylisted for 300 seconds" if "later@" in line else ""

    def _content(self, wire: Wire, sender: str) -> None:
        wire.say("354 End data with <CR><LF>.<CR><LF>")
        while (line := wire.line()) not in (b".\r\n", b""):
            pass
        if not line:
            return
        self._messages += "bulk@" not in sender
        wire.say(self._no("550 5.7.1 not wanted here") if "bulk@" in sender else "250 2.0.0 Ok: queued as 4Zk3")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 256


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("log", "certificate", "key"):
        parser.add_argument(name)
    parser.add_argument("--oldest", action="store_true")
    parser.add_argument("--break", dest="breaks", action="store_true")
    Handler.options = options = parser.parse_args()
    Handler.context = context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    if options.oldest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Server(("0.0.0.0", 25), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
