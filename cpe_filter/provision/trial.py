"""What must work after a change of the policy if it worked before, and the wait for it.

Knows the ruleset's presence, the control socket, and TCP. Must not know documents or files. Nothing that did not work
before the change can fail a trial: a collector that is down says nothing about a policy.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from cpe_filter.enforce import nftables
from cpe_filter.live.control_socket import holder_of
from cpe_filter.policy.model import Policy

#: Seconds until a new policy can be confirmed, after which it is taken back, and between two looks.
SETTLE_S, LIMIT_S, LOOK_S = 20.0, 60.0, 5.0
_CONNECT_S = 4.0

Looks = dict[str, bool]


def look(policy: Policy) -> Looks:
    """What works now, by name. A thing that the policy does not have is left out."""
    found: Looks = {"filter": holder_of(policy.status.control_socket) != 0, "rules": _rules()}
    if policy.report.url:
        parts = urlsplit(policy.report.url)
        host, port = parts.hostname or "", parts.port or 443
        addresses = _addresses(host, port)
        if not host.replace(".", "").isdigit() and ":" not in host:
            found["dns"] = bool(addresses)
        found["collector"] = any(_reaches(*one) for one in addresses[:4])
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
        if passed >= limit_s:
            return failing or ["time"]
        sleep(min(LOOK_S, max(0.1, limit_s - passed)))


def _rules() -> bool:
    try:
        return nftables.is_installed()
    except nftables.KernelError:
        return False


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    try:
        return [(family, address) for family, _, _, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)]
    except OSError:
        return []


def _reaches(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.settimeout(_CONNECT_S)
            tried.connect(address)
        return True
    except OSError:
        return False
