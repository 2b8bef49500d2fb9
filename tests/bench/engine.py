"""What the engine costs: `python -m tests.bench.engine`, CPU microseconds for each packet, median of interleaved runs.

Traffic: the sprayer of the captures folder (where present), the lab's own sprayer, a bulk upload of 8 MB on one
connection. Beside each run stands dpkt's bare `dpkt.ip.IP(packet)` on the same packets, since absolute times differ
from machine to machine.
"""

from __future__ import annotations

import gc
import statistics
import struct
import sys
import time
from collections.abc import Callable

import dpkt

from cpe_filter.engine import FORWARD, Engine
from cpe_filter.lean.clocks import PacketTime
from cpe_filter.replay.capture import frames
from tests.conftest import captures_folder
from tests.ip_packets import network_layer
from tests.lab.net import PROJECT
from tests.policies import make_policy

Packets = list[tuple[float, bytes | None, bytes]]
RUNS = 7


def from_capture(path: str) -> Packets:
    """The IP packets of a capture, with time and sender's MAC."""
    out: Packets = []
    for frame in frames(path, lambda _: None):
        found = network_layer(frame)
        if found is not None:
            out.append((frame.time, *found))
    return out


def tcp(client: bool, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    """One IPv4 TCP packet between a device and a server, with timestamps as Linux sends them."""
    src, dst = bytes([192, 168, 1, 2]), bytes([198, 18, 0, 25])
    sport, dport = 40000, 25
    if not client:
        src, dst, sport, dport = dst, src, dport, sport
    options = b"\x01\x01\x08\x0a" + bytes(8)
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x80, flags, 65535, 0, 0) + options + payload
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, 6, 0, src, dst) + segment


def bulk_upload(size: int) -> Packets:
    """One message of `size` bytes in segments of 1448, with the server's acknowledgements."""
    out: Packets = []
    seqs = [1000, 5000]

    def packet(client: bool, flags: int, payload: bytes = b"") -> None:
        mine, other = (0, 1) if client else (1, 0)
        data = tcp(client, seqs[mine], seqs[other] if flags & 0x10 else 0, flags, payload)
        seqs[mine] += len(payload) + bool(flags & 3)
        out.append((1000.0 + len(out) / 1e5, b"\2\0\0\0\0\1" if client else b"\2\0\0\0\0\xfe", data))

    packet(True, 0x02)
    packet(False, 0x12)
    packet(True, 0x10)
    for client, line in (
        (False, b"220 mx ESMTP\r\n"),
        (True, b"EHLO host.example\r\n"),
        (False, b"250-mx\r\n250 PIPELINING\r\n"),
        (True, b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"),
        (False, b"250 ok\r\n250 ok\r\n354 go\r\n"),
    ):
        packet(client, 0x18, line)
    text = (b"X" * 74 + b"\r\n") * (size // 76)
    for at in range(0, len(text), 1448):
        packet(True, 0x10, text[at : at + 1448])
        if at // 1448 % 2:
            packet(False, 0x10)
    packet(True, 0x18, b".\r\nQUIT\r\n")
    packet(False, 0x18, b"250 queued\r\n221 bye\r\n")
    packet(True, 0x11)
    packet(False, 0x11)
    return out


def again(packets: Packets, times: int) -> Packets:
    """The same traffic so many times, an hour between each: by then the connections before are forgotten."""
    return [(when + 3600.0 * n, hwaddr, data) for n in range(times) for when, hwaddr, data in packets]


def through_engine(packets: Packets) -> None:
    engine = Engine(make_policy(mode="monitor"))
    judge = engine.packet
    for when, hwaddr, data in packets:
        judge(PacketTime(when), FORWARD, hwaddr, data)


def through_dpkt(packets: Packets) -> None:
    parse = dpkt.ip.IP
    for _, _, data in packets:
        if data[0] >> 4 == 4:
            try:
                parse(data)
            except dpkt.Error:
                pass


def cost(work: Callable[[Packets], None], packets: Packets) -> float:
    """CPU microseconds a packet."""
    gc.collect()
    begun = time.process_time()
    work(packets)
    return (time.process_time() - begun) / len(packets) * 1e6


def main() -> int:
    traffic = {
        "the lab's sprayer": again(from_capture(str(PROJECT / "pcaps" / "bot-sprayer.pcap")), 20),
        "bulk upload, 8 MB": bulk_upload(8_000_000),
    }
    spambot = captures_folder() / "bot" / "spambot.pcap"
    if spambot.exists():
        traffic = {"spambot.pcap": from_capture(str(spambot)), **traffic}
    print(f"{'CPU us a packet':<20} {'packets':>8} {'engine':>8} {'dpkt.ip.IP':>11} {'ratio':>6}")
    for name, packets in traffic.items():
        engine, oracle = [], []
        for _ in range(RUNS):
            engine.append(cost(through_engine, packets))
            oracle.append(cost(through_dpkt, packets))
        ours, theirs = statistics.median(engine), statistics.median(oracle)
        print(f"{name:<20} {len(packets):>8} {ours:>8.2f} {theirs:>11.2f} {ours / theirs:>6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
