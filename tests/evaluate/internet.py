"""The mail servers of a simulated Internet: the how-many-th domain -> its MX and its manners.

Knows how mail servers are spread and how many greylist, offer TLS, are gone or refuse home lines. Must not know
senders. Addresses are of 240.0.0.0/4, reserved: nobody's.

Sources: STARTTLS at 80-95 % of MXes (the brief's range, after Google's transparency report); greylisting, dead domains
and the weight of the large providers are judgement. GMX and others refuse home lines at the banner (detection.md).
"""

from __future__ import annotations

import random
from typing import NamedTuple

#: The large providers are domains 0 to 4, and answer at so many neighbourhoods (/24) each; judgement.
BIG = 5
_NEIGHBOURHOODS = 6
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "indigo", "juniper", "krypton")


class Server(NamedTuple):
    """One domain's mail server. fate: up, lost (no answer), closed (refuses connections)."""

    domain: str
    addresses: tuple[bytes, ...]
    tls: bool
    fate: str
    greylists: bool
    refuses_home: bool
    at_banner: bool


class Internet:
    """All servers; each is made when it is first asked for. Arguments: shares of the servers."""

    def __init__(
        self,
        rng: random.Random,
        tls: tuple[float, float] = (0.80, 0.95),
        greylisting: tuple[float, float] = (0.03, 0.12),
        gone: tuple[float, float] = (0.005, 0.02),
        refusing_home: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._rng = rng
        self._servers: dict[int, Server] = {}
        self._tls = rng.uniform(*tls)
        self._greylisting = rng.uniform(*greylisting)
        self._gone = rng.uniform(*gone)
        self._refusing_home = rng.uniform(*refusing_home)
        self._base = rng.randrange(1 << 12) << 16

    def server(self, number: int) -> Server:
        found = self._servers.get(number)
        if found is None:
            found = self._servers[number] = self._make(number)
        return found

    def _make(self, number: int) -> Server:
        rng = self._rng
        if number < BIG:
            addresses = tuple(
                self._address(number * _NEIGHBOURHOODS + n, 26 + m) for n in range(_NEIGHBOURHOODS) for m in range(2)
            )
            # The large ones do not greylist, and refuse home lines now and then only.
            home = rng.random() < self._refusing_home * 0.7 if self._refusing_home < 1 else True
            return Server(f"provider{number}.example", addresses, True, "up", False, home, False)
        draw = rng.random()
        fate = "up" if draw > self._gone else "lost" if draw > 0.35 * self._gone else "closed"
        name = f"{_WORDS[number % 11]}{number}.{'com' if number % 3 else 'example'}"
        return Server(
            name,
            (self._address(64 + number, 25),),
            rng.random() < self._tls,
            fate,
            rng.random() < self._greylisting,
            rng.random() < self._refusing_home,
            rng.random() < 0.25,
        )

    def _address(self, neighbourhood: int, host: int) -> bytes:
        return (0xF0000000 + ((self._base + neighbourhood) << 8 & 0x0FFFFF00) + host).to_bytes(4, "big")
