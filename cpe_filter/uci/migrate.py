"""Removes the lists of networks that earlier versions wrote at their installation.

Knows what these wrote: the networks of zone `wan`, and of the zones that may forward to it, as they were then. Must not
know how the networks of today are found (ways). Today the zones are followed while the service runs, and such a list
would keep it from that. A list that differs from the zones of today stays: a user may have made it.
"""

from __future__ import annotations

from cpe_filter.enforce import process
from cpe_filter.lean.log import Line, notice
from cpe_filter.uci import export, making
from cpe_filter.uci.export import Section


def run() -> list[Line]:
    """Changes /etc/config/cpe-filter; returns what was done. Raises `UciError` and OSError."""
    sources = making.read_sources({})
    try:
        ours = export.parse(sources.exports["cpe-filter"])
        firewall = export.parse(sources.exports["firewall"])
    except export.ExportError:
        return []
    written = _as_written(firewall)
    done: list[Line] = []
    for section in ours:
        for option, networks in written.items():
            if section.kind == "network" and networks and set(section.words(option)) == networks:
                if process.run("uci", "-q", "delete", f"cpe-filter.{section.name}.{option}").code == 0:
                    done.append(
                        notice(f"cpe-filter.{section.name}.{option} removed: the firewall's zones say the same")
                    )
    if done:
        process.run("uci", "-q", "commit", "cpe-filter")
    return done


def _as_written(firewall: list[Section]) -> dict[str, set[str]]:
    sources = {one.text("src") for one in firewall if one.kind == "forwarding" and one.text("dest") == "wan"}
    lan: set[str] = set()
    wan: set[str] = set()
    for zone in firewall:
        if zone.kind == "zone" and zone.text("name") == "wan":
            wan |= {*zone.words("network")}
        elif zone.kind == "zone" and zone.text("name") in sources:
            lan |= {*zone.words("network")}
    return {"lan_network": lan, "wan_network": wan}
