"""Incidents: devices and their standings -> the events for the Internet provider.

Knows when an incident begins, goes on and ends. Must not know files, sockets, clocks or how events travel (see spool).
Pure: time comes in, events come out.

An incident begins when a device is compromised or looks like a mail server (`unusual`), and ends when it is neither. A
suspicion begins none: it only counts in the heartbeat. Incidents are found by comparing devices with the known ones,
not by following changes. So nothing is missed when many things happen at once, and a restart needs no other code. The
first event is `opened` of an unusual device and `raised` of a compromised one; `raised` also comes when an unusual
device becomes compromised. `updated` follows now and then, while its counts grow. `closed` is the last one. Devices
that are exempt for every destination have none.

Counts are those since the evidence began. A CUSUM's best estimate of that time is the last time it was zero (Page
1954). So a device's counts are noted now and then while its score is zero, and subtracted later.

Bounded: one incident for each device, `MAX_CLOSED` that are closed but not known to have arrived, and not more than one
opened in `OPEN_EVERY_S` after a burst of `OPEN_BURST`, because any number of MACs can be made up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from cpe_filter.detect.device import Device
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.enforce.decide import effective_mode, exempt_everywhere
from cpe_filter.lean.token_bucket import level as token_level
from cpe_filter.policy.model import Policy
from cpe_filter.report.counts import NOTHING, Counts, counts
from cpe_filter.report.events import (
    CLEARED,
    CLOSED,
    EXEMPT,
    EXPIRED,
    MERGED,
    OPENED,
    RAISED,
    RELEASED,
    UPDATED,
    device_facts,
    incident_event,
    notice_news,
)
from cpe_filter.report.incident import MAX_NAME, Incident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.lean.clocks import PacketTime
    from cpe_filter.lean.token_bucket import Bucket
    from cpe_filter.report.events import EventKind, Wire
    from cpe_filter.report.incident import EndReason

#: Seconds without a connection after which an incident ends. The device may be sold, or switched off.
EXPIRE_S = 30 * 86400.0
#: Seconds between two notes of a device's counts while its score is zero.
NOTE_S = 60.0
OPEN_EVERY_S, OPEN_BURST = 10.0, 64
#: Closed incidents that are remembered until their last event has arrived.
MAX_CLOSED = 64

#: Bits of `Incident.arrived`.
_ARRIVED: dict[str, int] = {OPENED: 1, RAISED: 2}


class IncidentTracker:
    """Pass it all devices now and then with `look`; it returns the events.

    pseudonym: a device's key -> 16 hex digits. booted: the engine's time when the router started.
    """

    def __init__(
        self, pseudonym: Callable[[bytes], str], booted: PacketTime, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._pseudonym = pseudonym
        self.booted = booted
        self._random = random
        self._open: dict[bytes, Incident] = {}
        self._closed: dict[str, Incident] = {}
        self._notes: dict[bytes, tuple[PacketTime, Counts]] = {}
        self._noted_at = float("-inf")
        self._openings: Bucket | None = None
        #: Whether the desk may have instructions: then a compromised device is reported without news, too, because
        #: they come with the answer.
        self.asks = False

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def find(self, key: bytes) -> Incident | None:
        """The open incident of a device."""
        return self._open.get(key)

    # ── what happens ────────────────────────────────────────────────────────────────────────────

    def begin(self, devices: Iterable[Device], now: PacketTime) -> None:
        """Devices that were known before a restart: what they did until now does not begin a new incident."""
        for device in devices:
            if device.score.standing in (CLEAR, UNUSUAL):
                self._notes[device.key] = now, counts(device)

    def look(
        self,
        devices: Iterable[Device],
        policy: Policy,
        now: PacketTime,
        named: Callable[[Device], str] = lambda device: "",
        opening: Callable[[Incident, Device], None] = lambda incident, device: None,
    ) -> list[Wire]:
        """Brings the incidents up to date; returns new events.

        named: a device's name of its own, for policies that allow it. opening: called with a new incident before its
        first events are made, to give it examples.
        """
        events: list[Wire] = []
        present = {}
        for device in devices:
            present[device.key] = device
            incident = self._open.get(device.key)
            reason = self._end_reason(incident, device, policy, now)
            if incident is None:
                if not reason and self._may_open(now):
                    events += self._begin(device, policy, now, named, opening)
                continue
            if reason or _has_changed(incident, device):
                self._fill(incident, device, policy, named)
            if reason:
                events.append(self._close(incident, device, reason, now))
            else:
                events += self._go_on(incident, device, policy, now, opening)
        for key in [key for key in self._open if key not in present]:  # it was dropped: the table was full
            events.append(self._close(self._open[key], None, EXPIRED, now))
        events += self._closed_again(now)
        if now - self._noted_at >= NOTE_S:
            self._note(present, now)
        return events

    def _closed_again(self, now: PacketTime) -> list[Wire]:
        """The ends that may not have arrived before a restart."""
        events = []
        for incident in self._closed.values():
            if incident.resend:
                incident.resend = False
                events.append(self._event(CLOSED, incident, now))
        return events

    def rekeyed(self, before: bytes, device: Device) -> None:
        """A device continues under another key (see detect.mac_rotation). Its incident keeps its pseudonym.

        If there are two incidents the one of worse standing continues, or else the older one. The other is closed at
        the next `look`. device: the one that is left of the two, as detect.device chose it.
        """
        after = device.key
        incident, other = self._open.pop(before, None), self._open.get(after)
        if incident is not None and other is not None:
            if other.standing == COMPROMISED != incident.standing:
                incident, other = other, incident
            other.reason, other.resend = MERGED, True
            self._remember(other)
        incident = incident or other
        if incident is not None:
            incident.key, incident.rekeyed = after, True
            self._open[after] = incident
        notes = [self._notes.pop(key) for key in (before, after) if key in self._notes]
        fitting = [note for note in notes if note[1].connections <= device.connections]
        if fitting:
            self._notes[after] = max(fitting, key=lambda note: note[1].connections)

    def key_of(self, dev: str) -> bytes | None:
        """The key of the device whose open incident has this pseudonym."""
        return next((incident.key for incident in self._open.values() if incident.dev == dev), None)

    def arrived(self, number: str, kind: EventKind) -> None:
        """The collector has this event."""
        if kind == CLOSED:
            self._closed.pop(number, None)
            return
        bit = _ARRIVED.get(kind, 0)
        for incident in self._open.values() if bit else ():
            if incident.id == number:
                incident.arrived |= bit

    # ── one device ──────────────────────────────────────────────────────────────────────────────

    def _end_reason(self, incident: Incident | None, device: Device, policy: Policy, now: PacketTime) -> EndReason:
        """Why this device has no incident, or no longer; "" if it has one."""
        standing, reported = device.score.standing, incident.standing if incident is not None else CLEAR
        if standing != COMPROMISED == reported:
            return RELEASED  # nothing else revokes a conviction
        if exempt_everywhere(policy, device):
            return EXEMPT
        if standing == CLEAR or (standing == SUSPECTED and reported != UNUSUAL):
            return CLEARED
        return EXPIRED if now - device.last_seen >= EXPIRE_S else ""

    def _begin(
        self,
        device: Device,
        policy: Policy,
        now: PacketTime,
        named: Callable[[Device], str],
        opening: Callable[[Incident, Device], None],
    ) -> list[Wire]:
        first, base = self._notes.pop(device.key, (device.first_seen, NOTHING))
        number = self._random(8).hex()
        incident = Incident(number, device.key, self._pseudonym(device.key), first, base)
        self._open[device.key] = incident
        self._fill(incident, device, policy, named)
        opening(incident, device)
        incident.standing = device.score.standing
        return [self._event(_first_event(incident), incident, now)]

    def _go_on(
        self,
        incident: Incident,
        device: Device,
        policy: Policy,
        now: PacketTime,
        opening: Callable[[Incident, Device], None],
    ) -> list[Wire]:
        raised = device.score.standing == COMPROMISED and incident.standing != COMPROMISED
        if device.score.standing != SUSPECTED:  # else it goes on as it was
            incident.standing = device.score.standing
        if incident.resend:
            incident.resend = False
            first = _first_event(incident)
            return [self._event(UPDATED if incident.arrived & _ARRIVED[first] else first, incident, now)]
        if raised:
            opening(incident, device)
            return [self._event(RAISED, incident, now)]
        if incident.notice_news != incident.last_sent_news:  # the desk waits for it
            return [self._event(UPDATED, incident, now)]
        news = incident.has_news or (self.asks and incident.standing == COMPROMISED)
        if news and now - incident.last_sent_at >= policy.report.update_minutes * 60:
            return [self._event(UPDATED, incident, now)]
        return []

    def _close(self, incident: Incident, device: Device | None, reason: EndReason, now: PacketTime) -> Wire:
        incident.reason, incident.resend = reason, False
        del self._open[incident.key]
        if device is not None:
            standing = device.score.standing
            incident.standing = CLEAR if standing == SUSPECTED else standing
            self._notes[device.key] = now, counts(device)
        self._remember(incident)
        return self._event(CLOSED, incident, now)

    def _remember(self, incident: Incident) -> None:
        """Keeps a closed one until its last event has arrived. Forgets the oldest whose last event was sent."""
        if len(self._closed) >= MAX_CLOSED:
            sent = next((number for number, one in self._closed.items() if not one.resend), None)
            if sent is not None:
                del self._closed[sent]
        self._closed[incident.id] = incident

    def _fill(self, incident: Incident, device: Device, policy: Policy, named: Callable[[Device], str]) -> None:
        """What the next event says about the device as it is now."""
        mode = effective_mode(policy, device)
        incident.act = policy.filter.refusal if mode == "block" else mode
        incident.name = named(device)[:MAX_NAME] if policy.report.hostnames else ""
        incident.last = device.last_seen
        incident.device_facts = device_facts(device, device.last_seen)
        incident.count(counts(device))

    def _event(self, kind: EventKind, incident: Incident, now: PacketTime) -> Wire:
        incident.sent(now)
        return incident_event(kind, incident, now, self.booted)

    def _may_open(self, now: PacketTime) -> bool:
        """Takes a token for one more incident, if there is one."""
        tokens = token_level(self._openings, float(OPEN_BURST), 3600.0 / OPEN_EVERY_S, now)
        enough = tokens >= 1.0
        self._openings = (tokens - 1.0 if enough else tokens, now)
        return enough

    def _note(self, devices: dict[bytes, Device], now: PacketTime) -> None:
        """Keeps the counts of devices with nothing against them."""
        self._noted_at = now
        self._notes = {key: note for key, note in self._notes.items() if key in devices}
        for key, device in devices.items():
            if device.score.value <= 0.0 and key not in self._open:
                note = self._notes.get(key)
                same = note is not None and note[1].connections == device.connections
                self._notes[key] = now, note[1] if note is not None and same else counts(device)

    # ── across restarts (see report.persistence) ────────────────────────────────────────────────

    def all(self) -> list[Incident]:
        """The open ones, and the closed ones whose last event may not have arrived."""
        return [*self._open.values(), *self._closed.values()]

    def restore(self, incidents: Iterable[Incident]) -> None:
        for incident in incidents:
            if incident.reason:
                self._closed[incident.id] = incident
            else:
                self._open[incident.key] = incident


def _has_changed(incident: Incident, device: Device) -> bool:
    """Whether the device has changed since the incident's counts were taken."""
    if device.last_seen != incident.last or device.score.standing != incident.standing or incident.rekeyed:
        return True
    return notice_news(device) != incident.notice_news


def _first_event(incident: Incident) -> EventKind:
    """The event that every incident of its standing has."""
    return RAISED if incident.standing == COMPROMISED else OPENED
