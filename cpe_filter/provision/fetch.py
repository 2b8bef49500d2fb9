"""Gets a document over HTTPS: one GET, with the ETag of the last one, in a child process without root's rights.

Knows HTTP. Must not know what a document is: its signature is judged later, so that a stolen web server or CDN can send
nothing but old documents, which are refused. It follows no redirect and uses no proxy (http.client ignores the
environment). Bounded in bytes and time.
"""

from __future__ import annotations

import http.client
import ssl
import time

from cpe_filter import __version__
from cpe_filter.lean.forked import CallFailedError, call
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.spread import place_of
from cpe_filter.privileges import PrivilegeError, act_as
from cpe_filter.provision.folder import MAX_DOCUMENT

#: Seconds: to connect and for the other side to say anything; for all of it.
SILENCE_S, WHOLE_S = 15.0, 60.0
#: Characters of an ETag.
MAX_ETAG = 200
_CHUNK = 1 << 14


class FetchError(Exception):
    """Nothing was fetched. One line."""


class Fetched(NamedTuple):
    """document: None if it is that of the ETag. etag: of the document, "" if it has none."""

    document: bytes | None
    etag: str


def fetch(url: str, ca: str, user: str, etag: str = "") -> Fetched:
    """url: https. ca: a file of certificates (PEM), "" for the system's. user: who fetches, if this is root.

    Raises `FetchError`.
    """

    def work() -> tuple[bytes | None, str]:
        try:
            tls = ssl.create_default_context(cafile=ca or None)
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
            act_as(user, "[report] user").drop()
            return _get(url, tls, etag)
        except PrivilegeError as error:
            raise FetchError(str(error)) from None
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            raise FetchError(f"{url}: {getattr(error, 'reason', None) or error or type(error).__name__}") from None

    try:
        document, found = call(work, FetchError, WHOLE_S + 10.0)
    except CallFailedError as error:
        raise FetchError(f"{url}: {error}") from None
    return Fetched(document, found)


def _get(url: str, tls: ssl.SSLContext, etag: str) -> tuple[bytes | None, str]:
    host, _, path = url.removeprefix("https://").partition("/")
    name, _, port = host.partition(":")
    if not url.startswith("https://") or not name or not (port or "443").isdecimal():
        raise FetchError(f"{url}: expected https://HOST/PATH")
    connection = http.client.HTTPSConnection(name, int(port or 443), timeout=SILENCE_S, context=tls)
    end = time.monotonic() + WHOLE_S
    try:
        headers = {"User-Agent": f"cpe-filter/{__version__}", "Accept-Encoding": "identity"}
        if etag:
            headers["If-None-Match"] = etag
        connection.request("GET", f"/{path}", headers=headers)
        answer = connection.getresponse()
        if answer.status == 304:
            return None, etag
        if answer.status != 200:
            raise FetchError(f"{url}: answered {answer.status}; expected 200")
        data = bytearray()
        while len(data) <= MAX_DOCUMENT:
            if time.monotonic() > end:
                raise FetchError(f"{url}: took more than {WHOLE_S:.0f} s")
            piece = answer.read(_CHUNK)
            if not piece:
                break
            data += piece
        if len(data) > MAX_DOCUMENT:
            raise FetchError(f"{url}: too large; allowed: at most {MAX_DOCUMENT} bytes")
        found = answer.getheader("ETag") or ""
        return bytes(data), found if len(found) <= MAX_ETAG and found.isascii() and found.isprintable() else ""
    finally:
        connection.close()


def splay(router: str, seconds: float) -> float:
    """Which second of so many is this router's: always the same, so that routers come one after the other."""
    return place_of(router.encode(), b"fetch") * seconds
