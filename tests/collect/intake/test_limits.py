"""Bounds on bodies, and token buckets."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from cpe_filter.collect.intake.limits import (
    MAX_UNPACKED,
    Buckets,
    Discard,
    Gunzip,
    GzipError,
    Plain,
    TooLargeError,
    source,
)
from cpe_filter.send.protocol import MAX_BODY

TEXT = b'{"v":1}' * 100


def unpack(data: bytes, step: int = 1 << 20) -> bytes:
    taker = Gunzip()
    for start in range(0, len(data), step):
        taker.feed(data[start : start + step])
    return taker.end()


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_gzip_comes_out_as_it_went_in(step: int) -> None:
    assert unpack(gzip.compress(TEXT), step) == TEXT


def test_bomb_costs_no_more_than_its_bound() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(60)) + packer.flush()
    assert 32 * 1024 < len(bomb) < MAX_BODY
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_UNPACKED
    finally:
        tracemalloc.stop()


def test_bodies_that_never_end_are_held_packed() -> None:
    packer = zlib.compressobj(9, wbits=31)
    part = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    takers = [Gunzip() for _ in range(50)]
    tracemalloc.start()
    try:
        for taker in takers:
            taker.feed(part * 5)
        assert tracemalloc.get_traced_memory()[1] < 50 * MAX_BODY
    finally:
        tracemalloc.stop()


def test_unwanted_bodies_are_counted() -> None:
    discard = Discard()
    discard.feed(bytes(MAX_BODY))
    with pytest.raises(TooLargeError):
        discard.feed(b"x")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:3::4%eth0", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("", "unix", True),
    ],
)
def test_whose_an_address_is(one: str, other: str, same: bool) -> None:
    assert (source(one) == source(other)) is same


def test_given_back() -> None:
    buckets = Buckets(per_hour=3600, burst=2)
    buckets.take("a", 2, 0.0)
    buckets.give_back("a", 1)
    assert [buckets.take("a", 1, 0.0) > 0 for _ in range(2)] == [False, True]
    buckets.give_back("a", 100)
    buckets.give_back("nobody", 1)
    assert [buckets.take("a", 1, 0.0) > 0 for _ in range(3)] == [False, False, True]


def test_small_bomb_is_stopped_by_its_ratio() -> None:
    bomb = gzip.compress(bytes(900_000))
    assert len(bomb) < 4000
    with pytest.raises(TooLargeError, match="200:1"):
        unpack(bomb)


def test_largest_real_report_passes() -> None:
    from tests.collect.reports import body, incident, packed

    ind = {f"indicator-number-{n:02d}-0123456789": 4294967295 for n in range(64)}
    sp = [{"up": -4294967295, "port": 65535, "family": 6}] * 4
    name = "~" * 64
    data = packed(body(*[incident(n, ind=ind, sp=sp, name=name) for n in range(256)]))
    assert 500_000 < len(unpack(data)) < MAX_UNPACKED


@pytest.mark.parametrize(
    "data",
    [b"x", b"", gzip.compress(TEXT)[:-1], gzip.compress(TEXT) + b"x", gzip.compress(TEXT) * 2, TEXT],
    ids=["x", "empty", "incomplete", "followed", "two", "plain"],  # gzip data has the time in it
)
def test_what_is_no_gzip_member(data: bytes) -> None:
    with pytest.raises(GzipError):
        unpack(data)
    with pytest.raises(GzipError):
        unpack(data, 1)


def test_bytes_on_the_way_are_bounded() -> None:
    import random

    noise = random.Random(1).randbytes(MAX_BODY)
    with pytest.raises(TooLargeError):
        unpack(gzip.compress(noise))
    plain = Plain()
    plain.feed(noise)
    assert plain.end() == noise
    with pytest.raises(TooLargeError):
        plain.feed(b"x")


def test_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = Buckets(per_hour=3600, burst=3)
    assert [buckets.take("a", 1, 0.0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", 1, 0.0) == pytest.approx(1.0)
    assert buckets.take("b", 1, 0.0) == 0
    assert buckets.take("a", 1, 0.5) == pytest.approx(0.5)  # asking costs nothing
    assert buckets.take("a", 1, 1.0) == 0
    assert [buckets.take("a", 1, 1000.0) for _ in range(4)] == [0, 0, 0, pytest.approx(1.0)]


def test_more_than_a_bucket_is_taken_from_a_full_one() -> None:
    buckets = Buckets(per_hour=3600, burst=3)
    assert buckets.take("a", 100, 0.0) == 0
    assert buckets.take("a", 1, 0.0) == pytest.approx(1.0)


def test_buckets_are_bounded() -> None:
    buckets = Buckets(per_hour=1, burst=1, most=100)
    for number in range(1000):
        buckets.take(str(number), 1, 0.0)
    assert len(buckets) == 100
    assert buckets.take("999", 1, 0.0) > 0
    assert buckets.take("0", 1, 0.0) == 0
