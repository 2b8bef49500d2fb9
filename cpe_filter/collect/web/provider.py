"""An identity provider over HTTP: its discovery document, its keys, and its token and userinfo endpoints.

Knows OpenID Connect Discovery 1.0 and the requests. Must not know logins or sessions. Answers are bounded in size and
time, redirects are not followed, and no proxy of the environment is used. After a failure there is a pause.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlsplit

import httpx

from cpe_filter.collect.web import id_token

MAX_ANSWER = 256 * 1024
#: Seconds: how long documents are used, the pause after a failure, how often keys are asked for out of turn.
_DOCUMENT_S, _PAUSE_S, _KEYS_S = 3600.0, 10.0, 30.0
_LOCAL = ("127.0.0.1", "::1", "localhost")


class ProviderError(Exception):
    """It does not answer, or not as it should. One line for the log, without anything secret."""


class Endpoints(NamedTuple):
    """Of the discovery document. userinfo, end_session: "" for none. names_issuer: answers name the issuer (RFC 9207).
    basic: whether the client's secret may be sent by HTTP Basic."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    end_session: str
    names_issuer: bool
    basic: bool


class Provider:
    """secret: of the client, "" for a public one. verify: the authority of its certificate."""

    def __init__(
        self,
        issuer: str,
        client: str,
        secret: str,
        timeout_s: float = 5.0,
        verify: ssl.SSLContext | bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer, self.client, self._secret, self._clock = issuer, client, secret, clock
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            follow_redirects=False, timeout=timeout_s, verify=verify, trust_env=False,
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )  # fmt: skip
        self._one = asyncio.Lock()
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: tuple[float, list[id_token.Key]] | None = None
        self._failed_until = float("-inf")

    async def close(self) -> None:
        await self._http.aclose()

    async def endpoints(self) -> Endpoints:
        """Raises `ProviderError`."""
        async with self._one:
            now = self._clock()
            if self._endpoints is None or now - self._endpoints[0] >= _DOCUMENT_S:
                document = await self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                self._endpoints = now, self._read(document)
            return self._endpoints[1]

    async def check(self, text: str, expected: id_token.Expected, now: float) -> id_token.Claims:
        """The claims of an ID token. Keys are read again, at most once in 30 s, for a token with an unknown one.

        Raises `id_token.IdTokenError`, `ProviderError`.
        """
        at = (await self.endpoints()).keys
        known = await self._known(at, _DOCUMENT_S)
        try:
            return id_token.check(text, known, expected, now)
        except id_token.UnknownKeyError:
            return id_token.check(text, await self._known(at, _KEYS_S), expected, now)

    async def _known(self, at: str, most_s: float) -> list[id_token.Key]:
        async with self._one:
            now = self._clock()
            if self._keys is None or now - self._keys[0] >= most_s:
                try:
                    self._keys = now, id_token.keys(await self._get(at))
                except id_token.IdTokenError:
                    raise ProviderError("its keys are not a JWK Set") from None
            return self._keys[1]

    async def exchange(self, code: str, verifier: str, redirect: str) -> dict[str, Any]:
        """A code for tokens. Raises `ProviderError`."""
        at = await self.endpoints()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        headers = {}
        if self._secret and at.basic:  # RFC 6749, section 2.3.1: both parts are form-encoded first
            pair = f"{quote_plus(self.client)}:{quote_plus(self._secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self.client
            if self._secret:
                form["client_secret"] = self._secret
        return await self._ask("POST", at.token, data=form, headers=headers)

    async def userinfo(self, access: str) -> dict[str, Any]:
        """The claims that are not in the ID token; {} if the provider has no such endpoint. Raises `ProviderError`."""
        at = (await self.endpoints()).userinfo
        return await self._ask("GET", at, headers={"authorization": f"Bearer {access}"}) if at else {}

    async def _get(self, url: str) -> dict[str, Any]:
        """A document: after a failure not at once again."""
        if self._clock() < self._failed_until:
            raise ProviderError("it did not answer a moment ago")
        try:
            return await self._ask("GET", url)
        except ProviderError:
            self._failed_until = self._clock() + _PAUSE_S
            raise

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """Raises `ProviderError`."""
        try:
            status, body = await asyncio.wait_for(self._read_answer(method, url, more), self._timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, asyncio.TimeoutError, TimeoutError, ValueError) as error:
            raise ProviderError(f"{method} {url}: {type(error).__name__}") from None
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if status != 200 or not isinstance(value, dict):
            raise ProviderError(f"{method} {url}: status {status}{'' if value is not None else ', not JSON'}")
        return value

    async def _read_answer(self, method: str, url: str, more: dict[str, Any]) -> tuple[int, bytes]:
        async with self._http.stream(method, url, **more) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise ValueError("compressed")  # a bomb would be unpacked before it is measured
            body = b""
            async for chunk in response.aiter_raw(65536):
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise ValueError("too large")
            return response.status_code, body

    def _read(self, document: dict[str, Any]) -> Endpoints:
        if document.get("issuer") != self.issuer:
            raise ProviderError("its discovery document names another issuer")
        urls: dict[str, str] = {}
        for name, needed in (("authorization_endpoint", True), ("token_endpoint", True), ("jwks_uri", True),
                             ("userinfo_endpoint", False), ("end_session_endpoint", False)):  # fmt: skip
            url = document.get(name)
            if url is None and not needed:
                urls[name] = ""
            elif isinstance(url, str) and _is_safe(url, self.issuer):
                urls[name] = url
            else:
                raise ProviderError(f"{name} of its discovery document is missing or not https")
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = not isinstance(methods, list) or "client_secret_basic" in methods
        names_issuer = document.get("authorization_response_iss_parameter_supported") is True
        authorization, token, keys, userinfo, end_session = urls.values()
        return Endpoints(authorization, token, keys, userinfo, end_session, names_issuer, basic)


def _is_safe(url: str, issuer: str) -> bool:
    """https; or, for a provider on this machine, http there."""
    try:
        parts, of = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    plain = parts.scheme == of.scheme == "http" and parts.hostname in _LOCAL and of.hostname in _LOCAL
    return bool(parts.hostname) and url.isascii() and url.isprintable() and (parts.scheme == "https" or plain)
