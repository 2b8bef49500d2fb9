"""A device that keeps trying port 25: `python -m tests.vm.knock SETTLED SERVER ...`. Runs until it is ended.

It says "ready" with a dialogue to the server SETTLED open, in which it says NOOP for as long as that lasts. Meanwhile
it opens connections to all the servers in turn, and closes each a second later.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import socket
import sys
import time

#: A gap may last a second only, by apk; then each of five servers is tried a few times in it.
PAUSE_S = 0.05
STAYS_S = 1.0


def main(servers: list[str]) -> None:
    dialogue = socket.create_connection((servers[0], 25), 60)
    for line in (b"", b"EHLO knock.home.example\r\n"):
        dialogue.sendall(line)
        dialogue.recv(1000)
    dialogue.setblocking(False)
    print("ready", flush=True)
    attempts: collections.deque[tuple[float, socket.socket]] = collections.deque()
    for server in itertools.cycle(servers):
        now = time.monotonic()
        while attempts and now >= attempts[0][0] + STAYS_S:
            attempts.popleft()[1].close()
        attempt = socket.socket()
        attempt.setblocking(False)
        with contextlib.suppress(OSError):
            attempt.connect((server, 25))
        attempts.append((now, attempt))
        with contextlib.suppress(OSError):
            dialogue.send(b"NOOP\r\n")
            dialogue.recv(1000)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1:])
