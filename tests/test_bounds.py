"""Memory stays bounded whatever is sent: one connection, all connections together, all devices."""

from __future__ import annotations

import pytest

from cpe_filter.engine import BUFFERED, FORWARD, Engine
from cpe_filter.inspect.smtp import HELD_BYTES, LINE, Limits
from cpe_filter.policy import Policy
from tests.bench.engine import tcp
from tests.fuzz.targets import deep_size

POLICY = Policy(mode="monitor")
#: What `router` gives its engine.
ROUTER = Limits(waiting=500, transactions=1, recipients=0)

GREETING = [(False, b"220 mx\r\n"), (True, b"EHLO a.example\r\n"), (False, b"250-mx\r\n250 PIPELINING\r\n")]


class Conversation:
    """Packets of one connection from client port 1024 + number."""

    def __init__(self, engine: Engine, number: int) -> None:
        self._engine = engine
        self._port = (1024 + number).to_bytes(2, "big")
        self._seqs = [1000, 5000]
        self.packet(True, 0x02)
        self.packet(False, 0x12)
        for client, line in GREETING:
            self.packet(client, 0x18, line)

    def packet(self, client: bool, flags: int, payload: bytes = b"", ahead: int = 0) -> None:
        mine, other = (0, 1) if client else (1, 0)
        data = bytearray(tcp(client, self._seqs[mine] + ahead, self._seqs[other], flags, payload))
        at = 20 if client else 22
        data[at : at + 2] = self._port
        if not ahead:
            self._seqs[mine] += len(payload) + bool(flags & 3)
        self._engine.packet(1000.0, FORWARD, b"\2\0\0\0\0\1", bytes(data))


def out_of_order(talk: Conversation) -> None:
    for n in range(15):
        talk.packet(True, 0x18, b"x" * 1400, ahead=100 + 1400 * n)


def unanswered(talk: Conversation) -> None:
    for _ in range(30):
        talk.packet(True, 0x18, b"RCPT TO:<somebody@example.com>\r\n" * 40)


def held(talk: Conversation) -> None:
    talk.packet(True, 0x18, b"STARTTLS\r\n")
    for _ in range(5):
        talk.packet(True, 0x18, b"y" * 1400)


def unfinished(talk: Conversation) -> None:
    talk.packet(True, 0x18, b"NOOP " + b"z" * 1400)
    talk.packet(False, 0x18, b"250-" + b"z" * 1400)


@pytest.mark.parametrize("attack", [out_of_order, unanswered, held, unfinished])
def test_all_connections_together(attack: object) -> None:
    assert callable(attack)
    engine = Engine(POLICY, ROUTER)
    for number in range(600):
        attack(Conversation(engine, number))
        assert engine.buffered <= BUFFERED
    assert engine.flow_count == 600
    total = sum(flow.session.buffered for flow in engine._flows.values())
    assert total == engine.buffered
    assert deep_size(list(engine._flows.values())) < 600 * 8192 + 2 * BUFFERED
    engine.finish(2000.0)
    assert engine.buffered == 0


@pytest.mark.parametrize("attack", [out_of_order, unanswered, held, unfinished])
def test_one_connection(attack: object) -> None:
    assert callable(attack)
    engine = Engine(POLICY, ROUTER)
    attack(Conversation(engine, 0))
    (flow,) = engine._flows.values()
    assert flow.session.buffered <= 65536 + 24576 + HELD_BYTES + 2 * LINE
    assert deep_size(flow.session) < 160_000


def test_an_ordinary_connection_keeps_next_to_nothing() -> None:
    engine = Engine(POLICY, ROUTER)
    talk = Conversation(engine, 0)
    for client, line in (
        (True, b"MAIL FROM:<a@example.com>\r\n"),
        (False, b"250 ok\r\n"),
        (True, b"RCPT TO:<b@example.net>\r\n"),
        (False, b"250 ok\r\n"),
        (True, b"DATA\r\n"),
        (False, b"354 go\r\n"),
        (True, b"text\r\n" * 200),
    ):
        talk.packet(client, 0x18, line)
    (flow,) = engine._flows.values()
    assert flow.session.buffered == 0
    assert deep_size(flow) < 12_000
