"""The daemon: a loop over parts, and the order in which these start, take turns and stop.

Knows parts (live.part), signals and the clock. Must not judge. Nothing is installed before everything has been checked,
and nothing of it remains after a failed start. Packets come first: a part's turn is short, and what takes time is done
in slices (`step`) or in a child process.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable

from cpe_filter.detect.device import Device
from cpe_filter.enforce.nflog import LogBusyError, PacketLog
from cpe_filter.enforce.nfqueue import Queue, QueueBusyError
from cpe_filter.enforce.nftables import KernelError
from cpe_filter.enforce.ruleset_names import UNCLEAR
from cpe_filter.engine import REQUIRED, Engine, Flow
from cpe_filter.home.leases import Leases
from cpe_filter.home.mx_sniffer import is_ours
from cpe_filter.inspect.facts import Limits
from cpe_filter.lean import plain_signal as signal
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.lean.log import err, log, notice, output, warning
from cpe_filter.live.control import Control
from cpe_filter.live.control_socket import ControlSocket, SocketInUseError, holder_of
from cpe_filter.live.figures import Figures
from cpe_filter.live.gate import Gate
from cpe_filter.live.home_watch import HomeWatch, MxWatch
from cpe_filter.live.log_events import EventLog
from cpe_filter.live.part import Part
from cpe_filter.live.parts import ControlPart, StatePart
from cpe_filter.live.preflight import RunError, check_host
from cpe_filter.live.rules_in_kernel import RulesInKernel
from cpe_filter.live.ruleset_guard import RulesetGuard
from cpe_filter.live.state import State
from cpe_filter.live.status_files import MetricsFile, StatusFile
from cpe_filter.live.submissions import Submissions
from cpe_filter.live.ways_out import WaysOut
from cpe_filter.policy.model import Policy
from cpe_filter.status import status

__all__ = ["RunError", "run"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.lean.log import Log
    from cpe_filter.live.job import Steps
    from cpe_filter.live.notify.desk import Ask
    from cpe_filter.live.reports import Reports

#: Envelopes are not read here; the counts are sufficient.
_LIMITS = Limits(waiting=500, transactions=0, recipients=0, last_reply=False, names=False)
#: Seconds between two ticks.
TICK_S = 1.0


def run(policy: Policy, path: str) -> int:
    """Filters with the policy of file `path` until a signal. Returns the exit code; raises `RunError`."""
    check_host(policy)
    daemon = Daemon(policy, path)
    daemon.start()
    try:
        daemon.loop()
    except Exception as error:
        log(err(f"internal error, stopping: {type(error).__name__}: {error}"))
        # Mode block needs no filter, so an error in the filter must not let mail pass.
        daemon.stop("closed" if daemon.policy.filter.mode == "block" else policy.filter.fail, save=False)
        return 70  # EX_SOFTWARE: the supervisor starts us again
    daemon.stop(policy.filter.fail, save=True)
    return 0


class Daemon:
    """`start`, `loop`, `stop`; a `start` that raises has undone what it did."""

    gate: Gate
    guard: RulesetGuard
    home: HomeWatch
    events: EventLog
    control_socket: ControlSocket
    ways: WaysOut
    submissions: Submissions

    def __init__(self, policy: Policy, path: str) -> None:
        self.policy = policy  # with the exemptions that are in force
        # The engine's time never goes back, whatever happens to the wall clock; it starts with the wall clock's.
        self._offset = time.time() - time.monotonic()
        self._poll = select.poll()
        self.engine = Engine(
            policy,
            _LIMITS,
            ours=is_ours,
            whole=False,
            ended=self._ended,
            known=self._knows,
            checksums=REQUIRED,
            joined_by_replies=False,
            borrowed=self._borrowed,
        )
        self.leases = Leases(policy.network.leases)
        self.rules = RulesInKernel(log)
        self.state = State(
            policy.state.state_file, os.path.join(os.path.dirname(policy.status.status_file), "state"), log
        )
        self.control = Control(policy, path, self, log)
        self._parts: list[Part] = []
        #: Optional parts: whether the policy needs them, and how each is made.
        self._optional: dict[str, tuple[Callable[[Policy], bool], Callable[[], Part]]] = {
            "mx": (lambda policy: policy.detect.watch_dns, self._make_mx_watch),
            "reports": (lambda policy: bool(policy.report.url), self._make_reports),
            "instructions": (lambda policy: bool(policy.report.url), self._make_instructions),
            "desk": (lambda policy: policy.notice.show != "off", self._make_notice_desk),
            # Once made it stays: it removes the page, and knows the history of devices.
            "notice": (lambda policy: bool(policy.notice.page) or "notice" in self._running, self._make_notice_page),
        }
        self._running: dict[str, Part] = {}  # the optional parts
        self._steps: list[Callable[[PacketTime], bool]] = []
        self._figures = Figures(policy, self.engine, self._parts, self.rules)
        self._status = status.Writer(self.engine, policy.status.status_file, self._figures.facts, self.leases.name, log)
        self._stop = self._hung_up = False
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)

    def now(self) -> PacketTime:
        return PacketTime(time.monotonic() + self._offset)

    def _ended(self, flow: Flow) -> None:
        self.gate.ended(flow)

    def _knows(self, mac: bytes) -> bool:
        return self.home.knows(mac)

    def _borrowed(self, address: bytes, mac: bytes, sure: bool) -> bool:
        return self.home.borrowed(address, mac, sure)

    def _set_unclear(self, on: bool, seconds: float) -> None:
        self.gate.sets.switch(UNCLEAR, on, seconds)

    # ── start and stop ──────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Raises `RunError`, and leaves nothing behind then."""
        signal.signal(signal.SIGHUP, self._on_hangup)  # at once: the default action would end the process
        try:
            self._start()
        except (RunError, QueueBusyError, LogBusyError, KernelError) as error:
            self._undo_start()
            busy = isinstance(error, (QueueBusyError, LogBusyError))
            holder = holder_of(self.policy.status.control_socket) if busy else 0
            if not holder:
                raise RunError(str(error)) from None
            from cpe_filter.lean.files import already_running

            raise RunError(f"{already_running(holder)}: {error}") from None
        except SocketInUseError as error:
            self._undo_start()
            raise RunError(f"[status] control_socket: {error.strerror}") from None
        except OSError as error:
            self._undo_start()
            raise RunError(f"{error.filename or 'a resource of the system'}: {error.strerror or error}") from None
        except BaseException:
            self._undo_start()
            raise

    def _start(self) -> None:
        self.rules.probe(self.policy)
        _make_status_folder(self.policy)
        self.home = HomeWatch(self.policy, self.engine, self.leases, self._poll, log)
        self.home.look(self.now())
        self.gate = self._make_gate()
        self._parts.append(self.gate)
        # Before the exemptions are read: a command that adds one meanwhile finds a filter that will read it.
        self.control_socket = ControlSocket(self.policy.status.control_socket, self._poll, self.control.handle, log)
        self._parts += [ControlPart(self.control_socket, self.control), self.home]
        self.events = EventLog(self.engine, self.gate, self._parts, self.leases.name, log)
        self._parts.append(self.events)
        self.policy = self.control.begin()
        self.engine.reload(self.policy)
        self.engine.restore(self.state.load(self.now()))
        self._update_optional()
        self._write_first_status()
        self.rules.install(self.policy)
        self.gate.begin()
        self.guard = RulesetGuard(
            lambda: self.policy,
            self._poll,
            self.now,
            lambda: self.rules.install_again(self.policy),
            self.gate.rules_installed,
            log,
        )
        self.ways = WaysOut(self.policy, self._poll, self._set_unclear, log)
        self.submissions = Submissions(self.policy, self.engine.devices, self.leases.name_of, log)
        self._parts += [
            self.guard,
            self.ways,
            self.submissions,
            MetricsFile(lambda: self.policy, self._figures.counted, log),
            StatusFile(lambda: self.policy, self._status),
            StatePart(self.state, self.engine),
        ]
        self._update_optional()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._log_start()

    def _make_gate(self) -> Gate:
        """Raises `QueueBusyError`, `LogBusyError`, `RunError`."""
        queue, shown = Queue(self.policy.filter.queue, self.policy.filter.queue_length), None
        try:
            shown = PacketLog(self.policy.filter.queue) if self.rules.has_log else None
            return Gate(self.engine, queue, shown, self._poll, self.now, log)
        except (LogBusyError, OSError) as error:
            queue.close()
            if shown is not None:
                shown.close()
            if isinstance(error, OSError):
                raise RunError(f"no socket for the ruleset's sets: {error.strerror}") from None
            raise

    def _write_first_status(self) -> None:
        """Raises `RunError`."""
        try:
            self._status.write()
        except OSError as error:
            raise RunError(f"[status] status_file: {self.policy.status.status_file}: {error.strerror}") from None

    def _log_start(self) -> None:
        policy, has_log = self.policy, self.rules.has_log
        log(
            notice(
                f"running: queue {policy.filter.queue} by {self.rules.handoff}, {'' if has_log else 'no '}NFLOG, "
                f"mode {policy.filter.mode}, fail {policy.filter.fail}, "
                f"lan {' '.join(policy.network.lan)}, wan {' '.join(policy.network.wan)}, "
                f"{len(policy.network.relays)} relays"
            )
        )
        if policy.filter.fail == "open" and not has_log:
            log(
                warning(
                    "the kernel has no NFLOG (kmod-nfnetlink-log): all packets go through the queue, and those that "
                    'find it full are dropped, although fail = "open"'
                )
            )

    def _on_signal(self, number: int, frame: object) -> None:
        self._stop = True

    def _on_hangup(self, number: int, frame: object) -> None:
        self._hung_up = True

    def stop(self, fail: str, save: bool) -> None:
        """In fail closed the ruleset outlives the filter: nothing leaves unseen while it is down."""
        self.control.close()  # no child process of ours loads a ruleset from now on
        self.guard.end_repairs()
        if fail == "open":  # no packet waits for us from now on
            done = self.rules.remove()
        else:
            done = self.rules.keep(self.policy)
            self.gate.sets.stopped()  # else what the kernel lets alone would leave for some seconds more
        now = self.now()
        # The state comes last, with what the others keep in it. Without `save` the earlier files count.
        for part in sorted(self._parts, key=lambda part: isinstance(part, StatePart)) if save else ():
            part.save(now)
        self._close()
        if fail == "open":
            still = err("stopped; the ruleset is still loaded (`cpe-filter rules --remove` takes it out)")
            log(notice("stopped, ruleset removed") if done else still)
        elif not done:
            log(err("stopped; there is no ruleset: direct mail leaves"))
        else:
            log(
                notice(
                    "stopped; the ruleset stays: no direct mail leaves until the filter runs again "
                    "(`cpe-filter rules --remove` takes it out)"
                )
            )

    def _undo_start(self) -> None:
        self.rules.undo(self.policy)
        self._close()

    def _close(self) -> None:
        optional = self._running.values()  # first: they take their elements out by the gate
        for part in (*optional, *(part for part in self._parts if part not in optional)):
            part.close()
        self._parts.clear()
        signal.set_wakeup_fd(-1)
        for fd in (self._wake_read, self._wake_write):
            try:
                os.close(fd)
            except OSError:
                pass
        self._status.close()

    # ── the loop ────────────────────────────────────────────────────────────────────────────────

    def loop(self) -> None:
        """Until a signal says so."""
        self._poll.register(self._wake_read, select.POLLIN)
        next_tick = 0.0
        while not self._stop:
            if self._hung_up:
                self._hung_up = False
                self.control_socket.between(self.control.hang_up)
            now = self.now()
            if now >= next_tick:
                self.engine.tick(now)
                for part in self._parts:
                    part.tick(now)
                output.flush()
                next_tick = now + TICK_S
            self.events.emit()
            more = [step(now) for step in self._steps]
            for fd, _ in self._poll.poll(0 if any(more) else max(0.0, next_tick - now) * 1000):
                self._serve(fd)
            self.gate.end_turn()

    def _serve(self, fd: int) -> None:
        for part in self._parts:  # the gate is the first
            if fd in part:
                part.serve(fd)
                return
        if fd == self._wake_read:
            try:
                os.read(fd, 512)
            except BlockingIOError:
                pass

    # ── optional parts ──────────────────────────────────────────────────────────────────────────

    def _reload_parts(self) -> None:
        """All parts follow `policy`."""
        for part in self._parts:
            part.reload(self.policy)
        self._update_optional()

    def _update_optional(self) -> None:
        """Starts the optional parts that the policy needs, and stops the others."""
        for name, (is_wanted, make) in self._optional.items():
            if is_wanted(self.policy) and name not in self._running:
                part = self._running[name] = make()
                self._parts.append(part)
            elif name in self._running and not is_wanted(self.policy):
                gone = self._running.pop(name)
                self._parts.remove(gone)
                gone.save(self.now())
                gone.close()
        # The others have no work in slices, and the loop runs with each packet.
        self._steps = [part.step for part in self._parts if type(part).step is not Part.step]

    def _make_mx_watch(self) -> Part:
        return MxWatch(self.policy, self._poll, self.engine, self.now, log)

    def _make_reports(self) -> Part:
        from cpe_filter.live import reports

        return reports.make_reports(
            self.policy, self.engine, self.leases.name, self._heartbeat_figures, self.state, log
        )

    def _make_instructions(self) -> Part:
        from cpe_filter.live import reports

        made = self._running["reports"]
        assert isinstance(made, reports.Reports)  # noqa: S101 - it is needed by the same policy, and made before
        return make_instructions(made, self._ask_control, self.policy, log)

    def _make_notice_page(self) -> Part:
        from cpe_filter.live import reports

        return reports.make_notice_page(self.engine, self.leases.name, log)

    def _make_notice_desk(self) -> Part:
        from cpe_filter.live import reports

        return reports.make_notice_desk(
            self.engine,
            self.gate,
            self.home.neighbours,
            self.leases.name,
            self._ask_control,
            self.state,
            self._poll,
            log,
        )

    def _ask_control(
        self, verb: str, requester: str, request: dict[str, Any], done: Callable[[dict[str, Any]], None]
    ) -> bool:
        """Has the control do something, between requests of commands. False: it is busy."""
        if self.control_socket.is_busy:
            return False
        self.control_socket.between(lambda: self.control.ask(verb, requester, request, done))
        return True

    def _heartbeat_figures(self) -> dict[str, Any]:
        return {
            "exempt": self.control.in_force()[0],
            "packets": self.engine.mail_packets,
            "failures": self.gate.failures,
            "restored": self.guard.restored,
            "ways": self.ways.unwatched(),
            "unlisted": self.ways.unlisted(),
            "submission": self.submissions.many(),
        }

    # ── what the control needs (exemption_control.FilterHost) ───────────────────────────────────────────

    def devices(self) -> Iterable[Device]:
        return self.engine.devices

    def host_name(self, device: Device) -> str:
        return self.leases.name(device)

    def apply(self, policy: Policy) -> Steps[None]:
        kept = yield from self.rules.apply(policy, self.guard)
        self.policy = policy
        self.engine.reload(policy)
        if not kept:  # another program had removed the ruleset, or nft could not replace it
            self.gate.rules_installed()
        self._reload_parts()

    def release(self, device: Device) -> None:
        self.engine.release(device.key, self.now())
        try:
            self.unblock(device)
        finally:
            self.events.emit()
            self.state.at_once(self.now())
            self.state.tick(self.engine.devices.known(), self.now())

    def end_quarantine(self, device: Device) -> bool:
        desk = self._running.get("desk")
        if desk is None or not desk.end_quarantine(device.key):
            return False
        self.state.at_once(self.now())
        self.state.tick(self.engine.devices.known(), self.now())
        return True

    def unblock(self, device: Device) -> None:
        self.gate.released(device)


def _make_status_folder(policy: Policy) -> None:
    """Raises `RunError`."""
    try:
        os.makedirs(os.path.dirname(policy.status.status_file), exist_ok=True)
    except OSError as error:
        raise RunError(f"[status] status_file: {policy.status.status_file}: {error.strerror}") from None


def make_instructions(made: Reports, ask: Ask, policy: Policy, log: Log) -> Part:
    """Imported when needed: its package may not be there."""
    from cpe_filter.live.instruct.part import Instructions

    return Instructions(made, ask, policy, log)
