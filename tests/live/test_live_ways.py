"""Mail that leaves by an interface outside [network] wan: it is left alone, and the filter says by which it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

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
    status = running.status()
    assert status["devices"] == []
    assert all(packets == 0 for packets, _ in status["kernel"].values()), status["kernel"]
    assert "refused" not in running.log()
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
