"""How much passed in TLS: from the numbers of the connection's end, however much of the rest was seen."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.session import Session
from tests.build import ACK, FIN, PSH, RST, Conversation, Packet
from tests.inspect.test_tls import openssl_hello
from tests.inspect.watched import watch

HELLO = openssl_hello("mx.example.org")
TO_TLS = "S: 220 mx\nC: EHLO a.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go"
#: Records in TLS as they may follow: from the client?, bytes.
TALK = ((False, 1200), (True, 80), (False, 500), (True, 131), (False, 60), (True, 28), (False, 90))
SENT = 80 + 131 + 28


def begun(isn: int = 1000) -> Conversation:
    talk = Conversation(isn=isn).open().say(TO_TLS)
    talk.packet(True, PSH | ACK, HELLO)
    return talk


def in_tls(talk: Conversation) -> Conversation:
    for from_client, size in TALK:
        talk.packet(from_client, PSH | ACK, bytes(size))
    return talk


def sealed(session: Session) -> list[int]:
    return [event.number for event in session.dialogue.events if event.kind == "tls-bytes"]


def as_queued(packets: list[Packet]) -> list[Packet]:
    """What the kernel queues of it: once the connection is done, FIN and RST alone."""
    at = next(n for n, packet in enumerate(packets) if HELLO in packet.data) + 1
    return packets[:at] + [packet for packet in packets[at:] if packet.data[33] & (FIN | RST)]


# ── how connections end ─────────────────────────────────────────────────────────────────────────


def client_first(talk: Conversation) -> None:
    talk.close()


def server_first(talk: Conversation) -> None:
    talk.packet(False, FIN | ACK)
    talk.packet(True, FIN | ACK)


def with_a_farewell(talk: Conversation) -> None:
    """Postfix's way: it leaves with the 221, resets what comes after."""
    talk.packet(False, FIN | PSH | ACK, bytes(24))
    talk.packet(True, PSH | ACK, bytes(24))
    talk.packet(False, RST)


def fin_with_data(talk: Conversation) -> None:
    talk.client_seq -= 28  # again, now with the FIN
    talk.packet(True, FIN | PSH | ACK, bytes(28))
    talk.packet(False, FIN | ACK)


def reset_by_the_client(talk: Conversation) -> None:
    talk.packet(True, RST | ACK)


def reset_by_the_server_after_the_fin(talk: Conversation) -> None:
    talk.packet(True, FIN | ACK)
    talk.packet(False, RST)


def fin_again(talk: Conversation) -> None:
    for _ in range(3):
        talk.packet(True, FIN | ACK)
        talk.client_seq -= 1
    talk.client_seq += 1
    talk.packet(False, FIN | ACK)
    talk.packet(False, RST)


def forged(by: int) -> Callable[[Conversation], None]:
    def end(talk: Conversation) -> None:
        right = talk.client_seq
        talk.client_seq = (right + by) & 0xFFFFFFFF
        talk.packet(True, FIN | ACK)
        talk.client_seq = right
        talk.packet(True, FIN | ACK)
        talk.packet(False, FIN | ACK)

    return end


ENDS = {
    "client-first": client_first,
    "server-first": server_first,
    "with-a-farewell": with_a_farewell,
    "fin-with-data": fin_with_data,
    "reset-by-the-client": reset_by_the_client,
    "reset-by-the-server-after-the-fin": reset_by_the_server_after_the_fin,
    "fin-again": fin_again,
    **{f"forged-by-{by}": forged(by) for by in (-100000, -300, -1, 1, 5000, 1 << 29, 1 << 31)},
}


@pytest.mark.parametrize("isn", [1000, (1 << 32) - 700, (1 << 32) - 200], ids=str)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("queued", [False, True], ids=["all-seen", "as-queued"])
def test_size(isn: int, end: Callable[[Conversation], None], queued: bool) -> None:
    talk = in_tls(begun(isn))
    end(talk)
    session = watch(as_queued(talk.packets) if queued else talk.packets)
    assert session.closed
    assert sealed(session) == [SENT]


def test_a_capture_s_end_tells_what_is_known() -> None:
    talk = in_tls(begun())
    session = watch(talk.packets)
    session.end_of_input()
    assert sealed(session) == []
    talk.packet(True, FIN | ACK)
    session = watch(talk.packets)
    assert sealed(session) == []
    session.end_of_input()
    session.end_of_input()
    assert sealed(session) == [SENT]


def test_order_of_events() -> None:
    told = [event.kind for event in watch(in_tls(begun()).close().packets).dialogue.events]
    assert told == ["greeting", "hello", "tls", "turnaround", "fingerprint", "opaque", "tls-bytes"]


def test_fingerprint_is_told_once() -> None:
    session = watch(in_tls(begun()).close().packets)
    assert session.dialogue.facts.client_hello is not None
    told = [event for event in session.dialogue.events if event.kind == "fingerprint"]
    assert told == [Event("fingerprint", session.dialogue.facts.client_hello.ja4)]


# ── where the ClientHello ends ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("step", [1, 100, 5000])
def test_hello_in_pieces_and_more_behind_it(step: int) -> None:
    talk = Conversation().open().say(TO_TLS)
    data = HELLO + bytes(70)
    for at in range(0, len(data), step):
        talk.packet(True, PSH | ACK, data[at : at + step])
    assert sealed(watch(talk.close().packets)) == [70]


@pytest.mark.parametrize("seed", range(20))
def test_hello_and_end_in_any_order(seed: int) -> None:
    talk = Conversation().open().say(TO_TLS)
    begin = len(talk.packets)
    for at in range(0, len(HELLO), 90):
        talk.packet(True, PSH | ACK, HELLO[at : at + 90])
    talk.packet(True, FIN | PSH | ACK, bytes(70))
    rest = talk.packets[begin:]
    random.Random(seed).shuffle(rest)
    last = talk.packet(False, FIN | ACK)
    assert sealed(watch([*talk.packets[:begin], *rest, last])) == [70]


def test_nothing_where_the_hello_was_not_seen_whole() -> None:
    talk = Conversation().open().say(TO_TLS)
    talk.packet(True, PSH | ACK, HELLO[:100])
    talk.packet(True, PSH | ACK, HELLO[100:])
    lost = talk.packets.pop()
    in_tls(talk).close()
    session = watch(talk.packets)
    assert lost not in talk.packets
    assert session.dialogue.facts.opaque_reason == "tls"
    assert sealed(session) == []


def test_nothing_from_a_reset_that_knows_no_number() -> None:
    talk = in_tls(begun())
    talk.packet(True, RST)
    assert sealed(watch(talk.packets)) == []


def test_nothing_from_ends_that_contradict_each_other() -> None:
    talk = in_tls(begun())
    for by in (0, 5000):
        talk.client_seq += by
        talk.packet(True, FIN | ACK)
    talk.packet(False, RST)
    assert sealed(watch(talk.packets)) == []


def test_bytes_that_were_cut_off_count() -> None:
    talk = begun()
    talk.packet(True, FIN | PSH | ACK, bytes(900))
    talk.packet(False, FIN | ACK)
    cut = [packet._replace(data=packet.data[:200]) if len(packet.data) > 900 else packet for packet in talk.packets]
    assert cut != talk.packets
    assert sealed(watch(cut)) == [900]
    talk = begun()
    talk.packet(True, FIN | PSH | ACK, bytes(900))
    cut = [packet._replace(data=packet.data[:200]) if len(packet.data) > 900 else packet for packet in talk.packets]
    session = watch(cut)
    session.end_of_input()
    assert sealed(session) == [900]


def test_bytes_cut_off_behind_the_hello_count() -> None:
    talk = Conversation().open().say(TO_TLS)
    talk.packet(True, PSH | ACK, HELLO + bytes(70))
    whole = talk.packets[-1]
    talk.packets[-1] = whole._replace(data=whole.data[:-60])
    assert sealed(watch(in_tls(talk).close().packets)) == [70 + SENT]


@pytest.mark.parametrize("by", [-100000, 1 << 31, (1 << 30) + 500])
def test_a_fin_from_nowhere_is_no_end(by: int) -> None:
    talk = in_tls(begun())
    right = talk.client_seq
    talk.client_seq = (right + by) & 0xFFFFFFFF
    talk.packet(True, FIN | ACK)
    talk.client_seq = right
    talk.packet(True, FIN | ACK)
    talk.packet(False, RST)
    assert sealed(watch(talk.packets)) == [SENT]


def test_many_forged_ends_are_bounded_and_the_server_decides() -> None:
    talk = in_tls(begun())
    right = talk.client_seq
    for by in range(1, 50):
        talk.client_seq = right + by * 10
        talk.packet(True, FIN | ACK)
    talk.client_seq = right
    talk.packet(False, FIN | ACK)
    assert sealed(watch(talk.packets)) == [SENT]


def test_what_is_over_is_told_once() -> None:
    talk = Conversation().open().say(TO_TLS)
    talk.packet(True, FIN | PSH | ACK, HELLO + bytes(70))
    talk.packet(False, FIN | ACK)
    session = watch(talk.packets)
    session.end_of_input()  # as where the engine makes room
    assert sealed(session) == [70]
