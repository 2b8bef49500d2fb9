"""The map of subscribers: rows, the file, the lookup; each sort of bad input."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpe_filter.collect.subscribers import file as subscriber_file
from cpe_filter.collect.subscribers import http as subscriber_lookup
from cpe_filter.collect.subscribers.file import File, parse, read
from cpe_filter.collect.subscribers.http import FAILURES, MAX_BODY, Breaker, Lookup
from cpe_filter.collect.subscribers.map import Line, MapError, MapUnavailableError, line_at
from tests.collect.http_end import Asked, End, Reply
from tests.collect.reports import NOW
from tests.lab.net import DEADLINE_S

HEAD = "router,subscriber,region,line,model,contact,asn,address,ports,since,until\n"
GOOD = "r1,S1,north,fibre,cpe-9,crm:1,AS64500,8.8.1.1 2a00:8::/56,,2026-01-01T00:00:00Z,\n"


def parsed(*lines: str, head: str = HEAD) -> Any:
    return parse((head + "".join(line + "\n" for line in lines)).splitlines(keepends=True), "m.csv")


def test_row() -> None:
    found = line_at(parsed(GOOD.strip())["r1"], NOW)
    assert found is not None
    assert (found.subscriber, found.region, found.line, found.model, found.contact, found.asn) == (
        "S1", "north", "fibre", "cpe-9", "crm:1", 64500,
    )  # fmt: skip
    assert [str(one.place) for one in found.places] == ["8.8.1.1", "2a00:8::/56"]


def test_least_row_in_any_order_of_columns() -> None:
    rows = parsed("S1,r1", "", "S2,r2", head="\ufeffsubscriber,router\n".lstrip("\ufeff"))
    assert line_at(rows["r2"], 0) == Line("S2", "", "", "", "", None, ())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",S1,,,,,,,,,", "router is empty"),
        ("r1,,,,,,,,,,", "subscriber is empty"),
        ("r1,S1", "2 fields; the header has 11"),
        ("r1,S1,,,,,,,,,,", "12 fields"),
        ("r1,S1,,,,,ASX,,,,", "asn is not a number"),
        ("r1,S1,,,,,0,,,,", "asn is not a number"),
        ("r1,S1,,,,,4294967296,,,,", "asn is not a number"),
        ("r1,S1,,,,,²,,,,", "asn is not a number"),
        ("r1,S1,,,,,,8.8.8.300,,,", "address is not an address or prefix"),
        ("r1,S1,,,,,,8.8.8.8/8,,,", "address is not an address or prefix"),
        ("r1,S1,,,,,,192.168.1.1,,,", "address is not public"),
        ("r1,S1,,,,,,100.64.1.1,,,", "address is not public"),
        ("r1,S1,,,,,,192.0.2.1,,,", "address is not public"),
        ("r1,S1,,,,,,fe80::1,,,", "address is not public"),
        ("r1,S1,,,,,,224.0.0.5,,,", "address is not public"),
        ("r1,S1,,,,,,2001:db8::/32,,,", "address is not public"),
        ("r1,S1,,,,,,8.8.8.8,1024,,", "ports is not like"),
        ("r1,S1,,,,,,8.8.8.8,2000-1000,,", "ports is not like"),
        ("r1,S1,,,,,,8.8.8.8,0-65536,,", "ports is not like"),
        ("r1,S1,,,,,,8.8.8.8,1-99999,,", "ports is not like"),
        ("r1,S1,,,,,,,1-10,,", "ports without an address"),
        ("r1,S1,,,,,,,,yesterday,", "since is not like"),
        ("r1,S1,,,,,,,,2026-11-24T12:00:00,", "since has no time zone"),
        ("r1,S1,,,,,,,,,2026-13-24T12:00:00Z", "until is not like"),
        ("r1,S1,,,,,,,,2026-11-24T12:00:00Z,2026-11-24T12:00:00Z", "until is not after since"),
        ("r1,S1," + "x" * 257 + ",,,,,,,,", "region has more than 256 characters"),
        ("r1,S1,a\x07b,,,,,,,,", "region has characters that cannot be printed"),
        ("r1,S1,a\u202eb,,,,,,,,", "region has characters that cannot be printed"),
        ('r1,S1,"a"b,,,,,,,,', "not CSV"),
    ],
)
def test_errors_name_the_line(line: str, said: str) -> None:
    with pytest.raises(MapError, match=r"^m\.csv:3: ") as caught:
        parsed(GOOD.strip(), line)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("", "m.csv:1: no header"),
        ("router\n", "column subscriber is missing"),
        ("router,subscriber,adress\n", "unknown column 'adress'; known: router"),
        ("router,subscriber,router\n", "a column appears twice"),
    ],
)
def test_wrong_headers(head: str, said: str) -> None:
    with pytest.raises(MapError) as caught:
        parsed(head=head)
    assert said in str(caught.value)


def test_every_error_is_told_up_to_a_bound() -> None:
    with pytest.raises(MapError) as caught:
        parsed(*[",S1,,,,,,,,,"] * 3)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["2", "3", "4"]
    with pytest.raises(MapError) as caught:
        parsed(*[",S1,,,,,,,,,"] * 100)
    assert len(str(caught.value).splitlines()) == 21


def test_two_subscribers_at_once() -> None:
    first, second = "r1,S1,,,,,,,,,2026-11-24T12:00:00Z", "r1,S2,,,,,,,,2026-11-24T12:00:00Z,"
    rows = parsed(second, first)["r1"]
    before, after = line_at(rows, NOW - 1), line_at(rows, NOW)
    assert before is not None
    assert after is not None
    assert (before.subscriber, after.subscriber) == ("S1", "S2")
    with pytest.raises(MapError, match=r"m\.csv:4: two subscribers have the router at the same time"):
        parsed(first, second, "r1,S3,,,,,,,,2026-11-24T11:00:00Z,2026-11-24T11:30:00Z")
    with pytest.raises(MapError, match="two subscribers"):  # one in the long shadow of another
        parsed(
            "r1,S1,,,,,,,,,",
            "r1,S1,,,,,,,,2026-01-01T00:00:00Z,2026-01-02T00:00:00Z",
            "r1,S2,,,,,,,,2026-06-01T00:00:00Z,",
        )


def test_several_rows_of_one_subscriber_hold_together() -> None:
    rows = parsed(
        "r1,S1,,,,,,8.8.1.1,1024-2047,,",
        "r1,S1,,,,new,,2a00:8::1,,2026-11-24T12:00:00Z,",
        "r1,S1,,,,,,8.8.9.9,,2026-11-24T13:00:00Z,",
    )["r1"]
    found = line_at(rows, NOW)
    assert found is not None
    assert [(str(one.place), one.ports) for one in found.places] == [("8.8.1.1", (1024, 2047)), ("2a00:8::1", None)]
    assert found.contact == "new"
    assert line_at(parsed("r1,S1,,,,,,,,2026-11-24T13:00:00Z,")["r1"], NOW) is None


@given(st.text(max_size=300))
def test_any_text_is_a_map_or_wrong(text: str) -> None:
    for whole in (text, HEAD + text):
        try:
            parse(whole.splitlines(keepends=True), "m")
        except MapError:
            pass


# ── the file ────────────────────────────────────────────────────────────────────────────────────


def put(path: Path, text: str | bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(text.encode() if isinstance(text, str) else text)
    os.replace(new, path)


def test_file_is_read_again_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "m.csv"
        file = File(str(path))
        assert not await file.refresh(0)
        assert "No such file" in file.wrong
        put(path, "\ufeff" + HEAD + GOOD)
        assert await file.refresh(0)
        assert (file.wrong, len(file)) == ("", 1)
        assert not await file.refresh(0)
        for wrong in (HEAD + "r1\n", b"\xff\xfe" + HEAD.encode(), "", HEAD + 'r1,"S1'):
            put(path, wrong)
            assert not await file.refresh(0)
            assert str(path) in file.wrong
            found = await file.find("r1", NOW)
            assert found is not None
            assert found.subscriber == "S1"
            said = file.wrong
            assert not await file.refresh(0)  # told once, not read again and again
            assert file.wrong == said
        put(path, HEAD + GOOD.replace("S1", "S2"))
        assert await file.refresh(0)
        found = await file.find("r1", NOW)
        assert (found.subscriber if found else "", file.wrong) == ("S2", "")
        path.unlink()
        assert not await file.refresh(0)
        assert await file.find("r1", NOW) == found
        assert await file.find("r2", NOW) is None

    asyncio.run(work())


def test_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.csv"
    put(path, HEAD + GOOD * 3)
    monkeypatch.setattr(subscriber_file, "MAX_ROWS", 2)
    with pytest.raises(MapError, match=r"m\.csv:4: over 2 rows"):
        read(str(path))
    monkeypatch.setattr(subscriber_file, "MAX_FILE", 10)
    with pytest.raises(MapError, match="over 10 bytes"):
        read(str(path))
    with pytest.raises(MapError, match="Is a directory"):
        read(str(tmp_path))


# ── the lookup ──────────────────────────────────────────────────────────────────────────────────


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rows(*found: Any) -> Reply:
    return Reply(200, json.dumps({"rows": list(found)}).encode())


def looked_up(end: End, work: Callable[[Lookup], Awaitable[None]], clock: Clock | None = None, **more: Any) -> None:
    async def inside() -> None:
        lookup = Lookup(end.url + "/r/{router}?x=1", clock=clock or Clock(), **more)
        try:
            await work(lookup)
        finally:
            await lookup.close()

    asyncio.run(inside())


def test_lookup_remembers_and_forgets() -> None:
    clock = Clock()

    def answer(asked: Asked) -> Reply:
        if "r1" not in asked.path:
            return Reply(404)
        return rows({"subscriber": "S1", "asn": 64500, "address": ["8.8.1.1", "2a00:8::1"], "region": None})

    async def work(lookup: Lookup) -> None:
        for _ in range(3):
            found = await lookup.find("r1", NOW)
            assert found is not None
            assert (found.subscriber, found.asn, len(found.places)) == ("S1", 64500, 2)
            assert await lookup.find("r2", NOW) is None
        assert [one.path for one in end.asked] == ["/r/r1?x=1", "/r/r2?x=1"]
        assert end.asked[0].headers["authorization"] == "Bearer x"
        clock.now += 650  # unknown is asked again before known is
        await asyncio.gather(*(lookup.find(name, NOW) for name in ["r1", "r2"] * 5))
        assert len(end.asked) == 3
        clock.now += 3000
        await asyncio.gather(*(lookup.find("r1", NOW) for _ in range(10)))
        assert len(end.asked) == 4
        await lookup.find("a/../b?c#d%", NOW)
        assert end.asked[-1].path == "/r/a%2F..%2Fb%3Fc%23d%25?x=1"

    with End(answer) as end:
        looked_up(end, work, clock, known_s=3600, unknown_s=600, headers={"authorization": "Bearer x"})


def test_packed_answer_is_not_unpacked() -> None:
    """A bomb would be in memory before anybody could measure it."""
    bomb = gzip.compress(b'{"rows":[]}' + b" " * (100 << 20), 1)
    tracemalloc.start()

    async def work(lookup: Lookup) -> None:
        with pytest.raises(MapUnavailableError, match="compressed, which was not requested"):
            await lookup.find("r1", NOW)
        assert end.asked[0].headers["accept-encoding"] == "identity"

    try:
        with End(lambda asked: Reply(200, bomb, {"content-encoding": "gzip"})) as end:
            tracemalloc.reset_peak()
            looked_up(end, work)
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(500), "status 500"),
        (Reply(302, headers={"location": "/elsewhere"}), "status 302"),
        (Reply(200, b"{"), "not JSON"),
        (Reply(200, b"[" * 100_000), "not JSON"),
        (Reply(200, b"[]"), "not {rows"),
        (Reply(200, b'{"rows":{}}'), "not {rows"),
        (rows(1), "a row is not an object"),
        (rows({"subscriber": True}), "subscriber is not text"),
        (rows({"subscriber": {"a": 1}}), "subscriber is not text"),
        (rows({"subscriber": "S1", "address": [1]}), "address is not text"),
        (rows({}), "subscriber is empty"),
        (rows({"subscriber": "S1"}, {"subscriber": "S2"}), "two subscribers"),
        (rows({"subscriber": "S1", "address": "10.0.0.1"}), "address is not public"),
        (rows(*[{"subscriber": "S1"}] * 1001), "not {rows"),
        (Reply(200, b" " * (MAX_BODY + 1)), "over"),
        (Reply(200, b"", {"content-encoding": "gzip", "content-length": "3"}), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answers_that_cannot_be_used(reply: Reply, said: str) -> None:
    async def work(lookup: Lookup) -> None:
        with pytest.raises(MapUnavailableError) as caught:
            await lookup.find("r1", NOW)
        assert said in str(caught.value)
        assert (lookup.failed, lookup.wrong) == (1, str(caught.value))
        assert len(end.asked) == 1

    with End(lambda asked: reply) as end:
        looked_up(end, work, timeout_s=2.0)


def test_row_of_another_router_is_this_routers() -> None:
    async def work(lookup: Lookup) -> None:
        found = await lookup.find("r1", NOW)
        assert found is not None

    with End(lambda asked: rows({"subscriber": "S1", "router": "r2"})) as end:
        looked_up(end, work)


def test_slow_answer_ends_in_time() -> None:
    given_up = threading.Event()

    def slow(asked: Asked) -> Reply:
        given_up.wait(DEADLINE_S)
        return Reply(404)

    async def work(lookup: Lookup) -> None:
        with pytest.raises(MapUnavailableError):
            await lookup.find("r1", NOW)
        given_up.set()

    with End(slow) as end:
        looked_up(end, work, timeout_s=0.2)


def test_after_failures_nobody_is_asked_for_a_while() -> None:
    clock = Clock()
    good = False

    async def work(lookup: Lookup) -> None:
        nonlocal good
        for _ in range(FAILURES + 20):
            with pytest.raises(MapUnavailableError):
                await lookup.find("r1", NOW)
        assert len(end.asked) == FAILURES
        clock.now += subscriber_lookup.PAUSE_S + 1
        for _ in range(5):  # one try, and it fails
            with pytest.raises(MapUnavailableError):
                await lookup.find("r1", NOW)
        assert len(end.asked) == FAILURES + 1
        good = True
        clock.now += 2 * subscriber_lookup.PAUSE_S + 1
        assert await lookup.find("r1", NOW) is not None
        assert not lookup.breaker.open
        assert lookup.wrong == ""

    with End(lambda asked: rows({"subscriber": "S1"}) if good else Reply(503)) as end:
        looked_up(end, work, clock)


def test_breaker_waits_longer_each_time_and_never_too_long() -> None:
    clock = Clock()
    breaker = Breaker(clock, lambda: 1.0)
    waits = []
    for _ in range(FAILURES):
        assert breaker.enter()
        breaker.leave(False)
    for _ in range(12):
        begun = clock.now
        while not breaker.enter():
            clock.now += 1
        assert not breaker.enter()  # one at a time
        breaker.leave(False)
        waits.append(clock.now - begun)
    assert waits[:3] == [5, 10, 20]
    assert max(waits) == waits[-1] == subscriber_lookup.LONGEST_PAUSE_S


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_lookup, "MOST", 3)

    async def work(lookup: Lookup) -> None:
        for number in range(5):
            await lookup.find(f"r{number}", NOW)
        await lookup.find("r4", NOW)
        assert len(end.asked) == 5
        await lookup.find("r0", NOW)
        assert len(end.asked) == 6

    with End(lambda asked: rows({"subscriber": "S1"})) as end:
        looked_up(end, work)
