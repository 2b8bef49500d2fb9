"""What must work after a change of the policy if it worked before, and the wait for it.

Knows the ruleset's presence, the control socket, TCP, and the devices' mail (senders). Must not know documents or
files. Nothing that did not work before the change can fail a trial: a collector that is down says nothing about a
policy. Names are resolved, and servers are tried, in a child process that has seconds for it, so a trial has an end
whatever the network does.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from cpe_filter.enforce import nftables
from cpe_filter.lean.forked import CallFailedError, call
from cpe_filter.live.control_socket import holder_of
from cpe_filter.policy.model import Policy
from cpe_filter.provision import senders
from cpe_filter.provision.running import lacks_documents

#: Seconds until a new policy can be confirmed, after which it is taken back, and between two looks. The policy before
#: is back within a minute: a look takes at most `_NETWORK_S` longer.
SETTLE_S, LIMIT_S, LOOK_S = 20.0, 50.0, 5.0
_CONNECT_S, _NETWORK_S = 3.0, 7.0
#: Servers of a kind that are tried.
_TRIED = 4
_SMTP = 25
#: It is not waited for: what is refused stays refused.
MAIL = "mail"
RELAY = "relay"

Looks = dict[str, bool]


class Looker:
    """Looks before and after a change. before: the policy that counts; after: the one that is tried."""

    def __init__(self, before: Policy, after: Policy) -> None:
        self._mode = before.filter.mode
        self._after = after
        self._senders = senders.in_status(before) if senders.compares(before, after) else None
        # Their reachability says something about a policy only if it changes them.
        old, new = _relays(before), _relays(after)
        self._relays = new if old and new and old != new else []
        self._relay_answered = False
        self._since = 0.0
        self.before = look(before, old if self._relays else [])
        if self._senders is not None:
            self.before[MAIL] = True

    def after(self) -> Looks:
        """What works now. Relays are tried until one has answered: a rollout must not be a flood of connections."""
        self._since = self._since or time.time()
        found = look(self._after, [] if self._relay_answered else self._relays)
        found["filter"] = found["filter"] and not lacks_documents(self._after, self._since)
        self._relay_answered = found.setdefault(RELAY, self._relay_answered)
        if self._senders is not None:
            now = senders.in_status(self._after)
            found[MAIL] = now is None or not senders.is_hurt(self._senders, now, self._mode)
        return found


def look(policy: Policy, relays: list[str]) -> Looks:
    """What works now, by name. A thing that the policy does not have is left out."""
    found: Looks = {"filter": holder_of(policy.status.control_socket) != 0, "rules": _rules()}
    parts = urlsplit(policy.report.url)
    host, port = parts.hostname or "", parts.port or 443
    if not host and not relays:
        return found
    try:
        found.update(call(lambda: _network(host, port, relays), OSError, _NETWORK_S))
    except (CallFailedError, OSError):
        found.update(dict.fromkeys(_names(host, relays), False))
    return found


def worse(before: Looks, after: Looks) -> list[str]:
    """What worked before and does not now."""
    return [name for name, works in before.items() if works and not after.get(name, False)]


def wait(
    before: Looks,
    look_again: Callable[[], Looks],
    limit_s: float = LIMIT_S,
    settle_s: float = SETTLE_S,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Waits until all works that did before, at least `settle_s`; returns what still fails after `limit_s`."""
    begun = now()
    while True:
        failing = worse(before, look_again())
        passed = now() - begun
        if not failing and passed >= settle_s:
            return []
        if passed >= limit_s or MAIL in failing:
            return failing or ["time"]
        sleep(min(LOOK_S, max(0.1, limit_s - passed)))


def _rules() -> bool:
    try:
        return nftables.is_installed()
    except nftables.KernelError:
        return False


def _names(host: str, relays: list[str]) -> list[str]:
    """What `_network` looks at."""
    is_name = bool(host) and not host.replace(".", "").isdigit() and ":" not in host
    return ["dns"] * is_name + ["collector"] * bool(host) + [RELAY] * bool(relays)


def _network(host: str, port: int, relays: list[str]) -> Looks:
    """Only in a child process: getaddrinfo has no limit of time."""
    found = dict.fromkeys(_names(host, relays), False)
    end = time.monotonic() + _NETWORK_S - 0.5
    if relays:
        found[RELAY] = _reaches_one([one for relay in relays[:_TRIED] for one in _addresses(relay, _SMTP)], end)
    if host:
        addresses = _addresses(host, port)
        found["collector"] = _reaches_one(addresses[:_TRIED], end)
        if "dns" in found:
            found["dns"] = bool(addresses)
    return found


def _relays(policy: Policy) -> list[str]:
    """The relays that are single addresses. Which address of a network answers is not known."""
    return [str(one.network_address) for one in policy.network.relays if one.prefixlen == one.max_prefixlen]


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    try:
        # As bytes: Python encodes text with its codec for names in other scripts, which needs python3-codecs.
        found = socket.getaddrinfo(host.encode("ascii"), port, 0, socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]
    except (OSError, UnicodeError):
        return []


def _reaches_one(addresses: list[tuple[int, tuple[object, ...]]], end: float) -> bool:
    """Whether one of these accepts a connection before `end`, of time.monotonic. All are tried at once."""
    tried = []
    try:
        for family, address in addresses:
            try:
                one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError:  # there is no IPv6
                continue
            tried.append(one)
            one.connect_ex(address)
        until = min(end, time.monotonic() + _CONNECT_S)
        waiting = list(tried)
        while waiting and time.monotonic() < until:
            _, ready, _ = select.select([], waiting, [], max(0.0, until - time.monotonic()))
            for one in ready:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    return True
                waiting.remove(one)
        return False
    except OSError:
        return False
    finally:
        for one in tried:
            one.close()
