"""How fast a client answers: what lifts some turns, repeats packets or speaks unasked must not move the floor."""

from __future__ import annotations

import pytest

from cpe_filter.engine import FORWARD, Engine
from cpe_filter.inspect.facts import Event
from cpe_filter.inspect.session import Session
from cpe_filter.inspect.turnaround import AHEAD_S, ENOUGH, LEAST, Turnaround
from cpe_filter.lean.clocks import PacketTime
from tests.build import ACK, CLIENT, FIN, PSH, SYN, Conversation, Packet, tcp
from tests.inspect.test_tls import openssl_hello
from tests.inspect.watched import watch
from tests.policies import make_policy

#: Seconds from a packet of the server to the client's TCP and back, and from a command to its reply.
LAN, WAN = 0.004, 0.030
REPLIES = (b"220 mx\r\n", b"250 mx\r\n", b"250 Ok\r\n", b"250 Ok\r\n", b"354 go\r\n", b"250 Ok\r\n", b"221 bye\r\n")
COMMANDS = (
    b"EHLO a.example\r\n",
    b"MAIL FROM:<a@a.example>\r\n",
    b"RCPT TO:<b@b.example>\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n\r\nx\r\n.\r\n",
    b"QUIT\r\n",
)
OFF = make_policy(mode="monitor")


class Talk(Conversation):
    """A conversation whose client answers after `LAN` and the time that it takes itself."""

    def __init__(self, lan: float = LAN) -> None:
        super().__init__(step=0.0)
        self._lan = lan

    def after(self, seconds: float) -> Talk:
        self.time += seconds
        return self

    def open(self) -> Talk:
        self.syn()
        self.after(WAN).packet(False, SYN | ACK)
        self.after(self._lan).packet(True, ACK)
        return self

    def reply(self, text: bytes) -> Talk:
        self.after(WAN).packet(False, PSH | ACK, text)
        return self

    def answer(self, text: bytes, own: float) -> Talk:
        self.after(self._lan + own).packet(True, PSH | ACK, text)
        return self

    def turns(self, *own: float) -> Talk:
        """A reply and its answer for each of these times (seconds) that the client takes itself."""
        for reply, command, seconds in zip(REPLIES, COMMANDS, own, strict=False):
            self.reply(reply).answer(command, seconds)
        return self


def timed(talk: Conversation | list[Packet]) -> list[Event]:
    """What the session reports of the conversation, which ends here."""
    session = watch(talk if isinstance(talk, list) else talk.packets)
    session.end_of_input()
    return reported(session)


def reported(session: Session) -> list[Event]:
    return [event for event in session.dialogue.events if event.kind == "turnaround"]


def result(milliseconds: int, turns: int, ahead: int = 0) -> list[Event]:
    return [Event("turnaround", f"{turns}/{ahead}", None, milliseconds)]


@pytest.mark.parametrize("own", [0.0, 0.0004, 0.012, 0.020, 0.060, 0.150, 0.400, 3.0])
@pytest.mark.parametrize("lan", [0.0, 0.0003, 0.004, 0.250])
def test_what_the_program_takes_is_found_whatever_the_path(own: float, lan: float) -> None:
    turns = ENOUGH if own >= AHEAD_S else LEAST  # who answers at once is known early
    assert timed(Talk(lan).open().turns(*[own] * 6)) == result(round(own * 1000), turns)


def test_it_is_reported_once_and_as_soon_as_there_are_enough_turns() -> None:
    talk = Talk().open().turns(*[0.060] * ENOUGH)
    session = watch(talk.packets)
    assert reported(session) == result(60, ENOUGH)
    watch(talk.reply(REPLIES[5]).answer(COMMANDS[5], 0.0).close().packets[-4:], session)
    assert reported(session) == result(60, ENOUGH)


@pytest.mark.parametrize("turns", range(ENOUGH))
def test_at_the_end_so_many_turns_must_have_been_seen(turns: int) -> None:
    talk = Talk().open().turns(*[0.060] * turns)
    assert timed(talk) == (result(60, turns) if turns >= LEAST else [])
    closed = watch(talk.close().packets)
    assert reported(closed) == (result(60, turns) if turns >= LEAST else [])


@pytest.mark.parametrize("fast", range(ENOUGH))
def test_one_fast_turn_is_the_floor(fast: int) -> None:
    own = [0.300, 0.090, 2.0, 0.150, 0.080]
    own[fast] = 0.001
    assert timed(Talk().open().turns(*own)) == result(1, max(fast + 1, LEAST))


def test_tls_is_reported_where_it_begins() -> None:
    talk = Talk().open().reply(b"220 mx\r\n").answer(b"EHLO a.example\r\n", 0.060)
    talk.reply(b"250-mx\r\n250 STARTTLS\r\n").answer(b"STARTTLS\r\n", 0.070)
    talk.reply(b"220 go\r\n").answer(openssl_hello("mx.example.org"), 0.065)
    session = watch(talk.packets)
    assert reported(session) == result(60, 3)


# ── what must not move the floor ────────────────────────────────────────────────────────────────


def test_a_reply_in_pieces_counts_from_its_last_one() -> None:
    talk = Talk().open().reply(b"220-mx\r\n").reply(b"220 hello\r\n").answer(COMMANDS[0], 0.0)
    for piece in (b"250-mx\r\n", b"250-SI", b"ZE\r\n", b"250 HELP\r\n"):
        talk.after(0.300).packet(False, PSH | ACK, piece)
    talk.answer(COMMANDS[1], 0.0).reply(REPLIES[2]).answer(COMMANDS[2], 0.0)
    assert timed(talk) == result(0, 3)


def test_data_before_a_reply_is_complete_is_not_a_turn() -> None:
    """It would be a fast one, of a client that does not wait."""
    talk = Talk().open().reply(b"220-mx\r\n").answer(COMMANDS[0], 0.0)
    talk.packet(False, PSH | ACK, b"220 hello\r\n")
    talk.reply(b"250-mx\r\n").after(0.001).packet(True, PSH | ACK, COMMANDS[1])
    talk.reply(b"250 HELP\r\n").reply(b"250 Ok\r\n")
    assert timed(talk.answer(COMMANDS[2], 0.060).reply(b"250 Ok\r\n").answer(b"DATA\r\n", 0.060)) == []
    assert timed(talk.reply(b"354 go\r\n").answer(b"x\r\n.\r\n", 0.060)) == result(60, 3)


def test_a_pipelined_group_is_answered_once() -> None:
    """Commands that follow each other in packets of their own; replies fall between them."""
    talk = Talk().open().turns(0.060)
    talk.reply(b"250-mx\r\n250 PIPELINING\r\n").answer(COMMANDS[1], 0.060)
    talk.after(0.001).packet(True, PSH | ACK, COMMANDS[2])
    talk.after(0.001).packet(False, PSH | ACK, REPLIES[2])
    talk.after(0.001).packet(True, PSH | ACK, COMMANDS[3])
    talk.reply(REPLIES[3]).reply(REPLIES[4]).answer(COMMANDS[4], 0.060)
    assert timed(talk) == result(60, 3)


def test_data_that_does_not_acknowledge_the_reply_is_not_a_turn() -> None:
    """Both were on their way."""
    talk = Talk().open().turns(0.060, 0.060, 0.060)
    before = talk.server_seq
    talk.reply(REPLIES[3])
    early = tcp(CLIENT, talk.server, talk.sport, 25, talk.client_seq, before, PSH | ACK, COMMANDS[3])
    talk.packets.append(Packet(talk.after(0.001).time, True, early))
    talk.client_seq += len(COMMANDS[3])
    assert timed(talk) == result(60, 3)


def test_the_client_speaks_first() -> None:
    talk = Talk().open()
    talk.packet(True, PSH | ACK, COMMANDS[0])
    talk.reply(REPLIES[0]).packet(True, PSH | ACK, COMMANDS[1])
    talk.reply(REPLIES[1]).packet(True, PSH | ACK, COMMANDS[2])
    talk.reply(REPLIES[2]).packet(True, PSH | ACK, COMMANDS[3])
    assert timed(talk) == []  # each of its commands is sent before the reply to the last one


def test_a_reply_that_passes_again_counts_from_its_last_copy() -> None:
    """It was lost in the home."""
    talk = Talk().open()
    for reply, command in zip(REPLIES[:4], COMMANDS[:4], strict=True):
        first = talk.reply(reply).packets[-1]
        talk.packets.append(Packet(talk.after(0.250).time, False, first.data))
        talk.answer(command, 0.0)
    assert timed(talk) == result(0, 3)


def test_a_command_that_passes_again_is_not_a_turn() -> None:
    talk = Talk().open().turns(0.060, 0.060, 0.060)
    last = talk.packets[-1]
    talk.reply(REPLIES[3])
    talk.packets.append(Packet(talk.after(0.001).time, True, last.data))
    talk.after(-0.001).answer(COMMANDS[3], 0.070)
    assert timed(talk) == result(60, 4)


def test_an_acknowledgement_of_what_passed_twice_is_no_measure_of_the_path() -> None:
    """It may be that of the first copy: then the path seems short, and the program slow."""
    talk = Talk(lan=0.200).open()
    for reply, command in zip(REPLIES[:4], COMMANDS[:4], strict=True):
        first = talk.reply(reply).packets[-1]
        talk.packets.append(Packet(talk.after(0.195).time, False, first.data))
        talk.after(0.005).packet(True, ACK)
        talk.after(0.195).packet(True, PSH | ACK, command)
    assert timed(talk) == result(0, 3)


def test_a_syn_ack_that_passes_twice_is_none_either() -> None:
    talk = Talk()
    talk.syn()
    answer = talk.after(WAN).packet(False, SYN | ACK)
    talk.packets.append(Packet(talk.after(1.0).time, False, answer.data))
    talk.after(LAN).packet(True, ACK)
    assert timed(talk.turns(*[0.060] * 4)) == []


def test_delayed_acknowledgements_do_not_lengthen_the_path() -> None:
    talk = Talk().open()
    for reply, command in zip(REPLIES[:4], COMMANDS[:4], strict=True):
        talk.reply(reply).after(0.040).packet(True, ACK)
        talk.after(0.020).packet(True, PSH | ACK, command)
    assert timed(talk) == result(56, 4, ahead=3)


@pytest.mark.parametrize(("after", "ahead"), [(0.0, 0), (0.001, 0), (0.0149, 0), (0.0151, 3), (0.060, 3), (2.0, 3)])
def test_acknowledgements_ahead_of_the_answer_are_counted(after: float, ahead: int) -> None:
    talk = Talk().open()
    for reply, command in zip(REPLIES[:4], COMMANDS[:4], strict=True):
        talk.reply(reply).after(LAN).packet(True, ACK)
        talk.after(after).packet(True, PSH | ACK, command)
    assert timed(talk) == result(round(after * 1000), 4 if ahead else 3, ahead)


def test_wifi_that_sleeps_lifts_turns_without_acknowledgements_ahead() -> None:
    """Both come when the device wakes up."""
    talk = Talk(lan=0.002).open()
    for reply, command in zip(REPLIES[:5], COMMANDS[:5], strict=True):
        talk.reply(reply).after(0.130).packet(True, ACK)
        talk.after(0.001).packet(True, PSH | ACK, command)
    assert timed(talk) == result(129, 5, ahead=0)


def test_an_acknowledgement_of_a_part_is_not_ahead() -> None:
    """Every second segment is acknowledged, whether or not all has come."""
    talk = Talk().open()
    for reply, command in zip(REPLIES[:3], COMMANDS[:3], strict=True):
        talk.reply(reply[:4]).after(LAN).packet(True, ACK)
        talk.after(0.100).packet(False, PSH | ACK, reply[4:])
        talk.answer(command, 0.0)
    assert timed(talk) == result(0, 3, ahead=0)


def test_pure_acknowledgements_show_a_path_that_the_handshake_did_not() -> None:
    """Wi-Fi slept when the SYN-ACK came."""
    talk = Talk(lan=0.100).open()
    talk._lan = 0.004
    talk.reply(REPLIES[0]).after(0.004).packet(True, ACK)
    talk.after(0.056).packet(True, PSH | ACK, COMMANDS[0])
    talk.reply(REPLIES[1]).answer(COMMANDS[1], 0.056)
    assert timed(talk.reply(REPLIES[2]).answer(COMMANDS[2], 0.056)) == result(56, 3, ahead=1)


def test_without_the_handshakes_last_packet_there_is_no_result() -> None:
    """The path is unknown: a slow one would look like a slow program."""
    talk = Talk().open().turns(*[0.060] * 5)
    del talk.packets[2]
    assert timed(talk) == []


def test_a_connection_seen_from_its_middle_has_no_result() -> None:
    talk = Talk().open().turns(*[0.060] * 6)
    assert timed(talk.packets[3:]) == []


def test_a_keep_alive_is_not_a_turn() -> None:
    talk = Talk().open().turns(0.060, 0.060, 0.060)
    talk.reply(REPLIES[3])
    probe = tcp(CLIENT, talk.server, talk.sport, 25, talk.client_seq - 1, talk.server_seq, ACK, b"\0")
    talk.packets.append(Packet(talk.after(0.001).time, True, probe))
    assert timed(talk.answer(COMMANDS[3], 0.070)) == result(60, 4)


def test_refused_content_that_is_sent_all_the_same_has_no_turns() -> None:
    talk = Talk().open().turns(0.060, 0.060, 0.060, 0.060)
    talk.reply(b"554 no\r\n")
    for _ in range(3):
        talk.answer(b"a line of content\r\n", 0.060)
        talk.packet(False, PSH | ACK, b"500 what\r\n")
        talk.after(0.001).packet(True, PSH | ACK, b"another\r\n")
    session = watch(talk.packets)
    assert [event.number for event in reported(session)] == [60]


def test_time_that_stands_still_or_a_fast_answer_is_zero() -> None:
    assert timed(Talk(lan=0.0).open().turns(*[0.0] * 5)) == result(0, 3)
    turns = Turnaround(10.0)
    turns.acknowledged(10.5)
    for second in range(LEAST):
        turns.sent(20.0 + second, again=False)
        turns.answered(20.1 + second)
    assert turns.milliseconds == 0


# ── up to the detector ──────────────────────────────────────────────────────────────────────────


def engine_events(packets: list[Packet]) -> list[Event]:
    engine = Engine(OFF)
    events: list[Event] = []
    take = engine._judge.detector.event

    def event(connection: object, event: Event, time: float) -> None:
        events.append(event)
        take(connection, event, time)  # type: ignore[arg-type]

    engine._judge.detector.event = event  # type: ignore[method-assign]
    for packet in packets:
        mac = b"\2\0\0\0\0\1" if packet.from_client else None
        engine.packet(PacketTime(packet.time), FORWARD, mac, packet.data)
    engine.finish(PacketTime(packets[-1].time))
    return [event for event in events if event.kind == "turnaround"]


def test_it_reaches_the_detector_once() -> None:
    """By the short way of ordinary packets, too. The home's part has it as well, because the device is a stranger."""
    talk = Talk().open().turns(*[0.060] * 6)
    talk.packet(True, FIN | ACK)
    talk.packet(False, FIN | ACK)
    assert engine_events(talk.packets) in (result(60, 5), result(60, 5) * 2)


def test_a_neighbour_cannot_slow_a_connection_down() -> None:
    """Packets in the client's name with numbers that only the client knows: others change nothing."""
    talk = Talk().open()
    forged: list[Packet] = []
    for reply, command in zip(REPLIES[:5], COMMANDS[:5], strict=True):
        talk.reply(reply)
        for seq, ack in ((77, 99), (talk.client_seq, talk.server_seq - 90_000), (talk.client_seq - 5, 1)):
            data = tcp(CLIENT, talk.server, talk.sport, 25, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, ACK)
            forged.append(Packet(talk.time, True, data))
        talk.answer(command, 0.001)
    packets = sorted([*talk.packets, *forged], key=lambda packet: packet.time)
    assert timed(packets) == result(1, 3)
