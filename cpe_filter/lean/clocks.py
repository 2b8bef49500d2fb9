"""The four clocks, as types: a time of one must not be used as a time of another.

They cost nothing at run time, because only mypy sees the types. Each is a number of seconds, so a difference of two
times, or a time plus some seconds, is a plain float again. A value gets its type where a clock is read.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NewType

    #: Seconds since 1970, as people and files have them. This clock can be set, so it jumps.
    Posix = NewType("Posix", float)
    #: Seconds of `time.monotonic()`: never goes back, means nothing outside of this process, stops in suspend.
    Mono = NewType("Mono", float)
    #: Seconds since the machine was started, suspend included: means the same to all processes until it starts again.
    Uptime = NewType("Uptime", float)
    #: Seconds since 1970 when a packet was seen, never going back: a capture's clock, or on a router the clock that was
    #: right when the filter started, moved on by `time.monotonic()`. The engine knows this clock alone.
    PacketTime = NewType("PacketTime", float)
else:
    Posix = Mono = Uptime = PacketTime = float


def posix() -> Posix:
    """What people's clock says now."""
    return Posix(time.time())
