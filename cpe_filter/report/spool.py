"""Events that wait to be sent: numbered, merged, bounded; and their form in a file.

Knows the wire format's events as JSON. Must not know files, sockets or devices. Each event gets the next `seq`, which
is never used twice within a boot. A later event that says more replaces an earlier one: any event of the same incident
replaces an `updated`, a heartbeat replaces the last one. `opened`, `raised` and `closed` stay until they have arrived.

When the bound is reached the least important event is dropped first: the oldest `updated`, then heartbeats, answers to
instructions, documents, `opened`, `closed`, and `raised` last. Each report carries the number of dropped events.

The file has a line of JSON about all of it, a line for each event, and a line with the checksum of all before it.
Events are kept byte for byte as they will be sent, so writing costs little: 256 KiB take 0.7 ms, a few incidents 0.1.
That is why the complete file is replaced each time.
"""

from __future__ import annotations

from collections.abc import Iterable

from cpe_filter.lean import json_text
from cpe_filter.lean.checksum import with_checksum
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.report.events import CLOSED, DOCUMENT, HEARTBEAT, INSTRUCTION, OPENED, RAISED, UPDATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.report.events import EventKind, Wire

#: Bytes of the file.
MOST_BYTES = 256 << 10
#: The order in which events are dropped.
ORDER = (UPDATED, HEARTBEAT, INSTRUCTION, DOCUMENT, OPENED, CLOSED, RAISED)
#: Bytes for what is not an event.
_FRAME = 512
MOST = (1 << 32) - 1


class Waiting(NamedTuple):
    """An event that waits. number: its incident's id, "" for a heartbeat. up: seconds since boot. line: its JSON."""

    seq: int
    kind: EventKind
    number: str
    up: int
    line: bytes


class SpoolHeader(NamedTuple):
    """What all events have in common. next: the seq of the next event; dropped: since boot; pol, ver: versions."""

    boot: str
    next: int
    dropped: int
    pol: str
    ver: str


class Spool:
    """The writer's side. `events`: the oldest first; `changed`: not yet written."""

    def __init__(self, boot: str, seq: int, limit: int = MOST_BYTES) -> None:
        """seq: of the first event."""
        self.boot = boot
        self.next = seq
        self.dropped = 0
        self.changed = True
        self._events: dict[int, Waiting] = {}
        self._size = 0
        self._capacity = limit - _FRAME

    @property
    def events(self) -> list[Waiting]:
        return list(self._events.values())

    def restore(self, header: SpoolHeader, events: Iterable[Waiting]) -> None:
        """Restores what was written in this boot, before a restart of the filter."""
        self.next = max(self.next, header.next)
        self.dropped = header.dropped
        for event in events:
            self._put(event)
        self._bound()

    def add(self, event: Wire) -> int:
        """Adds an event; returns its seq."""
        number, seq = str(event.get("id", "")), self.next
        kind: EventKind = event["kind"]
        self.next = min(self.next + 1, MOST)
        merged = HEARTBEAT if kind == HEARTBEAT else UPDATED
        for other in [other for other in self._events.values() if other.kind == merged and other.number == number]:
            self._take(other.seq)
        line = json_text.encode({"seq": seq, **event}).encode() + b"\n"
        self._put(Waiting(seq, kind, number, event["up"], line))
        self._bound()
        return seq

    def arrived(self, seqs: Iterable[int]) -> list[Waiting]:
        """Removes events that have arrived; returns those that were there."""
        return [event for event in map(self._take, seqs) if event is not None]

    def encode(self, pol: str, ver: str) -> bytes:
        header = SpoolHeader(self.boot, self.next, self.dropped, pol, ver)
        head = json_text.encode(header._asdict()).encode() + b"\n"
        return with_checksum(head + b"".join(event.line for event in self._events.values()))

    def _put(self, event: Waiting) -> None:
        self._events[event.seq] = event
        self._size += len(event.line)
        self.changed = True

    def _take(self, seq: int) -> Waiting | None:
        event = self._events.pop(seq, None)
        if event is not None:
            self._size -= len(event.line)
            self.changed = True
        return event

    def _bound(self) -> None:
        while self._size > self._capacity:
            least = min(self._events.values(), key=lambda event: (ORDER.index(event.kind), event.seq))
            self._take(least.seq)
            self.dropped = min(self.dropped + 1, MOST)
