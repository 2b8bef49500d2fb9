"""The protocol between the daemon's loop and its parts, the same for all.

Knows when a part is called. Must not know what a part does. A part overrides the methods that it needs; a part that is
not needed is not in the daemon's list.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpe_filter.detect.detector import StandingChanged
    from cpe_filter.detect.mac_rotation import DeviceRekeyed
    from cpe_filter.lean.clocks import PacketTime
    from cpe_filter.policy.model import Policy


class Part:
    """A part of the daemon. Times are seconds of the engine's clock, which never goes back."""

    def __contains__(self, fd: int) -> bool:
        """Whether the part has registered this descriptor with the daemon's `poll`."""
        return False

    def serve(self, fd: int) -> None:
        """One of its descriptors is ready."""

    def tick(self, now: PacketTime) -> None:
        """A second has passed."""

    def step(self, now: PacketTime) -> bool:
        """In each turn of the loop: a slice of the work that is due. True: there is more."""
        return False

    def reload(self, policy: Policy) -> None:
        """This policy is in force from now on."""

    def facts(self) -> dict[str, Any]:
        """What the part adds to the status."""
        return {}

    def standing_changed(self, event: StandingChanged) -> None:
        """A device has a new standing."""

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        """A device continues under another key."""

    def end_quarantine(self, key: bytes) -> bool:
        """Ends a device's quarantine, where the part holds it."""
        return False

    def save(self, now: PacketTime) -> None:
        """An orderly end: saves what must outlive the part. `close` follows."""

    def close(self) -> None:
        """The end: releases everything."""
