"""Login by an identity provider: OpenID Connect, authorization code flow with PKCE (RFC 7636).

Knows the flow, and which claims make a user and a role. Must not know cookies, pages or HTTP of the provider. A login
that has begun is kept for ten minutes, belongs to the browser that began it, and is used once, whatever comes of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from cpe_filter.collect.users import NAME, ROLES, Role
from cpe_filter.collect.web import id_token
from cpe_filter.collect.web.provider import Provider

#: Logins that have begun; seconds for which one is kept; characters of a code.
MAX_PENDING, PENDING_S, MAX_CODE = 1000, 600.0, 4096
#: Values of the claim that has roles.
_MAX_ROLES = 1000
CALLBACK = "/login/oidc/callback"


class LoginError(Exception):
    """The login failed. The text is one word, for the log and counters."""


class Terms(NamedTuple):
    """url: of the page. scope: besides `openid`. roles: which value of the claim `roles_claim` gives which role; ""
    gives it to each user of the provider. Claims may be within others: `realm_access.roles`."""

    url: str
    roles: Mapping[Role, str]
    roles_claim: str = "groups"
    name_claim: str = "preferred_username"
    scope: str = "profile"


class Identity(NamedTuple):
    """Who logged in. subject: the provider's own name for it, which never changes."""

    name: str
    role: Role
    subject: str


class _Pending(NamedTuple):
    browser: bytes
    nonce: str
    verifier: str
    target: str
    began: float


class Oidc:
    """Logins by one provider."""

    def __init__(self, provider: Provider, terms: Terms) -> None:
        self._provider, self._terms = provider, terms
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._redirect = terms.url + CALLBACK

    async def begin(self, browser: str, target: str, now: float) -> str:
        """The URL where the browser logs in. browser: a secret in its cookie. target: where the login leads.
        now: monotonic seconds. Raises `ProviderError`."""
        at = (await self._provider.endpoints()).authorization
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        while self._pending and (
            len(self._pending) >= MAX_PENDING or now - next(iter(self._pending.values())).began >= PENDING_S
        ):
            self._pending.popitem(last=False)
        self._pending[state] = _Pending(_hash(browser), nonce, verifier, target, now)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._provider.client,
            "redirect_uri": self._redirect,
            "scope": " ".join(["openid", *self._terms.scope.split()]),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{at}{'&' if urlsplit(at).query else '?'}{urlencode(query)}"

    async def finish(self, query: Mapping[str, str], browser: str, now: float, posix: float) -> tuple[Identity, str]:
        """Who has logged in, and where the login leads. query: of the callback. posix: for the times of tokens.

        Raises `LoginError`, `ProviderError`.
        """
        pending = self._pending.pop(query.get("state", ""), None)
        if pending is None or now - pending.began >= PENDING_S:
            raise LoginError("state")
        if not browser or not hmac.compare_digest(_hash(browser), pending.browser):
            raise LoginError("browser")
        at = await self._provider.endpoints()
        issuer = query.get("iss")
        if issuer != self._provider.issuer and (issuer is not None or at.names_issuer):
            raise LoginError("issuer")
        code = query.get("code", "")
        if "error" in query or not 0 < len(code) <= MAX_CODE:
            raise LoginError("refused")
        answer = await self._provider.exchange(code, pending.verifier, self._redirect)
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise LoginError("no-id-token")
        expected = id_token.Expected(self._provider.issuer, self._provider.client, pending.nonce)
        try:
            claims = await self._provider.check(token, expected, posix)
        except id_token.IdTokenError as error:
            raise LoginError(str(error)) from None
        if isinstance(access, str) and any(
            claim(claims, name) is None for name in (self._terms.name_claim, self._terms.roles_claim)
        ):
            more = await self._provider.userinfo(access)
            if more and more.get("sub") != claims["sub"]:  # OpenID Connect Core 1.0, section 5.3.2
                raise LoginError("userinfo")
            claims = {**more, **claims}
        return self._identity(claims), pending.target

    def _identity(self, claims: id_token.Claims) -> Identity:
        name = claim(claims, self._terms.name_claim)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise LoginError("name")
        given = claim(claims, self._terms.roles_claim)
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        has = {word for word in words[:_MAX_ROLES] if isinstance(word, str)}
        if isinstance(given, str):
            has.add(given)
        # The role that may most.
        for role in reversed(ROLES):
            wanted = self._terms.roles.get(role)
            if wanted is not None and (wanted == "" or wanted in has):
                return Identity(name, role, claims["sub"])
        raise LoginError("role")

    async def end_url(self, back: str) -> str:
        """Where a browser logs out of the provider (RP-Initiated Logout 1.0); "" if it has no such URL. back: a path of
        the page. Raises `ProviderError`. No ID token is kept to be sent as a hint, so the provider asks its user."""
        at = (await self._provider.endpoints()).end_session
        if not at:
            return ""
        query = {"client_id": self._provider.client, "post_logout_redirect_uri": self._terms.url + back}
        return f"{at}{'&' if urlsplit(at).query else '?'}{urlencode(query)}"


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, which may have dots, or by the names of those that it is within; None if there is none."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
