"""The responder's dialogue, whatever a client sends: no recipient is accepted, everything ends within its bounds."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.explain.dialogue import GREETING, MAX_BYTES, MAX_COMMANDS, MAX_LINE_BYTES, Dialogue, Texts, fold
from cpe_filter.explain.questions import Questions
from cpe_filter.lean.clocks import Mono
from tests.policies import make_policy

TEXT = "Example Net stopped this: this line may not send mail itself."

_quiet = settings(derandomize=True, deadline=None, max_examples=400)


@pytest.mark.parametrize("length", [1, 60, 300, 400])
@pytest.mark.parametrize("words", [1, 7, 60])
def test_a_reply_of_any_text_fits_its_lines(length: int, words: int) -> None:
    text = " ".join("x" * max(1, length // words) for _ in range(words))[:400]
    url = "https://h/" + "y" * 190
    lines = fold(554, "5.7.1", f"{text} {url}").decode().split("\r\n")
    assert lines.pop() == ""
    assert all(len(line) <= MAX_LINE_BYTES - 2 for line in lines)
    assert [line[:10] for line in lines] == ["554-5.7.1 "] * (len(lines) - 1) + ["554 5.7.1 "]
    assert len(lines) <= 2
    assert " ".join(line[10:] for line in lines) == f"{text} {url}".strip()


def test_a_line_too_long_that_is_cut_before_what_looks_like_tls() -> None:
    assert talk([b"x" * 600, b"\x16\x03\r\nNOOP\r\n"])[0] == ["500 5.5.2 line too long\r\n", "250 2.0.0 ok\r\n"]


def test_text_alone_is_one_line() -> None:
    assert fold(554, "5.7.1", f"{TEXT} ") == f"554 5.7.1 {TEXT}\r\n".encode()


# ── any input ───────────────────────────────────────────────────────────────────────────────────────

_VERBS = (
    *("HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "HELP", "QUIT", "VRFY", "EXPN", "AUTH"),
    *("STARTTLS", "ETRN", "GET", "rcpt", "Data", "mail"),
)
_arguments = st.sampled_from(["", " FROM:<a@b>", " TO:<c@d>", " 5 LAST", " 0", "\tTO:<c@d>"]) | st.text(max_size=9)
_line = st.tuples(st.sampled_from(_VERBS), _arguments).map(lambda both: "".join(both).encode())
_wild = st.lists(_line | st.binary(max_size=30) | st.just(b"x" * 600), max_size=30).map(b"\r\n".join)


def dialogue_of(tests: bool = False) -> Dialogue:
    """One with all tests, or with none."""
    asked = Questions(make_policy(tests=tests).explain).of(b"\xc0\xa8\x01\x65", True, Mono(1.0))
    assert (asked is not None) is tests
    return Dialogue(Texts(TEXT), asked)


def talk(pieces: list[bytes], tests: bool = False) -> tuple[list[str], Dialogue]:
    """Replies to these bytes, received as they are cut. A reply that comes in two parts is one."""
    dialogue = dialogue_of(tests)
    replies = []
    for piece in pieces:
        if dialogue.is_closed:
            break
        dialogue.receive(piece)
        while reply := dialogue.reply():
            if dialogue.pauses:
                reply += dialogue.reply()
            assert not dialogue.pauses
            replies.append(reply.decode("ascii"))
    return replies, dialogue


@_quiet
@given(lines=st.lists(_line.filter(lambda line: b"\n" not in line), max_size=40), tests=st.booleans())
def test_no_recipient_is_ever_taken_nor_any_content(lines: list[bytes], tests: bool) -> None:
    dialogue = dialogue_of(tests)
    for line in lines:
        in_chunk = dialogue._swallow > 0
        dialogue.receive(line + b"\r\n")
        reply = dialogue.reply()
        if dialogue.pauses:
            reply += dialogue.reply()
        assert reply[:1] != b"3"
        if reply[:1] == b"2":
            verb = (line.split(None, 1) or [b""])[0].upper()
            assert in_chunk or verb in (b"HELO", b"EHLO", b"MAIL", b"RSET", b"NOOP", b"HELP", b"QUIT")
        if not in_chunk and line.upper().startswith((b"RCPT ", b"RCPT\t")):
            assert reply.startswith((b"554 5.7.1 ", b"421 ", b"450 4.7.1 " if tests else b"421 ")) or not reply
            assert reply or dialogue.is_closed
        while reply and not dialogue.is_closed:
            reply = dialogue.reply()
            assert reply[:1] != b"3"


@_quiet
@given(data=_wild | st.binary(max_size=3000), cuts=st.lists(st.integers(0, 4000), max_size=8), tests=st.booleans())
def test_how_bytes_are_cut_does_not_matter(data: bytes, cuts: list[int], tests: bool) -> None:
    places = [0, *sorted(cuts), len(data)]
    whole, _ = talk([data], tests)
    assert talk([data[a:b] for a, b in itertools.pairwise(places)], tests)[0] == whole
    assert talk([data[n : n + 1] for n in range(len(data))], tests)[0] == whole
    for reply in whole:
        assert re.fullmatch(r"(?:[2-5]\d\d-[ -~]*\r\n)*[2-5]\d\d [ -~]*\r\n", reply)
        assert not reply.startswith("3")


@_quiet
@given(seed=_wild | st.binary(min_size=1, max_size=40), tests=st.booleans())
def test_whatever_is_said_ends_within_its_bounds(seed: bytes, tests: bool) -> None:
    dialogue = dialogue_of(tests)
    stream = (seed or b"x") * (1 + (MAX_BYTES + 2048) // max(1, len(seed)))
    replies = most = 0
    for at in range(0, len(stream), 1024):
        if dialogue.is_closed:
            break
        dialogue.receive(stream[at : at + 1024])
        most = max(most, len(dialogue._buffer))
        while dialogue.reply():
            replies += 1
    assert dialogue.is_closed
    assert replies <= MAX_COMMANDS + 1 + tests  # the reply to EHLO may come in two parts
    assert most <= MAX_LINE_BYTES + 2 + 1024
    assert not dialogue._buffer
    assert dialogue.reply() == b""


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────


def test_the_greeting_in_two_parts_is_one_reply() -> None:
    dialogue = dialogue_of(tests=True)
    first = dialogue.greeting()
    assert dialogue.pauses
    assert (first, dialogue.reply()) == (b"220-" + GREETING[4:], GREETING)
    assert not dialogue.pauses
    assert dialogue.reply() == b""
    plain = dialogue_of()
    assert plain.greeting() == GREETING
    assert not plain.pauses


def test_who_talks_first_still_gets_every_reply() -> None:
    dialogue = dialogue_of(tests=True)
    dialogue.greeting()
    dialogue.receive(b"HELO x\r\n")
    assert [dialogue.reply()[:4], dialogue.reply()[:4], dialogue.reply()] == [b"220 ", b"250 ", b""]


def test_only_the_first_reply_to_ehlo_pauses() -> None:
    dialogue = dialogue_of(tests=True)
    pauses = []
    for _ in range(2):
        dialogue.receive(b"EHLO x\r\n")
        dialogue.reply()
        pauses.append(dialogue.pauses)
        dialogue.reply()
    assert pauses == [True, False]


def test_extensions_are_those_without_tests_and_starttls_and_a_harmless_one() -> None:
    lines = [reply.split("\r\n") for reply in talk([b"EHLO x\r\n"])[0] + talk([b"EHLO x\r\n"], True)[0]]
    plain, odd = ([line[4:] for line in reply[1:-1]] for reply in lines)
    assert [line for line in odd if line not in plain] == ["STARTTLS", "limits RCPTMAX=100 MAILMAX=550"]
    assert [line for line in odd if line in plain] == plain == ["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    assert sum(map(len, lines[1])) < 300  # large providers' replies are as long
    assert all(line.startswith("250") for line in lines[1][:-1])


def test_every_refusal_has_the_text() -> None:
    replies, _ = talk([b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<c@d>\r\n"], True)
    assert [reply.partition("\r\n")[0] for reply in replies[1:]] == [
        f"454 4.7.0 {TEXT}", "250-2.1.0 ok 354-450-554", f"450 4.7.1 {TEXT}", f"450 4.7.1 {TEXT}",
    ]  # fmt: skip


def test_starttls_is_no_mistake_and_is_asked_once() -> None:
    replies, _ = talk([b"STARTTLS\r\n" * 2 + b"EHLO x\r\n"], True)
    assert [reply[:3] for reply in replies] == ["454", "454", "250"]
    assert talk([b"STARTTLS\r\n"])[0][0].startswith("502 ")
