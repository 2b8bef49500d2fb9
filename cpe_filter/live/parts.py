"""What joins the daemon with its control socket and with its state, as parts.

Knows when each is called. Must not know what a request or a state is (control, state).
"""

from __future__ import annotations

from cpe_filter.detect.detector import StandingChanged
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.detect.score import CLEAR
from cpe_filter.engine import Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.live.control import Control
from cpe_filter.live.control_socket import ControlSocket
from cpe_filter.live.part import Part
from cpe_filter.live.state import State
from cpe_filter.status import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ControlPart(Part):
    """The control socket, and work that is due while there is no request."""

    def __init__(self, control_socket: ControlSocket, control: Control) -> None:
        self._socket = control_socket
        self._control = control

    def __contains__(self, fd: int) -> bool:
        return fd in self._socket

    def serve(self, fd: int) -> None:
        self._socket.serve(fd)

    def tick(self, now: PacketTime) -> None:
        self._socket.tick(now)
        if not self._socket.is_busy:
            work = self._control.due(now)
            if work is not None:
                self._socket.between(work)

    def facts(self) -> dict[str, Any]:
        return {"policy": self._control.policy_facts(), **status.exemptions(*self._control.in_force(status.EXEMPT))}

    def close(self) -> None:
        self._socket.close()
        self._control.close()


class StatePart(Part):
    """The state that survives restarts."""

    def __init__(self, state: State, engine: Engine) -> None:
        self._state = state
        self._engine = engine

    def step(self, now: PacketTime) -> bool:
        return self._state.tick(self._engine.devices.known(), now)

    def standing_changed(self, event: StandingChanged) -> None:
        self._state.changed(event.device, event.time)

    def device_rekeyed(self, event: DeviceRekeyed) -> None:
        if event.device.score.standing != CLEAR:
            self._state.changed(event.device, event.time)

    def save(self, now: PacketTime) -> None:
        self._state.close(self._engine.devices.known(), now)
