"""Devices that continue under another MAC: randomised MACs, recognised by the identity that a device has in DHCP.

Knows leases and the table of devices. Must not know lease files. A device claims everything in its lease itself, so a
claim alone moves nothing. A device continues under a new MAC only if

- both MACs are locally administered (bit 0x02), because a burnt-in MAC does not change;
- both leases have the same client identifier (or DUID, RFC 4361), or the same name;
- the old MAC is gone: it has no lease any more, the one it had would have expired by now, and it has sent no mail since
  the new one came. The wait matters: another host can take over a lease by its client identifier, or release it, but
  the owner renews it half-way;
- no other device has that identity. Two leases that are renewed at the same time show that it belongs to two devices,
  and it is never used again.

The device is re-keyed, not copied. So memory stays bounded, and a device that returns under the old MAC starts fresh.
If the new MAC has a device already, the one with the worse standing stays. A MAC takes part in this once.
"""

from __future__ import annotations

from collections.abc import Iterable

from cpe_filter.detect.device import Device, Devices
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: Leases that count; dnsmasq assigns at most 1,000 by default.
LEASES = 1024
#: Seconds that a lease must have been gone, because a lease file that is being written looks shorter than it is.
GONE_S = 60.0
#: The least seconds by which a renewal moves the expiry: odhcpd's times are uncertain by one.
_RENEWED_S = 30.0
_SHARED = 256
_MOVED = 512


class Lease(NamedTuple):
    """One DHCP lease. hwaddr: the MAC, b"" where the server does not say (DHCPv6). addresses: packed.

    name: the device's name of its own, cleaned; "" for none. client_id: DUID or client identifier, b"" for none or
    for one that only repeats the MAC. expires: POSIX seconds, 0 for never. length: seconds, if the server says how long
    a lease lasts and not when it ends (dnsmasq on a router without a clock), else 0.
    """

    hwaddr: bytes
    addresses: tuple[bytes, ...]
    name: str
    client_id: bytes
    expires: Posix
    length: float = 0.0


class DeviceRekeyed(NamedTuple):
    """`device` had the key `before` and continues under its current key. why: what the leases have in common."""

    time: PacketTime
    device: Device
    before: bytes
    why: str


class LeaseHistory:
    """A MAC's time as a holder of leases. Seconds of the engine's clock; `ended` is None while it lasts.

    until: when its lease runs out.
    """

    __slots__ = ("client_id", "ended", "first", "name", "renewed", "until")

    def __init__(self, time: PacketTime) -> None:
        self.first = self.renewed = time
        self.ended: PacketTime | None = None
        self.until = time
        self.name = ""
        self.client_id = b""

    def identities(self) -> list[tuple[str, bytes]]:
        """The identities by which it can be recognised, the more reliable one first."""
        found = [("client identifier", self.client_id)] if self.client_id else []
        # A name with a replaced character might have been another one.
        return [*found, ("name", self.name.lower().encode())] if self.name and "?" not in self.name else found


class MacRotation:
    """Pass it all leases now and then. Bounded: `LEASES` live ones, and ended ones of known devices."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._tenures: dict[bytes, LeaseHistory] = {}
        self._shared: dict[tuple[str, bytes], None] = {}
        self._moved: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._tenures)

    def leases(self, leases: Iterable[Lease], time: PacketTime, wall: Posix) -> list[DeviceRekeyed]:
        """Takes all current leases. Returns the devices that now continue under another MAC.

        time: the engine's clock; wall: POSIX seconds, the clock of the leases' expiry.
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

    def _note(self, leases: Iterable[Lease], time: PacketTime, wall: Posix) -> None:
        live: dict[bytes, Lease] = {}
        for lease in leases:
            if len(lease.hwaddr) == 6 and lease.hwaddr[0] & 3 == 2 and len(live) < LEASES:
                live[lease.hwaddr] = lease
        for mac, lease in live.items():
            self._note_lease(mac, lease, time, wall)
        for mac, tenure in list(self._tenures.items()):
            if mac not in live:
                if tenure.ended is None:
                    tenure.ended = time
                if self._devices.find(mac) is None:
                    del self._tenures[mac]

    def _note_lease(self, mac: bytes, lease: Lease, time: PacketTime, wall: Posix) -> None:
        tenure = self._tenures.get(mac)
        is_known = tenure is not None and tenure.ended is None
        if tenure is None or not is_known:
            tenure = self._tenures[mac] = LeaseHistory(time)
        if lease.length:
            # It may have been renewed just now, and has been within its length.
            until = PacketTime(time + lease.length)
            tenure.renewed = max(tenure.renewed, PacketTime(time - lease.length))
        else:
            until = PacketTime(time + lease.expires - wall if lease.expires else float("inf"))
            if is_known and until > tenure.until + _RENEWED_S:
                tenure.renewed = time
        tenure.until = until
        # dnsmasq removes a name from a lease when another claims it. The old name still counts.
        tenure.name = lease.name or tenure.name
        tenure.client_id = lease.client_id or tenure.client_id

    def _find_shared(self, identity: tuple[str, bytes], macs: list[bytes]) -> None:
        """If two leases have one identity and the older was renewed after the newer came, these are two devices."""
        live = [self._tenures[mac] for mac in macs if self._tenures[mac].ended is None]
        newest = max(live, key=lambda tenure: tenure.first, default=None)
        if newest and any(tenure is not newest and tenure.renewed > newest.first for tenure in live):
            _remember(self._shared, identity, _SHARED)

    def _move(
        self, mac: bytes, tenure: LeaseHistory, bearers: dict[tuple[str, bytes], list[bytes]], time: PacketTime
    ) -> DeviceRekeyed | None:
        for identity in tenure.identities():
            others = [other for other in bearers[identity] if other != mac]
            if identity in self._shared or len(others) != 1:
                continue  # no predecessor, or several
            (before,) = others
            old, device = self._tenures[before], self._devices.find(before)
            if old.ended is None or old.first >= tenure.first or time < max(old.ended + GONE_S, old.until):
                continue
            if device is None or device.last_seen >= tenure.first:
                continue
            _remember(self._moved, before, _MOVED)
            _remember(self._moved, mac, _MOVED)
            return DeviceRekeyed(time, self._devices.rekey(before, mac), before, identity[0])
        return None


def _remember(known: dict[Any, None], what: object, limit: int) -> None:
    """Adds to a set that drops its oldest members."""
    known.pop(what, None)
    known[what] = None
    if len(known) > limit:
        del known[next(iter(known))]
