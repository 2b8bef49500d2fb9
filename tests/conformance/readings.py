"""One session as a program has read it, and replay's readings of a capture.

Knows replay, and how to look into its dialogues. Must not know tshark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from unittest import mock

from cpe_filter.engine import Flow
from cpe_filter.inspect import client_lines
from cpe_filter.inspect import session as sessions
from cpe_filter.inspect.dialogue_state import DialogueState
from cpe_filter.inspect.facts import Limits, Reply
from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.inspect.waiting import Pending
from cpe_filter.replay import replay

#: What is compared, in this order.
FIELDS = ("hello", "mail", "rcpt", "commands", "replies", "bytes", "tls")
#: Ports of mail: to servers, to submit, and those that captures of tests use.
PORTS = (25, 465, 587, 2525, 1025, 8025)


@dataclass
class Reading:
    """client, server: address and port. start: POSIX seconds of the first packet. notes: what may explain a difference.

    hello: names of HELO and EHLO. mail, rcpt: addresses in their order, `<>` for the null sender. commands: the first
    four letters of each line that was read as a command. replies: codes. bytes: of each message as sent, without the
    dot at its end. tls: whether TLS began.

    What rules need besides: lines, all that were read as commands, without line ends. taken: lines of commands that
    were read as content. unshown: lines that were not read at all. early: bytes read as content before any MAIL.
    octets: the client's bytes that were read or known to be missing; for tshark, those that the server acknowledged;
    -1: not known.
    """

    client: tuple[str, int]
    server: tuple[str, int]
    start: float
    hello: list[str] = field(default_factory=list)
    mail: list[str] = field(default_factory=list)
    rcpt: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    replies: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    tls: bool = False
    notes: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    unshown: list[str] = field(default_factory=list)
    early: int = 0
    octets: int = -1

    @property
    def spoken(self) -> bool:
        return any(getattr(self, name) for name in FIELDS)

    @property
    def name(self) -> str:
        return f"{self.client[0]}:{self.client[1]} > {self.server[0]}:{self.server[1]}"


class _Recorded(Dialogue):
    """A dialogue that notes each line that it takes for a command, and each reply."""

    def __init__(self, limits: Limits = Limits(), greeting_expected: bool = True) -> None:  # noqa: B008
        self.lines: list[str] = []
        self.named: list[tuple[str, str]] = []
        self.codes: list[int] = []
        self.octets = 0
        self._inside = False  # what it reads now has been counted
        super().__init__(limits, greeting_expected)

    def client(self, data: bytes) -> None:
        self.octets += 0 if self._inside else len(data)
        with self._counted():
            super().client(data)

    def client_gap(self, size: int) -> None:
        self.octets += size
        with self._counted():
            super().client_gap(size)

    def server(self, data: bytes) -> None:
        with self._counted():
            super().server(data)

    def close(self, closed: bool) -> None:
        with self._counted():
            super().close(closed)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Bytes that waited for a reply come again."""
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def sent(self, verb: str, name: str = "", size: int = 0, last: bool = False, turns: bool | None = None) -> Pending:
        self.named.append((verb, name))
        return super().sent(verb, name, size, last, turns)

    def _reply(self, reply: Reply) -> None:
        self.codes.append(reply.code)
        super()._reply(reply)


def _read_command(dialogue: DialogueState, line: bytes, bare: bool, total: int) -> None:
    """As `client_lines.read_command`, and notes a line that was read as a command."""
    assert isinstance(dialogue, _Recorded)
    before = len(dialogue.named)
    _AS_IT_IS(dialogue, line, bare, total)
    if len(dialogue.named) > before:
        dialogue.lines.append(text_of(line))


_AS_IT_IS = client_lines.read_command


def text_of(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("latin-1")


def verb_of(line: str) -> str:
    return line[:4].upper().rstrip()


def of_replay(path: str, ports: Sequence[int] = PORTS) -> list[Reading]:
    """Replay's readings of a capture, in the order of their starts. Raises what `replay` raises."""
    policy = replay.DEFAULT_POLICY
    policy = policy._replace(network=policy.network._replace(ports=tuple(ports)))
    options = replay.Options(policy, addresses=True, sessions=True)
    found: list[Reading] = []
    shown = replay._session

    def note(flow: Flow) -> dict[str, Any]:
        found.append(_reading(flow))
        return shown(flow)

    quiet: Callable[[str], None] = lambda _: None  # noqa: E731
    with (
        mock.patch.object(sessions, "Dialogue", _Recorded),
        mock.patch.object(client_lines, "read_command", _read_command),
        mock.patch.object(replay, "_session", note),
    ):
        replay.replay(path, options, quiet)
    return found


def _reading(flow: Flow) -> Reading:
    session, dialogue = flow.session, flow.session.dialogue
    reading = Reading(
        (str(ip_address(session.client)), session.client_port),
        (str(ip_address(session.server)), session.server_port),
        session.start,
        tls=dialogue.facts.opaque_reason == "tls",
        notes=set(dialogue.facts.violations),
    )
    if dialogue.facts.opaque_reason:
        reading.notes.add(f"opaque: {dialogue.facts.opaque_reason}")
    if not session.from_start:
        reading.notes.add("midway")
    if not dialogue.server_seen:
        reading.notes.add("client only")
    if isinstance(dialogue, _Recorded):
        names: dict[str, list[str]] = {"HELO": reading.hello, "MAIL": reading.mail, "RCPT": reading.rcpt}
        names["EHLO"] = reading.hello
        for verb, name in dialogue.named:
            if verb in names:
                names[verb].append(name)
        reading.lines, reading.replies, reading.octets = dialogue.lines, dialogue.codes, dialogue.octets
        reading.commands = [verb_of(line) for line in dialogue.lines]
    reading.bytes = [one.size for one in dialogue.transactions if one.content_sent or one.size]
    return reading
