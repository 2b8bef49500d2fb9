"""Submission in the kernel: what is counted of real log-ins by TLS, and that nothing is touched. Mail from outside."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.lab.net import DEADLINE_S, PYTHON, RELAY4, Filter, Lab, mx4, mx6

pytestmark = pytest.mark.live


@pytest.fixture
def servers(lab: Lab) -> Lab:
    process = lab.start("internet", [PYTHON, "-m", "tests.lab.submission", "serve", str(lab.folder)])
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return lab


def login(lab: Lab, password: str, places: list[str], device: str = "device1") -> list[str]:
    return lab.run(device, [PYTHON, "-m", "tests.lab.submission", "login", password, *places]).stdout.split()


def kernel(lab: Lab, device: str = "device1") -> tuple[int, ...]:
    """Connections, servers, answered, short."""
    found = []
    for name in ("connections", "servers", "answered", "short"):
        text = lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", f"submission_{name}"]).stdout
        match = re.search(lab.mac(device) + r" counter packets (\d+)", text)
        found.append(int(match[1]) if match else 0)
    return tuple(found)


def places(ports: tuple[int, ...], hosts: list[str]) -> list[str]:
    return [f"{host}:{port}" for port in ports for host in hosts]


@pytest.mark.parametrize("mode", ["monitor", "limit", "block"])
def test_log_ins_are_counted_and_all_of_them_get_through(servers: Lab, mode: str) -> None:
    servers.start_filter(servers.policy(f'[filter]\nmode = "{mode}"\n'))
    hosts = [mx4(1), mx4(2), mx6(1)]
    assert login(servers, "right", places((465, 587, 2525), hosts)) == ["sent"] * 9
    assert kernel(servers) == (9, 3, 9, 0)
    assert login(servers, "wrong", places((465, 587, 2525), hosts)) == ["refused"] * 9
    assert kernel(servers) == (18, 3, 18, 9)
    # Nobody listens there: refused by a RST, and silence.
    servers.nft("internet", f"add rule inet lab in ip daddr {mx4(3)} tcp dport 587 drop")
    servers.nft("internet", f"add rule inet lab in ip daddr {mx4(4)} tcp dport 587 reject with tcp reset")
    login(servers, "right", places((587,), [mx4(3), mx4(4)]))
    assert kernel(servers) == (20, 5, 18, 9)
    assert kernel(servers, "device2") == (0, 0, 0, 0)


def wait(running: Filter, servers: int) -> dict[str, Any]:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        for one in running.status()["submission"]:
            if one["servers"] >= servers:
                found: dict[str, Any] = one
                return found
        time.sleep(0.3)
    raise AssertionError(running.status()["submission"])


def test_a_device_that_tries_many_servers_is_reported_and_not_blocked(servers: Lab) -> None:
    hosts = [mx4(n) for n in range(20)] + [mx6(n) for n in range(20)]
    running = servers.start_filter(servers.policy('[filter]\nmode = "block"\n'))
    assert login(servers, "wrong", places((587,), hosts)) == ["refused"] * 40
    assert kernel(servers) == (40, 40, 40, 40)
    running.stop(9)
    # Killed, and started again: the kernel's counts have stayed, and are read at once.
    running = servers.start_filter(servers.policy('[filter]\nmode = "block"\n'))
    found = wait(running, 40)
    assert (found["device"], found["connections"], found["failures"]) == (servers.mac("device1"), 40, 40)
    assert found["many"]
    assert "used 40 submission servers" in running.wait_for("submission servers")
    assert not any(device["standing"] != "clear" for device in running.status()["devices"])
    assert login(servers, "right", places((465, 587), hosts[:2])) == ["sent"] * 4
    shown = servers.run("router", [PYTHON, "-m", "cpe_filter", "status", "--policy", str(running.policy)]).stdout
    assert "40 servers, 40 of 40 connections failed; nothing is blocked" in shown


def test_relays_and_what_is_exempt_do_not_count_and_the_policy_switches_it_off(servers: Lab) -> None:
    exempt = (
        f'[[exempt]]\ndevice = "{servers.mac("device2")}"\n'
        f'[[exempt]]\ndestination = "{mx4(7)}"\n'
        f'[[exempt]]\ndevice = "{servers.mac("device1")}"\ndestination = "{mx4(8)}"\n'
    )
    running = servers.start_filter(servers.policy('[filter]\nmode = "block"\n' + exempt))
    assert login(servers, "wrong", places((587,), [RELAY4, mx4(7), mx4(8), mx4(9)])) == ["refused"] * 4
    assert kernel(servers) == (1, 1, 1, 1)
    assert login(servers, "wrong", places((587,), [mx4(7), mx4(8), mx4(9)]), "device2") == ["refused"] * 3
    assert kernel(servers, "device2") == (0, 0, 0, 0)
    servers.policy('[filter]\nmode = "block"\n[detect]\nsubmission = false\n')
    servers.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(running.policy)])
    assert login(servers, "wrong", places((587,), [mx4(10)])) == ["refused"]
    assert kernel(servers) == (1, 1, 1, 1)


def test_a_flood_of_made_up_macs_leaves_room_for_the_homes_devices(servers: Lab) -> None:
    """Frames of SYNs from 1,500 MACs without a lease, then a device of the home."""
    servers.start_filter(servers.policy('[filter]\nmode = "block"\n'))
    router = servers.run("router", ["cat", "/sys/class/net/br-lan/address"]).stdout.strip()
    program = (
        "import socket, struct, sys\n"
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))\n"
        f"to = bytes.fromhex({router.replace(':', '')!r})\n"
        "def total(data):\n"
        "    n = sum(struct.unpack('>%dH' % (len(data) // 2), data))\n"
        "    while n >> 16: n = (n & 0xffff) + (n >> 16)\n"
        "    return ~n & 0xffff\n"
        "for n in range(1500):\n"
        "    src, dst = socket.inet_aton('192.168.1.200'), socket.inet_aton('198.18.%d.%d' % (n % 250, n // 250))\n"
        "    tcp = struct.pack('>HHIIBBHHH', 1024 + n, 587, n, 0, 5 << 4, 2, 1024, 0, 0)\n"
        "    tcp = tcp[:16] + struct.pack('>H', total(src + dst + struct.pack('>HH', 6, 20) + tcp)) + tcp[18:]\n"
        "    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 40, n, 0, 64, 6, 0, src, dst)\n"
        "    ip = ip[:10] + struct.pack('>H', total(ip)) + ip[12:]\n"
        "    s.send(to + b'\\2\\7\\0\\0' + struct.pack('>H', n) + b'\\10\\0' + ip + tcp)\n"
    )
    servers.run("device2", [PYTHON, "-c", program])
    text = servers.run("router", ["nft", "list", "set", "inet", "cpe_filter", "submission_connections"]).stdout
    assert 1 <= text.count("counter packets") <= 80
    assert login(servers, "wrong", places((587,), [mx4(1)])) == ["refused"]
    assert kernel(servers) == (1, 1, 1, 1)


@pytest.mark.parametrize("port", [25, 465, 587])
@pytest.mark.parametrize("family", [4, 6])
def test_a_device_that_answers_from_outside_takes_mail(lab: Lab, port: int, family: int) -> None:
    lab.start_filter(lab.policy('[filter]\nmode = "block"\n'))
    lab.nft(
        "router",
        "table ip fw { chain pre { type nat hook prerouting priority dstnat; "
        f"iifname wan tcp dport {port} dnat to {lab.address4('device1')}; }}; }}",
    )
    ask = f"import socket; socket.create_connection(('{{}}', {port}), 2).recv(9)"
    target = "192.0.2.1" if family == 4 else lab.address6("device1")

    def serving() -> str:
        return lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", "serving"]).stdout

    lab.run("internet", [PYTHON, "-c", ask.format(target)], check=False)
    assert "counter packets" not in serving()  # nothing listens: a RST
    program = (
        f"import socket\ns = socket.create_server(('', {port}), family=socket.AF_INET6, dualstack_ipv6=True)\n"
        "print('ready', flush=True)\nwhile True: s.accept()[0].sendall(b'220 hello\\r\\n')\n"
    )
    process = lab.start("device1", [PYTHON, "-c", program])
    assert process.stdout is not None
    process.stdout.readline()
    # Within the home it says nothing.
    lab.run("device2", [PYTHON, "-c", ask.format(lab.address4("device1"))], check=False)
    assert "counter packets" not in serving()
    lab.run("internet", [PYTHON, "-c", ask.format(target)])
    assert f"{lab.mac('device1')} counter packets 1 " in serving()
