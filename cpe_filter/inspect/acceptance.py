"""Which segments an end accepts: the handshake, and copies of a client's that the server may not accept.

Knows sequence numbers, TTLs and checksums. Must not know what segments carry. Changes the session that it is given; the
reasons are in `session`.
"""

from __future__ import annotations

from cpe_filter.inspect.packet import ACK, FIN, PARTIAL, RIGHT, RST, WRONG, Segment
from cpe_filter.inspect.phases import OPEN, RESET
from cpe_filter.inspect.session_state import (
    ANSWERED,
    ATTEMPT,
    ESTABLISHED,
    JOINED,
    MASK,
    MIDWAY,
    UNSEEN_SEQ,
    Doubt,
    SessionState,
)
from cpe_filter.inspect.states import OPAQUE
from cpe_filter.inspect.stream import FARTHEST
from cpe_filter.inspect.turnaround import Turnaround

#: How far a client may acknowledge beyond what was seen of the server, because some packets may be lost to us.
_UNSEEN_BYTES = 1 << 16
#: The most runs of segments that wait for the server's acknowledgement, and the most bytes of all.
DOUBTS, DOUBT_BYTES = 32, 8192


def _rank(doubt: Doubt) -> int:
    return doubt.rank


def take_client_syn(session: SessionState, segment: Segment) -> None:
    """A SYN of the client. One with other numbers than the first is ignored here (see `is_new_attempt`)."""
    if segment.flags & (ACK | FIN | RST):
        return
    if session.syn_seq == UNSEEN_SEQ:
        if session.stage != ATTEMPT:
            return
        session.syn_seq = segment.seq
        session.sums = segment.checksum
    elif not session.began_with(segment.seq):
        return
    if session.stage == MIDWAY:
        session.stage = ANSWERED  # its answer was seen before it
    # The one of them that the server is most likely to have accepted.
    session.ttl = max(session.ttl, segment.ttl)
    if segment.checksum == RIGHT:
        session.sums = RIGHT
    if segment.payload and not session.doubts and session.stage == ATTEMPT:
        session.doubts = (Doubt(-1, (segment.seq + 1) & MASK, 0, segment.payload[:DOUBT_BYTES], False),)


def is_accepted(session: SessionState, segment: Segment) -> bool:
    """Whether the server accepts this segment of the client, which is not a SYN. A doubtful one waits."""
    flags, stage, checksum = segment.flags, session.stage, segment.checksum
    if segment.ttl < session.ttl or checksum == WRONG or (checksum == PARTIAL and session.sums == RIGHT):
        keep_doubt(session, segment, 0 if checksum in (WRONG, PARTIAL) else segment.ttl)
        return False
    if stage == ATTEMPT:
        if flags & RST and not session.begun:
            # The owner of the address resets what it did not begin, or the client has given up: no answer.
            if segment.seq == (session.isn + 1) & MASK:
                session.close(RESET)
            return False
        return True
    if not flags & ACK:
        return flags & RST != 0
    return acknowledges(session, segment)


def acknowledges(session: SessionState, segment: Segment) -> bool:
    """Whether the server accepts what this segment of the client acknowledges. Notes how far the handshake has come."""
    stage = session.stage
    beyond = (segment.ack - session.first) & MASK if session.first >= 0 else 0
    if beyond > session.sent:
        if stage == ANSWERED:
            keep_doubt(session, segment, 1)
            return False
        session.ahead = segment.payload != b""
        return beyond <= session.sent + _UNSEEN_BYTES or session.dialogue.mode == OPAQUE
    if stage == ANSWERED:
        if (segment.seq - session.isn - 1) & MASK > FARTHEST:
            return False
        session.stage = ESTABLISHED
    elif beyond and stage == MIDWAY:
        session.stage = JOINED
    return True


def take_server_syn(session: SessionState, segment: Segment) -> bool:
    """As `_server_sent`, of a SYN."""
    if session.stage <= ANSWERED and session.first != (segment.seq + 1) & MASK:
        if not session.answers(segment):
            return False
        # What was read before was not sent to this server.
        if session.begun:
            session.syn_seq = session.isn & MASK
        session.begin()
        session.turnaround = Turnaround(session.last)
        session.stage = ANSWERED
        session.closed = False
        session.phase = OPEN
    elif session.stage == MIDWAY and session.first < 0:
        if not session.begun:
            if session.syn_seq == UNSEEN_SEQ and segment.flags & ACK:
                session.syn_seq = (segment.ack - 1) & MASK
            session.begin()
    else:
        if session.turnaround is not None and not session.turnaround.turns:
            session.turnaround.sent(session.last, again=True)
        return not session.begun or session.server_stream.syn(segment.seq)
    session.first = (segment.seq + 1) & MASK
    session.server_stream.syn(segment.seq)
    return True


def acknowledge(session: SessionState, ack: int) -> None:
    """The client's number in a copy that the server has accepted is right, too."""
    if session.first >= 0 and (ack - session.first) & MASK <= session.sent:
        if session.stage == ANSWERED:
            session.stage = ESTABLISHED
        elif session.stage == MIDWAY and ack != session.first:
            session.stage = JOINED
    gone = session.server_stream.acknowledged(ack)
    if gone:
        session.pass_on(gone, False)


def keep_doubt(session: SessionState, segment: Segment, rank: int) -> None:
    """This may be a decoy. It is read if the server acknowledges it and no better copy has come by then."""
    flags, payload = segment.flags, segment.payload
    if flags & RST or not (payload or flags & FIN) or segment.cut or session.dialogue.mode == OPAQUE:
        return
    doubt = Doubt(rank, segment.seq, segment.ack, payload, flags & FIN != 0)
    doubts = list(session.doubts)
    for at, other in enumerate(doubts):
        if other.rank == rank and (other.seq + len(other.payload)) & MASK == doubt.seq and not other.fin:
            doubts[at] = doubt._replace(seq=other.seq, payload=other.payload + payload)
            break
    else:
        doubts.append(doubt)
    doubts.sort(key=_rank, reverse=True)
    while len(doubts) > DOUBTS or sum(len(copy.payload) for copy in doubts) > DOUBT_BYTES:
        doubts.pop()
    session.doubts = tuple(doubts)


def settle_doubts(session: SessionState, ack: int) -> None:
    """The server has acknowledged everything before `ack`. Among copies the longest one is read first."""
    doubts, session.doubts = session.doubts, ()
    stream = session.client_stream
    had = stream.conflict
    for doubt in doubts:
        end = doubt.seq + len(doubt.payload)
        if (ack - end) & MASK > FARTHEST:
            session.doubts += (doubt,)
            continue
        new = (end - stream.next) & MASK
        fin = doubt.fin and not (doubt.payload and not new) and (ack - end - 1) & MASK <= FARTHEST
        if new > FARTHEST or not (new or fin):  # another copy was faster: only to compare them
            stream.feed(doubt.seq, doubt.payload)
            continue
        # It was this copy that the server accepted.
        session.spoken = True
        if doubt.rank >= 0:
            acknowledge(session, doubt.ack)
        session.client_fin = session.client_fin or fin
        chunks = stream.feed(doubt.seq, doubt.payload, 0, fin)
        if chunks:
            session.pass_on(chunks, True)
    if stream.conflict and not had:
        session.dialogue.violate("overlapping-data")
