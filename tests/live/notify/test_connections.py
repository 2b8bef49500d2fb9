"""Connections that are ended in conntrack: a device's with the Internet, and no others."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest

from cpe_filter.policy.model import Network
from tests.lab.net import PYTHON, Lab

pytestmark = pytest.mark.live

#: Sends one datagram to each address and port.
SEND = """
import json, socket, sys
for address, port in json.loads(sys.argv[1]):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 40000))
    s.sendto(b"x", (address, port))
    s.close()
"""
#: Ends those of the first argument's addresses, and prints how many; with none, prints what is there.
END = """
import json, sys
from ipaddress import ip_address, ip_network
from time import monotonic
from cpe_filter.lean import netlink
from cpe_filter.live.notify import connections
addresses, spared = json.loads(sys.argv[1])
if addresses:
    packed = {ip_address(one).packed for one in addresses}
    print(connections.end(packed, [ip_network(one) for one in spared], (53,)))
else:
    found = []
    for sequence, family in enumerate((2, 10), 1):
        with netlink.connect(netlink.NETLINK_NETFILTER, 5.0) as kernel:
            request = netlink.message(0x101, 0x301, sequence, netlink.netfilter_header(family, 0))
            for content in netlink.dump(kernel, request, 0x100, 4, monotonic() + 5):
                way = dict(netlink.attributes(dict(netlink.attributes(content[4:]))[1]))
                if dict(netlink.attributes(way[2])).get(2) == (40000).to_bytes(2, "big"):
                    ends = dict(netlink.attributes(way[1]))
                    port = int.from_bytes(dict(netlink.attributes(way[2]))[3], "big")
                    source, server = ends.get(1) or ends[3], ends.get(2) or ends[4]
                    found.append([str(ip_address(source)), str(ip_address(server)), port])
    print(json.dumps(sorted(found)))
"""
WEB4, WEB6, HELP4, PRIVATE4 = "198.18.9.1", "2001:db8:109::1", "198.18.81.1", "172.16.1.1"


def test_a_device_s_connections_end_and_no_others(lab: Lab) -> None:
    sent = [(WEB4, 443), (WEB4, 53), (WEB6, 443), (HELP4, 443), (PRIVATE4, 443)]
    lab.nft("router", "table ip6 lab { chain c { type filter hook forward priority 0; ct state new accept; }; }")
    for device in ("device1", "device2"):
        lab.run(device, [PYTHON, "-c", SEND, json.dumps(sent)])
    mine = [lab.address4("device1"), lab.address6("device1")]

    def run(addresses: list[str], spared: list[Network]) -> str:
        given = json.dumps([addresses, list(map(str, spared))])
        return lab.run("router", [PYTHON, "-c", END, given]).stdout

    before = json.loads(run([], []))
    assert len(before) == 2 * len(sent), before
    assert run(mine, [ip_network(f"{HELP4}/32")]) == "2\n"
    after = json.loads(run([], []))
    assert [one for one in before if one not in after] == [[mine[0], WEB4, 443], [mine[1], WEB6, 443]]
