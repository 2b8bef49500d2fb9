"""Packets in, verdicts out: finds a packet's connection, the decision about it, and which packets must be seen next.

Composes the table of connections, sessions, decide and the judge. Must not know files, sockets, clocks (time comes in
with the packet) or the kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from ipaddress import IPv6Network, ip_address

from cpe_filter.detect import score
from cpe_filter.detect.detector import Connection, StandingChanged, Step
from cpe_filter.detect.device import BEHIND, HOME, HOME_WORD, ROUTER, Device, Devices
from cpe_filter.detect.identity import Identity
from cpe_filter.detect.mac_rotation import DeviceRekeyed, Lease, MacRotation
from cpe_filter.detect.recent_mx import RecentMx
from cpe_filter.detect.score import CLEAR, COMPROMISED
from cpe_filter.enforce import decide
from cpe_filter.enforce.decide import BLOCK, EXPLAIN, PASS, REFUSE, UNSEEN_START, WITHIN_LIMITS, Decision
from cpe_filter.engine.borrowed import BorrowedMacs, without_kernel
from cpe_filter.engine.flows import FLOWS, IDLE_S, Flow, FlowTable, Refused
from cpe_filter.engine.judge import Judge
from cpe_filter.engine.responder_answers import Answering
from cpe_filter.engine.verdicts import ACCEPT, BY_VISIBILITY, BYPASS, INSPECT_ALL, OF_DEVICE, REDIRECT, RESET_FLOW
from cpe_filter.inspect.dns import is_local, mx_question
from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import ACK, FIN, RST, SYN, WRONG, Segment, checksum, parse
from cpe_filter.inspect.session import EVERYTHING, NOTHING, TRYING, Session, key_of
from cpe_filter.inspect.states import COMMAND
from cpe_filter.policy.model import Network, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from cpe_filter.engine.borrowed import Borrowed
    from cpe_filter.engine.verdicts import Refusal, Verdict
    from cpe_filter.lean.clocks import PacketTime, Posix

    Checksums = Literal["ignored", "doubted", "required"]

# What is done about TCP checksums.
IGNORED: Checksums = "ignored"
DOUBTED: Checksums = "doubted"
REQUIRED: Checksums = "required"
# Hooks, by netfilter's numbers (linux/netfilter.h).
LOCAL_IN, FORWARD, LOCAL_OUT = 1, 2, 3
_OF_ROUTER = (LOCAL_IN, LOCAL_OUT)
#: Seconds between two sweeps for lost and silent connections, and after a sweep that has left some.
_SWEEP_S, _SWEEP_AGAIN_S = 1.0, 0.05
#: Seconds between two looks at devices that pass for mail servers.
_REVIEW_S = 3600.0

# IPv4 and IPv6: length, (fragment,) TTL, protocol, or the last two swapped; addresses and ports; TCP: numbers, offset,
# flags.
_ordinary4 = struct.Struct("!2xH2xHBB2x12sIIBB").unpack_from
_ordinary6 = struct.Struct("!4xHBB36sIIBB").unpack_from
_TCP = 6
_number = int.from_bytes
#: How many keys are remembered by the addresses and ports in packets from their servers.
_ANSWERS = 256


class Engine:
    """Feed it with `packet` and `tick`; read `devices`; empty `events`.

    `lan`: only clients in these networks are devices, and these are the home's own (empty: all). `ended` is called
    with each flow that has ended, `trace` with each piece of evidence as it counts. `ours` says whether a packed
    address is the router's own, `known` whether the router knows a packed MAC (None: all are known): what only one
    side of a connection shows counts only for known MACs. `borrowed` says whether another MAC than a packet's
    answers for its client's address (see engine.borrowed). checksums: a client's packet with a wrong TCP checksum is
    read (`IGNORED`), read if the server acknowledges it (`DOUBTED`), or not read (`REQUIRED`). joined_by_replies:
    whether a connection is followed of which only the server's packets have been seen; its client's may take
    another way. whole: every connection is read, whatever the policy says (`read_known`). A connection that is not
    read is counted at its SYN; its content is not, and `ended` is not called.
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
        checksums: Checksums = IGNORED,
        joined_by_replies: bool = True,
        borrowed: Borrowed | None = None,
    ) -> None:
        self.policy = policy
        self.devices = Devices()
        self.packets = 0
        self.mail_packets = 0
        self.refusals: dict[str, int] = {}
        self.unfit = 0  # packets whose checksum was wrong
        self._identity = Identity(self.devices)
        self._identity.on_link(lan)
        self._mac_rotation = MacRotation(self.devices)
        self._table = FlowTable(flows, ended)
        self._flows = self._table.flows
        self._judge = Judge(policy, self.devices, self._flows, known, trace)
        self._borrowed = BorrowedMacs(self._judge, borrowed)
        self._translators: tuple[IPv6Network, ...] = ()
        self._to_detector()
        self._limits = limits
        self._lan = lan
        self._ours = ours
        self._whole = whole
        self._checksums = checksums
        self._joined_by_replies = joined_by_replies
        self._ports = frozenset(policy.network.ports)
        self._responder_port = policy.explain.port
        self._answers: dict[bytes, bytes] = {}
        self._next_sweep = self._next_review = 0.0
        self._first_packet = -1.0
        #: About the last packet: its connection, None if it is not followed; the key of that connection, b"" if it is
        #: not mail; device and server if nothing they say would be evidence.
        self.flow: Flow | None = None
        self.key = b""
        self.opening = False  # it was a client's SYN
        self.skipped: tuple[Device, bytes] | None = None

    @property
    def events(self) -> list[StandingChanged | Refused | DeviceRekeyed]:
        """What has happened; the caller takes the events and empties the list."""
        return self._judge.events

    @events.setter
    def events(self, events: list[StandingChanged | Refused | DeviceRekeyed]) -> None:
        self._judge.events = events

    @property
    def recent_mx(self) -> RecentMx:
        """Devices that have asked for MX records and not mailed yet."""
        return self._judge.recent_mx

    @property
    def flow_count(self) -> int:
        return len(self._flows)

    @property
    def evicted_flows(self) -> int:
        """Connections that had to make room for others."""
        return self._table.evicted

    @property
    def flows(self) -> Iterable[Flow]:
        """The connections that are remembered."""
        return self._flows.values()

    def flows_of(self, device: Device) -> list[Flow]:
        """The connections of a device that are remembered.

        The home's collective device has none: the connections are its strangers', and most of these may be clear.
        """
        return [flow for flow in self._flows.values() if flow.device is device]

    @property
    def buffered(self) -> int:
        """Bytes that all connections together keep waiting."""
        return self._table.buffered

    def packet(
        self, time: PacketTime, hook: int, hwaddr: bytes | None, data: bytes, to_hwaddr: bytes | None = None
    ) -> Verdict:
        """Judges an IP packet. time: seconds, never going back; hwaddr: the sender's MAC if known.

        to_hwaddr: the receiver's MAC, which a capture may know of a server's packet that comes first.
        Returns one of the verdicts above; raises nothing, whatever the bytes.
        """
        self.packets += 1
        self.flow = self.skipped = None
        self.key = b""
        self.opening = False
        if time < self._next_sweep:
            verdict = self._ordinary(time, data)
            if verdict:
                return verdict
        segment = parse(data)
        if isinstance(segment, str):
            self.refusals[segment] = self.refusals.get(segment, 0) + 1
            return ACCEPT
        found = self._key(segment)
        if found is None:
            return ACCEPT
        key, to_mail = found
        self.key = key
        self.opening = to_mail and segment.flags & SYN != 0
        self.mail_packets += 1
        if time >= self._next_sweep:
            self.tick(time)
        flow = self._flows.get(key)
        if to_mail and not self._fits(flow, segment, data):
            return ACCEPT
        former = None
        if flow is not None:
            flow, former = self._current(flow, key, segment, to_mail)
        if flow is None:
            flow = self._begin(segment, time, hook, hwaddr if to_mail else to_hwaddr, to_mail)
            if flow is None:
                return ACCEPT if self.skipped is None else BYPASS
            flow.former = former
        self.flow = flow
        return self._advance(flow, key, segment, time, to_mail)

    def _current(self, flow: Flow, key: bytes, segment: Segment, to_mail: bool) -> tuple[Flow | None, Flow | None]:
        """Which of the connections with these addresses and ports a segment is of, None for a new one; and the former
        one, which is still remembered."""
        if flow.former is not None:
            flow = self._table.which(flow, key, segment, to_mail)
        if not (segment.flags & SYN and to_mail and flow.session.is_new_attempt(segment)):
            return flow, None
        former = self._table.former_of(flow)
        if former is not flow:
            self._table.forget(key, flow)
        return None, former

    def _key(self, segment: Segment) -> tuple[bytes, bool] | None:
        """The key of a segment's connection, and whether the client sent it; None if it is not mail."""
        ports = self._ports
        to_mail, from_mail = segment.dport in ports, segment.sport in ports
        if to_mail and from_mail:  # both are mail ports: a known client, or the sender of the first SYN
            to_mail = key_of(segment, False) not in self._flows
        if to_mail:
            return key_of(segment, True), True
        if from_mail:
            return key_of(segment, False), False
        return self._redirected(segment)

    def on_sight(self, time: PacketTime) -> Verdict:
        """The verdict on the last packet if it waits and its content is limited, as `packet` has read it.

        ACCEPT; RESET_FLOW if it must not leave, and the connection ends; INSPECT_ALL if it must be sent again, because
        its server has yet to decide how to read it. `packet` itself only counts what the server has agreed to, and a
        client need not wait for that.
        """
        flow = self.flow
        if flow is None or flow.decision.action != PASS or decide.effective_mode(self.policy, flow.device) != "limit":
            return ACCEPT
        session = flow.session
        dialogue, server = session.dialogue, session.server
        if decide.exempt(self.policy, flow.device, server, time):
            return ACCEPT
        reason = session.unreadable
        decision = Decision(REFUSE, reason) if reason else None
        if decision is None and flow.last_visibility != NOTHING:
            mails, recipients = dialogue.unanswered("MAIL"), dialogue.unanswered("RCPT")
            decision = decide.on_sight(self.policy, flow.device, server, mails, recipients, time)
        if decision is None:
            return INSPECT_ALL if session.uncertain else ACCEPT
        flow.decision, flow.refusal = decision, RESET_FLOW
        self._judge.refuse(flow, time)
        return RESET_FLOW

    def _ordinary(self, time: PacketTime, data: bytes) -> Verdict | None:
        """The verdict on an ordinary packet, in few steps; None if `packet` must look closer.

        Nearly every packet is ordinary: a line or some content of a dialogue, in order, in a connection that is read
        and passes, and both ends of which have completed the handshake; or a FIN after QUIT and 221. This does the same
        as `packet`, so it must leave everything else to it. It reads no headers with options, and makes no segments.
        """
        headers = _ordinary_headers(data)
        if headers is None:
            return None
        start, at, ttl, peers, seq, ack = headers
        # A client's packet contains its flow's key, if the IP header has no options.
        flow = self._flows.get(peers)
        from_client = flow is not None
        if flow is None:
            flow = self._flows.get(self._answer(peers))
        if flow is None or not flow.ordinary or flow.former is not None or flow.decision.action != PASS:
            return None
        if from_client and not self._sum_is_right(data, start):
            return None  # a wrong sum goes the long way
        session, payload = flow.session, data[at:]
        if not payload:
            return self._ordinary_end(time, flow, from_client)
        if from_client:
            if not session.client_goes_on(time, seq, ack, ttl, payload):
                return None
        elif not session.server_goes_on(time, seq, ack, payload):
            return None
        session.last = time
        self.mail_packets += 1
        key = self.key = session.key
        self.flow = flow
        if from_client:
            flow.connection.device.last_seen = time
        buffered = session.dialogue.buffered
        if buffered != flow.buffered:
            self._table.count_buffered(flow, buffered)
        return self._after(flow, key, time, False)

    def _sum_is_right(self, data: bytes, start: int) -> bool:
        """Sums as `checksum` does; addresses and segment are contiguous. start: where TCP begins."""
        if self._checksums == IGNORED:
            return True
        size = len(data)
        at = 12 if start == 20 else 8
        return not ((_number(data[at:], "big") << (size & 1) * 8) + _TCP + size - start) % 0xFFFF

    def _ordinary_end(self, time: PacketTime, flow: Flow, from_client: bool) -> Verdict | None:
        """As `_ordinary`, of a packet without a payload: a FIN or an acknowledgement once the dialogue has ended."""
        session = flow.session
        if flow.last_visibility != NOTHING or flow.buffered or session.dialogue.events:
            return None  # there may be something to see
        session.last = time
        self.mail_packets += 1
        self.key = session.key
        self.flow = flow
        if from_client:
            flow.connection.device.last_seen = time
        return ACCEPT

    def _answer(self, peers: bytes) -> bytes:
        """The key of the connection of a packet from server to client: with addresses and ports swapped."""
        answers = self._answers
        key = answers.get(peers)
        if key is not None:
            return key
        size = len(peers) // 2 - 2
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
            key = self._table.redirected(segment.src, segment.sport)
        elif segment.sport == port:
            key = self._table.redirected(segment.dst, segment.dport)
        else:
            key = None
        return None if key is None else (key, segment.dport == port)

    def on_mx_query(self, time: PacketTime, hwaddr: bytes | None, data: bytes) -> None:
        """Looks for a question for MX records in an IP packet of a device in the home.

        Arguments as for `packet`; raises nothing. The router's own questions count for no device, because it passes on
        those of devices. A question alone does not make a device of a host that has not mailed (see detect.recent_mx).
        """
        question = mx_question(data) if self.policy.detect.watch_dns else None
        if question is None or (self._lan and not _within(question.client, self._lan)):
            return
        resolver = question.resolver
        local = is_local(resolver) or _within(resolver, self._lan) or (self._ours is not None and self._ours(resolver))
        self._judge.mx_query(self._device_key(FORWARD, hwaddr, question.client), not local, time)

    def on_link(self, networks: Iterable[Network]) -> None:
        """The home's own networks: a client with another address behind a MAC comes through a second router."""
        self._identity.on_link(networks)

    def leases(self, leases: Iterable[Lease], time: PacketTime, wall: Posix) -> None:
        """All current DHCP leases: a device whose random MAC has changed continues under the new one.

        A device with a lease is not a stranger. time: the engine's; wall: POSIX seconds, the clock of the leases.
        """
        leases = list(leases)
        self.events += self._mac_rotation.leases(leases, time, wall)
        self._judge.home.leases((lease.hwaddr for lease in leases if len(lease.hwaddr) == 6), time)

    def familiar(self) -> set[bytes]:
        """The MACs that are not strangers (see detect.home): the home's standing does not concern them."""
        return set(self._judge.home.familiar())

    @property
    def home_blocked(self) -> bool:
        """Whether an unknown device of this home is compromised: MACs that are not `familiar` must be refused."""
        return self.policy.filter.escalate and self.devices.home.score.standing == COMPROMISED

    @property
    def home_limited(self) -> bool:
        """Whether one is at least suspected: MACs that are not `familiar` must be limited, whatever the mode."""
        return self.policy.filter.escalate and self.devices.home.score.standing != CLEAR

    def reload(self, policy: Policy) -> None:
        """Decides with this policy from now on. Decisions, standings and the limits' buckets stay as they are."""
        self.policy = self._judge.policy = policy
        self._ports = frozenset(policy.network.ports)
        self._responder_port = policy.explain.port
        for flow in self._flows.values():
            flow.ordinary = flow.counts and self._is_plain(flow)
        decide.index(policy)
        self._to_detector()
        self._next_review = 0.0  # a device may be exempt now

    def translators(self, prefixes: Iterable[IPv6Network]) -> None:
        """Prefixes of NAT64 that were learnt: servers behind these count by their IPv4 address. They admit nothing."""
        self._translators = tuple(prefixes)
        self._to_detector()

    def _to_detector(self) -> None:
        """What the policy and the network have for the detector."""
        detector, signed = self._judge.detector, self.policy.signed
        detector.reply_rows = "\n".join(self.policy.detect.replies)
        detector.signed_rows = signed.wordings
        if signed.rates or score.built_in:
            from cpe_filter.detect import rates

            try:
                rates.use(signed.rates)
            except rates.TableError:  # `policy make` has judged it, so the file was written by hand
                rates.use("")
                self.policy = self.policy._replace(signed=signed._replace(table="", rates=""))
        self._judge.detector.nat64 = self._judge.home.nat64 = (*self.policy.network.nat64, *self._translators)

    def restore(self, devices: Iterable[Device]) -> None:
        """These devices were known before a restart (see detect.saved)."""
        self.devices.restore(devices)
        self._judge.home.restore()

    def release(self, device: bytes | str, time: PacketTime) -> bool:
        """A person has declared a compromised device (key or name) cleaned: it is suspected from now on.

        `home` is the unknown device of this home. False if no compromised device has that name. Refused connections
        stay refused.
        """
        if device == HOME_WORD:
            device = HOME
        for candidate in self.devices:
            if device in (candidate.key, candidate.name) and self._judge.release(candidate, time):
                for flow in self.flows_of(candidate):
                    if flow.decision.action == BLOCK:
                        # Its last packets must not make the kernel block the whole device again.
                        flow.decision = flow.decision._replace(action=EXPLAIN if flow.explained else REFUSE)
                        flow.refusal = REDIRECT if flow.explained else RESET_FLOW
                return True
        return False

    def tick(self, time: PacketTime) -> None:
        """Time passes: attempts without an answer are lost, silent connections forgotten."""
        if self._first_packet < 0.0:
            self._first_packet = time
        if time >= self._next_review:
            self._next_review = time + _REVIEW_S
            self._judge.review(time)
        lost, more_lost = self._table.lost(time)
        for flow in lost:
            flow.session.give_up()
            self._judge.ended(flow, time)
        stale, more_stale = self._table.stale(time)
        self._next_sweep = time + (_SWEEP_AGAIN_S if more_lost or more_stale else _SWEEP_S)
        for key, flow in stale:
            if not flow.session.closed:  # otherwise its end has been counted
                flow.session.give_up()
                self._judge.ended(flow, time)
            self._table.forget(key, flow)

    def finish(self, time: PacketTime) -> None:
        """The input has ended: counts what is known of running connections."""
        self.tick(time)
        for key, flow in list(self._flows.items()):
            if not flow.session.closed:
                self._judge.cut_short(flow, time)
            self._table.forget(key, flow)

    # ── connections ─────────────────────────────────────────────────────────────────────────────

    def _begin(
        self, segment: Segment, time: PacketTime, hook: int, hwaddr: bytes | None, from_client: bool
    ) -> Flow | None:
        """A connection to follow; None if it cannot begin here, if it is not the home's, or if it is `skipped`."""
        if not (from_client or self._joined_by_replies) or not _may_begin(segment):
            return None
        client = segment.src if from_client else segment.dst
        server = segment.dst if from_client else segment.src
        if self._lan and not _within(client, self._lan):
            return None
        syn = from_client and segment.flags & SYN != 0
        if syn:
            connection, shared = self._opened(hook, hwaddr, client, server, time)
            decision = decide.on_connection(self.policy, connection.device, server, connection.new, time)
        else:
            connection, shared = self._joined(hook, hwaddr, client, server, time), None
            decision = decide.on_running(self.policy, connection.device, server, time) or self._unseen(
                connection.device, time
            )
        device = connection.device
        lent = hwaddr[:6] if hwaddr and device.key == client and any(hwaddr[:6]) else b""
        if lent and self.policy.filter.mode != "block":
            decision = without_kernel(decision)
        if self._skips(connection, decision):
            self.skipped = device, server
            return None
        flow = self._follow(segment, time, from_client, connection, shared, decision)
        flow.borrowed = lent
        return flow

    def _follow(
        self,
        segment: Segment,
        time: PacketTime,
        from_client: bool,
        connection: Connection,
        shared: Connection | None,
        decision: Decision,
    ) -> Flow:
        """Takes a connection into the table."""
        syn = from_client and segment.flags & SYN != 0
        evicted = self._table.least_useful()
        if evicted is not None:
            self._judge.cut_short(evicted, time)
            self._table.forget(evicted.session.key, evicted)
            self._table.evicted += 1
        flow = Flow(
            Session(segment, time, self._limits, from_client), connection, decision, connection.device.connections
        )
        flow.shared = shared
        flow.opened = syn
        self._table.add(flow, time)
        if syn and self._explains(decision):
            flow.explained = connection.explained = True
            flow.answering = Answering()
            self._table.redirect(flow)
        elif syn and decision.action != PASS:
            self._judge.refused_syn(flow, time)
        self._judge.changed_standings(time)
        return flow

    def _opened(
        self, hook: int, hwaddr: bytes | None, client: bytes, server: bytes, time: PacketTime
    ) -> tuple[Connection, Connection | None]:
        """A device opens a connection. Returns it, and the home's share in it if the device is a stranger."""
        judge = self._judge
        key = ROUTER if hook in _OF_ROUTER else self._identity.seen(hwaddr, client, time)
        device = judge.home.device(self._borrowed.key(key, client), time)
        device.last_seen = time
        connection = judge.detector.opened(device, server, time)
        return connection, judge.home.opened(connection, server, client, time)

    def _joined(self, hook: int, hwaddr: bytes | None, client: bytes, server: bytes, time: PacketTime) -> Connection:
        """A connection whose SYN was not seen. Nothing shows that a device sent this, so it leaves no trace."""
        key = self._device_key(hook, hwaddr, client)
        device = self.devices.find(key) or self._judge.home.unlisted(key, time)
        return self._judge.detector.joined(device, server)

    def _unseen(self, device: Device, time: PacketTime) -> Decision:
        """The decision about a connection whose beginning was not seen.

        If connections must be admitted, one that appears late was not admitted, or was refused and is tried again: by
        then all connections that ran before the first packet have been seen or have ended.
        """
        if time - self._first_packet > IDLE_S and decide.effective_mode(self.policy, device) == "limit":
            return Decision(REFUSE, "unknown connection")
        return UNSEEN_START

    def _skips(self, connection: Connection, decision: Decision) -> bool:
        """Whether a connection need not be read: it is not limited, and nothing in it would be evidence."""
        return (
            not (self._whole or self.policy.detect.read_known)
            and not connection.fresh
            and decision.action == PASS
            and decision is not WITHIN_LIMITS
            and connection.device.score.standing == CLEAR
        )

    def _device_key(self, hook: int, hwaddr: bytes | None, client: bytes) -> bytes:
        """The key of the device with the client address `client` (packed)."""
        return ROUTER if hook in _OF_ROUTER else self._identity.key(hwaddr, client)

    def _advance(self, flow: Flow, key: bytes, segment: Segment, time: PacketTime, from_client: bool) -> Verdict:
        session = flow.session
        was_closed = session.closed
        if from_client and flow.opened:
            flow.connection.device.last_seen = time
        session.segment(segment, time, from_client)
        if not flow.counts and flow.opened and session.established:
            flow.ordinary = self._is_plain(flow)
            self._borrowed.established(flow, time)
            self._judge.established(flow, time)
        if segment.payload or flow.buffered:
            buffered = session.buffered
            if buffered != flow.buffered:
                self._table.count_buffered(flow, buffered)
        return self._after(flow, key, time, was_closed)

    def _after(self, flow: Flow, key: bytes, time: PacketTime, was_closed: bool) -> Verdict:
        """The verdict on a segment that the session has read, with its consequences."""
        session = flow.session
        if session.dialogue.events or not flow.spoke:
            self._judge.dialogue_events(flow, time)
        trying = self._table.trying
        if session.closed and not was_closed:
            trying.pop(key, None)
            self._judge.ended(flow, time)
        elif trying and session.phase != TRYING:
            trying.pop(key, None)
        if flow.decision.action != PASS and not (flow.explained and session.phase != TRYING):
            return flow.refusal or self._refuse(flow, time)
        # Nearly always all packets must still be seen.
        if flow.last_visibility == EVERYTHING and session.dialogue.mode == COMMAND and not session.closed:
            return ACCEPT
        visibility = session.visibility
        if visibility != flow.last_visibility:
            flow.last_visibility = visibility
            return BY_VISIBILITY[visibility]
        return ACCEPT

    def _refuse(self, flow: Flow, time: PacketTime) -> Refusal:
        """A connection is refused from now on."""
        refusal = flow.refusal = self._refusal(flow)
        # If this packet has ended it, the kernel may have nothing left to refuse.
        if not flow.session.closed:
            self._judge.refuse(flow, time)
        return refusal

    def _explains(self, decision: Decision) -> bool:
        """Whether a new connection with this decision goes to the responder."""
        return decision.action == EXPLAIN or (decision.action == BLOCK and self.policy.filter.refusal == "explain")

    def _refusal(self, flow: Flow) -> Refusal:
        """The verdict on the packets of a connection that does not pass."""
        of_device = OF_DEVICE.get(flow.decision.action)
        if of_device is not None and self._kernel_knows(flow.device):
            return of_device
        return REDIRECT if flow.explained else RESET_FLOW

    def _kernel_knows(self, device: Device) -> bool:
        """Whether blocking the MAC blocks only this device. If not, each connection is refused separately."""
        key = device.key
        return len(key) not in BEHIND and not (len(key) == 6 and self.devices.behind(key))

    def _fits(self, flow: Flow | None, segment: Segment, data: bytes) -> bool:
        """Whether a client's packet may be read with its checksum."""
        if self._checksums == IGNORED or not (segment.payload or segment.flags & (SYN | FIN | RST)):
            return True
        required = self._checksums == REQUIRED
        if required or segment.flags & SYN or (flow is not None and flow.session.judges_sums):
            segment.checksum = checksum(data)
            if required and segment.checksum == WRONG:
                self.unfit += 1
                return False
        return True


def _ordinary_headers(data: bytes) -> tuple[int, int, int, bytes, int, int] | None:
    """Of a TCP packet without fragments and IP options, with ACK and without SYN and RST, and without FIN if it has a
    payload: where TCP and the payload begin, TTL, addresses with ports, TCP's numbers. None of any other packet."""
    size = len(data)
    if size >= 40 and data[0] == 0x45:
        total, fragment, ttl, protocol, peers, seq, ack, offset, flags = _ordinary4(data)
        start = 20
        if fragment & 0x3FFF:
            return None
    elif size >= 60 and data[0] >> 4 == 6:
        total, protocol, ttl, peers, seq, ack, offset, flags = _ordinary6(data)
        start = 40
        total += 40
    else:
        return None
    if total != size or protocol != _TCP or offset < 0x50 or flags & (SYN | RST | ACK) != ACK:
        return None
    at = start + (offset >> 2 & 60)
    if at < size:
        return None if flags & FIN else (start, at, ttl, peers, seq, ack)
    return (start, at, ttl, peers, seq, ack) if at == size else None


def _may_begin(segment: Segment) -> bool:
    """Whether a connection may be followed from this segment on: a SYN, or bytes of one that runs."""
    flags = segment.flags & (SYN | FIN | RST)
    return segment.payload != b"" or flags == SYN or (flags == 0 and segment.cut > 0)


def _within(address: bytes, networks: tuple[Network, ...]) -> bool:
    return any(ip_address(address) in network for network in networks)
