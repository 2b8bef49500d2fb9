"""Facts of connections -> evidence -> standing: which fact is which indicator, for which device.

Knows sessions' facts (inspect.smtp's events), names, replies, the table of indicators and the score. Must not know
packets, policy or what is done about a standing. Three calls tell a connection's story: `opened`, `event` for each
thing that happened, `ended`; whoever has no packets (a simulation of years) makes the same calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cpe_filter.detect import replies
from cpe_filter.detect.device import ROUTER, Device
from cpe_filter.detect.evidence import FROM_NAME, FROM_REPLY, FROM_VIOLATION
from cpe_filter.detect.names import kind_of_name, registered_domain
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED
from cpe_filter.inspect.address import NULL_SENDER
from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, RESET
from cpe_filter.inspect.smtp import Event

#: More new servers than this within a minute is a burst.
BURST = 5
_NAMES, _DOMAINS = 16, 64


class StandingChanged(NamedTuple):
    """A device's standing is now another. `connection`: how many it had opened by then."""

    time: float
    device: Device
    before: str
    after: str
    connection: int
    indicator: str


class Connection:
    """What the detector holds of a running connection. `fresh`: the server's neighbourhood is new to the device."""

    __slots__ = ("device", "fresh", "gained", "helo", "null_sender")

    def __init__(self, device: Device, fresh: bool) -> None:
        self.device = device
        self.fresh = fresh
        self.gained = 0.0  # what its words have added to the score
        self.helo = ""
        self.null_sender = False


class Step(NamedTuple):
    """One piece of evidence as it counted: what it added to the score (nats), and the score after it."""

    time: float
    device: Device
    connection: int
    indicator: str
    added: float
    score: float


class Detector:
    """Stateless but for `changes`, which the caller empties; all memory is in the devices.

    `trace` is called with each `Step`, for those who want to show how a score came about.
    """

    def __init__(self, trace: Callable[[Step], None] | None = None) -> None:
        self.changes: list[StandingChanged] = []
        self._trace = trace

    def opened(self, device: Device, server: bytes, time: float) -> Connection:
        """A device has opened a connection to a server (packed address): what the SYN alone shows."""
        connection = Connection(device, device.meets(server))
        device.connections += 1
        if device.key == ROUTER and device.connections == 1:
            self._add(connection, "from-router", time)
        if connection.fresh and len(device.prefixes) > 1:
            self._add(connection, "new-destination", time)
            device.burst = [*[t for t in device.burst if time - t < 60.0][-BURST:], time]
            if len(device.burst) > BURST:
                self._add(connection, "destination-burst", time)
        return connection

    def event(self, connection: Connection, event: Event, time: float) -> None:
        """Something happened in the dialogue."""
        kind, reply = event.kind, event.reply
        if kind == "hello":
            self._hello(connection, event, time)
        elif kind == "sender":
            self._sender(connection, event.name, time)
        elif kind == "recipient":
            connection.device.recipients += 1
        elif kind == "message" and reply is not None and reply.positive:
            connection.device.messages += 1
            self._add(connection, "accepted", time)
        elif kind == "tls":
            self._add(connection, "encrypted", time)
        elif kind == "opaque" and event.name == "not-smtp":
            self._add(connection, "not-smtp", time)
        elif kind == "violation" and event.name in FROM_VIOLATION:
            self._add(connection, event.name, time)
        elif kind == "quirk" and event.name == "path-spaced":
            self._add(connection, "path-spaced", time)
        elif kind == "reply" and event.name == "AUTH" and reply is not None and reply.code == 235:
            self._add(connection, "authenticated", time)
        if reply is not None and reply.code >= 400 and event.name != "unknown":
            name = FROM_REPLY[replies.classify(reply)]
            if kind == "greeting" and name in ("refused", "deferred"):
                name = "banner-refused"
            # Bounces and callouts (RFC 5321 section 4.5.5) go to whoever was forged: that they fail says little.
            self._add(connection, name, time, connection.fresh and not connection.null_sender)

    def ended(self, connection: Connection, phase: str, quit_sent: bool, time: float) -> None:
        """A connection is over: what its end shows. `phase` as in inspect.session."""
        if phase == LOST:
            self._add(connection, "connect-lost", time)
        elif phase == REFUSED:
            self._add(connection, "connect-refused", time)
        elif phase in (CLOSED, RESET) and quit_sent:
            self._add(connection, "took-leave", time)

    def _hello(self, connection: Connection, event: Event, time: float) -> None:
        device, name = connection.device, event.name.lower()
        connection.helo = name
        indicator = FROM_NAME.get(kind_of_name(name))
        if indicator:
            self._add(connection, indicator, time)
        if not event.number:
            self._add(connection, "helo-not-ehlo", time)
        if name not in device.helos and len(device.helos) < _NAMES:
            device.helos.add(name)
            if len(device.helos) > 2:
                self._add(connection, "helo-rotates", time)

    def _sender(self, connection: Connection, sender: str, time: float) -> None:
        device = connection.device
        domain = sender.rpartition("@")[2].lower()
        connection.null_sender = sender == NULL_SENDER
        if not domain or connection.null_sender:
            return
        if connection.helo and registered_domain(connection.helo) != registered_domain(domain):
            self._add(connection, "sender-unrelated", time)
        if domain not in device.sender_domains and len(device.sender_domains) < _DOMAINS:
            device.sender_domains.add(domain)
            if len(device.sender_domains) > 3:
                self._add(connection, "sender-rotates", time)

    def _add(self, connection: Connection, name: str, time: float, fresh: bool | None = None) -> None:
        device = connection.device
        score = device.score
        before, value = score.standing, score.value
        connection.gained = score.add(name, connection.gained, connection.fresh if fresh is None else fresh)
        if self._trace is not None:
            self._trace(Step(time, device, device.connections, name, score.value - value, score.value))
        if not score.judge():
            return
        if score.standing == SUSPECTED and before == CLEAR:
            device.suspected_at = (time, device.connections)
        elif score.standing == COMPROMISED:
            device.suspected_at = device.suspected_at or (time, device.connections)
            device.compromised_at = (time, device.connections)
        elif score.standing == CLEAR:
            device.suspected_at = None
        self.changes.append(StandingChanged(time, device, before, score.standing, device.connections, name))
