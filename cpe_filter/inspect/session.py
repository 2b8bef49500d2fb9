"""One TCP connection to a mail port, watched: segments of both directions in, facts out.

Knows how streams and the dialogue fit together, and which segments an end accepts. Must not know devices, policy or
clocks: the caller passes the time.

Any host in the home can send packets with a neighbour's addresses, and packets of its own that only we see. Hence two
rules. First, `established` needs knowledge that only an end has which was answered: the client acknowledges bytes of
the server after the random number that the server chose. Second, a client's segment is read if the server accepts it:
it acknowledges what the server sent, and has the TTL of the SYN and a right checksum. A segment with another TTL or
checksum waits (`_doubt`) until the server acknowledges it; then it is read, unless other bytes have replaced it.
"""

from __future__ import annotations

import struct

from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import ACK, FIN, PARTIAL, RIGHT, RST, SYN, UNSEEN, WRONG, Segment
from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.inspect.states import COMMAND, HANDSHAKE, HELD, OPAQUE
from cpe_filter.inspect.stream import FARTHEST, Chunk, Stream
from cpe_filter.inspect.tls_volume import TlsVolume
from cpe_filter.inspect.turnaround import Turnaround
from cpe_filter.lean.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Phase = Literal["trying", "open", "closed", "refused", "reset", "lost"]
    Visibility = Literal["everything", "replies", "ends", "nothing"]

# How far the connection got.
TRYING: Phase = "trying"  # a SYN and nothing else
OPEN: Phase = "open"
CLOSED: Phase = "closed"  # FINs, or 221 to QUIT
REFUSED: Phase = "refused"  # RST to the SYN
RESET: Phase = "reset"
LOST: Phase = "lost"  # no answer to the SYN
# Which packets of it still have to be seen.
EVERYTHING: Visibility = "everything"
REPLIES: Visibility = "replies"  # only FIN and RST of the client, until the server's next reply
ENDS: Visibility = "ends"  # FIN and RST of both
NOTHING: Visibility = "nothing"
#: In place of a SYN's sequence number: none was seen; the client's stream has it.
_UNSEEN, _IN_STREAM = -1, -2
_MASK = 0xFFFFFFFF
# What was seen of the handshake: a SYN; its answer; the client's answer to that. Or, if its beginning was not seen:
# nothing; the client acknowledges what the server sent.
_ATTEMPT, _ANSWERED, _ESTABLISHED, _MIDWAY, _JOINED = range(5)
#: How far a client may acknowledge beyond what was seen of the server, because some packets may be lost to us.
_UNSEEN_BYTES = 1 << 16
#: The most runs of segments that wait for the server's acknowledgement, and the most bytes of all.
DOUBTS, DOUBT_BYTES = 32, 8192
#: Shared by all connections without a payload: most of a bot's attempts end here, and must cost little.
_SILENCE = Dialogue()
_ports = struct.Struct("!HH").pack


class _Doubt(NamedTuple):
    """A client's segment that the server may not accept. rank: a higher one is more likely to reach the server."""

    rank: int
    seq: int
    ack: int
    payload: bytes
    fin: bool


def _rank(doubt: _Doubt) -> int:
    return doubt.rank


def key_of(segment: Segment, from_client: bool) -> bytes:
    """The key of a connection: client's and server's packed addresses, then their ports, big-endian."""
    if from_client:
        return segment.src + segment.dst + _ports(segment.sport, segment.dport)
    return segment.dst + segment.src + _ports(segment.dport, segment.sport)


class Session:
    """A connection from `client` to `server` (packed addresses) with the key `key` (`key_of`).

    `start`, `last`: seconds, the caller's clock. `from_start`: the SYN was seen. `certain`: it did not end with a
    reset that the server may not have accepted.
    """

    __slots__ = (
        "_begun",
        "_client_fin",
        "_client_stream",
        "_doubts",
        "_first",
        "_limits",
        "_tls_volume",
        "_turnaround",
        "_sent",
        "_server_fin",
        "_server_stream",
        "_stage",
        "_sums",
        "_syn_seq",
        "_ttl",
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

    def __init__(self, first: Segment, time: float, limits: Limits, from_client: bool) -> None:
        self.key = key_of(first, from_client)
        self.start = self.last = time
        self.from_start = bool(first.flags & SYN)
        self.phase: Phase = TRYING if self.from_start and from_client else OPEN
        self.spoken = False  # any payload, either way
        self.closed = False  # nothing more will come
        self.ahead = False  # the client acknowledges bytes of the server that were not seen
        self.certain = True
        self._stage = _ATTEMPT if self.phase == TRYING else _MIDWAY
        self._syn_seq = _UNSEEN
        self._first = -1  # the number of the server's first byte, or of the first that was seen
        self._sent = 0  # bytes from there to the last one seen
        self._ttl = 0
        self._sums = UNSEEN  # the checksum of the client's SYN
        self._doubts: tuple[_Doubt, ...] = ()
        self._client_fin = self._server_fin = False
        self._tls_volume: TlsVolume | None = None  # once a ClientHello was seen
        self._turnaround: Turnaround | None = None  # from the server's SYN-ACK on, until it is reported
        self._limits = limits
        self._begun = False
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
        if not self._begun:
            return 0
        kept = self._client_stream.waiting + self._server_stream.waiting + self.dialogue.buffered
        return kept + sum(len(doubt.payload) for doubt in self._doubts) if self._doubts else kept

    @property
    def established(self) -> bool:
        """Whether both ends have completed the handshake: SYN, an answer to it, and a client that got the answer."""
        return self._stage == _ESTABLISHED

    @property
    def two_sided(self) -> bool:
        """Whether the client has answered what the server sent, though the beginning may not have been seen."""
        return self._stage in (_ESTABLISHED, _JOINED)

    @property
    def answered(self) -> bool:
        """Whether the server has sent anything."""
        return self._stage != _ATTEMPT

    @property
    def reach(self) -> tuple[bool, int]:
        """How likely the server has received its SYN, to compare two connections."""
        return self._sums == RIGHT, self._ttl

    @property
    def judges_sums(self) -> bool:
        """Whether the checksums of the client's segments matter: if that of its SYN is plausible."""
        return self._sums in (RIGHT, PARTIAL)

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
        return self.ahead or bool(self._doubts) or (dialogue.mode == HELD and dialogue.holds)

    @property
    def unreadable(self) -> str:
        """Why the client's commands cannot be read; "" if they can, or if the server has agreed to TLS."""
        if not self._begun:
            return ""
        if self._client_stream.conflict:
            return "overlapping data"
        dialogue = self.dialogue
        if dialogue.mode not in (HANDSHAKE, OPAQUE) or (dialogue.facts.tls and not dialogue.facts.unagreed):
            return ""
        return "neither SMTP nor TLS that the server agreed to"

    def is_new_attempt(self, segment: Segment) -> bool:
        """Whether this SYN begins a new connection with the same addresses and ports."""
        if segment.flags & (SYN | ACK) != SYN:
            return False
        if self._began_with(segment.seq):  # a retransmission, except after an orderly end
            return self.closed and self._stage == _ESTABLISHED
        return self.closed or self.spoken or self._syn_seq != _UNSEEN or self._stage >= _MIDWAY

    def answers(self, segment: Segment) -> bool:
        """Whether this segment of the server acknowledges the client's SYN, which may carry data (RFC 7413)."""
        if not segment.flags & ACK or self._syn_seq == _UNSEEN:
            return False
        data = len(self._doubts[0].payload) if self._doubts else 0
        return 0 < (segment.ack - self._isn) & _MASK <= 1 + data

    @property
    def _isn(self) -> int:
        """The client's initial sequence number, after a SYN was seen."""
        if self._syn_seq != _IN_STREAM:
            return self._syn_seq
        return (self._client_stream.next - self._client_stream.position - 1) & _MASK

    def _began_with(self, seq: int) -> bool:
        """Whether the client's first SYN had this sequence number."""
        return self._client_stream.syn(seq) if self._syn_seq == _IN_STREAM else seq == self._syn_seq

    def segment(self, segment: Segment, time: float, from_client: bool) -> None:
        """Takes one segment. `phase` and `dialogue` then say what happened."""
        self.last = time
        if self.closed and self.dialogue.dismissed:
            return
        flags = segment.flags
        if not (self._client_sent(segment) if from_client else self._server_sent(segment)):
            return
        if not self._begun:
            self._begin()
        if not from_client:
            self.dialogue.server_seen = True
        if flags & RST:
            self._reset(segment, from_client)
            return
        if self.dialogue.mode == OPAQUE:
            self._in_opaque(segment, from_client)
        else:
            self._read(segment, from_client)
            if self.dialogue.dismissed and not (self.closed or self._client_stream.waiting):
                self._close(CLOSED)
                return
        if flags & FIN:
            self._fin(from_client)
        elif self._client_fin and self._server_fin:
            self._close_if_complete()

    def _read(self, segment: Segment, from_client: bool) -> None:
        """Passes what a segment acknowledges and carries to the dialogue."""
        if from_client:
            mine, other = self._client_stream, self._server_stream
        else:
            mine, other = self._server_stream, self._client_stream
        flags, payload = segment.flags, segment.payload
        if self._turnaround is not None:
            self._time(segment, self._turnaround, from_client)
        if flags & ACK:
            if self._doubts and not from_client:
                self._settle_doubts(segment.ack)
            # If the numbers are equal `acknowledged` would find nothing missing.
            gone = other.acknowledged(segment.ack) if segment.ack != other.next else None
            if gone:
                self._pass(gone, not from_client)
        if not (payload or segment.cut or flags & FIN):
            return
        seq = (segment.seq + 1) & _MASK if flags & SYN else segment.seq
        had = mine.conflict
        chunks = mine.feed(seq, payload, segment.cut, flags & FIN != 0)
        if payload:
            self.spoken = True
            if self.phase == TRYING and not from_client:
                self.phase = OPEN
        if chunks:
            self._pass(chunks, from_client)
        if mine.conflict and not had:
            self.dialogue.violate("overlapping-data")

    def _time(self, segment: Segment, turnaround: Turnaround, from_client: bool) -> None:
        """When a segment passes, which has not been read yet."""
        size = len(segment.payload) + segment.cut
        stream = self._client_stream if from_client else self._server_stream
        new = 0 < (segment.seq + size - stream.next) & _MASK <= FARTHEST
        if not from_client:
            if size:
                turnaround.sent(self.last, not new)
        elif not size:
            if self.established and not segment.flags & FIN and segment.ack == self._sent_up_to:
                turnaround.acknowledged(self.last)
        elif new:
            self._time_client(segment.ack, turnaround)

    def _time_client(self, ack: int, turnaround: Turnaround) -> None:
        """New data of the client passes. An answer acknowledges all that was sent, and nothing else waits."""
        if not (self.established and ack == self._sent_up_to and self.dialogue.answered):
            turnaround.spoke()
            return
        turnaround.answered(self.last)
        if turnaround.enough:
            self._report_turnaround()

    @property
    def _sent_up_to(self) -> int:
        """The number after the server's last byte that was seen."""
        return (self._first + self._sent) & _MASK

    def _report_turnaround(self) -> None:
        """Reports it, once."""
        turnaround, self._turnaround = self._turnaround, None
        milliseconds = turnaround.milliseconds if turnaround is not None else None
        if turnaround is not None and milliseconds is not None:
            self.dialogue.timed(turnaround.turns, turnaround.ahead, milliseconds)

    def _in_opaque(self, segment: Segment, from_client: bool) -> None:
        """A segment that is not read: only the numbers of its FIN count, for the bytes that passed in TLS."""
        if segment.payload:
            self.spoken = True
        if segment.flags & FIN and self._tls_volume is not None:
            if from_client:
                self._tls_volume.fin(segment.seq + len(segment.payload) + segment.cut)
            elif segment.flags & ACK:
                self._tls_volume.server_fin(segment.ack)

    def _fin(self, from_client: bool) -> None:
        if from_client:
            self._client_fin = True
        else:
            self._server_fin = True
        if self._client_fin and self._server_fin:
            self._close_if_complete()

    def _close_if_complete(self) -> None:
        """Both FINs were seen. A FIN may overtake data, unless that need not be seen."""
        if self.closed:
            return
        dialogue = self.dialogue
        if dialogue.mode == OPAQUE or (
            self._server_stream.finished and (self._client_stream.finished or dialogue.unneeded or dialogue.resuming)
        ):
            self._close(CLOSED)

    def goes_on(self, time: float, from_client: bool, seq: int, ack: int, ttl: int, payload: bytes) -> bool:
        """`segment` for the next segment of an established dialogue, in as few steps as possible.

        It must be a complete segment with a payload and an acknowledgement, without SYN, FIN and RST; a client's has a
        right checksum, or its checksum does not matter. Call it only for established connections. False if `segment`
        must look closer; then nothing has changed. Otherwise only `dialogue.buffered` bytes are kept.
        """
        dialogue, client, server = self.dialogue, self._client_stream, self._server_stream
        if self.closed or self._doubts or self._client_fin or self._server_fin or dialogue.mode == OPAQUE:
            return False
        if from_client:
            if (
                ack != server.next
                or (ack - self._first) & _MASK > self._sent
                or ttl < self._ttl
                or server.waiting
                or not client.goes_on(seq, payload)
            ):
                return False
            self.last = time
            self.spoken = True
            if self._turnaround is not None:
                self._time_client(ack, self._turnaround)
            dialogue.client(payload)
        else:
            if ack != client.next or client.waiting or not server.goes_on(seq, payload):
                return False
            sent = (seq + len(payload) - self._first) & _MASK
            if self._sent < sent <= FARTHEST:
                self._sent = sent
            self.last = time
            self.spoken = True
            if self._turnaround is not None:
                self._turnaround.sent(time, False)
            dialogue.server(payload)
        if dialogue.mode == OPAQUE:
            self._read_no_further()
        elif dialogue.dismissed:
            self._close(CLOSED)
        return True

    # ── what an end accepts ─────────────────────────────────────────────────────────────────────

    def _client_syn(self, segment: Segment) -> None:
        """A SYN of the client. One with other numbers than the first is ignored here (see `is_new_attempt`)."""
        if segment.flags & (ACK | FIN | RST):
            return
        if self._syn_seq == _UNSEEN:
            if self._stage != _ATTEMPT:
                return
            self._syn_seq = segment.seq
            self._sums = segment.checksum
        elif not self._began_with(segment.seq):
            return
        if self._stage == _MIDWAY:
            self._stage = _ANSWERED  # its answer was seen before it
        # The one of them that the server is most likely to have accepted.
        self._ttl = max(self._ttl, segment.ttl)
        if segment.checksum == RIGHT:
            self._sums = RIGHT
        if segment.payload and not self._doubts and self._stage == _ATTEMPT:
            self._doubts = (_Doubt(-1, (segment.seq + 1) & _MASK, 0, segment.payload[:DOUBT_BYTES], False),)

    def _client_sent(self, segment: Segment) -> bool:
        """Takes note of a segment of the client's. False where there is nothing in it to read now."""
        flags = segment.flags
        if flags & SYN:
            self._client_syn(segment)
            return False
        if (
            self._stage == _ESTABLISHED  # the ordinary case, without a call
            and flags & ACK
            and (segment.ack - self._first) & _MASK <= self._sent
            and segment.ttl >= self._ttl
            and segment.checksum < PARTIAL
        ):
            return True
        return self._takes(segment)

    def _takes(self, segment: Segment) -> bool:
        """Whether the server accepts this segment of the client, which is not a SYN. A doubtful one waits."""
        flags, stage, checksum = segment.flags, self._stage, segment.checksum
        if segment.ttl < self._ttl or checksum == WRONG or (checksum == PARTIAL and self._sums == RIGHT):
            self._doubt(segment, 0 if checksum in (WRONG, PARTIAL) else segment.ttl)
            return False
        if stage == _ATTEMPT:
            if flags & RST and not self._begun:
                # The owner of the address resets what it did not begin, or the client has given up: no answer.
                if segment.seq == (self._isn + 1) & _MASK:
                    self._close(RESET)
                return False
            return True
        if not flags & ACK:
            return flags & RST != 0
        beyond = (segment.ack - self._first) & _MASK if self._first >= 0 else 0
        if beyond > self._sent:
            if stage == _ANSWERED:
                self._doubt(segment, 1)
                return False
            self.ahead = segment.payload != b""
            return beyond <= self._sent + _UNSEEN_BYTES or self.dialogue.mode == OPAQUE
        if stage == _ANSWERED:
            if (segment.seq - self._isn - 1) & _MASK > FARTHEST:
                return False
            self._stage = _ESTABLISHED
        elif beyond and stage == _MIDWAY:
            self._stage = _JOINED
        return True

    def _server_sent(self, segment: Segment) -> bool:
        """Notes the numbers of a segment of the server. False if there is nothing in it to read."""
        flags = segment.flags
        if self._first >= 0 and not flags & (SYN | RST):  # the ordinary case
            sent = (segment.seq + len(segment.payload) + segment.cut + (flags & FIN) - self._first) & _MASK
            if self._sent < sent <= FARTHEST:
                self._sent = sent
            return True
        if flags & SYN:
            return self._server_syn(segment)
        if flags & RST and not self._begun and self._stage == _ATTEMPT:
            if self.answers(segment):
                self._close(REFUSED)
            return False
        if self._first < 0 and self._stage != _ATTEMPT:
            self._first = segment.seq
            self._sent = len(segment.payload) + segment.cut + (flags & FIN)
        return True

    def _server_syn(self, segment: Segment) -> bool:
        """As `_server_sent`, of a SYN."""
        if self._stage <= _ANSWERED and self._first != (segment.seq + 1) & _MASK:
            if not self.answers(segment):
                return False
            # What was read before was not sent to this server.
            if self._begun:
                self._syn_seq = self._isn & _MASK
            self._begin()
            self._turnaround = Turnaround(self.last)
            self._stage = _ANSWERED
            self.closed = False
            self.phase = OPEN
        elif self._stage == _MIDWAY and self._first < 0:
            if not self._begun:
                if self._syn_seq == _UNSEEN and segment.flags & ACK:
                    self._syn_seq = (segment.ack - 1) & _MASK
                self._begin()
        else:
            if self._turnaround is not None and not self._turnaround.turns:
                self._turnaround.sent(self.last, again=True)
            return not self._begun or self._server_stream.syn(segment.seq)
        self._first = (segment.seq + 1) & _MASK
        self._server_stream.syn(segment.seq)
        return True

    def _acknowledge(self, ack: int) -> None:
        """The client's number in a copy that the server has accepted is right, too."""
        if self._first >= 0 and (ack - self._first) & _MASK <= self._sent:
            if self._stage == _ANSWERED:
                self._stage = _ESTABLISHED
            elif self._stage == _MIDWAY and ack != self._first:
                self._stage = _JOINED
        gone = self._server_stream.acknowledged(ack)
        if gone:
            self._pass(gone, False)

    def _doubt(self, segment: Segment, rank: int) -> None:
        """This may be a decoy. It is read if the server acknowledges it and no better copy has come by then."""
        flags, payload = segment.flags, segment.payload
        if flags & RST or not (payload or flags & FIN) or segment.cut or self.dialogue.mode == OPAQUE:
            return
        doubt = _Doubt(rank, segment.seq, segment.ack, payload, flags & FIN != 0)
        doubts = list(self._doubts)
        for at, other in enumerate(doubts):
            if other.rank == rank and (other.seq + len(other.payload)) & _MASK == doubt.seq and not other.fin:
                doubts[at] = doubt._replace(seq=other.seq, payload=other.payload + payload)
                break
        else:
            doubts.append(doubt)
        doubts.sort(key=_rank, reverse=True)
        while len(doubts) > DOUBTS or sum(len(copy.payload) for copy in doubts) > DOUBT_BYTES:
            doubts.pop()
        self._doubts = tuple(doubts)

    def _settle_doubts(self, ack: int) -> None:
        """The server has acknowledged everything before `ack`. Among copies the longest one is read first."""
        doubts, self._doubts = self._doubts, ()
        stream = self._client_stream
        had = stream.conflict
        for doubt in doubts:
            end = doubt.seq + len(doubt.payload)
            if (ack - end) & _MASK > FARTHEST:
                self._doubts += (doubt,)
                continue
            new = (end - stream.next) & _MASK
            fin = doubt.fin and not (doubt.payload and not new) and (ack - end - 1) & _MASK <= FARTHEST
            if new > FARTHEST or not (new or fin):  # another copy was faster: only to compare them
                stream.feed(doubt.seq, doubt.payload)
                continue
            # It was this copy that the server accepted.
            self.spoken = True
            if doubt.rank >= 0:
                self._acknowledge(doubt.ack)
            self._client_fin = self._client_fin or fin
            chunks = stream.feed(doubt.seq, doubt.payload, 0, fin)
            if chunks:
                self._pass(chunks, True)
        if stream.conflict and not had:
            self.dialogue.violate("overlapping-data")

    def _begin(self) -> None:
        """More than an attempt: from here on there is something to read."""
        self._begun = True
        self._client_stream = Stream()
        self._server_stream = Stream()
        if self._syn_seq >= 0:
            self._client_stream.syn(self._syn_seq)
            self._syn_seq = _IN_STREAM
        self.dialogue = Dialogue(self._limits, greeting_expected=self.from_start)

    def _reset(self, segment: Segment, from_client: bool) -> None:
        acknowledges = segment.flags & ACK
        # A server takes a reset of the very next number and no other (RFC 5961 section 3).
        self.certain = not from_client or segment.seq == self._client_stream.next
        if self._tls_volume is not None and from_client and acknowledges:
            self._tls_volume.reset(segment.seq)
        if self.dialogue.unneeded and (from_client or acknowledges):
            self._left_out(segment.seq if from_client else segment.ack)
        if not self.closed:
            self._close(RESET)

    def _left_out(self, upto: int) -> None:
        """Content that need not be seen ends with a reset at this sequence number: counts what passed before it.

        The stream is not changed, because a reset may be forged.
        """
        stream = self._client_stream
        size = (upto - stream.next) & 0xFFFFFFFF
        if 0 < size <= FARTHEST and stream.started and stream.end < 0:
            self.dialogue.client_gap(size)

    def _pass(self, chunks: list[Chunk], from_client: bool) -> None:
        dialogue = self.dialogue
        for chunk in chunks:
            if isinstance(chunk, int):
                if from_client:
                    dialogue.client_gap(chunk)
                else:
                    dialogue.server_gap(chunk)
            elif from_client:
                dialogue.client(chunk)
            else:
                dialogue.server(chunk)
        if dialogue.mode == OPAQUE:
            self._read_no_further()

    def _read_no_further(self) -> None:
        """The dialogue has become opaque: counts what passes in TLS, and drops what was kept."""
        self._report_turnaround()
        dialogue = self.dialogue
        if dialogue.facts.client_hello is not None and self._tls_volume is None and not self.closed:
            stream = self._client_stream
            self._tls_volume = TlsVolume(stream.next - dialogue.facts.after_hello)
            if stream.end >= 0:
                self._tls_volume.fin(stream.end)
        self._doubts = ()
        self._client_stream.drop()
        self._server_stream.drop()

    def stop_reading(self, reason: str) -> None:
        """Nothing more of this connection is read; drops what was kept."""
        if not self._begun:
            self._begin()
        if self.dialogue.mode != OPAQUE:
            self.dialogue.become_opaque(reason)
        self._doubts = ()
        self._client_stream.drop()
        self._server_stream.drop()

    def give_up(self) -> None:
        """Silent for a long time: an unanswered attempt counts as lost, anything else as closed."""
        if not self.closed:
            self._close(LOST if self.phase == TRYING else CLOSED)

    def end_of_input(self) -> None:
        """Nothing more will be seen, although the connection may continue."""
        if not self._begun:
            return
        self._flush()
        self._report_turnaround()
        self._report_tls_volume()
        self.dialogue.close(closed=self._client_fin or self._server_fin or self.closed)

    def _close(self, phase: Phase) -> None:
        self.phase = phase
        self.closed = True
        if not self._begun:
            return
        self._flush()
        self._report_turnaround()
        self._report_tls_volume()
        self.dialogue.close(closed=True)

    def _report_tls_volume(self) -> None:
        """The end of a connection in TLS: reports how much passed, once."""
        if self._tls_volume is not None:
            if self._tls_volume.size is not None:
                self.dialogue.tls_ended(self._tls_volume.size)
            self._tls_volume = None

    def _flush(self) -> None:
        self._doubts = ()
        for stream, from_client in ((self._client_stream, True), (self._server_stream, False)):
            self._pass(stream.flush(), from_client)
