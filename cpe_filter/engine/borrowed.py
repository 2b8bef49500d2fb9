"""Connections whose packets carry a MAC, while another MAC answers for the client's address.

A device on a cable can put a neighbour's MAC into its frames and keep its own address, to which the router answers by
its table of neighbours. So it completes handshakes. Nothing shows then which of the two MACs has sent them: a device
can also claim an address for a neighbour's MAC. So the address is a device of its own, a stranger, and neither MAC is
accused. Composes devices, judge and decide. Must not know packets, or how the router knows its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.enforce import decide
from cpe_filter.enforce.decide import BLOCK, EXPLAIN, REFUSE, Decision
from cpe_filter.engine.flows import Flow
from cpe_filter.engine.judge import Judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.device import Device
    from cpe_filter.lean.clocks import PacketTime

    #: Packed address, packed MAC, whether the answer must be sure -> whether another MAC answers for the address.
    Borrowed = Callable[[bytes, bytes, bool], bool]

#: MACs that are remembered for each address.
MACS = 8


class BorrowedMacs:
    """Asked at the beginning of each connection, and again once both ends have completed its handshake."""

    def __init__(self, judge: Judge, borrowed: Borrowed | None) -> None:
        self._judge = judge
        self._borrowed = borrowed
        self._rest: Device | None = None

    def key(self, key: bytes, client: bytes) -> bytes:
        """The key of a device that opens a connection: its address if it was seen to borrow this MAC, else `key`.

        A SYN alone shows nothing, because any host can send it in any name.
        """
        if self._borrowed is None or len(key) != 6:
            return key
        device = self._judge.devices.find(client)
        if device is None or key not in device.borrowed or not self._borrowed(client, key, False):
            return key
        return client

    def established(self, flow: Flow, time: PacketTime) -> None:
        """A connection is completed: if its MAC is borrowed, it is the address's, and so is what follows."""
        mac, client = flow.device.key, flow.session.client
        if self._borrowed is None or len(mac) != 6 or not self._borrowed(client, mac, True):
            return
        judge = self._judge
        policy, server = judge.policy, flow.session.server
        decide.give_back(policy, flow.device, flow.decision)
        device = judge.home.device(client, time)
        if judge.devices.find(client) is not device:  # the table is full: the others are one, or each would take 3 kB
            device = self._rest = self._rest or device
        device.last_seen = time
        if mac not in device.borrowed:
            device.borrowed = (*device.borrowed, mac)[-MACS:]
        connection = judge.detector.opened(device, server, time)
        connection.explained = flow.explained
        flow.shared = judge.home.opened(connection, server, client, time)
        flow.connection, flow.borrowed = connection, mac
        if not flow.explained:
            flow.decision = without_kernel(decide.on_connection(policy, device, server, connection.new, time))


def without_kernel(decision: Decision) -> Decision:
    """A decision about a borrowed MAC: the connection alone is refused, because the kernel knows MACs only."""
    return decision._replace(action=REFUSE) if decision.action in (BLOCK, EXPLAIN) else decision
