"""LAN and WAN: the devices of the home, and all by which mail may leave it.

Knows how zones, UCI's own lists and netifd's networks come together. Must not know files, programs or a policy's other
keys. A network that a protocol makes while it is up (DS-Lite's `wan6_4`) belongs where its origin does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cpe_filter.inputs import shown
from cpe_filter.lean.log import Line, notice, warning
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.policy.kinds import INTERFACES, is_interface
from cpe_filter.uci.devices import Devices
from cpe_filter.uci.export import Section
from cpe_filter.uci.netifd import Network, origins
from cpe_filter.uci.zones import Sides, Zone, sides, zones

#: Devices of one side. A policy takes more, and a home has fewer.
MOST = 64
_HOME, _UPLINKS = ("lan",), ("wan", "wan6")
_SIDES = {"lan": "home", "wan": "Internet"}


class Chosen(NamedTuple):
    """What /etc/config/cpe-filter names: devices and networks of one side."""

    devices: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class Side(NamedTuple):
    """devices: names, `tun*` for all that begin so. unknown: networks whose device nothing says."""

    devices: tuple[str, ...]
    unknown: tuple[str, ...] = ()


class Router:
    """What the router says of its networks.

    network, firewall: the sections of these packages. dump: netifd's. seen, sys: see `Devices`.
    """

    def __init__(
        self,
        network: list[Section],
        firewall: list[Section],
        dump: Mapping[str, Network],
        seen: Mapping[str, str],
        sys: str = "/sys",
    ) -> None:
        # As netifd, which takes no other word for it.
        in_use = [one for one in network if one.kind == "interface" and one.text("disabled") != "1"]
        self._sections = {one.name: one for one in in_use if one.name}
        self.devices = Devices(self._sections, dump, seen, sys)
        self._dump = dump
        protocols = {name: one.proto for name, one in dump.items()}
        protocols |= {name: one.text("proto") for name, one in self._sections.items()}
        self._zones = zones(firewall)
        self._sides = sides(firewall, protocols)
        self.notes: list[Line] = []

    def lan(self, chosen: Chosen) -> Side:
        """The home's side."""
        return self._side("lan", chosen, self._sides.home, _HOME)

    def wan(self, chosen: Chosen) -> Side:
        """The Internet's side; notes ways out that are not watched."""
        side = self._side("wan", chosen, self._sides.internet, self._usual_uplinks())
        if not chosen.devices:
            self._note_unwatched(side, self._sides, chosen)
        return side

    def _usual_uplinks(self) -> tuple[str, ...]:
        return tuple(name for name in _UPLINKS if self._exists(name)) or _UPLINKS[:1]

    def _exists(self, network: str) -> bool:
        return network in self._sections or network in self._dump

    def _side(self, key: str, chosen: Chosen, by_zones: tuple[Zone, ...], usual: tuple[str, ...]) -> Side:
        found = dict.fromkeys(chosen.devices)
        unknown: list[str] = []
        networks: Iterable[str] = chosen.networks
        if not chosen.devices and not chosen.networks:
            # A zone may name networks that are not there: every OpenWrt's zone wan has wan6.
            networks = [name for zone in by_zones for name in zone.networks if self._exists(name)]
            for zone in by_zones:
                found |= dict.fromkeys(self._named(key, zone))
            if not networks and not found:
                networks, by_zones = usual, ()
        elif chosen.networks:
            by_zones = ()
        for name in self._with_made(dict.fromkeys(networks), by_zones):
            device = self.devices.of(name)
            if device and device != "lo":
                found[device] = None
            elif not device:
                unknown.append(name)
        return Side(self._allowed(key, found, chosen), tuple(unknown))

    def _allowed(self, key: str, found: Iterable[str], chosen: Chosen) -> tuple[str, ...]:
        """Without names that no policy takes, unless UCI itself has them: one odd device is not to keep the others from
        being watched."""
        good = []
        for name in found:
            if name in chosen.devices or is_interface(name):
                good.append(name)
            else:
                self.notes.append(warning(f"{shown(name)} is not watched as {key}; allowed: {INTERFACES}"))
        if len(good) > MOST:
            self.notes.append(warning(f"{key} has {len(good)} devices, of which the first {MOST} are watched"))
        return tuple(good[:MOST])

    def _with_made(self, networks: dict[str, None], by_zones: tuple[Zone, ...]) -> list[str]:
        """The networks, and those that netifd has besides, which belong to them."""
        zone_names = {zone.name for zone in by_zones} or {
            zone.name for zone in self._zones if not networks.keys().isdisjoint(zone.networks)
        }
        made = []
        for name in {**self._dump, **self.devices.seen}:
            configured = name in self._sections
            if name in networks or (configured and not by_zones):
                continue
            origin = next((one for one in origins(name) if one in self._sections), "")
            network = self._dump.get(name)
            if origin in networks if origin and not configured else network and network.zone in zone_names:
                made.append(name)
        return [*networks, *made]

    def _named(self, key: str, zone: Zone) -> list[str]:
        """The devices that a zone names itself; notes if it says only which it does not have, or only addresses."""
        found = []
        unnamed = [device for device in zone.devices if device.startswith("!")]
        if not zone.networks and len(unnamed) == len(zone.devices):
            unnamed += zone.subnets
        if unnamed:
            self.notes.append(
                warning(
                    f"zone {zone.name} does not say which devices it has ({', '.join(unnamed)}), so mail there may not "
                    f"be watched; set network.{key} to all devices of the {_SIDES[key]}"
                )
            )
        for device in zone.devices:
            if device.startswith("!"):
                continue
            if device[-1] in "+*":
                beginning = device[:-1]  # fw4 leaves out a lone `+`
                found += [f"{beginning}*"] if beginning else []
            else:
                found.append(device)
        return found

    def _note_unwatched(self, side: Side, by_zones: Sides, chosen: Chosen) -> None:
        for zone in by_zones.vpn:
            names = [self.devices.of(name) or name for name in zone.networks] + list(zone.devices)
            left = [name for name in names if name not in side.devices]
            if not left:
                continue
            listed = " ".join(dict.fromkeys((*(chosen.networks or self._networks(by_zones.internet)), *zone.networks)))
            option = f"network.wan_network to {listed}" if zone.networks else "network.wan to all devices"
            self.notes.append(
                notice(
                    f"mail that leaves by {', '.join(left)} (zone {zone.name}, a VPN) is not watched; to watch it, "
                    f"set {option}"
                )
            )

    def _networks(self, by_zones: tuple[Zone, ...]) -> list[str]:
        return [name for zone in by_zones for name in zone.networks if self._exists(name)] or [*self._usual_uplinks()]
