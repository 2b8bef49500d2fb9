"""Who sends a request: a person with a name and a role, viewer (reads), desk (also acts) or admin (also the audit log).

Two ways, of which the configuration chooses one: `ByPassword` trusts the cookie of a session and refuses a request that
has the header of a proxy; `ByProxy` trusts the header of a reverse proxy at a trusted address and has no passwords.
Knows headers and cookies. Must not know pages or stores.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple, Protocol

from cpe_filter.collect import password
from cpe_filter.collect.users import ADMIN, DESK, NAME, VIEWER, Role, User
from cpe_filter.collect.web.sessions import Attempts, Session, Sessions

Network = IPv4Network | IPv6Network
Headers = Iterable[tuple[bytes, bytes]]


class RefusedError(Exception):
    """Refused. status: of HTTP. reason: one word for counters. The text is safe to show and to log."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason = status, reason


class Person(NamedTuple):
    """token: what the forms of this person must carry."""

    name: str
    role: Role
    token: str

    @property
    def may_act(self) -> bool:
        return self.role in (DESK, ADMIN)

    @property
    def may_audit(self) -> bool:
        return self.role == ADMIN


class Access(Protocol):
    """Identifies the sender of a request."""

    #: Whether the page has a login form.
    login: bool

    def person(self, peer: str | None, headers: Headers, cookie: str, now: float) -> Person | None:
        """The person, or None. peer: the address of the connection, None for a Unix socket. Raises `RefusedError`."""


class TooManyAttemptsError(Exception):
    """Too many attempts. wait_s: until the next one is allowed."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many attempts; {wait_s:.0f} s until the next")
        self.wait_s = wait_s


class ByPassword:
    """Names and password hashes from the configuration, sessions by cookie."""

    login = True

    def __init__(self, users: Iterable[User], sessions: Sessions, header: bytes) -> None:
        self._users = {one.name: one for one in users}
        self._sessions, self._header = sessions, header
        self._attempts = Attempts()
        # One at a time: many guesses at once cost no more memory and no more than one core.
        self._one = asyncio.Semaphore(1)

    def person(self, _peer: str | None, headers: Headers, cookie: str, now: float) -> Person | None:
        """Raises `RefusedError` if a header claims an identity."""
        if any(name == self._header for name, _ in headers):
            raise RefusedError(403, "header", "an identity in a header is not accepted here")
        session: Session | None = self._sessions.find(cookie, now) if cookie else None
        return Person(session.user, session.role, session.token) if session else None

    async def log_in(self, address: str, name: str, given: str, now: float) -> str | None:
        """The secret for the cookie of a new session; None for a wrong login. Raises `TooManyAttemptsError`."""
        wait = self._attempts.take(address, name, now)
        if wait:
            raise TooManyAttemptsError(wait)
        known = self._users.get(name)
        async with self._one:
            good = await asyncio.to_thread(password.matches, given, known.hash if known else password.DUMMY)
        if not known or not good:
            return None
        self._attempts.succeeded(address, name)
        return self._sessions.begin(known.name, known.role, now)

    @property
    def has_users(self) -> bool:
        """Whether there are users with a password."""
        return bool(self._users)

    def knows(self, name: str) -> bool:
        """Whether a user has this name."""
        return name in self._users

    def is_like_one(self, name: str) -> bool:
        """Whether a user has this name, but for upper and lower case: people could not tell the two apart."""
        return name.lower() in {known.lower() for known in self._users}

    def begin(self, name: str, role: Role, now: float) -> str:
        """The secret for the cookie of a new session, for a user that an identity provider has named."""
        return self._sessions.begin(name, role, now)

    def log_out(self, cookie: str) -> None:
        self._sessions.end(cookie)


class ByProxy:
    """A reverse proxy at one of `trusted`, or at the other end of a Unix socket, names the user.

    groups_header, desk_group, admin_group: members of these groups have role desk and admin, others role viewer; "" for
    none. viewer_group: if not empty, who is in no group is refused.
    """

    login = False

    def __init__(
        self,
        trusted: tuple[Network, ...],
        header: bytes,
        groups_header: bytes,
        desk_group: str,
        viewer_group: str,
        admin_group: str = "",
    ) -> None:
        self._trusted, self._header, self._groups_header = trusted, header, groups_header
        self._desk_group, self._viewer_group, self._admin_group = desk_group, viewer_group, admin_group
        self._key = secrets.token_bytes(32)

    def person(self, peer: str | None, headers: Headers, _cookie: str, _now: float) -> Person | None:
        """Raises `RefusedError` if the connection is not from the proxy, or the proxy names no user."""
        if peer is not None and not _within(peer, self._trusted):
            raise RefusedError(
                403, "untrusted-proxy", "this page is behind a proxy; this connection does not come from it"
            )
        found: dict[bytes, list[str]] = {}
        for header, value in headers:
            found.setdefault(header, []).append(value.decode("latin-1").strip())
        names = found.get(self._header, [])
        if len(names) != 1 or not NAME.fullmatch(names[0]):
            raise RefusedError(403, "nobody", "the proxy does not name a user")
        groups = {word.strip() for line in found.get(self._groups_header, []) for word in re.split(r"[,;|]", line)}
        role: Role = DESK if self._desk_group in groups else VIEWER
        if self._admin_group and self._admin_group in groups:
            role = ADMIN
        if role == VIEWER and self._viewer_group and self._viewer_group not in groups:
            raise RefusedError(403, "group", "you are not in a group that may see this page")
        # A session that could hold a token does not exist: the token belongs to the name, until this process ends.
        token = hmac.new(self._key, names[0].encode(), hashlib.sha256).hexdigest()
        return Person(names[0], role, token)


class AddressOf(NamedTuple):
    """The address of a browser: that of the connection, or the one in `header` (b"" for none) from a proxy at one of
    `trusted` or at the other end of a Unix socket. The proxy wrote the last entry; clients may have written the others.
    """

    trusted: tuple[Network, ...] = ()
    header: bytes = b""

    def __call__(self, peer: str | None, headers: Headers) -> str:
        if self.header and (peer is None or _within(peer, self.trusted)):
            values = [value for name, value in headers if name == self.header]
            try:
                return str(ip_address(values[-1].decode("ascii").rpartition(",")[2].strip()))
            except (ValueError, IndexError):
                pass  # it names no address
        return peer or "unix"


def _within(peer: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def same_origin(headers: Mapping[str, str], scheme: str, url: str) -> bool:
    """Whether a POST comes from a page of this site, by Origin and Sec-Fetch-Site.

    url: the URL that browsers use, if it is not `scheme` and Host. A program that sends neither header is accepted: its
    form needs a token all the same.
    """
    site = headers.get("sec-fetch-site", "")
    if site and site != "same-origin":
        return False
    origin = headers.get("origin", "")
    if not origin:
        return True
    return hmac.compare_digest(origin.encode(), (url or f"{scheme}://{headers.get('host', '')}").encode())
