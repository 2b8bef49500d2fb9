"""What connections show about devices, and what a change of standing does to connections.

Composes the detector, the home's strangers and decide. Must not know packets or the table's bounds. Only connections
whose handshake both ends have completed give evidence, because any host can send a SYN in a neighbour's name.
"""

from __future__ import annotations

from collections.abc import Callable

from cpe_filter.detect import unusual
from cpe_filter.detect.detector import Detector, StandingChanged, Step
from cpe_filter.detect.device import HOME, ROUTER, Device, Devices
from cpe_filter.detect.home import Home
from cpe_filter.detect.mac_rotation import DeviceRekeyed
from cpe_filter.detect.names import registered_domain
from cpe_filter.detect.recent_mx import RecentMx
from cpe_filter.detect.score import CLEAR, COMPROMISED, UNUSUAL
from cpe_filter.enforce import decide
from cpe_filter.enforce.decide import PASS, Decision
from cpe_filter.engine.flows import Flow, Refused
from cpe_filter.engine.responder_answers import ResponderAnswers
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.session import LOST, REFUSED, TRYING
from cpe_filter.inspect.smtp import NO_EVENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing
    from cpe_filter.inspect.session import Phase
    from cpe_filter.lean.clocks import PacketTime
    from cpe_filter.policy.model import Policy

#: Events of a dialogue that wait for the handshake to be completed: a greeting, and what little may follow it.
_HELD_EVENTS = 16
#: Which events count against which limits. What TLS hides has at least one message and one recipient.
_LIMITED = {
    "sender": (decide.on_message,),
    "recipient": (decide.on_recipient,),
    "tls": (decide.on_message, decide.on_recipient),
}


class Judge:
    """The engine calls it with what happens to a connection, in the order in which it happens.

    events: changes of standing, refusals, devices under a new key. flows: all connections that are remembered. known:
    whether the router knows a packed MAC (None: all are known). The engine sets `policy`.
    """

    def __init__(
        self,
        policy: Policy,
        devices: Devices,
        flows: dict[bytes, Flow],
        known: Callable[[bytes], bool] | None,
        trace: Callable[[Step], None] | None,
    ) -> None:
        self.policy = policy
        self.events: list[StandingChanged | Refused | DeviceRekeyed] = []
        self.recent_mx = RecentMx()
        self.detector = Detector(trace)
        self.home = Home(devices)
        self._answers = ResponderAnswers()
        self.devices = devices
        self._flows = flows
        self._known = known

    # ── the story of a connection ───────────────────────────────────────────────────────────────

    def established(self, flow: Flow, time: PacketTime) -> None:
        """Both ends have completed the handshake: the addresses of device and server are genuine."""
        device = flow.device
        flow.counts = True
        device.seen(time, flow.session.client)
        if not device.proven:
            device.proven = True
            self._credit_mx_queries(device, time)
        self.detector.established(flow.connection, time)
        if flow.shared is not None:
            self.home.established(flow.shared, flow.connection, time)
        if flow.answering is not None:
            for event in self._answers.connected(device.key, time):
                self._evidence(flow, event, time)
        self.changed_standings(time)

    def dialogue_events(self, flow: Flow, time: PacketTime) -> None:
        """Passes events to the detector, and carries out what follows from them."""
        dialogue = flow.session.dialogue
        if not flow.counts:
            if dialogue.events:
                self._without_evidence(flow, time)
            return
        if not flow.spoke and flow.session.spoken:
            flow.spoke = True
            flow.device.sessions += 1
            self.devices.keep(flow.device)
            if flow.shared is not None:
                flow.shared.device.sessions += 1
        while dialogue.events:
            events, dialogue.events = dialogue.events, NO_EVENTS
            for event in events:
                self._evidence(flow, event, time)

    def _evidence(self, flow: Flow, event: Event, time: PacketTime) -> None:
        passing = flow.decision.action == PASS
        if event.name == "no-quit" and not (passing or flow.explained):
            return  # we cut it off
        self.detector.event(flow.connection, event, time)
        if flow.shared is not None:
            self.home.event(flow.shared, flow.connection, event, time)
        if event.kind == "greeting" or (flow.explained and event.kind == "recipient"):
            self._contacted(flow, event, time)
        if passing and event.kind in _LIMITED:
            self._limit(flow, event, time)
        if flow.answering is not None:
            self._answered(flow, event, time)
        if self.detector.changes or flow.shared is not None:
            self.changed_standings(time)

    def _answered(self, flow: Flow, event: Event, time: PacketTime) -> None:
        """An event of a connection to the responder may answer one of its tests."""
        answering = flow.answering
        if answering is None or event.kind == "responder":
            return
        answer = answering.event(event)
        if answer:
            if answer == "took-tls":
                flow.connection.offered_tls = False  # it has not declined it
                if flow.shared is not None:
                    flow.shared.offered_tls = False
            self._evidence(flow, Event("responder", answer), time)
        returned = self._answers.returned(flow.device.key, answering, event, time)
        if returned is not None:
            self._evidence(flow, returned, time)

    def _without_evidence(self, flow: Flow, time: PacketTime) -> None:
        """Events before the completed handshake wait. If its beginning was not seen, the connection is limited."""
        session, dialogue = flow.session, flow.session.dialogue
        if flow.opened and not session.two_sided:
            if len(dialogue.events) > _HELD_EVENTS:
                dialogue.events = NO_EVENTS
            return
        events, dialogue.events = dialogue.events, NO_EVENTS
        if session.two_sided and events and decide.effective_mode(self.policy, flow.device) == "limit":
            flow.connection.device = self.home.device(flow.device.key, time)
            for event in events:
                self._limit(flow, event, time)

    def _limit(self, flow: Flow, event: Event, time: PacketTime) -> None:
        for limit in _LIMITED.get(event.kind, ()):
            if flow.decision.action == PASS:
                _obey(flow, limit(self.policy, flow.device, flow.session.server, time))

    def ended(self, flow: Flow, time: PacketTime) -> None:
        """A connection is closed. If we ended it, its end shows nothing."""
        self.dialogue_events(flow, time)
        if flow.decision.action != PASS and not flow.explained:
            return
        phase, quit_sent = flow.session.phase, flow.session.dialogue.quit_sent
        if flow.counts:
            answer = flow.answering.ended(quit_sent) if flow.answering is not None else ""
            if answer:
                self._evidence(flow, Event("responder", answer), time)
            self.detector.ended(flow.connection, phase, quit_sent, time)
            if flow.shared is not None:
                self.home.ended(flow.shared, flow.connection, phase, quit_sent, time)
        elif flow.explained:
            self.refused_syn(flow, time)
        else:
            if phase in (LOST, REFUSED):
                self._unanswered(flow, phase, time)
            decide.give_back(self.policy, flow.device, flow.decision)
        self.changed_standings(time)

    def cut_short(self, flow: Flow, time: PacketTime) -> None:
        """Nothing more of this connection will be seen: counts what is known."""
        flow.session.end_of_input()
        self.dialogue_events(flow, time)
        if flow.session.phase == TRYING and flow.decision.action == PASS:
            self._unanswered(flow, TRYING, time)
            self.changed_standings(time)

    def refused_syn(self, flow: Flow, time: PacketTime) -> None:
        """We refused a SYN, and no dialogue followed: evidence about the home alone, if the device is a stranger.

        A neighbour may have sent it in the device's name. Made-up names gain nothing.
        """
        if self._knows(flow.device):
            self.detector.refused(flow.connection)
        if flow.shared is not None:
            self.home.unanswered(flow.shared, flow.connection, TRYING, time)

    def _unanswered(self, flow: Flow, phase: Phase, time: PacketTime) -> None:
        """A SYN that passed got no answer. Any host in the home can send one in another device's name."""
        if flow.opened and self._knows(flow.device):
            flow.device.seen(flow.device.last_seen, flow.session.client)
            self.detector.unanswered(flow.connection, phase, time)
        if flow.opened and flow.shared is not None:
            self.home.unanswered(flow.shared, flow.connection, phase, time)

    def _knows(self, device: Device) -> bool:
        """Whether the router knows this device by more than the packets themselves."""
        if self._known is None or device.key == ROUTER:
            return True
        return device.mac is not None and self._known(device.mac)

    def refuse(self, flow: Flow, time: PacketTime) -> None:
        """A connection is refused, or ends by our decision: counted once."""
        flow.device.refused += 1
        if flow.shared is not None:
            flow.shared.device.refused += 1
        self.events.append(Refused(time, flow))

    # ── mail servers (see detect.unusual) ───────────────────────────────────────────────────────

    def _contacted(self, flow: Flow, event: Event, time: PacketTime) -> None:
        """A device deals with a server's operator: it may pass for a mail server now."""
        if self.detector.changes:
            self.changed_standings(time)  # in order
        if flow.explained:
            if event.kind != "recipient":
                return  # the greeting is our responder's
            operator = registered_domain(event.name.rpartition("@")[2])
        else:
            reply = event.reply
            operator = unusual.operator(reply.before[0] if reply.before else reply.text[4:]) if reply else ""
        device = flow.device
        if operator:
            device.operators = unusual.contacted(device.operators, operator, time, len(device.helos))
            if device.score.standing == CLEAR and self._is_mail_server(device, time):
                self.events.append(self._unusual(device, CLEAR, time))

    def _is_mail_server(self, device: Device, time: PacketTime) -> bool:
        return unusual.is_mail_server(device, time) and not decide.exempt_everywhere(self.policy, device)

    def _unusual(self, device: Device, before: Standing, time: PacketTime) -> StandingChanged:
        device.score.standing = UNUSUAL
        device.unusual_at = device.unusual_at or (time, device.connections)
        return StandingChanged(time, device, before, UNUSUAL, device.connections, unusual.MAIL_SERVER)

    def review(self, time: PacketTime) -> None:
        """Devices that no longer pass for mail servers, or are exempt now, are clear again."""
        for device in self.devices:
            if device.score.standing != UNUSUAL:
                continue
            if unusual.has_stopped(device, time) or decide.exempt_everywhere(self.policy, device):
                device.score.standing, device.unusual_at = CLEAR, None
                change = unusual.NO_MAIL_SERVER
                self.events.append(StandingChanged(time, device, UNUSUAL, CLEAR, device.connections, change))

    # ── devices ─────────────────────────────────────────────────────────────────────────────────

    def mx_query(self, key: bytes, foreign: bool, time: PacketTime) -> None:
        """A host asked for MX records. A question alone does not make it a device."""
        device = self.devices.find(key)
        if device is None or not device.proven:
            self.recent_mx.add(key, foreign, time)
            return
        device.mx_queries += 1
        self.detector.on_mx_query(device, foreign, time)
        self.changed_standings(time)

    def _credit_mx_queries(self, device: Device, time: PacketTime) -> None:
        """A device mails for the first time: what it asked before counts now."""
        recent = self.recent_mx.take(device.key, time)
        if recent is not None:
            device.mx_queries += recent.queries
            for then, foreign in recent.last:
                self.detector.on_mx_query(device, foreign, then)

    def release(self, device: Device, time: PacketTime) -> bool:
        """A person has declared a compromised device cleaned. False if it is not compromised."""
        if not self.detector.release(device, time):
            return False
        self.changed_standings(time)
        return True

    def changed_standings(self, time: PacketTime) -> None:
        """Passes changes of standing on; a running session of a device just convicted may end by it."""
        if not (self.detector.changes or self.home.changes):
            return
        changes, self.detector.changes = self.detector.changes, []
        changes += self.home.judged(changes)
        for change in changes:
            if change.after == CLEAR:  # no longer suspected
                if self._is_mail_server(change.device, time):
                    self.events.append(self._unusual(change.device, change.before, time))
                    continue
                change.device.unusual_at = None
            self.events.append(change)
            if change.after == COMPROMISED:
                self._end_running(change.device, time)

    def _end_running(self, device: Device, time: PacketTime) -> None:
        """The connections of a device that has just been convicted; of the home, those of its strangers."""
        for flow in self._flows.values():
            its = flow.device.home is not None if device.key == HOME else flow.device is device
            if its and flow.decision.action == PASS and not flow.session.closed:
                _obey(flow, decide.on_running(self.policy, flow.device, flow.session.server, time))


def _obey(flow: Flow, decision: Decision | None) -> None:
    """A decision that ends the connection, if there is one. It is refused with its next packet."""
    if decision is not None:
        flow.decision = decision
