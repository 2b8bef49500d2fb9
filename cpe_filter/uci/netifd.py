"""netifd's networks as they are now: `ubus call network.interface dump`.

Knows the fields of the dump (netifd's ubus.c) that say which device a network has, and whose it is. Must not know zones
or a policy. The dump is netifd's own, but names in it may come from a DHCP server: what is not of the expected form is
left out.
"""

from __future__ import annotations

from typing import Any

from cpe_filter.lean.named_tuple import NamedTuple

#: More networks than a router has.
MOST = 512


class Network(NamedTuple):
    """A logical network.

    dynamic: it is not in /etc/config/network; another network's protocol made it, as DS-Lite's does. device: what it is
    on; l3_device: what packets leave by, "" while it is down. zone: the firewall's zone, if its protocol names one.
    """

    name: str
    up: bool = False
    dynamic: bool = False
    proto: str = ""
    device: str = ""
    l3_device: str = ""
    zone: str = ""


def parse(text: str) -> dict[str, Network]:
    """The networks by name; none if the text is not a dump."""
    import json

    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    listed = content.get("interface") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        return {}
    networks = [_network(one) for one in listed[:MOST] if isinstance(one, dict)]
    return {network.name: network for network in networks if network.name}


def _network(one: dict[str, Any]) -> Network:
    data = one.get("data")
    return Network(
        name=_text(one, "interface"),
        up=one.get("up") is True,
        dynamic=one.get("dynamic") is True,
        proto=_text(one, "proto"),
        device=_text(one, "device"),
        l3_device=_text(one, "l3_device"),
        zone=_text(data, "zone") if isinstance(data, dict) else "",
    )


def _text(one: dict[str, Any], name: str) -> str:
    value = one.get(name)
    return value if isinstance(value, str) else ""


def origins(name: str) -> list[str]:
    """The networks that may have made a dynamic one, nearest first.

    By their names: `wan6_4` is of wan6, `lte_6_4` of lte_6 and that of lte, `map1_` of map1 (odhcp6c's dhcpv6.script,
    ppp.sh, qmi.sh, map.sh).
    """
    found = []
    while "_" in name:
        name, _, number = name.rpartition("_")
        if number not in ("", "4", "6") or not name:
            break
        found.append(name)
    return found
