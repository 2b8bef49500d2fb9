"""Routers that report as fast as they are answered: a process of its own, not to be measured with the collector.

`python -m tests.bench.collector_load PORT FOLDER CONNECTIONS SECONDS keep|new` prints one JSON object. FOLDER: of a
`tests.collect.ca.Authority` with routers r0, r1, ... Times are from the first byte sent (`new`: from the connect) to
the whole answer. The clients' own work, TLS too, is on the same machine: the rates are what both do together.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
import uuid
from pathlib import Path

from tests.collect.reports import body, heartbeat, incident, packed

ROUTERS = 64


def requests(boot: str, start: int, count: int) -> list[bytes]:
    """Whole HTTP requests: of four reports three are one incident's event, one is a heartbeat."""
    out = []
    for seq in range(start, start + count):
        event = heartbeat(seq) if seq % 4 == 0 else incident(seq, number=seq % 50)
        data = packed(body(event, boot=boot, up=10_000))
        head = (
            "POST /v1/reports HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Encoding: gzip\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        out.append(head.encode() + data)
    return out


class Client:
    """One connection after the other, or one for all."""

    def __init__(self, port: int, context: ssl.SSLContext, keep: bool) -> None:
        self.port, self.context, self.keep = port, context, keep
        self.times: list[float] = []
        self.statuses: dict[int, int] = {}

    async def run(self, until: float) -> None:
        boot, seq = str(uuid.uuid4()), 1
        waiting: list[bytes] = []
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while time.monotonic() < until:
            if not waiting:
                waiting = requests(boot, seq, 50)
                seq += 50
            data = waiting.pop()
            begun = time.perf_counter()
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost"
                )
                if self.keep:  # its one handshake does not count
                    begun = time.perf_counter()
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            self.times.append(time.perf_counter() - begun)
            status = int(head[9:12])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if not self.keep:
                writer.transport.abort()
                reader = writer = None
        if writer is not None:
            writer.close()


async def load(port: int, folder: Path, connections: int, seconds: float, keep: bool) -> dict[str, object]:
    clients = []
    for number in range(connections):
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        name = f"r{number % ROUTERS}"
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        clients.append(Client(port, context, keep))
    begun = time.monotonic()
    await asyncio.gather(*(client.run(begun + seconds) for client in clients))
    took = time.monotonic() - begun
    times = sorted(value for client in clients for value in client.times)
    statuses: dict[str, int] = {}
    for client in clients:
        for status, count in client.statuses.items():
            statuses[str(status)] = statuses.get(str(status), 0) + count
    return {
        "reports": len(times),
        "per_s": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "max_ms": times[-1] * 1000,
        "statuses": statuses,
        "client_cpu_s": time.process_time(),
    }


def main() -> None:
    port, folder, connections, seconds, how = sys.argv[1:]
    print(json.dumps(asyncio.run(load(int(port), Path(folder), int(connections), float(seconds), how == "keep"))))


if __name__ == "__main__":
    main()
