"""The router's default routes, read from the kernel of a namespace: tables, rules, next hops, and floods of changes."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from cpe_filter.home.default_routes import Changes, Way, default_routes
from tests.lab.net import Lab
from tests.lab.netns import inside

pytestmark = pytest.mark.live


class Router:
    """The lab's router with three more uplinks, and without its own default routes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        for number, name in enumerate(("up1", "up2", "up3"), 1):
            self.ip(f"link add {name} type veth peer name peer{number}")
            self.ip(f"link set {name} up")
            self.ip(f"link set peer{number} up")
            self.ip(f"addr add 10.5{number}.0.1/24 dev {name}")
            self.ip(f"addr add 2001:db8:5{number}::1/64 dev {name} nodad")
        for family in ("-4", "-6"):
            self.ip(f"{family} route del default")

    def ip(self, words: str) -> None:
        self.lab.run("router", ["ip", *words.split()])

    def batch(self, family: str, lines: list[str]) -> None:
        self.lab.run("router", ["ip", family, "-batch", "-"], given="\n".join(lines))

    def read(self, *lan: str) -> set[Way]:
        with inside(self.lab.namespace("router")):
            return set(default_routes(lan or ("br-lan",)))


@pytest.fixture(scope="module")
def built(live: None) -> Iterator[Lab]:
    with Lab(devices=1) as lab:
        yield lab


@pytest.fixture(scope="module")
def bare(built: Lab) -> Router:
    return Router(built)


@pytest.fixture
def router(bare: Router) -> Iterator[Router]:
    yield bare
    for family in ("-4", "-6"):
        for table in ("main", "100", "1000"):
            bare.lab.run("router", ["ip", family, "route", "flush", "proto", "99", "table", table], check=False)
        while not bare.lab.run("router", ["ip", family, "rule", "del", "pref", "99"], check=False).returncode:
            pass
    bare.ip("link set up1 up")
    bare.ip("-6 addr replace 2001:db8:51::1/64 dev up1 nodad")  # the kernel removes it with the link


def test_there_is_none(router: Router) -> None:
    assert router.read() == set()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("to", ["default", "low", "high", "global"])
def test_all_of_the_internet(router: Router, family: int, to: str) -> None:
    places = {
        "default": "default",
        "low": {4: "0.0.0.0/1", 6: "::/1"}[family],
        "high": {4: "128.0.0.0/1", 6: "8000::/1"}[family],
        "global": "2000::/3",
    }
    if to == "global" and family == 4:
        return
    router.ip(f"-{family} route add {places[to]} dev up1 proto 99")
    assert router.read() == {Way("up1", family, 254, False, False)}  # type: ignore[arg-type]


@pytest.mark.parametrize("family", [4, 6])
def test_a_part_of_the_internet_is_not_a_default_route(router: Router, family: int) -> None:
    router.ip(f"-{family} route add {'64.0.0.0/2' if family == 4 else '2001::/16'} dev up1 proto 99")
    router.ip(f"-{family} route add unreachable default metric 4000 proto 99")
    assert router.read() == set()


@pytest.mark.parametrize("family", [4, 6])
def test_the_better_metric_goes_first(router: Router, family: int) -> None:
    router.ip(f"-{family} route add default dev up1 metric 20 proto 99")
    router.ip(f"-{family} route add default dev up2 metric 10 proto 99")
    found = {way.interface: way.standby for way in router.read()}
    assert found == {"up1": True, "up2": False}


def test_an_interface_that_is_down_is_not_a_way(router: Router) -> None:
    router.ip("route add default dev up1 proto 99")
    router.ip("link set up1 down")
    assert router.read() == set()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("table", ["100", "1000"])
def test_tables_that_rules_name(router: Router, family: int, table: str) -> None:
    router.ip(f"-{family} route add default dev up1 proto 99 table {table}")
    assert router.read() == set()
    router.ip(f"-{family} rule add fwmark 0x100/0xff00 lookup {table} pref 99")
    assert router.read() == {Way("up1", family, int(table), False, False)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "found", "blind"),
    [
        ("from 192.168.1.0/24", True, False),
        ("iif br-lan", True, True),
        ("iif up2", False, False),  # for what comes from an uplink: not the home's packets
        ("oif up1", False, False),  # for the router's own sockets that are bound to it
        ("ipproto tcp dport 25", True, True),
        ("ipproto tcp", True, True),
        ("tos 0x10", True, True),
        ("not fwmark 0x1", True, False),
    ],
)
def test_rules(router: Router, rule: str, found: bool, blind: bool) -> None:
    router.ip("route add default dev up1 proto 99 table 100")
    router.ip(f"rule add {rule} lookup 100 pref 99")
    assert router.read() == ({Way("up1", 4, 100, False, blind)} if found else set())


def test_a_rule_for_a_network_by_pattern(router: Router) -> None:
    router.ip("route add default dev up1 proto 99 table 100")
    router.ip("rule add iif br-lan lookup 100 pref 99")
    assert router.read("br-*") == {Way("up1", 4, 100, False, True)}


def test_a_rule_that_suppresses_default_routes(router: Router) -> None:
    """As wg-quick has one for the main table: there the default route does not count by this rule."""
    router.ip("route add default dev up1 proto 99 table 100")
    router.ip("rule add lookup 100 suppress_prefixlength 0 pref 99")
    assert router.read() == set()


@pytest.mark.parametrize("family", [4, 6])
def test_several_next_hops(router: Router, family: int) -> None:
    one, two = ("10.51.0.9", "10.52.0.9") if family == 4 else ("2001:db8:51::9", "2001:db8:52::9")
    router.ip(f"-{family} route add default proto 99 nexthop via {one} dev up1 nexthop via {two} dev up2")
    assert {(way.interface, way.blind) for way in router.read()} == {("up1", True), ("up2", True)}


def test_a_default_route_among_many_routes(router: Router) -> None:
    """IPv4's is listed first, IPv6's last."""
    lines = [f"route add 172.{16 + n % 16}.{n // 16 % 256}.{n // 4096}/32 dev up2 proto 99" for n in range(20000)]
    router.batch("-4", [*lines, "route add default dev up1 proto 99"])
    lines = [f"route add 2001:db8:{n:x}::/48 dev up2 proto 99" for n in range(256, 4000)]
    router.batch("-6", [*lines, "route add default dev up1 proto 99"])
    assert router.read() == {Way("up1", 4, 254, False, False), Way("up1", 6, 254, False, False)}


def test_a_flood_of_changes_wakes_once(router: Router) -> None:
    poll = select.poll()
    with inside(router.lab.namespace("router")):
        changes = Changes(poll)
    try:
        assert poll.poll(0) == []
        assert not changes.changed()
        router.batch("-4", [f"route add 172.20.{n // 256}.{n % 256}/32 dev up2 proto 99" for n in range(5000)])
        ((fd, _),) = poll.poll(0)
        assert fd == changes.fd
        changes.serve()
        assert poll.poll(0) == []  # however many there are
        assert changes.changed()
        while poll.poll(0):  # the kernel's word that there were more
            changes.serve()
            changes.changed()
        assert not changes.changed()
        router.ip("link set up3 down")
        assert poll.poll(1000)
        changes.serve()
        assert changes.changed()
    finally:
        changes.close()
    assert poll.poll(0) == []
