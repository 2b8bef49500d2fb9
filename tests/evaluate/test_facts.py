"""The detector finds the same from facts and from packets, so a year of facts can replace a year of packets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from cpe_filter.detect.detector import Connection, Detector
from cpe_filter.detect.device import ROUTER, Devices
from cpe_filter.engine import FORWARD, LOCAL_IN, LOCAL_OUT, Engine
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.lean.clocks import PacketTime
from tests.evaluate.facts import Player, Session, as_packets, messages
from tests.evaluate.scenarios import DEVICE, SETS, device_key, seeded
from tests.policies import make_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

#: So many connections of each scenario go through both.
CONNECTIONS = 60
BOTS = [(which, name) for which, each in SETS.items() for name in each.bots]
LEGITIMATE = [(which, name) for which, each in SETS.items() for name in each.legitimate]


class Listening(Detector):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Event | str] = []

    def event(self, connection: Connection, event: Event, time: PacketTime) -> None:
        self.told.append(event)
        super().event(connection, event, time)

    def refused(self, connection: Connection) -> None:
        self.told.append("trying")
        super().refused(connection)

    def unanswered(self, connection: Connection, phase: str, time: PacketTime) -> None:
        self.told.append(phase)
        super().unanswered(connection, phase, time)

    def ended(self, connection: Connection, phase: str, quit_sent: bool, time: PacketTime) -> None:
        self.told.append(f"{phase} {quit_sent}")
        super().ended(connection, phase, quit_sent, time)


def by_facts(sessions: Iterable[Session], key: bytes) -> tuple[list[Event | str], list[Standing]]:
    detector, standings = Listening(), []
    device = Devices().get(key, 0.0)
    player = Player(detector)
    for session in sessions:
        player.play(device, session)
        standings.append(device.score.standing)
    return detector.told, standings


def by_packets(sessions: Iterable[Session], key: bytes, mode: str) -> tuple[list[Event | str], list[Standing]]:
    engine, detector, standings = Engine(make_policy(mode=mode, escalate=False, refusal="reset")), Listening(), []
    engine._judge.detector = detector
    to, back = (LOCAL_OUT, LOCAL_IN) if key == ROUTER else (FORWARD, FORWARD)
    for number, session in enumerate(sessions):
        engine.tick(PacketTime(session.time))
        client = "192.0.2.10" if len(session.server) == 4 else "2001:db8:1::10"
        for packet in as_packets(session, client, 1024 + number):
            hwaddr = DEVICE if packet.from_client else b"\2\0\0\0\0\1"
            engine.packet(PacketTime(packet.time), to if packet.from_client else back, hwaddr, packet.data)
        device = engine.devices.find(key)
        assert device is not None
        standings.append(device.score.standing)
    return detector.told, standings


def compare(sessions: list[Session], name: str) -> None:
    key = device_key(name)
    told, standings = by_facts(sessions, key)
    mode = "block" if sessions[0].phase == "trying" else "monitor"
    told_by_packets, standings_by_packets = by_packets(sessions, key, mode)
    assert told_by_packets == told
    assert standings_by_packets == standings


@pytest.mark.parametrize(("which", "name"), BOTS)
@pytest.mark.parametrize("seed", [1, 2])
def test_bots_as_packets(which: str, name: str, seed: int) -> None:
    compare(list(itertools.islice(SETS[which].bots[name](seeded(name, seed)), CONNECTIONS)), name)


@pytest.mark.parametrize(("which", "name"), LEGITIMATE)
def test_legitimate_as_packets(which: str, name: str) -> None:
    compare(list(itertools.islice(SETS[which].legitimate[name](seeded(name, 1), 60), CONNECTIONS)), name)


REFUSED, PUT_OFF, OK = Reply(550, "550 no"), Reply(451, "451 later"), Reply(250, "250 ok")


@pytest.mark.parametrize(
    ("events", "labels"),
    [
        ([], []),
        ([Event("greeting", "", REFUSED)], []),
        ([Event("sender", "a.example", REFUSED)], [True]),
        ([Event("sender", "a.example", OK), Event("recipient", "b.example", PUT_OFF)], []),
        ([Event("sender", "a.example", OK), Event("recipient", "b.example", REFUSED)], [True]),
        (
            [
                Event("sender", "a.example", OK),
                Event("recipient", "b.example", REFUSED),
                Event("recipient", "c.example", OK),
                Event("message", "a.example", OK, 9),
            ],
            [False],
        ),
        ([Event("sender", "a.example", OK), Event("message", "a.example", REFUSED, 9)], [True]),
        ([Event("tls", "", OK), Event("opaque", "tls")], []),
    ],
)
def test_labels_of_messages(events: list[Event], labels: list[bool]) -> None:
    assert messages(events) == labels
