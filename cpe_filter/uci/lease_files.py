"""The lease files of dnsmasq and odhcpd, where /etc/config/dhcp has them.

Knows the options of dnsmasq.init and odhcpd (config.c) that name files. Must not read the files.
"""

from __future__ import annotations

from cpe_filter.policy.model import NetworkTable
from cpe_filter.uci.export import Section

_DNSMASQ, *_ODHCPD = NetworkTable().leases


def paths(sections: list[Section]) -> list[str]:
    """Absolute paths, each once. An instance of dnsmasq that names no file has the default one, and so has odhcpd."""
    dnsmasq = [_file(one, "leasefile") or _DNSMASQ for one in sections if one.kind == "dnsmasq"]
    ours = [one for one in sections if one.kind == "odhcpd"]
    odhcpd = [path for path in (_file(one, "leasefile") for one in ours) if path] or _ODHCPD
    hosts = [path for path in (_file(one, "hostsfile") for one in ours) if path]
    return list(dict.fromkeys((*(dnsmasq or [_DNSMASQ]), *odhcpd, *hosts)))


def _file(section: Section, option: str) -> str:
    """ "" if it is not set, or not a path that a policy takes."""
    path = section.text(option)
    return (
        path if path.startswith("/") and not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in path) else ""
    )
