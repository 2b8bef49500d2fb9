"""Devices that asked before they mailed: kept for an hour, bounded, counted once."""

from __future__ import annotations

from cpe_filter.detect.recent_mx import KEEP_S, KEPT, KEYS, RecentMx

BOT, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"


def test_told_once_and_of_the_right_device() -> None:
    asked = RecentMx()
    asked.add(BOT, True, 1.0)
    asked.add(BOT, False, 2.0)
    assert asked.take(OTHER, 3.0) is None
    found = asked.take(BOT, 3.0)
    assert found is not None
    assert (found.queries, found.last) == (2, [(1.0, True), (2.0, False)])
    assert asked.take(BOT, 3.0) is None


def test_forgotten_an_hour_after_the_last() -> None:
    asked = RecentMx()
    asked.add(BOT, True, 0.0)
    asked.add(BOT, True, KEEP_S)
    found = asked.take(BOT, 2 * KEEP_S)
    assert found is not None
    assert found.queries == 2
    asked.add(BOT, True, 0.0)
    assert asked.take(BOT, KEEP_S + 1) is None
    # What is too old does not count with what is new either.
    asked.add(BOT, True, 0.0)
    asked.add(BOT, True, KEEP_S + 1)
    found = asked.take(BOT, KEEP_S + 2)
    assert found is not None
    assert found.queries == 1


def test_of_many_lookups_the_last_ones_are_kept() -> None:
    asked = RecentMx()
    for n in range(100):
        asked.add(BOT, True, float(n))
    found = asked.take(BOT, 100.0)
    assert found is not None
    assert found.queries == 100
    assert [time for time, _ in found.last] == [float(n) for n in range(100 - KEPT, 100)]


def test_a_flood_of_addresses_stays_within_the_table() -> None:
    asked = RecentMx()
    asked.add(OTHER, True, 0.0)
    asked.add(BOT, True, 0.0)
    for n in range(10000):
        asked.add(n.to_bytes(6, "big"), True, 1.0)
        if n % 100 == 0:  # who keeps asking stays
            asked.add(BOT, True, 1.0)
    assert len(asked) == KEYS
    assert asked.take(OTHER, 2.0) is None
    assert asked.take(BOT, 2.0) is not None
