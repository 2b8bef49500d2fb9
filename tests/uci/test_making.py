"""The router's configuration -> policy: the mode without relays, lease files, both sides, the ISP's file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.policy.model import Policy
from cpe_filter.uci import making
from cpe_filter.uci.making import Made, Sources
from cpe_filter.uci.tables import UciError
from tests.uci.router import FIREWALL, LAN, WAN, forwarding, section, up, zone

RELAY = section("network", relays=["192.0.2.25"])


def make(
    ours: str = "", dhcp: str = "", firewall: tuple[str, ...] = FIREWALL, netifd: tuple[dict[str, Any], ...] = ()
) -> Made:
    texts = {"cpe-filter": ours, "network": LAN + WAN, "firewall": "".join(firewall), "dhcp": dhcp}
    exports = {name: f"package {name}\n\n{text}" for name, text in texts.items()}
    sources = Sources(exports, json.dumps({"interface": netifd}), {})
    return making.make(sources, making.configured(sources))


@pytest.mark.parametrize(
    ("ours", "mode", "note"),
    [
        ("", "monitor", "mode is monitor, because no relays are set: set network.relays"),
        (section("filter", fail="closed"), "monitor", "mode is monitor, because no relays are set"),
        (RELAY, "block", ""),
        (section("filter", mode="block"), "block", "filter.mode is block and network.relays is empty: mail to the"),
        (section("filter", mode="limit"), "limit", ""),
        (section("filter", mode="monitor") + RELAY, "monitor", ""),
    ],
)
def test_nothing_is_refused_before_relays_are_set(ours: str, mode: str, note: str) -> None:
    made = make(ours)
    assert made.policy.filter.mode == mode
    assert [text.startswith(note) for text in made.hints()] == [True] * bool(note)


def test_leases_are_where_dhcp_has_them() -> None:
    moved = section("dnsmasq", leasefile="/mnt/ssd/dhcp.leases") + section("odhcpd", leasefile="/mnt/ssd/odhcpd")
    assert make(RELAY, moved).policy.network.leases == ("/mnt/ssd/dhcp.leases", "/mnt/ssd/odhcpd")
    assert make(RELAY).policy.network.leases == Policy().network.leases
    ours = section("network", relays=["192.0.2.25"], leases=["/our/file"])
    assert make(ours, moved).policy.network.leases == ("/our/file",)
    assert make(section("network", relays=["192.0.2.25"], leases=[""]), moved).policy.network.leases == ()
    many = "".join(section("dnsmasq", leasefile=f"/{n}") for n in range(9))
    made = make(RELAY, many)
    assert len(made.policy.network.leases) == 8
    assert made.notes == ["devices' names are read from 8 of 11 lease files of DHCP"]


def test_a_device_in_zones_of_both_sides_is_wan() -> None:
    both = (zone("lan", "lan", device=["eth1", "eth5"]), zone("wan", "wan"), forwarding("lan", "wan"))
    made = make(RELAY, firewall=both)
    assert (made.policy.network.lan, made.policy.network.wan) == (("eth5", "br-lan"), ("eth1",))
    assert made.notes == ["eth1 is in zones of both sides, and counts as wan"]
    with pytest.raises(UciError, match="lan and wan both name eth1"):
        make(section("network", lan=["eth1"]), firewall=both)


def test_packages_that_cannot_be_read_are_left_out_and_noted() -> None:
    made = make(RELAY, dhcp="config dnsmasq\n\tx")
    assert made.policy.network.leases == Policy().network.leases
    assert made.notes == ["/etc/config/dhcp is not used: line 4 is not of `uci export`"]
    assert make(RELAY, firewall=("nonsense",)).policy.network.wan == ("eth1",)
    with pytest.raises(UciError, match="/etc/config/cpe-filter: line 3 is not"):
        make("nonsense")


def test_another_state_of_networks_is_no_other_configuration() -> None:
    texts = dict.fromkeys(making.PACKAGES, "")
    one = Sources(texts, "{}", {})
    assert one.digest() == Sources(texts, json.dumps({"interface": [up("a", "b")]}), {"a": "b"}).digest()
    assert one.digest() != Sources({**texts, "network": LAN}, "{}", {}).digest()


def test_the_isps_file(tmp_path: Path) -> None:
    file = tmp_path / "isp.toml"
    file.write_text('[filter]\nversion = "isp-7"\n')
    ours = section("cpe-filter", "main", policy_file=str(file))
    made = make(ours)
    assert made.policy.filter.version == "isp-7"
    assert (made.text, made.notes, made.file) == (file.read_bytes(), [], str(file))
    file.write_text("[limits]\nmessages_burst = 0\n")
    with pytest.raises(UciError, match=rf"^{file}: \[limits\] messages_burst is 0"):
        make(ours)
    # A copy of the policy that the service has made: the documents in it are not the router's own.
    signed = '[signed]\npolicy = "7 0123456789abcdef"\n'
    file.write_text(f'[filter]\nversion = "isp-7"\n{signed}')
    with pytest.raises(UciError, match=rf"^{file}: \[signed\] is for documents of the ISP"):
        make(ours)
    file.unlink()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (file, tmp_path, pipe):
        with pytest.raises(UciError, match="cannot be read"):
            make(section("cpe-filter", "main", policy_file=str(path)))


def test_documents_are_not_configured() -> None:
    with pytest.raises(UciError, match=r"^cpe-filter.signed: it is for documents of the ISP"):
        make(RELAY + section("signed", policy="7 0123456789abcdef"))
