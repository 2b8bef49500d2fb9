"""Mail that leaves by an interface outside [network] wan: it is left alone, and the filter says by which it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.attacks.variants import variants
from tests.lab.mail import bot, sent
from tests.lab.net import DEADLINE_S, PYTHON, RELAY4, Filter, Lab, mx4, mx6

pytestmark = pytest.mark.live

#: Both families, by a second cable to the same Internet.
WAY = "wg0"


def policy(mode: str, refusal: str = "reset", more: str = "") -> str:
    return f'[filter]\nmode = "{mode}"\nrefusal = "{refusal}"\n{more}'


def ip(lab: Lab, host: str, words: str) -> None:
    lab.run(host, ["ip", *words.split()])


def add_way(lab: Lab, name: str = WAY, number: int = 9) -> None:
    """A second way to the Internet, with addresses and no route."""
    ip(lab, "router", f"link add {name} type veth peer name vpn{number} netns {lab.namespace('internet')}")
    ip(lab, "router", f"link set {name} up")
    ip(lab, "internet", f"link set vpn{number} up")
    ip(lab, "router", f"addr add 10.{number}.0.2/24 dev {name}")
    ip(lab, "router", f"addr add 2001:db8:{number}::2/64 dev {name} nodad")
    ip(lab, "internet", f"addr add 10.{number}.0.1/24 dev vpn{number}")
    ip(lab, "internet", f"addr add 2001:db8:{number}::1/64 dev vpn{number} nodad")
    ip(lab, "internet", f"route add 192.168.1.0/24 via 10.{number}.0.2 dev vpn{number}")
    # For this test all of the home's IPv6 answers come back here.
    ip(lab, "internet", f"-6 route replace 2001:db8:1::/64 via 2001:db8:{number}::2")
    for host in ("router", "internet"):
        lab.run(host, ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])


def unwatched(running: Filter, interface: str = WAY) -> dict[str, Any] | None:
    for way in running.status()["unwatched"]:
        if way["interface"] == interface:
            found: dict[str, Any] = way
            return found
    return None


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.2)


def wait_for_way(running: Filter, connections: int, interface: str = WAY) -> dict[str, Any]:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        way = unwatched(running, interface)
        if way is not None and way["connections"] >= connections:
            return way
        time.sleep(0.2)
    raise AssertionError(f"{interface}: {running.status()['unwatched']}")


# ── how others route mail ───────────────────────────────────────────────────────────────────────────

MARK = "0x10000/0xff0000"


def table(lab: Lab) -> None:
    """Table 100 leads to the second way, as pbr and mwan3 make one for each interface."""
    ip(lab, "router", "route add default via 10.9.0.1 table 100")
    ip(lab, "router", "-6 route add default via 2001:db8:9::1 table 100")


def rule(lab: Lab, words: str) -> None:
    for family in ("-4", "-6"):
        ip(lab, "router", f"{family} rule add {words} lookup 100")


def by_source(lab: Lab) -> None:
    table(lab)
    for number in (1, 2):
        ip(lab, "router", f"rule add from 192.168.1.10{number} lookup 100")
        ip(lab, "router", f"-6 rule add from 2001:db8:1::10{number} lookup 100")


def by_mark(lab: Lab) -> None:
    """As pbr does."""
    table(lab)
    rule(lab, f"fwmark {MARK}")
    lab.nft(
        "router",
        "table inet pbr { chain pre { type filter hook prerouting priority mangle; "
        "iifname br-lan tcp dport 25 meta mark set meta mark & 0xff00ffff | 0x00010000; }; }",
    )


def by_connection_mark(lab: Lab) -> None:
    """As mwan3 does."""
    table(lab)
    rule(lab, f"fwmark {MARK}")
    lab.nft(
        "router",
        "table inet mwan3 { chain pre { type filter hook prerouting priority mangle; "
        "iifname br-lan meta mark set ct mark; iifname br-lan meta mark 0 tcp dport 25 meta mark set 0x10000; "
        "ct mark set meta mark; }; }",
    )


def by_port(lab: Lab) -> None:
    table(lab)
    rule(lab, "ipproto tcp dport 25")


def by_interface(lab: Lab) -> None:
    table(lab)
    rule(lab, "iif br-lan")


def by_destination(lab: Lab) -> None:
    ip(lab, "router", "route add 198.18.0.0/15 via 10.9.0.1")
    ip(lab, "router", "-6 route add 2001:db8:100::/40 via 2001:db8:9::1")


def by_halves(lab: Lab) -> None:
    """As OpenVPN's redirect-gateway def1 does."""
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        ip(lab, "router", f"route add {half} via 10.9.0.1")
    ip(lab, "router", "-6 route add 2000::/3 via 2001:db8:9::1")


ROUTINGS: dict[str, Callable[[Lab], None]] = {
    each.__name__: each
    for each in (by_source, by_mark, by_connection_mark, by_port, by_interface, by_destination, by_halves)
}


@variants(routing=ROUTINGS, refusal=("reset", "explain"))
def test_mail_of_policy_routing_is_left_alone(lab: Lab, routing: str, refusal: str) -> None:
    """Mode block, with and without the responder: the rules before the routing must not take it either."""
    add_way(lab)
    ROUTINGS[routing](lab)
    path = lab.policy(policy("block", refusal))
    running = lab.start_filter(path)
    if refusal == "explain":
        lab.start_responder(path)
    if routing != "by_destination":
        running.wait_for(f"IPv6 leaves by {WAY}")
        running.wait_for(f"IPv4 leaves by {WAY}")
    assert sent(lab, mx4(0))
    assert sent(lab, mx6(0))
    # More than what a device may open at once in any mode.
    attempts = bot(lab, "--count", "24") + bot(lab, "--count", "24", "--six")
    assert sum(attempt["ended"] == "message" for attempt in attempts) > 8
    way = wait_for_way(running, 50)
    assert way["families"] == [4, 6]
    assert_untouched(running)


def assert_not_refused(running: Filter) -> None:
    status = running.status()
    kernel = {name: packets for name, (packets, _) in status["kernel"].items()}
    refused = [kernel[name] for name in ("refused", "blocked", "limited", "explained", "undecided", "flooded")]
    assert not any(refused), kernel
    assert not any(status["refusals"].values())
    assert " refused " not in running.log()


def assert_untouched(running: Filter) -> None:
    assert_not_refused(running)
    status = running.status()
    assert status["devices"] == []
    assert all(packets == 0 for packets, _ in status["kernel"].values()), status["kernel"]


@pytest.mark.parametrize("mode", ["monitor", "limit", "block"])
def test_a_convicted_device_is_left_alone_elsewhere(lab: Lab, mode: str) -> None:
    """What it did by a watched interface has no consequence for what it does by another one."""
    running = lab.start_filter(lab.policy(policy("monitor")))
    bot(lab, "--count", "20")
    running.wait_for("is now compromised")
    running.stop()
    # Servers whose connections the conviction has ended send again for a while, and that is refused.
    late = "type filter hook prerouting priority -400; iif wan tcp sport 25 drop;"
    lab.nft("router", f"table inet late {{ chain c {{ {late} }}; }}")
    add_way(lab)
    by_mark(lab)
    running = lab.start_filter(lab.policy(policy(mode)))
    running.wait_for(f"IPv4 leaves by {WAY}")
    attempts = bot(lab, "--count", "24") + bot(lab, "--count", "24", "--six")
    assert sum(attempt["ended"] == "message" for attempt in attempts) > 8
    wait_for_way(running, 48)
    assert_not_refused(running)


@pytest.mark.parametrize("mode", ["monitor", "limit", "block"])
def test_mail_by_a_default_route_elsewhere_is_left_alone_and_named(lab: Lab, mode: str) -> None:
    add_way(lab)
    ip(lab, "router", "route replace default via 10.9.0.1")
    ip(lab, "router", "-6 route replace default via 2001:db8:9::1")
    running = lab.start_filter(lab.policy(policy(mode)))
    running.wait_for(f"IPv4 leaves by {WAY}, which is not watched: a default route leads there")
    running.wait_for(f"IPv6 leaves by {WAY}, which is not watched")
    assert len(bot(lab, "--count", "20", "--pause", "0.02")) == 20
    assert sent(lab, mx4(0))
    assert sent(lab, mx6(0))
    way = wait_for_way(running, 22)
    assert way["families"] == way["default_route"] == [4, 6]
    assert way["connections"] == 22
    assert_untouched(running)
    assert running.log().count("which is not watched") == 2


def test_wan_follows_a_reload(lab: Lab) -> None:
    """The device keeps its standing, running connections go on, and no packet is lost."""
    add_way(lab)
    ip(lab, "router", "route replace default via 10.9.0.1")
    path = lab.policy(policy("block"))
    running = lab.start_filter(path)
    running.wait_for(f"IPv4 leaves by {WAY}")
    assert sent(lab, mx4(0))
    wait_for_way(running, 1)
    text = path.read_text()
    path.write_text(text.replace('wan = ["wan"]', 'wan = ["wan", "wg*"]'))
    done = lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(path)])
    assert "[network] wan" in done.stdout
    assert "restart" not in done.stdout
    assert not sent(lab, mx4(1))
    wait_until(lambda: unwatched(running) is None)
    device = running.device("device1")
    assert device is not None
    assert device["refused"] == 1
    path.write_text(text)
    lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(path)])
    assert sent(lab, mx4(0))
    assert running.status()["devices"][0]["refused"] == 1
    wait_for_way(running, 1)


def test_a_pattern_stands_for_interfaces_that_come_later(lab: Lab) -> None:
    path = lab.policy(policy("block"))
    path.write_text(path.read_text().replace('wan = ["wan"]', 'wan = ["ppp*", "wan"]').replace('"br-lan"', '"br-*"'))
    running = lab.start_filter(path)
    add_way(lab, "ppp7")
    ip(lab, "router", "route replace default via 10.9.0.1")
    ip(lab, "router", "-6 route replace default via 2001:db8:9::1")
    assert not sent(lab, mx4(0))
    assert not sent(lab, mx6(0))
    assert sent(lab, RELAY4)
    assert running.status()["unwatched"] == []
    device = running.device("device1")
    assert device is not None
    assert device["refused"] == 2


# ── several ways at once ────────────────────────────────────────────────────────────────────────────

#: A client that pauses after each reply, so that routes can change in between. argv: server, seconds.
SLOW = """
import socket, sys, time
peer = socket.create_connection((sys.argv[1], 25), timeout=60).makefile("rwb", buffering=0)
for line in ("", "EHLO laptop.home.example", "MAIL FROM:<>", "RCPT TO:<>", "RSET", "NOOP", "QUIT"):
    if line:
        peer.write(line.encode() + b"\\r\\n")
    while (reply := peer.readline())[3:4] == b"-":
        pass
    print(reply.decode().strip(), flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("refusal", ["reset", "explain"])
def test_of_two_next_hops_one_is_watched(lab: Lab, refusal: str) -> None:
    """Each connection is filtered or left alone by the way that it takes, which only the routing knows."""
    add_way(lab)
    lab.run("router", ["sysctl", "-qw", "net.ipv4.fib_multipath_hash_policy=1"])
    ip(lab, "router", f"route replace default nexthop via 192.0.2.254 dev wan nexthop via 10.9.0.1 dev {WAY}")
    path = lab.policy(policy("block", refusal))
    running = lab.start_filter(path)
    if refusal == "explain":
        lab.start_responder(path)
    running.wait_for(f"IPv4 leaves by {WAY}")
    bot(lab, "--count", "40")
    way = wait_for_way(running, 5)
    device = running.device("device2")
    assert device is not None
    kernel = running.status()["kernel"]
    assert way["connections"] + kernel["refused"][0] >= 40
    assert kernel["explained"][0] == kernel["limited"][0] == 0
    assert 5 < device["refused"] <= kernel["refused"][0]


def test_answers_may_come_in_by_any_interface(lab: Lab) -> None:
    """What leaves by a watched interface is watched: here IPv6's answers come in by another one."""
    add_way(lab)
    running = lab.start_filter(lab.policy(policy("monitor")))
    bot(lab, "--count", "20", "--six")
    running.wait_for("is now compromised")


@pytest.mark.parametrize("mode", ["monitor", "limit", "block"])
def test_answers_alone_are_not_looked_at(lab: Lab, mode: str) -> None:
    """Mail leaves by an unwatched interface, and its answers come in by the watched one."""
    add_way(lab)
    ip(lab, "router", "-6 route replace default via 2001:db8:9::1")
    ip(lab, "internet", "-6 route replace 2001:db8:1::/64 via 2001:db8:2::1")
    running = lab.start_filter(lab.policy(policy(mode)))
    running.wait_for(f"IPv6 leaves by {WAY}")
    bot(lab, "--count", "20", "--six")
    wait_for_way(running, 20)
    assert_untouched(running)


def test_a_connection_that_changes_its_way(lab: Lab) -> None:
    """From the watched interface to another one, and back: it goes on, and it shows nothing against the device."""
    add_way(lab)
    running = lab.start_filter(lab.policy(policy("monitor")))
    client = lab.start("device1", [PYTHON, "-c", SLOW, mx6(0), "1.5"])
    assert client.stdout is not None
    replies = [client.stdout.readline() for _ in range(2)]
    ip(lab, "router", "-6 route replace default via 2001:db8:9::1")
    replies += [client.stdout.readline() for _ in range(2)]
    ip(lab, "router", "-6 route replace default via 2001:db8:2::fe")
    replies += client.stdout.readlines()
    assert len(replies) == 7, replies
    assert replies[-1].startswith("221")
    assert wait_for_way(running, 1)["connections"] == 1
    device = running.device("device1")
    assert device is not None
    assert (device["standing"], device["refused"], device["connections"]) == ("clear", 0, 1)
    assert device["score"] == 0
    assert_not_refused(running)


@pytest.mark.parametrize("mode", ["limit", "block"])
def test_mail_from_one_network_of_the_home_to_another(lab: Lab, mode: str) -> None:
    add_way(lab)
    ip(lab, "router", "route replace default via 10.9.0.1")
    ip(lab, "router", "-6 route replace default via 2001:db8:9::1")
    path = lab.policy(policy(mode))
    path.write_text(path.read_text().replace('lan = ["br-lan"]', f'lan = ["br-lan", "{WAY}"]'))
    running = lab.start_filter(path)
    bot(lab, "--count", "24")
    assert sent(lab, mx6(0))
    time.sleep(6)
    assert running.status()["unwatched"] == []
    assert_untouched(running)


def test_mail_of_the_router_itself(lab: Lab) -> None:
    add_way(lab)
    ip(lab, "router", "route replace default via 10.9.0.1")
    running = lab.start_filter(lab.policy(policy("block")))
    assert sent(lab, mx4(0), device="router")
    wait_for_way(running, 1)
    assert_untouched(running)


def test_mail_that_is_redirected_into_the_home(lab: Lab) -> None:
    """A port forward of the router takes mail back to a host of the home (hairpin): it does not leave."""
    add_way(lab)
    lab.nft(
        "router",
        "table ip forwards { chain pre { type nat hook prerouting priority dstnat; "
        "ip daddr 192.0.2.1 tcp dport 25 dnat to 192.168.1.101; }; "
        "chain post { type nat hook postrouting priority srcnat; oifname br-lan ct status dnat masquerade; }; }",
    )
    server = (
        "import socket; s = socket.create_server(('', 25)); print('ready', flush=True); "
        "s.accept()[0].sendall(b'220 x\\r\\n')"
    )
    host = lab.start("device1", [PYTHON, "-c", server])
    assert host.stdout is not None
    assert host.stdout.readline() == "ready\n"
    path = lab.policy(policy("block", "explain"))
    path.write_text(path.read_text().replace("[network]\n", '[network]\nprivate_destinations = "filter"\n'))
    running = lab.start_filter(path)
    client = "import socket; print(socket.create_connection(('192.0.2.1', 25), timeout=20).recv(9))"
    assert "220" in lab.run("device2", [PYTHON, "-c", client]).stdout
    time.sleep(6)
    assert running.status()["unwatched"] == []
    assert_untouched(running)
