"""Incidents: devices and their standings -> the events for the Internet provider.

Knows the events of the wire format (report-v1.schema.json) and when there is one. Must not know files, sockets, clocks
or how events travel (see spool). Pure: time comes in, events come out, without `seq`, which the spool adds.

An incident begins when a device is suspected and ends when it is clear again. It is found by comparing devices with the
known incidents, not by following changes. So nothing is missed when many things happen at once, and a restart needs no
other code. `opened` is always its first event. `raised` follows when the device is compromised, immediately if it was
convicted without having been suspected. `updated` follows now and then, while its counts grow. `closed` is the last
one. A device that is released gets a new incident only if it is convicted again. Devices that are exempt for every
destination have none.

Counts are those since the evidence began. A CUSUM's best estimate of that time is the last time it was zero (Page
1954). So a device's counts are noted now and then while its score is zero, and subtracted later.

Bounded: one incident for each device, `CLOSED` that are closed but not known to have arrived, and not more than one
opened in `OPEN_EVERY_S` after a burst of `OPEN_BURST`, because any number of MACs can be made up.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator

from cpe_filter.detect.device import Device
from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.token_bucket import level as token_level
from cpe_filter.policy.model import Policy
from cpe_filter.report.counts import NOTHING, Counts, counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.lean.token_bucket import Bucket

    #: An event as the wire format has it.
    Wire = dict[str, Any]

OPENED, RAISED, UPDATED, CLOSED, HEARTBEAT = "opened", "raised", "updated", "closed", "heartbeat"
CLEARED, RELEASED, EXPIRED, EXEMPT, MERGED = "cleared", "released", "expired", "exempt", "merged"

#: Seconds without a connection after which an incident ends. The device may be sold, or switched off.
EXPIRE_S = 30 * 86400.0
#: Seconds between two notes of a device's counts, while its score is zero.
NOTE_S = 60.0
OPEN_EVERY_S, OPEN_BURST = 10.0, 64
#: Closed incidents that are remembered until their last event has arrived.
MOST_CLOSED = 64
#: Examples of connections in each incident, and connections that were tried for them.
EXAMPLES, LOOKED_AT = 4, 32
MAX_NAME = 64

_MOST = (1 << 32) - 1
_KNOWN = {OPENED: 1, RAISED: 2}


class Example(NamedTuple):
    """A connection, for networks that share addresses. time: when it began; port: on the WAN side; family: 4 or 6."""

    time: float
    port: int
    family: int


class Incident:
    """One incident. Times are seconds of the engine's clock. why: "" while it is open.

    base: the device's counts when it began; counts: those since; told: those of the last event. known: which of its
    events have arrived (bits). shown: how many examples were in the last event. repeat: sent events may be lost, so
    they are sent again.
    """

    __slots__ = (
        "act",
        "base",
        "counts",
        "dev",
        "examples",
        "first",
        "id",
        "key",
        "known",
        "last",
        "looked",
        "name",
        "oui",
        "repeat",
        "shown",
        "standing",
        "told",
        "told_at",
        "why",
    )

    def __init__(self, number: str, key: bytes, dev: str, first: float, base: Counts) -> None:
        self.id = number
        self.key = key
        self.dev = dev
        self.oui = _oui(key)
        self.name = ""
        self.standing = SUSPECTED
        self.act = "monitor"
        self.first = self.last = first
        self.base = base
        self.counts = self.told = NOTHING
        self.told_at = first
        self.known = 0
        self.examples: list[Example] = []
        self.shown = 0
        self.looked: list[tuple[float, int]] = []  # connections that gave no example or one: began, client's port
        self.repeat = False
        self.why = ""


class Incidents:
    """Pass it all devices now and then with `look`; it returns the events.

    pseudonym: a device's key -> 16 hex digits. booted: the engine's time when the router started.
    """

    def __init__(
        self, pseudonym: Callable[[bytes], str], booted: float, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._pseudonym = pseudonym
        self.booted = booted
        self._random = random
        self._open: dict[bytes, Incident] = {}
        self._closed: dict[str, Incident] = {}
        self._released: dict[bytes, None] = {}
        self._notes: dict[bytes, tuple[float, Counts]] = {}
        self._noted_at = float("-inf")
        self._openings: Bucket | None = None

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def find(self, key: bytes) -> Incident | None:
        """The open incident of a device."""
        return self._open.get(key)

    # ── what happens ────────────────────────────────────────────────────────────────────────────

    def begin(self, devices: Iterable[Device], now: float) -> None:
        """Devices that were known before a restart: what they did until now does not begin a new incident."""
        for device in devices:
            if device.score.standing == CLEAR:
                self._notes[device.key] = now, counts(device)

    def look(
        self,
        devices: Iterable[Device],
        policy: Policy,
        now: float,
        named: Callable[[Device], str] = lambda device: "",
        opening: Callable[[Incident, Device], None] = lambda incident, device: None,
    ) -> list[Wire]:
        """Brings the incidents up to date; returns new events.

        named: a device's own name, for policies that allow it. opening: called with a new incident before its first
        events are made, to give it examples.
        """
        events: list[Wire] = []
        present = {}
        for device in devices:
            key = device.key
            present[key] = device
            incident = self._open.get(key)
            why = self._over(incident, device, policy, now)
            if incident is not None:
                if why or device.last_seen != incident.last or device.score.standing != incident.standing:
                    self._fill(incident, device, policy, named)
                if why:
                    events.append(self._close(incident, device, why, now))
                else:
                    events += self._go_on(incident, device, policy, now, opening)
            elif not why and self._take(now):
                events += self._begin(device, policy, now, named, opening)
        for key in [key for key in self._open if key not in present]:  # it was dropped: the table was full
            events.append(self._close(self._open[key], None, EXPIRED, now))
        for incident in self._closed.values():
            if incident.repeat:
                incident.repeat = False
                events.append(self._event(CLOSED, incident, now))
        self._released = {key: None for key in self._released if key in present}
        if now - self._noted_at >= NOTE_S:
            self._note(present, now)
        return events

    def continued(self, before: bytes, after: bytes) -> None:
        """A device continues under another key (see detect.mac_rotation). Its incident keeps its pseudonym.

        If there are two incidents the one of worse standing continues, or else the older one; the other is closed at
        the next `look`.
        """
        incident = self._open.pop(before, None)
        if incident is not None:
            other = self._open.get(after)
            if other is not None:
                if other.standing == COMPROMISED != incident.standing:
                    incident, other = other, incident
                other.why, other.repeat = MERGED, True
                self._remember(other)
            incident.key = after
            self._open[after] = incident
        if before in self._released:
            del self._released[before]
            self._released[after] = None
        if before in self._notes:
            self._notes[after] = self._notes.pop(before)

    def arrived(self, number: str, kind: str) -> None:
        """The collector has this event."""
        if kind == CLOSED:
            self._closed.pop(number, None)
            return
        bit = _KNOWN.get(kind, 0)
        for incident in self._open.values() if bit else ():
            if incident.id == number:
                incident.known |= bit

    def example(self, incident: Incident, example: Example | None, connection: tuple[float, int]) -> None:
        """A connection (began, client's port) was tried; `example` is the result."""
        incident.looked = [*incident.looked[1 - LOOKED_AT :], connection]
        if example is not None and len(incident.examples) < EXAMPLES:
            incident.examples.append(example)

    # ── one device ──────────────────────────────────────────────────────────────────────────────

    def _over(self, incident: Incident | None, device: Device, policy: Policy, now: float) -> str:
        """Why this device has no incident, or no longer; "" if it has one."""
        standing = device.score.standing
        if standing == COMPROMISED:
            self._released.pop(device.key, None)
        elif incident is not None and incident.standing == COMPROMISED:
            return RELEASED  # nothing else revokes a conviction
        if standing == CLEAR:
            self._released.pop(device.key, None)
            return CLEARED
        if device.key in self._released:
            return RELEASED
        if _exempt(device, policy):
            return EXEMPT
        return EXPIRED if now - device.last_seen >= EXPIRE_S else ""

    def _begin(
        self,
        device: Device,
        policy: Policy,
        now: float,
        named: Callable[[Device], str],
        opening: Callable[[Incident, Device], None],
    ) -> list[Wire]:
        first, base = self._notes.pop(device.key, (device.first_seen, NOTHING))
        number = self._random(8).hex()
        incident = Incident(number, device.key, self._pseudonym(device.key), first, base)
        self._open[device.key] = incident
        self._fill(incident, device, policy, named)
        opening(incident, device)
        events = [self._event(OPENED, incident, now)]
        if device.score.standing == COMPROMISED:
            incident.standing = COMPROMISED
            events.append(self._event(RAISED, incident, now))
        return events

    def _go_on(
        self,
        incident: Incident,
        device: Device,
        policy: Policy,
        now: float,
        opening: Callable[[Incident, Device], None],
    ) -> list[Wire]:
        raised = device.score.standing == COMPROMISED and incident.standing != COMPROMISED
        incident.standing = device.score.standing
        if incident.repeat:
            incident.repeat = False
            kinds = [OPENED] if not incident.known & _KNOWN[OPENED] else []
            if incident.standing == COMPROMISED and not incident.known & _KNOWN[RAISED]:
                kinds.append(RAISED)
            return [self._event(kind, incident, now) for kind in kinds or [UPDATED]]
        if raised:
            opening(incident, device)
            return [self._event(RAISED, incident, now)]
        grown = incident.counts != incident.told or len(incident.examples) > incident.shown
        if grown and now - incident.told_at >= policy.report.update_minutes * 60:
            return [self._event(UPDATED, incident, now)]
        return []

    def _close(self, incident: Incident, device: Device | None, why: str, now: float) -> Wire:
        incident.why, incident.repeat = why, False
        del self._open[incident.key]
        if device is not None:
            incident.standing = device.score.standing
            self._notes[device.key] = now, counts(device)
            if why == RELEASED and device.score.standing == SUSPECTED:
                self._released[device.key] = None
        self._remember(incident)
        return self._event(CLOSED, incident, now)

    def _remember(self, incident: Incident) -> None:
        """A closed one, until its last event has arrived."""
        if len(self._closed) >= MOST_CLOSED:
            del self._closed[next(iter(self._closed))]
        self._closed[incident.id] = incident

    def _fill(self, incident: Incident, device: Device, policy: Policy, named: Callable[[Device], str]) -> None:
        """What the next event says about the device as it is now."""
        mode = effective_mode(policy, device)
        incident.act = policy.filter.refusal if mode == "block" else mode
        incident.name = named(device)[:MAX_NAME] if policy.report.hostnames else ""
        incident.last = device.last_seen
        incident.counts = counts(device).since(incident.base)

    def _event(self, kind: str, incident: Incident, now: float) -> Wire:
        incident.told, incident.told_at, incident.shown = incident.counts, now, len(incident.examples)
        told = incident.told
        event: Wire = {"up": max(0, self._up(now)), "kind": kind, "id": incident.id, "dev": incident.dev}
        if incident.oui:
            event["oui"] = incident.oui
        if incident.name:
            event["name"] = incident.name
        # The first event is about a suspicion, even if the conviction came at the same moment.
        event["standing"] = SUSPECTED if kind == OPENED else incident.standing
        if kind == CLOSED:
            event["why"] = incident.why
        event.update(
            first=self._up(incident.first),
            last=self._up(incident.last),
            conns=_count(told.connections),
            nets=_count(told.networks),
            msgs=_count(told.messages),
            rcpts=_count(told.recipients),
            refused=_count(told.refused),
            ind={name: _count(told.indicators[name]) for name in INDICATORS if told.indicators.get(name)},
            act=incident.act,
        )
        if incident.examples:
            examples = incident.examples
            event["sp"] = [{"up": self._up(one.time), "port": one.port, "family": one.family} for one in examples]
        return event

    def _up(self, time: float) -> int:
        """Seconds since boot; negative before it."""
        return min(_MOST, max(-_MOST, math.floor(time - self.booted)))

    def _take(self, now: float) -> bool:
        """Whether one more incident may be opened now."""
        tokens = token_level(self._openings, float(OPEN_BURST), 3600.0 / OPEN_EVERY_S, now)
        enough = tokens >= 1.0
        self._openings = (tokens - 1.0 if enough else tokens, now)
        return enough

    def _note(self, devices: dict[bytes, Device], now: float) -> None:
        """Keeps the counts of devices with nothing against them."""
        self._noted_at = now
        self._notes = {key: note for key, note in self._notes.items() if key in devices}
        for key, device in devices.items():
            if device.score.value <= 0.0 and key not in self._open:
                note = self._notes.get(key)
                same = note is not None and note[1].connections == device.connections
                self._notes[key] = now, note[1] if note is not None and same else counts(device)

    # ── across restarts (see report.kept) ───────────────────────────────────────────────────────

    def all(self) -> list[Incident]:
        """The open ones, and the closed ones whose end may not have arrived."""
        return [*self._open.values(), *self._closed.values()]

    @property
    def released(self) -> list[bytes]:
        """Keys of devices that were released and have not been judged since."""
        return list(self._released)

    def restore(self, incidents: Iterable[Incident], released: Iterable[bytes]) -> None:
        for incident in incidents:
            if incident.why:
                self._closed[incident.id] = incident
            else:
                self._open[incident.key] = incident
        self._released = dict.fromkeys(released)


def heartbeat(devices: Iterable[Device], policy: Policy, up: float, figures: dict[str, int]) -> Wire:
    """The daily heartbeat. figures: exempt, packets, failures, restored."""
    standings = [device.score.standing for device in devices]
    return {
        "up": int(up),
        "kind": HEARTBEAT,
        "devices": len(standings),
        "suspected": standings.count(SUSPECTED),
        "compromised": standings.count(COMPROMISED),
        "exempt": _count(figures["exempt"]),
        "mode": policy.filter.mode,
        "fail": policy.filter.fail,
        "packets": _count(figures["packets"]),
        "failures": _count(figures["failures"]),
        "restored": _count(figures["restored"]),
    }


def _count(number: int) -> int:
    return min(number, _MOST)


def _exempt(device: Device, policy: Policy) -> bool:
    """Whether everything it sends is exempt. `policy` holds the exemptions that are in force."""
    mac = device.mac
    return any(rule.device is not None and rule.device == mac and not rule.destination for rule in policy.exempt)


def _oui(key: bytes) -> str:
    """The manufacturer's part of a device's own MAC: not of a made-up one, nor of a router in front of a host."""
    return key[:3].hex() if len(key) == 6 and not key[0] & 3 else ""
