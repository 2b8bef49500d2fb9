"""What a router and the collector both keep to: Retry-After, and bounds that the schema has, too."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from cpe_filter.collect import wire
from cpe_filter.collect.config.keys import TABLES
from cpe_filter.send.protocol import MAX_BODY, MAX_EVENTS, retry_after
from cpe_filter.send.send import MOST_REPORT

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120), (" 7 ", 7), ("0", 0), ("", 0), ("-5", 0), ("soon", 0), ("1e3", 0), ("²", 0),
        ("9" * 9, 999_999_999), ("9" * 500, 0), ("٣", 0),
        ("Tue, 24 Nov 2026 12:01:00 GMT", 60), ("Tue, 24 Nov 2026 12:01:00 -0000", 60),
        ("Tue, 24 Nov 2026 13:01:00 +0100", 60), ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("Tue, 99 Nov 2026 12:01:00 GMT", 0), ("Tue, 24 Nov 2026", 0),
    ],
)  # fmt: skip
def test_retry_after(text: str, seconds: float) -> None:
    assert retry_after(text, "", NOW) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Tue, 24 Nov 2026 12:00:10 GMT", 50),  # the clock here is 10 s slow
        ("Thu, 24 Nov 2016 12:00:00 GMT", 315_532_860),
        ("yesterday", 60),
        ("", 60),
    ],
)
def test_a_date_counts_from_the_date_of_the_answer(date: str, seconds: float) -> None:
    assert retry_after("Tue, 24 Nov 2026 12:01:00 GMT", date, NOW) == seconds


def test_a_date_without_zone_is_utc_whatever_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        assert retry_after("Tue, 24 Nov 2026 12:01:00 -0000", "", NOW) == 60
    finally:
        monkeypatch.undo()
        time.tzset()


def test_seconds_do_not_depend_on_the_date() -> None:
    assert retry_after("60", "Tue, 24 Nov 2026 12:00:10 GMT", NOW) == 60


def test_the_schema_has_the_same_number_of_events() -> None:
    assert wire.schema()["properties"]["events"]["maxItems"] == MAX_EVENTS
    assert TABLES["limits"]["events_burst"].low == MAX_EVENTS


def test_what_a_router_sends_is_within_what_the_collector_reads() -> None:
    assert MOST_REPORT < MAX_BODY == 64 * 1024
