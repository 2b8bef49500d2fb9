"""How many connections a client of the responder may hold, so that no device takes all.

A client address holds at most an eighth of the connections. An IPv6 /64 holds at most half, because one host can use
many addresses of it. Knows addresses. Must not know sockets or SMTP.
"""

from __future__ import annotations

import socket


class Shares:
    """The connections that are open, in all and for each group that they count against."""

    def __init__(self, most: int) -> None:
        self._most, self._open = most, 0
        self._held: dict[bytes, int] = {}

    def take(self, groups: tuple[bytes, ...]) -> bool:
        """Whether one more may be opened; then it counts until `give_back`."""
        if self._open >= self._most or any(self._held.get(group, 0) >= self._share(group) for group in groups):
            return False
        self._open += 1
        for group in groups:
            self._held[group] = self._held.get(group, 0) + 1
        return True

    def is_quiet(self, address: bytes) -> bool:
        """Whether this address holds but one, and half of all are free: then a connection may take its time."""
        return self._held.get(address, 0) <= 1 and self._open <= self._most // 2

    def give_back(self, groups: tuple[bytes, ...]) -> None:
        self._open -= 1
        for group in groups:
            self._held[group] -= 1
            if not self._held[group]:
                del self._held[group]

    def _share(self, group: bytes) -> int:
        """group: an address, or the 8 bytes of its /64."""
        return max(1, self._most // (2 if len(group) == 8 else 8))


def groups_of(family: int, host: str) -> tuple[bytes, ...]:
    """What a client's connections count against: its address and, with IPv6, its /64."""
    address = socket.inet_pton(family, host.partition("%")[0])
    return (address,) if len(address) == 4 else (address, address[:8])
