"""The connections that the engine remembers, by their keys: bounded, in number and in bytes that wait.

Knows sessions, and which of two connections with the same ports a segment is of. Must not know policy, devices'
standings or verdicts' meaning. When the table is full the least useful connection makes room.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from cpe_filter.enforce.decide import PASS, Decision
from cpe_filter.engine.responder_answers import Answering
from cpe_filter.inspect.packet import RST, SYN, Segment
from cpe_filter.inspect.session import EVERYTHING, TRYING, Session
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.detector import Connection
    from cpe_filter.detect.device import Device
    from cpe_filter.engine.verdicts import Refusal
    from cpe_filter.inspect.session import Visibility
    from cpe_filter.lean.clocks import PacketTime

FLOWS = 4096
#: Bytes that all connections together may keep waiting. Ordinary mail keeps none for long.
BUFFERED = 4 << 20
#: Seconds without an answer after which an attempt counts as lost (a SYN has been resent at 1, 3 and 7 s).
LOST_AFTER_S = 10.0
#: Seconds of silence after which a connection is forgotten (RFC 5321 section 4.5.3.2: 10 minutes).
IDLE_S = 900.0
#: The same if the kernel leaves packets out: conntrack's time on OpenWrt.
HIDDEN_S = 7440.0
#: Seconds that a closed connection is remembered, for stray packets.
LINGER_S = 30.0
#: Connections that are given up in one sweep. What is left is given up in the next one.
SWEEP = 256
#: The least useful one among so many of the oldest connections makes room.
_OLDEST = 32


class Flow:
    """A connection and what the engine holds about it."""

    __slots__ = (
        "answering",
        "attempt",
        "borrowed",
        "buffered",
        "connection",
        "counts",
        "decision",
        "elements",
        "explained",
        "former",
        "last_visibility",
        "opened",
        "ordinary",
        "refusal",
        "session",
        "shared",
        "spoke",
    )

    def __init__(self, session: Session, connection: Connection, decision: Decision, attempt: int) -> None:
        self.session = session
        self.connection = connection
        #: The decision about it. Set by the engine, or by `judge` if a limit or a conviction ends it.
        self.decision = decision
        #: Its number among the device's connections.
        self.attempt = attempt
        #: Its SYN was seen.
        self.opened = False
        #: Both ends have completed the handshake: what happens is evidence.
        self.counts = False
        #: It counts, and its ports show which end is the server.
        self.ordinary = False
        #: An earlier connection of the same ports: that goes on if the server does not take the SYN.
        self.former: Flow | None = None
        #: Its client has sent something, and the device's sessions count it.
        self.spoke = False
        #: The verdict on its packets, once it is refused.
        self.refusal: Refusal | None = None
        #: It goes to the responder.
        self.explained = False
        #: What its client answers to the responder's tests, if it goes there.
        self.answering: Answering | None = None
        #: Which packets the engine has last asked for.
        self.last_visibility: Visibility = EVERYTHING
        #: For the caller: what it has put into the kernel for this connection.
        self.elements = 0
        #: The MAC of its packets if another one answers for the client's address; else b"".
        self.borrowed = b""
        #: The home's part in a stranger's connection.
        self.shared: Connection | None = None
        #: Bytes that its session keeps waiting, as the table's sum counts them.
        self.buffered = 0

    @property
    def device(self) -> Device:
        return self.connection.device

    @property
    def patience(self) -> float:
        """Seconds of silence after which it is forgotten."""
        if self.session.closed and self.session.certain:
            return LINGER_S
        # If the kernel leaves packets out it only looks silent.
        return IDLE_S if self.last_visibility == EVERYTHING else HIDDEN_S


class Refused(NamedTuple):
    """A connection was refused or ended."""

    time: PacketTime
    flow: Flow


class FlowTable:
    """`flows`: by key, the oldest first. `trying`: of these, since when attempts wait for an answer.

    forgotten: called with each connection that leaves the table. evicted: how many had to make room.
    """

    def __init__(self, limit: int, forgotten: Callable[[Flow], None] | None) -> None:
        self.flows: dict[bytes, Flow] = {}
        self.trying: dict[bytes, float] = {}
        self.limit = limit
        self.buffered = 0
        self.evicted = 0
        self._forgotten = forgotten
        self._explained: dict[bytes, bytes] = {}  # client's address and port -> key of the flow

    def add(self, flow: Flow, time: PacketTime) -> None:
        key = flow.session.key  # the same bytes, kept once
        self.flows[key] = flow
        if flow.session.phase == TRYING:
            self.trying[key] = time

    def redirect(self, flow: Flow) -> None:
        """A connection goes to the responder. On that way only its client's address and port identify its packets."""
        self._explained[_client(flow.session.client, flow.session.client_port)] = flow.session.key

    def redirected(self, client: bytes, port: int) -> bytes | None:
        """The key of the connection of this client that goes to the responder."""
        return self._explained.get(_client(client, port))

    def count_buffered(self, flow: Flow, buffered: int) -> None:
        """Its session keeps so many bytes waiting now. Past the bound the connection with most is read no further."""
        self.buffered += buffered - flow.buffered
        flow.buffered = buffered
        if self.buffered > BUFFERED:
            greediest = max(self.flows.values(), key=lambda flow: flow.buffered)
            greediest.session.stop_reading("memory")
            self.buffered -= greediest.buffered
            greediest.buffered = 0

    def least_useful(self) -> Flow | None:
        """The connection that must make room: a closed or the most silent one of the oldest. None if there is room."""
        if len(self.flows) < self.limit:
            return None
        oldest = islice(self.flows.values(), _OLDEST)
        return min(oldest, key=lambda flow: (not flow.session.closed, flow.session.last))

    def forget(self, key: bytes, flow: Flow) -> None:
        known = self.flows.pop(key, None)
        self.trying.pop(key, None)
        if flow.explained:
            client = _client(flow.session.client, flow.session.client_port)
            if self._explained.get(client) == key:  # not that of a later one from the same port
                del self._explained[client]
        self.buffered -= flow.buffered
        flow.buffered = 0
        if known is flow and self._forgotten:
            self._forgotten(flow)

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def lost(self, time: PacketTime) -> tuple[list[Flow], bool]:
        """Attempts without an answer, no longer `trying`. Whether there may be more.

        Oldest first. After a flood thousands are due at once, and other packets must not wait for all of them.
        """
        keys = [key for key, since in islice(self.trying.items(), SWEEP) if time - since >= LOST_AFTER_S]
        found = []
        for key in keys:
            del self.trying[key]
            flow = self.flows.get(key)
            if flow is not None and flow.former is not None and flow.former.session.answered:
                self.flows[key] = flow.former
            elif flow is not None and flow.session.phase == TRYING:
                found.append(flow)
        return found, len(keys) >= SWEEP

    def stale(self, time: PacketTime) -> tuple[list[tuple[bytes, Flow]], bool]:
        """Connections that have been silent for longer than their patience, as `lost`."""
        found = [(key, flow) for key, flow in self.flows.items() if time - flow.session.last > flow.patience]
        return found[:SWEEP], len(found) >= SWEEP

    # ── two connections with the same ports ─────────────────────────────────────────────────────

    @staticmethod
    def former_of(flow: Flow) -> Flow | None:
        """A SYN comes from the port of `flow`: the connection that goes on if the server does not take it."""
        former = flow.former
        if former is None:
            ended = flow.session.closed and flow.session.certain
            return None if ended or not (flow.opened or flow.session.two_sided) else flow
        if former.session.answered or flow.session.reach <= former.session.reach:
            return former
        return flow

    def which(self, flow: Flow, key: bytes, segment: Segment, from_client: bool) -> Flow:
        """After one SYN another was sent from the same port: finds which of the two connections has this segment.

        Servers do not accept such a SYN (RFC 5961 section 4), unless they have forgotten the first, or never got it.
        """
        former = flow.former
        if former is None or (from_client and segment.flags & SYN) or flow.decision.action != PASS:
            return flow
        begins = not from_client and segment.flags & (SYN | RST) != 0
        if begins and flow.session.answers(segment):
            flow.former = None
            if self._forgotten:
                self._forgotten(former)
            return flow
        if not (former.session.answered or (begins and former.session.answers(segment))):
            return flow
        self.flows[key] = former
        self.trying.pop(key, None)
        return former


def _client(address: bytes, port: int) -> bytes:
    return address + port.to_bytes(2, "big")
