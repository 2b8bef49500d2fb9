"""A spam bot of the lab, after the sprayers of 2010: `python -m tests.lab.bot [options]`.

Connects straight to strangers' servers, a few at a time, says HELO with a pool's name, one forged sender, one guessed
recipient, and QUIT if it feels like it. Prints a JSON line for each connection: how it went. Bounded by --count; it
only ever talks to the lab's addresses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl

from tests.lab.net import PATIENCE, mx4, mx6

#: How long it waits for a reply. A session that runs when its device is convicted gets no more.
_REPLY_S = 2.0 * PATIENCE
HELO = "113-45-18-198.dynamic.pool.example.net"


async def _line(reader: asyncio.StreamReader) -> str:
    """The last line of a reply; "" where the connection ended."""
    while True:
        line = (await asyncio.wait_for(reader.readline(), _REPLY_S)).decode("utf-8", "replace").rstrip()
        if line[3:4] != "-":
            return line


async def _begin_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> asyncio.StreamWriter:
    """The writer to go on with; the certificate is not looked at. (Python 3.10 has no StreamWriter.start_tls.)"""
    loop = asyncio.get_running_loop()
    protocol = writer.transport.get_protocol()
    context = ssl._create_unverified_context()  # noqa: S323 - the lab's own certificates
    transport = await loop.start_tls(writer.transport, protocol, context, ssl_handshake_timeout=5)
    if transport is None:
        raise ConnectionAbortedError("gone during the handshake")
    return asyncio.StreamWriter(transport, protocol, reader, loop)


async def one(server: str, number: int, wait: float, helo: str, tls: bool, size: int) -> dict[str, object]:
    """One connection; says how far it came."""
    result: dict[str, object] = {"server": server, "ended": "connect", "reply": ""}
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(server, 25), wait)
    except (OSError, asyncio.TimeoutError) as error:
        result["reply"] = "refused" if isinstance(error, ConnectionRefusedError) else "timeout"
        return result
    writers = [writer]  # of the plain one, too: it would close the connection when it is forgotten
    try:
        result["ended"] = "banner"
        reply = await _line(reader)
        recipient = f"jmbijghencgi{number}@stranger{number}.example"
        for step, command in (
            *((("helo", helo), ("starttls", "STARTTLS")) if tls else ()),
            ("helo", helo),
            ("mail", "MAIL FROM: <no-reply@watches.example>"),
            ("rcpt", f"RCPT TO: <{recipient}>"),
            ("data", "DATA"),
            ("message", "Subject: cheap watches\r\n\r\nBuy now.\r\n" + "Cheaper than ever. \r\n" * (size // 21) + "."),
        ):
            if not reply or reply[0] in "45":
                break
            writer.write(command.encode() + b"\r\n")
            reply = await _line(reader)
            result["ended"] = step
            if step == "starttls" and reply[:3] == "220":
                writer = await _begin_tls(reader, writer)
                writers.append(writer)
        result["reply"] = reply or "closed"
        if number % 3 and reply:
            writer.write(b"QUIT\r\n")
            await _line(reader)
    except (OSError, asyncio.TimeoutError) as error:
        result["reply"] = "reset" if isinstance(error, ConnectionResetError) else type(error).__name__
    finally:
        for writer in reversed(writers):
            writer.close()
    return result


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first server")
    parser.add_argument("--parallel", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two connections")
    parser.add_argument("--wait", type=float, default=2.0, help="seconds to wait for a connection")
    parser.add_argument("--helo", default=f"HELO {HELO}", help="its first command")
    parser.add_argument("--six", action="store_true", help="by IPv6")
    parser.add_argument("--prefix", default="", help="before a server's IPv4 address: a NAT64's prefix")
    parser.add_argument("--starttls", action="store_true", help="begin TLS on each; needs --helo with EHLO")
    parser.add_argument("--size", type=int, default=0, help="bytes of padding in its message")
    parser.add_argument("--servers", type=int, nargs="+", help="these numbers, in place of --first and --count")
    options = parser.parse_args()
    numbers = options.servers or range(options.first, options.first + options.count)
    gate = asyncio.Semaphore(options.parallel)

    async def guarded(number: int) -> None:
        async with gate:
            server = mx6(number) if options.six else options.prefix + mx4(number)
            result = await one(server, number, options.wait, options.helo, options.starttls, options.size)
            print(json.dumps(result), flush=True)
            await asyncio.sleep(options.pause)

    await asyncio.gather(*map(guarded, numbers[:5000]))


if __name__ == "__main__":
    asyncio.run(main())
