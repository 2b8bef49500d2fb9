"""Which device goes on under another MAC: randomised MACs, told by what the device calls itself in DHCP.

Knows leases and the table of devices. Must not know lease files. Everything in a lease is claimed by the device that
asks for it, so a claim alone moves nothing. A device goes on under a new MAC only where

- both MACs are locally administered (bit 0x02): what was burnt in does not change;
- both leases have the same client identifier (or DUID, RFC 4361), or the same name;
- the old MAC is gone: it has no lease any more, the one it had would have run out by now, and it has sent no mail since
  the new one came. Waiting for the end matters: a stranger can take a lease over by its client identifier, or release
  it, but its owner asks again half-way;
- nobody else bears that identity: two leases renewed side by side show that it belongs to two devices, for good.

The device is re-keyed, not copied: memory stays bounded, and whoever comes back under the old MAC starts anew. Where
the new MAC has a device already, the one with the worse standing goes on. A MAC takes part in this once.
"""

from __future__ import annotations

from collections.abc import Iterable

from cpe_filter.detect.device import Device, Devices
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Leases that count; dnsmasq gives out 1,000 at most unless told otherwise.
LEASES = 1024
#: Seconds that a lease must have been gone: a lease file that is just being written looks shorter than it is.
GONE_S = 60.0
#: Seconds that an expiry moves at least when a lease is renewed: odhcpd's times are uncertain by one.
_RENEWED_S = 30.0
_SHARED = 256
_MOVED = 512


class Lease(NamedTuple):
    """One DHCP lease. hwaddr: the MAC, b"" where the server does not say (DHCPv6). addresses: packed.

    name: what the device calls itself, cleaned; "" for none. client_id: DUID or client identifier, b"" for none or
    for one that only repeats the MAC. expires: POSIX seconds, 0 for never.
    """

    hwaddr: bytes
    addresses: tuple[bytes, ...]
    name: str
    client_id: bytes
    expires: float


class Continued(NamedTuple):
    """`device` was known as `before` (a key) and goes on under the key that it has now. why: what the leases share."""

    time: float
    device: Device
    before: bytes
    why: str


class _Tenure:
    """A MAC's time as a holder of leases. Seconds of the engine's clock; `ended` is None while it lasts.

    until: when its lease runs out.
    """

    __slots__ = ("client_id", "ended", "first", "name", "renewed", "until")

    def __init__(self, time: float) -> None:
        self.first = self.renewed = time
        self.ended: float | None = None
        self.until = time
        self.name = ""
        self.client_id = b""

    def identities(self) -> list[tuple[str, bytes]]:
        """What it can be recognised by, the surer one first."""
        found = [("client identifier", self.client_id)] if self.client_id else []
        # A name with a replaced character might have been another one.
        return [*found, ("name", self.name.lower().encode())] if self.name and "?" not in self.name else found


class Succession:
    """Give it all leases now and then. Bounded: `LEASES` live ones, and gone ones of known devices."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._tenures: dict[bytes, _Tenure] = {}
        self._shared: dict[tuple[str, bytes], None] = {}
        self._moved: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._tenures)

    def leases(self, leases: Iterable[Lease], time: float, wall: float) -> list[Continued]:
        """These are all leases there are now. Returns the devices that go on under another MAC by it.

        time: the engine's clock; wall: POSIX seconds, which leases end by.
        """
        self._note(leases, time, wall)
        bearers: dict[tuple[str, bytes], list[bytes]] = {}
        for mac, tenure in self._tenures.items():
            for identity in tenure.identities():
                bearers.setdefault(identity, []).append(mac)
        for identity, macs in bearers.items():
            if len(macs) > 1:
                self._find_shared(identity, macs)
        moves = []
        for mac, tenure in list(self._tenures.items()):
            if tenure.ended is None and mac not in self._moved:
                move = self._move(mac, tenure, bearers, time)
                if move is not None:
                    moves.append(move)
        return moves

    def _note(self, leases: Iterable[Lease], time: float, wall: float) -> None:
        live: dict[bytes, Lease] = {}
        for lease in leases:
            if len(lease.hwaddr) == 6 and lease.hwaddr[0] & 3 == 2 and len(live) < LEASES:
                live[lease.hwaddr] = lease
        for mac, lease in live.items():
            until = time + lease.expires - wall if lease.expires else float("inf")
            tenure = self._tenures.get(mac)
            if tenure is None or tenure.ended is not None:
                tenure = self._tenures[mac] = _Tenure(time)
            elif until > tenure.until + _RENEWED_S:
                tenure.renewed = time
            tenure.until = until
            # dnsmasq takes a name away from a lease when another claims it: what it was counts on.
            tenure.name = lease.name or tenure.name
            tenure.client_id = lease.client_id or tenure.client_id
        for mac, tenure in list(self._tenures.items()):
            if mac not in live:
                if tenure.ended is None:
                    tenure.ended = time
                if self._devices.find(mac) is None:
                    del self._tenures[mac]

    def _find_shared(self, identity: tuple[str, bytes], macs: list[bytes]) -> None:
        """Two leases with one identity, the older one renewed after the newer came: two devices."""
        live = [self._tenures[mac] for mac in macs if self._tenures[mac].ended is None]
        newest = max(live, key=lambda tenure: tenure.first, default=None)
        if newest and any(tenure is not newest and tenure.renewed > newest.first for tenure in live):
            _remember(self._shared, identity, _SHARED)

    def _move(
        self, mac: bytes, tenure: _Tenure, bearers: dict[tuple[str, bytes], list[bytes]], time: float
    ) -> Continued | None:
        for identity in tenure.identities():
            others = [other for other in bearers[identity] if other != mac]
            if identity in self._shared or len(others) != 1:
                continue  # nobody to follow, or no telling whom
            (before,) = others
            old, device = self._tenures[before], self._devices.find(before)
            if old.ended is None or old.first >= tenure.first or time < max(old.ended + GONE_S, old.until):
                continue
            if device is None or device.last_seen >= tenure.first:
                continue
            _remember(self._moved, before, _MOVED)
            _remember(self._moved, mac, _MOVED)
            return Continued(time, self._devices.rekey(before, mac), before, identity[0])
        return None


def _remember(known: dict[Any, None], what: object, limit: int) -> None:
    """A set that forgets what was told longest ago."""
    known.pop(what, None)
    known[what] = None
    if len(known) > limit:
        del known[next(iter(known))]
