"""A flood of SYNs from one device, each to another address: `python -m tests.faults.flood SOURCE RATE SECONDS [WORDS]`.

WORDS: "answered" sends them to addresses that answer, "macs" gives each a source MAC of its own.

Knows Ethernet, IPv4 and TCP headers. Sends whole frames from a table, a few each millisecond, so that it takes little
more of the machine than the packets themselves do. Bounded: 100,000 a second, 30 seconds. Prints how many it sent.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

#: A /16 in which nobody answers, and that of the lab's strangers.
SILENT, ANSWERING = "198.19.0.0", "198.18.0.0"
_INTERFACE = "eth0"
_GATEWAY = bytes.fromhex("0200000001fe")
_FRAMES = 65536
_BEAT_S = 0.001


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def frame(mac: bytes, source: bytes, network: bytes, number: int) -> bytes:
    """The SYN number N: its destination and source port follow from it."""
    destination = network[:2] + struct.pack(">H", number % 65536)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, number & 0xFFFF, 0x4000, 64, 6, 0, source, destination)
    ip = ip[:10] + struct.pack(">H", _sum(ip)) + ip[12:]
    tcp = struct.pack(">HHIIBBHHH", 1024 + number % 60000, 25, number * 7919 & 0xFFFFFFFF, 0, 0x50, 0x02, 64240, 0, 0)
    pseudo = source + destination + struct.pack(">HH", 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", _sum(pseudo + tcp)) + tcp[18:]
    return _GATEWAY + mac + b"\x08\x00" + ip + tcp


def main() -> None:
    source, rate, seconds = sys.argv[1], min(int(sys.argv[2]), 100_000), min(float(sys.argv[3]), 30.0)
    network = socket.inet_aton(ANSWERING if "answered" in sys.argv[4:] else SILENT)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((_INTERFACE, 0x0800))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        own = raw.getsockname()[4]
        macs = [own] if "macs" not in sys.argv[4:] else [b"\x02\x01" + struct.pack(">I", n) for n in range(_FRAMES)]
        frames = [
            frame(macs[number % len(macs)], socket.inet_aton(source), network, number)
            for number in range(min(_FRAMES, int(rate * seconds) + 1))
        ]
        print("ready", flush=True)
        sent = failed = 0
        owed = 0.0
        last = now = time.monotonic()
        end = now + seconds
        while now < end:
            # What is more than four beats late is left out: no burst makes up for it.
            owed = min(owed + (now - last) * rate, 4 * rate * _BEAT_S + 1)
            last = now
            while owed >= 1.0:
                owed -= 1.0
                try:
                    raw.send(frames[(sent + failed) % len(frames)])
                    sent += 1
                except OSError:
                    failed += 1
            time.sleep(max(0.0, now + _BEAT_S - time.monotonic()))
            now = time.monotonic()
        print(json.dumps({"sent": sent, "failed": failed}), flush=True)


if __name__ == "__main__":
    main()
