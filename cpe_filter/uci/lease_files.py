"""The lease files of dnsmasq and odhcpd, where /etc/config/dhcp has them.

Knows the options of dnsmasq.init and odhcpd (config.c) that name files. Must not read the files.
"""

from __future__ import annotations

from cpe_filter.policy.model import NetworkTable
from cpe_filter.uci.export import Section

_DNSMASQ, *_ODHCPD = NetworkTable().leases
_OPTIONS = {"dnsmasq": ("leasefile",), "odhcpd": ("leasefile", "hostsfile")}


def paths(sections: list[Section]) -> list[str]:
    """Absolute paths, each once. A program of which no file is named has its default ones."""
    found: dict[str, list[str]] = {"dnsmasq": [], "odhcpd": []}
    for section in sections:
        for option in _OPTIONS.get(section.kind, ()):
            path = section.text(option)
            if path.startswith("/") and "\0" not in path:
                found[section.kind].append(path)
    named = [*(found["dnsmasq"] or [_DNSMASQ]), *(found["odhcpd"] or _ODHCPD)]
    return list(dict.fromkeys(named))
