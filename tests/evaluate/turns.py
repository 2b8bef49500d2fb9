"""When a client answers its server: a dialogue's events -> the same with the event `turnaround`, where it comes.

Knows which events are a turn of the client's (inspect.turnaround): a command or several sent at once, a login, the
beginning of a message. Must not know programs. It comes before what the last turn of these causes, or at the end.
"""

from __future__ import annotations

from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.turnaround import AHEAD_S, ENOUGH, LEAST

#: Events that are a command of the client's with its reply.
_COMMANDS = ("hello", "sender", "recipient", "tls", "fingerprint", "quit")
#: Quirks that are found before the reply to their command: what they precede is the same turn.
_SENT = ("path-spaced", "lower-case", "sender-is-recipient")


def with_turnaround(
    events: tuple[Event, ...], pipelined: bool, milliseconds: int, ahead: int = -1
) -> tuple[Event, ...]:
    """`events` and, if there are turns enough, the event. milliseconds: the least that the client takes to answer."""
    turns, at, grouped = 0, len(events), False
    enough = ENOUGH if is_ahead(milliseconds) else LEAST
    early = any(event.name == "early-talk" for event in events)
    ordered = False
    for number, event in enumerate(events):
        kind, name = event.kind, event.name
        more = 0
        if kind == "hello":
            more, early = 0 if early else 1, False  # who spoke first has answered nothing
        elif kind == "sender":
            more, grouped = 1, pipelined
        elif kind == "recipient":
            more = 0 if grouped else 1
        elif kind in _COMMANDS:
            more = 1
        elif kind == "message":
            more, grouped = 1 if grouped else 2, False
        elif kind == "violation":
            more = int(name in ("wrong-order", "content-after-refusal"))
            ordered = ordered or name == "wrong-order"
        elif kind == "reply" and name not in ("QUIT", "unknown", ""):
            more = 0 if grouped or ordered else 1
            grouped = ordered = False
        turns += more
        if more and turns >= enough:
            turns, at = enough, number
            while at and events[at - 1].name in _SENT:
                at -= 1
            break
    else:
        if turns < LEAST:
            return events
        at = next((n for n, event in enumerate(events) if event.kind == "tls-bytes" or event.name == "no-quit"), at)
    if ahead < 0:
        ahead = LEAST if is_ahead(milliseconds) else 0
    return (*events[:at], Event("turnaround", f"{turns}/{ahead}", None, milliseconds), *events[at:])


def is_ahead(milliseconds: int) -> bool:
    """Whether the client's TCP acknowledges a reply before the client answers it."""
    return milliseconds >= AHEAD_S * 1000
