"""What a capture shows of turnarounds, as the engine finds them; and quantiles of it.

Knows the engine's events. Must not know how the capture was made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from cpe_filter.detect.detector import Connection, Detector
from cpe_filter.detect.device import HOME
from cpe_filter.inspect.facts import Event
from cpe_filter.replay.replay import Options, replay


class Session(NamedTuple):
    """helo: the client's name; turns: how many were seen; ms: the floor without the path's.

    ahead: in how many of the first turns its TCP acknowledged separately.
    """

    helo: str
    turns: int
    ahead: int
    ms: int


@contextlib.contextmanager
def noted(note: Callable[[str, int, int, int], None]) -> Iterator[None]:
    """Calls `note` with the fields of `Session` for each connection of engines in this process."""
    names: dict[int, tuple[Connection, str]] = {}
    seen: dict[int, Connection] = {}  # kept, so that no number is used again
    take = Detector.event

    def event(self: Detector, connection: Connection, event: Event, time: float) -> None:
        if connection.device.key == HOME:  # a stranger's connection has a second one, of the home
            pass
        elif event.kind == "hello":
            names.setdefault(id(connection), (connection, event.name))
        elif event.kind == "turnaround" and id(connection) in names and id(connection) not in seen:
            seen[id(connection)] = connection
            turns, ahead = map(int, event.name.split("/"))
            note(names[id(connection)][1], turns, ahead, event.number)
        take(self, connection, event, time)

    with mock.patch.object(Detector, "event", event):
        yield


def of_capture(path: Path) -> list[Session]:
    """Each connection of a capture that has a turnaround."""
    found: list[Session] = []
    with noted(lambda *words: found.append(Session(*words))):
        replay(str(path), Options(), lambda warning: None)
    return found


def quantile(values: list[int], part: float) -> int:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * part))]
