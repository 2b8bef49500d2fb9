"""Which device: MAC first, the address where there is no MAC; all addresses of one MAC are one device.

Knows identities and per-device memory. Must not know packets or policy. Bounded: `DEVICES` devices; when
full, the one that is clear, has the lowest score and was seen longest ago makes room, never a conviction.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from cpe_filter.detect.score import CLEAR, COMPROMISED, Score

DEVICES = 256
ADDRESSES = 32
DESTINATIONS = 1024

#: The key of the router itself: as long as no MAC and no address is.
ROUTER = b"the router"


class Device:
    """One device and what is known of it. Times are seconds of the engine's clock."""

    __slots__ = (
        "addresses",
        "buckets",
        "burst",
        "compromised_at",
        "connections",
        "destinations",
        "first_seen",
        "helos",
        "key",
        "last_seen",
        "messages",
        "prefixes",
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
        self.recipients = 0
        self.refused = 0
        self.destinations: set[bytes] = set()
        self.prefixes: dict[bytes, None] = {}  # in the order of meeting: a set would forget another one every run
        self.helos: set[str] = set()
        self.sender_domains: set[str] = set()
        self.burst: list[float] = []
        self.score = Score()
        self.suspected_at: tuple[float, int] | None = None
        self.compromised_at: tuple[float, int] | None = None
        self.buckets: dict[str, tuple[float, float]] = {}

    @property
    def name(self) -> str:
        """For people: MAC, address, or `router`."""
        return device_name(self.key)

    def seen(self, time: float, address: bytes) -> None:
        """A packet of this device."""
        self.last_seen = time
        if address not in self.addresses:
            if len(self.addresses) >= ADDRESSES:
                del self.addresses[0]
            self.addresses.append(address)

    def meets(self, server: bytes) -> bool:
        """Remembers a server; True if its neighbourhood (/24, /48) is new to the device."""
        if len(self.destinations) < DESTINATIONS:
            self.destinations.add(server)
        prefix = server[:3] if len(server) == 4 else server[:6]
        if prefix in self.prefixes:
            return False
        if len(self.prefixes) >= DESTINATIONS:
            del self.prefixes[next(iter(self.prefixes))]
        self.prefixes[prefix] = None
        return True


def device_name(key: bytes) -> str:
    """A key as people write it."""
    if key == ROUTER:
        return "router"
    return key.hex(":") if len(key) == 6 else str(ip_address(key))


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

    def _make_room(self) -> bool:
        """Forgets the least useful device; False where all are convicted: then the new one is not remembered."""

        def usefulness(device: Device) -> tuple[bool, bool, float, float]:
            standing = device.score.standing
            return standing == COMPROMISED, standing != CLEAR, device.score.value, device.last_seen

        least = min(self._devices.values(), key=usefulness)
        if least.score.standing == COMPROMISED:
            return False
        del self._devices[least.key]
        return True
