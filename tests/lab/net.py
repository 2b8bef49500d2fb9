"""The lab: a home, its router and an Internet of mail servers, in network namespaces of this machine.

    device1 ─┐                                        ┌─ 203.0.113.25         the ISP's relay
    device2 ─┼─ br-lan  ROUTER (NAT44, IPv6)  wan ────┤─ 198.18.X.25          strangers' mail servers, X = 0..255
    ...     ─┘  192.168.1.1, 2001:db8:1::1            └─ 2001:db8:1XX::25     the same by IPv6

Knows ip, nft and processes. Tests, demo and benchmarks build the same lab with this one module:

    with Lab(devices=2) as lab:
        lab.start_servers()
        lab.run("device1", ["swaks", ...])

Needs root. Everything lives in namespaces named after this process and goes away with `close`, also after an error;
traffic never leaves them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

RELAY4, RELAY6 = "203.0.113.25", "2001:db8:1ff::25"
ROUTER_WAN4 = "192.0.2.1"
PYTHON = sys.executable
#: How many times longer programs may take to start: in an emulated machine (tests.vm) they do.
PATIENCE = 6 if os.environ.get("CPE_FILTER_HANDOFF") == "native" else 1
#: Seconds to wait for what is certain to come. Only a failure takes so long, so a busy machine must not be one.
DEADLINE_S = 90.0 * PATIENCE
#: Whether bounds on time are checked that a busy machine would break: in `make bench`, on an idle one.
BOUNDS = os.environ.get("CPE_FILTER_BOUNDS") == "required"
PROJECT = Path(__file__).resolve().parents[2]


def within(seconds: float) -> float:
    """How long something may take that is to take at most so long; on a machine that may be busy `DEADLINE_S`."""
    return seconds if BOUNDS else DEADLINE_S


def mx4(number: int) -> str:
    """The address of a stranger's mail server, each in a /24 of its own."""
    return f"198.18.{number % 256}.25"


def mx6(number: int) -> str:
    """The same by IPv6, each in a /48 of its own."""
    return f"2001:db8:1{number % 256:02x}::25"


def why_not() -> str:
    """Why the lab cannot be built here; "" where it can."""
    if os.geteuid() != 0:
        return "live tests need root"
    for name in ("ip", "nft"):
        if not any(os.access(os.path.join(d, name), os.X_OK) for d in (*os.get_exec_path(), "/usr/sbin", "/sbin")):
            return f"live tests need {name}"
    probe = f"cf-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if not done.returncode:
        done = subprocess.run(["ip", "netns", "exec", probe, "true"], capture_output=True, text=True)
        subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    if done.returncode:
        return f"no network namespaces here: {done.stderr.strip()}"
    return ""


class Lab:
    """A running lab. `devices` is how many there are; device N has the MAC 02:00:00:00:01:0N and the address .10N."""

    _count = itertools.count(1)

    def __init__(self, devices: int = 2) -> None:
        self._prefix = f"cf{os.getpid()}-{next(Lab._count)}-"
        self.devices = [f"device{n}" for n in range(1, devices + 1)]
        self.folder = Path(tempfile.mkdtemp(prefix="cpe-filter-lab-"))
        #: The router's interfaces in the policies that `policy` writes.
        self.lan, self.wan = ["br-lan"], ["wan"]
        self._processes: list[subprocess.Popen[str]] = []
        self._names = ["router", "internet", *self.devices]
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def mac(device: str) -> str:
        return f"02:00:00:00:01:{int(device[6:]):02x}"

    @staticmethod
    def address4(device: str) -> str:
        return f"192.168.1.{100 + int(device[6:])}"

    @staticmethod
    def address6(device: str) -> str:
        return f"2001:db8:1::{100 + int(device[6:])}"

    def namespace(self, name: str) -> str:
        return self._prefix + name

    # ── building ────────────────────────────────────────────────────────────────────────────────

    def _build(self) -> None:
        for name in self._names:
            _call("ip", "netns", "add", self.namespace(name))
            # No waiting for duplicate addresses in a house of our own.
            self.run(name, ["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"])
            self._ip(name, "link set lo up")
        for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            self.run("router", ["sysctl", "-qw", key])
        self._ip("router", "link add br-lan address 02:00:00:00:01:fe type bridge")
        self._ip("router", "link set br-lan up")
        self._ip("router", "addr add 192.168.1.1/24 dev br-lan")
        self._ip("router", "addr add 2001:db8:1::1/64 dev br-lan nodad")
        self._cable("router", "wan", "internet", "isp")
        self._ip("router", "link set wan up")
        self._ip("router", f"addr add {ROUTER_WAN4}/24 dev wan")
        self._ip("router", "addr add 2001:db8:2::1/64 dev wan nodad")
        self._ip("router", "route add default via 192.0.2.254")
        self._ip("router", "-6 route add default via 2001:db8:2::fe")
        self._ip("internet", "link set isp up")
        self._ip("internet", "addr add 192.0.2.254/24 dev isp")
        self._ip("internet", "addr add 2001:db8:2::fe/64 dev isp nodad")
        self._ip("internet", "-6 route add 2001:db8:1::/64 via 2001:db8:2::1")
        # Every address of these networks is this host's: one program can be a thousand mail servers.
        self._ip("internet", "route add local 198.18.0.0/15 dev lo")
        self._ip("internet", "route add local 203.0.113.0/24 dev lo")
        self._ip("internet", "-6 route add local 2001:db8:100::/40 dev lo")
        self.run("internet", ["sysctl", "-qw", "net.ipv6.ip_nonlocal_bind=1"])
        for device in self.devices:
            port = f"p{device[6:]}"
            self._cable("router", port, device, "eth0", self.mac(device))
            self._ip("router", f"link set {port} master br-lan up")
            self._ip(device, "link set eth0 up")
            self._ip(device, f"addr add {self.address4(device)}/24 dev eth0")
            self._ip(device, f"addr add {self.address6(device)}/64 dev eth0 nodad")
            self._ip(device, "route add default via 192.168.1.1")
            self._ip(device, "-6 route add default via 2001:db8:1::1")
        # The devices have leases, as in nearly every home, and no names.
        lines = [f"0 {self.mac(device)} {self.address4(device)} * *\n" for device in self.devices]
        (self.folder / "lab.leases").write_text("".join(lines))
        self.nft(
            "router",
            "table ip lab_nat { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }; }",
        )
        # As OpenWrt has it; the key is there once conntrack is loaded.
        self.run("router", ["sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1"])
        # Two in every ten strangers do not listen at all: a refusal, and silence.
        self.nft(
            "internet",
            "table inet lab { chain in { type filter hook input priority 0; "
            f"ip daddr {{ {', '.join(mx4(n) for n in range(8, 256, 10))} }} tcp dport 25 reject with tcp reset; "
            f"ip6 daddr {{ {', '.join(mx6(n) for n in range(8, 255, 10))} }} tcp dport 25 reject with tcp reset; "
            f"ip daddr {{ {', '.join(mx4(n) for n in range(9, 256, 10))} }} tcp dport 25 drop; "
            f"ip6 daddr {{ {', '.join(mx6(n) for n in range(9, 255, 10))} }} tcp dport 25 drop; }}; }}",
        )

    def add_host(self, name: str) -> None:
        """One more host, with no more than a loopback."""
        _call("ip", "netns", "add", self.namespace(name))
        self._names.append(name)
        self._ip(name, "link set lo up")

    def add_behind(self, device: str, hosts: int = 2) -> list[str]:
        """Makes a device a second router without NAT. Host N behind it: 192.168.7.10N, 2001:db8:7::10N."""
        names = [f"host{n}" for n in range(1, hosts + 1)]
        self.run(device, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        for words in ("link add inner type bridge", "link set inner up"):
            self._ip(device, words)
        self._ip(device, "addr add 192.168.7.1/24 dev inner")
        self._ip(device, "addr add 2001:db8:7::1/64 dev inner nodad")
        self._ip("router", f"route add 192.168.7.0/24 via {self.address4(device)}")
        self._ip("router", f"-6 route add 2001:db8:7::/64 via {self.address6(device)}")
        self._ip("internet", "-6 route add 2001:db8:7::/64 via 2001:db8:2::1")
        for number, name in enumerate(names, 1):
            _call("ip", "netns", "add", self.namespace(name))
            self._names.append(name)
            self.run(name, ["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"])
            self._ip(name, "link set lo up")
            self._cable(device, f"h{number}", name, "eth0")
            self._ip(device, f"link set h{number} master inner up")
            self._ip(name, "link set eth0 up")
            self._ip(name, f"addr add 192.168.7.{100 + number}/24 dev eth0")
            self._ip(name, f"addr add 2001:db8:7::{100 + number}/64 dev eth0 nodad")
            self._ip(name, "route add default via 192.168.7.1")
            self._ip(name, "-6 route add default via 2001:db8:7::1")
        return names

    def _cable(self, one: str, port1: str, two: str, port2: str, mac2: str = "") -> None:
        mac = f" address {mac2}" if mac2 else ""
        self._ip(one, f"link add {port1} type veth peer name {port2}{mac} netns {self.namespace(two)}")

    def _ip(self, name: str, words: str) -> None:
        _call("ip", "-n", self.namespace(name), *words.split())

    def nft(self, name: str, ruleset: str) -> None:
        """Loads a ruleset in a namespace."""
        self.run(name, ["nft", "-f", "-"], given=ruleset)

    # ── using ───────────────────────────────────────────────────────────────────────────────────

    def command(self, name: str, arguments: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(name), *arguments]

    def run(
        self, name: str, arguments: list[str], given: str = "", timeout: float = DEADLINE_S, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end on one of the hosts."""
        done = subprocess.run(
            self.command(name, arguments), input=given, capture_output=True, text=True, timeout=timeout, cwd=PROJECT
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} on {name}: exit {done.returncode}: {done.stderr.strip()}")
        return done

    def start(self, name: str, arguments: list[str], stderr: IO[str] | int | None = None) -> subprocess.Popen[str]:
        """Starts a program on one of the hosts; it is ended with the lab."""
        process = subprocess.Popen(
            self.command(name, arguments), stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=PROJECT
        )
        self._processes.append(process)
        return process

    def start_servers(self, *options: str) -> None:
        """Starts all mail servers of the Internet; what they take and refuse goes to `mail.jsonl`."""
        program = [PYTHON, "-m", "tests.lab.servers", str(self.folder / "mail.jsonl"), *options]
        process = self.start("internet", program)
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the lab's mail servers did not start")

    def mail(self) -> list[dict[str, Any]]:
        """What the Internet's mail servers saw so far, an object for each session."""
        path = self.folder / "mail.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def policy(self, text: str = "", name: str = "policy.toml", whole: bool = True) -> Path:
        """Writes a policy for the lab's router: relays and interfaces set, `text` added ([network] is taken).

        whole: every connection is read, so that all messages are counted. The responder tests nobody, unless `text`
        has its key for that: no test is to wait for what it is not about.
        """
        path = self.folder / name
        if "read_known" not in text:
            text = _with(text, "detect", f"read_known = {str(whole).lower()}")
        if "tests = " not in text:
            text = _with(text, "explain", "tests = false")
        path.write_text(
            f'[network]\nleases = ["{self.folder}/lab.leases"]\n'
            f'lan = {json.dumps(self.lan)}\nwan = {json.dumps(self.wan)}\nrelays = ["{RELAY4}", "{RELAY6}"]\n'
            f'[status]\nstatus_file = "{self.folder}/status.json"\nstatus_interval_s = 1\n'
            f'control_socket = "{self.folder}/control"\n'
            f'[state]\nstate_file = "{self.folder}/flash/state"\n'
            f'exemptions_file = "{self.folder}/flash/exemptions.toml"\n' + text
        )
        return path

    def start_filter(self, policy: Path, timeout: float = DEADLINE_S) -> Filter:
        """Starts `cpe-filter run` on the router and waits until it runs."""
        log = self.folder / f"filter-{len(self._processes)}.log"
        with log.open("w") as file:
            process = self.start("router", [PYTHON, "-m", "cpe_filter", "run", "--policy", str(policy)], stderr=file)
        running = Filter(self, process, log, policy)
        running.wait_for("running:", timeout)
        return running

    def start_responder(self, policy: Path) -> subprocess.Popen[str]:
        """Starts `cpe-filter explain` on the router and waits until it listens."""
        process = self.start(
            "router", [PYTHON, "-m", "cpe_filter", "explain", "--policy", str(policy)], subprocess.PIPE
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        if "explaining on port" not in line:
            raise RuntimeError(f"the responder did not start: {line}")
        return process

    def capture(self, name: str, interface: str, path: Path, expression: str = "port 25") -> subprocess.Popen[str]:
        """Starts tcpdump on a host; end it with `stop`."""
        # In immediate mode each packet takes a slot of the snap length: here 64 kB, the longest packet, and 512 slots.
        # With tcpdump's defaults there are 8, and it misses packets of a burst (79 of 1794 of a Postfix's queue).
        words = ["--immediate-mode", "-U", "-n", "-s", "65600", "-B", "32768"]
        process = self.start(
            name,
            ["tcpdump", "-i", interface, *words, "-w", str(path), expression],
            subprocess.PIPE,
        )
        assert process.stderr is not None
        process.stderr.readline()  # "listening on ..."
        return process

    def stop(self, process: subprocess.Popen[str], number: int = signal.SIGTERM, timeout: float = DEADLINE_S) -> int:
        """Ends a process that this lab started."""
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(timeout)

    def close(self) -> None:
        """Ends everything this lab started and takes its namespaces away."""
        for process in reversed(self._processes):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self.stop(process, timeout=5)
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        self._processes.clear()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", self.namespace(name)], capture_output=True)
        shutil.rmtree(self.folder)


def _with(text: str, table: str, line: str) -> str:
    """A line added to a table of TOML text."""
    header = f"[{table}]\n"
    return text.replace(header, f"{header}{line}\n") if header in text else f"{text}{header}{line}\n"


class Filter:
    """A running `cpe-filter run` of the lab."""

    def __init__(self, lab: Lab, process: subprocess.Popen[str], log: Path, policy: Path) -> None:
        self.lab = lab
        self.process = process
        self.policy = policy
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, timeout: float = DEADLINE_S) -> str:
        """Waits until the log holds `text`; returns that line."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for line in self.log().splitlines():
                if text in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"the filter never said {text!r}; it said:\n{self.log()}")

    def status(self) -> dict[str, Any]:
        """The status as `cpe-filter status --json` gives it."""
        done = self.lab.run("router", [PYTHON, "-m", "cpe_filter", "status", "--json", "--policy", str(self.policy)])
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def device(self, name: str) -> dict[str, Any] | None:
        """What the status says of one of the lab's devices, after its next update."""
        time.sleep(1.2)
        for device in self.status()["devices"]:
            if device["device"] == (self.lab.mac(name) if name != "router" else name):
                found: dict[str, Any] = device
                return found
        return None

    def stop(self, number: int = signal.SIGTERM) -> int:
        return self.lab.stop(self.process, number)


def _call(*arguments: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
