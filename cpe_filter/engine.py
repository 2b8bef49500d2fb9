"""The engine: a packet in, a verdict and events out. Live filter, replay, tests and fuzzers run this same code.

Knows how inspect, detect and decide hang together. Must not know files, sockets, clocks (time comes in with
the packet) or the kernel. Bounded: `FLOWS` connections, the least useful makes room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from itertools import islice

from cpe_filter.detect.asked import RecentlyAsked
from cpe_filter.detect.detector import Connection, Detector, StandingChanged, Step
from cpe_filter.detect.device import BEHIND, ROUTER, Device, Devices
from cpe_filter.detect.identity import Identity
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.detect.succession import Continued, Lease, Succession
from cpe_filter.enforce import decide
from cpe_filter.enforce.decide import BLOCK, EXPLAIN, LIMIT, PASS, REFUSE, UNSEEN_START, WITHIN_LIMITS, Decision
from cpe_filter.inspect.dns import is_local, mx_question
from cpe_filter.inspect.effects import NO_EVENTS
from cpe_filter.inspect.packet import FIN, RST, SYN, Segment, parse
from cpe_filter.inspect.session import TRYING, Session, key_of
from cpe_filter.inspect.smtp import Limits
from cpe_filter.named_tuple import NamedTuple
from cpe_filter.policy import Network, Policy

__all__ = ["Continued", "Engine", "Flow", "Lease", "Refused", "StandingChanged"]

FLOWS = 4096
#: Bytes of the wire that all connections together may keep waiting. Ordinary mail keeps none for long.
BUFFERED = 4 << 20
#: Seconds without an answer after which an attempt counts as lost (a SYN has been resent at 1, 3 and 7 s).
LOST_AFTER_S = 10.0
#: Seconds of silence after which a connection is forgotten (RFC 5321 section 4.5.3.2: 10 minutes).
IDLE_S = 900.0
#: Seconds that a closed connection is remembered, for stray packets.
LINGER_S = 30.0
#: So many connections are given up in one sweep, and what is left so many seconds later.
_SWEEP, _SWEEP_AGAIN_S = 256, 0.05
# Hooks, by netfilter's numbers (linux/netfilter.h).
PRE_ROUTING, LOCAL_IN, FORWARD, LOCAL_OUT, POST_ROUTING = range(5)
_OF_ROUTER = (LOCAL_IN, LOCAL_OUT)

# Verdicts. With all but the last three a packet passes.
ACCEPT = "accept"  # go on as before
LOOK = "look"  # from now on every packet of this connection is wanted
CONTENT = "content"  # of the client no more than FIN and RST, until the server has answered
DONE = "done"  # no more than FIN and RST
OVER = "over"  # nothing
REDIRECT = "explain"  # this connection goes to the responder
RESET_FLOW = "reset"  # refuse this connection with a TCP reset
LIMIT_DEVICE = "limit"  # the same, and for seconds refuse the device's new ones without asking
BLOCK_DEVICE = "block"  # the same, and refuse the device's further ones without asking; a new one may be redirected
VERDICTS = (ACCEPT, LOOK, CONTENT, DONE, OVER, REDIRECT, RESET_FLOW, LIMIT_DEVICE, BLOCK_DEVICE)
_WANTED = {"everything": LOOK, "replies": CONTENT, "ends": DONE, "nothing": OVER}


class Flow:
    """A connection and what the engine holds about it."""

    __slots__ = ("attempt", "buffered", "connection", "decision", "explained", "refusal", "session", "spoke", "told")

    def __init__(self, session: Session, connection: Connection, decision: Decision, attempt: int) -> None:
        self.session = session
        self.connection = connection
        self.decision = decision
        self.attempt = attempt  # the device's how many-th connection
        self.spoke = False
        self.refusal = ""  # the verdict, once it is one
        self.explained = False  # it goes to the responder
        self.buffered = 0  # bytes that its session keeps waiting, as they are counted in the engine's sum
        self.told = "everything"  # which packets the kernel has been told to show

    @property
    def device(self) -> Device:
        return self.connection.device


class Refused(NamedTuple):
    """A connection was refused or ended."""

    time: float
    flow: Flow


class Engine:
    """Feed it with `packet` and `tick`; read `devices`; empty `events`.

    `lan`: only clients in these networks are devices, and these are the home's own (empty: all). `ended` is called with
    each flow that is over, `trace` with each piece of evidence as it counts. `ours` says whether a packed address is
    the router's own. whole: every connection is read, whatever the policy says (`read_known`). Where one is not, it is
    let go at its SYN and counted, but not what is in it, and `ended` is not called.
    """

    def __init__(
        self,
        policy: Policy,
        limits: Limits = Limits(),  # noqa: B008
        lan: tuple[Network, ...] = (),
        flows: int = FLOWS,
        ended: Callable[[Flow], None] | None = None,
        trace: Callable[[Step], None] | None = None,
        ours: Callable[[bytes], bool] | None = None,
        whole: bool = True,
    ) -> None:
        self.policy = policy
        self.devices = Devices()
        self.asked = RecentlyAsked()
        self.events: list[StandingChanged | Refused | Continued] = []
        self.packets = 0
        self.mail_packets = 0
        self.refusals: dict[str, int] = {}
        self.evicted_flows = 0
        self._identity = Identity(self.devices)
        self._identity.on_link(lan)
        self._succession = Succession(self.devices)
        self._detector = Detector(trace)
        self._limits = limits
        self._lan = lan
        self._max_flows = flows
        self._ended = ended
        self._ours = ours
        self._whole = whole
        self._ports = frozenset(policy.ports)
        self._flows: dict[bytes, Flow] = {}
        self._explained: dict[bytes, bytes] = {}  # client's address and port -> key of the flow
        self._trying: dict[bytes, float] = {}
        self._buffered_sum = 0
        self._next_sweep = 0.0

    @property
    def flow_count(self) -> int:
        return len(self._flows)

    def flows_of(self, device: Device) -> list[Flow]:
        """The connections of a device that are remembered."""
        return [flow for flow in self._flows.values() if flow.device is device]

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
            to_mail = key_of(segment, False) not in self._flows
        if to_mail:
            key = key_of(segment, True)
        elif from_mail:
            key = key_of(segment, False)
        else:  # what the responder says comes from its own port: it is seen before the kernel undoes the redirect
            known = self._explained.get(_client(segment.dst, segment.dport))
            if known is None or segment.sport != self.policy.explain_port:
                return ACCEPT
            key = known
        self.mail_packets += 1
        if time >= self._next_sweep:
            self.tick(time)
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
            begun = self._begin(key, segment, time, hook, hwaddr if to_mail else to_hwaddr, to_mail)
            if isinstance(begun, str):
                return begun
            flow = begun
        return self._advance(flow, key, segment, time, to_mail)

    def lookup(self, time: float, hwaddr: bytes | None, data: bytes) -> None:
        """Looks for a question for MX records in an IP packet of a device in the home.

        Arguments as with `packet`; raises nothing. The router's own questions are none of a device: it passes on what
        others asked it. A device that has not mailed yet is not made one by asking (see detect.asked).
        """
        question = mx_question(data) if self.policy.watch_dns else None
        if question is None or (self._lan and not _within(question.client, self._lan)):
            return
        resolver = question.resolver
        local = is_local(resolver) or _within(resolver, self._lan) or (self._ours is not None and self._ours(resolver))
        key = self._device_key(FORWARD, hwaddr, question.client)
        device = self.devices.find(key)
        if device is None:
            self.asked.add(key, not local, time)
            return
        device.mx_queries += 1
        self._detector.looked_up(device, not local, time)
        self.events += self._detector.changes
        self._detector.changes.clear()

    def on_link(self, networks: Iterable[Network]) -> None:
        """The home's own networks: what comes from elsewhere behind a MAC came by way of a second router."""
        self._identity.on_link(networks)

    def leases(self, leases: Iterable[Lease], time: float, wall: float) -> None:
        """All DHCP leases there are now: a device whose random MAC has changed goes on under the new one.

        time: the engine's; wall: POSIX seconds, which leases end by.
        """
        self.events += self._succession.leases(leases, time, wall)

    def reload(self, policy: Policy) -> None:
        """Decides by this policy from now on. What was decided, standings and the limits' buckets stay as they are."""
        self.policy = policy
        self._ports = frozenset(policy.ports)

    def restore(self, devices: Iterable[Device]) -> None:
        """These devices were known before a restart (see detect.saved)."""
        self.devices.restore(devices)

    def release(self, device: bytes | str, time: float) -> bool:
        """A compromised device, by key or name, is said to have been cleaned: it is a suspect from now on.

        False where no compromised device is called that. Connections that were refused stay so.
        """
        for found in self.devices:
            if device in (found.key, found.name) and self._detector.release(found, time):
                for flow in self._flows.values():
                    if flow.device is found and flow.decision.what == BLOCK:
                        # Its last packets must not have the kernel block the whole device again.
                        flow.decision = flow.decision._replace(what=EXPLAIN if flow.explained else REFUSE)
                        flow.refusal = REDIRECT if flow.explained else RESET_FLOW
                self.events += self._detector.changes
                self._detector.changes.clear()
                return True
        return False

    def tick(self, time: float) -> None:
        """Time passes: attempts without an answer are lost, silent connections forgotten."""
        self._next_sweep = time + 1.0
        # Oldest first. After a flood thousands are due at once: other packets must not wait for all of them.
        lost = [k for k, since in islice(self._trying.items(), _SWEEP) if time - since >= LOST_AFTER_S]
        for key in lost:
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
        if max(len(lost), len(stale)) >= _SWEEP:
            self._next_sweep = time + _SWEEP_AGAIN_S
        for key, flow in stale[:_SWEEP]:
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
    ) -> Flow | str:
        """A connection to follow, or the verdict on its first packet where it is not followed."""
        client = segment.src if from_client else segment.dst
        server = segment.dst if from_client else segment.src
        if self._lan and not _within(client, self._lan):
            return ACCEPT
        seen = ROUTER if hook in _OF_ROUTER else self._identity.seen(hwaddr, client, time)
        device = self.devices.get(seen, time)
        device.seen(time, client)
        self._credit_lookups(device, time)
        connection = self._detector.opened(device, server, time)
        syn = from_client and segment.flags & SYN != 0
        if syn:
            decision = decide.on_connection(self.policy, device, server, connection.new, time)
        else:
            decision = decide.on_running(self.policy, device, server, time) or UNSEEN_START
        if self._skips(connection, decision):
            return OVER
        if len(self._flows) >= self._max_flows:
            self._make_room(time)
        session = Session(segment, time, self._limits, from_client)
        key = session.key  # the same bytes, kept once
        flow = Flow(session, connection, decision, device.connections)
        self._flows[key] = flow
        if syn and self._explains(decision):
            flow.explained = connection.explained = True
            self._explained[_client(client, session.client_port)] = key
        if session.phase == TRYING:
            self._trying[key] = time
        self._standings(flow, time)
        if decision.what != PASS:
            self._obey(flow, decision, time)
        return flow

    def _skips(self, connection: Connection, decision: Decision) -> bool:
        """Whether a connection need not be read: it is not limited, and nothing said in it would be evidence."""
        return (
            not (self._whole or self.policy.read_known)
            and not connection.fresh
            and decision.what == PASS
            and decision is not WITHIN_LIMITS
            and connection.device.score.standing == CLEAR
        )

    def _credit_lookups(self, device: Device, time: float) -> None:
        """A device mails for the first time: what it asked before counts now."""
        asked = self.asked.take(device.key, time)
        if asked is not None:
            device.mx_queries += asked.queries
            for then, foreign in asked.last:
                self._detector.looked_up(device, foreign, then)

    def _device_key(self, hook: int, hwaddr: bytes | None, client: bytes) -> bytes:
        """The key of the device that a packet from `client` (packed address) is of."""
        return ROUTER if hook in _OF_ROUTER else self._identity.key(hwaddr, client)

    def _advance(self, flow: Flow, key: bytes, segment: Segment, time: float, from_client: bool) -> str:
        session = flow.session
        was_over = session.over
        if from_client:
            flow.connection.device.last_seen = time
        session.segment(segment, time, from_client)
        if segment.payload or flow.buffered:
            buffered = session.buffered
            if buffered != flow.buffered:
                self._buffered_sum += buffered - flow.buffered
                flow.buffered = buffered
                if self._buffered_sum > BUFFERED:
                    self._relieve()
        if session.dialogue.events or not flow.spoke:
            self._dialogue_events(flow, time)
        if session.over and not was_over:
            self._trying.pop(key, None)
            self._over(flow, time)
        elif self._trying and session.phase != TRYING:
            self._trying.pop(key, None)
        if flow.decision.what != PASS and not (flow.explained and session.phase != TRYING):
            if not flow.refusal:
                flow.refusal = self._refusal(flow)
            return flow.refusal
        wants = session.wants
        if wants != flow.told:
            flow.told = wants
            return _WANTED[wants]
        return ACCEPT

    def _explains(self, decision: Decision) -> bool:
        """Whether a new connection with this decision goes to the responder."""
        return decision.what == EXPLAIN or (decision.what == BLOCK and self.policy.refusal == "explain")

    def _refusal(self, flow: Flow) -> str:
        """The verdict on the packets of a connection that does not pass."""
        what = flow.decision.what
        if what in (BLOCK, LIMIT) and self._kernel_knows(flow.device):
            return BLOCK_DEVICE if what == BLOCK else LIMIT_DEVICE
        return REDIRECT if flow.explained else RESET_FLOW

    def _kernel_knows(self, device: Device) -> bool:
        """Whether to block the MAC is to block this device alone. Where not, each connection is refused by itself."""
        key = device.key
        return len(key) not in BEHIND and not (len(key) == 6 and self.devices.behind(key))

    def _relieve(self) -> None:
        """More waits than the bound allows: the connection that keeps most is read no further."""
        greediest = max(self._flows.values(), key=lambda flow: flow.buffered)
        greediest.session.stop_reading("memory")
        self._buffered_sum -= greediest.buffered
        greediest.buffered = 0

    def _make_room(self, time: float) -> None:
        """The table is full: of the oldest connections the one that is over, or silent longest, goes."""
        oldest = [item for item, _ in zip(self._flows.items(), range(32), strict=False)]
        key, flow = min(oldest, key=lambda item: (not item[1].session.over, item[1].session.last))
        flow.session.end_of_input()
        self._dialogue_events(flow, time)
        self._forget(key, flow)
        self.evicted_flows += 1

    def _forget(self, key: bytes, flow: Flow) -> None:
        known = self._flows.pop(key, None)
        self._trying.pop(key, None)
        if flow.explained:
            self._explained.pop(_client(flow.session.client, flow.session.client_port), None)
        self._buffered_sum -= flow.buffered
        flow.buffered = 0
        if known is flow and self._ended:
            self._ended(flow)

    # ── evidence ────────────────────────────────────────────────────────────────────────────────

    def _over(self, flow: Flow, time: float) -> None:
        """A connection is over. Of one that we ended its end shows nothing."""
        self._dialogue_events(flow, time)
        if flow.decision.what == PASS or flow.explained:
            session = flow.session
            self._detector.ended(flow.connection, session.phase, session.dialogue.quit_sent, time)
            self._standings(flow, time)

    def _dialogue_events(self, flow: Flow, time: float) -> None:
        """Tells the detector what happened, and asks what follows from it."""
        dialogue = flow.session.dialogue
        if not flow.spoke and flow.session.spoken:
            flow.spoke = True
            flow.device.sessions += 1
        while dialogue.events:
            events, dialogue.events = dialogue.events, NO_EVENTS
            for event in events:
                passing = flow.decision.what == PASS
                if event.name == "no-quit" and not (passing or flow.explained):
                    continue  # we cut it off
                self._detector.event(flow.connection, event, time)
                if passing and event.kind in _LIMITED:
                    for limit in _LIMITED[event.kind]:
                        if flow.decision.what == PASS:
                            self._obey(flow, limit(self.policy, flow.device, flow.session.server, time), time)
                if self._detector.changes:
                    self._standings(flow, time)

    def _standings(self, flow: Flow, time: float) -> None:
        """Passes changes of standing on; a running session of a device just convicted may end by it."""
        if not self._detector.changes:
            return
        changes, self._detector.changes = self._detector.changes, []
        self.events += changes
        convicted = any(change.after == COMPROMISED for change in changes)
        if convicted and flow.decision.what == PASS and not flow.session.over:
            self._obey(flow, decide.on_running(self.policy, flow.device, flow.session.server, time), time)

    def _obey(self, flow: Flow, decision: Decision | None, time: float) -> None:
        """A decision that ends the connection, if there is one."""
        if decision is not None:
            flow.decision = decision
            flow.device.refused += 1
            self.events.append(Refused(time, flow))


#: Which events count against which limits. What TLS hides has at least one message and one recipient.
_LIMITED = {
    "sender": (decide.on_message,),
    "recipient": (decide.on_recipient,),
    "tls": (decide.on_message, decide.on_recipient),
}


def _client(address: bytes, port: int) -> bytes:
    return address + port.to_bytes(2, "big")


def _within(address: bytes, networks: tuple[Network, ...]) -> bool:
    return any(ip_address(address) in network for network in networks)
