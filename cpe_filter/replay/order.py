"""Frames in the order of their times, where a capture has them a little out of order.

Knows times. Must not know what is in a frame. Captures of several interfaces or queues (`tcpdump -i any`, two ports of
a mirror) hold frames a few places from where they belong. An acknowledgement before what it acknowledges would look
like lost data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from cpe_filter.replay.frame import Frame

#: Frames that wait for earlier ones, and their bytes.
WINDOW, WINDOW_BYTES = 128, 4 << 20
#: A frame that is earlier by more seconds is not late: the clock was set back, or another capture begins.
LATE_S = 1.0


def in_order(frames: Iterable[Frame]) -> Iterator[Frame]:
    """All of the frames. Those of equal times keep their order."""
    waiting: deque[Frame] = deque()
    size = 0
    for frame in frames:
        if waiting and frame.time < waiting[-1].time:
            if frame.time < waiting[-1].time - LATE_S:
                yield from waiting
                waiting.clear()
                size = 0
                waiting.append(frame)
            else:
                _insert(waiting, frame)
        else:
            waiting.append(frame)
        size += len(frame.data)
        while len(waiting) > WINDOW or size > WINDOW_BYTES:
            first = waiting.popleft()
            size -= len(first.data)
            yield first
    yield from waiting


def _insert(waiting: deque[Frame], frame: Frame) -> None:
    at = len(waiting)
    while at and waiting[at - 1].time > frame.time:
        at -= 1
    if at and waiting[at - 1].time == frame.time and _few_times(waiting):
        waiting.append(frame)
    else:
        waiting.insert(at, frame)


def _few_times(waiting: deque[Frame]) -> bool:
    """Whether times come again so often that they say nothing of the order: a program has written the capture."""
    different = len({frame.time for frame in waiting})
    return different <= 2 or 2 * different <= len(waiting)
