"""What is known of a connection: its attributes, and what callers ask of it.

Must not know how segments change it (`session`, `acceptance`, `passing`).
"""

from __future__ import annotations

import struct

from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import ACK, PARTIAL, RIGHT, SYN, UNSEEN, Segment
from cpe_filter.inspect.phases import ENDS, EVERYTHING, NOTHING, OPEN, REPLIES, TRYING
from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.inspect.states import COMMAND, HANDSHAKE, HELD, OPAQUE
from cpe_filter.inspect.tls_volume import TlsVolume
from cpe_filter.inspect.turnaround import Turnaround
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.inspect.phases import Phase, Visibility
    from cpe_filter.inspect.stream import Chunk, Stream

#: In place of a SYN's sequence number: none was seen; the client's stream has it.
UNSEEN_SEQ, IN_STREAM = -1, -2
MASK = 0xFFFFFFFF
# What was seen of the handshake: a SYN; its answer; the client's answer to that. Or, if its beginning was not seen:
# nothing; the client acknowledges what the server sent.
ATTEMPT, ANSWERED, ESTABLISHED, MIDWAY, JOINED = range(5)

#: Shared by all connections without a payload: most of a bot's attempts end here, and must cost little.
_SILENCE = Dialogue()
_ports = struct.Struct("!HH").pack


class Doubt(NamedTuple):
    """A client's segment that the server may not accept. rank: a higher one is more likely to reach the server."""

    rank: int
    seq: int
    ack: int
    payload: bytes
    fin: bool


def key_of(segment: Segment, from_client: bool) -> bytes:
    """The key of a connection: client's and server's packed addresses, then their ports, big-endian."""
    if from_client:
        return segment.src + segment.dst + _ports(segment.sport, segment.dport)
    return segment.dst + segment.src + _ports(segment.dport, segment.sport)


class SessionState:
    """A connection from `client` to `server` (packed addresses) with the key `key` (`key_of`).

    `start`, `last`: seconds, the caller's clock. `from_start`: the SYN was seen. `certain`: it did not end with a
    reset that the server may not have accepted.
    """

    __slots__ = (
        "begun",
        "client_fin",
        "client_stream",
        "doubts",
        "first",
        "limits",
        "tls_volume",
        "turnaround",
        "sent",
        "server_fin",
        "server_stream",
        "stage",
        "sums",
        "syn_seq",
        "ttl",
        "certain",
        "closed",
        "ahead",
        "dialogue",
        "from_start",
        "key",
        "last",
        "phase",
        "spoken",
        "start",
    )

    #: The bytes of each direction, once there is something to read (`begin`).
    client_stream: Stream
    server_stream: Stream

    def __init__(self, first: Segment, time: float, limits: Limits, from_client: bool) -> None:
        self.key = key_of(first, from_client)
        self.start = self.last = time
        self.from_start = bool(first.flags & SYN)
        self.phase: Phase = TRYING if self.from_start and from_client else OPEN
        self.spoken = False  # any payload, either way
        self.closed = False  # nothing more will come
        self.ahead = False  # the client acknowledges bytes of the server that were not seen
        self.certain = True
        self.stage = ATTEMPT if self.phase == TRYING else MIDWAY
        self.syn_seq = UNSEEN_SEQ
        self.first = -1  # the number of the server's first byte, or of the first that was seen
        self.sent = 0  # bytes from there to the last one seen
        self.ttl = 0
        self.sums = UNSEEN  # the checksum of the client's SYN
        self.doubts: tuple[Doubt, ...] = ()
        self.client_fin = self.server_fin = False
        self.tls_volume: TlsVolume | None = None  # once a ClientHello was seen
        self.turnaround: Turnaround | None = None  # from the server's SYN-ACK on, until it is reported
        self.limits = limits
        self.begun = False
        self.dialogue = _SILENCE

    # Addresses and ports are only in the key: four more attributes would take a hundred bytes of each connection.

    @property
    def client(self) -> bytes:
        return self.key[: len(self.key) // 2 - 2]

    @property
    def server(self) -> bytes:
        return self.key[len(self.key) // 2 - 2 : -4]

    @property
    def client_port(self) -> int:
        return int.from_bytes(self.key[-4:-2], "big")

    @property
    def server_port(self) -> int:
        return int.from_bytes(self.key[-2:], "big")

    @property
    def buffered(self) -> int:
        """Bytes that are kept because something before them, or a reply to them, is still to come."""
        if not self.begun:
            return 0
        kept = self.client_stream.waiting + self.server_stream.waiting + self.dialogue.buffered
        return kept + sum(len(doubt.payload) for doubt in self.doubts) if self.doubts else kept

    @property
    def established(self) -> bool:
        """Whether both ends have completed the handshake: SYN, an answer to it, and a client that got the answer."""
        return self.stage == ESTABLISHED

    @property
    def two_sided(self) -> bool:
        """Whether the client has answered what the server sent, though the beginning may not have been seen."""
        return self.stage in (ESTABLISHED, JOINED)

    @property
    def answered(self) -> bool:
        """Whether the server has sent anything."""
        return self.stage != ATTEMPT

    @property
    def reach(self) -> tuple[bool, int]:
        """How likely the server has received its SYN, to compare two connections."""
        return self.sums == RIGHT, self.ttl

    @property
    def judges_sums(self) -> bool:
        """Whether the checksums of the client's segments matter: if that of its SYN is plausible."""
        return self.sums in (RIGHT, PARTIAL)

    @property
    def visibility(self) -> Visibility:
        """Which packets must still be seen. More may be shown; those that may be left out may be lost."""
        dialogue = self.dialogue
        if self.closed and dialogue.dismissed:
            return NOTHING
        if dialogue.mode == COMMAND:
            return EVERYTHING
        if dialogue.mode == OPAQUE:
            return ENDS
        return REPLIES if dialogue.unneeded and not self.closed else EVERYTHING

    @property
    def uncertain(self) -> bool:
        """Whether the server may read what the client has sent in another way, or not accept it: to be sent again."""
        dialogue = self.dialogue
        return self.ahead or bool(self.doubts) or (dialogue.mode == HELD and dialogue.holds)

    @property
    def unreadable(self) -> str:
        """Why the client's commands cannot be read; "" if they can, or if the server has agreed to TLS."""
        if not self.begun:
            return ""
        if self.client_stream.conflict:
            return "overlapping data"
        dialogue = self.dialogue
        if dialogue.mode not in (HANDSHAKE, OPAQUE) or (dialogue.facts.tls and not dialogue.facts.unagreed):
            return ""
        return "neither SMTP nor TLS that the server agreed to"

    def is_new_attempt(self, segment: Segment) -> bool:
        """Whether this SYN begins a new connection with the same addresses and ports."""
        if segment.flags & (SYN | ACK) != SYN:
            return False
        if self.began_with(segment.seq):  # a retransmission, except after an orderly end
            return self.closed and self.stage == ESTABLISHED
        return self.closed or self.spoken or self.syn_seq != UNSEEN_SEQ or self.stage >= MIDWAY

    def answers(self, segment: Segment) -> bool:
        """Whether this segment of the server acknowledges the client's SYN, which may carry data (RFC 7413)."""
        if not segment.flags & ACK or self.syn_seq == UNSEEN_SEQ:
            return False
        data = len(self.doubts[0].payload) if self.doubts else 0
        return 0 < (segment.ack - self.isn) & MASK <= 1 + data

    @property
    def isn(self) -> int:
        """The client's initial sequence number, after a SYN was seen."""
        if self.syn_seq != IN_STREAM:
            return self.syn_seq
        return (self.client_stream.next - self.client_stream.position - 1) & MASK

    def began_with(self, seq: int) -> bool:
        """Whether the client's first SYN had this sequence number."""
        return self.client_stream.syn(seq) if self.syn_seq == IN_STREAM else seq == self.syn_seq

    @property
    def sent_up_to(self) -> int:
        """The number after the server's last byte that was seen."""
        return (self.first + self.sent) & MASK

    # ── what follows from segments (session.Session) ────────────────────────────────────────────────

    def begin(self) -> None:
        """More than an attempt: from here on there is something to read."""
        raise NotImplementedError

    def pass_on(self, chunks: list[Chunk], from_client: bool) -> None:
        """Passes bytes and gaps to the dialogue."""
        raise NotImplementedError

    def close(self, phase: Phase) -> None:
        """Nothing more will come."""
        raise NotImplementedError
