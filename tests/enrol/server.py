"""An EST server whose answers a test writes, byte by byte: `with Scripted(authority) as it`, then `it.answers`.

By default it answers as a good one: its authority for `cacerts`, a certificate for the key and the name of any request
for the others.
"""

from __future__ import annotations

import base64
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from email.utils import formatdate
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from cpe_filter.enrol.command import Way, run
from cpe_filter.enrol.protocol import PATH
from tests.collect.ca import Authority, Pair
from tests.policies import make_policy

#: What is sent, in pieces; a piece may be made by waiting.
Answer = bytes | Iterable[bytes]
DAY = datetime.timedelta(days=1)


def http(
    body: bytes, status: str = "200 OK", kind: str = "application/pkcs7-mime", *more: str, date: str = ""
) -> bytes:
    """An answer. more: header lines. date: "none" for no header Date."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    if kind:
        head.append(f"Content-Type: {kind}")
    if date != "none":
        head.append(f"Date: {date or formatdate(usegmt=True)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def certs_only(*certificates: x509.Certificate) -> bytes:
    """PKCS #7 in Base64."""
    return base64.encodebytes(pkcs7.serialize_certificates(list(certificates), serialization.Encoding.DER))


class Scripted:
    def __init__(self, authority: Authority, pair: Pair | None = None, tls: bool = True) -> None:
        self.authority = authority
        self.answers: dict[str, Answer | Callable[[bytes], Answer]] = {}
        #: Heads of the requests.
        self.asked: list[str] = []
        found = pair or authority.server()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._tls is not None:
            self._tls.load_cert_chain(found.certificate, found.key)
            self._tls.load_verify_locations(authority.certificate)
            self._tls.verify_mode = ssl.CERT_OPTIONAL
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Scripted:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is None:
                with connection:
                    connection.sendall(http(b""))
                return
            with self._tls.wrap_socket(connection, server_side=True) as stream:
                self._open.append(stream)
                with stream.makefile("rb") as requests:
                    while self._one(stream, requests.readline):
                        pass
        except (OSError, ValueError):
            pass

    def _one(self, stream: socket.socket, line: Callable[[], bytes]) -> bool:
        head = []
        while (text := line()) not in (b"\r\n", b""):
            head.append(text.decode("latin-1").strip())
        if not head:
            return False
        self.asked.append("\n".join(head))
        body = b""
        length = next((int(each[15:]) for each in head if each.lower().startswith("content-length:")), 0)
        while len(body) < length:
            body += line()
        operation = head[0].split()[1].removeprefix(PATH)
        answer = self.answers.get(operation, self.good)
        if callable(answer):
            answer = answer(body)
        for piece in [answer] if isinstance(answer, bytes) else answer:
            stream.sendall(piece)
        return True

    def good(self, body: bytes) -> bytes:
        if not body:
            return http(certs_only(self.certificate))
        return http(certs_only(self.issued(body)))

    @property
    def certificate(self) -> x509.Certificate:
        """Of the authority."""
        return x509.load_pem_x509_certificate(self.authority.certificate.read_bytes())

    def issued(
        self, body: bytes, name: str = "", starts: float = -1, ends: float = 90, key: object = None, issuer: str = ""
    ) -> x509.Certificate:
        """For a request as it came. starts, ends: days from now."""
        request = x509.load_der_x509_csr(base64.b64decode(body))
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) if name else request.subject
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().serial_number(x509.random_serial_number()).subject_name(subject)
        above = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]) if issuer else self.certificate.subject
        )
        builder = builder.issuer_name(above).public_key(key or request.public_key())  # type: ignore[arg-type]
        builder = builder.not_valid_before(now + starts * DAY).not_valid_after(now + ends * DAY)
        return builder.sign(self.authority._key, hashes.SHA256())


class Router:
    """A router's files, and its command `enrol` in this process."""

    def __init__(self, folder: Path, authority: Authority, router: str = "cpe-0001") -> None:
        folder.mkdir(mode=0o700)
        self.folder, self.id = folder, router
        self.ca = str(authority.certificate)
        self.pem, self.key, self.token = folder / "router.pem", folder / "router.key", folder / "token"
        self.token.touch(0o600)
        self.token.write_text("token\n")
        self.policy = make_policy(
            report_certificate=str(self.pem), report_key=str(self.key), report_user="nobody", ca=self.ca
        )

    def hold(self, pair: Pair) -> None:
        """Has a certificate already."""
        self.pem.touch(0o600)
        self.pem.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        if not self.key.is_symlink():
            self.key.symlink_to(self.pem)

    def enrol(self, url: str, now: bool = True, **way: str) -> int:
        return run(self.policy, Way(url, way.pop("ca", ""), self.id, token=str(self.token), **way), now)

    def state(self) -> dict[str, bytes]:
        """Its files, without the key for the next certificate."""
        return {path.name: path.read_bytes() for path in self.folder.glob("router.*") if path.suffix != ".next"}
