"""Between kernel and engine: passes packets to the engine, and its verdicts to the queue and the ruleset's sets.

Knows the queue, the log of packets and the sets. Must not judge: engine and decide find verdicts and standings. NFLOG
brings packets that are only shown, NFQUEUE those that wait for an admission. A packet that waits was caused by packets
that were shown before it, so those are always read first.

No failure here lets mail out: a packet that waits and raises an exception, or cannot be read, is dropped.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.device import BEHIND, HOME, ROUTER, Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, UNUSUAL
from cpe_filter.enforce.decide import PASS, effective_mode
from cpe_filter.enforce.nflog import PacketLog
from cpe_filter.enforce.nfqueue import ACCEPT, COPY_RANGE, DROP, REPEAT, Queue
from cpe_filter.enforce.packets import Found
from cpe_filter.enforce.ruleset_names import (
    ASKED,
    BLOCKED,
    CONTENT,
    ENDS,
    HOME_ASKED,
    HOME_BLOCKED,
    REFUSED,
    REFUSED_NEW,
    ROUTER_BLOCKED,
)
from cpe_filter.enforce.sets import Sets
from cpe_filter.engine import Engine, Flow
from cpe_filter.engine.verdicts import BYPASS, INSPECT_ALL, LIMIT_DEVICE, REFUSALS, SKIP_CONTENT, SKIP_TO_FIN
from cpe_filter.inspect.session import TRYING
from cpe_filter.lean.clocks import PacketTime, Posix, posix
from cpe_filter.lean.log import Log
from cpe_filter.live.part import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.detect.mac_rotation import DeviceRekeyed
    from cpe_filter.engine.verdicts import Verdict

#: Which sets a connection is in, as bits of `Flow.elements`.
_BITS = {REFUSED: 1, CONTENT: 2, ENDS: 4}
_REFUSED, _CONTENT, _ENDS = _BITS.values()
#: So many packets of a message's content are shown before the kernel leaves the rest out. Most messages have ended by
#: then, and the change in the kernel costs as much as two packets.
CONTENT_PACKETS = 3
#: `Flow.elements` above these bits counts them.
_COUNT = 8
#: Refused connections that are removed from the kernel when they begin again.
_REFUSED_KEPT = 1024
#: Seconds between two refreshes of `alive`: several may fail before the filter counts as dead.
REFRESH_S = 2.0
#: Seconds that a device stays limited in the kernel by its standing; refreshed long before.
ASKED_S = 3600.0
#: Seconds between two checks of which devices are familiar, and for which the kernel remembers it.
LOOK_S, FAMILIAR_S = 5.0, 3 * ASKED_S  # longer than what the home's standing means for others
#: Datagrams of shown packets read in one turn, and turns that packets wait for what was shown before them.
_DATAGRAMS, _TURNS = 16, 8
#: Shorter ones are not packets: with them the kernel flushes what it has collected.
_SHORTEST = 20


class Gate(Part):
    """Registers with `poll`. Call `end_turn` each time after the daemon has served what is ready.

    now: the engine's clock. failures: packets on which the engine raised.
    """

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        shown: PacketLog | None,
        poll: select.poll,
        now: Callable[[], PacketTime],
        log: Log,
    ) -> None:
        self.failures = 0
        self.last_failure = ""
        self.lost_at: Posix | None = None  # POSIX seconds
        self.sets = Sets(log)
        self._engine = engine
        self._queue = queue
        self._shown = shown
        self._poll = poll
        self._now = now
        self._asking: list[Found] = []  # read from the queue, not decided yet
        self._turns = 0
        self._served = False  # in this turn of the loop
        self._refused: dict[bytes, None] = {}  # connections in that set, as far as they are kept
        self._next_alive = self._next_devices = self._next_look = self._next_familiar = self._next_home = 0.0
        self._familiar: set[bytes] = set()
        self._home_states = (False, False)
        self._fds = [queue.fd] + ([shown.fd] if shown else [])
        for fd in self._fds:
            poll.register(fd, select.POLLIN)

    def __contains__(self, fd: int) -> bool:
        return fd in self._fds

    def serve(self, fd: int) -> None:
        """Handles all of its descriptors, once in a turn of the loop."""
        if not self._served:
            self._served = True
            self.handle()

    def step(self, now: PacketTime) -> bool:
        return self.waits

    def end_turn(self) -> None:
        """Packets that still wait are handled once in each turn of the loop, whatever `poll` says."""
        if self.waits and not self._served:
            self.handle()
        self._served = False

    @property
    def waits(self) -> bool:
        """Whether packets still wait for a decision."""
        return bool(self._asking)

    @property
    def lost(self) -> int:
        """Packets that were shown and lost, because there were more than the socket holds. `lost_at`: when last."""
        return self._shown.lost if self._shown else 0

    def facts(self) -> dict[str, Any]:
        return {"failures": self.failures, "lost": self.lost, "lost_at": self.lost_at}

    # ── packets ─────────────────────────────────────────────────────────────────────────────────

    def handle(self) -> None:
        """Handles what waits, within one turn."""
        asking = self._asking or self._queue.read()
        events = len(self._engine.events)
        # Packets that caused a waiting one were shown before it, and come first. If they are more than a turn's work
        # the packet goes on waiting, but not for packets that come later.
        if not self._read_shown() and asking and self._turns < _TURNS:
            self._asking, asking = asking, []
            self._turns += 1
        else:
            self._asking, self._turns = [], 0
        answers = [self._decide(packet) for packet in asking]
        if len(self._engine.events) > events:
            for event in self._engine.events[events:]:
                if isinstance(event, StandingChanged):
                    self.standing(event.device)
        problem = self.sets.flush()
        if asking:
            # A rule refuses a connection that is in a set. If it could not be added, the packet is dropped.
            self._queue.answer(answers if problem is None else [(n, DROP if v == REPEAT else v) for n, v in answers])

    def _read_shown(self) -> bool:
        """Reads what has been shown, within one turn. Returns whether that was all."""
        log = self._shown
        if log is None:
            return True
        lost, done = log.lost, False
        for _ in range(_DATAGRAMS):
            shown = log.read()
            done = not shown
            if done:
                break
            self._show(shown)
        if log.lost != lost:
            self.lost_at = posix()
        return done

    def _show(self, packets: list[Found]) -> None:
        engine, now = self._engine, self._now()
        packet = engine.packet
        for _, hook, hwaddr, data in packets:
            if len(data) < _SHORTEST:
                continue
            try:
                verdict = packet(now, hook, hwaddr, data)
                flow = engine.flow
                if verdict != "accept" or (flow is not None and flow.elements >= _COUNT):
                    self._carry_out(verdict, flow)
            except Exception as error:  # whatever it is: the next packet must be read
                self._failed(error)

    def _decide(self, packet: Found) -> tuple[int, int]:
        """The number of a packet that waits, and its verdict."""
        number, hook, hwaddr, data = packet
        engine = self._engine
        if len(data) >= COPY_RANGE:  # it is truncated, so it cannot be judged; no Ethernet of a home carries it
            return number, DROP
        try:
            verdict = engine.packet(self._now(), hook, hwaddr, data)
            flow = engine.flow
            if verdict not in REFUSALS:
                if engine.opening and engine.key in self._refused:
                    del self._refused[engine.key]
                    self.sets.remove_connection(REFUSED, engine.key)
                sight = engine.on_sight(self._now())
                if sight == "accept":
                    self._carry_out(verdict, flow)
                    return number, ACCEPT if engine.key else DROP
                if sight == INSPECT_ALL or flow is None:
                    return number, DROP
            return number, REPEAT if self._put_refused(verdict, flow) else DROP
        except Exception as error:  # whatever it is: the packet must get its verdict
            self._failed(error)
            return number, DROP

    def _put_refused(self, verdict: Verdict, flow: Flow | None) -> bool:
        """Adds the last packet's connection to a set that refuses it. False: no rule can refuse it."""
        engine = self._engine
        if flow is not None and flow.session.phase != TRYING:
            return self._refuse(flow)
        if not engine.opening:
            return False  # this connection was not admitted
        self.sets.add_connection(REFUSED_NEW, engine.key)
        if flow is not None and verdict == LIMIT_DEVICE and len(flow.device.key) == 6:
            self.sets.limit(flow.device.key)
        return bool(engine.key)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.last_failure = f"{type(error).__name__}: {error}"

    def _carry_out(self, verdict: Verdict, flow: Flow | None) -> None:
        """Carries out a verdict for packets to come."""
        if flow is None:
            if verdict == BYPASS and self._engine.skipped is not None:
                self._let_alone(*self._engine.skipped)
        elif verdict in REFUSALS:
            if self._refuse(flow) and flow.borrowed:
                self._devices([flow.device])
        elif verdict == "accept":
            if flow.elements >= _COUNT and not flow.elements & _CONTENT:
                self._count_content(flow)
        elif verdict == SKIP_CONTENT:
            # All of a limited connection is read, because content that is left out could hold commands.
            if effective_mode(self._engine.policy, flow.device) != "limit":
                flow.elements = flow.elements & _COUNT - 1 | _COUNT
        elif verdict == INSPECT_ALL:
            flow.elements &= _COUNT - 1
            if flow.elements & _CONTENT:
                self._take_out(flow, CONTENT)
        elif verdict == SKIP_TO_FIN:
            self._put(flow, ENDS)

    def _count_content(self, flow: Flow) -> None:
        flow.elements += _COUNT
        if flow.elements >= _COUNT * CONTENT_PACKETS:
            flow.elements &= _COUNT - 1
            self._put(flow, CONTENT)

    def _refuse(self, flow: Flow) -> bool:
        """A connection may pass no longer. Returns whether that is new.

        In mode block no rule lets it, and what is explained goes elsewhere.
        """
        if flow.explained or flow.elements & _REFUSED or self._engine.policy.filter.mode == "block":
            return False
        self._put(flow, REFUSED)
        self._refused[flow.session.key] = None
        if len(self._refused) > _REFUSED_KEPT:
            del self._refused[next(iter(self._refused))]
        return True

    def _put(self, flow: Flow, name: str) -> None:
        flow.elements |= _BITS[name]
        self.sets.add_connection(name, flow.session.key)

    def _take_out(self, flow: Flow, name: str) -> None:
        flow.elements &= ~_BITS[name]
        self.sets.remove_connection(name, flow.session.key)

    def ended(self, flow: Flow) -> None:
        """The engine has forgotten a connection. A refusal stays, because the server may not know of it."""
        for name in (CONTENT, ENDS):
            if flow.elements & _BITS[name]:
                self._take_out(flow, name)

    def _let_alone(self, device: Device, server: bytes) -> None:
        """Traffic between a clear device and a settled server is not new evidence, and need not be shown."""
        if len(device.key) == 6 and effective_mode(self._engine.policy, device) == "monitor":
            self.sets.add_pair(device.key, server)

    # ── devices ─────────────────────────────────────────────────────────────────────────────────

    def standing_changed(self, event: StandingChanged) -> None:
        """Also those that no packet of `handle` has caused: with time, with a question to DNS."""
        self.standing(event.device)

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        self._devices([event.device])

    def standing(self, device: Device) -> None:
        """Brings the kernel's sets to a device's standing. A conviction ends its running connections."""
        standing = device.score.standing
        if standing != CLEAR:
            self.sets.forget_pairs()
        if standing in (CLEAR, UNUSUAL) and len(device.key) == 6:
            self.sets.forget_asked(device.key)
        if device.key == HOME:
            self._home()
        self._devices([device])
        if self._mode(device) == "block":
            for flow in self._engine.flows:
                if flow.decision.action != PASS and (flow.device is device or device.key == HOME):
                    self._refuse(flow)
            self.sets.flush()

    def _home(self) -> None:
        """Updates which devices are not strangers, and the home's standing for those that are."""
        familiar = self._engine.familiar()
        now = self._now()
        if familiar != self._familiar or now >= self._next_familiar:
            self._familiar, self._next_familiar = familiar, now + ASKED_S / 3
            self.sets.familiar(familiar, FAMILIAR_S)
        states = (self._engine.home_blocked, self._engine.home_limited)
        if states != self._home_states or now >= self._next_home:
            self._home_states, self._next_home = states, now + ASKED_S / 3
            for name, on in zip((HOME_BLOCKED, HOME_ASKED), states, strict=True):
                self.sets.switch(name, on, ASKED_S)

    def released(self, device: Device) -> None:
        """A person has released a device: the kernel no longer refuses it. Raises `KernelError`."""
        if device.key == ROUTER:
            self.sets.switch(ROUTER_BLOCKED, False, 1.0)
        elif device.key == HOME:
            self._home()
        elif len(device.key) not in BEHIND:
            try:
                self.sets.release(device.key)
            finally:
                self._devices([device])

    def _mode(self, device: Device) -> str:
        """block if it is compromised and that raises the mode; limit if its standing does; else ""."""
        standing, policy = device.score.standing, self._engine.policy
        if standing in (CLEAR, UNUSUAL) or not policy.filter.escalate:
            return ""
        return "block" if standing == COMPROMISED else "limit" if effective_mode(policy, device) == "limit" else ""

    def _devices(self, devices: Iterable[Device]) -> None:
        """Brings the sets of devices up to date, and refreshes their time."""
        seconds = self._engine.policy.filter.block_minutes * 60.0
        blocked: list[bytes] = []
        asked: list[bytes] = []
        for device in devices:
            mode, key = self._mode(device), device.key
            if key == HOME:
                continue
            if key == ROUTER:
                self.sets.switch(ROUTER_BLOCKED, mode == "block", seconds)
            elif len(key) in (4, 16):
                if mode == "block":
                    self.sets.block_address(key, seconds)
                if mode:  # the MACs that it borrows are others', whose connections wait with its own, and pass
                    asked += device.borrowed
            elif not mode:
                continue
            elif mode == "block" and self._alone(device):
                blocked.append(key)
            else:  # each of its connections waits, and is refused separately, because other hosts share the MAC
                asked.append(key[:6])
        if blocked:
            self.sets.put(BLOCKED, blocked, seconds)
        if asked:
            self.sets.put(ASKED, asked, ASKED_S)

    def _alone(self, device: Device) -> bool:
        """Whether blocking the MAC blocks this device, and no host behind it."""
        return len(device.key) == 6 and not self._engine.devices.behind(device.key)

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: PacketTime) -> None:
        """Refreshes elements that would expire."""
        if now >= self._next_alive:
            self._next_alive = now + REFRESH_S
            self.sets.alive()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._home()
        if now >= self._next_devices:
            self._next_devices = now + min(ASKED_S, self._engine.policy.filter.block_minutes * 60.0) / 3
            self._devices(self._engine.devices)
        self.sets.flush()

    def begin(self) -> None:
        """A ruleset is installed, perhaps with an earlier filter's elements in its sets."""
        self.sets.forget_connections()
        self.sets.forget_pairs()
        self.rules_installed()

    def rules_installed(self) -> None:
        """The ruleset is new, and its sets have only the policy's elements."""
        self.sets.alive()
        self._next_familiar = self._next_home = 0.0
        self._home()
        self._devices(self._engine.devices)
        for flow in self._engine.flows:
            for name, bit in _BITS.items():
                if flow.elements & bit:
                    self.sets.add_connection(name, flow.session.key)
        self.sets.flush()

    def close(self) -> None:
        for fd in self._fds:
            self._poll.unregister(fd)
        self.sets.close()
        if self._shown is not None:
            self._shown.close()
        self._queue.close()
