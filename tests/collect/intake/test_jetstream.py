"""The queue's messages, and what only the queue can do wrong. Its faults: test_faults."""

from __future__ import annotations

import asyncio
import random
import zlib
from pathlib import Path
from typing import Any

import nats
import pytest

from cpe_filter.collect.intake import jetstream
from cpe_filter.collect.intake.jetstream import Feed, Link, Queue, decode, encode, message_id
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store.base import StoreUnavailableError
from cpe_filter.collect.store.sqlite import SQLite
from cpe_filter.collect.wire import ReportError
from tests.collect import streams
from tests.collect.reports import BOOT2, NOW, heartbeat, incident, report


def test_message_comes_out_as_it_went_in() -> None:
    small = report(incident(1), heartbeat(2))
    chance = random.Random(1)
    large = report(
        *[
            incident(n, ind={f"a{chance.randrange(10**30)}": 4294967295 for _ in range(64)}, name="~" * 64)
            for n in range(256)
        ]
    )
    for one in (small, large):
        assert decode(encode(one)) == one
    assert encode(small)[:1] == b"{"
    assert len(large.pack()) > 800_000
    assert len(encode(large)) < 600_000


@pytest.mark.parametrize("data", [b"", b"x", b"{}", zlib.compress(b"{}"), zlib.compress(bytes(100_000_000))])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(ReportError):
        decode(data)


class _Held(Link):
    """A stream that takes its time."""

    def __init__(self) -> None:
        super().__init__(["nats://127.0.0.1:1"], "X", 1, 1)
        self.gate = asyncio.Event()

    def context(self) -> Any:
        return self

    async def publish(self, *_: Any, **__: Any) -> None:
        await self.gate.wait()


def test_reports_and_events_that_wait_are_bounded() -> None:
    async def work() -> None:
        link = _Held()
        queue = Queue(link, Metrics(), most=3)
        tasks = [asyncio.create_task(queue.put(report(*[incident(n) for n in range(25)]))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError, match="2 reports with 50 events are waiting"):
            await queue.put(report(incident(1)))
        link.gate.set()
        await asyncio.gather(*tasks)
        link.gate.clear()
        tasks = [asyncio.create_task(queue.put(report(heartbeat(1)))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError, match="3 reports with 3 events are waiting"):
            await queue.put(report(incident(1)))
        link.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(work())


def test_ids_of_messages() -> None:
    one = report(incident(1), incident(2))
    assert message_id(one) == message_id(report(incident(1), incident(2), up=5000, received=NOW + 5, dropped=3))
    others = [
        report(incident(1)),
        report(incident(1), incident(2), router="r2"),
        report(incident(1), incident(2), boot=BOOT2),
        report(incident(12)),
        report(up=1),
        report(up=2),
    ]
    assert len({message_id(other) for other in (one, *others)}) == 7


def link(cluster: streams.Streams, stream: str) -> Link:
    return Link(cluster.urls, stream, replicas=3, max_bytes=1 << 20)


async def drained(cluster: streams.Streams, stream: str) -> None:
    for _ in range(300):
        if await asyncio.to_thread(cluster.messages, stream) == 0:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("messages are left")


def test_repetition_poison_and_a_full_stream(
    tmp_path: Path, cluster: streams.Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        metrics = Metrics()
        ours = link(cluster, "ODD")
        await ours.open()
        queue = Queue(ours, metrics)
        for _ in range(3):
            await queue.put(report(incident(1), heartbeat(2)))
        assert cluster.messages("ODD") == 1
        client = await nats.connect(cluster.urls)
        for data in (b"rubbish", b"{}", zlib.compress(b"[]")):
            await client.jetstream().publish(ours.subject, data)
        bad = report(incident(4))
        bad.events[0]["conns"] = 10**30
        await queue.put(bad)
        await queue.put(report(incident(5)))
        store = SQLite(str(tmp_path / "c.db"))
        await store.open()
        feed = asyncio.create_task(Feed(ours, store, metrics).run())
        await drained(cluster, "ODD")
        assert metrics.registry.get_sample_value("cpe_collector_queue_poison_total") == 4
        rows = await store.read("SELECT seq FROM report ORDER BY seq")
        assert [row["seq"] for row in rows] == [1, 2, 5]
        while not feed.done():
            feed.cancel()
            await asyncio.wait([feed], timeout=0.5)
        # Nobody takes anything out now; the stream is full at 1 MiB.
        monkeypatch.setattr(jetstream, "ALL_S", 0.5)
        assert 20 < await fill(queue, 300) < 300
        await store.close()
        await client.close()
        await ours.close()

    asyncio.run(work())


async def fill(queue: Queue, most: int) -> int:
    """Puts large reports until the stream takes no more: how many it took."""
    noise = random.Random(2)
    for number in range(most):
        names = ["".join(chr(noise.randrange(33, 126)) for _ in range(64)) for _ in range(100)]
        try:
            await queue.put(report(*[incident(1000 + 100 * number + n, name=names[n]) for n in range(100)]))
        except StoreUnavailableError:
            return number
    return most


def test_no_server(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(jetstream, "CONNECT_S", 2.0)

    async def work() -> None:
        with pytest.raises(StoreUnavailableError, match=r"NATS: .*127\.0\.0\.1', 1\)"):
            await Link(["nats://127.0.0.1:1"], "X", 1, 1 << 20).open()

    asyncio.run(work())
    assert [record.message for record in caplog.records].count("queue") == 1
