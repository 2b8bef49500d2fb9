"""A device and what is known of it, under the key that `identity` has found for it.

Knows keys and per-device memory. Must not know packets or policy. Bounded: `DEVICES` devices; when
full, the one that is clear, has the lowest score and was seen longest ago makes room, never a conviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from cpe_filter.detect.neighbours import Neighbours
from cpe_filter.detect.score import CLEAR, COMPROMISED, Score

DEVICES = 256
ADDRESSES = 32

#: Lengths of the keys of hosts behind a second router.
BEHIND = (10, 14)
#: The key of the router itself. Others have 6 bytes (MAC), 10 or 14 (MAC and an IPv4 address or a /64 behind it), 4 or
#: 16 (address): whatever MAC and address a device makes up, it cannot come to this one.
ROUTER = b"the router itself"


class Device:
    """One device and what is known of it. Times are seconds of the engine's clock."""

    __slots__ = (
        "addresses",
        "blamed",
        "buckets",
        "burst",
        "compromised_at",
        "connections",
        "excused",
        "first_seen",
        "helos",
        "key",
        "last_seen",
        "messages",
        "mx_queries",
        "neighbours",
        "networks",
        "proven",
        "recipients",
        "refused",
        "score",
        "sender_domains",
        "sessions",
        "suspected_at",
    )

    def __init__(self, key: bytes, time: float) -> None:
        self.key = key
        self.first_seen = self.last_seen = time
        self.addresses: list[bytes] = []
        self.connections = 0
        self.sessions = 0
        self.messages = 0
        self.mx_queries = 0
        self.recipients = 0
        self.refused = 0
        self.proven = False  # both ends have completed a handshake of its since the start
        self.networks = 0  # new neighbourhoods of servers; a large number counts those forgotten again
        self.neighbours = Neighbours()
        # Only whether one is new matters: Python's hash of strings, keyed anew with every start.
        self.helos: set[int] = set()
        self.sender_domains: set[int] = set()
        self.blamed = self.excused = 0.0
        self.burst: list[float] = []
        self.score = Score()
        self.suspected_at: tuple[float, int] | None = None
        self.compromised_at: tuple[float, int] | None = None
        self.buckets: dict[str, tuple[float, float]] = {}

    @property
    def name(self) -> str:
        """For people: MAC, address, both, or `router`."""
        return device_name(self.key)

    @property
    def mac(self) -> bytes | None:
        """The MAC that its packets carry: its own, or that of a router before it. None where there is none."""
        return self.key[:6] if len(self.key) in (6, *BEHIND) else None

    def seen(self, time: float, address: bytes) -> None:
        """A packet of this device."""
        self.last_seen = time
        if address not in self.addresses:
            if len(self.addresses) >= ADDRESSES:
                del self.addresses[0]
            self.addresses.append(address)


def device_name(key: bytes) -> str:
    """A key as people write it."""
    if key == ROUTER:
        return "router"
    if len(key) in (4, 16):
        return str(ip_address(key))
    behind = ""
    if len(key) in BEHIND:
        behind = f" {ip_address(key[6:])}" if len(key) == 10 else f" {ip_address(key[6:] + bytes(8))}/64"
    return key[:6].hex(":") + behind


class Devices:
    """All devices, bounded."""

    def __init__(self, limit: int = DEVICES) -> None:
        self.limit = limit
        self._devices: dict[bytes, Device] = {}

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def __len__(self) -> int:
        return len(self._devices)

    def find(self, key: bytes) -> Device | None:
        return self._devices.get(key)

    def get(self, key: bytes, time: float) -> Device:
        """The device of this key, a new one if need be."""
        device = self._devices.get(key)
        if device is None:
            device = Device(key, time)
            if len(self._devices) < self.limit or self._make_room():
                self._devices[key] = device
        return device

    def restore(self, devices: Iterable[Device]) -> None:
        """These were known before a restart: as far as there is room, and in nobody's place."""
        for device in devices:
            if len(self._devices) < self.limit:
                self._devices.setdefault(device.key, device)

    def behind(self, mac: bytes) -> int:
        """How many hosts are known behind this MAC."""
        return sum(1 for key in self._devices if len(key) in BEHIND and key.startswith(mac))

    def rekey(self, before: bytes, after: bytes) -> Device:
        """The device of key `before` goes on under `after`. Of two, the one of worse standing. Raises KeyError."""
        device = self._devices.pop(before)
        other = self._devices.pop(after, None)
        if other is not None and _usefulness(other) > _usefulness(device):
            device = other
        device.key = after
        self._devices[after] = device
        return device

    def _make_room(self) -> bool:
        """Forgets the least useful device; False where all are convicted: then the new one is not remembered."""
        least = min(self._devices.values(), key=_usefulness)
        if least.score.standing == COMPROMISED:
            return False
        del self._devices[least.key]
        return True


def _usefulness(device: Device) -> tuple[bool, bool, float, float]:
    standing = device.score.standing
    return standing == COMPROMISED, standing != CLEAR, device.score.value, device.last_seen
