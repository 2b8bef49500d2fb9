"""OpenWrt's `ubus`, as far as our scripts use it: `ubus [-S] call network.interface dump` of a router in a folder.

Prints what netifd's ubus.c does (netifd_dump_status), with the fields that say which device a network has: a network is
up if $STAND_IN/up has a file of its name, whose first line is its device, and whose further lines may be `proto NAME`
and `zone NAME`. One that is not in /etc/config/network is dynamic. As the real one, it indents unless -S. Runs alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

#: Protocols without a lower device of their own: PROTO_FLAG_NODEV, by their scripts' `no_device=1`.
NODEV = ("6in4", "6rd", "6to4", "map", "dslite", "464xlat", "wireguard", "qmi", "mbim", "ncm", "3g", "none")


def configured() -> dict[str, dict[str, str]]:
    """The interfaces of /etc/config/network, and their options."""
    path = os.path.join(os.environ.get("UCI_CONFIG_DIR", "/etc/config"), "network")
    networks: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in lines:
        words = [one or other for one, other in re.findall(r"'([^']*)'|([^\s']+)", line)]
        if words[:1] == ["config"]:
            current = {}
            if words[1:2] == ["interface"] and len(words) == 3:
                networks[words[2]] = current
        elif words[:1] == ["option"] and len(words) == 3:
            current[words[1]] = words[2]
    return networks


def network(name: str, options: dict[str, str] | None, up: list[str]) -> dict[str, Any]:
    more = dict(line.split(" ", 1) for line in up[1:])
    proto = more.get("proto") or (options or {}).get("proto", "none")
    found: dict[str, Any] = {
        "interface": name,
        "up": bool(up),
        "pending": False,
        "available": True,
        "autostart": True,
        "dynamic": options is None,
    }
    if up:
        found |= {"uptime": int(float(open("/proc/uptime").read().split()[0])), "l3_device": up[0]}
    found["proto"] = proto
    device = (options or {}).get("device", "")
    if proto not in NODEV and device and not device.startswith(("@", "/")):
        found["device"] = device
    if up:
        found |= {"metric": 0, "dns_metric": 0, "delegation": True, "ipv4-address": [], "ipv6-address": [], "route": []}
    found["data"] = {"zone": more["zone"]} if "zone" in more else {}
    return found


def main(words: list[str]) -> int:
    simple = words[:1] == ["-S"]
    if words[simple:] != ["call", "network.interface", "dump"]:
        return 1
    folder = os.path.join(os.environ.get("STAND_IN", "/nonexistent"), "up")
    if not os.path.isdir(folder):  # ubusd or netifd does not run
        print("Command failed: Not found", file=sys.stderr)
        return 4
    ups = {name: open(os.path.join(folder, name)).read().splitlines() for name in sorted(os.listdir(folder))}
    known = configured()
    listed = [network(name, known.get(name), ups.get(name, [])) for name in sorted({*known, *ups})]
    print(json.dumps({"interface": listed}, indent=None if simple else "\t", separators=(",", ":" if simple else ": ")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
