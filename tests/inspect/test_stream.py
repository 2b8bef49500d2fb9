"""`inspect.stream`: what arrives in whatever order comes out as the bytes that were sent, gaps said outright.

A stream under test is fed by hand first, one test for each thing that networks and evaders do, then by
hypothesis: random cuts, order, copies and losses of a random byte string.
"""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.inspect.stream import PENDING_BYTES, PENDING_SEGMENTS, REMEMBERED, Chunk, Stream

_MOD = 1 << 32


def begun(isn: int = 999) -> Stream:
    """A stream whose SYN had the number `isn`: its first byte has the next."""
    stream = Stream()
    assert stream.syn(isn)
    return stream


def joined(chunks: list[Chunk]) -> bytes:
    """Delivered bytes; fails on a gap."""
    assert all(isinstance(chunk, bytes) for chunk in chunks), chunks
    return b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))


# ── order ───────────────────────────────────────────────────────────────────────────────────────


def test_bytes_in_order_pass_at_once() -> None:
    stream = begun()
    assert stream.feed(1000, b"HELO ") == [b"HELO "]
    assert stream.feed(1005, b"x\r\n") == [b"x\r\n"]
    assert stream.position == 8
    assert not stream.conflict


def test_what_comes_early_waits_for_what_is_missing() -> None:
    stream = begun()
    assert stream.feed(1006, b"three") == []
    assert stream.feed(1003, b"two") == []
    assert joined(stream.feed(1000, b"one")) == b"onetwothree"
    assert stream.position == 11


def test_sequence_numbers_wrap_around() -> None:
    stream = begun(_MOD - 4)
    assert stream.feed(_MOD - 3, b"abc") == [b"abc"]
    assert stream.feed(3, b"ghi") == []
    assert joined(stream.feed(0, b"def")) == b"defghi"
    assert stream.feed(_MOD - 3, b"abcdefghi") == []  # resent across the wrap
    assert not stream.conflict


def test_wrap_around_within_a_segment_and_in_what_waits() -> None:
    stream = begun(_MOD - 9)
    assert stream.feed(_MOD - 2, b"ghijkl") == []
    assert stream.feed(2, b"klmn") == []
    assert joined(stream.feed(_MOD - 8, b"abcdef")) == b"abcdefghijklmn"


def test_data_on_the_syn_has_the_number_behind_it() -> None:
    stream = begun(7)
    assert stream.feed(8, b"EHLO x\r\n") == [b"EHLO x\r\n"]


def test_a_resent_syn_fits_and_another_does_not() -> None:
    stream = begun(7)
    assert stream.syn(7)
    stream.feed(8, b"abc")
    assert stream.syn(7)
    assert not stream.syn(9)


def test_a_stream_picked_up_in_the_middle_begins_there() -> None:
    stream = Stream()
    assert not stream.started
    assert stream.acknowledged(5000) == []
    assert stream.feed(4242, b"DATA\r\n") == [b"DATA\r\n"]
    assert stream.started
    assert stream.feed(4236, b"12345\n") == []  # older than the beginning: nobody's business
    assert stream.position == 6


# ── copies ──────────────────────────────────────────────────────────────────────────────────────


def test_resent_bytes_are_delivered_once() -> None:
    stream = begun()
    stream.feed(1000, b"MAIL ")
    assert stream.feed(1000, b"MAIL ") == []
    assert stream.feed(1000, b"MAIL FROM") == [b"FROM"]  # resent together with what follows
    assert stream.feed(1000, b"MAIL FROM") == []
    assert stream.feed(1003, b"L FRO") == []
    assert stream.position == 9
    assert not stream.conflict


def test_a_differing_copy_of_delivered_bytes_is_a_conflict_and_loses() -> None:
    stream = begun()
    stream.feed(1000, b"RSET\r\n")
    assert stream.feed(1000, b"DATA\r\n") == []
    assert stream.conflict


def test_a_differing_copy_is_found_within_a_larger_one() -> None:
    stream = begun()
    stream.feed(1000, b"ab")
    stream.feed(1002, b"cd")
    assert stream.feed(1000, b"abXdef") == [b"ef"]
    assert stream.conflict


def test_a_differing_copy_of_waiting_bytes_is_a_conflict_and_loses() -> None:
    stream = begun()
    stream.feed(1003, b"def")
    stream.feed(1003, b"dXf")
    assert stream.conflict
    assert joined(stream.feed(1000, b"abc")) == b"abcdef"


@pytest.mark.parametrize(
    ("second", "number"),
    [(b"CDEF", 1002), (b"EFGH", 1004), (b"CDEFGHIJ", 1002), (b"EF", 1004), (b"DEFGHI", 1003), (b"ABCDEFGH", 1000)],
)
def test_of_overlapping_copies_the_first_to_arrive_wins(second: bytes, number: int) -> None:
    stream = begun()
    out = stream.feed(1004, b"efgh")
    out += stream.feed(number, second)
    assert stream.conflict
    out += stream.feed(1000, b"abcd")
    out += stream.feed(1008, b"ij")
    got = joined(out)
    want = bytearray(b"abcdefghij")
    for at, byte in enumerate(second, number - 1000):
        if not 4 <= at < 8:
            want[at] = byte
    assert got == bytes(want)


def test_overlapping_copies_that_agree_are_no_conflict() -> None:
    stream = begun()
    stream.feed(1004, b"efgh")
    stream.feed(1002, b"cdefghij")
    stream.feed(1006, b"ghijkl")
    assert joined(stream.feed(1000, b"abcdefghijklmn")) == b"abcdefghijklmn"
    assert not stream.conflict


def test_a_keep_alive_is_no_data_and_no_conflict() -> None:
    stream = begun()
    stream.feed(1000, b"N")
    assert stream.feed(1000, b"\0") == []  # one old byte of any value, RFC 1122 section 4.2.3.6
    assert stream.feed(1000, b"") == []
    assert not stream.conflict
    assert stream.feed(1001, b"OOP\r\n") == [b"OOP\r\n"]


def test_only_the_last_few_segments_are_compared() -> None:
    stream = begun()
    for i in range(REMEMBERED + 1):
        stream.feed(1000 + 2 * i, b"xy")
    stream.feed(1000, b"..")
    assert not stream.conflict  # its checksum has been dropped
    stream.feed(1002, b"..")
    assert stream.conflict


# ── the end ─────────────────────────────────────────────────────────────────────────────────────


def test_a_fin_ends_the_stream_where_it_stands() -> None:
    stream = begun()
    assert stream.feed(1000, b"QUIT\r\n", fin=True) == [b"QUIT\r\n"]
    assert stream.finished
    assert stream.feed(1000, b"QUIT\r\n", fin=True) == []
    assert stream.feed(1006, b"more") == []  # behind the FIN there is nothing
    assert stream.acknowledged(1007) == []  # the FIN's number is no byte
    assert stream.position == 6


def test_a_fin_alone_ends_the_stream() -> None:
    stream = begun()
    stream.feed(1000, b"QUIT\r\n")
    assert stream.feed(1006, b"", fin=True) == []
    assert stream.finished


def test_a_fin_that_comes_early_waits() -> None:
    stream = begun()
    assert stream.feed(1006, b"", fin=True) == []
    assert not stream.finished
    assert stream.feed(1000, b"QUIT\r\n") == [b"QUIT\r\n"]
    assert stream.finished


def test_a_fin_resent_with_delivered_bytes_still_ends_the_stream() -> None:
    stream = begun()
    stream.feed(1000, b"QUIT\r\n")
    assert stream.feed(1000, b"QUIT\r\n", fin=True) == []
    assert stream.finished


def test_an_early_fin_resent_often_declares_nothing_lost() -> None:
    stream = begun()
    for _ in range(PENDING_SEGMENTS * 2):
        assert stream.feed(1006, b"", fin=True) == []
        assert stream.feed(1003, b"T\r\n", fin=True) == []
    assert joined(stream.feed(1000, b"QUI")) == b"QUIT\r\n"


def test_lost_bytes_before_a_fin_are_a_gap_of_their_own_length() -> None:
    acknowledged, flushed = begun(), begun()
    for stream in (acknowledged, flushed):
        stream.feed(1000, b"ab")
        assert stream.feed(1006, b"", fin=True) == []
    assert acknowledged.acknowledged(1007) == [4]
    assert flushed.flush() == [4]
    assert acknowledged.finished
    assert flushed.finished


# ── gaps ────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_other_side_acknowledged_unseen_is_a_gap() -> None:
    stream = begun()
    stream.feed(1000, b"ab")
    assert stream.acknowledged(1002) == []
    assert stream.acknowledged(1005) == [3]
    assert stream.feed(1002, b"cde") == []  # too late
    assert stream.feed(1005, b"f") == [b"f"]
    assert stream.position == 6


def test_an_acknowledgement_frees_what_waited_up_to_it_only() -> None:
    stream = begun()
    stream.feed(1003, b"def")
    stream.feed(1008, b"ij")
    stream.feed(1012, b"mn")
    assert stream.acknowledged(1010) == [3, b"def", 2, b"ij"]
    assert stream.feed(1010, b"kl") == [b"kl", b"mn"]


def test_an_acknowledgement_within_what_waits_frees_it() -> None:
    stream = begun()
    stream.feed(1003, b"defgh")
    assert stream.acknowledged(1005) == [3, b"defgh"]


def test_old_and_absurd_acknowledgements_mean_nothing() -> None:
    stream = begun()
    stream.feed(1000, b"ab")
    assert stream.acknowledged(1001) == []
    assert stream.acknowledged((1002 + (1 << 30) + 1) % _MOD) == []
    assert stream.feed(1002, b"c") == [b"c"]


def test_a_segment_farther_ahead_than_any_window_is_not_kept() -> None:
    stream = begun()
    assert stream.feed((1000 + (1 << 30) + 1) % _MOD, b"stray", fin=True) == []
    assert stream.feed(1000, b"ab") == [b"ab"]
    assert stream.flush() == []


def test_cut_off_bytes_are_a_gap_at_once() -> None:
    stream = begun()
    assert stream.feed(1000, b"ab", cut=8) == [b"ab", 8]
    assert stream.feed(1010, b"", cut=5) == [5]
    assert stream.feed(1000, b"ab", cut=8) == []
    assert stream.feed(1010, b"klm", cut=4) == [2]  # resent: of the new part nothing was kept
    assert stream.position == 17


def test_cut_off_bytes_of_what_waited_are_a_gap_in_their_place() -> None:
    stream = begun()
    for _ in range(PENDING_SEGMENTS * 2):  # copies take no room
        assert stream.feed(1003, b"de", cut=4) == []
    stream.feed(1009, b"", cut=1)
    assert stream.feed(1000, b"abc") == [b"abc", b"de", 4, 1]


def test_flush_gives_what_still_waits_with_its_gaps() -> None:
    stream = begun()
    stream.feed(1003, b"def")
    stream.feed(1008, b"ij")
    assert stream.flush() == [3, b"def", 2, b"ij"]
    assert stream.flush() == []
    assert stream.position == 10


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────


def test_too_many_waiting_segments_declare_the_missing_one_lost() -> None:
    stream = begun()
    for i in range(PENDING_SEGMENTS):
        assert stream.feed(1002 + 2 * i, b"x") == []
    assert stream.feed(1002 + 2 * PENDING_SEGMENTS, b"x") == [2, b"x"]
    assert stream.feed(1000, b"ab") == []


def test_too_many_waiting_bytes_declare_the_missing_one_lost() -> None:
    stream = begun()
    half = b"x" * (PENDING_BYTES // 2)
    assert stream.feed(1010, half) == []
    assert stream.feed(1010 + len(half), half) == []
    assert stream.feed(1010 + 2 * len(half), b"y") == [10, half, half, b"y"]


def test_what_waits_stays_bounded_whatever_comes() -> None:
    rng = random.Random(1)
    stream = begun(0)
    for _ in range(3000):
        stream.feed(rng.randrange(1 << 18), bytes(rng.randrange(3000)), rng.randrange(3), rng.random() < 0.01)
        waiting = stream._pending
        assert len(waiting) <= PENDING_SEGMENTS
        assert sum(len(item[1]) for item in waiting) == stream.waiting <= PENDING_BYTES
        assert len(stream._recent) <= REMEMBERED * 6


# ── any order, any copies, any losses ───────────────────────────────────────────────────────────

Piece = tuple[int, bytes]
_WINDOW = 6


def sent(data: bytes, rng: random.Random, copies: float) -> list[Piece]:
    """`data` cut anywhere, disordered by at most `_WINDOW` places, with copies (also cut elsewhere) strewn in."""
    pieces: list[Piece] = []
    at = 0
    while at < len(data):
        size = rng.choice((1, 2, 5, 40))
        pieces.append((at, data[at : at + size]))
        at += size
    order = sorted(range(len(pieces)), key=lambda i: i + rng.random() * _WINDOW)
    out: list[Piece] = []
    for i in order:
        out.append(pieces[i])
        if rng.random() < copies:
            start = rng.randrange(max(0, pieces[i][0] - 50), pieces[i][0] + 1)
            # Of what was not sent yet only this piece, so that the disorder stays within the window.
            out.append((start, data[start : pieces[i][0] + len(pieces[i][1])]))
    return out


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.binary(min_size=1, max_size=600), st.integers(0, _MOD - 1), st.integers(0, 1 << 30))
def test_any_cuts_order_and_copies_give_the_bytes_that_were_sent(data: bytes, isn: int, seed: int) -> None:
    stream = begun(isn)
    out: list[Chunk] = []
    for at, piece in sent(data, random.Random(seed), copies=0.3):
        out += stream.feed((isn + 1 + at) % _MOD, piece, fin=at + len(piece) == len(data))
    assert joined(out) == data
    assert stream.position == len(data)
    assert stream.finished
    assert not stream.conflict


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.binary(min_size=1, max_size=600), st.integers(0, _MOD - 1), st.integers(0, 1 << 30))
def test_with_losses_bytes_and_gaps_stand_where_they_belong(data: bytes, isn: int, seed: int) -> None:
    rng = random.Random(seed)
    stream = begun(isn)
    out: list[Chunk] = []
    seen = bytearray(len(data))
    for at, piece in sent(data, rng, copies=0.2):
        if rng.random() < 0.15:
            continue
        seen[at : at + len(piece)] = b"\1" * len(piece)
        out += stream.feed((isn + 1 + at) % _MOD, piece)
        if rng.random() < 0.1:  # the receiver had it all
            out += stream.acknowledged((isn + 1 + at + len(piece)) % _MOD)
    out += stream.flush()
    out += stream.acknowledged((isn + 1 + len(data)) % _MOD)
    at = 0
    for chunk in out:
        if isinstance(chunk, int):
            assert chunk > 0
            at += chunk
        else:
            assert chunk == data[at : at + len(chunk)]
            assert all(seen[at : at + len(chunk)])
            at += len(chunk)
    assert at == stream.position == len(data)
    assert not stream.conflict


def test_delivered_bytes_are_remembered_as_checksums_only() -> None:
    stream = begun()
    stream.feed(1000, b"secret-bytes")
    assert stream._recent == struct.pack("!HI", 12, hash(b"secret-bytes") & 0xFFFFFFFF)
    assert not stream._pending
