"""The spool: numbering, merging, what is given up for want of room, and the file."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from cpe_filter.lean.checksum import CorruptStateError, with_checksum
from cpe_filter.report.spool import MOST_BYTES, Spool
from cpe_filter.report.spool_file import decode

BOOT = "5d1dfe84-59e2-44db-b59f-a77656df47d1"


def event(kind: str, number: int = 1, padding: int = 0) -> dict[str, Any]:
    if kind == "heartbeat":
        return {"up": 9, "kind": kind}
    return {"up": 9, "kind": kind, "id": f"{number:016x}", "ind": {"x": padding * "x"}}


def spool(*kinds: str, limit: int = MOST_BYTES) -> Spool:
    made = Spool(BOOT, 1, limit)
    for kind in kinds:
        made.add(event(kind))
    return made


def kinds(made: Spool) -> list[str]:
    return [waiting.kind for waiting in made.events]


@pytest.mark.parametrize(
    ("added", "left"),
    [
        (("opened", "raised"), [1, 2]),
        (("opened", "updated", "updated", "updated"), [1, 4]),
        (("opened", "updated", "raised"), [1, 3]),
        (("opened", "raised", "updated", "closed"), [1, 2, 4]),
        (("heartbeat", "opened", "heartbeat", "heartbeat"), [2, 4]),
        (("updated", "heartbeat"), [1, 2]),
    ],
)
def test_newer_events_say_what_older_ones_said(added: tuple[str, ...], left: list[int]) -> None:
    made = spool(*added)
    assert [waiting.seq for waiting in made.events] == left
    assert made.dropped == 0


def test_of_another_incident_nothing_is_taken_out() -> None:
    made = spool("updated")
    made.add(event("updated", 2))
    made.add(event("heartbeat"))
    made.add(event("closed", 3))
    assert [waiting.seq for waiting in made.events] == [1, 2, 3, 4]


def test_what_has_arrived_goes_and_no_seq_comes_twice() -> None:
    made = spool("opened", "updated")
    assert [waiting.kind for waiting in made.arrived([2, 7, 1])] == ["updated", "opened"]
    assert made.arrived([1]) == []
    assert made.add(event("closed")) == 3


def test_the_least_is_given_up_first() -> None:
    made = Spool(BOOT, 1, 512 + 1000)
    for number, kind in enumerate(("raised", "opened", "closed", "updated", "updated")):
        made.add(event(kind, number, 120))
    assert (kinds(made), made.dropped) == (["raised", "opened", "closed", "updated", "updated"], 0)
    for expected in (
        ["raised", "opened", "closed", "updated", "raised"],
        ["raised", "opened", "closed", "raised", "raised"],
        ["raised", "closed", "raised", "raised", "raised"],
        ["raised", "raised", "raised", "raised", "raised"],
        ["raised", "raised", "raised", "raised", "raised"],
    ):
        made.add(event("raised", made.next + 10, 120))
        assert kinds(made) == expected
    assert made.dropped == 5
    assert made.events[0].seq == 6  # of equals the oldest
    assert len(made.encode("", "1")) <= 512 + 1000


def test_the_file_never_grows_past_its_bound() -> None:
    draw = random.Random(6)
    made = Spool(BOOT, 1)
    for _ in range(3000):
        made.add(event(draw.choice(["opened", "raised", "closed"]), draw.randrange(1 << 40), draw.randrange(700)))
        assert sum(len(waiting.line) for waiting in made.events) <= MOST_BYTES - 512
    assert MOST_BYTES * 0.98 < len(made.encode("x" * 64, "x" * 32)) <= MOST_BYTES
    assert made.dropped == 3000 - len(made.events)


def test_the_file_is_read_back_and_goes_on() -> None:
    made = spool("opened", "raised", "heartbeat", "updated")
    made.dropped = 3
    data = made.encode("v7", "0.1")
    about, events = decode(data)
    assert (about.boot, about.next, about.dropped, about.pol, about.ver) == (BOOT, 5, 3, "v7", "0.1")
    again = Spool(BOOT, 1)
    again.restore(about, events)
    assert again.encode("v7", "0.1") == data
    assert again.add(event("closed")) == 5
    assert [waiting.seq for waiting in again.events] == [1, 2, 3, 5]


def test_events_stand_in_it_as_they_are_sent() -> None:
    made = spool("opened")
    assert json.loads(made.events[0].line) == {"seq": 1, **event("opened")}
    assert made.events[0].line in made.encode("", "1")


def test_a_torn_file_is_found_wherever_it_is_torn() -> None:
    data = spool("opened", "raised").encode("", "1")
    for at in range(len(data)):
        with pytest.raises(CorruptStateError):
            decode(data[:at])
        with pytest.raises(CorruptStateError):
            decode(data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :])


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n", b"[]\n", b"{}\n", b"null\n", b'{"boot":"b","next":-1,"dropped":0,"pol":"","ver":""}\n',
        b'{"boot":"b","next":true,"dropped":0,"pol":"","ver":""}\n',
        b'{"boot":"b","next":1,"dropped":0,"pol":"","ver":""}\n{"seq":1}\n',
        b'{"boot":"b","next":1,"dropped":0,"pol":"","ver":""}\n{"seq":1,"kind":"x","up":1}\n',
        b'{"boot":"b","next":1,"dropped":0,"pol":"","ver":""}\n{"seq":1e9,"kind":"opened","up":1}\n',
        b"[" * 100000 + b"\n", b"\xff\n",
    ],
)  # fmt: skip
def test_what_is_no_spool(content: bytes) -> None:
    with pytest.raises(CorruptStateError):
        decode(with_checksum(content))


def test_numbers_of_32_bits_are_read_and_larger_ones_are_not() -> None:
    text = b'{"boot":"b","next":%d,"dropped":%d,"pol":"","ver":""}\n'
    header, _ = decode(with_checksum(text % ((1 << 32) - 1, (1 << 32) - 1)))
    assert (header.next, header.dropped) == ((1 << 32) - 1, (1 << 32) - 1)
    for numbers in ((1 << 32, 0), (1, 1 << 32)):
        with pytest.raises(CorruptStateError):
            decode(with_checksum(text % numbers))


def test_too_large_a_file_is_not_read() -> None:
    with pytest.raises(CorruptStateError, match="too large"):
        decode(bytes(2 * MOST_BYTES + 1))


def test_what_is_not_written_is_known() -> None:
    spool = Spool(BOOT, 1)
    assert spool.changed
    spool.changed = False
    seq = spool.add(event("opened"))
    assert spool.changed
    spool.changed = False
    assert spool.arrived([seq + 1]) == []
    assert not spool.changed
    assert [one.seq for one in spool.arrived([seq])] == [seq]
    assert spool.changed


def test_a_spool_that_is_restored_keeps_to_its_bound() -> None:
    whole = Spool(BOOT, 1)
    for number in range(40):
        whole.add(event("opened", number, 100))
    about, events = decode(whole.encode("v7", "0.1.0"))
    small = Spool(BOOT, 1, limit=4096)
    small.restore(about, events)
    assert 0 < len(small.events) < 40
    assert small.dropped == 40 - len(small.events)
    assert small.next == 41
    assert len(small.encode("v7", "0.1.0")) <= 4096
    assert [one.seq for one in small.events] == list(range(41 - len(small.events), 41))
