"""What is measured of a connection besides its dialogue: the client's turnaround, and bytes that pass unread.

Knows when segments pass, and their numbers. Must not know what they carry. Changes the session that it is given.
"""

from __future__ import annotations

from cpe_filter.inspect.packet import ACK, FIN, Segment
from cpe_filter.inspect.session_state import MASK, SessionState
from cpe_filter.inspect.stream import FARTHEST
from cpe_filter.inspect.tls_volume import TlsVolume
from cpe_filter.inspect.turnaround import Turnaround


def time_segment(session: SessionState, segment: Segment, turnaround: Turnaround, from_client: bool) -> None:
    """When a segment passes, which has not been read yet."""
    size = len(segment.payload) + segment.cut
    stream = session.client_stream if from_client else session.server_stream
    new = 0 < (segment.seq + size - stream.next) & MASK <= FARTHEST
    if not from_client:
        if size:
            turnaround.sent(session.last, not new)
    elif not size:
        if session.established and not segment.flags & FIN and segment.ack == session.sent_up_to:
            turnaround.acknowledged(session.last)
    elif new:
        time_client(session, segment.ack, turnaround)


def time_client(session: SessionState, ack: int, turnaround: Turnaround) -> None:
    """New data of the client passes. An answer acknowledges all that was sent, and nothing else waits."""
    if not (session.established and ack == session.sent_up_to and session.dialogue.answered):
        turnaround.spoke()
        return
    turnaround.answered(session.last)
    if turnaround.enough:
        report_turnaround(session)


def report_turnaround(session: SessionState) -> None:
    """Reports it, once."""
    turnaround, session.turnaround = session.turnaround, None
    milliseconds = turnaround.milliseconds if turnaround is not None else None
    if turnaround is not None and milliseconds is not None:
        session.dialogue.timed(turnaround.turns, turnaround.ahead, milliseconds)


def pass_unread(session: SessionState, segment: Segment, from_client: bool) -> None:
    """A segment that is not read: only the numbers of its FIN count, for the bytes that passed in TLS."""
    if segment.payload:
        session.spoken = True
    if segment.flags & FIN and session.tls_volume is not None:
        if from_client:
            session.tls_volume.fin(segment.seq + len(segment.payload) + segment.cut)
        elif segment.flags & ACK:
            session.tls_volume.server_fin(segment.ack)


def report_tls_volume(session: SessionState) -> None:
    """The end of a connection in TLS: reports how much passed, once."""
    if session.tls_volume is not None:
        if session.tls_volume.size is not None:
            session.dialogue.tls_ended(session.tls_volume.size)
        session.tls_volume = None


def read_no_further(session: SessionState) -> None:
    """The dialogue has become opaque: counts what passes in TLS, and drops what was kept."""
    report_turnaround(session)
    dialogue = session.dialogue
    if dialogue.facts.client_hello is not None and session.tls_volume is None and not session.closed:
        stream = session.client_stream
        session.tls_volume = TlsVolume(stream.next - dialogue.facts.after_hello)
        if stream.end >= 0:
            session.tls_volume.fin(stream.end)
    session.doubts = ()
    session.client_stream.drop()
    session.server_stream.drop()


def count_left_out(session: SessionState, upto: int) -> None:
    """Content that need not be seen ends with a reset at this sequence number: counts what passed before it.

    The stream is not changed, because a reset may be forged.
    """
    stream = session.client_stream
    size = (upto - stream.next) & 0xFFFFFFFF
    if 0 < size <= FARTHEST and stream.started and stream.end < 0:
        session.dialogue.client_gap(size)
