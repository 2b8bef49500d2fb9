"""An EST client (RFC 7030): what a router asks, by HTTPS, in a child process without root's rights.

Knows HTTP and TLS. Must not know when or where certificates are kept. The server is trusted by the certificates of one
file (RFC 7030 section 4.1.1, explicit TA); nothing that it sends changes these. It follows no redirect and uses no
proxy. Bounded in bytes and time.
"""

from __future__ import annotations

import binascii
import http.client
import socket
import ssl
import time
from email.utils import parsedate_to_datetime

from cpe_filter import __version__
from cpe_filter.enrol import pkcs7
from cpe_filter.enrol.protocol import MAX_ANSWER, PATH, SCHEME
from cpe_filter.lean.forked import CallFailedError, call
from cpe_filter.lean.log_output import one_line
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.privileges import PrivilegeError, act_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds: for the other side to say anything; for all of it.
SILENCE_S, WHOLE_S = 20.0, 60.0
_MOST_WHY = 200
_PKCS7 = "application/pkcs7-mime"


class EstError(Exception):
    """Nothing was issued. One line."""


class Server(NamedTuple):
    """url: https://HOST[:PORT]. ca: a file, PEM. user: who asks, if this is root."""

    url: str
    ca: str
    user: str


class Answer(NamedTuple):
    """status: of HTTP, 0 if the server refused our certificate. why: its text. nonce: of a 401. chain: PEM, "" without.
    date: the server's time, POSIX, 0 if it says none."""

    status: int
    why: str
    nonce: str
    chain: bytes
    date: int


def host_of(url: str) -> str:
    """As the server reads it in the field Host: lower case, without a port. Raises `EstError`."""
    return _place(url)[0].lower()


def ask(
    server: Server,
    operation: str,
    request: bytes,
    key: bytes,
    authorization: str = "",
    identity: tuple[str, str] | None = None,
) -> Answer:
    """operation: simpleenroll, simplereenroll, or "" for the authorities alone. request: PKCS #10, DER. key: its public
    key, DER. identity: files of a certificate and its key, to show. Raises `EstError`."""

    def work() -> tuple[int, str, str, bytes, int]:
        try:
            tls = _context(server.ca)
            if identity is not None and (problem := _shows(tls, identity)):
                return 0, problem, "", b"", 0
            act_as(server.user, "[report] user").drop()
            found = _exchange(server.url, tls, operation, request, key, authorization)
            return found.status, found.why, found.nonce, found.chain, found.date
        except PrivilegeError as error:
            raise EstError(str(error)) from None
        except pkcs7.Pkcs7Error as error:
            raise EstError(f"{server.url}: {error}") from None
        except ssl.SSLCertVerificationError as error:
            clock = f"this router's clock says {time.strftime('%Y-%m-%d', time.gmtime())}"
            why = f"its certificate is not accepted: {error.verify_message} ({clock})"
            raise EstError(f"{server.url}: {why}") from None
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as error:
            reason = (getattr(error, "reason", None) or "it hung up").lower().replace("_", " ")
            # In TLS 1.3 a server judges our certificate after our side has finished, and may then reset the request.
            if identity is not None and ("alert" in reason or not isinstance(error, ssl.SSLError)):
                return 0, f"{server.url}: does not accept the certificate {identity[0]}: {reason}", "", b"", 0
            raise EstError(f"{server.url}: no TLS: {reason}") from None
        except TimeoutError:
            raise EstError(f"{server.url}: no answer within {SILENCE_S:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise EstError(
                f"{server.url}: {getattr(error, 'strerror', None) or error or type(error).__name__}"
            ) from None

    try:
        return Answer(*call(work, EstError, WHOLE_S))
    except CallFailedError as error:
        raise EstError(f"{server.url}: {error}") from None


def _context(ca: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.hostname_checks_common_name = False
    try:
        made.load_verify_locations(ca)
    except ssl.SSLError:
        raise EstError(f"{ca}: no certificates in PEM") from None
    except OSError as error:
        raise EstError(f"{ca}: {error.strerror}") from None
    return made


def _shows(tls: ssl.SSLContext, identity: tuple[str, str]) -> str:
    """Why these files cannot be shown; "" if they can."""
    try:
        tls.load_cert_chain(*identity, lambda: "none")  # without this OpenSSL would ask for a passphrase
    except ssl.SSLError:
        return f"{identity[0]}, {identity[1]}: no certificate with its key (PEM)"
    except OSError as error:
        return f"{identity[0]}, {identity[1]}: {error.strerror}"
    return ""


def _place(url: str) -> tuple[str, int]:
    rest = url.removeprefix("https://").rstrip("/")
    host, colon, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if not colon:
        host, port = rest, "443"
    name = host.removeprefix("[").removesuffix("]")
    good = url.startswith("https://") and name and "/" not in rest and name.isascii() and name.isprintable()
    if (
        not good
        or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536)
        or "@" in rest
        or " " in rest
    ):
        raise EstError(f"{url}: expected https://HOST or https://HOST:PORT")
    return name, int(port)


def _exchange(url: str, tls: ssl.SSLContext, operation: str, request: bytes, key: bytes, authorization: str) -> Answer:
    """The authorities, then the request, by one connection."""
    host, port = _place(url)
    connection = http.client.HTTPSConnection(host, port, timeout=SILENCE_S, context=tls)
    try:
        # As bytes: Python encodes text with its codec for names in other scripts, which needs python3-codecs.
        address: Any = (host.encode("ascii"), port)
        plain = socket.create_connection(address, SILENCE_S)
        connection.sock = tls.wrap_socket(plain, server_hostname=address[0])
        connection.request("GET", f"{PATH}cacerts", headers=_HEADERS)
        status, headers, body = _read(connection)
        if status != 200:
            raise EstError(f"{url}: answered {status} for the authorities: {_why(body)}")
        date = _date(headers.get("Date", ""))
        if not operation:
            return Answer(status, "", "", b"", date)
        authorities = pkcs7.certificates(_of_type(headers, body))
        more = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
        if authorization:
            more["Authorization"] = authorization
        connection.request("POST", f"{PATH}{operation}", binascii.b2a_base64(request), {**_HEADERS, **more})
        status, headers, body = _read(connection)
        if status == 200:
            found = pkcs7.chain(pkcs7.certificates(_of_type(headers, body)), authorities, key)
            return Answer(status, "", "", b"".join(map(pkcs7.pem, found)), date)
        return Answer(status, _why(body), _nonce(headers), b"", date)
    finally:
        connection.close()


_HEADERS = {"User-Agent": f"cpe-filter/{__version__}", "Accept-Encoding": "identity"}


def _read(connection: http.client.HTTPSConnection) -> tuple[int, http.client.HTTPMessage, bytes]:
    answer = connection.getresponse()
    body = answer.read(MAX_ANSWER + 1)
    if len(body) > MAX_ANSWER:
        raise EstError(f"the answer is too large; allowed: at most {MAX_ANSWER} bytes")
    return answer.status, answer.headers, body


def _of_type(headers: http.client.HTTPMessage, body: bytes) -> bytes:
    """The body, if it claims to be what it should be: an answer of something else is none of EST's."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != _PKCS7:
        shown = one_line(kind[:_MOST_WHY]) or "none"
        raise pkcs7.Pkcs7Error(f"answered with Content-Type {shown}; expected {_PKCS7}")
    return body


def _why(body: bytes) -> str:
    return one_line(body[:_MOST_WHY].decode("ascii", "replace").strip())


def _nonce(headers: http.client.HTTPMessage) -> str:
    for field in headers.get_all("WWW-Authenticate") or ():
        scheme, _, rest = field.partition(" ")
        nonce = rest.strip().removeprefix('nonce="').removesuffix('"')
        if scheme.lower() == SCHEME.lower() and nonce.isascii() and nonce.isalnum() and len(nonce) <= _MOST_WHY:
            return nonce
    return ""


def _date(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0
