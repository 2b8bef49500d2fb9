"""Parts of rules that several chains share: conditions, and what is permitted, exempt or blocked.

Knows nft's language. Must not know hooks, or the order in which rules stand.
"""

from __future__ import annotations

from collections.abc import Iterable

from cpe_filter.enforce.ruleset_names import (
    ADDRESS_BLOCKED,
    ASKED,
    BLOCKED,
    EXPLAINED_BURST,
    EXPLAINED_PER_MINUTE,
    FAMILIAR,
    FAMILIES,
    HOME_ASKED,
    HOME_BLOCKED,
    UNCLEAR,
)
from cpe_filter.policy.interfaces import distinct
from cpe_filter.policy.model import Policy

SYN = "tcp flags & (fin | syn | rst | ack) == syn"
REDIRECTED = "ct status dnat"
NO_END = "tcp flags & (fin | rst) == 0"
FEW = f"{EXPLAINED_PER_MINUTE}/minute burst {EXPLAINED_BURST} packets"
#: Matches all mail: the key with which a switch is looked up.
SWITCH = "meta l4proto"


def connection(name: str, action: str, condition: str = "", back: bool = False) -> list[str]:
    """`action` for packets of the connections in set `name`. back: those from the server."""
    lines = []
    for family, ip in FAMILIES:
        key = f"{ip} daddr . tcp dport . {ip} saddr" if back else f"{ip} saddr . tcp sport . {ip} daddr"
        lines.append(f"\t\t{key} @{name}{family} {condition + ' ' if condition else ''}{action}")
    return lines


#: Destinations that every device reaches: the ISP's relays, and private ones if the policy permits them.
PERMITTED = (
    "\t\tip daddr @relays4 return",
    "\t\tip6 daddr @relays6 return",
    "\t\tip daddr @private4 return",
    "\t\tip6 daddr @private6 return",
)
PERMITTED_BACK = tuple(line.replace("daddr", "saddr") for line in PERMITTED)


def exempt(action: str) -> list[str]:
    """`action` for a device's exempt packets."""
    return [
        f"\t\tether saddr @exempt_devices {action}",
        f"\t\tip daddr @exempt4 {action}",
        f"\t\tip6 daddr @exempt6 {action}",
        f"\t\tether saddr . ip daddr @exempt_pairs4 {action}",
        f"\t\tether saddr . ip6 daddr @exempt_pairs6 {action}",
    ]


def acknowledgements(action: str) -> list[str]:
    """`action` for pure acknowledgements.

    They are recognised by exact header lengths (with timestamps, without, with one SACK block), which leave no room for
    a payload. Plain rules, because a concatenated set of them crashes `nft list` of nft 1.0.6.
    """
    flags = "tcp flags & (syn | fin | rst) == 0"
    return [
        *(f"\t\tip hdrlength 5 ip length {20 + 4 * doff} tcp doff {doff} {flags} {action}" for doff in (8, 5, 11)),
        *(f"\t\tip6 nexthdr tcp ip6 length {4 * doff} tcp doff {doff} {flags} {action}" for doff in (8, 5, 11)),
    ]


ACKS = tuple(acknowledgements("return"))
#: Acknowledgements from the handshake's last packet to the third answer of a client whose TCP acknowledges separately:
#: they show how long the way to the device is, and how fast it answers. The kernel counts a connection's packets where
#: net.netfilter.nf_conntrack_acct is set, as OpenWrt does; elsewhere this is never true.
EARLY = "ct original packets 2-7"


def blocked(action: str) -> list[str]:
    """`action` for the packets of blocked devices."""
    return [
        f"\t\tether saddr @{BLOCKED} {action}",
        f"\t\t{SWITCH} @{HOME_BLOCKED} ether saddr != @{FAMILIAR} {action}",
        # On a link without Ethernet a device is known by its address.
        f"\t\tmeta iiftype != ether ip saddr @{ADDRESS_BLOCKED}4 {action}",
        f"\t\tmeta iiftype != ether ip6 saddr @{ADDRESS_BLOCKED}6 {action}",
    ]


def limited_devices(chain: str) -> list[str]:
    """To `chain` with the packets of devices whose standing, or their home's, limits them."""
    return [
        f"\t\tether saddr @{ASKED} goto {chain}",
        f"\t\t{SWITCH} @{HOME_ASKED} ether saddr != @{FAMILIAR} goto {chain}",
    ]


def base_chain(name: str, hook: str, priority: str) -> list[str]:
    return [f"\tchain {name} {{", f"\t\ttype filter hook {hook} priority {priority}; policy accept;"]


def quoted(*interfaces: Iterable[str]) -> str:
    """Names, and patterns with a trailing *. Those that a pattern covers are left out, as interval sets require."""
    return one_of([f'"{name}"' for name in distinct(name for some in interfaces for name in some)])


def leaves_elsewhere(policy: Policy) -> list[str]:
    """Returns, before routing, if a packet will not leave by a watched interface, or if that cannot be known.

    The kernel looks the route up by addresses and mark. What other rules or several next hops decide, the hooks behind
    the routing see.
    """
    return [
        f"\t\t{SWITCH} @{UNCLEAR} return",
        f"\t\tfib daddr . mark oifname != {quoted(policy.network.wan)} return",
    ]


def port_set(policy: Policy) -> str:
    return one_of([str(port) for port in policy.network.ports])


def one_of(values: list[str]) -> str:
    """One value is compared, several are a set: a comparison costs less than a look-up in a set of one."""
    return values[0] if len(values) == 1 else "{ " + ", ".join(values) + " }"
