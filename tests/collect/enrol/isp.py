"""An EST server without sockets, for tests: `Isp(folder, store)`, then `enrol(request, ...)`.

Its authority, its requests and its routers' keys are made here; its application is the real one.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from cpe_filter.collect.enrol import est, proof, register
from cpe_filter.collect.enrol.authority import Authority
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import audit
from cpe_filter.collect.store.base import Store
from cpe_filter.enrol.protocol import PATH, factory_text
from tests.collect import ca

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
HOST = "est.isp.example"
ROOT = audit.By("root", audit.COMMAND)
ROUTER = "cpe-0001"


class Answer(NamedTuple):
    status: int
    headers: dict[str, list[str]]
    body: bytes

    @property
    def why(self) -> str:
        return self.body.decode()

    @property
    def nonce(self) -> str:
        return self.headers["www-authenticate"][0].partition('nonce="')[2].removesuffix('"')

    @property
    def certificates(self) -> list[x509.Certificate]:
        return pkcs7.load_der_pkcs7_certificates(base64.b64decode(self.body))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def digest(key: Key) -> str:
    return hashlib.sha256(spki(key)).hexdigest()


def private(key: Key) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def named(*names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])


def request_for(key: Key, name: str = ROUTER, *extensions: x509.ExtensionType) -> bytes:
    """PKCS #10, DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(named(*([name] if name else [])))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()).public_bytes(DER)


def key_file(authority: ca.Authority) -> Path:
    """The authority's key, as [enrol] ca_key has it."""
    path = authority.folder / "ca.key"
    if not path.exists():
        path.touch(0o600)
        path.write_bytes(private(authority._key))
    return path


def program(folder: Path, text: str, name: str = "sign") -> tuple[str, ...]:
    """A sign_command of this text for the shell."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return (str(path), "{router}", "{days}")


class Isp:
    """One process of `est` on a store. authority: shared by several of them."""

    def __init__(
        self,
        authority: ca.Authority,
        store: Store,
        sign: tuple[str, ...] = (),
        burst: int = 10,
        by_serial_number: bool = False,
        days: int = 90,
    ) -> None:
        self.authority, self.store = authority, store
        self.own = Authority(str(authority.certificate), "" if sign else str(key_file(authority)), sign, days)
        self.metrics = Metrics()
        terms = est.Terms(frozenset((HOST,)), burst, by_serial_number)
        self.app = est.application(self.own, store, proof.Nonces(b"secret"), terms, self.metrics, lambda: b"")

    async def ask(
        self,
        operation: str,
        body: bytes = b"",
        authorization: str | None = None,
        shown: bytes | None = None,
        headers: tuple[tuple[str, str], ...] = (("content-type", "application/pkcs10"),),
        method: str = "POST",
        peer: str = "192.0.2.9",
        host: str = f"{HOST}:8444",
    ) -> Answer:
        """shown: the certificate that TLS has verified, DER."""
        given = [("host", host), *headers, *([("authorization", authorization)] if authorization else [])]
        path = operation if operation.startswith("/") else PATH + operation
        scope: dict[str, Any] = {
            "type": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "method": method, "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "https",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given],
            "client": (peer, 1), "server": (HOST, 8444), "extensions": {"tls": {"client_cert_der": shown}},
        }  # fmt: skip
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        found: dict[str, list[str]] = {}
        for name, value in sent[0]["headers"]:
            found.setdefault(name.decode().lower(), []).append(value.decode())
        return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))

    async def enrol(self, request: bytes, authorization: str | None = None, **more: Any) -> Answer:
        return await self.ask("simpleenroll", base64.encodebytes(request), authorization, **more)

    async def renew(self, request: bytes, shown: bytes | None, **more: Any) -> Answer:
        return await self.ask("simplereenroll", base64.encodebytes(request), None, shown, **more)

    async def nonce(self, request: bytes) -> str:
        answer = await self.enrol(request)
        assert answer.status == 401, answer
        return answer.nonce

    async def know(self, router: str = ROUTER, key: str = "") -> None:
        """Imports a router. key: SHA-256 of its factory key."""
        await register.load(self.store, [(router, key)], 0, ROOT)

    async def token(self, router: str = ROUTER, hours: int = 72, now: int | None = None) -> str:
        """The value of Authorization for a new one-time token."""
        text = await register.make_token(self.store, router, hours, int(time.time()) if now is None else now, ROOT)
        return basic(router, text)

    async def listed(self, router: str = ROUTER) -> list[dict[str, Any]]:
        return await register.listed(self.store, router)


def basic(router: str, token: str) -> str:
    return "Basic " + base64.b64encode(f"{router}:{token}".encode()).decode()


def signed(key: Key, nonce: str, request: bytes, router: str = ROUTER, host: str = HOST) -> str:
    """The value of Authorization by a factory key."""
    from cpe_filter.enrol.libcrypto import Crypto

    text = factory_text(host, router, nonce, hashlib.sha256(request).hexdigest())
    signature = base64.b64encode(Crypto().sign(private(key), text)).decode()
    public = base64.b64encode(spki(key)).decode()
    return f'CPE-Factory router="{router}", nonce="{nonce}", key="{public}", signature="{signature}"'
