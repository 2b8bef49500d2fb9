"""Passes the engine's events and the gate's failures to the log, and to the parts that follow them.

Knows the events and their lines in the log. Must not know what a part does with them.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.detect.detector import RELEASED, StandingChanged
from cpe_filter.detect.device import Device, device_name
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.detect.score import COMPROMISED, UNUSUAL
from cpe_filter.detect.unusual import NO_MAIL_SERVER
from cpe_filter.enforce.decide import effective_mode
from cpe_filter.engine import Engine, Refused
from cpe_filter.lean.log import Log, err, notice, warning
from cpe_filter.live.device_search import called
from cpe_filter.live.gate import Gate
from cpe_filter.live.part import Part
from cpe_filter.status.refusals import Refusals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.lean.clocks import PacketTime

#: Seconds between two lines about packets that could not be processed: whoever has found such a packet can repeat it.
FAILURES_S = 60.0


class EventLog(Part):
    """Call `emit` in each turn of the loop. parts: those that get the changes; the list may change."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        parts: list[Part],
        host_name: Callable[[Device], str],
        log: Log,
    ) -> None:
        self.refusals = Refusals(log)
        self._engine = engine
        self._gate = gate
        self._parts = parts
        self._host_name = host_name
        self._log = log
        self._failures_logged = 0
        self._now = self._next_failure = 0.0

    def tick(self, now: PacketTime) -> None:
        self._now = now
        self.refusals.tick(now)
        self.emit()  # before the parts behind this one look at devices: a device may have a new key

    def emit(self) -> None:
        """Passes on everything since the last time."""
        gate = self._gate
        if gate.failures > self._failures_logged and self._now >= self._next_failure:
            self._failures_logged, self._next_failure = gate.failures, self._now + FAILURES_S
            self._log(err(f"{gate.failures} packets could not be processed; last error: {gate.last_failure}"))
        if not self._engine.events:
            return
        events, self._engine.events = self._engine.events, []
        for event in events:
            if isinstance(event, StandingChanged):
                self._standing_changed(event)
            elif isinstance(event, Refused):
                self._refused(event)
            elif isinstance(event, DeviceRekeyed):
                self._rekeyed(event)

    def facts(self) -> dict[str, Any]:
        return {"refusals": self.refusals.counts}

    def save(self, now: PacketTime) -> None:
        self._next_failure = 0.0
        self.emit()  # what has changed in the last moment

    def close(self) -> None:
        self.refusals.close()

    def _called(self, device: Device) -> str:
        return called(device, self._host_name(device))

    def _standing_changed(self, event: StandingChanged) -> None:
        self._log_standing(event)
        for part in self._parts:
            part.standing_changed(event)

    def _log_standing(self, event: StandingChanged) -> None:
        """Suspicions are not logged: they are counted in the status, and there is nothing to do about them."""
        device, called_ = event.device, self._called(event.device)
        if COMPROMISED in (event.before, event.after):
            mode = effective_mode(self._engine.policy, device)
            cause = "released by operator" if event.indicator == RELEASED else f"last evidence {event.indicator}"
            severity = warning if event.after == COMPROMISED else notice
            self._log(
                severity(
                    f"device {called_} is now {event.after} (was {event.before}): "
                    f"score {device.score.value:.1f} at its connection {event.connection}, {cause}; mode {mode}"
                )
            )
        elif event.after == UNUSUAL:
            self._log(notice(f"device {called_} looks like a mail server; if it is yours, exempt it"))
        elif event.indicator == NO_MAIL_SERVER:
            self._log(notice(f"device {called_} is exempt now, or no longer looks like a mail server"))

    def _refused(self, event: Refused) -> None:
        device, session, reason = event.flow.device, event.flow.session, event.flow.decision.reason
        name = self._called(device)
        self.refusals.refused(event.time, device.key, name, session.server, session.server_port, reason)

    def _rekeyed(self, event: DeviceRekeyed) -> None:
        device, standing = event.device, event.device.score.standing
        still = f"still {standing}" if standing in (UNUSUAL, COMPROMISED) else "not compromised"
        before, after = device_name(event.before), self._called(device)
        self._log(notice(f"device {before} is now {after} (same DHCP {event.why}); {still}"))
        for part in self._parts:
            part.device_rekeyed(event)
