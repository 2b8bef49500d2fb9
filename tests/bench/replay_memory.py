"""What memory `cpe-filter replay` takes for a long stream: its peak must not grow with the stream's length.

A stream is the recordings in `pcaps/` again and again, each time a day later, with bulk traffic between them. It goes
through a pipe as pcapng: each round is a section whose interface has another offset of time.

    python -m tests.bench.replay_memory --megabytes 300
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests import build
from tests.build import Ng

ROOT = Path(__file__).resolve().parents[2]
#: Peak memory for any length, MB: the goal, and what a longer stream may take more.
MOST_MB, GROWTH_MB = 30, 3
_DAY_S = 86400


def packets() -> list[tuple[float, bytes]]:
    """The frames of all recordings on Ethernet, each a minute after the one before, times from 0; and bulk traffic."""
    found: list[tuple[float, bytes]] = []
    now = 0.0
    for path in sorted((ROOT / "pcaps").glob("*.pcap")):
        data = path.read_bytes()
        if int.from_bytes(data[20:24], "little") != 1:
            continue
        at, first = 24, -1.0
        while at < len(data):
            size = int.from_bytes(data[at + 8 : at + 12], "little")
            time = int.from_bytes(data[at : at + 4], "little") + int.from_bytes(data[at + 4 : at + 8], "little") / 1e6
            first = time if first < 0 else first
            found.append((now + time - first, data[at + 16 : at + 16 + size]))
            at += 16 + size
        now = found[-1][0] + 60.0
        page = build.tcp("192.168.1.10", "198.51.100.80", 40000, 443, len(found), 1, build.ACK, bytes(1400))
        found += [(now, build.ethernet(build.Packet(now, True, page)))] * 20
    return found


def stream(megabytes: float) -> Iterator[bytes]:
    """Pieces of a pcapng stream of about that size."""
    blocks, pieces = Ng(), []
    for time, frame in packets():
        blocks.data = b""
        pieces.append(blocks.enhanced(round(time * 1e6), frame).data)
    body = b"".join(pieces)
    sent = number = 0
    while sent < megabytes * 1e6:
        piece = Ng().interface(1, tsoffset=int(build.START) + number * _DAY_S).data + body
        yield piece
        sent += len(piece)
        number += 1


#: Runs the command, then reports its own peak: that of a child, as wait4 has it, begins with its parent's memory.
_RUN = """
import sys
from cpe_filter.cli.main import main
try:
    main(["replay", "--json", "-"])
finally:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak, file=sys.stderr)
"""


def peak(megabytes: float) -> tuple[float, float]:
    """Peak memory of `replay` for a stream of that size, MB, and its CPU time, seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", _RUN], env=environment, **pipes)  # type: ignore[call-overload]
    for piece in stream(megabytes):
        child.stdin.write(piece)
    child.stdin.close()
    said = child.stderr.read().decode().split("\n")
    child.stderr.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 3):
        raise RuntimeError(f"replay ended with {child.returncode}: {said}")
    return int(said[-2]) / 1024, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=300)
    options = parser.parse_args()
    for size in (options.megabytes / 10, options.megabytes):
        memory, cpu = peak(size)
        print(f"{size:7.0f} MB through a pipe: peak {memory:.1f} MB, {cpu:.1f} s of CPU, {size / cpu:.1f} MB/s")


if __name__ == "__main__":
    main()
