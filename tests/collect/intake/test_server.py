"""The accept loop where accept(2) fails: it pauses, and goes on when it can."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from cpe_filter.collect.intake import server
from cpe_filter.collect.intake.listener import Listener
from cpe_filter.collect.intake.server import Server, Times
from cpe_filter.collect.metrics import Metrics


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_without_descriptors_it_pauses_and_then_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(server, "PAUSE_S", 0.001)

    async def work() -> bytes:
        loop = asyncio.get_running_loop()
        accept, sleep, failures = loop.sock_accept, asyncio.sleep, 3

        async def failing(sock: socket.socket) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return await accept(sock)

        async def pausing(seconds: float) -> None:
            if seconds == server.PAUSE_S:
                pauses.append(seconds)
            await sleep(seconds)

        monkeypatch.setattr(loop, "sock_accept", failing)
        monkeypatch.setattr("cpe_filter.collect.intake.server.asyncio.sleep", pausing)
        running = Server([Listener("127.0.0.1:0", answer)], Times(), Metrics())
        running.bind()
        serving = asyncio.create_task(running.serve())
        reader, writer = await asyncio.open_connection(*running.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        reply = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        running.should_exit = True
        await serving
        return reply

    assert asyncio.run(work()).startswith(b"HTTP/1.1 204")
    assert len(pauses) == 3
