"""The live filter: queue, engine and ruleset put together, on the router.

Knows the order in which things start and stop, signals, the clock and the log. Must not judge. Nothing is installed
before everything has been checked, and nothing of it remains after a failed start.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable

from cpe_filter.detect.detector import RELEASED, StandingChanged
from cpe_filter.detect.device import Device, device_name
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.detect.score import CLEAR
from cpe_filter.enforce import nftables
from cpe_filter.enforce import process as command
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.enforce.nflog import LogBusyError, PacketLog
from cpe_filter.enforce.nfqueue import Queue, QueueBusyError
from cpe_filter.engine import REQUIRED, Engine, Flow, Refused
from cpe_filter.home import neighbour_table, translators
from cpe_filter.home.lan_networks import on_link
from cpe_filter.home.leases import Leases
from cpe_filter.home.mx_sniffer import Lookups, is_ours
from cpe_filter.home.router_advertisements import Advertisements
from cpe_filter.inspect.facts import Limits
from cpe_filter.lean import plain_signal as signal
from cpe_filter.lean import plain_socket as socket
from cpe_filter.lean.clocks import PacketTime, Posix
from cpe_filter.lean.log import log
from cpe_filter.live.control import Control
from cpe_filter.live.control_socket import ControlSocket, SocketInUseError
from cpe_filter.live.gate import Gate
from cpe_filter.live.ruleset_guard import Upkeep
from cpe_filter.live.state import State
from cpe_filter.policy.model import Policy
from cpe_filter.status import status
from cpe_filter.status.refusals import Refusals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv6Network
    from typing import Any

    from cpe_filter.notice.notice import Notice
    from cpe_filter.report.reporter import Reporter

_CAP_NET_ADMIN = 12
#: Nobody reads envelopes here: the counts are enough.
_LIMITS = Limits(waiting=500, transactions=0, recipients=0, last_reply=False, names=False)
#: Seconds between two looks at the router's own networks: a new prefix is in use seconds after it is announced.
_NETWORKS_S = 5.0
#: Prefixes of NAT64 that are logged when they are first found: whoever announces more than that fills no log.
_PREFIXES_LOGGED = 16


class RunError(RuntimeError):
    """The filter cannot start here; the text says what is missing."""


def run(policy: Policy, path: str) -> int:
    """Filters until told to stop, by the policy of file `path`. Returns the exit code; raises `RunError`."""
    check_surroundings(policy)
    filter_ = _Filter(policy, path)
    try:
        filter_.start()
    except SocketInUseError as error:
        filter_.close()
        raise RunError(f"[status] control_socket: {error.strerror}") from None
    except (QueueBusyError, LogBusyError, nftables.KernelError) as error:
        filter_.close()
        raise RunError(str(error)) from None
    except OSError as error:
        filter_.close()
        raise RunError(f"{policy.status.status_file}: {error.strerror}") from None
    try:
        filter_.loop()
    except Exception as error:
        log(f"internal error, stopping: {type(error).__name__}: {error}")
        # Mode block needs no filter: what ends this one must not open it.
        _end(filter_, "closed" if filter_.policy.filter.mode == "block" else policy.filter.fail, save=False)
        return 70  # EX_SOFTWARE: the supervisor starts us again
    _end(filter_, policy.filter.fail, save=True)
    return 0


def _end(filter_: _Filter, fail: str, save: bool) -> None:
    """In fail closed the ruleset outlives the filter: nothing leaves unseen while it is down."""
    if fail == "open":
        filter_.remove_rules()  # first: from now on no packet waits for us
    if save:
        filter_.save_state()
    filter_.close()
    if fail == "open":
        log("stopped, ruleset removed")
    else:
        log(
            "stopped; the ruleset stays: no direct mail leaves until the filter runs again "
            "(`cpe-filter rules --remove` takes it out)"
        )


def check_surroundings(policy: Policy) -> None:
    """Everything that can be known before anything is changed. Raises `RunError`."""
    if not _may_administer():
        raise RunError("not allowed to filter: run it as root, or with the capability CAP_NET_ADMIN")
    if command.find("nft") is None:
        raise RunError("nft is not installed (package nftables)")
    present = [name for _, name in socket.if_nameindex()]
    for key, names in (("lan", policy.network.lan), ("wan", policy.network.wan)):
        for name in names:
            if name not in present:
                raise RunError(
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
    def __init__(self, policy: Policy, path: str) -> None:
        self.policy = policy  # with the exemptions that are in force
        # The engine's time never goes back, whatever is done to the wall clock; it starts as the wall's.
        self._offset = time.time() - time.monotonic()
        self.since = time.time()
        self.engine = Engine(
            policy,
            _LIMITS,
            ours=is_ours,
            whole=False,
            ended=self._ended,
            known=lambda mac: mac in self._neighbours or self.leases.holds(mac),
            checksums=REQUIRED,
        )
        self.leases = Leases(policy.network.leases)
        self._neighbours: set[bytes] = set()  # MACs that the kernel has seen answer
        volatile = os.path.join(os.path.dirname(policy.status.status_file), "state")
        self.state = State(policy.state.state_file, volatile, log)
        self.control = Control(policy, path, self, log)
        self.control_socket: ControlSocket | None = None
        self.gate: Gate | None = None
        self.lookups: Lookups | None = None
        self._poll = select.poll()
        self.advertisements = Advertisements(policy.network.wan, policy.network.lan, self._poll, log)
        self._answers_file = translators.answers_file(policy.status.status_file)
        self._prefixes_logged: set[IPv6Network] = set()
        self.handoff = ""
        self.log_group = False  # packets are shown by NFLOG
        self._installed = False
        self.status_file = status.Writer(self.engine, policy.status.status_file, self._about, self.leases.name, log)
        self._stop = self._hung_up = False
        self.refusals = Refusals(log)
        self.upkeep: Upkeep | None = None
        self.reporter: Reporter | None = None
        self.notice: Notice | None = None
        self._failures_told = 0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def now(self) -> PacketTime:
        return PacketTime(time.monotonic() + self._offset)

    def start(self) -> None:
        policy = self.policy
        signal.signal(signal.SIGHUP, self._on_hangup)  # at once: by itself it would end us
        self.handoff = nftables.find_handoff(policy)
        self.log_group = nftables.find_log(policy)
        os.makedirs(os.path.dirname(policy.status.status_file), exist_ok=True)
        self._look_around(self.now())
        queue = Queue(policy.filter.queue, policy.filter.queue_length)
        try:
            shown = PacketLog(policy.filter.queue) if self.log_group else None
        except LogBusyError:
            queue.close()
            raise
        self.gate = Gate(self.engine, queue, shown, self._poll, self.now, log)
        # Before the exemptions are read: who adds one meanwhile finds a filter that will read it.
        self.control_socket = ControlSocket(policy.status.control_socket, self._poll, self.control.handle, log)
        self.policy = policy = self.control.begin()
        self.engine.reload(policy)
        self.engine.restore(self.state.load(self.now()))
        self._report()
        self._show()
        self.status_file.write()
        nftables.update(policy, self.handoff, self.log_group)  # of a filter that was killed what it had decided stays
        self._installed = True
        self.gate.begin()
        self.upkeep = Upkeep(lambda: self.policy, self._poll, self._install_again, log)
        self._watch_dns()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        log(
            f"running: queue {policy.filter.queue} by {self.handoff}, {'' if self.log_group else 'no '}NFLOG, "
            f"mode {policy.filter.mode}, fail {policy.filter.fail}, "
            f"lan {' '.join(policy.network.lan)}, wan {' '.join(policy.network.wan)}, "
            f"{len(policy.network.relays)} relays"
        )

    def _on_signal(self, number: int, frame: object) -> None:
        self._stop = True

    def _on_hangup(self, number: int, frame: object) -> None:
        self._hung_up = True

    def _watch_dns(self) -> None:
        """Begins or ends to watch lookups, as the policy says."""
        if self.policy.detect.watch_dns and self.lookups is None:
            self.lookups = Lookups(self.policy.network.lan, self._poll, self._judge_lookup, log)
            self.lookups.tick(self.now())
        elif not self.policy.detect.watch_dns and self.lookups is not None:
            self.lookups.close()
            self.lookups = None

    def _report(self) -> None:
        """Begins or ends to make reports for the Internet provider, as the policy says."""
        now = self.now()
        if not self.policy.report.url:
            if self.reporter is not None:
                self.reporter.close(now)
                self.reporter = None
                self.state.companions.clear()
        elif self.reporter is not None:
            self.reporter.reload(self.policy)
        else:
            from cpe_filter.report import reporter

            try:
                self.reporter = reporter.Reporter(self.policy, self.engine, self.leases.name, self._figures, log, now)
            except OSError as error:
                log(f"no reports are made: {error.filename or self.policy.state.state_file}: {error.strerror}")
            else:
                self.state.companions[reporter.INCIDENTS_SUFFIX] = self.reporter.encoded

    def _show(self) -> None:
        """Begins to keep the subscriber's page, or has it follow the policy."""
        if self.notice is not None:
            self.notice.reload()
        elif self.policy.notice.page:
            from cpe_filter.notice.notice import Notice

            self.notice = Notice(self.leases.name, log)

    def _figures(self) -> dict[str, int]:
        """For heartbeats."""
        return {
            "exempt": self.control.in_force()[0],
            "packets": self.engine.mail_packets,
            "failures": self.gate.failures if self.gate else 0,
            "restored": self.upkeep.restored if self.upkeep else 0,
        }

    def _ended(self, flow: Flow) -> None:
        if self.gate is not None:
            self.gate.ended(flow)

    def _judge_lookup(self, hwaddr: bytes | None, packet: bytes) -> None:
        self.engine.on_mx_query(self.now(), hwaddr, packet)

    def loop(self) -> None:
        if self.gate is None:
            raise RuntimeError("loop before start")
        poll = self._poll
        poll.register(self._wake_read, select.POLLIN)
        next_tick = next_status = next_look = 0.0
        while not self._stop:
            if self._hung_up and self.control_socket is not None:
                self._hung_up = False
                self.control_socket.between(self.control.hang_up)
            now = self.now()
            if now >= next_tick:
                self.engine.tick(now)
                self.gate.tick(now)
                self.control.tick(now)
                if self.control_socket is not None:
                    self.control_socket.tick(now)
                if self.lookups is not None:
                    self.lookups.tick(now)
                self.advertisements.tick(now)
                self.refusals.tick(now)
                if self.upkeep is not None:
                    self.upkeep.tick(now)
                    self.upkeep.write_metrics(now, self._counted)
                if self.reporter is not None:
                    self.reporter.tick(now)
                if self.notice is not None:
                    self.notice.tick(self.engine.devices, self.policy, now)
                if now >= next_look:
                    self._look_around(now)
                    next_look = now + _NETWORKS_S
                next_tick = now + 1.0
            if now >= next_status:
                self.status_file.ask()
                next_status = now + self.policy.status.status_interval_s
            self._tell()
            more = [self.status_file.step(), self.state.tick(self.engine.devices.known(), now), self.gate.waits]
            served = False
            for fd, _ in poll.poll(0 if any(more) else max(0.0, min(next_tick, next_status) - now) * 1000):
                if fd in self.gate:
                    if not served:
                        self.gate.serve()  # all of its descriptors
                    served = True
                elif self.control_socket is not None and fd in self.control_socket:
                    self.control_socket.serve(fd)
                elif self.lookups is not None and fd in self.lookups:
                    self.lookups.serve(fd)
                elif fd == self.advertisements.fd:
                    self.advertisements.serve()
                elif self.upkeep is not None and fd in self.upkeep:
                    self.upkeep.serve(self.now())
                else:
                    self._drain_wakeups()
            if self.gate.waits and not served:
                self.gate.serve()

    def _look_around(self, now: PacketTime) -> None:
        """The home as the router's files tell it: its networks, and DHCP's leases."""
        self.engine.on_link(on_link((*self.policy.network.lan, *self.policy.network.wan)))
        self._look_for_translators()
        try:
            self._neighbours = neighbour_table.confirmed(self.policy.network.lan)
        except OSError:
            pass  # those of the last look
        if self.leases.refresh(now):
            self.engine.leases(self.leases, now, Posix(time.time()))

    def _look_for_translators(self) -> None:
        """Learnt from others: these prefixes say how servers are counted, and never what passes."""
        found = dict.fromkeys(
            (*translators.prefixes(), *translators.looked_up(self._answers_file), *self.advertisements.prefixes())
        )
        self.engine.translators(found)
        for prefix in found:
            if prefix not in self._prefixes_logged and len(self._prefixes_logged) < _PREFIXES_LOGGED:
                self._prefixes_logged.add(prefix)
                log(f"NAT64 prefix {prefix} found: servers behind it count by their IPv4 address")

    # ── what the control needs (control.Surroundings) ───────────────────────────────────────────

    def devices(self) -> Iterable[Device]:
        return self.engine.devices

    def host_name(self, device: Device) -> str:
        return self.leases.name(device)

    def apply(self, policy: Policy) -> str:
        try:
            nftables.update(policy, self.handoff, self.log_group)
        except nftables.KernelError as error:
            return str(error)
        self.policy = policy
        self.engine.reload(policy)
        if self.upkeep is not None:
            self.upkeep.rules_changed()
        self._watch_dns()
        self._report()
        self._show()
        return ""

    def release(self, device: Device) -> str:
        self.engine.release(device.key, self.now())
        failed = self.unblock(device)
        self._tell()
        self.state.at_once(self.now())
        self.state.tick(self.engine.devices.known(), self.now())
        return failed

    def unblock(self, device: Device) -> str:
        if self.gate is None or self.gate.released(device):
            return ""
        return "the kernel did not take it out of its sets"

    # ── telling ─────────────────────────────────────────────────────────────────────────────────

    def save_state(self) -> None:
        """At an orderly end. After an internal error what was written before counts."""
        self._tell()  # what has changed in the last moment
        if self.reporter is not None:
            self.reporter.close(self.now())
        self.state.close(self.engine.devices.known(), self.now())

    def _drain_wakeups(self) -> None:
        try:
            os.read(self._wake_read, 512)
        except BlockingIOError:
            pass

    def _tell(self) -> None:
        """The engine's events, and failures, to the log."""
        gate = self.gate
        if gate is not None and gate.failures > self._failures_told:
            self._failures_told = gate.failures
            log(f"{gate.failures} packets could not be processed; last error: {gate.last_failure}")
        if not self.engine.events:
            return
        events, self.engine.events = self.engine.events, []
        for event in events:
            if isinstance(event, StandingChanged):
                self._tell_standing(event)
            elif isinstance(event, Refused):
                self._tell_refused(event)
            elif isinstance(event, DeviceRekeyed):
                log(
                    f"device {device_name(event.before)} goes on as {self._called(event.device)}: the same DHCP "
                    f"{event.why}; it is {event.device.score.standing}"
                )
                if self.reporter is not None:
                    self.reporter.rekeyed(event.before, event.device.key)
                if self.notice is not None:
                    self.notice.continued(event.before, event.device.key)
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
        if self.notice is not None:
            self.notice.changed(device, event.before, event.indicator, event.time)
        self.status_file.ask()

    def _tell_refused(self, event: Refused) -> None:
        device, session, reason = event.flow.device, event.flow.session, event.flow.decision.reason
        called = self._called(device)
        self.refusals.told(event.time, device.key, called, session.server, session.server_port, reason)

    def _install_again(self) -> str:
        """Somebody took the ruleset out. "", or why it could not be put back."""
        try:
            nftables.install(self.policy, self.handoff, self.log_group)
        except nftables.KernelError as error:
            return str(error)
        if self.gate is not None:
            self.gate.rules_installed()
        return ""

    def _about(self) -> dict[str, Any]:
        """For the status, what the engine does not know."""
        gate = self.gate
        return {
            "pid": os.getpid(),
            "pid_namespace": status.pid_namespace(),
            "since": round(self.since, 3),
            "queue": self.policy.filter.queue,
            "handoff": self.handoff,
            "fail": self.policy.filter.fail,
            "policy": self.control.about(),
            **status.exemptions(*self.control.in_force(status.EXEMPT)),
            "failures": gate.failures if gate else 0,
            "lost": gate.lost if gate else 0,
            "lost_at": gate.lost_at if gate else None,
            "lookup_packets": self.lookups.seen if self.lookups else 0,
            "refusals": self.refusals.counts,
            **(self.upkeep.figures() if self.upkeep else {}),
        }

    def _counted(self) -> dict[str, Any]:
        return status.counted(self.engine, self._about(), time.time())

    def remove_rules(self) -> None:
        if self._installed:
            nftables.remove()
            self._installed = False

    def close(self) -> None:
        if self.gate is not None:
            self.gate.close()
            self.gate = None
        if self.lookups is not None:
            self.lookups.close()
        self.advertisements.close()
        if self.control_socket is not None:
            self.control_socket.close()
        self.control.close()
        self.refusals.close()
        if self.notice is not None:
            self.notice.close()
        if self.upkeep is not None:
            self.upkeep.close(rules_stay=self._installed)
        signal.set_wakeup_fd(-1)
        for fd in (self._wake_read, self._wake_write):
            try:
                os.close(fd)
            except OSError:
                pass
        self.status_file.close()
