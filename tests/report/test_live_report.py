"""From a bot to the collector, in the lab: real NAT ports, a collector out of reach, a filter killed, a reboot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.collect.ca import Authority
from tests.lab.mail import bot, sent
from tests.lab.net import DEADLINE_S, PYTHON, Filter, Lab, mx4
from tests.report.wire import check_event
from tests.send.collector import Collector

pytestmark = pytest.mark.live

#: Every connection leaves from a port that it did not have before, as behind a busy NAT.
RANDOM_NAT = (
    "flush table ip lab_nat\n"
    "table ip lab_nat { chain post { type nat hook postrouting priority srcnat; "
    "oifname wan masquerade fully-random; }; }"
)
SYN = "tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn and dst port 25"


class Reporting:
    """A lab whose router reports; `send` is run where the collector is."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        authority = Authority(lab.folder / "ca")
        router = authority.router("cpe-0001")
        self.collector = Collector(authority, authority.server("localhost"))
        self.policy = lab.policy(
            f'[filter]\nmode = "monitor"\nversion = "v7"\n[report]\nurl = "https://localhost:{self.collector.port}"\n'
            f'ca = "{authority.certificate}"\ncertificate = "{router.certificate}"\nkey = "{router.key}"\n'
            'user = "nobody"\n'
        )
        lab.nft("router", RANDOM_NAT)

    def send(self) -> subprocess.CompletedProcess[str]:
        """On this machine's own network: it is the folder that belongs to the router."""
        words = [PYTHON, "-m", "cpe_filter", "send", "--once", "--policy", str(self.policy)]
        return subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S)

    def waiting(self) -> list[dict[str, Any]]:
        """The events in the spool's file."""
        path = self.lab.folder / "report" / "spool"
        lines = path.read_text().splitlines()[1:-1] if path.exists() else []
        events = [json.loads(line) for line in lines]
        for event in events:
            check_event(event)
        return events

    def wait_for(self, *kinds: str, timeout: float = DEADLINE_S) -> list[dict[str, Any]]:
        end = time.monotonic() + timeout
        while [event["kind"] for event in self.waiting()] != list(kinds):
            assert time.monotonic() < end, self.waiting()
            time.sleep(0.1)
        return self.waiting()

    def received(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What the collector has, each event once."""
        reports = [request.report for request in self.collector.requests]
        return {(report["boot"], event["seq"]): event for report in reports for event in report["events"]}


@pytest.fixture
def reporting(lab: Lab) -> Iterator[Reporting]:
    made = Reporting(lab)
    yield made
    made.collector.close()


def left_from(path: Path) -> set[tuple[str, int]]:
    """Address and port of each connection to a mail server, as the WAN side's capture has them."""
    done = subprocess.run(["tcpdump", "-nr", str(path), SYN], capture_output=True, text=True, check=True)
    return {(found[1], int(found[2])) for found in re.finditer(r"IP6? (\S+)\.(\d+) > ", done.stdout)}


def convicted(reporting: Reporting, running: Filter, first: int = 0, device: str = "device2") -> None:
    bot(reporting.lab, "--count", "20", "--first", str(first), device=device)
    running.wait_for(f"device {Lab.mac(device)} is now compromised")


def test_from_the_bot_to_the_collector(reporting: Reporting) -> None:
    lab = reporting.lab
    path = lab.folder / "wan.pcap"
    capture = lab.capture("router", "wan", path)
    running = lab.start_filter(reporting.policy)
    assert sent(lab, mx4(0))
    convicted(reporting, running)
    (raised,) = reporting.wait_for("raised")
    lab.stop(capture)
    ports = {example["port"] for example in raised["sp"]}
    assert 1 <= len(ports) <= 4
    assert {("192.0.2.1", port) for port in ports} <= left_from(path)
    assert raised["act"] == "explain"
    assert raised["dev"] not in Lab.mac("device2").replace(":", "")
    device = running.device("device2")
    assert device is not None
    assert raised["conns"] <= device["connections"]

    # What the subscriber is shown is what will be sent, and was.
    words = [PYTHON, "-m", "cpe_filter", "report", "show", "--json", "--policy", str(reporting.policy)]
    shown = json.loads(lab.run("router", words).stdout)
    assert shown["waiting"] == [raised]
    assert shown["devices"] == {raised["dev"]: Lab.mac("device2")}
    done = reporting.send()
    assert done.returncode == 0, done.stderr
    (request,) = reporting.collector.requests
    assert request.report["events"] == [raised]
    assert request.report["pol"] == "v7"
    assert json.loads(lab.run("router", words).stdout)["sent"][0]["text"] == request.text.decode()
    reporting.wait_for()  # the filter takes out what has arrived
    text = request.text.decode()
    for private in (Lab.mac("device2"), "192.168.1.", "192.0.2.", "198.18.", "stranger", "watches", "2001:db8"):
        assert private not in text

    # Its owner says it was cleaned.
    lab.run("router", [PYTHON, "-m", "cpe_filter", "release", Lab.mac("device2"), "--policy", str(reporting.policy)])
    (closed,) = reporting.wait_for("closed")
    assert (closed["why"], closed["id"]) == ("released", raised["id"])
    assert reporting.send().returncode == 0
    assert running.stop() == 0
    assert len(reporting.received()) == 2


def test_nothing_is_lost_or_told_twice_by_an_outage_a_kill_and_a_reboot(reporting: Reporting) -> None:
    lab, collector = reporting.lab, reporting.collector
    running = lab.start_filter(reporting.policy)
    convicted(reporting, running)
    before = reporting.wait_for("raised")

    # The uplink is cut: nothing is lost, and the next try is later.
    port = collector.port
    text = reporting.policy.read_text()
    reporting.policy.write_text(text.replace(f"localhost:{port}", "localhost:9"))
    done = reporting.send()
    assert done.returncode == 1
    assert "localhost is not reached: Connection refused" in done.stderr
    reporting.policy.write_text(text)

    # The filter is killed and comes back: the same incident, and seqs go on.
    running.stop(signal.SIGKILL)
    running = lab.start_filter(reporting.policy)
    time.sleep(1.5)
    assert reporting.waiting() == before
    convicted(reporting, running, 40, "device1")
    events = reporting.wait_for("raised", "raised")
    assert [event["seq"] for event in events] == list(range(before[0]["seq"], before[0]["seq"] + 2))
    assert reporting.send().returncode == 0
    reporting.wait_for()

    # The router is switched off and on: an orderly end, then what is in memory is gone.
    assert running.stop() == 0
    (lab.folder / "state").unlink()
    for name in ("spool", "incidents"):
        (lab.folder / "report" / name).unlink()
    running = lab.start_filter(reporting.policy)
    again = reporting.wait_for("updated", "updated")
    assert {event["id"] for event in again} == {event["id"] for event in events}
    assert {event["dev"] for event in again} == {event["dev"] for event in events}
    assert reporting.send().returncode == 0
    assert [request.router for request in collector.requests] == ["cpe-0001", "cpe-0001"]
    assert len(reporting.received()) == 4
    assert running.stop() == 0
    assert "Traceback" not in running.log()


def test_flash_is_written_with_the_state_and_no_oftener(reporting: Reporting) -> None:
    lab = reporting.lab
    running = lab.start_filter(reporting.policy)
    convicted(reporting, running)
    reporting.wait_for("raised")
    flash = lab.folder / "flash"
    assert {path.name for path in flash.iterdir()} == {"state.key"}
    assert running.stop() == 0
    assert {path.name for path in flash.iterdir()} == {"state.key", "state", "state.incidents", "state.notice"}
    assert {path.stat().st_mode & 0o777 for path in flash.iterdir()} == {0o600}
    assert os.stat(flash / "state.key").st_size == 16


def test_reporting_begins_and_ends_by_a_reload(reporting: Reporting) -> None:
    lab = reporting.lab
    text = reporting.policy.read_text()
    off = re.sub(r'url = "[^"]*"', 'url = ""', text)
    reporting.policy.write_text(off)
    running = lab.start_filter(reporting.policy)
    time.sleep(1.2)
    assert not (lab.folder / "report").exists()
    reload = [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(reporting.policy)]
    reporting.policy.write_text(text)
    lab.run("router", reload)
    convicted(reporting, running)
    reporting.wait_for("raised")
    reporting.policy.write_text(off)
    lab.run("router", reload)
    convicted(reporting, running, 40, "device1")
    time.sleep(1.5)
    assert len(reporting.waiting()) == 1
    done = reporting.send()
    assert done.returncode == 2
    assert "nothing is reported" in done.stderr
    assert running.stop() == 0
