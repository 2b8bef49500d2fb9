"""The IP packets of captures, for tests that begin with packets."""

from __future__ import annotations

from cpe_filter.replay.capture import Frame
from cpe_filter.replay.layers import Layers


def network_layer(frame: Frame) -> tuple[bytes | None, bytes] | None:
    """The sender's MAC (None if the link has none) and the IP packet of a frame; None if it has none."""
    found = Layers().packet(frame)
    return (found.hwaddr, found.data) if found else None
