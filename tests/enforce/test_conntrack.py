"""The port after NAT, compared with what the other side sees, in namespaces with masquerade and a port collision."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cpe_filter.enforce.conntrack import _answer, wan_port
from tests.lab.net import Lab, mx4, mx6

pytestmark = pytest.mark.live


def inside(lab: Lab, name: str, work: Callable[[], Any]) -> Any:
    """What `work` gives in a thread of this host's namespace; sockets made there stay there."""
    found: list[Any] = []

    def run() -> None:
        with open(f"/run/netns/{lab.namespace(name)}") as namespace:
            _setns(namespace.fileno())
        found.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert found, "it failed"
    return found[0]


def _setns(fd: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def bare(live: None) -> Iterator[Lab]:
    with Lab(devices=2) as built:
        yield built


def connection(lab: Lab, device: str, server: str, port: int) -> tuple[socket.socket, int]:
    """From this port; the socket, and the port that the server sees."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET

    def listen() -> socket.socket:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((server, 25))
        listener.listen()
        listener.settimeout(5)
        return listener

    def connect() -> socket.socket:
        client = socket.socket(family, socket.SOCK_STREAM)
        client.settimeout(5)
        client.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        client.connect((server, 25))
        return client

    with inside(lab, "internet", listen) as listener:
        client = inside(lab, device, connect)
        accepted, peer = listener.accept()
        accepted.close()
        return client, peer[1]


def asked(lab: Lab, client: str, port: int, server: str) -> int | None:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    packed = socket.inet_pton(family, client), socket.inet_pton(family, server)
    found: int | None = inside(lab, "router", lambda: wan_port(packed[0], port, packed[1], 25))
    return found


def test_two_devices_with_the_same_port(bare: Lab) -> None:
    one, seen1 = connection(bare, "device1", mx4(0), 40123)
    two, seen2 = connection(bare, "device2", mx4(0), 40123)
    with one, two:
        assert 40123 in (seen1, seen2)
        assert seen1 != seen2
        assert asked(bare, bare.address4("device1"), 40123, mx4(0)) == seen1
        assert asked(bare, bare.address4("device2"), 40123, mx4(0)) == seen2
        assert asked(bare, bare.address4("device2"), 40124, mx4(0)) is None
        assert asked(bare, bare.address4("device2"), 40123, mx4(1)) is None


def test_ipv6(bare: Lab) -> None:
    # Where nothing asks for it, the kernel tracks no IPv6; the filter's ruleset does.
    bare.nft("router", "table ip6 t { chain c { type filter hook forward priority 0; ct state established accept; }; }")
    one, seen = connection(bare, "device1", mx6(0), 40123)
    with one:
        assert asked(bare, bare.address6("device1"), 40123, mx6(0)) == seen == 40123


def test_answers_of_any_bytes_are_a_port_or_none() -> None:
    draw = random.Random(6)
    for _ in range(5000):
        found = _answer(draw.randbytes(draw.randrange(80)))
        assert found is None or 0 <= found <= 65535
