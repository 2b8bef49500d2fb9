"""The home's strangers, counted together: a bot that changes MAC, address or prefix gains nothing.

Knows devices, leases' MACs and the detector's seam. Must not know packets, policy or what is done about a standing.

A *stranger* is a device that the router has no lease for and that has no past:

- A lease counts for the MAC it names. It does not count for hosts that a second router routes under its MAC, because
  their addresses can be made up behind one lease. A bot that makes up MACs can ask DHCP for a lease for each. So after
  the first look at the leases, `NEW_LEASES` new ones count at once and then one an hour. (A home gets few new devices.
  Those of a cafe are strangers for a while, which costs them nothing unless they mail directly.)
- A device has a past when it was first seen at least `PAST_S` ago, has talked with a server, and is clear. `PAST_S` is
  a day. Until then what it does counts for the home, so a bot that waits with each MAC is not faster than one that does
  not. At most `PASTS` devices without a lease have a past (a home has few servers with fixed addresses), so a bot that
  keeps MACs until they have one gains no more than that. `first_seen` survives a restart, and the past with it. A
  device that was saved does not have a past for that reason, because made-up MACs are saved, too.

The router itself is not a stranger.

All strangers share one set of token buckets of one device's size, besides their own. Hosts that are distinguished
behind one MAC share another, also of one device's size, because behind NAT they would be one device. (`Device.shares`;
enforce.decide takes the tokens.)

What strangers do is also evidence about a collective device (`Devices.home`): each of their connections is one of the
home's, too, and the same score judges it. One stranger adds at most `MOST_EACH` nats to its score. So it takes two to
make the home suspected and three to convict it, and a single bot does not affect the others. Evidence for innocence is
not bounded, because many legitimate guests must not convict the home by the little evidence against each. The home is
also convicted when `CONVICTED` strangers are, which finds a bot that takes a new MAC after each conviction.

The home's standing concerns strangers alone (enforce.decide): no device with a lease or a past is refused because of
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network

from cpe_filter.detect.detector import Connection, Detector, StandingChanged
from cpe_filter.detect.device import BEHIND, DEVICES, ROUTER, Buckets, Collective, Device, Devices
from cpe_filter.detect.score import CLEAR, COMPROMISED, UNUSUAL
from cpe_filter.inspect.facts import Event
from cpe_filter.lean.clocks import PacketTime

#: Seconds from its first connection until a device without a lease may have a past; and how many devices may have one.
PAST_S, PASTS = 86400.0, 16
#: Nats that one stranger may add to the home's score.
MOST_EACH = 2.5
#: So many convicted strangers convict the home.
CONVICTED = 3
#: New leases that count at once, and seconds until one more does.
NEW_LEASES, NEW_LEASE_S = 16, 3600.0
#: Leases that count (see mac_rotation.LEASES), and MACs with hosts behind them whose buckets are kept.
LEASES, MACS = 1024, DEVICES


class Home:
    """Knows which devices are strangers, and judges the home by its share in their connections."""

    def __init__(self, devices: Devices) -> None:
        self._detector = Detector()  # its own: a trace of the devices sees each connection once
        self._devices = devices
        self._leased: frozenset[bytes] | None = None  # before the first look
        self._new_leases, self._new_leases_at = float(NEW_LEASES), 0.0
        self._pasts: dict[bytes, None] = {}
        self._behind: dict[bytes, Buckets] = {}  # for MACs with hosts behind them, the one used last at the end

    # ── which devices are strangers ─────────────────────────────────────────────────────────────

    def leases(self, macs: Iterable[bytes], time: PacketTime) -> None:
        """These are all MACs that have a lease now. At most `LEASES` of them count, and few new ones at once."""
        present = [mac for mac, _ in zip(macs, range(LEASES), strict=False)]
        if self._leased is None:
            self._leased = frozenset(present)
        else:
            kept = set(self._leased.intersection(present))
            earned = max(0.0, time - self._new_leases_at) / NEW_LEASE_S
            self._new_leases = min(float(NEW_LEASES), self._new_leases + earned)
            for mac in present:
                if mac not in kept and self._new_leases >= 1.0:
                    self._new_leases -= 1.0
                    kept.add(mac)
            self._leased = frozenset(kept)
        self._new_leases_at = time
        for device in self._devices:
            self.place(device, time)

    def restore(self) -> None:
        """The table of devices was restored after a restart: the oldest get their pasts back."""
        now = max((device.last_seen for device in self._devices), default=PacketTime(0.0))
        for device in sorted(self._devices, key=lambda device: device.first_seen):
            self.place(device, now)

    def device(self, key: bytes, time: PacketTime) -> Device:
        """The device of this key with its place found out; a new device if there is none."""
        known = self._devices.find(key)
        if known is not None and known.home is None and not known.shares and key not in self._behind:
            return known  # the usual case; `leases` handles a lease's end
        if known is None and key in self._pasts:
            del self._pasts[key]  # it was forgotten, and its past with it
        device = self._devices.get(key, time, self._is_leased(key))
        self.place(device, time)
        return device

    def unlisted(self, key: bytes, time: PacketTime) -> Device:
        """A device that is not in the table and is not added to it: nothing shows yet that it exists."""
        device = Device(key, time)
        self.place(device, time)
        return device

    def place(self, device: Device, time: PacketTime) -> None:
        """Finds out whether a device is a stranger now, and which devices share its limits."""
        if device is self._devices.home:
            return
        home = None if self._is_leased(device.key) or self._has_past(device, time) else self._devices.home
        device.home = home
        device.shares = () if home is None else (home.buckets,)
        mac = device.key[:6]
        # What is beyond `identity.HOSTS` comes under the MAC itself.
        if len(device.key) in BEHIND or (len(device.key) == 6 and mac in self._behind):
            device.shares = (*device.shares, self._buckets(mac))

    def familiar(self) -> Iterator[bytes]:
        """MACs of devices that are not strangers: with a lease, or with a past. Some may come twice."""
        yield from self._leased or ()
        for key in self._pasts:
            if len(key) in (6, *BEHIND) and self._devices.find(key) is not None:
                yield key[:6]

    def _is_leased(self, key: bytes) -> bool:
        return key == ROUTER or (self._leased is not None and key in self._leased)

    def _has_past(self, device: Device, time: PacketTime) -> bool:
        key = device.key
        if key in self._pasts:
            return True
        if not device.sessions or time - device.first_seen < PAST_S or device.score.standing not in (CLEAR, UNUSUAL):
            return False
        if len(self._pasts) >= PASTS:
            self._pasts = {
                key: None for key in self._pasts if not self._is_leased(key) and self._devices.find(key) is not None
            }
            if len(self._pasts) >= PASTS:
                return False
        self._pasts[key] = None
        return True

    def _buckets(self, mac: bytes) -> Buckets:
        buckets = self._behind[mac] = self._behind.pop(mac, {})
        if len(self._behind) > MACS:
            del self._behind[next(iter(self._behind))]
        return buckets

    # ── evidence ────────────────────────────────────────────────────────────────────────────────

    def opened(self, connection: Connection, server: bytes, client: bytes, time: PacketTime) -> Connection | None:
        """The home's share in a connection that a device has opened to a server; None if the device is not a stranger.

        server, client: packed addresses.
        """
        stranger, home = connection.device, connection.device.home
        if home is None or not self._begin(stranger, home):
            return None
        if not home.connections:
            home.first_seen = time
        home.seen(time, client)
        shared = self._detector.opened(home, server, time)
        self._end(stranger, home)
        return shared

    def established(self, shared: Connection, connection: Connection, time: PacketTime) -> None:
        """Both ends of a stranger's connection have completed the handshake. As `event`."""
        stranger, home = connection.device, self._devices.home
        if self._begin(stranger, home):
            self._detector.established(shared, time)
            self._end(stranger, home)

    def unanswered(self, shared: Connection, connection: Connection, phase: str, time: PacketTime) -> None:
        """A stranger's SYN got no answer: it may make the home suspected, and never convicts it."""
        stranger, home = connection.device, self._devices.home
        if self._begin(stranger, home):
            self._detector.unanswered(shared, phase, time)
            self._end(stranger, home)

    def event(self, shared: Connection, connection: Connection, event: Event, time: PacketTime) -> None:
        """Something happened in a stranger's connection. The detector has already counted it for the stranger."""
        stranger, home = connection.device, self._devices.home
        if self._begin(stranger, home):
            shared.explained = connection.explained
            self._detector.event(shared, event, time)
            self._end(stranger, home)

    def ended(self, shared: Connection, connection: Connection, phase: str, quit_sent: bool, time: PacketTime) -> None:
        """The connection has ended. As `event`."""
        stranger, home = connection.device, self._devices.home
        if self._begin(stranger, home):
            shared.explained = connection.explained
            self._detector.ended(shared, phase, quit_sent, time)
            self._end(stranger, home)

    @property
    def nat64(self) -> tuple[IPv6Network, ...]:
        """As the detector's: prefixes behind which servers count by their IPv4 addresses."""
        return self._detector.nat64

    @nat64.setter
    def nat64(self, prefixes: tuple[IPv6Network, ...]) -> None:
        self._detector.nat64 = prefixes

    @property
    def changes(self) -> bool:
        """Whether the home's standing has changed since `judged` was called."""
        return bool(self._detector.changes)

    def judged(self, changes: Iterable[StandingChanged]) -> list[StandingChanged]:
        """Changes of the home's standing since the last call, or because strangers among these were convicted."""
        found, self._detector.changes = self._detector.changes, []
        for change in changes:
            if change.after == COMPROMISED and change.device.home is not None:
                found += self._convict(change)
        return found

    def _convict(self, change: StandingChanged) -> list[StandingChanged]:
        """A stranger was convicted. If enough are, the home is convicted, too."""
        home = self._devices.home
        before = home.score.standing
        strangers = sum(1 for one in self._devices if one.home is not None and one.score.standing == COMPROMISED)
        if before == COMPROMISED or strangers < CONVICTED:
            return []
        home.score.standing = COMPROMISED
        home.suspected_at = home.suspected_at or (change.time, home.connections)
        home.compromised_at = (change.time, home.connections)
        return [StandingChanged(change.time, home, before, COMPROMISED, home.connections, change.indicator)]

    def _begin(self, stranger: Device, home: Collective) -> bool:
        """Before the detector counts for the home. False if the stranger is convicted: then nothing is shared."""
        if stranger.score.standing == COMPROMISED:
            return False
        home.shared.left = MOST_EACH - stranger.added
        return True

    def _end(self, stranger: Device, home: Collective) -> None:
        stranger.added = MOST_EACH - home.shared.left
