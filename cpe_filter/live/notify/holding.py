"""Carries out the quarantine: the kernel's elements, running connections, and the log's lines.

Knows the gate's sets, conntrack and the log. Must not know when a stay begins or ends (quarantine), or HTTP. The
elements last for a minute and are refreshed only while the notice is served. Running connections meet the kernel's
rules with their next packet. Those that are offloaded meet none, so conntrack forgets those of a device when the kernel
begins to hold it; a child process lists them.
"""

from __future__ import annotations

from cpe_filter.detect.device import Device, device_name
from cpe_filter.enforce.ruleset_names import QUARANTINE_S
from cpe_filter.lean.forked import BackgroundCall, CallFailedError
from cpe_filter.lean.log import Log, LogOnce, notice, warning
from cpe_filter.live.notify.quarantine import DAY_S, Quarantine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.enforce.sets import Sets
    from cpe_filter.engine import Engine
    from cpe_filter.lean.clocks import PacketTime
    from cpe_filter.live.notify.quarantine import Stay
    from cpe_filter.policy.model import Policy

#: What is asked of DNS servers goes on.
_PORTS = (53,)
_WHO = {
    "self": "its users",
    "isp": "a command, an exemption or the policy",
    "time": "time",
    "desk": "the Internet provider's desk",
}
#: Seconds for which the kernel holds a device for sure, after the last refresh.
_HELD_S = QUARANTINE_S - 5.0


class Holding:
    """`look` brings all up to date; `tick` follows the child process."""

    def __init__(self, engine: Engine, sets: Sets, log: Log) -> None:
        self.quarantine = Quarantine()
        self.counts = {"quarantined": 0, "released_self": 0, "released_isp": 0, "released_time": 0}
        self._engine = engine
        self._sets = sets
        self._log = log
        self._log_once = LogOnce(log)
        #: The devices that the kernel holds.
        self.held: set[bytes] = set()
        #: Those whose stay lasts, and that are not held because their users could not read why.
        self._unreachable: set[bytes] = set()
        self._refreshed_at = float("-inf")
        #: Devices whose connections are to end, with the addresses that they have used; and the child that does it.
        self._ending: dict[bytes, tuple[bytes, ...]] = {}
        self._call: BackgroundCall | None = None

    def look(
        self, compromised: list[Device], alone: set[bytes], served: bool, unreachable: set[bytes], now: PacketTime
    ) -> list[tuple[Device, Stay]]:
        """Returns the devices whose stay has just begun or ended.

        alone: those that may be held; unreachable: those whose users could not read why.
        """
        policy = self._engine.policy.notice
        may = alone if policy.quarantine and policy.show != "off" else set()
        since = {device.key: (device.compromised_at or (0.0,))[0] for device in compromised}
        changed = self.quarantine.look(since, may, served, policy.quarantine_days, now)
        if now - self._refreshed_at > _HELD_S:
            self.held = set()  # the kernel may have released them
        self._unreachable = unreachable
        self._hold(self.quarantine.held - unreachable, served, now)
        return self._report(changed)

    def _hold(self, wanted: set[bytes], served: bool, now: PacketTime) -> None:
        for mac in self.held - wanted:
            self._sets.end_quarantine(mac)
        if served and wanted:
            self._sets.quarantine(wanted)
            self._refreshed_at = now
            for mac in wanted - self.held:
                device = self._engine.devices.find(mac)
                self._ending[mac] = tuple(device.addresses) if device is not None else ()
            self.held = wanted
            self._end_connections()
        self.held &= wanted

    def _report(self, changed: list[tuple[bytes, Stay]]) -> list[tuple[Device, Stay]]:
        found = []
        for key, stay in changed:
            self.counts[f"released_{stay.who}" if stay.ended else "quarantined"] += 1
            if stay.ended:
                who = _WHO[stay.by]
                self._log(notice(f"device {device_name(key)} is released from quarantine by {who}"))
            else:
                days = self._engine.policy.notice.quarantine_days
                self._log(
                    notice(f"device {device_name(key)} is in quarantine until it is released, at most {days} days")
                )
            device = self._engine.devices.find(key)
            if device is not None:
                found.append((device, stay))
        return found

    def state(self, key: bytes) -> str:
        """`held`, who has released it, or "" where there is nothing to say."""
        stay = self.quarantine.stays.get(key)
        if stay is None or (not stay.ended and key in self._unreachable):
            return ""
        return stay.who or "held"

    def until(self, key: bytes) -> float | None:
        """When the stay of a device ends in any case, in the engine's seconds; None if it is not in quarantine."""
        stay = self.quarantine.stays.get(key)
        if stay is None or stay.ended:
            return None
        return stay.began + self._engine.policy.notice.quarantine_days * DAY_S

    # ── running connections ─────────────────────────────────────────────────────────────────────

    def tick(self) -> None:
        """Each second."""
        call = self._call
        if call is not None and call.poll():
            self._call = None
            try:
                call.result()
                self._log_once.clear("connections")
            except (OSError, CallFailedError) as error:
                reason = getattr(error, "strerror", None) or error
                self._log_once.changed(
                    "connections", warning(f"connections of a device in quarantine that are offloaded go on: {reason}")
                )
        self._end_connections()

    def _end_connections(self) -> None:
        if self._call is not None or not self._ending:
            return
        ending, policy = self._ending, self._engine.policy
        self._ending = {}
        try:
            self._call = BackgroundCall(lambda: end_connections(ending, policy), OSError)
        except CallFailedError as error:
            self._log_once.changed("connections", warning(f"connections in quarantine not ended: {error}"))

    def close(self) -> None:
        """The kernel's elements stay for their minute: a filter that begins meanwhile goes on holding."""
        if self._call is not None:
            self._call.stop()


def end_connections(devices: dict[bytes, tuple[bytes, ...]], policy: Policy) -> int:
    """In a child process: ends what devices have open with the Internet. Raises OSError.

    An address counts as a device's if the kernel has the device's MAC for it, or no other one.
    """
    from cpe_filter.home.neighbour_table import confirmed
    from cpe_filter.live.notify.connections import end

    neighbours = confirmed(policy.network.lan)
    addresses = {address for address, mac in neighbours.items() if mac in devices}
    for used in devices.values():
        addresses.update(address for address in used if address not in neighbours)
    return end(addresses, policy.notice.helpful, _PORTS)
