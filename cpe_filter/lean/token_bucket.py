"""A token bucket: `burst` tokens at once, so many per hour in the long run. Pure.

Knows levels and times. Must not know what a token is for. A bucket is a pair: its level, and the time of that level. A
pair in a dict takes less memory than an object, and a router has up to four for each device.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: Tokens, and the time (seconds) when there were so many.
    Bucket = tuple[float, float]


def level(bucket: Bucket | None, burst: float, per_hour: float, now: float) -> float:
    """The tokens that are there now. None: a full bucket. A clock that goes back adds nothing."""
    if bucket is None:
        return burst
    tokens, then = bucket
    if now > then:
        tokens += (now - then) * per_hour / 3600.0
    return tokens if tokens < burst else burst
