"""Memory stays bounded whatever is sent: one connection, all connections together, all devices."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from cpe_filter.engine import BUFFERED, FORWARD, Engine
from cpe_filter.inspect.client_data import HELD_BYTES
from cpe_filter.inspect.command import LINE
from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import Segment, parse
from cpe_filter.inspect.session import Session
from cpe_filter.lean.clocks import PacketTime
from tests.bench.engine import tcp
from tests.build import Conversation as Talk
from tests.build import Packet
from tests.fuzz.targets import deep_size
from tests.inspect.test_tls import openssl_hello
from tests.policies import make_policy

POLICY = make_policy(mode="monitor")
#: The least that an engine may be given to keep.
ROUTER = Limits(waiting=500, transactions=0, recipients=0, last_reply=False, names=False)

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

    def packet(self, client: bool, flags: int, payload: bytes = b"", ahead: int = 0, ttl: int = 64) -> None:
        mine, other = (0, 1) if client else (1, 0)
        data = bytearray(tcp(client, self._seqs[mine] + ahead, self._seqs[other], flags, payload))
        at = 20 if client else 22
        data[at : at + 2] = self._port
        data[8] = ttl
        if not ahead:
            self._seqs[mine] += len(payload) + bool(flags & 3)
        self._engine.packet(PacketTime(1000.0), FORWARD, b"\2\0\0\0\0\1", bytes(data))


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


def doubted(talk: Conversation) -> None:
    for n in range(60):
        talk.packet(True, 0x18, b"v" * 1400, ahead=3000 * (n % 7), ttl=n)


@pytest.mark.parametrize("attack", [out_of_order, unanswered, held, unfinished, doubted])
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
    engine.finish(PacketTime(2000.0))
    assert engine.buffered == 0


@pytest.mark.parametrize("attack", [out_of_order, unanswered, held, unfinished, doubted])
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


# ── what a connection takes that has come so far, bytes of Python's memory ──────────────────────

_TO_EHLO = """
S: 220 mx.example.net ESMTP Postfix
C: EHLO host-12.example.org
S: 250-mx.example.net
S: 250-PIPELINING
S: 250-SIZE 10240000
S: 250-STARTTLS
S: 250-ENHANCEDSTATUSCODES
S: 250-8BITMIME
S: 250 SMTPUTF8
"""
_TO_RCPT = _TO_EHLO + "C: MAIL FROM:<alice@example.org>\nS: 250 Ok\nC: RCPT TO:<bob@example.net>\nS: 250 Ok"
HELLO = openssl_hello("mx.example.org")


def attempt(talk: Talk) -> None:
    talk.syn()


def greeted(talk: Talk) -> None:
    talk.open().say(_TO_EHLO)


def in_envelope(talk: Talk) -> None:
    talk.open().say(_TO_RCPT)


def in_tls(talk: Talk) -> None:
    talk.open().say(_TO_EHLO + "C: STARTTLS\nS: 220 go").packet(True, 0x18, HELLO)


def _watch(packets: list[Packet]) -> Session:
    session: Session | None = None
    for packet in packets:
        segment = parse(bytes(bytearray(packet.data)))
        assert isinstance(segment, Segment)
        time = packet.time + 0.0
        session = session or Session(segment, time, ROUTER, packet.from_client)
        session.segment(segment, time, packet.from_client)
        session.dialogue.events.clear()
    assert session is not None
    return session


@pytest.mark.parametrize(("how_far", "most"), [(attempt, 500), (greeted, 1700), (in_envelope, 2100), (in_tls, 2000)])
def test_an_idle_connection_takes_little(how_far: object, most: int) -> None:
    assert callable(how_far)
    conversations = []
    for number in range(100):
        talk = Talk(sport=2000 + number, isn=100000 + number * 777)
        how_far(talk)
        conversations.append(talk.packets)
    _watch(conversations[0])
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [_watch(packets) for packets in conversations]
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()
    assert 200 < each <= most
