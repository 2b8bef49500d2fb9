"""The lab of the cost benchmark: light peers in C, the programs that are compared, and what each of them used.

Knows processes and namespaces. Must not know what is measured, or the goals.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cpe_filter.enforce.nftables import find_handoff
from cpe_filter.enforce.ruleset_names import NATIVE, TABLE
from cpe_filter.policy.model import Policy
from tests.bench import cost_suricata
from tests.bench.cost_accounts import CORE, QUEUE, on_core, queue_count
from tests.lab.net import PROJECT, PYTHON, Filter, Lab, mx4

#: Strangers' mail servers that answer: X8 and X9 do not.
SERVERS = [mx4(number) for number in range(8)]
#: Addresses that are silent.
SILENT = "198.19.0.0"
#: Seconds between two writings of the status, by default.
STATUS_S = Policy().status.status_interval_s
#: The lab's device has so many addresses, and as many MACs (see `many_devices`).
DEVICES = 256
#: One device stands for a whole load here: no limit and no guard is in its way.
GENEROUS = """escalate = false
queue_rate = 1000000
[limits]
connections_per_hour = 100000
connections_burst = 100000
destinations_per_hour = 100000
destinations_burst = 100000
messages_per_hour = 100000
messages_burst = 100000
recipients_per_hour = 1000000
recipients_burst = 1000000
"""


def interpreter(folder: Path) -> list[str]:
    """A command that is Python as an installed package finds it; its virtual environment is made in `folder`.

    A development install adds to every start what its .pth files import, and modules that are not compiled yet cost
    memory and time to compile: neither is there on a router. Its modules are those of the packages: bytecode by
    compact.py.
    """
    installed = folder / "installed"
    if not installed.exists():
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder / "python")], check=True)
        rest = shutil.ignore_patterns("__pycache__", "collect", "replay")
        shutil.copytree(PROJECT / "cpe_filter", installed / "cpe_filter", ignore=rest)
        compact = str(PROJECT / "openwrt" / "cpe-filter" / "compact.py")
        subprocess.run([str(folder / "python" / "bin" / "python"), compact, str(installed)], check=True)
        for source in installed.rglob("*.py"):
            source.unlink()
    path = f"{installed}:{PROJECT}:{sysconfig.get_path('purelib')}"
    settings = [f"PYTHONPATH={path}", f"PYTHONPYCACHEPREFIX={folder / 'compiled'}"]
    return ["env", "-u", "PYTHONDONTWRITEBYTECODE", *settings, str(folder / "python" / "bin" / "python")]


class UnavailableError(RuntimeError):
    """A program that is compared cannot run here; the text says why."""


def build(name: str) -> Path:
    """Compiles `name`.c of this folder, once for each version of it. Raises `UnavailableError`."""
    source = Path(__file__).with_name(f"{name}.c")
    mark = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    target = Path(tempfile.gettempdir()) / f"cpe-filter-bench-{os.getuid()}" / f"{name}-{mark}"
    if target.exists():
        return target
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnavailableError("no C compiler (package gcc)")
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if target.parent.stat().st_uid != os.getuid():
        raise UnavailableError(f"{target.parent} belongs to somebody else")
    libraries = ["-lnetfilter_queue"] if name == "accept" else []
    partial = target.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, "-O2", "-o", str(partial), str(source), *libraries], capture_output=True, text=True
    )
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise UnavailableError(f"{source.name} does not compile: {first}")
    partial.rename(target)
    return target


# ── the lab ─────────────────────────────────────────────────────────────────────────────────────────


class Handler:
    """A program that packets are shown to, by a queue or a log; without one (`process` None) none are."""

    def __init__(self, process: subprocess.Popen[str] | None, filter_: Filter | None = None) -> None:
        self.process = process
        self.filter = filter_

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def queued(self) -> int:
        """Packets shown to it so far, whether or not they waited for its word."""
        if self.filter is not None:
            lab = self.filter.lab
            text = lab.run("router", ["nft", "list", "counters", "table", "inet", TABLE]).stdout
            counted = dict(re.findall(r"counter (\w+) \{\s*packets (\d+)", text))
            return int(counted["observed"]) + int(counted["queued"])
        count = queue_count(self.pid) if self.process else None
        return count.queued if count else 0


class Talk(NamedTuple):
    """What `dialogue client` did: dialogues that went well or not, seconds, and its own CPU."""

    done: int
    held: int
    failed: int
    seconds: float
    cpu_s: float


class CostLab:
    """A lab with one device and the light server; handlers come and go."""

    def __init__(self, core: int | None = CORE) -> None:
        self.core = core
        self.dialogue, self.flood_program = build("dialogue"), build("flood")
        self.lab = Lab(devices=1)
        try:
            self.python = interpreter(self.lab.folder)
            self.lab.nft(
                "internet",
                f"table inet silent {{ chain c {{ type filter hook prerouting priority -300; "
                f"ip daddr {SILENT}/16 drop; }}; }}",
            )
            with on_core(core):
                self.server = self._ready("internet", [str(self.dialogue), "server", "25"])
        except BaseException:
            self.lab.close()
            raise

    def __enter__(self) -> CostLab:
        return self

    def __exit__(self, *_: object) -> None:
        self.lab.close()

    def _ready(self, where: str, command: list[str]) -> subprocess.Popen[str]:
        process = self.lab.start(where, command)
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise UnavailableError(f"{command[0]} did not start")
        return process

    # ── handlers ────────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def nothing(self) -> Iterator[Handler]:
        yield Handler(None)

    @contextlib.contextmanager
    def accept_c(self) -> Iterator[Handler]:
        program = build("accept")
        with self._accepting(), on_core(self.core):
            yield from self._run(self._ready("router", [str(program), str(QUEUE)]))

    @contextlib.contextmanager
    def accept_python(self) -> Iterator[Handler]:
        if importlib.util.find_spec("netfilterqueue") is None:
            raise UnavailableError("netfilterqueue is not installed (pip install 'cpe-filter[bench]')")
        with self._accepting(), on_core(self.core):
            yield from self._run(self._ready("router", [*self.python, "-m", "tests.bench.cost_accept", str(QUEUE)]))

    @contextlib.contextmanager
    def suricata(self) -> Iterator[Handler]:
        reason = cost_suricata.why_not()
        if reason:
            raise UnavailableError(reason)
        command = cost_suricata.command(self.lab.folder, QUEUE)
        with self._accepting(), on_core(self.core):
            process = self.lab.start("router", command, subprocess.DEVNULL)
            end = time.monotonic() + 30
            while queue_count(process.pid) is None:
                if process.poll() is not None or time.monotonic() > end:
                    raise UnavailableError("Suricata did not bind the queue")
                time.sleep(0.05)
            yield from self._run(process)

    @contextlib.contextmanager
    def filter(
        self,
        mode: str,
        more: str = GENEROUS,
        watch: Path | None = None,
        status_s: int = STATUS_S,
        read_known: bool = True,
    ) -> Iterator[Handler]:
        """cpe-filter in a mode; `more`: what follows that line in the policy; watch: see cost_loop.

        read_known: each dialogue is read, as if its server had never answered the device before.
        """
        policy = self.policy(mode, more, status_s, read_known)
        shutil.rmtree(self.lab.folder / "flash", ignore_errors=True)  # what the filter before knew of the device
        (self.lab.folder / "state").unlink(missing_ok=True)
        with on_core(self.core):
            running = self._start_filter(policy, watch)
            try:
                yield Handler(running.process, running)
            finally:
                running.stop()

    def policy(self, mode: str, more: str = GENEROUS, status_s: int = STATUS_S, read_known: bool = True) -> Path:
        """The lab's policy, which writes its status every second, with another interval."""
        path = self.lab.policy(f'[filter]\nmode = "{mode}"\n{more}', "cost.toml", read_known)
        path.write_text(path.read_text().replace("status_interval_s = 1\n", f"status_interval_s = {status_s}\n"))
        return path

    def filter_command(self, policy: Path, watch: Path | None = None) -> list[str]:
        # The router's own script: `-m` imports what no script needs.
        program = [str(PROJECT / "openwrt" / "cpe-filter" / "files" / "cpe-filter")]
        if watch is not None:
            program = ["-m", "tests.bench.cost_loop", str(watch)]
        return [*self.python, *program, "run", "--policy", str(policy)]

    def _start_filter(self, policy: Path, watch: Path | None) -> Filter:
        log = self.lab.folder / "cost.log"
        with log.open("w") as file:
            process = self.lab.start("router", self.filter_command(policy, watch), stderr=file)
        running = Filter(self.lab, process, log, policy)
        running.wait_for("running:")
        return running

    def _run(self, process: subprocess.Popen[str]) -> Iterator[Handler]:
        try:
            yield Handler(process)
        finally:
            self.lab.stop(process)

    @contextlib.contextmanager
    def _accepting(self) -> Iterator[None]:
        """The ordinary ruleset of a program with a queue: all packets of port 25, both directions, with bypass."""
        if find_handoff(Policy()) == NATIVE:
            rules = " ".join(f"tcp {way} 25 queue flags bypass to {QUEUE};" for way in ("dport", "sport"))
            self.lab.nft(
                "router", f"table inet bench {{ chain c {{ type filter hook forward priority 0; {rules} }}; }}"
            )
            undo = [["nft", "delete", "table", "inet", "bench"]]
        else:
            undo = []
            for way in ("--dport", "--sport"):
                rule = ["FORWARD", "-p", "tcp", way, "25", "-j", "NFQUEUE", "--queue-num", str(QUEUE), "--queue-bypass"]
                self.lab.run("router", ["iptables-nft", "-w", "-A", *rule])
                undo.append(["iptables-nft", "-w", "-D", *rule])
        try:
            yield
        finally:
            for command in undo:
                self.lab.run("router", command)

    # ── load ────────────────────────────────────────────────────────────────────────────────────

    def client_command(
        self, count: int, parallel: int, size: int, hold: bool = False, sources: str = "-", servers: list[str] = SERVERS
    ) -> list[str]:
        words = [count, parallel, size, int(hold), sources, *servers]
        return [str(self.dialogue), "client", "25", *map(str, words)]

    def talk(self, count: int, parallel: int, size: int, servers: list[str] = SERVERS) -> Talk:
        with on_core(self.core):
            done = self.lab.run("device1", self.client_command(count, parallel, size, servers=servers), timeout=120)
        return Talk(**json.loads(done.stdout))

    def flood(self, rate: int, seconds: float) -> subprocess.Popen[str]:
        """Starts the flood of device1, away from the filter's core where there are two."""
        others = os.sched_getaffinity(0) - {CORE}
        words = [self.lab.address4("device1"), SILENT, str(rate), str(seconds)]
        with on_core(min(others) if others else None):
            return self.lab.start("device1", [str(self.flood_program), *words])

    def many_devices(self) -> str:
        """Gives device1 `DEVICES` addresses, a MAC and a lease for each; returns the addresses, comma-separated.

        For a filter that starts after this, which reads the leases. Without them the devices were unknown ones.
        Its network card's address stays one, so answers arrive; what leaves is rewritten by the address it comes from.
        """
        addresses = [f"192.168.{2 + number // 250}.{1 + number % 250}" for number in range(DEVICES)]
        macs = [f"02:00:00:00:{2 + number // 250:02x}:{1 + number % 250:02x}" for number in range(DEVICES)]
        device, router = self.lab.namespace("device1"), self.lab.namespace("router")
        batch = "".join(f"addr add {address}/16 dev eth0\n" for address in addresses)
        for name, given in ((device, batch), (router, "addr add 192.168.2.254/16 dev br-lan\n")):
            subprocess.run(["ip", "-n", name, "-batch", "-"], input=given, text=True, check=True, capture_output=True)
        pairs = ", ".join(f"{address} : {mac}" for address, mac in zip(addresses, macs, strict=True))
        self.lab.nft(
            "device1",
            "table netdev macs { chain c { type filter hook egress device eth0 priority 0; "
            f"ether type ip ether saddr set ip saddr map {{ {pairs} }}; }}; }}",
        )
        with (self.lab.folder / "lab.leases").open("a") as leases:
            leases.writelines(f"0 {mac} {address} * *\n" for address, mac in zip(addresses, macs, strict=True))
        return ",".join(addresses)

    def wire_counter(self) -> None:
        """From now on the router counts packets of port 25, before anything can drop them."""
        self.lab.nft(
            "router",
            "table inet wire { counter wire { }; chain c { type filter hook forward priority -200; "
            "tcp dport 25 counter name wire; tcp sport 25 counter name wire; }; }",
        )

    def wire_count(self) -> int:
        return self.counter("wire", "wire")

    def counter(self, table: str, name: str) -> int:
        """The packets of a named counter of the router."""
        listed = json.loads(self.lab.run("router", ["nft", "-j", "list", "counter", "inet", table, name]).stdout)
        found: list[dict[str, Any]] = [item["counter"] for item in listed["nftables"] if "counter" in item]
        return int(found[0]["packets"])
