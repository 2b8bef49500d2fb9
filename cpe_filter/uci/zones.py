"""The firewall's zones: which are the home's, which are the Internet's, which lead into a VPN.

Knows /etc/config/firewall as fw4 reads it: zones, forwardings, rules that forward. Must not know devices, netifd or a
policy. A zone whose configuration says nothing of it is in none of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.uci.export import Section

#: Protocols of networks that lead to a VPN. Not pptp, l2tp and 6in4: these are lines of some Internet providers.
VPN_PROTOCOLS = frozenset(("wireguard", "amneziawg", "openvpn", "openconnect", "vpnc", "xfrm", "vti", "tailscale"))
#: How VPN programs name their devices where no network does.
_VPN_DEVICES = ("tun", "tap", "wg", "awg", "vpn", "ovpn", "tailscale", "zt", "ipsec", "xfrm", "vti", "nebula")
_UPLINKS = frozenset(("wan", "wan6"))
_MAIL = 25


class Zone(NamedTuple):
    """networks: names of logical networks. devices: as fw4 has them: names, `tun+`, `!eth0`. subnets: addresses."""

    name: str
    networks: tuple[str, ...]
    devices: tuple[str, ...]
    masquerades: bool = False
    subnets: tuple[str, ...] = ()


class Sides(NamedTuple):
    """home: whose devices may send mail out. internet: where it leaves. vpn: where it may also leave, past these."""

    home: tuple[Zone, ...] = ()
    internet: tuple[Zone, ...] = ()
    vpn: tuple[Zone, ...] = ()


def zones(sections: Iterable[Section]) -> list[Zone]:
    """The zones that are in use."""
    return [
        Zone(
            section.text("name"),
            tuple(section.words("network")),
            tuple(section.words("device")),
            section.flag("masq", False) or section.flag("masq6", False),
            tuple(section.words("subnet")),
        )
        for section in sections
        if section.kind == "zone" and section.text("name") and section.flag("enabled", True)
    ]


def sides(sections: list[Section], protocols: Mapping[str, str]) -> Sides:
    """Which zone is what. protocols: of the logical networks, by name."""
    all_zones = zones(sections)
    ways = _ways(sections, [zone.name for zone in all_zones])
    targets = {target for _, target in ways}
    vpns = {zone.name for zone in all_zones if _is_vpn(zone, protocols)}
    outside = _outside(all_zones, ways, vpns)
    vpn = (targets & vpns) - outside - _sources(ways, outside)
    home = _sources(ways, outside | vpns) - outside - vpn
    if not home:
        home = {zone.name for zone in all_zones if zone.name.lower() == "lan"} - outside
    return Sides(*(tuple(zone for zone in all_zones if zone.name in names) for names in (home, outside, vpn)))


def _outside(all_zones: list[Zone], ways: set[tuple[str, str]], vpns: set[str]) -> set[str]:
    """The names of the Internet's zones."""
    targets = {target for _, target in ways}
    outside = {zone.name for zone in all_zones if zone.name.lower() == "wan" or _UPLINKS & {*zone.networks}}
    # Further uplinks: the firewall translates there, other zones may forward there, and nothing goes on from there.
    translated = {zone.name for zone in all_zones if zone.masquerades and zone.name in targets} - vpns
    outside |= {name for name in translated if not _goes_on(name, ways)}
    # Without any, the Internet's zone lets some in; or the router does not translate.
    return outside or translated or targets - _sources(ways, targets) - vpns


def _sources(ways: set[tuple[str, str]], targets: set[str]) -> set[str]:
    """Where mail to these zones may come from."""
    return {source for source, target in ways if target in targets}


def _goes_on(name: str, ways: set[tuple[str, str]]) -> bool:
    return any(source == name and target != name for source, target in ways)


def _is_vpn(zone: Zone, protocols: Mapping[str, str]) -> bool:
    """Whether all that is known to be in the zone is a VPN's."""
    kinds = [protocols[network] in VPN_PROTOCOLS for network in zone.networks if network in protocols]
    kinds += [device.lower().startswith(_VPN_DEVICES) for device in zone.devices]
    return bool(kinds) and all(kinds)


def _ways(sections: list[Section], names: list[str]) -> set[tuple[str, str]]:
    """Between which zones mail may go: source and target."""
    ways: set[tuple[str, str]] = set()
    for section in sections:
        if section.kind == "forwarding" or (section.kind == "rule" and _forwards_mail(section)):
            if section.flag("enabled", True):
                ways |= _pairs(section.text("src"), section.text("dest"), names)
        elif section.kind == "defaults" and section.text("forward").upper() == "ACCEPT":
            # Whatever no zone refuses is forwarded; what may not leave does not come into question here.
            ways |= {(source, "wan") for source in names if source.lower() != "wan" and "wan" in names}
    return ways


def _pairs(source: str, target: str, names: list[str]) -> set[tuple[str, str]]:
    sources = names if source == "*" else [source] if source in names else []
    targets = names if target == "*" else [target] if target in names else []
    return {(one, other) for one in sources for other in targets if one != other}


def _forwards_mail(rule: Section) -> bool:
    if rule.text("target").upper() != "ACCEPT" or not rule.text("src") or not rule.text("dest"):
        return False
    protocols = [word.lower() for word in rule.words("proto")] or ["tcp"]
    if not {"tcp", "tcpudp", "all", "any", "*", "6"} & {*protocols}:
        return False
    ports = rule.words("dest_port")
    return not ports or any(_covers(port) for port in ports)


def _covers(port: str) -> bool:
    """Whether 25 is among the ports of `25`, `20-30` or `20:30`."""
    low, _, high = port.replace(":", "-").partition("-")
    if not low.isdecimal() or not (high or low).isdecimal():
        return False
    return int(low[:6]) <= _MAIL <= int((high or low)[:6])
