"""A router's answers for the tests of this room: configurations as UCI prints them, and netifd's dump."""

from __future__ import annotations

import json
from typing import Any

from cpe_filter.uci import export, netifd
from cpe_filter.uci.export import Section
from cpe_filter.uci.netifd import Network
from cpe_filter.uci.ways import Router


def quoted(value: str) -> str:
    """A value as `uci export` writes it."""
    return "'" + value.replace("'", "'\\''") + "'"


def section(kind: str, called: str = "", /, **options: str | list[str]) -> str:
    """A section as `uci export` writes it. called: its name; without, it has none."""
    text = f"config {kind}{f' {quoted(called)}' if called else ''}\n"
    for option, value in options.items():
        if isinstance(value, list):
            text += "".join(f"\tlist {option} {quoted(item)}\n" for item in value)
        else:
            text += f"\toption {option} {quoted(value)}\n"
    return f"{text}\n"


def sections(*texts: str) -> list[Section]:
    return export.parse("package x\n\n" + "".join(texts))


def interface(name: str, proto: str = "dhcp", **options: str) -> str:
    return section("interface", name, proto=proto, **options)


def zone(name: str, *networks: str, **options: str | list[str]) -> str:
    return section("zone", name=name, **({"network": [*networks]} if networks else {}), **options)


def forwarding(src: str, dest: str) -> str:
    return section("forwarding", src=src, dest=dest)


def dump(*networks: dict[str, Any]) -> dict[str, Network]:
    return netifd.parse(json.dumps({"interface": networks}))


def up(name: str, l3_device: str, **more: Any) -> dict[str, Any]:
    """A network that is up, as netifd's dump has it."""
    zone = more.pop("zone", "")
    return {"interface": name, "up": True, "l3_device": l3_device, "data": {"zone": zone} if zone else {}, **more}


def made(name: str, device: str, proto: str, zone: str = "wan") -> dict[str, Any]:
    """One that a protocol has made."""
    return up(name, device, proto=proto, dynamic=True, zone=zone)


#: A router as OpenWrt ships it.
LAN = interface("lan", "static", device="br-lan")
WAN = interface("wan", "dhcp", device="eth1")
WAN6 = interface("wan6", "dhcpv6", device="eth1")
FIREWALL = (
    section("defaults", forward="REJECT"),
    zone("lan", "lan", forward="ACCEPT"),
    zone("wan", "wan", "wan6", masq="1"),
    forwarding("lan", "wan"),
)


def router(
    *network: str,
    firewall: tuple[str, ...] = FIREWALL,
    netifd: tuple[dict[str, Any], ...] = (),
    seen: dict[str, str] | None = None,
    sys: str = "/nonexistent",
) -> Router:
    return Router(sections(*network), sections(*firewall), dump(*netifd), seen or {}, sys)
