"""A device and what is known of it, under the key that `identity` has found for it.

Knows keys and per-device memory. Must not know packets or policy, nor which devices are strangers (see home). Bounded:
`DEVICES` devices and the home's collective one. When the table is full, a stranger is dropped before a device with a
lease or a past: first one that never spoke, then a clear one with the lowest score that was seen longest ago, never a
convicted one. A stranger replaces only another stranger. One that has not spoken replaces only one that has not either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, Score, SharedScore
from cpe_filter.detect.server_networks import ServerNetworks
from cpe_filter.lean.clocks import PacketTime

DEVICES = 256
ADDRESSES = 32

#: Lengths of the keys of hosts behind a second router.
BEHIND = (10, 14)
#: The key of the router itself. Other keys have 6 bytes (MAC), 10 or 14 (MAC and an IPv4 address or a /64 behind it), 4
#: or 16 (address), so no device can get this one, whatever MAC and address it makes up.
ROUTER = b"the router itself"
#: The key of the collective device of the home, to which the strangers' evidence is added (see home).
HOME = b"an unknown device of this home"
#: The word that people may write for it.
HOME_WORD = "home"
#: Keys that are neither a MAC nor an address.
RESERVED = (ROUTER, HOME)


#: Token buckets by the name of their limit: (tokens, seconds of the engine's clock when there were so many).
Buckets = dict[str, tuple[float, float]]


class Device:
    """One device and what is known of it. Times are seconds of the engine's clock.

    home: the home's collective device while this one is a stranger, else None. shares: shared token buckets from which
    it also takes tokens. added: nats that it has added to the home's score (see home).
    """

    __slots__ = (
        "added",
        "addresses",
        "borrowed",
        "rejections_for_cause",
        "buckets",
        "burst",
        "busy",
        "compromised_at",
        "connections",
        "dhcp_class",
        "rejections_for_line_type",
        "first_seen",
        "helos",
        "home",
        "hour",
        "key",
        "last_seen",
        "messages",
        "mx_queries",
        "server_networks",
        "networks",
        "notice",
        "notice_elsewhere",
        "operators",
        "proven",
        "recipients",
        "refused",
        "score",
        "seen_names",
        "served_at",
        "sessions",
        "shares",
        "submissions",
        "suspected_at",
        "unusual_at",
    )

    def __init__(self, key: bytes, time: PacketTime) -> None:
        self.key = key
        self.first_seen = self.last_seen = time
        self.addresses: list[bytes] = []
        self.borrowed: tuple[bytes, ...] = ()  # MACs with which it has spoken, and which answer for another's address
        self.connections = 0
        self.sessions = 0
        self.messages = 0
        self.mx_queries = 0
        self.recipients = 0
        self.refused = 0
        self.proven = False  # both ends have completed a handshake of its since the start
        self.networks = 0  # new neighbourhoods of servers; a large number counts those forgotten again
        self.server_networks = ServerNetworks()
        self.dhcp_class = ""  # what it is by its DHCP request (home.dhcp_class): shown, never evidence
        self.served_at = 0.0  # when it last answered mail from outside, as far as is known
        self.submissions = (0, 0, 0)  # if many: servers, connections and failures at submission ports
        #: How often people have opened the notice at it, their last answer, and its quarantine (live.notify).
        self.notice = (0, "", "")
        #: The same at other devices of the home: how often, and whether people answered there that they have seen it.
        self.notice_elsewhere = (0, False)
        self.operators = b""  # of the servers it has dealt with, see detect.unusual
        # Only whether one is new matters: Python's hash of strings, with a new key at every start.
        self.helos: list[int] = []  # of some HELO names, with how many new networks heard them in the last byte
        self.seen_names: tuple[list[int], list[int], list[int]] = ([], [], [])  # HELO, its domain, sender's domain
        self.rejections_for_cause = self.rejections_for_line_type = 0.0
        self.burst: list[float] = []
        self.hour = (0.0, 0)  # when an hour began, and new networks in it
        self.busy: list[float] = []  # hours with many
        self.score = Score()
        self.suspected_at: tuple[PacketTime, int] | None = None
        self.compromised_at: tuple[PacketTime, int] | None = None
        self.unusual_at: tuple[PacketTime, int] | None = None
        self.buckets: Buckets = {}
        self.home: Collective | None = None
        self.shares: tuple[Buckets, ...] = ()
        self.added = 0.0

    @property
    def name(self) -> str:
        """For people: MAC, address, both, `router`, or `an unknown device of this home`."""
        return device_name(self.key)

    @property
    def mac(self) -> bytes | None:
        """The MAC that its packets carry: its own, or that of a router in front of it. None if there is none."""
        return self.key[:6] if len(self.key) in (6, *BEHIND) else None

    def busy_hour(self, time: PacketTime, hour: float, many: int, past: float) -> int:
        """A new network: how many hours within the `past` seconds had so many, if this one makes one; else 0."""
        begun, count = self.hour
        if not 0 <= time - begun < hour:
            begun, count = time, 0
        self.hour = (begun, count + 1)
        if count + 1 != many:
            return 0
        self.busy = [t for t in self.busy if 0 <= time - t < past][-23:]
        self.busy.append(time)
        return len(self.busy)

    def seen(self, time: PacketTime, address: bytes) -> None:
        """A packet of this device."""
        self.last_seen = time
        if address not in self.addresses:
            if len(self.addresses) >= ADDRESSES:
                del self.addresses[0]
            self.addresses.append(address)


class Collective(Device):
    """What is known of the home's strangers together."""

    __slots__ = ("shared",)

    def __init__(self, time: PacketTime) -> None:
        super().__init__(HOME, time)
        self.score = self.shared = SharedScore()


def device_name(key: bytes) -> str:
    """A key as people write it."""
    if key == ROUTER:
        return "router"
    if key == HOME:
        return HOME.decode()
    if len(key) in (4, 16):
        return str(ip_address(key))
    behind = ""
    if len(key) in BEHIND:
        behind = f" {ip_address(key[6:])}" if len(key) == 10 else f" {ip_address(key[6:] + bytes(8))}/64"
    return key[:6].hex(":") + behind


class Devices:
    """All devices, bounded. `home` is the collective one. It takes no place in the table and is never dropped."""

    def __init__(self, limit: int = DEVICES) -> None:
        self.limit = limit
        self.home = Collective(PacketTime(0.0))
        self._devices: dict[bytes, Device] = {}
        self._silent: dict[bytes, None] = {}  # the strangers among them that had not spoken; the oldest first
        self._accused = False

    def __iter__(self) -> Iterator[Device]:
        """The devices, and the home's collective one once it has been suspected."""
        yield from self._devices.values()
        self._accused = self._accused or self.home.score.standing != CLEAR
        if self._accused:
            yield self.home

    def __len__(self) -> int:
        return len(self._devices)

    def known(self) -> Iterator[Device]:
        """All that is to survive a restart."""
        yield from self._devices.values()
        if self.home.connections:
            yield self.home

    def find(self, key: bytes) -> Device | None:
        return self.home if key == HOME else self._devices.get(key)

    def get(self, key: bytes, time: PacketTime, familiar: bool = True) -> Device:
        """The device of this key, or a new one. familiar: whether a new one may replace a known one."""
        device = self._devices.get(key)
        if device is None:
            device = Device(key, time)
            if not familiar:
                device.home = self.home
            if len(self._devices) < self.limit or self._make_room(device):
                self._devices[key] = device
                if not familiar:
                    self._silent[key] = None
        return device

    def keep(self, device: Device) -> None:
        """A device has spoken: if it was not remembered, there may be room for it now."""
        if device.key not in self._devices and (len(self._devices) < self.limit or self._make_room(device)):
            self._devices[device.key] = device

    def restore(self, devices: Iterable[Device]) -> None:
        """Adds devices that were known before a restart, as long as there is room. They replace nothing."""
        for device in devices:
            if isinstance(device, Collective):
                self.home = device
            elif len(self._devices) < self.limit:
                self._devices.setdefault(device.key, device)

    def behind(self, mac: bytes) -> int:
        """How many hosts are known behind this MAC."""
        return sum(1 for key in self._devices if len(key) in BEHIND and key.startswith(mac))

    def rekey(self, before: bytes, after: bytes) -> Device:
        """Re-keys the device `before` to `after`. If both exist the one of worse standing stays. Raises KeyError."""
        device = self._devices.pop(before)
        self._silent.pop(before, None)
        other = self._devices.pop(after, None)
        if other is not None and _badness(other) > _badness(device):
            device = other
        device.key = after
        self._devices[after] = device
        return device

    def _make_room(self, device: Device) -> bool:
        """Drops the least useful device for this one. False if none may be dropped: then this one is not remembered."""
        if device.home is not None and not device.sessions:
            return self._forget_silent()
        least = min(self._devices.values(), key=_usefulness, default=None)
        if least is None or least.score.standing == COMPROMISED:
            return False
        if device.home is not None and least.home is None:
            return False
        del self._devices[least.key]
        self._silent.pop(least.key, None)
        return True

    def _forget_silent(self) -> bool:
        """Drops a stranger that has not spoken, for another one. In constant time, because these come in floods."""
        while self._silent:
            key = next(iter(self._silent))
            del self._silent[key]
            device = self._devices[key]
            if device.home is not None and not device.sessions and device.score.standing == CLEAR:
                del self._devices[key]
                return True
        return False


def _usefulness(device: Device) -> tuple[bool, bool, bool, bool, float, float]:
    standing = device.score.standing
    known = device.home is None
    return standing == COMPROMISED, known, standing != CLEAR, known or device.sessions > 0, *_badness(device)[2:]


def _badness(device: Device) -> tuple[bool, bool, float, float]:
    standing = device.score.standing
    return standing == COMPROMISED, standing == SUSPECTED, device.score.value, device.last_seen
