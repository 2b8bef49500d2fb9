"""A netfilter queue whose every packet is accepted, in Python: what the language and its library cost by themselves.

Usage: python -m tests.bench.cost_accept QUEUE, with the extra `bench` installed. Says "ready" once bound; ends with
SIGTERM. Imports nothing else.
"""

from __future__ import annotations

import sys

from netfilterqueue import COPY_PACKET, NetfilterQueue, Packet


def accept(packet: Packet) -> None:
    packet.accept()


def main() -> None:
    queue = NetfilterQueue()
    queue.bind(int(sys.argv[1]), accept, 1024, COPY_PACKET, 2048)
    print("ready", flush=True)
    queue.run()


if __name__ == "__main__":
    main()
