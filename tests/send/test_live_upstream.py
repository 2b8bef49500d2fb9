"""From a bot to the abuse desk, in the lab: real router, real uplink, real collector, cases and a XARF report.

The router's programs run behind its NAT, the collector in the Internet. What goes wrong on the way: the uplink is cut,
the router is rebooted meanwhile (another boot_id, nothing left in memory), and the collector is killed between its
commit and its answer. At the end the collector has what the spool promised, each event once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from xarf import SchemaValidator

from cpe_filter.collect.cases import query
from cpe_filter.collect.cases.model import Case
from cpe_filter.collect.store.sqlite import SQLite
from tests.collect import running
from tests.collect.ca import Authority
from tests.lab.mail import bot
from tests.lab.net import DEADLINE_S, PYTHON, Filter, Lab
from tests.report.test_live_report import RANDOM_NAT, left_from
from tests.report.wire import check_event

pytestmark = pytest.mark.live

COLLECTOR, PORT = "203.0.113.80", 8443
#: What the ISP knows of the line. Documentation's addresses are not public, so this one stands in for the lab's.
PUBLIC = "8.8.1.1"
#: A name for the kernel's boot that a test can change, in the program's own mount namespace.
BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


class Rebooting(Lab):
    """A lab whose router can be switched off and on, and cut off."""

    def command(self, name: str, arguments: list[str]) -> list[str]:
        boot = self.folder / "boot_id"
        if name == "router" and boot.exists() and arguments[0] == PYTHON:
            arguments = ["sh", "-c", BOOT, str(boot), *arguments]
        return super().command(name, arguments)

    def boot(self) -> str:
        """Another boot: memory is empty, flash is not."""
        name = str(uuid.uuid4())
        (self.folder / "boot_id").write_text(f"{name}\n")
        shutil.rmtree(self.folder / "report", ignore_errors=True)
        for file in ("state", "status.json", "control"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / file).unlink()
        return name

    def uplink(self, up: bool) -> None:
        self.run("router", ["ip", "link", "set", "wan", "up" if up else "down"])
        if up:  # the kernel has forgotten them
            self.run("router", ["ip", "route", "add", "default", "via", "192.0.2.254"])
            self.run("router", ["ip", "addr", "replace", "2001:db8:2::1/64", "dev", "wan", "nodad"])
            self.run("router", ["ip", "-6", "route", "replace", "default", "via", "2001:db8:2::fe"])


class Collector(running.Collector):
    """`cpe-filter collector` in the Internet. fault: of `tests.collect.dying`, once."""

    fault: tuple[str, int] | None = None

    def __init__(self, lab: Lab, authority: Authority, **tables: dict[str, Any]) -> None:
        super().__init__(lab.folder / "collector", authority, "run", **tables)
        self.lab = lab

    def command(self, what: str | None = None) -> list[str]:
        plain = super().command(what)
        if self.fault is not None:
            plain = [sys.executable, "-m", "tests.collect.dying", self.fault[0], str(self.fault[1]), *plain[3:]]
        return self.lab.command("internet", plain)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of the desk's commands, to its end."""
        return self.lab.run("internet", [*running.Collector.command(self, words[0]), *words[1:]])

    def stored(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Its table of events; the key is unique there."""
        with contextlib.closing(sqlite3.connect(self.folder / "collector.db")) as connection:
            rows = connection.execute("SELECT boot, seq, body FROM report WHERE router = 'cpe-0001'").fetchall()
            assert connection.execute("SELECT COUNT(*) FROM report").fetchone()[0] == len(rows)
        return {(boot, seq): json.loads(body) for boot, seq, body in rows}

    def cases(self) -> dict[str, Case]:
        """By device."""

        async def read() -> list[Case]:
            store = SQLite(str(self.folder / "collector.db"))
            await store.open()
            found = await query.listed(store)
            await store.close()
            return found.cases

        return {case.dev: case for case in asyncio.run(read())}


class Scene:
    """The router's side and the ISP's."""

    def __init__(self, lab: Rebooting) -> None:
        self.lab = lab
        authority = Authority(lab.folder / "ca")
        authority.server(COLLECTOR)
        pair = authority.router("cpe-0001")
        subscribers = lab.folder / "subscribers.csv"
        subscribers.write_text(f"router,subscriber,region,address\ncpe-0001,S-1,north,{PUBLIC}\n")
        self.collector = Collector(
            lab,
            authority,
            listen={"address": f"{COLLECTOR}:{PORT}"},
            cases={"every_s": 1},
            subscribers={"file": str(subscribers)},
            export={"org": "Example ISP", "contact": "abuse@isp.example", "domain": "isp.example"},
        )
        self.policy = lab.policy(
            f'[filter]\nmode = "monitor"\nversion = "v7"\n[report]\nurl = "https://{COLLECTOR}:{PORT}"\n'
            f'ca = "{authority.certificate}"\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\nuser = "nobody"\n'
        )
        lab.nft("router", RANDOM_NAT)
        self.boot = lab.boot()
        #: Every event that ever stood in the spool, by boot and seq.
        self.told: dict[tuple[str, int], dict[str, Any]] = {}

    def send(self) -> subprocess.CompletedProcess[str]:
        words = [PYTHON, "-m", "cpe_filter", "send", "--once", "--policy", str(self.policy)]
        return self.lab.run("router", words, check=False)

    def waiting(self) -> list[dict[str, Any]]:
        path = self.lab.folder / "report" / "spool"
        events = [json.loads(line) for line in path.read_text().splitlines()[1:-1]] if path.exists() else []
        for event in events:
            check_event(event)
            self.told[self.boot, event["seq"]] = event
        return events

    def wait_for(self, *kinds: str) -> list[dict[str, Any]]:
        until(lambda: [event["kind"] for event in self.waiting()] == list(kinds), f"{kinds}")
        return self.waiting()

    def convict(self, running_filter: Filter, device: str, first: int = 0) -> None:
        bot(self.lab, "--count", "20", "--first", str(first), device=device)
        running_filter.wait_for(f"device {Lab.mac(device)} is now compromised")


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture
def scene(live: None) -> Iterator[Scene]:
    lab = Rebooting(devices=2)
    with lab:
        lab.start_servers()
        made = Scene(lab)
        with made.collector:
            yield made


def test_from_the_bot_to_a_xarf_report(scene: Scene) -> None:
    lab, collector = scene.lab, scene.collector
    path = lab.folder / "wan.pcap"
    capture = lab.capture("router", "wan", path)
    running_filter = lab.start_filter(scene.policy)
    scene.convict(running_filter, "device2")
    (raised,) = scene.wait_for("raised")

    # The uplink is cut: what is found meanwhile waits.
    lab.stop(capture)
    lab.uplink(False)
    done = scene.send()
    assert done.returncode == 1
    assert f"{COLLECTOR} is not reached: Network is unreachable" in done.stderr
    assert scene.wait_for("raised") == [raised]
    assert collector.stored() == {}

    # Switched off and on, still cut off: what was in memory is gone, the incident is not.
    assert running_filter.stop() == 0
    first, scene.boot = scene.boot, lab.boot()
    running_filter = lab.start_filter(scene.policy)
    again = scene.wait_for("raised")  # it is not known to have arrived
    assert [(event["id"], event["dev"]) for event in again] == [(raised["id"], raised["dev"])]
    assert again[0]["standing"] == "compromised"
    assert again[0]["conns"] >= raised["conns"]
    assert scene.send().returncode == 1

    # The uplink is back; the collector dies with the report in its store and nobody told. It comes once more.
    lab.uplink(True)
    collector.stop()
    collector.fault = ("committed", 1)
    collector.start()
    done = scene.send()
    assert (done.returncode, "hung up" in done.stderr) == (1, True), done.stderr
    assert collector.process is not None
    assert collector.process.wait(DEADLINE_S) == -signal.SIGKILL
    collector.fault = None
    collector.start()
    kept = {(scene.boot, event["seq"]): event for event in again}
    assert collector.stored() == kept
    assert scene.wait_for("raised") == again
    assert scene.send().returncode == 0
    scene.wait_for()
    assert collector.stored() == kept
    until(collector.cases, "no case")
    (case,) = collector.cases().values()
    assert (case.subscriber, case.region, case.state, case.incidents, case.conns) == (
        "S-1", "north", "open", 1, again[0]["conns"],
    )  # fmt: skip

    # Another device, by a way that is whole; then the first is cleaned.
    scene.convict(running_filter, "device1", 60)
    scene.wait_for("raised")
    assert scene.send().returncode == 0
    scene.wait_for()
    lab.run("router", [PYTHON, "-m", "cpe_filter", "release", Lab.mac("device2"), "--policy", str(scene.policy)])
    scene.wait_for("closed")
    assert scene.send().returncode == 0
    scene.wait_for()
    until(lambda: sorted(case.state for case in collector.cases().values()) == ["clean", "open"], "not clean")
    assert collector.cases()[raised["dev"]].state == "clean"

    # Nothing is missing but what the reboot took with the memory and was told again, and nothing is there twice.
    wiped = {(first, event["seq"]) for event in (raised,)}
    assert collector.stored() == {key: event for key, event in scene.told.items() if key not in wiped}
    _xarf(scene, raised["id"], {port for _, port in left_from(path)})
    assert running_filter.stop() == 0
    assert "Traceback" not in running_filter.log()
    assert "Traceback" not in collector.log.read_text()


def _xarf(scene: Scene, incident: str, ports: set[int]) -> None:
    """One report for each incident, the first with a port from which its connections did leave; and never again."""
    out = scene.lab.folder / "out"
    out.mkdir()
    words = ["export", "xarf", "--output", str(out), "--mark", "abuse"]
    done = scene.collector.ask(*words)
    assert "2 incidents exported" in done.stderr
    reports = [json.loads(path.read_text()) for path in out.iterdir()]
    assert len({report["report_id"] for report in reports}) == 2
    for report in reports:
        assert SchemaValidator().validate(report) == []
        assert (report["source_identifier"], report["reporter"]["org"]) == (PUBLIC, "Example ISP")
        for private in (*map(Lab.mac, scene.lab.devices), "192.168.1.", "192.0.2.", "198.18.", "S-1", "cpe-0001"):
            assert private not in json.dumps(report)
    case = scene.collector.cases()[next(event["dev"] for event in scene.told.values() if event["id"] == incident)]
    (first,) = [report for report in reports if f"case:{case.id}" in report["tags"]]
    assert first["source_port"] in ports
    assert "0 incidents exported" in scene.collector.ask(*words).stderr
