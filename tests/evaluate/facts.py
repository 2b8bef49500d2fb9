"""One connection as facts: when, to which server, what was said, how it ended; and the same as TCP/IP packets.

Knows the detector's interface (`opened`, `event`, `ended`) and which bytes on the wire make which event. Must not know
which senders are bots: `Session.spam` is the truth besides the facts, only for the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from cpe_filter.detect.detector import Connection, Detector
from cpe_filter.detect.device import Device
from cpe_filter.engine import LOST_AFTER_S
from cpe_filter.inspect.address import NULL_SENDER
from cpe_filter.inspect.facts import Event, Reply
from cpe_filter.inspect.session import CLOSED, LOST, REFUSED, RESET, TRYING
from cpe_filter.inspect.turnaround import LEAST
from tests.build import ACK, FIN, PSH, RST, SYN, Conversation, Packet
from tests.evaluate.turns import is_ahead, with_turnaround

DATA_GO = Reply(354, "354 End data with <CR><LF>.<CR><LF>")
#: The least ClientHello that is one, of TLS 1.2: 32 bytes of chance, no session, two ciphers, no compression.
_CLIENT_HELLO = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + bytes(32) + b"\x00\x00\x04\xc0\x2f\xc0\x30\x01\x00"
#: Its JA4, which all clients have here: what these tell of programs is not simulated.
FINGERPRINT = "t12i020000_04659ec43a24_000000000000"
#: So much in a packet at most.
_SEGMENT = 32768
#: Seconds between two packets: a session ends before the next of a fast bot begins.
_STEP = 1e-6


class Session(NamedTuple):
    """A connection to port 25. time: seconds. server: packed address. phase: as in inspect.session.

    phase `trying` stands for an attempt that our own filter refused: only the SYN was seen. `quit`: the client said
    QUIT where that could be read. `spam`: whether a bot made it. recipients: a number for each mailbox, in the order of
    the RCPT commands, known where TLS hides them, too. turnaround: the least time in ms between a reply and the next
    command (0: a program on the device itself). ahead: in how many of the first three turns the client's TCP
    acknowledged ahead of the answer (-1: in all if turnaround is so long). pipelined: MAIL, RCPT and DATA were sent at
    once.
    """

    time: float
    server: bytes
    phase: str
    events: tuple[Event, ...]
    quit: bool
    spam: bool = False
    recipients: tuple[int, ...] = ()
    turnaround: int = 0
    ahead: int = -1
    pipelined: bool = False

    @property
    def told(self) -> tuple[Event, ...]:
        """The events, with what the client's speed adds to them."""
        return with_turnaround(self.events, self.pipelined, self.turnaround, self.ahead)

    @property
    def over_tls(self) -> bool:
        return any(event.kind == "tls" for event in self.events)


def play(detector: Detector, device: Device, session: Session, explained: bool = False) -> Connection:
    """Tells the detector the whole session at once. explained: it was redirected to our responder."""
    time = session.time
    device.last_seen = time
    connection = detector.opened(device, session.server, time)
    connection.explained = explained
    if session.phase == LOST:
        time += LOST_AFTER_S
    if session.phase in (LOST, REFUSED):
        detector.unanswered(connection, session.phase, time)
        return connection
    if session.phase == TRYING:
        detector.refused(connection)
        return connection
    detector.established(connection, time)
    tell = detector.event
    for event in session.told:
        tell(connection, event, time)
    detector.ended(connection, session.phase, session.quit, time)
    return connection


class Player:
    """Plays sessions one after the other as the engine reports them: a lost attempt ends when it is given up."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._lost: list[tuple[float, Connection]] = []

    def play(self, device: Device, session: Session) -> None:
        if self._lost:
            self.until(session.time)
        if session.phase == LOST:
            device.last_seen = session.time
            connection = self._detector.opened(device, session.server, session.time)
            self._lost.append((session.time + LOST_AFTER_S, connection))
        else:
            play(self._detector, device, session)

    def until(self, time: float) -> None:
        """Time passes: what has got no answer by then is lost."""
        while self._lost and self._lost[0][0] <= time:
            _, connection = self._lost.pop(0)
            self._detector.unanswered(connection, LOST, time)


def messages(events: Iterable[Event]) -> list[bool]:
    """The messages tried in a session as a server's replies label them: True where refused for good (5yz).

    What was put off (4yz) is no message yet, nor is a refusal at the banner. Nothing is known of what STARTTLS hides.
    """
    labels: list[bool] = []
    refused = False
    for event in events:
        kind, reply = event.kind, event.reply
        if kind == "sender":
            if refused:
                labels.append(True)
            refused = reply is not None and reply.code >= 500
        elif kind == "recipient" or (kind == "reply" and event.name == "DATA"):
            refused = refused or (reply is not None and reply.code >= 500)
        elif kind == "message":
            if reply is not None and not 400 <= reply.code < 500:
                labels.append(reply.code >= 500)
            refused = False
    if refused:
        labels.append(True)
    return labels


# ── as packets ──────────────────────────────────────────────────────────────────────────────────


def as_packets(session: Session, client: str = "192.0.2.10", sport: int = 40000) -> list[Packet]:
    """The session on the wire. A lost or refused attempt is its SYN (and a reset)."""
    server = str(ip_address(session.server))
    wire = Conversation(client, server, sport=sport, time=session.time, step=_STEP, isn=sport * 977)
    wire.syn()
    if session.phase in (LOST, TRYING):
        return wire.packets
    if session.phase == REFUSED:
        wire.packet(False, RST | ACK)
        return wire.packets
    wire.packet(False, SYN | ACK)
    wire.packet(True, ACK)
    told = _turns(session.events, session.recipients)
    answers, turns = False, 0
    for from_client, data in _grouped(told) if session.pipelined else told:
        if from_client and answers:
            turns += 1
            if turns <= (LEAST if session.ahead < 0 and is_ahead(session.turnaround) else session.ahead):
                wire.packet(True, ACK)
                wire.time -= _STEP
            wire.time += session.turnaround / 1000
        answers = not from_client
        wire.packet(from_client, PSH | ACK, data)
    if session.phase == RESET:
        wire.packet(False, RST | ACK)
    elif session.phase == CLOSED:
        wire.packet(True, FIN | ACK)
        wire.packet(False, FIN | ACK)
    return wire.packets


def _grouped(turns: Iterable[tuple[bool, bytes]]) -> Iterator[tuple[bool, bytes]]:
    """The same with MAIL, RCPT and DATA sent at once (RFC 2920), and their replies at once."""
    commands, replies, grouping = b"", b"", False
    for from_client, data in turns:
        grouping = grouping or (from_client and data[:5].upper() == b"MAIL ")
        if not grouping:
            yield from_client, data
        elif from_client:
            commands += data
        else:
            replies += data
            if commands.endswith((b"DATA\r\n", b"data\r\n", b"data \r\n")):
                yield True, commands
                yield False, replies
                commands, replies, grouping = b"", b"", False
    if commands:
        yield True, commands
        yield False, replies


def _turns(events: Iterable[Event], recipients: Iterable[int] = ()) -> Iterator[tuple[bool, bytes]]:
    """(from the client?, bytes) of a dialogue that has these events. recipients: a number for each RCPT's mailbox."""
    boxes = iter(recipients)
    spaced = lower = early = False
    events = list(events)
    writer = "someone" if any(event.name == "sender-is-recipient" for event in events) else "writer"
    greeting = b""
    for event in events:
        kind, name, reply = event.kind, event.name, event.reply
        if kind == "quirk":
            spaced, lower = spaced or name == "path-spaced", lower or name == "lower-case"
        elif kind == "violation":
            early = early or name == "early-talk"
            if name == "content-after-refusal":
                yield True, b"Subject: lost\r\n.\r\n"
        elif kind == "reply" and name == "unknown":
            yield False, _line(reply)  # to a line of the message that nobody asked for
        elif kind == "greeting":
            greeting = _line(reply)
            if not early:
                yield False, greeting
        elif kind == "tls":
            yield True, b"STARTTLS\r\n"
            yield False, _line(reply)
        elif kind == "fingerprint":
            yield True, _CLIENT_HELLO
        elif kind == "tls-bytes":
            for left in range(event.number, 0, -_SEGMENT):
                yield True, bytes(min(left, _SEGMENT))
        elif kind == "quit":
            yield True, b"QUIT\r\n"
        elif kind == "reply" and name == "QUIT":
            yield False, _line(reply)
        elif kind == "message":
            yield True, b"DATA\r\n"
            yield False, _line(DATA_GO)
            for left in range(event.number - 2, 0, -_SEGMENT):
                yield True, b"x" * min(left, _SEGMENT)
            yield True, b"\r\n.\r\n"
            yield False, _line(reply)
        elif kind != "opaque":
            command = _command(event, spaced, writer, next(boxes, 0) if kind == "recipient" else 0)
            if lower:
                verb, _, rest = command.partition(" ")
                command = f"{verb.lower()} {rest}"
            yield True, command.encode() + b"\r\n"
            if early and kind == "hello":
                # It spoke first: the greeting answers nothing, the next reply is to the command.
                yield False, greeting
                early = False
            if reply is not None:
                yield False, _line(reply)


def _command(event: Event, spaced: bool, writer: str, box: int) -> str:
    colon = ": " if spaced else ":"
    if event.kind == "hello":
        return f"{'EHLO' if event.number else 'HELO'} {event.name}"
    if event.kind == "sender":
        return f"MAIL FROM{colon}" + ("<>" if event.name == NULL_SENDER else f"<{writer}@{event.name}>")
    if event.kind == "recipient":
        return f"RCPT TO{colon}<{f'box{box}' if box else 'someone'}@{event.name}>"
    return "AUTH PLAIN AGFsaWNlAHNlY3JldA==" if event.name == "AUTH" else event.name


def _line(reply: Reply | None) -> bytes:
    if reply is None:
        return b""
    return "".join(f"{line}\r\n" for line in (*(f"{reply.code}-{text}" for text in reply.before), reply.text)).encode()
