"""The responder's dialogue, whatever a client sends: no recipient is accepted, everything ends within its bounds."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.explain.dialogue import MAX_BYTES, MAX_COMMANDS, MAX_LINE_BYTES, Dialogue, fold

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


def talk(pieces: list[bytes]) -> tuple[list[str], Dialogue]:
    """Replies to these bytes, received as they are cut."""
    dialogue = Dialogue(fold(554, "5.7.1", TEXT), fold(214, "2.0.0", TEXT))
    replies = []
    for piece in pieces:
        if dialogue.is_closed:
            break
        dialogue.receive(piece)
        while reply := dialogue.reply():
            replies.append(reply.decode("ascii"))
    return replies, dialogue


@_quiet
@given(lines=st.lists(_line.filter(lambda line: b"\n" not in line), max_size=40))
def test_no_recipient_is_ever_taken_nor_any_content(lines: list[bytes]) -> None:
    dialogue = Dialogue(fold(554, "5.7.1", TEXT), fold(214, "2.0.0", TEXT))
    for line in lines:
        in_chunk = dialogue._swallow > 0
        dialogue.receive(line + b"\r\n")
        reply = dialogue.reply()
        assert reply[:1] != b"3"
        if reply[:1] == b"2":
            verb = (line.split(None, 1) or [b""])[0].upper()
            assert in_chunk or verb in (b"HELO", b"EHLO", b"MAIL", b"RSET", b"NOOP", b"HELP", b"QUIT")
        if not in_chunk and line.upper().startswith((b"RCPT ", b"RCPT\t")):
            assert reply.startswith((b"554 5.7.1 ", b"421 ")) or not reply
            assert reply or dialogue.is_closed
        while reply and not dialogue.is_closed:
            reply = dialogue.reply()
            assert reply[:1] != b"3"


@_quiet
@given(data=_wild | st.binary(max_size=3000), cuts=st.lists(st.integers(0, 4000), max_size=8))
def test_how_bytes_are_cut_does_not_matter(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(data)]
    whole, _ = talk([data])
    assert talk([data[a:b] for a, b in itertools.pairwise(places)])[0] == whole
    assert talk([data[n : n + 1] for n in range(len(data))])[0] == whole
    for reply in whole:
        assert re.fullmatch(r"(?:[2-5]\d\d-[ -~]*\r\n)*[2-5]\d\d [ -~]*\r\n", reply)
        assert not reply.startswith("3")


@_quiet
@given(seed=_wild | st.binary(min_size=1, max_size=40))
def test_whatever_is_said_ends_within_its_bounds(seed: bytes) -> None:
    dialogue = Dialogue(b"554 no\r\n", b"214 no\r\n")
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
    assert replies <= MAX_COMMANDS + 1
    assert most <= MAX_LINE_BYTES + 2 + 1024
    assert not dialogue._buffer
    assert dialogue.reply() == b""
