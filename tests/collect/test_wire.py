"""Reports as bytes: what is taken, what is refused and how that is said, and the times."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.collect import wire
from tests.collect.reports import BOOT, NOW, body, heartbeat, incident, report


def parse(value: Any) -> tuple[wire.Report, list[wire.Rejected]]:
    return wire.parse(json.dumps(value).encode(), "r1", "192.0.2.7", NOW)


def test_report_is_taken_whole() -> None:
    taken, rejected = parse(body(incident(1, kind="opened"), heartbeat(2), dropped=3))
    assert rejected == []
    assert (taken.router, taken.address, taken.received) == ("r1", "192.0.2.7", NOW)
    assert (taken.boot, taken.up, taken.t, taken.synced, taken.dropped) == (BOOT, 1000, NOW, True, 3)
    assert (taken.pol, taken.ver, taken.model) == ("7", "0.1.0", "tplink,archer-c7-v2")
    assert taken.events == (incident(1, kind="opened"), heartbeat(2))


def test_times_are_this_servers_and_never_later_than_the_report() -> None:
    taken = report(up=1000)
    assert taken.at(1000) == NOW
    assert taken.at(400) == NOW - 600
    assert taken.at(-50) == NOW - 1050
    assert taken.at(4000) == NOW


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"v": 2}, "v: const"),
        ({"boot": "x"}, "boot: pattern"),
        ({"boot": BOOT + "\n"}, "boot: pattern"),
        ({"up": -1}, "up: minimum"),
        ({"up": True}, "up: type"),
        ({"t": "now"}, "t: type"),
        ({"events": {}}, "events: type"),
        ({"events": [heartbeat(1)] * 257}, "events: maxItems"),
        ({"<script>": 1}, "additionalProperties"),
        ({"ver": "'; DROP TABLE report; --"}, "ver: pattern"),
        ({"model": "\ud800"}, "text is not Unicode"),
    ],
)
def test_wrong_report_is_refused_whole(change: dict[str, Any], why: str) -> None:
    with pytest.raises(wire.ReportError) as caught:
        parse({**body(incident(1)), **change})
    assert str(caught.value) == why


def test_missing_key_is_named() -> None:
    value = body()
    del value["boot"]
    with pytest.raises(wire.ReportError, match=r"^required boot$"):
        parse(value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON (byte 0)"),
        (b"\xff", "not UTF-8 text"),
        (b"{", "not JSON (byte 1)"),
        (b"null", "type"),
        (b"[]", "type"),
        (b'{"up":NaN}', "not JSON"),
        (b'{"up":' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "JSON nested too deeply"),
        (b'{"a":' * 100_000, "JSON nested too deeply"),
    ],
)
def test_bytes_that_are_no_report(data: bytes, why: str) -> None:
    with pytest.raises(wire.ReportError) as caught:
        wire.parse(data, "r1", None, NOW)
    assert str(caught.value) == why


def test_wrong_events_are_rejected_one_by_one() -> None:
    wrong: list[Any] = [
        incident(2, dev="<b>"),
        incident(3, kind="exploded"),
        heartbeat(4, mode="off"),
        "event",
        {"seq": 10**30},
        {"seq": True},
        incident(7, ind={"'); DROP TABLE report; --": 1}),
        incident(8, sp=[{"up": 1, "port": 70000, "family": 4}]),
    ]
    taken, rejected = parse(body(incident(1), *wrong, heartbeat(9)))
    assert [event["seq"] for event in taken.events] == [1, 9]
    assert [(one.seq, one.index) for one in rejected] == [
        (2, 1), (3, 2), (4, 3), (None, 4), (None, 5), (None, 6), (7, 7), (8, 8),
    ]  # fmt: skip
    assert [one.why for one in rejected][:3] == ["dev: pattern", "kind: enum", "mode: enum"]
    assert rejected[-1].why == "sp port 0: maximum"
    assert not any(mark in one.why for one in rejected for mark in "<>';-")


def test_what_has_become_of_a_document() -> None:
    made = {"up": 9, "kind": "document"}
    good = [
        {**made, "seq": 1, "type": "policy", "doc": "a" * 16, "number": 1 << 53, "result": "applied"},
        {**made, "seq": 2, "type": "table", "doc": "a" * 16, "result": "taken-back", "why": "filter"},
        {**made, "seq": 3, "doc": "a" * 16, "result": "refused", "why": "signature"},
        {**made, "seq": 4, "result": "refused", "why": "full"},
        heartbeat(5, docs=[{"type": "policy", "doc": "a" * 16, "number": 7}]),
    ]
    wrong = [
        {**good[0], "seq": 11, "type": "instruction"},
        {**good[0], "seq": 12, "doc": "A" * 16},
        {**good[0], "seq": 13, "number": (1 << 53) + 1},
        {**good[0], "seq": 14, "number": 0},
        {**good[1], "seq": 15, "result": "tried"},
        {**good[1], "seq": 16, "why": "it's"},
        {**good[3], "seq": 17, "result": "rolled-back"},
        {**good[2], "seq": 18, "url": "x"},
        heartbeat(19, docs=[{"type": "policy", "doc": "a" * 16}]),
        heartbeat(20, docs=[]),
    ]
    taken, rejected = parse(body(*good, *wrong))
    assert list(taken.events) == good
    assert [one.seq for one in rejected] == list(range(11, 21))
    assert [one.why for one in rejected][:7] == [
        "type: enum", "doc: pattern", "number: maximum", "number: minimum", "result: enum", "why: pattern",
        "required type",
    ]  # fmt: skip


def test_whole_floats_are_whole_numbers() -> None:
    taken, rejected = parse(body(incident(1, conns=3.0, ind={"a": 2.0})))
    assert not rejected
    assert repr(taken.events[0]["conns"]) == "3"
    assert repr(taken.events[0]["ind"]) == "{'a': 2}"


def test_first_of_two_events_with_one_seq_stays() -> None:
    taken, rejected = parse(body(incident(1, conns=5), incident(1, conns=6)))
    assert not rejected
    assert [event["conns"] for event in taken.events] == [5]


def test_packing_loses_nothing() -> None:
    whole = report(incident(1), heartbeat(2), address=None)
    assert wire.unpack(whole.pack()) == whole


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"router":1}', b'{"events":[],"x":1}', b"\xff"])
def test_unpacking_something_else(data: bytes) -> None:
    with pytest.raises(wire.ReportError):
        wire.unpack(data)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(incident(1))), JSON_VALUES, st.sampled_from(sorted(body())), JSON_VALUES)
def test_nothing_else_is_ever_raised(key: str, value: Any, outer: str, other: Any) -> None:
    events = [{**incident(1), key: value}, heartbeat(2)]
    for report_ in (body(*events), {**body(*events), outer: other}):
        try:
            taken, rejected = parse(report_)
        except wire.ReportError:
            continue
        assert wire.unpack(taken.pack()) == taken
        assert all(isinstance(one.why, str) and one.why for one in rejected)
