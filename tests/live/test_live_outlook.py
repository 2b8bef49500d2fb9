"""The running filter's outlook, in the lab: its rules flushed by others, fw4 beside it, its metrics, its status."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from cpe_filter.enforce.offload import COMMENT
from tests.lab.mail import bot, sent
from tests.lab.net import DEADLINE_S, PYTHON, RELAY4, Filter, Lab, mx4, mx6, within
from tests.status.test_metrics import read

pytestmark = pytest.mark.live

MONITOR = '[filter]\nmode = "monitor"\n'
BLOCK = '[filter]\nmode = "block"\nrefusal = "reset"\n'
#: What fw4 does when it starts: our exemption is gone, and everything else of ours stays.
FW4 = """
table inet fw4
delete table inet fw4
table inet fw4 {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state vmap { established : accept, related : accept }
        accept
    }
}
"""
NAT = "table ip lab_nat { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }; }"


def ours(lab: Lab) -> str:
    """The filter's rules in the kernel, hand-off included."""
    return lab.run("router", ["nft", "-s", "-t", "list", "table", "inet", "cpe_filter"], check=False).stdout


def seconds_until(lab: Lab, expected: str, timeout_s: float = DEADLINE_S) -> float:
    begun = time.monotonic()
    while ours(lab) != expected:
        assert time.monotonic() - begun < timeout_s, ours(lab)
        time.sleep(0.02)
    return time.monotonic() - begun


def with_metrics(lab: Lab, text: str) -> tuple[Path, Path]:
    """A policy that has the metrics written every second; and where."""
    path, metrics = lab.policy(text), lab.folder / "cpe-filter.prom"
    keys = f'status_interval_s = 1\nmetrics_file = "{metrics}"\nmetrics_interval_s = 1\n'
    path.write_text(path.read_text().replace("status_interval_s = 1\n", keys))
    return path, metrics


def test_a_flushed_ruleset_is_back_within_five_seconds(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(BLOCK))
    before = ours(lab)
    assert not sent(lab, mx4(0))
    for number in range(1, 3):
        lab.run("router", ["nft", "flush", "ruleset"])
        assert seconds_until(lab, before) < within(5)
        lab.nft("router", NAT)
        for server in (mx4(0), mx6(0)):
            assert not sent(lab, server)
        assert sent(lab, RELAY4)
        time.sleep(1.2)
        assert running.status()["restored"] == number
        time.sleep(1.0)
    assert re.search(r"ruleset removed by nft \(pid \d+\); restored\n", running.log())
    assert len(lab.mail()) == 2  # by the relay
    assert running.stop() == 0
    assert ours(lab) == ""


def test_a_convicted_device_stays_blocked_over_a_flush(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    bot(lab, "--count", "20")
    running.wait_for("now compromised")
    before = ours(lab)
    lab.run("router", ["nft", "flush", "ruleset"])
    seconds_until(lab, before)
    lab.nft("router", NAT)
    attempts = bot(lab, "--count", "5", "--first", "40")
    assert not any(attempt["ended"] == "message" for attempt in attempts)
    assert sent(lab, mx4(0))


def test_a_reload_is_nobody_else_s_doing(lab: Lab) -> None:
    running = lab.start_filter(lab.policy(MONITOR))
    for _ in range(3):
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.7)
    bot(lab, "--count", "20")
    time.sleep(1.2)
    assert running.status()["restored"] == 0
    assert "restored" not in running.log()


def test_mail_is_kept_out_of_flow_offload(lab: Lab) -> None:
    def exempt() -> list[int]:
        """The places in fw4's chain where the exemption stands."""
        text = lab.run("router", ["nft", "list", "chain", "inet", "fw4", "forward"]).stdout
        return [place for place, line in enumerate(text.splitlines()[3:]) if COMMENT in line]

    lab.nft("router", FW4)
    before = lab.run("router", ["nft", "list", "table", "inet", "fw4"]).stdout
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    assert exempt() == [0]
    lab.nft("router", FW4)  # fw4 reload
    running.wait_for("exemption of mail from fw4's flow offload is missing")
    assert exempt() == [0]
    assert sent(lab, mx4(0))
    device = running.device("device1")
    assert device is not None
    assert device["messages"] == 1
    running.stop(signal.SIGKILL)
    running = lab.start_filter(policy)  # finds that of its predecessor
    assert exempt() == [0]
    running.stop()
    assert lab.run("router", ["nft", "list", "table", "inet", "fw4"]).stdout == before


def test_metrics_of_a_busy_filter(lab: Lab) -> None:
    policy, path = with_metrics(lab, MONITOR)
    running = lab.start_filter(policy)
    assert sent(lab, mx4(0))
    bot(lab, "--count", "20")
    time.sleep(1.3)
    first = read(path.read_text())
    assert first["cpe_filter_kernel_packets_total", "observed"] > 30
    assert first["cpe_filter_packets_total", ""] >= first["cpe_filter_kernel_packets_total", "observed"] - 5
    assert first["cpe_filter_devices", "compromised"] == 1
    assert first["cpe_filter_refusals_total", "compromised"] >= 1
    assert first["cpe_filter_unread_packets_total", "fragment"] == 0
    assert first["cpe_filter_resident_memory_bytes", ""] < 40e6
    assert Lab.mac("device2")[:8] not in path.read_text()

    lab.run("router", ["nft", "flush", "ruleset"])
    running.wait_for("restored")
    lab.nft("router", NAT)
    assert sent(lab, mx4(0))
    time.sleep(1.3)
    second = read(path.read_text())
    went_back = {key for key in first if key[0].endswith("_total") and second[key] < first[key]}
    assert not went_back
    assert second["cpe_filter_kernel_packets_total", "observed"] > first["cpe_filter_kernel_packets_total", "observed"]
    assert second["cpe_filter_ruleset_restored_total", ""] == 1
    assert running.stop() == 0
    assert not path.exists()


def test_status_tells_how_the_kernel_fares(lab: Lab) -> None:
    exempt = f'[[exempt]]\ndevice = "{Lab.mac("device1")}"\nreason = "its own mail server"\n'
    running: Filter = lab.start_filter(lab.policy(BLOCK + exempt))
    assert not sent(lab, mx4(0), device="device2")
    assert sent(lab, mx4(0))
    time.sleep(1.3)
    text = lab.run("router", [PYTHON, "-m", "cpe_filter", "status", "--policy", str(running.policy)]).stdout
    counted = r"\d+ observed, 0 queued, 0 known, 1 refused, 0 blocked, 0 limited, 0 explained, 0 undecided, 0 flooded"
    assert re.search(rf"^kernel: {counted}, 0 led, 0 quarantine \(packets\)$", text, re.MULTILINE)
    assert re.search(r"^not observed: nothing since [-\d]+ [:\d]+ UTC$", text, re.MULTILINE)
    assert re.search(r"^queue: \d+ packets wait, 0 lost; memory \d\d\.\d MB$", text, re.MULTILINE)
    assert f"exempt: device {Lab.mac('device1')} to any (its own mail server)" in text
    state = running.status()["queue_state"]
    assert set(state) == {"waiting", "dropped_queue", "dropped_socket"}
