"""Signals as the module signal has them, but for their names: `from cpe_filter.lean import plain_signal as signal`.

Knows _signal, the C module below it. Must not know what a signal is for. signal only adds enums of its numbers. Saves
820 kB: signal with `enum` takes 870 kB, this module 50 kB. Type checkers see signal's own names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import *  # noqa: F403
else:
    from _signal import *  # noqa: F403
