"""Instructions of the desk through NATS: from the store to the answers of processes that have none."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.kv import KeyValue

from cpe_filter.collect.cases import instructions
from cpe_filter.collect.cases.instructions import EXEMPT, RELEASE
from cpe_filter.collect.intake import posted as module
from cpe_filter.collect.intake.jetstream import Feed, Link, Queue
from cpe_filter.collect.intake.outgoing import Outgoing, Waiting
from cpe_filter.collect.intake.posted import Posted, Posting, bucket_of, decode, encode, key_of
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.send.protocol import MAX_INSTRUCTION, MAX_INSTRUCTIONS
from tests.collect import streams
from tests.collect.ca import Authority
from tests.collect.cases.test_instructions import ANNA, KEY, answered, case_of, states
from tests.collect.desks import HOUR, event
from tests.collect.reports import NOW, body, heartbeat, report
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S
from tests.signed.making import key

ONE = Waiting("0123456789abcdef", "a document", NOW, NOW + HOUR)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def test_an_entry_comes_out_as_it_went_in() -> None:
    assert decode(encode([ONE])) == [ONE]
    assert decode(encode([ONE] * 20)) == [ONE] * MAX_INSTRUCTIONS
    assert decode(b"[]") == []


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"x", b"1", b"null", b'"abcd"', b'{"a": 1}', b"[1]", b"[[]]", b"[" * 100_000, b"\xff"),
        b"[" + b" " * 200_000 + b"]",
        json.dumps([[*ONE, 1]]).encode(),
        json.dumps([ONE._replace(id=7)]).encode(),  # type: ignore[arg-type]
        json.dumps([ONE._replace(document="x" * (MAX_INSTRUCTION + 1))]).encode(),
        json.dumps([ONE._replace(expires_at="soon")]).encode(),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_no_entry(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        decode(data)


def test_any_router_has_a_key() -> None:
    keys = {key_of(router) for router in ("r1", "r2", "a b", "*", ">", "ä.\u2028", "x" * 500, "")}
    assert len(keys) == 8
    assert all(one.isalnum() and len(one) == 32 for one in keys)


def link(cluster: streams.Streams, stream: str) -> Link:
    return Link(cluster.urls, stream, replicas=3, max_bytes=1 << 20)


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.02)


async def until_keys(bucket: KeyValue, expected: set[str]) -> None:
    """A server of the cluster may be behind."""
    end = time.monotonic() + DEADLINE_S
    while (found := set(await module._keys(bucket))) != expected:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)


async def stepped(posting: Posting, now: int, bucket: KeyValue, expected: set[str]) -> int:
    """Until these are in the bucket; the time then. A server that was behind is asked again a minute later."""
    end = time.monotonic() + DEADLINE_S
    while True:
        await posting.step(now)
        await asyncio.sleep(0.05)
        if (found := set(await module._keys(bucket))) == expected:
            return now
        assert time.monotonic() < end, found
        now += int(module.AGAIN_S)


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.5)


def test_the_road_to_the_router_and_back(tmp_path: Path, cluster: streams.Streams) -> None:
    async def work() -> None:
        ours, theirs = link(cluster, "ROAD"), link(cluster, "ROAD")
        await ours.open()
        await theirs.open()
        store = SQLite(str(tmp_path / "c.db"))
        await store.open()
        case = await case_of(store)
        desk, outgoing, now = instructions.Desk(store, KEY), Outgoing(store), NOW + HOUR
        posting, posted = Posting(ours, store, outgoing), Posted(theirs)
        following = asyncio.create_task(posted.run())
        feed = asyncio.create_task(Feed(ours, store, Metrics(), outgoing.stored).run())
        asks = event("updated", HOUR)
        assert posted.of(asks) == []
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, now) is None
        (row,) = await store.read("SELECT id, document FROM desk_instruction")
        await posting.step(now)
        await ended(following)  # which may have found no bucket: it would look again in 10 s
        following = asyncio.create_task(posted.run())
        await until(lambda: posted.of(asks) == [row["document"]])
        assert posted.of(event("updated", HOUR, router="r2")) == []
        assert posted.of(answered(row["id"])) == []
        assert posted.of(event("updated", 8 * 86_400)) == []  # it has expired
        # The router has it; the store learns it from the report that was answered with it.
        queue = Queue(theirs, Metrics())
        await queue.put(event("updated", HOUR + 60, seq=8))
        while await states(store) != [("sent", None)]:
            await posting.step(now + 60)
            await asyncio.sleep(0.05)
        # A second one joins the first; an answer ends it.
        assert await desk.issue(case, EXEMPT, 1, "r", ANNA, now) is None
        await posting.step(now + 61)
        await until(lambda: len(posted.of(asks)) == 2)
        rows = await store.read("SELECT id FROM desk_instruction ORDER BY sequence")
        for each in rows:
            await queue.put(answered(each["id"], seq=10 + rows.index(each)))
        while await states(store) != [("applied", None)] * 2:
            await posting.step(now + 120)
            await asyncio.sleep(0.05)
        await posting.step(now + 120)
        await until(lambda: posted.of(asks) == [])
        await until_keys(await bucket_of(ours, make=False), set())
        await ended(following, feed)
        await store.close()
        await ours.close()
        await theirs.close()

    asyncio.run(work())


def test_one_process_writes_and_another_goes_on(tmp_path: Path, cluster: streams.Streams) -> None:
    """What the first left, and was answered before the second took its place, is removed."""

    async def work() -> None:
        ours = link(cluster, "TWO")
        await ours.open()
        store = SQLite(str(tmp_path / "c.db"))
        await store.open()
        case = await case_of(store)
        desk, now = instructions.Desk(store, KEY), NOW + HOUR
        first, second = (Posting(ours, store, Outgoing(store), f"node:0:{n}") for n in "ab")
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, now) is None
        await first.step(now)
        bucket = await bucket_of(ours, make=False)
        await until_keys(bucket, {key_of("r1")})
        before = await bucket.get(key_of("r1"))
        await second.step(now)
        await first.step(now + 2)
        assert (await bucket.get(key_of("r1"))).revision == before.revision  # written once
        (row,) = await store.read("SELECT id FROM desk_instruction")
        await store.add([answered(row["id"])])
        now += 2 + module.LEASE_S
        now = await stepped(second, now, bucket, set())
        # What was removed from outside, or left there, does not stay so.
        assert await desk.issue(case, RELEASE, 1, "r", ANNA, now) is None
        now = await stepped(second, now, bucket, {key_of("r1")})
        await bucket.delete(key_of("r1"))
        await bucket.put(key_of("r9"), encode([ONE]))
        await until_keys(bucket, {key_of("r9")})
        await stepped(second, now + int(module.AGAIN_S), bucket, {key_of("r1")})
        await store.close()
        await ours.close()

    asyncio.run(work())


def test_rubbish_in_the_bucket_and_a_bucket_that_goes(
    cluster: streams.Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.3)
    monkeypatch.setattr(module, "LOOK_S", 0.1)

    async def work() -> None:
        ours = link(cluster, "RUBBISH")
        await ours.open()
        posted = Posted(ours)
        following = asyncio.create_task(posted.run())
        bucket = await bucket_of(ours, make=True)
        await bucket.put(key_of("r2"), b"rubbish")
        await bucket.put("elsewhere", b"[[[]]]")
        late = ONE._replace(expires_at=NOW + 10 * HOUR)
        await bucket.put(key_of("r1"), encode([late]))
        asks = report(heartbeat(1))
        await until(lambda: posted.of(asks) == [ONE.document])
        assert posted.of(report(heartbeat(1), router="r2")) == []
        await bucket.put(key_of("r1"), b"rubbish")
        await until(lambda: posted.of(asks) == [])
        await bucket.put(key_of("r1"), encode([late]))
        await until(lambda: posted.of(asks) == [ONE.document])
        client = await nats.connect(cluster.urls)
        await client.jetstream().delete_key_value("RUBBISH_INSTRUCTIONS")
        await until(lambda: posted.of(asks) == [])
        await client.close()
        await ended(following)
        await ours.close()

    asyncio.run(work())


def test_from_the_desk_to_the_answer_of_ingest(tmp_path: Path, authority: Authority, cluster: streams.Streams) -> None:
    """Processes as they run: `consume` with a key, `ingest` without a store."""
    secret = tmp_path / "desk.sec"
    secret.write_bytes(key("desk").secret)
    secret.chmod(0o600)
    nats_: dict[str, Any] = {"servers": cluster.urls, "stream": "PROCESSES", "max_bytes": 1 << 26}
    pair = authority.router("r1")
    consume = Collector(tmp_path / "consume", authority, "consume", nats=nats_, desk={"instruction_key": str(secret)})
    ingest = Collector(tmp_path / "ingest", authority, "ingest", nats=nats_)

    async def issued() -> str:
        store = SQLite(str(consume.folder / "collector.db"))
        await store.open()
        case = await case_of(store)
        assert await instructions.Desk(store, KEY).issue(case, RELEASE, 1, "r", ANNA, int(time.time())) is None
        (row,) = await store.read("SELECT document FROM desk_instruction")
        await store.close()
        document: str = row["document"]
        return document

    with consume, ingest:
        document = asyncio.run(issued())
        end = time.monotonic() + DEADLINE_S
        for number in itertools.count(1):
            got = ingest.post(pair, body(heartbeat(number)))
            assert got.status == 200
            if got.body.get("instructions"):
                break
            assert time.monotonic() < end, got
            time.sleep(0.5)
        assert got.body["instructions"] == [document]
        assert ingest.stop() == 0
        assert consume.stop() == 0
        for one in (ingest, consume):
            assert "Traceback" not in one.log.read_text()
