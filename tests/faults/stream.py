"""The mail of an ordinary home, one dialogue after the other, and a server that takes it; both light.

    python -m tests.faults.stream server FILE             takes every message; the ids taken go to FILE
    python -m tests.faults.stream client FILE RATE HOST.. RATE dialogues a second, to each host in turn

Knows SMTP as little as it takes. Dialogues begin at their time, whether earlier ones have ended or not: what is delayed
must not make the measurement wait, too. Times are seconds of the machine's monotonic clock, the same in all programs.
Both run until SIGTERM; the client then waits for the dialogues that run.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import TextIO

PORT = 25
#: Seconds after which a dialogue counts as lost. SYNs are sent at 0, 1, 3, 7 and 15 s; RFC 5321 allows minutes.
PATIENCE_S = 20.0
_CONTENT = "Subject: hello\r\n\r\nA line of the message.\r\n.\r\n"
#: What is sent after each reply, in order; {} is the dialogue's id.
STEPS = (
    ("banner", "EHLO laptop.home.example"),
    ("ehlo", "MAIL FROM:<ann{}@home.example>"),
    ("mail", "RCPT TO:<ben@friends.example>"),
    ("rcpt", "DATA"),
    ("data", _CONTENT[:-2]),
    ("content", "QUIT"),
    ("quit", ""),
)


class Server(asyncio.Protocol):
    """Takes a message; `taken` gets its id."""

    def __init__(self, taken: TextIO) -> None:
        self._taken = taken
        self._rest = b""
        self._in_content = False
        self._id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(b"220 mx.lab.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        if self._in_content:
            if line == b".":
                self._in_content = False
                if self._id:  # else not of the stream: a bot's
                    self._taken.write(f"{self._id}\n")
                self._transport.write(b"250 2.0.0 Ok: queued\r\n")
            return
        verb = line[:4].upper()
        if verb == b"EHLO":
            self._transport.write(b"250-mx.lab.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        elif verb == b"DATA":
            self._in_content = True
            self._transport.write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        elif verb == b"QUIT":
            self._transport.write(b"221 2.0.0 Bye\r\n")
            self._transport.close()
        else:
            if verb == b"MAIL":
                self._id = line.partition(b"<ann")[2].partition(b"@")[0].decode("ascii", "replace")
            self._transport.write(b"250 2.1.0 Ok\r\n")


class Client(asyncio.Protocol):
    """One dialogue. `step` is how far it came, `longest` the longest wait for an answer."""

    def __init__(self, number: int, begun: float) -> None:
        self._number = number
        self._since = begun
        self._rest = b""
        self._at = 0
        self.step = "connect"
        self.longest = 0.0
        self.error = ""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._waited()

    def _waited(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - self._since)
        self._since = now

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-" or self._at >= len(STEPS):
                continue
            self._waited()
            if line[:1] not in b"23":
                self._end(f"told {line.decode('ascii', 'replace')}")
                return
            self.step, command = STEPS[self._at]
            self._at += 1
            if command:
                self._transport.write(f"{command.format(self._number)}\r\n".encode())
            else:
                self._end("")

    def connection_lost(self, error: Exception | None) -> None:
        self._end(type(error).__name__ if error else "closed by the other side")

    def _end(self, error: str) -> None:
        if not self.over.done():
            self.error = error
            self._waited()
            self.over.set_result(None)
            self._transport.close()


async def _dialogue(number: int, host: str, out: TextIO) -> None:
    """Holds one dialogue and writes what became of it."""
    begun = time.monotonic()
    client = Client(number, begun)
    error = ""

    async def talk() -> None:
        await asyncio.get_running_loop().create_connection(lambda: client, host, PORT)
        await client.over

    try:
        await asyncio.wait_for(talk(), PATIENCE_S)
        error = client.error
    except asyncio.TimeoutError:
        error = f"no answer within {PATIENCE_S:.0f} s"
    except OSError as failure:
        error = type(failure).__name__
    ended = time.monotonic()
    record = {
        "id": number,
        "host": host,
        "begun": begun,
        "ended": ended,
        "longest": max(client.longest, ended - client._since),
        "step": client.step,
        "delivered": client.step in ("content", "quit"),
        "error": error,
    }
    out.write(json.dumps(record) + "\n")
    out.flush()


async def _send(path: str, rate: float, hosts: list[str]) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    running: set[asyncio.Task[None]] = set()
    with open(path, "a") as out:  # noqa: ASYNC230 - lines of a local file
        print("ready", flush=True)
        number, begin = 0, time.monotonic()
        while not stopped.is_set():
            task = asyncio.create_task(_dialogue(number, hosts[number % len(hosts)], out))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
            try:
                await asyncio.wait_for(stopped.wait(), max(0.0, begin + number / rate - time.monotonic()))
            except asyncio.TimeoutError:
                pass
        if running:
            await asyncio.wait(running)


async def _serve(path: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    with open(path, "a", buffering=1) as taken:  # noqa: ASYNC230
        for host in ("0.0.0.0", "::"):
            await loop.create_server(lambda: Server(taken), host, PORT, backlog=512)
        print("ready", flush=True)
        await stopped.wait()


def main() -> None:
    role, path, *rest = sys.argv[1:]
    if role == "server":
        asyncio.run(_serve(path))
    else:
        asyncio.run(_send(path, float(rest[0]), rest[1:]))


if __name__ == "__main__":
    main()
