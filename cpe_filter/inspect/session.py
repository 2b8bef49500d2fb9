"""One TCP connection to a mail port, watched: segments of both directions in, facts out.

Knows how streams and the dialogue fit together, and which segments an end accepts. Must not know devices, policy or
clocks: the caller passes the time.

Any host in the home can send packets with a neighbour's addresses, and packets of its own that only we see. Hence two
rules. First, `established` needs knowledge that only an end has which was answered: the client acknowledges bytes of
the server after the random number that the server chose. Second, a client's segment is read if the server accepts it:
it acknowledges what the server sent, and has the TTL of the SYN and a right checksum (`acceptance`). A segment with
another TTL or checksum waits until the server acknowledges it; then it is read, unless other bytes have replaced it.
"""

from __future__ import annotations

from cpe_filter.inspect.acceptance import is_accepted, settle_doubts, take_client_syn, take_server_syn
from cpe_filter.inspect.packet import ACK, FIN, PARTIAL, RST, SYN, Segment
from cpe_filter.inspect.passing import (
    count_left_out,
    pass_unread,
    read_no_further,
    report_tls_volume,
    report_turnaround,
    time_client,
    time_segment,
)
from cpe_filter.inspect.phases import CLOSED, ENDS, EVERYTHING, LOST, NOTHING, OPEN, REFUSED, REPLIES, RESET, TRYING
from cpe_filter.inspect.session_state import (
    ATTEMPT,
    ESTABLISHED,
    IN_STREAM,
    MASK,
    SessionState,
    key_of,
)
from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.inspect.states import OPAQUE
from cpe_filter.inspect.stream import FARTHEST, Chunk, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.inspect.phases import Phase, Visibility

__all__ = [
    "CLOSED",
    "ENDS",
    "EVERYTHING",
    "LOST",
    "NOTHING",
    "OPEN",
    "REFUSED",
    "REPLIES",
    "RESET",
    "TRYING",
    "Phase",
    "Session",
    "Visibility",
    "key_of",
]


class Session(SessionState):
    """A connection from `client` to `server`. Feed it with `segment`, end with `give_up` or `end_of_input`."""

    __slots__ = ()

    def segment(self, segment: Segment, time: float, from_client: bool) -> None:
        """Takes one segment. `phase` and `dialogue` then say what happened."""
        self.last = time
        if self.closed and self.dialogue.dismissed:
            return
        flags = segment.flags
        if not (self._client_sent(segment) if from_client else self._server_sent(segment)):
            return
        if not self.begun:
            self.begin()
        if not from_client:
            self.dialogue.server_seen = True
        if flags & RST:
            self._reset(segment, from_client)
            return
        if self.dialogue.mode == OPAQUE:
            pass_unread(self, segment, from_client)
        else:
            self._read(segment, from_client)
            if self.dialogue.dismissed and not (self.closed or self.client_stream.waiting):
                self.close(CLOSED)
                return
        if flags & FIN:
            self._fin(from_client)
        elif self.client_fin and self.server_fin:
            self._close_if_complete()

    def _read(self, segment: Segment, from_client: bool) -> None:
        """Passes what a segment acknowledges and carries to the dialogue."""
        if from_client:
            mine, other = self.client_stream, self.server_stream
        else:
            mine, other = self.server_stream, self.client_stream
        flags, payload = segment.flags, segment.payload
        if self.turnaround is not None:
            time_segment(self, segment, self.turnaround, from_client)
        if flags & ACK:
            if self.doubts and not from_client:
                settle_doubts(self, segment.ack)
            # If the numbers are equal `acknowledged` would find nothing missing.
            gone = other.acknowledged(segment.ack) if segment.ack != other.next else None
            if gone:
                self.pass_on(gone, not from_client)
        if payload or segment.cut or flags & FIN:
            self._deliver(segment, mine, from_client)

    def _deliver(self, segment: Segment, mine: Stream, from_client: bool) -> None:
        """Passes what has become readable to the dialogue."""
        flags, payload = segment.flags, segment.payload
        seq = (segment.seq + 1) & MASK if flags & SYN else segment.seq
        had = mine.conflict
        chunks = mine.feed(seq, payload, segment.cut, flags & FIN != 0)
        if payload:
            self.spoken = True
            if self.phase == TRYING and not from_client:
                self.phase = OPEN
        if chunks:
            self.pass_on(chunks, from_client)
        if mine.conflict and not had:
            self.dialogue.violate("overlapping-data")

    def _fin(self, from_client: bool) -> None:
        if from_client:
            self.client_fin = True
        else:
            self.server_fin = True
        if self.client_fin and self.server_fin:
            self._close_if_complete()

    def _close_if_complete(self) -> None:
        """Both FINs were seen. A FIN may overtake data, unless that need not be seen."""
        if self.closed:
            return
        dialogue = self.dialogue
        if dialogue.mode == OPAQUE or (
            self.server_stream.finished and (self.client_stream.finished or dialogue.unneeded or dialogue.resuming)
        ):
            self.close(CLOSED)

    def client_goes_on(self, time: float, seq: int, ack: int, ttl: int, payload: bytes) -> bool:
        """`segment` for the client's next segment in an established dialogue, in as few steps as possible.

        It must be a complete segment with a payload and an acknowledgement, without SYN, FIN and RST, whose checksum is
        right or does not matter. Call it only for established connections. False if `segment` must look closer; then
        nothing has changed. Otherwise only `dialogue.buffered` bytes are kept.
        """
        dialogue, server = self.dialogue, self.server_stream
        if (
            self.closed
            or self.doubts
            or self.client_fin
            or self.server_fin
            or dialogue.mode == OPAQUE
            or ack != server.next
            or (ack - self.first) & MASK > self.sent
            or ttl < self.ttl
            or server.waiting
            or not self.client_stream.goes_on(seq, payload)
        ):
            return False
        self.last = time
        self.spoken = True
        if self.turnaround is not None:
            time_client(self, ack, self.turnaround)
        dialogue.client(payload)
        if dialogue.mode == OPAQUE:
            read_no_further(self)
        elif dialogue.dismissed:
            self.close(CLOSED)
        return True

    def server_goes_on(self, time: float, seq: int, ack: int, payload: bytes) -> bool:
        """The same for the server's next segment."""
        dialogue, client = self.dialogue, self.client_stream
        if (
            self.closed
            or self.doubts
            or self.client_fin
            or self.server_fin
            or dialogue.mode == OPAQUE
            or ack != client.next
            or client.waiting
            or not self.server_stream.goes_on(seq, payload)
        ):
            return False
        sent = (seq + len(payload) - self.first) & MASK
        if self.sent < sent <= FARTHEST:
            self.sent = sent
        self.last = time
        self.spoken = True
        if self.turnaround is not None:
            self.turnaround.sent(time, False)
        dialogue.server(payload)
        if dialogue.mode == OPAQUE:
            read_no_further(self)
        elif dialogue.dismissed:
            self.close(CLOSED)
        return True

    # ── what an end accepts ─────────────────────────────────────────────────────────────────────

    def _client_sent(self, segment: Segment) -> bool:
        """Takes note of a segment of the client's. False where there is nothing in it to read now."""
        flags = segment.flags
        if flags & SYN:
            take_client_syn(self, segment)
            return False
        if (
            self.stage == ESTABLISHED  # the ordinary case, without a call
            and flags & ACK
            and (segment.ack - self.first) & MASK <= self.sent
            and segment.ttl >= self.ttl
            and segment.checksum < PARTIAL
        ):
            return True
        return is_accepted(self, segment)

    def _server_sent(self, segment: Segment) -> bool:
        """Notes the numbers of a segment of the server. False if there is nothing in it to read."""
        flags = segment.flags
        if self.first >= 0 and not flags & (SYN | RST):  # the ordinary case
            sent = (segment.seq + len(segment.payload) + segment.cut + (flags & FIN) - self.first) & MASK
            if self.sent < sent <= FARTHEST:
                self.sent = sent
            return True
        if flags & SYN:
            return take_server_syn(self, segment)
        if flags & RST and not self.begun and self.stage == ATTEMPT:
            if self.answers(segment):
                self.close(REFUSED)
            return False
        if self.first < 0 and self.stage != ATTEMPT:
            self.first = segment.seq
            self.sent = len(segment.payload) + segment.cut + (flags & FIN)
        return True

    def begin(self) -> None:
        """More than an attempt: from here on there is something to read."""
        self.begun = True
        self.client_stream = Stream()
        self.server_stream = Stream()
        if self.syn_seq >= 0:
            self.client_stream.syn(self.syn_seq)
            self.syn_seq = IN_STREAM
        self.dialogue = Dialogue(self.limits, greeting_expected=self.from_start)

    def _reset(self, segment: Segment, from_client: bool) -> None:
        acknowledges = segment.flags & ACK
        # A server takes a reset of the very next number and no other (RFC 5961 section 3).
        self.certain = not from_client or segment.seq == self.client_stream.next
        if self.tls_volume is not None and from_client and acknowledges:
            self.tls_volume.reset(segment.seq)
        if self.dialogue.unneeded and (from_client or acknowledges):
            count_left_out(self, segment.seq if from_client else segment.ack)
        if not self.closed:
            self.close(RESET)

    def pass_on(self, chunks: list[Chunk], from_client: bool) -> None:
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
            read_no_further(self)

    def stop_reading(self, reason: str) -> None:
        """Nothing more of this connection is read; drops what was kept."""
        if not self.begun:
            self.begin()
        if self.dialogue.mode != OPAQUE:
            self.dialogue.become_opaque(reason)
        self.doubts = ()
        self.client_stream.drop()
        self.server_stream.drop()

    def give_up(self) -> None:
        """Silent for a long time: an unanswered attempt counts as lost, anything else as closed."""
        if not self.closed:
            self.close(LOST if self.phase == TRYING else CLOSED)

    def end_of_input(self) -> None:
        """Nothing more will be seen, although the connection may continue."""
        if not self.begun:
            return
        self._flush()
        report_turnaround(self)
        report_tls_volume(self)
        self.dialogue.close(closed=self.client_fin or self.server_fin or self.closed)

    def close(self, phase: Phase) -> None:
        self.phase = phase
        self.closed = True
        if not self.begun:
            return
        self._flush()
        report_turnaround(self)
        report_tls_volume(self)
        self.dialogue.close(closed=True)

    def _flush(self) -> None:
        self.doubts = ()
        for stream, from_client in ((self.client_stream, True), (self.server_stream, False)):
            self.pass_on(stream.flush(), from_client)
