"""Routers that do not give up, for tests of faults: each sends its events one report after the other, again and again
until it is told that they are kept; and some twice although they are."""

from __future__ import annotations

import http.client
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence

from tests.collect.ca import Pair
from tests.collect.reports import body, incident, packed
from tests.collect.running import JSON, Answer, post

#: Router, event's number.
Sent = tuple[str, int]


class Senders:
    """connect: a new connection for a pair. pairs: one router each. Each sends `reports` reports of `events` events,
    `duplicates` of them a second time. `sent`: what was acknowledged. `resent`: how often anything went again."""

    def __init__(
        self,
        connect: Callable[[Pair], http.client.HTTPSConnection],
        pairs: Sequence[Pair],
        reports: int,
        events: int,
        duplicates: float = 0.1,
        patience_s: float = 90,
    ) -> None:
        self._connect, self._reports, self._events = connect, reports, events
        self._duplicates, self._patience_s = duplicates, patience_s
        self.sent: set[Sent] = set()
        self.resent = 0
        self.refused: list[Answer] = []
        self.gave_up: list[str] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(pair,), daemon=True) for pair in pairs]

    def start(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def done(self) -> int:
        with self._lock:
            return len(self.sent)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(self._patience_s + 30)
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.gave_up, self.gave_up

    def _send(self, pair: Pair) -> None:
        router = pair.certificate.stem
        chance = random.Random(router)
        connection = self._connect(pair)
        seq = 0
        for _ in range(self._reports):
            events = [incident(seq + n + 1, number=(seq + n) % 7) for n in range(self._events)]
            seq += self._events
            data = packed(body(*events, up=100_000))
            for _ in range(1 + (chance.random() < self._duplicates)):
                connection = self._until_kept(pair, connection, data, [event["seq"] for event in events])
                self.resent += 1
            self.resent -= 1
            with self._lock:
                self.sent.update((router, event["seq"]) for event in events)
        connection.close()

    def _until_kept(
        self, pair: Pair, connection: http.client.HTTPSConnection, data: bytes, seqs: list[int]
    ) -> http.client.HTTPSConnection:
        end = time.monotonic() + self._patience_s
        while time.monotonic() < end:
            try:
                said = post(connection, data, JSON)
                if said.status == 200:
                    assert said.body["acked"] == seqs
                    assert said.body["rejected"] == []
                    return connection
                self.refused.append(said)
            except (OSError, http.client.HTTPException, ssl.SSLError, ValueError):
                pass
            self.resent += 1
            connection.close()
            connection = self._connect(pair)
            time.sleep(0.2)
        self.gave_up.append(pair.certificate.stem)
        return connection
