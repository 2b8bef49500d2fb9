"""The live filter: queue, engine and ruleset put together, on the router.

Knows the order in which things start and stop, signals, the clock and the log. Must not judge. Nothing is installed
before everything has been checked, and nothing of it remains after a failed start.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

from cpe_filter.detect.detector import RELEASED
from cpe_filter.detect.device import Device, device_name
from cpe_filter.detect.score import CLEAR
from cpe_filter.enforce import nftables
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.enforce.nfqueue import Queue, QueueTaken
from cpe_filter.engine import Continued, Engine, Refused, StandingChanged
from cpe_filter.inspect.smtp import Limits
from cpe_filter.leases import Leases
from cpe_filter.lookups import Lookups, is_ours
from cpe_filter.onlink import on_link
from cpe_filter.policy import Policy
from cpe_filter.report import status
from cpe_filter.state import State

_CAP_NET_ADMIN = 12
#: Nobody reads envelopes here: the counts are enough.
_LIMITS = Limits(waiting=500, transactions=1, recipients=0)
#: Lines about refusals in the log, for one device within a minute; the rest is counted.
_REFUSAL_LINES = 6
#: Seconds between two looks at the router's own networks: a new prefix is in use seconds after it is announced.
_NETWORKS_S = 5.0


class CannotRun(RuntimeError):
    """The filter cannot start here; the text says what is missing."""


def log(text: str) -> None:
    """One line on stderr: procd and systemd carry it to the system log."""
    try:
        sys.stderr.write(f"cpe-filter: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody listens any more; the packets still want their verdicts


def run(policy: Policy) -> int:
    """Filters until told to stop. Returns the exit code; raises `CannotRun` if it cannot start."""
    check_surroundings(policy)
    filter_ = _Filter(policy)
    try:
        filter_.start()
    except (QueueTaken, nftables.KernelError) as error:
        filter_.close()
        raise CannotRun(str(error)) from None
    except OSError as error:
        filter_.close()
        raise CannotRun(f"{policy.status_file}: {error.strerror}") from None
    try:
        filter_.loop()
    except Exception as error:
        log(f"internal error, stopping: {type(error).__name__}: {error}")
        if policy.fail == "closed":
            log("the ruleset stays: fail is closed, no direct mail leaves until the filter runs again")
        else:
            filter_.remove_rules()
        filter_.close()
        return 70  # EX_SOFTWARE: the supervisor starts us again
    filter_.remove_rules()
    filter_.save_state()
    filter_.close()
    log("stopped, ruleset removed")
    return 0


def check_surroundings(policy: Policy) -> None:
    """Everything that can be known before anything is changed. Raises `CannotRun`."""
    if not _may_administer():
        raise CannotRun("not allowed to filter: run it as root, or with the capability CAP_NET_ADMIN")
    if nftables.program("nft") is None:
        raise CannotRun("nft is not installed (package nftables)")
    try:
        import netfilterqueue  # noqa: F401
    except ImportError:
        raise CannotRun("the Python package netfilterqueue is missing: pip install 'cpe-filter[router]'") from None
    present = [name for _, name in socket.if_nameindex()]
    for key, names in (("lan", policy.lan), ("wan", policy.wan)):
        for name in names:
            if name not in present:
                raise CannotRun(
                    f"[network] {key} names {name}, and there is no such interface; there are {', '.join(present)}"
                )


def _may_administer() -> bool:
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("CapEff:"):
                    return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    except (OSError, ValueError):
        pass
    return os.geteuid() == 0


class _Filter:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        # The engine's time never goes back, whatever is done to the wall clock; it starts as the wall's.
        self._offset = time.time() - time.monotonic()
        self.since = time.time()
        self.engine = Engine(policy, _LIMITS, ours=is_ours)
        self.leases = Leases(policy.leases)
        self.state = State(policy.state_file, os.path.join(os.path.dirname(policy.status_file), "state"), log)
        self.queue: Queue | None = None
        self.lookups: Lookups | None = None
        self._poll = select.poll()
        self.handoff = ""
        self._installed = False
        self._status_is_ours = False
        self._stop = False
        self._refused_lines: dict[bytes, list[float]] = {}
        self._suppressed = 0
        self._failures_told = 0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def now(self) -> float:
        return time.monotonic() + self._offset

    def start(self) -> None:
        policy = self.policy
        self.handoff = nftables.find_handoff(policy)
        os.makedirs(os.path.dirname(policy.status_file), exist_ok=True)
        self._look_around(self.now())
        self.queue = Queue(policy.queue, policy.queue_length, self._judge, policy.fail == "closed")
        self.engine.restore(self.state.load(self.now()))
        self._write_status()
        nftables.install(policy, self.handoff)
        self._installed = True
        if policy.watch_dns:
            self.lookups = Lookups(policy.lan, self._poll, self._judge_lookup, log)
            self.lookups.tick(self.now())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        log(
            f"running: queue {policy.queue} by {self.handoff}, mode {policy.mode}, fail {policy.fail}, "
            f"lan {' '.join(policy.lan)}, wan {' '.join(policy.wan)}, {len(policy.relays)} relays"
        )

    def _on_signal(self, number: int, frame: object) -> None:
        self._stop = True

    def _judge(self, hook: int, hwaddr: bytes | None, packet: bytes) -> str:
        return self.engine.packet(self.now(), hook, hwaddr, packet)

    def _judge_lookup(self, hwaddr: bytes | None, packet: bytes) -> None:
        self.engine.lookup(self.now(), hwaddr, packet)

    def loop(self) -> None:
        if self.queue is None:
            raise RuntimeError("loop before start")
        poll = self._poll
        poll.register(self.queue.fd, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        next_tick = next_status = next_look = 0.0
        while not self._stop:
            now = self.now()
            if now >= next_tick:
                self.engine.tick(now)
                if self.lookups is not None:
                    self.lookups.tick(now)
                if now >= next_look:
                    self._look_around(now)
                    next_look = now + _NETWORKS_S
                next_tick = now + 1.0
            if now >= next_status:
                self._write_status()
                next_status = now + self.policy.status_interval_s
            self._tell()
            self.state.tick(self.engine.devices, now)
            for fd, _ in poll.poll(max(0.0, min(next_tick, next_status) - now) * 1000):
                if fd == self.queue.fd:
                    self.queue.serve()
                elif self.lookups is not None and fd in self.lookups:
                    self.lookups.serve(fd)
                else:
                    self._drain_wakeups()

    def _look_around(self, now: float) -> None:
        """The home as the router's files tell it: its networks, and DHCP's leases."""
        self.engine.on_link(on_link((*self.policy.lan, *self.policy.wan)))
        if self.leases.refresh(now):
            self.engine.leases(self.leases, now, time.time())

    def save_state(self) -> None:
        """At an orderly end. After an internal error what was written before counts."""
        self._tell()  # what has changed in the last moment
        self.state.close(self.engine.devices, self.now())

    def _drain_wakeups(self) -> None:
        try:
            os.read(self._wake_read, 512)
        except BlockingIOError:
            pass

    def _tell(self) -> None:
        """The engine's events, and failures, to the log."""
        if self.queue is not None and self.queue.failures > self._failures_told:
            self._failures_told = self.queue.failures
            log(f"{self.queue.failures} packets could not be judged, last: {self.queue.last_failure}")
        if not self.engine.events:
            return
        events, self.engine.events = self.engine.events, []
        for event in events:
            if isinstance(event, StandingChanged):
                self._tell_standing(event)
            elif isinstance(event, Refused):
                self._tell_refused(event)
            elif isinstance(event, Continued):
                log(
                    f"device {device_name(event.before)} goes on as {self._called(event.device)}: the same DHCP "
                    f"{event.why}; it is {event.device.score.standing}"
                )
                if event.device.score.standing != CLEAR:
                    self.state.changed(event.device, event.time)

    def _called(self, device: Device) -> str:
        """A device for the log, with what it calls itself in DHCP."""
        name = self.leases.name(device)
        return f"{device.name} ({name})" if name else device.name

    def _tell_standing(self, event: StandingChanged) -> None:
        device = event.device
        mode = effective_mode(self.policy, device)
        why = "said to be cleaned" if event.indicator == RELEASED else f"last evidence {event.indicator}"
        log(
            f"device {self._called(device)} is now {event.after} (was {event.before}): score {device.score.value:.1f} "
            f"at its connection {event.connection}, {why}; mode {mode}"
        )
        self.state.changed(device, self.now())
        self._write_status()

    def _tell_refused(self, event: Refused) -> None:
        device, session = event.flow.device, event.flow.session
        lines = self._refused_lines.setdefault(device.key, [])
        lines[:] = [told for told in lines if event.time - told < 60.0]
        if len(lines) >= _REFUSAL_LINES:
            self._suppressed += 1
            return
        lines.append(event.time)
        more = f" ({self._suppressed} more not shown)" if self._suppressed else ""
        self._suppressed = 0
        server = socket.inet_ntop(socket.AF_INET if len(session.server) == 4 else socket.AF_INET6, session.server)
        reason = event.flow.decision.reason
        log(f"refused {self._called(device)} to {server} port {session.server_port}: {reason}{more}")
        if len(self._refused_lines) > 512:
            self._refused_lines.clear()

    def _write_status(self) -> None:
        queue = self.queue
        about = {
            "pid": os.getpid(),
            "since": round(self.since, 3),
            "queue": self.policy.queue,
            "handoff": self.handoff,
            "fail": self.policy.fail,
            "failures": queue.failures if queue else 0,
            "lookup_packets": self.lookups.seen if self.lookups else 0,
        }
        try:
            status.write(self.policy.status_file, status.snapshot(self.engine, about, time.time(), self.leases.name))
            self._status_is_ours = True
        except OSError as error:
            if not self._installed:
                raise
            log(f"status not written: {self.policy.status_file}: {error.strerror}")

    def remove_rules(self) -> None:
        if self._installed:
            nftables.remove(self.handoff)
            self._installed = False

    def close(self) -> None:
        if self.queue is not None:
            self.queue.close()
            self.queue = None
        if self.lookups is not None:
            self.lookups.close()
        signal.set_wakeup_fd(-1)
        for fd in (self._wake_read, self._wake_write):
            try:
                os.close(fd)
            except OSError:
                pass
        if self._status_is_ours:  # not that of a filter which kept us from starting
            try:
                os.unlink(self.policy.status_file)
            except OSError:
                pass
