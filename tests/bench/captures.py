"""CPU of `cpe-filter replay` and of tshark on the same large captures, in turns. `python -m tests.bench.captures`

Knows both command lines, and how a large capture is made of pcaps/: again and again with other clients. One capture
is mail alone, as of `tcpdump port 25`; the other has nine packets of HTTPS to each of mail, as of a whole line. The
time is user and system of the process, the median of the rounds; both run on the same machine one after the other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import BinaryIO

import dpkt

ROOT = Path(__file__).parents[2]
_FIELDS = (
    *("frame.time_epoch", "ip.src", "ip.dst", "tcp.stream", "smtp.req.command", "smtp.req.parameter"),
    *("smtp.response.code", "smtp.rsp.parameter"),
)
#: tshark's cheapest look at a file, and one that shows what replay reads.
TSHARK = {
    "tshark -q -z conv,tcp": ["tshark", "-n", "-q", "-z", "conv,tcp", "-r"],
    "tshark -T fields": ["tshark", "-n", "-Y", "smtp", "-T", "fields"]
    + [word for field in _FIELDS for word in ("-e", field)]
    + ["-r"],
}
REPLAY = [sys.executable, "-m", "cpe_filter", "replay"]
_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


def _recorded() -> list[bytes]:
    """The frames of pcaps/ with Ethernet and IPv4, in the order of the files."""
    frames = []
    for path in sorted((ROOT / "pcaps").glob("*.pcap")):
        with path.open("rb") as file:
            reader = dpkt.pcap.Reader(file)
            if reader.datalink() == dpkt.pcap.DLT_EN10MB:
                frames += [bytes(data) for _, data in reader if data[12:15] == b"\x08\0\x45" and data[23] == 6]
    return frames


def _readdressed(frame: bytes, number: int) -> bytes:
    """The frame as of another home: 192.168.x.y becomes 10.number.x.y, with another MAC.

    Its TCP checksum is right, as on a wire; in a recording of namespaces it is that of the addresses alone.
    """
    data = bytearray(frame)
    for at, hwaddr in ((26, 6), (30, 0)):
        if data[at : at + 2] == b"\xc0\xa8":
            data[at : at + 2] = bytes((10, number & 255))
            data[hwaddr + 2 : hwaddr + 4] = number.to_bytes(2, "big")
    end = 14 + (data[16] << 8 | data[17])
    data[50:52] = b"\0\0"
    whole = int.from_bytes(data[26:end], "big") << (end & 1) * 8
    data[50:52] = (0xFFFF - (whole + 6 + end - 34) % 0xFFFF).to_bytes(2, "big")
    return bytes(data)


def _https(frame: bytes, number: int) -> Iterator[bytes]:
    """Nine packets of other traffic: segments of downloads, and what acknowledges them."""
    head = bytearray(frame[:54])
    head[46] = 0x50
    for index in range(9):
        size = 1400 if index % 3 else 0
        head[16:18] = (40 + size).to_bytes(2, "big")
        head[34:38] = struct.pack("!HH", 443, 50000 + number % 5000)
        head[38:42] = (number * 16000 + index * 1400).to_bytes(4, "big")
        head[47] = 0x10
        yield bytes(head) + b"\x17\x03\x03" * (size // 3) + b"\0" * (size % 3)


def make(file: BinaryIO, size: int, mixed: bool) -> int:
    """Writes a capture of at least so many bytes; returns how many packets it has."""
    recorded = _recorded()
    file.write(_HEADER)
    written, packets = len(_HEADER), 0
    for number in count():
        for frame in recorded:
            mine = _readdressed(frame, number)
            for data in (mine, *(_https(mine, packets) if mixed else ())):
                packets += 1
                # 2000 packets a second
                seconds, part = divmod(packets, 2000)
                file.write(struct.pack("<IIII", 1767225600 + seconds, part * 500, len(data), len(data)) + data)
                written += 16 + len(data)
            if written >= size:
                file.flush()
                return packets
    raise AssertionError


def cpu_s(command: list[str]) -> float:
    """User and system time of a command."""
    with open(os.devnull, "wb") as nothing:
        actions = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), 1), (os.POSIX_SPAWN_DUP2, nothing.fileno(), 2)]
        process = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        raise SystemExit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.captures", description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    commands = {"cpe-filter replay": REPLAY, **(TSHARK if shutil.which("tshark") else {})}
    for mixed in (False, True):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            packets = make(file.file, options.megabytes * 1_000_000, mixed)  # type: ignore[arg-type]
            times: dict[str, list[float]] = {name: [] for name in commands}
            for _ in range(options.rounds):
                for name, command in commands.items():
                    times[name].append(cpu_s([*command, file.name]))
        ours = median(times["cpe-filter replay"])
        print(f"{'mail and HTTPS' if mixed else 'mail'}: {options.megabytes} MB, {packets} packets")
        for name, seconds in times.items():
            took = median(seconds)
            each = 1e6 * took / packets
            print(f"  {name:<22} {took:7.1f} s CPU  {each:5.1f} us a packet  {took / ours:5.2f} of replay")


if __name__ == "__main__":
    main()
