"""The device by which packets of a logical network leave, also while the network is down.

Knows how netifd's protocols name their devices, and where the kernel shows a modem's. Must not know zones or a policy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cpe_filter.uci.export import Section
from cpe_filter.uci.netifd import Network

#: Protocols whose device netifd names: what comes before the network's name. (netifd's proto scripts: ppp.sh, 3g.sh,
#: 6in4.sh, 6rd.sh, 6to4.sh, map.sh, dslite.sh, 464xlat.sh, gre.sh, ipip.sh, wireguard.sh, ...)
_PREFIXES = {
    **{name: f"{name}-" for name in ("ppp", "pppoe", "pppoa", "pptp", "l2tp", "sstp", "3g")},
    **{name: f"{name}-" for name in ("6in4", "6rd", "6to4", "map", "ipip", "ipip6")},
    "dslite": "ds-",
    "464xlat": "464-",
    "gre": "gre4-",
    "grev6": "gre6-",
    "gretap": "gre4t-",
    "grev6tap": "gre6t-",
    "openconnect": "vpn-",
    "vpnc": "vpn-",
    **dict.fromkeys(("wireguard", "amneziawg", "xfrm", "vti", "vxlan"), ""),
}
#: An alias of an alias of an alias...
_MOST_ALIASES = 4
#: The kernel's own: more characters than this are not a device's name.
_LONGEST = 15


class Devices:
    """Networks and their devices.

    sections: of /etc/config/network, by the networks' names. dump: netifd's, by name. seen: the device that a network
    had before it went down. `seen` grows with each network that is up, and is the caller's to keep. sys: /sys.
    """

    def __init__(
        self, sections: Mapping[str, Section], dump: Mapping[str, Network], seen: Mapping[str, str], sys: str = "/sys"
    ) -> None:
        self.sections = sections
        self.dump = dump
        self.seen = dict(seen)
        self._sys = sys
        for name, network in dump.items():
            device = network.l3_device or (network.device if network.up else "")
            if device:
                self.seen[name] = device

    def of(self, name: str) -> str:
        """The device of a network, as it is or, while it is down, as it will be or was called; "" if nothing says."""
        for _ in range(_MOST_ALIASES):
            network = self.dump.get(name)
            if network and network.up and self.seen.get(name):
                return self.seen[name]
            section = self.sections.get(name)
            proto = section.text("proto") if section else (network.proto if network else "")
            made = self._made(name, proto, section)
            if made:
                return made if len(made) <= _LONGEST else ""
            device = (section.text("device") or section.text("ifname")) if section else ""
            if not device.startswith("@"):
                return self._configured(name, device)
            name = device[1:]
        return ""

    def _configured(self, name: str, device: str) -> str:
        """The device of a network that is down. device: as its section has it."""
        if device.startswith("/"):
            return self.seen.get(name, "") or self._modem(device)
        words, network = device.split(), self.dump.get(name)
        return words[0] if words else self.seen.get(name, "") or (network.device if network else "")

    def _made(self, name: str, proto: str, section: Section | None) -> str:
        if proto in ("ppp", "pppoe", "pppoa", "pptp", "l2tp", "sstp", "3g") and section and section.text("pppname"):
            return section.text("pppname")
        return f"{_PREFIXES[proto]}{name}" if proto in _PREFIXES else ""

    def _modem(self, path: str) -> str:
        """The network device of a modem's control device (/dev/cdc-wdm0, /dev/ttyUSB2, or its place in /sys)."""
        parts = path.split("/")
        if ".." in parts:
            return ""
        folders = [f"{self._sys}/class/{kind}/{parts[-1]}/device" for kind in ("usbmisc", "tty", "wwan")]
        if path.startswith("/sys/"):
            folders = [self._sys + path[len("/sys") :]]
        for folder in folders:
            for below in ("", "/..", *(f"/{name}" for name in _listed(folder))):
                names = _listed(f"{folder}{below}/net")
                if names:
                    return names[0]
        # It is not there yet; qmi_wwan and cdc_mbim number both alike.
        number = parts[-1].removeprefix("cdc-wdm")
        return f"wwan{number}" if number != parts[-1] and number.isdecimal() else ""


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:64]
    except OSError:
        return []
