"""Which servers a device has met: against a plain model of its buckets, and what is saved of it."""

from __future__ import annotations

import random
from collections import OrderedDict
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect.server_networks import (
    ACCEPTED,
    BUCKETS,
    DEFERRED,
    MET,
    SIZE,
    TURNED_AWAY,
    WAYS,
    ServerNetworks,
    fingerprint,
)

OUTCOMES = (MET, DEFERRED, TURNED_AWAY, ACCEPTED)


def number(address: str) -> int:
    return fingerprint(ip_address(address).packed)


class Model:
    """Buckets as dictionaries in the order of use: what the table of bytes stands for."""

    def __init__(self) -> None:
        self.buckets: list[OrderedDict[int, int]] = [OrderedDict() for _ in range(BUCKETS)]

    def _of(self, number: int) -> tuple[OrderedDict[int, int], int]:
        return self.buckets[number % BUCKETS], number >> 26 or 1

    def meet(self, number: int) -> bool:
        bucket, mark = self._of(number)
        new = mark not in bucket
        bucket[mark] = bucket.get(mark, MET)
        bucket.move_to_end(mark)
        if len(bucket) > WAYS:
            bucket.popitem(last=False)
        return new

    def outcome(self, number: int) -> int:
        bucket, mark = self._of(number)
        return bucket.get(mark, MET)

    def settle(self, number: int, outcome: int) -> None:
        bucket, mark = self._of(number)
        if mark in bucket:
            bucket[mark] = max(bucket[mark], outcome)

    def __len__(self) -> int:
        return sum(map(len, self.buckets))


#: Few buckets and few marks, so that they meet; and any 40 bits.
NUMBERS = st.one_of(
    st.builds(
        lambda bucket, mark: (mark << 26) + (bucket - (mark << 26)) % BUCKETS, st.integers(0, 2), st.integers(0, 9)
    ),
    st.integers(0, (1 << 40) - 1),
)
STEPS = st.lists(st.tuples(st.sampled_from(("meet", "settle", "outcome")), NUMBERS, st.sampled_from(OUTCOMES)))


@settings(derandomize=True, max_examples=400)
@given(STEPS)
def test_it_does_as_the_model_does(steps: list[tuple[str, int, int]]) -> None:
    neighbours, model = ServerNetworks(), Model()
    for verb, which, outcome in steps:
        if verb == "meet":
            assert neighbours.meet(which) == model.meet(which)
        elif verb == "settle":
            neighbours.settle(which, outcome)
            model.settle(which, outcome)
        assert neighbours.outcome(which) == model.outcome(which)
        assert len(neighbours) == len(model)
        assert len(neighbours.table) == SIZE


@settings(derandomize=True, max_examples=100)
@given(STEPS, STEPS)
def test_a_saved_table_goes_on_as_it_was(before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]) -> None:
    one = ServerNetworks()
    for _, which, outcome in before:
        one.meet(which)
        one.settle(which, outcome)
    saved = bytearray(one.table)
    other = ServerNetworks(saved)
    for _, which, outcome in after:
        assert one.meet(which) == other.meet(which)
        one.settle(which, outcome)
        other.settle(which, outcome)
        assert one.table == other.table
    other.meet(1)
    assert other.table is not saved  # what was given does not change by use


@settings(derandomize=True)
@given(st.binary(min_size=SIZE, max_size=SIZE), NUMBERS)
def test_any_table_can_be_used(table: bytes, which: int) -> None:
    """What comes back from flash may be anything."""
    neighbours = ServerNetworks(table)
    neighbours.meet(which)
    neighbours.settle(which, ACCEPTED)
    assert neighbours.outcome(which) == ACCEPTED
    assert not neighbours.meet(which)
    assert len(neighbours) <= BUCKETS * WAYS


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
def test_a_table_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=str(SIZE)):
        ServerNetworks(bytes(size))


def test_neighbourhoods() -> None:
    assert number("198.51.100.1") == number("198.51.100.200")
    assert number("198.51.100.1") != number("198.51.101.1")
    assert number("2001:db8:1::1") == number("2001:db8:1:ffff::9")
    assert number("2001:db8:1::1") != number("2001:db8:2::1")
    assert number("0.0.0.1") != number("::1")
    assert all(0 <= number(text) < 1 << 40 for text in ("255.255.255.255", "ffff::", "0.0.0.0", "::"))


def test_fingerprints_are_the_same_everywhere() -> None:
    """They are saved, and a capture is judged alike on every machine: not Python's own hash."""
    assert number("198.51.100.25") == ((198 << 16 | 51 << 8 | 100) + 4) * 0x9E3779B97F4A7C15 >> 24 & 0xFFFFFFFFFF


def test_few_neighbourhoods_are_taken_for_others() -> None:
    """Of 300 that are met once each hardly one seems known: WAYS in 16,384 for each, if numbers spread well."""
    rng = random.Random(1)
    seen = known = 0
    for _ in range(40):
        neighbours = ServerNetworks()
        for prefix in rng.sample(range(1 << 24), 300):
            seen += 1
            known += not neighbours.meet(fingerprint(prefix.to_bytes(3, "big") + b"\x19"))
    assert known / seen < 4 * WAYS / 16384


def test_neighbouring_prefixes_spread_over_the_table() -> None:
    """A provider's /24s lie side by side; so many as half the places are nearly all remembered."""
    neighbours = ServerNetworks()
    count = BUCKETS * WAYS // 2
    for n in range(count):
        neighbours.meet(fingerprint((0xC6336400 + (n << 8)).to_bytes(4, "big")))
    assert len(neighbours) > 0.85 * count


def test_the_longest_unused_of_a_bucket_is_forgotten_first() -> None:
    neighbours = ServerNetworks()
    bucket = [(mark << 26) + (-(mark << 26)) % BUCKETS for mark in range(1, WAYS + 2)]
    for which in bucket[:WAYS]:
        assert neighbours.meet(which)
        neighbours.settle(which, ACCEPTED)
    assert not neighbours.meet(bucket[0])  # used again: no longer the oldest
    assert neighbours.meet(bucket[WAYS])
    assert neighbours.outcome(bucket[0]) == ACCEPTED
    assert neighbours.outcome(bucket[1]) == MET
    assert neighbours.meet(bucket[1])


def test_an_outcome_never_goes_back() -> None:
    """A server that has answered once gives no news by putting off in between."""
    for first in OUTCOMES:
        for then in OUTCOMES:
            neighbours = ServerNetworks()
            neighbours.meet(7)
            neighbours.settle(7, first)
            neighbours.settle(7, then)
            assert neighbours.outcome(7) == max(first, then)


def test_what_is_forgotten_is_not_settled() -> None:
    neighbours = ServerNetworks()
    neighbours.settle(7, ACCEPTED)
    assert (neighbours.outcome(7), len(neighbours)) == (MET, 0)
