"""Instructions on their way from the store to the processes that answer routers: a key-value bucket of NATS.

    consume: `Posting`    what waits in the store -> the bucket, an entry for each router
    ingest:  `Posted`     the bucket -> the answers to reports

Knows NATS. Must not know what an instruction says; it is signed, so whoever can write into the bucket can withhold or
repeat one, and no more. An entry stays until its router has answered or its instructions have expired.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence

from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, NoKeysError
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue

from cpe_filter.collect.intake.jetstream import Link
from cpe_filter.collect.intake.outgoing import EVERY_S, MOST, Outgoing, Waiting, due
from cpe_filter.collect.store import lease
from cpe_filter.collect.store.base import Store, StoreError
from cpe_filter.collect.wire import Report
from cpe_filter.send.protocol import MAX_INSTRUCTION, MAX_INSTRUCTIONS

#: The lease of the process that writes the bucket, and its seconds.
LEASE, LEASE_S = "instructions", 30
#: Seconds after which `Posted` reads everything again, even without a notice of a change; and between two looks for a
#: bucket that is not there.
AGAIN_S, LOOK_S = 60.0, 10.0
#: Bytes of an entry and of the bucket.
_LARGEST, _BUCKET = 128 * 1024, 256 * 1024 * 1024
#: Seconds after which NATS drops an entry: no instruction is valid for longer ([desk] instruction_days).
_KEPT_S = 31 * 86_400
_FAILURES = (NatsError, OSError, asyncio.TimeoutError)

_log = logging.getLogger("cpe_filter.collect.intake.posted")


def key_of(router: str) -> str:
    """A router's id may have characters that a key may not."""
    return hashlib.blake2b(router.encode(), digest_size=16).hexdigest()


def encode(waiting: Sequence[Waiting]) -> bytes:
    return json.dumps(waiting[:MAX_INSTRUCTIONS], separators=(",", ":")).encode()


def decode(data: bytes) -> list[Waiting]:
    """Raises ValueError."""
    if len(data) > _LARGEST:
        raise ValueError("too large")
    try:
        found = [Waiting(*one) for one in json.loads(data)]
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    for one in found:
        texts = isinstance(one.id, str) and isinstance(one.document, str) and len(one.document) <= MAX_INSTRUCTION
        if not texts or not isinstance(one.expires_at, int):
            raise ValueError("not an instruction")
    return found[:MAX_INSTRUCTIONS]


async def bucket_of(link: Link, make: bool) -> KeyValue:
    """Raises `BucketNotFoundError` if it is not there and is not to be made."""
    context, name = link.context(), f"{link.stream}_INSTRUCTIONS"
    try:
        return await context.key_value(name)
    except BucketNotFoundError:
        if not make:
            raise
        config = KeyValueConfig(name, ttl=_KEPT_S, max_bytes=_BUCKET, storage=StorageType.FILE, replicas=link.replicas)
        return await context.create_key_value(config)


class Posting:
    """The side of the store. Any number of processes may run it; one of them writes."""

    def __init__(self, link: Link, store: Store, outgoing: Outgoing, me: str = lease.ME) -> None:
        self._link, self._store, self._outgoing, self._me = link, store, outgoing, me
        self._known: dict[str, bytes] | None = None  # what is in the bucket; None: another process writes it
        self._listed = 0

    async def run(self) -> None:
        """Until it is cancelled. Never raises."""
        failed = ""
        try:
            while True:
                try:
                    await self.step(int(time.time()))
                    failed = ""
                except (StoreError, *_FAILURES) as error:
                    self._known = None
                    failed = _logged("instructions not posted", error, failed)
                await asyncio.sleep(EVERY_S)
        finally:
            try:
                await lease.give(self._store, LEASE, self._me)
            except StoreError:
                pass  # it expires

    async def step(self, now: int) -> None:
        """Raises `StoreError` and what NATS raises."""
        if not await lease.take(self._store, LEASE, now, LEASE_S, self._me):
            self._known = None
            await self._outgoing.refresh(now)
            return
        bucket = await bucket_of(self._link, make=True)
        if self._known is None or now - self._listed >= AGAIN_S:
            # Before the store is read: what is there now and no longer waits has been answered. Again now and then,
            # because a server that is behind does not list all, and entries may have been lost.
            before, self._listed = self._known or {}, now
            self._known = {key: before.get(key, b"") for key in await _keys(bucket)}
        await self._outgoing.refresh(now)
        waiting = {key_of(router): encode(found) for router, found in self._outgoing.waiting.items()}
        for key in [key for key in self._known if key not in waiting]:
            await bucket.delete(key)
            del self._known[key]
        for key, value in waiting.items():
            if self._known.get(key) != value:
                await bucket.put(key, value)
                self._known[key] = value


async def _keys(bucket: KeyValue) -> list[str]:
    try:
        return await bucket.keys()
    except NoKeysError:
        return []


class Posted:
    """The side of the answers."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: dict[str, list[Waiting]] = {}

    def of(self, report: Report) -> list[str]:
        """As `Outgoing.of`."""
        if not self._waiting:
            return []
        found = due(self._waiting.get(key_of(report.router), ()), report)
        return [one.document for one in found if one.expires_at > report.received]

    async def run(self) -> None:
        """Until it is cancelled. Never raises. Where NATS fails, what was read last still counts."""
        failed = ""
        while True:
            pause = 1.0
            try:
                await self._follow(await bucket_of(self._link, make=False))
                failed = ""
            except BucketNotFoundError:  # no desk makes instructions
                self._waiting, pause = {}, LOOK_S
            except _FAILURES as error:
                failed = _logged("instructions not read", error, failed)
            await asyncio.sleep(pause)

    async def _follow(self, bucket: KeyValue) -> None:
        """Reads everything, and then changes, for a while."""
        end, fresh = time.monotonic() + AGAIN_S, dict[str, list[Waiting]]()
        watcher = await bucket.watchall()
        try:
            while time.monotonic() < end:
                try:
                    entry = await watcher.updates(timeout=min(5.0, AGAIN_S))  # type: ignore[no-untyped-call]
                except asyncio.TimeoutError:
                    continue
                if entry is None:  # that was everything
                    self._waiting = fresh
                elif entry.operation in (KV_DEL, KV_PURGE):
                    fresh.pop(entry.key, None)
                elif len(fresh) < MOST:
                    try:
                        fresh[entry.key] = decode(entry.value or b"")
                    except ValueError:
                        fresh.pop(entry.key, None)
        finally:
            await watcher.stop()  # type: ignore[no-untyped-call]


def _logged(what: str, error: BaseException, before: str) -> str:
    """Logs an error unless it is the one before. Returns its text."""
    why = (str(error) or type(error).__name__).splitlines()[0][:200]
    if why != before:
        _log.error(what, extra={"fields": {"why": why}})
    return why
