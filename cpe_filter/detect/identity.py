"""Which device a packet is of: (sender's MAC, client's address) -> the device's key.

Knows keys, on-link networks and the table of devices. Must not know packets, files or leases. The rules, in order:

- The MAC (6 bytes). All on-link addresses of one MAC are one device: changes by DHCP, privacy addresses, ULA and GUA.
- A client whose address is not on-link comes through a second router: MAC + IPv4 address (10 bytes), or MAC + IPv6 /64
  (14 bytes; addresses that rotate within a /64 stay one device). At most `HOSTS` of these for each MAC; the others
  share the MAC's own device, because made-up addresses must not fill the table of devices.
- Where no IPv4 network is known (a capture), two addresses are two hosts when one MAC uses them in turn: A, B, and A
  again within `ALTERNATE_S`. A new lease never goes back. A host with two addresses that it uses in turn becomes two
  devices there; where the networks are known it stays one. IPv6 without known networks: the MAC alone, since one host
  uses many addresses in turn.
- No MAC (tunnel, PPP): the address. Not the /64: without a MAC a whole home shares one.

Hosts behind a second router with NAT are one device. So are hosts that a repeater bridges under its own MAC.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from cpe_filter.detect.device import DEVICES, Devices
from cpe_filter.detect.score import CLEAR, UNUSUAL
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime

#: Hosts that are distinguished behind one MAC.
HOSTS = 32
#: An address that is used again within so many seconds shows that the addresses used in between are other hosts.
ALTERNATE_S = 600.0
#: MACs whose last addresses are remembered, and how many of each.
_MACS, _USES = DEVICES, 8
#: On-link networks of one family; the oldest is dropped. A network that was on-link recently still counts, because
#: devices keep addresses of a prefix for a while after the ISP has assigned another.
_NETWORKS = 32


class _Use(NamedTuple):
    """last: seconds. clear: whether the MAC's device was clear when this address first came into use."""

    last: float
    clear: bool


class Identity:
    """For one table of devices. A host behind a second router is a device of its own once its key is in the table."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        # Length of the address -> the networks, as (number of host bits, the network bits).
        self._networks: dict[int, dict[tuple[int, int], None]] = {4: {}, 16: {}}
        self._uses: dict[bytes, dict[bytes, _Use]] = {}  # of each MAC, the address used last at the end

    def on_link(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        """These networks are on-link. Earlier ones stay on-link, as long as there is room."""
        for network in networks:
            known = self._networks[network.max_prefixlen // 8]
            shift = network.max_prefixlen - network.prefixlen
            entry = (shift, int(network.network_address) >> shift)
            known.pop(entry, None)
            known[entry] = None
            if len(known) > _NETWORKS:
                del known[next(iter(known))]

    def key(self, hwaddr: bytes | None, client: bytes) -> bytes:
        """The key for a client (packed address) whose packets carry this MAC (None: there is none). Changes nothing."""
        if not hwaddr or not any(hwaddr[:6]):  # loopback captures have an address of zeros
            return client
        mac = hwaddr[:6]
        routed = mac + (client if len(client) == 4 else client[:8])
        if self._networks[len(client)]:
            if self._is_on_link(client):
                return mac
            if self._devices.find(routed) is None and self._devices.behind(mac) >= HOSTS:
                return mac
            return routed
        return routed if len(client) == 4 and self._devices.find(routed) is not None else mac

    def seen(self, hwaddr: bytes | None, client: bytes, time: PacketTime) -> bytes:
        """As `key`, for a client that opens a connection now. Addresses that are used in turn become other hosts."""
        key = self.key(hwaddr, client)
        if len(key) != 6 or len(client) != 4 or self._networks[4]:
            return key
        self._use(key, client, time)
        return self.key(hwaddr, client)

    def _is_on_link(self, client: bytes) -> bool:
        if client[:2] == b"\xa9\xfe" or (len(client) == 16 and client[0] == 0xFE and client[1] & 0xC0 == 0x80):
            return True  # link-local: RFC 3927, RFC 4291 section 2.5.6
        number = int.from_bytes(client, "big")
        return any(number >> shift == prefix for shift, prefix in self._networks[len(client)])

    def _use(self, mac: bytes, client: bytes, time: PacketTime) -> None:
        uses = self._uses.pop(mac, {})
        self._uses[mac] = uses
        if len(self._uses) > _MACS:
            del self._uses[next(iter(self._uses))]
        device = self._devices.find(mac)
        clear = device is None or device.score.standing in (CLEAR, UNUSUAL)
        before = uses.get(client)
        if before is not None and time - before.last > ALTERNATE_S:
            before = None
        if before is not None:
            order = list(uses)
            since = order[order.index(client) + 1 :]
            if since:
                self._tell_apart(mac, client, since, clear, time)
                if client not in uses:
                    return
        uses.pop(client, None)
        uses[client] = _Use(time, clear if before is None else before.clear)
        if len(uses) > _USES:
            del uses[next(iter(uses))]

    def _tell_apart(self, mac: bytes, client: bytes, since: list[bytes], clear: bool, time: PacketTime) -> None:
        """`client` and the addresses used since are different hosts. One keeps the MAC's device, others get new ones.

        A standing stays with the host that earned it: the last one that came into use while the device was still
        clear. So no conviction is lost, and no other host inherits it.
        """
        uses = self._uses[mac]
        owner = client
        if not clear:
            for address in since:
                owner = address if uses[address].clear else owner
        device = self._devices.find(mac)
        for address in (client, *since):
            if address == owner:
                continue
            del uses[address]
            if self._devices.behind(mac) < HOSTS:
                self._devices.get(mac + address, time, familiar=False)
                if device is not None and address in device.addresses:
                    device.addresses.remove(address)
