"""Who sends what, and over which network: the lab with cables that delay, real programs, and a relay.

Knows the lab. Must not know what is measured. All programs of a condition send at once; HELO names tell them apart.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.lab.clients import ONE_BY_ONE, Letter, Want
from tests.lab.mtas import Mta
from tests.lab.net import PYTHON, Lab, mx4
from tests.lab.peers import MTAS, Certificate

DEVICE, OPERATOR = "device1", "operator"
OPERATOR4 = "192.0.3.2"
#: Milliseconds one way between router and the servers.
_WAN = {"least": 9.0, "most": 11.0}
#: Ways between router and device (see `cable.Way`).
LANS: dict[str, dict[str, Any]] = {
    "wired": {},
    "Wi-Fi": {"least": 1.0, "most": 15.0, "loss": 0.01},
    "power saving": {"least": 1.0, "most": 3.0, "sleep": (100.0, 300.0), "awake": 20.0},
}
#: A program that thinks: the share of commands before which it does, least and most milliseconds.
THINKERS: dict[str, tuple[float, float, float]] = {
    "camera: 3 in 10 commands after 50-300 ms": (0.3, 50.0, 300.0),
    "camera: 6 in 10 commands after 50-300 ms": (0.6, 50.0, 300.0),
    "embedded: each command after 2-15 ms": (1.0, 2.0, 15.0),
    "embedded: each command after 5-40 ms": (1.0, 5.0, 40.0),
}
_ME, _YOU = "ann@home.example", "ben@friends.example"


class Cable:
    """Two TAP devices and the program between them (see `cable`)."""

    def __init__(self, lab: Lab, one: str, port1: str, two: str, port2: str) -> None:
        program = [PYTHON, "-m", "tests.lab.turnaround.cable", lab.namespace(one), port1, lab.namespace(two), port2]
        self._process = subprocess.Popen(
            lab.command("router", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def delay(self, forth: dict[str, Any], back: dict[str, Any]) -> None:
        """From now on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"forth": forth, "back": back}) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Scene:
    """The lab with cables, servers, and what one condition after the other sends."""

    def __init__(self, lab: Lab, tls: bool) -> None:
        self.lab = lab
        self._tls = tls
        self._cables: list[Cable] = []
        self._mtas: dict[tuple[str, str], Mta] = {}

        def ip(name: str, words: str) -> None:
            lab.run(name, ["ip", *words.split()])

        # The device hangs on a cable that delays, in place of the lab's own.
        ip("router", "link del p1")
        self.lan = self._cable("router", "p1", DEVICE, "eth0")
        ip("router", "link set p1 master br-lan up")
        ip(DEVICE, f"link set eth0 address {lab.mac(DEVICE)} up")
        ip(DEVICE, f"addr add {lab.address4(DEVICE)}/24 dev eth0")
        ip(DEVICE, "route add default via 192.168.1.1")
        # So does the router on the Internet.
        ip("router", "link del wan")
        self._cable("router", "wan", "internet", "isp").delay(_WAN, _WAN)
        ip("router", "link set wan up")
        ip("router", "addr add 192.0.2.1/24 dev wan")
        ip("router", "route add default via 192.0.2.254")
        ip("internet", "link set isp up")
        ip("internet", "addr add 192.0.2.254/24 dev isp")
        # The operator is beyond: its programs take all mail servers for its own host, and there the relay listens.
        lab.add_host(OPERATOR)
        self.operator = self._cable("internet", "far", OPERATOR, "near")
        ip("internet", "link set far up")
        ip("internet", "addr add 192.0.3.1/24 dev far")
        lab.run("internet", ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        ip(OPERATOR, "link set near up")
        ip(OPERATOR, f"addr add {OPERATOR4}/24 dev near")
        ip(OPERATOR, "route add default via 192.0.3.1")
        ip(OPERATOR, "route add local 198.18.0.0/15 dev lo")
        certificate = Certificate(lab.folder, short=True) if tls else None
        files = ["--certificate", str(certificate.files[0]), "--key", str(certificate.files[1])] if certificate else []
        lab.start_servers("--rules", *files)
        for host, words in ((OPERATOR, ["operator"]), (DEVICE, ["agent", OPERATOR4])):
            process = lab.start(host, [PYTHON, "-m", "tests.lab.turnaround.relay", *words])
            assert process.stdout is not None
            process.stdout.readline()

    def _cable(self, *ends: str) -> Cable:
        self._cables.append(Cable(self.lab, *ends))
        return self._cables[-1]

    def close(self) -> None:
        for sender in self._mtas.values():
            sender.close()
        for cable in self._cables:
            cable.close()

    def network(self, lan: str, operator_ms: float = 20.0) -> None:
        """Sets the delays: those in the home, and the round trip between device and operator (20 at least)."""
        self.lan.delay(LANS[lan], LANS[lan])
        rest = {"least": max(0.0, operator_ms - 20.0) / 2, "most": max(0.0, operator_ms - 20.0) / 2}
        self.operator.delay(rest, rest)

    def capture(self, path: Path, play: Callable[[], None]) -> None:
        """Records what passes the router meanwhile."""
        tcpdump = self.lab.capture("router", "br-lan", path)
        try:
            play()
            time.sleep(1.0)
        finally:
            self.lab.stop(tcpdump)

    # ── senders ─────────────────────────────────────────────────────────────────────────────────

    def programs(self, host: str, count: int, mtas: tuple[str, ...] = tuple(MTAS)) -> None:
        """All programs on one host send `count` messages each, in a connection of its own where they do so."""
        runs: list[Callable[[], None]] = [lambda: self.smtplib(host, count)]
        runs += [lambda name=name: self._one_by_one(host, name, count) for name in ONE_BY_ONE]  # type: ignore[misc]
        runs += [lambda name=name: self._mta(host, name, count) for name in mtas]  # type: ignore[misc]
        _all(runs)

    def thinkers(self, host: str, count: int) -> None:
        _all(
            [
                lambda helo=f"thinker{number}.example", pause=pause: self.smtplib(host, count, helo, *pause)  # type: ignore[misc]
                for number, pause in enumerate(THINKERS.values())
            ]
        )

    def smtplib(
        self,
        host: str,
        count: int,
        helo: str = "smtplib.home.example",
        often: float = 0.0,
        *pause: float,
        tls: bool | None = None,
    ) -> None:
        """tls: None as the scene has it."""
        words = ["--count", str(count), "--helo", helo, "--often", str(often)]
        words += ["--pause", *(f"{ms}" for ms in pause)] if pause else []
        words += ["--starttls"] if (self._tls if tls is None else tls) else []
        self.lab.run(host, [PYTHON, "-m", "tests.lab.turnaround.sender", mx4(40), *words], timeout=600, check=False)

    def _one_by_one(self, host: str, name: str, count: int) -> None:
        for _ in range(count):
            ONE_BY_ONE[name](self.lab, Want(mx4(40), self._tls), Letter(_ME, (_YOU,)), host)  # type: ignore[call-arg]

    def _mta(self, host: str, name: str, count: int) -> None:
        sender = self._mtas.get((host, name))
        if sender is None:
            sender = self._mtas[host, name] = MTAS[name](self.lab, host)
            sender.send_through(mx4(40), self._tls, False)
        for _ in range(count):
            letter = Letter(_ME, (_YOU,))
            sender.submit(letter.sender, list(letter.recipients), letter.text())
            end = time.monotonic() + 30
            while not sender.idle() and time.monotonic() < end:
                time.sleep(0.1)

    def loaded(self, play: Callable[[], None], hogs: int = 4) -> None:
        """While as many programs as `hogs` take all the processor that they get, for a minute or two at most."""
        spin = "import time\nend = time.monotonic() + 150\nwhile time.monotonic() < end: pass\n"
        running = [self.lab.start(DEVICE, [PYTHON, "-c", spin]) for _ in range(hogs)]
        try:
            play()
        finally:
            for process in running:
                self.lab.stop(process)


def _all(runs: list[Callable[[], None]]) -> None:
    """At once."""
    with ThreadPoolExecutor(len(runs)) as pool:
        for future in [pool.submit(run) for run in runs]:
            future.result()
