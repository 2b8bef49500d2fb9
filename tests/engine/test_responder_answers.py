"""What a device answers to the responder's tests becomes events, from the packets of its connections alone."""

from __future__ import annotations

from typing import Any

import pytest

from cpe_filter.detect.detector import Connection
from cpe_filter.engine import Engine
from cpe_filter.engine.responder_answers import RETURN_WITHIN_S, Answering, ResponderAnswers
from cpe_filter.explain.dialogue import Dialogue, Texts
from cpe_filter.explain.questions import Questions
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.lean.clocks import Mono, PacketTime
from tests.build import ACK, PSH, START, Conversation
from tests.engine.test_engine import MAC, OTHER
from tests.policies import make_policy

LATER = START + RETURN_WITHIN_S + 60.0


class House:
    """Devices, the responder's own dialogue, and an engine that sees both. `events`: what the detector gets."""

    def __init__(self, **policy: Any) -> None:
        self.policy = make_policy(mode="block", **policy)
        self.engine = Engine(self.policy)
        self.questions = Questions(self.policy.explain)
        self.events: list[tuple[bytes, Event]] = []
        detector = self.engine._judge.detector
        passed = detector.event

        def event(connection: Connection, event: Event, time: float) -> None:
            self.events.append((connection.device.key, event))
            passed(connection, event, time)

        detector.event = event  # type: ignore[method-assign]
        self._port = 40000

    def talk(self, *lines: str, time: float = START, mac: bytes = MAC, early: str = "", leaves: bool = True) -> None:
        """A client sends each line after the reply to the one before it.

        early: a line that it sends, too, in the pause of the greeting, or in that of the reply to EHLO.
        """
        self._port += 1
        said = Conversation(server=f"198.51.{self._port % 200}.25", sport=self._port, time=time).open()
        asked = self.questions.of(mac, True, Mono(time))
        if asked is not None:
            asked.time = Mono(time)
        dialogue = Dialogue(Texts("Not from here."), asked)

        def server(reply: bytes) -> None:
            said.packet(False, PSH | ACK, reply)
            while dialogue.pauses:
                if early and (reply[:3] == b"220") == early.startswith(("HELO", "EHLO")):
                    client(early)
                said.packet(False, PSH | ACK, dialogue.reply())

        def client(line: str) -> None:
            said.packet(True, PSH | ACK, line.encode() + b"\r\n")
            dialogue.receive(line.encode() + b"\r\n")

        server(dialogue.greeting())
        for line in lines:
            client(line)
            while reply := dialogue.reply():
                server(reply)
        if asked is not None:
            asked.ended()
        said.close()
        for packet in said.packets if leaves else said.packets[:-2]:
            self.engine.packet(PacketTime(packet.time), 0 if packet.from_client else 4, mac, packet.data)

    @property
    def answers(self) -> list[str]:
        """What has been answered since the last look."""
        events, self.events = self.events, []
        return [event.name for _, event in events if event.kind == "responder"]


MAIL = ("MAIL FROM:<ann@home.example>", "RCPT TO:<ben@friends.example>")


def test_a_mail_program_answers_all() -> None:
    house = House()
    house.talk("EHLO a.example", "STARTTLS", *MAIL, "QUIT")
    assert house.answers == ["waited", "took-tls", "coped"]
    house.talk("EHLO a.example", "STARTTLS", *MAIL, "QUIT", time=START + 300.0)
    assert house.answers == ["waited", "took-tls", "coped", "returned"]
    house.talk("EHLO a.example", "STARTTLS", *MAIL, "QUIT", time=START + 600.0)
    assert house.answers == ["waited", "took-tls", "coped"]


@pytest.mark.parametrize(
    ("lines", "early", "answers"),
    [
        (("EHLO a.example", *MAIL, "QUIT"), "", ["waited", "declined-tls", "coped"]),
        (("HELO a.example", *MAIL, "QUIT"), "", ["waited"]),
        ((*MAIL, "QUIT"), "HELO a.example", ["talked-early"]),
        (("EHLO a.example", *MAIL), "MAIL FROM:<a@b>", ["waited", "broke", "declined-tls"]),
        (("EHLO a.example", "HELO a.example", *MAIL), "", ["waited", "broke", "declined-tls"]),
        (("EHLO a.example",), "", ["waited", "broke"]),
        (("EHLO a.example", "QUIT"), "", ["waited"]),
        (("EHLO a.example", "STARTTLS"), "", ["waited", "took-tls"]),
        (("EHLO a.example", "STARTTLS", "EHLO a.example", *MAIL), "", ["waited", "took-tls", "coped"]),
        ((), "", ["waited"]),
    ],
)
def test_answers(lines: tuple[str, ...], early: str, answers: list[str]) -> None:
    house = House()
    house.talk(*lines, early=early)
    assert house.answers == answers


@pytest.mark.parametrize(
    ("off", "lacking"),
    [
        ("test_patience", "waited"),
        ("test_replies", "coped"),
        ("test_starttls", "took-tls"),
        ("test_retry", "returned"),
    ],
)
def test_what_is_not_asked_is_not_answered(off: str, lacking: str) -> None:
    house = House(**{off: False})
    house.talk("EHLO a.example", "STARTTLS", *MAIL, "QUIT")
    house.talk("EHLO a.example", *MAIL, "QUIT", time=START + 300.0)
    assert {"waited", "coped", "took-tls", "returned"} - set(house.answers) == {lacking}
    house = House(tests=False)
    house.talk("EHLO a.example", "STARTTLS", *MAIL, "QUIT")
    assert house.answers == []


def test_coming_back_has_its_time() -> None:
    house = House()
    house.talk("HELO a.example", *MAIL, "QUIT")
    house.talk("HELO a.example", *MAIL, "QUIT", time=START + 300.0)
    (event,) = [event for _, event in house.events if event.name == "returned"]
    assert event.number == 300


def test_who_goes_on_and_does_not_come_back() -> None:
    house = House()
    for number in range(5):
        house.talk("HELO a.example", MAIL[0], f"RCPT TO:<x@{number}.example>", time=START + number)
    assert house.answers == ["waited"] * 5
    house.talk("HELO a.example", time=LATER, mac=OTHER)
    assert house.answers == ["waited"], "another device has nothing to come back for"
    house.talk("HELO a.example", time=LATER + 1)
    assert house.answers == ["did-not-return"] * 3 + ["waited"]
    house.talk("HELO a.example", time=LATER + 2)
    assert house.answers == ["waited"], "it counts once"


def test_silence_is_not_an_answer() -> None:
    """A device that is off cannot come back."""
    house = House()
    house.talk("HELO a.example", *MAIL)
    house.engine.tick(PacketTime(LATER))
    assert house.answers == ["waited"]


def test_a_mail_program_that_took_tls_has_not_declined_it() -> None:
    house = House(test_patience=False, test_replies=False)
    house.talk("EHLO a.example", "STARTTLS", *MAIL, "QUIT")
    device = house.engine.devices.find(MAC)
    assert device is not None
    assert "declines-tls" not in device.score.tallies
    house.talk("EHLO a.example", *MAIL, "QUIT", mac=OTHER)
    device = house.engine.devices.find(OTHER)
    assert device is not None
    assert "declines-tls" in device.score.tallies


def test_servers_that_are_not_the_responder_are_asked_nothing() -> None:
    house = House()
    house.engine.reload(make_policy(mode="monitor"))
    house.talk("EHLO a.example", *MAIL, "QUIT")
    assert house.events
    assert house.answers == []


def test_memory_is_bounded() -> None:
    answers, answering = ResponderAnswers(), Answering()
    for number in range(100):
        for envelope in range(100):
            recipient = Event("recipient", f"x@{envelope}.example", Reply(450, "450 4.7.1 not from here"))
            assert answers.returned(bytes([number]), answering, recipient, PacketTime(START)) is None
    assert len(answers._deferred) == 64
    assert {len(envelopes) for envelopes in answers._deferred.values()} == {12}
    assert len(answers.connected(bytes([99]), PacketTime(LATER))) == 12
    assert answers.connected(bytes([0]), PacketTime(LATER)) == [], "the oldest made room"
