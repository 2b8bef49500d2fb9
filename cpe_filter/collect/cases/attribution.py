"""The source of an incident as seen from the Internet: public address, port and time of the line. Never guessed.

Knows the subscriber map and the example connections of an incident. Must not know exports. The address is the one that
the line had when an example connection began. If the line shares its address (CGNAT, MAP, DS-Lite), the source port of
the example must be one of the line: otherwise that address and port at that time belong to another subscriber.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal, NamedTuple, get_args

from cpe_filter.collect.store.base import Row
from cpe_filter.collect.subscribers.map import Line, MapUnavailableError, Place, Subscribers

#: How far a time may be in the future: several collectors have several clocks.
_AHEAD_S = 300
#: 2020-01-01: no report can be older than the program.
_EARLIEST = 1_577_836_800

#: Why an incident is held back.
HeldReason = Literal["unmapped", "map-away", "no-address", "shared-address", "prefix-only", "time"]
HELD: tuple[HeldReason, ...] = get_args(HeldReason)
UNMAPPED: HeldReason = "unmapped"
AWAY: HeldReason = "map-away"
NO_ADDRESS: HeldReason = "no-address"
SHARED: HeldReason = "shared-address"
PREFIX: HeldReason = "prefix-only"
TIME: HeldReason = "time"


class Source(NamedTuple):
    """place: an address, or a prefix if the map has no address. port: None if unknown. at: POSIX seconds."""

    place: Place
    port: int | None
    at: int

    @property
    def is_prefix(self) -> bool:
        return isinstance(self.place, IPv4Network | IPv6Network) and self.place.num_addresses > 1

    @property
    def address(self) -> str:
        """The address, or the prefix with its length."""
        if isinstance(self.place, IPv4Network | IPv6Network) and not self.is_prefix:
            return str(self.place.network_address)
        return str(self.place)


class Held(NamedTuple):
    """An incident is held back: it has no source that can be exported."""

    why: HeldReason


async def source(incident: Row, subscriber: str, subscribers: Subscribers, now: int) -> Source | Held:
    """incident: a row of the table, `sp` parsed. subscriber: that of the case; "" if unknown."""
    if not subscriber:
        return Held(UNMAPPED)
    examples = sorted(incident["sp"], key=lambda one: (-one["at"], one["family"], one["port"]))
    tried: list[Source | Held] = []
    for example in examples or [None]:
        at = incident["last_at"] if example is None else example["at"]
        if not _EARLIEST <= at <= now + _AHEAD_S:
            tried.append(Held(TIME))
            continue
        try:
            line = await subscribers.find(incident["router"], at)
        except MapUnavailableError:
            return Held(AWAY)
        tried.append(_on(line, subscriber, example, at))
    return max(tried, key=_rank)


def _rank(found: Source | Held) -> int:
    """Ranks results: the first example of the highest rank is used."""
    if isinstance(found, Held):
        return (TIME, UNMAPPED, NO_ADDRESS, SHARED).index(found.why)
    return 8 if found.is_prefix else 9


def _on(line: Line | None, subscriber: str, example: dict[str, Any] | None, at: int) -> Source | Held:
    """example: None if none is kept; then only an address that the line does not share will do."""
    if line is None or line.subscriber != subscriber:
        return Held(UNMAPPED)
    port = (example["port"] or None) if example else None
    found: list[Source] = []
    shared = False
    for place, ports in line.places:
        if example is not None and place.version != example["family"]:
            continue
        if ports is None or (port is not None and ports[0] <= port <= ports[1]):
            found.append(Source(place, port, at))
        else:
            shared = True
    if not found:
        return Held(SHARED if shared else NO_ADDRESS)
    # A line with several addresses of its own: each belongs to the subscriber. An address rather than a prefix.
    return min(found, key=lambda one: (one.is_prefix, one.place.version))
