"""The engine: a packet in, a verdict and events out. Live filter, replay, tests and fuzzers run this same code.

Knows how inspect, detect and decide hang together. Must not know files, sockets, clocks (time comes in with
the packet) or the kernel. Bounded: `FLOWS` connections, the least useful makes room.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from ipaddress import IPv6Network, ip_address
from itertools import islice

from cpe_filter.detect.detector import Connection, Detector, StandingChanged, Step
from cpe_filter.detect.device import BEHIND, HOME, HOME_WORD, ROUTER, Device, Devices
from cpe_filter.detect.home import Home
from cpe_filter.detect.identity import Identity
from cpe_filter.detect.mac_rotation import Continued, Lease, Succession
from cpe_filter.detect.recent_mx import RecentlyAsked
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.enforce import decide
from cpe_filter.enforce.decide import BLOCK, EXPLAIN, LIMIT, PASS, REFUSE, UNSEEN_START, WITHIN_LIMITS, Decision
from cpe_filter.inspect.dns import is_local, mx_question
from cpe_filter.inspect.facts import Event, Limits
from cpe_filter.inspect.packet import ACK, FIN, RST, SYN, WRONG, Segment, checksum, parse
from cpe_filter.inspect.session import EVERYTHING, LOST, NOTHING, REFUSED, TRYING, Session, key_of
from cpe_filter.inspect.smtp import NO_EVENTS
from cpe_filter.inspect.states import COMMAND
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.policy.model import Network, Policy

__all__ = ["Continued", "Engine", "Flow", "Lease", "Refused", "StandingChanged"]

FLOWS = 4096
#: Bytes of the wire that all connections together may keep waiting. Ordinary mail keeps none for long.
BUFFERED = 4 << 20
#: Seconds without an answer after which an attempt counts as lost (a SYN has been resent at 1, 3 and 7 s).
LOST_AFTER_S = 10.0
#: Seconds of silence after which a connection is forgotten (RFC 5321 section 4.5.3.2: 10 minutes).
IDLE_S = 900.0
#: The same where the kernel has been told to leave packets out: conntrack's time on OpenWrt.
HIDDEN_S = 7440.0
#: Seconds that a closed connection is remembered, for stray packets.
LINGER_S = 30.0
#: Events of a dialogue that wait for the handshake to be completed: a greeting, and what little may follow it.
_HELD_EVENTS = 16
#: So many connections are given up in one sweep, and what is left so many seconds later.
_SWEEP, _SWEEP_AGAIN_S = 256, 0.05
# Hooks, by netfilter's numbers (linux/netfilter.h).
PRE_ROUTING, LOCAL_IN, FORWARD, LOCAL_OUT, POST_ROUTING = range(5)
_OF_ROUTER = (LOCAL_IN, LOCAL_OUT)

# Verdicts. `REFUSALS` are those with which a connection may not pass; with the others it may.
ACCEPT = "accept"  # go on as before
LOOK = "look"  # from now on every packet of this connection is wanted
CONTENT = "content"  # of the client no more than FIN and RST, until the server has answered
DONE = "done"  # no more than FIN and RST
OVER = "over"  # nothing
REDIRECT = "explain"  # refused; the kernel sends it to the responder
RESET_FLOW = "reset"  # refused with a TCP reset
LIMIT_DEVICE = "limit"  # the same, and for seconds the device's new ones are refused without asking
BLOCK_DEVICE = "block"  # the same, and the device's further ones are refused without asking
REFUSALS = frozenset((REDIRECT, RESET_FLOW, LIMIT_DEVICE, BLOCK_DEVICE))
VERDICTS = (ACCEPT, LOOK, CONTENT, DONE, OVER, *REFUSALS)
# What is done about TCP checksums.
IGNORED, DOUBTED, REQUIRED = "ignored", "doubted", "required"
_WANTED = {"everything": LOOK, "replies": CONTENT, "ends": DONE, "nothing": OVER}


# Of IPv4 and of IPv6: length, (fragment,) TTL, protocol, or the last two swapped; addresses and ports; of TCP: numbers,
# offset, flags.
_ordinary4 = struct.Struct("!2xH2xHBB2x12sIIBB").unpack_from
_ordinary6 = struct.Struct("!4xHBB36sIIBB").unpack_from
_TCP = 6
#: So many keys are remembered by what stands in the packets from their servers.
_ANSWERS = 256


class Flow:
    """A connection and what the engine holds about it."""

    __slots__ = (
        "attempt",
        "buffered",
        "connection",
        "counts",
        "decision",
        "elements",
        "explained",
        "former",
        "opened",
        "ordinary",
        "refusal",
        "session",
        "shared",
        "spoke",
        "told",
    )

    def __init__(self, session: Session, connection: Connection, decision: Decision, attempt: int) -> None:
        self.session = session
        self.connection = connection
        self.decision = decision
        self.attempt = attempt  # the device's how many-th connection
        self.opened = False  # its SYN was seen
        self.counts = False  # both ends have completed the handshake: what happens is evidence
        self.ordinary = False  # it counts, and its ports show which end is the server
        self.former: Flow | None = None  # of the same ports: it goes on if the server does not take the SYN
        self.spoke = False
        self.refusal = ""  # the verdict, once it is one
        self.explained = False  # it goes to the responder
        self.told = EVERYTHING  # which packets the engine has last asked for
        self.elements = 0  # for the caller: what it has put into the kernel for this connection
        self.shared: Connection | None = None  # the home's part in a stranger's connection
        self.buffered = 0  # bytes that its session keeps waiting, as they are counted in the engine's sum

    @property
    def device(self) -> Device:
        return self.connection.device

    @property
    def patience(self) -> float:
        """Seconds of silence after which it is forgotten."""
        if self.session.closed and self.session.certain:
            return LINGER_S
        # Where the kernel leaves packets out it only looks silent.
        return IDLE_S if self.told == EVERYTHING else HIDDEN_S


class Refused(NamedTuple):
    """A connection was refused or ended."""

    time: float
    flow: Flow


class Engine:
    """Feed it with `packet` and `tick`; read `devices`; empty `events`.

    `lan`: only clients in these networks are devices, and these are the home's own (empty: all). `ended` is called with
    each flow that is over, `trace` with each piece of evidence as it counts. `ours` says whether a packed address is
    the router's own, `known` whether the router knows a packed MAC (None: all are known): what only one side of a
    connection shows counts for no other. checksums: a client's packet with a wrong TCP checksum is read (`IGNORED`),
    read if the server acknowledges it (`DOUBTED`), or not read (`REQUIRED`). whole: every connection is read, whatever
    the policy says (`read_known`). Where one is not, it is let go at its SYN and counted, but not what is in it, and
    `ended` is not called.
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
        known: Callable[[bytes], bool] | None = None,
        checksums: str = IGNORED,
    ) -> None:
        self.policy = policy
        self.devices = Devices()
        self.asked = RecentlyAsked()
        self.events: list[StandingChanged | Refused | Continued] = []
        self.packets = 0
        self.mail_packets = 0
        self.refusals: dict[str, int] = {}
        self.evicted_flows = 0
        self.unfit = 0  # packets whose checksum was wrong
        self._identity = Identity(self.devices)
        self._identity.on_link(lan)
        self._succession = Succession(self.devices)
        self._detector = Detector(trace)
        self._home = Home(self.devices)
        self._translators: tuple[IPv6Network, ...] = ()
        self._prefixes()
        self._limits = limits
        self._lan = lan
        self._max_flows = flows
        self._ended = ended
        self._ours = ours
        self._whole = whole
        self._known = known
        self._checksums = checksums
        self._ports = frozenset(policy.network.ports)
        self._responder_port = policy.explain.port
        self._flows: dict[bytes, Flow] = {}
        self._answers: dict[bytes, bytes] = {}
        self._trying: dict[bytes, float] = {}
        self._explained: dict[bytes, bytes] = {}  # client's address and port -> key of the flow
        self._buffered_sum = 0
        self._next_sweep = 0.0
        self._first_packet = -1.0
        #: Of the packet that `packet` was called with last: its connection, None where none is followed; the key of
        #: that connection, b"" where it is not mail's; device and server where nothing they say would be news.
        self.flow: Flow | None = None
        self.key = b""
        self.opening = False  # it was a client's SYN
        self.skipped: tuple[Device, bytes] | None = None

    @property
    def flow_count(self) -> int:
        return len(self._flows)

    @property
    def flows(self) -> Iterable[Flow]:
        """The connections that are remembered."""
        return self._flows.values()

    def flows_of(self, device: Device) -> list[Flow]:
        """The connections of a device that are remembered.

        None of the home's collective one: they are its strangers', of whom most may be clear.
        """
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
        self.flow = self.skipped = None
        self.key = b""
        self.opening = False
        verdict = self._ordinary(time, data)
        if verdict:
            return verdict
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
        else:  # what is redirected is seen on its way to the responder and back: by its client alone is it known
            known = self._redirected(segment)
            if known is None:
                return ACCEPT
            key, to_mail = known
        self.key = key
        self.opening = to_mail and segment.flags & SYN != 0
        self.mail_packets += 1
        if time >= self._next_sweep:
            self.tick(time)
        flow = self._flows.get(key)
        if to_mail and self._checksums != IGNORED and not self._fits(flow, segment, data):
            return ACCEPT
        former = None
        if flow is not None:
            if flow.former is not None:
                flow = self._which(flow, key, segment, to_mail)
            if segment.flags & SYN and to_mail and flow.session.is_new_attempt(segment):
                former = self._goes_on(flow)
                if former is not flow:
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
            flow.former = former
        self.flow = flow
        return self._advance(flow, key, segment, time, to_mail)

    def on_sight(self, time: float) -> str:
        """The verdict on the last packet, which waits, where what is in it is limited, as `packet` has read it.

        ACCEPT; RESET_FLOW where it must not leave, and the connection ends; LOOK where it is to be sent again, since
        its server has yet to say how it is to be read. `packet` itself counts what the server has agreed to, which a
        client need not wait for.
        """
        flow = self.flow
        if flow is None or flow.decision.what != PASS or decide.effective_mode(self.policy, flow.device) != "limit":
            return ACCEPT
        session = flow.session
        dialogue, server = session.dialogue, session.server
        if decide.exempt(self.policy, flow.device, server, time):
            return ACCEPT
        reason = session.unreadable
        decision = Decision(REFUSE, reason) if reason else None
        if decision is None and flow.told != NOTHING:
            mails, recipients = dialogue.unanswered("MAIL"), dialogue.unanswered("RCPT")
            decision = decide.on_sight(self.policy, flow.device, server, mails, recipients, time)
        if decision is None:
            return LOOK if session.uncertain else ACCEPT
        flow.decision, flow.refusal = decision, RESET_FLOW
        flow.device.refused += 1
        if flow.shared is not None:
            flow.shared.device.refused += 1
        self.events.append(Refused(time, flow))
        return RESET_FLOW

    def _ordinary(self, time: float, data: bytes) -> str:
        """The verdict on what nearly every packet is, in as few steps as it takes; "" where `packet` must look closer.

        That is a line or some content of a dialogue, in order, in a connection that is read and passes, both ends of
        which have completed the handshake; and the FINs after QUIT and 221. What `packet` would do is done here:
        nothing that it would do otherwise may be taken. Neither headers with options nor segments are read.
        """
        size = len(data)
        if size < 40:
            return ""
        if data[0] == 0x45:
            total, fragment, ttl, protocol, peers, seq, ack, offset, flags = _ordinary4(data)
            start = 20
        elif data[0] >> 4 == 6 and size >= 60:
            total, protocol, ttl, peers, seq, ack, offset, flags = _ordinary6(data)
            start, fragment = 40, 0
            total += 40
        else:
            return ""
        # As the client sends it a flow's key stands in the packet, where the IP header has no options.
        flow = self._flows.get(peers)
        from_client = flow is not None
        if flow is None:
            flow = self._flows.get(self._answers.get(peers) or self._answer(peers))
            if flow is None:
                return ""
        rest = size - start - (offset >> 2 & 60)
        if (
            not flow.ordinary
            or total != size
            or fragment & 0x3FFF
            or protocol != _TCP
            or offset < 0x50
            or rest < 0
            or flags & (SYN | RST | ACK) != ACK
            or flow.former is not None
            or flow.decision.what != PASS
            or time >= self._next_sweep
        ):
            return ""
        if from_client:
            if self._checksums != IGNORED:
                # As `checksum` sums; addresses and segment stand together. What is not right goes the long way.
                summed = int.from_bytes(data[12 if start == 20 else 8 :], "big")
                if size & 1:
                    summed <<= 8
                if (summed + _TCP + size - start) % 0xFFFF:
                    return ""
        session = flow.session
        if rest:
            if flags & FIN or not session.goes_on(time, from_client, seq, ack, ttl, data[size - rest :]):
                return ""
        elif flow.told == NOTHING and not (flow.buffered or session.dialogue.events):  # all there was to see was seen
            session.last = time
        else:
            return ""
        self.mail_packets += 1
        key = self.key = session.key
        self.flow = flow
        if from_client:
            flow.connection.device.last_seen = time
        if not rest:
            return ACCEPT
        buffered = session.dialogue.buffered
        self._buffered_sum += buffered - flow.buffered
        flow.buffered = buffered
        if self._buffered_sum > BUFFERED:
            self._relieve()
        return self._after(flow, key, time, False)

    def _answer(self, peers: bytes) -> bytes:
        """The key of a connection of which a packet goes from server to client: their addresses and ports, swapped."""
        size = len(peers) // 2 - 2
        answers = self._answers
        if len(answers) >= _ANSWERS:
            answers.clear()
        key = answers[peers] = peers[size:-4] + peers[:size] + peers[-2:] + peers[-4:-2]
        return key

    def _is_plain(self, flow: Flow) -> bool:
        """Whether a connection's ports show which end is the server."""
        return flow.session.server_port in self._ports and flow.session.client_port not in self._ports

    def _redirected(self, segment: Segment) -> tuple[bytes, bool] | None:
        """The key of the connection that goes to the responder instead, and whether this is its client's packet."""
        port = self._responder_port
        if segment.dport == port:
            key = self._explained.get(_client(segment.src, segment.sport))
        elif segment.sport == port:
            key = self._explained.get(_client(segment.dst, segment.dport))
        else:
            key = None
        return None if key is None else (key, segment.dport == port)

    def lookup(self, time: float, hwaddr: bytes | None, data: bytes) -> None:
        """Looks for a question for MX records in an IP packet of a device in the home.

        Arguments as with `packet`; raises nothing. The router's own questions are none of a device: it passes on what
        others asked it. A device that has not mailed yet is not made one by asking (see detect.asked).
        """
        question = mx_question(data) if self.policy.detect.watch_dns else None
        if question is None or (self._lan and not _within(question.client, self._lan)):
            return
        resolver = question.resolver
        local = is_local(resolver) or _within(resolver, self._lan) or (self._ours is not None and self._ours(resolver))
        key = self._device_key(FORWARD, hwaddr, question.client)
        device = self.devices.find(key)
        if device is None or not device.proven:
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

        Who has one is no stranger. time: the engine's; wall: POSIX seconds, which leases end by.
        """
        leases = list(leases)
        self.events += self._succession.leases(leases, time, wall)
        self._home.leases((lease.hwaddr for lease in leases if len(lease.hwaddr) == 6), time)

    def familiar(self) -> set[bytes]:
        """The MACs that are no stranger's (see detect.home): what the home is convicted of does not concern them."""
        return set(self._home.familiar())

    @property
    def home_blocked(self) -> bool:
        """Whether an unknown device of this home is compromised: MACs that are not `familiar` are to be refused."""
        return self.policy.filter.escalate and self.devices.home.score.standing == COMPROMISED

    @property
    def home_limited(self) -> bool:
        """Whether one is at least suspected: MACs that are not `familiar` are to be limited, whatever the mode."""
        return self.policy.filter.escalate and self.devices.home.score.standing != CLEAR

    def reload(self, policy: Policy) -> None:
        """Decides by this policy from now on. What was decided, standings and the limits' buckets stay as they are."""
        self.policy = policy
        self._ports = frozenset(policy.network.ports)
        self._responder_port = policy.explain.port
        for flow in self._flows.values():
            flow.ordinary = flow.counts and self._is_plain(flow)
        decide.index(policy)
        self._prefixes()

    def translators(self, prefixes: Iterable[IPv6Network]) -> None:
        """Prefixes of NAT64 that were learnt: servers behind these count by their IPv4 address. They admit nothing."""
        self._translators = tuple(prefixes)
        self._prefixes()

    def _prefixes(self) -> None:
        self._detector.nat64 = self._home.nat64 = (*self.policy.network.nat64, *self._translators)

    def restore(self, devices: Iterable[Device]) -> None:
        """These devices were known before a restart (see detect.saved)."""
        self.devices.restore(devices)
        self._home.restore()

    def release(self, device: bytes | str, time: float) -> bool:
        """A compromised device, by key or name, is said to have been cleaned: it is a suspect from now on.

        `home` is the unknown device of this home. False where no compromised device is called that. Connections that
        were refused stay so.
        """
        if device == HOME_WORD:
            device = HOME
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
        if self._first_packet < 0.0:
            self._first_packet = time
        # Oldest first. After a flood thousands are due at once: other packets must not wait for all of them.
        lost = [k for k, since in islice(self._trying.items(), _SWEEP) if time - since >= LOST_AFTER_S]
        for key in lost:
            del self._trying[key]
            flow = self._flows.get(key)
            if flow is not None and flow.former is not None and flow.former.session.answered:
                self._flows[key] = flow.former
            elif flow is not None and flow.session.phase == TRYING:
                flow.session.give_up()
                self._over(flow, time)
        stale = [(key, flow) for key, flow in self._flows.items() if time - flow.session.last > flow.patience]
        if max(len(lost), len(stale)) >= _SWEEP:
            self._next_sweep = time + _SWEEP_AGAIN_S
        for key, flow in stale[:_SWEEP]:
            if not flow.session.closed:  # else its end has been counted
                flow.session.give_up()
                self._over(flow, time)
            self._forget(key, flow)

    def finish(self, time: float) -> None:
        """The input has ended: what is known of running connections is counted as far as it goes."""
        self.tick(time)
        for key, flow in list(self._flows.items()):
            if not flow.session.closed:
                self._cut_short(flow, time)
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
        syn = from_client and segment.flags & SYN != 0
        if syn:
            seen = ROUTER if hook in _OF_ROUTER else self._identity.seen(hwaddr, client, time)
            device = self._home.device(seen, time)
            device.last_seen = time
            connection = self._detector.opened(device, server, time)
            shared = self._home.opened(connection, server, client, time)
        else:  # nothing shows that the device has sent this, or that there is a server: it leaves no trace of it
            seen = self._device_key(hook, hwaddr, client)
            device = self.devices.find(seen) or self._home.unlisted(seen, time)
            connection, shared = self._detector.joined(device, server), None
        if syn:
            decision = decide.on_connection(self.policy, device, server, connection.new, time)
        else:
            decision = decide.on_running(self.policy, device, server, time) or self._unseen(device, time)
        if self._skips(connection, decision):
            self.skipped = device, server
            return OVER
        if len(self._flows) >= self._max_flows:
            self._make_room(time)
        session = Session(segment, time, self._limits, from_client)
        key = session.key  # the same bytes, kept once
        flow = Flow(session, connection, decision, device.connections)
        flow.shared = shared
        self._flows[key] = flow
        flow.opened = syn
        if syn and self._explains(decision):
            flow.explained = connection.explained = True
            self._explained[_client(client, session.client_port)] = key
        if session.phase == TRYING:
            self._trying[key] = time
        if syn and decision.what != PASS and not flow.explained:
            self._refused_syn(flow, time)
        self._standings(flow, time)
        return flow

    def _unseen(self, device: Device, time: float) -> Decision:
        """A connection of which the beginning was not seen, and that no mode ends.

        Mail may be limited where connections must be admitted. Then one that appears when all that ran before the first
        packet have long been seen or are over was not admitted, or was refused, and is tried again.
        """
        if time - self._first_packet > IDLE_S and decide.effective_mode(self.policy, device) == "limit":
            return Decision(REFUSE, "unknown connection")
        return UNSEEN_START

    def _skips(self, connection: Connection, decision: Decision) -> bool:
        """Whether a connection need not be read: it is not limited, and nothing said in it would be evidence."""
        return (
            not (self._whole or self.policy.detect.read_known)
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
        was_over = session.closed
        if from_client and flow.opened:
            flow.connection.device.last_seen = time
        session.segment(segment, time, from_client)
        if not flow.counts and flow.opened and session.established:
            self._established(flow, time)
        if segment.payload or flow.buffered:
            buffered = session.buffered
            if buffered != flow.buffered:
                self._buffered_sum += buffered - flow.buffered
                flow.buffered = buffered
                if self._buffered_sum > BUFFERED:
                    self._relieve()
        return self._after(flow, key, time, was_over)

    def _after(self, flow: Flow, key: bytes, time: float, was_over: bool) -> str:
        """The verdict on a segment that the session has taken, and what follows from it."""
        session = flow.session
        if session.dialogue.events or not flow.spoke:
            self._dialogue_events(flow, time)
        if session.closed and not was_over:
            self._trying.pop(key, None)
            self._over(flow, time)
        elif self._trying and session.phase != TRYING:
            self._trying.pop(key, None)
        if flow.decision.what != PASS and not (flow.explained and session.phase != TRYING):
            if not flow.refusal:
                flow.refusal = self._refusal(flow)
                flow.device.refused += 1
                if flow.shared is not None:
                    flow.shared.device.refused += 1
                self.events.append(Refused(time, flow))
            return flow.refusal
        if flow.told == EVERYTHING and session.dialogue.mode == COMMAND and not session.closed:  # nearly always
            return ACCEPT
        wants = session.visibility
        if wants != flow.told:
            flow.told = wants
            return _WANTED[wants]
        return ACCEPT

    def _explains(self, decision: Decision) -> bool:
        """Whether a new connection with this decision goes to the responder."""
        return decision.what == EXPLAIN or (decision.what == BLOCK and self.policy.filter.refusal == "explain")

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
        key, flow = min(oldest, key=lambda item: (not item[1].session.closed, item[1].session.last))
        self._cut_short(flow, time)
        self._forget(key, flow)
        self.evicted_flows += 1

    def _forget(self, key: bytes, flow: Flow) -> None:
        known = self._flows.pop(key, None)
        self._trying.pop(key, None)
        if flow.explained:
            client = _client(flow.session.client, flow.session.client_port)
            if self._explained.get(client) == key:  # not that of a later one from the same port
                del self._explained[client]
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
            if flow.counts:
                self._detector.ended(flow.connection, session.phase, session.dialogue.quit_sent, time)
                if flow.shared is not None:
                    self._home.ended(flow.shared, flow.connection, session.phase, session.dialogue.quit_sent, time)
            elif flow.explained:
                self._refused_syn(flow, time)
            else:
                if session.phase in (LOST, REFUSED):
                    self._unanswered(flow, session.phase, time)
                decide.give_back(self.policy, flow.device, flow.decision)
            self._standings(flow, time)

    def _cut_short(self, flow: Flow, time: float) -> None:
        """Nothing more of this connection will be seen: what is known counts as far as it goes."""
        flow.session.end_of_input()
        self._dialogue_events(flow, time)
        if flow.session.phase == TRYING and flow.decision.what == PASS:
            self._unanswered(flow, TRYING, time)
            self._standings(flow, time)

    def _refused_syn(self, flow: Flow, time: float) -> None:
        """We refused a SYN, and no dialogue came of it: no evidence, but about the home where it is a stranger's.

        A neighbour may have sent it in the device's name. Who makes up names gains by none.
        """
        if self._knows(flow.device):
            self._detector.refused(flow.connection)
        if flow.shared is not None:
            self._home.unanswered(flow.shared, flow.connection, TRYING, time)

    def _established(self, flow: Flow, time: float) -> None:
        """Both ends have completed the handshake: the device and the server are what their addresses say."""
        flow.counts = True
        flow.ordinary = self._is_plain(flow)
        flow.device.seen(time, flow.session.client)
        if not flow.device.proven:
            flow.device.proven = True
            self._credit_lookups(flow.device, time)
        self._detector.established(flow.connection, time)
        if flow.shared is not None:
            self._home.established(flow.shared, flow.connection, time)
        self._standings(flow, time)

    def _unanswered(self, flow: Flow, phase: str, time: float) -> None:
        """Nobody answered a SYN that passed. Anybody in the home can send one in another device's name."""
        if flow.opened and self._knows(flow.device):
            flow.device.seen(flow.device.last_seen, flow.session.client)
            self._detector.unanswered(flow.connection, phase, time)
        if flow.opened and flow.shared is not None:
            self._home.unanswered(flow.shared, flow.connection, phase, time)

    def _knows(self, device: Device) -> bool:
        """Whether the router knows this device by more than packets that say so."""
        if self._known is None or device.key == ROUTER:
            return True
        return device.mac is not None and self._known(device.mac)

    def _fits(self, flow: Flow | None, segment: Segment, data: bytes) -> bool:
        """Whether a client's packet has a checksum with which it is to be looked at."""
        if not (segment.payload or segment.flags & (SYN | FIN | RST)):
            return True
        required = self._checksums == REQUIRED
        if required or segment.flags & SYN or (flow is not None and flow.session.judges_sums):
            segment.checksum = checksum(data)
            if required and segment.checksum == WRONG:
                self.unfit += 1
                return False
        return True

    @staticmethod
    def _goes_on(flow: Flow) -> Flow | None:
        """Of the connections before a SYN from the same port, the one that goes on if the server does not take it."""
        former = flow.former
        if former is None:
            ended = flow.session.closed and flow.session.certain
            return None if ended or not (flow.opened or flow.session.two_sided) else flow
        if former.session.answered or flow.session.reach <= former.session.reach:
            return former
        return flow

    def _which(self, flow: Flow, key: bytes, segment: Segment, from_client: bool) -> Flow:
        """After one SYN another was sent from the same port: which of the two connections this segment is of.

        Servers do not take such a SYN (RFC 5961 section 4), but for one that has forgotten the first, or never got it.
        """
        former = flow.former
        if former is None or (from_client and segment.flags & SYN) or flow.decision.what != PASS:
            return flow
        begins = not from_client and segment.flags & (SYN | RST) != 0
        if begins and flow.session.answers(segment):
            flow.former = None
            if self._ended:
                self._ended(former)
            return flow
        if not (former.session.answered or (begins and former.session.answers(segment))):
            return flow
        self._flows[key] = former
        self._trying.pop(key, None)
        return former

    def _without_evidence(self, flow: Flow, time: float) -> None:
        """What is said before both ends have completed the handshake waits; where that was not seen, it is limited."""
        session, dialogue = flow.session, flow.session.dialogue
        if flow.opened and not session.two_sided:
            if len(dialogue.events) > _HELD_EVENTS:
                dialogue.events = NO_EVENTS
            return
        events, dialogue.events = dialogue.events, NO_EVENTS
        if session.two_sided and events and decide.effective_mode(self.policy, flow.device) == "limit":
            flow.connection.device = self._home.device(flow.device.key, time)
            for event in events:
                self._limit(flow, event, time)

    def _limit(self, flow: Flow, event: Event, time: float) -> None:
        """What TLS hides has at least one message and one recipient."""
        for limit in _LIMITED.get(event.kind, ()):
            if flow.decision.what == PASS:
                self._obey(flow, limit(self.policy, flow.device, flow.session.server, time))

    def _dialogue_events(self, flow: Flow, time: float) -> None:
        """Tells the detector what happened, and asks what follows from it."""
        dialogue = flow.session.dialogue
        if not flow.counts:
            if dialogue.events:
                self._without_evidence(flow, time)
            return
        if not flow.spoke and flow.session.spoken:
            flow.spoke = True
            flow.device.sessions += 1
            self.devices.keep(flow.device)
            if flow.shared is not None:
                flow.shared.device.sessions += 1
        while dialogue.events:
            events, dialogue.events = dialogue.events, NO_EVENTS
            for event in events:
                passing = flow.decision.what == PASS
                if event.name == "no-quit" and not (passing or flow.explained):
                    continue  # we cut it off
                self._detector.event(flow.connection, event, time)
                if flow.shared is not None:
                    self._home.event(flow.shared, flow.connection, event, time)
                if passing and event.kind in _LIMITED:
                    self._limit(flow, event, time)
                if self._detector.changes or flow.shared is not None:
                    self._standings(flow, time)

    def _standings(self, flow: Flow, time: float) -> None:
        """Passes changes of standing on; a running session of a device just convicted may end by it."""
        if not (self._detector.changes or self._home.changes):
            return
        changes, self._detector.changes = self._detector.changes, []
        changes += self._home.judged(changes)
        self.events += changes
        for change in changes:
            if change.after == COMPROMISED:
                self._end_running(change.device, time)

    def _end_running(self, device: Device, time: float) -> None:
        """The connections of a device that has just been convicted; of the home, those of its strangers."""
        for flow in self._flows.values():
            its = flow.device.home is not None if device.key == HOME else flow.device is device
            if its and flow.decision.what == PASS and not flow.session.closed:
                self._obey(flow, decide.on_running(self.policy, flow.device, flow.session.server, time))

    @staticmethod
    def _obey(flow: Flow, decision: Decision | None) -> None:
        """A decision that ends the connection, if there is one. It is refused with its next packet."""
        if decision is not None:
            flow.decision = decision


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
