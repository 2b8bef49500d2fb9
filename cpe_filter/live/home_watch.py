"""The home as the router's files and tables show it: networks, leases, neighbours, prefixes of NAT64.

Knows how often each is read. Must not know how it is read (home) or what follows from it (engine).
"""

from __future__ import annotations

import select
from collections.abc import Callable

from cpe_filter.engine import Engine
from cpe_filter.home import neighbour_table, translators
from cpe_filter.home.dhcp_class import DeviceClasses
from cpe_filter.home.lan_networks import on_link
from cpe_filter.home.leases import Leases
from cpe_filter.home.mx_sniffer import Lookups
from cpe_filter.home.router_advertisements import Advertisements
from cpe_filter.inspect.nat64 import WELL_KNOWN
from cpe_filter.lean.clocks import PacketTime, posix
from cpe_filter.lean.log import Log, LogOnce, info, warning
from cpe_filter.live.part import Part
from cpe_filter.policy.model import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv6Network
    from typing import Any

#: Seconds between two readings of the router's own networks: a new prefix is in use seconds after it is announced.
LOOK_S = 5.0
#: NAT64 prefixes that are logged when they are first found; more announcements cannot fill the log.
_PREFIXES_LOGGED = 16


class HomeWatch(Part):
    """Registers with `poll`. The engine learns what was found with each `look`."""

    def __init__(self, policy: Policy, engine: Engine, leases: Leases, poll: select.poll, log: Log) -> None:
        self._network = policy.network
        self._interfaces = (*policy.network.lan, *policy.network.wan)
        self._lan = policy.network.lan
        self._engine = engine
        self._leases = leases
        #: The MACs that the kernel has seen answer, and for which address each did.
        self._neighbours: set[bytes] = set()
        self._answered: dict[bytes, bytes] = {}
        self._answers_file = translators.answers_file(policy.status.status_file)
        self._advertisements = Advertisements(policy.network.wan, policy.network.lan, poll, log)
        self._log_once = LogOnce(log, _PREFIXES_LOGGED)
        self._classes = DeviceClasses(policy.status.status_file)
        self._next_look = 0.0

    def knows(self, mac: bytes) -> bool:
        """Whether a packed MAC has answered, or has a lease."""
        return mac in self._neighbours or self._leases.holds(mac)

    def neighbours(self) -> set[bytes]:
        """The MACs of the home that the kernel has seen answer."""
        return self._neighbours

    def borrowed(self, address: bytes, mac: bytes, sure: bool) -> bool:
        """Whether packets with this address (packed) carry a MAC that is not the one which answers for the address.

        sure: asks the kernel if the last look says so, or does not know the address. Else that look alone counts.
        """
        other = self._answered.get(address)
        if other == mac or not sure:
            return other not in (None, mac)
        try:
            macs = neighbour_table.macs_of(address, self._lan)
        except OSError:
            return False
        return bool(macs) and mac not in macs

    def __contains__(self, fd: int) -> bool:
        return fd == self._advertisements.fd

    def serve(self, fd: int) -> None:
        self._advertisements.serve()

    def tick(self, now: PacketTime) -> None:
        self._advertisements.tick(now)
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self.look(now)

    def look(self, now: PacketTime) -> None:
        self._engine.on_link(on_link(self._interfaces))
        self._look_for_prefixes()
        try:
            self._answered = neighbour_table.confirmed(self._lan)
        except OSError:
            pass  # those of the last look
        self._neighbours = set(self._answered.values())
        if self._leases.refresh(now):
            self._engine.leases(self._leases, now, posix())
        self._classes.refresh()
        for device in self._engine.devices:
            device.dhcp_class = self._classes.of(device.key)

    def _look_for_prefixes(self) -> None:
        """Learnt from others, so these prefixes change how servers are counted, and never what passes."""
        found = dict.fromkeys(
            (*translators.prefixes(), *translators.looked_up(self._answers_file), *self._advertisements.prefixes())
        )
        self._engine.translators(found)
        for prefix in found:
            line = info(f"NAT64 prefix {prefix} found: servers behind it count by their IPv4 address")
            self._log_once.first(str(prefix), line)
            if self._misses_relays(prefix):
                line = warning(
                    f"NAT64 prefix {prefix} is not in [network] nat64: the relays do not pass through it; "
                    "if it is the ISP's, add it (OpenWrt: list nat64)"
                )
                self._log_once.first(f"{prefix} not listed", line)

    def _misses_relays(self, prefix: IPv6Network) -> bool:
        """Whether a relay has an IPv4 address that, behind this prefix, would be any server's."""
        relays4 = [relay for relay in self._network.relays if relay.version == 4]
        return bool(relays4) and prefix not in (WELL_KNOWN, *self._network.nat64)

    def reload(self, policy: Policy) -> None:
        self._network = policy.network
        self._interfaces = (*policy.network.lan, *policy.network.wan)
        self._advertisements.wan = policy.network.wan
        self._next_look = 0.0

    def close(self) -> None:
        self._advertisements.close()


class MxWatch(Part):
    """While `[detect] watch_dns` is set: which devices ask DNS for mail servers."""

    def __init__(
        self,
        policy: Policy,
        poll: select.poll,
        engine: Engine,
        now: Callable[[], PacketTime],
        log: Log,
    ) -> None:
        self._sniffer = Lookups(
            policy.network.lan, poll, lambda hwaddr, packet: engine.on_mx_query(now(), hwaddr, packet), log
        )
        self._sniffer.tick(now())

    def __contains__(self, fd: int) -> bool:
        return fd in self._sniffer

    def serve(self, fd: int) -> None:
        self._sniffer.serve(fd)

    def tick(self, now: PacketTime) -> None:
        self._sniffer.tick(now)

    def facts(self) -> dict[str, Any]:
        return {"lookup_packets": self._sniffer.seen}

    def close(self) -> None:
        self._sniffer.close()
