"""Proxyware (`python -m tests.lab.turnaround.relay`): `agent OPERATOR` on a device, `operator` at the other end.

The agent keeps connections to the operator open, as behind a NAT it must. The operator's mail programs connect to port
25 of the mail servers' addresses, which are all the operator's own: each connection takes a waiting one of the agent's
and tells the agent where to connect to. From there on both only forward bytes. So what the device sends is a real
program's, which runs elsewhere. Knows bytes alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

PORT, WAITING = 9000, 12
_CHUNK = 65536


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def splice(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], two: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    await asyncio.gather(forward(one[0], two[1]), forward(two[0], one[1]))
    for _, writer in (one, two):
        writer.close()


async def agent(operator: str) -> None:
    """On the device."""

    async def serve() -> None:
        while True:
            with contextlib.suppress(OSError):
                tunnel = await asyncio.open_connection(operator, PORT)
                words = (await tunnel[0].readline()).split()
                if len(words) == 1:
                    await splice(tunnel, await asyncio.open_connection(words[0].decode(), 25))
                else:
                    tunnel[1].close()
            await asyncio.sleep(0.05)

    tasks = [serve() for _ in range(WAITING)]
    print("ready", flush=True)
    await asyncio.gather(*tasks)


async def operator() -> None:
    """At the other end."""
    tunnels: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tunnels.put((reader, writer))

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting = await tunnels.get()
        waiting[1].write(writer.get_extra_info("sockname")[0].encode() + b"\n")
        await splice((reader, writer), waiting)

    servers = [await asyncio.start_server(tunnel, "0.0.0.0", PORT), await asyncio.start_server(client, "0.0.0.0", 25)]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(agent(sys.argv[2]) if sys.argv[1] == "agent" else operator())
