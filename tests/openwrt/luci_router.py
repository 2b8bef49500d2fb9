"""A router's file system for the LuCI app: the real rpcd plugin under busybox ash, the real command line, and a filter.

The filter has no kernel. All else of it is real: the engine, which has judged recorded captures, the status file as
`run` writes it, the control socket with what answers there, exemptions on disk, reports that wait to be sent. OpenWrt's
jshn is stubbed, by its documented behaviour.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpe_filter.collect import signing
from cpe_filter.detect.device import Device
from cpe_filter.engine import FORWARD, Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.control import Control
from cpe_filter.live.control_socket import ControlSocket
from cpe_filter.policy.load import load
from cpe_filter.policy.model import Policy
from cpe_filter.provision import news
from cpe_filter.provision.folder import Folder
from cpe_filter.provision.place import Place
from cpe_filter.replay.capture import frames
from cpe_filter.report.reporter import Reporter, Saved, read_saved
from cpe_filter.status import status
from tests.ip_packets import network_layer
from tests.lab.net import DEADLINE_S, PROJECT
from tests.openwrt.package import BUSYBOX, shell
from tests.signed import making

if TYPE_CHECKING:
    from cpe_filter.live.job import Steps

APP = PROJECT / "openwrt" / "luci-app-cpe-filter"
PLUGIN = APP / "root" / "usr" / "libexec" / "rpcd" / "cpe-filter"
HERE = Path(__file__).parent
#: Programs of busybox that the plugin uses; OpenWrt's has them by default.
APPLETS = ("cat", "head", "mktemp", "readlink", "rm", "sed")

#: 2026-11-24 18:00:00 UTC; the filter started an hour before what it knows first.
START = 1795543200.0
#: RFC 7042's MACs for documentation; the telephone makes up its own.
BOX, LAPTOP, SERVER, NAS = (f"00:00:5e:00:53:{end}" for end in ("0b", "01", "05", "07"))
SUSPECT = "0a:5c:33:7e:90:1d"
NAMES = {BOX: "tv-box", SUSPECT: "old-phone", LAPTOP: "annas-laptop", SERVER: "mail", NAS: "nas"}
#: What each device does: its MAC, the capture, the MAC there, seconds after START; and whether it ends once suspected.
STORY = (
    (LAPTOP, "legit-laptop", "02:00:00:00:01:01", 0, False),
    (SERVER, "legit-postfix-queue-flush", "02:00:00:00:01:01", 400, False),
    (NAS, "legit-php-localhost", "02:00:00:00:01:01", 900, False),
    (SUSPECT, "bot-sprayer", "02:00:00:00:01:02", 1500, True),
    (BOX, "home-bot-beside-laptop", "02:00:00:00:01:02", 2400, False),
)
POLICY = """
[filter]
mode = "monitor"
[status]
status_file = "{run}/status.json"
control_socket = "{run}/control"
[state]
state_file = "{etc}/state"
exemptions_file = "{etc}/exemptions.toml"
{more}
[[exempt]]
device = "02:00:00:00:01:09"
destination = "192.0.2.0/24"
reason = "the alarm system, by contract"
"""
REPORTING = '[report]\nurl = "https://reports.isp.example"\nuser = "nobody"\n'


class Router:
    """A root folder with everything the plugin looks for. `with` it; `start` the filter or leave it."""

    def __init__(self, root: Path, more: str = "") -> None:
        self.root = root
        self.run = root / "var" / "run" / "cpe-filter"
        self.etc = root / "etc" / "cpe-filter"
        self.bin = root / "bin"
        for folder in (self.run, self.etc, self.bin, root / "usr" / "share" / "libubox"):
            folder.mkdir(parents=True)
        shutil.copy(HERE / "luci_jshn.sh", root / "usr" / "share" / "libubox" / "jshn.sh")
        for applet in APPLETS:
            (self.bin / applet).symlink_to(BUSYBOX)
        self.program("cpe-filter", f'exec "{sys.executable}" -m cpe_filter "$@"\n')
        self.policy_file = self.run / "policy.toml"
        self.policy_file.write_text(self.policy_text(more))
        self.filter: Filter | None = None

    def policy_text(self, more: str = "") -> str:
        # The plugin puts the root before the path that the policy names, as the router's own root is `/`.
        return POLICY.format(run=self.run, etc=self.etc, more=more)

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)

    def __enter__(self) -> Router:
        return self

    def __exit__(self, *_: object) -> None:
        if self.filter is not None:
            self.filter.stop()

    def start(self, story: Iterable[tuple[str, str, str, int, bool]] = STORY) -> Filter:
        self.filter = Filter(load(str(self.policy_file)), str(self.policy_file), story)
        return self.filter

    def plugin(self, *words: str, given: bytes | str = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs it as rpcd does: arguments on stdin, which then ends."""
        return subprocess.run(
            shell(self.bin, PLUGIN, *words),
            input=given.encode() if isinstance(given, str) else given,
            capture_output=True,
            timeout=DEADLINE_S,
            cwd=PROJECT,
            env=self.environment(),
        )

    def environment(self) -> dict[str, str]:
        """What the plugin finds around it."""
        return {
            "PATH": str(self.bin),
            "IPKG_INSTROOT": str(self.root),
            "JSHN": str(HERE / "luci_jshn.py"),
            "JSHN_PYTHON": sys.executable,
            "TZ": "UTC",
        }

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """A method's answer, which has to be one JSON object."""
        done = self.plugin("call", method, given=json.dumps(arguments))
        answer: dict[str, Any] = json.loads(done.stdout)
        assert isinstance(answer, dict), done
        return answer


def provided(router: Router) -> None:
    """The ISP's policy 7 is in force; 8 was taken back, and a document of nobody refused."""
    where = Place("", "", str(router.etc / "provision"), "")
    header = signing.Header("policy", 7, int(START) - 60, int(START) + 30 * 86400, ("*",))
    folder = Folder(str(router.etc / "provision" / "policy"))
    os.makedirs(folder.path, mode=0o700)
    folder.confirm(making.key("isp").sign((signing.header(header) + '[filter]\nmode = "limit"\n').encode()))
    os.utime(os.path.join(folder.path, "good"), (START, START))
    news.note(where)
    news.note(
        where,
        news.Outcome(4, "policy", "8" * 16, 8, news.TAKEN_BACK, "collector"),
        news.Outcome(2, "", "9" * 16, 0, news.REFUSED, "signature"),
    )


class Filter:
    """The filter, but for the kernel: `exemption_control.FilterHost`, in a thread that serves the control socket."""

    def __init__(self, policy: Policy, path: str, story: Iterable[tuple[str, str, str, int, bool]]) -> None:
        self.log: list[str] = []
        self.names = dict(NAMES)
        self.now = START
        self.policy = policy
        self.engine = Engine(policy)
        self.control = Control(policy, path, self, self.log.append)
        self.engine.reload(self.control.begin())
        self.reporter = (
            Reporter(
                policy, self.engine, self.host_name, self._figures, self.log.append, START, Saved(*read_saved(policy))
            )
            if policy.report.url
            else None
        )
        for mac, capture, there, after, brief in story:
            self.feed(mac, capture, there, START + after, brief)
        self.since, self.updated = START - 3600.0, START + 3000.0
        self.about: dict[str, Any] = {}
        file = policy.status.status_file
        self._status = status.Writer(self.engine, file, lambda: self.about, self.host_name, self.log.append)
        self.write()
        poll = select.poll()
        self._socket = ControlSocket(policy.status.control_socket, poll, self._handle, self.log.append)
        self._poll = poll
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def feed(self, mac: str, capture: str, there: str, begin: float, brief: bool) -> None:
        """A capture, as if it had begun at `begin`, of this device instead of the one that was recorded."""
        ours, theirs = (bytes.fromhex(text.replace(":", "")) for text in (mac, there))
        shift = None
        for frame in frames(str(PROJECT / "pcaps" / f"{capture}.pcap"), lambda text: None):
            shift = begin - frame.time if shift is None else shift
            found = network_layer(frame)
            ends = (frame.data[6:12], frame.data[:6])
            if found is None or theirs not in ends:
                continue
            sender, receiver = (ours if end == theirs else end for end in ends)
            self.now = max(self.now, frame.time + shift)
            self.engine.packet(PacketTime(self.now), FORWARD, sender, found[1], receiver)
            if brief and any(device.key == ours and device.suspected_at for device in self.engine.devices):
                break
        for device in self.engine.devices:
            if device.key == ours:
                device.addresses[:] = [ip_address(f"192.168.1.{100 + ours[5] % 100}").packed]
        if self.reporter is not None:
            self.reporter.tick(self.now)

    def _figures(self) -> dict[str, int]:
        return {
            "exempt": self.control.in_force()[0],
            "packets": self.engine.mail_packets,
            "failures": 0,
            "restored": 0,
        }

    def write(self, **more: Any) -> None:
        """The status file, as `run` writes it."""
        self.about = {
            "pid": os.getpid(),
            "updated": round(self.updated, 3),
            "since": self.since,
            "queue": self.policy.filter.queue,
            "handoff": "nft's queue",
            "fail": self.policy.filter.fail,
            "policy": self.control.policy_facts(),
            **status.exemptions(*self.control.in_force(status.EXEMPT)),
            "failures": 0,
            "lookup_packets": 0,
            "refusals": {"compromised": sum(device.refused for device in self.engine.devices), "mode": 0},
            "lost": 5,
            "lost_at": self.since + 60,
            "unobserved_at": self.since + 30,
            "kernel": {
                "observed": [self.engine.mail_packets, 9000],
                "queued": [17, 900],
                "known": [40, 2400],
                "refused": [4, 240],
                "blocked": [61, 3660],
                "undecided": [2, 120],
                "flooded": [1000, 60000],
                "unobserved": [1200, 99000],
            },
            **more,
        }
        self._status.write()

    def _handle(self, peer: Any, request: dict[str, Any]) -> Any:
        answer = self.control.handle(peer, request)
        while not isinstance(answer, dict):  # nothing else waits for us
            select.select([answer.fd], [], [])
            answer = answer.advance() or answer
        self.write()
        return answer

    def _serve(self) -> None:
        while not self._stop.is_set():
            for fd, _ in self._poll.poll(50):
                self._socket.serve(fd)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    # ── what the control needs (exemption_control.FilterHost) ───────────────────────────────────────────

    def devices(self) -> Iterable[Device]:
        return self.engine.devices

    def host_name(self, device: Device) -> str:
        return self.names.get(device.name, "")

    def apply(self, policy: Policy) -> Steps[None]:
        self.policy = policy
        self.engine.reload(policy)
        yield from ()

    def release(self, device: Device) -> None:
        self.now += 1.0
        self.engine.release(device.key, PacketTime(self.now))

    def end_quarantine(self, device: Device) -> bool:
        return False

    def unblock(self, device: Device) -> None:
        """There is no kernel."""
