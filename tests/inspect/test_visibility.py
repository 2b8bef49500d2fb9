"""What a session needs to see: a kernel may leave out the rest, and almost nothing changes.

The tests simulate a kernel that shows a session only what it needs (`transcript.wanted`), and never a segment without
payload, SYN, FIN or RST, like the ruleset. `transcripts/unneeded.txt` has what clients can do behind content that is
left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cpe_filter.engine import FORWARD, Engine, Flow
from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import ACK, FIN, PSH, RST, SYN, Segment, parse
from cpe_filter.inspect.session import CLOSED, ENDS, EVERYTHING, NOTHING, OPEN, REPLIES, RESET
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.replay import replay
from cpe_filter.replay.capture import frames
from cpe_filter.status.devices import device_facts
from tests.build import LEGITIMATE, Conversation, Packet
from tests.inspect import captures
from tests.inspect.transcript import WAYS, play, read_all, wanted
from tests.inspect.watched import watch
from tests.ip_packets import network_layer
from tests.lab.net import PROJECT
from tests.policies import make_policy

RECORDED = sorted((PROJECT / "pcaps").glob("*.pcap"))
LIMITS = Limits(waiting=10000, waiting_bytes=1 << 20, transactions=1000, recipients=1000, local_parts=True)

Facts = dict[str, Any]


# ── dialogues ───────────────────────────────────────────────────────────────────────────────────

_NO_REPLY = "no reply to the message came, and whether its end or QUIT was sent was not seen"
_BARE = "a dot between bare LFs lies in what was not seen"
#: Dialogues of which less is known, though they end as they do: name -> (the facts that differ, why).
DIALOGUES: dict[str, tuple[set[str], str]] = {
    "pipelined, and a second message behind the first": (
        {"transaction"},
        "its envelope lies behind the first's content",
    ),
    "the server stops a message halfway": ({"transaction"}, "three bytes are taken for the end of the message"),
    "a reset in the middle of the message": ({"violations"}, _NO_REPLY),
    "the message sent and its reply never seen": ({"violations", "transaction"}, _NO_REPLY),
    "lines end with LF alone": ({"violations"}, _BARE),
    "commands end with LF, the message with CRLF": ({"transaction"}, "the end of the message is taken for two bytes"),
    "a message ended by LF.LF that only the server takes for an end": ({"transaction"}, "the same, for three"),
    "the end of the message and QUIT, seen by the server only": ({"transaction"}, "the server acknowledges no end"),
}
TRANSCRIPTS = [one for one in read_all() if "obeying" not in one.settings]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda one: f"{one.where} {one.name}")
def test_dialogue_of_which_only_what_is_wanted_is_seen(transcript: Any) -> None:
    differing, _ = DIALOGUES.get(transcript.name, (set[str](), ""))
    reference = play(transcript, WAYS["whole"], 0)
    seen = play(transcript, WAYS["whole"], 0, obeying=True)
    keys = {key for key in {*reference.facts, *seen.facts} if reference.facts.get(key) != seen.facts.get(key)}
    assert keys == differing
    assert seen.phase == reference.phase
    for name, way in WAYS.items():
        for seed in range(1 if name == "bytewise" else 4):
            if name in transcript.left_out:
                continue
            played = play(transcript, way, seed, obeying=True)
            how = f"{name}, seed {seed}"
            for facts in (played.facts, reference.facts):
                for key in differing:
                    facts.pop(key, None)
            assert (how, played.facts, played.phase) == (how, reference.facts, reference.phase)


def test_exceptions_are_of_dialogues_that_there_are() -> None:
    assert set(DIALOGUES) <= {one.name for one in TRANSCRIPTS}


# ── recordings ──────────────────────────────────────────────────────────────────────────────────


class Judged(NamedTuple):
    """What came of some packets. shown: how many segments of mail the engine got to see."""

    sessions: list[Facts]
    devices: list[Facts]
    flows: list[Flow]
    shown: int


class Home:
    """An engine behind a kernel that shows all but pure acknowledgements, or (obeying) of that what is wanted."""

    def __init__(self, obeying: bool) -> None:
        self.flows: list[Flow] = []
        self.shown = 0
        self._obeying = obeying
        self._engine = Engine(make_policy(mode="monitor"), LIMITS, ended=self.flows.append)
        self._now = 0.0

    def packet(self, time: float, hwaddr: bytes | None, data: bytes, to_hwaddr: bytes | None = None) -> None:
        engine, self._now = self._engine, max(self._now, time)
        segment = parse(data)
        if not isinstance(segment, Segment) or 25 not in (segment.sport, segment.dport):
            engine.on_mx_query(PacketTime(self._now), hwaddr, data)
            return
        if not (segment.payload or segment.cut or segment.flags & (SYN | FIN | RST)):
            return
        from_client = segment.dport == 25
        flow = engine._flows.get(_key(segment, from_client))
        if flow is not None and self._obeying and not wanted(flow.session, segment, from_client):
            return
        self.shown += 1
        engine.packet(PacketTime(self._now), FORWARD, hwaddr, data, to_hwaddr)

    def judged(self) -> Judged:
        self._engine.finish(PacketTime(self._now))
        flows = sorted(self.flows, key=lambda flow: (flow.session.start, flow.session.client_port))
        sessions = [replay._session(flow) for flow in flows if flow.session.spoken]
        return Judged(sessions, [device_facts(device) for device in self._engine.devices], flows, self.shown)


def _key(segment: Segment, from_client: bool) -> bytes:
    ends = (segment.src + segment.dst, segment.dst + segment.src)
    ports = (segment.sport << 16 | segment.dport, segment.dport << 16 | segment.sport)
    return ends[not from_client] + ports[not from_client].to_bytes(4, "big")


def judge(path: Path, obeying: bool) -> Judged:
    home = Home(obeying)
    for frame in frames(str(path), lambda warning: None):
        found = network_layer(frame)
        if found is not None:
            home.packet(frame.time, *found, frame.data[:6] if frame.link == 1 else None)
    return home.judged()


def differences(one: Any, other: Any, path: str = "") -> set[str]:
    """Where two of `Judged`'s lists differ, by key."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {*one, *other}
        return {found for key in keys for found in differences(one.get(key), other.get(key), f"{path}.{key}")}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return {found for pair in zip(one, other, strict=True) for found in differences(*pair, path)}
    return set() if one == other else {path.lstrip(".")}


#: The last packet that is seen of a device is an earlier one.
#: Sums against senders that do not decide, too: the score stays.
_ALWAYS = {"last_seen", "held_against.sum"}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recording_of_which_only_what_is_wanted_is_seen(path: Path) -> None:
    whole, seen = judge(path, False), judge(path, True)
    assert seen.sessions == whole.sessions
    assert differences(whole.devices, seen.devices) <= _ALWAYS
    assert seen.shown <= whole.shown


#: What follows from one indicator more or less.
_SCORES = {
    "score",
    "evidence",
    "families",
    *(f"evidence.{key}" for key in ("indicator", "family", "count", "weight")),
}
#: Others' recordings of which less is known: file -> (what differs in sessions, in devices, why).
OTHERS: dict[str, tuple[set[str], set[str], str]] = {
    "bot/smtperr.pcap": (
        {"transactions.bytes", "transactions.outcome", "violations"},
        _SCORES,
        _NO_REPLY,
    ),
    "bot/spambot.pcap": ({"violations"}, {"recipients"}, "a server replies twice: a recipient may have been hidden"),
    "edge/alert_before_server_response.pcap": ({"violations"}, set(), _BARE),
    "edge/arkime_synthetic.pcap": ({"transactions.bytes", "transactions.outcome"}, _SCORES, _NO_REPLY),
    "edge/smtp-moloch-bof.pcap": ({"violations"}, _SCORES, "it pipelines blindly behind its content only"),
    "edge/smtp-nospaces.pcap": ({"transactions.bytes"}, set(), "it ends within the content"),
    "edge/smtp-pipelined-post-data-mail-from.pcap": (
        {"transactions.bytes", "transactions.mail_from"},
        set(),
        "MAIL lies behind the content",
    ),
    "edge/smtp-pipelined-post-data-rset-sequence.pcap": (
        {f"transactions.{key}" for key in ("bytes", "mail_from", "rcpt_to", "recipients_accepted")},
        {"recipients"},
        "RSET, MAIL and RCPT lie behind the content: two of three replies may be RCPT's",
    ),
    "legit/appids_smtp.pcap": ({"violations"}, set(), _BARE),
}


@captures.needed
@pytest.mark.parametrize("path", captures.FILES, ids=captures.name)
def test_others_recording_of_which_only_what_is_wanted_is_seen(path: Path) -> None:
    whole, seen = judge(path, False), judge(path, True)
    in_sessions, in_devices, _ = OTHERS.get(captures.name(path), (set[str](), set[str](), ""))
    assert differences(whole.sessions, seen.sessions) == in_sessions
    differing = differences(whole.devices, seen.devices) - _ALWAYS
    assert differing == in_devices or (in_devices == _SCORES and differing <= _SCORES)
    assert [device["standing"] for device in seen.devices] == [device["standing"] for device in whole.devices]
    assert all(b["recipients"] >= a["recipients"] for a, b in zip(whole.devices, seen.devices, strict=True))


# ── how much is seen ────────────────────────────────────────────────────────────────────────────


def message_of(size: int, quit_behind: bool = False) -> list[Packet]:
    """A dialogue with one message of `size` bytes in segments of 1448, each acknowledged."""
    before, after = LEGITIMATE.split("C: Subject")[0], "S: 250 queued\nC: QUIT\nS: 221 Bye"
    talk = Conversation().open().say(before)
    content = (b"x" * 70 + b"\r\n") * (size // 72) + b".\r\n" + (b"QUIT\r\n" if quit_behind else b"")
    for at in range(0, len(content), 1448):
        talk.packet(True, PSH | ACK, content[at : at + 1448])
        talk.packet(False, ACK)
    talk.say("S: 250 queued\nS: 221 Bye" if quit_behind else after)
    return talk.close().packets


def shown_of(packets: list[Packet], obeying: bool = True) -> Judged:
    home = Home(obeying)
    for packet in packets:
        home.packet(packet.time, b"\2\0\0\0\0\1" if packet.from_client else b"\2\0\0\0\0\xfe", packet.data)
    return home.judged()


@pytest.mark.parametrize("size", [72, 7200, 720_000])
def test_a_message_takes_14_packets_whatever_its_size(size: int) -> None:
    """SYN, SYN-ACK, 220, EHLO, 250, MAIL, 250, RCPT, 250, DATA, 354, 250, QUIT, 221."""
    judged = shown_of(message_of(size))
    assert judged.shown == 14
    (transaction,) = judged.sessions[0]["transactions"]
    assert transaction["bytes"] == size
    assert judged.sessions[0]["ended"] == CLOSED
    assert shown_of(message_of(size), obeying=False).shown >= 17


def test_a_quit_behind_the_message_is_told_from_it() -> None:
    judged = shown_of(message_of(7200, quit_behind=True))
    assert judged.shown == 12
    (transaction,) = judged.sessions[0]["transactions"]
    assert (transaction["bytes"], transaction["outcome"]) == (7200, "accepted")
    assert judged.sessions == shown_of(message_of(7200, quit_behind=True), obeying=False).sessions


def test_a_chunk_takes_no_more_packets() -> None:
    envelope = LEGITIMATE.split("C: DATA", maxsplit=1)[0].replace("250-PIPELINING", "250-CHUNKING")
    talk = Conversation().open().say(f"{envelope}C: BDAT {1448 * 300} LAST")
    for _ in range(300):
        talk.packet(True, PSH | ACK, b"x" * 1448)
    judged = shown_of(talk.say("S: 250 queued\nC: QUIT\nS: 221 Bye").close().packets)
    assert judged.shown == 13
    assert judged.sessions[0]["transactions"][0]["bytes"] == 1448 * 300


# ── step by step ────────────────────────────────────────────────────────────────────────────────


class Talk(Conversation):
    """A conversation that is watched as it goes on; `say` tells what is wanted then."""

    def __init__(self) -> None:
        super().__init__()
        self.session = watch(self.open().packets)
        self._watched = len(self.packets)

    def wants(self, text: str = "", unseen: int = 0) -> str:
        """Says lines, or sends so many bytes that the session does not see."""
        if text:
            self.say(text)
        self.client_seq += unseen
        watch(self.packets[self._watched :], self.session)
        self._watched = len(self.packets)
        return self.session.visibility

    @property
    def sizes(self) -> list[int]:
        return [transaction.size for transaction in self.session.dialogue.transactions]


def in_content() -> Talk:
    talk = Talk()
    assert talk.wants(LEGITIMATE.split("S: 354")[0]) == EVERYTHING
    assert talk.wants("S: 354 go") == REPLIES
    return talk


def test_visibility_of_a_dialogue() -> None:
    talk = in_content()
    assert talk.wants("C: seen all the same") == REPLIES
    assert talk.wants(unseen=5000 + len(".\r\n")) == REPLIES
    assert talk.wants("S: 250 queued") == EVERYTHING
    assert talk.sizes == [19 + 5000]
    assert talk.wants("C: QUIT") == EVERYTHING
    assert talk.wants("S: 221 Bye") == NOTHING
    assert (talk.session.phase, talk.session.closed) == (CLOSED, True)


def test_content_that_is_seen_to_end_is_followed_by_commands() -> None:
    talk = in_content()
    assert talk.wants("C: text\nC: .") == EVERYTHING
    assert talk.wants("C: MAIL FROM:<a@example.org>") == EVERYTHING


def test_multi_line_reply_in_pieces_ends_content_with_its_last_line() -> None:
    talk = in_content()
    talk.wants(unseen=1003)
    assert talk.wants("S: 250-queued") == REPLIES
    assert talk.wants("S: 250 as 1") == EVERYTHING
    assert talk.sizes == [1000]


def test_resent_content_is_no_news() -> None:
    talk = in_content()
    talk.wants(unseen=1003)
    talk.wants("S: 250 queued")
    events = len(talk.session.dialogue.events)
    talk.client_seq -= 203
    assert talk.wants("C: " + "x" * 198 + "\nC: .") == EVERYTHING
    assert len(talk.session.dialogue.events) == events
    talk.wants("C: RSET\nS: 250 ok\nC: QUIT\nS: 221 Bye")
    assert (talk.session.dialogue.facts.violations, talk.session.phase) == ((), CLOSED)


def test_early_refusal_wants_everything_and_content_that_goes_on_is_no_offence() -> None:
    talk = in_content()
    talk.wants(unseen=1000)
    assert talk.wants("S: 552 too much") == EVERYTHING
    talk.wants(unseen=500)  # was on its way
    for _ in range(100):
        assert talk.wants("C: Help yourself, data is free") == EVERYTHING
    assert (
        talk.wants("C: .\nC: MAIL FROM:<b@example.org>\nS: 250 ok\nC: RCPT TO:<c@example.org>\nS: 250 ok") == EVERYTHING
    )
    dialogue = talk.session.dialogue
    assert (dialogue.facts.violations, dialogue.envelope.recipients, dialogue.facts.opaque_reason) == ((), 2, "")


def test_fin_with_a_gap_before_it_ends_the_session_with_the_servers() -> None:
    talk = in_content()
    talk.wants(unseen=777)
    talk.packet(False, FIN | ACK)  # the server hangs up; its acknowledgement of the client's FIN is not queued
    talk.packet(True, FIN | ACK)
    talk.wants()
    assert (talk.session.phase, talk.session.closed, talk.sizes) == (CLOSED, True, [777])


@pytest.mark.parametrize("from_client", [True, False])
def test_reset_with_a_gap_before_it(from_client: bool) -> None:
    talk = in_content()
    talk.wants(unseen=777)
    talk.packet(from_client, RST | ACK)
    talk.wants()
    assert (talk.session.phase, talk.sizes) == (RESET, [777])
    assert talk.session.dialogue.transactions[0].outcome == "aborted"


@pytest.mark.parametrize("ahead", [1 << 20, 1 << 29, 1 << 31, (1 << 32) - 5])
def test_forged_ends_take_nothing_out_of_sight(ahead: int) -> None:
    """A client resets, or closes, with a number that only we believe in, and goes on."""
    talk = in_content()
    talk.wants(unseen=1003)
    right = talk.client_seq
    for flags in (FIN | ACK, RST):
        talk.client_seq = right + ahead
        talk.packet(True, flags)
        talk.client_seq = right
        talk.wants()
    assert talk.wants("S: 250 queued") == EVERYTHING
    for name in "abc":
        assert talk.wants(f"C: MAIL FROM:<{name}@example.org>\nS: 250 ok\nC: RCPT TO:<x@example.org>") == EVERYTHING
        talk.wants("S: 250 ok\nC: RSET\nS: 250 ok")
    assert talk.session.dialogue.envelope.recipients >= 4


def test_after_hidden_commands_nothing_is_left_out_again() -> None:
    talk = in_content()
    talk.wants(unseen=1003 + len("NOOP\r\n"))
    assert talk.wants("S: 250 queued\nS: 250 ok") == EVERYTHING
    assert talk.wants("C: MAIL FROM:<a@example.org>\nC: RCPT TO:<b@example.org>\nC: DATA") == EVERYTHING
    assert talk.wants("S: 250 ok\nS: 250 ok\nS: 354 go") == EVERYTHING
    assert talk.wants("C: text\nC: .\nS: 250 queued\nC: QUIT\nS: 221 Bye") == NOTHING


def test_a_354_to_hidden_data_leaves_nothing_out() -> None:
    talk = in_content()
    talk.wants(unseen=1003 + 60)
    assert talk.wants("S: 250 queued\nS: 250 ok\nS: 250 ok\nS: 354 go") == EVERYTHING
    assert talk.wants("C: text\nC: .") == EVERYTHING
    assert talk.wants("S: 250 queued") == EVERYTHING
    assert (talk.session.dialogue.envelope.recipients, talk.session.dialogue.envelope.messages) == (2, 2)


def test_half_a_hidden_command_is_no_offence() -> None:
    talk = in_content()
    talk.wants(unseen=1003 + len("RSET\r\nMAIL FROM:<a"))
    assert talk.wants("S: 250 queued\nC: lice@example.org>\nS: 250 reset\nS: 250 ok\nC: QUIT\nS: 221 Bye") == NOTHING
    assert talk.session.dialogue.facts.violations == ()


def test_lost_content_of_a_guess_is_lost() -> None:
    """Only content behind a 354 that was seen may be left out."""
    talk = Talk()
    talk.wants(LEGITIMATE.split("S: 354")[0])
    talk.server_seq += 8  # the 354 is lost
    assert talk.wants("C: Subject: x") == EVERYTHING


def test_opaque_wants_ends() -> None:
    talk = Talk()
    talk.wants("S: 220 mx\nC: EHLO a.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go")
    talk.packet(True, PSH | ACK, b"\x16\x03\x01\x00\x08\x01\x00\x00\x40" + bytes(9))
    assert talk.wants() == ENDS
    assert in_content().session.visibility == REPLIES
    talk = in_content()
    talk.session.stop_reading("memory")
    assert talk.session.visibility == ENDS


# ── the farewell ────────────────────────────────────────────────────────────────────────────────


def test_what_comes_after_the_farewell_is_ignored() -> None:
    talk = Talk()
    assert talk.wants("S: 220 mx\nC: HELO a.example\nS: 250 mx\nC: QUIT\nS: 221 Bye") == NOTHING
    events = list(talk.session.dialogue.events)
    for flags in (FIN | ACK, RST):
        talk.packet(True, flags)
        talk.packet(False, flags)
    assert talk.wants("C: MAIL FROM:<a@example.org>\nS: 250 ok") == NOTHING
    assert (talk.session.phase, talk.session.dialogue.events) == (CLOSED, events)
    assert talk.session.last == talk.packets[-1].time
    again = Conversation(isn=99).syn()
    segment = parse(again.data)
    assert isinstance(segment, Segment)
    assert talk.session.is_new_attempt(segment)


def test_quit_alone_is_no_end() -> None:
    """The server may not take it for one, or never see it: a client can send what does not arrive."""
    talk = Talk()
    assert talk.wants("S: 220 mx\nC: HELO a.example\nS: 250 mx\nC: QUIT now\nS: 501 no arguments, please") == EVERYTHING
    assert talk.wants("C: MAIL FROM:<a@example.org>\nS: 250 ok") == EVERYTHING
    assert talk.session.phase == OPEN
    assert talk.wants("C: QUIT") == EVERYTHING
    assert talk.wants("S: 221 Bye") == NOTHING


@pytest.mark.parametrize("behind", ["C: NOOP", "C: NOOP\nC: NOOP"])
def test_farewell_with_commands_behind_quit_is_no_end(behind: str) -> None:
    talk = Talk()
    talk.wants("S: 220 mx\nC: EHLO a.example\nS: 250-mx\nS: 250 PIPELINING")
    assert talk.wants(f"C: QUIT\n{behind}\nS: 221 Bye") == EVERYTHING
    assert not talk.session.closed


def test_pipelined_quit_ends_with_the_farewell() -> None:
    talk = Talk()
    talk.wants("S: 220 mx\nC: EHLO a.example\nS: 250-mx\nS: 250 PIPELINING\nC: RSET\nC: NOOP\nC: QUIT")
    assert talk.wants("S: 250 ok") == EVERYTHING
    assert talk.wants("S: 250 ok") == EVERYTHING
    assert talk.wants("S: 221 Bye") == NOTHING
    assert talk.session.dialogue.facts.violations == ()


@pytest.mark.parametrize("reply", ["250 queued", "554 spam", "421 too much"])
def test_hidden_quit_ends_whatever_became_of_the_message(reply: str) -> None:
    talk = in_content()
    talk.wants(unseen=1003 + len("QUIT\r\n"))
    assert talk.wants(f"S: {reply}\nS: 221 Bye") == NOTHING
    assert (talk.session.phase, talk.sizes, talk.session.dialogue.facts.violations) == (CLOSED, [1000], ())


def test_a_hole_before_the_farewell_is_waited_for() -> None:
    talk = Talk()
    talk.wants("S: 220 mx\nC: HELO a.example\nS: 250 mx\nC: QUIT")
    talk.client_seq += 100
    talk.packet(True, PSH | ACK, b"NOOP\r\n")
    talk.client_seq -= 106
    assert talk.wants("S: 221 Bye") == EVERYTHING
