"""The kernel's table of neighbours, read in the lab: who has answered, and who is only said to be there."""

from __future__ import annotations

import json

import pytest

from cpe_filter.home import neighbour_table
from tests.lab.net import PYTHON, Lab

pytestmark = pytest.mark.live

_READ = """
import json, sys, time
from cpe_filter.home.neighbour_table import confirmed
begun = time.process_time()
found = confirmed(sys.argv[1:])
print(json.dumps([sorted({mac.hex(":") for mac in found.values()}), time.process_time() - begun]))
"""


def read(lab: Lab, *interfaces: str) -> set[str]:
    done = lab.run("router", [PYTHON, "-c", _READ, *interfaces])
    found, _ = json.loads(done.stdout)
    return set(found)


def neighbour(lab: Lab, what: str) -> None:
    lab.run("router", ["ip", "neigh", *what.split()])


def test_who_has_answered_is_confirmed(lab: Lab) -> None:
    neighbour(lab, "flush all")
    assert read(lab, "br-lan") == set()
    lab.run("device1", ["ping", "-c1", "-W2", "192.168.1.1"], check=False)
    lab.run("router", [PYTHON, "-c", "import socket; socket.socket(2, 2).sendto(b'x', ('192.168.1.101', 9))"])
    lab.run("router", [PYTHON, "-c", "import socket; socket.socket(10, 2).sendto(b'x', ('2001:db8:1::102', 9))"])
    lab.run("device1", ["sleep", "0.3"])
    assert read(lab, "br-lan") == {Lab.mac("device1"), Lab.mac("device2")}
    assert read(lab, "wan") <= read(lab, "wan", "br-lan")
    assert Lab.mac("device1") not in read(lab, "wan")
    assert read(lab, "no-such-one") == read(lab) == set()


@pytest.mark.parametrize("address", ["192.168.1.200", "2001:db8:1::200"])
@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("reachable", True),
        ("stale", True),
        ("delay", True),
        ("probe", True),
        ("permanent", True),
        ("noarp", False),
        ("failed", False),
        ("incomplete", False),
    ],
)
def test_states(lab: Lab, address: str, state: str, counts: bool) -> None:
    neighbour(lab, "flush all")
    neighbour(lab, f"replace {address} lladdr 02:00:00:00:09:09 dev br-lan nud {state}")
    assert ("02:00:00:00:09:09" in read(lab, "br-lan")) == counts


def test_a_crowd_is_looked_at_up_to_a_bound(lab: Lab) -> None:
    lab.run("router", ["sysctl", "-qw", "net.ipv4.neigh.default.gc_thresh3=8192"], check=False)
    lines = "\n".join(
        f"neigh replace 10.{n >> 8}.{n & 255}.9 lladdr 02:00:00:01:{n >> 8:02x}:{n & 255:02x} dev br-lan nud permanent"
        for n in range(neighbour_table.MOST + 500)
    )
    lab.run("router", ["ip", "-batch", "-"], given=lines)
    # One or two of the lab's own may be among those looked at, not confirmed yet.
    assert neighbour_table.MOST - 8 <= len(read(lab, "br-lan")) <= neighbour_table.MOST


_WHOSE = """
import json, sys, time
from ipaddress import ip_address
from cpe_filter.home.neighbour_table import mac_of, macs_of
address = ip_address(sys.argv[1]).packed
found = sorted(mac.hex(":") for mac in macs_of(address, sys.argv[2:]))
print(json.dumps([found, mac_of(address, sys.argv[2:]).hex(":")]))
"""


def whose(lab: Lab, address: str, *interfaces: str) -> tuple[list[str], str]:
    """All MACs of an address, and the only one."""
    found, only = json.loads(lab.run("router", [PYTHON, "-c", _WHOSE, address, *interfaces]).stdout)
    return found, only


@pytest.mark.parametrize("address", ["192.168.1.200", "2001:db8:1::200"])
def test_whose_an_address_is(lab: Lab, address: str) -> None:
    one, other = "02:00:00:00:09:09", "02:00:00:00:09:0a"
    assert whose(lab, address, "br-lan") == ([], "")
    neighbour(lab, f"replace {address} lladdr {one} dev br-lan nud failed")
    assert whose(lab, address, "br-lan") == ([], "")
    neighbour(lab, f"replace {address} lladdr {one} dev br-lan nud stale")
    assert whose(lab, address, "br-lan", "wan") == whose(lab, address, "br-*") == ([one], one)
    assert whose(lab, address, "wan") == whose(lab, address, "none") == whose(lab, address) == ([], "")
    # On two networks: nothing says which of the two.
    neighbour(lab, f"replace {address} lladdr {other} dev wan nud stale")
    assert whose(lab, address, "br-lan", "wan") == ([one, other], "")


def test_a_crowd_hides_no_address(lab: Lab) -> None:
    lab.run("router", ["sysctl", "-qw", "net.ipv4.neigh.default.gc_thresh3=8192"], check=False)
    lines = "\n".join(
        f"neigh replace 10.{n >> 8}.{n & 255}.9 lladdr 02:00:00:01:{n >> 8:02x}:{n & 255:02x} dev br-lan nud permanent"
        for n in range(neighbour_table.MOST + 500)
    )
    lab.run("router", ["ip", "-batch", "-"], given=lines)
    neighbour(lab, "replace 192.168.1.200 lladdr 02:00:00:00:09:09 dev br-lan nud stale")
    assert whose(lab, "192.168.1.200", "br-lan") == (["02:00:00:00:09:09"], "02:00:00:00:09:09")
