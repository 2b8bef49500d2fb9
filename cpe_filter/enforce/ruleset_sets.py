"""policy -> the ruleset's sets and counters, as text.

Knows which sets there are, and which elements the policy puts there. Must not know the rules that use them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network

from cpe_filter.enforce.ruleset_names import (
    ADDRESS_BLOCKED,
    ALIVE,
    ALIVE_S,
    BY_CONNECTION,
    BY_DEVICE,
    CLIENT_S,
    CONNECTIONS,
    COUNTERS,
    DEVICES,
    ELSEWHERE,
    FAMILIAR,
    FAMILIES,
    HELPFUL,
    HELPFUL_NAMED,
    HELPFUL_NAMES,
    HELPFUL_NAMES_S,
    KNOWN,
    NOTICE_CLIENTS,
    NOTICE_SHUT,
    PAIRS,
    QUIET_S,
    SHUT_S,
    SWITCHES,
    UNLISTED,
    UNWATCHED,
    WAY_S,
    WAYS,
)
from cpe_filter.enforce.ruleset_submission import counting_sets
from cpe_filter.inspect import nat64
from cpe_filter.policy.model import Network, Policy

#: IPv4: RFC 1918, RFC 6598, RFC 3927, loopback. IPv6: RFC 4193, link-local, loopback.
PRIVATE4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE6 = ("::1/128", "fc00::/7", "fe80::/10")
_PRIVATE4, _PRIVATE6 = (tuple(map(ip_network, names)) for names in (PRIVATE4, PRIVATE6))


#: The sets that only the policy fills.
BY_POLICY = (
    "exempt_devices",
    *(f"{name}{family}" for family, _ in FAMILIES for name in ("relays", "private", "exempt", "exempt_pairs", HELPFUL)),
)


def static_sets(policy: Policy) -> list[tuple[str, str, str, list[str]]]:
    """Name, type, flags and elements of the sets that the policy fills."""
    private = (_PRIVATE4, _PRIVATE6) if policy.network.private_destinations == "pass" else ((), ())
    relays = _by_family(policy.network.relays, policy.network.nat64)
    private4, private6 = private[0], _by_family((*private[0], *private[1]), policy.network.nat64)["6"]
    anywhere = dict.fromkeys(rule.device.hex(":") for rule in policy.exempt if rule.device and not rule.destination)
    free = [rule.destination for rule in policy.exempt if rule.destination and not rule.device]
    from_any = _by_family(free, policy.network.nat64)
    helpful = _by_family(policy.notice.helpful, policy.network.nat64)
    sets = [("exempt_devices", "ether_addr", "", list(anywhere))]
    for family, networks in (("4", [str(one) for one in private4]), ("6", private6)):
        address = f"ipv{family}_addr"
        sets += [
            (f"relays{family}", address, "interval", relays[family]),
            (f"private{family}", address, "interval", networks),
            (f"exempt{family}", address, "interval", from_any[family]),
            (HELPFUL + family, address, "interval", helpful[family]),
            (f"exempt_pairs{family}", f"ether_addr . {address}", "interval", _pairs(policy, family)),
        ]
    return sets


def _pairs(policy: Policy, family: str) -> list[str]:
    """Device and destination together. Overlapping networks of a device are merged, as interval sets require."""
    by_device: dict[bytes, list[Network]] = {}
    for rule in policy.exempt:
        if rule.device and rule.destination:
            by_device.setdefault(rule.device, []).append(rule.destination)
    return [
        f"{device.hex(':')} . {network}"
        for device, networks in by_device.items()
        for network in _by_family(networks, policy.network.nat64)[family]
    ]


def _by_family(networks: Iterable[Network], prefixes: Iterable[IPv6Network]) -> dict[str, list[str]]:
    """Networks by family, overlapping ones merged, as interval sets require.

    prefixes: of NAT64. IPv6 clients reach an IPv4 network through each, and through the well-known one.
    """
    networks = list(networks)
    four = [n for n in networks if isinstance(n, IPv4Network)]
    six = [n for n in networks if not isinstance(n, IPv4Network)] + nat64.networks(four, prefixes)
    return {"4": [str(n) for n in collapse_addresses(four)], "6": [str(n) for n in collapse_addresses(six)]}


def is_private(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is in the networks of which the rules say so."""
    return any(address in network for network in (*_PRIVATE4, *_PRIVATE6))


def sets(policy: Policy) -> list[str]:
    lines: list[str] = []
    for name, kind, flags, elements in static_sets(policy):
        content = [f"\t\telements = {{ {', '.join(elements)} }}"] if elements else []
        lines += _set(name, f"type {kind}", flags, content)
    for name in BY_DEVICE:
        # Devices with leases, and devices that have a past without one.
        size = 2 * DEVICES if name == FAMILIAR else DEVICES
        lines += _set(name, "type ether_addr", "timeout", [f"\t\tsize {size}"])
    for name in SWITCHES:
        # The filter that loads the ruleset lives. Otherwise fail closed would refuse until its first refresh.
        content = [f"\t\telements = {{ tcp timeout {ALIVE_S}s }}"] if name == ALIVE else []
        lines += _set(name, "type inet_proto", "timeout", content)
    for family in "46":
        address = f"ipv{family}_addr"
        for name in BY_CONNECTION:
            kind = f"type {address} . inet_service . {address}"
            lines += _set(name + family, kind, "timeout", [f"\t\tsize {CONNECTIONS}"])
        lines += _set(KNOWN + family, f"type ether_addr . {address}", "timeout", [f"\t\tsize {PAIRS}"])
        lines += _set(ADDRESS_BLOCKED + family, f"type {address}", "timeout", [f"\t\tsize {DEVICES}"])
        lines += _meter(f"guard_replies{family}", f"type {address}")
        ways = [f"\t\tsize {WAYS}", f"\t\ttimeout {WAY_S}s", "\t\tcounter"]
        for name in (UNWATCHED, UNLISTED):
            lines += _set(name + family, "type ifname", "dynamic,timeout", ways)
        clients = [f"\t\tsize {DEVICES}", f"\t\ttimeout {CLIENT_S}s"]
        lines += _set(NOTICE_CLIENTS + family, f"type {address} . ether_addr", "dynamic,timeout", clients)
        named = [f"\t\tsize {HELPFUL_NAMED}", f"\t\ttimeout {HELPFUL_NAMES_S}s"]
        lines += _set(HELPFUL_NAMES + family, f"type {address}", "timeout", named)
    for name in ("explained", "syns", "guard", "led_rate", "served_rate", "questions"):
        lines += _meter(name, "type ether_addr")
    for name in ("quiet", ELSEWHERE):
        lines += _set(name, "typeof ct id", "dynamic,timeout", [f"\t\tsize {PAIRS}", f"\t\ttimeout {QUIET_S}s"])
    shut = [f"\t\tsize {DEVICES}", f"\t\ttimeout {SHUT_S}s"]
    lines += _set(NOTICE_SHUT, "type ether_addr", "dynamic,timeout", shut)
    for name, kind, more in counting_sets():
        lines += _set(name, kind, "dynamic,timeout", more)
    lines += [f"\tcounter {name} {{ }}" for name in COUNTERS]
    return lines


def _set(name: str, kind: str, flags: str, more: list[str]) -> list[str]:
    return [f"\tset {name} {{", f"\t\t{kind}", *([f"\t\tflags {flags}"] if flags else []), *more, "\t}"]


def _meter(name: str, kind: str) -> list[str]:
    """A set that rules fill. Its elements expire after a minute, which is longer than any meter's memory."""
    return _set(name, kind, "dynamic,timeout", [f"\t\tsize {DEVICES}", "\t\ttimeout 1m"])
