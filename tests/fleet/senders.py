"""The lives of simulated routers as reports over mTLS: the weeks that were in a few reports, then live.

Knows HTTP and TLS as a router's side does. Live, a day passes in minutes: each router reports about once a minute,
some devices are found, some become clean.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from dataclasses import dataclass, replace
from typing import Any

from tests.collect.reports import packed
from tests.fleet import lives
from tests.fleet.lives import Incident, Life

#: Events in one report.
_EVENTS = 200
#: Connections at once while the history is reported: certificates cost both sides time.
_AT_ONCE = 8
#: Seconds between two reports of one router, on average.
LIVE_S = 60.0
_WAIT_S = 30.0


@dataclass
class Counts:
    """What came of it. refused: by status."""

    reports: int = 0
    events: int = 0
    found: int = 0
    cleaned: int = 0
    refused: int = 0
    lost: int = 0


class Sender:
    """One router with its certificate. started: monotonic seconds at which `life.up` was right."""

    def __init__(self, life: Life, context: ssl.SSLContext, port: int, counts: Counts, seed: int) -> None:
        self._life, self._context, self._port, self._counts = life, context, port, counts
        self._rng = random.Random(seed)
        self._started = time.monotonic()
        self._base = life.up
        self._seq = 0

    async def tell_history(self) -> None:
        """All that was before; heard of `life.silent` seconds ago by its own account, but the report comes now."""
        events = lives.events(self._life, self._rng)
        self._seq = len(events)
        for first in range(0, max(1, len(events)), _EVENTS):
            await self.post(self._body(events[first : first + _EVENTS]))

    async def live(self) -> None:
        """Reports until it is cancelled."""
        if self._life.silent:
            return
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / LIVE_S))
            self._life.up = self._base + int(time.monotonic() - self._started)
            await self.post(self._rubbish() if self._life.bad else self._body(self._news()))

    def _news(self) -> list[dict[str, Any]]:
        life, rng = self._life, self._rng
        events = [lives.heartbeat(life, 0)]
        going = [at for at, one in enumerate(life.incidents) if one.closed is None and one.raised is not None]
        if not going and not life.bad and rng.random() < 0.02:
            oui, name, indicators, _ = rng.choice(lives.DEVICES)
            dev = f"{rng.getrandbits(64):016x}"
            one = Incident(f"{rng.getrandbits(64):016x}", dev, oui, name, indicators, 0, 0, None, "released")
            life.incidents.append(one)
            events.append(lives.incident(life, one, 0, "raised", "compromised", rng.randrange(4, 30), rng))
            self._counts.found += 1
        for at in going:
            one = life.incidents[at]
            if rng.random() < 0.1:
                life.incidents[at] = one._replace(closed=1)
                events.append(lives.incident(life, one, 0, "closed", "clear", rng.randrange(60, 200), rng))
                self._counts.cleaned += 1
            elif one.seen is None and rng.random() < 0.15:
                life.incidents[at] = one = one._replace(
                    seen=0, answered=0, answer=rng.choice(("seen", "cleaned", "mistake"))
                )
                events.append(lives.incident(life, one, 0, "updated", "compromised", rng.randrange(60, 200), rng))
            elif rng.random() < 0.3:
                events.append(lives.incident(life, one, 0, "updated", "compromised", rng.randrange(60, 200), rng))
        numbered = [{"seq": self._seq + at, **event} for at, event in enumerate(events, 1)]
        self._seq += len(events)
        return numbered

    def _body(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        life = self._life
        return {
            "v": 1, "boot": life.boot, "up": life.up, "t": int(time.time()), "synced": True, "pol": life.pol,
            "ver": life.ver, "model": life.model, "dropped": life.dropped, "events": events,
        }  # fmt: skip

    def _rubbish(self) -> dict[str, Any]:
        wrong: list[dict[str, Any]] = [
            {"v": 2},
            {"events": "<script>alert(1)</script>"},
            {"ver": "'; DROP TABLE incident; --"},
            {"events": [{"seq": 1, "kind": "opened"}] * 300},
        ]
        return {**self._body([]), **self._rng.choice(wrong)}

    async def post(self, body: dict[str, Any]) -> int:
        """One report by one connection: the status, 0 where nobody answered."""
        try:
            status = await asyncio.wait_for(self._post(packed(body)), _WAIT_S)
        except (OSError, asyncio.TimeoutError, TimeoutError, ValueError):
            self._counts.lost += 1
            return 0
        if status == 200:
            self._counts.reports += 1
            self._counts.events += len(body["events"])
        else:
            self._counts.refused += 1
        return status

    async def _post(self, data: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
        try:
            head = (
                "POST /v1/reports HTTP/1.1\r\nHost: collector\r\nContent-Type: application/json\r\n"
                f"Content-Encoding: gzip\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + data)
            await writer.drain()
            line = await reader.readline()
            await reader.read()
            return int(line.split()[1])
        finally:
            writer.close()


async def tell_history(senders: list[Sender]) -> None:
    """All routers' weeks, a few routers at a time."""
    waiting = list(reversed(senders))

    async def work() -> None:
        while waiting:
            await waiting.pop().tell_history()

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


def summary(before: Counts, now: Counts) -> str:
    """What has come since, for people."""
    since = replace(now, **{name: getattr(now, name) - getattr(before, name) for name in vars(now)})
    return (
        f"{since.reports} reports with {since.events} events taken, {since.found} devices found, "
        f"{since.cleaned} clean, "
        f"{since.refused} reports refused, {since.lost} lost"
    )
