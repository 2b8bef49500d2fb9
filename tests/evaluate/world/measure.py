"""One sender's life through detector and decisions: who is convicted, who suspected, when and why.

Knows the seams of the detector and of `enforce.decide`. Must not know how senders behave. Results are small and
picklable, because the lives are spread over processes.
"""

from __future__ import annotations

import itertools
import random
from functools import lru_cache
from typing import NamedTuple

from cpe_filter.detect import replies, unusual
from cpe_filter.detect.detector import Detector
from cpe_filter.detect.device import ROUTER, Device, Devices
from cpe_filter.detect.names import registered_domain
from cpe_filter.detect.score import CLEAR, COMPROMISED, SUSPECTED, UNUSUAL
from cpe_filter.enforce import decide
from cpe_filter.enforce.ruleset_names import LIMITED_S
from cpe_filter.engine.responder_answers import Answering, ResponderAnswers
from cpe_filter.explain.questions import Questions
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.session import LOST, TRYING
from cpe_filter.lean.clocks import Mono, PacketTime
from cpe_filter.policy.model import Policy
from tests.evaluate.facts import Player, Session, play
from tests.evaluate.intervals import NEVER
from tests.evaluate.published import METHODS, All
from tests.evaluate.signed import InForce
from tests.evaluate.world.converse import EXPLAIN, PASS, REFUSE
from tests.evaluate.world.delivery import Attempt, Attempts
from tests.evaluate.world.sets import load
from tests.policies import make_policy

DEVICE = bytes.fromhex("020000000101")
_LIMITED = {
    "sender": (decide.on_message,),
    "recipient": (decide.on_recipient,),
    "tls": (decide.on_message, decide.on_recipient),
}
#: The home's address of the device, and the seconds that a connection with the responder's tests takes.
_ADDRESS, _TEST_S = bytes((192, 0, 2, 10)), 6.0
#: Attempts that are made at most, for each connection that counts: most of a fast bot's meet a limit.
_MOST = 20


class Task(NamedTuple):
    """cap: connections after which a life ends: a busy sender's year is cut short. why: keep the evidence."""

    set: str
    name: str
    seed: int
    mode: str
    cap: int
    days: int = 365
    why: bool = False
    compare: bool = False
    tests: bool = True


class Life(NamedTuple):
    """A device's. at: at which of its connections (a bot's own; refused ones do not count) it was convicted, suspected.

    kind: "" for a legitimate device, else the bot's class. unusual: other standings that it had. alarms: days with an
    alarm, or for a bot its connections until the first, for each published method (empty: not compared).
    """

    name: str
    kind: str
    seed: int
    connections: int
    days: float
    suspected_at: float
    convicted_at: float
    early: bool
    unusual: tuple[str, ...]
    why: str
    alarms: dict[str, float]


def remember_readings() -> None:
    """Servers here give some hundred replies: each is read once. The reading is pure, so nothing else changes."""
    if not hasattr(replies.read, "cache_info"):
        replies.read = lru_cache(8192)(replies.read)


def attempts(task: Task) -> tuple[str, Attempts]:
    """A sender's class ("" if legitimate) and its connections; the same for the same name and seed."""
    senders = load(task.set)
    rng = random.Random(f"{task.name} {task.seed}")
    if task.name in senders.legitimate:
        return "", senders.legitimate[task.name](rng, task.days)
    kind, make = senders.bots[task.name]
    return kind, make(rng)


def life(task: Task) -> Life:
    """Plays a device until it is convicted, or to the end."""
    kind, stream = attempts(task)
    gate = Gate(task.mode, device_key(task.name), task.tests)
    count = 0
    suspected_at = convicted_at = NEVER
    early, others = False, set[str]()
    for attempt in itertools.islice(stream, _MOST * task.cap):
        if count >= task.cap or attempt.time > task.days * 86400:
            break
        count += (gate.take(attempt).phase != TRYING) and (attempt.spam or not kind)
        standing = gate.worst()
        if standing == COMPROMISED:
            convicted_at, early = count, not count
            if count:
                suspected_at = min(suspected_at, count)
            break
        if standing == SUSPECTED:
            if count:
                suspected_at = min(suspected_at, count)
        elif standing:
            others.add(standing)
    why = explain(gate.device) if task.why else ""
    alarms = compare(task) if task.compare else {}
    days = gate.time / 86400
    return Life(
        task.name, kind, task.seed, count, days, suspected_at, convicted_at, early, tuple(sorted(others)), why, alarms
    )


def device_key(name: str) -> bytes:
    """The router's own where the sender is called so."""
    return ROUTER if name.startswith("router") else DEVICE


class Gate:
    """A home's filter in one mode, for one device."""

    def __init__(self, mode: str, key: bytes = DEVICE, tests: bool = True) -> None:
        self.policy: Policy = make_policy(mode=mode, tests=tests)
        self.detector = Detector()
        self.detector.signed_rows = InForce.rows
        self.device: Device = Devices().get(key, 0.0)
        self._questions, self._answers = Questions(self.policy.explain), ResponderAnswers()
        self._explained_at = float("-inf")
        self.time = 0.0
        self._player = Player(self.detector)
        self._limited = float("-inf")
        self._proven = False
        self._lookups: list[bool] = []  # what it asked before its first connection, as engine.judge keeps it

    def listen(self, detector: Detector) -> None:
        """Puts another detector in its place, before the first connection."""
        detector.signed_rows = InForce.rows
        self.detector, self._player = detector, Player(detector)

    def worst(self) -> str:
        """The worst standing since it was last asked: a device may be suspected within one connection only."""
        changes = [change.after for change in self.detector.changes]
        self.detector.changes.clear()
        standings = [*changes, self.device.score.standing]
        for standing in (COMPROMISED, SUSPECTED):
            if standing in standings:
                return standing
        return next((standing for standing in standings if standing != "clear"), "")

    def take(self, attempt: Attempt) -> Session:
        """A connection of the device: decides, lets it happen, and tells the detector."""
        self.time = time = max(self.time, attempt.time)
        self._player.until(time)
        self._asks(attempt.mx_question)
        if time < self._limited:  # the kernel refuses it without us
            return attempt.meet(REFUSE)
        device, server = self.device, attempt.address
        new = self.detector.joined(device, server).new
        decision = decide.on_connection(self.policy, device, server, new, time)
        if decision.action == decide.EXPLAIN:
            session = self._explained(attempt)
        elif decision.action == decide.PASS:
            session = attempt.meet(PASS)._replace(time=time)
            if session.phase in (LOST, TRYING):
                decide.give_back(self.policy, device, decision)
            self._passed(attempt, session)
        else:
            if decision.action == decide.LIMIT:
                self._limited = time + LIMITED_S
            session = attempt.meet(REFUSE)._replace(time=time)
            play(self.detector, device, session)
        if session.events:
            self._deals(session, decision.action == decide.EXPLAIN)
        if session.events and not self._proven:
            self._proven = True
            for foreign in self._lookups:
                self.detector.on_mx_query(device, foreign, time)
        return session

    def _deals(self, session: Session, explained: bool) -> None:
        """Whom the device has dealt with, as engine.judge keeps it: it may pass for a mail server."""
        device, time = self.device, self.time
        for event in session.events:
            operator = ""
            if explained and event.kind == "recipient":
                operator = registered_domain(event.name)
            elif not explained and event.kind == "greeting" and event.reply is not None:
                before = event.reply.before
                operator = unusual.operator(before[0] if before else event.reply.text[4:])
            if operator:
                device.operators = unusual.contacted(device.operators, operator, time, len(device.helos))
        if device.score.standing == CLEAR and unusual.is_mail_server(device, time):
            device.score.standing = UNUSUAL
        elif device.score.standing == UNUSUAL and unusual.has_stopped(device, time):
            device.score.standing = CLEAR

    def _asks(self, question: str) -> None:
        """An MX question that passes the router."""
        if question and self._proven:
            self.detector.on_mx_query(self.device, question == "foreign", self.time)
        elif question:
            self._lookups = [*self._lookups[-7:], question == "foreign"]

    def _explained(self, attempt: Attempt) -> Session:
        """A connection to the responder, with its tests, as engine.judge reports what they show."""
        device, time, tell = self.device, self.time, self.detector.event
        alone, self._explained_at = time - self._explained_at > _TEST_S, time
        asked = self._questions.of(_ADDRESS, alone, Mono(time))
        if asked is not None:
            asked.time = Mono(time)
        session = attempt.meet(EXPLAIN, asked)._replace(time=time)
        if asked is not None:
            asked.ended()
        device.last_seen = time
        connection = self.detector.opened(device, session.server, time)
        connection.explained = True
        self.detector.established(connection, time)
        answering = Answering()
        for event in self._answers.connected(device.key, PacketTime(time)):
            tell(connection, event, time)
        for event in session.told:
            tell(connection, event, time)
            answer = answering.event(event)
            if answer:
                if answer == "took-tls":
                    connection.offered_tls = False
                tell(connection, Event("responder", answer), time)
            returned = self._answers.returned(device.key, answering, event, PacketTime(time))
            if returned is not None:
                tell(connection, returned, time)
        answer = answering.ended(session.quit)
        if answer:
            tell(connection, Event("responder", answer), time)
        self.detector.ended(connection, session.phase, session.quit, time)
        return session

    def _passed(self, attempt: Attempt, session: Session) -> None:
        """What passes may still go over a limit with a message or recipient: then it ends there."""
        device, time = self.device, session.time
        if decide.effective_mode(self.policy, device) != "limit" or not session.events:
            if session.phase == LOST:
                self._player.play(device, session)
            else:
                play(self.detector, device, session)
            return
        connection = self.detector.opened(device, session.server, time)
        device.last_seen = time
        self.detector.established(connection, time)
        for event in session.told:
            self.detector.event(connection, event, time)
            for limit in _LIMITED.get(event.kind, ()):
                if limit(self.policy, device, session.server, time) is not None:
                    attempt.cut()
                    return
        self.detector.ended(connection, session.phase, session.quit, time)


def explain(device: Device, most: int = 12) -> str:
    """The evidence that weighs most, as far as the detector tells."""
    tallies = getattr(device.score, "tallies", {})
    rows = []
    for name, tally in tallies.items():
        weight = getattr(tally, "weight", 0.0)
        count = next((getattr(tally, key) for key in ("count", "number", "times") if hasattr(tally, key)), "")
        rows.append((abs(weight), f"{weight:+.1f} {name}{f' x{count}' if count != '' else ''}"))
    nearest = getattr(device.score, "nearest_profile", "")
    value = getattr(device.score, "value", 0.0)
    return f"{value:.1f} {nearest}: " + ", ".join(text for _, text in sorted(rows, reverse=True)[:most])


def compare(task: Task) -> dict[str, float]:
    """The published methods on the same sender, without any filter."""
    kind, stream = attempts(task)
    methods = All()
    found: dict[str, float] = dict.fromkeys(METHODS, NEVER)
    count = 0
    for attempt in itertools.islice(stream, _MOST * task.cap):
        if count >= task.cap or attempt.time > task.days * 86400:
            break
        count += attempt.spam or not kind
        for method in methods.see(attempt.meet(PASS)):
            if count and found[method] == NEVER:
                found[method] = count
    return found if kind else {name: float(days) for name, days in methods.alarms.items()}
