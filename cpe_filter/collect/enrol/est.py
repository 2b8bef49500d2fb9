"""The EST server (RFC 7030, RFC 8951): cacerts, csrattrs, simpleenroll, simplereenroll; and the revocation list.

Knows HTTP. Must not know how a certificate is made (authority) or what is kept (register). Who asks is known, in this
order, by the header Authorization (a factory key's signature, or Basic with a one-time token), by a certificate of this
authority, which is a renewal, or by a certificate of the factory. Refusals are one line of text. Not supported: full
CMC, key generation at the server, and linking of proofs of possession to the TLS session (RFC 7030 section 3.5,
optional; TLS 1.3 has no tls-unique): the request is signed by its own key, and comes in the session of whoever was
authenticated.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cpe_filter.collect.enrol import authority, proof, register
from cpe_filter.collect.enrol.authority import Authority, AuthorityError, BadRequestError
from cpe_filter.collect.enrol.proof import ProofError
from cpe_filter.collect.intake.identity import RefusedError as IdentityError
from cpe_filter.collect.intake.identity import router_id
from cpe_filter.collect.intake.limits import Buckets, source
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.enrol.protocol import MAX_REQUEST, PATH, SCHEME, factory_text

#: What a request should have (RFC 7030 section 4.5.2): a key of P-256, signed with SHA-256.
CSR_ATTRIBUTES = bytes.fromhex("3021301506072a8648ce3d0201310a06082a8648ce3d03010706082a8648ce3d040302")
#: Requests from one source, in an hour and at once; each may cost a signature.
_SOURCE_PER_HOUR, _SOURCE_BURST = 600, 60
_BODY_S = 20.0
_RETRY_S = 60

_log = logging.getLogger("cpe_filter.collect.enrol")


class Terms(NamedTuple):
    """hosts: names of this server, from its certificate. burst: certificates for one router at once; one an hour after
    that. by_serial_number: a factory's certificate has the router's id in its serialNumber, not in its common name."""

    hosts: frozenset[str]
    burst: int
    by_serial_number: bool


class _RefusalError(Exception):
    """reason: one word for the log."""

    def __init__(self, status: int, reason: str, why: str, retry_s: int = 0) -> None:
        super().__init__(why)
        self.status, self.reason, self.retry_s = status, reason, retry_s


class _Who(NamedTuple):
    """key: of the factory, "" for none. serial: of the certificate of a renewal."""

    router: str
    how: register.How
    key: str = ""
    serial: str = ""
    token: str = ""
    nonce: str = ""


class _Est:
    def __init__(
        self, own: Authority, store: Store, nonces: proof.Nonces, terms: Terms, metrics: Metrics,
        crl: Callable[[], bytes],
    ) -> None:  # fmt: skip
        self._own, self._store, self._nonces, self._terms = own, store, nonces, terms
        self._metrics, self._crl = metrics, crl
        self._sources = Buckets(_SOURCE_PER_HOUR, _SOURCE_BURST)
        self._routers = Buckets(1, terms.burst)  # one an hour after that

    async def ca_certificates(self, _request: Request) -> Response:
        return _pkcs7(self._own.pkcs7(self._own.chain))

    async def attributes(self, _request: Request) -> Response:
        return Response(base64.b64encode(CSR_ATTRIBUTES), 200, {"content-type": "application/csrattrs"} | _BASE64)

    async def revocation_list(self, _request: Request) -> Response:
        listed = self._crl()
        if not listed:
            return Response(status_code=404)
        return Response(listed, 200, {"content-type": "application/x-pem-file"})

    async def enrol(self, request: Request) -> Response:
        return await self._answer(request, renewal=False)

    async def renew(self, request: Request) -> Response:
        return await self._answer(request, renewal=True)

    async def _answer(self, request: Request, renewal: bool) -> Response:
        fields: dict[str, Any] = {"peer": request.client.host if request.client else "unix"}
        try:
            return await self._issue(request, renewal, fields)
        except _RefusalError as error:
            refusal = error
        except ClientDisconnect:
            return Response(status_code=400)
        except AuthorityError as error:
            self._metrics.enrolments.labels("failed").inc()
            _log.error("authority failed", extra={"fields": {**fields, "why": str(error)}})
            return _text("the authority cannot sign now; try again later", 503, {"retry-after": str(_RETRY_S)})
        except StoreError as error:
            self._metrics.enrolments.labels("failed").inc()
            _log.error("store unavailable", extra={"fields": {**fields, "why": str(error)}})
            return _text("try again later", 503, {"retry-after": str(_RETRY_S)})
        headers = {"retry-after": str(refusal.retry_s)} if refusal.retry_s else {}
        response = _text(str(refusal), refusal.status, headers)
        if refusal.status == 401:
            response.headers.append("www-authenticate", f'{SCHEME} nonce="{self._nonces.make()}"')
            response.headers.append("www-authenticate", 'Basic realm="enrolment"')
        if refusal.reason != "challenge":
            self._metrics.enrolments.labels("refused").inc()
            fields |= {"status": refusal.status, "reason": refusal.reason, "why": str(refusal)}
            _log.warning("enrolment refused", extra={"fields": fields})
        return response

    async def _issue(self, request: Request, renewal: bool, fields: dict[str, Any]) -> Response:
        _pay(self._sources.take(source(fields["peer"]), 1, time.monotonic()), "too many requests from this address")
        der = await _body(request)
        who = self._who(request, der, renewal)
        fields["router"] = who.router
        fields["how"] = who.how
        try:
            asked = authority.request_of(der, who.router)
        except BadRequestError as error:
            raise _RefusalError(400, "request", str(error)) from None
        key = authority.digest_of(asked.public_key())
        await self._check_known(who, key)
        _pay(self._routers.take(who.router, 1, time.monotonic()), "too many certificates for this router")
        if who.nonce:
            now = int(time.time())
            if not await register.use_nonce(self._store, who.nonce, now, now + proof.NONCE_S + 2 * proof.SKEW_S):
                raise _RefusalError(401, "proof", "the nonce was used before")
        made = await self._own.issue(asked, who.router)
        row = register.Certificate(made.serial, who.router, made.key, who.how, made.issued_at, made.ends_at)
        if not await register.note(self._store, row, who.token):
            await self._check_known(who, key)  # says why, unless a token was spent or replaced since
            raise _RefusalError(403, "token", "the token was used for another key, or replaced")
        self._metrics.enrolments.labels(who.how).inc()
        ends = time.strftime("%Y-%m-%d", time.gmtime(made.ends_at))
        _log.info("certificate issued", extra={"fields": {**fields, "serial": made.serial, "ends": ends}})
        return _pkcs7(self._own.pkcs7([made.certificate]), "; smime-type=certs-only")

    async def _check_known(self, who: _Who, key: str) -> None:
        """Whether the register lets this router have a certificate of this key. Raises `_RefusalError`."""
        known = await register.known(self._store, who.router)
        if known is not None and known.state == register.REVOKED:
            raise _RefusalError(403, "revoked", "this router is revoked")
        if who.how == "token":
            good = await register.token_is_good(self._store, who.router, who.token, key, int(time.time()))
            if known is None or not good:
                raise _RefusalError(401, "token", "the token is not good for this router, or was used before")
        # One text for both, so that the answer does not show which routers there are.
        if known is None or (who.how == "factory" and known.key != who.key):
            raise _RefusalError(403, "unknown", "no such router with this key")
        if who.how == "certificate" and known.key not in ("", who.key):
            raise _RefusalError(403, "unknown", "no such router with this key")
        if who.serial and await register.is_revoked(self._store, who.serial):
            raise _RefusalError(403, "revoked", "this certificate is revoked")
        if await register.other_owner(self._store, key, who.router):
            raise _RefusalError(403, "key", "this key is another router's, or a factory key; make a new one")

    # ── who asks ────────────────────────────────────────────────────────────────────────────────

    def _who(self, request: Request, der: bytes, renewal: bool) -> _Who:
        """Raises `_RefusalError`."""
        shown = request.scope.get("extensions", {}).get("tls", {}).get("client_cert_der")
        words = request.headers.getlist("authorization")
        try:
            if words and not renewal:
                scheme, _, rest = words[0].partition(" ")
                if len(words) > 1 or len(words[0]) > 4096:
                    raise _RefusalError(400, "authorization", "expected one header Authorization of at most 4096 bytes")
                if scheme.lower() == SCHEME.lower():
                    return self._by_factory_key(rest, request, der)
                if scheme.lower() == "basic":
                    return _by_token(rest)
                raise _RefusalError(401, "authorization", f"expected Authorization by {SCHEME} or Basic")
            if shown is not None:
                return self._by_certificate(shown, renewal)
        except IdentityError as error:
            raise _RefusalError(403, "identity", str(error)) from None
        except ProofError as error:
            raise _RefusalError(401, "proof", str(error)) from None
        if renewal:
            raise _RefusalError(403, "certificate", "a renewal needs the router's certificate, by TLS")
        raise _RefusalError(401, "challenge", f"expected Authorization by {SCHEME} or Basic, or a certificate by TLS")

    def _by_factory_key(self, rest: str, request: Request, der: bytes) -> _Who:
        found = proof.fields(rest)
        router = router_id(found["router"])
        if problem := self._nonces.problem(found["nonce"]):
            raise ProofError(problem)
        host = host_of(request.headers.get("host", ""))
        if not is_named(host, self._terms.hosts):
            raise ProofError("this server has another name than the one that was signed")
        text = factory_text(host, router, found["nonce"], hashlib.sha256(der).hexdigest())
        return _Who(router, "factory", proof.verify(found["key"], found["signature"], text), nonce=found["nonce"])

    def _by_certificate(self, der: bytes, renewal: bool) -> _Who:
        """TLS has verified it against this authority and the factory's."""
        try:
            shown = x509.load_der_x509_certificate(der)
            key = authority.digest_of(shown.public_key())
        except authority.UNREADABLE:
            raise _RefusalError(403, "certificate", "the client certificate cannot be read") from None
        if self._own.is_own(shown):
            return _Who(_name(shown, NameOID.COMMON_NAME), "renewal", serial=f"{shown.serial_number:x}")
        if renewal:
            raise _RefusalError(403, "certificate", "a renewal needs a certificate of this authority")
        oid = NameOID.SERIAL_NUMBER if self._terms.by_serial_number else NameOID.COMMON_NAME
        return _Who(_name(shown, oid), "certificate", key)


def _name(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    if len(found) != 1:
        raise _RefusalError(403, "identity", "the client certificate does not have exactly one name of the router")
    return router_id(str(found[0].value))


def _by_token(rest: str) -> _Who:
    try:
        router, colon, token = base64.b64decode(rest.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        raise ProofError("Basic: expected the router's id and its token") from None
    if not colon or not token:
        raise ProofError("Basic: expected the router's id and its token")
    return _Who(router_id(router), "token", token=token)


def host_of(header: str) -> str:
    """The name or address in a Host field, without its port, in lower case."""
    if header.startswith("["):
        return header.partition("]")[0].removeprefix("[").lower()
    return header.partition(":")[0].lower().removesuffix(".")


def is_named(host: str, names: frozenset[str]) -> bool:
    """Whether a certificate with these names is good for a host (RFC 9525: a wildcard is one label)."""
    return bool(host) and (host in names or f"*.{host.partition('.')[2]}" in names)


def _pay(wait_s: float, why: str) -> None:
    if wait_s:
        raise _RefusalError(429, "rate", why, max(1, min(86_400, math.ceil(wait_s))))


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/pkcs10", "application/x-pkcs10"):
        raise _RefusalError(415, "type", "expected Content-Type: application/pkcs10")
    data = bytearray()

    async def feed() -> None:
        async for piece in request.stream():
            if len(data) + len(piece) > MAX_REQUEST:
                raise _RefusalError(413, "large", f"body over {MAX_REQUEST} bytes")
            data.extend(piece)

    try:
        await asyncio.wait_for(feed(), _BODY_S)
    except (asyncio.TimeoutError, TimeoutError):
        raise _RefusalError(408, "slow", f"body took over {_BODY_S:g} s") from None
    lines = [line for line in bytes(data).splitlines() if not line.startswith(b"-----")]
    try:
        return base64.b64decode(b"".join(lines).replace(b" ", b""), validate=True)
    except binascii.Error:
        raise _RefusalError(400, "request", "expected PKCS #10, DER in Base64") from None


#: RFC 8951 ignores it; older clients ask for it.
_BASE64 = {"content-transfer-encoding": "base64"}


def _pkcs7(der: bytes, more: str = "") -> Response:
    # In one line: RFC 8951 leaves it to RFC 4648, which has no line feeds, and strongSwan's client reads nothing else.
    return Response(base64.b64encode(der), 200, {"content-type": f"application/pkcs7-mime{more}"} | _BASE64)


def _text(why: str, status: int, headers: dict[str, str]) -> Response:
    # Whatever is left of a body that was not read must not be taken for a request.
    more = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
    close = {"connection": "close"} if status in (408, 413, 415) else {}
    return Response(f"{why}\n", status, more | close | headers)


def application(
    own: Authority, store: Store, nonces: proof.Nonces, terms: Terms, metrics: Metrics,
    crl: Callable[[], bytes] = lambda: b"",
) -> Starlette:  # fmt: skip
    """crl: the last revocation list, PEM; b"" for none."""
    est = _Est(own, store, nonces, terms, metrics, crl)

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return _text(
            f"expected {PATH}cacerts, csrattrs, simpleenroll or simplereenroll", status, {"connection": "close"}
        )

    routes = [
        Route(f"{PATH}cacerts", est.ca_certificates, methods=["GET"]),
        Route(f"{PATH}csrattrs", est.attributes, methods=["GET"]),
        Route(f"{PATH}simpleenroll", est.enrol, methods=["POST"]),
        Route(f"{PATH}simplereenroll", est.renew, methods=["POST"]),
        Route("/crl.pem", est.revocation_list, methods=["GET"]),
    ]
    made = Starlette(routes=routes, exception_handlers={404: refused, 405: refused})
    made.router.redirect_slashes = False
    return made
