"""NATS JetStream between the processes that receive reports and the store: for fleets that one process cannot serve.

Knows NATS. Must not know HTTP or what a report says. `Queue` is the sending end, a `Sink`: a report is stored when a
majority of the servers has it (PubAck). `Feed` is the receiving end: it stores a batch, and only then acknowledges it
to the stream. A report may arrive more than once; the store ignores what it has. Both survive the loss of a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import ssl
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from cpe_filter.collect import file_modes
from cpe_filter.collect.intake.inbox import EVENTS_EACH
from cpe_filter.collect.metrics import Metrics
from cpe_filter.collect.store import probe
from cpe_filter.collect.store.base import Store, StoreError, StoreUnavailableError, UnstorableError
from cpe_filter.collect.wire import Report, ReportError, unpack

#: For one attempt, and for all attempts of one report: electing a new leader of a stream takes a few seconds.
TRY_S, ALL_S = 3.0, 12.0
#: For the first connection, and for finding or making the stream: others may keep machine and servers busy.
CONNECT_S, START_S = 30.0, 30.0
_LOG_EVERY_S = 10.0
#: The stream drops a repetition within this many seconds; the store drops later ones.
DUPLICATE_S = 120
#: How long a batch may take before the stream gives it to another process.
ACK_S = 30
BATCH = 256
DURABLE = "store"
#: Above this a message is compressed: NATS takes 1 MiB.
_LARGE = 32 * 1024
#: What the largest report takes in the stream: with less room than that it is full.
_LARGEST = 128 * 1024
_MAX_UNPACKED = 16 * 1024 * 1024

_log = logging.getLogger("cpe_filter.collect.intake.jetstream")


class Link:
    """The connection and the stream, which is created if it is missing."""

    def __init__(
        self,
        servers: Sequence[str],
        stream: str,
        replicas: int,
        max_bytes: int,
        credentials: str = "",
        ca: str = "",
    ) -> None:
        self._servers, self.stream, self.replicas, self._max_bytes = list(servers), stream, replicas, max_bytes
        self._credentials, self._ca = credentials, ca
        self.subject = f"{stream.lower().replace('_', '-')}.in"
        self._client = Client()
        self._last, self._logged_at = "", -_LOG_EVERY_S

    async def open(self, make: bool = True) -> None:
        """make: the stream, if it is missing. Raises `StoreUnavailableError`."""
        if wrong := file_modes.fault(self._credentials):
            raise StoreUnavailableError(wrong)
        more: dict[str, Any] = {"user_credentials": self._credentials} if self._credentials else {}
        if self._ca:
            try:
                more["tls"] = ssl.create_default_context(cafile=self._ca)
            except OSError as error:
                raise StoreUnavailableError(f"{self._ca}: {error.strerror or error}") from None
        self._client = Client()
        connecting = self._client.connect(
            self._servers,
            name="cpe-filter collector",
            connect_timeout=5,  # of one server; then the next one, or again
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=10,
            max_outstanding_pings=2,
            allow_reconnect=True,
            error_cb=self._error,
            disconnected_cb=_disconnected,
            reconnected_cb=_reconnected,
            **more,
        )
        try:
            # NATS would try without end; the error has to be visible at the start.
            await asyncio.wait_for(connecting, CONNECT_S)
            if make:
                await self._ensure()
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            await self.close()
            raise StoreUnavailableError(f"NATS: {self._last or _text(error)}") from None

    async def _error(self, error: Exception) -> None:
        """Called for each failed attempt to reconnect: logged only now and then."""
        self._last = _text(error)
        if time.monotonic() - self._logged_at > _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            _log.warning("queue", extra={"fields": {"why": self._last}})

    async def _ensure(self) -> None:
        context = self._client.jetstream(timeout=START_S)
        try:
            await context.stream_info(self.stream)
        except NotFoundError:
            config = StreamConfig(
                name=self.stream,
                subjects=[self.subject],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,  # a full stream refuses: routers keep their reports
                num_replicas=self.replicas,
                max_bytes=self._max_bytes,
                duplicate_window=DUPLICATE_S,
            )
            await context.add_stream(config)  # two processes may do it at once

    def context(self) -> JetStreamContext:
        return self._client.jetstream(timeout=TRY_S)

    async def check(self) -> None:
        """Raises `StoreUnavailableError` where the stream has no leader, is full, or there is no connection."""
        try:
            found = await self.context().stream_info(self.stream)
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            raise StoreUnavailableError(f"NATS: {_text(error)}") from None
        most = found.config.max_bytes or 0
        if most > 0 and found.state.bytes + _LARGEST > most:
            raise StoreUnavailableError(f"NATS: stream {self.stream} is full ({found.state.bytes} of {most} bytes)")

    async def close(self) -> None:
        """Flushes acknowledgements, and disconnects."""
        if self._client.is_connected:
            with contextlib.suppress(NatsError, OSError, asyncio.TimeoutError):
                await self._client.flush(2)
        if not self._client.is_closed:
            await self._client.close()


def message_id(report: Report) -> str:
    """The same for the same events of a router, however often they are sent."""
    what = [report.router, report.boot, *(str(event["seq"]) for event in report.events)]
    if not report.events:
        what.append(f"up {report.up}")
    return hashlib.blake2b("\n".join(what).encode(), digest_size=16).hexdigest()


def encode(report: Report) -> bytes:
    data = report.pack()
    return zlib.compress(data, 1) if len(data) > _LARGE else data


def decode(data: bytes) -> Report:
    """Raises `ReportError`."""
    if data[:1] != b"{":
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(data, _MAX_UNPACKED)
        except zlib.error:
            raise ReportError("neither JSON nor compressed") from None
    return unpack(data)


class Queue:
    """A `Sink`: publishes, and returns when the stream has answered; at most `most` reports at once, and 16 times as
    many events."""

    def __init__(self, link: Link, metrics: Metrics, most: int = 4096) -> None:
        self._link, self._metrics, self._most = link, metrics, most
        self._waiting = self._events = 0

    async def put(self, report: Report) -> None:
        if self._waiting >= self._most or self._events >= self._most * EVENTS_EACH:
            raise StoreUnavailableError(f"{self._waiting} reports with {self._events} events are waiting")
        self._waiting += 1
        self._events += len(report.events)
        self._metrics.waiting.set(self._waiting)
        try:
            with self._metrics.commit_seconds.time():
                await self._publish(encode(report), {"Nats-Msg-Id": message_id(report)})
        finally:
            self._waiting -= 1
            self._events -= len(report.events)
            self._metrics.waiting.set(self._waiting)
        self._metrics.reports.inc()
        self._metrics.events.labels("queued").inc(len(report.events))

    async def _publish(self, data: bytes, headers: dict[str, str]) -> None:
        """Repeats while the stream elects a new leader; the id makes it accept the report only once."""
        until = time.monotonic() + ALL_S
        context, pause = self._link.context(), 0.1
        while True:
            try:
                await context.publish(
                    self._link.subject, data, timeout=TRY_S, stream=self._link.stream, headers=dict(headers)
                )
                return
            except (NatsError, OSError, asyncio.TimeoutError) as error:
                if time.monotonic() + pause > until:
                    raise StoreUnavailableError(f"NATS: {_text(error)}") from None
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def ready(self) -> None:
        await self._link.check()


class Feed:
    """From the stream to the store, until cancelled. Any number may run, in any number of processes.

    stored: is called with the reports that were stored.
    """

    def __init__(
        self,
        link: Link,
        store: Store,
        metrics: Metrics,
        stored: Callable[[Sequence[Report]], None] = lambda reports: None,
    ) -> None:
        self._link, self._store, self._metrics, self._stored = link, store, metrics, stored

    async def run(self) -> None:
        subscription = None
        while True:
            try:
                if subscription is None:
                    config = ConsumerConfig(
                        ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_S, max_deliver=-1, max_ack_pending=BATCH * 32
                    )
                    subscription = await self._link.context().pull_subscribe(
                        self._link.subject, DURABLE, self._link.stream, config
                    )
                messages = await subscription.fetch(BATCH, timeout=5)
            except (asyncio.TimeoutError, TimeoutError):  # nothing there
                continue
            except (NatsError, OSError) as error:
                _log.error("queue unavailable", extra={"fields": {"why": _text(error)}})
                await asyncio.sleep(1)
                continue
            await self._keep(messages)

    async def ready(self) -> None:
        await self._link.check()
        await probe.write(self._store)

    async def _keep(self, messages: list[Msg]) -> None:
        pairs = []
        for message in messages:
            try:
                pairs.append((message, decode(message.data)))
            except ReportError as error:
                await self._poison(message, str(error))
        await self._add(pairs)

    async def _add(self, pairs: list[tuple[Msg, Report]]) -> None:
        pause = 0.5
        while pairs:
            reports = [report for _, report in pairs]
            try:
                with self._metrics.commit_seconds.time():
                    new = await self._store.add(reports)
            except UnstorableError as error:
                if len(pairs) == 1:
                    await self._poison(pairs[0][0], str(error))
                    return
                for pair in pairs:
                    await self._add([pair])
                return
            except StoreError as error:
                _log.error("store unavailable", extra={"fields": {"why": str(error)}})
                await asyncio.sleep(pause)
                pause = min(10.0, pause * 2)
                await self._each([message.in_progress() for message, _ in pairs])
                continue
            self._metrics.stored(reports, new)
            self._stored(reports)
            await self._each([message.ack() for message, _ in pairs])
            return

    async def _poison(self, message: Msg, why: str) -> None:
        """Drops a message that would return without end. Only a bug here makes one: `ingest` has checked everything."""
        self._metrics.poison.inc()
        _log.error("message dropped", extra={"fields": {"why": why, "bytes": len(message.data)}})
        await self._each([message.term()])

    @staticmethod
    async def _each(answers: list[Any]) -> None:
        """A lost acknowledgement does no harm: the message returns."""
        for result in await asyncio.gather(*answers, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, NatsError | OSError | asyncio.TimeoutError):
                raise result


async def _disconnected() -> None:
    _log.warning("queue disconnected")


async def _reconnected() -> None:
    _log.info("queue reconnected")


def _text(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
