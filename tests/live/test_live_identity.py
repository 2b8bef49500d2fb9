"""Devices distinguished on a real router: hosts behind a second one, rotating addresses, DHCP names and random MACs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.lab.net import PYTHON, Filter, Lab, mx4, mx6

pytestmark = pytest.mark.live

MONITOR = '[filter]\nmode = "monitor"\n'


def sent(lab: Lab, host: str, server: str, *options: str) -> bool:
    lines = lab.run(host, [PYTHON, "-m", "tests.lab.send", server, *options], check=False).stdout.splitlines()
    return bool(lines) and all(line.startswith("sent") for line in lines)


def bot(lab: Lab, host: str, *options: str) -> str:
    return lab.run(host, [PYTHON, "-m", "tests.lab.bot", "--pause", "0.02", "--count", "20", *options]).stdout


def devices(running: Filter) -> dict[str, dict[str, Any]]:
    time.sleep(1.2)
    return {device["device"]: device for device in running.status()["devices"]}


def test_hosts_routed_behind_one_mac_are_told_apart(lab: Lab) -> None:
    clean, infected = lab.add_behind("device1")
    running = lab.start_filter(lab.policy(MONITOR))
    mac = Lab.mac("device1")
    assert sent(lab, clean, mx4(0))
    assert sent(lab, "device1", mx4(0))
    bot(lab, infected)
    bot(lab, infected, "--first", "30")  # so that packets of a convicted one come
    found = devices(running)
    assert set(found) == {mac, f"{mac} 192.168.7.101", f"{mac} 192.168.7.102"}
    assert found[f"{mac} 192.168.7.102"]["standing"] == "compromised"
    assert found[mac]["standing"] == found[f"{mac} 192.168.7.101"]["standing"] == "clear"
    assert f"device {mac} 192.168.7.102 is now compromised" in running.log()
    # The kernel knows MACs only: it must not refuse the neighbours.
    assert mac not in lab.run("router", ["nft", "list", "set", "inet", "cpe_filter", "blocked"]).stdout
    assert sent(lab, clean, mx4(4))
    assert sent(lab, "device1", mx4(4))
    assert not sent(lab, infected, mx4(4))


def test_rotating_addresses_of_one_64_are_one_device(lab: Lab) -> None:
    """On the LAN one with the device's IPv4 address and ULA; behind a second router one for the /64."""
    host, _ = lab.add_behind("device2")
    lab.run("router", ["ip", "-6", "addr", "add", "fd00:1::1/64", "dev", "br-lan", "nodad"])
    lab.run("internet", ["ip", "-6", "route", "add", "fd00:1::/64", "via", "2001:db8:2::1"])
    running = lab.start_filter(lab.policy(MONITOR))
    addresses = [f"2001:db8:1::{n:x}:{n * 4099 & 0xFFFF:x}" for n in range(1, 13)]
    for address in [*addresses, "fd00:1::101"]:
        lab.run("device1", ["ip", "-6", "addr", "add", f"{address}/64", "dev", "eth0", "nodad"])
        assert sent(lab, "device1", mx6(0), "--source", address)
    assert sent(lab, "device1", mx4(0))
    for n in range(1, 13):
        lab.run(host, ["ip", "-6", "addr", "add", f"2001:db8:7::7:{n:x}/64", "dev", "eth0", "nodad"])
        assert sent(lab, host, mx6(0), "--source", f"2001:db8:7::7:{n:x}")
    found = devices(running)
    assert set(found) == {Lab.mac("device1"), f"{Lab.mac('device2')} 2001:db8:7::/64"}
    assert found[Lab.mac("device1")]["messages"] == len(found[Lab.mac("device1")]["addresses"]) == 14
    assert found[f"{Lab.mac('device2')} 2001:db8:7::/64"]["messages"] == 12


def test_new_leases_stay_one_device(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    for address in ("192.168.1.150", "192.168.1.151", "192.168.1.150"):
        lab.run("device1", ["ip", "addr", "add", f"{address}/24", "dev", "eth0"])
        assert sent(lab, "device1", mx4(0), "--source", address)
        lab.run("device1", ["ip", "addr", "del", f"{address}/24", "dev", "eth0"])
    assert set(devices(running)) == {Lab.mac("device1")}


def test_names_from_leases_in_log_and_status(lab: Lab) -> None:
    hostile = "\x1b[2Jtv<b>"
    path = lab.folder / "dhcp.leases"
    path.write_text(
        f"1 {Lab.mac('device1')} {Lab.address4('device1')} laptop *\n"
        f"1 {Lab.mac('device2')} {Lab.address4('device2')} {hostile} *\n"
    )
    policy = lab.policy(MONITOR)
    policy.write_text(policy.read_text().replace(f'"{lab.folder}/lab.leases"', f'"{path}", "/nowhere"'))
    running = lab.start_filter(policy)
    assert sent(lab, "device1", mx4(0))
    bot(lab, "device2")
    found = devices(running)
    assert found[Lab.mac("device1")]["name"] == "laptop"
    assert found[Lab.mac("device2")]["name"] == "??2Jtv?b?"
    assert f"device {Lab.mac('device2')} (??2Jtv?b?) is now compromised" in running.log()
    text = lab.run("router", [PYTHON, "-m", "cpe_filter", "status", "--policy", str(policy)]).stdout
    assert f"{Lab.mac('device1')}  laptop     clear" in text
    assert f"{Lab.mac('device2')} (??2Jtv?b?, 192.168.1.102) is compromised" in text
    assert "\x1b" not in text + running.log()
