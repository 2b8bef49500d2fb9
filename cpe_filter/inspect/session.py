"""One TCP connection to a mail port, watched: segments of both directions in, facts out.

Knows how streams and the dialogue hang together. Must not know devices, policy or clocks: the caller says when.
"""

from __future__ import annotations

import struct

from cpe_filter.inspect.packet import ACK, FIN, RST, SYN, Segment
from cpe_filter.inspect.sealed import Sealed
from cpe_filter.inspect.smtp import COMMAND, OPAQUE, Dialogue, Limits
from cpe_filter.inspect.stream import FARTHEST, Chunk, Stream

# How far the connection got.
TRYING, OPEN, CLOSED, REFUSED, RESET, LOST = "trying", "open", "closed", "refused", "reset", "lost"
# What of it still has to be seen.
EVERYTHING, REPLIES, ENDS, NOTHING = "everything", "replies", "ends", "nothing"
#: In the place of a SYN's sequence number: none was seen; the client's stream has it.
_UNSEEN, _IN_STREAM = -1, -2
#: Of all connections in which nothing has been said: most attempts of a bot never get further, and shall cost little.
_SILENCE = Dialogue()
_ports = struct.Struct("!HH").pack


def key_of(segment: Segment, from_client: bool) -> bytes:
    """What names a connection: client's and server's packed addresses, then their ports, big-endian."""
    if from_client:
        return segment.src + segment.dst + _ports(segment.sport, segment.dport)
    return segment.dst + segment.src + _ports(segment.dport, segment.sport)


class Session:
    """A connection from `client` to `server` (packed addresses), of which `key` is made (`key_of`).

    `phase`: trying (SYN only), open, closed (FIN, or 221 to QUIT), refused (RST to the SYN), reset, lost (no answer).
    `start`, `last`: seconds, the caller's clock. `from_start`: the SYN was seen.
    """

    __slots__ = (
        "_begun",
        "_client_fin",
        "_client_stream",
        "_limits",
        "_sealed",
        "_server_fin",
        "_server_stream",
        "_syn_seq",
        "dialogue",
        "from_start",
        "key",
        "last",
        "over",
        "phase",
        "spoken",
        "start",
    )

    def __init__(self, first: Segment, time: float, limits: Limits, from_client: bool) -> None:
        self.key = key_of(first, from_client)
        self.start = self.last = time
        self.from_start = bool(first.flags & SYN)
        self.phase = TRYING if self.from_start and from_client else OPEN
        self.spoken = False  # any payload, either way
        self.over = False  # nothing more is to come
        self._syn_seq = _UNSEEN
        self._client_fin = self._server_fin = False
        self._sealed: Sealed | None = None  # once a ClientHello was seen
        self._limits = limits
        self._begun = False
        self.dialogue = _SILENCE

    # Who talks is in the key alone: four attributes more would take a hundred bytes of each connection.

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
        """Bytes of the wire that are kept because something before them, or a reply to them, is still to come."""
        if not self._begun:
            return 0
        return self._client_stream.waiting + self._server_stream.waiting + self.dialogue.buffered

    @property
    def wants(self) -> str:
        """What must still be seen: `EVERYTHING`; `REPLIES`, of the client FIN and RST alone, until the server's next

        reply; `ENDS`, FIN and RST of both; `NOTHING`. More may be shown, and what may be left out may be lost.
        """
        dialogue = self.dialogue
        if self.over and dialogue.dismissed:
            return NOTHING
        if dialogue.mode == COMMAND:
            return EVERYTHING
        if dialogue.mode == OPAQUE:
            return ENDS
        return REPLIES if dialogue.unneeded and not self.over else EVERYTHING

    def is_new_attempt(self, segment: Segment) -> bool:
        """Whether this SYN begins another connection with the same addresses and ports."""
        return (
            segment.flags & (SYN | ACK) == SYN
            and not self._began_with(segment.seq)
            and (self.over or self.spoken or self._syn_seq != _UNSEEN)
        )

    def _began_with(self, seq: int) -> bool:
        """Whether the client's first SYN had this sequence number."""
        return self._client_stream.syn(seq) if self._syn_seq == _IN_STREAM else seq == self._syn_seq

    def segment(self, segment: Segment, time: float, from_client: bool) -> None:
        """Takes one segment. What happened is found in `phase` and in `dialogue`."""
        self.last = time
        if self.over and self.dialogue.dismissed:
            return
        flags = segment.flags
        if not self._begun:
            if from_client and flags & (SYN | ACK | FIN | RST) == SYN and not (segment.payload or segment.cut):
                if self._syn_seq == _UNSEEN:
                    self._syn_seq = segment.seq
                return
            if flags & RST and self.phase == TRYING:
                self._over(REFUSED)
                return
            self._begin()
        dialogue = self.dialogue
        if from_client:
            mine, other = self._client_stream, self._server_stream
        else:
            mine, other = self._server_stream, self._client_stream
            dialogue.server_seen = True
        if flags & (SYN | RST):
            if flags & SYN:
                self._syn(segment, from_client)
            if flags & RST:
                self._reset(segment, from_client)
                return
        if dialogue.mode == OPAQUE:
            if segment.payload:
                self.spoken = True
            if flags & FIN and self._sealed is not None:
                if from_client:
                    self._sealed.fin(segment.seq + len(segment.payload) + segment.cut)
                elif flags & ACK:
                    self._sealed.server_fin(segment.ack)
        else:
            if flags & ACK and segment.ack != other.next:
                gone = other.acknowledged(segment.ack)
                if gone:
                    self._pass(gone, not from_client)
            if segment.payload or segment.cut or flags & FIN:
                seq = (segment.seq + 1) & 0xFFFFFFFF if flags & SYN else segment.seq
                had = mine.conflict
                chunks = mine.feed(seq, segment.payload, segment.cut, flags & FIN != 0)
                if segment.payload:
                    self.spoken = True
                    if self.phase == TRYING and not from_client:
                        self.phase = OPEN
                if chunks:
                    self._pass(chunks, from_client)
                if mine.conflict and not had:
                    dialogue.violate("overlapping-data")
            if dialogue.dismissed and not (self.over or self._client_stream.waiting):
                self._over(CLOSED)
                return
        if flags & FIN:
            if from_client:
                self._client_fin = True
            else:
                self._server_fin = True
        if self._client_fin and self._server_fin and not self.over and self._complete():
            self._over(CLOSED)

    def _begin(self) -> None:
        """More than an attempt: from here on there is something to read."""
        self._begun = True
        self._client_stream = Stream()
        self._server_stream = Stream()
        if self._syn_seq >= 0:
            self._client_stream.syn(self._syn_seq)
            self._syn_seq = _IN_STREAM
        self.dialogue = Dialogue(self._limits, greeting_expected=self.from_start)

    def _complete(self) -> bool:
        """Whether all before both FINs has arrived: a FIN may overtake data. What need not be seen nobody waits for."""
        dialogue = self.dialogue
        if dialogue.mode == OPAQUE:
            return True
        return self._server_stream.finished and (self._client_stream.finished or dialogue.unneeded or dialogue.resuming)

    def _syn(self, segment: Segment, from_client: bool) -> None:
        if from_client:
            first = self._client_stream.syn(segment.seq)
            if self._syn_seq == _UNSEEN:
                self._syn_seq = _IN_STREAM if first else segment.seq
        else:
            self._server_stream.syn(segment.seq)
            if self.phase == TRYING:
                self.phase = OPEN

    def _reset(self, segment: Segment, from_client: bool) -> None:
        acknowledges = segment.flags & ACK
        if self._sealed is not None and from_client and acknowledges:
            self._sealed.reset(segment.seq)
        if self.dialogue.unneeded and (from_client or acknowledges):
            self._left_out(segment.seq if from_client else segment.ack)
        if self.phase == TRYING:
            self._over(REFUSED)
        elif not self.over:
            self._over(RESET)

    def _left_out(self, upto: int) -> None:
        """Content that need not be seen ends with a reset at this sequence number: what went by before it is counted.

        The stream stays where it is: a reset may be forged.
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
            if dialogue.client_hello is not None and self._sealed is None and not self.over:
                stream = self._client_stream
                self._sealed = Sealed(stream.next - dialogue.after_hello)
                if stream.end >= 0:
                    self._sealed.fin(stream.end)
            self._client_stream.drop()
            self._server_stream.drop()

    def stop_reading(self, reason: str) -> None:
        """Nothing more of this connection is read, and what was kept of it goes."""
        if not self._begun:
            self._begin()
        if self.dialogue.mode != OPAQUE:
            self.dialogue.become_opaque(reason)
        self._client_stream.drop()
        self._server_stream.drop()

    def give_up(self) -> None:
        """No sign of life for long: an unanswered attempt is lost, anything else is taken as closed."""
        if not self.over:
            self._over(LOST if self.phase == TRYING else CLOSED)

    def end_of_input(self) -> None:
        """Nothing more will be seen, though the connection may live on."""
        if not self._begun:
            return
        self._flush()
        self._tell_sealed()
        self.dialogue.close(closed=self._client_fin or self._server_fin or self.over)

    def _over(self, phase: str) -> None:
        self.phase = phase
        self.over = True
        if not self._begun:
            return
        self._flush()
        self._tell_sealed()
        self.dialogue.close(closed=True)

    def _tell_sealed(self) -> None:
        """The end of a connection in TLS: how much went through it. Only once."""
        if self._sealed is not None:
            if self._sealed.size is not None:
                self.dialogue.seal(self._sealed.size)
            self._sealed = None

    def _flush(self) -> None:
        for stream, from_client in ((self._client_stream, True), (self._server_stream, False)):
            self._pass(stream.flush(), from_client)
