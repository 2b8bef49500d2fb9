"""The collector, as a router sees it: one TLS connection, one POST at a time, bounded answers.

Knows TLS with certificates of both sides, HTTP and the collector's answers. Must not know the spool, or when to send.
It connects to the host of the policy's URL and to nothing else: it follows no redirect, uses no proxy (http.client
ignores the environment), and fetches no revocation list. It trusts only the CA of the policy, none of the system's.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import time
import zlib
from types import FrameType
from typing import Any, NamedTuple

from cpe_filter import __version__
from cpe_filter.send.protocol import MAX_INSTRUCTION, MAX_INSTRUCTIONS, PATH, retry_after

#: Seconds: to connect to an address, for the other side to say anything, and for a complete exchange.
CONNECT_S, SILENCE_S, EXCHANGE_S = 15.0, 30.0, 120.0
#: Bytes of an answer, characters of a reason in it.
MOST_ANSWER, _MOST_WHY = 64 << 10, 120

#: Outcomes of a request: accepted; too large or malformed; to be repeated later; refused for this router.
TAKEN, WRONG, LATER, REFUSED = "taken", "wrong", "later", "refused"
_WRONG = (400, 413, 422)
_LATER = (408, 425, 429)


class TlsSetupError(Exception):
    """Certificate, key or CA cannot be used. The text says which and why."""


class UnreachableError(Exception):
    """The collector was not reached, or not understood. refused: it does not accept this router's certificate."""

    def __init__(self, text: str, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class Answer(NamedTuple):
    """what: one of the above. acked, rejected: seqs, and why not; after: seconds (Retry-After).

    splay, policy: as in schedule.Plan; None if the answer does not say. instructions: signed documents, not verified.
    """

    what: str
    status: int
    acked: frozenset[int]
    rejected: dict[int, str]
    after: float
    splay: int | None
    policy: str | None
    instructions: tuple[str, ...] = ()


def context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """A router's TLS settings. Raises `TlsSetupError`, OSError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and compares the host's name
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.hostname_checks_common_name = False
    try:
        made.load_verify_locations(ca)
    except ssl.SSLError:
        raise TlsSetupError(f"[report] ca: {ca} holds no certificates (PEM)") from None
    try:
        made.load_cert_chain(certificate, key, password="")  # there is no person to ask for one
    except ssl.SSLError as error:
        why = "does not belong to the certificate" if "MISMATCH" in (error.reason or "") else "cannot be read (PEM)"
        raise TlsSetupError(f"[report] key: {key} {why}") from None
    return made


def compress(body: bytes) -> bytes:
    """gzip, without a time in it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


class _Connection(http.client.HTTPSConnection):
    """Passes the host's name as bytes. Python encodes text with its codec for names in other scripts, and on a router
    that would need 2 MB of tables (python3-codecs)."""

    tls: ssl.SSLContext

    def connect(self) -> None:
        host = self.host.encode("ascii")
        address: Any = (host, self.port)  # bytes are allowed, although type checkers do not know it
        plain = socket.create_connection(address, self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.tls.wrap_socket(plain, server_hostname=host)


class Collector:
    """Call `post` any number of times, then `close`. Both raise only `UnreachableError`."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        """url: https, as policy.py allows it. Raises `TlsSetupError`."""
        host, _, path = url.removeprefix("https://").partition("/")
        self._path = f"/{path}".rstrip("/") + PATH
        name, _, port = host.partition(":")
        if not (name.isascii() and all(0 < len(label) < 64 for label in name.removesuffix(".").split("."))):
            raise TlsSetupError(f"[report] url {url}: invalid host name {name}")
        self.host = name
        number = int(port or 443)
        if not 0 < number < 65536:
            raise TlsSetupError(f"[report] url {url}: invalid port {number}")
        self._connection = _Connection(self.host, number, timeout=CONNECT_S, context=tls)
        self._connection.tls = tls
        self._until = time.monotonic() + EXCHANGE_S
        self._answered = False

    def post(self, body: bytes) -> Answer:
        """Sends a report (gzip'd JSON). Returns the answer, whatever it is."""
        left = self._until - time.monotonic()
        before = signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, left))
        try:
            return self._post(body)
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message.rstrip(".")
            raise UnreachableError(f"the certificate of {self.host} is not accepted: {_with_clock(why)}") from None
        except (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError) as error:
            raise self._hung_up(error) from None
        except ssl.SSLError as error:
            raise _alert(self.host, error) from None
        except socket.gaierror as error:
            raise UnreachableError(f"{self.host} has no address: {error.strerror}") from None
        except TimeoutError:
            raise UnreachableError(f"{self.host} does not answer in time") from None
        except http.client.HTTPException as error:
            raise UnreachableError(f"{self.host} does not speak HTTP: {type(error).__name__}") from None
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"{self.host} is not reached: {getattr(error, 'strerror', None) or error}") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def close(self) -> None:
        self._connection.close()

    def _hung_up(self, error: OSError) -> UnreachableError:
        """In TLS 1.3 a server checks our certificate after our side has finished, and may then reset our request.

        Its reason waits to be read, unless the end of the connection has overtaken it.
        """
        connection: socket.socket | None = self._connection.sock
        if connection is None:
            return UnreachableError(f"{self.host} hung up")
        try:
            connection.recv(1)
        except ssl.SSLError as reason:
            if not isinstance(reason, ssl.SSLEOFError):
                return _alert(self.host, reason)
        except OSError:
            pass
        if self._answered:
            return UnreachableError(f"{self.host} hung up")
        return UnreachableError(f"{self.host} hung up at once: it may not accept this router's certificate")

    def _post(self, body: bytes) -> Answer:
        connection = self._connection
        if connection.sock is None:
            connection.connect()
            _be_patient(connection.sock)
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Accept": "application/json",
            "User-Agent": f"cpe-filter/{__version__}",
        }
        connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        self._answered = True
        data = response.read(MOST_ANSWER + 1)
        if not response.isclosed():  # longer than any answer that we accept
            connection.close()
        return _answer(response.status, response.headers, data)


def _be_patient(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.settimeout(SILENCE_S)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def _with_clock(why: str) -> str:
    """For a router without a battery-backed clock every certificate is too new: adds what its clock says."""
    if "not yet valid" not in why and "expired" not in why:
        return why
    return f"{why} (this router's clock says {time.strftime('%Y-%m-%d', time.gmtime())})"


def _alert(host: str, error: ssl.SSLError) -> UnreachableError:
    reason = (error.reason or "").lower().replace("_", " ")
    what = reason.partition("alert ")[2]
    if "certificate" in what or what in ("unknown ca", "access denied"):
        return UnreachableError(f"{host} does not accept this router's certificate: {what}", refused=True)
    return UnreachableError(f"no TLS with {host}: {reason or error}")


def _answer(status: int, headers: http.client.HTTPMessage, data: bytes) -> Answer:
    content = _content(data)
    acked = content.get("acked") if status == 200 else None
    rejected = content.get("rejected") if status == 200 else None
    splay, policy = content.get("retry_splay"), content.get("policy_version")
    if status == 200 and isinstance(acked, list):
        what = TAKEN
    elif status in _WRONG:
        what = WRONG
    elif status in _LATER or status >= 500 or status == 200:
        what = LATER
    else:
        what = REFUSED
    return Answer(
        what,
        status,
        frozenset(seq for seq in acked if type(seq) is int) if isinstance(acked, list) else frozenset(),
        _rejected(rejected),
        retry_after(headers.get("Retry-After", ""), headers.get("Date", ""), time.time()),
        splay if type(splay) is int else None,
        policy if _is_version(policy) else None,
        _instructions(content.get("instructions")) if status == 200 else (),
    )


def _content(data: bytes) -> dict[str, Any]:
    if len(data) > MOST_ANSWER:
        return {}
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _rejected(content: Any) -> dict[int, str]:
    found = {}
    for one in content if isinstance(content, list) else ():
        if isinstance(one, dict) and type(one.get("seq")) is int:
            why = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(one.get("why", "")))
            found[one["seq"]] = why[:_MOST_WHY]
    return found


def _instructions(content: Any) -> tuple[str, ...]:
    texts = [one for one in content if isinstance(one, str)] if isinstance(content, list) else []
    return tuple(one for one in texts if 0 < len(one) <= MAX_INSTRUCTION)[:MAX_INSTRUCTIONS]


def _is_version(value: Any) -> bool:
    good = isinstance(value, str) and len(value) <= 64 and value.isascii()
    return good and all(c.isalnum() or c in "._+-" for c in value)
