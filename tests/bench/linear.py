"""Cost per byte of the worst inputs, from 1 KB to 1 MB: it must stay flat. `python -m tests.bench.linear`

Each case is a pattern that once cost more the longer it got, in this code or in other people's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from cpe_filter.inspect.smtp import Dialogue
from cpe_filter.inspect.stream import Stream

SIZES = (1_000, 10_000, 100_000, 1_000_000)
#: A case is super-linear when a byte of the largest input costs so many times a byte of the cheapest smaller one.
FLAT = 3.0


def greeted(extension: bytes = b"PIPELINING") -> Dialogue:
    dialogue = Dialogue()
    dialogue.server_seen = True
    dialogue.server(b"220 mx\r\n")
    dialogue.client(b"EHLO a.example\r\n")
    dialogue.server(b"250-mx\r\n250 " + extension + b"\r\n")
    return dialogue


def in_content(bare: bool = False) -> Dialogue:
    dialogue = greeted()
    end = b"\n" if bare else b"\r\n"
    dialogue.client(b"MAIL FROM:<a@b.example>" + end + b"RCPT TO:<c@d.example>" + end + b"DATA" + end)
    dialogue.server(b"250 ok\r\n250 ok\r\n354 go\r\n")
    return dialogue


def client(make: Callable[[], Dialogue], unit: bytes, by: int = 0) -> Callable[[int], None]:
    """`unit`, repeated, from the client; whole or `by` so many bytes."""

    def run(size: int) -> None:
        dialogue = make()
        data = unit * (size // len(unit))
        if by:
            for at in range(0, len(data), by):
                dialogue.client(data[at : at + by])
                dialogue.events.clear()
        else:
            dialogue.client(data)

    return run


def server(unit: bytes, by: int = 0) -> Callable[[int], None]:
    def run(size: int) -> None:
        dialogue = greeted()
        data = unit * (size // len(unit))
        for at in range(0, len(data), by or len(data)):
            dialogue.server(data[at : at + (by or len(data))])
            dialogue.events.clear()

    return run


def after_data(size: int) -> None:
    dialogue = greeted()
    dialogue.client(b"DATA\r\n")
    for _ in range(size // 1000):
        dialogue.client(b"x" * 998 + b"\r\n")
    dialogue.server(b"503 no\r\n")


def backwards(step: int) -> Callable[[int], None]:
    """Segments that arrive in reverse, each before its predecessor."""

    def run(size: int) -> None:
        stream = Stream()
        stream.syn(0)
        for at in range(size, 0, -step):
            stream.feed(at + 1, b"x" * step)
        stream.flush()

    return run


def overlapping(size: int) -> None:
    stream = Stream()
    stream.syn(0)
    for at in range(0, size, 100):
        stream.feed(at + 2, b"x" * 200)
    stream.flush()


CASES: dict[str, Callable[[int], None]] = {
    "empty lines": client(greeted, b"\n"),
    "a line without end": client(greeted, b"A"),
    "a line without end, byte by byte": client(greeted, b"A", 1),
    "carriage returns": client(greeted, b"\r"),
    "commands without replies": client(greeted, b"NOOP\r\n"),
    "recipients without replies": client(greeted, b"RCPT TO:<a@b.example>\r\n"),
    "MAIL before HELO": client(Dialogue, b"MAIL FROM:<a@b.example>\r\n"),
    "chunks of one byte": client(greeted, b"BDAT 1\r\nx"),
    "quotes in a path": client(greeted, b'RCPT TO:<"""""""""""">\r\n'),
    "content, nearly ended": client(in_content, b"\r\n.\r"),
    "content, nearly ended, byte by byte": client(in_content, b"\r\n.\r", 1),
    "content with bare LF, nearly ended": client(lambda: in_content(bare=True), b"\n."),
    "content with bare LF, byte by byte": client(lambda: in_content(bare=True), b"\n.", 1),
    "content before the reply to DATA": after_data,
    "reply lines without end": server(b"250-x\r\n"),
    "a reply line without end": server(b"2"),
    "a reply line without end, byte by byte": server(b"2", 1),
    "replies that nobody asked for": server(b"250 a@b@c@d@e\r\n"),
    "replies full of @": server(b"250 " + b"@" * 300 + b"\r\n"),
    "segments in reverse, 1 byte": backwards(1),
    "segments in reverse, 1000 bytes": backwards(1000),
    "overlapping segments before a gap": overlapping,
}


def per_byte(run: Callable[[int], None], size: int) -> float:
    """CPU nanoseconds a byte, the best of several runs."""
    best = float("inf")
    spent = 0.0
    while spent < 0.05 or best == float("inf"):
        begun = time.process_time()
        run(size)
        took = time.process_time() - begun
        best = min(best, took)
        spent += max(took, 1e-4)
    return best / size * 1e9


def measure(cases: dict[str, Callable[[int], None]], sizes: tuple[int, ...] = SIZES) -> dict[str, list[float]]:
    return {name: [per_byte(run, size) for size in sizes] for name, run in cases.items()}


def super_linear(costs: list[float]) -> bool:
    return costs[-1] > FLAT * min(costs[:-1])


def main() -> int:
    print(f"{'CPU ns a byte':<42}" + "".join(f"{size:>11,}" for size in SIZES))
    bad = 0
    for name, costs in measure(CASES).items():
        mark = "  SUPER-LINEAR" if super_linear(costs) else ""
        bad += bool(mark)
        print(f"{name:<42}" + "".join(f"{cost:>11.1f}" for cost in costs) + mark)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
