"""Who is logged in, and limits of login attempts.

Knows random tokens and the clock of its caller. Must not know HTTP or passwords. Sessions are in memory: a restart ends
all of them. (Removing a user needs a restart, too.) Everything is bounded.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from cpe_filter.collect.intake.limits import Buckets, source
from cpe_filter.collect.users import Role

#: Sessions in all; the least recently used one ends first.
MAX_SESSIONS = 1000
#: Sessions of one user.
MAX_PER_USER = 20
#: Attempts from one address: at once, and per hour after that. Successful ones do not count: a whole desk may share an
#: address.
ADDRESS_BURST, ADDRESS_PER_HOUR = 10, 30
#: Attempts with one name, from any address.
NAME_BURST, NAME_PER_HOUR = 50, 120
_REMEMBERED = 10_000


@dataclass(slots=True)
class Session:
    """began, seen: seconds of the caller's clock. token: what the forms of this session carry."""

    user: str
    role: Role
    token: str
    began: float
    seen: float


class Sessions:
    """lasts_s: since the login. idle_s: since the last request."""

    def __init__(self, lasts_s: float, idle_s: float) -> None:
        self._lasts_s, self._idle_s = lasts_s, idle_s
        self._all: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, user: str, role: Role, now: float) -> str:
        """A new session: the secret for its cookie. Only a hash of it is kept."""
        own = [key for key, session in self._all.items() if session.user == user]
        for key in own[: max(0, len(own) - MAX_PER_USER + 1)]:
            del self._all[key]
        while len(self._all) >= MAX_SESSIONS:
            self._all.popitem(last=False)
        secret = secrets.token_urlsafe(32)
        self._all[_key(secret)] = Session(user, role, secrets.token_urlsafe(32), now, now)
        return secret

    def find(self, secret: str, now: float) -> Session | None:
        """The session of a cookie, if it is still valid; this counts as a use."""
        key = _key(secret)
        session = self._all.get(key)
        if session is None:
            return None
        if now - session.began >= self._lasts_s or now - session.seen >= self._idle_s:
            del self._all[key]
            return None
        session.seen = now
        self._all.move_to_end(key)
        return session

    def end(self, secret: str) -> None:
        self._all.pop(_key(secret), None)

    def __len__(self) -> int:
        return len(self._all)


class Attempts:
    """Limits guesses: by address (IPv6: by /64), and by name."""

    def __init__(self) -> None:
        self._addresses = Buckets(ADDRESS_PER_HOUR, ADDRESS_BURST, _REMEMBERED)
        self._names = Buckets(NAME_PER_HOUR, NAME_BURST, _REMEMBERED)

    def take(self, address: str, name: str, now: float) -> float:
        """Counts an attempt: 0 if it is allowed, else the seconds until one is."""
        wait = self._addresses.take(source(address), 1, now)
        # Only an attempt within the first limit counts for the second: one address cannot lock a name out for long.
        return wait or self._names.take(_key(name).hex(), 1, now)

    def succeeded(self, address: str, name: str) -> None:
        """An attempt was not a guess."""
        self._addresses.give_back(source(address), 1)
        self._names.give_back(_key(name).hex(), 1)


def _key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
