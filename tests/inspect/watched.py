"""Packets of a connection through a `Session`, as the engine would hand them over.

Knows sessions and the packets of tests.build. Must not know devices or verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable

from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import Segment, parse
from cpe_filter.inspect.session import Session
from tests.build import Packet


def watch(packets: Iterable[Packet], session: Session | None = None) -> Session:
    """The session after these packets; without one, the first packet begins it."""
    for packet in packets:
        segment = parse(packet.data)
        assert isinstance(segment, Segment)
        session = session or Session(segment, packet.time, Limits(), packet.from_client)
        session.segment(segment, packet.time, packet.from_client)
    assert session is not None
    return session
