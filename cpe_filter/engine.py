"""The engine: a packet in, a verdict and events out. Live filter, replay, tests and fuzzers run this same code.

Knows how inspect, detect and decide hang together. Must not know files, sockets, clocks (time comes in with
the packet) or the kernel. Bounded: `FLOWS` connections, the least useful makes room.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import NamedTuple

from cpe_filter.detect.detector import Connection, Detector, StandingChanged, Step
from cpe_filter.detect.device import ROUTER, Device, Devices
from cpe_filter.detect.score import COMPROMISED
from cpe_filter.enforce import decide
from cpe_filter.enforce.decide import BLOCK, PASS, Decision
from cpe_filter.inspect.packet import FIN, RST, SYN, Segment, parse
from cpe_filter.inspect.session import TRYING, Session
from cpe_filter.inspect.smtp import OPAQUE, Limits
from cpe_filter.policy import Network, Policy

__all__ = ["Engine", "Flow", "Refused", "StandingChanged"]

FLOWS = 4096
#: Bytes of the wire that all connections together may keep waiting. Ordinary mail keeps none for long.
BUFFERED = 4 << 20
#: Seconds without an answer after which an attempt counts as lost (a SYN has been resent at 1, 3 and 7 s).
LOST_AFTER_S = 10.0
#: Seconds of silence after which a connection is forgotten (RFC 5321 section 4.5.3.2: 10 minutes).
IDLE_S = 900.0
#: Seconds that a closed connection is remembered, for stray packets.
LINGER_S = 30.0
# Hooks, by netfilter's numbers (linux/netfilter.h).
LOCAL_IN, FORWARD, LOCAL_OUT = 1, 2, 3

# Verdicts.
ACCEPT = "accept"  # let it pass, go on looking at this connection
DONE = "done"  # let it pass, this connection needs no more looking at
RESET_FLOW = "reset"  # refuse this connection with a TCP reset
BLOCK_DEVICE = "block"  # the same, and refuse the device's further ones without asking


class Flow:
    """A connection and what the engine holds about it."""

    __slots__ = ("attempt", "connection", "decision", "done", "recorded", "session", "spoke")

    def __init__(self, session: Session, connection: Connection, decision: Decision, attempt: int) -> None:
        self.session = session
        self.connection = connection
        self.decision = decision
        self.attempt = attempt  # the device's how many-th connection
        self.spoke = False
        self.recorded = False
        self.done = False

    @property
    def device(self) -> Device:
        return self.connection.device


class Refused(NamedTuple):
    """A connection was refused or ended."""

    time: float
    flow: Flow


class Engine:
    """Feed it with `packet` and `tick`; read `devices`; empty `events`.

    `lan`: only clients in these networks are devices (empty: all). `ended` is called with each flow that is over,
    `trace` with each piece of evidence as it counts.
    """

    def __init__(
        self,
        policy: Policy,
        limits: Limits = Limits(),  # noqa: B008
        lan: tuple[Network, ...] = (),
        flows: int = FLOWS,
        ended: Callable[[Flow], None] | None = None,
        trace: Callable[[Step], None] | None = None,
    ) -> None:
        self.policy = policy
        self.devices = Devices()
        self.events: list[StandingChanged | Refused] = []
        self.packets = 0
        self.mail_packets = 0
        self.refusals: dict[str, int] = {}
        self.evicted_flows = 0
        self._detector = Detector(trace)
        self._limits = limits
        self._lan = lan
        self._max_flows = flows
        self._ended = ended
        self._ports = frozenset(policy.ports)
        self._flows: dict[bytes, Flow] = {}
        self._trying: dict[bytes, float] = {}
        self._buffered: dict[bytes, int] = {}  # by flow, where it is not 0
        self._buffered_sum = 0
        self._next_sweep = 0.0

    @property
    def flow_count(self) -> int:
        return len(self._flows)

    @property
    def buffered(self) -> int:
        """Bytes of the wire that all connections together keep waiting."""
        return self._buffered_sum

    def packet(self, time: float, hook: int, hwaddr: bytes | None, data: bytes, to_hwaddr: bytes | None = None) -> str:
        """Judges an IP packet. time: seconds, never going back; hwaddr: the sender's MAC if known.

        to_hwaddr: the receiver's MAC, which a capture may know of a server's packet that comes first.
        Returns one of the verdicts above; raises nothing, whatever the bytes.
        """
        self.packets += 1
        segment = parse(data)
        if isinstance(segment, str):
            self.refusals[segment] = self.refusals.get(segment, 0) + 1
            return ACCEPT
        ports = self._ports
        to_mail, from_mail = segment.dport in ports, segment.sport in ports
        if to_mail and from_mail:  # both are mail ports: whoever is known, or sent the first SYN
            to_mail = _reply_key(segment) not in self._flows
        elif not to_mail and not from_mail:
            return ACCEPT
        self.mail_packets += 1
        if time >= self._next_sweep:
            self.tick(time)
        key = _key(segment) if to_mail else _reply_key(segment)
        flow = self._flows.get(key)
        if flow is not None and segment.flags & SYN and to_mail and flow.session.is_new_attempt(segment):
            self._forget(key, flow)
            flow = None
        if flow is None:
            if (
                not segment.payload
                and segment.flags & (SYN | FIN | RST) != SYN
                and not (segment.flags & (SYN | FIN | RST) == 0 and segment.cut)
            ):
                return ACCEPT
            flow = self._begin(key, segment, time, hook, hwaddr if to_mail else to_hwaddr, to_mail)
            if flow is None:
                return ACCEPT
        return self._advance(flow, key, segment, time, to_mail)

    def tick(self, time: float) -> None:
        """Time passes: attempts without an answer are lost, silent connections forgotten."""
        self._next_sweep = time + 1.0
        for key in [k for k, since in self._trying.items() if time - since >= LOST_AFTER_S]:
            del self._trying[key]
            flow = self._flows.get(key)
            if flow is not None and flow.session.phase == TRYING:
                flow.session.give_up()
                self._over(flow, time)
        stale = [
            (key, flow)
            for key, flow in self._flows.items()
            if time - flow.session.last > (LINGER_S if flow.session.over else IDLE_S)
        ]
        for key, flow in stale:
            if not flow.session.over:  # else its end has been counted
                flow.session.give_up()
                self._over(flow, time)
            self._forget(key, flow)

    def finish(self, time: float) -> None:
        """The input has ended: what is known of running connections is counted as far as it goes."""
        self.tick(time)
        for key, flow in list(self._flows.items()):
            if not flow.session.over:
                flow.session.end_of_input()
                self._dialogue_events(flow, time)
            self._forget(key, flow)

    # ── connections ─────────────────────────────────────────────────────────────────────────────

    def _begin(
        self, key: bytes, segment: Segment, time: float, hook: int, hwaddr: bytes | None, from_client: bool
    ) -> Flow | None:
        client = segment.src if from_client else segment.dst
        server = segment.dst if from_client else segment.src
        if self._lan and not _within(client, self._lan):
            return None
        if hook != FORWARD:
            device_key = ROUTER
        elif hwaddr and any(hwaddr[:6]):  # loopback captures have an address of zeros
            device_key = hwaddr[:6]
        else:
            device_key = client
        device = self.devices.get(device_key, time)
        device.seen(time, client)
        if len(self._flows) >= self._max_flows:
            self._make_room(time)
        session = Session(segment, time, self._limits, from_client)
        known = server in device.destinations
        connection = self._detector.opened(device, server, time)
        if session.from_start and from_client:
            decision = decide.on_connection(self.policy, device, server, not known, time)
        else:
            decision = Decision(PASS, "began before it was watched")
        flow = Flow(session, connection, decision, device.connections)
        self._flows[key] = flow
        if session.phase == TRYING:
            self._trying[key] = time
        self._standings(flow, time)
        if decision.what != PASS:
            self._obey(flow, decision, time)
        return flow

    def _advance(self, flow: Flow, key: bytes, segment: Segment, time: float, from_client: bool) -> str:
        session = flow.session
        was_over = session.over
        if from_client:
            flow.device.last_seen = time
        session.segment(segment, time, from_client)
        if segment.payload or key in self._buffered:
            buffered = session.buffered
            if buffered or key in self._buffered:
                self._account(key, buffered)
        self._dialogue_events(flow, time)
        if session.over and not was_over:
            self._trying.pop(key, None)
            self._over(flow, time)
        elif session.phase != TRYING:
            self._trying.pop(key, None)
        if flow.decision.what != PASS:
            return BLOCK_DEVICE if flow.decision.what == BLOCK else RESET_FLOW
        if session.dialogue.mode == OPAQUE and not flow.done:
            flow.done = True
            return DONE
        return ACCEPT

    def _account(self, key: bytes, buffered: int) -> None:
        """Keeps the sum of what waits; past the bound the connection that keeps most is read no further."""
        self._buffered_sum += buffered - self._buffered.pop(key, 0)
        if buffered:
            self._buffered[key] = buffered
        if self._buffered_sum > BUFFERED:
            greediest = max(self._buffered, key=self._buffered.__getitem__)
            self._flows[greediest].session.stop_reading("memory")
            self._buffered_sum -= self._buffered.pop(greediest)

    def _make_room(self, time: float) -> None:
        """The table is full: of the oldest connections the one that is over, or silent longest, goes."""
        oldest = [item for item, _ in zip(self._flows.items(), range(32), strict=False)]
        key, flow = min(oldest, key=lambda item: (not item[1].session.over, item[1].session.last))
        flow.session.end_of_input()
        self._dialogue_events(flow, time)
        self._forget(key, flow)
        self.evicted_flows += 1

    def _forget(self, key: bytes, flow: Flow) -> None:
        self._flows.pop(key, None)
        self._trying.pop(key, None)
        self._buffered_sum -= self._buffered.pop(key, 0)
        if not flow.recorded:
            flow.recorded = True
            if self._ended:
                self._ended(flow)

    # ── evidence ────────────────────────────────────────────────────────────────────────────────

    def _over(self, flow: Flow, time: float) -> None:
        """A connection is over. Of one that we ended its end shows nothing."""
        self._dialogue_events(flow, time)
        if flow.decision.what == PASS:
            session = flow.session
            self._detector.ended(flow.connection, session.phase, session.dialogue.quit_sent, time)
            self._standings(flow, time)

    def _dialogue_events(self, flow: Flow, time: float) -> None:
        """Tells the detector what happened, and asks what follows from it."""
        dialogue = flow.session.dialogue
        if flow.session.spoken and not flow.spoke:
            flow.spoke = True
            flow.device.sessions += 1
        while dialogue.events:
            events, dialogue.events = dialogue.events, []
            for event in events:
                passing = flow.decision.what == PASS
                if event.name == "no-quit" and not passing:
                    continue  # we cut it off
                self._detector.event(flow.connection, event, time)
                if event.kind == "recipient" and passing:
                    self._obey(flow, decide.on_recipient(self.policy, flow.device, flow.session.server, time), time)
                self._standings(flow, time)

    def _standings(self, flow: Flow, time: float) -> None:
        """Passes changes of standing on; a running session of a device just convicted may end by it."""
        if not self._detector.changes:
            return
        changes, self._detector.changes = self._detector.changes, []
        self.events += changes
        convicted = any(change.after == COMPROMISED for change in changes)
        if convicted and flow.decision.what == PASS and not flow.session.over:
            self._obey(flow, decide.on_standing(self.policy, flow.device, flow.session.server, time), time)

    def _obey(self, flow: Flow, decision: Decision | None, time: float) -> None:
        """A decision that ends the connection, if there is one."""
        if decision is not None:
            flow.decision = decision
            flow.device.refused += 1
            self.events.append(Refused(time, flow))


def _key(segment: Segment) -> bytes:
    return segment.src + segment.dst + (segment.sport << 16 | segment.dport).to_bytes(4, "big")


def _reply_key(segment: Segment) -> bytes:
    return segment.dst + segment.src + (segment.dport << 16 | segment.sport).to_bytes(4, "big")


def _within(address: bytes, networks: tuple[Network, ...]) -> bool:
    return any(ip_address(address) in network for network in networks)
