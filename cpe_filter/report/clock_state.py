"""Whether the kernel says that the clock is synchronised: a router has no battery-backed clock.

Knows adjtimex(2). Must not know what depends on the time. Not loaded by the running filter: ctypes takes 1 MB.
"""

from __future__ import annotations


def synchronised() -> bool:
    """Whether the clock is synchronised, by adjtimex(2) without a change. False if that is unknown."""
    try:
        import ctypes

        # struct timex has at most 208 bytes; all zero means that only the state is asked.
        state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (ImportError, OSError, AttributeError):
        return False
    return 0 <= state < 5  # TIME_ERROR
