"""Where /etc/config/dhcp has the lease files."""

from __future__ import annotations

import pytest

from cpe_filter.policy.model import Policy
from cpe_filter.uci.lease_files import paths
from tests.uci.router import section, sections

DEFAULT = list(Policy().network.leases)
DNSMASQ, *ODHCPD = DEFAULT


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ((), DEFAULT),
        ((section("dnsmasq"), section("odhcpd", "odhcpd")), DEFAULT),
        ((section("dnsmasq", leasefile="/mnt/ssd/dhcp.leases"),), ["/mnt/ssd/dhcp.leases", *ODHCPD]),
        ((section("dnsmasq", leasefile="/a"), section("dnsmasq", "guest", leasefile="/b c")), ["/a", "/b c", *ODHCPD]),
        (
            (section("odhcpd", leasefile="/mnt/odhcpd", hostsfile="/tmp/hosts/odhcpd"),),
            [DNSMASQ, "/mnt/odhcpd", "/tmp/hosts/odhcpd"],
        ),
        ((section("dnsmasq", leasefile="/a"), section("dnsmasq", "guest")), ["/a", DNSMASQ, *ODHCPD]),
        ((section("odhcpd", "odhcpd", hostsfile="/h"),), [*DEFAULT, "/h"]),
        ((section("dnsmasq", leasefile="/tmp/\udcff"), section("odhcpd", leasefile="/\udc80")), DEFAULT),
        ((section("odhcpd", leasefile="/x"), section("dnsmasq", leasefile="/x")), ["/x"]),
        ((section("dnsmasq", leasefile="leases"), section("dhcp", leasefile="/x")), DEFAULT),
    ],
)
def test_paths(texts: tuple[str, ...], found: list[str]) -> None:
    assert paths(sections(*texts)) == found
