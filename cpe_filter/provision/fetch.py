"""Gets a document over HTTPS: one GET, with the ETag of the last one, in a child process without root's rights.

Knows TLS and addresses. Must not know what a document is: its signature is judged later, so that a stolen web server or
CDN can send nothing but old documents, which are refused. It follows no redirect and uses no proxy. Bounded in bytes
and time.
"""

from __future__ import annotations

import socket
import ssl
import time

from cpe_filter import __version__
from cpe_filter.lean.forked import CallFailedError, call
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.spread import place_of
from cpe_filter.privileges import PrivilegeError, act_as
from cpe_filter.provision import http_answer
from cpe_filter.provision.folder import MAX_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds: to connect to an address and for the other side to say anything; for all of it.
SILENCE_S, WHOLE_S = 15.0, 60.0
#: Seconds after which a child that does not end is killed: the resolver has no bound of its own.
_KILLED_S = 5.0
#: Addresses of a name that are tried.
_MOST_ADDRESSES = 8
_LONGEST_URL = 2048


class FetchError(Exception):
    """Nothing was fetched. One line."""


class Fetched(NamedTuple):
    """document: None if it is that of the ETag. etag: of the document, "" if it has none."""

    document: bytes | None
    etag: str


class _Target(NamedTuple):
    """host: a name, or an address without brackets. authority: as in the URL."""

    host: str
    port: int
    authority: str
    path: str


def fetch(url: str, ca: str, user: str, etag: str = "") -> Fetched:
    """url: https. ca: a file of certificates (PEM), "" for the system's. user: who fetches, if this is root.

    Raises `FetchError`.
    """
    target = _target(url)

    def work() -> tuple[bytes | None, str]:
        try:
            tls = _context(ca)
            act_as(user, "[report] user").drop()
            return _get(target, tls, etag)
        except PrivilegeError as error:
            raise FetchError(str(error)) from None
        except (OSError, http_answer.AnswerError) as error:
            raise FetchError(f"{url}: {_reason(error)}") from None

    try:
        document, found = call(work, FetchError, WHOLE_S + _KILLED_S)
    except CallFailedError as error:
        raise FetchError(f"{url}: {error}") from None
    return Fetched(document, found)


def _target(url: str) -> _Target:
    authority, _, path = url.removeprefix("https://").partition("/")
    host, colon, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "443")
    if not colon:
        host, port = authority, "443"
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _LONGEST_URL
    plain_name = name and all(c.isalnum() or c in ".-_" or (c == ":" and name != host) for c in name)
    plain_port = port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536
    if not (url.startswith("https://") and plain and plain_name and plain_port and "#" not in path):
        raise FetchError(f"{url[:200]}: expected https://HOST/PATH")
    if not all(0 < len(label) < 64 for label in name.removesuffix(".").split(".")):
        raise FetchError(f"{url}: {name} is not the name of a host")
    return _Target(name, int(port), authority, f"/{path}")


def _context(ca: str) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        reason = "no certificates (PEM)" if isinstance(error, ssl.SSLError) else error.strerror
        raise FetchError(f"{ca}: {reason}") from None
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.hostname_checks_common_name = False
    return tls


def _get(target: _Target, tls: ssl.SSLContext, etag: str) -> tuple[bytes | None, str]:
    end = time.monotonic() + WHOLE_S
    connection = _connect(target, end)
    try:
        # As bytes: Python encodes text with its codec for names in other scripts, which needs python3-codecs.
        name: Any = target.host.encode("ascii")
        connection.settimeout(_patience(end))
        connection = tls.wrap_socket(connection, server_hostname=name)
        connection.sendall(_request(target, etag))

        def receive(most: int) -> bytes:
            connection.settimeout(_patience(end))
            return connection.recv(most)

        answer = http_answer.read(receive, MAX_DOCUMENT)
    except TimeoutError:
        _patience(end)  # of all, or of the other side's silence
        raise
    finally:
        connection.close()
    if answer.status == 304:
        if etag:
            return None, etag
        raise FetchError(f"https://{target.authority}{target.path}: answered 304 (not modified), unasked")
    if answer.status != 200:
        raise FetchError(f"https://{target.authority}{target.path}: answered {answer.status}; expected 200")
    return answer.body, answer.etag


def _connect(target: _Target, end: float) -> socket.socket:
    """Raises OSError: of the last address."""
    problem = OSError("it has no address")
    host: Any = target.host.encode("ascii")
    found = socket.getaddrinfo(host, target.port, 0, socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found[:_MOST_ADDRESSES]:
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_patience(end))
            plain.connect(address)
            return plain
        except OSError as error:
            plain.close()
            problem = error
    raise problem


def _request(target: _Target, etag: str) -> bytes:
    fields = {
        "Host": target.authority,
        "User-Agent": f"cpe-filter/{__version__}",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if etag:
        fields["If-None-Match"] = etag
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {target.path} HTTP/1.1\r\n{lines}\r\n".encode("ascii")


def _patience(end: float) -> float:
    """Seconds for the next step. Raises `AnswerError`."""
    left = end - time.monotonic()
    if left <= 0:
        raise http_answer.AnswerError(f"it took more than {WHOLE_S:.0f} s")
    return min(SILENCE_S, left)


def _reason(error: Exception) -> str:
    """One line; nothing in it comes from the server, except what OpenSSL says."""
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = time.strftime("%Y-%m-%d", time.gmtime())
        why = str(error.verify_message).rstrip(".")
        return f"its certificate is not accepted: {why} (this router's clock says {clock})"
    if isinstance(error, (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)):
        return "it closed the connection"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return f"its name has no address: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def splay(router: str, seconds: float) -> float:
    """Which second of so many is this router's: always the same, so that routers come one after the other."""
    return place_of(router.encode(), b"fetch") * seconds
