"""A lab with a filter and a steady stream of mail through it, and what became of each dialogue.

Knows the lab and its processes. A fault is what a function does to a scene while it is `during` the fault; before and
after it the scene is `idle`, so each fault is compared with idle time of the same minute. Times are the monotonic
clock's.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.faults import flood
from tests.faults.shim import set_ahead
from tests.faults.stream import PATIENCE_S
from tests.lab.net import PYTHON, RELAY4, RELAY6, Filter, Lab, mx4, mx6

#: Where the stream goes: servers that take mail, both families.
HOSTS = (mx4(0), mx6(4), mx4(10), mx6(14))
#: In mode block: relays, and servers that the policy exempts.
ADMITTED = (RELAY4, RELAY6, mx4(10), mx6(14))
#: Seconds after a fault that do not count as idle yet.
SETTLE_S = 0.6
# Every dialogue is read to its end: what is let go at its SYN no fault of the filter could touch.
_READ = "[detect]\nread_known = true\n"
OPEN = f'{_READ}[filter]\nmode = "monitor"\nfail = "open"\n'
CLOSED = f'{_READ}[filter]\nmode = "monitor"\nfail = "closed"\n'
_EXEMPT = f'[[exempt]]\ndestination = "{mx4(10)}"\n[[exempt]]\ndestination = "{mx6(14)}"\n'
BLOCK_OPEN = f'{_READ}{_EXEMPT}[filter]\nmode = "block"\nfail = "open"\n'
BLOCK_CLOSED = f'{_READ}{_EXEMPT}[filter]\nmode = "block"\nfail = "closed"\n'
# Limits that the stream does not come near.
_LIMITS = "[limits]\n" + "".join(
    f"{what}_{per} = 50000\n"
    for what in ("connections", "destinations", "messages", "recipients")
    for per in ("per_hour", "burst")
)
LIMIT_OPEN = f'{_READ}{_LIMITS}[filter]\nmode = "limit"\nfail = "open"\n'
LIMIT_CLOSED = f'{_READ}{_LIMITS}[filter]\nmode = "limit"\nfail = "closed"\n'


class Dialogue(NamedTuple):
    """One dialogue of the stream, seconds."""

    id: int
    begun: float
    ended: float
    longest: float
    step: str
    delivered: bool
    error: str

    @property
    def lasted(self) -> float:
        return self.ended - self.begun


class Outcome(NamedTuple):
    """What a fault did. Delays are milliseconds of whole dialogues, connect to the answer to QUIT.

    begun, median_ms: of the dialogues that began during the fault. lost, cut: of those that ran at any time since
    it began; a dialogue is cut that ended otherwise than by QUIT though its message was taken. worst_ms, stall_ms:
    the longest dialogue, and the longest wait for one answer. idle_median_ms, idle_worst_ms: of the dialogues before
    the fault, and after it has settled.
    """

    begun: int
    delivered: int
    lost: int
    cut: int
    median_ms: float
    worst_ms: float
    stall_ms: float
    idle_begun: int
    idle_median_ms: float
    idle_worst_ms: float
    errors: list[str]


class Scene:
    """Use as a context; `notes` is what a fault has to say beyond its outcome."""

    def __init__(
        self,
        policy: str = OPEN,
        shim: tuple[str, ...] = (),
        tmpfs: bool = False,
        filtered: bool = True,
        rate: float = 15,
        hosts: tuple[str, ...] = HOSTS,
    ) -> None:
        """shim: options of `tests.faults.shim`, {lab} standing for the lab's folder. tmpfs: the files in one of 64 kB.

        filtered: whether there is a filter. rate: dialogues a second. hosts: to which servers, in turn.
        """
        self.notes: dict[str, Any] = {}
        self._policy_text = policy
        self._rate = rate
        self._hosts = hosts
        self._shim = shim
        self._tmpfs = tmpfs
        self._filtered = filtered
        self._idle: list[tuple[float, float]] = []
        self._fault: tuple[float, float] = (0.0, 0.0)
        self._filters: list[Filter] = []

    def __enter__(self) -> Scene:
        self._stack = contextlib.ExitStack()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self.lab = self._stack.enter_context(Lab(devices=2))
        # Nobody answers there, and no packet says so.
        self.lab.nft(
            "internet",
            "table inet silent { counter arrived { }; chain early { type filter hook prerouting priority raw; "
            f"ip daddr {flood.SILENT}/16 counter name arrived drop; }}; }}",
        )
        self._taken, self._held = self.lab.folder / "taken", self.lab.folder / "dialogues"
        self._server = self._program("internet", "tests.faults.stream", "server", str(self._taken))
        self.clock = self.lab.folder / "clock"
        set_ahead(self.clock, 0.0)
        self.policy = self.lab.policy(self._policy_text)
        self.files = self.lab.folder
        if self._tmpfs:
            self.files = self.lab.folder / "small"
            self.files.mkdir()
            self._stack.enter_context(small_tmpfs(self.files))
            self.policy.write_text(self.policy.read_text().replace(f'"{self.lab.folder}/', f'"{self.files}/'))
        if self._filtered:
            self.start_filter()
        hosts = [str(self._rate), *self._hosts]
        self._client = self._program("device1", "tests.faults.stream", "client", str(self._held), *hosts)
        time.sleep(0.5)

    def _program(self, host: str, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts one of ours that says "ready" when it is."""
        process = self.lab.start(host, [PYTHON, "-m", module, *arguments])
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{module} did not start")
        return process

    # ── the filter ──────────────────────────────────────────────────────────────────────────────

    @property
    def filter(self) -> Filter:
        return self._filters[-1]

    def start_filter(self) -> float:
        """Starts it, again after it was killed; returns the seconds until it ran."""
        log = self.lab.folder / f"filter-{len(self._filters)}.log"
        module = ["tests.faults.shim", *self._shim] if self._shim else ["cpe_filter"]
        command = [PYTHON, "-m", *(word.replace("{lab}", str(self.lab.folder)) for word in module)]
        begun = time.monotonic()
        with log.open("w") as file:
            process = self.lab.start("router", [*command, "run", "--policy", str(self.policy)], stderr=file)
        self._filters.append(Filter(self.lab, process, log, self.policy))
        self.filter.wait_for("running:")
        return time.monotonic() - begun

    def kill_filter(self) -> None:
        """SIGKILL; when this returns it holds nothing any more."""
        self.filter.process.kill()
        self.filter.process.wait()

    def log(self) -> str:
        """What all filters of this scene have logged."""
        return "".join(each.log() for each in self._filters)

    def end_filter(self) -> None:
        """SIGKILL to what hangs or is stopped, too, and a new one."""
        self.kill_filter()
        self.start_filter()

    def filter_runs(self) -> bool:
        return self.filter.process.poll() is None

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def idle(self, seconds: float) -> None:
        """Lets time pass in which nothing is wrong."""
        begun = time.monotonic()
        time.sleep(seconds)
        self._idle.append((begun, time.monotonic()))

    def packets_judged(self) -> int:
        """Mail packets that the filter that runs now has looked at, as of its last status (a second ago at most)."""
        return int(json.loads((self.files / "status.json").read_text())["mail_packets"])

    @contextlib.contextmanager
    def during(self) -> Iterator[None]:
        """The fault's time; one for a scene."""
        self.harm_begins()
        yield
        self._fault = (self._begun, time.monotonic())
        time.sleep(SETTLE_S)

    def harm_begins(self) -> None:
        """For a fault that had something to prepare: it begins now."""
        self._begun = time.monotonic()

    def flood(self, rate: int, seconds: float, *words: str) -> subprocess.Popen[str]:
        """SYNs from device2 (see flood for the words). They, and the harm, begin when this returns."""
        options = [Lab.address4("device2"), str(rate), str(seconds), *words]
        process = self._program("device2", "tests.faults.flood", *options)
        self.harm_begins()
        return process

    def flooded(self, process: subprocess.Popen[str]) -> None:
        """Waits for the flood's end, and notes how much of it there was, and how much left the home."""
        out, _ = process.communicate(timeout=60)
        self.notes["syns"] = json.loads(out)["sent"]
        listed = json.loads(
            self.lab.run("internet", ["nft", "-j", "list", "counter", "inet", "silent", "arrived"]).stdout
        )
        self.notes["syns_that_left"] = listed["nftables"][-1]["counter"]["packets"]

    # ── outcome ─────────────────────────────────────────────────────────────────────────────────

    def outcome(self) -> Outcome:
        """Ends the stream and counts. Raises RuntimeError where client and server disagree about what was taken."""
        self._client.send_signal(signal.SIGTERM)
        self._client.wait(PATIENCE_S + 10)
        self.lab.stop(self._server)
        dialogues = [_dialogue(line) for line in self._held.read_text().splitlines()]
        taken = {int(line) for line in self._taken.read_text().splitlines()}
        unknown = [each.id for each in dialogues if each.delivered and each.id not in taken]
        if unknown:
            raise RuntimeError(f"the server never took the messages {unknown[:5]}")
        return count(dialogues, self._fault, self._idle)

    def standing(self, device: str) -> str:
        """What the filter thinks of a device, as of its last status (a second ago at most)."""
        told = json.loads((self.files / "status.json").read_text())
        for each in told["devices"]:
            if each["device"] == Lab.mac(device):
                return str(each["standing"])
        return "unknown"


def count(dialogues: list[Dialogue], fault: tuple[float, float], idle_times: list[tuple[float, float]]) -> Outcome:
    """What became of the dialogues. Times as begin and end. Raises RuntimeError where there is nothing to compare."""
    begin, end = fault
    during = [each for each in dialogues if begin <= each.begun < end]
    since = [each for each in dialogues if each.ended >= begin]
    idle = [each for each in dialogues if any(a <= each.begun and each.ended < b for a, b in idle_times)]
    if not during or not idle:
        raise RuntimeError("no dialogues to count")
    hit = [each for each in since if each.begun < end]
    return Outcome(
        begun=len(during),
        delivered=sum(1 for each in during if each.delivered),
        lost=sum(1 for each in since if not each.delivered),
        cut=sum(1 for each in since if each.delivered and each.error),
        median_ms=1000 * median(each.lasted for each in during),
        worst_ms=1000 * max(each.lasted for each in hit),
        stall_ms=1000 * max(each.longest for each in hit),
        idle_begun=len(idle),
        idle_median_ms=1000 * median(each.lasted for each in idle),
        idle_worst_ms=1000 * max(each.lasted for each in idle),
        errors=sorted({f"{each.error} after {each.step}" for each in since if each.error}),
    )


def _dialogue(line: str) -> Dialogue:
    record = json.loads(line)
    return Dialogue(**{name: record[name] for name in Dialogue._fields})


@contextlib.contextmanager
def small_tmpfs(folder: Path) -> Iterator[None]:
    """A tmpfs of 64 kB on `folder`, as long as the context lasts."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
