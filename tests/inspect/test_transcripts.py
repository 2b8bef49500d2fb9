"""Dialogues as people would write them down, and what `inspect` must make of them, however TCP delivers them.

See `transcript.py` for the format of the files in `transcripts/`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cpe_filter.inspect
from cpe_filter.inspect.facts import Limits
from cpe_filter.inspect.packet import ACK, SYN, Segment
from cpe_filter.inspect.session import Session
from cpe_filter.inspect.states import COMMANDS, TURNS
from cpe_filter.replay.violations import VIOLATIONS
from tests.inspect.transcript import OWNER, WAYS, Transcript, everything_in, play, read_all, whole

TRANSCRIPTS = read_all()
#: Ways that leave something to chance are played so often.
_SEEDS = 8
_every = pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda one: f"{one.where} {one.name}")


@_every
def test_dialogue(transcript: Transcript) -> None:
    """The facts are as written, and they and all events the same whichever way the bytes travel."""
    reference = play(transcript, whole, 0)
    assert reference.facts == transcript.facts
    for name, way in WAYS.items():
        for seed in range(1 if name in ("whole", "bytewise") else _SEEDS):
            if name in transcript.left_out:
                continue
            played = play(transcript, way, seed)
            how = f"{name}, seed {seed}"
            assert (how, played.facts) == (how, reference.facts)
            assert (how, played.events) == (how, reference.events)
            assert (how, played.phase) == (how, reference.phase)


@_every
def test_no_local_part_outlives_its_line(transcript: Transcript) -> None:
    """On the router addresses are domains (`Limits.local_parts`), and no byte of a message is kept."""
    session = play(transcript, whole, 0, Limits()).session
    everything = everything_in(session)
    for envelope in play(transcript, whole, 0, OWNER).session.dialogue.transactions:
        for address in (envelope.mail_from or "", *envelope.rcpt_to):
            local_part, at, domain = address.rpartition("@")
            if at:
                assert f"{local_part}@" not in everything
                assert domain in everything or session.dialogue.envelope.count > Limits().transactions


@pytest.mark.parametrize(
    "transcript", [one for one in TRANSCRIPTS if one.secrets], ids=lambda one: f"{one.where} {one.name}"
)
def test_secrets_are_gone_with_their_line(transcript: Transcript) -> None:
    sent = b"".join(item.data for item in transcript.items).decode("latin-1")
    for secret in transcript.secrets:
        assert secret in sent, "a secret that is not sent proves nothing"

    def no_secret(session: Session) -> None:
        everything = everything_in(session)
        for secret in transcript.secrets:
            assert secret not in everything

    play(transcript, whole, 0, OWNER, after_each=no_secret)


def test_a_held_secret_would_be_found() -> None:
    """`everything_in` sees into what it is given: the test above can fail."""
    transcript = next(one for one in TRANSCRIPTS if one.facts.get("helo"))
    assert transcript.facts["helo"] in everything_in(play(transcript, whole, 0).session)


# ── the tables are whole ────────────────────────────────────────────────────────────────────────


def test_there_are_many_dialogues_and_each_has_its_own_name() -> None:
    names = [one.name for one in TRANSCRIPTS]
    assert len(names) >= 60
    assert len(set(names)) == len(names)


def test_reasons_are_given_for_every_way_left_out() -> None:
    for one in TRANSCRIPTS:
        assert set(one.left_out) <= set(WAYS)
        assert all(len(reason) > 20 for reason in one.left_out.values())


def test_every_command_is_spoken_in_a_dialogue() -> None:
    spoken = {
        item.data.split(None, 1)[0].decode("latin-1").upper()
        for one in TRANSCRIPTS
        for item in one.items
        if item.side == "C" and item.data.strip()
    }
    assert set(COMMANDS) <= spoken
    assert TURNS - {"auth-line", "private"} <= spoken


def test_the_table_of_violations_is_what_the_code_can_say() -> None:
    sources = Path(cpe_filter.inspect.__file__).parent.glob("*.py")
    said = {name for path in sources for name in re.findall(r'violate\("([^"]+)"\)', path.read_text("utf-8"))}
    assert said == set(VIOLATIONS)


def test_violations_are_said_by_name_only() -> None:
    """No call hides its name from the test above in a variable."""
    for path in Path(cpe_filter.inspect.__file__).parent.glob("*.py"):
        for call in re.findall(r"(?<!def )violate\((.*)", path.read_text("utf-8")):
            assert call.startswith('"'), f"{path.name}: violate({call}"


def test_every_violation_is_shown_by_a_dialogue() -> None:
    shown = {name for one in TRANSCRIPTS for name in one.facts["violations"]}
    assert shown == set(VIOLATIONS) - _BY_HAND


#: Shown by tests of their own: a transcript's bytes are the same whenever they are sent.
_BY_HAND = {"overlapping-data"}


def test_a_byte_sent_twice_with_different_values() -> None:
    client, server = b"\xc0\x00\x02\x0a", b"\xc6\x33\x64\x19"
    syn = Segment(client, server, 40025, 25, 999, 0, SYN, b"", 0)
    session = Session(syn, 0.0, OWNER, from_client=True)
    session.segment(syn, 0.0, from_client=True)
    for payload in (b"RSET\r\n", b"DATA\r\n"):
        session.segment(Segment(client, server, 40025, 25, 1000, 0, ACK, payload, 0), 0.1, from_client=True)
    assert session.dialogue.facts.violations == ("overlapping-data",)
    assert session.dialogue.commands == 1
