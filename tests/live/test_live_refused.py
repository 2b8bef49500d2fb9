"""What the filter counts as refused is what the kernel has refused, whatever the mode and the firewall's own rules.

A case is drawn from a seed: mode, refusal, responder, where another table drops or rejects whose SYNs, routes, an
exemption, a device that was convicted before. REFUSED_SEED=N tries one seed alone.
"""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.attacks.variants import ALL
from tests.lab.mail import bot
from tests.lab.net import Lab

pytestmark = pytest.mark.live

SEEDS = range(60) if ALL else range(3)
FOR_DEVICE = {"IPv4": "ip saddr 192.168.1.10{}", "IPv6": "ip6 saddr 2001:db8:1::10{}"}
#: Hook and priority of another table, and whether it comes before the filter's own look at the packet.
PLACES = [
    "forward priority filter - 1",
    "forward priority filter + 1",
    "forward priority 200",
    "prerouting priority raw",
]


class Case:
    """What a seed says."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.mode = draw.choice(["monitor", "limit", "block", "block"])
        self.refusal = draw.choice(["reset", "explain"])
        self.responder = self.refusal == "explain" and draw.random() < 0.7
        self.place = draw.choice(PLACES)
        self.firewall = draw.choice(["drop", "reject", ""])
        self.device = draw.choice([1, 2])  # whose SYNs the firewall drops
        self.unreachable = draw.random() < 0.25
        self.spoofs = draw.random() < 0.25  # the other device uses an address that the router drops (rp_filter)
        self.exempt = draw.random() < 0.3
        self.convicted = draw.random() < 0.3

    def __repr__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in vars(self).items())

    @property
    def other(self) -> int:
        return 3 - self.device

    def policy(self) -> str:
        text = f'[filter]\nmode = "{self.mode}"\nrefusal = "{self.refusal}"\n'
        if self.exempt:
            text += f'[[exempt]]\ndevice = "02:00:00:00:01:0{self.other}"\ndestination = "198.18.1.25"\n'
        return text

    def silent(self) -> bool:
        """Whether all SYNs of `device` end before the filter's rules."""
        # A redirected connection does not get to the chain `forward`.
        redirected = self.refusal == "explain" and self.mode == "block" and not self.place.startswith("prerouting")
        return bool(self.firewall) and not redirected


def _prepare(lab: Lab, case: Case) -> None:
    if case.firewall:
        # Only what comes from this device: its SYNs to port 25.
        verdict = "reject with tcp reset" if case.firewall == "reject" else "drop"
        lines = [f"{words.format(case.device)} tcp dport 25 {verdict};" for words in FOR_DEVICE.values()]
        lab.nft("router", f"table inet other {{ chain c {{ type filter hook {case.place}; {' '.join(lines)} }}; }}")
    if case.unreachable:
        lab.run("router", ["ip", "route", "add", "unreachable", "198.18.4.0/22"])
        lab.run("router", ["ip", "-6", "route", "add", "unreachable", "2001:db8:104::/46"])
    if case.spoofs:
        name = f"device{case.other}"
        lab.run("router", ["sysctl", "-qw", "net.ipv4.conf.br-lan.rp_filter=1"])
        lab.run(name, ["ip", "addr", "add", "10.77.0.2/32", "dev", "eth0"])
        lab.run(name, ["ip", "route", "replace", "198.18.8.0/22", "via", "192.168.1.1", "src", "10.77.0.2"])


@pytest.mark.parametrize("seed", [int(os.environ["REFUSED_SEED"])] if "REFUSED_SEED" in os.environ else SEEDS)
def test_refused_is_what_the_kernel_refused(lab: Lab, seed: int) -> None:
    case = Case(seed)
    if case.convicted:
        before = lab.start_filter(lab.policy('[filter]\nmode = "monitor"\n'))
        bot(lab, "--count", "20", device=f"device{case.other}")
        before.wait_for("is now compromised")
        before.stop(signal.SIGTERM)
    _prepare(lab, case)
    path = lab.policy(case.policy())
    running = lab.start_filter(path)
    if case.responder:
        lab.start_responder(path)
    started = running.status()["devices"]
    for name in ("device1", "device2"):
        for options in ([], ["--six"]):
            bot(lab, "--count", "8", "--wait", "1", *options, device=name)
    running.device("device1")  # the status has been written since
    status = running.status()
    kernel = {name: packets for name, (packets, _) in status["kernel"].items()}
    refused_before = sum(device["refused"] for device in started)
    refused = sum(device["refused"] for device in status["devices"]) - refused_before
    by_kernel = kernel["refused"] + kernel["blocked"] + kernel["limited"] + kernel["explained"]
    assert refused == sum(status["refusals"].values()), case
    assert refused <= by_kernel, (case, kernel)
    if case.mode == "block" and not case.convicted:
        # Each SYN that it denies is also shown, and no client repeats one after a reset.
        assert refused == kernel["refused"] + kernel["explained"], (case, kernel)
    if case.mode == "monitor" and not case.convicted and not any(d["standing"] != "clear" for d in status["devices"]):
        assert refused == by_kernel == 0, (case, kernel)
    if case.silent():
        names = [device["device"] for device in status["devices"]]
        assert Lab.mac(f"device{case.device}") not in names, (case, names)
